#pragma once
/* What several roles have in common: labels of pods, services, nodes and namespaces on the targets behind others. */
#include "discovery/kubernetes_role.h"

#define META "__meta_kubernetes_"
/* "pod_label": of pod_label_NAME and pod_labelpresent_NAME. */
#define KUBERNETES_PREFIXES(what) ((struct kubernetes_prefixes){META what "_", META what "present_"})

struct str kubernetes_name(const struct json_node *object);
struct str kubernetes_namespace(const struct json_node *object);

/* Of an object's metadata: WHAT_label_NAME, WHAT_labelpresent_NAME, WHAT_annotation_NAME, WHAT_annotationpresent_NAME.
 */
#define kubernetes_metadata_labels(group, what, object)                                                                \
    do {                                                                                                               \
        kubernetes_group_map(group, KUBERNETES_PREFIXES(what "_label"), json_get2(object, "metadata", "labels"));      \
        kubernetes_group_map(group, KUBERNETES_PREFIXES(what "_annotation"),                                           \
                             json_get2(object, "metadata", "annotations"));                                            \
    } while (false)
/* __meta_kubernetes_namespace and, where the section attaches them, the labels of the namespace itself. */
void kubernetes_namespace_labels(struct kubernetes_group *group, const struct kubernetes_view *view,
                                 const struct json_node *object);
/* Of the node of this name, where the section attaches them and it is known. */
void kubernetes_node_labels(struct kubernetes_group *group, const struct kubernetes_view *view, struct str name);
void kubernetes_service_labels(struct kubernetes_group *group, const struct json_node *service);
void kubernetes_pod_labels(struct kubernetes_group *group, const struct json_node *pod);

/* The containers of a pod, then its init containers. */
struct kubernetes_container {
    const struct json_node *pod, *at; /* at NULL: none is left */
    bool is_init;
};
struct kubernetes_container kubernetes_first_container(const struct json_node *pod);
struct kubernetes_container kubernetes_next_container(struct kubernetes_container container);
#define KUBERNETES_FOREACH_CONTAINER(container, pod)                                                                   \
    for (struct kubernetes_container container = kubernetes_first_container(pod); (container).at;                      \
         (container) = kubernetes_next_container(container))
/* Of a container and one of its ports (NULL: none) to the current target. */
void kubernetes_container_labels(struct kubernetes_group *group, struct kubernetes_container container,
                                 const struct json_node *port);

void kubernetes_build_pod(const struct kubernetes_view *view, const struct json_node *pod,
                          struct kubernetes_group *group);
void kubernetes_build_endpoints(const struct kubernetes_view *view, const struct json_node *endpoints,
                                struct kubernetes_group *group);
void kubernetes_build_endpointslice(const struct kubernetes_view *view, const struct json_node *slice,
                                    struct kubernetes_group *group);
