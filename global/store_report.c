#include "store_report.h"

#include "base/fail.h"
#include "net/metrics.h"

#include <stdio.h>

struct row {
    const char *name, *help;
    enum metrics_type type;
    uint64_t value;
};

static void write_rows(struct buf *out, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        metrics_one(out, rows[i].name, rows[i].type, rows[i].help, (double)rows[i].value);
}

/* Times as metrics have them: seconds; without any there is no sample. */
static void write_times(struct buf *out, const char *what, int64_t min_ms, int64_t max_ms)
{
    char name[128], help[128];
    if (min_ms > max_ms)
        return;
    snprintf(name, sizeof(name), "tributary_global_%s_min_time_seconds", what);
    snprintf(help, sizeof(help), "Oldest time of the %s", what);
    metrics_one(out, name, METRICS_GAUGE, help, (double)min_ms / 1000);
    snprintf(name, sizeof(name), "tributary_global_%s_max_time_seconds", what);
    snprintf(help, sizeof(help), "Newest time of the %s", what);
    metrics_one(out, name, METRICS_GAUGE, help, (double)max_ms / 1000);
}

/* ---- Metrics ---- */

static void write_head(const struct store_stats *stats, struct buf *out)
{
    const struct row rows[] = {
        {"tributary_global_series", "Series in the head", METRICS_GAUGE, stats->series},
        {"tributary_global_chunks", "Chunks in the head", METRICS_GAUGE, stats->chunks},
        {"tributary_global_chunk_bytes", "Bytes of these", METRICS_GAUGE, stats->chunk_bytes},
        {"tributary_global_label_bytes", "Bytes of label sets", METRICS_GAUGE, stats->label_bytes},
        {"tributary_global_samples", "Samples in the head", METRICS_GAUGE, stats->samples},
        {"tributary_global_head_partitions", "Parts of two hours in the head", METRICS_GAUGE, stats->partitions},
        {"tributary_global_head_late_partitions", "Of these: for times that were cut before", METRICS_GAUGE,
         stats->late_partitions},
        {"tributary_global_head_sealed_partitions", "Of these: closed, waiting to be cut", METRICS_GAUGE,
         stats->sealed_partitions},
        {"tributary_global_head_pieces", "Full chunks of the head, on disk", METRICS_GAUGE, stats->pieces},
        {"tributary_global_head_spill_bytes", "Bytes of these", METRICS_GAUGE, stats->spill_bytes},
        {"tributary_global_head_cuts_total", "Parts that were written as blocks", METRICS_COUNTER, stats->cuts_total},
        {"tributary_global_head_cut_failures_total", "Parts that could not be written, and are tried again",
         METRICS_COUNTER, stats->cut_failures_total},
        {"tributary_global_head_late_cuts_total", "Cuts of late parts", METRICS_COUNTER, stats->late_cuts_total},
        {"tributary_global_samples_total", "Samples stored", METRICS_COUNTER, stats->samples_total},
        {"tributary_global_records_total", "Records given to the store", METRICS_COUNTER, stats->records_total},
        {"tributary_global_duplicates_total", "Records of windows that were there already", METRICS_COUNTER,
         stats->duplicates_total},
        {"tributary_global_replaced_total", "Records that replaced one of a smaller count", METRICS_COUNTER,
         stats->replaced_total},
        {"tributary_global_too_old_total", "Records older than head.max_age", METRICS_COUNTER, stats->too_old_total},
        {"tributary_global_too_new_total", "Records too far ahead of our clock", METRICS_COUNTER, stats->too_new_total},
        {"tributary_global_refused_total", "Records that cannot be of their window, or are past a limit",
         METRICS_COUNTER, stats->refused_total},
        {"tributary_global_replayed_total", "Records of the log's replay that were in blocks already", METRICS_COUNTER,
         stats->replayed_total},
        {"tributary_global_series_refused_total", "Series refused past the ceiling", METRICS_COUNTER,
         stats->series_refused_total},
    };
    write_rows(out, rows, ARRAY_LEN(rows));
    write_times(out, "head", stats->min_time_ms, stats->max_time_ms);
}

static void write_blocks(const struct blocks_stats *stats, struct buf *out)
{
    const struct row rows[] = {
        {"tributary_global_blocks", "Blocks that are served", METRICS_GAUGE, stats->served},
        {"tributary_global_blocks_damaged", "Blocks that are damaged and set aside", METRICS_GAUGE, stats->damaged},
        {"tributary_global_blocks_leaving", "Blocks that were replaced or expired and are not deleted yet",
         METRICS_GAUGE, stats->leaving},
        {"tributary_global_block_bytes", "Bytes of blocks on disk", METRICS_GAUGE, stats->disk_bytes},
        {"tributary_global_block_memory_bytes", "Memory of what is known of them", METRICS_GAUGE, stats->memory_bytes},
        {"tributary_global_block_samples", "Samples in blocks", METRICS_GAUGE, stats->samples},
        {"tributary_global_block_series", "Series in blocks, each once a block", METRICS_GAUGE, stats->series},
        {"tributary_global_blocks_published_total", "Blocks that became visible", METRICS_COUNTER,
         stats->published_total},
        {"tributary_global_blocks_replaced_total", "Blocks that others took the place of", METRICS_COUNTER,
         stats->replaced_total},
        {"tributary_global_blocks_set_aside_total", "Blocks that were found damaged", METRICS_COUNTER,
         stats->set_aside_total},
        {"tributary_global_blocks_checked_total", "Blocks read whole, and compared with their checksums",
         METRICS_COUNTER, stats->scrubbed_total},
    };
    write_rows(out, rows, ARRAY_LEN(rows));
    write_times(out, "blocks", stats->min_time_ms, stats->max_time_ms);
}

static void write_compaction(const struct compact_stats *stats, struct buf *out)
{
    const struct row rows[] = {
        {"tributary_global_compaction_units_total", "Merges of blocks that were tried", METRICS_COUNTER,
         stats->units_total},
        {"tributary_global_compaction_failures_total", "Of these: failed", METRICS_COUNTER, stats->failed_total},
        {"tributary_global_compaction_failing", "Merges that failed and wait to be tried again", METRICS_GAUGE,
         stats->failing},
        {"tributary_global_compaction_read_bytes_total", "Bytes of blocks that were merged", METRICS_COUNTER,
         stats->source_bytes_total},
        {"tributary_global_compaction_written_bytes_total", "Bytes of what came of them", METRICS_COUNTER,
         stats->result_bytes_total},
        {"tributary_global_compaction_samples_total", "Samples written by merging", METRICS_COUNTER,
         stats->samples_total},
    };
    write_rows(out, rows, ARRAY_LEN(rows));
}

struct class_row {
    const char *name, *help;
    size_t offset; /* in retention_counts */
};

static void write_retention(struct store *store, struct buf *out)
{
    static const struct class_row rows[] = {
        {"tributary_global_retention_deleted_blocks_total", "Blocks that were past their age or size",
         offsetof(struct retention_counts, blocks_total)},
        {"tributary_global_retention_deleted_bytes_total", "Bytes of these",
         offsetof(struct retention_counts, bytes_total)},
        {"tributary_global_retention_deleted_samples_total", "Samples of these",
         offsetof(struct retention_counts, samples_total)},
    };
    struct retention_counts counts[RETENTION_CLASSES_MAX];
    CLEANUP(retention_unrefp) struct retention *retention = store_retention(store);
    store_retention_counts(store, counts);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        metrics_family(out, rows[i].name, METRICS_COUNTER, rows[i].help);
        for (size_t j = 0; j < retention_class_count(retention); j++) {
            char labels[BLOCK_CLASS_BYTES_MAX + sizeof("class=\"\"")]; /* a name: nothing in it needs quotes */
            snprintf(labels, sizeof(labels), "class=\"%s\"", retention_class_at(retention, j)->name);
            uint64_t value = *(const uint64_t *)((const char *)&counts[j] + rows[i].offset);
            metrics_sample(out, rows[i].name, labels, (double)value);
        }
    }
}

static uint64_t active_deletions(struct store *store, size_t *ret_all)
{
    struct deletion *items = NULL;
    uint64_t active = 0;
    deletions_list(store_deletions(store), &items, ret_all);
    for (size_t i = 0; i < *ret_all; i++)
        active += items[i].done_ms == 0;
    deletions_list_free(items, *ret_all);
    return active;
}

void store_report_metrics(struct store *store, struct buf *out)
{
    struct store_stats head;
    struct blocks_stats blocks;
    struct compact_stats compaction;
    size_t all = 0;
    store_stats(store, &head);
    write_head(&head, out);
    blocks_stats(store_blocks(store), &blocks);
    write_blocks(&blocks, out);
    compact_stats(store_compact(store), &compaction);
    write_compaction(&compaction, out);
    write_retention(store, out);
    metrics_one(out, "tributary_global_deletions_active", METRICS_GAUGE,
                "Deletions of series that are not applied everywhere yet", (double)active_deletions(store, &all));
}

/* ---- Status ---- */

static void field_time(struct json_writer *json, const char *key, int64_t time_ms, bool known)
{
    char text[32];
    clock_format_rfc3339(known ? time_ms : 0, text);
    json_field_text(json, key, known ? text : NULL);
}

static void head_json(struct store *store, struct json_writer *json)
{
    struct store_stats stats;
    store_stats(store, &stats);
    bool any = stats.min_time_ms <= stats.max_time_ms;
    json_key(json, "head");
    json_object(json);
    field_time(json, "oldest", stats.min_time_ms, any);
    field_time(json, "newest", stats.max_time_ms, any);
    json_field_uint(json, "partitions", stats.partitions);
    json_field_uint(json, "late_partitions", stats.late_partitions);
    json_field_uint(json, "sealed_partitions", stats.sealed_partitions);
    json_field_uint(json, "pieces", stats.pieces);
    json_field_uint(json, "spill_bytes", stats.spill_bytes);
    json_field_uint(json, "cuts", stats.cuts_total);
    json_field_uint(json, "cut_failures", stats.cut_failures_total);
    json_field_uint(json, "late_cuts", stats.late_cuts_total);
    json_field_uint(json, "replayed", stats.replayed_total);
    json_field_uint(json, "log_needed", store_log_needed(store));
    json_object_end(json);
}

static void blocks_json(struct store *store, struct json_writer *json)
{
    struct blocks_stats stats;
    blocks_stats(store_blocks(store), &stats);
    bool any = stats.min_time_ms <= stats.max_time_ms;
    json_key(json, "blocks");
    json_object(json);
    json_field_uint(json, "served", stats.served);
    json_field_uint(json, "damaged", stats.damaged);
    json_field_uint(json, "leaving", stats.leaving);
    field_time(json, "oldest", stats.min_time_ms, any);
    field_time(json, "newest", stats.max_time_ms, any);
    json_field_uint(json, "disk_bytes", stats.disk_bytes);
    json_field_uint(json, "memory_bytes", stats.memory_bytes);
    json_field_uint(json, "samples", stats.samples);
    json_field_uint(json, "series", stats.series);
    json_field_uint(json, "published", stats.published_total);
    json_field_uint(json, "replaced", stats.replaced_total);
    json_field_uint(json, "set_aside", stats.set_aside_total);
    json_field_uint(json, "checked", stats.scrubbed_total);
    json_object_end(json);
}

static void compaction_json(struct store *store, struct json_writer *json)
{
    struct compact_stats stats;
    compact_stats(store_compact(store), &stats);
    json_key(json, "compaction");
    json_object(json);
    json_field_uint(json, "units", stats.units_total);
    json_field_uint(json, "failed", stats.failed_total);
    json_field_uint(json, "failing", stats.failing);
    json_field_text(json, "last_failure", stats.last_failure[0] ? stats.last_failure : NULL);
    json_field_uint(json, "read_bytes", stats.source_bytes_total);
    json_field_uint(json, "written_bytes", stats.result_bytes_total);
    json_field_uint(json, "samples", stats.samples_total);
    json_object_end(json);
}

static void retention_json(struct store *store, struct json_writer *json)
{
    struct retention_counts counts[RETENTION_CLASSES_MAX];
    CLEANUP(retention_unrefp) struct retention *retention = store_retention(store);
    store_retention_counts(store, counts);
    json_key(json, "retention");
    json_array(json);
    for (size_t i = 0; i < retention_class_count(retention); i++) {
        const struct retention_class *class = retention_class_at(retention, i);
        json_object(json);
        json_field_text(json, "class", class->name);
        json_field_int(json, "keep_seconds", class->keep_ms / 1000);
        json_field_uint(json, "deleted_blocks", counts[i].blocks_total);
        json_field_uint(json, "deleted_bytes", counts[i].bytes_total);
        json_field_uint(json, "deleted_samples", counts[i].samples_total);
        json_object_end(json);
    }
    json_array_end(json);
}

void store_report_json(struct store *store, struct json_writer *json)
{
    size_t all = 0;
    uint64_t active = active_deletions(store, &all);
    head_json(store, json);
    blocks_json(store, json);
    compaction_json(store, json);
    retention_json(store, json);
    json_key(json, "deletions");
    json_object(json);
    json_field_uint(json, "active", active);
    json_field_uint(json, "done", all - active);
    json_object_end(json);
}
