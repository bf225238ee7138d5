/* Functions over range vectors: one pass over each series with a window that slides from step to step. */
#include "base/fail.h"
#include "promql/functions.h"
#include "promql/functions_range.h"
#include "promql/notes.h"
#include "promql/scan.h"

#include <stdatomic.h>

struct range_call {
    struct scan scan;
    struct eval *eval;
    const struct ast *ast;
    struct lookup lookup;
    range_fn *function;
    bool is_sliding;               /* the function does not look at each sample of a window */
    atomic_bool *is_short;         /* some series had samples, and no value */
    double *args[WINDOW_ARGS_MAX]; /* a value per step; NULL: none */
};

/* What one thread has: samples of the series from the first of the window on, as far as they were read. */
struct range_worker {
    struct scan_worker base;
    struct window window;
    struct sample *samples; /* no stale markers */
    size_t begin, end;      /* of the window; end is as far as anybody has looked */
    size_t have, capacity;
    size_t last_fall; /* the last of those before `end` that is below the one before it; 0: none */
    bool ended;       /* the source has no more */
};

/* Room for SOURCE_SAMPLES behind what is there: by moving what is still needed to the front, else by growing. */
static int make_room(struct range_worker *worker)
{
    if (worker->begin > 0 && worker->begin >= worker->capacity / 2) {
        worker->have -= worker->begin;
        memmove(worker->samples, worker->samples + worker->begin, worker->have * sizeof(*worker->samples));
        worker->last_fall -= MIN(worker->last_fall, worker->begin);
        worker->end -= worker->begin;
        worker->begin = 0;
    }
    if (worker->capacity - worker->have >= SOURCE_SAMPLES)
        return 0;
    size_t capacity = worker->capacity * 2 + SOURCE_SAMPLES;
    struct sample *samples =
        budget_grow(worker->base.eval->budget, worker->samples, capacity, sizeof(*worker->samples));
    if (!samples)
        return eval_fail_memory(worker->base.eval, worker->window.ast);
    worker->samples = samples;
    worker->capacity = capacity;
    return 0;
}

/* Takes out stale markers, which are few, and what lies before the window at the front; how many stay. */
static size_t leave_out(struct sample *samples, size_t count, int64_t start_ms)
{
    bool stale = false;
    for (size_t i = 0; i < count; i++)
        stale |= value_is_stale(samples[i].value);
    if (!stale && samples[0].time_ms >= start_ms)
        return count;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        samples[kept] = samples[i];
        kept += !value_is_stale(samples[i].value) && samples[i].time_ms >= start_ms;
    }
    return kept;
}

/* Reads on. Stale markers are left out, and what lies before the window. */
static int read_on(struct range_worker *worker, struct source *source)
{
    int error = make_room(worker);
    if (error < 0)
        return error;
    struct sample *into = worker->samples + worker->have;
    int64_t got = source_read(source, into);
    if (got <= 0) {
        worker->ended = true;
        return (int)got;
    }
    worker->have += leave_out(into, (size_t)got, worker->window.start_ms);
    return 0;
}

/* Both ends belong to the window. */
static int slide(struct range_worker *worker, struct source *source)
{
    struct window *window = &worker->window;
    for (;;) {
        const struct sample *samples = worker->samples;
        size_t end = worker->end;
        for (; end < worker->have && samples[end].time_ms <= window->end_ms; end++)
            if (end > 0 && samples[end].value < samples[end - 1].value)
                worker->last_fall = end;
        worker->end = end;
        while (worker->begin < end && samples[worker->begin].time_ms < window->start_ms)
            worker->begin++;
        if (end < worker->have || worker->ended)
            break;
        int error = read_on(worker, source);
        if (error < 0)
            return error;
    }
    window->samples = worker->samples + worker->begin;
    window->count = worker->end - worker->begin;
    window->falls = worker->last_fall > worker->begin;
    return 0;
}

static int range_series(const struct scan *scan, struct scan_worker *base, struct source *source,
                        struct promql_series *ret_series)
{
    const struct range_call *call = CONTAINER_OF(scan, struct range_call, scan);
    struct range_worker *worker = CONTAINER_OF(base, struct range_worker, base);
    struct window *window = &worker->window;
    int any = 0;
    bool seen = false;
    window->eval = base->eval;
    window->ast = call->ast;
    window->range_ms = call->lookup.range_ms;
    worker->begin = worker->end = worker->have = worker->last_fall = 0;
    worker->ended = false;
    for (size_t step = 0; step < scan->grid->steps; step++) {
        window->end_ms = lookup_time_ms(&call->lookup, step);
        window->start_ms = window->end_ms - call->lookup.range_ms;
        int error = slide(worker, source);
        if (error < 0)
            return error;
        if (window->count == 0)
            continue;
        seen = true;
        base->queried += window->count / (scan->counted ? 2 : 1);
        window->step_time_ms = grid_time_ms(scan->grid, step);
        for (size_t i = 0; i < WINDOW_ARGS_MAX && call->args[i]; i++)
            window->args[i] = call->args[i][step];
        double value;
        int given = call->function(window, &value);
        if (given < 0)
            return given;
        if (given > 0) {
            promql_set(ret_series, step, value);
            any = 1;
        }
        error = eval_work(base->eval, call->is_sliding ? 1 : 1 + window->count);
        if (error < 0)
            return error;
    }
    if (seen && !any)
        atomic_store_explicit(call->is_short, true, memory_order_relaxed);
    return any;
}

static void range_worker_done(struct scan_worker *base)
{
    struct range_worker *worker = CONTAINER_OF(base, struct range_worker, base);
    budget_free(worker->samples);
    budget_free(worker->window.scratch);
}

static int eval_args(struct range_call *call, const struct ast *ast, const struct ast **ret_matrix)
{
    size_t count = 0;
    for (size_t i = 0; i < ast->call.arg_count; i++) {
        const struct ast *arg = ast_unparen(ast->call.args[i]);
        if (arg->type == PROMQL_MATRIX) {
            *ret_matrix = arg;
            continue;
        }
        call->args[count] = eval_scalar(call->eval, call->scan.grid, arg);
        if (!call->args[count])
            return -1;
        count++;
    }
    return 0;
}

static int scan_matrix(struct range_call *call, const struct ast *matrix)
{
    ASSERT(matrix);
    call->scan.ast = matrix;
    call->lookup = lookup_of(call->eval, call->scan.grid, matrix);
    if (matrix->kind != AST_SUBQUERY) {
        struct range_aggregate aggregate = range_aggregate(call->ast->call.function->id);
        call->function = aggregate.function ? aggregate.function : call->function;
        call->scan.field = aggregate.function ? aggregate.field : SELECT_LAST;
        call->scan.counted = aggregate.counted;
    }
    return scan_run(call->eval, &call->scan);
}

/* absent_over_time: where no series had a value. */
static int range_absent(struct range_call *call, const struct ast *matrix)
{
    struct sink *next = call->scan.next;
    struct found found;
    if (!found_init(&found, call->eval, call->scan.grid))
        return eval_fail_memory(call->eval, matrix);
    CLEANUP_BUDGET UNUSED double *slots = found.series.values;
    call->scan.next = &found.sink;
    int error = scan_matrix(call, matrix);
    return error < 0 ? error : emit_absent(call->eval, call->scan.grid, matrix, &found.series, next);
}

static int range_merged(struct range_call *call, const struct ast *matrix)
{
    struct sink *next = call->scan.next;
    CLEANUP(merge_done) struct merge merge;
    merge_init(&merge, call->eval, call->scan.grid, call->ast);
    merge.strict = true;
    call->scan.next = &merge.sink;
    int error = scan_matrix(call, matrix);
    return error < 0 ? error : vector_drain(&merge.vector, next);
}

static int range_run(struct range_call *call)
{
    const struct ast *matrix = NULL;
    int error = eval_args(call, call->ast, &matrix);
    if (error < 0)
        return error;
    struct ast wide;
    matrix = notes_widen(call->eval, call->scan.grid, call->ast, matrix, &wide);
    if (call->ast->call.function->id == FUNCTION_ABSENT_OVER_TIME)
        error = range_absent(call, matrix);
    else if (!call->scan.drop_name || ast_has_one_name(matrix))
        error = scan_matrix(call, matrix);
    else
        error = range_merged(call, matrix);
    if (error == 0)
        error = notes_tell(call->eval, call->scan.grid, call->ast, matrix, *call->is_short);
    return error;
}

int eval_range_call(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    uint16_t id = ast->call.function->id;
    atomic_bool is_short = false;
    struct range_call call = {.scan = {.grid = grid,
                                       .drop_name = id != FUNCTION_LAST_OVER_TIME,
                                       .worker_bytes = sizeof(struct range_worker),
                                       .series = range_series,
                                       .worker_done = range_worker_done,
                                       .next = sink},
                              .eval = eval,
                              .ast = ast,
                              .is_short = &is_short,
                              .function = range_function(id),
                              .is_sliding = range_function_is_sliding(id)};
    int error = range_run(&call);
    for (size_t i = 0; i < WINDOW_ARGS_MAX; i++)
        budget_free(call.args[i]);
    return error;
}
