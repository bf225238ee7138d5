/* Reads a whole block: every checksum, every series, every sample, and that its parts say the same. */
#include "base/crc.h"
#include "base/fail.h"
#include "store/block_parts.h"

#include <errno.h>
#include <stdio.h>

#define CHUNKS_AT_ONCE 64 /* of one series: its entries are in memory together */
#define STEP_BYTES     MIB

struct verify {
    struct block *block;
    postings_cancelled_fn *cancelled;
    void *arg;
    char *reason;  /* BLOCK_REASON_BYTES */
    uint64_t step; /* bytes since `cancelled` was asked */
};

static int refuse(const struct verify *verify, int error, const char *part, const char *what)
{
    snprintf(verify->reason, BLOCK_REASON_BYTES, "%s: %s%s%s", part, what, error != -EBADMSG ? ": " : "",
             error != -EBADMSG ? strerror(-error) : "");
    return error;
}

static int step(struct verify *verify, uint64_t bytes)
{
    verify->step += bytes;
    if (verify->step < STEP_BYTES || !verify->cancelled) {
        return 0;
    }
    verify->step = 0;
    return verify->cancelled(verify->arg) ? refuse(verify, -ECANCELED, "check", "it was given up") : 0;
}

/* ---- Files, as they were written ---- */

static int file_crc(struct verify *verify, const char *path, uint32_t *ret_crc, uint64_t *ret_bytes)
{
    CLEANUP(file_closep) struct file *file = NULL;
    CLEANUP_FREE uint8_t *bytes = mem_alloc(STEP_BYTES);
    int error = file_open(verify->block->fs, path, FILE_READ, &file);
    uint64_t offset = 0;
    uint32_t crc = 0;
    int64_t got = error ? error : 1;
    while (got > 0 && !error) {
        got = file_read_at(file, bytes, STEP_BYTES, offset);
        crc = got > 0 ? crc32c(crc, bytes, (size_t)got) : crc;
        offset += (uint64_t)MAX(got, 0);
        error = step(verify, STEP_BYTES);
    }
    *ret_crc = crc;
    *ret_bytes = offset;
    return error ? error : (int)got;
}

static int verify_files(struct verify *verify, const struct block_part *part, const char *dir)
{
    for (size_t i = 0; i < part->meta.file_count; i++) {
        const struct block_file *file = &part->meta.files[i];
        CLEANUP_FREE char *path = mem_printf("%s/%s", dir, file->name);
        uint32_t crc;
        uint64_t bytes;
        int error = file_crc(verify, path, &crc, &bytes);
        if (error == -ECANCELED) {
            return error;
        }
        if (!error && (crc != file->crc || bytes != file->bytes)) {
            error = -EBADMSG;
        }
        if (error) {
            return refuse(verify, error, file->name, "it is not what was written");
        }
    }
    return 0;
}

/* ---- Postings say what series say ---- */

/* Sums over (name, value, id) of a hash: equal sums mean equal sets, without holding either. */
static uint64_t posting_hash(uint64_t name, uint64_t value, uint32_t id)
{
    uint64_t hash = (name ^ UINT64_C(0x9E3779B97F4A7C15)) * UINT64_C(0xBF58476D1CE4E5B9);
    hash = (hash ^ hash >> 29 ^ value) * UINT64_C(0x94D049BB133111EB);
    hash = (hash ^ hash >> 31 ^ id) * UINT64_C(0xD6E8FEB86659FD93);
    return hash ^ hash >> 32;
}

static uint64_t series_hash(const struct labels *labels, uint32_t id)
{
    uint64_t sum = posting_hash(str_hash(STR("")), str_hash(STR("")), id);
    for (size_t i = 0; i < labels_count(labels); i++) {
        struct label label = labels_at(labels, i);
        sum += posting_hash(str_hash(label.name), str_hash(label.value), id);
    }
    return sum;
}

static int sum_list(struct index_cursor *cursor, uint64_t list, struct label label, uint64_t *sum)
{
    CLEANUP(bitmap_freep) roaring_bitmap_t *ids = bitmap_new();
    int error = index_list_read(cursor, list, ids);
    uint64_t name = str_hash(label.name), value = str_hash(label.value);
    roaring_uint32_iterator_t at;
    for (roaring_init_iterator(ids, &at); at.has_value; roaring_advance_uint32_iterator(&at)) {
        *sum += posting_hash(name, value, at.current_value);
    }
    return error;
}

static int sum_postings(struct verify *verify, struct index_cursor *cursor, uint64_t *ret_sum)
{
    const struct offset_table *table = &cursor->index->table;
    uint64_t sum = 0;
    for (size_t i = 0; i < table->name_count; i++) {
        struct table_values values;
        struct label label = {table_name_at(table, i), STR_NULL};
        uint64_t list;
        int result;
        table_values_init(&values, table, i, &cursor->table);
        while ((result = table_values_next(&values, &label.value, &list)) > 0) {
            result = sum_list(cursor, list, label, &sum);
            result = result ? result : step(verify, label.value.len + 64);
            if (result < 0) {
                return result;
            }
        }
        if (result < 0) {
            return result;
        }
    }
    *ret_sum = sum;
    return 0;
}

/* ---- Series and samples ---- */

struct counts {
    uint64_t series, chunks, samples, aggregates, sum;
};

/* The series in order: the walk's labels are behind those of the one before. */
static int check_order(struct labels **last, struct labels *labels)
{
    bool in_order = !*last || labels_compare(*last, labels) < 0;
    labels_unref(*last);
    *last = labels_ref(labels);
    return in_order ? 0 : -EBADMSG;
}

static int check_times(const struct verify *verify, const struct entries *entries)
{
    const struct block_meta *meta = &verify->block->raw.meta;
    if (entries->count == 0 || !meta->ours) {
        return 0;
    }
    bool good = entries->items[0].sample.time_ms >= meta->min_time_ms &&
                entries->items[entries->count - 1].sample.time_ms < meta->max_time_ms;
    return good ? 0 : -EBADMSG;
}

static int verify_samples(struct verify *verify, struct block_cursor *cursor, const struct block_series *series,
                          struct counts *counts)
{
    struct entries entries = {0};
    int error = 0;
    for (size_t at = 0; at < series->chunk_count && !error; at += CHUNKS_AT_ONCE) {
        size_t count = MIN(series->chunk_count - at, CHUNKS_AT_ONCE);
        entries.count = 0;
        error = block_cursor_entries(cursor, series, at, count, true, &entries);
        error = error ? error : check_times(verify, &entries);
        counts->chunks += count;
        counts->samples += entries.count;
        for (size_t i = 0; i < entries.count; i++) {
            counts->aggregates += (entries.items[i].flags & ENTRY_AGGREGATES) != 0;
        }
        if (error) {
            error = refuse(verify, error, "chunks", "a chunk is damaged, or not what index and windows say");
        } else {
            error = step(verify, entries.count * sizeof(struct sample));
        }
    }
    entries_done(&entries);
    return error;
}

static int verify_raw(struct verify *verify, struct index_cursor *walk, struct counts *counts)
{
    CLEANUP(block_cursor_freep) struct block_cursor *cursor = block_cursor_new(verify->block);
    CLEANUP(labels_unrefp) struct labels *last = NULL;
    struct block_series series;
    uint64_t at = 0;
    uint32_t id;
    int result;
    while ((result = index_series_next(walk, &at, &id)) > 0) {
        result = block_cursor_series(cursor, id, &series);
        result = result ? result : check_order(&last, series.labels);
        if (result < 0) {
            break;
        }
        counts->series++;
        counts->sum += series_hash(series.labels, id);
        result = verify_samples(verify, cursor, &series, counts);
        if (result < 0) {
            return result;
        }
    }
    return result < 0 ? refuse(verify, result, "index", "a series is damaged, out of order or not in `windows`") : 0;
}

/* The second index alone: its chunks are read with the samples they belong to. */
static int verify_aggregates(struct verify *verify, struct index_cursor *walk, struct counts *counts)
{
    CLEANUP(labels_unrefp) struct labels *last = NULL;
    CLEANUP(labels_unrefp) struct labels *labels = NULL;
    uint64_t at = 0;
    uint32_t id;
    int result;
    while ((result = index_series_next(walk, &at, &id)) > 0) {
        labels_unref(STEAL(labels));
        result = index_series_labels(walk, &labels);
        result = result ? result : check_order(&last, labels);
        result = result ? result : step(verify, labels_bytes(labels));
        if (result < 0) {
            break;
        }
        counts->series++;
        counts->chunks += walk->entry->chunk_count;
        counts->sum += series_hash(labels, id);
    }
    return result < 0 ? refuse(verify, result, "index of aggregates", "a series is damaged or out of order") : 0;
}

typedef int walk_fn(struct verify *verify, struct index_cursor *walk, struct counts *counts);

static int verify_part(struct verify *verify, const struct block_part *part, walk_fn *walk, struct counts *counts)
{
    struct index_cursor cursor;
    uint64_t sum = 0;
    index_cursor_init(&cursor, &part->index);
    int error = walk(verify, &cursor, counts);
    if (!error) {
        error = sum_postings(verify, &cursor, &sum);
        if (error && error != -ECANCELED) {
            error = refuse(verify, error, "index", "a list of postings is damaged");
        } else if (!error && sum != counts->sum) {
            error = refuse(verify, -EBADMSG, "index", "postings are not those of its series");
        }
    }
    index_cursor_done(&cursor);
    const struct block_meta *meta = &part->meta;
    if (!error && meta->ours && (meta->series_count != counts->series || meta->chunk_count != counts->chunks)) {
        error = refuse(verify, -EBADMSG, "meta.json", "there are not as many series or chunks");
    }
    return error;
}

int block_verify(struct block *block, postings_cancelled_fn *cancelled, void *arg,
                 char ret_reason[static BLOCK_REASON_BYTES])
{
    struct verify verify = {.block = block, .cancelled = cancelled, .arg = arg, .reason = ret_reason};
    struct counts raw = {0}, aggregates = {0};
    const struct block_meta *meta = &block->raw.meta;
    int error = verify_files(&verify, &block->raw, block->raw_dir);
    error = error ? error : verify_part(&verify, &block->raw, verify_raw, &raw);
    if (error) {
        return error;
    }
    if (meta->ours && (raw.samples != meta->sample_count || raw.aggregates != meta->aggregate_count)) {
        return refuse(&verify, -EBADMSG, "meta.json", "there are not as many samples or aggregates");
    }
    if (!meta->has_aggregates) {
        return 0;
    }
    error = verify_files(&verify, &block->aggregates, block->aggregates_dir);
    return error ? error : verify_part(&verify, &block->aggregates, verify_aggregates, &aggregates);
}

int block_verify_files(struct block *block, char ret_reason[static BLOCK_REASON_BYTES])
{
    struct verify verify = {.block = block, .reason = ret_reason};
    int error = verify_files(&verify, &block->raw, block->raw_dir);
    if (!error && block->raw.meta.has_aggregates) {
        error = verify_files(&verify, &block->aggregates, block->aggregates_dir);
    }
    return error;
}
