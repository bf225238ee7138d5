/* What stands behind services: addresses of Endpoints and of EndpointSlices, with the labels of the service and of the
 * pods behind it; and the pods' other ports, which the service does not name. */
#include "base/fail.h"
#include "base/map.h"
#include "discovery/kubernetes_role_parts.h"

struct ports { /* of one pod, that have targets already */
    const struct json_node *pod;
    struct str *numbers;
    size_t count, capacity;
};

struct build {
    const struct kubernetes_view *view;
    struct kubernetes_group *group;
    struct map seen;      /* struct ports by pod; what find gives for one pod is one tree */
    struct ports **order; /* as they came */
    size_t count, capacity;
};

static void build_done(struct build *build)
{
    for (size_t i = 0; i < build->count; i++) {
        mem_free(build->order[i]->numbers);
        mem_free(build->order[i]);
    }
    mem_free(build->order);
    map_done(&build->seen);
}

static struct ports *ports_of(struct build *build, const struct json_node *pod)
{
    uint64_t hash = str_hash(str_of(&pod, sizeof(pod)));
    struct ports *ports = map_get(&build->seen, hash, NULL, NULL);
    if (ports)
        return ports;
    ports = mem_zalloc(sizeof(*ports));
    ports->pod = pod;
    map_put(&build->seen, hash, ports);
    if (build->count == build->capacity) {
        build->capacity = MAX(16, build->capacity * 2);
        build->order = mem_resize(build->order, build->capacity, sizeof(struct ports *));
    }
    return build->order[build->count++] = ports;
}

static bool ports_has(const struct ports *ports, struct str number)
{
    for (size_t i = 0; i < ports->count; i++)
        if (str_equal(ports->numbers[i], number))
            return true;
    return false;
}

static void ports_add(struct ports *ports, struct str number)
{
    if (ports_has(ports, number))
        return;
    if (ports->count == ports->capacity) {
        ports->capacity = MAX(4, ports->capacity * 2);
        ports->numbers = mem_resize(ports->numbers, ports->capacity, sizeof(*ports->numbers));
    }
    ports->numbers[ports->count++] = number;
}

static const struct json_node *port_of_number(struct kubernetes_container container, struct str number)
{
    JSON_FOREACH(port, json_get(container.at, "ports"))
    if (number.len > 0 && str_equal(json_scalar(port, "containerPort"), number))
        return port;
    return NULL;
}

/* Of init containers those that go on running as sidecars count. */
static bool may_listen(struct kubernetes_container container)
{
    return !container.is_init || str_equal(json_get_text(container.at, "restartPolicy"), STR("Always"));
}

/* Labels of the pod behind the current target, and of its container with this port. */
static void add_pod(struct build *build, const struct json_node *target_ref, struct str port_number)
{
    if (!str_equal(json_get_text(target_ref, "kind"), STR("Pod")))
        return;
    const struct json_node *pod = build->view->find(
        build->view->arg, KUBERNETES_POD, json_get_text(target_ref, "namespace"), json_get_text(target_ref, "name"));
    if (!pod)
        return;
    kubernetes_pod_labels(build->group, pod);
    struct kubernetes_container match = {0};
    KUBERNETES_FOREACH_CONTAINER(container, pod)
    if (may_listen(container) && port_of_number(container, port_number))
        match = container; /* of several the last counts, as in Prometheus */
    if (match.at)
        kubernetes_container_labels(build->group, match, port_of_number(match, port_number));
    ports_add(ports_of(build, pod), port_number);
}

/* Ports of the pods that have been seen which no target has yet. */
static void add_other_ports(struct build *build)
{
    for (size_t i = 0; i < build->count; i++) {
        const struct ports *ports = build->order[i];
        struct str ip = json_get_text(json_get(ports->pod, "status"), "podIP");
        KUBERNETES_FOREACH_CONTAINER(container, ports->pod)
        JSON_FOREACH(port, json_get(container.at, "ports"))
        {
            struct str number = json_scalar(port, "containerPort");
            if (ip.len == 0 || !may_listen(container) || ports_has(ports, number))
                continue;
            kubernetes_group_target(build->group, kubernetes_group_address(build->group, ip, number));
            kubernetes_container_labels(build->group, container, port);
            kubernetes_pod_labels(build->group, ports->pod);
        }
    }
}

/* ---- endpoints ---- */

static void add_addresses(struct build *build, const struct json_node *addresses, const struct json_node *port,
                          struct str ready)
{
    struct kubernetes_group *group = build->group;
    struct str number = json_scalar(port, "port");
    JSON_FOREACH(address, addresses)
    {
        const struct json_node *target_ref = json_get(address, "targetRef");
        struct str node = json_get_text(address, "nodeName");
        kubernetes_group_target(group, kubernetes_group_address(group, json_get_text(address, "ip"), number));
        kubernetes_group_label(group, META "endpoint_port_name", json_get_text(port, "name"));
        kubernetes_group_label(group, META "endpoint_port_protocol", json_get_text(port, "protocol"));
        kubernetes_group_label(group, META "endpoint_ready", ready);
        kubernetes_group_label(group, META "endpoint_address_target_kind", json_get_text(target_ref, "kind"));
        kubernetes_group_label(group, META "endpoint_address_target_name", json_get_text(target_ref, "name"));
        kubernetes_group_label(group, META "endpoint_node_name", node);
        kubernetes_group_label(group, META "endpoint_hostname", json_get_text(address, "hostname"));
        kubernetes_node_labels(group, build->view, node);
        add_pod(build, target_ref, number);
    }
}

void kubernetes_build_endpoints(const struct kubernetes_view *view, const struct json_node *endpoints,
                                struct kubernetes_group *group)
{
    CLEANUP(build_done) struct build build = {.view = view, .group = group};
    struct str name = kubernetes_name(endpoints);
    map_init(&build.seen);
    kubernetes_namespace_labels(group, view, endpoints);
    kubernetes_group_label(group, META "endpoints_name", name);
    kubernetes_metadata_labels(group, "endpoints", endpoints);
    kubernetes_service_labels(group, view->find(view->arg, KUBERNETES_SERVICE, kubernetes_namespace(endpoints), name));
    JSON_FOREACH(subset, json_get(endpoints, "subsets"))
    JSON_FOREACH(port, json_get(subset, "ports"))
    {
        add_addresses(&build, json_get(subset, "addresses"), port, STR("true"));
        add_addresses(&build, json_get(subset, "notReadyAddresses"), port, STR("false"));
    }
    add_other_ports(&build);
}

/* ---- endpointslice ---- */

static const struct kubernetes_prefixes topology = {META "endpointslice_endpoint_topology_",
                                                    META "endpointslice_endpoint_topology_present_"};

static void add_endpoint(struct build *build, const struct json_node *endpoint, const struct json_node *port,
                         struct str address)
{
    struct kubernetes_group *group = build->group;
    const struct json_node *conditions = json_get(endpoint, "conditions");
    const struct json_node *target_ref = json_get(endpoint, "targetRef");
    struct str number = json_scalar(port, "port"), node = json_get_text(endpoint, "nodeName");
    bool is_node = str_equal(json_get_text(target_ref, "kind"), STR("Node"));
    kubernetes_group_target(group, kubernetes_group_address(group, address, number));
    kubernetes_group_label(group, META "endpointslice_port", number);
    kubernetes_group_label(group, META "endpointslice_port_name", json_get_text(port, "name"));
    kubernetes_group_label(group, META "endpointslice_port_protocol", json_get_text(port, "protocol"));
    kubernetes_group_label(group, META "endpointslice_port_app_protocol", json_get_text(port, "appProtocol"));
    kubernetes_group_label(group, META "endpointslice_endpoint_conditions_ready", json_scalar(conditions, "ready"));
    kubernetes_group_label(group, META "endpointslice_endpoint_conditions_serving", json_scalar(conditions, "serving"));
    kubernetes_group_label(group, META "endpointslice_endpoint_conditions_terminating",
                           json_scalar(conditions, "terminating"));
    kubernetes_group_label(group, META "endpointslice_endpoint_hostname", json_get_text(endpoint, "hostname"));
    kubernetes_group_label(group, META "endpointslice_endpoint_node_name", node);
    kubernetes_group_label(group, META "endpointslice_endpoint_zone", json_get_text(endpoint, "zone"));
    kubernetes_group_label(group, META "endpointslice_address_target_kind", json_get_text(target_ref, "kind"));
    kubernetes_group_label(group, META "endpointslice_address_target_name", json_get_text(target_ref, "name"));
    kubernetes_group_map(group, topology, json_get(endpoint, "deprecatedTopology"));
    kubernetes_node_labels(group, build->view, is_node ? json_get_text(target_ref, "name") : node);
    add_pod(build, target_ref, number);
}

void kubernetes_build_endpointslice(const struct kubernetes_view *view, const struct json_node *slice,
                                    struct kubernetes_group *group)
{
    CLEANUP(build_done) struct build build = {.view = view, .group = group};
    struct str service = json_get_text(json_get2(slice, "metadata", "labels"), "kubernetes.io/service-name");
    map_init(&build.seen);
    kubernetes_namespace_labels(group, view, slice);
    kubernetes_group_label(group, META "endpointslice_name", kubernetes_name(slice));
    kubernetes_group_label(group, META "endpointslice_address_type", json_get_text(slice, "addressType"));
    kubernetes_metadata_labels(group, "endpointslice", slice);
    if (service.len > 0)
        kubernetes_service_labels(group,
                                  view->find(view->arg, KUBERNETES_SERVICE, kubernetes_namespace(slice), service));
    JSON_FOREACH(endpoint, json_get(slice, "endpoints"))
    JSON_FOREACH(port, json_get(slice, "ports"))
    JSON_FOREACH(address, json_get(endpoint, "addresses"))
    add_endpoint(&build, endpoint, port, address->text);
    add_other_ports(&build);
}
