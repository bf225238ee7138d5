#include "store/block_meta.h"

#include "base/crc.h"
#include "base/fail.h"
#include "base/json_write.h"

#define META_VERSION 1 /* of meta.json, and of tributary.json */

static void print_compaction(const struct block_meta *meta, struct json_writer *json)
{
    json_key(json, "compaction");
    json_object(json);
    json_field_uint(json, "level", meta->level);
    json_key(json, "sources");
    json_array(json);
    for (size_t i = 0; i < meta->source_count; i++) {
        json_text(json, meta->sources[i].text);
    }
    json_array_end(json);
    if (meta->parent_count > 0) {
        json_key(json, "parents");
        json_array(json);
    }
    for (size_t i = 0; i < meta->parent_count; i++) {
        json_object(json);
        json_field_text(json, "ulid", meta->parents[i].text);
        json_field_int(json, "minTime", 0); /* nothing reads them; Prometheus prints them */
        json_field_int(json, "maxTime", 0);
        json_object_end(json);
    }
    if (meta->parent_count > 0) {
        json_array_end(json);
    }
    if (meta->from_late) {
        json_key(json, "hints");
        json_array(json);
        json_text(json, "from-out-of-order");
        json_array_end(json);
    }
    json_object_end(json);
}

static void print_thanos(struct json_writer *json)
{
    json_key(json, "thanos");
    json_object(json);
    json_field_int(json, "version", 1);
    json_key(json, "labels");
    json_object(json);
    json_object_end(json);
    json_key(json, "downsample");
    json_object(json);
    json_field_int(json, "resolution", 0);
    json_object_end(json);
    json_field_text(json, "source", "tributary");
    json_object_end(json);
}

void block_meta_print(const struct block_meta *meta, struct buf *out)
{
    struct json_writer json;
    json_begin(&json, out);
    json_object(&json);
    json_field_text(&json, "ulid", meta->ulid.text);
    json_field_int(&json, "minTime", meta->min_time_ms);
    json_field_int(&json, "maxTime", meta->max_time_ms);
    json_key(&json, "stats");
    json_object(&json);
    json_field_uint(&json, "numSamples", meta->sample_count);
    json_field_uint(&json, "numSeries", meta->series_count);
    json_field_uint(&json, "numChunks", meta->chunk_count);
    if (meta->tombstone_count > 0) {
        json_field_uint(&json, "numTombstones", meta->tombstone_count);
    }
    json_object_end(&json);
    print_compaction(meta, &json);
    json_field_int(&json, "version", META_VERSION);
    if (meta->is_aggregates) {
        print_thanos(&json);
    }
    if (meta->ours) {
        json_field_bool(&json, "tributary", true);
    }
    json_object_end(&json);
    buf_append_byte(out, '\n');
}

static void print_files(const struct block_meta *meta, struct json_writer *json)
{
    json_key(json, "files");
    json_array(json);
    for (size_t i = 0; i < meta->file_count; i++) {
        json_object(json);
        json_field_text(json, "name", meta->files[i].name);
        json_field_uint(json, "bytes", meta->files[i].bytes);
        json_field_uint(json, "crc32c", meta->files[i].crc);
        json_object_end(json);
    }
    json_array_end(json);
}

void block_meta_print_ours(const struct block_meta *meta, struct buf *out)
{
    struct json_writer json;
    size_t start = out->len;
    json_begin(&json, out);
    json_object(&json);
    json_field_int(&json, "version", META_VERSION);
    json_field_uint(&json, "meta_crc32c", block_meta_check(meta));
    json_field_text(&json, "class", meta->class);
    json_field_bool(&json, "has_aggregates", meta->has_aggregates);
    json_field_uint(&json, "aggregates", meta->aggregate_count);
    json_field_uint(&json, "deletion", meta->deletion);
    json_key(&json, "missing");
    json_array(&json);
    for (size_t i = 0; i < meta->missing_count; i++) {
        json_object(&json);
        json_field_int(&json, "start", meta->missing[i].start_ms);
        json_field_int(&json, "end", meta->missing[i].end_ms);
        json_field_text(&json, "reason", meta->missing[i].reason);
        json_object_end(&json);
    }
    json_array_end(&json);
    print_files(meta, &json);
    json_object_end(&json);
    if (out->full) {
        return;
    }
    out->len--; /* the bracket comes back behind the checksum */
    buf_printf(out, ",\"crc32c\":\"%08x\"}\n", crc32c(0, out->data + start, out->len - start));
}

uint32_t block_meta_check(const struct block_meta *meta)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(BLOCK_META_BYTES_MAX);
    block_meta_print(meta, &text);
    return crc32c(0, text.data, text.len);
}

/* ---- The struct ---- */

void block_meta_add_file(struct block_meta *meta, const struct block_file *file)
{
    meta->files = mem_resize(meta->files, meta->file_count + 1, sizeof(*meta->files));
    meta->files[meta->file_count++] = *file;
}

static void *copy_array(const void *items, size_t count, size_t size)
{
    void *copy = mem_array(count, size);
    if (count > 0) {
        memcpy(copy, items, count * size);
    }
    return copy;
}

void block_meta_copy(const struct block_meta *from, struct block_meta *ret_to)
{
    *ret_to = *from;
    ret_to->sources = copy_array(from->sources, from->source_count, sizeof(*from->sources));
    ret_to->parents = copy_array(from->parents, from->parent_count, sizeof(*from->parents));
    ret_to->missing = copy_array(from->missing, from->missing_count, sizeof(*from->missing));
    ret_to->files = copy_array(from->files, from->file_count, sizeof(*from->files));
}

void block_meta_done(struct block_meta *meta)
{
    mem_free(meta->sources);
    mem_free(meta->parents);
    mem_free(meta->missing);
    mem_free(meta->files);
    *meta = (struct block_meta){0};
}
