#pragma once
/* Which blocks should be merged: a pure function of what there is. Units are proposals in order of preference; they may
 * share blocks, as one is done at a time and the plan made again after it.
 *
 *  1. Blocks of one class that overlap, all that hang together. Where the rest is small beside the largest of them, it
 *     waits until settle_ms have passed without another: late data comes in many pieces, and each would cost the
 * writing of the large one. Too large for one unit: the smallest that overlap.
 *  2. Blocks of one class within one range of a level above the first, the largest first, when the range ends at or
 *     before head_start_ms and all of them fit into a unit. Ranges are aligned to their length.
 *  3. Single blocks that have deletions to be applied. */
#include "base/defs.h"
#include "store/ulid.h"

struct compact_source {
    struct ulid ulid;
    const char *class;
    int64_t min_time_ms, max_time_ms; /* [min, max) */
    uint64_t bytes;
    bool has_deletions; /* to be applied */
};

struct compact_plan_options {
    const int64_t *levels_ms; /* ascending; the first is the head's partition */
    size_t level_count;
    uint64_t unit_bytes_max;
    size_t sources_max; /* of one unit, >= 2 */
    /* Blocks that end after it are in no unit of 1 and 2, as the head may still add to their time; but those of one and
     * the same range are. */
    int64_t head_start_ms;
    int64_t now_ms, settle_ms;
};

enum compact_why { COMPACT_OVERLAP, COMPACT_RANGE, COMPACT_DELETIONS };

struct compact_unit {
    uint32_t *sources; /* places in the list given, ascending by ulid */
    size_t count;
    enum compact_why why;
};

struct compact_units {
    struct compact_unit *items;
    size_t count, capacity;
};

void compact_plan(const struct compact_plan_options *options, const struct compact_source *sources, size_t count,
                  struct compact_units *ret_units);
void compact_units_done(struct compact_units *units);
