#pragma once
/* What one evaluation carries through its functions, and how series flow between them. Private to the evaluator.
 *
 * Every node of the tree is evaluated once over a whole grid of steps and pushes its series, one after the other, into
 * the sink of the node above. A series belongs to who emits it and is valid during the call only: nodes that work
 * series by series (selectors, range functions, arithmetic with scalars, most aggregations) hold one at a time, others
 * collect into a vector. Of the series that a node emits no two have the same labels, unless they are never filled at
 * the same step and pass through a merge (struct merge) on their way. */
#include "promql/eval.h"
#include "promql/functions_ids.h"
#include "promql/label_table.h"
#include "promql/vector.h"

/* The steps a node is evaluated at. Those of subqueries differ from the query's. */
struct grid {
    int64_t start_ms;
    int64_t step_ms; /* > 0 when steps > 1 */
    size_t steps;    /* >= 1 */
};
static inline int64_t grid_time_ms(const struct grid *grid, size_t step)
{
    return grid->start_ms + (int64_t)step * grid->step_ms;
}

struct eval {
    const struct promql_query *query;
    struct budget *budget;
    struct promql_result *result;
    struct promql_error *error;
    enum promql_failure failure;
    int64_t deadline_ms;       /* monotonic; INT64_MAX: none */
    _Atomic uint64_t *samples; /* read from the store, by all threads of the query */
    uint64_t queried;          /* as promql_result_queried counts them */
    size_t work;               /* samples and steps since the last look at deadline and cancelled */
};

/* What a consumer needs of the series that come to it. */
struct series_wanted {
    struct labels_wanted labels;
    bool any_order; /* they may come in any order, and its result is the same to the bit */
};

/* Consumers embed it in a struct of their own. 0, or a negative errno once the evaluation has failed. */
struct sink {
    int (*emit)(struct sink *sink, const struct promql_series *series);
    const struct series_wanted *wanted; /* NULL: all labels, in order. Who emits may give more */
};

/* Records the first failure; always -EINVAL, for `return eval_fail(...)`. */
int eval_fail(struct eval *eval, enum promql_failure failure, const struct ast *at, const char *format, ...)
    PRINTF_LIKE(4, 5);
int eval_fail_memory(struct eval *eval, const struct ast *at); /* past the budget */
int eval_fail_duplicate(struct eval *eval, const struct ast *at);
void eval_warn(struct eval *eval, const char *format, ...) PRINTF_LIKE(2, 3);
void eval_info(struct eval *eval, const char *format, ...) PRINTF_LIKE(2, 3);
/* To be told of all work done: samples read, steps computed. Fails past the deadline or when cancelled. */
MUST_CHECK int eval_work_slow(struct eval *eval);
#define EVAL_WORK_MAX 1024 /* samples or steps between two looks at the deadline */
MUST_CHECK static inline int eval_work(struct eval *eval, size_t work)
{
    eval->work += work;
    return eval->work < EVAL_WORK_MAX ? 0 : eval_work_slow(eval);
}

/* eval.c: the walk. */
MUST_CHECK int eval_node(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink);
/* All series of a vector node; ret_vector is initialised by the call and the caller's to vector_done, failed or not. */
MUST_CHECK int eval_vector(struct eval *eval, const struct grid *grid, const struct ast *ast,
                           struct vector *ret_vector);
/* A scalar node's value per step, to be freed by budget_free; NULL after a failure. */
double *eval_scalar(struct eval *eval, const struct grid *grid, const struct ast *ast);
const struct ast *ast_unparen(const struct ast *ast);
struct str ast_string(const struct ast *ast); /* of a string node, perhaps in parentheses */
/* Emits all series and frees each behind it. */
MUST_CHECK int vector_drain(struct vector *vector, struct sink *sink);
MUST_CHECK int eval_emit_scalar(struct eval *eval, const struct grid *grid, const double *values, struct sink *sink);
/* True when no two series of the node's answer can differ in their name alone: it can be dropped without a check. */
bool ast_has_one_name(const struct ast *ast);

/* eval_merge.c: a sink that joins series with equal labels that are never filled at the same step, else fails. */
struct merge {
    struct sink sink;
    struct eval *eval;
    const struct ast *ast;
    bool strict; /* no two series with equal labels at all: what Prometheus asks of range functions */
    struct label_table table;
    struct vector vector;
};
void merge_init(struct merge *merge, struct eval *eval, const struct grid *grid, const struct ast *ast);
void merge_done(struct merge *merge);

/* eval_select.c, eval_range.c, eval_binary.c, vector_match.c, aggregation*.c, functions_*.c, histogram.c */
typedef int eval_call_fn(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink);
eval_call_fn eval_selector, eval_call, eval_range_call, eval_binary, eval_unary, eval_vector_match, eval_aggregate,
    eval_aggregate_ordered;
eval_call_fn call_math, call_clamp, call_round, call_absent, call_scalar, call_vector, call_time, call_pi,
    call_timestamp, call_date, call_sort, call_label_replace, call_label_join, call_histogram_quantile,
    call_native_histogram;
/* The samples themselves of a range selector or subquery, for an instant query. */
MUST_CHECK int eval_matrix(struct eval *eval, const struct grid *grid, const struct ast *ast,
                           struct promql_value *ret_value);
MUST_CHECK int eval_selector_times(struct eval *eval, const struct grid *grid, const struct ast *ast,
                                   struct sink *sink);
struct labels *absent_labels(const struct ast *ast); /* of absent() and absent_over_time() over this argument */
/* Where any series has a value. */
struct found {
    struct sink sink;
    size_t steps;
    struct promql_series series;
};
MUST_CHECK bool found_init(struct found *found, struct eval *eval,
                           const struct grid *grid); /* series.values: to be freed */
MUST_CHECK int emit_absent(struct eval *eval, const struct grid *grid, const struct ast *arg,
                           const struct promql_series *found, struct sink *sink);

/* Arithmetic and comparison of two values; ret_keep: what a comparison says. */
double binary_apply(enum ast_operator op, double left, double right, bool *ret_keep);
bool operator_drops_name(enum ast_operator op);
double quantile_of_sorted(double q, const double *values, size_t count);
/* eval_sort.c: qsort that counts as work and takes its memory from the budget. */
typedef int eval_order_fn(const void *a, const void *b);
MUST_CHECK int eval_sort(struct eval *eval, void *items, size_t count, size_t size, eval_order_fn *order);
MUST_CHECK int eval_sort_values(struct eval *eval, double *values, size_t count); /* ascending, NaN first */
struct place {
    double value;
    size_t index; /* of its series: equal values stay in this order */
};
/* Ascending or descending; NaN last in both. */
MUST_CHECK int places_sort(struct eval *eval, struct place *places, size_t count, bool down);
