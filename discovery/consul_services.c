#include "discovery/consul_services.h"

#include "base/fail.h"
#include "discovery/consul_instance.h"

#include <errno.h>

#define READS_MAX        8                         /* services read at a time where there are many */
#define SWEEP_INTERVALS  10                        /* refresh intervals that a sweep over all services takes ... */
#define SWEEP_PAUSE_MS   50                        /* ... or more, where that would be more than 20 requests a second */
#define ANSWER_BYTES_MAX DISCOVERY_GROUP_BYTES_MAX /* of one service's labels */
_Static_assert(CONSUL_WATCHES_MAX + 1 <= DISCOVERY_CALLS_MAX && READS_MAX + 2 <= DISCOVERY_CALLS_MAX,
               "none has to wait");

static bool service_has_name(const void *item, const void *key)
{
    const struct consul_service *service = item;
    return str_equal(str_from(service->name), *(const struct str *)key);
}

/* ---- where services stand ---- */

static void place_enter(struct consul_service *service, enum consul_place place)
{
    struct consul_place_list *list = &service->services->places[place];
    service->place = place;
    service->next = NULL;
    service->prev = list->last;
    *(list->last ? &list->last->next : &list->first) = service;
    list->last = service;
    list->count++;
}

static void place_leave(struct consul_service *service)
{
    struct consul_place_list *list = &service->services->places[service->place];
    *(service->prev ? &service->prev->next : &list->first) = service->next;
    *(service->next ? &service->next->prev : &list->last) = service->prev;
    list->count--;
}

static void service_set_place(struct consul_service *service, enum consul_place place)
{
    place_leave(service);
    place_enter(service, place);
}

static void service_ask(struct consul_service *service, int64_t after_ms)
{
    service_set_place(service, CONSUL_ASKED);
    service->again = false;
    consul_query_ask(&service->query, !service->services->wide, after_ms);
}

void consul_service_is_due(struct consul_service *service)
{
    if (service->place == CONSUL_ASKED)
        service->again = true;
    else
        service_set_place(service, CONSUL_DUE);
}

int64_t consul_services_sweep_ms(const struct consul_services *services)
{
    return SWEEP_INTERVALS * services->asker->config->refresh_interval_ms;
}

static int64_t sweep_pause_ms(const struct consul_services *services)
{
    return MAX(consul_services_sweep_ms(services) / (int64_t)services->by_name.count, SWEEP_PAUSE_MS);
}

/* Asks for what is due, as far as there is room; else for the one that was read the longest time ago. */
static void ask_next(struct consul_services *services)
{
    struct consul_place_list *due = &services->places[CONSUL_DUE], *resting = &services->places[CONSUL_RESTING];
    while (due->first && services->places[CONSUL_ASKED].count < (services->wide ? READS_MAX : CONSUL_WATCHES_MAX))
        service_ask(due->first, 0);
    if (!services->wide || services->sweeping || !resting->first || services->places[CONSUL_ASKED].count >= READS_MAX)
        return;
    services->sweeping = resting->first;
    service_ask(services->sweeping, sweep_pause_ms(services));
}

static void commit_when_read(struct consul_services *services)
{
    if (services->listed || services->unread > 0)
        return;
    services->asker->api->commit(services->asker->host);
    services->listed = true;
}

void consul_services_go_on(struct consul_services *services)
{
    commit_when_read(services);
    ask_next(services);
}

/* ---- a service ---- */

static void answer_done(struct consul_answer *answer)
{
    arena_done(&answer->arena);
    mem_free(answer->targets);
    mem_free(answer->nodes);
    *answer = (struct consul_answer){0};
    arena_init(&answer->arena, ANSWER_BYTES_MAX);
}

static void service_begin(void *owner)
{
    struct consul_service *service = owner;
    answer_done(&service->answer);
}

static int service_item(void *owner, const struct json_node *item, char ret_reason[static 256])
{
    struct consul_service *service = owner;
    struct consul_answer *answer = &service->answer;
    if (answer->count == DISCOVERY_GROUP_TARGETS_MAX)
        return error_text(-EMSGSIZE, ret_reason, "more than %d instances", DISCOVERY_GROUP_TARGETS_MAX);
    if (answer->count == answer->capacity) {
        answer->capacity = MAX(2 * answer->capacity, 16);
        answer->targets = mem_resize(answer->targets, answer->capacity, sizeof(answer->targets[0]));
        answer->nodes = mem_resize(answer->nodes, answer->capacity, sizeof(answer->nodes[0]));
    }
    int r = consul_instance_read(item, service->services->asker->config->tag_separator, &answer->arena,
                                 &answer->targets[answer->count], ret_reason);
    if (r < 0)
        return r;
    answer->nodes[answer->count++] = consul_instance_node(item);
    return 0;
}

static void service_put(struct consul_service *service)
{
    struct consul_services *services = service->services;
    struct consul_answer *answer = &service->answer;
    const struct label labels[] = {{STR("__meta_consul_service"), str_from(service->name)},
                                   {STR("__meta_consul_dc"), services->datacenter}};
    services->asker->api->put(services->asker->host, &(struct discovery_group){.source = str_from(service->name),
                                                                               .labels = labels,
                                                                               .label_count = ARRAY_LEN(labels),
                                                                               .targets = answer->targets,
                                                                               .target_count = answer->count});
    mem_free(service->nodes);
    service->nodes = STEAL(answer->nodes);
    service->node_count = answer->count;
}

/* Its answer is taken, or cannot be. In after_ms it is asked for again where each has a watch. */
static void service_is_read(struct consul_service *service, int64_t after_ms)
{
    struct consul_services *services = service->services;
    answer_done(&service->answer);
    services->unread -= !service->read;
    service->read = true;
    if (services->sweeping == service)
        services->sweeping = NULL;
    if (services->wide)
        service_set_place(service, service->again ? CONSUL_DUE : CONSUL_RESTING);
    else
        service_ask(service, after_ms);
    consul_services_go_on(services);
}

static void service_answered(void *owner, bool changed)
{
    struct consul_service *service = owner;
    if (changed)
        service_put(service);
    service_is_read(service, service->query.pause_ms);
}

/* Consul answers a token that may not see instances without them, not with an error. */
static int service_whole(void *owner, bool filtered, char ret_reason[static 256])
{
    const struct consul_service *service = owner;
    if (!filtered || service->answer.count > 0 || service->node_count == 0)
        return 0;
    return error_text(-EACCES, ret_reason,
                      "no instances but ones that the token's policy hides (it needs service:read and node:read)");
}

/* Its targets stay as they were, and the others need not wait for it. */
static void service_refused(void *owner)
{
    struct consul_service *service = owner;
    service_is_read(service, consul_services_sweep_ms(service->services));
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

struct consul_service *consul_services_add(struct consul_services *services, struct str name)
{
    struct consul_service *service = mem_zalloc(sizeof(*service));
    *service = (struct consul_service){.services = services, .name = mem_strndup(name.ptr, name.len)};
    arena_init(&service->answer.arena, ANSWER_BYTES_MAX);
    consul_query_init(&service->query, services->asker, &service_question, service, service->name);
    place_enter(service, CONSUL_DUE);
    map_put(&services->by_name, str_hash(name), service);
    services->unread++;
    return service;
}

/* Its memory; what it asked for is over. */
static void service_free(struct consul_service *service)
{
    consul_query_done(&service->query);
    answer_done(&service->answer);
    mem_free(service->nodes);
    mem_free(service->name);
    mem_free(service);
}

void consul_service_drop(struct consul_service *service)
{
    struct consul_services *services = service->services;
    struct str name = str_from(service->name);
    if (services->listed)
        services->asker->api->remove(services->asker->host, name);
    else if (service->read) /* nothing of a listing can be taken back, but be without targets */
        services->asker->api->put(services->asker->host, &(struct discovery_group){.source = name});
    if (services->sweeping == service)
        services->sweeping = NULL;
    services->unread -= !service->read;
    map_remove(&services->by_name, str_hash(name), service_has_name, &name);
    place_leave(service);
    consul_query_stop(&service->query);
    service_free(service);
}

/* ---- all of them ---- */

void consul_services_init(struct consul_services *services, struct consul_asker *asker)
{
    *services = (struct consul_services){.asker = asker};
    map_init(&services->by_name);
}

void consul_services_done(struct consul_services *services)
{
    size_t at = 0;
    for (struct consul_service *service; (service = map_next(&services->by_name, &at));)
        service_free(service);
    map_done(&services->by_name);
}

struct consul_service *consul_services_get(const struct consul_services *services, struct str name)
{
    return map_get(&services->by_name, str_hash(name), service_has_name, &name);
}

void consul_services_set_wide(struct consul_services *services, bool wide)
{
    size_t at = 0;
    services->wide = wide;
    services->sweeping = NULL;
    for (struct consul_service *service; (service = map_next(&services->by_name, &at));) {
        consul_query_stop(&service->query);
        answer_done(&service->answer);
        if (service->place != CONSUL_DUE)
            service_set_place(service, wide && service->read ? CONSUL_RESTING : CONSUL_DUE);
    }
}
