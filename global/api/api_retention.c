/* status/retention: the classes, what there is of each, and what would go now. */
#include "api/request.h"
#include "base/fail.h"
#include "store/store.h"

struct class_sum {
    uint64_t blocks, bytes, samples;
    int64_t oldest_ms; /* INT64_MAX: nothing */
};

/* A block of a class that is no longer configured is of the last one. */
static size_t class_of(const struct retention *retention, const char *name)
{
    size_t count = retention_class_count(retention);
    for (size_t i = 0; i < count; i++)
        if (strcmp(retention_class_at(retention, i)->name, name) == 0)
            return i;
    return count - 1;
}

static void write_class(struct json_writer *json, const struct retention_class *class, const struct class_sum *sum,
                        const struct retention_counts *gone)
{
    json_object(json);
    json_field_text(json, "class", class->name);
    json_field_text(json, "match", class->match ? class->match : "all");
    json_field_int(json, "keepSeconds", class->keep_ms / 1000);
    json_key(json, "bytesMax");
    if (class->bytes_max > 0)
        json_uint(json, class->bytes_max);
    else
        json_null(json);
    json_field_uint(json, "blocks", sum->blocks);
    json_field_uint(json, "bytes", sum->bytes);
    json_field_uint(json, "samples", sum->samples);
    answer_time(json, "oldestTime", sum->oldest_ms);
    json_field_uint(json, "deletedBlocks", gone->blocks_total);
    json_field_uint(json, "deletedBytes", gone->bytes_total);
    json_field_uint(json, "deletedSamples", gone->samples_total);
    json_object_end(json);
}

static void write_classes(struct json_writer *json, struct store *store, const struct retention *retention,
                          const struct block_status *items, size_t count)
{
    struct class_sum sums[RETENTION_CLASSES_MAX];
    struct retention_counts gone[RETENTION_CLASSES_MAX];
    for (size_t i = 0; i < RETENTION_CLASSES_MAX; i++)
        sums[i] = (struct class_sum){.oldest_ms = INT64_MAX};
    for (size_t i = 0; i < count; i++) {
        struct class_sum *sum = &sums[class_of(retention, items[i].meta.class)];
        sum->blocks++;
        sum->bytes += items[i].disk_bytes;
        sum->samples += items[i].meta.sample_count;
        if (items[i].meta.min_time_ms > INT64_MIN) /* of a damaged one it may not be known */
            sum->oldest_ms = MIN(sum->oldest_ms, items[i].meta.min_time_ms);
    }
    store_retention_counts(store, gone);
    json_array(json);
    for (size_t i = 0; i < retention_class_count(retention); i++)
        write_class(json, retention_class_at(retention, i), &sums[i], &gone[i]);
    json_array_end(json);
}

static void write_victims(struct json_writer *json, const struct retention_victims *victims)
{
    json_array(json);
    for (size_t i = 0; i < victims->count; i++) {
        const struct block_status *block = victims->items[i].block;
        json_object(json);
        json_field_text(json, "ulid", block->meta.ulid.text);
        json_field_text(json, "class", block->meta.class);
        json_field_text(json, "why", victims->items[i].why);
        answer_time(json, "minTime", block->meta.min_time_ms);
        answer_time(json, "maxTime", block->meta.max_time_ms);
        json_field_uint(json, "bytes", block->disk_bytes);
        json_field_uint(json, "samples", block->meta.sample_count);
        json_object_end(json);
    }
    json_array_end(json);
}

void api_serve_retention(void *context, struct http_exchange *exchange)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    struct store *store = request_disk_store(&request);
    if (!store)
        return;
    CLEANUP(retention_unrefp) struct retention *retention = store_retention(store);
    struct block_status *items = NULL;
    size_t count = 0;
    struct retention_victims victims;
    blocks_status(store_blocks(store), &items, &count);
    retention_plan(retention, items, count, clock_wall_ms(request.api->options.clock), &victims);
    CLEANUP(answer_done) struct answer answer;
    answer_begin(&answer, &request);
    json_object(&answer.json);
    json_key(&answer.json, "classes");
    write_classes(&answer.json, store, retention, items, count);
    json_key(&answer.json, "victims");
    write_victims(&answer.json, &victims);
    json_object_end(&answer.json);
    mem_free(victims.items);
    blocks_status_free(items, count);
    answer_send(&answer, &request);
}
