#pragma once
/* Memory of one query: counted allocations under one ceiling, and under that of all queries together. Each block
 * remembers its budget, so that it frees itself from the count; the budget must outlive its blocks. Any thread of the
 * query; a total is shared by any number.
 *
 * From the total a budget takes slices of BUDGET_SLICE_BYTES, so that queries hardly ever touch the same counter. The
 * first BUDGET_FREE_BYTES are not taken from it: small queries are answered while large ones have all there is. */
#include "base/defs.h"

#include <pthread.h>

#define BUDGET_SLICE_BYTES MIB
#define BUDGET_FREE_BYTES  (2 * MIB)

struct budget_total {
    _Atomic uint64_t used_bytes;
    uint64_t bytes_max;
};
uint64_t budget_total_used(struct budget_total *total);
/* Counts bytes that were counted elsewhere before: past the ceiling too. */
void budget_total_take(struct budget_total *total, uint64_t bytes);
void budget_total_give(struct budget_total *total, uint64_t bytes);

struct budget {
    pthread_mutex_t
        lock; /* guards all but bytes_max and total; zeroed is ready, as PTHREAD_MUTEX_INITIALIZER is; leaf */
    uint64_t used_bytes;
    uint64_t bytes_max;
    struct budget_total *total; /* NULL: none */
    uint64_t taken_bytes;       /* of the total: what is used past BUDGET_FREE_BYTES, or more */
    uint64_t most_bytes;        /* that were ever taken of it at once */
    bool total_full;            /* the last refusal was the total's */
};

/* Gives back what was taken of the total. Blocks are freed before; what was only charged need not be released. */
void budget_done(struct budget *budget);

/* count * size bytes, zeroed; NULL past a ceiling. */
void *budget_array(struct budget *budget, size_t count, size_t size);
/* Makes `old` (may be NULL) hold count * size bytes; what is new is not zeroed. NULL past a ceiling, then old stays. */
void *budget_grow(struct budget *budget, void *old, size_t count, size_t size);
void budget_free(void *block); /* NULL allowed */

/* Counts memory that lives elsewhere (label sets, regexes, answers). */
bool budget_charge(struct budget *budget, size_t bytes);
void budget_release(struct budget *budget, size_t bytes);

#define BUDGET_TEXT_BYTES 256
/* Which ceiling refused, its size, and what to do. */
void budget_text(struct budget *budget, char ret_text[static BUDGET_TEXT_BYTES]);

static inline void budget_freep(void *pointer_to_pointer)
{
    budget_free(*(void **)pointer_to_pointer);
}
#define CLEANUP_BUDGET CLEANUP(budget_freep)
