#pragma once
/* What data_dir/blocks.json says: which blocks there are, which are set aside, and which are on their way out. Bytes
 * in, struct out, and back (docs/block-format.md). */
#include "base/buf.h"
#include "store/block_meta.h"

#define BLOCKS_CATALOG_VERSION   1
#define BLOCKS_CATALOG_BYTES_MAX (64 * MIB)
/* Of served, damaged and leaving ones each: more than blocks.h's BLOCKS_MAX, as none is refused that is there. */
#define BLOCKS_CATALOG_MAX 100000

struct blocks_record {
    struct ulid ulid;
    int64_t min_time_ms, max_time_ms; /* [min, max); INT64_MIN, INT64_MAX: not known */
    char class[BLOCK_CLASS_BYTES_MAX + 1];
    uint64_t samples, series, disk_bytes;
    int64_t checked_ms; /* when it was last read whole; 0: never */
    bool damaged;
    bool unexplained; /* damaged by what a reader said: what it is will be found out */
    int64_t damaged_at_ms;
    char reason[BLOCK_REASON_BYTES];
};

struct blocks_catalog {            /* zeroed is empty */
    struct blocks_record *records; /* sorted by ulid once parsed, each once */
    size_t count, capacity;
    struct ulid *leaving; /* to be deleted; sorted once parsed */
    size_t leaving_count, leaving_capacity;
};

/* -EBADMSG with a reason; then the catalog is empty. -ENOTSUP: whole, but of a later version. */
MUST_CHECK int blocks_catalog_parse(struct str json, struct blocks_catalog *catalog,
                                    char ret_reason[static BLOCK_REASON_BYTES]);
void blocks_catalog_print(const struct blocks_catalog *catalog, struct buf *out);
void blocks_catalog_add(struct blocks_catalog *catalog, const struct blocks_record *record);
void blocks_catalog_add_leaving(struct blocks_catalog *catalog, const struct ulid *ulid);
void blocks_catalog_sort(struct blocks_catalog *catalog);
/* In a sorted one; NULL: not there. */
struct blocks_record *blocks_catalog_find(const struct blocks_catalog *catalog, const struct ulid *ulid);
bool blocks_catalog_is_leaving(const struct blocks_catalog *catalog, const struct ulid *ulid);
void blocks_catalog_done(struct blocks_catalog *catalog);
