#pragma once
/* Which functions, operators and aggregations scripts have evaluated. */
#include "promql/functions.h"

struct coverage {
    bool functions[FUNCTION_COUNT];
    bool operators[OP_UNLESS + 1];
    bool bools[OP_UNLESS + 1]; /* comparisons with bool */
    bool aggregations[AGG_QUANTILE + 1];
};

void coverage_add(struct coverage *coverage, const struct ast *root);
/* Appends a line for each of the language's words that is not there; how many. */
uint32_t coverage_missing(const struct coverage *coverage, struct buf *text);
