#include "store/aggr_chunk.h"

#include "base/fail.h"
#include "store/be.h"
#include "store/segments.h"

#include <errno.h>

enum { AGGR_COUNT, AGGR_SUM, AGGR_MIN, AGGR_MAX, AGGR_COUNTER };

void xor_print(const struct sample *samples, size_t count, struct buf *out)
{
    ASSERT(count > 0 && count <= UINT16_MAX);
    size_t bytes_max = XOR_HEADER_BYTES + count * XOR_SAMPLE_BYTES_MAX;
    uint8_t *bytes = buf_reserve(out, bytes_max);
    ASSERT(bytes);
    struct bit_writer writer = {.data = bytes, .bytes_max = bytes_max};
    struct xor_state state = XOR_STATE_INIT;
    bit_write(&writer, count, 16);
    for (size_t i = 0; i < count; i++) {
        xor_write(&writer, &state, samples[i]);
    }
    buf_added(out, (writer.bits + 7) / 8);
}

static double value_of(const struct entry *entry, int which)
{
    switch (which) {
    case AGGR_COUNT:
        return entry->count;
    case AGGR_SUM:
        return entry->sum;
    case AGGR_MIN:
        return entry->min;
    default:
        return entry->max;
    }
}

void aggr_chunk_print(const struct entry *entries, size_t count, struct buf *out)
{
    CLEANUP_FREE struct sample *samples = mem_array(count, sizeof(*samples));
    CLEANUP(buf_done) struct buf sub = BUF_INIT(XOR_HEADER_BYTES + count * XOR_SAMPLE_BYTES_MAX);
    for (int which = AGGR_COUNT; which <= AGGR_MAX; which++) {
        for (size_t i = 0; i < count; i++) {
            samples[i] = (struct sample){entries[i].sample.time_ms, value_of(&entries[i], which)};
        }
        buf_reset(&sub);
        xor_print(samples, count, &sub);
        buf_append_uvarint(out, sub.len);
        buf_append_byte(out, CHUNK_XOR);
        buf_append_str(out, buf_view(&sub));
    }
    buf_append_uvarint(out, 0);
}

int aggr_reader_init(struct aggr_reader *reader, struct str data)
{
    struct reader bytes = reader_of(data.ptr, data.len);
    for (int which = AGGR_COUNT; which < AGGR_SUB_CHUNKS; which++) {
        size_t len = (size_t)reader_uvarint_max(&bytes, data.len);
        uint8_t encoding = len > 0 ? reader_byte(&bytes) : 0;
        struct str sub = reader_bytes(&bytes, len);
        bool is_wanted = which < AGGR_READ;
        if (bytes.bad || (is_wanted && encoding != CHUNK_XOR)) {
            return -EBADMSG;
        }
        if (is_wanted) {
            xor_reader_init(&reader->subs[which], sub.ptr, sub.len);
        }
    }
    reader->count = reader->subs[AGGR_COUNT].left;
    return reader_left(&bytes) == 0 ? 0 : -EBADMSG;
}

int aggr_read(struct aggr_reader *reader, struct entry *ret_entry)
{
    struct sample samples[AGGR_READ];
    int first = xor_read(&reader->subs[0], &samples[0]);
    if (first < 0) {
        return first;
    }
    for (int which = 1; which < AGGR_READ; which++) {
        int result = xor_read(&reader->subs[which], &samples[which]);
        if (result != first || (result > 0 && samples[which].time_ms != samples[0].time_ms)) {
            return -EBADMSG;
        }
    }
    if (first == 0) {
        return 0;
    }
    double count = samples[AGGR_COUNT].value;
    if (!(count >= 0 && count <= UINT32_MAX) || (double)(uint32_t)count != count) {
        return -EBADMSG;
    }
    *ret_entry = (struct entry){
        .sample = {samples[0].time_ms, 0},
        .count = (uint32_t)count,
        .sum = samples[AGGR_SUM].value,
        .min = samples[AGGR_MIN].value,
        .max = samples[AGGR_MAX].value,
        .flags = ENTRY_AGGREGATES,
    };
    return 1;
}
