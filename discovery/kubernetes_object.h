#pragma once
/* Kubernetes' kinds, and of their objects what labels are made of: packed into bytes to be kept, and unpacked into the
 * tree that they were read as. An object of 10 KiB takes some 2 KiB so. */
#include "base/buf.h"
#include "discovery/json_items.h"

enum kubernetes_kind { /* the first six are roles, in the order of their names in configuration */
                       KUBERNETES_ENDPOINTS,
                       KUBERNETES_ENDPOINTSLICE,
                       KUBERNETES_INGRESS,
                       KUBERNETES_NODE,
                       KUBERNETES_POD,
                       KUBERNETES_SERVICE,
                       KUBERNETES_ROLES,
                       KUBERNETES_NAMESPACE = KUBERNETES_ROLES,
                       KUBERNETES_KINDS
};

struct kubernetes_field; /* a key that is kept */

struct kubernetes_kind_info {
    const char *api, *plural; /* their list is at API/PLURAL or API/namespaces/NAMESPACE/PLURAL */
    const char *source;       /* of groups: SOURCE/NAMESPACE/NAME */
    bool in_namespace;
    const struct kubernetes_field *fields;
};
extern const struct kubernetes_kind_info kubernetes_kinds[KUBERNETES_KINDS];

/* Appends the object, without what no label is made of. -EMSGSIZE: the buffer's ceiling. */
MUST_CHECK int kubernetes_object_pack(enum kubernetes_kind kind, const struct json_node *object, struct buf *packed);
/* What was packed; its texts are views into `packed`, its nodes are in the arena. */
const struct json_node *kubernetes_object_unpack(enum kubernetes_kind kind, struct str packed, struct arena *arena);
