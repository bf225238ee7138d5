#include "discovery/kubernetes_config.h"

#include "discovery/kubernetes_role.h"
#include "discovery/kubernetes_stream.h"

#define NAMESPACES_MAX      DISCOVERY_CALLS_MAX /* each needs a watch at least */
#define NAMESPACE_BYTES_MAX 63                  /* a DNS label, as Kubernetes wants */

static const char *const role_names[] = {"endpoints", "endpointslice", "ingress", "node", "pod", "service", NULL};

/* Which kinds' objects may be selected. */
static unsigned selectable(enum kubernetes_kind role)
{
    return 1u << role | kubernetes_role_joins(role);
}

unsigned kubernetes_config_kinds(const struct kubernetes_config *config)
{
    unsigned kinds = selectable((enum kubernetes_kind)config->role);
    kinds |= config->attach_metadata.node ? 1u << KUBERNETES_NODE : 0;
    kinds |= config->attach_metadata.name_space ? 1u << KUBERNETES_NAMESPACE : 0;
    return kinds;
}

const struct kubernetes_selector *kubernetes_config_selector(const struct kubernetes_config *config,
                                                             enum kubernetes_kind kind)
{
    const struct kubernetes_selector *selectors = config->selectors.items;
    for (size_t i = 0; i < config->selectors.count; i++)
        if (selectors[i].role == (int)kind)
            return &selectors[i];
    return NULL;
}

/* ---- checks ---- */

static void check_server(struct conf *conf, const struct conf_node *node, const struct kubernetes_config *config)
{
    const struct access *access = &config->access;
    const struct access_tls *tls = &access->tls;
    bool in_file = config->server.kubeconfig_file != NULL;
    const struct {
        const char *name;
        bool given;
    } keys[] = {
        {"basic_auth", access->basic_auth.username != NULL},
        {"authorization", access->authorization.credentials_file != NULL},
        {"tls_config",
         tls->ca_file || tls->cert_file || tls->key_file || tls->server_name || tls->insecure_skip_verify},
    };
    if (config->server.api_server && in_file)
        conf_error(conf, conf_child(node, "kubeconfig_file"), "api_server and kubeconfig_file exclude each other");
    for (size_t i = 0; i < ARRAY_LEN(keys) && !config->server.api_server; i++)
        if (keys[i].given)
            conf_error(conf, conf_child(node, keys[i].name), "%s goes with api_server: %s", keys[i].name,
                       in_file ? "kubeconfig_file says who we are"
                               : "in the cluster it is the pod's service account that counts");
    if (config->namespaces.own && (config->server.api_server || in_file))
        conf_error(conf, conf_child(conf_child(node, "namespaces"), "own_namespace"),
                   "own_namespace is that of the pod this runs in: without api_server and kubeconfig_file only");
}

static void check_namespaces(struct conf *conf, const struct conf_node *node, const struct kubernetes_config *config)
{
    const struct conf_strings *names = &config->namespaces.names;
    const struct conf_node *list = conf_child(conf_child(node, "namespaces"), "names");
    unsigned kinds = kubernetes_config_kinds(config), per_namespace = 0;
    for (int kind = 0; kind < KUBERNETES_KINDS; kind++)
        per_namespace += kinds >> kind & 1 && kubernetes_kinds[kind].in_namespace;
    for (size_t i = 0; i < names->count; i++) {
        if (strspn(names->items[i], "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(names->items[i]) ||
            !names->items[i][0] || strlen(names->items[i]) > NAMESPACE_BYTES_MAX)
            conf_error(conf, conf_child_at(list, i), "a namespace has 1 to %d of a-z, 0-9 and -", NAMESPACE_BYTES_MAX);
        for (size_t j = 0; j < i; j++)
            if (strcmp(names->items[i], names->items[j]) == 0)
                conf_error(conf, conf_child_at(list, i), "the namespace is there twice");
    }
    if ((names->count + config->namespaces.own) * per_namespace + 2 > DISCOVERY_CALLS_MAX)
        conf_error(
            conf, list,
            "%zu namespaces need %u watches each, and a section may have %d: watch all namespaces and keep those "
            "wanted by relabel_configs, or make several sections",
            names->count + config->namespaces.own, per_namespace, DISCOVERY_CALLS_MAX);
}

static void check_selectors(struct conf *conf, const struct conf_node *node, const struct kubernetes_config *config)
{
    const struct kubernetes_selector *selectors = config->selectors.items;
    const struct conf_node *list = conf_child(node, "selectors");
    for (size_t i = 0; i < config->selectors.count; i++) {
        const struct conf_node *item = conf_child_at(list, i);
        if (conf_failed(conf_child(item, "role")))
            continue;
        if (!(selectable((enum kubernetes_kind)config->role) >> selectors[i].role & 1))
            conf_error(conf, item, "role %s reads nothing of role %s", role_names[config->role],
                       role_names[selectors[i].role]);
        if (kubernetes_config_selector(config, (enum kubernetes_kind)selectors[i].role) != &selectors[i])
            conf_error(conf, item, "two selectors of role %s: write one, its conditions separated by commas",
                       role_names[selectors[i].role]);
        if (!selectors[i].label && !selectors[i].field)
            conf_error(conf, item, "neither label nor field: it selects nothing");
    }
}

/* Paths are put behind it. */
static void trim_server(struct conf *conf, struct kubernetes_config *config)
{
    struct str server = str_from(config->server.api_server);
    while (server.len > 0 && server.ptr[server.len - 1] == '/')
        server.len--;
    if (config->server.api_server)
        config->server.api_server = arena_str(conf_arena(conf), server).ptr;
}

static void check_config(struct conf *conf, const struct conf_node *node, void *object)
{
    struct kubernetes_config *config = object;
    const struct conf_node *attach = conf_child(node, "attach_metadata");
    enum kubernetes_kind role = (enum kubernetes_kind)config->role;
    trim_server(conf, config);
    access_check(conf, node, &config->access);
    check_server(conf, node, config);
    if (!conf_child(node, "role") || conf_failed(conf_child(node, "role")))
        return;
    check_namespaces(conf, node, config);
    check_selectors(conf, node, config);
    if (config->attach_metadata.node && role != KUBERNETES_POD && !kubernetes_role_joins(role))
        conf_error(conf, conf_child(attach, "node"), "targets of role %s are on no node that is known",
                   role_names[role]);
    if (config->attach_metadata.name_space && !kubernetes_kinds[role].in_namespace)
        conf_error(conf, conf_child(attach, "namespace"), "nodes are in no namespace");
}

/* ---- tables ---- */

#define FIELD(member) offsetof(struct kubernetes_config, member)
#define SECTION_FIELD(section, member)                                                                                 \
    (offsetof(struct kubernetes_config, section.member) - offsetof(struct kubernetes_config, section))
#define SECTION_BYTES(section) sizeof(((struct kubernetes_config *)0)->section)

static const struct conf_table namespaces_table = {
    .title = "namespaces",
    .struct_bytes = SECTION_BYTES(namespaces),
    .options =
        (const struct conf_option[]){
            {.name = "own_namespace",
             .type = CONF_BOOL,
             .offset = SECTION_FIELD(namespaces, own),
             .help = "That of the pod this runs in, in the cluster."},
            {.name = "names",
             .type = CONF_STRINGS,
             .offset = SECTION_FIELD(namespaces, names),
             .max = NAMESPACES_MAX,
             .help = "These namespaces; none here and above: all of them."},
            {0},
        },
};

static const struct conf_table selector_table = {
    .title = "selectors",
    .struct_bytes = sizeof(struct kubernetes_selector),
    .options =
        (const struct conf_option[]){
            {.name = "role",
             .type = CONF_ENUM,
             .offset = offsetof(struct kubernetes_selector, role),
             .names = role_names,
             .required = true,
             .help =
                 "Whose objects are selected: those of the section's role, and for endpoints and endpointslice also "
                 "pod and service."},
            {.name = "label",
             .type = CONF_STRING,
             .offset = offsetof(struct kubernetes_selector, label),
             .min = 1,
             .max = KUBERNETES_SELECTOR_MAX,
             .help = "Label selector, as kubectl's -l."},
            {.name = "field",
             .type = CONF_STRING,
             .offset = offsetof(struct kubernetes_selector, field),
             .min = 1,
             .max = KUBERNETES_SELECTOR_MAX,
             .help = "Field selector, as kubectl's --field-selector."},
            {0},
        },
};

#define NOT_ATTACHED "not in this version: __meta_kubernetes_pod_controller_kind and _name tell whose the pod is"

static const struct conf_table attach_metadata_table = {
    .title = "attach_metadata",
    .struct_bytes = SECTION_BYTES(attach_metadata),
    .options =
        (const struct conf_option[]){
            {.name = "node",
             .type = CONF_BOOL,
             .offset = SECTION_FIELD(attach_metadata, node),
             .help = "Labels of the node too, for roles pod, endpoints and endpointslice; nodes must be readable."},
            {.name = "namespace",
             .type = CONF_BOOL,
             .offset = SECTION_FIELD(attach_metadata, name_space),
             .help =
                 "Labels and annotations of the namespace too, for all roles but node; namespaces must be readable."},
            {.name = "deployment", .type = CONF_REFUSED, .help = NOT_ATTACHED},
            {.name = "job", .type = CONF_REFUSED, .help = NOT_ATTACHED},
            {.name = "cronjob", .type = CONF_REFUSED, .help = NOT_ATTACHED},
            {0},
        },
};

const struct conf_table kubernetes_config_table = {
    .title = "kubernetes_sd_configs",
    .struct_bytes = sizeof(struct kubernetes_config),
    .check = check_config,
    .options =
        (const struct conf_option[]){
            {.name = "api_server",
             .type = CONF_URL,
             .offset = FIELD(server.api_server),
             .help =
                 "The API server; without it and without kubeconfig_file the one of the cluster this runs in, by the "
                 "pod's service account."},
            {.name = "role",
             .type = CONF_ENUM,
             .offset = FIELD(role),
             .names = role_names,
             .required = true,
             .help = "What becomes targets."},
            {.name = "kubeconfig_file",
             .type = CONF_FILE,
             .offset = FIELD(server.kubeconfig_file),
             .help = "A kubeconfig, whose current context says server, certificates and credentials."},
            ACCESS_OPTIONS(struct kubernetes_config, access),
            {.name = "namespaces",
             .type = CONF_SECTION,
             .offset = FIELD(namespaces),
             .table = &namespaces_table,
             .help = "Which namespaces; default all."},
            {.name = "selectors",
             .type = CONF_LIST,
             .offset = FIELD(selectors),
             .max = KUBERNETES_ROLES,
             .table = &selector_table,
             .help = "Which objects the API server sends; one selector a role."},
            {.name = "attach_metadata",
             .type = CONF_SECTION,
             .offset = FIELD(attach_metadata),
             .table = &attach_metadata_table,
             .help = "Labels of other objects."},
            {0},
        },
};
