#pragma once
/* Whether two trees of PromQL say the same, node by node. Places in the text are not compared, and the matchers of a
 * selector may stand in any order, as printing sorts them. */
#include "promql/ast.h"

static inline bool ast_equal(const struct ast *a, const struct ast *b);

static inline bool ast_equal_names(const struct ast_names *a, const struct ast_names *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!str_equal(a->items[i], b->items[i]))
            return false;
    return true;
}

static inline size_t ast_equal_count_matchers(const struct ast *ast, const struct matcher *like)
{
    size_t count = 0;
    for (size_t i = 0; i < ast->selector.matcher_count; i++) {
        const struct matcher *matcher = &ast->selector.matchers[i];
        count += matcher->type == like->type && str_equal(matcher->name, like->name) &&
                 str_equal(matcher->value, like->value);
    }
    return count;
}

static inline bool ast_equal_selectors(const struct ast *a, const struct ast *b)
{
    if (!str_equal(a->selector.name, b->selector.name) || a->selector.matcher_count != b->selector.matcher_count)
        return false;
    for (size_t i = 0; i < a->selector.matcher_count; i++) {
        const struct matcher *matcher = &a->selector.matchers[i];
        if (ast_equal_count_matchers(a, matcher) != ast_equal_count_matchers(b, matcher))
            return false;
    }
    return true;
}

static inline bool ast_equal_binaries(const struct ast *a, const struct ast *b)
{
    return a->binary.op == b->binary.op && a->binary.return_bool == b->binary.return_bool &&
           a->binary.card == b->binary.card && a->binary.on == b->binary.on &&
           ast_equal_names(&a->binary.matching, &b->binary.matching) &&
           ast_equal_names(&a->binary.include, &b->binary.include) && ast_equal(a->binary.left, b->binary.left) &&
           ast_equal(a->binary.right, b->binary.right);
}

static inline bool ast_equal_calls(const struct ast *a, const struct ast *b)
{
    if (a->call.function != b->call.function || a->call.arg_count != b->call.arg_count)
        return false;
    for (size_t i = 0; i < a->call.arg_count; i++)
        if (!ast_equal(a->call.args[i], b->call.args[i]))
            return false;
    return true;
}

static inline bool ast_equal_aggregates(const struct ast *a, const struct ast *b)
{
    return a->aggregate.op == b->aggregate.op && a->aggregate.without == b->aggregate.without &&
           ast_equal_names(&a->aggregate.grouping, &b->aggregate.grouping) &&
           !a->aggregate.param == !b->aggregate.param &&
           (!a->aggregate.param || ast_equal(a->aggregate.param, b->aggregate.param)) &&
           ast_equal(a->aggregate.inner, b->aggregate.inner);
}

static inline bool ast_equal(const struct ast *a, const struct ast *b)
{
    if (a->kind != b->kind || a->type != b->type || a->height != b->height || a->range_ms != b->range_ms ||
        a->offset_ms != b->offset_ms || a->at != b->at || a->at_ms != b->at_ms)
        return false;
    switch (a->kind) {
    case AST_NUMBER:
        return a->number == b->number || (a->number != a->number && b->number != b->number);
    case AST_STRING:
        return str_equal(a->string, b->string);
    case AST_SELECTOR:
        return ast_equal_selectors(a, b);
    case AST_SUBQUERY:
        return a->subquery.step_ms == b->subquery.step_ms && ast_equal(a->subquery.inner, b->subquery.inner);
    case AST_CALL:
        return ast_equal_calls(a, b);
    case AST_AGGREGATE:
        return ast_equal_aggregates(a, b);
    case AST_BINARY:
        return ast_equal_binaries(a, b);
    case AST_UNARY:
        return a->unary.negative == b->unary.negative && ast_equal(a->unary.inner, b->unary.inner);
    case AST_PAREN:
        return ast_equal(a->inner, b->inner);
    }
    return false;
}
