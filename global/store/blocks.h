#pragma once
/* The blocks of one store: which are there, which replace which, which are set aside as damaged.
 *
 * data_dir/blocks.json names all blocks with their ranges, so that one whose directory or meta.json has gone is known
 * to be missing. A block that is not named there but whole (one copied from Prometheus) is taken in.
 *
 * What is damaged is moved to data_dir/damaged/ULID (and stays there for people and for repair), named with its reason
 * in blocks.json, and every answer over its range carries a warning, also after a restart, until `forget` says
 * otherwise.
 *
 * Safe from any thread. The lock is held for copies of lists only, never during I/O of blocks that are read. */
#include "base/clock.h"
#include "store/block.h"

struct blocks;

#define BLOCKS_MAX 20000 /* of all classes: five years of 48 h blocks and the newer ones, of ten classes */

/* Opens all, takes leftovers away. A damaged block is no error. -EIO and the like where nothing works. */
MUST_CHECK int blocks_open(struct file_system *fs, struct clock *clock, const char *data_dir,
                           struct blocks **ret_blocks);
void blocks_close(struct blocks *blocks);
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
 * are deleted when their last reader has gone (a crash between: they are deleted at start, as parents of a block that
 * is there). ulid NULL: they only go (retention), for `why`. */
MUST_CHECK int blocks_publish(struct blocks *blocks, const struct ulid *ulid, struct block *const *replaced,
                              size_t replaced_count, const char *why);
/* A reader or a check found damage: the block is set aside. Once; later calls for the same block do nothing. */
void blocks_set_aside(struct blocks *blocks, struct block *block, const char *reason);
/* Called (from any thread, no lock held) for whatever the daemon should log: a line of text. */
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
    uint64_t published_total, replaced_total, set_aside_total;
    int64_t min_time_ms, max_time_ms; /* INT64_MAX / INT64_MIN without blocks */
};
void blocks_stats(struct blocks *blocks, struct blocks_stats *ret_stats);
