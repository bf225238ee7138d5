/* Functions over range vectors: one pass over each series with a window that slides from step to step. */
#include "base/fail.h"
#include "promql/functions.h"
#include "promql/functions_range.h"
#include "promql/label_set.h"
#include "promql/notes.h"
#include "promql/source.h"

struct range_call {
    struct scan scan;
    struct eval *eval;
    const struct grid *grid;
    struct lookup lookup;
    range_fn *function;
    bool keep_name;
    double *args[WINDOW_ARGS_MAX]; /* a value per step; NULL: none */
    struct window window;
    struct sample *ring; /* where the window's samples lie; its first is at ring + head */
    size_t head, capacity;
    struct promql_series series;
    struct sink *next;
    bool is_short; /* some series had samples, and no value */
};

#define RING_SAMPLES_MIN 64

/* Room for one sample behind the last: by moving the window to the front when half is free, else by doubling. */
static int ring_make_room(struct range_call *call)
{
    struct window *window = &call->window;
    if (call->head > 0 && call->head >= call->capacity / 2) {
        memmove(call->ring, call->ring + call->head, window->count * sizeof(*call->ring));
        call->head = 0;
        return 0;
    }
    size_t capacity = MAX(call->capacity * 2, (size_t)RING_SAMPLES_MIN);
    struct sample *ring = budget_grow(call->eval->budget, call->ring, capacity, sizeof(*ring));
    if (!ring)
        return eval_fail_memory(call->eval, window->ast);
    call->ring = ring;
    call->capacity = capacity;
    return 0;
}

/* Both ends belong to the window; stale markers do not. */
static int slide(struct range_call *call, struct source *source)
{
    struct window *window = &call->window;
    while (window->count > 0 && call->ring[call->head].time_ms < window->start_ms) {
        call->head++;
        window->count--;
    }
    const struct sample *sample;
    for (; (sample = source_peek(source)) && sample->time_ms <= window->end_ms; source->at++) {
        if (sample->time_ms < window->start_ms || value_is_stale(sample->value))
            continue;
        if (call->head + window->count == call->capacity) {
            int error = ring_make_room(call);
            if (error < 0)
                return error;
        }
        call->ring[call->head + window->count++] = *sample;
    }
    if (window->count > 0)
        window->samples = call->ring + call->head;
    return source->error;
}

static int emit_range(struct range_call *call, struct labels *labels)
{
    CLEANUP(labels_unrefp)
    struct labels *named = call->keep_name ? labels_ref(labels) : label_set_without_name(labels);
    call->series.labels = named;
    return call->next->emit(call->next, &call->series);
}

static int range_series(struct scan *scan, struct labels *labels, struct source *source)
{
    struct range_call *call = CONTAINER_OF(scan, struct range_call, scan);
    struct window *window = &call->window;
    bool any = false, seen = false;
    series_clear(&call->series, call->grid->steps);
    window->count = call->head = 0;
    for (size_t step = 0; step < call->grid->steps; step++) {
        window->end_ms = lookup_time_ms(&call->lookup, step);
        window->start_ms = window->end_ms - call->lookup.range_ms;
        int error = slide(call, source);
        if (error < 0)
            return error;
        if (window->count == 0)
            continue;
        seen = true;
        window->step_time_ms = grid_time_ms(call->grid, step);
        for (size_t i = 0; i < WINDOW_ARGS_MAX && call->args[i]; i++)
            window->args[i] = call->args[i][step];
        double value;
        int given = call->function(window, &value);
        if (given < 0)
            return given;
        if (given > 0) {
            promql_set(&call->series, step, value);
            any = true;
        }
        error = eval_work(call->eval, 1 + window->count);
        if (error < 0)
            return error;
    }
    call->is_short |= seen && !any;
    return any ? emit_range(call, labels) : 0;
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
        call->args[count] = eval_scalar(call->eval, call->grid, arg);
        if (!call->args[count])
            return -1;
        count++;
    }
    return 0;
}

static int scan_matrix(struct range_call *call, const struct ast *matrix)
{
    ASSERT(matrix);
    call->lookup = lookup_of(call->eval, call->grid, matrix);
    call->window.range_ms = call->lookup.range_ms;
    if (matrix->kind == AST_SUBQUERY)
        return scan_subquery(call->eval, call->grid, matrix, &call->scan);
    struct range_aggregate aggregate = range_aggregate(call->window.ast->call.function->id);
    if (aggregate.function) {
        call->function = aggregate.function;
        call->scan.field = aggregate.field;
        call->scan.counted = aggregate.counted;
    }
    return scan_selector(call->eval, call->grid, matrix, &call->scan);
}

/* absent_over_time: where no series had a value. */
struct absent {
    struct sink sink;
    size_t steps;
    struct promql_series found;
};

static int absent_emit(struct sink *sink, const struct promql_series *series)
{
    struct absent *absent = CONTAINER_OF(sink, struct absent, sink);
    for (size_t i = 0; i < promql_words(absent->steps); i++)
        absent->found.present[i] |= series->present[i];
    return 0;
}

static int range_absent(struct range_call *call, const struct ast *matrix)
{
    struct sink *next = call->next;
    struct absent absent = {{absent_emit}, call->grid->steps, {0}};
    if (!series_slots(call->eval->budget, call->grid->steps, &absent.found))
        return eval_fail_memory(call->eval, matrix);
    CLEANUP_BUDGET UNUSED double *slots = absent.found.values;
    call->next = &absent.sink;
    int error = scan_matrix(call, matrix);
    return error < 0 ? error : emit_absent(call->eval, call->grid, matrix, &absent.found, next);
}

static int range_merged(struct range_call *call, const struct ast *ast, const struct ast *matrix)
{
    struct sink *next = call->next;
    CLEANUP(merge_done) struct merge merge;
    merge_init(&merge, call->eval, call->grid, ast);
    merge.strict = true;
    call->next = &merge.sink;
    int error = scan_matrix(call, matrix);
    return error < 0 ? error : vector_drain(&merge.vector, next);
}

static int range_run(struct range_call *call, const struct ast *ast)
{
    const struct ast *matrix = NULL;
    if (!series_slots(call->eval->budget, call->grid->steps, &call->series))
        return eval_fail_memory(call->eval, ast);
    int error = eval_args(call, ast, &matrix);
    if (error < 0)
        return error;
    struct ast wide;
    matrix = notes_widen(call->eval, call->grid, ast, matrix, &wide);
    if (ast->call.function->id == FUNCTION_ABSENT_OVER_TIME)
        error = range_absent(call, matrix);
    else if (call->keep_name || ast_has_one_name(matrix))
        error = scan_matrix(call, matrix);
    else
        error = range_merged(call, ast, matrix);
    if (error == 0)
        notes_tell(call->eval, call->grid, ast, matrix, call->is_short);
    return error;
}

int eval_range_call(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    uint16_t id = ast->call.function->id;
    struct range_call call = {.scan = {.series = range_series},
                              .eval = eval,
                              .grid = grid,
                              .function = range_function(id),
                              .keep_name = id == FUNCTION_LAST_OVER_TIME,
                              .window = {.eval = eval, .ast = ast},
                              .next = sink};
    int error = range_run(&call, ast);
    for (size_t i = 0; i < WINDOW_ARGS_MAX; i++)
        budget_free(call.args[i]);
    budget_free(call.series.values);
    budget_free(call.ring);
    budget_free(call.window.scratch);
    return error;
}
