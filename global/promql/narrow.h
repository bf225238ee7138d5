#pragma once
/* An expression confined to part of the data: one more matcher for all that it selects. */
#include "promql/parse.h"

/* Adds the matcher to every selector, in front of its own. Its views and its regex stay the caller's and must outlive
 * the expression. -EMSGSIZE when the tree's memory ends; the expression may then only be freed. */
MUST_CHECK int promql_narrow(struct promql_expression *expression, const struct matcher *matcher);
