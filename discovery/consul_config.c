#include "discovery/consul_config.h"

#include "base/limits.h"

#define NAME_BYTES_MAX   255
#define FILTER_BYTES_MAX 4096 /* a filter goes into a URL, and Consul takes 8 KiB of one */
#define LIST_MAX         100  /* tags, node_meta: they stand in the URL too */
#define SERVICES_MAX     10000
#define REFRESH_MIN_MS   1000LL
#define REFRESH_MAX_MS   (24 * 3600000LL)

#define REFUSED(name_text, reason)                                                                                     \
    {                                                                                                                  \
        .name = name_text, .type = CONF_REFUSED, .help = reason                                                        \
    }
#define TEXT(member, about)                                                                                            \
    {                                                                                                                  \
        .name = #member, .type = CONF_STRING, .offset = offsetof(struct consul_config, member), .min = 1,              \
        .max = NAME_BYTES_MAX, .help = about                                                                           \
    }
#define FILTER(member, about)                                                                                          \
    {                                                                                                                  \
        .name = #member, .type = CONF_STRING, .offset = offsetof(struct consul_config, member), .min = 1,              \
        .max = FILTER_BYTES_MAX, .help = about                                                                         \
    }

const char *const consul_schemes[] = {"http", "https", NULL};

static bool is_url_text(const char *text, const char *besides)
{
    for (; *text; text++) {
        char lower = (char)(*text | 0x20);
        bool plain = (lower >= 'a' && lower <= 'z') || (*text >= '0' && *text <= '9');
        if (!plain && !strchr(besides, *text))
            return false;
    }
    return true;
}

static size_t bytes_of(const char *text)
{
    return text ? strlen(text) : 0;
}

/* All this stands in a URL, of which Consul takes so much. */
static void check_lengths(struct conf *conf, const struct conf_node *node, const struct consul_config *config)
{
    size_t bytes = MAX(bytes_of(config->filter), bytes_of(config->health_filter));
    for (size_t i = 0; i < config->tags.count; i++)
        bytes += bytes_of(config->tags.items[i]);
    for (size_t i = 0; i < config->node_meta.count; i++)
        bytes += bytes_of(config->node_meta.items[i].name) + bytes_of(config->node_meta.items[i].value);
    if (bytes > URL_BYTES_MAX)
        conf_error(conf, node, "tags, node_meta and a filter are longer than the %d bytes that Consul takes of a URL",
                   URL_BYTES_MAX);
    for (size_t i = 0; i < config->services.count; i++)
        if (bytes_of(config->services.items[i]) > CONSUL_NAME_BYTES_MAX)
            conf_error(conf, conf_child(node, "services"), "services: a name of more than %d bytes",
                       CONSUL_NAME_BYTES_MAX);
}

static void check(struct conf *conf, const struct conf_node *node, void *object)
{
    struct consul_config *config = object;
    access_check(conf, node, &config->access);
    check_lengths(conf, node, config);
    if (strstr(config->server, "://"))
        conf_error(conf, conf_child(node, "server"),
                   "server: host:port alone; what stands before it belongs to scheme");
    else if (!is_url_text(config->server, "-._:[]"))
        conf_error(conf, conf_child(node, "server"), "server: expected host:port");
    if (!is_url_text(config->path_prefix, "-._~/%"))
        conf_error(conf, conf_child(node, "path_prefix"), "path_prefix: expected a path such as /consul");
    struct str prefix = str_from(config->path_prefix);
    while (str_ends_with(prefix, STR("/")))
        prefix.len--;
    bool rooted = prefix.len == 0 || prefix.ptr[0] == '/';
    config->path_prefix = arena_printf(conf_arena(conf), "%s" STR_FMT, rooted ? "" : "/", STR_ARG(prefix));
}

const struct conf_table consul_config_table = {
    .title = "consul_sd_config",
    .struct_bytes = sizeof(struct consul_config),
    .check = check,
    .options =
        (const struct conf_option[]){
            {.name = "server",
             .type = CONF_STRING,
             .offset = offsetof(struct consul_config, server),
             .fallback = "localhost:8500",
             .min = 1,
             .max = NAME_BYTES_MAX,
             .help = "host:port of the Consul agent that is asked."},
            {.name = "path_prefix",
             .type = CONF_STRING,
             .offset = offsetof(struct consul_config, path_prefix),
             .fallback = "",
             .max = NAME_BYTES_MAX,
             .help = "Path before /v1, where the API is behind a gateway."},
            {.name = "token_file",
             .type = CONF_FILE,
             .offset = offsetof(struct consul_config, token_file),
             .help = "File with the ACL token; read again for each request."},
            REFUSED("token", "secrets are read from files: use token_file"),
            TEXT(datacenter, "Datacenter to ask for; without it that of the agent."),
            TEXT(namespace, "Namespace to ask for (Consul Enterprise)."),
            TEXT(partition, "Admin partition to ask for (Consul Enterprise)."),
            {.name = "scheme",
             .type = CONF_ENUM,
             .offset = offsetof(struct consul_config, scheme),
             .names = consul_schemes,
             .fallback = "http",
             .help = "How the agent is spoken to."},
            REFUSED("username", "use basic_auth"),
            REFUSED("password", "secrets are read from files: use basic_auth.password_file"),
            {.name = "services",
             .type = CONF_STRINGS,
             .offset = offsetof(struct consul_config, services),
             .max = SERVICES_MAX,
             .help = "Services whose instances become targets; without it all of the catalog."},
            {.name = "tags",
             .type = CONF_STRINGS,
             .offset = offsetof(struct consul_config, tags),
             .max = LIST_MAX,
             .help = "An instance must have all of these tags."},
            {.name = "tag_separator",
             .type = CONF_STRING,
             .offset = offsetof(struct consul_config, tag_separator),
             .fallback = ",",
             .max = NAME_BYTES_MAX,
             .help = "What stands between, before and after the tags in __meta_consul_tags."},
            {.name = "node_meta",
             .type = CONF_STRING_MAP,
             .offset = offsetof(struct consul_config, node_meta),
             .max = LIST_MAX,
             .help = "Metadata that an instance's node must have."},
            FILTER(filter, "Expression of Consul's that the catalog's list of services is filtered by."),
            FILTER(health_filter, "Expression of Consul's that each service's instances are filtered by."),
            {.name = "allow_stale",
             .type = CONF_BOOL,
             .offset = offsetof(struct consul_config, allow_stale),
             .fallback = "true",
             .help = "Any server may answer, not the leader alone: much cheaper for Consul."},
            {.name = "refresh_interval",
             .type = CONF_DURATION,
             .offset = offsetof(struct consul_config, refresh_interval_ms),
             .fallback = "30s",
             .min = REFRESH_MIN_MS,
             .max = REFRESH_MAX_MS,
             .help = "The same is asked again no sooner; what changes after a quiet time is noticed at once."},
            ACCESS_OPTIONS(struct consul_config, access),
            {0},
        },
};
