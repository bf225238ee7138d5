#pragma once
/* A partition: what came for two hours of time, until it is cut into blocks. Of each series a strand: the chunk that
 * grows, full chunks as pieces in the partition's spill file, and a chunk for what comes late.
 *
 * Windows are put where they come without looking at what was written before: pieces may lie over each other in time,
 * and who reads them merges by the identity of windows (entries_merge). What meets the chunks in memory is merged at
 * once, so that doubled scraping costs no space.
 *
 * Written by one thread under the store's data lock while it is open, by nobody once it is sealed. */
#include "store/chunk.h"
#include "store/head.h"
#include "store/retention.h"
#include "store/spill.h"

#define PARTITION_MS      INT64_C(7200000)
#define PARTITION_PAGE    256  /* strands of a page: of a late partition few series have any */
#define STRAND_PIECES_MAX 8192 /* of one series: at a sample a second two hours are some 240 */

/* A full chunk in the spill file. */
struct piece {
    uint64_t start : 24, offset : 40;            /* start, end: [start, end) of its windows, ms since the partition */
    uint64_t end : 24, bytes : 24, entries : 16; /* began */
};

struct strand_rest { /* of a strand that is more than one chunk */
    struct chunk *late;
    uint16_t count, capacity;
    struct piece pieces[];
};

struct strand {
    struct chunk *open;
    struct strand_rest *rest;
};

struct partition {
    _Atomic uint32_t refs;
    struct partition *leaving; /* the next of those that are to be freed */
    int64_t start_ms;
    uint64_t number;       /* of its store, rising: names its spill file, tells two of one time apart */
    struct strand **pages; /* by ref / PARTITION_PAGE; NULL: no strands */
    uint32_t page_count;
    struct spill spill;
    char *spill_path; /* NULL: in memory */
    struct file_system *fs;
    struct retention *retention;            /* the rules when it began: they choose the classes of what is in it */
    uint64_t first_position, last_position; /* of the log: its data came from [first, last] */
    int64_t began_ms, touched_ms;           /* by our clock */
    _Atomic bool cut;                       /* by the background thread: it is in blocks */
    bool sealed, late;                      /* late: another of its time was cut before */
    uint64_t strands, chunks, entries, chunk_bytes, piece_count; /* chunks and their bytes: in memory */
    int64_t min_time_ms, max_time_ms;                            /* INT64_MAX / INT64_MIN: empty */
};

static inline int64_t partition_start_ms(int64_t time_ms)
{
    int64_t rest = time_ms % PARTITION_MS;
    return time_ms - (rest < 0 ? rest + PARTITION_MS : rest);
}

struct partition_options {
    struct file_system *fs; /* NULL: in memory */
    const char *dir;
    struct retention *retention; /* may be NULL; gets a reference */
    int64_t start_ms;
    uint64_t number;
    uint32_t slots_max; /* refs are below */
    bool keep_all;      /* the spill file is there; spill_cut says how much of it counts */
};
MUST_CHECK int partition_new(const struct partition_options *options, struct partition **ret_partition);
struct partition *partition_ref(struct partition *partition);
void partition_unref(struct partition *partition); /* from any thread; its spill file stays until partition_remove */
/* Its data are elsewhere: the file goes (readers keep it open). */
void partition_remove(struct partition *partition);

/* The strand of a series, NULL when it has none here. Under the data lock, or of a sealed one any time. */
struct strand *partition_strand(const struct partition *partition, series_ref ref);

/* Fills the strand of a series from a snapshot; takes the chunks. */
struct strand_load {
    struct chunk *open, *late; /* NULL: none */
    const void *pieces;        /* count of struct piece, at any alignment */
    uint16_t count;
};
void partition_load(struct partition *partition, series_ref ref, const struct strand_load *load);

enum put_result { PUT_ADDED, PUT_REPLACED, PUT_DUPLICATE, PUT_FULL };
/* Puts one window: its extras and, last, its record; all of them in the partition's time. */
enum put_result partition_put(struct partition *partition, series_ref ref, const struct entry *window, size_t count);

/* Loads ahead what partition_put will look at: 0 the strand, 1 its chunk, 2 the end of that. */
void partition_prefetch(const struct partition *partition, series_ref ref, int how);

/* What a reader needs of a strand, noted under the data lock: then it is decoded without. */
struct strand_part {
    struct partition *partition; /* not a reference: the reader has one elsewhere */
    struct chunk *chunk;         /* a reference, or NULL: */
    struct piece piece;          /* one of the spill file, */
    uint8_t *pending;            /* or its bytes, which were not in the file yet: the part's own */
    int64_t start_ms, end_ms;    /* [start, end) of its windows */
};
/* Growing, to be used again and again; zeroed is empty. Pieces come in the order in which they came, oldest first, then
 * what came late, then the chunk that grows. */
struct strand_parts {
    struct strand_part *items;
    size_t count, capacity;
};
/* Appends the parts whose windows meet [start, end]. Under the data lock. */
void strand_parts_add(struct strand_parts *parts, struct partition *partition, series_ref ref, int64_t start_ms,
                      int64_t end_ms);
void strand_parts_clear(struct strand_parts *parts);
void strand_parts_done(struct strand_parts *parts);
/* Its two hours meet [start, end]. */
bool partition_meets(const struct partition *partition, int64_t start_ms, int64_t end_ms);
bool strand_meets(const struct partition *partition, series_ref ref, int64_t start_ms, int64_t end_ms);
/* Appends the entries of one part. -EIO, -EBADMSG. */
MUST_CHECK int strand_read(const struct strand_part *part, struct entries *entries);
/* The same, of each entry its sample alone. */
MUST_CHECK int strand_read_samples(const struct strand_part *part, struct samples *samples);
MUST_CHECK int strand_read_chunk(const struct partition *partition, const struct chunk *chunk, struct entries *entries);
/* All of a strand of a sealed partition, merged. `scratch` is emptied and used. -EBADMSG, -EIO: what could be read is
 * there all the same. */
MUST_CHECK int partition_gather(struct partition *partition, series_ref ref, struct entries *scratch,
                                struct entries *ret_entries);
