#include "text_pool.h"

#include "base/fail.h"
#include "base/map.h"

struct pooled_text {
    uint32_t number, references, len;
    char bytes[];
};

struct text_pool {
    struct map by_text;
    struct pooled_text **items; /* by number; NULL: free */
    uint32_t count, capacity;
    uint32_t *free_numbers;
    uint32_t free_count;
    size_t bytes;
};

struct text_pool *text_pool_new(void)
{
    struct text_pool *pool = mem_zalloc(sizeof(*pool));
    map_init(&pool->by_text);
    return pool;
}

void text_pool_free(struct text_pool *pool)
{
    if (!pool)
        return;
    ASSERT(pool->by_text.count == 0);
    map_done(&pool->by_text);
    mem_free(pool->items);
    mem_free(pool->free_numbers);
    mem_free(pool);
}

size_t text_pool_bytes(const struct text_pool *pool)
{
    return pool->bytes + map_bytes(&pool->by_text) + pool->capacity * (sizeof(pool->items[0]) + sizeof(uint32_t));
}

static struct str view(const struct pooled_text *text)
{
    return str_of(text->bytes, text->len);
}

static bool equal(const void *item, const void *key)
{
    return str_equal(view(item), *(const struct str *)key);
}

static uint32_t take_number(struct text_pool *pool)
{
    if (pool->free_count > 0)
        return pool->free_numbers[--pool->free_count];
    if (pool->count == pool->capacity) {
        ASSERT(pool->capacity <= UINT32_MAX / 2);
        pool->capacity = MAX(2 * pool->capacity, 256u);
        pool->items = mem_resize(pool->items, pool->capacity, sizeof(struct pooled_text *));
        pool->free_numbers = mem_resize(pool->free_numbers, pool->capacity, sizeof(uint32_t));
    }
    return pool->count++;
}

uint32_t text_pool_take(struct text_pool *pool, struct str text)
{
    uint64_t hash = str_hash(text);
    struct pooled_text *known = map_get(&pool->by_text, hash, equal, &text);
    ASSERT(text.len <= UINT32_MAX);
    if (!known) {
        known = mem_alloc(sizeof(*known) + text.len);
        *known = (struct pooled_text){.number = take_number(pool), .len = (uint32_t)text.len};
        if (text.len > 0)
            memcpy(known->bytes, text.ptr, text.len);
        pool->items[known->number] = known;
        pool->bytes += sizeof(*known) + text.len;
        map_put(&pool->by_text, hash, known);
    }
    known->references++;
    return known->number;
}

void text_pool_give(struct text_pool *pool, uint32_t number)
{
    ASSERT(number < pool->count && pool->items[number]);
    struct pooled_text *text = pool->items[number];
    ASSERT(text->references > 0);
    if (--text->references > 0)
        return;
    struct str key = view(text);
    map_remove(&pool->by_text, str_hash(key), equal, &key);
    pool->items[number] = NULL;
    pool->free_numbers[pool->free_count++] = number;
    pool->bytes -= sizeof(*text) + text->len;
    mem_free(text);
}

struct str text_pool_at(const struct text_pool *pool, uint32_t number)
{
    return view(pool->items[number]);
}
