#include "promql/budget.h"

#include "base/fail.h"

#include <stdatomic.h>
#include <string.h>

struct block {
    _Alignas(16) struct budget *budget;
    size_t bytes; /* with this head */
};

bool budget_charge(struct budget *budget, size_t bytes)
{
    uint64_t used = atomic_load_explicit(&budget->used_bytes, memory_order_relaxed);
    do
        if (bytes > budget->bytes_max - MIN(used, budget->bytes_max))
            return false;
    while (!atomic_compare_exchange_weak_explicit(&budget->used_bytes, &used, used + bytes, memory_order_relaxed,
                                                  memory_order_relaxed));
    return true;
}

void budget_release(struct budget *budget, size_t bytes)
{
    uint64_t used = atomic_fetch_sub_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
    ASSERT(bytes <= used);
}

static struct block *block_new(struct budget *budget, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || __builtin_add_overflow(bytes, sizeof(struct block), &bytes))
        return NULL;
    if (!budget_charge(budget, bytes))
        return NULL;
    struct block *block = mem_try_alloc(bytes);
    if (!block) {
        budget_release(budget, bytes);
        return NULL;
    }
    block->budget = budget;
    block->bytes = bytes;
    return block;
}

void *budget_array(struct budget *budget, size_t count, size_t size)
{
    struct block *block = block_new(budget, count, size);
    if (!block)
        return NULL;
    memset(block + 1, 0, count * size);
    return block + 1;
}

void *budget_grow(struct budget *budget, void *old, size_t count, size_t size)
{
    struct block *block = block_new(budget, count, size);
    if (!block)
        return NULL;
    if (old) {
        const struct block *head = (const struct block *)old - 1;
        memcpy(block + 1, old, MIN(head->bytes - sizeof(*head), count * size));
        budget_free(old);
    }
    return block + 1;
}

void budget_free(void *pointer)
{
    if (!pointer)
        return;
    struct block *block = (struct block *)pointer - 1;
    budget_release(block->budget, block->bytes);
    mem_free(block);
}
