#pragma once
/* The store: series and their samples of the head, in memory, behind one face. Durability is the log's
 * (shared/hop/spool): the store is filled again from it at start.
 *
 * Writers: one thread (ingest). Readers: any number of threads, through select.h. Identity of what is stored is
 * (series, window): of two records the one that record_wins() stays, never both, in whatever order they come. */
#include "base/clock.h"
#include "base/defs.h"
#include "metric/labels.h"
#include "metric/record.h"
#include "store/select.h"

struct store_options {
    int64_t max_age_ms;   /* samples older than now - max_age are dropped and not accepted; > 0 */
    int64_t max_ahead_ms; /* records further ahead of now are not accepted (DESIGN 6: 10 min); >= 0 */
    uint64_t series_max;  /* ceiling of series in memory; past it new series are refused and counted */
};

/* Of one store and lifetime. A dropped series' ref is given again after the next store_prune at the earliest, so that
 * resolved rows find out by store_generation first. */
typedef uint32_t series_ref;
#define SERIES_REF_NONE         UINT32_MAX

#define STORE_EXTRAS_MAX        512      /* of one record: two a reset, at a reset every scrape of an hour of 15 s */
#define STORE_RESOLUTION_MS_MAX 86400000 /* a day: beyond the coarsest tier there is */

struct store_stats {
    uint64_t series, chunks, samples;  /* now; samples with the extras among them */
    uint64_t chunk_bytes, label_bytes; /* memory: of chunks with their aggregates; of label sets (shared ones, too) */
    uint64_t records_total;            /* offered to store_append; each is one of the following or was added */
    uint64_t duplicates_total;         /* of a window that is there and stays */
    uint64_t replaced_total;           /* in the place of the window that was there */
    uint64_t too_old_total, too_new_total;
    uint64_t refused_total;           /* ref unknown, time outside its window, or a series past its ceiling */
    uint64_t samples_total;           /* written, of records added or replacing */
    uint64_t series_refused_total;    /* store_series past series_max */
    int64_t min_time_ms, max_time_ms; /* INT64_MAX / INT64_MIN when empty. Bounds: what was replaced or dropped since
                                         the last store_prune may be still in them */
};

struct store *store_new(struct clock *clock, const struct store_options *options);
void store_free(struct store *store);
DEFINE_CLEANUP(struct store *, store_free)

/* The ref of a series, made if absent (then labels get one more reference; the caller keeps its own). SERIES_REF_NONE
 * past series_max. The kind is that of the first call. Inside or outside of a block of writing. */
series_ref store_series(struct store *store, struct labels *labels, enum series_kind kind);
/* Changes whenever series were dropped: refs kept from before must be resolved again. */
uint64_t store_generation(const struct store *store);

/* Writing goes in rows: many records of one window. Between begin and end readers wait, so keep a block at
 * STORE_BLOCK_RECORDS_MAX records (some 10 ms). The clock is read at begin. */
#define STORE_BLOCK_RECORDS_MAX 65536
void store_write_begin(struct store *store);
void store_write_end(struct store *store);
/* Stores a record, or counts why not: nothing here is an error of the caller's. window_start_ms and resolution_ms name
 * the window and must be aligned; the record's time lies in it. resolution_ms 0: a plain sample, where the time itself
 * is the identity and the first that comes stays.
 * extras: ordinary samples of the same window, ascending, all before record->time_ms; others among them and those past
 * STORE_EXTRAS_MAX are left out and counted as refused. They are replaced with their record. With resolution 0 they are
 * plain samples, each counted as a record of its own; of a plain record time and last value are all that is kept.
 * Windows of one series that overlap without being equal (a changed resolution) are told apart by their samples' times:
 * what lies in a new window gives way to it if the new one counts more. */
void store_append(struct store *store, series_ref series, int64_t window_start_ms, int64_t resolution_ms,
                  const struct record *record, const struct sample *extras, size_t extra_count);

/* Drops chunks older than max_age, and series that have none left (a new one without samples is such a one). Called by
 * the owner's timer, in the writer's thread, outside of a block of writing. */
void store_prune(struct store *store);
/* From any thread; the writer's outside of a block of writing. */
void store_stats(struct store *store, struct store_stats *ret_stats);
