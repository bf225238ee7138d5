#pragma once
/* The link to the primary: a sender of the spool's one consumer, its HTTP client, and a copy of what the configuration
 * says about them, so that a reload can change it. */
#include "config.h"
#include "hop/sender.h"

#define UPSTREAM_CONSUMER 0
#define UPSTREAM_NAME     "primary"

struct upstream;

/* -errno and the reason for a token that cannot be read. name: of this end, for simulated links. */
MUST_CHECK int upstream_new(const struct seams *seams, struct spool *spool, const struct secondary_config *config,
                            char ret_error[static 256], struct upstream **ret_upstream);
void upstream_free(struct upstream *upstream); /* what is in flight is pending again */
DEFINE_CLEANUP(struct upstream *, upstream_free)
struct sender *upstream_sender(const struct upstream *upstream);
const char *upstream_url(const struct upstream *upstream); /* the preferred one */
/* Says the same as another: nothing is to be changed. */
bool upstream_equal(const struct upstream *a, const struct upstream *b);
