#include "promql/narrow.h"

#include "promql/parser.h"

#include <errno.h>

struct narrowing {
    struct arena *arena;
    const struct matcher *matcher;
};

static bool add(const struct ast *ast, void *arg)
{
    const struct narrowing *narrowing = arg;
    if (ast->kind != AST_SELECTOR)
        return true;
    struct ast *selector = (struct ast *)ast; /* ast_walk shows nodes as its usual callers may see them */
    size_t count = selector->selector.matcher_count;
    struct matcher *matchers = arena_array(narrowing->arena, count + 1, sizeof(*matchers));
    if (!matchers)
        return false;
    matchers[0] = *narrowing->matcher; /* the name's stays the last */
    memcpy(matchers + 1, selector->selector.matchers, count * sizeof(*matchers));
    selector->selector.matchers = matchers;
    selector->selector.matcher_count = count + 1;
    return true;
}

int promql_narrow(struct promql_expression *expression, const struct matcher *matcher)
{
    struct narrowing narrowing = {&expression->arena, matcher};
    return ast_walk(expression->root, add, &narrowing) ? 0 : -EMSGSIZE;
}
