#pragma once
/* Writes an index: symbols first, then a series at a time, at the end postings, their offset table, TOC. Postings are
 * made by passes over the series that were written, so many label names at once as pass_bytes allow. Memory:
 * pass_bytes, some 40 bytes a symbol, 8 bytes a value of a label. One thread. */
#include "base/file.h"
#include "base/map.h"
#include "store/file_writer.h"
#include "store/index_format.h"

#define INDEX_PASS_BYTES (64 * MIB)

struct index_list { /* a list of postings that was written */
    uint32_t value; /* symbol */
    uint32_t count; /* of ids */
};

struct index_name {
    uint32_t name;     /* symbol */
    uint32_t postings; /* series that have it */
    size_t lists;      /* of values, in index_writer.lists */
};

struct index_writer {
    struct file_writer out; /* its offset and crc are the file's after index_writer_finish */
    struct index_toc toc;
    const struct str *symbols;
    size_t symbol_count;
    struct map ordinals;       /* text of a symbol -> its place in symbols */
    uint32_t *name_counts;     /* by symbol: series with a label of that name */
    struct index_series *last; /* the series written last */
    uint32_t series_count;
    struct buf body;
    size_t pass_pairs;        /* so many postings are sorted at once */
    struct index_name *names; /* that series have, ascending */
    size_t name_count;
    struct index_list *lists;
    size_t list_count, list_capacity;
};

struct index_writer_options {
    struct file_system *fs;
    const char *path;
    const struct str *symbols; /* sorted by bytes, each once; must live as long as the writer */
    size_t symbol_count;
    size_t pass_bytes; /* INDEX_PASS_BYTES */
};

/* -EINVAL: symbols out of order, or one that is too long. On errors call index_writer_done too. */
MUST_CHECK int index_writer_init(struct index_writer *writer, const struct index_writer_options *options);
/* Chunks at least one, ascending. -EINVAL: labels not behind those of the series before, or with a text that is no
 * symbol; -EFBIG: the index would be larger than ids reach. */
MUST_CHECK int index_writer_add(struct index_writer *writer, const struct labels *labels,
                                const struct block_chunk *chunks, size_t count, uint32_t *ret_id);
/* Writes the rest, syncs, closes. */
MUST_CHECK int index_writer_finish(struct index_writer *writer);
void index_writer_done(struct index_writer *writer);
