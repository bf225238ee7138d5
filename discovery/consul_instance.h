#pragma once
/* One instance of a service, as /v1/health/service/NAME lists it: its labels, and what its checks say. */
#include "discovery/json_items.h"
#include "target/discovery_plugin.h"

/* The target with the labels that Prometheus gives it, in the arena. -EBADMSG: it is no such instance; -EMSGSIZE: the
 * arena is full; ret_reason says so. */
int consul_instance_read(const struct json_node *item, const char *tag_separator, struct arena *arena,
                         struct discovery_target *ret_target, char ret_reason[static 256]);
/* A hash of the node's name by which consul_check_read knows it again. */
uint64_t consul_instance_node(const struct json_node *item);

/* What one of /v1/health/state/any says: two of the same check differ when the labels it makes may. */
struct consul_check {
    struct str service; /* empty: it is the node's own */
    uint64_t node;      /* hash of its name */
    uint64_t state;
};
int consul_check_read(const struct json_node *item, struct consul_check *ret_check, char ret_reason[static 256]);
