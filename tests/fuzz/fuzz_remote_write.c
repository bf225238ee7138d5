/* Any bytes as a remote write request: as they come, and as what a snappy block of literals holds, so that protobuf is
 * reached. What is taken can be read back from its batches, sample by sample; what is not, leaves nothing. */
#include "base/fail.h"
#include "write/convert.h"
#include "write/expand.h"

#include <errno.h>

#define NOW_MS        INT64_C(1700000000000)
#define AGE_MS        (3600 * INT64_C(1000))
#define AHEAD_MS      (600 * INT64_C(1000))
#define BLOCK_MAX     (2 * MIB)
#define EXPANDED_MAX  (1 * MIB)
#define LITERAL_MAX   65536
#define LITERAL_TAG_2 0xf4 /* its length in the next two bytes */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t read_back(const struct convert_batch *batch, const struct convert_request *request)
{
    CLEANUP(layout_table_freep) struct layout_table *table = layout_table_new(64 * MIB, 64 * MIB);
    uint32_t count = envelope_layout_count(&batch->envelope);
    for (uint32_t i = 0; i < count; i++)
        ASSERT(layout_table_hold(table, batch->layouts[i]) == 0);
    CLEANUP(batch_reader_freep) struct batch_reader *reader = NULL;
    ASSERT(batch_reader_open(batch->bytes.data, batch->bytes.len, table, &reader) == 0);
    const struct envelope *envelope = batch_reader_envelope(reader);
    ASSERT(envelope->is_remote_write && envelope->resolution_ms == 0 &&
           str_equal(envelope->source.secondary, str_from(request->source)));
    int64_t end_ms = envelope->window_start_ms + envelope->span_ms;
    struct batch_block block;
    uint64_t samples = 0;
    int more;
    while ((more = batch_reader_next(reader, &block)) > 0) {
        for (uint32_t i = 0; i < block.family->count * block.entry_count; i++) {
            const struct record *record = &block.records[i];
            bool says = record->count > 0 || value_is_stale(record->last);
            ASSERT(!says || (record->time_ms >= envelope->window_start_ms && record->time_ms < end_ms));
            samples += says;
        }
        samples += block.extra_count;
    }
    ASSERT(more == 0);
    for (uint32_t i = 0; i < count; i++)
        layout_table_release(table, envelope_layout_at(&batch->envelope, i));
    return samples;
}

static void check_convert(struct str body, bool honor_datacenter)
{
    const struct convert_options options = {
        .incarnation = 1, .epoch = 1, .age_max_ms = AGE_MS, .ahead_max_ms = AHEAD_MS};
    CLEANUP(convert_freep) struct convert *convert = convert_new(&options);
    struct convert_request request = {
        .body = body, .source = "agent", .datacenter = "dc1", .honor_datacenter = honor_datacenter, .now_ms = NOW_MS};
    for (int i = 0; i < 2; i++) { /* the second time with what was kept of the first */
        CLEANUP(convert_result_done) struct convert_result result = {0};
        int error = convert_run(convert, &request, &result);
        ASSERT(error == 0 || error == -EBADMSG || error == -EMSGSIZE);
        ASSERT(error == 0 || result.batch_count == 0);
        uint64_t samples = 0;
        for (size_t j = 0; j < result.batch_count; j++)
            samples += read_back(&result.batches[j], &request);
        ASSERT(samples == result.counts.samples);
        ASSERT((convert_refused(&result.counts) > 0) == (result.text[0] != 0));
    }
}

static void check_expand(struct str block)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(EXPANDED_MAX);
    int error = expand_block(block, &out);
    ASSERT(error == 0 || error == -EBADMSG || error == -EMSGSIZE);
    ASSERT(out.len <= block.len * EXPAND_RATIO_MAX + EXPAND_RATIO_MAX);
}

static void wrap(struct str raw, struct buf *block)
{
    buf_append_uvarint(block, raw.len);
    for (size_t at = 0; at < raw.len;) {
        size_t len = MIN(raw.len - at, (size_t)LITERAL_MAX);
        buf_append_byte(block, LITERAL_TAG_2);
        buf_append_byte(block, (uint8_t)(len - 1));
        buf_append_byte(block, (uint8_t)((len - 1) >> 8));
        buf_append(block, raw.ptr + at, len);
        at += len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(buf_done) struct buf block = BUF_INIT(BLOCK_MAX);
    struct str bytes = str_of(data, size);
    check_expand(bytes);
    check_convert(bytes, false);
    wrap(bytes, &block);
    if (!block.full)
        check_convert(buf_view(&block), size % 2 == 0);
    return 0;
}
