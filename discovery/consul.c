/* consul_sd_configs: the services of Consul's catalog and their instances with their health.
 *
 * Few services: a blocking query each (/v1/health/service/NAME). Many ("wide"): the same would take a connection each,
 * and Consul's servers a watch each; so two blocking queries over the whole datacenter say which services to read
 * again, and a slow sweep reads all of them, for what neither of the two tells. Each service is a group.
 *
 *     agent (once, for the datacenter's name) -> catalog -> services, and state where there are many */
#include "base/fail.h"
#include "discovery/consul_query.h"
#include "discovery/consul_state.h"

#include <errno.h>
#include <stdio.h>

#define WATCHES_MAX      24 /* services with a blocking query each; with those of the catalog below DISCOVERY_CALLS_MAX */
#define READS_MAX        8           /* services read at a time where there are more */
#define SERVICES_MAX     100000      /* of a section */
#define SWEEP_INTERVALS  10          /* refresh intervals that a sweep over all services takes ... */
#define SWEEP_PAUSE_MS   50          /* ... or more, where that would be more than 20 requests a second */
#define STATE_BYTES_MAX  (512 * MIB) /* of all checks, a KiB or two each; they are read as they come, not kept */
#define ANSWER_BYTES_MAX DISCOVERY_GROUP_BYTES_MAX /* of one service's labels */
_Static_assert(WATCHES_MAX + 1 <= DISCOVERY_CALLS_MAX && READS_MAX + 2 <= DISCOVERY_CALLS_MAX, "none has to wait");

enum place {
    SERVICE_DUE,     /* to be read as soon as there is room */
    SERVICE_ASKED,   /* its query is under way, or waits for its time */
    SERVICE_RESTING, /* wide: read, and nothing says that it changed */
    PLACES
};

struct service {
    struct consul *consul;
    struct service *prev, *next; /* in the list of its place */
    struct service *next_gone;
    enum place place;
    char *name;
    struct consul_query query;
    bool read;       /* once at least, be it in vain for a ceiling */
    bool again;      /* something changed while it was being read */
    bool in_catalog; /* of the answer that is looked through */
    uint64_t tags;   /* hash of what the catalog says */
    uint64_t *nodes; /* hashes of the nodes its instances are on; kept for consul_state_differs */
    size_t node_count;
    struct answer {
        struct arena arena;
        struct discovery_target *targets;
        uint64_t *nodes;
        size_t count, capacity;
    } answer; /* under way */
};

struct entry { /* of the catalog's answer under way */
    const struct entry *next;
    struct str name;
    uint64_t tags;
};

struct consul {
    struct consul_asker asker;
    struct arena arena;
    struct str datacenter;
    struct map wanted; /* the names of `services`, const char * */
    struct consul_query agent, catalog, checks;
    struct arena entry_arena;
    const struct entry *entries;
    size_t entry_count;
    size_t seen; /* services in the answer, wanted or not */
    struct consul_state state;
    struct map services; /* by name */
    struct place_list {
        struct service *first, *last;
        size_t count;
    } places[PLACES];
    struct service *sweeping; /* asked for because its turn came; NULL: none */
    size_t unread;            /* services that were not read once */
    bool wide;
    bool listed; /* all that were there have been read: the listing has been committed */
};

static bool service_has_name(const void *item, const void *key)
{
    const struct service *service = item;
    return str_equal(str_from(service->name), *(const struct str *)key);
}

static bool text_is(const void *item, const void *key)
{
    return str_equal(str_from(item), *(const struct str *)key);
}

/* ---- where services stand ---- */

static void place_enter(struct service *service, enum place place)
{
    struct place_list *list = &service->consul->places[place];
    service->place = place;
    service->next = NULL;
    service->prev = list->last;
    *(list->last ? &list->last->next : &list->first) = service;
    list->last = service;
    list->count++;
}

static void place_leave(struct service *service)
{
    struct place_list *list = &service->consul->places[service->place];
    *(service->prev ? &service->prev->next : &list->first) = service->next;
    *(service->next ? &service->next->prev : &list->last) = service->prev;
    list->count--;
}

static void service_set_place(struct service *service, enum place place)
{
    place_leave(service);
    place_enter(service, place);
}

static void service_ask(struct service *service, int64_t after_ms)
{
    service_set_place(service, SERVICE_ASKED);
    service->again = false;
    consul_query_ask(&service->query, !service->consul->wide, after_ms);
}

/* It has changed, or may have. One with a watch tells itself. */
static void service_is_due(struct service *service)
{
    if (service->place == SERVICE_ASKED)
        service->again = true;
    else
        service_set_place(service, SERVICE_DUE);
}

static int64_t sweep_ms(const struct consul *consul)
{
    return SWEEP_INTERVALS * consul->asker.config->refresh_interval_ms;
}

static int64_t sweep_pause_ms(const struct consul *consul)
{
    return MAX(sweep_ms(consul) / (int64_t)consul->services.count, SWEEP_PAUSE_MS);
}

/* Asks for what is due, as far as there is room; else for the one that was read the longest time ago. */
static void ask_next(struct consul *consul)
{
    struct place_list *due = &consul->places[SERVICE_DUE], *resting = &consul->places[SERVICE_RESTING];
    while (due->first && consul->places[SERVICE_ASKED].count < (consul->wide ? READS_MAX : WATCHES_MAX))
        service_ask(due->first, 0);
    if (!consul->wide || consul->sweeping || !resting->first || consul->places[SERVICE_ASKED].count >= READS_MAX)
        return;
    consul->sweeping = resting->first;
    service_ask(consul->sweeping, sweep_pause_ms(consul));
}

static void commit_when_read(struct consul *consul)
{
    if (consul->listed || consul->unread > 0)
        return;
    consul->asker.api->commit(consul->asker.host);
    consul->listed = true;
}

/* ---- a service ---- */

static void answer_done(struct answer *answer)
{
    arena_done(&answer->arena);
    mem_free(answer->targets);
    mem_free(answer->nodes);
    *answer = (struct answer){0};
    arena_init(&answer->arena, ANSWER_BYTES_MAX);
}

static void service_begin(void *owner)
{
    struct service *service = owner;
    answer_done(&service->answer);
}

static int service_item(void *owner, const struct json_node *item, char ret_reason[static 256])
{
    struct service *service = owner;
    struct answer *answer = &service->answer;
    if (answer->count == DISCOVERY_GROUP_TARGETS_MAX)
        return error_text(-EMSGSIZE, ret_reason, "more than %d instances", DISCOVERY_GROUP_TARGETS_MAX);
    if (answer->count == answer->capacity) {
        answer->capacity = MAX(2 * answer->capacity, 16);
        answer->targets = mem_resize(answer->targets, answer->capacity, sizeof(answer->targets[0]));
        answer->nodes = mem_resize(answer->nodes, answer->capacity, sizeof(answer->nodes[0]));
    }
    int r = consul_instance_read(item, service->consul->asker.config->tag_separator, &answer->arena,
                                 &answer->targets[answer->count], ret_reason);
    if (r < 0)
        return r;
    answer->nodes[answer->count++] = consul_instance_node(item);
    return 0;
}

static void service_put(struct service *service)
{
    struct consul *consul = service->consul;
    struct answer *answer = &service->answer;
    const struct label labels[] = {{STR("__meta_consul_service"), str_from(service->name)},
                                   {STR("__meta_consul_dc"), consul->datacenter}};
    consul->asker.api->put(consul->asker.host, &(struct discovery_group){.source = str_from(service->name),
                                                                         .labels = labels,
                                                                         .label_count = ARRAY_LEN(labels),
                                                                         .targets = answer->targets,
                                                                         .target_count = answer->count});
    mem_free(service->nodes);
    service->nodes = STEAL(answer->nodes);
    service->node_count = answer->count;
}

/* Its answer is taken, or cannot be. In after_ms it is asked for again where each has a watch. */
static void service_is_read(struct service *service, int64_t after_ms)
{
    struct consul *consul = service->consul;
    answer_done(&service->answer);
    consul->unread -= !service->read;
    service->read = true;
    if (consul->sweeping == service)
        consul->sweeping = NULL;
    if (consul->wide)
        service_set_place(service, service->again ? SERVICE_DUE : SERVICE_RESTING);
    else
        service_ask(service, after_ms);
    commit_when_read(consul);
    ask_next(consul);
}

static void service_answered(void *owner, bool changed)
{
    struct service *service = owner;
    if (changed)
        service_put(service);
    service_is_read(service, service->query.pause_ms);
}

/* Consul answers a token that may not see instances without them, not with an error. */
static int service_whole(void *owner, bool filtered, char ret_reason[static 256])
{
    const struct service *service = owner;
    if (!filtered || service->answer.count > 0 || service->node_count == 0)
        return 0;
    return error_text(-EACCES, ret_reason,
                      "no instances but ones that the token's policy hides (it needs service:read and node:read)");
}

/* Its targets stay as they were, and the others need not wait for it. */
static void service_refused(void *owner)
{
    struct service *service = owner;
    service_is_read(service, sweep_ms(service->consul));
}

static const struct consul_question service_question = {
    .path = "/v1/health/service/",
    .selects = true,
    .by_tags = true,
    .filter = offsetof(struct consul_config, health_filter),
    .shape = JSON_ELEMENTS,
    .begin = service_begin,
    .item = service_item,
    .whole = service_whole,
    .answered = service_answered,
    .refused = service_refused,
};

static struct service *service_new(struct consul *consul, struct str name)
{
    struct service *service = mem_zalloc(sizeof(*service));
    *service = (struct service){.consul = consul, .name = mem_strndup(name.ptr, name.len)};
    arena_init(&service->answer.arena, ANSWER_BYTES_MAX);
    consul_query_init(&service->query, &consul->asker, &service_question, service, service->name);
    place_enter(service, SERVICE_DUE);
    map_put(&consul->services, str_hash(name), service);
    consul->unread++;
    return service;
}

/* Its memory; what it asked for is over. */
static void service_free(struct service *service)
{
    consul_query_done(&service->query);
    answer_done(&service->answer);
    mem_free(service->nodes);
    mem_free(service->name);
    mem_free(service);
}

/* It is no longer in the catalog. */
static void service_drop(struct service *service)
{
    struct consul *consul = service->consul;
    struct str name = str_from(service->name);
    if (consul->listed)
        consul->asker.api->remove(consul->asker.host, name);
    else if (service->read) /* nothing of a listing can be taken back, but be without targets */
        consul->asker.api->put(consul->asker.host, &(struct discovery_group){.source = name});
    if (consul->sweeping == service)
        consul->sweeping = NULL;
    consul->unread -= !service->read;
    map_remove(&consul->services, str_hash(name), service_has_name, &name);
    place_leave(service);
    consul_query_stop(&service->query);
    service_free(service);
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
    for (struct service *service; changed && (service = map_next(&consul->services, &at));)
        if (consul_state_differs(&consul->state, str_from(service->name), service->nodes, service->node_count))
            service_is_due(service);
    if (changed)
        consul_state_settle(&consul->state);
    consul_query_ask(&consul->checks, true, consul->checks.pause_ms);
    ask_next(consul);
}

/* There are too many to be told of each change: the sweep reads the services, and this is tried when it is round. */
static void checks_refused(void *owner)
{
    struct consul *consul = owner;
    consul_query_ask(&consul->checks, true, sweep_ms(consul));
}

static const struct consul_question checks_question = {
    .path = "/v1/health/state/any",
    .selects = true,
    .shape = JSON_ELEMENTS,
    .bytes_max = STATE_BYTES_MAX,
    .begin = checks_begin,
    .item = checks_item,
    .answered = checks_answered,
    .refused = checks_refused,
};

/* Watches by service end and the datacenter's begins, or the other way round. What was read stays. */
static void set_wide(struct consul *consul, bool wide)
{
    size_t at = 0;
    if (wide == consul->wide)
        return;
    consul->wide = wide;
    consul->sweeping = NULL;
    for (struct service *service; (service = map_next(&consul->services, &at));) {
        consul_query_stop(&service->query);
        answer_done(&service->answer);
        if (service->place != SERVICE_DUE)
            service_set_place(service, wide && service->read ? SERVICE_RESTING : SERVICE_DUE);
    }
    if (wide) {
        consul_query_ask(&consul->checks, false, 0);
        return;
    }
    consul_query_stop(&consul->checks);
    consul_state_done(&consul->state);
    consul_state_init(&consul->state);
}

/* The services are known now, or others than before. */
static void services_changed(struct consul *consul)
{
    set_wide(consul, consul->services.count > WATCHES_MAX);
    commit_when_read(consul);
    ask_next(consul);
}

/* ---- the catalog ---- */

static bool has_all_tags(const struct consul *consul, const struct json_node *tags)
{
    const struct conf_strings *wanted = &consul->asker.config->tags;
    for (size_t i = 0; i < wanted->count; i++) {
        bool found = false;
        JSON_FOREACH(tag, tags)
        found = found || str_equal(tag->text, str_from(wanted->items[i]));
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
    consul->seen++;
    bool wanted = consul->wanted.count == 0 || map_get(&consul->wanted, str_hash(item->key), text_is, &item->key);
    if (!wanted || item->key.len == 0 || !has_all_tags(consul, item))
        return 0;
    if (++consul->entry_count > SERVICES_MAX)
        return error_text(-EMSGSIZE, ret_reason, "more than %d services", SERVICES_MAX);
    struct entry *entry = arena_array(&consul->entry_arena, 1, sizeof(*entry));
    *entry = (struct entry){.next = consul->entries, .name = arena_str(&consul->entry_arena, item->key)};
    JSON_FOREACH(tag, item)
    entry->tags += str_hash(tag->text); /* they come in any order */
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
    struct service *gone = NULL;
    size_t at = 0;
    for (const struct entry *entry = consul->entries; entry; entry = entry->next) {
        struct service *service = map_get(&consul->services, str_hash(entry->name), service_has_name, &entry->name);
        if (!service)
            service = service_new(consul, entry->name);
        else if (consul->wide && service->tags != entry->tags)
            service_is_due(service);
        service->tags = entry->tags;
        service->in_catalog = true;
    }
    for (struct service *service; (service = map_next(&consul->services, &at)); service->in_catalog = false) {
        if (service->in_catalog)
            continue;
        service->next_gone = gone;
        gone = service;
    }
    for (struct service *next; gone; gone = next) {
        next = gone->next_gone;
        service_drop(gone);
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
        service_new(consul, str_from(name));
    services_changed(consul);
}

/* ---- the agent: which datacenter this is ---- */

static void agent_begin(void *owner)
{
    struct consul *consul = owner;
    consul->datacenter = STR_NULL;
}

static int agent_item(void *owner, const struct json_node *item, char ret_reason[static 256])
{
    struct consul *consul = owner;
    (void)ret_reason;
    if (str_equal(item->key, STR("Config")))
        consul->datacenter = arena_str(&consul->arena, json_get_text(item, "Datacenter"));
    return 0;
}

static int agent_whole(void *owner, bool filtered, char ret_reason[static 256])
{
    const struct consul *consul = owner;
    (void)filtered;
    return consul->datacenter.len > 0
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
    map_init(&consul->services);
    consul_state_init(&consul->state);
    consul_query_init(&consul->agent, &consul->asker, &agent_question, consul, "");
    consul_query_init(&consul->catalog, &consul->asker, &catalog_question, consul, "");
    consul_query_init(&consul->checks, &consul->asker, &checks_question, consul, "");
    api->begin(host);
    consul->datacenter = str_from(consul->asker.config->datacenter);
    if (consul->datacenter.len > 0)
        services_start(consul);
    else
        consul_query_ask(&consul->agent, false, 0);
    return consul;
}

static void consul_stop(void *instance)
{
    struct consul *consul = instance;
    size_t at = 0;
    for (struct service *service; (service = map_next(&consul->services, &at));)
        service_free(service);
    consul_query_done(&consul->agent);
    consul_query_done(&consul->catalog);
    consul_query_done(&consul->checks);
    consul_state_done(&consul->state);
    map_done(&consul->services);
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
