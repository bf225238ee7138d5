#include "metric/record.h"

/* No sample lies before it, so that a record that never got one gives way to any other when they are merged. */
#define TIME_NONE      INT64_MIN

#define SUM_DIGITS_MAX 9
/* A sum may be off by this share of what was added: two roundings of each side and one of the result. */
#define SUM_ERROR 0x1p-51

double sum_settle(double sum, double error)
{
    static const double powers[SUM_DIGITS_MAX + 1] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
    for (int e = 0; e <= SUM_DIGITS_MAX; e++) {
        double units = sum * powers[e], slack = error * powers[e];
        if (!(slack < 0.25)) /* too coarse to tell one decimal from the next; NaN and infinity too */
            return sum;
        double whole = rint(units);
        if (fabs(units - whole) <= slack)
            return whole / powers[e];
    }
    return sum;
}

double sum_add(double a, double b)
{
    return sum_settle(a + b, (fabs(a) + fabs(b)) * SUM_ERROR);
}

struct record record_empty(enum series_kind kind)
{
    struct record record = {.time_ms = TIME_NONE, .last = value_stale(), .kind = (uint8_t)kind};
    record_fill_constant(&record);
    return record;
}

/* The smaller, NaN apart; of equal ones (and of two NaN) the earlier, so that grouping does not matter. */
static double min_of(double earlier, double later)
{
    return later < earlier || (isnan(earlier) && !isnan(later)) ? later : earlier;
}

static double max_of(double earlier, double later)
{
    return later > earlier || (isnan(earlier) && !isnan(later)) ? later : earlier;
}

void record_add(struct record *record, struct sample sample)
{
    if (value_is_stale(sample.value)) {
        record->time_ms = sample.time_ms;
        record->last = sample.value;
        return;
    }
    struct record one = {.time_ms = sample.time_ms, .last = sample.value, .count = 1, .kind = record->kind};
    record_fill_constant(&one);
    record_merge(record, &one);
}

void record_merge(struct record *record, const struct record *next)
{
    if (next->time_ms == TIME_NONE)
        return;
    bool same = record_is_constant(record) && record_is_constant(next) && record->count > 0 && next->count > 0 &&
                double_bits(record->last) == double_bits(next->last);
    uint32_t count = record->count + next->count < record->count ? UINT32_MAX : record->count + next->count;
    /* Of a series whose kind changed only what both kinds have goes on: the last value. */
    if (record->kind != next->kind)
        record->kind = record->kind == KIND_COUNTER || next->kind == KIND_COUNTER ? KIND_COUNTER : KIND_LAST;
    if (next->count > 0 && record->count > 0) {
        record->min = min_of(record->min, next->min);
        record->max = max_of(record->max, next->max);
        record->sum = sum_add(record->sum, next->sum);
    } else if (next->count > 0) {
        record->min = next->min;
        record->max = next->max;
        record->sum = next->sum;
    }
    record->time_ms = next->time_ms;
    record->last = next->last;
    record->count = count;
    if (same || !kind_has_range(record->kind))
        record_fill_constant(record);
}

bool record_wins(const struct record *candidate, const struct record *present)
{
    if (candidate->count != present->count)
        return candidate->count > present->count;
    return candidate->time_ms > present->time_ms;
}
