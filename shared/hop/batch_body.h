#pragma once
/* Private to batch_write.c, batch_entries.c, batch_family.c and batch_read.c, which stand for one format: the order of
 * a body's parts (docs/batch-format.md).
 *
 * body = msgpack [ bin header, bin payload ], under zstd unless body_bytes == body_raw_bytes.
 *
 *   entries (batch_entries.c), in rounds: the windows of the batch, or at resolution 0 its scrapes
 *   each family, in the order in which the envelope's pages first name them, unless it has no slots; of it each round
 * over its members (entries with count > 0 whose page has it), unless there are none: last values       a column per
 * slot; below BATCH_SLOT_COLUMN_MEMBERS members one column for all, slot after slot; near to those of their
 * predecessors, where a member has one uvarint odd       records whose count or time is not their entry's; when there
 * are any, three integer columns: steps from record to record (the first from 0), time - entry's time, count uvarint
 * changing  records that are not constant; when there are any: payload: a bit per record, then columns of min, max
 * (both near the last value) and sum (near batch_expected_sum) of these, divided as the last values are uvarint extras
 * when there are any: integer columns of steps between their records and of the record's time - theirs, and a column of
 * values (near the record's last value) zero bytes in the payload where the batch claims more than it is long
 * (BATCH_CLAIMS_PER_BYTE) */
#include "hop/batch.h"
#include "hop/column.h"

/* What a sum is near to: all values as the last one. */
static inline double batch_expected_sum(double last, uint32_t count)
{
    return last * (double)count;
}

/* The difference of two times; exporters may bring any, so it may wrap around, and does so back in the reader. */
static inline int64_t batch_time_between(int64_t time_ms, int64_t base_ms)
{
    return (int64_t)((uint64_t)time_ms - (uint64_t)base_ms);
}

/* ---- Entries (batch_entries.c) ---- */

#define BATCH_NONE          UINT32_MAX
#define BATCH_ENTRY_COLUMNS 5
/* What an entry claims besides its records (BATCH_CLAIMS_PER_BYTE). */
#define BATCH_ENTRY_CLAIMS 2

struct batch_entries {
    struct batch_entry *items; /* in order of rounds */
    uint32_t *before;          /* of each: the index of its predecessor, or BATCH_NONE */
    size_t count;
    int64_t window_start_ms, resolution_ms;
    struct {
        uint32_t targets, pages, rounds;
        size_t entries;
    } limits; /* of reading */
};

/* Fills before, which has room for count, and writes. Failures stay in the buffers. */
void batch_entries_write(struct batch_entries *entries, struct buf *header, struct buf *payload);
/* Into entries without any, whose window and limits are set. -EBADMSG: batch_entries_done is still due. */
MUST_CHECK int batch_entries_read(struct batch_entries *entries, struct column_input *in);
void batch_entries_done(struct batch_entries *entries);

/* ---- What items bring, taken apart (batch_records.c) ---- */

struct batch_range { /* of a record that is not constant */
    uint32_t index;  /* among its item's records */
    uint32_t count;  /* the record's */
    double min, max, sum;
};
struct batch_odd { /* a record whose count or time is not its entry's */
    uint32_t index, count;
    int64_t time_ms;
};
struct batch_extra {
    uint32_t index;
    int64_t before_ms; /* so long before its record */
    double value;
};

/* Last values of all items, one after the other, and aside what is rare: a writer holds 8 bytes of most records, and
 * gathers a column from close to each other. */
struct batch_records {
    double *lasts;
    struct batch_range *ranges;
    struct batch_odd *odds;
    struct batch_extra *extras;
    size_t last_count, range_count, odd_count, extra_count;
    size_t last_capacity, range_capacity, odd_capacity, extra_capacity;
};

struct batch_mark { /* where an item's begin; they end where the next one's begin */
    size_t last, range, odd, extra;
};
struct batch_mark batch_records_mark(const struct batch_records *records);
void batch_records_back(struct batch_records *records, const struct batch_mark *mark); /* what came since goes */
void batch_records_take(struct batch_records *records, const struct batch_item *item, size_t slots);
void batch_records_done(struct batch_records *records);

/* ---- Writing a family (batch_family.c) ---- */

struct batch_member { /* what an entry has of a family */
    int64_t time_ms;  /* the entry's */
    uint32_t count;
    uint32_t round;
    const double *lasts;  /* one per slot */
    const double *before; /* those of its predecessor; NULL: none */
    /* Of its slots; index - base is the slot. */
    const struct batch_range *ranges;
    const struct batch_odd *odds;
    const struct batch_extra *extras;
    uint32_t range_count, odd_count, extra_count;
    uint32_t base;
};

struct batch_family { /* one family and round after the other is put in and written */
    const struct batch_member *members;
    size_t member_count, slots;
    struct buf *header, *payload;
    double *values, *bases; /* scratch, one per record: what is written, what it is near to */
    size_t *per_slot;       /* scratch: values in each slot */
};

/* records_max: of the largest family, slots * members. */
void batch_family_init(struct batch_family *family, size_t records_max, size_t slots_max, struct buf *header,
                       struct buf *payload);
void batch_family_done(struct batch_family *family);
/* Failures stay in the buffers (buf.full). */
void batch_family_write(struct batch_family *family);
