#pragma once
/* Samples of one series in order of time, wherever they come from: the store, or the steps of a subquery. Private to
 * the evaluator. */
#include "promql/eval_state.h"

#define SOURCE_SAMPLES 1024 /* read at once */

/* Times that arithmetic may reach; far behind every real one, and sums of two still fit. */
#define TIME_MS_MAX (INT64_C(1) << 61)

struct source {
    struct eval *eval;
    const struct ast *ast;        /* for errors */
    struct sample_reader *reader; /* from the store; */
    struct source *counts; /* of the same series: then a second sample follows each, with the count of its record */
    const struct promql_series *series; /* or from the filled steps of a series */
    const struct grid *grid;
    size_t step;
    struct sample *buffer; /* SOURCE_SAMPLES */
    size_t at, count;
    int error; /* negative after a failure: then there are no more samples */
};

/* False at the end, or after a failure. */
bool source_fill(struct source *source);
/* The next sample, which stays next until source->at is counted up; NULL at the end or after a failure. */
static inline const struct sample *source_peek(struct source *source)
{
    if (source->at == source->count && !source_fill(source))
        return NULL;
    return &source->buffer[source->at];
}

/* Where a selector or subquery looks at each step of its grid: @ and offset are in it. */
struct lookup {
    int64_t first_ms;
    int64_t step_ms;  /* 0 with @ */
    int64_t range_ms; /* of windows; how far back a sample may lie for instant selectors */
};
struct lookup lookup_of(const struct eval *eval, const struct grid *grid, const struct ast *ast);
static inline int64_t lookup_time_ms(const struct lookup *lookup, size_t step)
{
    return lookup->first_ms + (int64_t)step * lookup->step_ms;
}
/* The steps a subquery's inner expression is evaluated at; steps 0: none fits. */
struct grid lookup_subgrid(const struct eval *eval, const struct grid *grid, const struct ast *subquery);

/* Consumers embed it: called for each series of a selector, in order of labels. */
struct scan {
    enum select_field field; /* what is read of each record; SELECT_LAST: true samples */
    bool counted;            /* its count follows each sample, for weights */
    int (*series)(struct scan *scan, struct labels *labels, struct source *source);
};
MUST_CHECK int scan_selector(struct eval *eval, const struct grid *grid, const struct ast *selector, struct scan *scan);
/* The same over a subquery. */
MUST_CHECK int scan_subquery(struct eval *eval, const struct grid *grid, const struct ast *subquery, struct scan *scan);
