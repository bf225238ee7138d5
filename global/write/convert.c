#include "base/fail.h"
#include "write/convert_internal.h"
#include "write/expand.h"

struct convert *convert_new(const struct convert_options *options)
{
    struct convert *convert = mem_zalloc(sizeof(*convert));
    convert->options = *options;
    convert->metadata = metadata_new();
    convert->pages = pages_new();
    convert->writer = batch_writer_new();
    buf_init(&convert->key, CONVERT_KEY_BYTES_MAX);
    map_init(&convert->target_map);
    arena_init(&convert->scratch, 0);
    return convert;
}

/* What a request took goes with it. */
static void forget_request(struct convert *convert)
{
    batch_writer_reset(convert->writer);
    for (size_t i = 0; i < convert->target_count; i++)
        labels_unref(convert->targets[i].labels);
    mem_free(STEAL(convert->targets));
    mem_free(STEAL(convert->taken));
    mem_free(STEAL(convert->samples));
    convert->target_count = convert->target_capacity = convert->taken_count = convert->taken_capacity = 0;
    convert->sample_count = convert->sample_capacity = 0;
    map_clear(&convert->target_map);
    convert->request = NULL;
    convert->result = NULL;
}

void convert_free(struct convert *convert)
{
    if (!convert)
        return;
    forget_request(convert);
    metadata_free(convert->metadata);
    pages_free(convert->pages);
    batch_writer_free(convert->writer);
    buf_done(&convert->key);
    map_done(&convert->target_map);
    arena_done(&convert->scratch);
    mem_free(convert->sequences);
    mem_free(convert);
}

void convert_result_done(struct convert_result *result)
{
    for (size_t i = 0; i < result->batch_count; i++) {
        struct convert_batch *batch = &result->batches[i];
        for (uint32_t j = 0; j < envelope_layout_count(&batch->envelope); j++)
            layout_unref(batch->layouts[j]);
        mem_free(batch->layouts);
        mem_free((void *)batch->envelope.pages);
        buf_done(&batch->bytes);
    }
    mem_free(result->batches);
    *result = (struct convert_result){0};
}

uint64_t convert_refused(const struct convert_counts *counts)
{
    uint64_t refused = 0;
    for (int i = 0; i < REFUSAL_COUNT; i++)
        refused += counts->refused[i];
    return refused;
}

/* Of a request that is known to be sound. */
static void take_metadata(struct convert *convert, struct str raw)
{
    struct reader reader = reader_of(raw.ptr, raw.len);
    struct wire_item item;
    while (wire_request_next(&reader, &item) == 0 && item.part != WIRE_END)
        if (item.part == WIRE_METADATA)
            metadata_put(convert->metadata, &item.metadata, convert->request->now_ms);
}

int convert_run(struct convert *convert, const struct convert_request *request, struct convert_result *ret_result)
{
    struct convert_result result = {0};
    CLEANUP(buf_done) struct buf raw = BUF_INIT(CONVERT_RAW_BYTES_MAX);
    convert->request = request;
    convert->result = &result;
    convert->datacenter = request->honor_datacenter ? STR("") : str_from(request->datacenter);
    int error = expand_block(request->body, &raw);
    if (error == 0)
        error = convert_take(convert, buf_view(&raw));
    if (error == 0) {
        take_metadata(convert, buf_view(&raw));
        result.counts.raw_bytes = raw.len;
        error = convert_batches(convert);
    }
    if (result.batch_count > 0 && error < 0)
        *convert_last_seq(convert) -= result.batch_count; /* nobody saw these numbers */
    forget_request(convert);
    if (error < 0) {
        convert_result_done(&result);
        return error;
    }
    *ret_result = result;
    return 0;
}
