#include "promql/ast.h"

#include "base/fail.h"
#include "base/quote.h"
#include "metric/sample.h"
#include "promql/functions.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

const char *promql_type_name(enum promql_type type)
{
    switch (type) {
    case PROMQL_SCALAR:
        return "scalar";
    case PROMQL_VECTOR:
        return "instant vector";
    case PROMQL_MATRIX:
        return "range vector";
    case PROMQL_STRING:
        return "string";
    case PROMQL_NONE:
        break;
    }
    return "none";
}

const char *ast_operator_text(enum ast_operator op)
{
    static const char *const texts[] = {
        [OP_ADD] = "+",  [OP_SUB] = "-",   [OP_MUL] = "*",       [OP_DIV] = "/",
        [OP_MOD] = "%",  [OP_POW] = "^",   [OP_ATAN2] = "atan2", [OP_EQL] = "==",
        [OP_NEQ] = "!=", [OP_GTR] = ">",   [OP_LSS] = "<",       [OP_GTE] = ">=",
        [OP_LTE] = "<=", [OP_AND] = "and", [OP_OR] = "or",       [OP_UNLESS] = "unless",
    };
    ASSERT((size_t)op < ARRAY_LEN(texts));
    return texts[op];
}

bool ast_operator_is_comparison(enum ast_operator op)
{
    return op >= OP_EQL && op <= OP_LTE;
}

bool ast_operator_is_set(enum ast_operator op)
{
    return op >= OP_AND && op <= OP_UNLESS;
}

const char *ast_aggregation_name(enum ast_aggregation op)
{
    static const char *const names[] = {
        [AGG_SUM] = "sum",
        [AGG_AVG] = "avg",
        [AGG_COUNT] = "count",
        [AGG_MIN] = "min",
        [AGG_MAX] = "max",
        [AGG_GROUP] = "group",
        [AGG_STDDEV] = "stddev",
        [AGG_STDVAR] = "stdvar",
        [AGG_TOPK] = "topk",
        [AGG_BOTTOMK] = "bottomk",
        [AGG_COUNT_VALUES] = "count_values",
        [AGG_QUANTILE] = "quantile",
    };
    ASSERT((size_t)op < ARRAY_LEN(names));
    return names[op];
}

bool ast_aggregation_has_param(enum ast_aggregation op)
{
    return op >= AGG_TOPK;
}

/* As Go prints a float by %v: the shortest digits that read back the same, with an exponent below 1e-4 and from 1e6...
 */
#define NUMBER_EXPONENT_MIN (-4)
#define NUMBER_EXPONENT_MAX 6

static int print_number(double number, struct buf *text)
{
    char digits[VALUE_TEXT_BYTES];
    if (isfinite(number) && number != 0) {
        for (int precision = 0; precision <= 16; precision++) {
            snprintf(digits, sizeof(digits), "%.*e", precision, number);
            if (strtod(digits, NULL) == number)
                break;
        }
        long exponent = strtol(strchr(digits, 'e') + 1, NULL, 10);
        if (exponent < NUMBER_EXPONENT_MIN || exponent >= NUMBER_EXPONENT_MAX)
            return buf_append_text(text, digits);
    }
    return buf_append(text, digits, value_print(number, digits));
}

int ast_print_duration(int64_t duration_ms, struct buf *text)
{
    /* Years and weeks only when nothing is left over: 90d reads better than 12w6d. */
    static const struct {
        const char *unit;
        int64_t unit_ms;
        bool whole;
    } units[] = {
        {"y", INT64_C(365) * 86400000, true},
        {"w", INT64_C(7) * 86400000, true},
        {"d", 86400000, false},
        {"h", 3600000, false},
        {"m", 60000, false},
        {"s", 1000, false},
        {"ms", 1, false},
    };
    int result = duration_ms == 0 ? buf_append_text(text, "0s") : 0;
    for (size_t i = 0; i < ARRAY_LEN(units) && result >= 0; i++) {
        int64_t count = duration_ms / units[i].unit_ms;
        if (count == 0 || (units[i].whole && duration_ms % units[i].unit_ms != 0))
            continue;
        result = buf_printf(text, "%" PRId64 "%s", count, units[i].unit);
        duration_ms -= count * units[i].unit_ms;
    }
    return result;
}

static int64_t magnitude(int64_t value)
{
    return value < 0 ? -value : value;
}

/* " @ ... offset ..." */
static void print_modifiers(const struct ast *ast, struct buf *text)
{
    if (ast->at == AT_START)
        buf_append_text(text, " @ start()");
    else if (ast->at == AT_END)
        buf_append_text(text, " @ end()");
    else if (ast->at == AT_TIME)
        buf_printf(text, " @ %s%" PRId64 ".%03d", ast->at_ms < 0 ? "-" : "", magnitude(ast->at_ms) / 1000,
                   (int)(magnitude(ast->at_ms) % 1000));
    if (ast->offset_ms != 0) {
        buf_append_text(text, ast->offset_ms < 0 ? " offset -" : " offset ");
        ast_print_duration(magnitude(ast->offset_ms), text);
    }
}

static void print_matcher(const struct matcher *matcher, struct buf *text)
{
    buf_append_str(text, matcher->name);
    buf_append_text(text, matcher_operator(matcher->type));
    quote_print(matcher->value, text);
}

static int compare_texts(const void *a, const void *b)
{
    return str_compare(*(const struct str *)a, *(const struct str *)b);
}

/* The matchers in braces, sorted by their text, as Prometheus does. */
static void print_matchers(const struct matcher *matchers, size_t count, struct buf *text)
{
    CLEANUP(buf_done) struct buf all = BUF_INIT(text->bytes_max);
    CLEANUP_FREE size_t *ends = mem_array(count, sizeof(*ends));
    CLEANUP_FREE struct str *texts = mem_array(count, sizeof(*texts));
    for (size_t i = 0; i < count; i++) {
        print_matcher(&matchers[i], &all);
        ends[i] = all.len;
    }
    if (all.full) {
        text->full = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        size_t start = i ? ends[i - 1] : 0;
        texts[i] = str_of(all.data + start, ends[i] - start);
    }
    qsort(texts, count, sizeof(*texts), compare_texts);
    for (size_t i = 0; i < count; i++) {
        buf_append_byte(text, i ? ',' : '{');
        buf_append_str(text, texts[i]);
    }
    buf_append_byte(text, '}');
}

static void print_selector(const struct ast *ast, struct buf *text)
{
    buf_append_str(text, ast->selector.name);
    size_t in_braces = ast->selector.matcher_count - (ast->selector.name.len ? 1 : 0);
    if (in_braces > 0)
        print_matchers(ast->selector.matchers, in_braces, text);
    else if (ast->selector.name.len == 0)
        buf_append_text(text, "{}");
    if (ast->range_ms > 0) {
        buf_append_byte(text, '[');
        ast_print_duration(ast->range_ms, text);
        buf_append_byte(text, ']');
    }
    print_modifiers(ast, text);
}

/* " WORD (a, b)" */
static void print_names(const char *word, const struct ast_names *names, struct buf *text)
{
    buf_printf(text, " %s (", word);
    for (size_t i = 0; i < names->count; i++) {
        buf_append_text(text, i ? ", " : "");
        buf_append_str(text, names->items[i]);
    }
    buf_append_byte(text, ')');
}

static void print(const struct ast *ast, struct buf *text);

static void print_binary(const struct ast *ast, struct buf *text)
{
    bool grouped = ast->binary.card == CARD_MANY_TO_ONE || ast->binary.card == CARD_ONE_TO_MANY;
    const struct ast *left = ast->binary.left;
    /* A sign binds weaker than ^: "+Inf ^ 2" would be read as +(Inf ^ 2). No other base has a sign outside parentheses.
     */
    if (ast->binary.op == OP_POW && left->kind == AST_NUMBER && left->number == INFINITY)
        buf_append_text(text, "Inf");
    else
        print(left, text);
    buf_printf(text, " %s%s", ast_operator_text(ast->binary.op), ast->binary.return_bool ? " bool" : "");
    if (ast->binary.on || ast->binary.matching.count > 0 || grouped)
        print_names(ast->binary.on ? "on" : "ignoring", &ast->binary.matching, text);
    if (grouped)
        print_names(ast->binary.card == CARD_MANY_TO_ONE ? "group_left" : "group_right", &ast->binary.include, text);
    buf_append_byte(text, ' ');
    print(ast->binary.right, text);
}

static void print_aggregate(const struct ast *ast, struct buf *text)
{
    buf_append_text(text, ast_aggregation_name(ast->aggregate.op));
    if (ast->aggregate.without || ast->aggregate.grouping.count > 0) {
        print_names(ast->aggregate.without ? "without" : "by", &ast->aggregate.grouping, text);
        buf_append_byte(text, ' ');
    }
    buf_append_byte(text, '(');
    if (ast->aggregate.param) {
        print(ast->aggregate.param, text);
        buf_append_text(text, ", ");
    }
    print(ast->aggregate.inner, text);
    buf_append_byte(text, ')');
}

static void print_call(const struct ast *ast, struct buf *text)
{
    buf_printf(text, "%s(", ast->call.function->name);
    for (size_t i = 0; i < ast->call.arg_count; i++) {
        buf_append_text(text, i ? ", " : "");
        print(ast->call.args[i], text);
    }
    buf_append_byte(text, ')');
}

static void print_subquery(const struct ast *ast, struct buf *text)
{
    print(ast->subquery.inner, text);
    buf_append_byte(text, '[');
    ast_print_duration(ast->range_ms, text);
    buf_append_byte(text, ':');
    if (ast->subquery.step_ms > 0)
        ast_print_duration(ast->subquery.step_ms, text);
    buf_append_byte(text, ']');
    print_modifiers(ast, text);
}

/* A full buffer refuses all that follows, so one look at the end is enough. */
static void print(const struct ast *ast, struct buf *text)
{
    switch (ast->kind) {
    case AST_NUMBER:
        print_number(ast->number, text);
        break;
    case AST_STRING:
        quote_print(ast->string, text);
        break;
    case AST_SELECTOR:
        print_selector(ast, text);
        break;
    case AST_SUBQUERY:
        print_subquery(ast, text);
        break;
    case AST_CALL:
        print_call(ast, text);
        break;
    case AST_AGGREGATE:
        print_aggregate(ast, text);
        break;
    case AST_BINARY:
        print_binary(ast, text);
        break;
    case AST_UNARY:
        buf_append_byte(text, ast->unary.negative ? '-' : '+');
        print(ast->unary.inner, text);
        break;
    case AST_PAREN:
        buf_append_byte(text, '(');
        print(ast->inner, text);
        buf_append_byte(text, ')');
        break;
    }
}

int ast_print(const struct ast *ast, struct buf *text)
{
    print(ast, text);
    return text->full ? -EMSGSIZE : 0;
}

bool ast_walk(const struct ast *ast, bool (*visit)(const struct ast *ast, void *arg), void *arg)
{
    if (!visit(ast, arg))
        return false;
    switch (ast->kind) {
    case AST_NUMBER:
    case AST_STRING:
    case AST_SELECTOR:
        return true;
    case AST_SUBQUERY:
        return ast_walk(ast->subquery.inner, visit, arg);
    case AST_CALL:
        for (size_t i = 0; i < ast->call.arg_count; i++) {
            if (!ast_walk(ast->call.args[i], visit, arg))
                return false;
        }
        return true;
    case AST_AGGREGATE:
        if (ast->aggregate.param && !ast_walk(ast->aggregate.param, visit, arg))
            return false;
        return ast_walk(ast->aggregate.inner, visit, arg);
    case AST_BINARY:
        return ast_walk(ast->binary.left, visit, arg) && ast_walk(ast->binary.right, visit, arg);
    case AST_UNARY:
        return ast_walk(ast->unary.inner, visit, arg);
    case AST_PAREN:
        return ast_walk(ast->inner, visit, arg);
    }
    return true;
}
