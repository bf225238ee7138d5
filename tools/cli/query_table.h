#pragma once
/* A query's result for people: tables, sparklines, plots. */
#include "output.h"
#include "query_result.h"

struct query_view {
    const struct output *output;
    bool exact;              /* numbers as the daemon wrote them */
    struct series_span span; /* of a range */
};

/* A line per series: its labels and its value. Above it, once, the labels that all have. */
void query_table_vector(const struct query_result *result, const struct query_view *view, FILE *out);
/* A line per series: its shape, minimum, maximum and last value. */
void query_table_sparks(const struct query_result *result, const struct query_view *view, FILE *out);
/* The series as lines over time, PLOT_SERIES_MAX at most, and below them a table as legend. */
void query_table_plot(const struct query_result *result, const struct query_view *view, FILE *out);
