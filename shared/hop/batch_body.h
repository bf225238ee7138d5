#pragma once
/* Private to batch_write.c and batch_read.c, which stand for one format: the order of a body's parts
 * (docs/batch-format.md).
 *
 * body = msgpack [ bin header, bin payload ], under zstd unless body_bytes == body_raw_bytes.
 *
 *   uvarint entries; when there are any, five integer columns: target, page, time - window start, count, stale time
 *   each family of the envelope, over its members (entries with count > 0 whose page has it), unless it has none:
 *     last values     a column per slot; below BATCH_SLOT_COLUMN_MEMBERS members one column for all, slot after slot
 *     uvarint odd     records whose count or time is not their entry's: uvarint step, signed time difference, uvarint
 * count uvarint changing records that are not constant; when there are any: payload: a bit per record, then columns of
 * min, max and sum of these, divided as the last values are uvarint extras  uvarint step of the record's index, signed
 * time before the record's, eight bytes of the value
 *
 * Steps are from the record named before (the first from 0). */
#include "hop/batch.h"
