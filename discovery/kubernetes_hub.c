#include "discovery/kubernetes_hub.h"

#include "base/fail.h"
#include "discovery/kubernetes_watch.h"

struct kubernetes_hub *kubernetes_hub_new(const struct discovery_api *api)
{
    struct kubernetes_hub *hub = mem_zalloc(sizeof(*hub));
    hub->api = api;
    random_seed_from_system(&hub->random);
    map_init(&hub->found);
    kubernetes_group_init(&hub->group);
    return hub;
}

void kubernetes_hub_free(struct kubernetes_hub *hub)
{
    if (!hub)
        return;
    ASSERT(!hub->watches && hub->dirty_count == 0);
    kubernetes_group_done(&hub->group);
    map_done(&hub->found);
    mem_free(hub->dirty);
    mem_free(hub->looked_for);
    mem_free(hub);
}

struct kubernetes_section *kubernetes_section_new(struct kubernetes_hub *hub, struct discovery_host *host,
                                                  const struct kubernetes_config *config)
{
    struct kubernetes_section *section = mem_zalloc(sizeof(*section));
    section->hub = hub;
    section->host = host;
    section->config = config;
    return section;
}

void kubernetes_section_free(struct kubernetes_section *section)
{
    if (!section)
        return;
    for (size_t i = 0; i < section->count; i++)
        kubernetes_watch_leave(&section->subscriptions[i]);
    mem_free(section->subscriptions);
    mem_free(section);
}

static bool is_own(const struct kubernetes_section *section, const struct kubernetes_watch *watch)
{
    return watch->kind == (enum kubernetes_kind)section->config->role;
}

bool kubernetes_section_sees(const struct kubernetes_section *section, const char *name_space)
{
    for (size_t i = 0; i < section->count; i++) {
        const struct kubernetes_watch *watch = section->subscriptions[i].watch;
        bool concerned = !watch->name_space || !name_space || strcmp(watch->name_space, name_space) == 0;
        if (concerned && !section->subscriptions[i].listed)
            return false;
    }
    return true;
}

/* Of a namespace at least. Where all are refused there is nothing to say: what was known before stays. */
static bool sees_any(const struct kubernetes_section *section)
{
    for (size_t i = 0; i < section->count; i++) {
        const struct kubernetes_watch *watch = section->subscriptions[i].watch;
        if (is_own(section, watch) && kubernetes_section_sees(section, watch->name_space))
            return true;
    }
    return false;
}

void kubernetes_section_listed(struct kubernetes_section *section)
{
    if (!sees_any(section))
        return;
    if (section->state == KUBERNETES_WAITING) {
        section->hub->api->begin(section->host);
        section->state = KUBERNETES_LISTING;
    }
    for (size_t i = 0; i < section->count; i++)
        if (section->subscriptions[i].watch->keeps && is_own(section, section->subscriptions[i].watch))
            kubernetes_dirty_all(section->subscriptions[i].watch);
}

void kubernetes_section_said(struct kubernetes_section *section)
{
    if (section->state != KUBERNETES_LISTING || section->waiting > 0 || !sees_any(section))
        return;
    section->hub->api->commit(section->host);
    section->state = KUBERNETES_LIVE;
}

void kubernetes_section_watch(struct kubernetes_section *section, const char *const *namespaces, size_t count)
{
    unsigned kinds = kubernetes_config_kinds(section->config);
    size_t joined = 0;
    ASSERT(section->count == 0);
    section->subscriptions = mem_array(KUBERNETES_KINDS * MAX(count, 1), sizeof(*section->subscriptions));
    for (int kind = 0; kind < KUBERNETES_KINDS; kind++) {
        bool all = count == 0 || !kubernetes_kinds[kind].in_namespace;
        for (size_t i = 0; (kinds >> kind & 1) && i < (all ? 1 : count); i++) {
            struct kubernetes_subscription *subscription = &section->subscriptions[joined++];
            subscription->section = section;
            kubernetes_watch_join(subscription, (enum kubernetes_kind)kind, all ? NULL : namespaces[i]);
        }
    }
    section->count = joined;
    /* What needs nothing but its own object is said as it comes. */
    if ((kinds & (kinds - 1)) == 0) {
        section->hub->api->begin(section->host);
        section->state = KUBERNETES_LISTING;
    }
    if (section->waiting == 0) {
        kubernetes_section_listed(section);
        kubernetes_say_dirty(section->hub);
        kubernetes_section_said(section);
    }
    for (size_t i = 0; i < joined; i++)
        kubernetes_watch_ask(section->subscriptions[i].watch);
}
