/* Aggregations with a parameter: topk, bottomk and quantile need the values of a group side by side; count_values makes
 * groups out of values. */
#include "promql/eval_state.h"
#include "promql/groups.h"
#include "promql/label_set.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static struct labels *labels_of_group(const struct promql_series *series, const void *arg)
{
    const struct ast *ast = arg;
    if (ast->aggregate.without)
        return label_set_drop(series->labels, &ast->aggregate.grouping, true);
    return label_set_keep(series->labels, &ast->aggregate.grouping);
}

double quantile_of_sorted(double q, const double *values, size_t count)
{
    if (count == 0 || isnan(q))
        return NAN;
    if (q < 0)
        return -INFINITY;
    if (q > 1)
        return INFINITY;
    double rank = q * (double)(count - 1);
    double weight = rank - floor(rank);
    size_t lower = (size_t)floor(rank);
    size_t upper = MIN(lower + 1, count - 1);
    return values[lower] * (1 - weight) + values[upper] * weight;
}

/* ---- topk, bottomk -------------------------------------------------------------------------------------------------
 */

struct ranking {
    struct eval *eval;
    const struct grid *grid;
    const struct ast *ast;
    struct vector vector;
    struct groups groups;
    struct place *heap; /* the k best series so far, the worst of them first */
    size_t heap_count;
    double *param; /* k per step */
};

/* The order of Go's heap in Prometheus: NaN is below everything, another NaN too. Which of equal values are kept and
 * where they stand follows from this and from how the heap is kept, so both are as there. */
static bool is_below(const struct ranking *ranking, const struct place *a, const struct place *b)
{
    if (isnan(a->value))
        return true;
    return ranking->ast->aggregate.op == AGG_TOPK ? a->value < b->value : a->value > b->value;
}

static void swap_places(struct place *a, struct place *b)
{
    struct place kept = *a;
    *a = *b;
    *b = kept;
}

static void heap_push(struct ranking *ranking, struct place place)
{
    struct place *heap = ranking->heap;
    size_t at = ranking->heap_count++;
    heap[at] = place;
    while (at > 0 && is_below(ranking, &heap[at], &heap[(at - 1) / 2])) {
        swap_places(&heap[at], &heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
}

static void heap_pop(struct ranking *ranking)
{
    struct place *heap = ranking->heap;
    heap[0] = heap[--ranking->heap_count];
    for (size_t at = 0, child; (child = 2 * at + 1) < ranking->heap_count; at = child) {
        if (child + 1 < ranking->heap_count && is_below(ranking, &heap[child + 1], &heap[child]))
            child++;
        if (!is_below(ranking, &heap[child], &heap[at]))
            return;
        swap_places(&heap[at], &heap[child]);
    }
}

static void offer(struct ranking *ranking, struct place place, size_t k)
{
    if (ranking->heap_count == k) {
        if (!is_below(ranking, &ranking->heap[0], &place))
            return;
        heap_pop(ranking);
    }
    heap_push(ranking, place);
}

/* Leaves of a group's series at this step the k best filled; they stand in the heap, in order. */
static int rank_step(struct ranking *ranking, size_t group, size_t step)
{
    int error = eval_work(ranking->eval, 1);
    size_t k = (size_t)MIN(MAX(ranking->param[step], 0), (double)ranking->vector.count);
    uint64_t bit = UINT64_C(1) << (step % 64);
    ranking->heap_count = 0;
    for (size_t i = ranking->groups.starts[group]; i < ranking->groups.starts[group + 1] && error == 0; i++) {
        size_t member = ranking->groups.members[i];
        struct promql_series *series = &ranking->vector.series[member];
        error = eval_work(ranking->eval, 1);
        if (!promql_present(series, step))
            continue;
        series->present[step / 64] &= ~bit;
        if (k > 0)
            offer(ranking, (struct place){series->values[step], member}, k);
    }
    bool down = ranking->ast->aggregate.op == AGG_TOPK;
    error = error < 0 ? error : places_sort(ranking->eval, ranking->heap, ranking->heap_count, down);
    for (size_t i = 0; i < ranking->heap_count; i++)
        ranking->vector.series[ranking->heap[i].index].present[step / 64] |= bit;
    return error;
}

/* As Go prints it: the fewest digits that read back the same. */
static void print_short(double value, char *ret_text, size_t bytes)
{
    if (!isfinite(value)) {
        snprintf(ret_text, bytes, "%s", isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
        return;
    }
    for (int digits = 1; digits <= DBL_DECIMAL_DIG; digits++) {
        snprintf(ret_text, bytes, "%.*g", digits, value);
        if (strtod(ret_text, NULL) == value)
            return;
    }
}

static int check_k(struct ranking *ranking)
{
    for (size_t step = 0; step < ranking->grid->steps; step++) {
        double k = ranking->param[step];
        /* 2^63 itself passes: Go compares with the largest int64 as a double. */
        if (k >= -9223372036854775808.0 && k <= 9223372036854775808.0)
            continue;
        char text[32];
        print_short(k, text, sizeof(text));
        return eval_fail(ranking->eval, PROMQL_EXECUTION, ranking->ast->aggregate.param,
                         "Scalar value %s overflows int64", text);
    }
    return 0;
}

static int ranking_emit(struct ranking *ranking, struct sink *sink)
{
    size_t steps = ranking->grid->steps;
    for (size_t group = 0; group < ranking->groups.table.count; group++) {
        for (size_t step = 0; step < steps; step++) {
            int error = rank_step(ranking, group, step);
            if (error < 0)
                return error;
        }
        /* At one step the order is part of the answer. */
        for (size_t i = 0; steps == 1 && i < ranking->heap_count; i++) {
            int error = sink->emit(sink, &ranking->vector.series[ranking->heap[i].index]);
            if (error < 0)
                return error;
        }
    }
    return steps == 1 ? 0 : vector_drain(&ranking->vector, sink);
}

static int ranking_run(struct ranking *ranking, struct sink *sink)
{
    const struct ast *ast = ranking->ast;
    ranking->param = eval_scalar(ranking->eval, ranking->grid, ast->aggregate.param);
    if (!ranking->param)
        return -1;
    int error = eval_vector(ranking->eval, ranking->grid, ast->aggregate.inner, &ranking->vector);
    if (error == 0)
        error = check_k(ranking);
    if (error < 0)
        return error;
    ranking->heap = budget_array(ranking->eval->budget, ranking->vector.count, sizeof(*ranking->heap));
    if (!ranking->heap || !groups_init(&ranking->groups, ranking->eval, &ranking->vector, labels_of_group, ast))
        return eval_fail_memory(ranking->eval, ast);
    return ranking_emit(ranking, sink);
}

static int eval_ranking(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    struct ranking ranking = {.eval = eval, .grid = grid, .ast = ast};
    int error = ranking_run(&ranking, sink);
    vector_done(&ranking.vector);
    groups_done(&ranking.groups);
    budget_free(ranking.heap);
    budget_free(ranking.param);
    return error;
}

/* ---- quantile ------------------------------------------------------------------------------------------------------
 */

struct quantile {
    struct eval *eval;
    const struct grid *grid;
    const struct ast *ast;
    struct vector vector;
    struct groups groups;
    double *values; /* of one group at one step */
    double *param;
    struct promql_series out;
};

static int quantile_group(struct quantile *quantile, size_t group)
{
    series_clear(&quantile->out, quantile->grid->steps);
    quantile->out.labels = quantile->groups.table.items[group];
    for (size_t step = 0; step < quantile->grid->steps; step++) {
        size_t count = 0;
        for (size_t i = quantile->groups.starts[group]; i < quantile->groups.starts[group + 1]; i++) {
            const struct promql_series *series = &quantile->vector.series[quantile->groups.members[i]];
            if (promql_present(series, step))
                quantile->values[count++] = series->values[step];
        }
        int error = eval_work(quantile->eval, 1 + count);
        if (error < 0)
            return error;
        if (count == 0)
            continue;
        error = eval_sort_values(quantile->eval, quantile->values, count);
        if (error < 0)
            return error;
        promql_set(&quantile->out, step, quantile_of_sorted(quantile->param[step], quantile->values, count));
    }
    return 0;
}

static int quantile_run(struct quantile *quantile, struct sink *sink)
{
    struct eval *eval = quantile->eval;
    const struct ast *ast = quantile->ast;
    quantile->param = eval_scalar(eval, quantile->grid, ast->aggregate.param);
    if (!quantile->param)
        return -1;
    int error = eval_vector(eval, quantile->grid, ast->aggregate.inner, &quantile->vector);
    if (error < 0)
        return error;
    quantile->values = budget_array(eval->budget, quantile->vector.count, sizeof(double));
    if (!quantile->values || !series_slots(eval->budget, quantile->grid->steps, &quantile->out) ||
        !groups_init(&quantile->groups, eval, &quantile->vector, labels_of_group, ast))
        return eval_fail_memory(eval, ast);
    for (size_t group = 0; group < quantile->groups.table.count; group++) {
        error = quantile_group(quantile, group);
        if (error == 0)
            error = sink->emit(sink, &quantile->out);
        if (error < 0)
            return error;
    }
    return 0;
}

static int eval_quantile(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    struct quantile quantile = {.eval = eval, .grid = grid, .ast = ast};
    int error = quantile_run(&quantile, sink);
    vector_done(&quantile.vector);
    groups_done(&quantile.groups);
    budget_free(quantile.values);
    budget_free(quantile.param);
    budget_free(quantile.out.values);
    return error;
}

/* ---- count_values --------------------------------------------------------------------------------------------------
 */

struct counting {
    struct sink sink;
    struct eval *eval;
    const struct grid *grid;
    const struct ast *ast;
    struct str label;
    struct ast_names kept; /* by: the grouping and the label */
    struct label_table names;
    struct vector out; /* by the numbers of names */
};

/* The group of a value of these labels: its number, or a failure. */
static int64_t counting_group(struct counting *counting, const struct labels *labels, double value)
{
    char text[VALUE_TEXT_BYTES];
    size_t len = value_print(value, text);
    CLEANUP(labels_unrefp) struct labels *with = label_set_with(labels, counting->label, str_of(text, len));
    if (!with)
        return eval_fail(counting->eval, PROMQL_EXECUTION, counting->ast, "a series would have more than %d labels",
                         LABELS_MAX);
    CLEANUP(labels_unrefp)
    struct labels *group = counting->ast->aggregate.without
                               ? label_set_drop(with, &counting->ast->aggregate.grouping, true)
                               : label_set_keep(with, &counting->kept);
    int64_t number = label_table_add(&counting->names, group);
    if (number < 0 || ((size_t)number == counting->out.count && !vector_add(&counting->out, group)))
        return eval_fail_memory(counting->eval, counting->ast);
    return number;
}

static int counting_emit(struct sink *sink, const struct promql_series *series)
{
    struct counting *counting = CONTAINER_OF(sink, struct counting, sink);
    int64_t number = -1;
    uint64_t bits = 0; /* of the value that number stands for */
    PROMQL_EACH(step, series, counting->grid->steps)
    {
        double value = series->values[step];
        if (number < 0 || double_bits(value) != bits) {
            number = counting_group(counting, series->labels, value);
            if (number < 0)
                return (int)number;
            bits = double_bits(value);
        }
        struct promql_series *out = &counting->out.series[number];
        promql_set(out, step, promql_present(out, step) ? out->values[step] + 1 : 1);
        int error = eval_work(counting->eval, 1);
        if (error < 0)
            return error;
    }
    return 0;
}

static int eval_count_values(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    struct counting counting = {.sink = {.emit = counting_emit},
                                .eval = eval,
                                .grid = grid,
                                .ast = ast,
                                .label = ast_string(ast->aggregate.param)};
    if (!label_name_is_valid(counting.label))
        return eval_fail(eval, PROMQL_EXECUTION, ast->aggregate.param, "invalid label name \"" STR_FMT "\"",
                         STR_ARG(counting.label));
    size_t names = ast->aggregate.grouping.count;
    CLEANUP_BUDGET struct str *kept = budget_array(eval->budget, names + 1, sizeof(*kept));
    if (!kept)
        return eval_fail_memory(eval, ast);
    if (names > 0)
        memcpy(kept, ast->aggregate.grouping.items, names * sizeof(*kept));
    kept[names] = counting.label;
    counting.kept = (struct ast_names){kept, names + 1};
    label_table_init(&counting.names, eval->budget);
    vector_init(&counting.out, eval->budget, grid->steps);
    int error = eval_node(eval, grid, ast->aggregate.inner, &counting.sink);
    if (error == 0)
        error = vector_drain(&counting.out, sink);
    label_table_done(&counting.names);
    vector_done(&counting.out);
    return error;
}

int eval_aggregate_ordered(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    switch (ast->aggregate.op) {
    case AGG_COUNT_VALUES:
        return eval_count_values(eval, grid, ast, sink);
    case AGG_QUANTILE:
        return eval_quantile(eval, grid, ast, sink);
    default:
        return eval_ranking(eval, grid, ast, sink);
    }
}
