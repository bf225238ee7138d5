#include "rig.h"
#include "base/clock.h"
#include "base/fail.h"

#include <stdio.h>

struct rig {
    struct rig_options options;
    uint32_t hosts;
    struct pipeline *pipeline;
    struct pipeline_target **targets;
    struct pipeline_sealed parts[RIG_PARTS_MAX];
    size_t part_count;
    char page[PAGE_BYTES_MAX];
};

static void take_part(void *arg, struct pipeline_sealed *sealed)
{
    struct rig *rig = arg;
    ASSERT(rig->part_count < RIG_PARTS_MAX);
    rig->parts[rig->part_count++] = *sealed;
}

struct window_rules *rig_rules(int64_t window_ms, bool every_scrape)
{
    static const struct window_rule all = {.match = "{__name__!=\"\"}", .resolution_ms = 0};
    struct window_rules_error error;
    struct window_rules *rules = NULL;
    if (window_rules_new(&all, every_scrape, window_ms, &error, &rules) < 0)
        fatal("%s", error.text);
    return rules;
}

struct rig *rig_new(const struct rig_options *options)
{
    static struct pipeline_job job = {.honor_timestamps = true,
                                      .sample_limit = 100000,
                                      .label_limit = 64,
                                      .label_name_bytes_max = 1024,
                                      .label_value_bytes_max = 4096};
    struct rig *rig = mem_zalloc(sizeof(*rig));
    CLEANUP(window_rules_unrefp) struct window_rules *rules = rig_rules(options->window_ms, options->every_scrape);
    const struct pipeline_options pipeline = {
        .rules = rules, .page_bytes_max = 1 * GIB, .sealed = take_part, .sealed_arg = rig};
    rig->options = *options;
    rig->options.start_ms = options->start_ms ? options->start_ms : RIG_START_MS;
    ASSERT(rig->options.start_ms % options->window_ms == 0 || !options->start_ms);
    rig->hosts = page_source_hosts(options->source);
    rig->options.group = options->group ? options->group : rig->hosts;
    rig->pipeline = pipeline_new(&pipeline);
    rig->targets = mem_array(rig->hosts, sizeof(struct pipeline_target *));
    for (uint32_t i = 0; i < rig->hosts; i++) {
        char name[32];
        snprintf(name, sizeof(name), "host-%u:9100", i);
        struct label labels[] = {{STR("instance"), str_from(name)}, {STR("job"), STR("node")}};
        CLEANUP(labels_unrefp) struct labels *set = labels_new(labels, ARRAY_LEN(labels));
        rig->targets[i] = pipeline_target_new(rig->pipeline, set, options->window_ms / options->scrapes, &job);
    }
    return rig;
}

void rig_free(struct rig *rig)
{
    if (!rig)
        return;
    for (uint32_t i = 0; i < rig->hosts; i++)
        pipeline_target_free(rig->targets[i]);
    mem_free(rig->targets);
    pipeline_free(rig->pipeline);
    mem_free(rig);
}

static void scrape_host(struct rig *rig, uint32_t host, int64_t time_ms, struct rig_cost *cost)
{
    size_t len = page_source_render(rig->options.source, host, (double)time_ms / 1000, rig->page);
    const struct scrape_outcome outcome = {.time_ms = time_ms,
                                           .duration_ns = 20000000 + host * 1000 + time_ms / 1000 % 100 * 77777,
                                           .body = str_of(rig->page, len)};
    struct scrape_report report;
    int64_t start_ns = clock_thread_cpu_ns();
    pipeline_scrape(rig->targets[host], &outcome, &report);
    cost->scrape_ns += clock_thread_cpu_ns() - start_ns;
    if (report.failure != SCRAPE_OK)
        fatal("a page was not taken: %s", report.reason);
    cost->samples += report.samples_kept;
    cost->series_added += report.series_added;
}

static int64_t window_start_ms_of(const struct rig *rig, int window)
{
    return rig->options.start_ms + window * rig->options.window_ms;
}

void rig_scrape(struct rig *rig, int window, struct rig_cost *cost)
{
    int64_t interval_ms = rig->options.window_ms / rig->options.scrapes;
    for (int scrape = 0; scrape < rig->options.scrapes; scrape++)
        for (uint32_t host = 0; host < rig->hosts; host++)
            scrape_host(rig, host,
                        window_start_ms_of(rig, window) + scrape * interval_ms + host * interval_ms / rig->hosts, cost);
}

size_t rig_close(struct rig *rig, int window, struct rig_cost *cost, struct pipeline_sealed **ret_parts)
{
    CLEANUP_FREE struct pipeline_closing *closing = mem_array(rig->hosts, sizeof(*closing));
    for (uint32_t i = 0; i < rig->hosts; i++)
        closing[i] = (struct pipeline_closing){rig->targets[i], window_start_ms_of(rig, window + 1)};
    rig->part_count = 0;
    int64_t start_ns = clock_thread_cpu_ns();
    for (uint32_t at = 0; at < rig->hosts; at += rig->options.group)
        pipeline_close(rig->pipeline, window_start_ms_of(rig, window), closing + at,
                       MIN(rig->options.group, rig->hosts - at));
    cost->close_ns += clock_thread_cpu_ns() - start_ns;
    *ret_parts = rig->parts;
    return rig->part_count;
}

void rig_stats(const struct rig *rig, struct pipeline_stats *ret_stats)
{
    pipeline_stats(rig->pipeline, ret_stats);
}
