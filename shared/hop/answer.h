#pragma once
/* What a receiver says to a request of frames, and the question how far a source's epoch has been delivered. msgpack;
 * docs/spool-format.md. */
#include "base/arena.h"
#include "base/buf.h"
#include "hop/envelope.h"

#define ANSWER_BYTES_MAX    (1 * MIB)
#define ANSWER_VERDICTS_MAX 4096 /* batches and gaps of one request */
#define ANSWER_MISSING_MAX                                                                                             \
    32768                     /* layouts asked for at once: half of ANSWER_BYTES_MAX; the rest is asked for next time */
#define ANSWER_MARKS_MAX 2048 /* some 170 bytes each with the longest names: a third of ANSWER_BYTES_MAX */

enum batch_verdict {
    VERDICT_STORED = 0,
    VERDICT_DUPLICATE = 1,
    VERDICT_MISSING = 2,      /* layouts: see missing; send them with the batch again */
    VERDICT_MALFORMED = 3,    /* set aside by the receiver, counted; never to be sent again */
    VERDICT_UNSUPPORTED = 4,  /* version: keep, try slowly, alarm */
    VERDICT_UNAUTHORISED = 5, /* keep, try slowly, alarm */
    VERDICT_BUSY = 6,         /* try again after retry_after_ms */
    VERDICT_CONFLICT = 7,     /* seq known with another checksum: alarm at both ends; not sent again */
    VERDICT_COUNT
};
const char *batch_verdict_name(enum batch_verdict verdict);

struct answer_mark {
    struct source_id source;
    uint64_t epoch;
    uint64_t delivered_seq; /* what the receiver stored up to here need not be kept by the sender */
};

struct answer {
    uint64_t receiver_incarnation;
    uint32_t body_version_max; /* the receiver (and all behind it) take */
    int64_t retry_after_ms;    /* where a verdict is busy */
    uint64_t credit_bytes;     /* the sender may have in flight */
    const uint8_t *verdicts;   /* enum batch_verdict, one per batch or gap of the request, in order */
    uint32_t verdict_count;
    const struct hash128 *missing;
    uint32_t missing_count;
    const struct answer_mark *marks;
    uint32_t mark_count;
};
int answer_encode(const struct answer *answer, struct buf *out);
/* Strings and verdicts are views of the bytes, the rest is in the arena. -EBADMSG: malformed or past a limit. */
MUST_CHECK int answer_decode(const void *bytes, size_t len, struct arena *arena, struct answer *ret_answer);

/* Payload of FRAME_ASK. */
int answer_ask_encode(const struct source_id *source, uint64_t epoch, struct buf *out);
MUST_CHECK int answer_ask_decode(struct str bytes, struct source_id *ret_source, uint64_t *ret_epoch);
