/* status/blocks, admin/blocks/forget: which blocks there are, served or damaged; and giving up a damaged one. */
#include "api/request.h"
#include "base/fail.h"
#include "base/log.h"
#include "store/blocks.h"

#include <errno.h>

static const char *const state_names[] = {[BLOCK_SERVED] = "served", [BLOCK_DAMAGED] = "damaged"};

static void write_missing(struct json_writer *json, const struct block_meta *meta)
{
    json_key(json, "missing");
    json_array(json);
    for (size_t i = 0; i < meta->missing_count; i++) {
        json_object(json);
        json_field_int(json, "minTime", meta->missing[i].start_ms);
        json_field_int(json, "maxTime", meta->missing[i].end_ms);
        json_field_text(json, "reason", meta->missing[i].reason);
        json_object_end(json);
    }
    json_array_end(json);
}

static void write_block(struct json_writer *json, const struct block_status *block)
{
    const struct block_meta *meta = &block->meta;
    json_object(json);
    json_field_text(json, "ulid", meta->ulid.text);
    json_field_text(json, "class", meta->class);
    json_field_text(json, "state", state_names[block->state]);
    if (block->state == BLOCK_DAMAGED) {
        json_field_text(json, "reason", block->reason);
        answer_time(json, "since", block->damaged_at_ms);
    }
    answer_time(json, "minTime", meta->min_time_ms);
    answer_time(json, "maxTime", meta->max_time_ms);
    json_field_uint(json, "level", meta->level);
    json_field_uint(json, "series", meta->series_count);
    json_field_uint(json, "samples", meta->sample_count);
    json_field_uint(json, "chunks", meta->chunk_count);
    json_field_uint(json, "bytes", block->disk_bytes);
    json_field_uint(json, "aggregates", meta->aggregate_count);
    json_field_uint(json, "sources", meta->source_count);
    json_field_bool(json, "late", meta->from_late);
    if (meta->missing_count > 0)
        write_missing(json, meta);
    json_object_end(json);
}

/* ---- Sums by class and state ---- */

struct sum {
    const char *class;
    enum block_state state;
    uint64_t blocks, bytes, series, samples;
};

/* Its sum, made if absent. There are a few dozen classes at most, beside those of former configurations. */
static struct sum *sum_of(struct sum *sums, size_t *count, const struct block_status *block)
{
    for (size_t i = 0; i < *count; i++)
        if (sums[i].state == block->state && strcmp(sums[i].class, block->meta.class) == 0)
            return &sums[i];
    sums[*count] = (struct sum){.class = block->meta.class, .state = block->state};
    return &sums[(*count)++];
}

static void write_sums(struct json_writer *json, const struct block_status *items, size_t count)
{
    CLEANUP_FREE struct sum *sums = mem_array(count, sizeof(*sums)); /* each could be of a class of its own */
    size_t sum_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct sum *sum = sum_of(sums, &sum_count, &items[i]);
        sum->blocks++;
        sum->bytes += items[i].disk_bytes;
        sum->series += items[i].meta.series_count;
        sum->samples += items[i].meta.sample_count;
    }
    json_array(json);
    for (size_t i = 0; i < sum_count; i++) {
        json_object(json);
        json_field_text(json, "class", sums[i].class);
        json_field_text(json, "state", state_names[sums[i].state]);
        json_field_uint(json, "blocks", sums[i].blocks);
        json_field_uint(json, "bytes", sums[i].bytes);
        json_field_uint(json, "series", sums[i].series);
        json_field_uint(json, "samples", sums[i].samples);
        json_object_end(json);
    }
    json_array_end(json);
}

void api_serve_blocks(void *context, struct http_exchange *exchange)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    struct store *store = request_disk_store(&request);
    if (!store)
        return;
    struct block_status *items = NULL;
    size_t count = 0;
    blocks_status(store_blocks(store), &items, &count);
    CLEANUP(answer_done) struct answer answer;
    answer_begin(&answer, &request);
    json_object(&answer.json);
    json_key(&answer.json, "blocks");
    json_array(&answer.json);
    for (size_t i = 0; i < count; i++)
        write_block(&answer.json, &items[i]);
    json_array_end(&answer.json);
    json_key(&answer.json, "sums");
    write_sums(&answer.json, items, count);
    json_object_end(&answer.json);
    blocks_status_free(items, count);
    answer_send(&answer, &request);
}

/* ---- Giving one up ---- */

void api_serve_forget_block(void *context, struct http_exchange *exchange)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    struct ulid ulid;
    struct store *store = request_disk_store(&request);
    struct str text = request_text(&request, "ulid");
    if (!store)
        return;
    if (ulid_parse(text, &ulid) < 0) {
        request_fail_parameter(&request, "ulid", "\"" STR_FMT "\" is no name of a block", STR_ARG(text));
        return;
    }
    int result = blocks_forget(store_blocks(store), &ulid);
    if (result == -ENOENT)
        request_fail_parameter(&request, "ulid", "there is no damaged block %s", ulid.text);
    else if (result < 0)
        request_fail(&request, API_INTERNAL, "blocks.json cannot be written: %s", strerror(-result));
    if (result < 0)
        return;
    log_info("block %s is given up: answers do not warn of it any more", ulid.text);
    CLEANUP(answer_done) struct answer answer;
    answer_begin(&answer, &request);
    json_object(&answer.json);
    json_field_text(&answer.json, "ulid", ulid.text);
    json_object_end(&answer.json);
    answer_send(&answer, &request);
}
