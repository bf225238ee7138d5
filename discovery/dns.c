/* dns_sd_configs: names are looked up again and again, their A, AAAA, SRV or MX records are targets. A group per name,
 * so that a name that fails keeps its targets while others change. */
#include "base/arena.h"
#include "base/fail.h"
#include "target/discovery_plugin.h"

#include <strings.h>

#define NAMES_MAX      1000
#define NAME_BYTES_MAX 254 /* 253 and a dot at the end, as DNS has it */
#define PORT_MAX       65535
#define REFRESH_MIN_MS 1000LL
#define REFRESH_MAX_MS (24 * 3600000LL)
#define SPREAD_DIVISOR 10 /* names asked together drift apart: each comes up to a tenth of the interval early */
#define TARGET_LABELS  2

/* ---- Configuration ---- */

struct dns_config {
    struct conf_strings names;
    const char *type_name;
    int64_t port;
    int64_t refresh_ms;
    enum discovery_dns_type type; /* of type_name */
};

static void check_type(struct conf *conf, const struct conf_node *node, struct dns_config *config)
{
    const struct conf_node *type = conf_child(node, "type");
    for (int i = 0; discovery_dns_type_names[i]; i++)
        if (strcasecmp(config->type_name, discovery_dns_type_names[i]) == 0) {
            config->type = (enum discovery_dns_type)i;
            if (config->port == 0 && config->type != DISCOVERY_DNS_SRV && !conf_failed(conf_child(node, "port")))
                conf_error(conf, type, "type: only SRV records have a port: the others need the key \"port\" too");
            return;
        }
    conf_error(conf, type, "type: \"%.64s\" is none of SRV, A, AAAA and MX", config->type_name);
}

static void check_config(struct conf *conf, const struct conf_node *node, void *object)
{
    struct dns_config *config = object;
    const struct conf_node *names = conf_child(node, "names");
    check_type(conf, node, config);
    for (size_t i = 0; i < config->names.count; i++) {
        size_t len = strlen(config->names.items[i]);
        if (len == 0 || len > NAME_BYTES_MAX)
            conf_error(conf, conf_child_at(names, i), "names: 1 to %d bytes are a name", NAME_BYTES_MAX);
    }
}

static const struct conf_table dns_table = {
    .title = "dns_sd_config",
    .struct_bytes = sizeof(struct dns_config),
    .check = check_config,
    .options =
        (const struct conf_option[]){
            {.name = "names",
             .type = CONF_STRINGS,
             .offset = offsetof(struct dns_config, names),
             .required = true,
             .min = 1,
             .max = NAMES_MAX,
             .help = "Names to look up; one that does not end with a dot is completed as resolv.conf says."},
            {.name = "type",
             .type = CONF_STRING,
             .offset = offsetof(struct dns_config, type_name),
             .fallback = "SRV",
             .help = "Records to ask for: SRV, A, AAAA or MX."},
            {.name = "port",
             .type = CONF_INT,
             .offset = offsetof(struct dns_config, port),
             .min = 0,
             .max = PORT_MAX,
             .help = "Port of the targets; needed but for SRV records, which have their own."},
            {.name = "refresh_interval",
             .type = CONF_DURATION,
             .offset = offsetof(struct dns_config, refresh_ms),
             .fallback = "30s",
             .min = REFRESH_MIN_MS,
             .max = REFRESH_MAX_MS,
             .help = "How often the names are looked up again."},
            {0},
        },
};

/* ---- The instance ---- */

struct dns_name {
    struct dns *dns;
    const char *text;
    bool settled; /* it has had its first answer, or failed for the first time */
};

struct dns {
    const struct discovery_api *api;
    struct discovery_host *host;
    const struct dns_config *config;
    struct dns_name *names;
    size_t unsettled; /* names */
    bool answered;    /* any name, ever */
    bool listing;     /* until the first commit */
};

/* A text in the arena, as the value of a label or an address. */
#define TEXT(arena, ...) str_from(arena_printf(arena, __VA_ARGS__))

/* SRV and MX records may say that there is none, by the root as the host (RFC 2782, RFC 7505). */
static bool is_target(const struct discovery_dns_record *record)
{
    return record->name[0] != '\0';
}

static struct discovery_target target_of(const struct dns_config *config, const struct discovery_dns_record *record,
                                         struct arena *arena)
{
    bool has_port = config->type == DISCOVERY_DNS_SRV;
    int port = has_port ? record->port : (int)config->port;
    bool v6 = strchr(record->name, ':');
    struct label *labels = arena_array(arena, TARGET_LABELS, sizeof(*labels));
    size_t count = 0;
    /* The labels have the name with its dot, as Prometheus has it; the address is without. */
    if (config->type == DISCOVERY_DNS_SRV) {
        labels[count++] = (struct label){STR("__meta_dns_srv_record_target"), TEXT(arena, "%s.", record->name)};
        labels[count++] = (struct label){STR("__meta_dns_srv_record_port"), TEXT(arena, "%d", port)};
    }
    if (config->type == DISCOVERY_DNS_MX)
        labels[count++] = (struct label){STR("__meta_dns_mx_record_target"), TEXT(arena, "%s.", record->name)};
    ASSERT(count <= TARGET_LABELS);
    return (struct discovery_target){TEXT(arena, "%s%s%s:%d", v6 ? "[" : "", record->name, v6 ? "]" : "", port), labels,
                                     count};
}

static void say(const struct dns_name *name, const struct discovery_dns_record *records, size_t count)
{
    const struct dns *dns = name->dns;
    CLEANUP(arena_done) struct arena arena;
    arena_init(&arena, 0);
    struct discovery_target *targets = arena_array(&arena, count, sizeof(*targets));
    const struct label own = {STR("__meta_dns_name"), str_from(name->text)};
    struct discovery_group group = {.source = own.value, .labels = &own, .label_count = 1, .targets = targets};
    for (size_t i = 0; i < count; i++)
        if (is_target(&records[i]))
            targets[group.target_count++] = target_of(dns->config, &records[i], &arena);
    dns->api->put(dns->host, &group);
}

/* The names' first answers come into force together, when each has had one or has failed: one that fails must not keep
 * the others' targets away. Where all fail nothing is known yet, and the first to answer ends the wait. */
static void settle(struct dns_name *name)
{
    struct dns *dns = name->dns;
    if (!name->settled) {
        name->settled = true;
        dns->unsettled--;
    }
    if (dns->listing && dns->unsettled == 0 && dns->answered) {
        dns->listing = false;
        dns->api->commit(dns->host);
    }
}

static enum discovery_verdict on_records(void *arg, const struct discovery_end *end,
                                         const struct discovery_dns_record *records, size_t count);

static void look_up(struct dns_name *name, int64_t after_ms, int64_t spread_ms)
{
    const struct dns *dns = name->dns;
    const struct discovery_lookup lookup = {name->text, dns->config->type, after_ms, spread_ms};
    dns->api->lookup(dns->host, &lookup, on_records, name);
}

static enum discovery_verdict on_records(void *arg, const struct discovery_end *end,
                                         const struct discovery_dns_record *records, size_t count)
{
    struct dns_name *name = arg;
    struct dns *dns = name->dns;
    if (end->failure != DISCOVERY_OK) {
        dns->api->problem(dns->host, "%s", end->reason); /* it names the name */
        settle(name);
        return DISCOVERY_RETRY;
    }
    dns->answered = true;
    say(name, records, count);
    settle(name);
    int64_t spread_ms = dns->config->refresh_ms / SPREAD_DIVISOR;
    look_up(name, dns->config->refresh_ms - spread_ms, spread_ms);
    return DISCOVERY_DONE;
}

static void *dns_start(void *plugin, const struct discovery_api *api, struct discovery_host *host, const void *config,
                       char ret_error[static 256])
{
    struct dns *dns = mem_zalloc(sizeof(*dns));
    (void)plugin, (void)ret_error;
    *dns = (struct dns){.api = api, .host = host, .config = config, .listing = true};
    size_t count = dns->unsettled = dns->config->names.count;
    dns->names = mem_array(count, sizeof(*dns->names));
    api->begin(host);
    for (size_t i = 0; i < count; i++) {
        dns->names[i] = (struct dns_name){.dns = dns, .text = dns->config->names.items[i]};
        look_up(&dns->names[i], 0, 0);
    }
    return dns;
}

static void dns_stop(void *instance)
{
    struct dns *dns = instance;
    mem_free(dns->names);
    mem_free(dns);
}

const struct discovery_plugin discovery_dns = {
    .magic = DISCOVERY_MAGIC,
    .abi = DISCOVERY_ABI,
    .name = "dns",
    .version = TRIBUTARY_VERSION,
    .about = "Targets are the A, AAAA, SRV or MX records of names.",
    .config = &dns_table,
    .start = dns_start,
    .stop = dns_stop,
};
