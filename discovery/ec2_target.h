#pragma once
/* An instance of EC2 as a target: its address, and Prometheus' labels __meta_ec2_*. */
#include "base/arena.h"
#include "discovery/ec2_answer.h"
#include "target/discovery_plugin.h"

struct ec2_target_place { /* what an instance's own description does not tell */
    struct str region;
    struct str zone_id; /* of the instance's zone; empty: not known */
    uint16_t port;
};

/* One target in a group of its own, in the arena (which has no ceiling: an instance has), with views of the instance.
 * False: it has no private IP address, so that it is no target, as in Prometheus. */
bool ec2_target_group(const struct ec2_instance *instance, const struct ec2_target_place *place, struct arena *arena,
                      struct discovery_group *ret_group);
