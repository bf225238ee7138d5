/* Pages compared and joined, and the page that is not scraped. */
#include "base/fail.h"
#include "page_plan.h"

struct slot_key { /* a slot of a family, for the map */
    const struct layout_slot *slot;
    uint32_t index; /* on its page */
};

static bool slots_equal(const struct layout_slot *a, const struct layout_slot *b)
{
    if (a->label_count != b->label_count)
        return false;
    for (uint32_t i = 0; i < a->label_count; i++)
        if (!str_equal(a->labels[i].name, b->labels[i].name) || !str_equal(a->labels[i].value, b->labels[i].value))
            return false;
    return true;
}

static bool is_slot(const void *item, const void *key)
{
    return slots_equal(((const struct slot_key *)item)->slot, key);
}

static uint64_t slot_hash(const struct layout_slot *slot)
{
    uint64_t hash = 0;
    for (uint32_t i = 0; i < slot->label_count; i++) {
        hash = hash64(slot->labels[i].name.ptr, slot->labels[i].name.len, hash + 1);
        hash = hash64(slot->labels[i].value.ptr, slot->labels[i].value.len, hash + 2);
    }
    return hash;
}

/* Series of one metric stand in two families where rules keep only last values of some. */
static bool is_alike(const void *item, const void *key)
{
    const struct layout *family = *(const struct layout *const *)item, *wanted = key;
    return family->last_only == wanted->last_only && str_equal(family->name, wanted->name);
}

/* The families of a page by name; items point into page->families. */
static void map_families(struct map *map, const struct page *page)
{
    map_init(map);
    for (uint32_t f = 0; f < page->family_count; f++)
        map_put(map, str_hash(page->families[f]->name), &page->families[f]);
}

static void first_slots(const struct page *page, uint32_t *ret_starts)
{
    uint32_t slots = 0;
    for (uint32_t f = 0; f < page->family_count; f++) {
        ret_starts[f] = slots;
        slots += page->families[f]->count;
    }
}

/* One family of old against the one of next that has its name. Returns how many slots both have. */
static uint32_t match_family(const struct layout *old, const struct layout *next, uint32_t next_start,
                             uint32_t *ret_slots)
{
    if (old == next) {
        for (uint32_t i = 0; i < old->count; i++)
            ret_slots[i] = next_start + i;
        return old->count;
    }
    CLEANUP_FREE struct slot_key *keys = mem_array(next->count, sizeof(*keys));
    struct map map;
    uint32_t found_count = 0;
    map_init(&map);
    for (uint32_t i = 0; i < next->count; i++) {
        keys[i] = (struct slot_key){&next->slots[i], next_start + i};
        map_put(&map, slot_hash(&next->slots[i]), &keys[i]);
    }
    for (uint32_t i = 0; i < old->count; i++) {
        const struct slot_key *found = map_get(&map, slot_hash(&old->slots[i]), is_slot, &old->slots[i]);
        if (!found)
            continue;
        ret_slots[i] = found->index;
        found_count++;
    }
    map_done(&map);
    return found_count;
}

uint32_t page_match(const struct page *old, const struct page *next, uint32_t *ret_slots)
{
    struct map names;
    map_families(&names, next);
    CLEANUP_FREE uint32_t *starts = mem_array(next->family_count, sizeof(*starts));
    first_slots(next, starts);
    uint32_t slot = 0, found_count = 0;
    for (uint32_t f = 0; f < old->family_count; f++) {
        const struct layout *family = old->families[f];
        for (uint32_t i = 0; i < family->count; i++)
            ret_slots[slot + i] = PAGE_SLOT_NONE;
        struct layout **found = map_get(&names, str_hash(family->name), is_alike, family);
        if (found)
            found_count += match_family(family, *found, starts[found - next->families], ret_slots + slot);
        slot += family->count;
    }
    map_done(&names);
    return next->slot_count - found_count;
}

/* next's family of that name with the kept slots of old's behind it; next may be NULL. */
static struct layout *join(const struct layout *next, const struct layout *old, const bool *keep)
{
    const struct layout *head = next ? next : old;
    uint32_t count = next ? next->count : 0;
    CLEANUP_FREE struct layout_slot *slots = mem_array((size_t)count + old->count, sizeof(*slots));
    for (uint32_t i = 0; i < count; i++)
        slots[i] = next->slots[i];
    for (uint32_t i = 0; i < old->count; i++)
        if (keep[i])
            slots[count++] = old->slots[i];
    struct layout_family_spec spec = {.name = head->name,
                                      .unit = head->unit,
                                      .help = head->help,
                                      .metric_type = head->metric_type,
                                      .last_only = head->last_only,
                                      .slots = slots,
                                      .count = count};
    return layout_family_new(&spec);
}

static bool any_kept(const bool *keep, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (keep[i])
            return true;
    return false;
}

static bool join_families(struct page_cache *cache, const struct page *old, const bool *keep, struct map *names,
                          struct layout **families, uint32_t *count)
{
    struct layout **start = families;
    uint32_t slot = 0;
    for (uint32_t f = 0; f < old->family_count; slot += old->families[f++]->count) {
        const struct layout *family = old->families[f];
        if (!any_kept(keep + slot, family->count))
            continue;
        struct layout **named = map_get(names, str_hash(family->name), is_alike, family);
        struct layout *joined = join(named ? *named : NULL, family, keep + slot);
        if (!joined)
            return false;
        joined = page_cache_layout(cache, joined);
        if (named) {
            layout_unref(*named);
            *named = joined;
        } else {
            start[(*count)++] = joined;
        }
    }
    return true;
}

struct page *page_union(struct page_cache *cache, const struct page *next, const struct page *old, const bool *keep)
{
    struct layout **families = mem_array((size_t)next->family_count + old->family_count, sizeof(struct layout *));
    uint32_t count = next->family_count;
    struct map names; /* items point into families */
    map_init(&names);
    for (uint32_t f = 0; f < count; f++) {
        families[f] = layout_ref(next->families[f]);
        map_put(&names, str_hash(families[f]->name), &families[f]);
    }
    bool joined = join_families(cache, old, keep, &names, families, &count);
    map_done(&names);
    struct page *page = joined ? page_cache_page(cache, families, count) : NULL;
    if (!page) {
        for (uint32_t f = 0; f < count; f++)
            layout_unref(families[f]);
        mem_free(families);
    }
    return page;
}

struct page *page_of_series(struct page_cache *cache, const struct page_source *source,
                            const struct page_series *series, size_t count, uint32_t *ret_slots)
{
    CLEANUP(arena_done) struct arena arena;
    CLEANUP(page_plan_done) struct page_plan plan;
    CLEANUP_FREE struct plan_place *places = mem_array(count, sizeof(*places));
    arena_init(&arena, 0);
    page_plan_init(&plan, source->rules, source->target, &arena);
    for (size_t i = 0; i < count; i++) {
        struct label labels[LABELS_MAX];
        ASSERT(series[i].label_count < LABELS_MAX);
        labels[0] = (struct label){STR(LABEL_NAME), series[i].name};
        for (size_t j = 0; j < series[i].label_count; j++)
            labels[j + 1] = series[i].labels[j];
        struct plan_family *family = page_plan_family(&plan, series[i].name);
        family->help = series[i].help;
        family->type = series[i].type;
        ASSERT(page_plan_add(&plan, family, labels, (uint32_t)series[i].label_count + 1, &places[i]));
    }
    struct page *page = page_plan_make(&plan, cache);
    for (size_t i = 0; i < count && page; i++)
        ret_slots[i] = page_plan_slot(&plan, places[i]);
    return page;
}

struct page *page_empty(struct page_cache *cache)
{
    struct page *page = page_cache_page(cache, mem_array(0, sizeof(struct layout *)), 0);
    ASSERT(page);
    return page;
}
