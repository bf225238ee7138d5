#pragma once
/* The append-only log on disk: of the secondary (to send), of the primary (to forward), of the global (its write-ahead
 * log).
 *
 * Segments of frames. Each segment holds all layouts its batches name, how far each consumer had come and the memory of
 * what was received when it was begun: a segment is complete in itself, and dropping old data is dropping old segments.
 * State is derived from checksummed frames alone; a torn tail is cut off, a damaged frame costs itself.
 *
 * Consumers: each upstream is one, by name. A batch is pending, stored (the upstream has it on disk), or delivered (it
 * need not be kept for this consumer). Without consumers (the global's log) batches stay until spool_drop_before.
 *
 * Belongs to one thread; file syncs run on the executor. */
#include "hop/envelope.h"
#include "hop/frame.h"
#include "hop/layout_table.h"
#include "hop/seqlog.h"
#include "net/seams.h"

#define SPOOL_CONSUMERS_MAX 16
#define SPOOL_BATCHES_MAX                                                                                              \
    (8 * 1024 * 1024) /* in one spool, 400 MB of index; past it the oldest go as past bytes_max                        \
                       */

struct spool;

struct spool_options {
    const char *dir;
    uint64_t bytes_max;   /* past it the oldest segment goes, and a gap takes its place; 0: never (the global) */
    int64_t age_max_ms;   /* the same by age of its newest batch; 0: never */
    size_t segment_bytes; /* 0: 64 MiB */
    const char *const *consumers;
    size_t consumer_count;
    uint64_t layout_bytes_max;       /* of layouts, packed as they are on disk; past it the oldest segment goes as past
                                        bytes_max */
    uint64_t layout_cache_bytes_max; /* of layouts expanded; 0: as much again */
};

struct spool_batch {
    uint64_t id; /* where it stands (segment, offset): rises with each batch or gap, not by one; never 0 */
    bool is_gap;
    bool replaces;        /* other batches, see the envelope */
    bool is_remote_write; /* see the envelope; told to the visitor of spool_open */
    struct source_id source;
    uint64_t epoch, seq, seq_end; /* a gap covers seq..seq_end */
    uint64_t from_seq;            /* the least whose data a batch to be appended has: of those it replaces. 0: seq */
    int64_t window_start_ms, window_end_ms;
    size_t bytes; /* of the batch, or of the encoded gap */
};

/* Opens or makes the spool, replaying what is there. visit (may be NULL) gets every batch whose layouts are there, in
 * order, with its bytes (of a gap: encoded); layouts are in the table by then. It may return an error to stop. -EBUSY:
 * another process has it. A full disk is no error here: appends fail until there is room. */
typedef int spool_visit_fn(void *arg, const struct spool_batch *batch, struct str bytes, struct layout_table *layouts);
MUST_CHECK int spool_open(const struct seams *seams, const struct spool_options *options, spool_visit_fn *visit,
                          void *arg, struct spool **ret_spool);
/* Syncs what is left; who waits for a sync is called with -ECANCELED. Not from within a callback of the spool. */
void spool_close(struct spool *spool);
DEFINE_CLEANUP(struct spool *, spool_close)

/* Before it is opened: ids in this directory are all below; of an empty or absent one no id ever is. What remembers ids
 * elsewhere sees by it that the log was replaced. */
MUST_CHECK int spool_ids_end(struct file_system *fs, const char *dir, uint64_t *ret_end);

struct layout_table *spool_layouts(struct spool *spool);
struct seqlog *spool_seen(struct spool *spool);
/* Drawn when the directory was new: a sender that meets another identity behind an address sends again what was stored
 * but not delivered. */
uint64_t spool_incarnation(const struct spool *spool);
/* Opens of this directory, this one included: a source's epoch. */
uint64_t spool_epoch(const struct spool *spool);

/* Appends a batch; the layouts it names must be in the table and are written before it, in packs, where the segment
 * lacks them.
 * Adds it to the memory of what was seen. Durable after the next spool_sync. -ENOSPC, -EIO and the like: nothing was
 * appended; later calls may succeed. -ENOENT: a layout is not in the table. -EEXIST: this seq was seen before. */
MUST_CHECK int spool_append(struct spool *spool, const struct envelope *envelope, struct str batch, uint64_t *ret_id);
MUST_CHECK int spool_append_gap(struct spool *spool, const struct spool_batch *gap, uint64_t *ret_id);
/* Calls back on a later turn of the loop, in order of the calls, when everything appended before is on disk (one
 * fdatasync for all that wait), or with the error: then nothing of it may be acknowledged. What was not on disk by then
 * is forgotten (also from what was seen), so that it can be appended again. */
typedef void spool_synced_fn(void *arg, int error);
void spool_sync(struct spool *spool, spool_synced_fn *fn, void *arg);

/* For senders. */
MUST_CHECK int spool_read(struct spool *spool, uint64_t id, struct spool_batch *ret_batch, struct buf *ret_bytes);
/* False: it is gone, or was given up as not synced. */
bool spool_has(const struct spool *spool, uint64_t id);
/* Batches and gaps that the consumer's upstream has not stored yet, those in flight included. */
uint64_t spool_pending(const struct spool *spool, size_t consumer);
/* The next pending batch of the consumer: the newest where newest is true, else the oldest. 0: none. */
uint64_t spool_next_pending(const struct spool *spool, size_t consumer, bool newest);
/* Pending, and not in flight. It may have been stored all the same, its answer lost. */
bool spool_is_waiting(const struct spool *spool, size_t consumer, uint64_t id);
/* Need not be kept or sent any more: another batch, which is on disk, has what it says. */
void spool_give_up(struct spool *spool, uint64_t id);
void spool_set_in_flight(struct spool *spool, size_t consumer, uint64_t id, bool in_flight);
/* Ids that are gone are passed over, here and below. */
void spool_set_stored(struct spool *spool, size_t consumer, uint64_t id);
/* Never to be sent again to this consumer: refused for good, or not readable here. */
void spool_set_refused(struct spool *spool, size_t consumer, uint64_t id);
struct spool_mark {
    struct source_id source;
    uint64_t epoch, seq;
    const uint64_t *except; /* ids in ascending order that it does not speak of: who said it did not know of them */
    size_t except_count;
};
/* What the consumer stored up to the mark needs no longer be kept for it. What is pending stays so. */
void spool_set_delivered(struct spool *spool, size_t consumer, const struct spool_mark *mark);
/* Whom the consumer's upstream says to be (spool_incarnation there). Another than before: it lost its disk or is
 * another machine, so what was stored but not delivered is pending again. Kept on disk with the position. True: it was
 * another. */
bool spool_set_upstream(struct spool *spool, size_t consumer, uint64_t incarnation);
/* Walks sources and epochs of which something is stored but not delivered, in no order: size_t at = 0; while (...).
 * No change of the spool while walking; texts live until the next change. */
bool spool_next_stored(const struct spool *spool, size_t consumer, size_t *at, struct source_id *ret_source,
                       uint64_t *ret_epoch);
/* Up to here whatever is in this spool of the source's epoch has been delivered by all consumers; 0: nothing. */
uint64_t spool_delivered_through(const struct spool *spool, const struct source_id *source, uint64_t epoch);
/* Called when something new is pending (to wake senders), from within the append: only take note. At most
 * SPOOL_CONSUMERS_MAX; spool_off_append ends it. */
void spool_on_append(struct spool *spool, loop_fn *fn, void *arg);
void spool_off_append(struct spool *spool, loop_fn *fn, void *arg);

/* The global's: segments of which all batches have ids below this go. */
void spool_drop_before(struct spool *spool, uint64_t id);

struct spool_stats {
    uint64_t batches, bytes, segments, appended_total, appended_bytes_total, synced_total;
    uint64_t dropped_batches_total;                 /* past a bound, not delivered to somebody */
    uint64_t damaged_bytes_total, torn_bytes_total; /* found at open: skipped; cut off the end */
    uint64_t unreadable_total; /* batches found at open without all their layouts: left out, as if not there */
    uint64_t errors_total;     /* failed writes and syncs */
    uint64_t layout_bytes, layout_cache_bytes; /* in memory: packed, expanded */
    int64_t oldest_window_ms;
    uint64_t pending[SPOOL_CONSUMERS_MAX], pending_bytes[SPOOL_CONSUMERS_MAX]; /* not stored upstream yet */
    double bytes_per_second; /* recent: what bytes_max is worth in hours follows */
};
void spool_stats(const struct spool *spool, struct spool_stats *ret_stats);
uint64_t spool_bytes_max(const struct spool *spool); /* as opened; 0: no bound */
