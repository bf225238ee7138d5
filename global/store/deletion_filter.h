#pragma once
/* Making of deletion filters, for deletions.c, and their rules one by one, for compaction; what others do with filters
 * is in deletions.h. */
#include "metric/selector.h"
#include "store/deletions.h"

struct deletion_rule { /* one request as it is matched: immutable, counted references */
    _Atomic uint32_t refs;
    uint64_t id;
    struct time_range range;
    struct selector *selector;
};

struct deletion_rule *deletion_rule_new(uint64_t id, struct time_range range, struct selector *selector); /* takes it */
struct deletion_rule *deletion_rule_ref(struct deletion_rule *rule);
void deletion_rule_unref(struct deletion_rule *rule); /* NULL allowed */

/* References are taken; ascending by id; count <= DELETIONS_MAX. */
struct deletion_filter *deletion_filter_new(struct deletion_rule *const *rules, size_t count);
struct deletion_filter *deletion_filter_ref(struct deletion_filter *filter);
/* The rule of the lowest id above `after` that meets samples of [start, end]; NULL: none. filter may be NULL. */
const struct deletion_rule *deletion_filter_next(const struct deletion_filter *filter, uint64_t after, int64_t start_ms,
                                                 int64_t end_ms);
