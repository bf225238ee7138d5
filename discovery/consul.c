/* consul_sd_configs: the services of Consul's catalog and their instances with their health.
 *
 *     agent (once, for the datacenter's name) -> catalog -> services, and all checks where there are many
 *
 * A blocking query for each of thousands of services would be as many connections, and watches in Consul. Then two over
 * the whole datacenter, of the catalog and of all checks, say which services to read again. */
#include "base/fail.h"
#include "discovery/consul_services.h"
#include "discovery/consul_state.h"

#include <errno.h>

#define SERVICES_MAX     100000      /* of a section */
#define CHECKS_BYTES_MAX (512 * MIB) /* of all checks, a KiB or two each; they are read as they come, not kept */

struct entry { /* of the catalog's answer under way */
    const struct entry *next;
    struct str name;
    uint64_t tags;
};

struct consul {
    struct consul_asker asker;
    struct arena arena; /* the datacenter's name */
    struct map wanted;  /* the names of `services`, const char * */
    struct consul_query agent, catalog, checks;
    struct arena entry_arena;
    const struct entry *entries;
    size_t entry_count;
    size_t seen; /* services in the answer, wanted or not */
    struct consul_services services;
    struct consul_state state;
};

static bool text_is(const void *item, const void *key)
{
    return str_equal(str_from(item), *(const struct str *)key);
}

/* ---- many services: the checks of the whole datacenter ---- */

static void checks_begin(void *owner)
{
    struct consul *consul = owner;
    consul_state_begin(&consul->state);
}

static int checks_item(void *owner, const struct json_node *item, char ret_reason[static 256])
{
    struct consul *consul = owner;
    struct consul_check check;
    int r = consul_check_read(item, &check, ret_reason);
    return r < 0 ? r : consul_state_add(&consul->state, &check, ret_reason);
}

/* The first answer differs in all: what was read before it may have changed since. */
static void checks_answered(void *owner, bool changed)
{
    struct consul *consul = owner;
    size_t at = 0;
    for (struct consul_service *service; changed && (service = map_next(&consul->services.by_name, &at));)
        if (consul_state_differs(&consul->state, str_from(service->name), service->nodes, service->node_count))
            consul_service_is_due(service);
    if (changed)
        consul_state_settle(&consul->state);
    consul_query_ask(&consul->checks, true, consul->checks.pause_ms);
    consul_services_go_on(&consul->services);
}

/* There are too many to be told of each change: the sweep reads the services, and this is tried when it is round. */
static void checks_refused(void *owner)
{
    struct consul *consul = owner;
    consul_query_ask(&consul->checks, true, consul_services_sweep_ms(&consul->services));
}

static const struct consul_question checks_question = {
    .path = "/v1/health/state/any",
    .selects = true,
    .shape = JSON_ELEMENTS,
    .bytes_max = CHECKS_BYTES_MAX,
    .begin = checks_begin,
    .item = checks_item,
    .answered = checks_answered,
    .refused = checks_refused,
};

static void checks_stop(struct consul *consul)
{
    consul_query_stop(&consul->checks);
    consul_state_done(&consul->state);
    consul_state_init(&consul->state);
}

/* The services are known now, or others than before. */
static void services_changed(struct consul *consul)
{
    struct consul_services *services = &consul->services;
    bool wide = services->by_name.count > CONSUL_WATCHES_MAX;
    if (wide != services->wide) {
        consul_services_set_wide(services, wide);
        if (wide)
            consul_query_ask(&consul->checks, false, 0);
        else
            checks_stop(consul);
    }
    consul_services_go_on(services);
}

/* ---- the catalog ---- */

static bool has_all_tags(const struct consul *consul, const struct json_node *tags)
{
    const struct conf_strings *wanted = &consul->asker.config->tags;
    for (size_t i = 0; i < wanted->count; i++) {
        bool found = false;
        JSON_FOREACH(tag, tags)
        {
            found = found || str_equal(tag->text, str_from(wanted->items[i]));
        }
        if (!found)
            return false;
    }
    return true;
}

static void catalog_begin(void *owner)
{
    struct consul *consul = owner;
    arena_reset(&consul->entry_arena);
    consul->entries = NULL;
    consul->entry_count = consul->seen = 0;
}

/* "name": ["tag", ...]: all tags that any instance has. */
static int catalog_item(void *owner, const struct json_node *item, char ret_reason[static 256])
{
    struct consul *consul = owner;
    if (item->kind != JSON_LIST)
        return error_text(-EBADMSG, ret_reason, "expected services, each with a list of its tags");
    if (item->key.len > CONSUL_NAME_BYTES_MAX)
        return error_text(-EMSGSIZE, ret_reason, "a service's name of more than %d bytes", CONSUL_NAME_BYTES_MAX);
    consul->seen++;
    bool wanted = consul->wanted.count == 0 || map_get(&consul->wanted, str_hash(item->key), text_is, &item->key);
    if (!wanted || item->key.len == 0 || !has_all_tags(consul, item))
        return 0;
    if (++consul->entry_count > SERVICES_MAX)
        return error_text(-EMSGSIZE, ret_reason, "more than %d services", SERVICES_MAX);
    struct entry *entry = arena_array(&consul->entry_arena, 1, sizeof(*entry));
    *entry = (struct entry){.next = consul->entries, .name = arena_str(&consul->entry_arena, item->key)};
    JSON_FOREACH(tag, item)
    {
        entry->tags += str_hash(tag->text); /* they come in any order */
    }
    consul->entries = entry;
    return 0;
}

/* Consul answers a token that may see nothing with nothing, not with an error. */
static int catalog_whole(void *owner, bool filtered, char ret_reason[static 256])
{
    struct consul *consul = owner;
    if (consul->seen > 0 || !filtered || consul->asker.config->filter)
        return 0;
    return error_text(-EACCES, ret_reason,
                      "no services but ones that the token's policy hides (it needs service:read and node:read)");
}

static void catalog_take(struct consul *consul)
{
    struct consul_service *gone = NULL;
    size_t at = 0;
    for (const struct entry *entry = consul->entries; entry; entry = entry->next) {
        struct consul_service *service = consul_services_get(&consul->services, entry->name);
        if (!service)
            service = consul_services_add(&consul->services, entry->name);
        else if (consul->services.wide && service->tags != entry->tags)
            consul_service_is_due(service);
        service->tags = entry->tags;
        service->in_catalog = true;
    }
    for (struct consul_service *service; (service = map_next(&consul->services.by_name, &at));
         service->in_catalog = false) {
        if (service->in_catalog)
            continue;
        service->next_gone = gone;
        gone = service;
    }
    for (struct consul_service *next; gone; gone = next) {
        next = gone->next_gone;
        consul_service_drop(gone);
    }
}

static void catalog_answered(void *owner, bool changed)
{
    struct consul *consul = owner;
    if (changed)
        catalog_take(consul);
    arena_done(&consul->entry_arena);
    consul_query_ask(&consul->catalog, true, consul->catalog.pause_ms);
    services_changed(consul);
}

static const struct consul_question catalog_question = {
    .path = "/v1/catalog/services",
    .selects = true,
    .filter = offsetof(struct consul_config, filter),
    .shape = JSON_MEMBERS,
    .begin = catalog_begin,
    .item = catalog_item,
    .whole = catalog_whole,
    .answered = catalog_answered,
};

/* As in Prometheus: names that are given are asked for without the catalog, unless it is to say what tags they have, or
 * which of them a filter leaves. */
static void services_start(struct consul *consul)
{
    const struct consul_config *config = consul->asker.config;
    for (size_t i = 0; i < config->services.count; i++) {
        struct str name = str_from(config->services.items[i]);
        if (!map_get(&consul->wanted, str_hash(name), text_is, &name))
            map_put(&consul->wanted, str_hash(name), (void *)config->services.items[i]);
    }
    if (config->services.count == 0 || config->tags.count > 0 || config->filter) {
        consul_query_ask(&consul->catalog, false, 0);
        return;
    }
    size_t at = 0;
    for (const char *name; (name = map_next(&consul->wanted, &at));)
        consul_services_add(&consul->services, str_from(name));
    services_changed(consul);
}

/* ---- the agent: which datacenter this is ---- */

static void agent_begin(void *owner)
{
    struct consul *consul = owner;
    arena_reset(&consul->arena);
    consul->services.datacenter = STR_NULL;
}

static int agent_item(void *owner, const struct json_node *item, char ret_reason[static 256])
{
    struct consul *consul = owner;
    (void)ret_reason;
    if (str_equal(item->key, STR("Config")))
        consul->services.datacenter = arena_str(&consul->arena, json_get_text(item, "Datacenter"));
    return 0;
}

static int agent_whole(void *owner, bool filtered, char ret_reason[static 256])
{
    const struct consul *consul = owner;
    (void)filtered;
    return consul->services.datacenter.len > 0
               ? 0
               : error_text(-EBADMSG, ret_reason, "the agent does not tell its datacenter (Config.Datacenter)");
}

static void agent_answered(void *owner, bool changed)
{
    (void)changed;
    services_start(owner);
}

static const struct consul_question agent_question = {
    .path = "/v1/agent/self",
    .shape = JSON_MEMBERS,
    .begin = agent_begin,
    .item = agent_item,
    .whole = agent_whole,
    .answered = agent_answered,
};

/* ---- the plugin ---- */

static void *consul_start(void *plugin, const struct discovery_api *api, struct discovery_host *host,
                          const void *config, char ret_error[static 256])
{
    (void)plugin, (void)ret_error;
    struct consul *consul = mem_zalloc(sizeof(*consul));
    consul->asker = (struct consul_asker){.api = api, .host = host, .config = config};
    consul->asker.token = (struct discovery_secret_header){"X-Consul-Token", consul->asker.config->token_file};
    arena_init(&consul->arena, 0);
    arena_init(&consul->entry_arena, 0);
    map_init(&consul->wanted);
    consul_services_init(&consul->services, &consul->asker);
    consul_state_init(&consul->state);
    consul_query_init(&consul->agent, &consul->asker, &agent_question, consul, "");
    consul_query_init(&consul->catalog, &consul->asker, &catalog_question, consul, "");
    consul_query_init(&consul->checks, &consul->asker, &checks_question, consul, "");
    api->begin(host);
    consul->services.datacenter = str_from(consul->asker.config->datacenter);
    if (consul->services.datacenter.len > 0)
        services_start(consul);
    else
        consul_query_ask(&consul->agent, false, 0);
    return consul;
}

static void consul_stop(void *instance)
{
    struct consul *consul = instance;
    consul_services_done(&consul->services);
    consul_query_done(&consul->agent);
    consul_query_done(&consul->catalog);
    consul_query_done(&consul->checks);
    consul_state_done(&consul->state);
    map_done(&consul->wanted);
    arena_done(&consul->entry_arena);
    arena_done(&consul->arena);
    mem_free(consul);
}

const struct discovery_plugin discovery_consul = {
    .magic = DISCOVERY_MAGIC,
    .abi = DISCOVERY_ABI,
    .name = "consul",
    .version = TRIBUTARY_VERSION,
    .about = "Services of Consul's catalog: their instances, with health, tags and metadata.",
    .config = &consul_config_table,
    .start = consul_start,
    .stop = consul_stop,
};
