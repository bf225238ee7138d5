/* Operators where one side at least is a scalar, and signs. */
#include "promql/label_set.h"
#include "promql/mapper.h"

#include <math.h>

double binary_apply(enum ast_operator op, double left, double right, bool *ret_keep)
{
    *ret_keep = true;
    switch (op) {
    case OP_ADD:
        return left + right;
    case OP_SUB:
        return left - right;
    case OP_MUL:
        return left * right;
    case OP_DIV:
        return left / right;
    case OP_MOD:
        return fmod(left, right);
    case OP_POW:
        return pow(left, right);
    case OP_ATAN2:
        return atan2(left, right);
    case OP_EQL:
        *ret_keep = left == right;
        break;
    case OP_NEQ:
        *ret_keep = left != right;
        break;
    case OP_GTR:
        *ret_keep = left > right;
        break;
    case OP_LSS:
        *ret_keep = left < right;
        break;
    case OP_GTE:
        *ret_keep = left >= right;
        break;
    case OP_LTE:
        *ret_keep = left <= right;
        break;
    case OP_AND:
    case OP_OR:
    case OP_UNLESS:
        break; /* of sets of labels, not of values */
    }
    return left;
}

/* Arithmetic gives another quantity than its operands'; atan2 is not among them in Prometheus 2.42. */
bool operator_drops_name(enum ast_operator op)
{
    return op <= OP_POW;
}

static int scalar_scalar(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    CLEANUP_BUDGET double *left = eval_scalar(eval, grid, ast->binary.left);
    if (!left)
        return -1;
    CLEANUP_BUDGET double *right = eval_scalar(eval, grid, ast->binary.right);
    if (!right)
        return -1;
    bool comparison = ast_operator_is_comparison(ast->binary.op);
    for (size_t step = 0; step < grid->steps; step++) {
        bool keep;
        double value = binary_apply(ast->binary.op, left[step], right[step], &keep);
        left[step] = comparison ? (double)keep : value;
    }
    return eval_emit_scalar(eval, grid, left, sink);
}

struct with_scalar {
    struct mapper mapper;
    enum ast_operator op;
    bool return_bool;
    bool scalar_left;
};

static void map_with_scalar(const struct mapper *mapper, const struct promql_series *in, struct promql_series *out)
{
    const struct with_scalar *with = CONTAINER_OF(mapper, struct with_scalar, mapper);
    const double *scalar = mapper->args[0];
    bool comparison = ast_operator_is_comparison(with->op);
    PROMQL_EACH(step, in, mapper->grid->steps)
    {
        bool keep;
        double value = with->scalar_left ? binary_apply(with->op, scalar[step], in->values[step], &keep)
                                         : binary_apply(with->op, in->values[step], scalar[step], &keep);
        if (with->return_bool)
            promql_set(out, step, keep);
        else if (keep)
            promql_set(out, step, comparison ? in->values[step] : value); /* the vector's value, on either side */
    }
}

int eval_binary(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    const struct ast *left = ast->binary.left;
    const struct ast *right = ast->binary.right;
    if (left->type == PROMQL_SCALAR && right->type == PROMQL_SCALAR)
        return scalar_scalar(eval, grid, ast, sink);
    if (left->type != PROMQL_SCALAR && right->type != PROMQL_SCALAR)
        return eval_vector_match(eval, grid, ast, sink);
    bool scalar_left = left->type == PROMQL_SCALAR;
    CLEANUP_BUDGET double *scalar = eval_scalar(eval, grid, scalar_left ? left : right);
    if (!scalar)
        return -1;
    struct with_scalar with = {.mapper = {.eval = eval, .grid = grid, .ast = ast, .map = map_with_scalar},
                               .op = ast->binary.op,
                               .return_bool = ast->binary.return_bool,
                               .scalar_left = scalar_left};
    with.mapper.drop_name = with.return_bool || operator_drops_name(with.op);
    with.mapper.args[0] = scalar;
    return mapper_run(&with.mapper, scalar_left ? right : left, sink);
}

static void map_negative(const struct mapper *mapper, const struct promql_series *in, struct promql_series *out)
{
    PROMQL_EACH(step, in, mapper->grid->steps)
    promql_set(out, step, -in->values[step]);
}

int eval_unary(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    if (!ast->unary.negative)
        return eval_node(eval, grid, ast->unary.inner, sink);
    struct mapper mapper = {
        .eval = eval, .grid = grid, .ast = ast, .drop_name = true, .strict = true, .map = map_negative};
    return mapper_run(&mapper, ast->unary.inner, sink);
}
