#pragma once
/* From a batch in the log to records in the store. Which series a slot of a target's page is, is resolved once and kept
 * (label sets are built and looked up per new series, not per record). One thread: the store's writer. */
#include "hop/batch.h"
#include "store/families.h"
#include "store/store.h"

/* Rows (a target's page, its series resolved) kept; past it those that were not used of late are dropped, and where
 * half of it stays, all, to be resolved again: 40,000 targets. */
#define INGEST_ROWS_MAX 131072
/* The same for their slots, 4 bytes each: the series of the store and as many of pages that were left. */
#define INGEST_SLOTS_MAX UINT64_C(40000000)
/* Not used for so long, a row goes: the target was removed, or shows another page. */
#define INGEST_ROW_AGE_MS   (15 * 60 * INT64_C(1000))
#define INGEST_ROW_SPARE_MS (2 * 60 * INT64_C(1000)) /* the same where there is no room */

struct ingest;

struct ingest_stats {
    uint64_t batches_total, records_total, stale_markers_total, malformed_total;
    uint64_t rows, rows_resolved_total;
};

/* families: gets to know what the pages say of their metrics. Both outlive it. */
struct ingest *ingest_new(struct store *store, struct families *families);
void ingest_free(struct ingest *ingest);
DEFINE_CLEANUP(struct ingest *, ingest_free)
/* Takes a batch in, whose layouts are in the table. id: where it stands in the log (spool ids; they rise). now_ms: for
 * the age of rows. -EBADMSG and the other errors of batch_reader_open: what was read before the damage is stored, the
 * rest is not. */
MUST_CHECK int ingest_batch(struct ingest *ingest, struct layout_table *table, uint64_t id, struct str batch,
                            int64_t now_ms);
/* Drops rows that were not used for INGEST_ROW_AGE_MS. */
void ingest_sweep(struct ingest *ingest, int64_t now_ms);
/* The families and which slot is which series, for the snapshot of the store, and back: of the same store, filled from
 * that snapshot. What cannot be read is resolved anew. */
void ingest_save(const struct ingest *ingest, struct buf *out);
void ingest_load(struct ingest *ingest, struct str saved, int64_t now_ms);
void ingest_stats(const struct ingest *ingest, struct ingest_stats *ret_stats);
