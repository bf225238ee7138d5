/* Calls: which code evaluates which function, and the functions of whole vectors. */
#include "promql/eval_state.h"
#include "promql/functions.h"
#include "promql/functions_range.h"

#include <math.h>
#include <stdlib.h>

/* ---- absent --------------------------------------------------------------------------------------------------------
 */

/* What the missing series would be called: the labels that equality matchers ask for. A label that is matched more than
 * once is left out, as Prometheus does for old times' sake. */
__attribute__((noinline)) struct labels *absent_labels(const struct ast *ast)
{
    ast = ast_unparen(ast);
    if (ast->kind != AST_SELECTOR)
        return labels_new(NULL, 0);
    struct labels_builder builder;
    labels_builder_init(&builder, NULL);
    for (size_t i = 0; i < ast->selector.matcher_count; i++) {
        const struct matcher *matcher = &ast->selector.matchers[i];
        if (str_equal(matcher->name, STR(LABEL_NAME)))
            continue;
        bool again = false;
        for (size_t j = 0; j < i; j++)
            again = again || (ast->selector.matchers[j].type == MATCH_EQUAL &&
                              str_equal(ast->selector.matchers[j].name, matcher->name));
        if (matcher->type == MATCH_EQUAL && !again)
            labels_builder_set(&builder, matcher->name, matcher->value);
        else
            labels_builder_delete(&builder, matcher->name);
    }
    struct labels *labels = labels_builder_build(&builder);
    return labels ? labels : labels_new(NULL, 0);
}

int emit_absent(struct eval *eval, const struct grid *grid, const struct ast *arg, const struct promql_series *found,
                struct sink *sink)
{
    CLEANUP(labels_unrefp) struct labels *labels = absent_labels(arg);
    struct promql_series series = {.labels = labels};
    if (!series_slots(eval->budget, grid->steps, &series))
        return eval_fail_memory(eval, arg);
    CLEANUP_BUDGET UNUSED double *slots = series.values;
    bool any = false;
    for (size_t step = 0; step < grid->steps; step++) {
        if (promql_present(found, step))
            continue;
        promql_set(&series, step, 1);
        any = true;
    }
    return any ? sink->emit(sink, &series) : 0;
}

static int found_emit(struct sink *sink, const struct promql_series *series)
{
    struct found *found = CONTAINER_OF(sink, struct found, sink);
    for (size_t i = 0; i < promql_words(found->steps); i++)
        found->series.present[i] |= series->present[i];
    return 0;
}

bool found_init(struct found *found, struct eval *eval, const struct grid *grid)
{
    static const struct str no_names[1];
    static const struct series_wanted wanted = {.labels = {.names = no_names}, .any_order = true};
    *found = (struct found){.sink = {found_emit, &wanted}, .steps = grid->steps};
    return series_slots(eval->budget, grid->steps, &found->series);
}

int call_absent(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    const struct ast *arg = ast_unparen(ast->call.args[0]);
    struct found found;
    if (!found_init(&found, eval, grid))
        return eval_fail_memory(eval, ast);
    CLEANUP_BUDGET UNUSED double *slots = found.series.values;
    int error = eval_node(eval, grid, arg, &found.sink);
    return error < 0 ? error : emit_absent(eval, grid, arg, &found.series, sink);
}

/* ---- sort ----------------------------------------------------------------------------------------------------------
 */

static int ascending(const void *a, const void *b)
{
    const struct place *left = a;
    const struct place *right = b;
    if (isnan(left->value) != isnan(right->value))
        return isnan(left->value) ? 1 : -1; /* NaN last, in both directions */
    if (left->value != right->value && !isnan(left->value))
        return left->value < right->value ? -1 : 1;
    return left->index < right->index ? -1 : 1;
}

static int descending(const void *a, const void *b)
{
    const struct place *left = a;
    const struct place *right = b;
    bool plain = !isnan(left->value) && !isnan(right->value) && left->value != right->value;
    return plain ? ascending(b, a) : ascending(a, b);
}

int places_sort(struct eval *eval, struct place *places, size_t count, bool down)
{
    return eval_sort(eval, places, count, sizeof(*places), down ? descending : ascending);
}

/* An order means something at one step only; over a range Prometheus leaves it undefined. */
int call_sort(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    if (grid->steps > 1)
        return eval_node(eval, grid, ast->call.args[0], sink);
    CLEANUP(vector_done) struct vector vector;
    int error = eval_vector(eval, grid, ast->call.args[0], &vector);
    if (error < 0)
        return error;
    CLEANUP_BUDGET struct place *places = budget_array(eval->budget, vector.count, sizeof(*places));
    if (!places)
        return eval_fail_memory(eval, ast);
    for (size_t i = 0; i < vector.count; i++)
        places[i] = (struct place){vector.series[i].values[0], i};
    error = places_sort(eval, places, vector.count, ast->call.function->id == FUNCTION_SORT_DESC);
    if (error < 0)
        return error;
    for (size_t i = 0; i < vector.count; i++) {
        error = sink->emit(sink, &vector.series[places[i].index]);
        if (error < 0)
            return error;
    }
    return 0;
}

/* ---- Native histograms are not stored: of ordinary samples these functions give nothing ----------------------------
 */

static int ignore_emit(struct sink *sink, const struct promql_series *series)
{
    (void)sink;
    (void)series;
    return 0;
}

int call_native_histogram(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    (void)sink;
    struct sink ignore = {.emit = ignore_emit};
    for (size_t i = 0; i < ast->call.arg_count; i++) {
        int error = eval_node(eval, grid, ast->call.args[i], &ignore);
        if (error < 0)
            return error;
    }
    return 0;
}

/* ---- The table ------------------------------------------------------------------------------------------------------
 */

static eval_call_fn *call_of(uint16_t id)
{
    static eval_call_fn *const calls[FUNCTION_COUNT] = {
        [FUNCTION_ABS] = call_math,
        [FUNCTION_ABSENT] = call_absent,
        [FUNCTION_ACOS] = call_math,
        [FUNCTION_ACOSH] = call_math,
        [FUNCTION_ASIN] = call_math,
        [FUNCTION_ASINH] = call_math,
        [FUNCTION_ATAN] = call_math,
        [FUNCTION_ATANH] = call_math,
        [FUNCTION_CEIL] = call_math,
        [FUNCTION_CLAMP] = call_clamp,
        [FUNCTION_CLAMP_MAX] = call_clamp,
        [FUNCTION_CLAMP_MIN] = call_clamp,
        [FUNCTION_COS] = call_math,
        [FUNCTION_COSH] = call_math,
        [FUNCTION_DAY_OF_MONTH] = call_date,
        [FUNCTION_DAY_OF_WEEK] = call_date,
        [FUNCTION_DAY_OF_YEAR] = call_date,
        [FUNCTION_DAYS_IN_MONTH] = call_date,
        [FUNCTION_DEG] = call_math,
        [FUNCTION_EXP] = call_math,
        [FUNCTION_FLOOR] = call_math,
        [FUNCTION_HISTOGRAM_COUNT] = call_native_histogram,
        [FUNCTION_HISTOGRAM_FRACTION] = call_native_histogram,
        [FUNCTION_HISTOGRAM_QUANTILE] = call_histogram_quantile,
        [FUNCTION_HISTOGRAM_SUM] = call_native_histogram,
        [FUNCTION_HOUR] = call_date,
        [FUNCTION_LABEL_JOIN] = call_label_join,
        [FUNCTION_LABEL_REPLACE] = call_label_replace,
        [FUNCTION_LN] = call_math,
        [FUNCTION_LOG10] = call_math,
        [FUNCTION_LOG2] = call_math,
        [FUNCTION_MINUTE] = call_date,
        [FUNCTION_MONTH] = call_date,
        [FUNCTION_PI] = call_pi,
        [FUNCTION_RAD] = call_math,
        [FUNCTION_ROUND] = call_round,
        [FUNCTION_SCALAR] = call_scalar,
        [FUNCTION_SGN] = call_math,
        [FUNCTION_SIN] = call_math,
        [FUNCTION_SINH] = call_math,
        [FUNCTION_SORT] = call_sort,
        [FUNCTION_SORT_DESC] = call_sort,
        [FUNCTION_SQRT] = call_math,
        [FUNCTION_TAN] = call_math,
        [FUNCTION_TANH] = call_math,
        [FUNCTION_TIME] = call_time,
        [FUNCTION_TIMESTAMP] = call_timestamp,
        [FUNCTION_VECTOR] = call_vector,
        [FUNCTION_YEAR] = call_date,
    };
    return id < FUNCTION_COUNT ? calls[id] : NULL;
}

int eval_call(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    uint16_t id = ast->call.function->id;
    if (range_function(id))
        return eval_range_call(eval, grid, ast, sink);
    eval_call_fn *call = call_of(id);
    if (!call)
        return eval_fail(eval, PROMQL_EXECUTION, ast, "function \"%s\" is not supported", ast->call.function->name);
    return call(eval, grid, ast, sink);
}
