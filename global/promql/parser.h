#pragma once
/* What the rules of parse.c stand on: one token ahead, the first error, memory, and the lists between braces and
 * parentheses. Private to the parser. */
#include "promql/error.h"
#include "promql/lex.h"

#define PARSER_SHOWN_BYTES_MAX 96   /* of a text quoted in an error */
#define PARSER_AT_SECONDS_MAX  1e12 /* of @: 31,700 years; in milliseconds still exact in a double, with room */

/* The regexes of an expression; they live outside its arena. */
struct parser_regex {
    struct matcher matcher; /* a copy; the tree's has the same regex and does not own it */
    struct parser_regex *next;
};

struct promql_expression {
    struct arena arena; /* the text, the nodes and all their lists */
    struct ast *root;
    struct parser_regex *regexes;
    size_t regex_count;
};

struct parser {
    struct promql_expression *expression;
    struct promql_error *error;
    struct lexer lexer;
    struct token token; /* the next one, if it has been read */
    bool token_ready;
    bool failed;                /* error is set; nothing more is read */
    uint32_t last_end;          /* behind the token taken last */
    uint32_t open_aggregations; /* whose parentheses stand open here: unexpected tokens are "in aggregation" */
    size_t depth;               /* parse_expression within parse_expression */
    size_t node_count;
};

static inline struct ast_position token_place(const struct token *token)
{
    return (struct ast_position){token->start, token->start + (uint32_t)token->text.len};
}
/* Of the next token. */
struct ast_position parser_place(struct parser *parser);

/* The kind of the next token; TOKEN_ERROR once the parser has failed. */
enum token_kind parser_peek(struct parser *parser);
struct token parser_take(struct parser *parser);
bool parser_accept(struct parser *parser, enum token_kind kind);
/* Takes a token of this kind or fails as parser_unexpected does. */
bool parser_expect(struct parser *parser, enum token_kind kind);

/* Both keep the first error and return NULL. */
void *parser_fail(struct parser *parser, struct ast_position position, const char *format, ...) PRINTF_LIKE(3, 4);
void *parser_unexpected(struct parser *parser, const char *where, const char *expected);

/* Room for one more item in an array of the arena that has count items and grew by this alone; zeroed. NULL and failed
 * when the expression has become too large. */
void *parser_grow(struct parser *parser, void *items, size_t count, size_t size);

/* Values of tokens. False: failed. */
bool parser_number(struct parser *parser, const struct token *token, double *ret_value);
bool parser_unquote(struct parser *parser, const struct token *token, struct str *ret_text);
bool parser_duration(struct parser *parser, int64_t *ret_ms); /* takes the token */

/* (a, b,) of by, without, on, ignoring, group_left, group_right. */
bool parser_names(struct parser *parser, struct ast_names *ret_names);
/* {a="b",...}, if it stands here, and the name's matcher, into a selector. name may be NULL. */
bool parser_matchers(struct parser *parser, const struct token *name, struct ast *selector);
