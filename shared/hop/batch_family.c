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
    for (size_t m = 0; m < family->member_count; m++)
        near |= family->members[m].before != NULL;
    for (size_t slot = 0, i = 0; slot < family->slots; slot++) {
        family->per_slot[slot] = family->member_count;
        for (size_t m = 0; m < family->member_count; m++, i++) {
            const struct record *before = family->members[m].before;
            family->values[i] = family->records[i].last;
            family->bases[i] = before ? before[slot].last : 0;
        }
    }
    write_values(family, near ? family->bases : NULL);
}

static bool is_odd(const struct batch_family *family, size_t index)
{
    const struct batch_member *member = &family->members[index % family->member_count];
    return family->records[index].count != member->count || family->records[index].time_ms != member->time_ms;
}

static void write_odd(const struct batch_family *family)
{
    size_t odd = 0, records = family->slots * family->member_count;
    const struct record *record = family->records;
    for (size_t slot = 0; slot < family->slots; slot++)
        for (size_t m = 0; m < family->member_count; m++, record++) /* as is_odd(), without its division */
            odd += record->count != family->members[m].count || record->time_ms != family->members[m].time_ms;
    buf_append_uvarint(family->header, odd);
    for (int column = 0; column < 3 && odd > 0; column++) {
        size_t n = 0, last = 0;
        for (size_t i = 0; i < records; i++) {
            if (!is_odd(family, i))
                continue;
            int64_t base_ms = family->members[i % family->member_count].time_ms;
            family->numbers[n++] = column == 0   ? (int64_t)(i - last)
                                   : column == 1 ? batch_time_between(family->records[i].time_ms, base_ms)
                                                 : family->records[i].count;
            last = i;
        }
        column_encode_ints(family->numbers, odd, family->header, family->payload);
    }
}

typedef double record_field(const struct record *record);

static double field_min(const struct record *record)
{
    return record->min;
}

static double field_max(const struct record *record)
{
    return record->max;
}

static double field_sum(const struct record *record)
{
    return record->sum;
}

static void write_ranges(const struct batch_family *family)
{
    size_t records = family->slots * family->member_count, changing = 0;
    CLEANUP_FREE uint8_t *bits = mem_zalloc(records / 8 + 1);
    memset(family->per_slot, 0, family->slots * sizeof(*family->per_slot));
    for (size_t slot = 0, i = 0; slot < family->slots; slot++) {
        for (size_t m = 0; m < family->member_count; m++, i++) {
            if (record_is_constant(&family->records[i]))
                continue;
            bits[i / 8] |= (uint8_t)(1 << (i % 8));
            family->per_slot[slot]++;
        }
        changing += family->per_slot[slot];
    }
    buf_append_uvarint(family->header, changing);
    if (changing == 0)
        return;
    buf_append(family->payload, bits, (records + 7) / 8);
    static record_field *const fields[] = {field_min, field_max, field_sum};
    for (size_t f = 0; f < ARRAY_LEN(fields); f++) {
        size_t n = 0;
        for (size_t i = 0; i < records; i++) {
            if (!(bits[i / 8] >> (i % 8) & 1))
                continue;
            const struct record *record = &family->records[i];
            family->values[n] = fields[f](record);
            family->bases[n++] = fields[f] == field_sum ? batch_expected_sum(record) : record->last;
        }
        write_values(family, family->bases);
    }
}

struct found_extra {
    size_t index; /* of its record in the block */
    size_t order; /* as it was found */
    struct sample sample;
};

static int compare_found(const void *a, const void *b)
{
    const struct found_extra *x = a, *y = b;
    if (x->index != y->index)
        return x->index < y->index ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static void write_found(const struct batch_family *family, const struct found_extra *found, size_t count)
{
    buf_append_uvarint(family->header, count);
    if (count == 0)
        return;
    CLEANUP_FREE int64_t *numbers = mem_resize(NULL, count, sizeof(*numbers));
    for (size_t i = 0; i < count; i++)
        numbers[i] = (int64_t)(found[i].index - (i ? found[i - 1].index : 0));
    column_encode_ints(numbers, count, family->header, family->payload);
    for (size_t i = 0; i < count; i++)
        numbers[i] = batch_time_between(family->records[found[i].index].time_ms, found[i].sample.time_ms);
    column_encode_ints(numbers, count, family->header, family->payload);
    CLEANUP_FREE double *values = mem_resize(NULL, count, 2 * sizeof(*values));
    double *bases = values + count;
    for (size_t i = 0; i < count; i++) {
        values[i] = found[i].sample.value;
        bases[i] = family->records[found[i].index].last;
    }
    column_encode_doubles(values, bases, count, family->header, family->payload);
}

/* Extras come member by member and are written slot-major. */
static void write_extras(const struct batch_family *family)
{
    size_t total = 0;
    for (size_t m = 0; m < family->member_count; m++)
        total += family->members[m].extra_count;
    CLEANUP_FREE struct found_extra *found = mem_array(total, sizeof(*found));
    size_t n = 0;
    for (size_t m = 0; m < family->member_count; m++) {
        const struct batch_member *member = &family->members[m];
        for (size_t e = 0; e < member->extra_count; e++, n++) {
            size_t slot = member->extras[e].index - member->extra_base;
            found[n] = (struct found_extra){slot * family->member_count + m, n, member->extras[e].sample};
        }
    }
    if (total > 0)
        qsort(found, total, sizeof(*found), compare_found);
    write_found(family, found, total);
}

void batch_family_write(struct batch_family *family)
{
    for (size_t m = 0; m < family->member_count; m++)
        for (size_t slot = 0; slot < family->slots; slot++)
            family->records[slot * family->member_count + m] = family->members[m].records[slot];
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
                                    .records = mem_resize(NULL, records_max, sizeof(*family->records)),
                                    .values = mem_resize(NULL, records_max, sizeof(*family->values)),
                                    .bases = mem_resize(NULL, records_max, sizeof(*family->bases)),
                                    .numbers = mem_resize(NULL, records_max, sizeof(*family->numbers)),
                                    .per_slot = mem_array(slots_max, sizeof(*family->per_slot))};
}

void batch_family_done(struct batch_family *family)
{
    mem_free(family->records);
    mem_free(family->values);
    mem_free(family->bases);
    mem_free(family->numbers);
    mem_free(family->per_slot);
}
