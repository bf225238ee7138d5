#pragma once
/* Where a selector or subquery looks at each step of its grid: @ and offset are in it. Private to the evaluator. */
#include "promql/eval_state.h"

/* Times that arithmetic may reach; far behind every real one, and sums of two still fit. */
#define TIME_MS_MAX (INT64_C(1) << 61)

struct lookup {
    int64_t first_ms;
    int64_t step_ms;  /* 0 with @ */
    int64_t range_ms; /* of windows; how far back a sample may lie for instant selectors */
};
struct lookup lookup_of(const struct eval *eval, const struct grid *grid, const struct ast *ast);
static inline int64_t lookup_time_ms(const struct lookup *lookup, size_t step)
{
    return lookup->first_ms + (int64_t)step * lookup->step_ms;
}
/* The steps a subquery's inner expression is evaluated at; steps 0: none fits. */
struct grid lookup_subgrid(const struct eval *eval, const struct grid *grid, const struct ast *subquery);
