#include "base/clock.h"
#include "net/metrics.h"
#include "write/write_internal.h"

#include <stdio.h>

static const char *const outcome_names[OUTCOME_COUNT] = {
    [OUTCOME_STORED] = "stored",       [OUTCOME_PARTIAL] = "partial",         [OUTCOME_MALFORMED] = "malformed",
    [OUTCOME_TOO_LARGE] = "too_large", [OUTCOME_UNSUPPORTED] = "unsupported", [OUTCOME_UNAUTHORISED] = "unauthorised",
    [OUTCOME_BUSY] = "busy",           [OUTCOME_FAILED] = "failed",
};

static void sample(struct buf *out, const char *metric, const char *name, const char *value, double number)
{
    char labels[SOURCE_NAME_BYTES_MAX + 32]; /* values are names: nothing in them needs quotes */
    snprintf(labels, sizeof(labels), "%s=\"%s\"", name, value);
    metrics_sample(out, metric, labels, number);
}

static void write_totals(const struct write *write, struct buf *out)
{
    const struct convert_counts *counts = &write->counts;
    const struct {
        const char *name, *help;
        uint64_t value;
    } rows[] = {
        {"tributary_remote_write_samples_total", "Samples stored", counts->samples},
        {"tributary_remote_write_batches_total", "Batches that were made of them", write->batches},
        {"tributary_remote_write_bytes_total", "Bytes of requests that were stored, as they came", write->body_bytes},
        {"tributary_remote_write_raw_bytes_total", "The same after snappy", counts->raw_bytes},
        {"tributary_remote_write_exemplars_dropped_total", "Exemplars, which are not kept", counts->exemplars},
        {"tributary_remote_write_histograms_dropped_total", "Native histograms, which are not kept",
         counts->histograms},
        {"tributary_remote_write_metadata_total", "Messages with type, help and unit of a metric", counts->metadata},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        metrics_one(out, rows[i].name, METRICS_COUNTER, rows[i].help, (double)rows[i].value);
    metrics_one(out, "tributary_remote_write_in_flight_bytes", METRICS_GAUGE, "Bytes of requests not answered yet",
                (double)write->in_flight_bytes);
}

void write_metrics(const struct write *write, struct buf *out)
{
    static const char requests[] = "tributary_remote_write_requests_total",
                      refused[] = "tributary_remote_write_refused_samples_total",
                      samples[] = "tributary_remote_write_sender_samples_total",
                      last[] = "tributary_remote_write_sender_last_received_seconds";
    if (write->sender_count == 0)
        return;
    metrics_family(out, requests, METRICS_COUNTER, "Remote write requests, by what became of them");
    for (int i = 0; i < OUTCOME_COUNT; i++)
        sample(out, requests, "outcome", outcome_names[i], (double)write->outcomes[i]);
    metrics_family(out, refused, METRICS_COUNTER, "Samples that were not taken, by reason");
    for (int i = REFUSAL_NONE + 1; i < REFUSAL_COUNT; i++)
        sample(out, refused, "reason", refusal_name(i), (double)write->counts.refused[i]);
    write_totals(write, out);
    metrics_family(out, samples, METRICS_COUNTER, "Samples stored, by sender");
    for (size_t i = 0; i < write->sender_count; i++)
        sample(out, samples, "sender", write->senders[i].name, (double)write->senders[i].samples);
    metrics_family(out, last, METRICS_GAUGE, "When a sender was last heard of; 0: not since the start");
    for (size_t i = 0; i < write->sender_count; i++)
        sample(out, last, "sender", write->senders[i].name, (double)write->senders[i].last_received_ms / 1000);
}

static void sender_json(const struct sender *sender, struct json_writer *json)
{
    char text[32];
    clock_format_rfc3339(sender->last_received_ms, text);
    json_object(json);
    json_field_text(json, "name", sender->name);
    json_field_text(json, "datacenter", sender->datacenter);
    json_field_bool(json, "honor_datacenter", sender->honor_datacenter);
    json_field_text(json, "peer", sender->peer[0] ? sender->peer : NULL);
    json_field_text(json, "last_received", sender->last_received_ms > 0 ? text : NULL);
    json_field_uint(json, "requests", sender->requests);
    json_field_uint(json, "samples", sender->samples);
    json_field_uint(json, "refused", sender->refused);
    json_object_end(json);
}

void write_json(const struct write *write, struct json_writer *json)
{
    json_object(json);
    json_field_bool(json, "enabled", write->sender_count > 0);
    json_field_uint(json, "samples", write->counts.samples);
    json_key(json, "refused");
    json_object(json);
    for (int i = REFUSAL_NONE + 1; i < REFUSAL_COUNT; i++)
        json_field_uint(json, refusal_name(i), write->counts.refused[i]);
    json_object_end(json);
    json_field_uint(json, "exemplars_dropped", write->counts.exemplars);
    json_field_uint(json, "histograms_dropped", write->counts.histograms);
    json_key(json, "senders");
    json_array(json);
    for (size_t i = 0; i < write->sender_count; i++)
        sender_json(&write->senders[i], json);
    json_array_end(json);
    json_object_end(json);
}
