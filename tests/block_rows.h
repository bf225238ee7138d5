#pragma once
/* Small blocks from rows (series, time, value), and all rows of a store's blocks as they read: for tests of what is
 * done with whole blocks. */
#include "base/fail.h"
#include "base/random.h"
#include "store/blocks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct block_row {
    uint32_t series;
    struct entry entry;
};

struct block_rows {
    struct block_row *items;
    size_t count, capacity;
};

static inline void block_rows_add(struct block_rows *rows, uint32_t series, const struct entry *entry)
{
    if (rows->count == rows->capacity) {
        rows->capacity = MAX(rows->capacity * 2, (size_t)64);
        rows->items = mem_resize(rows->items, rows->capacity, sizeof(*rows->items));
    }
    rows->items[rows->count++] = (struct block_row){series, *entry};
}

static inline void block_rows_done(struct block_rows *rows)
{
    mem_free(rows->items);
    *rows = (struct block_rows){0};
}

static inline int block_rows_compare(const void *a, const void *b)
{
    const struct block_row *x = a, *y = b;
    if (x->series != y->series) {
        return x->series < y->series ? -1 : 1;
    }
    int64_t p = x->entry.sample.time_ms, q = y->entry.sample.time_ms;
    return p < q ? -1 : p > q;
}

static inline void block_rows_sort(struct block_rows *rows)
{
    if (rows->count > 0) {
        qsort(rows->items, rows->count, sizeof(*rows->items), block_rows_compare);
    }
}

/* Series are numbers, three digits so that the order of labels is theirs. */
static inline struct labels *block_row_labels(uint32_t series)
{
    char host[16], parity[16];
    snprintf(host, sizeof(host), "%03u", series);
    snprintf(parity, sizeof(parity), "%u", series % 2);
    struct label labels[] = {
        {STR("__name__"), STR("metric")}, {STR("host"), str_from(host)}, {STR("parity"), str_from(parity)}};
    return labels_new(labels, ARRAY_LEN(labels));
}

static inline uint32_t block_row_series(const struct labels *labels)
{
    uint64_t number = 0;
    struct str host = labels_get(labels, STR("host"));
    ASSERT(host.len == 3);
    for (size_t i = 0; i < host.len; i++) {
        number = number * 10 + (uint64_t)(host.ptr[i] - '0');
    }
    return (uint32_t)number;
}

static inline enum series_kind block_row_kind(uint32_t series)
{
    return series % 3 == 0 ? KIND_COUNTER : KIND_GAUGE;
}

static inline int block_row_compare_texts(const void *a, const void *b)
{
    return str_compare(*(const struct str *)a, *(const struct str *)b);
}

static inline int block_rows_write_all(struct block_writer *writer, const struct block_rows *rows,
                                       struct labels *const *labels)
{
    int r = 0;
    for (size_t at = 0, end; r == 0 && at < rows->count; at = end) {
        uint32_t series = rows->items[at].series;
        struct entries entries = {0};
        for (end = at; end < rows->count && rows->items[end].series == series; end++) {
            entries_add(&entries, &rows->items[end].entry);
        }
        r = block_writer_add(writer, labels[series], block_row_kind(series), entries.items, entries.count);
        entries_done(&entries);
    }
    return r < 0 ? r : block_writer_finish(writer);
}

#define BLOCK_ROWS_SERIES_MAX 1000

/* rows are sorted, each time of a series once. */
static inline int block_rows_write(const struct block_dirs *dirs, const struct block_meta *meta,
                                   const struct block_rows *rows)
{
    struct labels *labels[BLOCK_ROWS_SERIES_MAX] = {0};
    CLEANUP_FREE struct str *texts = mem_array(rows->count * 6 + 1, sizeof(*texts));
    size_t text_count = 0, kept = 0;
    for (size_t i = 0; i < rows->count; i++) {
        uint32_t series = rows->items[i].series;
        if (!labels[series]) {
            labels[series] = block_row_labels(series);
            for (size_t j = 0; j < labels_count(labels[series]); j++) {
                texts[text_count++] = labels_at(labels[series], j).name;
                texts[text_count++] = labels_at(labels[series], j).value;
            }
        }
    }
    qsort(texts, text_count, sizeof(*texts), block_row_compare_texts);
    for (size_t i = 0; i < text_count; i++) {
        if (kept == 0 || !str_equal(texts[kept - 1], texts[i])) {
            texts[kept++] = texts[i];
        }
    }
    const struct block_writer_options options = {
        .dirs = *dirs, .meta = meta, .symbols = texts, .symbol_count = kept, .chunk_samples = 120};
    struct block_writer *writer = NULL;
    int r = block_writer_new(&options, &writer);
    r = r < 0 ? r : block_rows_write_all(writer, rows, labels);
    block_writer_free(writer);
    for (size_t i = 0; i < ARRAY_LEN(labels); i++) {
        labels_unref(labels[i]);
    }
    return r;
}

/* A list of entries a series. */
struct block_read {
    struct entries series[BLOCK_ROWS_SERIES_MAX];
};

static inline void block_read_free(struct block_read *read)
{
    for (size_t i = 0; i < BLOCK_ROWS_SERIES_MAX; i++) {
        entries_done(&read->series[i]);
    }
    mem_free(read);
}

typedef void block_rows_cut_fn(void *arg, const struct labels *labels, struct entries *entries);

/* Merges what one block has into read; cut is asked for each series, NULL: nothing. */
static inline int block_rows_read_block(struct block *block, block_rows_cut_fn *cut, void *arg, struct block_read *read)
{
    const struct postings_query all = {0};
    CLEANUP(bitmap_freep) roaring_bitmap_t *ids = NULL;
    int r = block_select(block, &all, &ids);
    if (r < 0) {
        return r;
    }
    CLEANUP(block_cursor_freep) struct block_cursor *cursor = block_cursor_new(block);
    roaring_uint32_iterator_t at;
    for (roaring_init_iterator(ids, &at); r == 0 && at.has_value; roaring_advance_uint32_iterator(&at)) {
        struct block_series series;
        struct entries entries = {0};
        r = block_cursor_series(cursor, at.current_value, &series);
        r = r < 0 ? r : block_cursor_entries(cursor, &series, 0, series.chunk_count, true, &entries);
        if (r == 0 && cut) {
            cut(arg, series.labels, &entries);
        }
        if (r == 0) {
            uint32_t number = block_row_series(series.labels);
            ASSERT(series.kind == block_row_kind(number));
            entries_merge(&read->series[number], entries.items, entries.count);
        }
        entries_done(&entries);
    }
    return r;
}
