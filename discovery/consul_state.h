#pragma once
/* What all checks of a datacenter say, as one number for each service and each node, so that two answers of
 * /v1/health/state/any tell which services have changed without being kept. */
#include "base/map.h"
#include "discovery/consul_instance.h"

#define CONSUL_STATE_NAMES_MAX 500000 /* services and nodes, 100 bytes each while two answers are compared */

struct consul_sums {
    struct map services, nodes; /* by hash of the name */
};
struct consul_state {
    struct consul_sums known; /* of the last whole answer */
    struct consul_sums next;  /* of the answer under way */
    bool complete;            /* there was a whole answer */
};

void consul_state_init(struct consul_state *state);
void consul_state_done(struct consul_state *state);
void consul_state_begin(struct consul_state *state);
/* -EMSGSIZE: too many names. */
int consul_state_add(struct consul_state *state, const struct consul_check *check, char ret_reason[static 256]);
/* Between the last check and settle: whether the answer says other things than the one before, or there was none. */
bool consul_state_differs(const struct consul_state *state, struct str service, const uint64_t *nodes, size_t count);
void consul_state_settle(struct consul_state *state);
