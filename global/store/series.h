#pragma once
/* One series of the head: its chunks in order of time, never overlapping, in whatever order its windows come.
 * Owned by the head, written by one thread under the store's lock. */
#include "metric/labels.h"
#include "metric/record.h"
#include "store/chunk.h"

/* A chunk never crosses a border of these partitions, so that a block of one is cut without opening chunks. */
#define SERIES_PARTITION_MS INT64_C(7200000)

/* Ceiling of chunks of one series: at a sample a second a week, 120 a chunk, is 5,040. */
#define SERIES_CHUNKS_MAX 8192

struct series {
    struct labels *labels; /* a reference; NULL: nobody lives here */
    struct chunk **chunks; /* ascending, each with at least one sample */
    struct chunk *open;    /* the chunk that open_state belongs to, or NULL */
    struct xor_state open_state;
    uint32_t ref;
    uint16_t chunk_count, chunk_capacity;
    uint8_t kind; /* enum series_kind */
};

/* Sums over all series, kept exact by what changes them. */
struct series_totals {
    uint64_t samples, chunks, chunk_bytes;
};

/* A window to be stored: its samples, the last of which is the record. */
struct series_window {
    int64_t start_ms, end_ms; /* [start, end): what is in there is this window's; plain samples: [time, time + 1) */
    bool plain;               /* resolution 0: what is there already stays */
    const struct chunk_entry *entries;
    size_t count; /* > 0, ascending, all in [start, end) */
};

enum series_result { SERIES_ADDED, SERIES_REPLACED, SERIES_DUPLICATE, SERIES_FULL };

/* Stores a window, or chooses between it and the one that is there by record_wins(). */
enum series_result series_put(struct series *series, const struct series_window *window, struct series_totals *totals);
/* Drops the chunks that end before before_ms. */
void series_prune(struct series *series, int64_t before_ms, struct series_totals *totals);
/* The first chunk that ends at or after time_ms; chunk_count when there is none. */
size_t series_chunk_at(const struct series *series, int64_t time_ms);
/* All memory but the struct itself, which is empty again. */
void series_done(struct series *series, struct series_totals *totals);
