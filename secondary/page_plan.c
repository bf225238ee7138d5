#include "page_plan.h"

#include "base/fail.h"

#include <stdlib.h>

struct plan_group { /* the series of a family that share a class and their fields */
    struct plan_group *next;
    struct plan_family *family;
    uint32_t index; /* in the plan's groups */
    uint32_t class;
    bool last_only;
    struct layout_slot *slots;
    uint32_t slot_count, slot_capacity;
    uint32_t first_slot; /* among the page's values */
};

struct plan_slot {
    struct label *labels;
    uint32_t label_count;
    uint32_t group;
};

void page_plan_init(struct page_plan *plan, const struct window_rules *rules, const struct labels *target,
                    struct arena *arena)
{
    *plan = (struct page_plan){.rules = rules, .target = target, .arena = arena, .class_count = 1};
    plan->classes = mem_array(1, sizeof(*plan->classes));
    plan->classes[0] = (struct window_class){.resolution_ms = window_rules_default_ms(rules), .aggregate = -1};
    plan->decided = mem_array(window_rules_count(rules), sizeof(*plan->decided));
    map_init(&plan->family_map);
    map_init(&plan->slot_map);
}

void page_plan_done(struct page_plan *plan)
{
    for (uint32_t i = 0; i < plan->group_count; i++)
        mem_free(plan->groups[i]->slots);
    map_done(&plan->family_map);
    map_done(&plan->slot_map);
    mem_free(plan->groups);
    mem_free(plan->classes);
    mem_free(plan->decided);
}

/* ---- families ---- */

static bool is_family(const void *item, const void *key)
{
    return str_equal(((const struct plan_family *)item)->name, *(const struct str *)key);
}

struct plan_family *page_plan_find(const struct page_plan *plan, struct str name)
{
    return map_get(&plan->family_map, str_hash(name), is_family, &name);
}

struct plan_family *page_plan_family(struct page_plan *plan, struct str name)
{
    struct plan_family *family = page_plan_find(plan, name);
    if (family)
        return family;
    family = arena_array(plan->arena, 1, sizeof(*family));
    struct str kept = arena_str(plan->arena, name);
    if (!family || !kept.ptr)
        return NULL;
    family->name = kept;
    map_put(&plan->family_map, str_hash(name), family);
    return family;
}

/* ---- series ---- */

/* A series that is folded into aggregates needs no window of its own: by which rule is all that counts. */
static uint32_t class_of(struct page_plan *plan, const struct window_class *class)
{
    for (uint32_t i = 0; i < plan->class_count; i++)
        if (window_class_equal(&plan->classes[i], class))
            return i;
    plan->classes = mem_resize(plan->classes, plan->class_count + 1, sizeof(*plan->classes));
    plan->classes[plan->class_count] = *class;
    return plan->class_count++;
}

static struct plan_group *group_of(struct page_plan *plan, struct plan_family *family,
                                   const struct window_decision *decision)
{
    uint32_t class = class_of(plan, &decision->class);
    for (struct plan_group *group = family->groups; group; group = group->next)
        if (group->class == class && group->last_only == decision->last_only)
            return group;
    struct plan_group *group = arena_array(plan->arena, 1, sizeof(*group));
    if (!group)
        return NULL;
    *group = (struct plan_group){.next = family->groups,
                                 .family = family,
                                 .index = plan->group_count,
                                 .class = class,
                                 .last_only = decision->last_only};
    family->groups = group;
    if (plan->group_count == plan->group_capacity) {
        plan->group_capacity = MAX(2 * plan->group_capacity, 64U);
        plan->groups = mem_resize(plan->groups, plan->group_capacity, sizeof(*plan->groups));
    }
    plan->groups[plan->group_count++] = group;
    return group;
}

static int compare_names(const void *a, const void *b)
{
    return str_compare(((const struct label *)a)->name, ((const struct label *)b)->name);
}

static bool is_slot(const void *item, const void *key)
{
    const struct plan_slot *a = item, *b = key;
    if (a->group != b->group || a->label_count != b->label_count)
        return false;
    for (uint32_t i = 0; i < a->label_count; i++)
        if (!str_equal(a->labels[i].name, b->labels[i].name) || !str_equal(a->labels[i].value, b->labels[i].value))
            return false;
    return true;
}

static uint64_t hash_of_labels(const struct label *labels, uint32_t count, uint64_t seed)
{
    for (uint32_t i = 0; i < count; i++) {
        seed = hash64(labels[i].name.ptr, labels[i].name.len, seed + 1);
        seed = hash64(labels[i].value.ptr, labels[i].value.len, seed + 2);
    }
    return seed;
}

static struct str name_among(const struct label *labels, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (str_equal(labels[i].name, STR(LABEL_NAME)))
            return labels[i].value;
    return STR_NULL;
}

/* The labels as a slot of the family says them, in the arena. */
static bool keep_labels(struct page_plan *plan, const struct plan_family *family, const struct label *labels,
                        uint32_t count, struct plan_slot *slot)
{
    struct label *kept = arena_array(plan->arena, count, sizeof(*kept));
    if (!kept)
        return false;
    slot->labels = kept;
    for (uint32_t i = 0; i < count; i++) {
        if (str_equal(labels[i].name, STR(LABEL_NAME)) && str_equal(labels[i].value, family->name))
            continue;
        kept[slot->label_count].name = arena_str(plan->arena, labels[i].name);
        kept[slot->label_count].value = arena_str(plan->arena, labels[i].value);
        if (!kept[slot->label_count++].value.ptr)
            return false;
    }
    qsort(kept, slot->label_count, sizeof(*kept), compare_names);
    return true;
}

bool page_plan_add(struct page_plan *plan, struct plan_family *family, const struct label *labels, uint32_t count,
                   struct plan_place *ret_place)
{
    *ret_place = (struct plan_place){.index = PAGE_SLOT_NONE};
    struct window_decision decision = window_rules_decide(plan->rules, plan->target, labels, count, plan->decided);
    if (decision.dropped) {
        plan->dropped++;
        return true;
    }
    struct str name = name_among(labels, count);
    /* Of counters only last values are kept anyway. */
    if (decision.last_only && series_kind_of(family->type, name.ptr, name.len) == KIND_COUNTER)
        decision.last_only = false;
    struct plan_group *group = group_of(plan, family, &decision);
    struct plan_slot *slot = arena_array(plan->arena, 1, sizeof(*slot));
    if (!group || !slot || !keep_labels(plan, family, labels, count, slot))
        return false;
    slot->group = group->index;
    uint64_t hash = hash_of_labels(slot->labels, slot->label_count, slot->group);
    if (map_get(&plan->slot_map, hash, is_slot, slot)) {
        plan->repeated++;
        return true;
    }
    map_put(&plan->slot_map, hash, slot);
    if (group->slot_count == group->slot_capacity) {
        group->slot_capacity = MAX(2 * group->slot_capacity, 4U);
        group->slots = mem_resize(group->slots, group->slot_capacity, sizeof(*group->slots));
    }
    *ret_place = (struct plan_place){slot->group, group->slot_count};
    group->slots[group->slot_count++] = (struct layout_slot){.labels = slot->labels, .label_count = slot->label_count};
    plan->kept++;
    return true;
}

/* ---- the page ---- */

static struct layout *layout_of(struct page_cache *cache, const struct plan_group *group)
{
    const struct plan_family *family = group->family;
    struct layout_family_spec spec = {.name = family->name,
                                      .help = family->help,
                                      .metric_type = family->type,
                                      .last_only = group->last_only,
                                      .slots = group->slots,
                                      .count = group->slot_count};
    struct layout *layout = layout_family_new(&spec);
    return layout ? page_cache_layout(cache, layout) : NULL;
}

/* The page of one class, whose values begin at *value. */
static struct page *make_class(struct page_plan *plan, struct page_cache *cache, uint32_t class, uint32_t *value)
{
    struct layout **families = mem_array(plan->group_count, sizeof(struct layout *));
    uint32_t count = 0;
    bool made = true;
    for (uint32_t i = 0; i < plan->group_count && made; i++) {
        struct plan_group *group = plan->groups[i];
        if (group->class != class)
            continue;
        families[count] = layout_of(cache, group);
        made = families[count];
        count += made;
        group->first_slot = *value;
        *value += group->slot_count;
    }
    struct page *page = made ? page_cache_page(cache, families, count) : NULL;
    if (!page) {
        while (count > 0)
            layout_unref(families[--count]);
        mem_free(families);
    }
    return page;
}

struct page *page_plan_make(struct page_plan *plan, struct page_cache *cache)
{
    uint32_t value = 0;
    struct page *page = make_class(plan, cache, 0, &value);
    if (!page)
        return NULL;
    if (plan->class_count > 1)
        page->parts = mem_array(plan->class_count - 1, sizeof(*page->parts));
    for (uint32_t class = 1; class < plan->class_count; class ++) {
        struct page_part *part = &page->parts[page->part_count];
        *part = (struct page_part){.class = plan->classes[class], .first_value = value};
        part->page = make_class(plan, cache, class, &value);
        if (!part->page) {
            page_unref(cache, page);
            return NULL;
        }
        page->part_count++;
    }
    page->value_count = value;
    page->repeated_count = plan->repeated;
    page->dropped_count = plan->dropped;
    page->rule_count = (uint32_t)window_rules_count(plan->rules);
    page->decided = STEAL(plan->decided);
    return page;
}

uint32_t page_plan_slot(const struct page_plan *plan, struct plan_place place)
{
    return place.index == PAGE_SLOT_NONE ? PAGE_SLOT_NONE : plan->groups[place.group]->first_slot + place.index;
}
