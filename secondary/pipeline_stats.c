/* What a pipeline holds now: kept by differences, so that it costs nothing to read. */
#include "base/fail.h"
#include "pipeline_internal.h"

static void count_class(struct pipeline_stats *stats, int64_t resolution_ms, bool aggregate, uint64_t series)
{
    uint32_t at = 0;
    while (at < stats->class_count &&
           (stats->classes[at].resolution_ms != resolution_ms || stats->classes[at].aggregate != aggregate))
        at++;
    if (at == PIPELINE_CLASSES_MAX)
        return;
    if (at == stats->class_count)
        stats->classes[stats->class_count++] =
            (struct pipeline_class){.resolution_ms = resolution_ms, .aggregate = aggregate};
    stats->classes[at].series += series;
}

/* sign: 1 or -1, as unsigned numbers wrap around. */
static void count_page(struct pipeline_target *target, const struct page *page, uint64_t sign)
{
    struct pipeline_stats *stats = &target->pipeline->stats;
    stats->series += sign * page->value_count;
    stats->series_dropped += sign * page->dropped_count;
    count_class(stats, window_rules_default_ms(target->rules), false, sign * page->slot_count);
    for (uint32_t i = 0; i < page->part_count; i++) {
        const struct window_class *class = &page->parts[i].class;
        bool aggregate = class->aggregate >= 0;
        int64_t resolution_ms = class->resolution_ms;
        if (!aggregate)
            resolution_ms = window_rules_resolution_ms(target->rules, resolution_ms, target->interval_ms);
        count_class(stats, resolution_ms, aggregate, sign * page->parts[i].page->slot_count);
    }
    /* Of rules that are being replaced nothing is told any more. */
    if (target->rules == pipeline_newest_rules(target->pipeline))
        for (uint32_t i = 0; page->decided && i < MIN(page->rule_count, (uint32_t)ARRAY_LEN(stats->decided)); i++)
            stats->decided[i] += sign * page->decided[i];
}

static void count_set(struct pipeline_target *target, int set, struct page *page)
{
    struct page *old = target->counted[set];
    if (old == page)
        return;
    if (old)
        count_page(target, old, (uint64_t)-1);
    if (page)
        count_page(target, page, 1);
    target->counted[set] = page ? page_ref(page) : NULL;
    page_unref(target->pipeline->pages, old);
}

static void count_bytes(struct pipeline_target *target, size_t bytes)
{
    target->pipeline->stats.window_bytes += bytes - target->counted_bytes;
    target->counted_bytes = bytes;
}

void pipeline_count(struct pipeline_target *target)
{
    size_t bytes = 0;
    for (int i = 0; i < (int)target->set_count; i++) {
        count_set(target, i, window_set_page(&target->sets[i]));
        bytes += window_set_bytes(&target->sets[i]);
    }
    count_bytes(target, bytes);
}

void pipeline_uncount(struct pipeline_target *target)
{
    for (int i = 0; i < SETS; i++)
        count_set(target, i, NULL);
    count_bytes(target, 0);
}

void pipeline_stats(const struct pipeline *pipeline, struct pipeline_stats *ret_stats)
{
    *ret_stats = pipeline->stats;
    ret_stats->pages = page_cache_pages(pipeline->pages) - 1; /* the empty one apart */
    ret_stats->page_bytes = page_cache_text_bytes(pipeline->pages);
    ret_stats->rules_waiting = pipeline->next_rules ? pipeline->targets_before : 0;
}
