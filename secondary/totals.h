#pragma once
/* Running totals of groups of counters, over all their windows. On the main loop. */
#include "aggregate.h"

/* A group without members for so long begins anew at 0 when it comes back. */
#define AGGREGATE_IDLE_MS (3600 * INT64_C(1000))
/* What is kept behind a window, so that groups that come and go each minute, each with an hour to live, are bounded.
 * Of a window there are AGGREGATE_GROUPS_MAX with AGGREGATE_BYTES_MAX at most: those of the last one always stay. */
#define AGGREGATE_TOTALS_MAX       ((size_t)2 * AGGREGATE_GROUPS_MAX)
#define AGGREGATE_TOTALS_BYTES_MAX (64 * MIB) /* of their labels, with what holds them */

struct total;

struct totals {
    struct map map;                /* struct total, by the hash of its labels */
    struct total *oldest, *newest; /* by the window in which they were seen last */
    size_t label_bytes;
    uint64_t evicted_total; /* begin anew because of a ceiling, not because they were idle */
};

void totals_init(struct totals *totals);
void totals_done(struct totals *totals);
/* Adds what the group rose by in a window that ends at end_ms, windows in their order. Returns the total; ret_new: it
 * begins in this window, at 0. The labels stay the caller's, a reference is taken. */
double totals_add(struct totals *totals, struct labels *labels, double increase, int64_t end_ms, bool *ret_new);
/* Behind each window, of which start_ms is the begin: forgets what has been idle for too long, and past a ceiling what
 * has not been seen for longest. As much work as there is to forget. */
void totals_forget(struct totals *totals, int64_t start_ms);
