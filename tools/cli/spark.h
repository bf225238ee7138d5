#pragma once
/* A series as one line of bars. */
#include "base/buf.h"
#include "series.h"

#define SPARK_COLUMNS_MAX 1000

/* Columns that a sparkline of the span takes, of those there are: no more than there are steps. */
size_t spark_columns(const struct series_span *span, size_t columns_max);
/* Appends exactly so many places (of spark_columns): from the series' smallest value to its largest, a space where
 * there is none. Of a column with several values it shows the one that is furthest from the mean, so that peaks and
 * dips of a single step are seen however narrow it is. utf8 false: in ASCII. */
void spark_print(const struct query_series *series, const struct series_span *span, size_t columns, bool utf8,
                 struct buf *out);
