#include "promql/parser.h"

#include "base/quote.h"
#include "promql/literal.h"
#include "promql/parse.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

void *parser_fail(struct parser *parser, struct ast_position position, const char *format, ...)
{
    if (parser->failed)
        return NULL;
    char text[sizeof(parser->error->text) * 2];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    parser->failed = true;
    promql_error_set(parser->error, position, "%s", text);
    return NULL;
}

enum token_kind parser_peek(struct parser *parser)
{
    if (parser->failed)
        return TOKEN_ERROR;
    if (!parser->token_ready) {
        lex_next(&parser->lexer, &parser->token);
        parser->token_ready = true;
        if (parser->token.kind == TOKEN_ERROR)
            parser_fail(parser, (struct ast_position){parser->token.start, (uint32_t)parser->lexer.text.len}, "%s",
                        parser->lexer.error);
    }
    return parser->token.kind;
}

struct ast_position parser_place(struct parser *parser)
{
    parser_peek(parser);
    return token_place(&parser->token);
}

struct token parser_take(struct parser *parser)
{
    parser_peek(parser);
    parser->token_ready = false;
    parser->last_end = token_place(&parser->token).end;
    return parser->token;
}

bool parser_accept(struct parser *parser, enum token_kind kind)
{
    if (parser_peek(parser) != kind)
        return false;
    parser_take(parser);
    return true;
}

bool parser_expect(struct parser *parser, enum token_kind kind)
{
    if (parser_accept(parser, kind))
        return true;
    parser_unexpected(parser, "", "");
    return false;
}

void *parser_unexpected(struct parser *parser, const char *where, const char *expected)
{
    char shown[LEX_ERROR_BYTES];
    if (parser_peek(parser) == TOKEN_ERROR)
        return NULL;
    if (!*where && parser->open_aggregations > 0)
        where = "aggregation";
    token_describe(&parser->token, shown);
    return parser_fail(parser, token_place(&parser->token), "unexpected %s%s%s%s%s", shown, *where ? " in " : "", where,
                       *expected ? ", expected " : "", expected);
}

void *parser_grow(struct parser *parser, void *items, size_t count, size_t size)
{
    /* Room for 1, 2, 4, 8 ... items: it is full when count is a power of two. */
    if (count > 0 && (count & (count - 1)) != 0)
        return items;
    char *grown = arena_array(&parser->expression->arena, count ? 2 * count : 1, size);
    if (!grown)
        return parser_fail(parser, parser_place(parser), "expression needs more than %zu MiB", PROMQL_BYTES_MAX / MIB);
    if (count > 0)
        memcpy(grown, items, count * size);
    return grown;
}

/* The token's text as %q writes it, cut where it is long. */
static struct str quote_token(const struct token *token, struct buf *shown)
{
    quote_print(str_of(token->text.ptr, MIN(token->text.len, PARSER_SHOWN_BYTES_MAX)), shown);
    return buf_view(shown);
}

bool parser_number(struct parser *parser, const struct token *token, double *ret_value)
{
    int result = literal_number(token->text, ret_value);
    if (result == 0)
        return true;
    CLEANUP(buf_done) struct buf shown = BUF_INIT(8 * PARSER_SHOWN_BYTES_MAX);
    struct str text = quote_token(token, &shown);
    parser_fail(parser, token_place(token), "error parsing number: strconv.ParseFloat: parsing " STR_FMT ": %s",
                STR_ARG(text), result == -ERANGE ? "value out of range" : "invalid syntax");
    return false;
}

bool parser_duration(struct parser *parser, int64_t *ret_ms)
{
    char error[256];
    struct token token = parser_take(parser);
    if (literal_duration_ms(token.text, error, ret_ms) == 0)
        return true;
    parser_fail(parser, token_place(&token), "%s", error);
    return false;
}

bool parser_unquote(struct parser *parser, const struct token *token, struct str *ret_text)
{
    char *text = parser_grow(parser, NULL, 0, token->text.len);
    size_t len;
    if (!text)
        return false;
    if (quote_undo(token->text, text, &len) < 0) {
        CLEANUP(buf_done) struct buf shown = BUF_INIT(8 * PARSER_SHOWN_BYTES_MAX);
        struct str literal = quote_token(token, &shown);
        parser_fail(parser, token_place(token), "error unquoting string " STR_FMT ": invalid syntax", STR_ARG(literal));
        return false;
    }
    *ret_text = str_of(text, len);
    return true;
}

bool parser_names(struct parser *parser, struct ast_names *ret_names)
{
    if (!parser_accept(parser, TOKEN_LEFT_PAREN)) {
        parser_unexpected(parser, "grouping opts", "\"(\"");
        return false;
    }
    *ret_names = (struct ast_names){0};
    if (parser_accept(parser, TOKEN_RIGHT_PAREN))
        return true;
    for (;;) {
        if (!token_is_label_name(parser_peek(parser))) {
            parser_unexpected(parser, "grouping opts", "label");
            return false;
        }
        struct token name = parser_take(parser);
        if (ret_names->count == PROMQL_LIST_MAX) {
            parser_fail(parser, token_place(&name), "more than %d labels in one list", PROMQL_LIST_MAX);
            return false;
        }
        ret_names->items = parser_grow(parser, ret_names->items, ret_names->count, sizeof(*ret_names->items));
        if (!ret_names->items)
            return false;
        ret_names->items[ret_names->count++] = name.text;
        bool comma = parser_accept(parser, TOKEN_COMMA);
        if (parser_accept(parser, TOKEN_RIGHT_PAREN))
            return true;
        if (!comma) {
            parser_unexpected(parser, "grouping opts", "\",\" or \")\"");
            return false;
        }
    }
}

static bool add_matcher(struct parser *parser, struct ast *selector, const struct matcher *matcher)
{
    if (selector->selector.matcher_count == PROMQL_LIST_MAX) {
        parser_fail(parser, parser_place(parser), "more than %d matchers in one selector", PROMQL_LIST_MAX);
        return false;
    }
    selector->selector.matchers = parser_grow(parser, selector->selector.matchers, selector->selector.matcher_count,
                                              sizeof(*selector->selector.matchers));
    if (!selector->selector.matchers)
        return false;
    selector->selector.matchers[selector->selector.matcher_count++] = *matcher;
    return true;
}

/* Gives the expression the matcher's regex to free. */
static bool own_regex(struct parser *parser, struct matcher *matcher)
{
    struct promql_expression *expression = parser->expression;
    struct parser_regex *regex = parser_grow(parser, NULL, 0, sizeof(*regex));
    if (!regex) {
        matcher_done(matcher);
        return false;
    }
    *regex = (struct parser_regex){.matcher = *matcher, .next = expression->regexes};
    expression->regexes = regex;
    expression->regex_count++;
    return true;
}

/* name OP "value" */
static bool parse_matcher(struct parser *parser, struct ast *selector)
{
    if (parser_peek(parser) != TOKEN_IDENTIFIER) {
        parser_unexpected(parser, "label matching", "identifier or \"}\"");
        return false;
    }
    struct token name = parser_take(parser);
    enum matcher_type type;
    switch (parser_peek(parser)) {
    case TOKEN_EQL:
        type = MATCH_EQUAL;
        break;
    case TOKEN_NEQ:
        type = MATCH_NOT_EQUAL;
        break;
    case TOKEN_EQL_REGEX:
        type = MATCH_REGEX;
        break;
    case TOKEN_NEQ_REGEX:
        type = MATCH_NOT_REGEX;
        break;
    default:
        parser_unexpected(parser, "label matching", "label matching operator");
        return false;
    }
    parser_take(parser);
    if (parser_peek(parser) != TOKEN_STRING) {
        parser_unexpected(parser, "label matching", "string");
        return false;
    }
    struct token literal = parser_take(parser);
    struct ast_position place = {name.start, parser->last_end};
    struct matcher matcher;
    struct str value;
    char error[256];
    if (!parser_unquote(parser, &literal, &value))
        return false;
    bool regex = type == MATCH_REGEX || type == MATCH_NOT_REGEX;
    if (regex && parser->expression->regex_count == PROMQL_REGEXES_MAX) {
        parser_fail(parser, place, "expression has more than %d regular expressions", PROMQL_REGEXES_MAX);
        return false;
    }
    if (matcher_init(&matcher, type, name.text, value, error) < 0) {
        parser_fail(parser, place, "error parsing regexp: %s", error);
        return false;
    }
    return (!regex || own_regex(parser, &matcher)) && add_matcher(parser, selector, &matcher);
}

static bool parse_braces(struct parser *parser, struct ast *selector)
{
    parser_take(parser);
    if (parser_accept(parser, TOKEN_RIGHT_BRACE))
        return true;
    while (parse_matcher(parser, selector)) {
        bool comma = parser_accept(parser, TOKEN_COMMA);
        if (parser_accept(parser, TOKEN_RIGHT_BRACE))
            return true;
        if (!comma) {
            parser_unexpected(parser, "label matching", "\",\" or \"}\"");
            return false;
        }
    }
    return false;
}

bool parser_matchers(struct parser *parser, const struct token *name, struct ast *selector)
{
    if (parser_peek(parser) == TOKEN_LEFT_BRACE && !parse_braces(parser, selector))
        return false;
    if (parser->failed || !name)
        return !parser->failed;
    struct matcher matcher = {.type = MATCH_EQUAL, .name = STR(LABEL_NAME), .value = name->text};
    return add_matcher(parser, selector, &matcher);
}
