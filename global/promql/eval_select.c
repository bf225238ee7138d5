/* Selectors: instant vectors at every step, and the plain samples of a range for an instant query. */
#include "promql/scan.h"

/* ---- Instant vectors --------------------------------------------------------------------------------------------- */

struct instant {
    struct scan scan;
    struct lookup lookup;
    bool times; /* the samples' times in seconds instead of their values, for timestamp() */
};

struct instant_worker {
    struct scan_worker base;
    struct sample buffer[SOURCE_SAMPLES];
};

/* The newest sample at or before each step is its value, unless it is older than the lookback or a stale marker. */
static int instant_series(const struct scan *scan, struct scan_worker *base, struct source *source,
                          struct promql_series *ret_series)
{
    const struct instant *instant = CONTAINER_OF(scan, struct instant, scan);
    struct instant_worker *worker = CONTAINER_OF(base, struct instant_worker, base);
    struct sample last = {INT64_MIN, value_stale()};
    int64_t at = 0, count = 0;
    bool ended = false;
    int any = 0;
    for (size_t step = 0; step < scan->grid->steps; step++) {
        int64_t time_ms = lookup_time_ms(&instant->lookup, step);
        for (;;) {
            while (at < count && worker->buffer[at].time_ms <= time_ms)
                last = worker->buffer[at++];
            if (at < count || ended)
                break;
            at = 0;
            count = source_read(source, worker->buffer);
            ended = count <= 0;
            if (count < 0)
                return (int)count;
        }
        if (last.time_ms < time_ms - instant->lookup.range_ms || value_is_stale(last.value))
            continue;
        promql_set(ret_series, step, instant->times ? (double)last.time_ms / 1000 : last.value);
        base->queried++;
        any = 1;
    }
    int error = eval_work(base->eval, scan->grid->steps);
    return error < 0 ? error : any;
}

static int scan_instant(struct eval *eval, const struct grid *grid, const struct ast *ast, bool times,
                        struct sink *sink)
{
    struct instant instant = {.scan = {.ast = ast,
                                       .grid = grid,
                                       .newest_only = grid->steps == 1,
                                       .worker_bytes = sizeof(struct instant_worker),
                                       .series = instant_series,
                                       .next = sink},
                              .lookup = lookup_of(eval, grid, ast),
                              .times = times};
    return scan_run(eval, &instant.scan);
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
    struct eval *eval;
    const struct ast *ast;
    struct promql_value *value;
    size_t capacity;
    int64_t start_ms, end_ms;
    struct sample *buffer;
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

static int matrix_samples(struct matrix *matrix, struct source *source, struct sample **samples, size_t *count)
{
    size_t capacity = 0;
    int64_t got;
    while ((got = source_read(source, matrix->buffer)) > 0) {
        if (*count + (size_t)got > capacity) {
            capacity = MAX(capacity * 2, *count + (size_t)got);
            struct sample *grown = budget_grow(matrix->eval->budget, *samples, capacity, sizeof(**samples));
            if (!grown)
                return eval_fail_memory(matrix->eval, matrix->ast);
            *samples = grown;
        }
        for (int64_t i = 0; i < got; i++) {
            const struct sample *sample = &matrix->buffer[i];
            if (sample->time_ms >= matrix->start_ms && sample->time_ms <= matrix->end_ms &&
                !value_is_stale(sample->value))
                (*samples)[(*count)++] = *sample;
        }
    }
    return (int)got;
}

static int matrix_series(struct matrix *matrix, struct labels *labels, struct source *source)
{
    CLEANUP_BUDGET struct sample *samples = NULL;
    size_t count = 0;
    int error = matrix_samples(matrix, source, &samples, &count);
    if (error < 0 || count == 0)
        return error;
    struct promql_points *points = matrix_add(matrix, labels);
    if (!points)
        return eval_fail_memory(matrix->eval, matrix->ast);
    points->samples = STEAL(samples);
    points->count = count;
    matrix->eval->queried += source->reader ? count : 0;
    return 0;
}

static int matrix_of_selector(struct matrix *matrix, const struct grid *grid)
{
    struct select *select = NULL;
    int error = scan_open(matrix->eval, grid, matrix->ast, &(struct scan_range){0}, &select);
    if (error < 0)
        return error;
    CLEANUP(sample_reader_freep) struct sample_reader *reader = sample_reader_new(select, SELECT_LAST);
    for (size_t i = 0; i < select_count(select) && error == 0; i++) {
        CLEANUP(labels_unrefp) struct labels *labels = select_labels(select, i);
        struct source source = {.eval = matrix->eval, .ast = matrix->ast, .reader = reader};
        sample_reader_series(reader, i);
        error = matrix_series(matrix, labels, &source);
    }
    sample_reader_free(STEAL(reader));
    scan_close(matrix->eval, select);
    return error;
}

struct matrix_sink {
    struct sink sink;
    struct matrix *matrix;
    const struct grid *inner;
};

static int matrix_emit(struct sink *sink, const struct promql_series *series)
{
    struct matrix_sink *each = CONTAINER_OF(sink, struct matrix_sink, sink);
    struct source source = {
        .eval = each->matrix->eval, .ast = each->matrix->ast, .series = series, .grid = each->inner};
    return matrix_series(each->matrix, series->labels, &source);
}

static int matrix_of_subquery(struct matrix *matrix, const struct grid *grid)
{
    struct grid inner = lookup_subgrid(matrix->eval, grid, matrix->ast);
    struct matrix_sink each = {.sink = {.emit = matrix_emit}, .matrix = matrix, .inner = &inner};
    return inner.steps == 0 ? 0 : eval_node(matrix->eval, &inner, matrix->ast->subquery.inner, &each.sink);
}

int eval_matrix(struct eval *eval, const struct grid *grid, const struct ast *ast, struct promql_value *ret_value)
{
    ast = ast_unparen(ast);
    struct lookup lookup = lookup_of(eval, grid, ast);
    CLEANUP_BUDGET struct sample *buffer = budget_array(eval->budget, SOURCE_SAMPLES, sizeof(*buffer));
    struct matrix matrix = {.eval = eval,
                            .ast = ast,
                            .value = ret_value,
                            .start_ms = lookup.first_ms - lookup.range_ms,
                            .end_ms = lookup.first_ms,
                            .buffer = buffer};
    if (!buffer)
        return eval_fail_memory(eval, ast);
    return ast->kind == AST_SUBQUERY ? matrix_of_subquery(&matrix, grid) : matrix_of_selector(&matrix, grid);
}
