#pragma once
/* What of the store a query can look at, told from its expression alone: which time, which series. */
#include "promql/eval.h"

#define PROMQL_REACH_SELECTORS_MAX 64 /* kept; past it all series count as reached */

struct promql_reach {
    int64_t start_ms, end_ms;                                /* start > end: nothing is looked at */
    const struct ast *selectors[PROMQL_REACH_SELECTORS_MAX]; /* of the expression, as long as it lives */
    size_t count;                                            /* past the maximum: there are more */
};

void promql_reach(const struct promql_query *query, struct promql_reach *ret_reach);
/* Some selector may match series of this datacenter. reach: a struct promql_reach. */
bool promql_reaches_datacenter(const void *reach, struct str datacenter);
