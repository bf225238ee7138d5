#pragma once
/* Label sets numbered 0, 1, 2 ... in the order of their first coming: groups of aggregations and matchings, and the
 * check that no two series of a result are named alike. Private to the evaluator. */
#include "base/map.h"
#include "metric/labels.h"
#include "promql/budget.h"

struct label_table {
    struct budget *budget;
    struct labels **items; /* a reference each */
    size_t count, capacity;
    size_t charged_bytes;
    struct map map;
};

void label_table_init(struct label_table *table, struct budget *budget);
void label_table_done(struct label_table *table);
/* The number of this set, which is the count before when it is new; -ENOMEM past the budget. Takes a reference of its
 * own. */
MUST_CHECK int64_t label_table_add(struct label_table *table, struct labels *labels);
