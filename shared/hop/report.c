#include "hop/report.h"
#include "net/metrics.h"

#include <stdio.h>

struct counter_row {
    const char *name, *help;
    uint64_t value;
};

static void write_counters(const struct counter_row *rows, size_t count, struct buf *out)
{
    for (size_t i = 0; i < count; i++)
        metrics_one(out, rows[i].name, METRICS_COUNTER, rows[i].help, (double)rows[i].value);
}

void report_receiver_metrics(const struct receiver *receiver, struct buf *out)
{
    struct receiver_stats stats;
    receiver_stats(receiver, &stats);
    const struct counter_row rows[] = {
        {"tributary_received_requests_total", "Requests with batches", stats.requests_total},
        {"tributary_received_batches_total", "Batches taken in", stats.batches_total},
        {"tributary_received_bytes_total", "Bytes of batches taken in", stats.bytes_total},
        {"tributary_received_duplicates_total", "Batches that were here already", stats.duplicates_total},
        {"tributary_received_missing_total", "Batches sent back for their layouts", stats.missing_total},
        {"tributary_received_malformed_total", "Batches refused as malformed", stats.malformed_total},
        {"tributary_received_unsupported_total", "Batches refused for their version", stats.unsupported_total},
        {"tributary_received_unauthorised_total", "Batches refused for their source", stats.unauthorised_total},
        {"tributary_received_conflicts_total", "Batches of a known number but other content", stats.conflicts_total},
        {"tributary_received_busy_total", "Requests sent back to come again", stats.busy_total},
        {"tributary_received_accept_errors_total", "Batches on disk that could not be read", stats.accept_errors_total},
        {"tributary_received_ahead_total", "Batches whose window is too far ahead of our clock", stats.ahead_total},
        {"tributary_received_gaps_total", "Gaps that sources told of", stats.gaps_total},
    };
    write_counters(rows, ARRAY_LEN(rows), out);
}

void report_spool_metrics(const struct spool *spool, uint64_t bytes_max, struct buf *out)
{
    struct spool_stats stats;
    spool_stats(spool, &stats);
    metrics_one(out, "tributary_spool_bytes", METRICS_GAUGE, "Bytes of the spool on disk", (double)stats.bytes);
    if (bytes_max > 0)
        metrics_one(out, "tributary_spool_bytes_max", METRICS_GAUGE, "The bound of the spool", (double)bytes_max);
    metrics_one(out, "tributary_spool_batches", METRICS_GAUGE, "Batches in the spool", (double)stats.batches);
    metrics_one(out, "tributary_spool_segments", METRICS_GAUGE, "Segments of the spool", (double)stats.segments);
    metrics_one(out, "tributary_spool_layout_bytes", METRICS_GAUGE, "Layouts in memory as they lie in the spool",
                (double)stats.layout_bytes);
    metrics_one(out, "tributary_spool_layout_cache_bytes", METRICS_GAUGE, "Layouts in memory, expanded",
                (double)stats.layout_cache_bytes);
    const struct counter_row rows[] = {
        {"tributary_spool_appended_total", "Batches written to the spool", stats.appended_total},
        {"tributary_spool_appended_bytes_total", "Bytes written to the spool", stats.appended_bytes_total},
        {"tributary_spool_syncs_total", "Syncs of the spool, each for all that waited", stats.synced_total},
        {"tributary_spool_dropped_batches_total", "Batches dropped undelivered past the bound",
         stats.dropped_batches_total},
        {"tributary_spool_damaged_bytes_total", "Bytes found damaged and passed over", stats.damaged_bytes_total},
        {"tributary_spool_torn_bytes_total", "Bytes cut off the end of a segment at the start", stats.torn_bytes_total},
        {"tributary_spool_unreadable_batches_total", "Batches found without all their layouts", stats.unreadable_total},
        {"tributary_spool_errors_total", "Writes and syncs that failed", stats.errors_total},
    };
    write_counters(rows, ARRAY_LEN(rows), out);
}

void report_upstream_metrics(const struct spool *spool, const struct report_upstream *upstreams, size_t count,
                             struct buf *out)
{
    static const struct {
        const char *name, *help;
        enum metrics_type type;
    } rows[] = {
        {"tributary_upstream_up", "1 when the last exchange succeeded", METRICS_GAUGE},
        {"tributary_upstream_pending_batches", "Batches it has not stored yet", METRICS_GAUGE},
        {"tributary_upstream_pending_bytes", "Bytes of these", METRICS_GAUGE},
        {"tributary_upstream_requests_total", "Requests sent", METRICS_COUNTER},
        {"tributary_upstream_failures_total", "Requests that failed", METRICS_COUNTER},
        {"tributary_upstream_batches_stored_total", "Batches it said it has on disk", METRICS_COUNTER},
        {"tributary_upstream_batches_duplicate_total", "Batches it had already", METRICS_COUNTER},
        {"tributary_upstream_batches_refused_total", "Batches it refused", METRICS_COUNTER},
        {"tributary_upstream_layouts_total", "Layouts sent", METRICS_COUNTER},
        {"tributary_upstream_bytes_total", "Bytes sent", METRICS_COUNTER},
    };
    struct spool_stats pending;
    spool_stats(spool, &pending);
    for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
        metrics_family(out, rows[row].name, rows[row].type, rows[row].help);
        for (size_t i = 0; i < count; i++) {
            struct sender_stats stats;
            sender_stats(upstreams[i].sender, &stats);
            const uint64_t values[] = {stats.up,
                                       pending.pending[i],
                                       pending.pending_bytes[i],
                                       stats.requests_total,
                                       stats.failures_total,
                                       stats.batches_stored_total,
                                       stats.batches_duplicate_total,
                                       stats.batches_refused_total,
                                       stats.layouts_total,
                                       stats.bytes_total};
            char labels[160];
            snprintf(labels, sizeof(labels), "upstream=\"%.128s\"", upstreams[i].name);
            metrics_sample(out, rows[row].name, labels, (double)values[row]);
        }
    }
}

void report_source_metrics(const struct receiver *receiver, int64_t now_ms, struct buf *out)
{
    static const struct {
        const char *name, *help;
    } rows[] = {
        {"tributary_source_lag_seconds", "How far its newest complete window is behind now"},
        {"tributary_source_clock_skew_seconds", "Its clock less ours, when it sent last"},
        {"tributary_source_targets_expected", "Targets of its newest window"},
        {"tributary_source_targets_answered", "Targets that answered in its newest window"},
    };
    size_t count = MIN(receiver_source_count(receiver), (size_t)REPORT_SOURCES_MAX);
    for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
        metrics_family(out, rows[row].name, METRICS_GAUGE, rows[row].help);
        for (size_t i = 0; i < count; i++) {
            const struct receiver_source *source = receiver_source_at(receiver, i);
            const double values[] = {(double)(now_ms - source->closed_through_ms) / 1000,
                                     (double)source->skew_ms / 1000, (double)source->targets_expected,
                                     (double)source->targets_answered};
            char labels[320];
            /* Not "datacenter": that one is the label of who scrapes this page. */
            snprintf(labels, sizeof(labels), "source_datacenter=\"" STR_FMT "\",source=\"" STR_FMT "\"",
                     STR_ARG(source->source.datacenter), STR_ARG(source->source.secondary));
            metrics_sample(out, rows[row].name, labels, values[row]);
        }
    }
}

static void json_time(struct json_writer *json, const char *key, int64_t time_ms)
{
    char text[32];
    json_key(json, key);
    if (time_ms <= 0) {
        json_null(json);
        return;
    }
    clock_format_rfc3339(time_ms, text);
    json_text(json, text);
}

void report_spool_json(const struct spool *spool, uint64_t bytes_max, struct json_writer *json)
{
    struct spool_stats stats;
    spool_stats(spool, &stats);
    json_object(json);
    json_field_uint(json, "batches", stats.batches);
    json_field_uint(json, "bytes", stats.bytes);
    json_field_uint(json, "segments", stats.segments);
    json_field_double(json, "bytes_per_second", stats.bytes_per_second);
    if (bytes_max > 0) {
        json_field_uint(json, "bytes_max", bytes_max);
        json_key(json, "bound_is_worth_hours");
        if (stats.bytes_per_second > 0)
            json_double(json, (double)bytes_max / stats.bytes_per_second / 3600);
        else
            json_null(json);
    }
    json_time(json, "oldest_window", stats.oldest_window_ms);
    json_field_uint(json, "dropped_batches", stats.dropped_batches_total);
    json_field_uint(json, "damaged_bytes", stats.damaged_bytes_total);
    json_field_uint(json, "errors", stats.errors_total);
    json_object_end(json);
}

void report_upstreams_json(const struct spool *spool, const struct report_upstream *upstreams, size_t count,
                           struct json_writer *json)
{
    struct spool_stats pending;
    spool_stats(spool, &pending);
    json_array(json);
    for (size_t i = 0; i < count; i++) {
        struct sender_stats stats;
        sender_stats(upstreams[i].sender, &stats);
        json_object(json);
        json_field_text(json, "name", upstreams[i].name);
        json_field_text(json, "url", upstreams[i].url);
        json_field_bool(json, "up", stats.up);
        json_field_text(json, "last_error", stats.last_error[0] ? stats.last_error : NULL);
        json_time(json, "last_success", stats.last_success_ms);
        json_field_uint(json, "pending_batches", pending.pending[i]);
        json_field_uint(json, "pending_bytes", pending.pending_bytes[i]);
        json_field_uint(json, "stored_batches", stats.batches_stored_total);
        json_field_uint(json, "refused_batches", stats.batches_refused_total);
        json_field_uint(json, "failures", stats.failures_total);
        json_object_end(json);
    }
    json_array_end(json);
}

void report_sources_json(const struct receiver *receiver, int64_t now_ms, struct json_writer *json)
{
    json_array(json);
    for (size_t i = 0; i < receiver_source_count(receiver); i++) {
        const struct receiver_source *source = receiver_source_at(receiver, i);
        char incarnation[24];
        snprintf(incarnation, sizeof(incarnation), "%016llx", (unsigned long long)source->source.incarnation);
        json_object(json);
        json_field_str(json, "datacenter", source->source.datacenter);
        json_field_str(json, "secondary", source->source.secondary);
        json_field_text(json, "incarnation", incarnation);
        json_field_uint(json, "epoch", source->epoch);
        json_field_text(json, "peer", source->peer);
        json_time(json, "last_received", source->last_received_ms);
        json_time(json, "closed_through", source->closed_through_ms);
        json_field_double(json, "lag_seconds", (double)(now_ms - source->closed_through_ms) / 1000);
        json_field_double(json, "clock_skew_seconds", (double)source->skew_ms / 1000);
        json_field_uint(json, "targets_expected", source->targets_expected);
        json_field_uint(json, "targets_answered", source->targets_answered);
        json_field_uint(json, "batches", source->batches_total);
        json_field_uint(json, "duplicates", source->duplicates_total);
        json_field_uint(json, "refused", source->refused_total);
        json_object_end(json);
    }
    json_array_end(json);
}
