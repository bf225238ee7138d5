#include "store/series_table.h"

#include "base/fail.h"

#define NOBODY       UINT32_MAX
#define CAPACITY_MIN 16 /* slots of a shard; powers of two */

struct series_table_slot {
    uint32_t tag; /* the hash's upper half: where the slot's home is, and nearly always whether it is the one */
    uint32_t ref; /* NOBODY: free */
};

void series_table_init(struct series_table *table)
{
    *table = (struct series_table){0};
}

void series_table_done(struct series_table *table)
{
    for (size_t i = 0; i < SERIES_TABLE_SHARDS; i++) {
        mem_free(table->shards[i].slots);
    }
    *table = (struct series_table){0};
}

static struct series_table_shard *shard_of(struct series_table *table, uint64_t hash)
{
    return &table->shards[hash % SERIES_TABLE_SHARDS];
}

uint32_t series_table_get(const struct series_table *table, uint64_t hash, series_table_equal_fn *equal,
                          const void *arg)
{
    const struct series_table_shard *shard = &table->shards[hash % SERIES_TABLE_SHARDS];
    uint32_t tag = (uint32_t)(hash >> 32);
    if (shard->count == 0) {
        return NOBODY;
    }
    for (uint32_t at = tag & (shard->capacity - 1);; at = (at + 1) & (shard->capacity - 1)) {
        const struct series_table_slot *slot = &shard->slots[at];
        if (slot->ref == NOBODY || (slot->tag == tag && equal(arg, slot->ref))) {
            return slot->ref;
        }
    }
}

static void place(struct series_table_shard *shard, struct series_table_slot slot)
{
    uint32_t at = slot.tag & (shard->capacity - 1);
    while (shard->slots[at].ref != NOBODY) {
        at = (at + 1) & (shard->capacity - 1);
    }
    shard->slots[at] = slot;
}

static void grow(struct series_table_shard *shard)
{
    struct series_table_shard old = *shard;
    shard->capacity = old.capacity == 0 ? CAPACITY_MIN : 2 * old.capacity;
    ASSERT(shard->capacity > old.capacity);
    shard->slots = mem_resize(NULL, shard->capacity, sizeof(*shard->slots));
    for (uint32_t i = 0; i < shard->capacity; i++) {
        shard->slots[i].ref = NOBODY;
    }
    for (uint32_t i = 0; i < old.capacity; i++) {
        if (old.slots[i].ref != NOBODY) {
            place(shard, old.slots[i]);
        }
    }
    mem_free(old.slots);
}

void series_table_put(struct series_table *table, uint64_t hash, uint32_t ref)
{
    struct series_table_shard *shard = shard_of(table, hash);
    if (shard->count >= shard->capacity / 8 * 7) {
        grow(shard);
    }
    place(shard, (struct series_table_slot){.tag = (uint32_t)(hash >> 32), .ref = ref});
    shard->count++;
    table->count++;
}

/* Moves followers back over the gap, so that no search ends too early. */
static void close_gap(struct series_table_shard *shard, uint32_t gap)
{
    uint32_t mask = shard->capacity - 1;
    for (uint32_t at = (gap + 1) & mask; shard->slots[at].ref != NOBODY; at = (at + 1) & mask) {
        uint32_t home = shard->slots[at].tag & mask;
        if (((at - home) & mask) >= ((at - gap) & mask)) {
            shard->slots[gap] = shard->slots[at];
            gap = at;
        }
    }
    shard->slots[gap].ref = NOBODY;
}

void series_table_remove(struct series_table *table, uint64_t hash, uint32_t ref)
{
    struct series_table_shard *shard = shard_of(table, hash);
    ASSERT(shard->count > 0);
    uint32_t at = (uint32_t)(hash >> 32) & (shard->capacity - 1);
    while (shard->slots[at].ref != ref) {
        ASSERT(shard->slots[at].ref != NOBODY);
        at = (at + 1) & (shard->capacity - 1);
    }
    close_gap(shard, at);
    shard->count--;
    table->count--;
}

size_t series_table_bytes(const struct series_table *table)
{
    size_t bytes = 0;
    for (size_t i = 0; i < SERIES_TABLE_SHARDS; i++) {
        bytes += table->shards[i].capacity * sizeof(struct series_table_slot);
    }
    return bytes;
}
