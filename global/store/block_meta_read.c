/* Reading what block_meta.c writes. A file of its own, as json_write.h and jansson.h share names. */
#include "store/block_meta.h"

#include "base/crc.h"
#include "base/fail.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>

#define META_VERSION 1 /* of meta.json, and of tributary.json */
#define FILES_MAX    65536
/* jansson makes some 150 bytes of each bracket pair of 3 bytes: a file of nothing else must not become gigabytes. */
#define CONTAINERS_MAX (2 * BLOCK_SOURCES_MAX)
#define SEAL_BYTES     22 /* ,"crc32c":"01234567"} and a newline */

/* ---- JSON in ---- */

static int load(struct str text, char ret_reason[static BLOCK_REASON_BYTES], json_t **ret_json)
{
    size_t containers = 0;
    for (size_t i = 0; i < text.len; i++) {
        containers += text.ptr[i] == '{' || text.ptr[i] == '[';
    }
    if (text.len > BLOCK_META_BYTES_MAX || containers > CONTAINERS_MAX) {
        return error_text(-EBADMSG, ret_reason, "it is too large");
    }
    json_error_t error;
    json_t *json = json_loadb(text.ptr ? text.ptr : "", text.len, JSON_REJECT_DUPLICATES, &error);
    if (!json) {
        return error_text(-EBADMSG, ret_reason, "it is no JSON: %.100s", error.text);
    }
    if (!json_is_object(json)) {
        json_decref(json);
        return error_text(-EBADMSG, ret_reason, "it is no object");
    }
    json_int_t version = json_integer_value(json_object_get(json, "version"));
    if (version != META_VERSION) {
        json_decref(json);
        return error_text(-EBADMSG, ret_reason, "its version is %lld, not %d", (long long)version, META_VERSION);
    }
    *ret_json = json;
    return 0;
}

static int take_time(const json_t *object, const char *key, int64_t *ret_time_ms)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value)) {
        return -EBADMSG;
    }
    *ret_time_ms = json_integer_value(value);
    return 0;
}

/* 0 when it is absent. */
static int take_count(const json_t *object, const char *key, uint64_t *ret_count)
{
    const json_t *value = json_object_get(object, key);
    if (value && (!json_is_integer(value) || json_integer_value(value) < 0)) {
        return -EBADMSG;
    }
    *ret_count = (uint64_t)json_integer_value(value);
    return 0;
}

static struct str text_of(const json_t *value)
{
    return str_of(json_string_value(value), json_string_length(value));
}

/* Ulids of an array: of texts, or of objects that have one under "ulid". */
static int take_ulids(const json_t *array, struct ulid **ret_items, size_t *ret_count)
{
    size_t count = json_array_size(array);
    if (count > BLOCK_SOURCES_MAX) {
        return -EBADMSG;
    }
    struct ulid *items = mem_array(count, sizeof(*items));
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(array, i);
        const json_t *text = json_is_object(item) ? json_object_get(item, "ulid") : item;
        if (!json_is_string(text) || ulid_parse(text_of(text), &items[i]) < 0) {
            mem_free(items);
            return -EBADMSG;
        }
    }
    mem_free(*ret_items);
    *ret_items = items;
    *ret_count = count;
    return 0;
}

static int parse_compaction(const json_t *compaction, struct block_meta *meta)
{
    uint64_t level;
    int error = take_count(compaction, "level", &level);
    error = error ? error : take_ulids(json_object_get(compaction, "sources"), &meta->sources, &meta->source_count);
    error = error ? error : take_ulids(json_object_get(compaction, "parents"), &meta->parents, &meta->parent_count);
    if (error || level > UINT32_MAX) {
        return -EBADMSG;
    }
    meta->level = (uint32_t)level;
    const json_t *hints = json_object_get(compaction, "hints");
    meta->from_late = false;
    for (size_t i = 0; i < json_array_size(hints); i++) {
        const json_t *hint = json_array_get(hints, i);
        if (json_is_string(hint) && str_equal(text_of(hint), STR("from-out-of-order"))) {
            meta->from_late = true;
        }
    }
    return 0;
}

static void parse_thanos(const json_t *thanos, struct block_meta *meta)
{
    const json_t *source = json_object_get(thanos, "source");
    const json_t *downsample = json_object_get(thanos, "downsample");
    meta->is_aggregates = json_is_string(source) && str_equal(text_of(source), STR("tributary"));
    meta->is_downsampled = json_integer_value(json_object_get(downsample, "resolution")) != 0;
}

int block_meta_parse(struct str text, struct block_meta *meta, char ret_reason[static BLOCK_REASON_BYTES])
{
    CLEANUP(json_decrefp) json_t *json = NULL;
    int error = load(text, ret_reason, &json);
    if (error) {
        return error;
    }
    /* Prometheus goes by the directory's name and takes any here; whose the block is decides what the caller does. */
    const json_t *ulid = json_object_get(json, "ulid");
    if (!json_is_string(ulid) || ulid_parse(text_of(ulid), &meta->ulid) < 0) {
        meta->ulid = (struct ulid){""};
    }
    if (take_time(json, "minTime", &meta->min_time_ms) < 0 || take_time(json, "maxTime", &meta->max_time_ms) < 0) {
        return error_text(-EBADMSG, ret_reason, "minTime or maxTime is missing or no whole number");
    }
    if (meta->min_time_ms > meta->max_time_ms) {
        return error_text(-EBADMSG, ret_reason, "minTime is behind maxTime");
    }
    const json_t *stats = json_object_get(json, "stats");
    error = take_count(stats, "numSamples", &meta->sample_count);
    error = error ? error : take_count(stats, "numSeries", &meta->series_count);
    error = error ? error : take_count(stats, "numChunks", &meta->chunk_count);
    error = error ? error : take_count(stats, "numTombstones", &meta->tombstone_count);
    if (error) {
        return error_text(-EBADMSG, ret_reason, "stats are no whole numbers");
    }
    if (parse_compaction(json_object_get(json, "compaction"), meta) < 0) {
        return error_text(-EBADMSG, ret_reason, "compaction: level, sources or parents are not what they should be");
    }
    parse_thanos(json_object_get(json, "thanos"), meta);
    meta->should_be_ours = json_object_get(json, "tributary") != NULL;
    return 0;
}

/* ---- tributary.json ---- */

/* The file ends with a checksum of all before it: JSON has none, and a flipped digit is a number as well. */
static int check_seal(struct str text)
{
    if (text.len < SEAL_BYTES) {
        return -EBADMSG;
    }
    char seal[SEAL_BYTES + 1];
    size_t content = text.len - SEAL_BYTES;
    snprintf(seal, sizeof(seal), ",\"crc32c\":\"%08x\"}\n", crc32c(0, text.ptr, content));
    return memcmp(text.ptr + content, seal, SEAL_BYTES) == 0 ? 0 : -EBADMSG;
}

static void copy_text(char *to, size_t bytes_max, struct str text)
{
    size_t len = MIN(text.len, bytes_max - 1);
    memcpy(to, text.ptr, len);
    to[len] = '\0';
}

static int parse_missing(const json_t *array, struct block_meta *meta)
{
    size_t count = json_array_size(array);
    if (count > BLOCK_MISSING_MAX) {
        return -EBADMSG;
    }
    mem_free(meta->missing);
    meta->missing = mem_array(count, sizeof(*meta->missing));
    meta->missing_count = count;
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(array, i);
        const json_t *reason = json_object_get(item, "reason");
        struct block_missing *missing = &meta->missing[i];
        if (take_time(item, "start", &missing->start_ms) < 0 || take_time(item, "end", &missing->end_ms) < 0 ||
            !json_is_string(reason)) {
            return -EBADMSG;
        }
        copy_text(missing->reason, sizeof(missing->reason), text_of(reason));
    }
    return 0;
}

static int parse_files(const json_t *array, struct block_meta *meta)
{
    size_t count = json_array_size(array);
    if (count > FILES_MAX) {
        return -EBADMSG;
    }
    mem_free(meta->files);
    meta->files = mem_array(count, sizeof(*meta->files));
    meta->file_count = count;
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(array, i);
        const json_t *name = json_object_get(item, "name");
        struct block_file *file = &meta->files[i];
        uint64_t crc;
        if (!json_is_string(name) || json_string_length(name) >= sizeof(file->name) ||
            take_count(item, "bytes", &file->bytes) < 0 || take_count(item, "crc32c", &crc) < 0 || crc > UINT32_MAX) {
            return -EBADMSG;
        }
        copy_text(file->name, sizeof(file->name), text_of(name));
        file->crc = (uint32_t)crc;
    }
    return 0;
}

int block_meta_parse_ours(struct str text, struct block_meta *meta, char ret_reason[static BLOCK_REASON_BYTES])
{
    CLEANUP(json_decrefp) json_t *json = NULL;
    if (check_seal(text) < 0) {
        return error_text(-EBADMSG, ret_reason, "its checksum is wrong");
    }
    int error = load(text, ret_reason, &json);
    if (error) {
        return error;
    }
    const json_t *class = json_object_get(json, "class");
    const json_t *has_aggregates = json_object_get(json, "has_aggregates");
    uint64_t check;
    if (!json_is_string(class) || json_string_length(class) > BLOCK_CLASS_BYTES_MAX ||
        !json_is_boolean(has_aggregates) || take_count(json, "meta_crc32c", &check) < 0 ||
        take_count(json, "deletion", &meta->deletion) < 0 ||
        take_count(json, "aggregates", &meta->aggregate_count) < 0) {
        return error_text(-EBADMSG, ret_reason,
                          "class, has_aggregates, meta_crc32c, deletion or aggregates is not what it should be");
    }
    if (parse_missing(json_object_get(json, "missing"), meta) < 0) {
        return error_text(-EBADMSG, ret_reason, "missing: an entry is not what it should be");
    }
    if (parse_files(json_object_get(json, "files"), meta) < 0) {
        return error_text(-EBADMSG, ret_reason, "files: an entry is not what it should be");
    }
    copy_text(meta->class, sizeof(meta->class), text_of(class));
    meta->has_aggregates = json_is_true(has_aggregates);
    meta->check = (uint32_t)check;
    meta->ours = true;
    return 0;
}
