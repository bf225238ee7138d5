#include "base/map.h"

#include "base/fail.h"

#include <string.h>

/* Linear probing in a table of a power of two, at most three quarters full; removal moves followers back, so there are
 * no tombstones and a table that lives for months stays as fast as a new one. */

#define MAP_CAPACITY_MIN 16

struct map_slot {
    uint64_t hash;
    void *item; /* NULL: free */
};

void map_init(struct map *map)
{
    *map = (struct map){0};
}

void map_done(struct map *map)
{
    mem_free(map->slots);
    *map = (struct map){0};
}

void map_clear(struct map *map)
{
    if (map->count > 0) {
        memset(map->slots, 0, map->capacity * sizeof(*map->slots));
    }
    map->count = 0;
}

/* Where an item of this hash should stand. Hashes may be plain numbers: multiplied, their differences reach the bits
 * that are used. */
static size_t home_of(const struct map *map, uint64_t hash)
{
    uint64_t mixed = (hash ^ (hash >> 32)) * UINT64_C(0x9E3779B97F4A7C15);
    return (size_t)(mixed >> 32) & (map->capacity - 1);
}

/* The slot of the item, or the free one where it would go. There always is a free one. */
static size_t slot_of(const struct map *map, uint64_t hash, map_equal_fn *equal, const void *key)
{
    size_t at = home_of(map, hash);
    for (;;) {
        const struct map_slot *slot = &map->slots[at];
        if (!slot->item || (slot->hash == hash && (!equal || equal(slot->item, key)))) {
            return at;
        }
        at = (at + 1) & (map->capacity - 1);
    }
}

void *map_get(const struct map *map, uint64_t hash, map_equal_fn *equal, const void *key)
{
    if (map->count == 0) {
        return NULL;
    }
    return map->slots[slot_of(map, hash, equal, key)].item;
}

static void place(struct map *map, uint64_t hash, void *item)
{
    size_t at = home_of(map, hash);
    while (map->slots[at].item) {
        at = (at + 1) & (map->capacity - 1);
    }
    map->slots[at] = (struct map_slot){hash, item};
}

static void grow(struct map *map, size_t capacity)
{
    struct map old = *map;
    map->capacity = capacity;
    ASSERT(map->capacity <= UINT32_MAX); /* home_of uses 32 bits */
    map->slots = mem_array(map->capacity, sizeof(*map->slots));
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.slots[i].item) {
            place(map, old.slots[i].hash, old.slots[i].item);
        }
    }
    mem_free(old.slots);
}

void map_reserve(struct map *map, size_t count)
{
    size_t capacity = MAX(map->capacity, (size_t)MAP_CAPACITY_MIN);
    while (count > capacity / 4 * 3) {
        capacity *= 2;
    }
    if (count > 0 && capacity > map->capacity) {
        grow(map, capacity);
    }
}

void map_put(struct map *map, uint64_t hash, void *item)
{
    ASSERT(item != NULL);
    if (map->count >= map->capacity / 4 * 3) {
        grow(map, MAX(map->capacity * 2, (size_t)MAP_CAPACITY_MIN));
    }
    place(map, hash, item);
    map->count++;
}

void *map_remove(struct map *map, uint64_t hash, map_equal_fn *equal, const void *key)
{
    if (map->count == 0) {
        return NULL;
    }
    size_t mask = map->capacity - 1;
    size_t hole = slot_of(map, hash, equal, key);
    void *item = map->slots[hole].item;
    if (!item) {
        return NULL;
    }
    /* Whoever follows without a gap and does not stand between hole and its home may step back into the hole. */
    for (size_t at = (hole + 1) & mask; map->slots[at].item; at = (at + 1) & mask) {
        size_t from_home = (at - home_of(map, map->slots[at].hash)) & mask;
        if (from_home >= ((at - hole) & mask)) {
            map->slots[hole] = map->slots[at];
            hole = at;
        }
    }
    map->slots[hole] = (struct map_slot){0};
    map->count--;
    return item;
}

void *map_next(const struct map *map, size_t *at)
{
    while (*at < map->capacity) {
        void *item = map->slots[(*at)++].item;
        if (item) {
            return item;
        }
    }
    return NULL;
}

size_t map_bytes(const struct map *map)
{
    return map->capacity * sizeof(struct map_slot);
}
