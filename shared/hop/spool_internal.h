#pragma once
/* Private to spool*.c.
 *
 *   spool.c           the face: open, append, read, bounds, stats
 *   spool_segment.c   files of frames: begin, write, fail, roll, drop
 *   spool_index.c     what is where and in which state for whom; sources' epochs
 *   spool_gaps.c      what takes the place of dropped batches
 *   spool_sync.c      group commit
 *   spool_position.c  how far consumers have come, as frames
 *   spool_replay.c    all of it again from the files
 */
#include "base/map.h"
#include "hop/spool.h"

#define SPOOL_FORMAT_VERSION     1
#define SPOOL_SEGMENT_BYTES      (64 * MIB)
#define SPOOL_SEGMENT_BYTES_MIN  (16 * KIB)
#define SPOOL_SEGMENT_BYTES_MAX  (1 * GIB) /* where syncs take long and appends go on; offsets fit 32 bits */
#define SPOOL_SEGMENTS_IN_BOUND  8         /* bytes_max is at least so many segments, or dropping one drops too much */
#define SPOOL_RUNS_MAX           65536     /* of equal states in a position; what is past it is sent again */
#define SPOOL_POSITION_BYTES_MAX (4 * MIB) /* follows from SPOOL_RUNS_MAX */
#define SPOOL_WRITE_BYTES        (1 * MIB) /* gaps are written in pieces of about this */
#define SPOOL_POSITION_MS        1000 /* a position is at most so much behind; what a crash loses of it is sent again */
#define SPOOL_WAITERS_MAX        65536 /* for one sync; above any number of connections */

enum batch_state { BATCH_PENDING, BATCH_IN_FLIGHT, BATCH_STORED, BATCH_DELIVERED, BATCH_STATES };

/* One epoch of one source, while something of it is in the spool. */
struct stream_item {
    uint64_t seq, id;
};
struct stream {
    struct source_id source; /* texts are owned */
    uint64_t epoch;
    uint64_t entries;          /* that refer to it */
    struct stream_item *items; /* not delivered by all, by seq; entries that are gone or delivered leave late */
    size_t head, count, capacity;
    uint32_t stored[SPOOL_CONSUMERS_MAX]; /* entries in BATCH_STORED */
    /* While a segment is dropped: the run of seqs that is to be a gap. */
    struct spool_batch gap;
    uint32_t gap_states;
};

struct spool_entry { /* 48 bytes: there are millions */
    struct stream *stream;
    uint64_t seq, seq_end;
    int64_t window_start_ms;
    uint32_t window_ms;  /* length; UINT32_MAX: longer */
    uint32_t offset;     /* of its frame */
    uint32_t bytes : 30; /* of the payload */
    uint32_t is_gap : 1;
    uint32_t replaces : 1;
    uint32_t states; /* enum batch_state, 2 bits per consumer */
};

struct segment_view {              /* of one consumer on one segment */
    uint32_t states[BATCH_STATES]; /* entries in each */
    size_t first, end;             /* pending entries are within */
};

struct segment {
    uint64_t number;
    uint64_t bytes, synced_bytes;
    uint64_t head_bytes; /* what it began with: positions and the memory of what was seen; only while it is open */
    struct spool_entry *entries; /* by offset */
    size_t entry_count, entry_capacity;
    size_t undelivered;                         /* entries not delivered by all consumers */
    struct layout_group *layouts;               /* what the segment has */
    int64_t oldest_window_ms, newest_window_ms; /* first start, last end; with entries only */
    struct segment_view views[SPOOL_CONSUMERS_MAX];
};

struct spool_waiter {
    spool_synced_fn *fn;
    void *arg;
};
struct spool_waiters {
    struct spool_waiter *items;
    size_t count, capacity;
};
struct sync_job; /* one fdatasync on the executor */

struct consumer {
    char *name;
    uint64_t upstream;
    bool moved; /* since its position was written */
    uint64_t pending, pending_bytes;
};

struct spool_listener {
    loop_fn *fn;
    void *arg;
};

struct spool {
    struct seams seams;
    struct spool_options options; /* dir and consumers are copies */
    char *dir;
    struct file *lock;
    struct layout_table *layouts;
    struct layout_packer *packer; /* of the newest segment, while it is written to */
    struct seqlog *seen;
    uint64_t incarnation, epoch;

    struct consumer consumers[SPOOL_CONSUMERS_MAX];
    size_t consumer_count;
    struct map streams;

    struct segment **segments; /* by number; the newest is last */
    size_t segment_count, segment_capacity;
    struct file *file; /* of the newest segment while it is appended to; else NULL and the next append begins another */
    uint64_t number_next;
    int64_t segment_from_ms;      /* monotonic: when the open segment was begun */
    struct segment *read_segment; /* whose file is open to read */
    struct file *read_file;
    uint64_t bytes; /* of all segments */
    uint64_t batches;
    bool segment_done; /* some segment may have nothing undelivered left */

    struct replaced_note *replaced; /* of batches that are not synced yet */
    struct spool_waiters waiting, syncing;
    struct sync_job *job; /* NULL: none runs */
    int lost_error;       /* something not synced was given up: who waits, or asks next, is told */
    struct loop_timer sync_timer, position_timer;

    struct spool_listener listeners[SPOOL_CONSUMERS_MAX];
    size_t listener_count;
    struct buf frames; /* being put together */
    struct arena arena;
    struct spool_stats stats;
    int64_t rate_from_ms; /* monotonic */
    uint64_t rate_bytes;
};

/* ---- spool.c ---- */
struct spool_batch spool_batch_of(const struct envelope *envelope, size_t bytes);
/* ---- spool_replaced.c: those that a batch replaces were seen, too, once it is on disk ---- */
void replaced_see(struct spool *spool, const struct envelope *envelope);
/* The batch was appended at offset of the newest segment. */
void replaced_note(struct spool *spool, const struct envelope *envelope, uint32_t offset);
/* That segment is on disk up to this offset. */
void replaced_synced(struct spool *spool, uint64_t upto);
/* What was not synced is lost; also at the end. */
void replaced_forget(struct spool *spool);

/* ---- spool_segment.c ---- */
/* Begins a segment if none is open: written and synced, with its name. */
MUST_CHECK int segment_open(struct spool *spool);
/* Appends spool->frames to the open segment; frames are reset. On failure nothing of them is there. */
MUST_CHECK int segment_write(struct spool *spool);
/* The open segment is not trusted any more: what was not synced is forgotten, the next append begins another. */
void segment_fail(struct spool *spool, int error);
/* Syncs inline and closes the open segment; no sync may run. */
MUST_CHECK int segment_roll(struct spool *spool);
/* Layouts that a batch names and the open segment lacks, in packs. */
MUST_CHECK int segment_write_layouts(struct spool *spool, const struct envelope *envelope);
MUST_CHECK int segment_sync(struct spool *spool);       /* inline; no sync may run */
void segment_drop(struct spool *spool, size_t index);   /* file and index */
void segment_forget(struct spool *spool, size_t index); /* index alone */
/* Frees segments that hold nothing undelivered, but for the newest. */
void segments_free_delivered(struct spool *spool);
char *segment_path(const struct spool *spool, uint64_t number);
struct segment *segment_add(struct spool *spool, uint64_t number);
static inline struct segment *segment_newest(const struct spool *spool)
{
    return spool->segment_count > 0 ? spool->segments[spool->segment_count - 1] : NULL;
}
bool error_is_full(int error); /* no space: nothing is broken */
/* The open segment has its share; what it began with, however large, does not count, or it could be full from the
 * start.
 */
bool segment_is_full(const struct spool *spool);
/* As segment_write, and gives the segment up where more than space was missing. */
MUST_CHECK int segment_write_or_fail(struct spool *spool);

/* ---- spool_index.c ---- */
static inline uint64_t entry_id(const struct segment *segment, const struct spool_entry *entry)
{
    return segment->number << 32 | entry->offset;
}
static inline enum batch_state entry_state(const struct spool_entry *entry, size_t consumer)
{
    return (enum batch_state)(entry->states >> (2 * consumer) & 3);
}
/* Adds what batch says at its end, pending for all but for those whose bits in states say otherwise. */
void index_add(struct spool *spool, struct segment *segment, const struct spool_batch *batch, uint32_t offset,
               uint32_t states);
void index_cut(struct spool *spool, struct segment *segment, size_t entry_count); /* entries from there on go */
struct spool_entry *index_find(const struct spool *spool, uint64_t id, struct segment **ret_segment);
void index_set_state(struct spool *spool, struct segment *segment, struct spool_entry *entry, size_t consumer,
                     enum batch_state state);
bool entry_is_delivered(const struct spool *spool, const struct spool_entry *entry); /* to all */
struct spool_batch entry_batch(const struct segment *segment, const struct spool_entry *entry);
struct segment *segment_of_id(const struct spool *spool, uint64_t id);
/* The id of the stream's gap that ends right before this one, or (behind) begins right behind it; 0: none. */
uint64_t index_gap_beside(const struct spool *spool, const struct stream *stream, const struct spool_batch *gap,
                          bool behind);
/* Delivered to all from now on: another entry speaks for it. 0 and ids that are gone are passed over. */
void index_give_up(struct spool *spool, uint64_t id);
void index_done(struct spool *spool);

/* ---- spool_gaps.c ---- */
struct gap_item {
    struct stream *stream;
    struct spool_batch gap;
    uint32_t states, offset;
    uint64_t absorbed[2]; /* gaps before and behind it, which it speaks for from now on; 0: none */
};

struct gap_list {
    struct gap_item *items;
    size_t count, capacity;
};

/* Fills gaps (items are the caller's to free) with what of the segment was pending for somebody; returns how many
 * batches that were. */
uint64_t gaps_collect(struct spool *spool, struct segment *segment, struct gap_list *gaps);
/* On disk, and then in the index. */
MUST_CHECK int gaps_write(struct spool *spool, struct gap_list *gaps);

/* ---- spool_sync.c ---- */
void sync_init(struct spool *spool);
void sync_done(struct spool *spool);
/* The running sync's file is not ours any more: the job cuts it at keep_bytes and closes it. */
void sync_give_file(struct spool *spool, uint64_t keep_bytes);

/* ---- spool_position.c ---- */
/* Appends a FRAME_POSITION of the consumer. */
MUST_CHECK int position_append(struct spool *spool, size_t consumer, struct buf *frames);
struct position { /* read back; zero is none */
    uint64_t upstream;
    struct position_run {
        uint64_t first, last; /* ids */
        enum batch_state state;
    } * runs;
    size_t run_count;
};
/* Replaces positions[consumer named]; one of an unknown consumer is passed over. -EBADMSG malformed. */
MUST_CHECK int position_read(struct spool *spool, struct str payload, struct position *positions);
void position_apply(struct spool *spool, size_t consumer, const struct position *position);
void position_done(struct position *position);
void position_moved(struct spool *spool, size_t consumer); /* to be written soon */
void position_write_now(struct spool *spool);
void position_init(struct spool *spool);

/* ---- spool_replay.c ---- */
MUST_CHECK int spool_replay(struct spool *spool, spool_visit_fn *visit, void *arg);
