#pragma once
/* Memory of one query: counted allocations under one ceiling. Each block remembers its budget, so that it frees itself
 * from the count; the budget must outlive its blocks. Any thread of the query. */
#include "base/defs.h"

struct budget {
    _Atomic uint64_t used_bytes;
    uint64_t bytes_max;
};

/* count * size bytes, zeroed; NULL past the ceiling. */
void *budget_array(struct budget *budget, size_t count, size_t size);
/* Makes `old` (may be NULL) hold count * size bytes; what is new is not zeroed. NULL past the ceiling, then old stays.
 */
void *budget_grow(struct budget *budget, void *old, size_t count, size_t size);
void budget_free(void *block); /* NULL allowed */

/* Counts memory that lives elsewhere (label sets). */
bool budget_charge(struct budget *budget, size_t bytes);
void budget_release(struct budget *budget, size_t bytes);

static inline void budget_freep(void *pointer_to_pointer)
{
    budget_free(*(void **)pointer_to_pointer);
}
#define CLEANUP_BUDGET CLEANUP(budget_freep)
