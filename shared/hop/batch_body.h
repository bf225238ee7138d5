#pragma once
/* Private to batch_write.c, batch_family.c and batch_read.c, which stand for one format: the order of a body's parts
 * (docs/batch-format.md).
 *
 * body = msgpack [ bin header, bin payload ], under zstd unless body_bytes == body_raw_bytes.
 *
 *   uvarint entries; when there are any, five integer columns: target, page, time - window start, count, stale time
 *   each family, in the order in which the envelope's pages first name them, over its members (entries with count > 0
 * whose page has it), unless it has none: last values       a column per slot; below BATCH_SLOT_COLUMN_MEMBERS members
 * one column for all, slot after slot uvarint odd       records whose count or time is not their entry's; when there
 * are any, three integer columns: steps from record to record (the first from 0), time - entry's time, count uvarint
 * changing  records that are not constant; when there are any: payload: a bit per record, then columns of min, max
 * (both near the last value) and sum (near batch_expected_sum) of these, divided as the last values are uvarint extras
 * when there are any: integer columns of steps between their records and of the record's time - theirs, and a column of
 * values (near the record's last value) */
#include "hop/batch.h"

/* What a sum is near to: all values as the last one. */
static inline double batch_expected_sum(const struct record *record)
{
    return record->last * (double)record->count;
}

/* The difference of two times; exporters may bring any, so it may wrap around, and does so back in the reader. */
static inline int64_t batch_time_between(int64_t time_ms, int64_t base_ms)
{
    return (int64_t)((uint64_t)time_ms - (uint64_t)base_ms);
}

/* ---- Writing a family (batch_family.c) ---- */

struct batch_member { /* what an entry has of a family */
    int64_t time_ms;  /* the entry's */
    uint32_t count;
    const struct record *records;      /* one per slot */
    const struct record_extra *extras; /* of these records; index - extra_base is the slot */
    size_t extra_count;
    uint32_t extra_base;
};

struct batch_family { /* one family after the other is put in and written */
    const struct batch_member *members;
    size_t member_count, slots;
    struct buf *header, *payload;
    struct record *records; /* slot-major */
    double *values, *bases; /* scratch, one per record: what is written, what it is near to */
    int64_t *numbers;       /* scratch, one per record */
    size_t *per_slot;       /* scratch: values in each slot */
};

/* records_max: of the largest family, slots * members. */
void batch_family_init(struct batch_family *family, size_t records_max, size_t slots_max, struct buf *header,
                       struct buf *payload);
void batch_family_done(struct batch_family *family);
/* Failures stay in the buffers (buf.full). */
void batch_family_write(struct batch_family *family);
