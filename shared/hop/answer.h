#pragma once
/* What a receiver says to a request of frames. msgpack; docs/batch-format.md. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/crc.h"

#define ANSWER_BYTES_MAX (1 * MIB)

enum batch_verdict {
    VERDICT_STORED = 0,
    VERDICT_DUPLICATE = 1,
    VERDICT_MISSING = 2,      /* layouts: see missing; send them with the batch again */
    VERDICT_MALFORMED = 3,    /* set aside by the receiver, counted; never to be sent again */
    VERDICT_UNSUPPORTED = 4,  /* version: keep, try slowly, alarm */
    VERDICT_UNAUTHORISED = 5, /* keep, try slowly, alarm */
    VERDICT_BUSY = 6,         /* try again after retry_after_ms */
    VERDICT_CONFLICT = 7      /* seq known with another checksum: alarm at both ends; not sent again */
};
const char *batch_verdict_name(enum batch_verdict verdict);

struct answer_mark {
    struct str datacenter, secondary;
    uint64_t incarnation, epoch;
    uint64_t delivered_seq; /* need not be kept up to here */
};

struct answer {
    uint64_t receiver_incarnation;
    uint32_t body_version_max; /* the receiver (and all behind it) take */
    int64_t retry_after_ms;
    uint64_t credit_bytes;     /* the sender may have in flight */
    const uint8_t *verdicts;   /* enum batch_verdict, one per batch or gap of the request, in order */
    uint32_t verdict_count;
    const struct hash128 *missing;
    uint32_t missing_count;
    const struct answer_mark *marks;
    uint32_t mark_count;
};
int answer_encode(const struct answer *answer, struct buf *out);
MUST_CHECK int answer_decode(const void *bytes, size_t len, struct arena *arena, struct answer *ret_answer);
