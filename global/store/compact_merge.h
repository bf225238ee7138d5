#pragma once
/* Several blocks into one: series by series in order of labels, entries cut by deletions and merged, older blocks
 * first. Memory: the entries of one series, and the texts of all labels. */
#include "store/block_write.h"
#include "store/blocks.h"
#include "store/deletions.h"

struct compact_merge_options {
    struct block_dirs dirs;
    struct block *const *sources; /* ascending by ulid, which is their age */
    size_t count;
    const struct deletion_filter *filter; /* may be NULL */
    const struct block_meta *meta;        /* of the result, as block_writer_options takes it */
    uint32_t chunk_samples;               /* as block_writer_options takes it */
    postings_cancelled_fn *cancelled;     /* may be NULL */
    void *cancelled_arg;
};

struct compact_merge_report {
    uint64_t entries_in, entries_out;
    /* After an error: the source that could not be read; NULL: it was something else. */
    struct block *unreadable;
    char reason[200]; /* the writer's, where it has one: what was read back is not what was written */
};

/* Writes the block under its final name. -ENODATA: nothing is left of the sources, and there is no block. -ENOTSUP: a
 * source has native histograms, which are not read here and would be lost. -ECANCELED; errors of reading and writing.
 * After an error nothing is left. report is set in all cases. */
MUST_CHECK int compact_merge(const struct compact_merge_options *options, struct compact_merge_report *ret_report);
