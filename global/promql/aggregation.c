/* Aggregations that need one pass: each series is added to its group and forgotten. */
#include "promql/eval_state.h"
#include "promql/label_set.h"

#include <math.h>

struct group_state {
    double *count; /* per step; NULL where the operator has no use for it */
    double *mean;
};

struct aggregate {
    struct sink sink;
    struct eval *eval;
    const struct grid *grid;
    const struct ast *ast;
    struct label_table names;
    struct vector out; /* by the numbers of names */
    struct group_state *states;
    size_t capacity;
};

static bool needs_mean(enum ast_aggregation op)
{
    return op == AGG_STDDEV || op == AGG_STDVAR;
}

static bool needs_count(enum ast_aggregation op)
{
    return op == AGG_AVG || needs_mean(op);
}

static bool group_add(struct aggregate *aggregate, struct labels *labels)
{
    size_t steps = aggregate->grid->steps;
    enum ast_aggregation op = aggregate->ast->aggregate.op;
    size_t index = aggregate->out.count;
    if (index == aggregate->capacity) {
        size_t capacity = MAX(aggregate->capacity * 2, (size_t)8);
        struct group_state *states = budget_grow(aggregate->eval->budget, aggregate->states, capacity, sizeof(*states));
        if (!states)
            return false;
        aggregate->states = states;
        aggregate->capacity = capacity;
    }
    struct group_state state = {NULL, NULL};
    if (needs_count(op)) {
        state.count = budget_array(aggregate->eval->budget, steps * (needs_mean(op) ? 2 : 1), sizeof(double));
        if (!state.count)
            return false;
        state.mean = needs_mean(op) ? state.count + steps : NULL;
    }
    if (!vector_add(&aggregate->out, labels)) {
        budget_free(state.count);
        return false;
    }
    aggregate->states[index] = state;
    return true;
}

/* A running mean, with infinities that stay (inf - inf would make them NaN); halves of the difference keep large values
 * from overflowing. */
static void add_to_mean(double *mean, double count, double value)
{
    bool same_infinity = isinf(value) && (*mean > 0) == (value > 0);
    if (isinf(*mean) && (same_infinity || isfinite(value)))
        return;
    *mean += value / count - *mean / count;
}

static void add_to_variance(double *squares, struct group_state *state, size_t step, double value)
{
    state->count[step]++;
    double delta = value - state->mean[step];
    state->mean[step] += delta / state->count[step];
    *squares += delta * (value - state->mean[step]);
}

static void first_value(enum ast_aggregation op, struct promql_series *out, struct group_state *state, size_t step,
                        double value)
{
    if (state->count)
        state->count[step] = 1;
    if (state->mean)
        state->mean[step] = value;
    if (op == AGG_COUNT || op == AGG_GROUP)
        value = 1;
    else if (needs_mean(op))
        value = 0;
    promql_set(out, step, value);
}

static void add_value(enum ast_aggregation op, double *value, struct group_state *state, size_t step, double added)
{
    switch (op) {
    case AGG_SUM:
        *value += added;
        return;
    case AGG_AVG:
        add_to_mean(value, ++state->count[step], added);
        return;
    case AGG_COUNT:
        *value += 1;
        return;
    case AGG_MIN:
        if (*value > added || isnan(*value))
            *value = added;
        return;
    case AGG_MAX:
        if (*value < added || isnan(*value))
            *value = added;
        return;
    case AGG_STDDEV:
    case AGG_STDVAR:
        add_to_variance(value, state, step, added);
        return;
    default:
        return; /* group: 1 is 1 */
    }
}

static struct labels *group_labels(const struct ast *ast, const struct labels *labels)
{
    if (ast->aggregate.without)
        return label_set_drop(labels, &ast->aggregate.grouping, true);
    return label_set_keep(labels, &ast->aggregate.grouping);
}

/* 64 values, all of which are there on both sides. */
static void add_all(double *sums, const double *values)
{
    for (size_t i = 0; i < 64; i++)
        sums[i] += values[i];
}

/* What one word of the series' present bits says. */
static void add_some(enum ast_aggregation op, struct promql_series *out, struct group_state *state, size_t word,
                     const struct promql_series *series)
{
    for (uint64_t bits = series->present[word]; bits; bits &= bits - 1) {
        size_t step = 64 * word + (size_t)__builtin_ctzll(bits);
        if (promql_present(out, step))
            add_value(op, &out->values[step], state, step, series->values[step]);
        else
            first_value(op, out, state, step, series->values[step]);
    }
}

/* Additions round, and means are additions: their order is part of the result. */
static bool order_matters(enum ast_aggregation op)
{
    return op != AGG_COUNT && op != AGG_GROUP && op != AGG_MIN && op != AGG_MAX;
}

/* Only the labels that groups are made by. */
static struct series_wanted wanted_by(const struct ast *ast)
{
    static const struct str no_names[1];
    const struct ast_names *grouping = &ast->aggregate.grouping;
    struct series_wanted wanted = {.any_order = !order_matters(ast->aggregate.op)};
    if (!ast->aggregate.without)
        wanted.labels = (struct labels_wanted){.names = grouping->count > 0 ? grouping->items : no_names,
                                               .name_count = grouping->count};
    return wanted;
}

static int aggregate_emit(struct sink *sink, const struct promql_series *series)
{
    struct aggregate *aggregate = CONTAINER_OF(sink, struct aggregate, sink);
    size_t steps = aggregate->grid->steps;
    if (series_is_empty(series, steps))
        return 0;
    CLEANUP(labels_unrefp) struct labels *labels = group_labels(aggregate->ast, series->labels);
    int64_t number = label_table_add(&aggregate->names, labels);
    if (number < 0 || ((size_t)number == aggregate->out.count && !group_add(aggregate, labels)))
        return eval_fail_memory(aggregate->eval, aggregate->ast);
    enum ast_aggregation op = aggregate->ast->aggregate.op;
    struct promql_series *out = &aggregate->out.series[number];
    struct group_state *state = &aggregate->states[number];
    for (size_t word = 0; word < promql_words(steps); word++) {
        uint64_t bits = series->present[word];
        if (op == AGG_SUM && bits == UINT64_MAX && out->present[word] == UINT64_MAX)
            add_all(out->values + 64 * word, series->values + 64 * word);
        else
            add_some(op, out, state, word, series);
    }
    return eval_work(aggregate->eval, steps);
}

/* From sums of squares to variances. */
static void finish(struct aggregate *aggregate)
{
    enum ast_aggregation op = aggregate->ast->aggregate.op;
    if (!needs_mean(op))
        return;
    for (size_t i = 0; i < aggregate->out.count; i++) {
        struct promql_series *out = &aggregate->out.series[i];
        PROMQL_EACH(step, out, aggregate->grid->steps)
        {
            double variance = out->values[step] / aggregate->states[i].count[step];
            out->values[step] = op == AGG_STDDEV ? sqrt(variance) : variance;
        }
    }
}

int eval_aggregate(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    if (ast_aggregation_has_param(ast->aggregate.op))
        return eval_aggregate_ordered(eval, grid, ast, sink);
    struct series_wanted wanted = wanted_by(ast);
    struct aggregate aggregate = {.sink = {aggregate_emit, &wanted}, .eval = eval, .grid = grid, .ast = ast};
    label_table_init(&aggregate.names, eval->budget);
    vector_init(&aggregate.out, eval->budget, grid->steps);
    int error = eval_node(eval, grid, ast->aggregate.inner, &aggregate.sink);
    if (error == 0) {
        finish(&aggregate);
        if (wanted.any_order)
            error =
                eval_sort(eval, aggregate.out.series, aggregate.out.count, sizeof(struct promql_series), series_order);
        error = error < 0 ? error : vector_drain(&aggregate.out, sink);
    }
    for (size_t i = 0; i < aggregate.out.count; i++)
        budget_free(aggregate.states[i].count);
    budget_free(aggregate.states);
    label_table_done(&aggregate.names);
    vector_done(&aggregate.out);
    return error;
}
