#pragma once
/* The blocks of one store: which are there, which replace which, which are set aside as damaged.
 *
 * data_dir/blocks.json names all blocks with their ranges, so that one whose directory or meta.json has gone is known
 * to be missing. A block that is not named there but whole (one copied from Prometheus) is taken in. When blocks.json
 * itself is missing or damaged it is made anew from what there is.
 *
 * What is damaged is moved to data_dir/damaged/ULID (its aggregates to data_dir/damaged/aggregates/ULID; there they
 * stay for people and for repair), named with its reason in blocks.json, and every answer over its range carries a
 * warning, also after a restart, until blocks_forget says otherwise or a whole one lies in its place at a start.
 *
 * Safe from any thread. Two locks: changes come one at a time and wait for each other's I/O; the lock that readers take
 * is held for copies of lists only. */
#include "base/clock.h"
#include "store/block.h"

struct blocks;

#define BLOCKS_MAX 20000 /* of all classes: five years of 48 h blocks and the newer ones, of ten classes */

/* Opens all, takes leftovers away. A damaged block is no error. -EIO and the like where nothing works, -EMFILE and
 * -ENOMEM where it is not the block's fault; -ENOTSUP: blocks.json is of a later version, nothing was touched. */
MUST_CHECK int blocks_open(struct file_system *fs, struct clock *clock, const char *data_dir,
                           struct blocks **ret_blocks);
/* Blocks that readers still hold live on until they let go. */
void blocks_close(struct blocks *blocks); /* NULL allowed */
DEFINE_CLEANUP(struct blocks *, blocks_close)
const struct block_dirs *blocks_dirs(const struct blocks *blocks);

/* A list with references, ordered by (min time, ulid): blocks that have samples in [start, end]. Free with
 * blocks_list_free. */
struct blocks_list {
    struct block **items;
    size_t count;
};
void blocks_in_range(struct blocks *blocks, int64_t start_ms, int64_t end_ms, struct blocks_list *ret_list);
void blocks_list_free(struct blocks_list *list);
/* A line per damaged block, and per part known to be missing in others, that overlaps [start, end]. */
void blocks_warnings(struct blocks *blocks, int64_t start_ms, int64_t end_ms, struct buf *out);

/* Opens a block that was written and makes it visible, in one step with the disappearance of those it replaces, which
 * are deleted when their last reader has gone (blocks_sweep; a crash between: at start). ulid NULL: they only go, for
 * `why`. What is visible is durable before. -ESTALE: one of the replaced is not there any more (set aside, expired);
 * -EMFILE: BLOCKS_MAX; or an error of the disk. After an error all is as it was, and the block that was written goes.
 */
MUST_CHECK int blocks_publish(struct blocks *blocks, const struct ulid *ulid, struct block *const *replaced,
                              size_t replaced_count, const char *why);
/* The writing of a block failed: should it stand under its final name all the same (the last sync failed, and so did
 * its deletion), it is deleted as soon as the disk allows, and not taken in at a start. */
void blocks_discard(struct blocks *blocks, const struct ulid *ulid);
/* Deletes blocks, served or damaged, by name; what is not there any more is no error. */
MUST_CHECK int blocks_remove(struct blocks *blocks, const struct ulid *ulids, size_t count, const char *why);
/* A check found damage: the block is set aside, in memory even where the disk refuses all. Once; later calls for the
 * same block do nothing. */
void blocks_set_aside(struct blocks *blocks, struct block *block, const char *reason);
/* A reader met an error of the block: the same, unless the error is the machine's. What is damaged is found out by the
 * next blocks_scrub_step, which puts the block back where it is whole after all (a cable, a disk that was asked too
 * much), but not twice within the hour. */
void blocks_met_error(struct blocks *blocks, struct block *block, int error);
/* The error is of the machine (descriptors, memory), not of a block: it will go, or hits all. */
bool blocks_error_is_passing(int error);
/* A damaged block is given up: no warnings any more. Its directory stays in damaged/. -ENOENT: not a damaged one. */
MUST_CHECK int blocks_forget(struct blocks *blocks, const struct ulid *ulid);
/* Deletes what was replaced and is read by nobody any more, and tries again what failed. Each change does it too; the
 * owner calls it now and then. */
void blocks_sweep(struct blocks *blocks);
/* Reads a block that a reader found damaged, or the one whose last check is longest ago, if that is 24 h, and sets it
 * aside where it is damaged. 1: read one,
 * 0: none is due, -ECANCELED. When a block was checked is remembered over restarts as far as blocks.json was written
 * since for another reason. */
MUST_CHECK int blocks_scrub_step(struct blocks *blocks, postings_cancelled_fn *cancelled, void *arg);
/* Called (from any thread, no lock held) for whatever the daemon should log: a line of text. What happened before,
 * while they were opened, is told at once. fn must not change the blocks. */
void blocks_on_event(struct blocks *blocks, void (*fn)(void *arg, const char *text), void *arg);

enum block_state { BLOCK_SERVED, BLOCK_DAMAGED };
struct block_status {       /* for lists: a copy */
    struct block_meta meta; /* of a damaged one as far as known: ulid, times, class, counts */
    uint64_t disk_bytes;
    enum block_state state;
    char reason[BLOCK_REASON_BYTES]; /* of a damaged one */
    int64_t damaged_at_ms;
};
void blocks_status(struct blocks *blocks, struct block_status **ret_items, size_t *ret_count);
void blocks_status_free(struct block_status *items, size_t count);

struct blocks_stats {
    uint64_t served, damaged, disk_bytes, memory_bytes, samples, series; /* series and samples: sums over blocks */
    uint64_t published_total, replaced_total, set_aside_total, scrubbed_total;
    uint64_t leaving;                 /* replaced or expired, not deleted yet */
    int64_t min_time_ms, max_time_ms; /* INT64_MAX / INT64_MIN without blocks */
};
void blocks_stats(struct blocks *blocks, struct blocks_stats *ret_stats);
