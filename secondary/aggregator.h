#pragma once
/* Aggregates of the whole secondary: parts of all workers come in, window by window, and when all have closed a window
 * it becomes records of a pseudo-target whose only label is `secondary`: NAME:sum, NAME:min, NAME:max and NAME:count.
 * On the main loop. */
#include "aggregate.h"
#include "pipeline.h"

struct aggregator;

struct aggregator *aggregator_new(const char *secondary);
void aggregator_free(struct aggregator *aggregator);
/* Merges a worker's part of a window. The part stays the caller's. One without groups says that the window is to come:
 * until it is told, no series of a window of another resolution is over. */
void aggregator_take(struct aggregator *aggregator, int64_t window_start_ms, int64_t resolution_ms,
                     const struct aggregate *part);
/* One window that ended by through_ms, the oldest first: true and a part to be written, whose writer is the caller's.
 * INT64_MAX: whatever is open, at the end. */
bool aggregator_next(struct aggregator *aggregator, int64_t through_ms, struct pipeline_sealed *ret_sealed);

struct aggregator_stats {
    uint64_t groups;               /* now */
    uint64_t folded;               /* series in the last window */
    uint64_t refused_total;        /* series that no group took: AGGREGATE_GROUPS_MAX, or two kinds under one name */
    uint64_t totals;               /* of counter groups, kept */
    uint64_t totals_evicted_total; /* of these: gone before their time, past AGGREGATE_TOTALS_MAX */
};
void aggregator_stats(const struct aggregator *aggregator, struct aggregator_stats *ret_stats);
