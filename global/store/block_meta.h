#pragma once
/* What stands beside a block's data: meta.json as Prometheus writes it, and tributary.json for what that has no words
 * for. Bytes in, struct out, and back (docs/block-format.md). */
#include "base/buf.h"
#include "store/ulid.h"

#define BLOCK_META_BYTES_MAX  (4 * MIB) /* a block of a year made of 2 h blocks names 4,380 sources of 30 bytes */
#define BLOCK_SOURCES_MAX     65536
#define BLOCK_CLASS_BYTES_MAX 64
#define BLOCK_REASON_BYTES    256
#define BLOCK_MISSING_MAX     1024

/* A part of a block's time of which data is known to be missing, and why. */
struct block_missing {
    int64_t start_ms, end_ms; /* [start, end) */
    char reason[BLOCK_REASON_BYTES];
};

struct block_meta {
    struct ulid ulid;
    int64_t min_time_ms, max_time_ms; /* [min, max) */
    uint64_t sample_count, series_count, chunk_count, tombstone_count;
    uint32_t level;       /* 1: from the head */
    struct ulid *sources; /* blocks of level 1 that are in it, itself for one of level 1; owned */
    size_t source_count;
    struct ulid *parents; /* blocks it was made of and replaces; owned */
    size_t parent_count;
    bool from_late;      /* hints: "from-out-of-order" */
    bool is_aggregates;  /* the second block itself: it has Thanos' section */
    bool is_downsampled; /* Thanos' section says so: not read here, never written */
    bool should_be_ours; /* meta.json says that a tributary.json stands beside it */

    /* From here on tributary.json. */
    bool ours;      /* there is one; else the block is of Prometheus or Thanos: class "default", plain samples */
    uint32_t check; /* CRC32C of what block_meta_print gave when it was written: block_meta_check */
    char class[BLOCK_CLASS_BYTES_MAX + 1];
    bool has_aggregates;           /* a second block of the same name lies in the aggregates directory */
    uint64_t aggregate_count;      /* windows in there */
    uint64_t deletion;             /* deletions up to this number have been applied (store/deletions.h) */
    struct block_missing *missing; /* owned */
    size_t missing_count;
    /* Bytes and CRC32C of each file of the block (of the aggregates block: its own tributary.json). */
    struct block_file *files; /* owned */
    size_t file_count;
};

struct block_file {
    char name[32]; /* "index", "chunks/000001", "windows" */
    uint64_t bytes;
    uint32_t crc;
};

/* -EBADMSG with a reason. A zeroed meta is empty; *meta is filled by both in any order. */
MUST_CHECK int block_meta_parse(struct str json, struct block_meta *meta, char ret_reason[static BLOCK_REASON_BYTES]);
MUST_CHECK int block_meta_parse_ours(struct str json, struct block_meta *meta,
                                     char ret_reason[static BLOCK_REASON_BYTES]);
void block_meta_print(const struct block_meta *meta, struct buf *out);
void block_meta_print_ours(const struct block_meta *meta, struct buf *out);
/* CRC32C of what block_meta_print gives: of all of meta.json that is known here, however it is laid out. */
uint32_t block_meta_check(const struct block_meta *meta);
void block_meta_add_file(struct block_meta *meta, const struct block_file *file);
void block_meta_copy(const struct block_meta *from, struct block_meta *ret_to); /* deep */
void block_meta_done(struct block_meta *meta);
