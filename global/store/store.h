#pragma once
/* The store: series and their samples of the head, in memory, behind one face. Durability is the log's (shared/hop/spool):
 * the store is filled again from it at start.
 *
 * Writers: one thread (ingest). Readers: any number of threads, through select.h. Identity of what is stored is
 * (series, window): of two records the one that record_wins() stays, never both, in whatever order they come. */
#include "base/clock.h"
#include "base/defs.h"
#include "metric/labels.h"
#include "metric/record.h"
#include "store/select.h"

struct store_options {
    int64_t max_age_ms;     /* samples older than now - max_age are dropped and not accepted */
    int64_t max_ahead_ms;   /* records further ahead of now are not accepted (DESIGN 6: 10 min) */
    uint64_t series_max;    /* ceiling of series in memory; past it new series are refused and counted */
};

typedef uint32_t series_ref; /* of one store and lifetime; a dropped series' ref is not given again while resolved rows
                                may hold it (store_generation) */
#define SERIES_REF_NONE UINT32_MAX

struct store_stats {
    uint64_t series, chunks, chunk_bytes, label_bytes, samples, samples_total;
    uint64_t records_total, duplicates_total, replaced_total, too_old_total, too_new_total, series_refused_total;
    int64_t min_time_ms, max_time_ms; /* INT64_MAX / INT64_MIN when empty */
};

struct store *store_new(struct clock *clock, const struct store_options *options);
void store_free(struct store *store);
DEFINE_CLEANUP(struct store *, store_free)

/* The ref of a series, made if absent. SERIES_REF_NONE past series_max. Takes no reference of labels' ownership away. */
series_ref store_series(struct store *store, struct labels *labels, enum series_kind kind);
/* Changes whenever series were dropped: refs kept from before must be resolved again. */
uint64_t store_generation(const struct store *store);

/* Writing goes in rows: many records of one window. Between begin and end readers wait, so keep a block at
 * STORE_BLOCK_RECORDS_MAX records. */
#define STORE_BLOCK_RECORDS_MAX 65536
void store_write_begin(struct store *store);
void store_write_end(struct store *store);
/* extras: ordinary samples of the same window, ascending, all before record->time_ms. window_start_ms and resolution_ms
 * name the window; resolution_ms 0: plain samples, where the time itself is the identity. */
void store_append(struct store *store, series_ref series, int64_t window_start_ms, int64_t resolution_ms,
                  const struct record *record, const struct sample *extras, size_t extra_count);

/* Drops chunks older than max_age, and series that have none left. Called by the owner's timer, in the writer's thread. */
void store_prune(struct store *store);
void store_stats(struct store *store, struct store_stats *ret_stats);
