#include "status_windows.h"

#include "base/clock.h"
#include "base/fail.h"
#include "net/metrics.h"

#include <stdio.h>

#define RULE_LABELS_BYTES_MAX (256 * KIB) /* a selector, quoted */

static void add_class(struct pipeline_stats *sum, const struct pipeline_class *class)
{
    uint32_t at = 0;
    while (at < sum->class_count &&
           (sum->classes[at].resolution_ms != class->resolution_ms || sum->classes[at].aggregate != class->aggregate))
        at++;
    if (at == PIPELINE_CLASSES_MAX)
        return;
    if (at == sum->class_count)
        sum->classes[sum->class_count++] = *class;
    else
        sum->classes[at].series += class->series;
}

void status_add_pipeline(struct pipeline_stats *sum, const struct pipeline_stats *stats)
{
    sum->samples_total += stats->samples_total;
    sum->scrapes_total += stats->scrapes_total;
    sum->failures_total += stats->failures_total;
    sum->page_changes_total += stats->page_changes_total;
    sum->pages += stats->pages;
    sum->page_bytes += stats->page_bytes;
    sum->window_bytes += stats->window_bytes;
    sum->series += stats->series;
    sum->series_dropped += stats->series_dropped;
    sum->rules_waiting += stats->rules_waiting;
    for (size_t i = 0; i < ARRAY_LEN(sum->decided); i++)
        sum->decided[i] += stats->decided[i];
    for (uint32_t i = 0; i < stats->class_count; i++)
        add_class(sum, &stats->classes[i]);
}

static const char *keep_of(const struct window_rule *rule)
{
    static const char *const names[] = {
        [KEEP_UNSAID] = "", [KEEP_FULL] = "full", [KEEP_AGGREGATE] = "aggregate", [KEEP_DROP] = "drop"};
    return names[rule->keep];
}

static const char *fields_of(const struct window_rule *rule)
{
    return rule->fields == FIELDS_LAST ? "last" : rule->fields == FIELDS_ALL ? "all" : "";
}

/* ---- /metrics ---- */

static void write_rule_series(const struct secondary *secondary, const struct rounds_stats *sum, struct buf *out)
{
    static const char name[] = "tributary_secondary_rule_series";
    metrics_family(out, name, METRICS_GAUGE, "Series of which a rule of windows.rules decides something, by its place");
    for (size_t i = 0; i < window_rules_count(secondary->rules); i++) {
        CLEANUP(buf_done) struct buf labels = BUF_INIT(RULE_LABELS_BYTES_MAX);
        buf_printf(&labels, "rule=\"%zu\",match=", i + 1);
        metrics_quote(&labels, str_from(window_rules_at(secondary->rules, i)->match));
        buf_append_byte(&labels, 0);
        if (!labels.full)
            metrics_sample(out, name, (const char *)labels.data, (double)sum->pipeline.decided[i]);
    }
}

static void write_class_series(const struct rounds_stats *sum, struct buf *out)
{
    static const char name[] = "tributary_secondary_class_series";
    metrics_family(out, name, METRICS_GAUGE, "Series by the seconds of their windows, and what is kept of them");
    for (uint32_t i = 0; i < sum->pipeline.class_count; i++) {
        const struct pipeline_class *class = &sum->pipeline.classes[i];
        char labels[96];
        snprintf(labels, sizeof(labels), "resolution=\"%g\",keep=\"%s\"", (double)class->resolution_ms / 1e3,
                 class->aggregate ? "aggregate" : "full");
        metrics_sample(out, name, labels, (double)class->series);
    }
}

void status_rules_metrics(const struct secondary *secondary, const struct rounds_stats *sum, struct buf *out)
{
    struct batcher_stats stats;
    batcher_stats(secondary->batcher, &stats);
    write_rule_series(secondary, sum, out);
    write_class_series(sum, out);
    metrics_one(out, "tributary_secondary_series_dropped", METRICS_GAUGE, "Series that rules drop (keep: drop)",
                (double)sum->pipeline.series_dropped);
    metrics_one(out, "tributary_secondary_series_folded", METRICS_GAUGE,
                "Series in the last aggregates (keep: aggregate)", (double)stats.series_folded);
    metrics_one(out, "tributary_secondary_aggregate_groups", METRICS_GAUGE, "Groups of aggregates",
                (double)stats.aggregate_groups);
    metrics_one(out, "tributary_secondary_series_refused_total", METRICS_COUNTER,
                "Series that no group of aggregates took, in each window", (double)stats.series_refused_total);
    metrics_one(out, "tributary_secondary_aggregate_totals", METRICS_GAUGE,
                "Running totals kept, of groups of counters that were there within the hour",
                (double)stats.aggregate_totals);
    metrics_one(out, "tributary_secondary_aggregate_totals_evicted_total", METRICS_COUNTER,
                "Of these, gone before their time as there are too many: they begin anew at 0",
                (double)stats.aggregate_totals_evicted_total);
}

/* ---- JSON ---- */

void status_time_json(struct json_writer *json, const char *key, int64_t wall_ms)
{
    char text[32];
    clock_format_rfc3339(wall_ms, text);
    json_field_text(json, key, wall_ms > 0 ? text : "0001-01-01T00:00:00Z");
}

static void write_classes(const struct rounds_stats *sum, struct json_writer *json)
{
    json_key(json, "classes");
    json_array(json);
    for (uint32_t i = 0; i < sum->pipeline.class_count; i++) {
        const struct pipeline_class *class = &sum->pipeline.classes[i];
        if (class->series == 0)
            continue;
        json_object(json);
        json_field_double(json, "resolution_seconds", (double)class->resolution_ms / 1e3);
        json_field_text(json, "keep", class->aggregate ? "aggregate" : "full");
        json_field_uint(json, "series", class->series);
        json_object_end(json);
    }
    json_array_end(json);
}

static void write_rules(const struct secondary *secondary, const struct rounds_stats *sum, struct json_writer *json)
{
    json_key(json, "rules");
    json_array(json);
    for (size_t i = 0; i < window_rules_count(secondary->rules); i++) {
        const struct window_rule *rule = window_rules_at(secondary->rules, i);
        json_object(json);
        json_field_text(json, "match", rule->match);
        json_key(json, "resolution_seconds");
        if (rule->resolution_ms == RESOLUTION_UNSAID)
            json_null(json);
        else
            json_double(json, (double)rule->resolution_ms / 1e3);
        json_field_text(json, "fields", fields_of(rule));
        json_field_text(json, "keep", keep_of(rule));
        json_field_uint(json, "series", sum->pipeline.decided[i]);
        json_object_end(json);
    }
    json_array_end(json);
}

void status_windows_json(const struct secondary *secondary, const struct rounds_stats *sum, struct json_writer *json)
{
    struct batcher_stats stats;
    batcher_stats(secondary->batcher, &stats);
    json_key(json, "windows");
    json_object(json);
    json_field_double(json, "resolution_seconds", (double)secondary->config->windows.resolution_ms / 1e3);
    json_field_double(json, "finest_seconds", (double)sum->beat_ms / 1e3);
    status_time_json(json, "closed_through", stats.closed_through_ms);
    json_field_uint(json, "batches", stats.batches_total);
    json_field_uint(json, "records", stats.records_total);
    json_field_uint(json, "bytes", stats.bytes_total);
    json_field_uint(json, "packed_batches", stats.packed_total);
    json_field_uint(json, "lost_batches", stats.lost_total);
    if (stats.last_error)
        json_field_text(json, "last_error", stats.last_error);
    json_field_uint(json, "dropped_series", sum->pipeline.series_dropped);
    json_field_uint(json, "folded_series", stats.series_folded);
    json_field_uint(json, "aggregate_groups", stats.aggregate_groups);
    if (sum->rules_from_ms > 0)
        status_time_json(json, "rules_from", sum->rules_from_ms);
    write_classes(sum, json);
    write_rules(secondary, sum, json);
    json_object_end(json);
}
