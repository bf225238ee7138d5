#pragma once
/* Private to the store's files: what a store is made of. */
#include "store/cut_marks.h"
#include "store/partition.h"
#include "store/store.h"

#include <stdatomic.h>

struct store {
    struct head head;
    struct clock *clock;
    struct store_options options;
    char *head_dir; /* NULL: in memory alone */
    struct blocks *blocks;
    struct deletions *deletions;
    struct compact *compact;
    struct cut_marks *marks;

    /* The writer's; others read them under data_lock. */
    struct partition **partitions; /* by start, then number */
    size_t partition_count, partition_capacity;
    struct partition *recent; /* where the last record went */
    struct retention *retention;
    uint64_t next_number;
    struct store_stats stats; /* what nobody else counts */

    /* The writer's alone. */
    bool replayed;                /* upkeep has begun: what comes now comes from outside */
    bool writing;                 /* between begin and end, data_lock held */
    int64_t now_ms;               /* when the block began */
    int64_t oldest_ms, newest_ms; /* accepted in this block */
    uint64_t position;
    uint64_t kept_position;     /* the log is needed from here on, as the store had no place for it; UINT64_MAX: none */
    uint64_t snapshot_position; /* when the last one was begun */
    uint64_t replay_until;      /* positions up to here may be in blocks already; 0 when all was replayed */
    int64_t replay_partition_ms;       /* the partition asked for last, */
    uint64_t replay_partition_cut;     /* and up to where it was cut */
    struct entry *entries;             /* of one window, room for STORE_EXTRAS_MAX + 1 */
    _Atomic uint64_t settled_position; /* all that stands in the log up to here is in */
    _Atomic bool snapshotting;         /* no series go meanwhile */
    _Atomic uint64_t generation;
    _Atomic bool cancelled;

    /* The background thread's. */
    struct random random;
    int64_t retry_cut_ms, next_retention_ms, next_scrub_ms;
    pthread_mutex_t counts_lock; /* guards what is below; leaf */
    struct partition *leaving;   /* out of the list, to be freed */
    struct retention_counts retention_counts[RETENTION_CLASSES_MAX];
    _Atomic uint64_t cuts_total, cut_failures_total, late_cuts_total;
};

void store_event(struct store *store, const char *format, ...) PRINTF_LIKE(2, 3);
bool store_is_cancelled(void *store);

/* partitions.c: under data_lock, the writer's. The open partition of a time, made if absent; NULL: too many wait to be
 * cut. */
struct partition *partitions_for(struct store *store, int64_t time_ms);
void partitions_seal_due(struct store *store, int64_t solid_ms);
void partitions_seal_all(struct store *store);
/* Takes out those that wanted() says; with their spill files. */
void partitions_take_out(struct store *store, bool (*wanted)(const struct store *store, const struct partition *));
/* In the background thread, or where there is none. */
void partitions_free_leaving(struct store *store);
void partitions_insert(struct store *store, struct partition *partition);
void partitions_close(struct store *store);
/* store.c: all series and partitions go, as if nothing had come. */
void store_empty_head(struct store *store);
/* Takes away spill files of an earlier life. */
MUST_CHECK int partitions_clean(struct store *store);
/* cut.c: in the background thread. The first sealed partition that was not cut; a reference, or NULL. */
struct partition *partitions_next_sealed(struct store *store);
MUST_CHECK int partition_cut(struct store *store, struct partition *partition);
