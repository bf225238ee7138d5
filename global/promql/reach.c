#include "promql/reach.h"

#define TIME_MS_MAX (INT64_C(1) << 61)

struct bounds {
    int64_t start_ms, end_ms;
};

static int64_t minus(int64_t time_ms, int64_t by_ms)
{
    int64_t difference;
    if (__builtin_sub_overflow(time_ms, by_ms, &difference))
        difference = time_ms < 0 ? -TIME_MS_MAX : TIME_MS_MAX;
    return MAX(-TIME_MS_MAX, MIN(difference, TIME_MS_MAX));
}

/* Where a selector or subquery looks when it is evaluated between these bounds. */
static struct bounds looked_at(const struct promql_query *query, const struct ast *ast, struct bounds bounds)
{
    if (ast->at == AT_TIME)
        bounds = (struct bounds){ast->at_ms, ast->at_ms};
    else if (ast->at == AT_START)
        bounds = (struct bounds){query->start_ms, query->start_ms};
    else if (ast->at == AT_END)
        bounds = (struct bounds){query->end_ms, query->end_ms};
    int64_t range_ms = ast->range_ms > 0 ? ast->range_ms : query->limits.lookback_ms;
    return (struct bounds){minus(minus(bounds.start_ms, ast->offset_ms), range_ms),
                           minus(bounds.end_ms, ast->offset_ms)};
}

static void add(struct promql_reach *reach, const struct ast *selector, struct bounds bounds)
{
    reach->start_ms = MIN(reach->start_ms, bounds.start_ms);
    reach->end_ms = MAX(reach->end_ms, bounds.end_ms);
    if (reach->count < PROMQL_REACH_SELECTORS_MAX)
        reach->selectors[reach->count] = selector;
    reach->count++;
}

/* As deep as the parser allows. */
static void walk(const struct promql_query *query, const struct ast *ast, struct bounds bounds,
                 struct promql_reach *reach)
{
    switch (ast->kind) {
    case AST_NUMBER:
    case AST_STRING:
        break;
    case AST_SELECTOR:
        add(reach, ast, looked_at(query, ast, bounds));
        break;
    case AST_SUBQUERY:
        walk(query, ast->subquery.inner, looked_at(query, ast, bounds), reach);
        break;
    case AST_CALL:
        for (size_t i = 0; i < ast->call.arg_count; i++)
            walk(query, ast->call.args[i], bounds, reach);
        break;
    case AST_AGGREGATE:
        walk(query, ast->aggregate.inner, bounds, reach);
        if (ast->aggregate.param)
            walk(query, ast->aggregate.param, bounds, reach);
        break;
    case AST_BINARY:
        walk(query, ast->binary.left, bounds, reach);
        walk(query, ast->binary.right, bounds, reach);
        break;
    case AST_UNARY:
        walk(query, ast->unary.inner, bounds, reach);
        break;
    case AST_PAREN:
        walk(query, ast->inner, bounds, reach);
        break;
    }
}

void promql_reach(const struct promql_query *query, struct promql_reach *ret_reach)
{
    ret_reach->start_ms = INT64_MAX;
    ret_reach->end_ms = INT64_MIN;
    ret_reach->count = 0;
    walk(query, promql_expression_root(query->expression), (struct bounds){query->start_ms, query->end_ms}, ret_reach);
}

bool promql_reaches_datacenter(const void *arg, struct str datacenter)
{
    const struct promql_reach *reach = arg;
    if (reach->count > PROMQL_REACH_SELECTORS_MAX)
        return true;
    for (size_t i = 0; i < reach->count; i++) {
        const struct ast *selector = reach->selectors[i];
        bool matches = true;
        for (size_t j = 0; j < selector->selector.matcher_count && matches; j++)
            matches = !str_equal(selector->selector.matchers[j].name, STR("datacenter")) ||
                      matcher_matches(&selector->selector.matchers[j], datacenter);
        if (matches)
            return true;
    }
    return false;
}
