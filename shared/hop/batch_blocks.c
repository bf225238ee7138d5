/* The families of a body, read: what batch_family.c wrote. */
#include "base/fail.h"
#include "hop/batch_reader.h"

#include <errno.h>

struct block_shape {
    size_t slots, members, records;
};

/* Columns of values as batch_write.c's write_values() lays them out: per_slot values for each slot; bases may be NULL.
 */
static int read_values(struct batch_reader *reader, const struct block_shape *shape, const double *bases,
                       uint32_t *exceptions)
{
    size_t total = 0, at = 0;
    uint32_t missed = 0;
    for (size_t slot = 0; slot < shape->slots; slot++)
        total += reader->per_slot[slot];
    if (shape->members < BATCH_SLOT_COLUMN_MEMBERS) {
        if (total == 0)
            return 0;
        int error = column_decode_doubles(&reader->in, bases, total, reader->values, &missed);
        *exceptions += missed;
        return error;
    }
    for (size_t slot = 0; slot < shape->slots; slot++) {
        size_t count = reader->per_slot[slot];
        if (count == 0)
            continue;
        int error = column_decode_doubles(&reader->in, bases ? bases + at : NULL, count, reader->values + at, &missed);
        if (error < 0)
            return error;
        *exceptions += missed;
        at += count;
    }
    return 0;
}

/* Where the round's last values are near to those of the members' predecessors: true, and bases has them. */
static bool find_bases(struct batch_reader *reader, const struct block_shape *shape, const uint32_t *members)
{
    bool any = false;
    for (size_t m = 0; m < shape->members && reader->member_of; m++) {
        uint32_t before = reader->entries.before[members[m]];
        const double *kept = before != BATCH_NONE ? reader->kept + reader->member_of[before] * shape->slots : NULL;
        any |= kept != NULL;
        for (size_t slot = 0; slot < shape->slots; slot++)
            reader->bases[slot * shape->members + m] = kept ? kept[slot] : 0;
    }
    return any;
}

static void keep_lasts(struct batch_reader *reader, const struct block_shape *shape, const uint32_t *members)
{
    for (size_t m = 0; m < shape->members && reader->member_of; m++)
        for (size_t slot = 0; slot < shape->slots; slot++)
            reader->kept[reader->member_of[members[m]] * shape->slots + slot] =
                reader->values[slot * shape->members + m];
}

static int read_lasts(struct batch_reader *reader, const struct block_shape *shape, struct batch_block *block)
{
    for (size_t slot = 0; slot < shape->slots; slot++)
        reader->per_slot[slot] = shape->members;
    reader->in.part = BATCH_PART_LAST;
    bool near = find_bases(reader, shape, block->entries);
    if (read_values(reader, shape, near ? reader->bases : NULL, &block->exceptions) < 0)
        return -EBADMSG;
    keep_lasts(reader, shape, block->entries);
    return 0;
}

/* All records as if nothing was odd and all were constant. */
static void fill_records(struct batch_reader *reader, const struct block_shape *shape, const struct batch_block *block)
{
    struct record *record = reader->records;
    const double *last = reader->values;
    int64_t *times = reader->numbers; /* of the members, close together; scratch until something is odd or changing */
    uint32_t *counts = reader->changing;
    for (size_t m = 0; m < shape->members; m++) {
        const struct batch_entry *entry = &reader->entries.items[block->entries[m]];
        times[m] = entry->time_ms;
        counts[m] = entry->count;
    }
    for (size_t slot = 0; slot < shape->slots; slot++) {
        uint8_t kind = block->family->slots[slot].kind;
        for (size_t m = 0; m < shape->members; m++, record++, last++) {
            *record = (struct record){.time_ms = times[m], .last = *last, .count = counts[m], .kind = kind};
            record_fill_constant(record);
        }
    }
}

/* The next place of a list whose steps count from the one before; false when it is outside or does not rise. */
static bool next_place(int64_t step, size_t count, bool may_repeat, size_t *at)
{
    if (step < 0 || (uint64_t)step >= count - *at || (step == 0 && !may_repeat))
        return false;
    *at += (size_t)step;
    return true;
}

static int read_odd(struct batch_reader *reader, const struct block_shape *shape)
{
    uint64_t odd = reader_uvarint(&reader->in.header);
    if (reader->in.header.bad || odd > shape->records)
        return -EBADMSG;
    reader->in.part = BATCH_PART_ODD;
    /* Where the odd records stand is needed for all three columns. */
    CLEANUP_FREE uint32_t *places = mem_array(odd, sizeof(*places));
    for (int column = 0; column < 3 && odd > 0; column++) {
        if (column_decode_ints(&reader->in, (size_t)odd, reader->numbers) < 0)
            return -EBADMSG;
        size_t at = 0;
        for (size_t i = 0; i < odd; i++) {
            int64_t number = reader->numbers[i];
            struct record *record = &reader->records[places[i]];
            if (column == 0 && next_place(number, shape->records, i == 0, &at))
                places[i] = (uint32_t)at;
            else if (column == 1)
                record->time_ms = (int64_t)((uint64_t)record->time_ms + (uint64_t)number);
            else if (column == 2 && number >= 0 && number <= UINT32_MAX)
                record->count = (uint32_t)number;
            else
                return -EBADMSG;
            if (column == 2)
                record_fill_constant(record);
        }
    }
    return 0;
}

/* Min, max or sum of the changing records. */
static int read_field(struct batch_reader *reader, const struct block_shape *shape, int field,
                      struct batch_block *block)
{
    reader->in.part = BATCH_PART_MIN + field;
    for (size_t i = 0; i < block->changing; i++) {
        const struct record *record = &reader->records[reader->changing[i]];
        reader->bases[i] = field == 2 ? batch_expected_sum(record->last, record->count) : record->last;
    }
    if (read_values(reader, shape, reader->bases, &block->exceptions) < 0)
        return -EBADMSG;
    for (size_t i = 0; i < block->changing; i++) {
        struct record *record = &reader->records[reader->changing[i]];
        *(field == 0 ? &record->min : field == 1 ? &record->max : &record->sum) = reader->values[i];
    }
    return 0;
}

/* Fills changing and per_slot from the bitmap; false when another number of bits is set than said. */
static bool find_changing(struct batch_reader *reader, const struct block_shape *shape, const uint8_t *bits,
                          uint64_t changing)
{
    size_t count = 0, slot_end = shape->members, slot = 0;
    memset(reader->per_slot, 0, shape->slots * sizeof(*reader->per_slot));
    for (size_t byte = 0; byte < (shape->records + 7) / 8; byte++) {
        for (unsigned left = bits[byte]; left > 0; left &= left - 1) {
            size_t index = 8 * byte + (unsigned)__builtin_ctz(left);
            if (index >= shape->records || count == changing)
                return false;
            while (index >= slot_end) {
                slot++;
                slot_end += shape->members;
            }
            reader->per_slot[slot]++;
            reader->changing[count++] = (uint32_t)index;
        }
    }
    return count == changing;
}

static int read_ranges(struct batch_reader *reader, const struct block_shape *shape, struct batch_block *block)
{
    uint64_t changing = reader_uvarint(&reader->in.header);
    if (reader->in.header.bad || changing > shape->records)
        return -EBADMSG;
    block->changing = (uint32_t)changing;
    if (changing == 0)
        return 0;
    struct str bits = reader_bytes(&reader->in.payload, (shape->records + 7) / 8);
    if (reader->in.payload.bad || !find_changing(reader, shape, (const uint8_t *)bits.ptr, changing))
        return -EBADMSG;
    for (int field = 0; field < 3; field++)
        if (read_field(reader, shape, field, block) < 0)
            return -EBADMSG;
    return 0;
}

/* Columns of steps, of times and of values, count of each. */
static int fill_extras(struct batch_reader *reader, const struct block_shape *shape, size_t count,
                       struct record_extra *extras)
{
    CLEANUP_FREE int64_t *numbers = mem_resize(NULL, count, sizeof(*numbers));
    CLEANUP_FREE double *values = mem_resize(NULL, count, 2 * sizeof(*values));
    double *bases = values + count;
    size_t at = 0;
    reader->in.part = BATCH_PART_EXTRAS;
    if (column_decode_ints(&reader->in, count, numbers) < 0)
        return -EBADMSG;
    for (size_t i = 0; i < count; i++) {
        if (!next_place(numbers[i], shape->records, true, &at))
            return -EBADMSG;
        extras[i].index = (uint32_t)at;
        bases[i] = reader->records[at].last;
    }
    if (column_decode_ints(&reader->in, count, numbers) < 0 ||
        column_decode_doubles(&reader->in, bases, count, values, NULL) < 0)
        return -EBADMSG;
    for (size_t i = 0; i < count; i++) {
        int64_t record_ms = reader->records[extras[i].index].time_ms;
        extras[i].sample =
            (struct sample){.time_ms = (int64_t)((uint64_t)record_ms - (uint64_t)numbers[i]), .value = values[i]};
    }
    return 0;
}

static int read_extras(struct batch_reader *reader, const struct block_shape *shape, struct batch_block *block)
{
    uint64_t count = reader_uvarint(&reader->in.header);
    if (reader->in.header.bad || count > reader->extras_left || 2 * count > reader->claims_left)
        return -EBADMSG;
    reader->extras_left -= count;
    reader->claims_left -= 2 * count;
    if (count > 0) {
        reader->extras = mem_resize(reader->extras, (size_t)count, sizeof(*reader->extras));
        if (fill_extras(reader, shape, (size_t)count, reader->extras) < 0)
            return -EBADMSG;
    }
    block->extras = reader->extras;
    block->extra_count = (uint32_t)count;
    return 0;
}

static int read_block(struct batch_reader *reader, const struct block_shape *shape, struct batch_block *block)
{
    if (shape->records > reader->record_capacity) {
        reader->record_capacity = shape->records;
        reader->records = mem_resize(reader->records, shape->records, sizeof(*reader->records));
        reader->values = mem_resize(reader->values, shape->records, sizeof(*reader->values));
        reader->bases = mem_resize(reader->bases, shape->records, sizeof(*reader->bases));
        reader->numbers = mem_resize(reader->numbers, shape->records, sizeof(*reader->numbers));
        reader->changing = mem_resize(reader->changing, shape->records, sizeof(*reader->changing));
    }
    reader->per_slot = mem_resize(reader->per_slot, shape->slots, sizeof(*reader->per_slot));
    const uint8_t *header_start = reader->in.header.at, *payload_start = reader->in.payload.at;
    int error = read_lasts(reader, shape, block);
    if (error == 0) {
        fill_records(reader, shape, block);
        error = read_odd(reader, shape);
    }
    if (error == 0)
        error = read_ranges(reader, shape, block);
    if (error == 0)
        error = read_extras(reader, shape, block);
    block->records = reader->records;
    block->header_bytes = (uint32_t)(reader->in.header.at - header_start);
    block->payload_bytes = (uint32_t)(reader->in.payload.at - payload_start);
    return error;
}

/* A family begins: of several rounds, which of its members an entry is, and room for what they show. */
static void begin_family(struct batch_reader *reader, uint32_t family)
{
    size_t start = reader->member_starts[family], end = reader->member_starts[family + 1];
    reader->next_member = start;
    if (reader->entries.count == 0 || reader->entries.items[reader->entries.count - 1].round == 0)
        return;
    if (!reader->member_of)
        reader->member_of = mem_array(reader->entries.count, sizeof(*reader->member_of));
    for (size_t i = start; i < end; i++)
        reader->member_of[reader->members[i]] = (uint32_t)(i - start);
    size_t kept = (end - start) * reader->families[family]->count;
    if (kept > reader->kept_capacity) {
        reader->kept = mem_resize(reader->kept, kept, sizeof(*reader->kept));
        reader->kept_capacity = kept;
    }
}

/* The members of the next round that has any; 0: the family is over. */
static size_t next_round(const struct batch_reader *reader, uint32_t family)
{
    size_t start = reader->next_member, end = start;
    while (end < reader->member_starts[family + 1] &&
           reader->entries.items[reader->members[end]].round == reader->entries.items[reader->members[start]].round)
        end++;
    return end - start;
}

/* Everything was consumed, but for the zero bytes that a writer may put at the end. */
static bool is_over(const struct batch_reader *reader)
{
    for (const uint8_t *at = reader->in.payload.at; at < reader->in.payload.end; at++)
        if (*at != 0)
            return false;
    return reader_left(&reader->in.header) == 0;
}

int batch_reader_next(struct batch_reader *reader, struct batch_block *ret_block)
{
    for (; reader->next_family < reader->family_count; reader->next_family++) {
        uint32_t f = reader->next_family;
        if (reader->next_member <= reader->member_starts[f])
            begin_family(reader, f);
        size_t start = reader->next_member;
        struct block_shape shape = {.slots = reader->families[f]->count, .members = next_round(reader, f)};
        shape.records = shape.slots * shape.members;
        if (shape.records == 0)
            continue;
        struct batch_block block = {.family = reader->families[f],
                                    .round = reader->entries.items[reader->members[start]].round,
                                    .entries = reader->members + start,
                                    .first_slots = reader->first_slots + start,
                                    .entry_count = (uint32_t)shape.members};
        if (read_block(reader, &shape, &block) < 0)
            return -EBADMSG;
        reader->next_member += shape.members;
        *ret_block = block;
        return 1;
    }
    return is_over(reader) ? 0 : -EBADMSG;
}
