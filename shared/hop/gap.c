/* One msgpack array: [datacenter, secondary, incarnation, epoch, first seq, last seq, window start ms, window end ms];
 * a newer version may append fields, which are skipped. */
#include "hop/gap.h"
#include "hop/pack.h"

#include <errno.h>

#define GAP_FIELDS 8

int gap_encode(const struct spool_batch *gap, struct buf *out)
{
    pack_array(out, GAP_FIELDS);
    pack_str(out, gap->source.datacenter);
    pack_str(out, gap->source.secondary);
    pack_uint(out, gap->source.incarnation);
    pack_uint(out, gap->epoch);
    pack_uint(out, gap->seq);
    pack_uint(out, gap->seq_end);
    pack_int(out, gap->window_start_ms);
    pack_int(out, gap->window_end_ms);
    return out->full ? -EMSGSIZE : 0;
}

int gap_decode(struct str bytes, struct spool_batch *ret_gap)
{
    struct unpack in = unpack_of(bytes.ptr, bytes.len);
    struct spool_batch gap = {.is_gap = true, .bytes = bytes.len};
    uint32_t fields = unpack_record(&in, GAP_FIELDS);
    gap.source.datacenter = unpack_str(&in, SOURCE_NAME_BYTES_MAX);
    gap.source.secondary = unpack_str(&in, SOURCE_NAME_BYTES_MAX);
    gap.source.incarnation = unpack_uint(&in, UINT64_MAX);
    gap.epoch = unpack_uint(&in, UINT64_MAX);
    gap.seq = unpack_uint(&in, UINT64_MAX);
    gap.seq_end = unpack_uint(&in, UINT64_MAX);
    gap.window_start_ms = (int64_t)unpack_uint(&in, INT64_MAX);
    gap.window_end_ms = (int64_t)unpack_uint(&in, INT64_MAX);
    unpack_skip(&in, fields > GAP_FIELDS ? fields - GAP_FIELDS : 0);
    if (!unpack_done(&in) || bytes.len > GAP_BYTES_MAX || gap.epoch == 0 || gap.seq == 0 || gap.seq > gap.seq_end ||
        gap.window_start_ms > gap.window_end_ms || !source_name_is_valid(gap.source.datacenter) ||
        !source_name_is_valid(gap.source.secondary))
        return -EBADMSG;
    *ret_gap = gap;
    return 0;
}
