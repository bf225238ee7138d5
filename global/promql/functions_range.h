#pragma once
/* Functions over the samples of one window. Private to the evaluator. */
#include "promql/eval_state.h"

#define WINDOW_ARGS_MAX 2

struct window {
    const struct sample *samples; /* at least one; no stale markers */
    size_t count;
    bool falls;               /* some value may be below the one before: false means that none is */
    int64_t start_ms, end_ms; /* both ends belong to it */
    int64_t range_ms;
    int64_t step_time_ms;         /* of the step it is evaluated for; apart from end_ms with offset and @ */
    double args[WINDOW_ARGS_MAX]; /* the scalar arguments, in order */
    struct eval *eval;
    const struct ast *ast; /* the call, for errors */
    double *scratch;       /* of functions that sort; grows */
    size_t scratch_count;
};

/* 1 and a value, 0: none for this window, or a failure. */
typedef int range_fn(struct window *window, double *ret_value);
range_fn *range_function(uint16_t id); /* NULL: it is none over ranges */
/* It looks at few samples of each window, whatever their number (but for counters that fall). */
bool range_function_is_sliding(uint16_t id);

/* Over a selector some functions read the aggregates of the store's records, so that no scrape between two records is
 * lost. Over subqueries they work as range_function says. */
struct range_aggregate {
    range_fn *function; /* NULL: none, plain samples are read */
    enum select_field field;
    bool counted; /* behind each sample comes one with the count of its record */
};
struct range_aggregate range_aggregate(uint16_t id);
