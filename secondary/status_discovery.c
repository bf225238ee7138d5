#include "status_discovery.h"

#include "base/fail.h"
#include "net/metrics.h"
#include "status.h"
#include "status_windows.h"

#include <stdio.h>

/* ---- /metrics ---- */

static double is_up(const struct section_report *section)
{
    return section->complete && !section->problem;
}
static double targets_of(const struct section_report *section)
{
    return (double)section->targets;
}
static double last_good_of(const struct section_report *section)
{
    return (double)section->last_good_ms / 1e3;
}
static double in_flight_of(const struct section_report *section)
{
    return section->in_flight;
}
static double requests_of(const struct section_report *section)
{
    return (double)section->requests_total;
}
static double failures_of(const struct section_report *section)
{
    return (double)section->failures_total;
}
static double bytes_of(const struct section_report *section)
{
    return (double)section->bytes_total;
}

static const struct {
    const char *name, *help;
    enum metrics_type type;
    double (*value)(const struct section_report *section);
} families[] = {
    {"tributary_secondary_discovery_up", "1: the section answers; 0: it does not, its last known targets stay",
     METRICS_GAUGE, is_up},
    {"tributary_secondary_discovery_section_targets", "Targets that a section lists, before relabel_configs",
     METRICS_GAUGE, targets_of},
    {"tributary_secondary_discovery_last_success_seconds", "When the section had its last good answer", METRICS_GAUGE,
     last_good_of},
    {"tributary_secondary_discovery_requests_in_flight", "Exchanges under way", METRICS_GAUGE, in_flight_of},
    {"tributary_secondary_discovery_requests_total", "Questions asked: HTTP, DNS, looks at files", METRICS_COUNTER,
     requests_of},
    {"tributary_secondary_discovery_failures_total", "Of these: without a good answer", METRICS_COUNTER, failures_of},
    {"tributary_secondary_discovery_received_bytes_total", "Bytes of answers, unpacked", METRICS_COUNTER, bytes_of},
};

static void write_sample(struct buf *out, const char *name, const struct section_report *section, double value)
{
    CLEANUP(buf_done) struct buf labels = BUF_INIT(4 * KIB);
    buf_append_text(&labels, "job=");
    metrics_quote(&labels, str_from(section->job));
    buf_printf(&labels, ",sd=\"%s\",section=\"%zu\"", section->plugin, section->index);
    buf_append_byte(&labels, 0);
    if (!labels.full)
        metrics_sample(out, name, (const char *)labels.data, value);
}

void status_discovery_metrics(const struct secondary *secondary, struct buf *out)
{
    CLEANUP(discover_report_freep) struct discover_report *report = discover_report(secondary->discover);
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        metrics_family(out, families[i].name, families[i].type, families[i].help);
        for (size_t j = 0; j < report->count; j++)
            write_sample(out, families[i].name, &report->sections[j], families[i].value(&report->sections[j]));
    }
    metrics_one(out, "tributary_secondary_discovery_text_bytes", METRICS_GAUGE,
                "Memory of the labels that discovery keeps, each text once", (double)report->text_bytes);
    metrics_one(out, "tributary_secondary_discovery_cpu_seconds_total", METRICS_COUNTER,
                "CPU time of discovery's thread", (double)report->cpu_ns / 1e9);
}

/* ---- /api/v1/status ---- */

/* "" where there was none. */
static void write_time(struct json_writer *json, const char *key, int64_t wall_ms)
{
    if (wall_ms > 0)
        status_time_json(json, key, wall_ms);
    else
        json_field_text(json, key, "");
}

void status_discovery_json(const struct secondary *secondary, struct json_writer *json)
{
    CLEANUP(discover_report_freep) struct discover_report *report = discover_report(secondary->discover);
    json_key(json, "discovery");
    json_array(json);
    for (size_t i = 0; i < report->count; i++) {
        const struct section_report *section = &report->sections[i];
        json_object(json);
        json_field_text(json, "job", section->job);
        json_field_text(json, "sd", section->plugin);
        json_field_uint(json, "section", section->index);
        json_field_text(json, "state", section->problem ? "failing" : section->complete ? "up" : "starting");
        json_field_uint(json, "targets", section->targets);
        json_field_uint(json, "groups", section->groups);
        json_field_uint(json, "requests", section->requests_total);
        json_field_uint(json, "failures", section->failures_total);
        write_time(json, "last_success", section->last_good_ms);
        write_time(json, "problem_since", section->problem ? section->problem_since_ms : 0);
        json_field_text(json, "problem", section->problem ? section->problem : "");
        json_object_end(json);
    }
    json_array_end(json);
}

/* ---- /api/v1/targets ---- */

static void write_labels(struct json_writer *json, const char *key, const struct labels *labels)
{
    json_key(json, key);
    json_object(json);
    for (size_t i = 0; i < labels_count(labels); i++) {
        json_key_str(json, labels_at(labels, i).name);
        json_str(json, labels_at(labels, i).value);
    }
    json_object_end(json);
}

static void write_discovered(struct json_writer *json, const struct listing_item *item)
{
    json_key(json, "discoveredLabels");
    json_object(json);
    for (size_t i = 0; i < item->before_count; i++) {
        json_key_str(json, item->before[i].name);
        json_str(json, item->before[i].value);
    }
    json_object_end(json);
}

static void write_duration(struct json_writer *json, const char *key, int64_t ms)
{
    char text[64];
    conf_format_duration(ms, text);
    json_field_text(json, key, text);
}

void status_target_json(struct json_writer *json, const struct target *target, const struct listing_item *item)
{
    json_object(json);
    if (item)
        write_discovered(json, item);
    write_labels(json, "labels", target->labels);
    json_field_text(json, "scrapePool", target->job->name);
    json_field_text(json, "scrapeUrl", target->url);
    json_field_text(json, "lastError", target->last_error ? target->last_error : "");
    status_time_json(json, "lastScrape", atomic_load_explicit(&target->last_scrape_ms, memory_order_relaxed));
    json_field_double(json, "lastScrapeDuration",
                      (double)atomic_load_explicit(&target->last_duration_ns, memory_order_relaxed) / 1e9);
    json_field_uint(json, "lastSamples", atomic_load_explicit(&target->last_samples, memory_order_relaxed));
    json_field_text(json, "health", target_state_names[target->state]);
    write_duration(json, "scrapeInterval", target->interval_ms);
    write_duration(json, "scrapeTimeout", target->timeout_ms);
    json_object_end(json);
}

static void write_active(const struct secondary *secondary, const struct listing *listing, struct json_writer *json)
{
    for (size_t i = 0; i < listing->count; i++) {
        const struct listing_item *item = &listing->items[i];
        /* One that is found several times is listed so: each time with what was discovered. */
        const struct target *live = item->target ? targets_find(secondary->targets, item->target) : NULL;
        if (live)
            status_target_json(json, live, item);
    }
}

static void write_dropped(const struct listing *listing, struct json_writer *json)
{
    for (size_t i = 0; i < listing->count; i++) {
        const struct listing_item *item = &listing->items[i];
        if (item->target)
            continue;
        json_object(json);
        write_discovered(json, item);
        json_field_text(json, "scrapePool", item->job);
        if (item->error)
            json_field_text(json, "error", item->error);
        else
            json_field_uint(json, "rule", item->rule);
        json_object_end(json);
    }
}

void secondary_write_targets(const struct secondary *secondary, const struct listing *listing, struct buf *out)
{
    struct json_writer json;
    json_begin(&json, out);
    json_object(&json);
    json_field_text(&json, "status", "success");
    json_key(&json, "data");
    json_object(&json);
    json_key(&json, "activeTargets");
    json_array(&json);
    write_active(secondary, listing, &json);
    json_array_end(&json);
    json_key(&json, "droppedTargets");
    json_array(&json);
    write_dropped(listing, &json);
    json_array_end(&json);
    json_field_uint(&json, "droppedTargetsTotal", listing->dropped_total);
    json_object_end(&json);
    json_object_end(&json);
}
