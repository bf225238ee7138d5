#pragma once
/* The file `tombstones` of a block (Prometheus 2.42, tsdb/docs/format/tombstones.md, and the code, which has no
 * trailer): which samples of which series are deleted. Ours is written empty: deletions write blocks anew. */
#include "base/buf.h"

#define TOMBSTONES_BYTES_MAX (16 * MIB) /* of the file */

struct tombstone {
    uint32_t series;                  /* id in the index */
    int64_t min_time_ms, max_time_ms; /* both inclusive */
};

struct tombstones {          /* zeroed is empty */
    struct tombstone *items; /* sorted by series and time, not overlapping */
    size_t count;
};

void tombstones_print_empty(struct buf *out);
/* -EBADMSG. Ranges that touch or overlap become one. */
MUST_CHECK int tombstones_parse(struct str bytes, struct tombstones *ret_tombstones);
void tombstones_done(struct tombstones *tombstones);
/* Those of a series, as a part of items. */
const struct tombstone *tombstones_of(const struct tombstones *tombstones, uint32_t series, size_t *ret_count);
