/* Selectors: instant vectors at every step, and the plain samples of a range for an instant query. */
#include "promql/source.h"

/* ---- Instant vectors --------------------------------------------------------------------------------------------- */

struct instant {
    struct scan scan;
    struct lookup lookup;
    size_t steps;
    bool times; /* the samples' times in seconds instead of their values, for timestamp() */
    struct promql_series series;
    struct sink *next;
};

/* The newest sample at or before each step is its value, unless it is older than the lookback or a stale marker. */
static int instant_series(struct scan *scan, struct labels *labels, struct source *source)
{
    struct instant *instant = CONTAINER_OF(scan, struct instant, scan);
    struct promql_series *series = &instant->series;
    series_clear(series, instant->steps);
    struct sample last = {INT64_MIN, value_stale()};
    bool any = false;
    for (size_t step = 0; step < instant->steps; step++) {
        int64_t time_ms = lookup_time_ms(&instant->lookup, step);
        const struct sample *sample;
        while ((sample = source_peek(source)) && sample->time_ms <= time_ms) {
            last = *sample;
            source->at++;
        }
        if (source->error < 0)
            return source->error;
        if (last.time_ms < time_ms - instant->lookup.range_ms || value_is_stale(last.value))
            continue;
        promql_set(series, step, instant->times ? (double)last.time_ms / 1000 : last.value);
        source->eval->queried++;
        any = true;
    }
    if (!any)
        return 0;
    series->labels = labels;
    int error = eval_work(source->eval, instant->steps);
    return error < 0 ? error : instant->next->emit(instant->next, series);
}

static int scan_instant(struct eval *eval, const struct grid *grid, const struct ast *ast, bool times,
                        struct sink *sink)
{
    struct instant instant = {.scan = {.series = instant_series},
                              .lookup = lookup_of(eval, grid, ast),
                              .steps = grid->steps,
                              .times = times,
                              .next = sink};
    if (!series_slots(eval->budget, grid->steps, &instant.series))
        return eval_fail_memory(eval, ast);
    CLEANUP_BUDGET UNUSED double *slots = instant.series.values;
    return scan_selector(eval, grid, ast, &instant.scan);
}

int eval_selector(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    return scan_instant(eval, grid, ast, false, sink);
}

int eval_selector_times(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    return scan_instant(eval, grid, ast, true, sink);
}

/* ---- The samples of a range -------------------------------------------------------------------------------------- */

struct matrix {
    struct scan scan;
    struct eval *eval;
    const struct ast *ast;
    struct promql_value *value;
    size_t capacity;
    int64_t start_ms, end_ms;
};

static struct promql_points *matrix_add(struct matrix *matrix, struct labels *labels)
{
    struct promql_value *value = matrix->value;
    if (value->points_count == matrix->capacity) {
        size_t capacity = MAX(matrix->capacity * 2, (size_t)16);
        struct promql_points *points = budget_grow(matrix->eval->budget, value->points, capacity, sizeof(*points));
        if (!points)
            return NULL;
        value->points = points;
        matrix->capacity = capacity;
    }
    struct promql_points *added = &value->points[value->points_count++];
    *added = (struct promql_points){.labels = labels_ref(labels)};
    return added;
}

static int matrix_series(struct scan *scan, struct labels *labels, struct source *source)
{
    struct matrix *matrix = CONTAINER_OF(scan, struct matrix, scan);
    CLEANUP_BUDGET struct sample *samples = NULL;
    size_t count = 0;
    size_t capacity = 0;
    const struct sample *sample;
    for (; (sample = source_peek(source)) && sample->time_ms <= matrix->end_ms; source->at++) {
        if (sample->time_ms < matrix->start_ms || value_is_stale(sample->value))
            continue;
        if (count == capacity) {
            capacity = MAX(capacity * 2, (size_t)16);
            struct sample *grown = budget_grow(matrix->eval->budget, samples, capacity, sizeof(*samples));
            if (!grown)
                return eval_fail_memory(matrix->eval, matrix->ast);
            samples = grown;
        }
        samples[count++] = *sample;
    }
    if (source->error < 0 || count == 0)
        return source->error;
    struct promql_points *points = matrix_add(matrix, labels);
    if (!points)
        return eval_fail_memory(matrix->eval, matrix->ast);
    points->samples = STEAL(samples);
    points->count = count;
    matrix->eval->queried += source->reader ? count : 0;
    return 0;
}

int eval_matrix(struct eval *eval, const struct grid *grid, const struct ast *ast, struct promql_value *ret_value)
{
    ast = ast_unparen(ast);
    struct lookup lookup = lookup_of(eval, grid, ast);
    struct matrix matrix = {.scan = {.series = matrix_series},
                            .eval = eval,
                            .ast = ast,
                            .value = ret_value,
                            .start_ms = lookup.first_ms - lookup.range_ms,
                            .end_ms = lookup.first_ms};
    if (ast->kind == AST_SUBQUERY)
        return scan_subquery(eval, grid, ast, &matrix.scan);
    return scan_selector(eval, grid, ast, &matrix.scan);
}
