#include "spark.h"

#include "base/fail.h"

#include <math.h>

#define LEVELS 8

size_t spark_columns(const struct series_span *span, size_t columns_max)
{
    return MIN(MIN(columns_max, (size_t)SPARK_COLUMNS_MAX), series_span_steps(span));
}

static size_t column_of(const struct series_span *span, size_t columns, int64_t time_ms)
{
    size_t steps = series_span_steps(span);
    size_t step = (size_t)((time_ms - span->start_ms) / span->step_ms);
    return MIN((size_t)((double)step / (double)steps * (double)columns + 1e-9), columns - 1);
}

static void keep(double *shown, double value, double mean)
{
    if (isnan(*shown) || fabs(value - mean) > fabs(*shown - mean))
        *shown = value;
}

/* What each column shows, NaN: nothing. */
static void collect(const struct query_series *series, const struct series_span *span, double mean, size_t columns,
                    double *ret_shown)
{
    for (size_t i = 0; i < columns; i++)
        ret_shown[i] = NAN;
    size_t last = 0;
    for (size_t i = 0; i < series->count; i++) {
        const struct query_point *point = &series->points[i];
        size_t column = column_of(span, columns, point->time_ms);
        bool joined = i > 0 && !series_is_gap(span, point[-1].time_ms, point->time_ms);
        for (size_t j = last + 1; joined && j < column; j++) /* samples that come a little late */
            ret_shown[j] = point[-1].value;
        if (!isnan(point->value))
            keep(&ret_shown[column], point->value, mean);
        last = column;
    }
}

static size_t level_of(const struct series_extremes *extremes, double value)
{
    if (extremes->low == extremes->high && isfinite(value))
        return value == 0 ? 0 : LEVELS / 2;
    if (value <= extremes->low)
        return 0;
    if (value >= extremes->high)
        return LEVELS - 1;
    /* Halves: the whole may be infinite. */
    double share = (value / 2 - extremes->low / 2) / (extremes->high / 2 - extremes->low / 2);
    return MIN((size_t)(share * LEVELS), LEVELS - 1);
}

void spark_print(const struct query_series *series, const struct series_span *span, size_t columns, bool utf8,
                 struct buf *out)
{
    static const char *const bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const letters[] = {"_", ".", ":", "-", "=", "+", "*", "#"};
    double shown[SPARK_COLUMNS_MAX] = {0};
    ASSERT(columns >= 1 && columns <= SPARK_COLUMNS_MAX);
    struct series_extremes extremes = series_extremes_of(series);
    collect(series, span, extremes.mean, columns, shown);
    for (size_t i = 0; i < columns; i++)
        buf_append_text(out, isnan(shown[i]) ? " " : (utf8 ? bars : letters)[level_of(&extremes, shown[i])]);
}
