#include "promql/source.h"

#include <errno.h>

#define WARNINGS_BYTES_MAX (64 * KIB)
#define DEFAULT_STEP_MS    60000 /* Prometheus' evaluation interval */

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

/* The count of the record at this time. What came into the store between the opening of both readers may lack one. */
static double count_at(struct source *counts, int64_t time_ms)
{
    const struct sample *sample;
    while ((sample = source_peek(counts)) && sample->time_ms < time_ms)
        counts->at++;
    return sample && sample->time_ms == time_ms ? sample->value : 1;
}

/* Spreads the samples over the buffer and puts the count behind each; both are stale or none is. */
static void add_counts(struct source *source)
{
    for (size_t i = source->count; i-- > 0;)
        source->buffer[2 * i] = source->buffer[i];
    for (size_t i = 0; i < source->count; i++) {
        struct sample *sample = &source->buffer[2 * i];
        double count = value_is_stale(sample->value) ? sample->value : count_at(source->counts, sample->time_ms);
        sample[1] = (struct sample){sample->time_ms, count};
    }
    source->count *= 2;
    source->error = source->counts->error;
}

static void fill_from_reader(struct source *source)
{
    struct eval *eval = source->eval;
    size_t room = source->counts ? SOURCE_SAMPLES / 2 : SOURCE_SAMPLES;
    int64_t got = sample_reader_read(source->reader, source->buffer, room);
    while (got == -EBADMSG || got == -EIO) { /* told by the select's warnings */
        got = sample_reader_read(source->reader, source->buffer, room);
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
    else if (source->counts)
        add_counts(source);
}

bool source_fill(struct source *source)
{
    source->at = source->count = 0;
    if (source->error < 0)
        return false;
    if (source->series)
        fill_from_series(source);
    else if (source->reader)
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

/* One reading of a selector: its series, one after the other. */
struct cursor {
    struct eval *eval;
    const struct ast *ast;
    struct select *select;
    struct sample *buffer;
    struct select_series series;
    bool more; /* series is one */
};

static int fail_store(const struct cursor *cursor, int error)
{
    return eval_fail(cursor->eval, PROMQL_INTERNAL, cursor->ast, "reading the store: %s", strerror(-error));
}

/* What the store knows to be missing becomes warnings, once it was read. */
static void warn(const struct cursor *cursor)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(WARNINGS_BYTES_MAX);
    select_warnings(cursor->select, &text);
    struct str left = buf_view(&text);
    while (left.len > 0) {
        size_t line = str_find(left, '\n');
        eval_warn(cursor->eval, STR_FMT, STR_ARG(str_of(left.ptr, line)));
        left = str_of(left.ptr + MIN(line + 1, left.len), left.len - MIN(line + 1, left.len));
    }
}

static void cursor_done(struct cursor *cursor)
{
    if (cursor->select)
        warn(cursor);
    budget_free(cursor->buffer);
    select_free(cursor->select);
}

static int cursor_open(struct cursor *cursor, const struct grid *grid, enum select_field field)
{
    struct eval *eval = cursor->eval;
    const struct ast *ast = cursor->ast;
    struct lookup lookup = lookup_of(eval, grid, ast);
    struct select_range range = {.start_ms = lookup.first_ms - lookup.range_ms,
                                 .end_ms = lookup_time_ms(&lookup, grid->steps - 1),
                                 .field = field,
                                 .cancelled = scan_cancelled,
                                 .cancelled_arg = eval};
    int error =
        select_open(eval->query->store, ast->selector.matchers, ast->selector.matcher_count, &range, &cursor->select);
    if (error == -EINVAL && eval->failure == PROMQL_OK)
        return eval_fail(eval, PROMQL_BAD_DATA, ast, "vector selector must contain at least one non-empty matcher");
    if (error < 0)
        return fail_store(cursor, error);
    cursor->buffer = budget_array(eval->budget, SOURCE_SAMPLES, sizeof(*cursor->buffer));
    return cursor->buffer ? 0 : eval_fail_memory(eval, ast);
}

static int cursor_next(struct cursor *cursor)
{
    int given = select_next(cursor->select, &cursor->series);
    if (given < 0)
        return fail_store(cursor, given);
    cursor->more = given > 0;
    return eval_work(cursor->eval, 1);
}

/* Moves on to the series with these labels; false when there is none. */
static int cursor_find(struct cursor *cursor, const struct labels *labels, bool *ret_found)
{
    int order = -1;
    while (cursor->more && (order = labels_compare(cursor->series.labels, labels)) < 0) {
        int error = cursor_next(cursor);
        if (error < 0)
            return error;
    }
    *ret_found = cursor->more && order == 0;
    return 0;
}

static int cursor_source(struct cursor *cursor, struct source *ret_source)
{
    *ret_source = (struct source){.eval = cursor->eval, .ast = cursor->ast, .buffer = cursor->buffer};
    int error = sample_reader_open(cursor->select, &ret_source->reader);
    return error < 0 ? fail_store(cursor, error) : 0;
}

/* A source without series and reader has no samples: then all counts are 1. */
static int counts_source(struct cursor *counts, const struct labels *labels, struct source *ret_source)
{
    bool found = false;
    int error = cursor_find(counts, labels, &found);
    return error < 0 || !found ? error : cursor_source(counts, ret_source);
}

static int scan_one(struct cursor *cursor, struct cursor *counts, struct scan *scan)
{
    struct source source;
    struct source counted = {.eval = cursor->eval, .ast = cursor->ast};
    int error = cursor_source(cursor, &source);
    if (error < 0)
        return error;
    if (scan->counted) {
        source.counts = &counted;
        error = counts_source(counts, cursor->series.labels, &counted);
    }
    if (error == 0)
        error = scan->series(scan, cursor->series.labels, &source);
    sample_reader_close(source.reader);
    sample_reader_close(counted.reader);
    return source.error < 0 ? source.error : error;
}

int scan_selector(struct eval *eval, const struct grid *grid, const struct ast *selector, struct scan *scan)
{
    CLEANUP(cursor_done) struct cursor cursor = {.eval = eval, .ast = selector};
    CLEANUP(cursor_done) struct cursor counts = {.eval = eval, .ast = selector};
    int error = cursor_open(&cursor, grid, scan->field);
    if (error == 0 && scan->counted)
        error = cursor_open(&counts, grid, SELECT_COUNT);
    if (error == 0 && scan->counted)
        error = cursor_next(&counts);
    while (error == 0) {
        error = cursor_next(&cursor);
        if (error < 0 || !cursor.more)
            return error;
        error = scan_one(&cursor, &counts, scan);
    }
    return error;
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
