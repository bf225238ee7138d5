#pragma once
/* Private to receiver*.c.
 *
 *   receiver.c          requests: frames in, verdicts out, after the sync
 *   receiver_source.c   what is known of each source
 *   receiver_reject.c   malformed batches, set aside
 */
#include "base/arena.h"
#include "base/fail.h"
#include "base/map.h"
#include "hop/batch.h"
#include "hop/receiver.h"

struct source_entry {
    struct receiver_source public;
    char datacenter[SOURCE_NAME_BYTES_MAX + 1], secondary[SOURCE_NAME_BYTES_MAX + 1];
};

#define PARKED_CACHE_SHARE 2     /* of the cache, at most: memory, which may be a dozen times the text */
#define PARKED_LAYOUTS_MAX 65536 /* what one batch may name */

struct parked_layout {
    struct hash128 hash;
    uint64_t bytes; /* of memory */
};

struct receiver {
    struct seams seams;
    struct spool *spool;
    const struct auth *auth;
    struct receiver_options options;
    char *datacenter; /* copies of what the options point to */
    char *rejects_dir;
    struct source_entry **sources;
    size_t source_count, source_capacity;
    struct map source_map;
    struct receiver_request *requests; /* that wait for the disk */
    uint64_t in_flight_bytes;
    uint64_t reject_number; /* of the next file */
    int64_t reject_next_ms; /* not before */
    /* Layouts of requests whose batches lacked others, held a while: a batch may need more than one request can carry.
     * A ring. */
    struct parked_layout *parked;
    size_t parked_first, parked_count;
    uint64_t parked_bytes;
    struct receiver_stats stats;
};

/* The source's entry, NULL: none yet. One per name, whatever its incarnation. */
struct source_entry *receiver_source_get(const struct receiver *receiver, const struct source_id *source);
/* Made if absent: for sources that may write. NULL past SEQLOG_SOURCES_MAX. */
struct source_entry *receiver_source_make(struct receiver *receiver, const struct source_id *source);
void receiver_source_stored(struct source_entry *entry, const struct envelope *envelope, struct str peer,
                            int64_t sent_at_ms, int64_t now_ms);
void receiver_sources_free(struct receiver *receiver);

/* Writes the bytes to a file of rejects_dir, making room by deleting the oldest. Failing to is no error for the peer.
 */
void receiver_reject(struct receiver *receiver, struct str bytes);
