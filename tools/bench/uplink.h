#pragma once
/* A real link in simulated time: batches into a spool, a sender, a receiver that keeps what it gets. What crosses it is
 * what the product would send for these batches to a receiver that has all earlier ones; no rule of it is repeated
 * here. */
#include "account.h"

struct uplink;

struct uplink *uplink_new(void);
void uplink_free(struct uplink *uplink);
/* What else wants to see what crosses the link; either may be NULL. */
struct uplink_tap {
    void (*request)(void *arg, struct str body);           /* frames, as the sender posts them */
    void (*batch)(void *arg, struct batch_reader *reader); /* of that request, stored above; at its beginning */
    void *arg;
};
void uplink_set_tap(struct uplink *uplink, const struct uplink_tap *tap);
/* Encodes a part with this envelope (source, epoch and seq are filled in here), sends it and waits until it is stored
 * above and read there with all checks. Releases the writer's layouts. Adds to account what crossed the link, and to
 * encode_ns and decode_ns thread CPU time; with account NULL neither is looked at. */
struct uplink_cost {
    int64_t encode_ns, decode_ns;
};
void uplink_send(struct uplink *uplink, struct batch_writer *writer, struct envelope *envelope, struct account *account,
                 struct uplink_cost *cost);
