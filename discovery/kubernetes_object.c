#include "discovery/kubernetes_object.h"

#include "base/fail.h"

#include <errno.h>

/* `fields` NULL: all that is below. Of a list they are those of its elements. */
struct kubernetes_field {
    const char *name;
    const struct kubernetes_field *fields;
};

#define FIELDS(...)                                                                                                    \
    (const struct kubernetes_field[])                                                                                  \
    {                                                                                                                  \
        __VA_ARGS__,                                                                                                   \
        {                                                                                                              \
            0                                                                                                          \
        }                                                                                                              \
    }
#define NAMES                                                                                                          \
    {"name", NULL}, {"namespace", NULL}, {"labels", NULL},                                                             \
    {                                                                                                                  \
        "annotations", NULL                                                                                            \
    }
#define TARGET_REF  FIELDS({"kind", NULL}, {"namespace", NULL}, {"name", NULL})
#define PORTS(port) FIELDS({"name", NULL}, {port, NULL}, {"protocol", NULL})

static const struct kubernetes_field metadata_fields[] = {NAMES, {0}};
static const struct kubernetes_field pod_metadata_fields[] = {
    NAMES, {"uid", NULL}, {"ownerReferences", FIELDS({"kind", NULL}, {"name", NULL}, {"controller", NULL})}, {0}};
static const struct kubernetes_field container_fields[] = {
    {"name", NULL}, {"image", NULL}, {"ports", PORTS("containerPort")}, {0}};
static const struct kubernetes_field init_container_fields[] = {
    {"name", NULL}, {"image", NULL}, {"restartPolicy", NULL}, {"ports", PORTS("containerPort")}, {0}};
static const struct kubernetes_field container_status_fields[] = {{"name", NULL}, {"containerID", NULL}, {0}};
static const struct kubernetes_field condition_fields[] = {{"type", NULL}, {"status", NULL}, {0}};
static const struct kubernetes_field address_fields[] = {
    {"ip", NULL}, {"hostname", NULL}, {"nodeName", NULL}, {"targetRef", TARGET_REF}, {0}};

static const struct kubernetes_field pod_fields[] = {
    {"metadata", pod_metadata_fields},
    {"spec", FIELDS({"nodeName", NULL}, {"containers", container_fields}, {"initContainers", init_container_fields})},
    {"status",
     FIELDS({"podIP", NULL}, {"hostIP", NULL}, {"phase", NULL}, {"conditions", condition_fields},
            {"containerStatuses", container_status_fields}, {"initContainerStatuses", container_status_fields})},
    {0}};
static const struct kubernetes_field service_fields[] = {
    {"metadata", metadata_fields},
    {"spec", FIELDS({"type", NULL}, {"clusterIP", NULL}, {"externalName", NULL}, {"loadBalancerIP", NULL},
                    {"ports", PORTS("port")})},
    {0}};
static const struct kubernetes_field endpoints_fields[] = {
    {"metadata", metadata_fields},
    {"subsets", FIELDS({"addresses", address_fields}, {"notReadyAddresses", address_fields}, {"ports", PORTS("port")})},
    {0}};
static const struct kubernetes_field endpointslice_fields[] = {
    {"metadata", metadata_fields},
    {"addressType", NULL},
    {"endpoints", FIELDS({"addresses", NULL}, {"conditions", NULL}, {"hostname", NULL}, {"nodeName", NULL},
                         {"zone", NULL}, {"targetRef", TARGET_REF}, {"deprecatedTopology", NULL})},
    {"ports", FIELDS({"name", NULL}, {"port", NULL}, {"protocol", NULL}, {"appProtocol", NULL})},
    {0}};
static const struct kubernetes_field ingress_fields[] = {
    {"metadata", metadata_fields},
    {"spec", FIELDS({"ingressClassName", NULL}, {"tls", FIELDS({"hosts", NULL})},
                    {"rules", FIELDS({"host", NULL}, {"http", FIELDS({"paths", FIELDS({"path", NULL})})})})},
    {0}};
static const struct kubernetes_field node_fields[] = {
    {"metadata", metadata_fields},
    {"spec", FIELDS({"providerID", NULL})},
    {"status", FIELDS({"addresses", FIELDS({"type", NULL}, {"address", NULL})}, {"conditions", condition_fields},
                      {"daemonEndpoints", FIELDS({"kubeletEndpoint", FIELDS({"Port", NULL})})})},
    {0}};
static const struct kubernetes_field namespace_fields[] = {{"metadata", metadata_fields}, {0}};

const struct kubernetes_kind_info kubernetes_kinds[KUBERNETES_KINDS] = {
    [KUBERNETES_ENDPOINTS] = {"/api/v1", "endpoints", "endpoints", true, endpoints_fields},
    [KUBERNETES_ENDPOINTSLICE] = {"/apis/discovery.k8s.io/v1", "endpointslices", "endpointslice", true,
                                  endpointslice_fields},
    [KUBERNETES_INGRESS] = {"/apis/networking.k8s.io/v1", "ingresses", "ingress", true, ingress_fields},
    [KUBERNETES_NODE] = {"/api/v1", "nodes", "node", false, node_fields},
    [KUBERNETES_POD] = {"/api/v1", "pods", "pod", true, pod_fields},
    [KUBERNETES_SERVICE] = {"/api/v1", "services", "svc", true, service_fields},
    [KUBERNETES_NAMESPACE] = {"/api/v1", "namespaces", "namespace", false, namespace_fields},
};

/* A value: its kind, then of a text its length and bytes, of a list its count and values, of an object its count and
 * keys with values. A key is its place in the table of fields, or a text where all are kept. */

static int find_field(const struct kubernetes_field *fields, struct str key)
{
    for (int i = 0; fields[i].name; i++)
        if (str_equal(key, str_from(fields[i].name)))
            return i;
    return -1;
}

static void pack_text(struct str text, struct buf *packed)
{
    (void)buf_append_uvarint(packed, text.len);
    (void)buf_append_str(packed, text);
}

static void pack_value(const struct json_node *node, const struct kubernetes_field *fields, struct buf *packed);

static void pack_members(const struct json_node *object, const struct kubernetes_field *fields, struct buf *packed)
{
    size_t count = 0;
    JSON_FOREACH(child, object)
    count += !fields || find_field(fields, child->key) >= 0;
    (void)buf_append_uvarint(packed, count);
    JSON_FOREACH(child, object)
    {
        int at = fields ? find_field(fields, child->key) : 0;
        if (at < 0)
            continue;
        if (fields)
            (void)buf_append_byte(packed, (uint8_t)at);
        else
            pack_text(child->key, packed);
        pack_value(child, fields ? fields[at].fields : NULL, packed);
    }
}

/* Trees are at most JSON_DEPTH_MAX deep. */
static void pack_value(const struct json_node *node, const struct kubernetes_field *fields, struct buf *packed)
{
    (void)buf_append_byte(packed, (uint8_t)node->kind);
    if (node->kind == JSON_STRING || node->kind == JSON_NUMBER)
        pack_text(node->text, packed);
    if (node->kind == JSON_OBJECT)
        pack_members(node, fields, packed);
    if (node->kind != JSON_LIST)
        return;
    (void)buf_append_uvarint(packed, node->count);
    JSON_FOREACH(child, node)
    pack_value(child, fields, packed);
}

int kubernetes_object_pack(enum kubernetes_kind kind, const struct json_node *object, struct buf *packed)
{
    pack_value(object, kubernetes_kinds[kind].fields, packed);
    return packed->full ? -EMSGSIZE : 0; /* a buffer that is full stays so */
}

/* These bytes are our own: what is wrong with them is our mistake. */
static void unpack_value(struct reader *reader, const struct kubernetes_field *fields, struct arena *arena,
                         struct json_node *node)
{
    node->kind = (enum json_kind)reader_byte(reader);
    ASSERT(node->kind <= JSON_OBJECT);
    if (node->kind == JSON_STRING || node->kind == JSON_NUMBER)
        node->text = reader_string(reader, SIZE_MAX);
    if (node->kind == JSON_TRUE || node->kind == JSON_FALSE)
        node->text = node->kind == JSON_TRUE ? STR("true") : STR("false");
    if (node->kind != JSON_LIST && node->kind != JSON_OBJECT)
        return;
    node->count = reader_count(reader, 1, SIZE_MAX);
    struct json_node *children = arena_array(arena, node->count, sizeof(*children));
    node->children = node->count > 0 ? children : NULL;
    for (size_t i = 0; i < node->count; i++) {
        const struct kubernetes_field *below = fields;
        if (node->kind == JSON_OBJECT && fields) {
            const struct kubernetes_field *field = &fields[reader_byte(reader)];
            children[i].key = str_from(field->name);
            below = field->fields;
        } else if (node->kind == JSON_OBJECT) {
            children[i].key = reader_string(reader, SIZE_MAX);
        }
        unpack_value(reader, below, arena, &children[i]);
        children[i].next = i + 1 < node->count ? &children[i + 1] : NULL;
    }
}

const struct json_node *kubernetes_object_unpack(enum kubernetes_kind kind, struct str packed, struct arena *arena)
{
    struct reader reader = reader_of(packed.ptr, packed.len);
    struct json_node *node = arena_array(arena, 1, sizeof(*node));
    unpack_value(&reader, kubernetes_kinds[kind].fields, arena, node);
    ASSERT(!reader.bad && reader_left(&reader) == 0);
    return node;
}
