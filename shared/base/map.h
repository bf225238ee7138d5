#pragma once
/* The one hash map: from a 64-bit hash and the caller's equality to a pointer. It owns its table, never the items. */
#include "base/defs.h"

struct map_slot;
struct map {
    struct map_slot *slots;
    size_t count;
    size_t capacity;
};

typedef bool map_equal_fn(const void *item, const void *key);

void map_init(struct map *map);
void map_done(struct map *map);
void map_clear(struct map *map);
/* The item, or NULL. equal NULL: the hash alone decides (keys that are 64-bit numbers or unique hashes). */
void *map_get(const struct map *map, uint64_t hash, map_equal_fn *equal, const void *key);
/* Room for count items. Whoever puts what map_next gives into another map reserves first: that order is the order of
 * slots, and in a table that is smaller each comes to stand at the end of one long run, in quadratic time. */
void map_reserve(struct map *map, size_t count);
/* Adds an item (not NULL) whose key is known to be absent. */
void map_put(struct map *map, uint64_t hash, void *item);
/* Takes the item out and returns it, NULL if absent. */
void *map_remove(struct map *map, uint64_t hash, map_equal_fn *equal, const void *key);
/* Walks all items in no order: size_t at = 0; while ((item = map_next(&map, &at))). No change while walking. */
void *map_next(const struct map *map, size_t *at);
size_t map_bytes(const struct map *map); /* memory of the table */
