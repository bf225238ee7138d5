#pragma once
/* Sends a spool's batches to one upstream: live lane first (what was appended since the upstream was last reached,
 * newest first), then the backlog, oldest first. A fixed number of requests in flight, bytes within the receiver's
 * credit, back-off with jitter. Batches are sent as the bytes they are; layouts go with the first batch that names them
 * and when asked for. */
#include "hop/backoff.h"
#include "hop/spool.h"
#include "net/http_client.h"

struct sender;

struct sender_options {
    const char *name;        /* consumer of the spool, and in metrics */
    const char *const *urls; /* base URLs, in order of preference */
    size_t url_count;
    struct http_tls tls;
    const char *bearer_token; /* NULL: none */
    unsigned requests_max;    /* in flight; 0: 2 */
    int64_t timeout_ms;       /* of a request; 0: 30 s */
};

/* options and what it points to must outlive the sender. */
struct sender *sender_new(const struct seams *seams, struct spool *spool, size_t consumer, struct http_client *client,
                          const struct sender_options *options);
void sender_free(struct sender *sender);
DEFINE_CLEANUP(struct sender *, sender_free)
void sender_start(struct sender *sender);
/* Sends no more than what is in flight, then calls back (at the latest after deadline_ms). */
void sender_drain(struct sender *sender, int64_t deadline_ms, loop_fn *fn, void *arg);

struct sender_stats {
    bool up; /* the last exchange succeeded */
    char last_error[128];
    uint64_t requests_total, failures_total, batches_stored_total, batches_duplicate_total, batches_refused_total;
    uint64_t bytes_total, layouts_total, in_flight;
    int64_t last_success_ms; /* wall; 0: never */
};
void sender_stats(const struct sender *sender, struct sender_stats *ret_stats);
