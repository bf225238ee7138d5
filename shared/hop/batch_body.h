#pragma once
/* Private to batch_write.c and batch_read.c, which stand for one format: the order of a body's parts
 * (docs/batch-format.md).
 *
 * body = msgpack [ bin header, bin payload ], under zstd unless body_bytes == body_raw_bytes.
 *
 *   uvarint entries; when there are any, five integer columns: target, page, time - window start, count, stale time
 *   each family of the envelope, over its members (entries with count > 0 whose page has it), unless it has none:
 *     last values       a column per slot; below BATCH_SLOT_COLUMN_MEMBERS members one column for all, slot after slot
 *     uvarint odd       records whose count or time is not their entry's; when there are any, three integer columns:
 *                       steps from record to record (the first from 0), time - entry's time, count
 *     uvarint changing  records that are not constant; when there are any: payload: a bit per record, then columns of
 *                       min, max (both near the last value) and sum (near batch_expected_sum) of these, divided as the
 *                       last values are
 *     uvarint extras    when there are any: integer columns of steps between their records and of the record's time -
 *                       theirs, and a column of values (near the record's last value) */
#include "hop/batch.h"

/* What a sum is near to: all values as the last one. */
static inline double batch_expected_sum(const struct record *record)
{
    return record->last * (double)record->count;
}
