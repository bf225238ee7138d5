#pragma once
/* Where the bytes on a link went: labels, values, headers.
 *
 *   labels   frames of layouts (text, lists of hashes, edits, whatever carries them), and the hashes in envelopes
 *   values   the payload of columns
 *   headers  column headers and entries, envelopes without hashes, frames, asks
 *
 * A body is packed as a whole. Its headers count as much as they take packed alone, its values the rest. HTTP's own
 * bytes are not counted. */
#include "base/map.h"
#include "hop/batch.h"

#define ACCOUNT_FAMILIES_MAX 4096

struct account_columns { /* before zstd */
    uint64_t records, header_bytes, payload_bytes, changing, exceptions;
};

struct account_family {
    char name[128];
    struct account_columns columns;
};

struct account {
    uint64_t samples; /* scraped; the caller's to add */
    uint64_t requests, batches, records;
    uint64_t label_frames, label_frame_bytes, hash_bytes;
    uint64_t value_bytes;
    uint64_t column_header_bytes, envelope_bytes, frame_bytes;
    uint64_t raw_bytes; /* of bodies, before zstd */
    struct account_columns gauges, counters;
    struct account_family *families; /* NULL, or room for ACCOUNT_FAMILIES_MAX */
    size_t family_count;
    struct map *lasts; /* NULL, or the last value of each series so far (its bits): then those that moved are counted */
    uint64_t moved;    /* records whose last value is another than the one before */
};

/* A request as it stands on the wire: frames. */
void account_request(struct account *account, struct str body);
/* What stands in a batch of such a request; reader is at its beginning and is read to the end. */
void account_batch(struct account *account, struct str batch, struct batch_reader *reader);

uint64_t account_labels(const struct account *account);
uint64_t account_headers(const struct account *account);
uint64_t account_total(const struct account *account);
/* The families in the order of their bytes. */
void account_sort_families(struct account *account);
