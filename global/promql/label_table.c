#include "promql/label_table.h"

#include <errno.h>

#define ITEM_BYTES 64 /* of a set's places in items and map, about */

struct key {
    const struct label_table *table;
    const struct labels *labels;
};

/* The map's items are numbers + 1: pointers into `items` would not survive its growth. */
static size_t number_of(const void *item)
{
    return (size_t)(uintptr_t)item - 1;
}

static bool key_equal(const void *item, const void *key_pointer)
{
    const struct key *key = key_pointer;
    return labels_equal(key->table->items[number_of(item)], key->labels);
}

void label_table_init(struct label_table *table, struct budget *budget)
{
    *table = (struct label_table){.budget = budget};
    map_init(&table->map);
}

void label_table_done(struct label_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        labels_unref(table->items[i]);
    map_done(&table->map);
    if (table->budget)
        budget_release(table->budget, table->charged_bytes);
    budget_free(table->items);
    *table = (struct label_table){0};
}

int64_t label_table_add(struct label_table *table, struct labels *labels)
{
    struct key key = {table, labels};
    uint64_t hash = labels_hash(labels);
    void *item = map_get(&table->map, hash, key_equal, &key);
    if (item)
        return (int64_t)number_of(item);
    if (table->count == table->capacity) {
        size_t capacity = MAX(table->capacity * 2, (size_t)16);
        struct labels **items = budget_grow(table->budget, table->items, capacity, sizeof(struct labels *));
        if (!items)
            return -ENOMEM;
        table->items = items;
        table->capacity = capacity;
    }
    size_t bytes = labels_bytes(labels) + ITEM_BYTES;
    if (!budget_charge(table->budget, bytes))
        return -ENOMEM;
    table->charged_bytes += bytes;
    table->items[table->count] = labels_ref(labels);
    table->count++;
    map_put(&table->map, hash, (void *)(uintptr_t)table->count);
    return (int64_t)table->count - 1;
}
