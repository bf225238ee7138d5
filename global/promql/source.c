#include "promql/source.h"

#include <errno.h>

#define DEFAULT_STEP_MS 60000 /* Prometheus' evaluation interval */

static int64_t clamp_time(int64_t a, int64_t b_subtracted)
{
    int64_t difference;
    if (__builtin_sub_overflow(a, b_subtracted, &difference))
        difference = a < 0 ? INT64_MIN : INT64_MAX;
    return MAX(-TIME_MS_MAX, MIN(difference, TIME_MS_MAX));
}

struct lookup lookup_of(const struct eval *eval, const struct grid *grid, const struct ast *ast)
{
    int64_t base_ms = grid->start_ms;
    if (ast->at == AT_TIME)
        base_ms = ast->at_ms;
    else if (ast->at == AT_START)
        base_ms = eval->query->start_ms;
    else if (ast->at == AT_END)
        base_ms = eval->query->end_ms;
    int64_t range_ms = ast->range_ms > 0 ? ast->range_ms : eval->query->limits.lookback_ms;
    return (struct lookup){clamp_time(base_ms, ast->offset_ms), ast->at == AT_NONE ? grid->step_ms : 0,
                           MIN(range_ms, TIME_MS_MAX)};
}

struct grid lookup_subgrid(const struct eval *eval, const struct grid *grid, const struct ast *subquery)
{
    struct lookup lookup = lookup_of(eval, grid, subquery);
    int64_t step_ms = subquery->subquery.step_ms;
    if (step_ms <= 0)
        step_ms = eval->query->limits.default_step_ms > 0 ? eval->query->limits.default_step_ms : DEFAULT_STEP_MS;
    int64_t first_ms = lookup.first_ms - lookup.range_ms;
    int64_t last_ms = lookup_time_ms(&lookup, grid->steps - 1);
    /* Steps of subqueries are multiples of the step in absolute time, so that neighbouring queries see the same ones.
     */
    int64_t rest_ms = first_ms % step_ms;
    if (rest_ms != 0)
        first_ms += rest_ms > 0 ? step_ms - rest_ms : -rest_ms;
    if (first_ms > last_ms)
        return (struct grid){first_ms, step_ms, 0};
    return (struct grid){first_ms, step_ms, (size_t)((last_ms - first_ms) / step_ms) + 1};
}

static void fill_from_series(struct source *source)
{
    size_t steps = source->grid->steps;
    while (source->count < SOURCE_SAMPLES) {
        source->step = promql_next(source->series, source->step, steps);
        if (source->step >= steps)
            return;
        source->buffer[source->count++] =
            (struct sample){grid_time_ms(source->grid, source->step), source->series->values[source->step]};
        source->step++;
    }
}

static void fill_from_reader(struct source *source)
{
    struct eval *eval = source->eval;
    int64_t got = sample_reader_read(source->reader, source->buffer, SOURCE_SAMPLES);
    if (got == -EBADMSG) {
        eval_warn(eval, "part of the data is damaged and was left out");
        return;
    }
    if (got < 0) {
        source->error = eval_fail(eval, PROMQL_INTERNAL, source->ast, "reading the store: %s", strerror((int)-got));
        return;
    }
    source->count = (size_t)got;
    eval->samples += (uint64_t)got;
    if (eval->samples > eval->query->limits.samples_max)
        source->error = eval_fail(eval, PROMQL_TOO_MUCH, source->ast,
                                  "query processing would load too many samples into memory in query execution");
}

bool source_fill(struct source *source)
{
    source->at = source->count = 0;
    if (source->error < 0)
        return false;
    if (source->series)
        fill_from_series(source);
    else
        fill_from_reader(source);
    if (source->error == 0)
        source->error = eval_work(source->eval, source->count);
    if (source->error < 0)
        source->count = 0;
    return source->count > 0;
}

static bool scan_cancelled(void *eval)
{
    return eval_work_slow(eval) < 0;
}

static int scan_one(struct select *select, const struct select_series *series, struct source source, struct scan *scan)
{
    int error = eval_work(source.eval, 1);
    if (error < 0)
        return error;
    CLEANUP(sample_reader_closep) struct sample_reader *reader = NULL;
    error = sample_reader_open(select, series, &reader);
    if (error < 0)
        return eval_fail(source.eval, PROMQL_INTERNAL, source.ast, "reading the store: %s", strerror(-error));
    source.reader = reader;
    /* Counting a reference is no change of the set. */
    error = scan->series(scan, (struct labels *)(uintptr_t)series->labels, &source);
    return source.error < 0 ? source.error : error;
}

int scan_selector(struct eval *eval, const struct grid *grid, const struct ast *selector, struct scan *scan)
{
    struct lookup lookup = lookup_of(eval, grid, selector);
    struct select_range range = {.start_ms = lookup.first_ms - lookup.range_ms,
                                 .end_ms = lookup_time_ms(&lookup, grid->steps - 1),
                                 .field = SELECT_LAST,
                                 .cancelled = scan_cancelled,
                                 .cancelled_arg = eval};
    CLEANUP(select_freep) struct select *select = NULL;
    int error =
        select_open(eval->query->store, selector->selector.matchers, selector->selector.matcher_count, &range, &select);
    if (error == -EINVAL && eval->failure == PROMQL_OK)
        return eval_fail(eval, PROMQL_BAD_DATA, selector,
                         "vector selector must contain at least one non-empty matcher");
    if (error < 0)
        return eval_fail(eval, PROMQL_INTERNAL, selector, "reading the store: %s", strerror(-error));
    CLEANUP_BUDGET struct sample *buffer = budget_array(eval->budget, SOURCE_SAMPLES, sizeof(*buffer));
    if (!buffer)
        return eval_fail_memory(eval, selector);
    struct source source = {.eval = eval, .ast = selector, .buffer = buffer};
    struct select_series series;
    while ((error = select_next(select, &series)) > 0) {
        error = scan_one(select, &series, source, scan);
        if (error < 0)
            return error;
    }
    return error < 0 ? eval_fail(eval, PROMQL_INTERNAL, selector, "reading the store: %s", strerror(-error)) : 0;
}

struct scan_sink {
    struct sink sink;
    struct source source;
    struct scan *scan;
};

static int scan_sink_emit(struct sink *sink, const struct promql_series *series)
{
    struct scan_sink *each = CONTAINER_OF(sink, struct scan_sink, sink);
    struct source source = each->source;
    source.series = series;
    int error = each->scan->series(each->scan, series->labels, &source);
    return source.error < 0 ? source.error : error;
}

int scan_subquery(struct eval *eval, const struct grid *grid, const struct ast *subquery, struct scan *scan)
{
    struct grid inner = lookup_subgrid(eval, grid, subquery);
    if (inner.steps == 0)
        return 0;
    CLEANUP_BUDGET struct sample *buffer = budget_array(eval->budget, SOURCE_SAMPLES, sizeof(*buffer));
    if (!buffer)
        return eval_fail_memory(eval, subquery);
    struct scan_sink each = {{scan_sink_emit}, {.eval = eval, .ast = subquery, .grid = &inner, .buffer = buffer}, scan};
    return eval_node(eval, &inner, subquery->subquery.inner, &each.sink);
}
