#pragma once
/* A batch: what one source knows about one closed window of one group of targets. Written once by the source, stored
 * and forwarded as the same bytes, read by the global.
 *
 * Body version 1: entries (which target showed which page, when, how often), then the values, grouped by family layout
 * over all entries that have the family, families in the order in which pages first name them; columns by hop/column;
 * all of it under zstd 1.
 *
 * A batch has one round (a window), or several: windows side by side, of a backlog, or at resolution 0 the scrapes of a
 * time. Values of a round are written as differences from the round before, inside the batch. */
#include "hop/column.h"
#include "hop/envelope.h"
#include "hop/layout_table.h"
#include "metric/layout.h"
#include "metric/record.h"

#define BATCH_PART_BYTES     (4 * MIB)  /* aimed at: what a receiver holds per batch follows from it */
#define BATCH_BYTES_MAX      (12 * MIB) /* never passed; one target's page alone may go past the aim */
#define BATCH_RAW_BYTES_MAX  (64 * MIB) /* of its body after zstd */
#define BATCH_RAW_RATIO_MAX  128        /* raw bytes per compressed byte, above BATCH_RAW_FREE_BYTES */
#define BATCH_RAW_FREE_BYTES (64 * KIB)
/* What a batch claims (a record, an extra twice, an entry twice and once for each of its families) it pays for with a
 * byte for eight: a reader's memory is bounded by what has arrived, 1 KiB makes less than 1 MiB. Real batches take a
 * byte for two; one that would not is made longer. */
#define BATCH_CLAIMS_PER_BYTE 8
#define BATCH_RECORDS_MAX     2000000 /* with the slots of entries that only end */
/* Layouts of one batch: aimed at, so that they fit into one request with it; never passed (one page alone goes past the
 * aim), as a receiver has to keep so much of requests whose batch is still to come. */
#define BATCH_LAYOUT_BYTES     (8 * MIB)
#define BATCH_LAYOUT_BYTES_MAX (64 * MIB)
#define BATCH_EXTRAS_MAX       (2 * BATCH_RECORDS_MAX)  /* what windows keep at most: two per series */
#define BATCH_EXTRAS_OF_RECORD 256                      /* the global takes no more of one record */
#define BATCH_ENTRIES_MAX      (8 * LAYOUT_TARGETS_MAX) /* of all rounds */
#define BATCH_BODY_VERSION     1
/* Windows of one batch (a backlog's), or scrapes of a target in one of resolution 0. */
#define BATCH_ROUNDS_MAX 64
/* Members of a family from which on each slot has a column of its own; below, the family has one for all its slots. */
#define BATCH_SLOT_COLUMN_MEMBERS 20

/* One page of one target in the window. A target has up to two: what it exposes, and what the scraper adds (up,
 * scrape_*). */
struct batch_entry {
    uint32_t round;   /* of the batch's windows, or at resolution 0 of its scrapes */
    uint32_t target;  /* index in the target list */
    uint32_t page;    /* index in the envelope's pages */
    int64_t time_ms;  /* of the last scrape in the window that gave values */
    uint32_t count;   /* such scrapes; 0: no values in this window, only the stale marker */
    int64_t stale_ms; /* all series of the page ended here; 0: not */
};

/* Where the window of an entry of this round begins; at resolution 0 it is the batch's. */
static inline int64_t batch_round_start_ms(const struct envelope *envelope, uint32_t round)
{
    return envelope->window_start_ms + (int64_t)round * envelope->resolution_ms;
}

/* ---- Writing ---- */
struct batch_writer;

struct batch_writer *batch_writer_new(void);
void batch_writer_free(struct batch_writer *writer);
DEFINE_CLEANUP(struct batch_writer *, batch_writer_free)
void batch_writer_reset(struct batch_writer *writer);
struct batch_item { /* an entry with what it shows; the writer takes references of its own and copies the records */
    uint32_t round; /* never falls from item to item; below BATCH_ROUNDS_MAX */
    struct labels *target;
    struct layout *page; /* with its families */
    int64_t time_ms;     /* as in batch_entry */
    uint32_t count;
    int64_t stale_ms;
    /* One per slot, family after family, in slot order; none with count 0. A record of count 0 whose last value is not
     * the stale marker says nothing: the series gave no value in this window. */
    const struct record *records;
    const struct record_extra *extras; /* by index into records, ascending */
    size_t extra_count;
};
/* -EMSGSIZE: the batch would pass a limit: finish it and begin another. */
MUST_CHECK int batch_writer_add(struct batch_writer *writer, const struct batch_item *item);
size_t batch_writer_entries(const struct batch_writer *writer);
size_t batch_writer_records(const struct batch_writer *writer);
/* Completes envelope (targets, pages, body fields are filled in here, the array lives until the next reset; the rest is
 * the caller's) and appends the batch. The layouts named are held in the table until batch_writer_release; table NULL:
 * in none, for a thread that may not touch it: batch_writer_layout gives them. */
MUST_CHECK int batch_writer_finish(struct batch_writer *writer, struct envelope *envelope, struct layout_table *table,
                                   struct buf *out);
void batch_writer_release(struct batch_writer *writer, struct layout_table *table);
/* After finish: what envelope_layout_at names at this index, borrowed until the next reset. */
struct layout *batch_writer_layout(const struct batch_writer *writer, uint32_t index);

/* ---- Reading ---- */
struct batch_reader;

struct batch_block { /* one family over all entries of a round that have it; valid until the next block */
    const struct layout *family;
    uint32_t round;
    const uint32_t *entries;     /* index of each member's entry */
    const uint32_t *first_slots; /* where the family's slots begin among those of each member's page */
    uint32_t entry_count;
    const struct record *records;      /* slot-major: records[slot * entry_count + member] */
    const struct record_extra *extras; /* by index into records, ascending */
    uint32_t extra_count;
    uint32_t header_bytes, payload_bytes; /* before zstd: where the bytes went, for inspect */
    uint32_t changing;                    /* records that are not constant */
    uint32_t exceptions;                  /* values that no scale fitted */
};

/* Appends a batch's body as it was before zstd, at most BATCH_RAW_BYTES_MAX. -EMSGSIZE, -EBADMSG. */
MUST_CHECK int batch_body_expand(const struct envelope *envelope, struct str body, struct buf *out);
/* Which part of a body a column is of, for who traces (a field of the range in this order). */
enum batch_part {
    BATCH_PART_ENTRIES,
    BATCH_PART_LAST,
    BATCH_PART_ODD,
    BATCH_PART_MIN,
    BATCH_PART_MAX,
    BATCH_PART_SUM,
    BATCH_PART_EXTRAS,
    BATCH_PART_COUNT
};
/* From now on tells of each column that is read (with NULL no more); of the entries' columns nothing was told. */
void batch_reader_trace(struct batch_reader *reader, column_trace_fn *fn, void *arg);

/* Opens a batch whose layouts are all in the table (-ENOENT else; see envelope for which). -EBADMSG, -EPROTO, -EMSGSIZE
 * as envelope_decode. The batch's bytes must outlive the reader. */
MUST_CHECK int batch_reader_open(const void *batch, size_t len, struct layout_table *table,
                                 struct batch_reader **ret_reader);
void batch_reader_free(struct batch_reader *reader);
DEFINE_CLEANUP(struct batch_reader *, batch_reader_free)
const struct envelope *batch_reader_envelope(const struct batch_reader *reader);
const struct batch_entry *batch_reader_entries(const struct batch_reader *reader, size_t *ret_count);
const struct layout *batch_reader_targets(const struct batch_reader *reader);
const struct layout *batch_reader_page(const struct batch_reader *reader, uint32_t page);
/* How many slots all families of a page have. */
uint64_t batch_reader_page_slots(const struct batch_reader *reader, uint32_t page);
/* 1 and a block, 0 at the end (everything was consumed), or -EBADMSG. */
MUST_CHECK int batch_reader_next(struct batch_reader *reader, struct batch_block *ret_block);

/* ---- Both (batch_again.c) ---- */
/* Adds all that a newly opened reader has, its first round as `round`, which no item so far is past. -EBADMSG as
 * batch_reader_next; -EMSGSIZE as batch_writer_add: then the writer holds a part of it and is to be reset. */
MUST_CHECK int batch_writer_add_batch(struct batch_writer *writer, struct batch_reader *reader, uint32_t round);
