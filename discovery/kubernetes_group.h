#pragma once
/* A group of targets under construction: labels of all of them first, then target by target. Names are made here;
 * values and addresses are views that must live until it is said. */
#include "discovery/json_items.h"
#include "target/discovery_plugin.h"

struct kubernetes_group {
    struct arena arena;   /* what was made for it, whoever made it */
    struct label *labels; /* the group's, then each target's */
    size_t label_count, label_capacity;
    struct discovery_target *targets; /* their labels come when the group is said */
    size_t *firsts;                   /* where in `labels` each target's begin */
    size_t target_count, target_capacity;
    size_t bytes; /* of names and values */
};

void kubernetes_group_init(struct kubernetes_group *group);
void kubernetes_group_done(struct kubernetes_group *group);
void kubernetes_group_reset(struct kubernetes_group *group); /* empty again, memory kept */

/* Further labels are this target's. */
void kubernetes_group_target(struct kubernetes_group *group, struct str address);
/* Nothing for an empty value. A group that passes a ceiling of the host's stops growing just behind it: the host
 * refuses it and says so. */
void kubernetes_group_label(struct kubernetes_group *group, const char *name, struct str value);
struct kubernetes_prefixes {
    const char *value, *present; /* "__meta_kubernetes_pod_label_", "__meta_kubernetes_pod_labelpresent_" */
};
/* Two labels, of the value and of its presence ("true"), for each member of a map such as labels. Of keys that make one
 * name the last counts. */
void kubernetes_group_map(struct kubernetes_group *group, struct kubernetes_prefixes prefixes,
                          const struct json_node *map);
/* host:port, [v6]:port; the host alone where there is no port. In the arena. */
struct str kubernetes_group_address(struct kubernetes_group *group, struct str host, struct str port);

/* Says it under this name. */
void kubernetes_group_say(struct kubernetes_group *group, const struct discovery_api *api, struct discovery_host *host,
                          struct str source);
