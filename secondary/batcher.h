#pragma once
/* Closed windows become batches: numbers them, says how complete they are, puts them into the spool and on disk.
 * On the main loop; workers hand their sealed parts over by loop_post. */
#include "hop/spool.h"
#include "pipeline.h"

struct batcher;

struct batcher_options {
    const char *datacenter, *secondary;
    unsigned workers; /* closed_through is the smallest of theirs */
};

struct batcher *batcher_new(const struct seams *seams, struct spool *spool, const struct batcher_options *options);
void batcher_free(struct batcher *batcher); /* after the last batcher_sync has called back */
DEFINE_CLEANUP(struct batcher *, batcher_free)
/* Owns what sealed owns from here on. closed_through_ms: all windows of this worker that end by then are sealed.
 * Aggregates are sealed by the batcher when all workers have closed their window. */
void batcher_take(struct batcher *batcher, unsigned worker, struct pipeline_sealed *sealed, int64_t closed_through_ms);
/* Writes the aggregates of windows that are still open, as they are: at the end. */
void batcher_seal_aggregates(struct batcher *batcher);
/* Calls back when everything taken before is on disk, or could not be brought there. */
void batcher_sync(struct batcher *batcher, loop_fn *fn, void *arg);

struct batcher_stats {
    uint64_t batches_total, records_total, bytes_total, entries_total, empty_total;
    uint64_t lost_total;   /* batches that could not be written to the spool: their records are in the next envelope's
                              `dropped` */
    uint64_t packed_total; /* batches that others of several windows stand for now */
    uint64_t sync_errors_total;
    int64_t closed_through_ms;
    uint64_t aggregate_groups, series_folded; /* now, of aggregates */
    uint64_t series_refused_total;            /* series that no group took, in each window */
    uint64_t aggregate_totals;                /* of groups of counters, kept */
    uint64_t aggregate_totals_evicted_total;  /* that went before their time, past a ceiling */
    const char *last_error;                   /* of the spool; NULL: the last batch went well */
};
void batcher_stats(const struct batcher *batcher, struct batcher_stats *ret_stats);
