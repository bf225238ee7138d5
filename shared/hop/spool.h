#pragma once
/* The append-only log on disk: of the secondary (to send), of the primary (to forward), of the global (its write-ahead log).
 *
 * Segments of frames. Each segment holds all layouts its batches name, how far each consumer had come and the memory of what
 * was received when it was begun: a segment is complete in itself, and dropping old data is dropping old segments. State is
 * derived from checksummed frames alone; a torn tail is cut off, a damaged frame costs itself.
 *
 * Consumers: each upstream is one, by name. A batch is pending, stored (the upstream has it on disk), or delivered (it need
 * not be kept for this consumer). Without consumers (the global's log) batches stay until spool_drop_before.
 *
 * Belongs to one thread; file syncs run on the executor. */
#include "hop/envelope.h"
#include "hop/frame.h"
#include "hop/layout_table.h"
#include "hop/seqlog.h"
#include "net/seams.h"

#define SPOOL_CONSUMERS_MAX 16

struct spool;

struct spool_options {
    const char *dir;
    uint64_t bytes_max;        /* past it the oldest segment goes, and a gap takes its place; 0: never (the global) */
    int64_t age_max_ms;        /* the same by age of its newest batch; 0: never */
    size_t segment_bytes;      /* 0: 64 MiB */
    const char *const *consumers;
    size_t consumer_count;
    uint64_t layout_bytes_max; /* of the layout table */
};

struct spool_batch {
    uint64_t id;       /* rises by one per batch or gap of this spool, from 1 */
    bool is_gap;
    struct source_id source;
    uint64_t epoch, seq, seq_end; /* a gap covers seq..seq_end */
    int64_t window_start_ms, window_end_ms;
    size_t bytes;
};

/* Opens or makes the spool, replaying what is there. visit (may be NULL) gets every batch in order, with its bytes; layouts
 * are in the table by then. It may return an error to stop. -EBUSY: another process has it. */
typedef int spool_visit_fn(void *arg, const struct spool_batch *batch, struct str bytes);
MUST_CHECK int spool_open(const struct seams *seams, const struct spool_options *options, spool_visit_fn *visit,
                          void *arg, struct spool **ret_spool);
void spool_close(struct spool *spool); /* syncs what is left */
DEFINE_CLEANUP(struct spool *, spool_close)

struct layout_table *spool_layouts(struct spool *spool);
struct seqlog *spool_seen(struct spool *spool);
/* Drawn when the directory was new: a sender that meets another identity behind an address sends again what was stored but
 * not delivered. */
uint64_t spool_incarnation(const struct spool *spool);
/* Opens of this directory, this one included: a source's epoch. */
uint64_t spool_epoch(const struct spool *spool);

/* Appends a batch; the layouts it names must be in the table and are written before it where the segment lacks them.
 * Adds it to the memory of what was seen. Durable after the next spool_sync. -ENOSPC, -EIO and the like: nothing was
 * appended; later calls may succeed. */
MUST_CHECK int spool_append(struct spool *spool, const struct envelope *envelope, struct str batch, uint64_t *ret_id);
MUST_CHECK int spool_append_gap(struct spool *spool, const struct spool_batch *gap, uint64_t *ret_id);
/* Calls back on the loop when everything appended before is on disk (one fdatasync for all that wait), or with the error:
 * then nothing of it may be acknowledged. */
typedef void spool_synced_fn(void *arg, int error);
void spool_sync(struct spool *spool, spool_synced_fn *fn, void *arg);

/* For senders. */
MUST_CHECK int spool_read(struct spool *spool, uint64_t id, struct spool_batch *ret_batch, struct buf *ret_bytes);
/* The next pending batch of the consumer: the newest where newest is true, else the oldest. 0: none. */
uint64_t spool_next_pending(const struct spool *spool, size_t consumer, bool newest);
void spool_set_in_flight(struct spool *spool, size_t consumer, uint64_t id, bool in_flight);
void spool_set_stored(struct spool *spool, size_t consumer, uint64_t id);
/* Everything of this source and epoch up to seq needs no longer be kept for the consumer. */
void spool_set_delivered(struct spool *spool, size_t consumer, const struct source_id *source, uint64_t epoch,
                         uint64_t seq);
/* What was stored but not delivered is pending again: the upstream lost its disk. */
void spool_set_lost(struct spool *spool, size_t consumer);
/* Highest seq of the source's epoch up to which all consumers have delivered; 0: none. */
uint64_t spool_delivered_through(const struct spool *spool, const struct source_id *source, uint64_t epoch);
/* Called when something new is pending (to wake senders). */
void spool_on_append(struct spool *spool, loop_fn *fn, void *arg);

/* The global's: segments whose newest window ended before time_ms go. */
void spool_drop_before(struct spool *spool, int64_t time_ms);

struct spool_stats {
    uint64_t batches, bytes, segments, appended_total, appended_bytes_total, synced_total;
    uint64_t dropped_batches_total, damaged_bytes_total, errors_total;
    int64_t oldest_window_ms;
    uint64_t pending[SPOOL_CONSUMERS_MAX], pending_bytes[SPOOL_CONSUMERS_MAX];
    double bytes_per_second; /* recent: what bytes_max is worth in hours follows */
};
void spool_stats(const struct spool *spool, struct spool_stats *ret_stats);
