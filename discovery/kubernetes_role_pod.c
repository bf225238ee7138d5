#include "base/fail.h"
#include "discovery/kubernetes_role_parts.h"

static struct str ready_of(const struct json_node *pod)
{
    static const struct {
        struct str status, label;
    } words[] = {{{"True", 4}, {"true", 4}}, {{"False", 5}, {"false", 5}}};
    JSON_FOREACH(condition, json_get2(pod, "status", "conditions"))
    {
        if (!str_equal(json_get_text(condition, "type"), STR("Ready")))
            continue;
        for (size_t i = 0; i < ARRAY_LEN(words); i++)
            if (str_equal(json_get_text(condition, "status"), words[i].status))
                return words[i].label;
    }
    return STR("unknown");
}

void kubernetes_pod_labels(struct kubernetes_group *group, const struct json_node *pod)
{
    const struct json_node *status = json_get(pod, "status"), *metadata = json_get(pod, "metadata");
    kubernetes_group_label(group, META "pod_name", kubernetes_name(pod));
    kubernetes_group_label(group, META "pod_ip", json_get_text(status, "podIP"));
    kubernetes_group_label(group, META "pod_ready", ready_of(pod));
    kubernetes_group_label(group, META "pod_phase", json_get_text(status, "phase"));
    kubernetes_group_label(group, META "pod_node_name", json_get_text(json_get(pod, "spec"), "nodeName"));
    kubernetes_group_label(group, META "pod_host_ip", json_get_text(status, "hostIP"));
    kubernetes_group_label(group, META "pod_uid", json_get_text(metadata, "uid"));
    JSON_FOREACH(owner, json_get(metadata, "ownerReferences"))
    {
        if (!json_is_true(owner, "controller"))
            continue;
        kubernetes_group_label(group, META "pod_controller_kind", json_get_text(owner, "kind"));
        kubernetes_group_label(group, META "pod_controller_name", json_get_text(owner, "name"));
        break;
    }
    kubernetes_metadata_labels(group, "pod", pod);
}

/* ---- containers ---- */

static const struct json_node *first_of(const struct json_node *pod, const char *list)
{
    const struct json_node *containers = json_get2(pod, "spec", list);
    return containers && containers->kind == JSON_LIST ? containers->children : NULL;
}

struct kubernetes_container kubernetes_first_container(const struct json_node *pod)
{
    struct kubernetes_container first = {pod, first_of(pod, "containers"), false};
    if (first.at)
        return first;
    return (struct kubernetes_container){pod, first_of(pod, "initContainers"), true};
}

struct kubernetes_container kubernetes_next_container(struct kubernetes_container container)
{
    container.at = container.at->next;
    if (container.at || container.is_init)
        return container;
    return (struct kubernetes_container){container.pod, first_of(container.pod, "initContainers"), true};
}

static struct str container_id(struct kubernetes_container container)
{
    const char *list = container.is_init ? "initContainerStatuses" : "containerStatuses";
    struct str name = json_get_text(container.at, "name");
    JSON_FOREACH(status, json_get2(container.pod, "status", list))
    if (str_equal(json_get_text(status, "name"), name))
        return json_get_text(status, "containerID");
    return STR_NULL;
}

void kubernetes_container_labels(struct kubernetes_group *group, struct kubernetes_container container,
                                 const struct json_node *port)
{
    kubernetes_group_label(group, META "pod_container_name", json_get_text(container.at, "name"));
    kubernetes_group_label(group, META "pod_container_id", container_id(container));
    kubernetes_group_label(group, META "pod_container_image", json_get_text(container.at, "image"));
    kubernetes_group_label(group, META "pod_container_init", container.is_init ? STR("true") : STR("false"));
    if (!port)
        return;
    kubernetes_group_label(group, META "pod_container_port_name", json_get_text(port, "name"));
    kubernetes_group_label(group, META "pod_container_port_number", json_scalar(port, "containerPort"));
    kubernetes_group_label(group, META "pod_container_port_protocol", json_get_text(port, "protocol"));
}

/* ---- the role ---- */

static void container_targets(struct kubernetes_group *group, struct kubernetes_container container, struct str ip)
{
    const struct json_node *ports = json_get(container.at, "ports");
    JSON_FOREACH(port, ports)
    {
        kubernetes_group_target(group, kubernetes_group_address(group, ip, json_scalar(port, "containerPort")));
        kubernetes_container_labels(group, container, port);
    }
    if (ports && ports->count > 0)
        return;
    kubernetes_group_target(group, ip); /* a port is for relabelling to add */
    kubernetes_container_labels(group, container, NULL);
}

void kubernetes_build_pod(const struct kubernetes_view *view, const struct json_node *pod,
                          struct kubernetes_group *group)
{
    struct str ip = json_get_text(json_get(pod, "status"), "podIP");
    if (ip.len == 0)
        return; /* it starts, or was evicted */
    kubernetes_namespace_labels(group, view, pod);
    kubernetes_pod_labels(group, pod);
    kubernetes_node_labels(group, view, json_get_text(json_get(pod, "spec"), "nodeName"));
    KUBERNETES_FOREACH_CONTAINER(container, pod)
    container_targets(group, container, ip);
}
