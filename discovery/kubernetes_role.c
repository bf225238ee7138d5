/* Roles of one kind, and what all of them share. Pods are in kubernetes_role_pod.c, what stands behind services in
 * kubernetes_role_endpoints.c. */
#include "discovery/kubernetes_role.h"

#include "base/fail.h"
#include "discovery/kubernetes_role_parts.h"
#include "discovery/meta_name.h"

struct str kubernetes_name(const struct json_node *object)
{
    return json_get_text(json_get(object, "metadata"), "name");
}

struct str kubernetes_namespace(const struct json_node *object)
{
    return json_get_text(json_get(object, "metadata"), "namespace");
}

void kubernetes_namespace_labels(struct kubernetes_group *group, const struct kubernetes_view *view,
                                 const struct json_node *object)
{
    struct str name = kubernetes_namespace(object);
    kubernetes_group_label(group, META "namespace", name);
    if (!view->attach_namespace)
        return;
    const struct json_node *known = view->find(view->arg, KUBERNETES_NAMESPACE, STR_NULL, name);
    kubernetes_metadata_labels(group, "namespace", known);
}

void kubernetes_node_labels(struct kubernetes_group *group, const struct kubernetes_view *view, struct str name)
{
    if (!view->attach_node || name.len == 0)
        return;
    const struct json_node *node = view->find(view->arg, KUBERNETES_NODE, STR_NULL, name);
    if (!node)
        return;
    kubernetes_group_label(group, META "node_name", name);
    kubernetes_group_map(group, KUBERNETES_PREFIXES("node_label"), json_get2(node, "metadata", "labels"));
}

/* ---- node ---- */

static struct str lower(struct kubernetes_group *group, struct str text)
{
    char *copy = arena_alloc(&group->arena, text.len + 1);
    for (size_t i = 0; i < text.len; i++)
        copy[i] = (char)(text.ptr[i] >= 'A' && text.ptr[i] <= 'Z' ? text.ptr[i] | 0x20 : text.ptr[i]);
    return str_of(copy, text.len);
}

static struct str address_of_type(const struct json_node *addresses, struct str type)
{
    JSON_FOREACH(address, addresses)
    if (str_equal(json_get_text(address, "type"), type))
        return json_get_text(address, "address");
    return STR_NULL;
}

static struct str node_address(const struct json_node *addresses)
{
    static const char *const order[] = {"InternalIP",  "InternalDNS",  "ExternalIP",
                                        "ExternalDNS", "LegacyHostIP", "Hostname"};
    struct str address = STR_NULL;
    for (size_t i = 0; address.len == 0 && i < ARRAY_LEN(order); i++)
        address = address_of_type(addresses, str_from(order[i]));
    return address;
}

static void build_node(const struct kubernetes_view *view, const struct json_node *node, struct kubernetes_group *group)
{
    (void)view;
    const struct json_node *addresses = json_get2(node, "status", "addresses");
    struct str host = node_address(addresses), name = kubernetes_name(node);
    struct str port = json_scalar(json_get(json_get2(node, "status", "daemonEndpoints"), "kubeletEndpoint"), "Port");
    if (host.len == 0)
        return;
    kubernetes_group_label(group, META "node_name", name);
    kubernetes_group_label(group, META "node_provider_id", json_get_text(json_get(node, "spec"), "providerID"));
    kubernetes_metadata_labels(group, "node", node);
    JSON_FOREACH(condition, json_get2(node, "status", "conditions"))
    {
        struct str type = lower(group, json_get_text(condition, "type"));
        kubernetes_group_label(group, meta_name(&group->arena, STR(META "node_condition_"), type).ptr,
                               lower(group, json_get_text(condition, "status")));
    }
    kubernetes_group_target(group, kubernetes_group_address(group, host, port.len > 0 ? port : STR("0")));
    kubernetes_group_label(group, "instance", name);
    JSON_FOREACH(address, addresses)
    {
        struct str type = json_get_text(address, "type"), text = json_get_text(address, "address");
        if (address_of_type(addresses, type).ptr == text.ptr) /* the first of its type */
            kubernetes_group_label(group, meta_name(&group->arena, STR(META "node_address_"), type).ptr, text);
    }
}

/* ---- service ---- */

void kubernetes_service_labels(struct kubernetes_group *group, const struct json_node *service)
{
    if (!service)
        return;
    kubernetes_group_label(group, META "service_name", kubernetes_name(service));
    kubernetes_metadata_labels(group, "service", service);
}

static void build_service(const struct kubernetes_view *view, const struct json_node *service,
                          struct kubernetes_group *group)
{
    const struct json_node *spec = json_get(service, "spec");
    struct str type = json_get_text(spec, "type"), name = kubernetes_name(service);
    struct str name_space = kubernetes_namespace(service);
    struct str host =
        str_from(arena_printf(&group->arena, STR_FMT "." STR_FMT ".svc", STR_ARG(name), STR_ARG(name_space)));
    kubernetes_namespace_labels(group, view, service);
    kubernetes_service_labels(group, service);
    kubernetes_group_label(group, META "service_type", type);
    if (str_equal(type, STR("ExternalName")))
        kubernetes_group_label(group, META "service_external_name", json_get_text(spec, "externalName"));
    else
        kubernetes_group_label(group, META "service_cluster_ip", json_get_text(spec, "clusterIP"));
    if (str_equal(type, STR("LoadBalancer")))
        kubernetes_group_label(group, META "service_loadbalancer_ip", json_get_text(spec, "loadBalancerIP"));
    JSON_FOREACH(port, json_get(spec, "ports"))
    {
        kubernetes_group_target(group, kubernetes_group_address(group, host, json_scalar(port, "port")));
        kubernetes_group_label(group, META "service_port_name", json_get_text(port, "name"));
        kubernetes_group_label(group, META "service_port_number", json_scalar(port, "port"));
        kubernetes_group_label(group, META "service_port_protocol", json_get_text(port, "protocol"));
    }
}

/* ---- ingress ---- */

/* A wildcard stands for the first part of a name. */
static bool host_matches(struct str pattern, struct str host)
{
    size_t dot = str_find(host, '.');
    if (str_equal(pattern, host))
        return true;
    return str_starts_with(pattern, STR("*.")) && dot < host.len &&
           str_equal(str_of(pattern.ptr + 1, pattern.len - 1), str_of(host.ptr + dot, host.len - dot));
}

static bool has_tls(const struct json_node *spec, struct str host)
{
    JSON_FOREACH(tls, json_get(spec, "tls"))
    JSON_FOREACH(pattern, json_get(tls, "hosts"))
    if (host_matches(pattern->text, host))
        return true;
    return false;
}

static void ingress_target(struct kubernetes_group *group, struct str host, struct str path, const char *scheme)
{
    kubernetes_group_target(group, host);
    kubernetes_group_label(group, META "ingress_scheme", str_from(scheme));
    kubernetes_group_label(group, META "ingress_host", host);
    kubernetes_group_label(group, META "ingress_path", path.len > 0 ? path : STR("/"));
}

static void build_ingress(const struct kubernetes_view *view, const struct json_node *ingress,
                          struct kubernetes_group *group)
{
    const struct json_node *spec = json_get(ingress, "spec");
    kubernetes_namespace_labels(group, view, ingress);
    kubernetes_group_label(group, META "ingress_name", kubernetes_name(ingress));
    kubernetes_group_label(group, META "ingress_class_name", json_get_text(spec, "ingressClassName"));
    kubernetes_metadata_labels(group, "ingress", ingress);
    JSON_FOREACH(rule, json_get(spec, "rules"))
    {
        struct str host = json_get_text(rule, "host");
        const char *scheme = has_tls(spec, host) ? "https" : "http";
        const struct json_node *http = json_get(rule, "http");
        if (!http)
            ingress_target(group, host, STR_NULL, scheme);
        JSON_FOREACH(path, json_get(http, "paths"))
        ingress_target(group, host, json_get_text(path, "path"), scheme);
    }
}

/* ---- all ---- */

#define BEHIND_SERVICES (1u << KUBERNETES_SERVICE | 1u << KUBERNETES_POD)

static const struct role {
    unsigned joins;
    void (*build)(const struct kubernetes_view *view, const struct json_node *object, struct kubernetes_group *group);
} roles[KUBERNETES_ROLES] = {
    [KUBERNETES_ENDPOINTS] = {BEHIND_SERVICES, kubernetes_build_endpoints},
    [KUBERNETES_ENDPOINTSLICE] = {BEHIND_SERVICES, kubernetes_build_endpointslice},
    [KUBERNETES_INGRESS] = {0, build_ingress},
    [KUBERNETES_NODE] = {0, build_node},
    [KUBERNETES_POD] = {0, kubernetes_build_pod},
    [KUBERNETES_SERVICE] = {0, build_service},
};

unsigned kubernetes_role_joins(enum kubernetes_kind role)
{
    return roles[role].joins;
}

void kubernetes_role_build(enum kubernetes_kind role, const struct kubernetes_view *view,
                           const struct json_node *object, struct kubernetes_group *group)
{
    ASSERT(group->label_count == 0 && group->target_count == 0);
    roles[role].build(view, object, group);
}
