#pragma once
/* A real link in simulated time: batches into a spool, a sender, a receiver that keeps what it gets. What crosses it is
 * what the product would send for these batches to a receiver that has all earlier ones; no rule of it is repeated
 * here. */
#include "account.h"

struct uplink;

struct uplink *uplink_new(void);
void uplink_free(struct uplink *uplink);
/* Encodes a part with this envelope (source, epoch and seq are filled in here), sends it and waits until it is stored
 * above and read there with all checks. Releases the writer's layouts. Adds to account what crossed the link, and to
 * encode_ns and decode_ns thread CPU time. */
struct uplink_cost {
    int64_t encode_ns, decode_ns;
};
void uplink_send(struct uplink *uplink, struct batch_writer *writer, struct envelope *envelope, struct account *account,
                 struct uplink_cost *cost);
