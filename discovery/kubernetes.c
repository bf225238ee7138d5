/* Kubernetes: nodes, services, pods, endpoints, endpoint slices and ingresses, as kubernetes_sd_configs finds them. */
#include "base/fail.h"
#include "discovery/kubernetes_hub.h"

#include <errno.h>

#define OWN_NAMESPACE_FILE      "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
#define OWN_NAMESPACE_LOOK_MS   60000 /* where it is not there at the start */
#define OWN_NAMESPACE_BYTES_MAX 64    /* a DNS label and a line's end */

extern const struct discovery_plugin discovery_kubernetes;

struct instance {
    const struct discovery_api *api;
    struct discovery_host *host;
    const struct kubernetes_config *config;
    struct kubernetes_section *section;
    bool watching;
};

static void watch(struct instance *instance, const char *own_namespace)
{
    const struct conf_strings *names = &instance->config->namespaces.names;
    const char **namespaces = mem_array(names->count + 1, sizeof(*namespaces));
    size_t count = 0;
    bool is_named = false;
    for (size_t i = 0; i < names->count; i++) {
        namespaces[count++] = names->items[i];
        is_named = is_named || (own_namespace && strcmp(names->items[i], own_namespace) == 0);
    }
    if (own_namespace && !is_named)
        namespaces[count++] = own_namespace;
    instance->watching = true;
    kubernetes_section_watch(instance->section, namespaces, count);
    mem_free(namespaces);
}

/* ---- the pod's own namespace ---- */

static int read_own_namespace(void *arg, struct str path, struct str text)
{
    struct instance *instance = arg;
    char name[OWN_NAMESPACE_BYTES_MAX + 1];
    struct str line = str_trim(str_of(text.ptr, str_find(text, '\n')));
    if (instance->watching)
        return 0; /* a pod's namespace does not change */
    if (line.len == 0 || line.len > OWN_NAMESPACE_BYTES_MAX) {
        instance->api->problem(instance->host, STR_FMT ": there is no namespace in it", STR_ARG(path));
        return -EINVAL;
    }
    memcpy(name, line.ptr, line.len);
    name[line.len] = '\0';
    watch(instance, name);
    return 0;
}

static void own_namespace_settled(void *arg)
{
    struct instance *instance = arg;
    if (!instance->watching)
        instance->api->problem(instance->host,
                               "own_namespace: %s cannot be read; is this a pod, and has it a service account?",
                               OWN_NAMESPACE_FILE);
}

static void find_own_namespace(struct instance *instance)
{
    static const char *const patterns[] = {OWN_NAMESPACE_FILE};
    static const struct discovery_files_reader reader = {.file = read_own_namespace, .settled = own_namespace_settled};
    const struct discovery_files files = {
        .patterns = patterns,
        .pattern_count = ARRAY_LEN(patterns),
        .refresh_ms = OWN_NAMESPACE_LOOK_MS,
        .files_max = 1,
        .bytes_max = OWN_NAMESPACE_BYTES_MAX,
    };
    instance->api->files(instance->host, &files, &reader, instance);
}

/* ---- the plugin ---- */

static void *plugin_new(const struct discovery_api *api)
{
    return kubernetes_hub_new(api);
}

static void plugin_free(void *plugin)
{
    kubernetes_hub_free(plugin);
}

static void *start(void *plugin, const struct discovery_api *api, struct discovery_host *host, const void *config,
                   char ret_error[static 256])
{
    struct instance *instance = mem_zalloc(sizeof(*instance));
    (void)ret_error; /* what can be wrong was seen in the configuration, or comes with answers */
    *instance = (struct instance){.api = api, .host = host, .config = config};
    instance->section = kubernetes_section_new(plugin, host, config);
    if (instance->config->namespaces.own)
        find_own_namespace(instance);
    else
        watch(instance, NULL);
    return instance;
}

static void stop(void *arg)
{
    struct instance *instance = arg;
    kubernetes_section_free(instance->section);
    mem_free(instance);
}

const struct discovery_plugin discovery_kubernetes = {
    .magic = DISCOVERY_MAGIC,
    .abi = DISCOVERY_ABI,
    .name = "kubernetes",
    .version = TRIBUTARY_VERSION,
    .about = "Nodes, services, pods, endpoints, endpoint slices and ingresses of a Kubernetes cluster.",
    .config = &kubernetes_config_table,
    .plugin_new = plugin_new,
    .plugin_free = plugin_free,
    .start = start,
    .stop = stop,
};
