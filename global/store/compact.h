#pragma once
/* Merges blocks into larger ones: 2 h -> 8 h -> 48 h, blocks that overlap (late data), blocks with deletions to be
 * applied (compact_plan.h says which and when). One unit at a time, in a thread of the owner's; sources stay until the
 * result was read back and is visible. A unit that fails is set aside with its reason: not tried again until `retry_ms`
 * has passed or its sources have changed; the rest goes on. A source that turns out to be damaged is set aside itself
 * (blocks_set_aside); the next plan is made without it. */
#include "store/blocks.h"
#include "store/deletions.h"

#define COMPACT_LEVELS_MAX  8
#define COMPACT_SOURCES_MAX 64 /* of one unit: each has its buffers; 48 h are 24 blocks of 2 h */

struct compact_options {
    struct blocks *blocks;
    struct deletions *deletions; /* may be NULL */
    struct clock *clock;
    struct random *random;                 /* for ulids; used by the compacting thread alone */
    int64_t levels_ms[COMPACT_LEVELS_MAX]; /* ascending, each a multiple of the one before: 2 h, 8 h, 48 h */
    size_t level_count;
    uint64_t unit_bytes_max; /* sources of one unit on disk; a larger range stays as it is */
    uint64_t free_bytes_min; /* that must stay free on the disk while a unit is written: the log needs them */
    int64_t retry_ms;
    int64_t settle_ms;                /* how long a small block that overlaps a large one waits for more of its kind */
    postings_cancelled_fn *cancelled; /* asked often; true: the unit is given up, nothing is left of it */
    void *cancelled_arg;
};

struct compact;
struct compact *compact_new(const struct compact_options *options);
void compact_free(struct compact *compact); /* NULL allowed */
DEFINE_CLEANUP(struct compact *, compact_free)
/* Finds the next unit and does it. 1: did one (there may be more), 0: nothing to do, -ECANCELED. A failed unit counts
 * as done (see compact_stats). head_start_ms: blocks that end after it are left alone, as the head may still add to
 * their time, unless they overlap in full or have deletions to apply. */
MUST_CHECK int compact_step(struct compact *compact, int64_t head_start_ms);

/* The oldest active deletion for which some block still has to be written anew; 0: none. As far as blocks go, those
 * that are older are done. By the compacting thread. */
uint64_t compact_oldest_deletion(struct compact *compact);

struct compact_stats {
    uint64_t units_total, failed_total, source_bytes_total, result_bytes_total, samples_total;
    uint64_t failing; /* units set aside now */
    char last_failure[BLOCK_REASON_BYTES];
};
void compact_stats(struct compact *compact, struct compact_stats *ret_stats); /* from any thread */
