#pragma once
/* Receives what others send by Prometheus' remote write (1.0): POST /api/v1/write.
 *
 * Each sender is a pseudo-source: what it sends becomes batches of plain samples in the log, and is acknowledged when
 * they are on disk, as batches of secondaries are. Requests are turned into batches in one thread; the log is the
 * loop's. */
#include "base/json_write.h"
#include "hop/receiver.h"
#include "write/convert.h"

#define WRITE_PATH        "/api/v1/write"
#define WRITE_SENDERS_MAX 1000

struct write_sender {
    const char *name;              /* who it is: of its token, or the common name of its certificate */
    const char *datacenter;        /* NULL: that of the options */
    const char *bearer_token_file; /* NULL: by certificate only */
    bool honor_datacenter;         /* its series keep their own label; none is set */
    bool anonymous;                /* who shows no token is this one; at most one sender */
};

struct write_options {
    const char *datacenter;       /* of the pseudo-source of a sender that has none */
    int64_t age_max_ms;           /* older samples are refused, */
    int64_t ahead_max_ms;         /* and those further ahead */
    uint64_t in_flight_bytes_max; /* of bodies; past it: come again */
    receiver_accept_fn *accept;   /* gets each batch when it is on disk */
    void *accept_arg;
    /* NULL, or why nothing can be taken in now: said to the sender, who comes again. May be NULL. */
    const char *(*why_busy)(void *arg);
    void *why_busy_arg;
    /* Something of a sender (or of a peer that is none) was refused; the owner logs and limits. May be NULL. */
    void (*on_refused)(void *arg, struct str sender, const char *reason);
    void *on_refused_arg;
};

struct write;

/* Nobody may write before write_set_senders. */
struct write *write_new(const struct seams *seams, struct spool *log, const struct write_options *options);
/* Requests that run are answered 503; their syncs of the log call back later and find nothing left to do. Not from a
 * callback. */
void write_free(struct write *write);
DEFINE_CLEANUP(struct write *, write_free)
/* At the start and at each reload; counters of senders that stay go on. None: remote write is off. -EINVAL and a text
 * for a token file that cannot be used: all is as before. */
MUST_CHECK int write_set_senders(struct write *write, const struct write_sender *senders, size_t count,
                                 char ret_error[static 256]);
/* The handler of WRITE_PATH: on the loop, answers later. */
void write_handle(struct write *write, struct http_exchange *exchange);
/* tributary_remote_write_*. */
void write_metrics(const struct write *write, struct buf *out);
/* An object: what came of whom. */
void write_json(const struct write *write, struct json_writer *json);
