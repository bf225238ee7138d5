#pragma once
/* Functions that turn each value into another, series by series: mathematics, comparison with a scalar, parts of dates.
 * Private to the evaluator. */
#include "promql/eval_state.h"

#define MAPPER_ARGS_MAX 2

struct mapper {
    struct eval *eval;
    const struct grid *grid;
    const struct ast *ast; /* whose function it is, for errors */
    bool drop_name;
    bool strict; /* see struct merge */
    /* Fills `out`, which is empty, from `in`. */
    void (*map)(const struct mapper *mapper, const struct promql_series *in, struct promql_series *out);
    double (*function)(double value);    /* for map's use */
    const double *args[MAPPER_ARGS_MAX]; /* likewise; a value per step */

    struct sink sink; /* from here on mapper_run's */
    struct promql_series out;
    struct sink *next;
};

/* Evaluates inner, maps its series, emits them. */
MUST_CHECK int mapper_run(struct mapper *mapper, const struct ast *inner, struct sink *next);
