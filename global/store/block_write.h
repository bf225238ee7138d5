#pragma once
/* Writes a block: a directory of Prometheus' format with tributary.json and `windows` beside, and where gauges moved
 * within their windows a second one of the same name, in Thanos' AggrChunk form, in the aggregates directory.
 *
 * Under a temporary name until all is synced: then it is read back whole, byte for byte, and renamed, the aggregates
 * first. A crash leaves a temporary directory, which block_remove_leftovers takes away, or the whole. Memory is bounded
 * (postings are made by passes over the series that were written). One thread each. */
#include "base/file.h"
#include "metric/labels.h"
#include "store/block_meta.h"
#include "store/entry.h"
#include "store/postings.h"

struct block_dirs { /* of one store; texts live as long as who was given them */
    struct file_system *fs;
    const char *blocks;     /* data_dir/blocks: nothing but blocks of Prometheus' format */
    const char *aggregates; /* data_dir/aggregates */
};

struct block_writer;

struct block_writer_options {
    struct block_dirs dirs;
    /* ulid, level, sources (none: itself), parents, from_late, class, deletion and missing are taken; times too, and
     * all entries must lie in [min, max). The rest is counted. */
    const struct block_meta *meta;
    /* All names and values of labels that will come (more are allowed), sorted by bytes, each once. Texts must live
     * until the writer is freed. */
    const struct str *symbols;
    size_t symbol_count;
    uint32_t chunk_samples; /* a chunk has at most so many, in even parts: 120 as Prometheus; <= 65,535 */
    /* Read back also as a reader would, series by series and sample by sample: some 30 ns a sample more. */
    bool check_meaning;
    /* Asked while it is read back; true: block_writer_finish gives up with -ECANCELED. May be NULL. */
    postings_cancelled_fn *cancelled;
    void *cancelled_arg;
};

/* -EEXIST: there is a block of this name, or one being written. -EINVAL: symbols are not in order. */
MUST_CHECK int block_writer_new(const struct block_writer_options *options, struct block_writer **ret_writer);
/* Not finished: what was written goes. NULL allowed. */
void block_writer_free(struct block_writer *writer);
DEFINE_CLEANUP(struct block_writer *, block_writer_free)

/* Series in order of labels, each once; entries (at least one) ascending. An error is sticky: the block cannot be
 * finished. */
MUST_CHECK int block_writer_add(struct block_writer *writer, const struct labels *labels, enum series_kind kind,
                                const struct entry *entries, size_t count);
/* -ENODATA: no series were added. -EBADMSG: what was read back is not what was written. After an error nothing is left,
 * or what block_remove_leftovers takes away. */
MUST_CHECK int block_writer_finish(struct block_writer *writer);
/* Why reading back failed, else "". */
const char *block_writer_reason(const struct block_writer *writer);

/* At start: temporary directories, of writing and of deleting, and aggregates without their block. */
MUST_CHECK int block_remove_leftovers(const struct block_dirs *dirs);
/* Deletes a block with its aggregates, crash safe: renamed to a temporary name first. */
MUST_CHECK int block_delete(const struct block_dirs *dirs, const struct ulid *ulid);
