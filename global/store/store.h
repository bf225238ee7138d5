#pragma once
/* The store behind one face: the newest hours in memory (head), all else in blocks on disk. Durability of what is in
 * the head is the log's (shared/hop/spool), from which it is filled again at start.
 *
 * Writers: one thread (ingest). Readers: any number of threads, through select.h. In the background one thread calls
 * store_work. Identity of what is stored is (series, window): of two records the one that record_wins() stays, never
 * both, in whatever order they come, wherever they lie. */
#include "base/clock.h"
#include "base/defs.h"
#include "metric/labels.h"
#include "metric/record.h"
#include "store/compact.h"
#include "store/deletions.h"
#include "store/retention.h"
#include "store/select.h"
#include "store/series_ref.h"

struct store_options {
    int64_t max_age_ms;   /* samples older than now - max_age are not accepted; > 0. In memory alone: and dropped */
    int64_t max_ahead_ms; /* records further ahead of now are not accepted (DESIGN 6: 10 min); >= 0 */
    uint64_t series_max;  /* ceiling of series in memory; past it new series are refused and counted */

    /* The rest is for store_open alone. */
    struct file_system *fs;
    const char *data_dir;
    struct retention *retention;           /* gets a reference */
    uint64_t log_end;                      /* no position of the log is at or past it; 0: not known */
    int64_t close_after_ms;                /* a partition is cut so long after its end at the latest; 0: 1 h */
    int64_t levels_ms[COMPACT_LEVELS_MAX]; /* of compaction; levels_ms[0] 0: 2 h, 8 h, 48 h */
    size_t level_count;
    void (*on_event)(void *arg, const char *text); /* for the daemon's log, from any thread; may be NULL */
    void *on_event_arg;
};

#define STORE_EXTRAS_MAX        512      /* of one record: two a reset, at a reset every scrape of an hour of 15 s */
#define STORE_RESOLUTION_MS_MAX 86400000 /* a day: beyond the coarsest tier there is */

struct store_stats {
    uint64_t series, chunks, samples;  /* of the head, now; samples with the extras among them; chunks in memory */
    uint64_t chunk_bytes, label_bytes; /* memory: of chunks; of label sets and what finds them */
    uint64_t pieces, spill_bytes;      /* full chunks of the head, on disk */
    uint64_t records_total;            /* offered to store_append; each is one of the following or was added */
    uint64_t duplicates_total;         /* of a window that is there and stays, as far as memory knows */
    uint64_t replaced_total;           /* in the place of the window that was there, the same */
    uint64_t too_old_total, too_new_total;
    uint64_t refused_total;           /* ref unknown, time outside its window, or a series past its ceiling */
    uint64_t replayed_total;          /* of a replay: in blocks already */
    uint64_t samples_total;           /* written, of records added or replacing */
    uint64_t series_refused_total;    /* store_series past series_max */
    int64_t min_time_ms, max_time_ms; /* of the head; INT64_MAX / INT64_MIN when empty */
    uint64_t partitions, late_partitions, sealed_partitions; /* of the head, now */
    uint64_t cuts_total, cut_failures_total, late_cuts_total;
};

/* In memory alone: for tools and tests. */
struct store *store_new(struct clock *clock, const struct store_options *options);
/* data_dir/head, blocks, aggregates, damaged, blocks.json, deletions.json. What the log has behind store_replay_from is
 * to be replayed. ret_extra (may be NULL): what store_snapshot was given, or nothing. A reason where it fails. */
MUST_CHECK int store_open(struct clock *clock, const struct store_options *options, char ret_error[static 256],
                          struct buf *ret_extra, struct store **ret_store);
/* Up to here the head has what the log has; 0: nothing. */
uint64_t store_replay_from(const struct store *store);
void store_free(struct store *store);
DEFINE_CLEANUP(struct store *, store_free)

/* The ref of a series, made if absent: of one store and lifetime; a dropped series' ref is given again after the next
 * store_prune at the earliest, so that resolved rows find out by store_generation first. SERIES_REF_NONE past
 * series_max, and for the empty set. The kind is that of the first call. Inside or outside of a block of writing. */
series_ref store_series(struct store *store, struct labels *labels, enum series_kind kind);
bool store_has(const struct store *store, series_ref series); /* in the writer's thread */
/* Changes whenever series were dropped: refs kept from before must be resolved again. */
uint64_t store_generation(const struct store *store);

/* Writing goes in rows: many records of one window. Between begin and end readers wait, so keep a block at
 * STORE_BLOCK_RECORDS_MAX records (some 10 ms). The clock is read at begin. */
#define STORE_BLOCK_RECORDS_MAX 65536
void store_write_begin(struct store *store);
void store_write_end(struct store *store);
/* Where in the log (ids rise) the records stand that come from now on. What a replay brings that was cut into blocks
 * before is left out. */
void store_set_position(struct store *store, uint64_t position);
/* Stores a record, or counts why not: nothing here is an error of the caller's. window_start_ms and resolution_ms name
 * the window and must be aligned; the record's time lies in it. resolution_ms 0: a plain sample, where the time itself
 * is the identity and the first that comes stays.
 * extras: ordinary samples of the same window, ascending, all before record->time_ms; others among them and those past
 * STORE_EXTRAS_MAX are left out and counted as refused. They are replaced with their record. With resolution 0 they are
 * plain samples, each counted as a record of its own; of a plain record time and last value are all that is kept.
 * Windows of one series that overlap without being equal (a changed resolution) are told apart by their samples' times:
 * what lies in a new window gives way to it if the new one counts more. A window over a border of partitions (a
 * resolution that does not divide two hours) is kept as plain samples. */
void store_append(struct store *store, series_ref series, int64_t window_start_ms, int64_t resolution_ms,
                  const struct record *record, const struct sample *extras, size_t extra_count);

/* Says that a record of the series comes soon, three times: with STORE_PREFETCH_FAR, then some records later _NEAR,
 * then _NEXT. An append waits for three places of memory, one after the other, which at a million series are in no
 * cache; asked for ahead they come while others are written: a third less time a record (docs/benchmarks.md). Any ref.
 */
enum store_prefetch { STORE_PREFETCH_FAR, STORE_PREFETCH_NEAR, STORE_PREFETCH_NEXT };
void store_prefetch(const struct store *store, series_ref series, enum store_prefetch how);

/* Drops series that have nothing in the head any more (a new one without samples is such a one), at most
 * STORE_DROPS_MAX at once; in memory alone also what is older than max_age. Called by the owner's timer, in the
 * writer's thread, outside of a block of writing. */
#define STORE_DROPS_MAX 16384 /* some 20 ms */
void store_prune(struct store *store);
/* Seals partitions that are due, takes those that were cut out of the head. solid_ms: all sources that are alive have
 * told everything before it (INT64_MIN: not known). In the writer's thread, about once a second. */
void store_upkeep(struct store *store, int64_t solid_ms);
/* One unit of background work, in one thread: cutting a sealed partition, compaction, retention, a check of a block.
 * True: there may be more. */
bool store_work(struct store *store);
/* The head as it is now, for a quick start; with bytes of the owner's that belong to it. begin in the writer's thread
 * (false: nothing has come since the last one), then the rest in the thread of store_work; or both at the end. */
bool store_snapshot_begin(struct store *store);
MUST_CHECK int store_snapshot(struct store *store, struct str extra);
/* From any thread: store_work gives up what it is at, soon. For the end of the process. */
void store_cancel_work(struct store *store);
/* All that is in the head is cut, however new: for tools and tests. In the writer's thread, no store_work elsewhere. */
void store_cut_all(struct store *store);
/* What stands in the log before this position is in synced blocks. */
uint64_t store_log_needed(struct store *store);
/* Rules for partitions that begin from now on. In the writer's thread. */
void store_set_retention(struct store *store, struct retention *retention);

/* From any thread. */
void store_stats(struct store *store, struct store_stats *ret_stats);
struct retention *store_retention(struct store *store); /* a reference; NULL in memory alone without rules */
struct blocks *store_blocks(struct store *store);       /* NULL in memory alone; so below */
struct deletions *store_deletions(struct store *store);
struct compact *store_compact(struct store *store);
void store_retention_counts(struct store *store, struct retention_counts counts[static RETENTION_CLASSES_MAX]);
/* Cardinality of the head, each list falling, at most max items. Freed by store_cardinality_free. */
struct store_cardinality {
    struct cardinality_item {
        char *name; /* pairs: name=value */
        uint64_t value;
    } * by_metric, *values_by_label, *bytes_by_label, *by_pair;
    size_t metric_count, values_count, bytes_count, pair_count;
    uint64_t series, label_pairs, chunks;
    int64_t min_time_ms, max_time_ms;
};
void store_cardinality(struct store *store, size_t max, struct store_cardinality *ret_cardinality);
void store_cardinality_free(struct store_cardinality *cardinality);
