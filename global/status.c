#include "status.h"
#include "hop/report.h"
#include "net/metrics.h"

static void write_store(const struct store_stats *stats, struct buf *out)
{
    const struct {
        const char *name, *help;
        enum metrics_type type;
        uint64_t value;
    } rows[] = {
        {"tributary_global_series", "Series in the head", METRICS_GAUGE, stats->series},
        {"tributary_global_chunks", "Chunks in the head", METRICS_GAUGE, stats->chunks},
        {"tributary_global_chunk_bytes", "Bytes of these", METRICS_GAUGE, stats->chunk_bytes},
        {"tributary_global_label_bytes", "Bytes of label sets", METRICS_GAUGE, stats->label_bytes},
        {"tributary_global_samples", "Samples in the head", METRICS_GAUGE, stats->samples},
        {"tributary_global_samples_total", "Samples stored", METRICS_COUNTER, stats->samples_total},
        {"tributary_global_records_total", "Records given to the store", METRICS_COUNTER, stats->records_total},
        {"tributary_global_duplicates_total", "Records of windows that were there already", METRICS_COUNTER,
         stats->duplicates_total},
        {"tributary_global_replaced_total", "Records that replaced one of a smaller count", METRICS_COUNTER,
         stats->replaced_total},
        {"tributary_global_too_old_total", "Records older than the head reaches", METRICS_COUNTER,
         stats->too_old_total},
        {"tributary_global_too_new_total", "Records too far ahead of our clock", METRICS_COUNTER, stats->too_new_total},
        {"tributary_global_refused_total", "Records that cannot be of their window, or are past a limit",
         METRICS_COUNTER, stats->refused_total},
        {"tributary_global_series_refused_total", "Series refused past the ceiling", METRICS_COUNTER,
         stats->series_refused_total},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        metrics_one(out, rows[i].name, rows[i].type, rows[i].help, (double)rows[i].value);
}

static void write_ingest(const struct ingest_stats *stats, struct buf *out)
{
    metrics_one(out, "tributary_global_ingested_batches_total", METRICS_COUNTER, "Batches taken into the store",
                (double)stats->batches_total);
    metrics_one(out, "tributary_global_ingest_malformed_total", METRICS_COUNTER,
                "Batches in the log that could not be read", (double)stats->malformed_total);
    metrics_one(out, "tributary_global_ingest_rows", METRICS_GAUGE, "Targets' pages whose series are resolved",
                (double)stats->rows);
}

void global_write_metrics(const struct global *global, struct buf *out)
{
    struct store_stats store;
    struct ingest_stats ingest;
    store_stats(global->store, &store);
    ingest_stats(global->ingest, &ingest);
    metrics_process(out, "global");
    report_receiver_metrics(global->receiver, out);
    report_spool_metrics(global->log, 0, out);
    report_source_metrics(global->receiver, clock_wall_ms(loop_clock(global->seams.loop)), out);
    write_store(&store, out);
    write_ingest(&ingest, out);
    api_write_metrics(global->context.api, out);
}

void global_write_status(const struct global *global, struct buf *out)
{
    struct store_stats stats;
    store_stats(global->store, &stats);
    int64_t now_ms = clock_wall_ms(loop_clock(global->seams.loop));
    struct json_writer json;
    json_begin(&json, out);
    json_object(&json);
    json_field_text(&json, "daemon", "global");
    json_field_text(&json, "version", TRIBUTARY_VERSION);
    json_field_text(&json, "name", global->config->name);
    json_field_double(&json, "uptime_seconds", (double)(now_ms - global->started_ms) / 1000);
    json_key(&json, "log");
    report_spool_json(global->log, 0, &json);
    json_key(&json, "store");
    json_object(&json);
    json_field_uint(&json, "series", stats.series);
    json_field_uint(&json, "samples", stats.samples);
    json_field_uint(&json, "chunks", stats.chunks);
    json_field_uint(&json, "chunk_bytes", stats.chunk_bytes);
    json_field_uint(&json, "label_bytes", stats.label_bytes);
    json_field_uint(&json, "duplicates", stats.duplicates_total);
    json_field_uint(&json, "replaced", stats.replaced_total);
    json_field_uint(&json, "too_old", stats.too_old_total);
    json_field_uint(&json, "too_new", stats.too_new_total);
    json_field_uint(&json, "replayed_batches", global->replayed_batches);
    json_object_end(&json);
    json_key(&json, "sources");
    report_sources_json(global->receiver, now_ms, &json);
    json_object_end(&json);
}
