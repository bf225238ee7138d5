#pragma once
/* A chunk of aggregates as Thanos writes them (pkg/compact/downsample/aggr.go): sub-chunks of count, sum, min, max and
 * counter, each `uvarint length` (0: absent), `u8 encoding`, XOR data. Ours have the first four, over the same times,
 * and no counter. Bytes in, bytes out. */
#include "base/buf.h"
#include "store/entry.h"
#include "store/xor.h"

#define AGGR_SUB_CHUNKS 5
#define AGGR_READ       4 /* count, sum, min, max */

/* Samples of at most 65,535; appends one XOR chunk, with its count. */
void xor_print(const struct sample *samples, size_t count, struct buf *out);

/* Appends the chunk of entries, which all have ENTRY_AGGREGATES. */
void aggr_chunk_print(const struct entry *entries, size_t count, struct buf *out);

struct aggr_reader {
    struct xor_reader subs[AGGR_READ];
    uint32_t count; /* windows, as the header of the first says */
};
/* -EBADMSG: no such chunk, or one of the four is absent. */
MUST_CHECK int aggr_reader_init(struct aggr_reader *reader, struct str data);
/* 1 and an entry with time, count, sum, min, max and ENTRY_AGGREGATES, the rest zero; 0 at the end; -EBADMSG also when
 * the four disagree on times or length, or a count is no whole number. */
MUST_CHECK int aggr_read(struct aggr_reader *reader, struct entry *ret_entry);
