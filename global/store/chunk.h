#pragma once
/* A chunk of the head: entries of one series and one partition in order of time, in a stream of bits of our own, which
 * says what an XOR chunk says and beside it of how many scrapes each sample speaks, at which resolution, and what its
 * window's sum, minimum and maximum were. An entry that goes on as the one before costs a bit beside its value; blocks
 * are written in Prometheus' form when a partition is cut.
 *
 * Counted references: readers take one under the store's lock and decode without it. A chunk that somebody else refers
 * to is never changed: chunk_append makes a copy first. */
#include "base/str.h"
#include "store/bits.h"
#include "store/entry.h"

/* Bytes of data: chunks grow from the first size by steps, so that sizes are few and memory is used again; with the
 * header and malloc's own word each is a multiple of 16. */
#define CHUNK_DATA_FIRST  56
#define CHUNK_DATA_STEP   64
#define CHUNK_DATA_MAX    (CHUNK_DATA_FIRST + 2 * CHUNK_DATA_STEP) /* then it is full: some 30 values that move */
#define CHUNK_SPAN_MS_MAX INT64_C(4000000000)                      /* from the base to the last entry */
#define CHUNK_WINDOW_MAX  700                                      /* entries of one window */

struct chunk {
    _Atomic uint32_t refs;
    uint32_t bits;                 /* of data that are written */
    uint16_t entries, capacity;    /* capacity: bytes */
    uint8_t leading, trailing;     /* zero bits of the last value that was written with them */
    uint32_t start, end;           /* [start, end): of all windows in it, ms since the partition began */
    uint32_t window;               /* where the last one begins */
    uint32_t time, delta;          /* of the last entry, ms since the partition began */
    uint32_t count, resolution_ms; /* of the last record that was no extra */
    uint64_t value_bits;           /* of the last entry */
    uint8_t data[];
};

struct chunk *chunk_new(void);
struct chunk *chunk_ref(struct chunk *chunk);
void chunk_unref(struct chunk *chunk); /* NULL allowed; from any thread */
DEFINE_CLEANUP(struct chunk *, chunk_unref)
/* A chunk as it was, from its header and data (chunk_data_bytes of the header) as they stood in memory. */
struct chunk *chunk_load(const struct chunk *header, struct str data);
/* All of the header but the references, which readers change at any time. */
void chunk_header(const struct chunk *chunk, struct chunk *ret_header);
size_t chunk_memory_bytes(const struct chunk *chunk);
size_t chunk_data_bytes(const struct chunk *chunk);

/* Appends entries of one window, in order of time, the first later than all others in the chunk; base_ms: where the
 * partition begins, at or before the window and CHUNK_SPAN_MS_MAX at most. The chunk may move. False: no room in
 * CHUNK_DATA_MAX, nothing was appended (a window alone in a new chunk always has room: it takes what it needs). */
bool chunk_append(struct chunk **chunk, int64_t base_ms, const struct entry *window, size_t count);

/* Decodes what chunk_append wrote: appends all entries. -EBADMSG: not such bytes (a spill file that was damaged);
 * entries then has what came before. */
MUST_CHECK int chunk_decode(const void *data, size_t len, size_t count, int64_t base_ms, struct entries *entries);
/* The same, of each entry its sample alone, into room for `count`. */
MUST_CHECK int chunk_decode_samples(struct str data, size_t count, int64_t base_ms, struct sample *ret_samples);
