#include "status.h"

#include "hop/report.h"
#include "net/metrics.h"
#include "status_discovery.h"
#include "status_windows.h"

#include <math.h>
#include <stdio.h>

/* ---- Sums over the workers ---- */

struct totals {
    struct worker_stats sum;
    uint64_t outcomes_total[SCRAPE_FAILURE_COUNT];
};

static void add_up(const struct secondary *secondary, struct totals *ret_totals)
{
    struct totals totals = {0};
    struct rounds_stats *sum = &totals.sum.rounds;
    for (unsigned i = 0; i < secondary->worker_count; i++) {
        struct worker_stats stats;
        worker_stats(secondary->workers[i], &stats);
        status_add_pipeline(&sum->pipeline, &stats.rounds.pipeline);
        totals.sum.cpu_ns += stats.cpu_ns;
        sum->beat_ms = stats.rounds.beat_ms;
        sum->rules_from_ms = MAX(sum->rules_from_ms, stats.rounds.rules_from_ms);
        sum->skipped_total += stats.rounds.skipped_total;
        sum->late_total += stats.rounds.late_total;
        sum->split_total += stats.rounds.split_total;
        sum->windows_total += stats.rounds.windows_total;
        sum->groups += stats.rounds.groups;
        sum->in_flight += stats.rounds.in_flight;
        for (int j = 0; j < SCRAPE_FAILURE_COUNT; j++)
            sum->outcomes_total[j] += stats.rounds.outcomes_total[j];
    }
    *ret_totals = totals;
}

/* ---- /metrics ---- */

struct metric_row {
    const char *name, *help;
    enum metrics_type type;
    double value;
};

static void write_rows(const struct metric_row *rows, size_t count, struct buf *out)
{
    for (size_t i = 0; i < count; i++)
        metrics_one(out, rows[i].name, rows[i].type, rows[i].help, rows[i].value);
}

static void write_targets_metrics(const struct secondary *secondary, struct buf *out)
{
    const struct target_counts *counts = targets_counts(secondary->targets);
    metrics_family(out, "tributary_secondary_targets", METRICS_GAUGE, "Targets by state");
    for (int i = 0; i < TARGET_ENDED; i++) {
        char labels[64];
        snprintf(labels, sizeof(labels), "state=\"%s\"", target_state_names[i]);
        metrics_sample(out, "tributary_secondary_targets", labels, (double)counts->now[i]);
    }
    struct metric_row rows[] = {
        {"tributary_secondary_targets_ended_total", "Targets that discovery took away", METRICS_COUNTER,
         (double)counts->now[TARGET_ENDED]},
        {"tributary_secondary_target_changes_total", "Changes of a target's state", METRICS_COUNTER,
         (double)counts->changes_total},
    };
    write_rows(rows, ARRAY_LEN(rows), out);
}

static void write_job_family(const struct secondary *secondary, const char *name, const char *help, size_t offset,
                             struct buf *out)
{
    metrics_family(out, name, METRICS_GAUGE, help);
    for (size_t i = 0; i < secondary->job_count; i++) {
        CLEANUP(buf_done) struct buf labels = BUF_INIT(4 * KIB);
        uint64_t value;
        memcpy(&value, (const char *)&secondary->jobs[i] + offset, sizeof(value));
        buf_append_text(&labels, "job=");
        metrics_quote(&labels, str_from(secondary->jobs[i].job->name));
        buf_append_byte(&labels, 0);
        if (!labels.full)
            metrics_sample(out, name, (const char *)labels.data, (double)value);
    }
}

static void write_discovery(const struct secondary *secondary, struct buf *out)
{
    status_discovery_metrics(secondary, out);
    write_job_family(secondary, "tributary_secondary_discovered_targets", "Targets found, by job",
                     offsetof(struct secondary_job, found), out);
    write_job_family(secondary, "tributary_secondary_dropped_targets", "Dropped by relabel_configs, by job",
                     offsetof(struct secondary_job, dropped), out);
    write_job_family(secondary, "tributary_secondary_invalid_targets", "Found, but not to be scraped, by job",
                     offsetof(struct secondary_job, invalid), out);
    write_job_family(secondary, "tributary_secondary_targets_over_limit", "Left out past target_limit, by job",
                     offsetof(struct secondary_job, over_limit), out);
}

static void write_scrapes(const struct totals *totals, struct buf *out)
{
    const struct rounds_stats *sum = &totals->sum.rounds;
    metrics_family(out, "tributary_secondary_scrapes_total", METRICS_COUNTER, "Scrapes by how they ended");
    for (int i = 0; i < SCRAPE_FAILURE_COUNT; i++) {
        char labels[64];
        snprintf(labels, sizeof(labels), "outcome=\"%s\"", scrape_failure_name((enum scrape_failure)i));
        metrics_sample(out, "tributary_secondary_scrapes_total", labels, (double)sum->outcomes_total[i]);
    }
    struct metric_row rows[] = {
        {"tributary_secondary_samples_total", "Samples taken in", METRICS_COUNTER, (double)sum->pipeline.samples_total},
        {"tributary_secondary_scrapes_in_flight", "Scrapes under way", METRICS_GAUGE, (double)sum->in_flight},
        {"tributary_secondary_scrapes_late_total", "Scrapes that began too late to have their due time",
         METRICS_COUNTER, (double)sum->late_total},
        {"tributary_secondary_scrapes_skipped_total", "Due times that passed while a worker was stalled",
         METRICS_COUNTER, (double)sum->skipped_total},
        {"tributary_secondary_page_changes_total", "Scrapes whose page had other series than before", METRICS_COUNTER,
         (double)sum->pipeline.page_changes_total},
        {"tributary_secondary_pages", "Distinct pages known", METRICS_GAUGE, (double)sum->pipeline.pages},
        {"tributary_secondary_page_bytes", "Text of these", METRICS_GAUGE, (double)sum->pipeline.page_bytes},
        {"tributary_secondary_series", "Series of all targets", METRICS_GAUGE, (double)sum->pipeline.series},
        {"tributary_secondary_window_bytes", "Memory of open windows", METRICS_GAUGE,
         (double)sum->pipeline.window_bytes},
        {"tributary_secondary_groups", "Groups of targets whose windows close together", METRICS_GAUGE,
         (double)sum->groups},
        {"tributary_secondary_windows_closed_total", "Windows of groups closed", METRICS_COUNTER,
         (double)sum->windows_total},
        {"tributary_secondary_windows_split_total", "Of these: without a target that hung", METRICS_COUNTER,
         (double)sum->split_total},
        {"tributary_secondary_worker_cpu_seconds_total", "CPU time of the scraping threads", METRICS_COUNTER,
         (double)totals->sum.cpu_ns / 1e9},
    };
    write_rows(rows, ARRAY_LEN(rows), out);
}

static void write_batches(const struct secondary *secondary, struct buf *out)
{
    struct batcher_stats stats;
    batcher_stats(secondary->batcher, &stats);
    struct metric_row rows[] = {
        {"tributary_secondary_batches_total", "Batches written to the spool", METRICS_COUNTER,
         (double)stats.batches_total},
        {"tributary_secondary_batch_bytes_total", "Bytes of these", METRICS_COUNTER, (double)stats.bytes_total},
        {"tributary_secondary_batch_entries_total", "Pages of targets in these", METRICS_COUNTER,
         (double)stats.entries_total},
        {"tributary_secondary_records_total", "Records in these", METRICS_COUNTER, (double)stats.records_total},
        {"tributary_secondary_batches_empty_total", "Of these: without anything, to say that all is well",
         METRICS_COUNTER, (double)stats.empty_total},
        {"tributary_secondary_batches_packed_total",
         "Batches put together into ones of several windows while the primary was away", METRICS_COUNTER,
         (double)stats.packed_total},
        {"tributary_secondary_batches_lost_total", "Batches that could not be written to disk", METRICS_COUNTER,
         (double)stats.lost_total},
        {"tributary_secondary_closed_through_seconds", "All windows that end by this time are in the spool",
         METRICS_GAUGE, (double)stats.closed_through_ms / 1e3},
    };
    write_rows(rows, ARRAY_LEN(rows), out);
}

static struct report_upstream upstream_of(const struct secondary *secondary)
{
    return (struct report_upstream){UPSTREAM_NAME, upstream_url(secondary->upstream),
                                    upstream_sender(secondary->upstream)};
}

void secondary_write_metrics(const struct secondary *secondary, struct buf *out)
{
    struct totals totals;
    struct report_upstream upstream = upstream_of(secondary);
    add_up(secondary, &totals);
    metrics_process(out, "secondary");
    write_targets_metrics(secondary, out);
    write_discovery(secondary, out);
    write_scrapes(&totals, out);
    status_rules_metrics(secondary, &totals.sum.rounds, out);
    write_batches(secondary, out);
    report_spool_metrics(secondary->spool, secondary->config->spool.bytes_max, out);
    report_upstream_metrics(secondary->spool, &upstream, 1, out);
}

/* ---- JSON ---- */

static uint64_t dropped_total(const struct secondary *secondary)
{
    uint64_t total = 0;
    for (size_t i = 0; i < secondary->job_count; i++)
        total += secondary->jobs[i].dropped;
    return total;
}

static void write_target_list(const struct secondary *secondary, size_t count_max, struct json_writer *json)
{
    size_t at = 0, count = 0;
    json_array(json);
    for (struct target *target; count < count_max && (target = targets_next(secondary->targets, &at)); count++)
        status_target_json(json, target, NULL);
    json_array_end(json);
}

static void write_targets_status(const struct secondary *secondary, struct json_writer *json)
{
    const struct target_counts *counts = targets_counts(secondary->targets);
    size_t count = targets_count(secondary->targets);
    json_key(json, "targets");
    json_object(json);
    json_field_uint(json, "count", count);
    for (int i = 0; i < TARGET_ENDED; i++)
        json_field_uint(json, target_state_names[i], counts->now[i]);
    json_field_uint(json, "ended", counts->now[TARGET_ENDED]);
    json_field_uint(json, "dropped", dropped_total(secondary));
    json_field_uint(json, "not_listed", count - MIN(count, (size_t)STATUS_TARGETS_MAX));
    json_key(json, "list");
    write_target_list(secondary, STATUS_TARGETS_MAX, json);
    json_object_end(json);
}

static void write_jobs(const struct secondary *secondary, struct json_writer *json)
{
    json_key(json, "jobs");
    json_array(json);
    for (size_t i = 0; i < secondary->job_count; i++) {
        const struct secondary_job *job = &secondary->jobs[i];
        json_object(json);
        json_field_text(json, "name", job->job->name);
        json_field_uint(json, "found", job->found);
        json_field_uint(json, "dropped", job->dropped);
        json_field_uint(json, "invalid", job->invalid);
        json_field_uint(json, "repeated", job->repeated);
        json_field_uint(json, "over_limit", job->over_limit);
        json_object_end(json);
    }
    json_array_end(json);
}

static void write_source(const struct secondary *secondary, struct json_writer *json)
{
    char incarnation[32];
    snprintf(incarnation, sizeof(incarnation), "%016llx", (unsigned long long)spool_incarnation(secondary->spool));
    json_key(json, "source");
    json_object(json);
    json_field_text(json, "datacenter", secondary->config->datacenter);
    json_field_text(json, "secondary", secondary->config->secondary);
    json_field_text(json, "incarnation", incarnation);
    json_field_uint(json, "epoch", spool_epoch(secondary->spool));
    json_object_end(json);
}

void secondary_write_status(const struct secondary *secondary, struct buf *out)
{
    int64_t now_ms = clock_wall_ms(loop_clock(secondary->seams.loop));
    struct report_upstream upstream = upstream_of(secondary);
    struct totals totals;
    struct json_writer json;
    add_up(secondary, &totals);
    json_begin(&json, out);
    json_object(&json);
    json_field_text(&json, "daemon", "secondary");
    json_field_text(&json, "version", TRIBUTARY_VERSION);
    write_source(secondary, &json);
    json_field_double(&json, "uptime_seconds", (double)(now_ms - secondary->started_ms) / 1000);
    json_field_uint(&json, "workers", secondary->worker_count);
    json_field_uint(&json, "series", totals.sum.rounds.pipeline.series);
    json_field_uint(&json, "samples", totals.sum.rounds.pipeline.samples_total);
    status_windows_json(secondary, &totals.sum.rounds, &json);
    json_key(&json, "spool");
    report_spool_json(secondary->spool, secondary->config->spool.bytes_max, &json);
    json_key(&json, "upstreams");
    report_upstreams_json(secondary->spool, &upstream, 1, &json);
    write_jobs(secondary, &json);
    status_discovery_json(secondary, &json);
    write_targets_status(secondary, &json);
    json_object_end(&json);
}
