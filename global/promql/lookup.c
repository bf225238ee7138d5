#include "promql/lookup.h"

#define DEFAULT_STEP_MS 60000 /* Prometheus' evaluation interval */

static int64_t clamp_time(int64_t a, int64_t b_subtracted)
{
    int64_t difference;
    if (__builtin_sub_overflow(a, b_subtracted, &difference))
        difference = a < 0 ? INT64_MIN : INT64_MAX;
    return MAX(-TIME_MS_MAX, MIN(difference, TIME_MS_MAX));
}

struct lookup lookup_of(const struct eval *eval, const struct grid *grid, const struct ast *ast)
{
    int64_t base_ms = grid->start_ms;
    if (ast->at == AT_TIME)
        base_ms = ast->at_ms;
    else if (ast->at == AT_START)
        base_ms = eval->query->start_ms;
    else if (ast->at == AT_END)
        base_ms = eval->query->end_ms;
    int64_t range_ms = ast->range_ms > 0 ? ast->range_ms : eval->query->limits.lookback_ms;
    return (struct lookup){clamp_time(base_ms, ast->offset_ms), ast->at == AT_NONE ? grid->step_ms : 0,
                           MIN(range_ms, TIME_MS_MAX)};
}

struct grid lookup_subgrid(const struct eval *eval, const struct grid *grid, const struct ast *subquery)
{
    struct lookup lookup = lookup_of(eval, grid, subquery);
    int64_t step_ms = subquery->subquery.step_ms;
    if (step_ms <= 0)
        step_ms = eval->query->limits.default_step_ms > 0 ? eval->query->limits.default_step_ms : DEFAULT_STEP_MS;
    int64_t first_ms = lookup.first_ms - lookup.range_ms;
    int64_t last_ms = lookup_time_ms(&lookup, grid->steps - 1);
    /* Steps of subqueries are multiples of the step in absolute time, so that neighbouring queries see the same ones.
     */
    int64_t rest_ms = first_ms % step_ms;
    if (rest_ms != 0)
        first_ms += rest_ms > 0 ? step_ms - rest_ms : -rest_ms;
    if (first_ms > last_ms)
        return (struct grid){first_ms, step_ms, 0};
    return (struct grid){first_ms, step_ms, (size_t)((last_ms - first_ms) / step_ms) + 1};
}
