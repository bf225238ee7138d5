#pragma once
/* An object of a role as a group of targets, with Prometheus' labels. */
#include "discovery/kubernetes_group.h"
#include "discovery/kubernetes_object.h"

struct kubernetes_view { /* what else a section sees */
    /* An object as it is known now, NULL: it is not. Of a kind without namespaces name_space is empty. It lives as long
     * as the group that is built. */
    const struct json_node *(*find)(void *arg, enum kubernetes_kind kind, struct str name_space, struct str name);
    void *arg;
    bool attach_node, attach_namespace;
};

/* Kinds that a role needs beside its own, as bits 1 << kind; those of attach_metadata come on top. */
unsigned kubernetes_role_joins(enum kubernetes_kind role);

/* Into an empty group; one without targets when there is nothing to scrape (a pod without an address, ...). */
void kubernetes_role_build(enum kubernetes_kind role, const struct kubernetes_view *view,
                           const struct json_node *object, struct kubernetes_group *group);
