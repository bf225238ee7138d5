#include "base/fail.h"
#include "hop/layout_table_internal.h"

#include <errno.h>

#define MAP_PLACE_BYTES 32

struct layout_table *layout_table_new(uint64_t packed_bytes_max, uint64_t cache_bytes_max)
{
    struct layout_table *table = mem_zalloc(sizeof(*table));
    map_init(&table->entries);
    map_init(&table->families);
    map_init(&table->family_sketches);
    map_init(&table->list_sketches);
    table->packed_bytes_max = packed_bytes_max;
    table->cache_bytes_max = cache_bytes_max;
    return table;
}

/* ---- Entries ---- */

static bool entry_is(const void *item, const void *key)
{
    const struct layout_entry *entry = item;
    return hash128_equal(entry->hash, *(const struct hash128 *)key);
}

struct layout_entry *layout_entry_get(const struct layout_table *table, struct hash128 hash)
{
    return map_get(&table->entries, hash128_low(hash), entry_is, &hash);
}

struct layout_entry *layout_entry_make(struct layout_table *table, struct hash128 hash, enum layout_type type)
{
    struct layout_entry *entry = layout_entry_get(table, hash);
    if (entry)
        return entry;
    entry = mem_zalloc(sizeof(*entry));
    entry->hash = hash;
    entry->type = type;
    map_put(&table->entries, hash128_low(hash), entry);
    return entry;
}

/* ---- By use ---- */

static void leave_list(struct layout_table *table, struct layout_entry *entry)
{
    *(entry->newer ? &entry->newer->older : &table->newest) = entry->older;
    *(entry->older ? &entry->older->newer : &table->oldest) = entry->newer;
    entry->newer = entry->older = NULL;
}

static void enter_list(struct layout_table *table, struct layout_entry *entry)
{
    entry->older = table->newest;
    *(entry->older ? &entry->older->newer : &table->oldest) = entry;
    table->newest = entry;
}

/* ---- What is expanded ---- */

static bool family_is(const void *item, const void *key)
{
    const struct layout_family *family = item;
    return hash128_equal(family->layout->hash, *(const struct hash128 *)key);
}

struct layout_family *layout_family_get(const struct layout_table *table, struct hash128 hash)
{
    return map_get(&table->families, hash128_low(hash), family_is, &hash);
}

static uint64_t family_cost(const struct layout_family *family)
{
    /* With its places in maps: by hash, and by each value of its sketch. */
    return sizeof(*family) + (1 + NEAR_SKETCH) * MAP_PLACE_BYTES + layout_memory_bytes(family->layout);
}

static void take_family(struct layout_table *table, struct layout *layout)
{
    struct layout_family *family = layout_family_get(table, layout->hash);
    if (!family) {
        family = mem_zalloc(sizeof(*family));
        family->layout = layout_ref(layout);
        map_put(&table->families, hash128_low(layout->hash), family);
        table->cache_bytes += family_cost(family);
    }
    family->pages++;
}

static void give_family(struct layout_table *table, struct hash128 hash, const struct layout_entry *page)
{
    struct layout_family *family = layout_family_get(table, hash);
    ASSERT(family && family->pages > 0);
    if (family->last == page)
        family->last = NULL;
    if (--family->pages > 0)
        return;
    layout_near_forget_family(table, family);
    map_remove(&table->families, hash128_low(hash), family_is, &hash);
    table->cache_bytes -= family_cost(family);
    layout_unref(family->layout);
    mem_free(family);
}

/* A page of the families that are here already: takes over the reference. */
static struct layout *with_own_families(const struct layout_table *table, struct layout *page)
{
    bool any = false;
    CLEANUP_FREE struct layout **families = mem_array(page->count, sizeof(*families));
    for (uint32_t i = 0; i < page->count; i++) {
        const struct layout_family *known = layout_family_get(table, page->families[i]->hash);
        families[i] = known ? known->layout : page->families[i];
        any |= families[i] != page->families[i];
    }
    if (!any)
        return page;
    struct layout *own = layout_page_new(families, page->count);
    ASSERT(own && hash128_equal(own->hash, page->hash));
    layout_unref(page);
    return own;
}

static void collapse(struct layout_table *table, struct layout_entry *entry)
{
    struct layout *layout = STEAL(entry->layout);
    if (layout->type == LAYOUT_TARGETS)
        layout_near_forget_targets(table, entry);
    for (uint32_t i = 0; layout->type == LAYOUT_PAGE && i < layout->count; i++)
        give_family(table, layout->families[i]->hash, entry);
    table->cache_bytes -= sizeof(*entry) + layout_memory_bytes(layout);
    layout_unref(layout);
}

/* The least used leave the cache, but for the one that was just asked for. */
static void keep_bound(struct layout_table *table, const struct layout_entry *asked)
{
    while (table->cache_bytes > table->cache_bytes_max && table->oldest && table->oldest != asked) {
        struct layout_entry *entry = table->oldest;
        leave_list(table, entry);
        collapse(table, entry);
        layout_entry_settle(table, entry);
    }
}

void layout_entry_expanded(struct layout_table *table, struct layout_entry *entry, struct layout *layout)
{
    ASSERT(!entry->layout && entry->holds == 0);
    if (layout->type == LAYOUT_PAGE)
        layout = with_own_families(table, layout);
    for (uint32_t i = 0; layout->type == LAYOUT_PAGE && i < layout->count; i++)
        take_family(table, layout->families[i]);
    entry->layout = layout;
    table->cache_bytes += sizeof(*entry) + layout_memory_bytes(layout);
    enter_list(table, entry);
    keep_bound(table, entry);
}

void layout_entry_settle(struct layout_table *table, struct layout_entry *entry)
{
    if (entry->layout || entry->forms || entry->holds > 0)
        return;
    map_remove(&table->entries, hash128_low(entry->hash), entry_is, &entry->hash);
    mem_free(entry);
}

void layout_table_free(struct layout_table *table)
{
    if (!table)
        return;
    struct layout_entry *entry;
    for (size_t at = 0; (entry = map_next(&table->entries, &at));) {
        ASSERT(!entry->forms);
        if (entry->layout)
            collapse(table, entry);
        mem_free(entry);
    }
    map_done(&table->entries);
    map_done(&table->families);
    map_done(&table->family_sketches);
    map_done(&table->list_sketches);
    mem_free(table);
}

/* ---- The face ---- */

struct layout *layout_table_get(struct layout_table *table, struct hash128 hash)
{
    struct layout_entry *entry = layout_entry_get(table, hash);
    if (!entry)
        return NULL;
    if (!entry->layout)
        return layout_entry_expand(table, entry);
    if (entry->holds == 0) {
        leave_list(table, entry);
        enter_list(table, entry);
    }
    return entry->layout;
}

bool layout_table_has(const struct layout_table *table, struct hash128 hash, enum layout_type type)
{
    const struct layout_entry *entry = layout_entry_get(table, hash);
    return entry && entry->type == type;
}

static int hold(struct layout_table *table, struct layout_entry *entry)
{
    if (entry->holds++ == 0) {
        leave_list(table, entry);
        table->held++;
    }
    if (table->cache_bytes <= table->cache_bytes_max)
        return 0;
    keep_bound(table, NULL);
    if (table->cache_bytes <= table->cache_bytes_max)
        return 0;
    layout_table_release(table, entry->hash);
    return -ENOSPC;
}

int layout_table_hold(struct layout_table *table, struct layout *layout)
{
    ASSERT(layout->type != LAYOUT_FAMILY);
    struct layout_entry *entry = layout_entry_make(table, layout->hash, layout->type);
    if (!entry->layout)
        layout_entry_expanded(table, entry, layout_ref(layout));
    return hold(table, entry);
}

void layout_table_release(struct layout_table *table, struct hash128 hash)
{
    struct layout_entry *entry = layout_entry_get(table, hash);
    ASSERT(entry && entry->holds > 0);
    if (--entry->holds > 0)
        return;
    table->held--;
    enter_list(table, entry);
    keep_bound(table, NULL);
}

uint64_t layout_table_packed_bytes(const struct layout_table *table)
{
    return table->packed_bytes;
}

uint64_t layout_table_cache_bytes(const struct layout_table *table)
{
    return table->cache_bytes;
}

uint64_t layout_table_cache_bytes_max(const struct layout_table *table)
{
    return table->cache_bytes_max;
}

size_t layout_table_held(const struct layout_table *table)
{
    return table->held;
}

bool layout_table_is_full(const struct layout_table *table)
{
    return table->packed_bytes >= table->packed_bytes_max;
}

bool layout_table_has_all(const struct layout_table *table, const struct envelope *envelope)
{
    for (uint32_t i = 0; i < envelope_layout_count(envelope); i++)
        if (!layout_table_has(table, envelope_layout_at(envelope, i), i == 0 ? LAYOUT_TARGETS : LAYOUT_PAGE))
            return false;
    return true;
}
