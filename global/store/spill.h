#pragma once
/* Where the full chunks of a partition go: an append-only file, found by offsets, with its newest bytes still in
 * memory. Not synced: what is in it can be made again from the log, unless a snapshot has synced it. Without a file all
 * stays in memory. The writing thread's; others read what is pending under the lock of the store, and the file without.
 */
#include "base/file.h"

#define SPILL_PENDING_BYTES (256 * KIB)         /* written at once: some 0.1 ms */
#define SPILL_BYTES_MAX     (UINT64_C(1) << 40) /* what a piece's offset can say */

struct spill {
    struct file *file; /* NULL: all in memory */
    uint8_t *pending;
    size_t pending_bytes, pending_capacity;
    uint64_t flushed; /* bytes in the file: offsets below are there */
    int error;        /* of the last write that failed; tried again with the next flush */
};

/* fs NULL: without a file. The file is made, emptied if it is there; keep_all: all of it stays (-ENOENT: there is
 * none).
 */
MUST_CHECK int spill_open(struct spill *spill, struct file_system *fs, const char *path, bool keep_all);
/* What is behind `keep` goes; before anything is added. -ESTALE: it is shorter. */
MUST_CHECK int spill_cut(struct spill *spill, uint64_t keep);
/* Closes; the file stays. */
void spill_close(struct spill *spill);
/* Takes bytes; returns where they are. Writes when enough have come; an error of that leaves them in memory. */
uint64_t spill_add(struct spill *spill, const void *data, size_t len);
int spill_flush(struct spill *spill);
uint64_t spill_end(const struct spill *spill);
/* The bytes at offset if they are still in memory, else NULL: then they are read from the file. */
const uint8_t *spill_pending(const struct spill *spill, uint64_t offset);
