#pragma once
/* Samples of one series in order of time, wherever they come from: the store, or the steps of a subquery. Private to
 * the evaluator. */
#include "promql/eval_state.h"

#define SOURCE_SAMPLES 1024 /* read at once */

struct source {
    struct eval *eval;
    const struct ast *ast;        /* for errors */
    struct sample_reader *reader; /* from the store; */
    struct source_counts { /* of the same series: then a second sample follows each, with the count of its record */
        struct sample_reader *reader;
        struct sample *buffer; /* SOURCE_SAMPLES */
        size_t at, count;
    } * counts;
    const struct promql_series *series; /* or from the filled steps of a series */
    const struct grid *grid;
    size_t step;
};

/* The next samples, at most SOURCE_SAMPLES of them; 0 at the end, or a failure. */
MUST_CHECK int64_t source_read(struct source *source, struct sample ret_samples[static SOURCE_SAMPLES]);
