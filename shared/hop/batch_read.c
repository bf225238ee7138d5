#include "base/fail.h"
#include "base/map.h"
#include "hop/batch_body.h"
#include "hop/column.h"
#include "hop/pack.h"

#include <errno.h>
#include <zstd.h>

/* The writer's windows are smaller by far; a frame that asks for more memory is not ours. */
#define ZSTD_WINDOW_LOG_MAX 23

struct batch_reader {
    struct arena arena; /* envelope, members */
    struct envelope envelope;
    struct layout *targets; /* references of our own, to pages too */
    struct layout **pages;
    const struct layout **families; /* of the pages, each once, in the order in which they name them first */
    uint32_t family_count;
    uint8_t *raw; /* the body after zstd */
    struct column_input in;
    struct batch_entry *entries;
    size_t entry_count;
    uint32_t *page_families; /* of each page: indices into families, CSR */
    size_t *page_starts;
    uint32_t *members;     /* entries by family, CSR */
    uint32_t *first_slots; /* of each member, on its page */
    size_t *member_starts;
    uint32_t next_family;
    /* Of the block last given. */
    struct record *records;
    size_t record_capacity;
    double *values, *bases;
    int64_t *numbers;
    size_t *per_slot;
    uint8_t *changing; /* a byte per record */
    struct record_extra *extras;
    uint64_t extras_left; /* of BATCH_EXTRAS_MAX */
};

void batch_reader_free(struct batch_reader *reader)
{
    if (!reader)
        return;
    layout_unref(reader->targets);
    for (uint32_t i = 0; reader->pages && i < reader->envelope.page_count; i++)
        layout_unref(reader->pages[i]);
    mem_free(reader->pages);
    mem_free(reader->families);
    mem_free(reader->raw);
    mem_free(reader->entries);
    mem_free(reader->page_families);
    mem_free(reader->page_starts);
    mem_free(reader->members);
    mem_free(reader->first_slots);
    mem_free(reader->member_starts);
    mem_free(reader->records);
    mem_free(reader->values);
    mem_free(reader->bases);
    mem_free(reader->numbers);
    mem_free(reader->per_slot);
    mem_free(reader->changing);
    mem_free(reader->extras);
    arena_done(&reader->arena);
    mem_free(reader);
}

const struct envelope *batch_reader_envelope(const struct batch_reader *reader)
{
    return &reader->envelope;
}

const struct batch_entry *batch_reader_entries(const struct batch_reader *reader, size_t *ret_count)
{
    *ret_count = reader->entry_count;
    return reader->entries;
}

const struct layout *batch_reader_targets(const struct batch_reader *reader)
{
    return reader->targets;
}

const struct layout *batch_reader_page(const struct batch_reader *reader, uint32_t page)
{
    return page < reader->envelope.page_count ? reader->pages[page] : NULL;
}

uint64_t batch_reader_page_slots(const struct batch_reader *reader, uint32_t page)
{
    return layout_page_slots(reader->pages[page]);
}

/* ---- Opening ---- */

static int take_layout(struct layout_table *table, struct hash128 hash, enum layout_type type,
                       struct layout **ret_layout)
{
    struct layout *layout = layout_table_get(table, hash);
    if (!layout)
        return -ENOENT;
    if (layout->type != type)
        return -EBADMSG;
    *ret_layout = layout_ref(layout);
    return 0;
}

static int take_layouts(struct batch_reader *reader, struct layout_table *table)
{
    const struct envelope *envelope = &reader->envelope;
    reader->pages = mem_array(envelope->page_count, sizeof(struct layout *));
    int error = take_layout(table, envelope->targets, LAYOUT_TARGETS, &reader->targets);
    for (uint32_t i = 0; i < envelope->page_count && error == 0; i++)
        error = take_layout(table, envelope->pages[i], LAYOUT_PAGE, &reader->pages[i]);
    return error;
}

/* The body as it was before zstd, at most BATCH_RAW_BYTES_MAX and in a ratio that a real batch can have. */
static int expand_body(struct batch_reader *reader, struct str body)
{
    uint64_t raw_bytes = reader->envelope.body_raw_bytes;
    if (raw_bytes > BATCH_RAW_BYTES_MAX ||
        (raw_bytes > BATCH_RAW_FREE_BYTES && raw_bytes / BATCH_RAW_RATIO_MAX >= body.len))
        return -EMSGSIZE;
    bool stored = raw_bytes == body.len;
    if (!stored && ZSTD_getFrameContentSize(body.ptr, body.len) != raw_bytes)
        return -EBADMSG;
    reader->raw = mem_try_alloc(raw_bytes + 1);
    if (!reader->raw)
        return -ENOMEM;
    if (stored) {
        memcpy(reader->raw, body.ptr ? body.ptr : "", body.len);
        return 0;
    }
    ZSTD_DCtx *zstd = ZSTD_createDCtx();
    if (!zstd)
        return -ENOMEM;
    ZSTD_DCtx_setParameter(zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
    size_t got = ZSTD_decompressDCtx(zstd, reader->raw, raw_bytes, body.ptr, body.len);
    ZSTD_freeDCtx(zstd);
    return ZSTD_isError(got) || got != raw_bytes ? -EBADMSG : 0;
}

static int open_bins(struct batch_reader *reader)
{
    struct unpack in = unpack_of(reader->raw, reader->envelope.body_raw_bytes);
    uint32_t parts = unpack_array(&in, 2);
    struct str header = unpack_bin(&in, BATCH_RAW_BYTES_MAX);
    struct str payload = unpack_bin(&in, BATCH_RAW_BYTES_MAX);
    if (parts != 2 || !unpack_done(&in))
        return -EBADMSG;
    reader->in.header = reader_of(header.ptr, header.len);
    reader->in.payload = reader_of(payload.ptr, payload.len);
    return 0;
}

static int read_entries(struct batch_reader *reader)
{
    uint64_t count = reader_uvarint(&reader->in.header);
    if (reader->in.header.bad || count > BATCH_ENTRIES_MAX)
        return -EBADMSG;
    reader->entries = mem_array(count, sizeof(*reader->entries));
    reader->entry_count = (size_t)count;
    CLEANUP_FREE int64_t *numbers = mem_array(count, sizeof(*numbers));
    for (int column = 0; column < 5 && count > 0; column++) {
        if (column_decode_ints(&reader->in, (size_t)count, numbers, NULL) < 0)
            return -EBADMSG;
        for (size_t i = 0; i < count; i++) {
            struct batch_entry *entry = &reader->entries[i];
            uint64_t number = (uint64_t)numbers[i];
            if (column == 0 && number < reader->targets->count)
                entry->target = (uint32_t)number;
            else if (column == 1 && number < reader->envelope.page_count)
                entry->page = (uint32_t)number;
            else if (column == 2)
                entry->time_ms = (int64_t)((uint64_t)reader->envelope.window_start_ms + number);
            else if (column == 3 && number <= UINT32_MAX)
                entry->count = (uint32_t)number;
            else if (column == 4)
                entry->stale_ms = numbers[i];
            else
                return -EBADMSG;
        }
    }
    return 0;
}

/* Families of each page as indices into the families of all, which are collected here. -EMSGSIZE where pages (the same
 * one named again and again, say) have more of them than real ones can. */
static int page_families(struct batch_reader *reader)
{
    const struct envelope *envelope = &reader->envelope;
    struct map map; /* by the low half of the hash: index + 1 */
    size_t total = 0;
    reader->page_starts = mem_array(envelope->page_count + 1, sizeof(*reader->page_starts));
    for (uint32_t p = 0; p < envelope->page_count; p++)
        reader->page_starts[p + 1] = total += reader->pages[p]->count;
    if (total > BATCH_RECORDS_MAX)
        return -EMSGSIZE;
    reader->page_families = mem_array(total, sizeof(*reader->page_families));
    reader->families = mem_array(total, sizeof(struct layout *));
    map_init(&map);
    int error = 0;
    for (size_t p = 0, at = 0; p < envelope->page_count; p++) {
        for (uint32_t i = 0; i < reader->pages[p]->count && error == 0; i++, at++) {
            const struct layout *family = reader->pages[p]->families[i];
            uintptr_t found = (uintptr_t)map_get(&map, hash128_low(family->hash), NULL, NULL);
            if (!found) {
                reader->families[reader->family_count++] = family;
                found = reader->family_count;
                map_put(&map, hash128_low(family->hash), (void *)found); // NOLINT
            }
            reader->page_families[at] = (uint32_t)(found - 1);
            if (!hash128_equal(reader->families[found - 1]->hash, family->hash))
                error = -EBADMSG; /* half a hash in common: nobody's accident */
        }
    }
    map_done(&map);
    return error;
}

/* Counts members and records before anything is taken for them: many entries of a large page would multiply. Those that
 * only end count too: each of their series gets a marker. */
static int count_members(const struct batch_reader *reader)
{
    uint64_t records = 0, members = 0;
    CLEANUP_FREE uint64_t *page_records = mem_array(reader->envelope.page_count, sizeof(*page_records));
    for (uint32_t p = 0; p < reader->envelope.page_count; p++)
        page_records[p] = layout_page_slots(reader->pages[p]);
    for (size_t e = 0; e < reader->entry_count; e++) {
        const struct batch_entry *entry = &reader->entries[e];
        records += page_records[entry->page];
        members += reader->pages[entry->page]->count;
        if (records > BATCH_RECORDS_MAX || members > BATCH_RECORDS_MAX)
            return -EMSGSIZE;
    }
    return 0;
}

/* An entry among the members of its page's families: counted first, then placed. */
static void place_entry(struct batch_reader *reader, uint32_t e, size_t *next, bool count_only)
{
    uint32_t page = reader->entries[e].page, slot = 0;
    if (reader->entries[e].count == 0)
        return;
    for (size_t i = reader->page_starts[page]; i < reader->page_starts[page + 1]; i++) {
        uint32_t family = reader->page_families[i];
        if (count_only) {
            next[family + 1]++;
            continue;
        }
        reader->first_slots[next[family]] = slot;
        reader->members[next[family]++] = e;
        slot += reader->families[family]->count;
    }
}

static void place_members(struct batch_reader *reader)
{
    uint32_t families = reader->family_count;
    reader->member_starts = mem_array((size_t)families + 2, sizeof(size_t));
    size_t *next = reader->member_starts + 1; /* ends up as the starts themselves, shifted by one */
    for (size_t e = 0; e < reader->entry_count; e++)
        place_entry(reader, (uint32_t)e, next, true);
    for (uint32_t f = 0; f < families; f++)
        next[f + 1] += next[f];
    reader->members = mem_array(next[families], sizeof(*reader->members));
    reader->first_slots = mem_array(next[families], sizeof(*reader->first_slots));
    for (size_t e = 0; e < reader->entry_count; e++)
        place_entry(reader, (uint32_t)e, next, false);
}

static int find_members(struct batch_reader *reader)
{
    int error = page_families(reader);
    if (error == 0)
        error = count_members(reader);
    if (error == 0)
        place_members(reader);
    return error;
}

int batch_reader_open(const void *batch, size_t len, struct layout_table *table, struct batch_reader **ret_reader)
{
    struct batch_reader *reader = mem_zalloc(sizeof(*reader));
    arena_init(&reader->arena, 4 * ENVELOPE_BYTES_MAX);
    reader->extras_left = BATCH_EXTRAS_MAX;
    struct str body;
    int error =
        len > BATCH_BYTES_MAX ? -EMSGSIZE : envelope_decode(batch, len, &reader->arena, &reader->envelope, &body);
    if (error == 0 && reader->envelope.body_version != BATCH_BODY_VERSION)
        error = -EPROTO;
    if (error == 0)
        error = take_layouts(reader, table);
    if (error == 0)
        error = expand_body(reader, body);
    if (error == 0)
        error = open_bins(reader);
    if (error == 0)
        error = read_entries(reader);
    if (error == 0)
        error = find_members(reader);
    if (error < 0) {
        batch_reader_free(reader);
        return error;
    }
    *ret_reader = reader;
    return 0;
}

/* ---- Blocks ---- */

struct block_shape {
    size_t slots, members, records;
};

/* Columns of values as batch_write.c's write_values() lays them out: per_slot values for each slot; bases may be NULL.
 */
static int read_values(struct batch_reader *reader, const struct block_shape *shape, const double *bases,
                       uint32_t *exceptions)
{
    size_t total = 0, at = 0;
    struct column_stats stats;
    for (size_t slot = 0; slot < shape->slots; slot++)
        total += reader->per_slot[slot];
    if (shape->members < BATCH_SLOT_COLUMN_MEMBERS) {
        if (total == 0)
            return 0;
        int error = column_decode_doubles(&reader->in, bases, total, reader->values, &stats);
        *exceptions += error == 0 ? stats.exceptions : 0;
        return error;
    }
    for (size_t slot = 0; slot < shape->slots; slot++) {
        size_t count = reader->per_slot[slot];
        if (count == 0)
            continue;
        int error = column_decode_doubles(&reader->in, bases ? bases + at : NULL, count, reader->values + at, &stats);
        if (error < 0)
            return error;
        *exceptions += stats.exceptions;
        at += count;
    }
    return 0;
}

static int read_lasts(struct batch_reader *reader, const struct block_shape *shape, struct batch_block *block)
{
    for (size_t slot = 0; slot < shape->slots; slot++)
        reader->per_slot[slot] = shape->members;
    if (read_values(reader, shape, NULL, &block->exceptions) < 0)
        return -EBADMSG;
    for (size_t slot = 0; slot < shape->slots; slot++) {
        for (size_t m = 0; m < shape->members; m++) {
            const struct batch_entry *entry = &reader->entries[block->entries[m]];
            struct record *record = &reader->records[slot * shape->members + m];
            *record = (struct record){.time_ms = entry->time_ms,
                                      .last = reader->values[slot * shape->members + m],
                                      .count = entry->count,
                                      .kind = block->family->slots[slot].kind};
        }
    }
    return 0;
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
    /* Where the odd records stand is needed for all three columns. */
    CLEANUP_FREE uint32_t *places = mem_array(odd, sizeof(*places));
    for (int column = 0; column < 3 && odd > 0; column++) {
        if (column_decode_ints(&reader->in, (size_t)odd, reader->numbers, NULL) < 0)
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
        }
    }
    return 0;
}

/* Min, max or sum of the changing records. */
static int read_field(struct batch_reader *reader, const struct block_shape *shape, int field, uint32_t *exceptions)
{
    size_t n = 0;
    for (size_t i = 0; i < shape->records; i++)
        if (reader->changing[i])
            reader->bases[n++] = field == 2 ? batch_expected_sum(&reader->records[i]) : reader->records[i].last;
    if (read_values(reader, shape, reader->bases, exceptions) < 0)
        return -EBADMSG;
    n = 0;
    for (size_t i = 0; i < shape->records; i++) {
        if (!reader->changing[i])
            continue;
        struct record *record = &reader->records[i];
        *(field == 0 ? &record->min : field == 1 ? &record->max : &record->sum) = reader->values[n++];
    }
    return 0;
}

static int read_ranges(struct batch_reader *reader, const struct block_shape *shape, struct batch_block *block)
{
    uint64_t changing = reader_uvarint(&reader->in.header);
    if (reader->in.header.bad || changing > shape->records)
        return -EBADMSG;
    memset(reader->changing, 0, shape->records);
    if (changing > 0) {
        struct str bits = reader_bytes(&reader->in.payload, (shape->records + 7) / 8);
        if (reader->in.payload.bad)
            return -EBADMSG;
        memset(reader->per_slot, 0, shape->slots * sizeof(*reader->per_slot));
        uint64_t set = 0;
        for (size_t slot = 0, i = 0; slot < shape->slots; slot++) {
            for (size_t m = 0; m < shape->members; m++, i++) {
                reader->changing[i] = (uint8_t)bits.ptr[i / 8] >> (i % 8) & 1;
                reader->per_slot[slot] += reader->changing[i];
            }
            set += reader->per_slot[slot];
        }
        if (set != changing)
            return -EBADMSG;
    }
    for (size_t i = 0; i < shape->records; i++)
        if (!reader->changing[i])
            record_fill_constant(&reader->records[i]);
    for (int field = 0; field < 3 && changing > 0; field++)
        if (read_field(reader, shape, field, &block->exceptions) < 0)
            return -EBADMSG;
    block->changing = (uint32_t)changing;
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
    if (column_decode_ints(&reader->in, count, numbers, NULL) < 0)
        return -EBADMSG;
    for (size_t i = 0; i < count; i++) {
        if (!next_place(numbers[i], shape->records, true, &at))
            return -EBADMSG;
        extras[i].index = (uint32_t)at;
        bases[i] = reader->records[at].last;
    }
    if (column_decode_ints(&reader->in, count, numbers, NULL) < 0 ||
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
    if (reader->in.header.bad || count > reader->extras_left)
        return -EBADMSG;
    reader->extras_left -= count;
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
        reader->changing = mem_resize(reader->changing, shape->records, 1);
    }
    reader->per_slot = mem_resize(reader->per_slot, shape->slots, sizeof(*reader->per_slot));
    const uint8_t *header_start = reader->in.header.at, *payload_start = reader->in.payload.at;
    int error = read_lasts(reader, shape, block);
    if (error == 0)
        error = read_odd(reader, shape);
    if (error == 0)
        error = read_ranges(reader, shape, block);
    if (error == 0)
        error = read_extras(reader, shape, block);
    block->records = reader->records;
    block->header_bytes = (uint32_t)(reader->in.header.at - header_start);
    block->payload_bytes = (uint32_t)(reader->in.payload.at - payload_start);
    return error;
}

int batch_reader_next(struct batch_reader *reader, struct batch_block *ret_block)
{
    for (; reader->next_family < reader->family_count; reader->next_family++) {
        uint32_t f = reader->next_family;
        size_t start = reader->member_starts[f];
        struct block_shape shape = {.slots = reader->families[f]->count,
                                    .members = reader->member_starts[f + 1] - start};
        shape.records = shape.slots * shape.members;
        if (shape.records == 0)
            continue;
        struct batch_block block = {.family = reader->families[f],
                                    .entries = reader->members + start,
                                    .first_slots = reader->first_slots + start,
                                    .entry_count = (uint32_t)shape.members};
        if (read_block(reader, &shape, &block) < 0)
            return -EBADMSG;
        reader->next_family++;
        *ret_block = block;
        return 1;
    }
    return reader_left(&reader->in.header) == 0 && reader_left(&reader->in.payload) == 0 ? 0 : -EBADMSG;
}
