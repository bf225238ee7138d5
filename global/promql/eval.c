#include "promql/eval.h"

#include "base/fail.h"
#include "promql/eval_state.h"
#include "promql/functions.h"
#include "promql/label_set.h"
#include "promql/result.h"

#include <errno.h>

#define QUERY_TIME_MS_MAX (INT64_C(1) << 60) /* either side of 1970: sums with ranges and offsets do not overflow */

const struct ast *ast_unparen(const struct ast *ast)
{
    while (ast->kind == AST_PAREN)
        ast = ast->inner;
    return ast;
}

struct str ast_string(const struct ast *ast)
{
    ast = ast_unparen(ast);
    ASSERT(ast->kind == AST_STRING);
    return ast->string;
}

/* Functions that read the time of the step: their answer changes from step to step whatever their arguments do. */
static bool function_reads_time(uint16_t id)
{
    switch (id) {
    case FUNCTION_DAYS_IN_MONTH:
    case FUNCTION_DAY_OF_MONTH:
    case FUNCTION_DAY_OF_WEEK:
    case FUNCTION_DAY_OF_YEAR:
    case FUNCTION_HOUR:
    case FUNCTION_MINUTE:
    case FUNCTION_MONTH:
    case FUNCTION_YEAR:
    case FUNCTION_PREDICT_LINEAR:
    case FUNCTION_TIME:
    case FUNCTION_TIMESTAMP:
        return true;
    default:
        return false;
    }
}

/* The same answer at every step, so that one will do. */
static bool is_invariant(const struct ast *ast)
{
    switch (ast->kind) {
    case AST_NUMBER:
    case AST_STRING:
        return true;
    case AST_SELECTOR:
    case AST_SUBQUERY:
        return ast->at != AT_NONE;
    case AST_PAREN:
        return is_invariant(ast->inner);
    case AST_UNARY:
        return is_invariant(ast->unary.inner);
    case AST_BINARY:
        return is_invariant(ast->binary.left) && is_invariant(ast->binary.right);
    case AST_AGGREGATE:
        return is_invariant(ast->aggregate.inner) && (!ast->aggregate.param || is_invariant(ast->aggregate.param));
    case AST_CALL:
        break;
    }
    if (function_reads_time(ast->call.function->id))
        return false;
    for (size_t i = 0; i < ast->call.arg_count; i++)
        if (!is_invariant(ast->call.args[i]))
            return false;
    return true;
}

bool ast_has_one_name(const struct ast *ast)
{
    ast = ast_unparen(ast);
    switch (ast->kind) {
    case AST_SELECTOR:
        for (size_t i = 0; i < ast->selector.matcher_count; i++) {
            const struct matcher *matcher = &ast->selector.matchers[i];
            if (matcher->type == MATCH_EQUAL && str_equal(matcher->name, STR(LABEL_NAME)))
                return true;
        }
        return false;
    case AST_SUBQUERY:
        return ast_has_one_name(ast->subquery.inner);
    case AST_CALL:
        /* Range functions drop the name themselves. */
        return ast->call.arg_count == 1 && ast->call.function->args[0] == PROMQL_MATRIX &&
               ast->call.function->id != FUNCTION_LAST_OVER_TIME;
    default:
        return false;
    }
}

/* ---- Sinks ------------------------------------------------------------------------------------------------------ */

struct collect {
    struct sink sink;
    struct eval *eval;
    const struct ast *ast;
    struct vector *vector;
};

static int collect_emit(struct sink *sink, const struct promql_series *series)
{
    struct collect *collect = CONTAINER_OF(sink, struct collect, sink);
    if (series_is_empty(series, collect->vector->steps))
        return 0;
    int error = eval_work(collect->eval, 1 + promql_words(collect->vector->steps));
    if (error < 0)
        return error;
    return vector_add_copy(collect->vector, series) ? 0 : eval_fail_memory(collect->eval, collect->ast);
}

int eval_vector(struct eval *eval, const struct grid *grid, const struct ast *ast, struct vector *ret_vector)
{
    vector_init(ret_vector, eval->budget, grid->steps);
    struct collect collect = {{.emit = collect_emit}, eval, ast, ret_vector};
    return eval_node(eval, grid, ast, &collect.sink);
}

struct take_values {
    struct sink sink;
    size_t steps;
    double *values;
};

static int take_values_emit(struct sink *sink, const struct promql_series *series)
{
    struct take_values *take = CONTAINER_OF(sink, struct take_values, sink);
    memcpy(take->values, series->values, take->steps * sizeof(double));
    return 0;
}

double *eval_scalar(struct eval *eval, const struct grid *grid, const struct ast *ast)
{
    CLEANUP_BUDGET double *values = budget_array(eval->budget, grid->steps, sizeof(double));
    if (!values) {
        eval_fail_memory(eval, ast);
        return NULL;
    }
    struct take_values take = {{.emit = take_values_emit}, grid->steps, values};
    if (eval_node(eval, grid, ast, &take.sink) < 0)
        return NULL;
    return STEAL(values);
}

int vector_drain(struct vector *vector, struct sink *sink)
{
    for (size_t i = 0; i < vector->count; i++) {
        int error = sink->emit(sink, &vector->series[i]);
        if (error < 0)
            return error;
        vector_drop(vector, i);
    }
    return 0;
}

int eval_emit_scalar(struct eval *eval, const struct grid *grid, const double *values, struct sink *sink)
{
    CLEANUP(labels_unrefp) struct labels *none = labels_new(NULL, 0);
    struct promql_series series = {.labels = none};
    if (!series_slots(eval->budget, grid->steps, &series))
        return eval_fail_memory(eval, NULL);
    CLEANUP_BUDGET UNUSED double *slots = series.values;
    for (size_t step = 0; step < grid->steps; step++)
        promql_set(&series, step, values[step]);
    int error = eval_work(eval, grid->steps);
    return error < 0 ? error : sink->emit(sink, &series);
}

/* One value, at all steps. */
struct broadcast {
    struct sink sink;
    struct eval *eval;
    size_t steps;
    struct sink *next;
    struct promql_series series;
};

static int broadcast_emit(struct sink *sink, const struct promql_series *series)
{
    struct broadcast *broadcast = CONTAINER_OF(sink, struct broadcast, sink);
    if (!promql_present(series, 0))
        return 0;
    broadcast->series.labels = series->labels;
    for (size_t step = 0; step < broadcast->steps; step++)
        promql_set(&broadcast->series, step, series->values[0]);
    int error = eval_work(broadcast->eval, broadcast->steps);
    return error < 0 ? error : broadcast->next->emit(broadcast->next, &broadcast->series);
}

static int eval_invariant(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    struct broadcast broadcast = {.sink = {.emit = broadcast_emit}, .eval = eval, .steps = grid->steps, .next = sink};
    if (!series_slots(eval->budget, grid->steps, &broadcast.series))
        return eval_fail_memory(eval, ast);
    CLEANUP_BUDGET UNUSED double *slots = broadcast.series.values;
    struct grid one = {grid->start_ms, grid->step_ms, 1};
    uint64_t queried = eval->queried;
    int error = eval_node(eval, &one, ast, &broadcast.sink);
    eval->queried += (eval->queried - queried) * (grid->steps - 1); /* its samples count at each step */
    return error;
}

/* ---- The walk ---------------------------------------------------------------------------------------------------- */

int eval_node(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    int error = eval_work(eval, 1);
    if (error < 0)
        return error;
    if (grid->steps > 1 && is_invariant(ast))
        return eval_invariant(eval, grid, ast, sink);
    switch (ast->kind) {
    case AST_NUMBER:
        return eval_emit_scalar(eval, grid, &ast->number, sink); /* invariant: one step */
    case AST_PAREN:
        return eval_node(eval, grid, ast->inner, sink);
    case AST_UNARY:
        return eval_unary(eval, grid, ast, sink);
    case AST_SELECTOR:
        return eval_selector(eval, grid, ast, sink);
    case AST_CALL:
        return eval_call(eval, grid, ast, sink);
    case AST_AGGREGATE:
        return eval_aggregate(eval, grid, ast, sink);
    case AST_BINARY:
        return eval_binary(eval, grid, ast, sink);
    case AST_STRING:
    case AST_SUBQUERY:
        break; /* the checker lets them stand only where their parents read them */
    }
    return eval_fail(eval, PROMQL_INTERNAL, ast, "a %s can not be evaluated here", promql_type_name(ast->type));
}

static int eval_string(struct eval *eval, const struct ast *root, struct promql_value *value)
{
    struct str text = ast_string(root);
    char *copy = budget_array(eval->budget, text.len + 1, 1);
    if (!copy)
        return eval_fail_memory(eval, root);
    if (text.len > 0)
        memcpy(copy, text.ptr, text.len);
    value->string = str_of(copy, text.len);
    return 0;
}

static int eval_root(struct eval *eval, const struct grid *grid, const struct ast *root)
{
    struct promql_result *result = eval->result;
    bool instant = eval->query->step_ms == 0;
    result->value.type = root->type;
    if (!instant && root->type != PROMQL_SCALAR && root->type != PROMQL_VECTOR)
        return eval_fail(eval, PROMQL_BAD_DATA, root,
                         "invalid expression type \"%s\" for range query, must be Scalar or instant Vector",
                         promql_type_name(root->type));
    if (root->type == PROMQL_STRING)
        return eval_string(eval, root, &result->value);
    if (root->type == PROMQL_MATRIX)
        return eval_matrix(eval, grid, root, &result->value);
    int error = eval_vector(eval, grid, root, &result->vector);
    if (error < 0)
        return error;
    if (!instant)
        error =
            eval_sort(eval, result->vector.series, result->vector.count, sizeof(struct promql_series), series_order);
    if (error < 0)
        return error;
    result->value.series = result->vector.series;
    result->value.series_count = result->vector.count;
    return 0;
}

static int query_grid(struct eval *eval, struct grid *ret_grid)
{
    const struct promql_query *query = eval->query;
    if (query->start_ms < -QUERY_TIME_MS_MAX || query->end_ms > QUERY_TIME_MS_MAX)
        return eval_fail(eval, PROMQL_BAD_DATA, NULL, "the time of a query must lie within 30 million years of 1970");
    int64_t length_ms = query->end_ms - query->start_ms;
    if (length_ms < 0)
        return eval_fail(eval, PROMQL_BAD_DATA, NULL, "end timestamp must not be before start time");
    if (query->step_ms < 0)
        return eval_fail(eval, PROMQL_BAD_DATA, NULL, "the step of a query must be a positive number");
    *ret_grid = (struct grid){query->start_ms, 1, 1};
    if (query->step_ms == 0)
        return 0;
    if (length_ms / query->step_ms >= PROMQL_STEPS_MAX)
        return eval_fail(eval, PROMQL_BAD_DATA, NULL,
                         "exceeded maximum resolution of %d points per timeseries. Try decreasing the query "
                         "resolution (?step=XX)",
                         PROMQL_STEPS_MAX);
    ret_grid->step_ms = query->step_ms;
    ret_grid->steps = (size_t)(length_ms / query->step_ms) + 1;
    return 0;
}

enum promql_failure promql_eval(const struct promql_query *query, struct promql_error *ret_error,
                                struct promql_result **ret_result)
{
    CLEANUP(promql_result_freep) struct promql_result *result = promql_result_new(query);
    _Atomic uint64_t samples = 0;
    struct eval eval = {.query = query,
                        .samples = &samples,
                        .budget = result->budget,
                        .result = result,
                        .error = ret_error,
                        .deadline_ms = INT64_MAX};
    int64_t now_ms = clock_mono_ms(query->clock);
    if (query->limits.timeout_ms > 0 && query->limits.timeout_ms < INT64_MAX - now_ms)
        eval.deadline_ms = now_ms + query->limits.timeout_ms;
    struct grid grid = {0};
    if (eval_work_slow(&eval) < 0 || query_grid(&eval, &grid) < 0 ||
        eval_root(&eval, &grid, promql_expression_root(query->expression)) < 0) {
        ASSERT(eval.failure != PROMQL_OK);
        return eval.failure;
    }
    result->steps = grid.steps;
    result->samples = samples;
    result->queried = eval.queried;
    *ret_result = STEAL(result);
    return PROMQL_OK;
}
