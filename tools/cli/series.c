#include "series.h"

#include "base/fail.h"

#include <math.h>
#include <stdlib.h>

static int compare_times(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static int64_t median_step(const struct query_series *series)
{
    size_t count = series->count - 1;
    if (count == 0)
        return 1;
    CLEANUP_FREE int64_t *steps = mem_array(count, sizeof(*steps));
    for (size_t i = 0; i < count; i++)
        steps[i] = series->points[i + 1].time_ms - series->points[i].time_ms;
    qsort(steps, count, sizeof(*steps), compare_times);
    return MAX(steps[(count - 1) / 2], 1);
}

struct series_span series_span_of(const struct query_series *series, size_t count)
{
    if (count == 0)
        return (struct series_span){.step_ms = 1};
    struct series_span span = {.start_ms = INT64_MAX, .end_ms = INT64_MIN};
    const struct query_series *longest = series;
    for (size_t i = 0; i < count; i++) {
        span.start_ms = MIN(span.start_ms, series[i].points[0].time_ms);
        span.end_ms = MAX(span.end_ms, series[i].points[series[i].count - 1].time_ms);
        if (series[i].count > longest->count)
            longest = &series[i];
    }
    span.step_ms = median_step(longest);
    return span;
}

size_t series_span_steps(const struct series_span *span)
{
    return (size_t)((span->end_ms - span->start_ms) / span->step_ms) + 1;
}

struct series_extremes series_extremes_of(const struct query_series *series)
{
    struct series_extremes extremes = {.min = NAN, .max = NAN, .last = series->points[series->count - 1].value};
    for (size_t i = 0; i < series->count; i++) {
        double value = series->points[i].value;
        extremes.min = fmin(extremes.min, value); /* NaN only where both are */
        extremes.max = fmax(extremes.max, value);
        if (!isfinite(value))
            continue;
        bool first = extremes.finite_count++ == 0;
        extremes.low = first ? value : fmin(extremes.low, value);
        extremes.high = first ? value : fmax(extremes.high, value);
        /* Each divided for itself: the difference of two large ones may be infinite. */
        extremes.mean += value / (double)extremes.finite_count - extremes.mean / (double)extremes.finite_count;
    }
    return extremes;
}
