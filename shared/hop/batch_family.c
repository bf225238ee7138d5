/* The part of a body that one family takes: written. batch_read.c reads it. */
#include "base/fail.h"
#include "hop/batch_body.h"
#include "hop/column.h"

static void write_values(const struct batch_family *family, const double *bases)
{
    size_t total = 0;
    for (size_t slot = 0; slot < family->slots; slot++)
        total += family->per_slot[slot];
    if (family->member_count < BATCH_SLOT_COLUMN_MEMBERS) {
        if (total > 0)
            column_encode_doubles(family->values, bases, total, family->header, family->payload);
        return;
    }
    size_t at = 0;
    for (size_t slot = 0; slot < family->slots; slot++) {
        if (family->per_slot[slot] > 0)
            column_encode_doubles(family->values + at, bases ? bases + at : NULL, family->per_slot[slot],
                                  family->header, family->payload);
        at += family->per_slot[slot];
    }
}

/* Members' values lie a page apart, where no processor fetches ahead by itself: 30 % of the whole. */
#define PREFETCH_MEMBERS 16

static void write_lasts(const struct batch_family *family)
{
    bool near = false;
    for (size_t m = 0; m < family->member_count; m++) {
        const struct batch_member *member = &family->members[m];
        near |= member->before != NULL;
        if (m + PREFETCH_MEMBERS < family->member_count)
            __builtin_prefetch(member[PREFETCH_MEMBERS].lasts);
        for (size_t slot = 0; slot < family->slots; slot++)
            family->values[slot * family->member_count + m] = member->lasts[slot];
    }
    for (size_t m = 0; m < family->member_count && near; m++)
        for (size_t slot = 0; slot < family->slots; slot++)
            family->bases[slot * family->member_count + m] =
                family->members[m].before ? family->members[m].before[slot] : 0;
    for (size_t slot = 0; slot < family->slots; slot++)
        family->per_slot[slot] = family->member_count;
    write_values(family, near ? family->bases : NULL);
}

/* ---- What is rare: found member by member, written slot by slot ---- */

struct found {
    size_t index; /* of its record in the block */
    const void *what;
    const struct batch_member *member;
};

enum rare { RARE_ODD, RARE_RANGE, RARE_EXTRA };

/* The nth of a member's things of a kind, or NULL; ret_slot: its slot. */
static const void *nth_of(const struct batch_member *member, enum rare kind, uint32_t nth, size_t *ret_slot)
{
    if (kind == RARE_ODD && nth < member->odd_count) {
        *ret_slot = member->odds[nth].index - member->base;
        return &member->odds[nth];
    }
    if (kind == RARE_RANGE && nth < member->range_count) {
        *ret_slot = member->ranges[nth].index - member->base;
        return &member->ranges[nth];
    }
    if (kind == RARE_EXTRA && nth < member->extra_count) {
        *ret_slot = member->extras[nth].index - member->base;
        return &member->extras[nth];
    }
    return NULL;
}

/* All things of a kind in the order of their records, those of one record as they were. Counts them per slot (in
 * per_slot), then puts each in its place. Writes how many there are, too; NULL: none. */
static struct found *find_rare(const struct batch_family *family, enum rare kind, size_t *ret_count)
{
    size_t total = 0, slot = 0;
    memset(family->per_slot, 0, family->slots * sizeof(*family->per_slot));
    for (size_t m = 0; m < family->member_count; m++)
        for (uint32_t i = 0; nth_of(&family->members[m], kind, i, &slot); i++, total++)
            family->per_slot[slot]++;
    buf_append_uvarint(family->header, total);
    *ret_count = total;
    if (total == 0)
        return NULL;
    CLEANUP_FREE size_t *next = mem_array(family->slots, sizeof(*next));
    for (size_t i = 1; i < family->slots; i++)
        next[i] = next[i - 1] + family->per_slot[i - 1];
    struct found *found = mem_resize(NULL, total, sizeof(*found));
    for (size_t m = 0; m < family->member_count; m++) {
        const void *what;
        for (uint32_t i = 0; (what = nth_of(&family->members[m], kind, i, &slot)); i++)
            found[next[slot]++] = (struct found){slot * family->member_count + m, what, &family->members[m]};
    }
    return found;
}

static void write_steps(const struct batch_family *family, const struct found *found, size_t count, int64_t *numbers)
{
    for (size_t i = 0; i < count; i++)
        numbers[i] = (int64_t)(found[i].index - (i > 0 ? found[i - 1].index : 0));
    column_encode_ints(numbers, count, family->header, family->payload);
}

static void write_odd(const struct batch_family *family)
{
    size_t count;
    CLEANUP_FREE struct found *found = find_rare(family, RARE_ODD, &count);
    if (count == 0)
        return;
    CLEANUP_FREE int64_t *numbers = mem_array(count, sizeof(*numbers));
    write_steps(family, found, count, numbers);
    for (size_t i = 0; i < count; i++)
        numbers[i] = batch_time_between(((const struct batch_odd *)found[i].what)->time_ms, found[i].member->time_ms);
    column_encode_ints(numbers, count, family->header, family->payload);
    for (size_t i = 0; i < count; i++)
        numbers[i] = ((const struct batch_odd *)found[i].what)->count;
    column_encode_ints(numbers, count, family->header, family->payload);
}

static double last_of(const struct found *found, uint32_t index)
{
    return found->member->lasts[index - found->member->base];
}

/* Min, max or sum of the records found, near what it is expected to be. */
static void write_field(const struct batch_family *family, const struct found *found, size_t count, int field)
{
    for (size_t i = 0; i < count; i++) {
        const struct batch_range *range = found[i].what;
        double last = last_of(&found[i], range->index);
        family->values[i] = field == 0 ? range->min : field == 1 ? range->max : range->sum;
        family->bases[i] = field == 2 ? batch_expected_sum(last, range->count) : last;
    }
    write_values(family, family->bases);
}

static void write_ranges(const struct batch_family *family)
{
    size_t count, records = family->slots * family->member_count;
    CLEANUP_FREE struct found *found = find_rare(family, RARE_RANGE, &count);
    if (count == 0)
        return;
    CLEANUP_FREE uint8_t *bits = mem_zalloc(records / 8 + 1);
    for (size_t i = 0; i < count; i++)
        bits[found[i].index / 8] |= (uint8_t)(1 << (found[i].index % 8));
    buf_append(family->payload, bits, (records + 7) / 8);
    for (int field = 0; field < 3; field++)
        write_field(family, found, count, field);
}

static void write_extras(const struct batch_family *family)
{
    size_t count;
    CLEANUP_FREE struct found *found = find_rare(family, RARE_EXTRA, &count);
    if (count == 0)
        return;
    CLEANUP_FREE int64_t *numbers = mem_array(count, sizeof(*numbers));
    CLEANUP_FREE double *values = mem_array(count, 2 * sizeof(*values));
    double *bases = values + count;
    write_steps(family, found, count, numbers);
    for (size_t i = 0; i < count; i++) {
        const struct batch_extra *extra = found[i].what;
        numbers[i] = extra->before_ms;
        values[i] = extra->value;
        bases[i] = last_of(&found[i], extra->index);
    }
    column_encode_ints(numbers, count, family->header, family->payload);
    column_encode_doubles(values, bases, count, family->header, family->payload);
}

void batch_family_write(struct batch_family *family)
{
    write_lasts(family);
    write_odd(family);
    write_ranges(family);
    write_extras(family);
}

void batch_family_init(struct batch_family *family, size_t records_max, size_t slots_max, struct buf *header,
                       struct buf *payload)
{
    *family = (struct batch_family){.header = header,
                                    .payload = payload,
                                    .values = mem_resize(NULL, records_max, sizeof(*family->values)),
                                    .bases = mem_resize(NULL, records_max, sizeof(*family->bases)),
                                    .per_slot = mem_array(slots_max, sizeof(*family->per_slot))};
}

void batch_family_done(struct batch_family *family)
{
    mem_free(family->values);
    mem_free(family->bases);
    mem_free(family->per_slot);
}
