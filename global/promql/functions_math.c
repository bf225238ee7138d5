/* Mathematics on each value. */
#include "promql/functions.h"
#include "promql/mapper.h"

#include <math.h>

static double math_deg(double value)
{
    return value * 180 / M_PI;
}

static double math_rad(double value)
{
    return value * M_PI / 180;
}

static double math_sgn(double value)
{
    if (value < 0)
        return -1;
    return value > 0 ? 1 : value;
}

static void map_function(const struct mapper *mapper, const struct promql_series *in, struct promql_series *out)
{
    PROMQL_EACH(step, in, mapper->grid->steps)
    promql_set(out, step, mapper->function(in->values[step]));
}

int call_math(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    static double (*const functions[FUNCTION_COUNT])(double) = {
        [FUNCTION_ABS] = fabs,     [FUNCTION_ACOS] = acos,    [FUNCTION_ACOSH] = acosh,  [FUNCTION_ASIN] = asin,
        [FUNCTION_ASINH] = asinh,  [FUNCTION_ATAN] = atan,    [FUNCTION_ATANH] = atanh,  [FUNCTION_CEIL] = ceil,
        [FUNCTION_COS] = cos,      [FUNCTION_COSH] = cosh,    [FUNCTION_DEG] = math_deg, [FUNCTION_EXP] = exp,
        [FUNCTION_FLOOR] = floor,  [FUNCTION_LN] = log,       [FUNCTION_LOG10] = log10,  [FUNCTION_LOG2] = log2,
        [FUNCTION_RAD] = math_rad, [FUNCTION_SGN] = math_sgn, [FUNCTION_SIN] = sin,      [FUNCTION_SINH] = sinh,
        [FUNCTION_SQRT] = sqrt,    [FUNCTION_TAN] = tan,      [FUNCTION_TANH] = tanh,
    };
    struct mapper mapper = {.eval = eval,
                            .grid = grid,
                            .ast = ast,
                            .drop_name = true,
                            .map = map_function,
                            .function = functions[ast->call.function->id]};
    return mapper_run(&mapper, ast->call.args[0], sink);
}

/* Go's math.Max and math.Min, which Prometheus uses: NaN wins over numbers (but not over the infinity looked for), and
 * +0 is larger than -0. */
static double go_max(double a, double b)
{
    if (a == INFINITY || b == INFINITY)
        return INFINITY;
    if (isnan(a) || isnan(b))
        return NAN;
    if (a == 0 && b == 0)
        return signbit(a) ? b : a;
    return a > b ? a : b;
}

static double go_min(double a, double b)
{
    return -go_max(-a, -b);
}

static void map_clamp(const struct mapper *mapper, const struct promql_series *in, struct promql_series *out)
{
    const double *min = mapper->args[0];
    const double *max = mapper->args[1];
    PROMQL_EACH(step, in, mapper->grid->steps)
    {
        if (min && max && max[step] < min[step])
            continue;
        double value = in->values[step];
        if (max)
            value = go_min(max[step], value);
        if (min)
            value = go_max(min[step], value);
        promql_set(out, step, value);
    }
}

/* clamp(v, min, max), clamp_min(v, min), clamp_max(v, max) */
int call_clamp(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    CLEANUP_BUDGET double *first = eval_scalar(eval, grid, ast->call.args[1]);
    if (!first)
        return -1;
    CLEANUP_BUDGET double *second = NULL;
    uint16_t id = ast->call.function->id;
    if (id == FUNCTION_CLAMP && !(second = eval_scalar(eval, grid, ast->call.args[2])))
        return -1;
    struct mapper mapper = {.eval = eval, .grid = grid, .ast = ast, .drop_name = true, .map = map_clamp};
    mapper.args[0] = id == FUNCTION_CLAMP_MAX ? NULL : first;
    mapper.args[1] = id == FUNCTION_CLAMP_MAX ? first : second;
    return mapper_run(&mapper, ast->call.args[0], sink);
}

static void map_round(const struct mapper *mapper, const struct promql_series *in, struct promql_series *out)
{
    const double *nearest = mapper->args[0];
    PROMQL_EACH(step, in, mapper->grid->steps)
    {
        /* The inverse keeps results like 0.1 exact where a division would not. */
        double inverse = 1.0 / (nearest ? nearest[step] : 1.0);
        promql_set(out, step, floor(in->values[step] * inverse + 0.5) / inverse);
    }
}

int call_round(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    CLEANUP_BUDGET double *nearest = NULL;
    if (ast->call.arg_count > 1 && !(nearest = eval_scalar(eval, grid, ast->call.args[1])))
        return -1;
    struct mapper mapper = {.eval = eval, .grid = grid, .ast = ast, .drop_name = true, .map = map_round};
    mapper.args[0] = nearest;
    return mapper_run(&mapper, ast->call.args[0], sink);
}

int call_pi(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    (void)ast;
    const double pi = M_PI;
    return eval_emit_scalar(eval, grid, &pi, sink); /* invariant: one step */
}
