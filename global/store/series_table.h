#pragma once
/* From the hash of a series' labels to its ref: 8 bytes a slot, where base/map takes 16 and doubles all at once (100 ms
 * at five million series, with the writer's lock held). Here 256 shards grow each for itself. */
#include "base/defs.h"

#define SERIES_TABLE_SHARDS 256

struct series_table {
    struct series_table_shard {
        struct series_table_slot *slots;
        uint32_t count, capacity;
    } shards[SERIES_TABLE_SHARDS];
    uint64_t count;
};

typedef bool series_table_equal_fn(const void *arg, uint32_t ref);

void series_table_init(struct series_table *table);
void series_table_done(struct series_table *table);
/* The ref for which equal says so, UINT32_MAX when there is none. */
uint32_t series_table_get(const struct series_table *table, uint64_t hash, series_table_equal_fn *equal,
                          const void *arg);
void series_table_put(struct series_table *table, uint64_t hash, uint32_t ref); /* known to be absent */
void series_table_remove(struct series_table *table, uint64_t hash, uint32_t ref);
size_t series_table_bytes(const struct series_table *table);
