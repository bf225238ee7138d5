#pragma once
/* The part of a batch that every tier reads: who, which window, which layouts, how complete. msgpack; bytes in
 * docs/batch-format.md. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/crc.h"

#define ENVELOPE_VERSION      1
#define ENVELOPE_PART_MAX     65535
#define ENVELOPE_BYTES_MAX    (4 * MIB)
#define ENVELOPE_PAGES_MAX    65536 /* one batch may name */
#define ENVELOPE_REASONS_MAX  64
#define ENVELOPE_REPLACES_MAX 64
#define SOURCE_NAME_BYTES_MAX 64

/* A source: who made batches. Names match [A-Za-z0-9_.-]{1,64}. */
struct source_id {
    struct str datacenter;
    struct str secondary;
    uint64_t incarnation; /* drawn when the source's data directory was new */
};

struct reason_count {
    struct str reason; /* fixed words: "timeout", "connect", "sample_limit", ... */
    uint64_t count;
};

struct envelope {
    struct source_id source;
    uint64_t epoch; /* starts of the source, from 1 */
    uint64_t seq;   /* batches of the epoch, from 1 */
    int64_t window_start_ms;
    int64_t resolution_ms;
    int64_t span_ms; /* what the batch covers from window_start on: windows of resolution_ms side by side; at resolution
                        0 the time whose samples are in it */
    uint32_t part;   /* of the window, from 0 */
    int64_t sealed_at_ms;      /* the source's wall clock when it made the batch */
    int64_t closed_through_ms; /* all windows that end at or before this are complete with this batch */
    struct hash128 targets;    /* target list */
    const struct hash128 *pages;
    uint32_t page_count;
    /* Completeness of this part: targets at the end of the window; dropped counts samples or series. */
    uint64_t targets_expected, targets_answered;
    const struct reason_count *failed;
    uint32_t failed_count;
    const struct reason_count *dropped;
    uint32_t dropped_count;
    uint32_t body_version;
    uint64_t body_bytes;     /* compressed */
    uint64_t body_raw_bytes; /* after zstd */
    uint32_t body_crc32c;    /* of the compressed bytes */
    /* Batches of this epoch whose windows are in this one (a backlog's, made of several): whoever has this one has seen
     * them. */
    const uint64_t *replaces;
    uint32_t replaces_count;
    /* Made by a global of what was written to it (remote write): the labels of its series are whole, no datacenter is
     * set, and nothing is expected of its source. In a global's own log alone; receivers refuse it. */
    bool is_remote_write;
};

/* The label that its series get: as layout_series takes it. */
static inline struct str envelope_series_datacenter(const struct envelope *envelope)
{
    return envelope->is_remote_write ? STR("") : envelope->source.datacenter;
}

/* Batch = 'T' 'R' 'B' version, u32 LE envelope bytes, envelope, body. */
int envelope_encode(const struct envelope *envelope, struct buf *out);
/* Checks everything that does not need the body's inside. -EBADMSG malformed, -EPROTO another version (of envelope),
 * -EMSGSIZE past a limit. Arrays go to the arena; strings and body are views of the batch. */
MUST_CHECK int envelope_decode(const void *batch, size_t len, struct arena *arena, struct envelope *ret_envelope,
                               struct str *ret_body);
bool source_name_is_valid(struct str name);
