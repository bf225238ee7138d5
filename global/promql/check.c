#include "promql/check.h"

#include "base/quote.h"
#include "promql/functions.h"

#include <errno.h>
#include <stdio.h>

#define SHOWN_BYTES_MAX (4 * KIB) /* of a value in an error; a longer one is cut */

/* The rules and their order are those of checkAST in promql/parser/parse.go: children first, then the node; the first
 * error is kept and ends the walk. */

static int check(struct ast *ast, struct promql_error *ret_error);

static int expect_type(struct ast *ast, enum promql_type wanted, const char *where, struct promql_error *ret_error)
{
    int result = check(ast, ret_error);
    if (result < 0 || ast->type == wanted)
        return result;
    promql_error_set(ret_error, ast->position, "expected type %s in %s, got %s", promql_type_name(wanted), where,
                     promql_type_name(ast->type));
    return -EINVAL;
}

static int check_aggregate(struct ast *ast, struct promql_error *ret_error)
{
    ast->type = PROMQL_VECTOR;
    int result = expect_type(ast->aggregate.inner, PROMQL_VECTOR, "aggregation expression", ret_error);
    if (result < 0 || !ast->aggregate.param)
        return result;
    enum promql_type wanted = ast->aggregate.op == AGG_COUNT_VALUES ? PROMQL_STRING : PROMQL_SCALAR;
    return expect_type(ast->aggregate.param, wanted, "aggregation parameter", ret_error);
}

static bool is_operand_type(enum promql_type type)
{
    return type == PROMQL_SCALAR || type == PROMQL_VECTOR;
}

static bool name_in(struct str name, const struct ast_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        if (str_equal(name, names->items[i]))
            return true;
    }
    return false;
}

/* What hangs on the operator's place: bool and labels of the matching. */
static int check_operator(const struct ast *ast, struct promql_error *ret_error)
{
    bool comparison = ast_operator_is_comparison(ast->binary.op);
    const char *problem = NULL;
    if (ast->binary.return_bool && !comparison)
        problem = "bool modifier can only be used on comparison operators";
    else if (comparison && !ast->binary.return_bool && ast->binary.left->type == PROMQL_SCALAR &&
             ast->binary.right->type == PROMQL_SCALAR)
        problem = "comparisons between scalars must use BOOL modifier";
    if (problem) {
        promql_error_set(ret_error, ast->binary.op_position, "%s", problem);
        return -EINVAL;
    }
    for (size_t i = 0; ast->binary.on && i < ast->binary.matching.count; i++) {
        struct str name = ast->binary.matching.items[i];
        if (!name_in(name, &ast->binary.include))
            continue;
        promql_error_set(ret_error, ast->binary.op_position,
                         "label \"" STR_FMT "\" must not occur in ON and GROUP clause at once", STR_ARG(name));
        return -EINVAL;
    }
    return 0;
}

/* Of two operands that are scalars or instant vectors. */
static int check_matching(struct ast *ast, struct promql_error *ret_error)
{
    bool vectors = ast->binary.left->type == PROMQL_VECTOR && ast->binary.right->type == PROMQL_VECTOR;
    bool set = ast_operator_is_set(ast->binary.op);
    const char *op = ast_operator_text(ast->binary.op);
    if (!vectors && ast->binary.matching.count > 0)
        promql_error_set(ret_error, ast->position, "vector matching only allowed between instant vectors");
    else if (!vectors && set)
        promql_error_set(ret_error, ast->position, "set operator \"%s\" not allowed in binary scalar expression", op);
    else if (set && ast->binary.card != CARD_ONE_TO_ONE && ast->binary.card != CARD_MANY_TO_MANY)
        promql_error_set(ret_error, ast->position, "no grouping allowed for \"%s\" operation", op);
    else
        return 0;
    return -EINVAL;
}

static int check_binary(struct ast *ast, struct promql_error *ret_error)
{
    struct ast *left = ast->binary.left;
    struct ast *right = ast->binary.right;
    int result = check(left, ret_error);
    if (result == 0)
        result = check(right, ret_error);
    if (result == 0)
        result = check_operator(ast, ret_error);
    if (result < 0)
        return result;
    if (!is_operand_type(left->type) || !is_operand_type(right->type)) {
        promql_error_set(ret_error, is_operand_type(left->type) ? right->position : left->position,
                         "binary expression must contain only scalar and instant vector types");
        return -EINVAL;
    }
    result = check_matching(ast, ret_error);
    if (result < 0)
        return result;
    if (ast_operator_is_set(ast->binary.op))
        ast->binary.card = CARD_MANY_TO_MANY;
    bool scalars = left->type == PROMQL_SCALAR && right->type == PROMQL_SCALAR;
    ast->type = scalars ? PROMQL_SCALAR : PROMQL_VECTOR;
    return 0;
}

static int check_arg_count(const struct ast *ast, struct promql_error *ret_error)
{
    const struct promql_function *function = ast->call.function;
    size_t count = ast->call.arg_count;
    size_t fewest = function->variadic == 0 ? function->arg_count : function->arg_count - 1U;
    size_t most = function->variadic < 0 ? SIZE_MAX : fewest + (size_t)function->variadic;
    const char *bound = function->variadic == 0 ? "" : count < fewest ? "at least " : "at most ";
    if (count >= fewest && count <= most)
        return 0;
    promql_error_set(ret_error, ast->position, "expected %s%zu argument(s) in call to \"%s\", got %zu", bound,
                     count < fewest ? fewest : most, function->name, count);
    return -EINVAL;
}

static int check_call(struct ast *ast, struct promql_error *ret_error)
{
    const struct promql_function *function = ast->call.function;
    char where[128];
    snprintf(where, sizeof(where), "call to function \"%s\"", function->name);
    ast->type = function->result;
    int result = check_arg_count(ast, ret_error);
    for (size_t i = 0; i < ast->call.arg_count && result == 0; i++) {
        size_t row = MIN(i, function->arg_count - 1U);
        result = expect_type(ast->call.args[i], function->args[row], where, ret_error);
    }
    return result;
}

static int check_unary(struct ast *ast, struct promql_error *ret_error)
{
    int result = check(ast->unary.inner, ret_error);
    if (result < 0)
        return result;
    ast->type = ast->unary.inner->type;
    if (is_operand_type(ast->type))
        return 0;
    promql_error_set(ret_error, ast->position,
                     "unary expression only allowed on expressions of type scalar or instant vector, got \"%s\"",
                     promql_type_name(ast->type));
    return -EINVAL;
}

static int check_subquery(struct ast *ast, struct promql_error *ret_error)
{
    /* Prometheus' internal names of the types, in this one text. */
    static const char *const names[] = {
        [PROMQL_NONE] = "none",     [PROMQL_SCALAR] = "scalar", [PROMQL_VECTOR] = "vector",
        [PROMQL_MATRIX] = "matrix", [PROMQL_STRING] = "string",
    };
    ast->type = PROMQL_MATRIX;
    int result = check(ast->subquery.inner, ret_error);
    if (result < 0 || ast->subquery.inner->type == PROMQL_VECTOR)
        return result;
    promql_error_set(ret_error, ast->position, "subquery is only allowed on instant vector, got %s instead",
                     names[ast->subquery.inner->type]);
    return -EINVAL;
}

static int fail_two_names(const struct ast *ast, struct str second, struct promql_error *ret_error)
{
    CLEANUP(buf_done) struct buf quoted = BUF_INIT(SHOWN_BYTES_MAX);
    quote_print(second, &quoted);
    promql_error_set(ret_error, ast->position, "metric name must not be set twice: \"" STR_FMT "\" or " STR_FMT,
                     STR_ARG(ast->selector.name), STR_ARG(buf_view(&quoted)));
    return -EINVAL;
}

static int check_selector(struct ast *ast, struct promql_error *ret_error)
{
    const struct matcher *matchers = ast->selector.matchers;
    size_t count = ast->selector.matcher_count;
    ast->type = ast->range_ms > 0 ? PROMQL_MATRIX : PROMQL_VECTOR;
    if (ast->selector.name.len > 0) {
        for (size_t i = 0; i + 1 < count; i++) {
            if (!str_equal(matchers[i].name, STR(LABEL_NAME)))
                continue;
            return fail_two_names(ast, matchers[i].value, ret_error);
        }
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        if (!matcher_matches_empty(&matchers[i]))
            return 0;
    }
    promql_error_set(ret_error, ast->position, PROMQL_EMPTY_SELECTOR);
    return -EINVAL;
}

static int check(struct ast *ast, struct promql_error *ret_error)
{
    int result = 0;
    switch (ast->kind) {
    case AST_NUMBER:
        ast->type = PROMQL_SCALAR;
        break;
    case AST_STRING:
        ast->type = PROMQL_STRING;
        break;
    case AST_SELECTOR:
        return check_selector(ast, ret_error);
    case AST_SUBQUERY:
        return check_subquery(ast, ret_error);
    case AST_CALL:
        return check_call(ast, ret_error);
    case AST_AGGREGATE:
        return check_aggregate(ast, ret_error);
    case AST_BINARY:
        return check_binary(ast, ret_error);
    case AST_UNARY:
        return check_unary(ast, ret_error);
    case AST_PAREN:
        result = check(ast->inner, ret_error);
        ast->type = ast->inner->type;
        break;
    }
    return result;
}

int promql_check(struct ast *ast, struct promql_error *ret_error)
{
    return check(ast, ret_error);
}
