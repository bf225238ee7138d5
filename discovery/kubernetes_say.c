/* Groups of what is known. While a group is made it is noted what was looked for: when one of those comes, changes or
 * goes, the group is made anew. */
#include "discovery/kubernetes_watch.h"

#include "base/fail.h"

#include <stdlib.h>

struct dependents { /* records whose groups were made with one key of a watch */
    struct kubernetes_record **records;
    size_t count, capacity;
};

struct found {
    const struct kubernetes_record *record;
    const struct json_node *object;
};

/* ---- who depends on what ---- */

static void add_dependent(struct kubernetes_dependency on, struct kubernetes_record *record)
{
    struct dependents *dependents = map_get(&on.watch->dependents, on.key_hash, NULL, NULL);
    if (!dependents) {
        dependents = mem_zalloc(sizeof(*dependents));
        map_put(&on.watch->dependents, on.key_hash, dependents);
    }
    if (dependents->count == dependents->capacity) {
        dependents->capacity = MAX(1, dependents->capacity * 2);
        dependents->records = mem_resize(dependents->records, dependents->capacity, sizeof(struct kubernetes_record *));
    }
    dependents->records[dependents->count++] = record;
}

static void dependents_free(struct dependents *dependents)
{
    mem_free(dependents->records);
    mem_free(dependents);
}

static void remove_dependent(struct kubernetes_dependency on, const struct kubernetes_record *record)
{
    struct dependents *dependents = map_get(&on.watch->dependents, on.key_hash, NULL, NULL);
    size_t at = 0;
    while (dependents->records[at] != record)
        at++;
    dependents->records[at] = dependents->records[--dependents->count];
    if (dependents->count > 0)
        return;
    map_remove(&on.watch->dependents, on.key_hash, NULL, NULL);
    dependents_free(dependents);
}

static int compare_dependencies(const void *a, const void *b)
{
    const struct kubernetes_dependency *one = a, *other = b;
    if (one->watch != other->watch)
        return (uintptr_t)one->watch < (uintptr_t)other->watch ? -1 : 1;
    return one->key_hash < other->key_hash ? -1 : one->key_hash > other->key_hash;
}

static size_t sort_unique(struct kubernetes_dependency *items, size_t count)
{
    size_t kept = 0;
    if (count > 0)
        qsort(items, count, sizeof(*items), compare_dependencies);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || compare_dependencies(&items[kept - 1], &items[i]) != 0)
            items[kept++] = items[i];
    return kept;
}

static void set_dependencies(struct kubernetes_record *record, struct kubernetes_dependency *items, size_t count)
{
    count = sort_unique(items, count);
    bool same = count == record->dependency_count;
    for (size_t i = 0; same && i < count; i++)
        same = compare_dependencies(&record->dependencies[i], &items[i]) == 0;
    if (same)
        return;
    for (size_t i = 0; i < record->dependency_count; i++)
        remove_dependent(record->dependencies[i], record);
    mem_free(STEAL(record->dependencies));
    record->dependency_count = (uint32_t)count;
    if (count > 0) {
        record->dependencies = mem_array(count, sizeof(*items));
        memcpy(record->dependencies, items, count * sizeof(*items));
    }
    for (size_t i = 0; i < count; i++)
        add_dependent(items[i], record);
}

/* The watch goes: the record no longer depends on it. */
static void drop_dependency(struct kubernetes_record *record, const struct kubernetes_watch *watch)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < record->dependency_count; i++)
        if (record->dependencies[i].watch != watch)
            record->dependencies[kept++] = record->dependencies[i];
    record->dependency_count = kept;
}

void kubernetes_forget_dependents(struct kubernetes_watch *watch)
{
    size_t at = 0;
    for (struct kubernetes_record *record; (record = map_next(&watch->store.records, &at));)
        set_dependencies(record, NULL, 0);
    at = 0;
    for (struct dependents *dependents; (dependents = map_next(&watch->dependents, &at));) {
        for (size_t i = 0; i < dependents->count; i++)
            drop_dependency(dependents->records[i], watch);
        dependents_free(dependents);
    }
    map_done(&watch->dependents);
}

/* ---- what is to be said ---- */

void kubernetes_dirty(struct kubernetes_record *record)
{
    struct kubernetes_hub *hub = record->watch->hub;
    if (record->dirty)
        return;
    record->dirty = true;
    if (hub->dirty_count == hub->dirty_capacity) {
        hub->dirty_capacity = MAX(64, hub->dirty_capacity * 2);
        hub->dirty = mem_resize(hub->dirty, hub->dirty_capacity, sizeof(struct kubernetes_record *));
    }
    hub->dirty[hub->dirty_count++] = record;
}

void kubernetes_dirty_dependents(struct kubernetes_record *record)
{
    uint64_t hash = kubernetes_key_hash(kubernetes_record_key(record));
    const struct dependents *dependents = map_get(&record->watch->dependents, hash, NULL, NULL);
    for (size_t i = 0; dependents && i < dependents->count; i++)
        kubernetes_dirty(dependents->records[i]);
}

void kubernetes_dirty_all(struct kubernetes_watch *watch)
{
    size_t at = 0;
    ASSERT(watch->keeps);
    for (struct kubernetes_record *record; (record = map_next(&watch->store.records, &at));)
        kubernetes_dirty(record);
}

/* ---- finding, while a group is made ---- */

static struct kubernetes_watch *watch_of(const struct kubernetes_section *section, enum kubernetes_kind kind,
                                         struct str name_space)
{
    for (size_t i = 0; i < section->count; i++) {
        struct kubernetes_watch *watch = section->subscriptions[i].watch;
        if (watch->kind == kind && (!watch->name_space || str_equal(str_from(watch->name_space), name_space)))
            return watch;
    }
    return NULL;
}

static void note(struct kubernetes_hub *hub, struct kubernetes_watch *watch, uint64_t key_hash)
{
    if (hub->looked_for_count == hub->looked_for_capacity) {
        hub->looked_for_capacity = MAX(64, hub->looked_for_capacity * 2);
        hub->looked_for = mem_resize(hub->looked_for, hub->looked_for_capacity, sizeof(*hub->looked_for));
    }
    hub->looked_for[hub->looked_for_count++] = (struct kubernetes_dependency){watch, key_hash};
}

static bool is_found(const void *item, const void *record)
{
    return ((const struct found *)item)->record == record;
}

/* One tree for each record of a group, however often it is looked for. */
static const struct json_node *unpack(struct kubernetes_hub *hub, const struct kubernetes_record *record)
{
    uint64_t hash = str_hash(str_of(&record, sizeof(record)));
    struct found *found = map_get(&hub->found, hash, is_found, record);
    if (found)
        return found->object;
    found = arena_alloc(&hub->group.arena, sizeof(*found));
    found->record = record;
    found->object = kubernetes_object_unpack(record->watch->kind, kubernetes_record_bytes(record), &hub->group.arena);
    map_put(&hub->found, hash, found);
    return found->object;
}

static const struct json_node *find(void *arg, enum kubernetes_kind kind, struct str name_space, struct str name)
{
    struct kubernetes_section *section = arg;
    struct kubernetes_hub *hub = section->hub;
    struct kubernetes_watch *watch = watch_of(section, kind, name_space);
    if (!watch || name.len == 0)
        return NULL;
    const char *format = kubernetes_kinds[kind].in_namespace ? STR_FMT "/" STR_FMT : STR_FMT STR_FMT;
    struct str key = str_from(arena_printf(&hub->group.arena, format, STR_ARG(name_space), STR_ARG(name)));
    note(hub, watch, kubernetes_key_hash(key));
    const struct kubernetes_record *record = kubernetes_store_find(&watch->store, key);
    return record && !record->gone && record->bytes ? unpack(hub, record) : NULL;
}

/* ---- saying ---- */

static void say(struct kubernetes_section *section, const struct kubernetes_record *record)
{
    struct kubernetes_hub *hub = section->hub;
    struct kubernetes_group *group = &hub->group;
    enum kubernetes_kind role = record->watch->kind;
    const struct kubernetes_view view = {
        .find = find,
        .arg = section,
        .attach_node = section->config->attach_metadata.node,
        .attach_namespace = section->config->attach_metadata.name_space,
    };
    kubernetes_group_reset(group);
    map_clear(&hub->found);
    if (!record->gone) {
        ASSERT(record->bytes);
        kubernetes_role_build(role, &view, unpack(hub, record), group);
    }
    const char *source =
        arena_printf(&group->arena, "%s/%.*s", kubernetes_kinds[role].source, (int)record->key_len, record->key);
    kubernetes_group_say(group, hub->api, section->host, str_from(source));
}

/* Not with a part of what its groups are made of. A role of one kind says what comes as it comes. */
static bool may_say(const struct kubernetes_section *section, const struct kubernetes_watch *watch)
{
    unsigned kinds = kubernetes_config_kinds(section->config);
    bool joins = (kinds & (kinds - 1)) != 0;
    return section->state != KUBERNETES_WAITING && (!joins || kubernetes_section_sees(section, watch->name_space));
}

static void say_to_all(struct kubernetes_record *record)
{
    struct kubernetes_watch *watch = record->watch;
    watch->hub->looked_for_count = 0;
    for (struct kubernetes_subscription *at = watch->subscriptions; at; at = at->next)
        if (at->section->config->role == (int)watch->kind && may_say(at->section, watch))
            say(at->section, record);
    set_dependencies(record, watch->hub->looked_for, watch->hub->looked_for_count);
}

void kubernetes_say_dirty(struct kubernetes_hub *hub)
{
    for (size_t i = 0; i < hub->dirty_count; i++) {
        struct kubernetes_record *record = hub->dirty[i];
        struct kubernetes_watch *watch = record->watch;
        record->dirty = false;
        say_to_all(record);
        if (record->gone)
            kubernetes_store_remove(&watch->store, record);
        else if (!watch->keeps)
            kubernetes_store_drop_bytes(&watch->store, record);
    }
    hub->dirty_count = 0;
}
