#pragma once
/* Series as lines over time, on a field with axes. */
#include "output.h"
#include "series.h"

#define PLOT_SERIES_MAX  64 /* more cannot be told apart by anybody */
#define PLOT_COLUMNS_MIN 20
#define PLOT_ROWS_MIN    4

struct plot {
    const struct query_series *series;
    size_t count; /* at most PLOT_SERIES_MAX */
    const struct series_span *span;
    size_t columns, rows; /* of all, axes included; the least is made of less */
};

/* Appends lines. Each series has a colour (output_on(STYLE_SERIES + its index)); without colours, or without UTF-8,
 * each has a letter (plot_mark), and a single one with UTF-8 dots. What is NaN or not there is a gap; infinities run
 * along the edge. */
void plot_print(const struct plot *plot, const struct output *output, struct buf *out);
/* What stands for a series in a legend. */
const char *plot_mark(size_t index, size_t count, const struct output *output);
