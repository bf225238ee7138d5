#include "at_variant.h"

#include "base/fail.h"
#include "promql/functions.h"
#include "promql/parse.h"

struct fixing {
    int64_t time_ms;
    uint32_t subquery_end; /* up to here the text is inside of a subquery */
    bool reads_time;
};

/* AtModifierUnsafeFunctions of Prometheus. */
static bool function_reads_time(const char *name)
{
    static const char *const names[] = {"days_in_month",  "day_of_month", "day_of_week", "day_of_year",
                                        "hour",           "minute",       "month",       "year",
                                        "predict_linear", "time",         "timestamp"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static bool fix_node(const struct ast *ast, void *arg)
{
    struct fixing *fixing = arg;
    if (ast->position.end <= fixing->subquery_end)
        return true;
    if (ast->kind == AST_CALL && function_reads_time(ast->call.function->name)) {
        fixing->reads_time = true;
        return false;
    }
    if (ast->kind != AST_SELECTOR && ast->kind != AST_SUBQUERY)
        return true;
    if (ast->at != AT_TIME) {
        struct ast *changed = (struct ast *)(uintptr_t)ast; /* the tree is our own */
        changed->at = AT_TIME;
        changed->at_ms = fixing->time_ms;
    }
    if (ast->kind == AST_SUBQUERY)
        fixing->subquery_end = ast->position.end;
    return true;
}

bool at_variant_print(struct str expression, int64_t time_ms, struct buf *text)
{
    CLEANUP(promql_expression_freep) struct promql_expression *parsed = NULL;
    struct promql_error error;
    if (promql_parse(expression, &error, &parsed) < 0)
        return false;
    struct fixing fixing = {.time_ms = time_ms};
    ast_walk(promql_expression_root(parsed), fix_node, &fixing);
    return !fixing.reads_time && ast_print(promql_expression_root(parsed), text) == 0;
}

void at_variant_times(int64_t time_ms, int64_t ret_times_ms[static AT_VARIANT_TIMES])
{
    int64_t far_ms = time_ms ? 10 * time_ms : 1000;
    int64_t times_ms[AT_VARIANT_TIMES] = {-far_ms, 0, time_ms / 5, time_ms, far_ms};
    memcpy(ret_times_ms, times_ms, sizeof(times_ms));
}
