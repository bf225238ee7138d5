#pragma once
/* Receives batches: POST /api/v1/batches, body = frames (layouts, then batches). Checks who may write what, keeps the
 * promise "stored means on disk", drops duplicates, asks for missing layouts, sets malformed batches aside.
 *
 * The owner's accept function gets each new batch after it is on disk, in the order of its spool. */
#include "hop/answer.h"
#include "hop/spool.h"
#include "net/auth.h"
#include "net/http_server.h"

#define RECEIVER_REQUEST_BYTES_MAX (16 * MIB)
#define RECEIVER_PATH              "/api/v1/batches"

struct receiver;

/* After the batch is on disk. bytes are valid during the call. An error is a bug or damage: it is counted, the batch
 * stays in the spool. May be NULL. */
typedef int receiver_accept_fn(void *arg, const struct spool_batch *batch, struct str bytes);

struct receiver_options {
    const char *datacenter; /* batches of another are refused; NULL: any */
    /* True: auth identities are names of secondaries (at a primary); false: of datacenters (at a global). */
    bool identity_is_secondary;
    bool is_end;                  /* stored here is delivered (the global) */
    uint64_t in_flight_bytes_max; /* of requests being handled; past it: busy */
    const char *rejects_dir;      /* malformed batches, bounded by rejects_bytes_max */
    uint64_t rejects_bytes_max;
    int64_t ahead_max_ms; /* 10 min: windows further ahead than this are kept but reported */
    /* Each refusal, as "datacenter/secondary" (or the peer's address) and why; the owner logs and limits. May be NULL.
     */
    void (*on_refused)(void *arg, struct str source, const char *reason);
    void *on_refused_arg;
    receiver_accept_fn *accept; /* may be NULL */
    void *accept_arg;
};

struct receiver *receiver_new(const struct seams *seams, struct spool *spool, const struct auth *auth,
                              const struct receiver_options *options);
void receiver_free(struct receiver *receiver);
DEFINE_CLEANUP(struct receiver *, receiver_free)
void receiver_set_auth(struct receiver *receiver, const struct auth *auth); /* at reload */
/* The handler of RECEIVER_PATH: on the loop, answers when the group is synced. */
void receiver_handle(struct receiver *receiver, struct http_exchange *exchange);

struct receiver_source { /* what is known of a source */
    struct source_id source;
    uint64_t epoch;
    char peer[64];
    int64_t last_received_ms, closed_through_ms, skew_ms;
    uint64_t batches_total, duplicates_total, refused_total;
    int64_t newest_window_ms;
    uint64_t targets_expected, targets_answered; /* of its newest complete window, summed over parts */
    uint64_t parts_expected, parts_answered;     /* of the newest window so far */
};
size_t receiver_source_count(const struct receiver *receiver);
const struct receiver_source *receiver_source_at(const struct receiver *receiver, size_t index);

struct receiver_stats {
    uint64_t requests_total, batches_total, bytes_total, duplicates_total, missing_total, malformed_total;
    uint64_t unsupported_total, unauthorised_total, conflicts_total, busy_total, accept_errors_total, gaps_total;
    uint64_t ahead_total; /* batches whose window is too far ahead of our clock */
};
void receiver_stats(const struct receiver *receiver, struct receiver_stats *ret_stats);
