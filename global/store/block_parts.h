#pragma once
/* Private to block*.c: what an open block is made of. */
#include "store/block.h"
#include "store/index_read.h"
#include "store/segments.h"
#include "store/tombstones.h"
#include "store/windows.h"

#include <stdatomic.h>

#define BLOCK_TMP_CREATION ".tmp-for-creation"
#define BLOCK_TMP_DELETION ".tmp-for-deletion"

struct block_part { /* the block, or its aggregates */
    struct block_meta meta;
    struct index index;
    struct segments segments;
    uint64_t disk_bytes;
};

struct block {
    atomic_uint references;
    struct file_system *fs;
    struct block_part raw;
    struct block_part aggregates; /* when raw.meta.has_aggregates */
    char *raw_dir, *aggregates_dir;
    struct windows windows; /* of ours */
    struct tombstones tombstones;
    atomic_bool has_histograms;
};

struct block_place { /* where a block is looked for */
    struct file_system *fs;
    const char *dir, *aggregates_dir;
    struct ulid ulid;
};
/* As block_open, under any names. */
MUST_CHECK int block_open_at(const struct block_place *place, char ret_reason[static BLOCK_REASON_BYTES],
                             struct block **ret_block);
/* Removes a directory with what is in it; one that is not there is fine. */
MUST_CHECK int block_remove_dir(struct file_system *fs, const char *path);

struct block_cursor {
    struct block *block;
    struct index_cursor index;
    struct segments_cursor chunks;
    struct windows_cursor windows;
    struct labels *labels;
    struct str note; /* of the series read last, when the block is ours */
    struct index_cursor aggregates_index;
    struct segments_cursor aggregates_chunks;
    struct samples samples; /* of one chunk, while it becomes entries */
    uint32_t id;            /* of the entry read last */
    uint32_t aggregates_id; /* whose entry is in aggregates_index; 0: none */
};
