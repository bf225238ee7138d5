#pragma once
/* Private to sender*.c.
 *
 *   sender.c         when to send, where to, what an answer means
 *   sender_fill.c    what goes into a request
 */
#include "base/fail.h"
#include "base/map.h"
#include "hop/answer.h"
#include "hop/layout_packer.h"
#include "hop/receiver.h"
#include "hop/sender.h"

/* Aimed at; one batch and its layouts may take it further, to the receiver's limit. */
#define REQUEST_BYTES_MAX   (8 * MIB)
#define REQUEST_BATCHES_MAX 64
#define REQUESTS_MAX        16
#define STORED_MAX          65536
#define ASIDE_MAX           65536 /* batches set aside; past it the sender rests as a whole */

struct sender_request {
    struct sender *sender;
    struct http_call *call;
    uint64_t ids[REQUEST_BATCHES_MAX];
    uint32_t count;
    struct hash128 *layouts; /* sent along */
    uint32_t layout_count, layout_capacity;
    size_t bytes;
    size_t url;
    uint64_t turn; /* of the sender when it was posted */
};

struct sender_stored { /* what an answer said was stored */
    uint64_t id, turn;
};

struct sender {
    struct seams seams;
    struct spool *spool;
    size_t consumer;
    struct http_client *client;
    const struct sender_options *options;
    struct sender_request requests[REQUESTS_MAX];
    unsigned requests_max, in_flight;
    /* A mark that comes with an answer is of the time when the upstream took the request, and knows nothing of what
     * other answers said was stored since it was posted. Those are kept here, by turn, while such a request is under
     * way. */
    uint64_t turn; /* answers that came */
    struct sender_stored *stored;
    size_t stored_count, stored_capacity;
    uint64_t stored_lost_turn; /* past STORED_MAX the oldest are forgotten: marks for requests of before are not used */
    uint64_t in_flight_bytes, credit_bytes;
    size_t url; /* of the options, in use */
    int64_t url_since_ms;
    struct map known; /* low halves of hashes of layouts that the upstream has; items are the sender itself */
    struct map along; /* the same of the request being filled */
    struct layout_packer *packer;
    bool lacking; /* the upstream lacked layouts and took nothing in: it gets what needs no bases */
    struct backoff backoff;
    struct loop_timer next_turn, retry, ask, slow;
    struct buf body;
    bool started, resting; /* resting: until retry runs */
    bool noted;            /* a turn is due already */
    bool ask_due;
    size_t ask_at; /* in the walk over what is stored but not delivered */
    /* Refused until people act (version, authority): in flight for the spool until the slow timer gives them back, so
     * that they hold up no other. */
    uint64_t *aside;
    size_t aside_count;
    bool draining;
    loop_fn *drained;
    void *drained_arg;
    struct loop_timer drain;
    struct sender_stats stats;
};

/* Fills sender->body and the request. Nothing to send: the body stays empty. */
void sender_fill(struct sender_request *request);
void sender_forget_layouts(struct sender *sender); /* another upstream, which knows none of them */
/* It is known there, or goes along; arg: the sender. */
bool sender_sends_layout(void *arg, struct hash128 hash);
bool sender_knows_layout(const struct sender *sender, struct hash128 hash);

/* ---- sender_marks.c ---- */

/* An answer says that this batch is stored above. */
void sender_note_stored(struct sender *sender, uint64_t id);
/* After an answer: what no request under way needs any longer. */
void sender_forget_stored(struct sender *sender);
/* Ids in ascending order of what other answers said was stored since the request was posted; owned by the caller. */
uint64_t *sender_stored_since(const struct sender_request *request, size_t *ret_count);
void sender_take_marks(const struct sender_request *request, const struct answer *answer, const uint64_t *except,
                       size_t except_count);
