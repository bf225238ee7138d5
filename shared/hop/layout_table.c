#include "hop/layout_table.h"
#include "base/fail.h"
#include "base/map.h"

#include <errno.h>

struct entry {
    struct layout *layout; /* a reference of our own */
    uint64_t holds;
};

struct layout_table {
    struct map entries; /* by the low half of the hash */
    uint64_t bytes;
    uint64_t bytes_max;
};

struct layout_table *layout_table_new(uint64_t bytes_max)
{
    struct layout_table *table = mem_zalloc(sizeof(*table));
    map_init(&table->entries);
    table->bytes_max = bytes_max;
    return table;
}

void layout_table_free(struct layout_table *table)
{
    if (!table)
        return;
    struct entry *entry;
    for (size_t at = 0; (entry = map_next(&table->entries, &at));) {
        layout_unref(entry->layout);
        mem_free(entry);
    }
    map_done(&table->entries);
    mem_free(table);
}

static bool entry_is(const void *item, const void *key)
{
    const struct entry *entry = item;
    const struct hash128 *hash = key;
    return hash128_equal(entry->layout->hash, *hash);
}

static struct entry *entry_get(const struct layout_table *table, struct hash128 hash)
{
    return map_get(&table->entries, hash128_low(hash), entry_is, &hash);
}

/* The bytes and their parsed form, which is about as large. */
static uint64_t cost_bytes(const struct layout *layout)
{
    return sizeof(struct entry) + sizeof(struct layout) + 2 * (uint64_t)layout->bytes_len;
}

struct layout *layout_table_get(const struct layout_table *table, struct hash128 hash)
{
    struct entry *entry = entry_get(table, hash);
    return entry ? entry->layout : NULL;
}

int layout_table_hold(struct layout_table *table, struct layout *layout)
{
    struct entry *entry = entry_get(table, layout->hash);
    if (entry) {
        entry->holds++;
        return 0;
    }
    uint64_t bytes = cost_bytes(layout);
    if (table->bytes_max - table->bytes < bytes)
        return -ENOSPC;
    entry = mem_zalloc(sizeof(*entry));
    *entry = (struct entry){.layout = layout_ref(layout), .holds = 1};
    map_put(&table->entries, hash128_low(layout->hash), entry);
    table->bytes += bytes;
    return 0;
}

void layout_table_release(struct layout_table *table, struct hash128 hash)
{
    struct entry *entry = entry_get(table, hash);
    ASSERT(entry && entry->holds > 0);
    if (--entry->holds > 0)
        return;
    map_remove(&table->entries, hash128_low(hash), entry_is, &hash);
    table->bytes -= cost_bytes(entry->layout);
    layout_unref(entry->layout);
    mem_free(entry);
}

uint64_t layout_table_bytes(const struct layout_table *table)
{
    return table->bytes;
}

size_t layout_table_count(const struct layout_table *table)
{
    return table->entries.count;
}

bool layout_table_has_all(const struct layout_table *table, const struct envelope *envelope)
{
    for (uint32_t i = 0; i < envelope_layout_count(envelope); i++)
        if (!layout_table_get(table, envelope_layout_at(envelope, i)))
            return false;
    return true;
}
