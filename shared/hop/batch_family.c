/* The part of a body that one family takes: written. batch_read.c reads it. */
#include "base/fail.h"
#include "hop/batch_body.h"
#include "hop/column.h"

#include <stdlib.h>

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

static void write_lasts(const struct batch_family *family)
{
    bool near = false;
    for (size_t m = 0; m < family->member_count; m++) {
        const struct batch_member *member = &family->members[m];
        near |= member->before != NULL;
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
    size_t order; /* as it was found */
    const void *what;
    const struct batch_member *member;
};

static int compare_found(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    if (x->index != y->index)
        return x->index < y->index ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static void add_found(const struct batch_family *family, struct found *found, size_t *count, size_t m, uint32_t index,
                      const void *what)
{
    const struct batch_member *member = &family->members[m];
    found[*count] = (struct found){(size_t)(index - member->base) * family->member_count + m, *count, what, member};
    ++*count;
}

static void sort_found(const struct batch_family *family, struct found *found, size_t count)
{
    if (family->slots > 1 && count > 1) /* of one slot they stand in order */
        qsort(found, count, sizeof(*found), compare_found);
}

static void write_steps(const struct batch_family *family, const struct found *found, size_t count, int64_t *numbers)
{
    for (size_t i = 0; i < count; i++)
        numbers[i] = (int64_t)(found[i].index - (i > 0 ? found[i - 1].index : 0));
    column_encode_ints(numbers, count, family->header, family->payload);
}

static void write_odd(const struct batch_family *family)
{
    size_t total = 0, count = 0;
    for (size_t m = 0; m < family->member_count; m++)
        total += family->members[m].odd_count;
    buf_append_uvarint(family->header, total);
    if (total == 0)
        return;
    CLEANUP_FREE struct found *found = mem_array(total, sizeof(*found));
    CLEANUP_FREE int64_t *numbers = mem_array(total, sizeof(*numbers));
    for (size_t m = 0; m < family->member_count; m++)
        for (uint32_t i = 0; i < family->members[m].odd_count; i++)
            add_found(family, found, &count, m, family->members[m].odds[i].index, &family->members[m].odds[i]);
    sort_found(family, found, count);
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
    size_t total = 0, count = 0, records = family->slots * family->member_count;
    for (size_t m = 0; m < family->member_count; m++)
        total += family->members[m].range_count;
    buf_append_uvarint(family->header, total);
    if (total == 0)
        return;
    CLEANUP_FREE struct found *found = mem_array(total, sizeof(*found));
    for (size_t m = 0; m < family->member_count; m++)
        for (uint32_t i = 0; i < family->members[m].range_count; i++)
            add_found(family, found, &count, m, family->members[m].ranges[i].index, &family->members[m].ranges[i]);
    sort_found(family, found, count);
    CLEANUP_FREE uint8_t *bits = mem_zalloc(records / 8 + 1);
    memset(family->per_slot, 0, family->slots * sizeof(*family->per_slot));
    for (size_t i = 0; i < count; i++) {
        bits[found[i].index / 8] |= (uint8_t)(1 << (found[i].index % 8));
        family->per_slot[found[i].index / family->member_count]++;
    }
    buf_append(family->payload, bits, (records + 7) / 8);
    for (int field = 0; field < 3; field++)
        write_field(family, found, count, field);
}

static void write_extras(const struct batch_family *family)
{
    size_t total = 0, count = 0;
    for (size_t m = 0; m < family->member_count; m++)
        total += family->members[m].extra_count;
    buf_append_uvarint(family->header, total);
    if (total == 0)
        return;
    CLEANUP_FREE struct found *found = mem_array(total, sizeof(*found));
    CLEANUP_FREE int64_t *numbers = mem_array(total, sizeof(*numbers));
    CLEANUP_FREE double *values = mem_array(total, 2 * sizeof(*values));
    double *bases = values + total;
    for (size_t m = 0; m < family->member_count; m++)
        for (uint32_t i = 0; i < family->members[m].extra_count; i++)
            add_found(family, found, &count, m, family->members[m].extras[i].index, &family->members[m].extras[i]);
    sort_found(family, found, count);
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
