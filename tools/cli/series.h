#pragma once
/* One series of a query's answer, and the time that all of them span. Plain values; what is drawn is made of them. */
#include "metric/labels.h"

struct query_point {
    int64_t time_ms;
    double value;
    const char *text; /* as it came; of the answer */
};

struct query_series {
    struct labels *labels;
    struct query_point *points; /* in order of time; at least one */
    size_t count;
};

struct series_span {
    int64_t start_ms, end_ms;
    int64_t step_ms; /* > 0; between points further apart than one and a half of it there is a gap */
};

/* From the first point to the last of all series; the step is the median of what lies between neighbours of the longest
 * series. Of no series: zeros and a step of one. */
struct series_span series_span_of(const struct query_series *series, size_t count);
/* Steps of a span, at least one. */
size_t series_span_steps(const struct series_span *span);
static inline bool series_is_gap(const struct series_span *span, int64_t before_ms, int64_t after_ms)
{
    return after_ms - before_ms > span->step_ms + span->step_ms / 2;
}

struct series_extremes {
    double min, max; /* NaN: there is nothing else */
    double last;
    double low, high, mean; /* of the finite values */
    size_t finite_count;    /* 0: low, high and mean are 0 */
};
struct series_extremes series_extremes_of(const struct query_series *series);
