#include "promql/budget.h"

#include "base/fail.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct block {
    _Alignas(16) struct budget *budget;
    size_t bytes; /* with this head */
};

uint64_t budget_total_used(struct budget_total *total)
{
    return atomic_load_explicit(&total->used_bytes, memory_order_relaxed);
}

void budget_total_take(struct budget_total *total, uint64_t bytes)
{
    atomic_fetch_add_explicit(&total->used_bytes, bytes, memory_order_relaxed);
}

void budget_total_give(struct budget_total *total, uint64_t bytes)
{
    uint64_t before = atomic_fetch_sub_explicit(&total->used_bytes, bytes, memory_order_relaxed);
    ASSERT(before >= bytes);
}

/* Whole slices, so that they hold `bytes`. */
static bool take_slices(struct budget *budget, uint64_t bytes)
{
    struct budget_total *total = budget->total;
    uint64_t slices = (bytes + BUDGET_SLICE_BYTES - 1) / BUDGET_SLICE_BYTES * BUDGET_SLICE_BYTES;
    uint64_t before = atomic_fetch_add_explicit(&total->used_bytes, slices, memory_order_relaxed);
    if (before + slices > total->bytes_max) {
        budget_total_give(total, slices);
        return false;
    }
    budget->taken_bytes += slices;
    budget->most_bytes = MAX(budget->most_bytes, budget->taken_bytes);
    return true;
}

/* Under the lock. */
static bool charge(struct budget *budget, size_t bytes)
{
    budget->total_full = false;
    if (bytes > budget->bytes_max - MIN(budget->used_bytes, budget->bytes_max))
        return false;
    uint64_t used = budget->used_bytes + bytes;
    uint64_t held = budget->taken_bytes + BUDGET_FREE_BYTES;
    if (budget->total && used > held && !take_slices(budget, used - held)) {
        budget->total_full = true;
        return false;
    }
    budget->used_bytes = used;
    return true;
}

bool budget_charge(struct budget *budget, size_t bytes)
{
    pthread_mutex_lock(&budget->lock);
    bool fits = charge(budget, bytes);
    pthread_mutex_unlock(&budget->lock);
    return fits;
}

void budget_release(struct budget *budget, size_t bytes)
{
    pthread_mutex_lock(&budget->lock);
    ASSERT(bytes <= budget->used_bytes);
    budget->used_bytes -= bytes;
    /* One slice stays over, else a query at the edge of one would take and give it all the time. */
    uint64_t spare = MIN(budget->taken_bytes, budget->taken_bytes + BUDGET_FREE_BYTES - budget->used_bytes);
    if (budget->total && spare >= 2 * BUDGET_SLICE_BYTES) {
        spare = (spare / BUDGET_SLICE_BYTES - 1) * BUDGET_SLICE_BYTES;
        budget_total_give(budget->total, spare);
        budget->taken_bytes -= spare;
    }
    pthread_mutex_unlock(&budget->lock);
}

void budget_done(struct budget *budget)
{
    if (budget->total)
        budget_total_give(budget->total, budget->taken_bytes);
    budget->taken_bytes = budget->used_bytes = 0;
}

void budget_text(struct budget *budget, char ret_text[static BUDGET_TEXT_BYTES])
{
    pthread_mutex_lock(&budget->lock);
    bool total_full = budget->total_full;
    pthread_mutex_unlock(&budget->lock);
    if (total_full)
        snprintf(ret_text, BUDGET_TEXT_BYTES,
                 "the queries that run now need more than %" PRIu64
                 " bytes of memory together (query.max_total_memory): try again later",
                 budget->total->bytes_max);
    else
        snprintf(ret_text, BUDGET_TEXT_BYTES,
                 "query needs more than %" PRIu64
                 " bytes of memory (query.max_memory): ask for fewer series, a shorter range or a longer step",
                 budget->bytes_max);
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
