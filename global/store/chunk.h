#pragma once
/* A chunk: up to CHUNK_SAMPLES_MAX samples of one series in order of time, XOR encoded, and beside the bytes what the
 * encoding cannot say: of how many scrapes each sample speaks and, where it does not follow from that, what its
 * window's sum, minimum and maximum were.
 *
 * Counted references: readers take one under the store's lock and decode without it. A chunk that somebody else refers
 * to is never changed: chunk_append makes a copy first. */
#include "metric/sample.h"
#include "store/xor.h"

#define CHUNK_SAMPLES_MAX 120 /* Prometheus' own aim; a change in the middle costs a rewrite of so many (some 2 us) */

enum {
    ENTRY_EXTRA = 1,      /* a sample of a window that is not its last: it has no aggregates */
    ENTRY_AGGREGATES = 2, /* sum, min and max are kept; else they follow from value and count */
};

/* One sample with what is known about its window. */
struct chunk_entry {
    struct sample sample;
    double sum, min, max; /* with ENTRY_AGGREGATES */
    uint32_t count;       /* scrapes in the window; of extras 0 */
    uint16_t flags;
};

struct chunk_notes; /* counts and aggregates, where not all samples have the same count and nothing else */

struct chunk {
    _Atomic uint32_t refs;
    uint32_t uniform_count; /* of every sample, while notes is NULL */
    int64_t min_time_ms, max_time_ms;
    struct chunk_notes *notes;
    uint32_t bits; /* of data that are written, its header included */
    uint32_t capacity;
    uint8_t data[]; /* a valid Prometheus XOR chunk of chunk_data_bytes() */
};

struct chunk *chunk_new(void);
struct chunk *chunk_ref(struct chunk *chunk);
void chunk_unref(struct chunk *chunk); /* NULL allowed; from any thread */
DEFINE_CLEANUP(struct chunk *, chunk_unref)

uint16_t chunk_count(const struct chunk *chunk);
size_t chunk_data_bytes(const struct chunk *chunk);
size_t chunk_memory_bytes(const struct chunk *chunk);

/* Appends an entry later than all others; the chunk may move. state belongs to this chunk: XOR_STATE_INIT for a new
 * one, else of the append before or from chunk_state. Not past CHUNK_SAMPLES_MAX. */
void chunk_append(struct chunk **chunk, struct xor_state *state, const struct chunk_entry *entry);
/* The state to go on from, found by reading the chunk. */
struct xor_state chunk_state(const struct chunk *chunk);
/* Gives memory back that was kept for growing, unless readers hold the chunk; it may move. */
void chunk_trim(struct chunk **chunk);

/* Walks the entries; the chunk must outlive the reader. */
struct chunk_reader {
    struct xor_reader samples;
    const struct chunk *chunk;
    uint32_t run, run_used, aggregate; /* places in the notes */
};
void chunk_reader_init(struct chunk_reader *reader, const struct chunk *chunk);
/* 1 and an entry, 0 at the end, -EBADMSG for damaged bytes. */
MUST_CHECK int chunk_read(struct chunk_reader *reader, struct chunk_entry *ret_entry);
