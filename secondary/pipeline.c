#include "pipeline.h"
#include "base/fail.h"
#include "page_cache.h"
#include "window.h"

#include <errno.h>

/* The series that the scraper adds, in the order of their slots. The last is there while scrapes fail. */
enum { OWN_UP, OWN_DURATION, OWN_SCRAPED, OWN_KEPT, OWN_ADDED, OWN_BODY_BYTES, OWN_FAILURE, OWN_COUNT };

static const struct page_gauge own_gauges[OWN_COUNT] = {
    {"up", "1 when the last scrape gave samples, 0 when it failed", NULL, NULL},
    {"scrape_duration_seconds", "How long the scrape took", NULL, NULL},
    {"scrape_samples_scraped", "Samples on the page", NULL, NULL},
    {"scrape_samples_post_metric_relabeling", "Samples left after metric_relabel_configs", NULL, NULL},
    {"scrape_series_added", "Series that were not on the page before", NULL, NULL},
    {"scrape_body_size_bytes", "Size of the page, uncompressed", NULL, NULL},
    {"scrape_failure", "1 while scrapes fail, and why", "reason", NULL}};

struct pipeline {
    struct pipeline_options options;
    struct page_cache *pages;
    struct page *own_pages[SCRAPE_FAILURE_COUNT]; /* by how the scrape ended */
    struct page_values values, own_values;
    struct window_scratch scratch;
    struct pipeline_stats stats;
};

struct pipeline_target {
    struct pipeline *pipeline;
    struct labels *labels;
    const struct pipeline_job *job;
    struct window *window; /* of what the target exposes */
    struct window *own;    /* of what the scraper adds */
    enum scrape_failure last_failure;
    bool answered;                        /* the last scrape gave samples */
    bool ended;                           /* nobody expects anything of it any more */
    uint64_t repeated;                    /* lines dropped in this window as repeated series */
    size_t counted_bytes, counted_series; /* as they stand in the pipeline's stats */
};

const char *scrape_failure_name(enum scrape_failure failure)
{
    static const char *const names[SCRAPE_FAILURE_COUNT] = {"ok",           "resolve",     "connect", "tls",
                                                            "timeout",      "broken",      "status",  "body_limit",
                                                            "sample_limit", "label_limit", "parse",   "overload"};
    return (unsigned)failure < SCRAPE_FAILURE_COUNT ? names[failure] : "unknown";
}

struct pipeline *pipeline_new(const struct pipeline_options *options)
{
    ASSERT(options->resolution_ms > 0 && options->sealed);
    struct pipeline *pipeline = mem_zalloc(sizeof(*pipeline));
    pipeline->options = *options;
    pipeline->pages = page_cache_new(options->page_bytes_max);
    for (int i = 0; i < SCRAPE_FAILURE_COUNT; i++) {
        struct page_gauge gauges[OWN_COUNT];
        memcpy(gauges, own_gauges, sizeof(gauges));
        gauges[OWN_FAILURE].label_value = scrape_failure_name((enum scrape_failure)i);
        pipeline->own_pages[i] = page_of_gauges(pipeline->pages, gauges, i == SCRAPE_OK ? OWN_FAILURE : OWN_COUNT);
    }
    pipeline->own_values = (struct page_values){.values = mem_array(OWN_COUNT, sizeof(double)), .capacity = OWN_COUNT};
    return pipeline;
}

void pipeline_free(struct pipeline *pipeline)
{
    if (!pipeline)
        return;
    window_scratch_done(&pipeline->scratch);
    for (int i = 0; i < SCRAPE_FAILURE_COUNT; i++)
        page_unref(pipeline->pages, pipeline->own_pages[i]);
    page_cache_free(pipeline->pages);
    page_values_done(&pipeline->values);
    page_values_done(&pipeline->own_values);
    mem_free(pipeline);
}

struct pipeline_target *pipeline_target_new(struct pipeline *pipeline, struct labels *labels,
                                            const struct pipeline_job *job)
{
    struct pipeline_target *target = mem_zalloc(sizeof(*target));
    target->pipeline = pipeline;
    target->labels = labels_ref(labels);
    target->job = job;
    target->window = window_new(pipeline->pages);
    target->own = window_new(pipeline->pages);
    return target;
}

/* Keeps the sums of the stats by the difference, so that they cost nothing to read. */
static void count_target(struct pipeline_target *target, size_t bytes, size_t series)
{
    struct pipeline_stats *stats = &target->pipeline->stats;
    stats->window_bytes += bytes - target->counted_bytes;
    stats->series += series - target->counted_series;
    target->counted_bytes = bytes;
    target->counted_series = series;
}

void pipeline_target_free(struct pipeline_target *target)
{
    if (!target)
        return;
    count_target(target, 0, 0);
    window_free(target->window);
    window_free(target->own);
    labels_unref(target->labels);
    mem_free(target);
}

/* ---- Scrapes ---- */

static uint32_t series_added(const struct page *old, const struct page *page)
{
    if (!old)
        return page->slot_count;
    CLEANUP_FREE uint32_t *slots = mem_array(old->slot_count, sizeof(*slots));
    return page_match(old, page, slots);
}

static void take_body(struct pipeline_target *target, const struct scrape_outcome *outcome,
                      struct scrape_report *report)
{
    struct pipeline *pipeline = target->pipeline;
    struct page *old = window_page(target->window), *page = NULL;
    if (old && page_read(old, outcome->body, target->job->honor_timestamps, &pipeline->values)) {
        page = page_ref(old);
    } else {
        report->failure =
            page_parse(pipeline->pages, target->job, target->labels, outcome->body, &pipeline->values, &page, report);
        if (report->failure != SCRAPE_OK)
            return;
        report->page_changed = !old || !hash128_equal(page->layout->hash, old->layout->hash);
        if (report->page_changed)
            report->series_added = series_added(old, page);
        pipeline->stats.page_changes_total += report->page_changed;
    }
    report->samples_scraped = page->line_count;
    report->samples_kept = page->kept_count;
    target->repeated += page->repeated_count;
    window_add(target->window, page, &pipeline->values, outcome->time_ms);
    page_unref(pipeline->pages, page);
}

static void take_own(struct pipeline_target *target, const struct scrape_outcome *outcome,
                     const struct scrape_report *report)
{
    struct page_values *values = &target->pipeline->own_values;
    values->values[OWN_UP] = report->failure == SCRAPE_OK;
    values->values[OWN_DURATION] = (double)outcome->duration_ns / 1e9;
    values->values[OWN_SCRAPED] = report->samples_scraped;
    values->values[OWN_KEPT] = report->samples_kept;
    values->values[OWN_ADDED] = report->series_added;
    /* -1 says: larger than the limit, as Prometheus says it. */
    values->values[OWN_BODY_BYTES] = report->failure == SCRAPE_BODY_LIMIT ? -1 : (double)outcome->body.len;
    values->values[OWN_FAILURE] = 1;
    window_add(target->own, target->pipeline->own_pages[report->failure], values, outcome->time_ms);
}

void pipeline_scrape(struct pipeline_target *target, const struct scrape_outcome *outcome,
                     struct scrape_report *ret_report)
{
    struct scrape_report report = {.failure = outcome->failure};
    if (report.failure == SCRAPE_OK)
        take_body(target, outcome, &report);
    if (report.failure != SCRAPE_OK)
        window_stale(target->window, outcome->time_ms);
    take_own(target, outcome, &report);
    target->last_failure = report.failure;
    target->answered = report.failure == SCRAPE_OK;
    struct pipeline_stats *stats = &target->pipeline->stats;
    stats->scrapes_total++;
    stats->failures_total += report.failure != SCRAPE_OK;
    stats->samples_total += report.samples_kept;
    count_target(target, window_bytes(target->window) + window_bytes(target->own),
                 window_series(target->window) + window_series(target->own));
    *ret_report = report;
}

void pipeline_target_end(struct pipeline_target *target, int64_t time_ms)
{
    target->ended = true;
    window_stale(target->window, time_ms);
    window_stale(target->own, time_ms);
}

/* ---- Closing ---- */

static struct pipeline_sealed new_part(const struct pipeline *pipeline, int64_t window_start_ms)
{
    return (struct pipeline_sealed){.writer = batch_writer_new(),
                                    .window_start_ms = window_start_ms,
                                    .resolution_ms = pipeline->options.resolution_ms,
                                    .span_ms = pipeline->options.resolution_ms};
}

static void seal(struct pipeline *pipeline, struct pipeline_sealed *part)
{
    pipeline->options.sealed(pipeline->options.sealed_arg, part);
    part->writer = NULL; /* the receiver's now */
}

static int add_window(struct pipeline_target *target, const struct window_closed *closed, struct pipeline_sealed *part)
{
    struct batch_item item = {.target = target->labels,
                              .page = closed->page,
                              .time_ms = closed->time_ms,
                              .count = closed->count,
                              .stale_ms = closed->stale_ms,
                              .records = closed->records,
                              .extras = closed->extras,
                              .extra_count = closed->extra_count};
    return batch_writer_add(part->writer, &item);
}

static void close_one(struct pipeline_target *target, struct window *window, struct pipeline_sealed *part)
{
    struct pipeline *pipeline = target->pipeline;
    struct window_closed closed;
    if (!window_close(window, &pipeline->scratch, &closed))
        return;
    part->samples_dropped_total += closed.dropped;
    if (add_window(target, &closed, part) == 0)
        return;
    /* The part is full. */
    int64_t window_start_ms = part->window_start_ms;
    seal(pipeline, part);
    *part = new_part(pipeline, window_start_ms);
    /* One page alone that no batch can hold is past every limit of a scrape: its samples are counted as dropped. */
    if (add_window(target, &closed, part) < 0)
        part->samples_dropped_total += (uint64_t)closed.count * window_series(window);
}

/* Of the targets at the end of the window: one that was taken away is not missing. */
static void count_coverage(const struct pipeline_target *target, struct pipeline_sealed *part)
{
    if (target->ended)
        return;
    part->targets_expected++;
    part->targets_answered += target->answered;
    part->failed[target->last_failure] += !target->answered;
}

void pipeline_close(struct pipeline *pipeline, int64_t window_start_ms, struct pipeline_target *const *targets,
                    size_t count)
{
    struct pipeline_sealed part = new_part(pipeline, window_start_ms);
    for (size_t i = 0; i < count; i++) {
        struct pipeline_target *target = targets[i];
        close_one(target, target->window, &part);
        close_one(target, target->own, &part);
        count_coverage(target, &part);
        part.samples_dropped_total += target->repeated;
        target->repeated = 0;
    }
    seal(pipeline, &part);
    /* A page of a job that ends now must not be found by a later one that lies at the same address. */
    window_scratch_release(&pipeline->scratch);
}

void pipeline_stats(const struct pipeline *pipeline, struct pipeline_stats *ret_stats)
{
    *ret_stats = pipeline->stats;
    ret_stats->pages = page_cache_pages(pipeline->pages);
    ret_stats->page_bytes = page_cache_text_bytes(pipeline->pages);
}
