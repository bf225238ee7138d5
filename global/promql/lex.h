#pragma once
/* Cuts the text of an expression into tokens, as Prometheus 2.42 does (promql/parser/lex.go): what a character means
 * depends on whether braces or a bracket are open. Comments and spaces are skipped. */
#include "base/str.h"

#define LEX_ERROR_BYTES 256

enum token_kind {
    TOKEN_END, /* of the text */
    TOKEN_ERROR,
    TOKEN_IDENTIFIER,
    TOKEN_METRIC_IDENTIFIER, /* with a colon */
    TOKEN_STRING,            /* with its quotes */
    TOKEN_NUMBER,
    TOKEN_DURATION,
    /* Punctuation. */
    TOKEN_LEFT_PAREN,
    TOKEN_RIGHT_PAREN,
    TOKEN_LEFT_BRACE,
    TOKEN_RIGHT_BRACE,
    TOKEN_LEFT_BRACKET,
    TOKEN_RIGHT_BRACKET,
    TOKEN_COMMA,
    TOKEN_COLON,
    TOKEN_EQL, /* = */
    TOKEN_EQL_REGEX,
    TOKEN_NEQ_REGEX,
    TOKEN_AT,
    /* Binary operators; the first in the order of enum ast_operator. */
    TOKEN_ADD,
    TOKEN_SUB,
    TOKEN_MUL,
    TOKEN_DIV,
    TOKEN_MOD,
    TOKEN_POW,
    TOKEN_ATAN2,
    TOKEN_EQLC, /* == */
    TOKEN_NEQ,  /* also in braces */
    TOKEN_GTR,
    TOKEN_LSS,
    TOKEN_GTE,
    TOKEN_LTE,
    TOKEN_AND,
    TOKEN_OR,
    TOKEN_UNLESS,
    /* Aggregations, in the order of enum ast_aggregation. */
    TOKEN_SUM,
    TOKEN_AVG,
    TOKEN_COUNT,
    TOKEN_MIN,
    TOKEN_MAX,
    TOKEN_GROUP,
    TOKEN_STDDEV,
    TOKEN_STDVAR,
    TOKEN_TOPK,
    TOKEN_BOTTOMK,
    TOKEN_COUNT_VALUES,
    TOKEN_QUANTILE,
    /* Keywords, not case-sensitive. */
    TOKEN_BOOL,
    TOKEN_BY,
    TOKEN_GROUP_LEFT,
    TOKEN_GROUP_RIGHT,
    TOKEN_IGNORING,
    TOKEN_OFFSET,
    TOKEN_ON,
    TOKEN_WITHOUT,
    TOKEN_START,
    TOKEN_END_WORD, /* end */
};

struct token {
    enum token_kind kind;
    uint32_t start; /* byte offset */
    struct str text;
};

struct lexer {
    struct str text;
    size_t at;
    size_t start; /* of the token being read */
    uint32_t paren_depth;
    bool brace_open;
    bool bracket_open;
    bool bracket_just_opened; /* a duration must follow */
    bool colon_seen;          /* in this bracket */
    char error[LEX_ERROR_BYTES];
};

/* The text must outlive the lexer and its tokens; at most UINT32_MAX bytes. */
void lex_init(struct lexer *lexer, struct str text);
/* The next token. TOKEN_ERROR: lexer->error says why, token->start where; do not call again. At the end TOKEN_END again
 * and again. */
void lex_next(struct lexer *lexer, struct token *ret_token);

/* 1 (or) to 6 (^); 0: no binary operator. */
int token_precedence(enum token_kind kind);
static inline bool token_is_aggregation(enum token_kind kind)
{
    return kind >= TOKEN_SUM && kind <= TOKEN_QUANTILE;
}
bool token_is_metric_name(enum token_kind kind); /* identifiers, and keywords that may name a metric */
bool token_is_label_name(enum token_kind kind);  /* in by (), on () ...; an identifier, or a keyword that may be one */
/* As errors name it: identifier "foo", <by>, <op:+>, end of input. */
void token_describe(const struct token *token, char ret_text[static LEX_ERROR_BYTES]);
