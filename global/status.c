#include "status.h"
#include "hop/report.h"
#include "net/metrics.h"
#include "store_report.h"

static void write_ingest(const struct ingest_stats *stats, struct buf *out)
{
    metrics_one(out, "tributary_global_ingested_batches_total", METRICS_COUNTER, "Batches taken into the store",
                (double)stats->batches_total);
    metrics_one(out, "tributary_global_ingest_malformed_total", METRICS_COUNTER,
                "Batches in the log that could not be read", (double)stats->malformed_total);
    metrics_one(out, "tributary_global_ingest_rows", METRICS_GAUGE, "Targets' pages whose series are resolved",
                (double)stats->rows);
}

static void write_families(struct families *families, struct buf *out)
{
    struct families_stats stats;
    families_stats(families, &stats);
    metrics_one(out, "tributary_global_metric_families", METRICS_GAUGE,
                "Types, helps and units of metrics that are known", (double)stats.families);
    metrics_one(out, "tributary_global_metric_families_bytes", METRICS_GAUGE, "Memory of them", (double)stats.bytes);
    metrics_one(out, "tributary_global_metric_families_refused_total", METRICS_COUNTER,
                "New ones that were not kept, past a ceiling", (double)stats.refused_total);
}

void global_write_metrics(const struct global *global, struct buf *out)
{
    struct ingest_stats ingest;
    ingest_stats(global->ingest, &ingest);
    metrics_process(out, "global");
    report_receiver_metrics(global->receiver, out);
    report_spool_metrics(global->log, 0, out);
    report_source_metrics(global->receiver, clock_wall_ms(loop_clock(global->seams.loop)), out);
    write_metrics(global->write, out);
    store_report_metrics(global->store, out);
    write_ingest(&ingest, out);
    write_families(global->families, out);
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
    store_report_json(global->store, &json);
    json_key(&json, "sources");
    report_sources_json(global->receiver, now_ms, &json);
    json_key(&json, "remote_write");
    write_json(global->write, &json);
    json_object_end(&json);
}
