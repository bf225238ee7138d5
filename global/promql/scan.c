#include "promql/scan.h"

#include "base/crew.h"
#include "base/fail.h"
#include "promql/label_set.h"

#include <errno.h>
#include <pthread.h>

#define WARNINGS_BYTES_MAX (64 * KIB)
/* A slice: so many values that handing it over costs nothing beside making it, so few that they stay in the cache. */
#define SLICE_VALUES     32768
#define SLICE_SERIES_MAX 256
#define SLICE_SERIES_MIN 4
#define SLICES_AHEAD     2 /* of each thread: done or being done before their turn to leave */

/* ---- The select ---- */

static bool scan_cancelled(void *eval)
{
    return eval_work_slow(eval) < 0;
}

bool scan_charge(void *eval, size_t bytes)
{
    return budget_charge(((struct eval *)eval)->budget, bytes);
}

void scan_release(void *eval, size_t bytes)
{
    budget_release(((struct eval *)eval)->budget, bytes);
}

int scan_open(struct eval *eval, const struct grid *grid, const struct ast *selector, const struct scan_range *how,
              struct select **ret_select)
{
    struct lookup lookup = lookup_of(eval, grid, selector);
    struct select_range range = {.start_ms = lookup.first_ms - lookup.range_ms,
                                 .end_ms = lookup_time_ms(&lookup, grid->steps - 1),
                                 .any_order = how->any_order,
                                 .newest_only = how->newest_only,
                                 .cancelled = scan_cancelled,
                                 .cancelled_arg = eval,
                                 .charge = scan_charge,
                                 .release = scan_release,
                                 .charge_arg = eval};
    const struct matcher *matchers = selector->selector.matchers;
    int error = select_open(eval->query->store, matchers, selector->selector.matcher_count, &range, ret_select);
    if (error == -EINVAL)
        return eval_fail(eval, PROMQL_BAD_DATA, selector,
                         "vector selector must contain at least one non-empty matcher");
    if (error == -ENOMEM)
        return eval_fail_memory(eval, selector);
    return error < 0 ? eval_fail(eval, PROMQL_INTERNAL, selector, "reading the store: %s", strerror(-error)) : 0;
}

void scan_close(struct eval *eval, struct select *select)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(WARNINGS_BYTES_MAX);
    select_warnings(select, &text);
    struct str left = buf_view(&text);
    while (left.len > 0) {
        size_t line = str_find(left, '\n');
        eval_warn(eval, STR_FMT, STR_ARG(str_of(left.ptr, line)));
        left = str_of(left.ptr + MIN(line + 1, left.len), left.len - MIN(line + 1, left.len));
    }
    select_free(select);
}

/* ---- A thread's part ---- */

struct worker {
    struct eval eval; /* its own failure and count of work; limits and memory are the query's */
    struct promql_error error;
    struct sample_reader *reader;
    struct source_counts counts;
    struct scan_worker *state;
};

/* False past the budget: worker_done is due all the same. */
static bool worker_init(struct worker *worker, const struct eval *eval, const struct scan *scan, struct select *select)
{
    *worker = (struct worker){.eval = *eval};
    worker->eval.error = &worker->error;
    worker->eval.work = 0;
    worker->reader = sample_reader_new(select, scan->field);
    if (scan->counted) {
        worker->counts.reader = sample_reader_new(select, SELECT_COUNT);
        worker->counts.buffer = budget_array(eval->budget, SOURCE_SAMPLES, sizeof(struct sample));
    }
    worker->state = budget_array(eval->budget, 1, scan->worker_bytes);
    if (!worker->state || (scan->counted && !worker->counts.buffer))
        return false;
    worker->state->eval = &worker->eval;
    return true;
}

static void worker_done(struct worker *worker, const struct scan *scan)
{
    if (worker->state && scan->worker_done)
        scan->worker_done(worker->state);
    budget_free(worker->state);
    budget_free(worker->counts.buffer);
    sample_reader_free(worker->counts.reader);
    sample_reader_free(worker->reader);
}

static int worker_series(struct worker *worker, const struct scan *scan, size_t index, struct promql_series *ret_series)
{
    struct source source = {.eval = &worker->eval, .ast = scan->ast, .reader = worker->reader};
    int error = eval_work(&worker->eval, 1);
    if (error < 0)
        return error;
    sample_reader_series(worker->reader, index);
    if (scan->counted) {
        sample_reader_series(worker->counts.reader, index);
        worker->counts.at = worker->counts.count = 0;
        source.counts = &worker->counts;
    }
    series_clear(ret_series, scan->grid->steps);
    return scan->series(scan, worker->state, &source, ret_series);
}

/* ---- Slices ---- */

struct slice {
    struct promql_series *series; /* room for parted.slice_series */
    bool *filled;
    bool done;
    enum promql_failure failure; /* of the thread that made it */
    struct promql_error error;
};

struct parted {
    struct eval *eval;       /* the query's own thread's */
    const struct eval start; /* as it was before any thread began: what theirs are made of */
    const struct scan *scan;
    struct select *select;
    size_t slice_series, slice_count, ring_count;
    struct slice *ring;     /* slice i is at i % ring_count */
    pthread_mutex_t lock;   /* guards what is below, and the slices' done; leaf */
    pthread_cond_t changed; /* a slice is done, one has left, or it is over */
    size_t claimed, left;   /* slices [left, claimed) are in the ring */
    bool over;
    uint64_t queried; /* by threads that have ended */
};

static struct slice *slice_at(const struct parted *parted, size_t number)
{
    return &parted->ring[number % parted->ring_count];
}

static bool slice_init(struct slice *slice, const struct parted *parted)
{
    struct budget *budget = parted->eval->budget;
    size_t steps = parted->scan->grid->steps, words = promql_words(steps), count = parted->slice_series;
    *slice = (struct slice){0};
    if (steps > SIZE_MAX / 32 / SLICE_SERIES_MAX)
        return false;
    slice->series = budget_array(budget, count, sizeof(*slice->series));
    slice->filled = budget_array(budget, count, sizeof(*slice->filled));
    double *slots = slice->series ? budget_array(budget, count * (steps + words), sizeof(double)) : NULL;
    if (!slots || !slice->filled) {
        budget_free(slots);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        slice->series[i].values = slots + i * steps;
        slice->series[i].present = (uint64_t *)(void *)(slots + count * steps) + i * words;
    }
    return true;
}

static void slice_done(struct slice *slice)
{
    if (slice->series)
        budget_free(slice->series[0].values);
    budget_free(slice->series);
    budget_free(slice->filled);
}

static size_t slice_end(const struct parted *parted, size_t number)
{
    return MIN((number + 1) * parted->slice_series, select_count(parted->select));
}

static void work_slice(const struct parted *parted, struct worker *worker, size_t number)
{
    struct slice *slice = slice_at(parted, number);
    size_t first = number * parted->slice_series, end = slice_end(parted, number);
    for (size_t i = first; i < end && worker->eval.failure == PROMQL_OK; i++) {
        int given = worker_series(worker, parted->scan, i, &slice->series[i - first]);
        ASSERT(given >= 0 || worker->eval.failure != PROMQL_OK);
        slice->filled[i - first] = given > 0;
    }
    slice->failure = worker->eval.failure;
    slice->error = worker->error;
}

/* Under the lock. The next slice that nobody has, if there is room for it. */
static bool claim(struct parted *parted, size_t *ret_number)
{
    if (parted->over || parted->claimed == parted->slice_count || parted->claimed - parted->left == parted->ring_count)
        return false;
    *ret_number = parted->claimed++;
    slice_at(parted, *ret_number)->done = false;
    return true;
}

/* Under the lock, which is given up meanwhile. */
static void work_claimed(struct parted *parted, struct worker *worker, size_t number)
{
    pthread_mutex_unlock(&parted->lock);
    work_slice(parted, worker, number);
    pthread_mutex_lock(&parted->lock);
    slice_at(parted, number)->done = true;
    parted->over |= worker->eval.failure != PROMQL_OK;
    pthread_cond_broadcast(&parted->changed);
}

static void help(void *arg)
{
    struct parted *parted = arg;
    struct worker worker;
    bool ready = worker_init(&worker, &parted->start, parted->scan, parted->select);
    size_t number;
    pthread_mutex_lock(&parted->lock);
    while (ready && !parted->over && parted->claimed < parted->slice_count) {
        if (claim(parted, &number))
            work_claimed(parted, &worker, number);
        else
            pthread_cond_wait(&parted->changed, &parted->lock);
    }
    parted->queried += ready ? worker.state->queried : 0;
    pthread_mutex_unlock(&parted->lock);
    worker_done(&worker, parted->scan);
}

/* ---- The query's own thread ---- */

static int emit_slice(struct parted *parted, struct label_view *view, size_t number)
{
    const struct scan *scan = parted->scan;
    struct slice *slice = slice_at(parted, number);
    size_t first = number * parted->slice_series, end = slice_end(parted, number);
    if (slice->failure != PROMQL_OK) {
        if (parted->eval->failure == PROMQL_OK) {
            parted->eval->failure = slice->failure;
            *parted->eval->error = slice->error;
        }
        return -EINVAL;
    }
    for (size_t i = first; i < end; i++) {
        struct promql_series *series = &slice->series[i - first];
        if (!slice->filled[i - first])
            continue;
        CLEANUP(labels_unrefp) struct labels *labels = label_view_labels(view, i);
        series->labels = labels;
        int error = scan->next->emit(scan->next, series);
        if (error < 0)
            return error;
    }
    return 0;
}

/* Slice after slice leaves; where the next is not there yet, it works as the others do. */
static int emit_all(struct parted *parted, struct worker *worker, struct label_view *view)
{
    size_t number;
    int error = 0;
    pthread_mutex_lock(&parted->lock);
    while (parted->left < parted->slice_count && error == 0) {
        bool is_next = parted->left < parted->claimed && slice_at(parted, parted->left)->done;
        if (is_next) {
            pthread_mutex_unlock(&parted->lock);
            error = emit_slice(parted, view, parted->left);
            pthread_mutex_lock(&parted->lock);
            parted->left++;
            pthread_cond_broadcast(&parted->changed);
        } else if (claim(parted, &number)) {
            work_claimed(parted, worker, number);
        } else {
            pthread_cond_wait(&parted->changed, &parted->lock);
        }
    }
    pthread_mutex_unlock(&parted->lock);
    return error;
}

static int run_parted(struct parted *parted, size_t helpers)
{
    const struct scan *scan = parted->scan;
    struct labels_wanted wanted = scan->next->wanted ? scan->next->wanted->labels : (struct labels_wanted){0};
    wanted.without_name |= scan->drop_name;
    CLEANUP(label_view_freep) struct label_view *view = label_view_new(parted->select, &wanted);
    struct crew *crew = parted->eval->query->crew;
    struct crew_job job;
    struct worker worker;
    int error = 0;
    for (size_t i = 0; i < parted->ring_count; i++)
        if (!slice_init(&parted->ring[i], parted))
            return eval_fail_memory(parted->eval, scan->ast);
    crew_begin(crew, &job, help, parted, helpers);
    if (worker_init(&worker, &parted->start, scan, parted->select))
        error = emit_all(parted, &worker, view);
    else
        error = eval_fail_memory(parted->eval, scan->ast);
    pthread_mutex_lock(&parted->lock);
    parted->over = true;
    pthread_cond_broadcast(&parted->changed);
    pthread_mutex_unlock(&parted->lock);
    crew_end(crew, &job);
    parted->eval->queried += parted->queried + (worker.state ? worker.state->queried : 0);
    worker_done(&worker, scan);
    return error;
}

static int scan_select(struct eval *eval, const struct scan *scan, struct select *select)
{
    size_t count = select_count(select), steps = scan->grid->steps;
    size_t full = MAX(MIN(SLICE_VALUES / steps, (size_t)SLICE_SERIES_MAX), (size_t)SLICE_SERIES_MIN);
    size_t slice_series = MIN(full, count); /* of few series no room for many is made */
    if (count == 0)
        return 0;
    struct parted parted = {.eval = eval, .start = *eval, .scan = scan, .select = select, .slice_series = slice_series};
    parted.slice_count = (count + slice_series - 1) / slice_series;
    size_t helpers = MIN(crew_threads(eval->query->crew), parted.slice_count - 1);
    parted.ring_count = MIN(helpers == 0 ? 1 : SLICES_AHEAD * (helpers + 1), parted.slice_count);
    parted.ring = budget_array(eval->budget, parted.ring_count, sizeof(*parted.ring));
    if (!parted.ring)
        return eval_fail_memory(eval, scan->ast);
    ASSERT(pthread_mutex_init(&parted.lock, NULL) == 0 && pthread_cond_init(&parted.changed, NULL) == 0);
    int error = run_parted(&parted, helpers);
    for (size_t i = 0; i < parted.ring_count; i++)
        slice_done(&parted.ring[i]);
    pthread_cond_destroy(&parted.changed);
    pthread_mutex_destroy(&parted.lock);
    budget_free(parted.ring);
    return error;
}

static int scan_selector(struct eval *eval, const struct scan *scan)
{
    struct select *select = NULL;
    struct scan_range how = {.any_order = scan->next->wanted && scan->next->wanted->any_order,
                             .newest_only = scan->newest_only};
    int error = scan_open(eval, scan->grid, scan->ast, &how, &select);
    if (error < 0)
        return error;
    error = scan_select(eval, scan, select);
    scan_close(eval, select);
    return error;
}

/* ---- Subqueries ---- */

struct subscan {
    struct sink sink;
    struct eval *eval;
    const struct scan *scan;
    const struct grid *inner;
    struct scan_worker *worker;
    struct promql_series out;
};

static int subscan_emit(struct sink *sink, const struct promql_series *series)
{
    struct subscan *each = CONTAINER_OF(sink, struct subscan, sink);
    const struct scan *scan = each->scan;
    struct source source = {.eval = each->eval, .ast = scan->ast, .series = series, .grid = each->inner};
    series_clear(&each->out, scan->grid->steps);
    int given = scan->series(scan, each->worker, &source, &each->out);
    if (given <= 0)
        return given;
    CLEANUP(labels_unrefp)
    struct labels *labels = scan->drop_name ? label_set_without_name(series->labels) : labels_ref(series->labels);
    each->out.labels = labels;
    return scan->next->emit(scan->next, &each->out);
}

static int scan_subquery(struct eval *eval, const struct scan *scan)
{
    struct grid inner = lookup_subgrid(eval, scan->grid, scan->ast);
    if (inner.steps == 0)
        return 0;
    struct subscan each = {.sink = {.emit = subscan_emit}, .eval = eval, .scan = scan, .inner = &inner};
    CLEANUP_BUDGET struct scan_worker *worker = budget_array(eval->budget, 1, scan->worker_bytes);
    if (!worker || !series_slots(eval->budget, scan->grid->steps, &each.out))
        return eval_fail_memory(eval, scan->ast);
    CLEANUP_BUDGET UNUSED double *slots = each.out.values;
    worker->eval = eval;
    each.worker = worker;
    uint64_t queried = eval->queried;
    int error = eval_node(eval, &inner, scan->ast->subquery.inner, &each.sink);
    eval->queried = queried + worker->queried; /* the windows' count, not what it took to fill them */
    if (scan->worker_done)
        scan->worker_done(worker);
    return error;
}

int scan_run(struct eval *eval, struct scan *scan)
{
    return scan->ast->kind == AST_SUBQUERY ? scan_subquery(eval, scan) : scan_selector(eval, scan);
}
