#include "discovery/kubernetes_group.h"

#include "base/fail.h"
#include "discovery/meta_name.h"

void kubernetes_group_init(struct kubernetes_group *group)
{
    *group = (struct kubernetes_group){0};
    arena_init(&group->arena, 0);
}

void kubernetes_group_done(struct kubernetes_group *group)
{
    arena_done(&group->arena);
    mem_free(group->labels);
    mem_free(group->targets);
    mem_free(group->firsts);
}

void kubernetes_group_reset(struct kubernetes_group *group)
{
    arena_reset(&group->arena);
    group->label_count = group->target_count = group->bytes = 0;
}

void kubernetes_group_target(struct kubernetes_group *group, struct str address)
{
    if (group->target_count > DISCOVERY_GROUP_TARGETS_MAX)
        return;
    if (group->target_count == group->target_capacity) {
        group->target_capacity = MAX(16, group->target_capacity * 2);
        group->targets = mem_resize(group->targets, group->target_capacity, sizeof(*group->targets));
        group->firsts = mem_resize(group->firsts, group->target_capacity, sizeof(*group->firsts));
    }
    group->firsts[group->target_count] = group->label_count;
    group->targets[group->target_count++] = (struct discovery_target){.address = address};
    group->bytes += address.len;
}

static size_t first_of_current(const struct kubernetes_group *group)
{
    return group->target_count > 0 ? group->firsts[group->target_count - 1] : 0;
}

static void add(struct kubernetes_group *group, struct str name, struct str value)
{
    if (group->bytes > DISCOVERY_GROUP_BYTES_MAX || group->label_count - first_of_current(group) > DISCOVERY_LABELS_MAX)
        return;
    if (group->label_count == group->label_capacity) {
        group->label_capacity = MAX(64, group->label_capacity * 2);
        group->labels = mem_resize(group->labels, group->label_capacity, sizeof(*group->labels));
    }
    group->labels[group->label_count++] = (struct label){name, value};
    group->bytes += name.len + value.len;
}

void kubernetes_group_label(struct kubernetes_group *group, const char *name, struct str value)
{
    if (value.len > 0)
        add(group, str_from(name), value);
}

/* Of the labels from `from` on the one of this name, or NULL. */
static struct label *find(struct kubernetes_group *group, size_t from, struct str name)
{
    for (size_t i = from; i < group->label_count; i++)
        if (str_equal(group->labels[i].name, name))
            return &group->labels[i];
    return NULL;
}

void kubernetes_group_map(struct kubernetes_group *group, struct kubernetes_prefixes prefixes,
                          const struct json_node *map)
{
    size_t from = group->label_count;
    if (!map || map->kind != JSON_OBJECT)
        return;
    JSON_FOREACH(child, map)
    {
        struct str name = meta_name(&group->arena, str_from(prefixes.value), child->key);
        struct label *same = find(group, from, name);
        if (same) {
            same->value = child->text;
            continue;
        }
        add(group, name, child->text); /* the host leaves empty ones out */
        add(group, meta_name(&group->arena, str_from(prefixes.present), child->key), STR("true"));
    }
}

struct str kubernetes_group_address(struct kubernetes_group *group, struct str host, struct str port)
{
    bool is_v6 = str_find(host, ':') < host.len;
    if (port.len == 0)
        return host;
    return str_from(arena_printf(&group->arena, is_v6 ? "[%.*s]:%.*s" : "%.*s:%.*s", STR_ARG(host), STR_ARG(port)));
}

void kubernetes_group_say(struct kubernetes_group *group, const struct discovery_api *api, struct discovery_host *host,
                          struct str source)
{
    for (size_t i = 0; i < group->target_count; i++) {
        size_t end = i + 1 < group->target_count ? group->firsts[i + 1] : group->label_count;
        group->targets[i].labels = group->labels + group->firsts[i];
        group->targets[i].label_count = end - group->firsts[i];
    }
    const struct discovery_group said = {
        .source = source,
        .labels = group->labels,
        .label_count = group->target_count > 0 ? group->firsts[0] : group->label_count,
        .targets = group->targets,
        .target_count = group->target_count,
    };
    api->put(host, &said);
}
