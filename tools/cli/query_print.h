#pragma once
/* A query's result in one of its forms. */
#include "output.h"
#include "query_result.h"

enum query_format {
    QUERY_FORMAT_AUTO, /* on a terminal a table or, of a range, a plot of few series or sparklines of many; else plain
                        */
    QUERY_FORMAT_TABLE,
    QUERY_FORMAT_SPARK,
    QUERY_FORMAT_PLOT,
    QUERY_FORMAT_PLAIN,
    QUERY_FORMAT_JSON,
    QUERY_FORMAT_CSV,
    QUERY_FORMAT_PROM
};
#define QUERY_FORMAT_NAMES "table, spark, plot, plain, json, csv, prom"

struct query_look {
    enum query_format format;
    bool exact;                     /* numbers as the daemon wrote them, in all forms */
    const struct series_span *span; /* that was asked; NULL: none, then what came */
};

/* One of the names above; -EINVAL. */
MUST_CHECK int query_format_parse(const char *name, enum query_format *ret_format);
/* CLI_OK, or CLI_USAGE and said why: the result cannot be shown so. Not JSON, which is the answer as it came. */
MUST_CHECK enum cli_exit query_print(const struct query_result *result, const struct query_look *look,
                                     const struct output *output);
