#include "promql/parse.h"

#include "base/fail.h"
#include "base/quote.h"
#include "promql/check.h"
#include "promql/functions.h"
#include "promql/parser.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* Recursive descent for operands, precedence climbing for operators. The shape follows Prometheus' grammar
 * (promql/parser/generated_parser.y); the first error is the one reported, and it is the one Prometheus would report.
 * Each parse_ function returns NULL when it has failed; parser->error then says why. */

#define PRECEDENCE_LOWEST 1
#define PRECEDENCE_POWER  6 /* of ^, which groups to the right; a sign binds weaker than it: -1^2 is -(1^2) */

static struct ast *parse_expression(struct parser *parser, int precedence_min);

static bool count_depth(struct parser *parser, size_t depth)
{
    if (depth <= PROMQL_DEPTH_MAX)
        return true;
    parser_fail(parser, parser_place(parser), "expression is nested too deeply: more than %d levels", PROMQL_DEPTH_MAX);
    return false;
}

/* A node above left and right, both of which may be NULL. */
static struct ast *new_node(struct parser *parser, enum ast_kind kind, const struct ast *left, const struct ast *right)
{
    size_t height = 1 + MAX(left ? left->height : 0, right ? right->height : 0);
    if (!count_depth(parser, height))
        return NULL;
    struct ast *node = NULL;
    if (parser->node_count < PROMQL_NODES_MAX)
        node = parser_grow(parser, NULL, 0, sizeof(*node));
    else
        parser_fail(parser, parser_place(parser), "expression has more than %d parts", PROMQL_NODES_MAX);
    if (!node)
        return NULL;
    parser->node_count++;
    node->kind = kind;
    node->height = (uint16_t)height;
    return node;
}

/* ---- Operands ------------------------------------------------------------------------------------------------------
 */

static struct ast *parse_number(struct parser *parser)
{
    struct token token = parser_take(parser);
    double number;
    if (!parser_number(parser, &token, &number))
        return NULL;
    struct ast *node = new_node(parser, AST_NUMBER, NULL, NULL);
    if (!node)
        return NULL;
    node->number = number;
    node->position = token_place(&token);
    return node;
}

static struct ast *parse_string(struct parser *parser)
{
    struct token token = parser_take(parser);
    struct ast *node = new_node(parser, AST_STRING, NULL, NULL);
    if (!node || !parser_unquote(parser, &token, &node->string))
        return NULL;
    node->position = token_place(&token);
    return node;
}

static struct ast *parse_paren(struct parser *parser)
{
    struct token open = parser_take(parser);
    struct ast *inner = parse_expression(parser, PRECEDENCE_LOWEST);
    if (!inner || !parser_expect(parser, TOKEN_RIGHT_PAREN))
        return NULL;
    struct ast *node = new_node(parser, AST_PAREN, inner, NULL);
    if (!node)
        return NULL;
    node->inner = inner;
    node->position = (struct ast_position){open.start, parser->last_end};
    return node;
}

/* name{...}, name or {...}. The name has been taken, NULL: there is none. */
static struct ast *parse_vector_selector(struct parser *parser, const struct token *name)
{
    struct ast *node = new_node(parser, AST_SELECTOR, NULL, NULL);
    if (!node)
        return NULL;
    node->position.start = name ? name->start : parser->token.start;
    node->selector.name = name ? name->text : STR_NULL;
    if (!parser_matchers(parser, name, node))
        return NULL;
    node->position.end = parser->last_end;
    return node;
}

static bool starts_operand(enum token_kind kind)
{
    return kind == TOKEN_NUMBER || kind == TOKEN_STRING || kind == TOKEN_LEFT_PAREN || kind == TOKEN_LEFT_BRACE ||
           kind == TOKEN_ADD || kind == TOKEN_SUB || token_is_metric_name(kind);
}

struct args {
    struct ast **items;
    size_t count;
};

/* (a, b): a call's or an aggregation's. *ret_height is that of the highest. */
static bool parse_args(struct parser *parser, struct args *ret_args, const struct ast **ret_highest)
{
    *ret_args = (struct args){0};
    *ret_highest = NULL;
    if (!parser_expect(parser, TOKEN_LEFT_PAREN))
        return false;
    if (parser_accept(parser, TOKEN_RIGHT_PAREN))
        return true;
    for (;;) {
        struct ast *arg = parse_expression(parser, PRECEDENCE_LOWEST);
        if (!arg)
            return false;
        ret_args->items = parser_grow(parser, ret_args->items, ret_args->count, sizeof(*ret_args->items));
        if (!ret_args->items)
            return false;
        ret_args->items[ret_args->count++] = arg;
        if (!*ret_highest || arg->height > (*ret_highest)->height)
            *ret_highest = arg;
        if (parser_peek(parser) != TOKEN_COMMA)
            return parser_expect(parser, TOKEN_RIGHT_PAREN);
        struct token comma = parser_take(parser);
        enum token_kind next = parser_peek(parser);
        if (next == TOKEN_ERROR)
            return false;
        if (!starts_operand(next)) {
            parser_fail(parser, token_place(&comma), "trailing commas not allowed in function call args");
            return false;
        }
    }
}

static struct ast *parse_call(struct parser *parser, const struct token *name)
{
    struct args args;
    const struct ast *highest;
    if (!parse_args(parser, &args, &highest))
        return NULL;
    const struct promql_function *function = promql_function_find(name->text);
    if (!function) {
        struct str shown = str_of(name->text.ptr, MIN(name->text.len, PARSER_SHOWN_BYTES_MAX));
        parser_fail(parser, token_place(name), "unknown function with name \"" STR_FMT "\"", STR_ARG(shown));
        return NULL;
    }
    struct ast *node = new_node(parser, AST_CALL, highest, NULL);
    if (!node)
        return NULL;
    node->position = (struct ast_position){name->start, parser->last_end};
    node->call.function = function;
    node->call.args = args.items;
    node->call.arg_count = args.count;
    return node;
}

/* by (...) or without (...), if it stands here. */
static bool parse_grouping(struct parser *parser, struct ast_names *ret_names, bool *ret_without, bool *ret_found)
{
    enum token_kind kind = parser_peek(parser);
    if (kind != TOKEN_BY && kind != TOKEN_WITHOUT) {
        *ret_found = false;
        return kind != TOKEN_ERROR;
    }
    parser_take(parser);
    *ret_found = true;
    *ret_without = kind == TOKEN_WITHOUT;
    return parser_names(parser, ret_names);
}

static struct ast *new_aggregate(struct parser *parser, const struct token *op, const struct args *args,
                                 const struct ast *highest)
{
    struct ast_position place = {op->start, parser->last_end};
    enum ast_aggregation aggregation = AGG_SUM + (op->kind - TOKEN_SUM);
    size_t wanted = ast_aggregation_has_param(aggregation) ? 2 : 1;
    if (args->count == 0) {
        parser_fail(parser, place, "no arguments for aggregate expression provided");
        return NULL;
    }
    if (args->count != wanted) {
        parser_fail(parser, place, "wrong number of arguments for aggregate expression provided, expected %zu, got %zu",
                    wanted, args->count);
        return NULL;
    }
    struct ast *node = new_node(parser, AST_AGGREGATE, highest, NULL);
    if (!node)
        return NULL;
    node->position = place;
    node->aggregate.op = aggregation;
    node->aggregate.param = wanted == 2 ? args->items[0] : NULL;
    node->aggregate.inner = args->items[wanted - 1];
    return node;
}

/* sum by (a) (x), sum(x) by (a), sum(x). The name has been taken. */
static struct ast *parse_aggregate(struct parser *parser, const struct token *op)
{
    struct ast_names names = {0};
    bool without = false;
    bool found;
    struct args args;
    const struct ast *highest;
    parser->open_aggregations++;
    if (!parse_grouping(parser, &names, &without, &found) || !parse_args(parser, &args, &highest) ||
        (!found && !parse_grouping(parser, &names, &without, &found)))
        return NULL;
    parser->open_aggregations--;
    struct ast *node = new_aggregate(parser, op, &args, highest);
    if (!node)
        return NULL;
    node->aggregate.grouping = names;
    node->aggregate.without = without;
    return node;
}

static struct ast *parse_named(struct parser *parser)
{
    struct token name = parser_take(parser);
    enum token_kind next = parser_peek(parser);
    if (next == TOKEN_ERROR)
        return NULL;
    if (name.kind == TOKEN_IDENTIFIER && next == TOKEN_LEFT_PAREN)
        return parse_call(parser, &name);
    if (token_is_aggregation(name.kind) && (next == TOKEN_LEFT_PAREN || next == TOKEN_BY || next == TOKEN_WITHOUT))
        return parse_aggregate(parser, &name);
    return parse_vector_selector(parser, &name);
}

static struct ast *parse_operand(struct parser *parser)
{
    switch (parser_peek(parser)) {
    case TOKEN_NUMBER:
        return parse_number(parser);
    case TOKEN_STRING:
        return parse_string(parser);
    case TOKEN_LEFT_PAREN:
        return parse_paren(parser);
    case TOKEN_LEFT_BRACE:
        return parse_vector_selector(parser, NULL);
    default:
        if (token_is_metric_name(parser_peek(parser)))
            return parse_named(parser);
        parser_unexpected(parser, "", "");
        return NULL;
    }
}

/* ---- What may follow an operand: [range], [range:step], offset, @ ---------------------------------------------------
 */

static bool takes_modifiers(const struct ast *ast)
{
    return ast->kind == AST_SELECTOR || ast->kind == AST_SUBQUERY;
}

static struct ast *parse_subquery(struct parser *parser, struct ast *inner, int64_t range_ms)
{
    int64_t step_ms = 0;
    parser_take(parser); /* the colon */
    if (parser_peek(parser) == TOKEN_DURATION) {
        if (!parser_duration(parser, &step_ms))
            return NULL;
        if (parser_peek(parser) != TOKEN_RIGHT_BRACKET)
            return parser_unexpected(parser, "subquery selector", "\"]\"");
    }
    if (parser_peek(parser) != TOKEN_RIGHT_BRACKET)
        return parser_unexpected(parser, "subquery selector", "duration or \"]\"");
    parser_take(parser);
    struct ast *node = new_node(parser, AST_SUBQUERY, inner, NULL);
    if (!node)
        return NULL;
    node->subquery.inner = inner;
    node->subquery.step_ms = step_ms;
    node->range_ms = range_ms;
    node->position = (struct ast_position){inner->position.start, parser->last_end};
    return node;
}

static struct ast *parse_range(struct parser *parser, struct ast *ast)
{
    struct token bracket = parser_take(parser);
    int64_t range_ms;
    if (parser_peek(parser) != TOKEN_DURATION)
        return parser_unexpected(parser, "subquery selector", "duration");
    if (!parser_duration(parser, &range_ms))
        return NULL;
    if (parser_peek(parser) == TOKEN_COLON)
        return parse_subquery(parser, ast, range_ms);
    if (parser_peek(parser) != TOKEN_RIGHT_BRACKET)
        return parser_unexpected(parser, "subquery or range", "\":\" or \"]\"");
    parser_take(parser);
    const char *problem = NULL;
    if (ast->kind != AST_SELECTOR || ast->range_ms > 0)
        problem = "ranges only allowed for vector selectors";
    else if (ast->offset_ms != 0)
        problem = "no offset modifiers allowed before range";
    else if (ast->at == AT_TIME) /* start() and end() pass, as in Prometheus */
        problem = "no @ modifiers allowed before range";
    if (problem)
        return parser_fail(parser, (struct ast_position){bracket.start, parser->last_end}, "%s", problem);
    ast->range_ms = range_ms;
    ast->position.end = parser->last_end;
    return ast;
}

static struct ast *parse_offset(struct parser *parser, struct ast *ast)
{
    int64_t offset_ms;
    parser_take(parser);
    bool negative = parser_accept(parser, TOKEN_SUB);
    if (parser_peek(parser) != TOKEN_DURATION)
        return parser_unexpected(parser, "offset", "duration");
    if (!parser_duration(parser, &offset_ms))
        return NULL;
    if (!takes_modifiers(ast))
        return parser_fail(parser, ast->position,
                           "offset modifier must be preceded by an instant vector selector or range vector selector "
                           "or a subquery");
    if (ast->offset_ms != 0)
        return parser_fail(parser, ast->position, "offset may not be set multiple times");
    ast->offset_ms = negative ? -offset_ms : offset_ms;
    ast->position.end = parser->last_end;
    return ast;
}

/* start() or end() */
static bool parse_at_word(struct parser *parser, enum ast_at *ret_at)
{
    *ret_at = parser_take(parser).kind == TOKEN_START ? AT_START : AT_END;
    if (parser_accept(parser, TOKEN_LEFT_PAREN) && parser_accept(parser, TOKEN_RIGHT_PAREN))
        return true;
    parser_unexpected(parser, "@", "timestamp");
    return false;
}

/* A number with or without a sign, in seconds. */
static bool parse_at_time(struct parser *parser, const struct ast *ast, int64_t *ret_ms)
{
    bool negative = parser_accept(parser, TOKEN_SUB);
    double seconds;
    if (!negative)
        parser_accept(parser, TOKEN_ADD);
    if (parser_peek(parser) != TOKEN_NUMBER) {
        parser_unexpected(parser, "@", "timestamp");
        return false;
    }
    struct token token = parser_take(parser);
    if (!parser_number(parser, &token, &seconds))
        return false;
    seconds = negative ? -seconds : seconds;
    if (!(fabs(seconds) <= PARSER_AT_SECONDS_MAX)) {
        char shown[400]; /* %f of the largest double has 309 digits */
        snprintf(shown, sizeof(shown), "%f", seconds);
        const char *infinite = seconds < 0 ? "-Inf" : "+Inf";
        parser_fail(parser, ast->position, "timestamp out of bounds for @ modifier: %s",
                    isnan(seconds)   ? "NaN"
                    : isinf(seconds) ? infinite
                                     : shown);
        return false;
    }
    *ret_ms = llround(seconds * 1000);
    return true;
}

static struct ast *parse_at(struct parser *parser, struct ast *ast)
{
    enum ast_at at = AT_TIME;
    int64_t at_ms = 0;
    parser_take(parser);
    enum token_kind kind = parser_peek(parser);
    bool is_word = kind == TOKEN_START || kind == TOKEN_END_WORD;
    if (is_word ? !parse_at_word(parser, &at) : !parse_at_time(parser, ast, &at_ms))
        return NULL;
    if (!takes_modifiers(ast))
        return parser_fail(parser, ast->position,
                           "@ modifier must be preceded by an instant vector selector or range vector selector or a "
                           "subquery");
    if (ast->at != AT_NONE)
        return parser_fail(parser, ast->position, "@ <timestamp> may not be set multiple times");
    ast->at = at;
    ast->at_ms = at_ms;
    ast->position.end = parser->last_end;
    return ast;
}

static struct ast *parse_with_suffixes(struct parser *parser)
{
    struct ast *ast = parse_operand(parser);
    while (ast) {
        switch (parser_peek(parser)) {
        case TOKEN_LEFT_BRACKET:
            ast = parse_range(parser, ast);
            break;
        case TOKEN_OFFSET:
            ast = parse_offset(parser, ast);
            break;
        case TOKEN_AT:
            ast = parse_at(parser, ast);
            break;
        case TOKEN_ERROR:
            return NULL;
        default:
            return ast;
        }
    }
    return NULL;
}

/* ---- Operators -----------------------------------------------------------------------------------------------------
 */

static struct ast *parse_signed(struct parser *parser)
{
    enum token_kind kind = parser_peek(parser);
    if (kind != TOKEN_ADD && kind != TOKEN_SUB)
        return parse_with_suffixes(parser);
    struct token sign = parser_take(parser);
    struct ast *inner = parse_expression(parser, PRECEDENCE_POWER);
    if (!inner)
        return NULL;
    if (inner->kind == AST_NUMBER) {
        inner->number = kind == TOKEN_SUB ? -inner->number : inner->number;
        inner->position.start = sign.start;
        return inner;
    }
    struct ast *node = new_node(parser, AST_UNARY, inner, NULL);
    if (!node)
        return NULL;
    node->unary.negative = kind == TOKEN_SUB;
    node->unary.inner = inner;
    node->position = (struct ast_position){sign.start, inner->position.end};
    return node;
}

struct binary_modifiers {
    bool return_bool;
    bool on;
    enum ast_card card;
    struct ast_names matching;
    struct ast_names include;
};

/* bool on (...) group_left (...), all of which may be absent. */
static bool parse_modifiers(struct parser *parser, struct binary_modifiers *ret_modifiers)
{
    *ret_modifiers = (struct binary_modifiers){.return_bool = parser_accept(parser, TOKEN_BOOL)};
    enum token_kind kind = parser_peek(parser);
    if (kind != TOKEN_ON && kind != TOKEN_IGNORING)
        return kind != TOKEN_ERROR;
    parser_take(parser);
    ret_modifiers->on = kind == TOKEN_ON;
    if (!parser_names(parser, &ret_modifiers->matching))
        return false;
    kind = parser_peek(parser);
    if (kind != TOKEN_GROUP_LEFT && kind != TOKEN_GROUP_RIGHT)
        return kind != TOKEN_ERROR;
    parser_take(parser);
    ret_modifiers->card = kind == TOKEN_GROUP_LEFT ? CARD_MANY_TO_ONE : CARD_ONE_TO_MANY;
    enum token_kind next = parser_peek(parser);
    if (starts_operand(next) && next != TOKEN_LEFT_PAREN)
        return true;
    return parser_names(parser, &ret_modifiers->include);
}

static struct ast *parse_binary(struct parser *parser, struct ast *left)
{
    struct token op = parser_take(parser);
    struct binary_modifiers modifiers;
    int precedence = token_precedence(op.kind);
    if (!parse_modifiers(parser, &modifiers))
        return NULL;
    struct ast *right = parse_expression(parser, precedence == PRECEDENCE_POWER ? precedence : precedence + 1);
    if (!right)
        return NULL;
    struct ast *node = new_node(parser, AST_BINARY, left, right);
    if (!node)
        return NULL;
    node->position = (struct ast_position){left->position.start, right->position.end};
    node->binary.op = OP_ADD + (op.kind - TOKEN_ADD);
    node->binary.op_position = token_place(&op);
    node->binary.left = left;
    node->binary.right = right;
    node->binary.return_bool = modifiers.return_bool;
    node->binary.on = modifiers.on;
    node->binary.card = modifiers.card;
    node->binary.matching = modifiers.matching;
    node->binary.include = modifiers.include;
    return node;
}

static struct ast *parse_expression(struct parser *parser, int precedence_min)
{
    if (!count_depth(parser, ++parser->depth))
        return NULL;
    struct ast *left = parse_signed(parser);
    while (left) {
        int precedence = token_precedence(parser_peek(parser));
        if (precedence == 0 || precedence < precedence_min)
            break;
        left = parse_binary(parser, left);
    }
    parser->depth--;
    return parser->failed ? NULL : left;
}

/* ---- The whole text ------------------------------------------------------------------------------------------------
 */

static struct ast *parse_text(struct parser *parser)
{
    if (parser_peek(parser) == TOKEN_END)
        return parser_fail(parser, (struct ast_position){0, 0}, "no expression found in input");
    return parse_expression(parser, PRECEDENCE_LOWEST);
}

static struct ast *parse_selector_text(struct parser *parser)
{
    if (parser_peek(parser) == TOKEN_LEFT_BRACE)
        return parse_vector_selector(parser, NULL);
    if (!token_is_metric_name(parser_peek(parser)))
        return parser_unexpected(parser, "", "");
    struct token name = parser_take(parser);
    return parse_vector_selector(parser, &name);
}

static int parse(struct str text, struct ast *(*rule)(struct parser *parser), struct promql_error *ret_error,
                 struct promql_expression **ret_expression)
{
    CLEANUP(promql_expression_freep) struct promql_expression *expression = mem_zalloc(sizeof(*expression));
    arena_init(&expression->arena, PROMQL_BYTES_MAX);
    if (text.len > PROMQL_TEXT_BYTES_MAX) {
        promql_error_set(ret_error, (struct ast_position){0, 0}, "expression is longer than %zu bytes",
                         PROMQL_TEXT_BYTES_MAX);
        return -EINVAL;
    }
    struct parser parser = {.expression = expression, .error = ret_error};
    lex_init(&parser.lexer, arena_str(&expression->arena, text));
    expression->root = rule(&parser);
    if (expression->root && parser_peek(&parser) != TOKEN_END)
        parser_unexpected(&parser, "", "");
    if (!expression->root || parser.failed)
        return -EINVAL;
    int result = promql_check(expression->root, ret_error);
    if (result < 0)
        return result;
    *ret_expression = STEAL(expression);
    return 0;
}

int promql_parse(struct str text, struct promql_error *ret_error, struct promql_expression **ret_expression)
{
    return parse(text, parse_text, ret_error, ret_expression);
}

int promql_parse_selector(struct str text, struct promql_error *ret_error, struct promql_expression **ret_expression)
{
    return parse(text, parse_selector_text, ret_error, ret_expression);
}

void promql_expression_free(struct promql_expression *expression)
{
    if (!expression)
        return;
    for (struct parser_regex *regex = expression->regexes; regex; regex = regex->next)
        matcher_done(&regex->matcher);
    arena_done(&expression->arena);
    mem_free(expression);
}

const struct ast *promql_expression_root(const struct promql_expression *expression)
{
    return expression->root;
}

size_t promql_expression_bytes(const struct promql_expression *expression)
{
    size_t bytes = sizeof(*expression) + expression->arena.used_bytes;
    for (const struct parser_regex *regex = expression->regexes; regex; regex = regex->next)
        bytes += matcher_bytes_max(&regex->matcher);
    return bytes;
}
