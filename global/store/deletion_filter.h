#pragma once
/* Making of deletion filters, for deletions.c alone; what others do with them is in deletions.h. */
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

/* References are taken; count <= DELETIONS_MAX. */
struct deletion_filter *deletion_filter_new(struct deletion_rule *const *rules, size_t count);
struct deletion_filter *deletion_filter_ref(struct deletion_filter *filter);
