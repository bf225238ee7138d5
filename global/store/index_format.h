#pragma once
/* The bytes of an index' parts, in and out: magic, table of contents, the entry of a series (Prometheus 2.42,
 * tsdb/docs/format/index.md, version 2). Nothing here does I/O. */
#include "base/buf.h"
#include "metric/labels.h"

#define INDEX_MAGIC            0xBAAAD700U
#define INDEX_VERSION          2
#define INDEX_HEADER_BYTES     5
#define INDEX_SERIES_ALIGN     16 /* an id is an offset divided by it */
#define INDEX_POSTINGS_ALIGN   4
#define INDEX_TOC_BYTES        52
#define INDEX_SYMBOL_BYTES_MAX MIB        /* of one; what a scrape takes is 64 KiB */
#define INDEX_SERIES_BYTES_MAX (16 * MIB) /* of one entry: a million chunks */
#define INDEX_CRC_BYTES        4

struct index_toc { /* offsets of sections */
    uint64_t symbols, series, label_indices, label_offset_table, postings, postings_offset_table;
};
void index_toc_print(const struct index_toc *toc, struct buf *out);
/* -EBADMSG: the checksum is wrong. */
MUST_CHECK int index_toc_parse(const uint8_t bytes[static INDEX_TOC_BYTES], struct index_toc *ret_toc);

struct block_chunk {
    int64_t min_time_ms, max_time_ms; /* both inclusive */
    uint64_t ref;                     /* segment << 32 | offset */
};

struct index_label { /* ordinals of symbols */
    uint32_t name, value;
};

struct index_series { /* zeroed is empty; memory is kept from one to the next */
    struct index_label labels[LABELS_MAX];
    size_t label_count;
    struct block_chunk *chunks;
    size_t chunk_count, chunk_capacity;
};
void index_series_done(struct index_series *series);
void index_series_add_chunk(struct index_series *series, const struct block_chunk *chunk);
/* The entry's body, without length and checksum. Chunks are ascending. */
void index_series_print(const struct index_series *series, struct buf *out);
/* -EBADMSG: no such body, a symbol that is not below symbol_count, labels not in order (names by their ordinals),
 * chunks that overlap or whose times overflow, more than LABELS_MAX labels. The first reads labels alone. */
MUST_CHECK int index_series_parse_labels(struct reader *body, uint32_t symbol_count, struct index_series *series);
MUST_CHECK int index_series_parse(struct str body, uint32_t symbol_count, struct index_series *series);
