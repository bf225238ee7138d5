#pragma once
/* A pipeline whose parts are finished, read back and kept as rows: for tests of what comes out for what went in. */
#include "base/fail.h"
#include "secondary/pipeline.h"

#include <stdio.h>

#define RIG_EXTRAS_MAX 16

struct rig_row { /* one record as a receiver sees it */
    char *series;
    int64_t window_ms, resolution_ms;
    struct record record;
    int64_t stale_ms; /* the entry's */
    struct sample extras[RIG_EXTRAS_MAX];
    size_t extra_count;
};

struct rig {
    struct pipeline *pipeline;
    struct layout_table *table;
    struct rig_row *rows;
    size_t row_count, row_capacity;
    /* Of all parts together. */
    size_t parts, entries, bytes;
    uint64_t expected, answered, failed[SCRAPE_FAILURE_COUNT], dropped;
    struct aggregate *aggregate; /* all parts of aggregates, merged, where the test has set one */
    size_t ended;                /* entries without values: only that the target is gone */
    int64_t ended_ms;
};

static inline void rig_take_block(struct rig *rig, struct batch_reader *reader, const struct batch_block *block)
{
    size_t entries;
    const struct batch_entry *entry = batch_reader_entries(reader, &entries);
    uint32_t records = block->family->count * block->entry_count, extra = 0;
    if (rig->row_count + records > rig->row_capacity) {
        rig->row_capacity = 2 * (rig->row_count + records);
        rig->rows = mem_resize(rig->rows, rig->row_capacity, sizeof(*rig->rows));
    }
    for (uint32_t i = 0; i < records; i++) {
        struct rig_row *row = &rig->rows[rig->row_count++];
        uint32_t member = block->entries[i % block->entry_count];
        *row = (struct rig_row){.window_ms = batch_reader_envelope(reader)->window_start_ms,
                                .resolution_ms = batch_reader_envelope(reader)->resolution_ms,
                                .record = block->records[i],
                                .stale_ms = entry[member].stale_ms};
        CLEANUP(labels_unrefp)
        struct labels *labels = layout_series(block->family, i / block->entry_count,
                                              batch_reader_targets(reader)->targets[entry[member].target], STR_NULL);
        CLEANUP(buf_done) struct buf text = BUF_INIT(1 * MIB);
        ASSERT(labels && labels_print(labels, &text) == 0);
        row->series = mem_strndup((const char *)text.data, text.len);
        for (; extra < block->extra_count && block->extras[extra].index == i; extra++)
            if (row->extra_count < RIG_EXTRAS_MAX)
                row->extras[row->extra_count++] = block->extras[extra].sample;
    }
    ASSERT(extra == block->extra_count);
}

static inline void rig_take(void *arg, struct pipeline_sealed *sealed)
{
    struct rig *rig = arg;
    if (sealed->aggregate && rig->aggregate)
        aggregate_merge(rig->aggregate, sealed->aggregate);
    aggregate_free(STEAL(sealed->aggregate));
    if (!sealed->writer)
        return;
    CLEANUP(buf_done) struct buf batch = BUF_INIT(BATCH_BYTES_MAX);
    struct envelope envelope = {.source = {STR("dc1"), STR("rack-7"), 1},
                                .epoch = 1,
                                .seq = rig->parts + 1,
                                .window_start_ms = sealed->window_start_ms,
                                .resolution_ms = sealed->resolution_ms,
                                .span_ms = sealed->span_ms};
    ASSERT(batch_writer_finish(sealed->writer, &envelope, rig->table, &batch) == 0);
    struct batch_reader *reader = NULL;
    ASSERT(batch_reader_open(batch.data, batch.len, rig->table, &reader) == 0);
    size_t entries;
    const struct batch_entry *entry = batch_reader_entries(reader, &entries);
    for (size_t i = 0; i < entries; i++) {
        if (entry[i].count > 0)
            continue;
        rig->ended++;
        rig->ended_ms = entry[i].stale_ms;
    }
    struct batch_block block;
    int more;
    while ((more = batch_reader_next(reader, &block)) > 0)
        rig_take_block(rig, reader, &block);
    ASSERT(more == 0);
    batch_reader_free(reader);
    batch_writer_release(sealed->writer, rig->table);
    batch_writer_free(sealed->writer);
    rig->parts++;
    rig->entries += entries;
    rig->bytes += batch.len;
    rig->expected += sealed->targets_expected;
    rig->answered += sealed->targets_answered;
    rig->dropped += sealed->samples_dropped_total;
    for (int i = 0; i < SCRAPE_FAILURE_COUNT; i++)
        rig->failed[i] += sealed->failed[i];
}

#define RIG_RESOLUTION_MS 60000

static inline struct window_rules *rig_rules(const struct window_rule *rules, size_t count)
{
    struct window_rules_error error;
    struct window_rules *made = NULL;
    ASSERT(window_rules_new(rules, count, RIG_RESOLUTION_MS, &error, &made) == 0);
    return made;
}

static inline void rig_init_rules(struct rig *rig, uint64_t page_bytes_max, const struct window_rule *rules,
                                  size_t count)
{
    *rig = (struct rig){.table = layout_table_new(256 * MIB, 256 * MIB)};
    CLEANUP(window_rules_unrefp) struct window_rules *made = rig_rules(rules, count);
    struct pipeline_options options = {
        .rules = made, .page_bytes_max = page_bytes_max, .sealed = rig_take, .sealed_arg = rig};
    rig->pipeline = pipeline_new(&options);
}

static inline void rig_init(struct rig *rig, uint64_t page_bytes_max)
{
    rig_init_rules(rig, page_bytes_max, NULL, 0);
}

/* Closes what ends with the beat [start, start + beat), the next scrape of all being due right behind it. */
static inline void rig_close_beat(struct pipeline *pipeline, int64_t start_ms, int64_t beat_ms,
                                  struct pipeline_target *const *targets, size_t count)
{
    CLEANUP_FREE struct pipeline_closing *closing = mem_array(count, sizeof(*closing));
    for (size_t i = 0; i < count; i++)
        closing[i] = (struct pipeline_closing){targets[i], start_ms + beat_ms};
    pipeline_close(pipeline, start_ms, closing, count);
}

static inline void rig_close(struct pipeline *pipeline, int64_t start_ms, struct pipeline_target *const *targets,
                             size_t count)
{
    rig_close_beat(pipeline, start_ms, RIG_RESOLUTION_MS, targets, count);
}

/* Forgets what came so far. */
static inline void rig_clear(struct rig *rig)
{
    for (size_t i = 0; i < rig->row_count; i++)
        mem_free(rig->rows[i].series);
    mem_free(rig->rows);
    *rig = (struct rig){.pipeline = rig->pipeline, .table = rig->table, .aggregate = rig->aggregate};
}

static inline void rig_done(struct rig *rig)
{
    rig_clear(rig);
    pipeline_free(rig->pipeline);
    ASSERT(layout_table_held(rig->table) == 0);
    layout_table_free(rig->table);
}

/* The one row of the series, or NULL; a series twice is our own mistake. */
static inline const struct rig_row *rig_find(const struct rig *rig, const char *series)
{
    const struct rig_row *found = NULL;
    for (size_t i = 0; i < rig->row_count; i++) {
        if (strcmp(rig->rows[i].series, series) != 0)
            continue;
        ASSERT(!found);
        found = &rig->rows[i];
    }
    return found;
}

static inline enum scrape_failure rig_scrape(struct pipeline_target *target, int64_t time_ms, const char *body,
                                             struct scrape_report *report)
{
    /* Of the exact size, so that a sanitizer sees a read behind its end. */
    size_t len = strlen(body);
    CLEANUP_FREE char *copy = mem_alloc(len ? len : 1);
    memcpy(copy, body, len);
    struct scrape_outcome outcome = {.time_ms = time_ms, .duration_ns = 12000000, .body = str_of(copy, len)};
    pipeline_scrape(target, &outcome, report);
    return report->failure;
}
