#pragma once
/* Goes over the series of a selector or subquery and makes of each one's samples a value per step. Those of a selector
 * are worked on by several threads, slice by slice, and leave in their order: an answer does not depend on how many
 * there are. Private to the evaluator. */
#include "promql/lookup.h"
#include "promql/source.h"

struct scan_worker { /* what one thread has; a consumer's state begins with it */
    struct eval *eval;
    uint64_t queried; /* what the consumer adds to eval's */
};

struct scan {
    const struct ast *ast; /* the selector or subquery */
    const struct grid *grid;
    enum select_field field; /* what is read of each record; SELECT_LAST: true samples */
    bool counted;            /* its count follows each sample, for weights */
    bool drop_name;
    bool newest_only;    /* the consumer looks at the newest sample alone */
    size_t worker_bytes; /* of the consumer's state */
    /* Fills ret_series, in which nothing is filled yet, from the samples: 1, 0 when it has no values, or a failure. In
     * any thread; `scan` is shared. */
    int (*series)(const struct scan *scan, struct scan_worker *worker, struct source *source,
                  struct promql_series *ret_series);
    void (*worker_done)(struct scan_worker *worker); /* NULL: nothing to free */
    struct sink *next;
};
MUST_CHECK int scan_run(struct eval *eval, struct scan *scan);

/* Opens the select that a selector means over all steps. */
struct scan_range {
    bool any_order, newest_only; /* as in struct select_range */
};
MUST_CHECK int scan_open(struct eval *eval, const struct grid *grid, const struct ast *selector,
                         const struct scan_range *how, struct select **ret_select);
/* struct select_range's, of an eval: memory is the query's. */
bool scan_charge(void *eval, size_t bytes);
void scan_release(void *eval, size_t bytes);
/* What the store knows to be missing becomes warnings; frees it. */
void scan_close(struct eval *eval, struct select *select);
