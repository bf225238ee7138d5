/* What items bring, taken apart as columns want it. */
#include "base/fail.h"
#include "hop/batch_body.h"

/* Room for `more` things of `size` bytes behind `count`. */
static void *grown(void *things, size_t count, size_t more, size_t size, size_t *capacity)
{
    if (count + more <= *capacity)
        return things;
    *capacity = MAX(2 * *capacity, count + more + 64);
    return mem_resize(things, *capacity, size);
}

struct batch_mark batch_records_mark(const struct batch_records *records)
{
    return (struct batch_mark){records->last_count, records->range_count, records->odd_count, records->extra_count};
}

void batch_records_back(struct batch_records *records, const struct batch_mark *mark)
{
    records->last_count = mark->last;
    records->range_count = mark->range;
    records->odd_count = mark->odd;
    records->extra_count = mark->extra;
}

static void take_extras(struct batch_records *records, const struct batch_item *item)
{
    records->extras = grown(records->extras, records->extra_count, item->extra_count, sizeof(*records->extras),
                            &records->extra_capacity);
    for (size_t i = 0; i < item->extra_count; i++) {
        const struct record_extra *extra = &item->extras[i];
        records->extras[records->extra_count++] = (struct batch_extra){
            .index = extra->index,
            .before_ms = batch_time_between(item->records[extra->index].time_ms, extra->sample.time_ms),
            .value = extra->sample.value};
    }
}

void batch_records_take(struct batch_records *records, const struct batch_item *item, size_t slots)
{
    if (slots == 0)
        return;
    records->lasts =
        grown(records->lasts, records->last_count, slots, sizeof(*records->lasts), &records->last_capacity);
    records->ranges =
        grown(records->ranges, records->range_count, slots, sizeof(*records->ranges), &records->range_capacity);
    records->odds = grown(records->odds, records->odd_count, slots, sizeof(*records->odds), &records->odd_capacity);
    double *lasts = records->lasts + records->last_count;
    for (size_t i = 0; i < slots; i++) {
        const struct record *record = &item->records[i];
        lasts[i] = record->last;
        if (record->count != item->count || record->time_ms != item->time_ms)
            records->odds[records->odd_count++] =
                (struct batch_odd){.index = (uint32_t)i, .count = record->count, .time_ms = record->time_ms};
        if (!record_is_constant(record))
            records->ranges[records->range_count++] = (struct batch_range){.index = (uint32_t)i,
                                                                           .count = record->count,
                                                                           .min = record->min,
                                                                           .max = record->max,
                                                                           .sum = record->sum};
    }
    records->last_count += slots;
    take_extras(records, item);
}

void batch_records_done(struct batch_records *records)
{
    mem_free(records->lasts);
    mem_free(records->ranges);
    mem_free(records->odds);
    mem_free(records->extras);
    *records = (struct batch_records){0};
}
