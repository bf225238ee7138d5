#include "coverage.h"

#include "base/fail.h"

static bool add_node(const struct ast *ast, void *arg)
{
    struct coverage *coverage = arg;
    if (ast->kind == AST_CALL)
        coverage->functions[ast->call.function->id] = true;
    if (ast->kind == AST_AGGREGATE)
        coverage->aggregations[ast->aggregate.op] = true;
    if (ast->kind == AST_BINARY)
        (ast->binary.return_bool ? coverage->bools : coverage->operators)[ast->binary.op] = true;
    return true;
}

void coverage_add(struct coverage *coverage, const struct ast *root)
{
    ast_walk(root, add_node, coverage);
}

static uint32_t miss(bool there, const char *what, const char *name, struct buf *text)
{
    if (!there)
        buf_printf(text, "no evaluation of the %s %s\n", what, name);
    return !there;
}

uint32_t coverage_missing(const struct coverage *coverage, struct buf *text)
{
    uint32_t missing = 0;
    for (size_t i = 0; i < promql_function_count(); i++) {
        const struct promql_function *function = promql_function_at(i);
        missing += miss(coverage->functions[function->id], "function", function->name, text);
    }
    for (size_t op = 0; op < ARRAY_LEN(coverage->operators); op++) {
        const char *name = ast_operator_text((enum ast_operator)op);
        missing += miss(coverage->operators[op], "operator", name, text);
        if (ast_operator_is_comparison((enum ast_operator)op))
            missing += miss(coverage->bools[op], "operator with bool", name, text);
    }
    for (size_t op = 0; op < ARRAY_LEN(coverage->aggregations); op++) {
        const char *name = ast_aggregation_name((enum ast_aggregation)op);
        missing += miss(coverage->aggregations[op], "aggregation", name, text);
    }
    return missing;
}
