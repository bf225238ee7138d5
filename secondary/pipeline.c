#include "pipeline.h"
#include "base/fail.h"
#include "pipeline_internal.h"

static const struct {
    const char *name, *help;
} own_gauges[OWN_COUNT] = {{"up", "1 when the last scrape gave samples, 0 when it failed"},
                           {"scrape_duration_seconds", "How long the scrape took"},
                           {"scrape_samples_scraped", "Samples on the page"},
                           {"scrape_samples_post_metric_relabeling", "Samples left after metric_relabel_configs"},
                           {"scrape_series_added", "Series that were not on the page before"},
                           {"scrape_body_size_bytes", "Size of the page, uncompressed"},
                           {"scrape_failure", "1 while scrapes fail, and why"}};

const char *scrape_failure_name(enum scrape_failure failure)
{
    static const char *const names[SCRAPE_FAILURE_COUNT] = {"ok",           "resolve",     "connect", "tls",
                                                            "timeout",      "broken",      "status",  "body_limit",
                                                            "sample_limit", "label_limit", "parse",   "overload"};
    return (unsigned)failure < SCRAPE_FAILURE_COUNT ? names[failure] : "unknown";
}

const char *target_end_name(enum target_end end)
{
    static const char *const names[TARGET_END_COUNT] = {"removed", "relabeled", "job", "limit"};
    return (unsigned)end < TARGET_END_COUNT ? names[end] : "unknown";
}

struct pipeline *pipeline_new(const struct pipeline_options *options)
{
    ASSERT(options->rules && options->sealed);
    struct pipeline *pipeline = mem_zalloc(sizeof(*pipeline));
    pipeline->options = *options;
    pipeline->rules = window_rules_ref(options->rules);
    pipeline->pages = page_cache_new(options->page_bytes_max);
    pipeline->empty = page_empty(pipeline->pages);
    map_init(&pipeline->own);
    pipeline->own_values = (struct page_values){.values = mem_array(OWN_COUNT, sizeof(double)), .capacity = OWN_COUNT};
    return pipeline;
}

void pipeline_free(struct pipeline *pipeline)
{
    if (!pipeline)
        return;
    ASSERT(pipeline->targets == 0 && pipeline->own.count == 0);
    window_scratch_done(&pipeline->scratch);
    page_unref(pipeline->pages, pipeline->empty);
    page_cache_free(pipeline->pages);
    page_values_done(&pipeline->values);
    page_values_done(&pipeline->own_values);
    map_done(&pipeline->own);
    mem_free(pipeline->parts);
    window_rules_unref(pipeline->rules);
    window_rules_unref(pipeline->next_rules);
    mem_free(pipeline);
}

void pipeline_sealed_done(struct pipeline_sealed *sealed)
{
    batch_writer_free(STEAL(sealed->writer));
    aggregate_free(STEAL(sealed->aggregate));
}

/* ---- Pages of what the scraper adds ---- */

static struct own_pages *own_pages_take(struct pipeline *pipeline, const struct window_rules *rules,
                                        const struct labels *target)
{
    uint64_t key = window_rules_key(rules, target);
    struct own_pages *own = map_get(&pipeline->own, key, NULL, NULL);
    if (!own) {
        own = mem_zalloc(sizeof(*own));
        own->key = key;
        map_put(&pipeline->own, key, own);
    }
    own->references++;
    return own;
}

static void own_pages_drop(struct pipeline *pipeline, struct own_pages *own)
{
    if (--own->references > 0)
        return;
    map_remove(&pipeline->own, own->key, NULL, NULL);
    for (int i = 0; i < SCRAPE_FAILURE_COUNT; i++)
        page_unref(pipeline->pages, own->pages[i]);
    for (int i = 0; i < TARGET_END_COUNT; i++)
        page_unref(pipeline->pages, own->ends[i]);
    mem_free(own);
}

static struct page *own_page(struct pipeline_target *target, enum scrape_failure failure)
{
    struct own_pages *own = target->own;
    if (own->pages[failure])
        return own->pages[failure];
    const struct label reason = {STR("reason"), str_from(scrape_failure_name(failure))};
    struct page_series series[OWN_COUNT];
    size_t count = failure == SCRAPE_OK ? OWN_FAILURE : OWN_COUNT;
    for (size_t i = 0; i < count; i++)
        series[i] = (struct page_series){.name = str_from(own_gauges[i].name),
                                         .help = str_from(own_gauges[i].help),
                                         .type = METRIC_GAUGE,
                                         .labels = &reason,
                                         .label_count = i == OWN_FAILURE};
    const struct page_source source = {.rules = target->rules, .target = target->labels};
    own->pages[failure] = page_of_series(target->pipeline->pages, &source, series, count, own->slots[failure]);
    ASSERT(own->pages[failure]);
    return own->pages[failure];
}

static struct page *end_page(struct pipeline_target *target, enum target_end end)
{
    struct own_pages *own = target->own;
    if (own->ends[end])
        return own->ends[end];
    const struct label reason = {STR("reason"), str_from(target_end_name(end))};
    const struct page_series series = {.name = STR("scrape_target_ended"),
                                       .help = STR("1 at the time the target ended, and why"),
                                       .type = METRIC_GAUGE,
                                       .labels = &reason,
                                       .label_count = 1};
    const struct page_source source = {.rules = target->rules, .target = target->labels};
    own->ends[end] = page_of_series(target->pipeline->pages, &source, &series, 1, &own->end_slots[end]);
    ASSERT(own->ends[end]);
    return own->ends[end];
}

/* ---- Targets ---- */

static void add_set(struct pipeline_target *target)
{
    const struct window_set_options set = {.cache = target->pipeline->pages,
                                           .empty = target->pipeline->empty,
                                           .rules = target->rules,
                                           .interval_ms = target->interval_ms};
    window_set_init(&target->sets[target->set_count++], &set);
}

struct window_rules *pipeline_newest_rules(const struct pipeline *pipeline)
{
    return pipeline->next_rules ? pipeline->next_rules : pipeline->rules;
}

/* The rules before have gone when nobody goes by them any more. */
static void settle_rules(struct pipeline *pipeline)
{
    if (!pipeline->next_rules || pipeline->targets_before > 0)
        return;
    window_rules_unref(pipeline->rules);
    pipeline->rules = STEAL(pipeline->next_rules);
}

struct pipeline_target *pipeline_target_new(struct pipeline *pipeline, struct labels *labels, int64_t interval_ms,
                                            const struct pipeline_job *job)
{
    struct pipeline_target *target = mem_zalloc(sizeof(*target));
    target->pipeline = pipeline;
    target->labels = labels_ref(labels);
    target->interval_ms = interval_ms;
    target->job = job;
    target->rules = window_rules_ref(pipeline->rules);
    target->own = own_pages_take(pipeline, target->rules, labels);
    while (target->set_count < SET_ENDED)
        add_set(target);
    pipeline->targets++;
    pipeline->targets_before += pipeline->next_rules != NULL;
    return target;
}

void pipeline_target_free(struct pipeline_target *target)
{
    if (!target)
        return;
    struct pipeline *pipeline = target->pipeline;
    pipeline->targets--;
    pipeline->targets_before -= pipeline->next_rules && target->rules != pipeline->next_rules;
    pipeline_uncount(target);
    for (size_t i = 0; i < target->set_count; i++)
        window_set_done(&target->sets[i]);
    own_pages_drop(pipeline, target->own);
    window_rules_unref(target->rules);
    labels_unref(target->labels);
    mem_free(target);
    settle_rules(pipeline);
}

/* ---- Other rules ---- */

/* How long the windows of aggregates are, which is one length for all; 0: there are none. */
static int64_t aggregates_ms(const struct window_rules *rules)
{
    for (size_t i = 0; i < window_rules_count(rules); i++) {
        const struct window_rule *rule = window_rules_at(rules, i);
        if (rule->keep == KEEP_AGGREGATE)
            return rule->resolution_ms == RESOLUTION_UNSAID ? window_rules_default_ms(rules) : rule->resolution_ms;
    }
    return 0;
}

/* Says that a window of aggregates is to come, by a part without groups. */
static void announce(struct pipeline *pipeline, int64_t start_ms, int64_t resolution_ms)
{
    struct pipeline_sealed part = {.aggregate = aggregate_new(),
                                   .window_start_ms = start_ms,
                                   .resolution_ms = resolution_ms,
                                   .span_ms = resolution_ms};
    pipeline->options.sealed(pipeline->options.sealed_arg, &part);
}

/* Who joins the aggregates of all workers does not know rules. The first window of the new resolution is the one that
 * says which series went with the old one; without it they would all seem to end where nothing comes of the old. And
 * another worker may change a period earlier, so the last of the old is told too. */
static void announce_change(struct pipeline *pipeline, const struct window_rules *rules, int64_t from_ms)
{
    int64_t old_ms = aggregates_ms(pipeline->rules), new_ms = aggregates_ms(rules);
    if (old_ms == 0 || new_ms == 0 || old_ms == new_ms)
        return;
    announce(pipeline, from_ms - old_ms, old_ms);
    announce(pipeline, from_ms, new_ms);
}

void pipeline_set_rules(struct pipeline *pipeline, struct window_rules *rules, int64_t from_ms)
{
    ASSERT(!pipeline->next_rules);
    announce_change(pipeline, rules, from_ms);
    pipeline->next_rules = window_rules_ref(rules);
    pipeline->next_from_ms = from_ms;
    pipeline->targets_before = pipeline->targets;
    memset(pipeline->stats.decided, 0, sizeof(pipeline->stats.decided));
    settle_rules(pipeline);
}

/* All its windows are closed. */
static void switch_rules(struct pipeline_target *target)
{
    struct pipeline *pipeline = target->pipeline;
    struct window_rules *rules = pipeline->next_rules;
    pipeline_uncount(target);
    for (size_t i = 0; i < target->set_count; i++)
        window_set_release(&target->sets[i], rules);
    own_pages_drop(pipeline, target->own);
    window_rules_unref(target->rules);
    target->rules = window_rules_ref(rules);
    target->own = own_pages_take(pipeline, rules, target->labels);
    pipeline->targets_before--;
    settle_rules(pipeline);
}

/* ---- Scrapes ---- */

static uint32_t new_on(const struct page *old, const struct page *page)
{
    if (!old)
        return page->slot_count;
    if (hash128_equal(old->layout->hash, page->layout->hash))
        return 0;
    CLEANUP_FREE uint32_t *slots = mem_array(old->slot_count, sizeof(*slots));
    return page_match(old, page, slots);
}

static const struct page *part_of(const struct page *page, const struct window_class *class)
{
    for (uint32_t i = 0; page && i < page->part_count; i++)
        if (window_class_equal(&page->parts[i].class, class))
            return page->parts[i].page;
    return NULL;
}

static uint32_t series_added(const struct page *old, const struct page *page)
{
    uint32_t added = new_on(old, page);
    for (uint32_t i = 0; i < page->part_count; i++)
        added += new_on(part_of(old, &page->parts[i].class), page->parts[i].page);
    return added;
}

/* Its series are others than before: more, or as many and not all the same. */
static bool is_changed(const struct page *old, const struct page *page)
{
    if (!old || old->value_count != page->value_count || old->part_count != page->part_count ||
        !hash128_equal(old->layout->hash, page->layout->hash))
        return true;
    for (uint32_t i = 0; i < page->part_count; i++) {
        const struct page *part = part_of(old, &page->parts[i].class);
        if (!part || !hash128_equal(part->layout->hash, page->parts[i].page->layout->hash))
            return true;
    }
    return false;
}

static void take_body(struct pipeline_target *target, const struct scrape_outcome *outcome,
                      struct scrape_report *report)
{
    struct pipeline *pipeline = target->pipeline;
    struct window_set *set = &target->sets[SET_EXPOSED];
    struct page *old = window_set_page(set), *page = NULL;
    if (old && page_read(old, outcome->body, target->job->honor_timestamps, &pipeline->values)) {
        page = page_ref(old);
    } else {
        const struct page_source source = {target->job, target->rules, target->labels};
        report->failure = page_parse(pipeline->pages, &source, outcome->body, &pipeline->values, &page, report);
        if (report->failure != SCRAPE_OK)
            return;
        old = set->before ? set->before : old; /* shown under other rules */
        report->page_changed = is_changed(old, page);
        if (report->page_changed)
            report->series_added = series_added(old, page);
        pipeline->stats.page_changes_total += report->page_changed;
    }
    report->samples_scraped = page->line_count;
    report->samples_kept = page->kept_count + page->dropped_count;
    pipeline->stats.samples_total += page->kept_count;
    target->repeated += page->repeated_count;
    window_set_add(set, page, &pipeline->values, outcome->time_ms);
    page_unref(pipeline->pages, page);
}

static void take_own(struct pipeline_target *target, const struct scrape_outcome *outcome,
                     const struct scrape_report *report)
{
    struct page *page = own_page(target, report->failure);
    const uint32_t *slots = target->own->slots[report->failure];
    const double values[OWN_COUNT] = {
        [OWN_UP] = report->failure == SCRAPE_OK,
        [OWN_DURATION] = (double)outcome->duration_ns / 1e9,
        [OWN_SCRAPED] = report->samples_scraped,
        [OWN_KEPT] = report->samples_kept,
        [OWN_ADDED] = report->series_added,
        /* -1 says: larger than the limit, as Prometheus says it. */
        [OWN_BODY_BYTES] = report->failure == SCRAPE_BODY_LIMIT ? -1 : (double)outcome->body.len,
        [OWN_FAILURE] = 1,
    };
    struct page_values *own = &target->pipeline->own_values;
    int count = report->failure == SCRAPE_OK ? OWN_FAILURE : OWN_COUNT;
    for (int i = 0; i < count; i++)
        if (slots[i] != PAGE_SLOT_NONE)
            own->values[slots[i]] = values[i];
    window_set_add(&target->sets[SET_OWN], page, own, outcome->time_ms);
}

void pipeline_scrape(struct pipeline_target *target, const struct scrape_outcome *outcome,
                     struct scrape_report *ret_report)
{
    struct scrape_report report = {.failure = outcome->failure};
    const struct pipeline *pipeline = target->pipeline;
    if (pipeline->next_rules && target->rules != pipeline->next_rules && outcome->time_ms >= pipeline->next_from_ms)
        switch_rules(target);
    if (report.failure == SCRAPE_OK)
        take_body(target, outcome, &report);
    if (report.failure != SCRAPE_OK)
        window_set_stale(&target->sets[SET_EXPOSED], outcome->time_ms);
    take_own(target, outcome, &report);
    target->last_failure = report.failure;
    target->answered = report.failure == SCRAPE_OK;
    target->asked = true;
    struct pipeline_stats *stats = &target->pipeline->stats;
    stats->scrapes_total++;
    stats->failures_total += report.failure != SCRAPE_OK;
    pipeline_count(target);
    report.raw_is_full = pipeline_raw_is_full(target);
    *ret_report = report;
}

void pipeline_target_end(struct pipeline_target *target, int64_t time_ms, enum target_end end)
{
    ASSERT(!target->ended && (unsigned)end < TARGET_END_COUNT);
    struct page *page = end_page(target, end);
    struct page_values *own = &target->pipeline->own_values;
    uint32_t slot = target->own->end_slots[end];
    target->ended = true;
    for (size_t i = 0; i < target->set_count; i++)
        window_set_stale(&target->sets[i], time_ms);
    add_set(target);
    if (slot != PAGE_SLOT_NONE)
        own->values[slot] = 1;
    window_set_add(&target->sets[SET_ENDED], page, own, time_ms);
}
