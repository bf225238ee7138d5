#pragma once
/* Which series belong to which group: the members of each, in their order. Private to the evaluator. */
#include "promql/budget.h"
#include "promql/eval_state.h"
#include "promql/label_table.h"

struct groups {
    struct label_table table; /* the groups' labels */
    size_t *ids;              /* by series; GROUP_NONE: in none */
    size_t *starts;           /* by group, and one behind the last: where its members begin */
    size_t *members;          /* numbers of series */
};
#define GROUP_NONE SIZE_MAX

/* Groups the series by what `labels_of` makes of them (a reference; NULL: in no group). False past the budget, then
 * groups_done is due all the same. */
typedef struct labels *group_labels_fn(const struct promql_series *series, const void *arg);
MUST_CHECK bool groups_init(struct groups *groups, struct eval *eval, const struct vector *vector,
                            group_labels_fn *labels_of, const void *arg);
void groups_done(struct groups *groups);
