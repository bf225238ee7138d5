#include "promql/lex.h"

#include "base/quote.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#define SHOWN_BYTES_MAX 96 /* of a text quoted in an error */
#define SHOWN_RUNES_MAX 10 /* of a string, number or duration quoted in an error; as Prometheus' %.10q */
#define END_RUNE        (QUOTE_BAD_RUNE - 1)

static const struct keyword {
    const char *word;
    enum token_kind kind;
} keywords[] = {
    {"and", TOKEN_AND},
    {"or", TOKEN_OR},
    {"unless", TOKEN_UNLESS},
    {"atan2", TOKEN_ATAN2},
    {"sum", TOKEN_SUM},
    {"avg", TOKEN_AVG},
    {"count", TOKEN_COUNT},
    {"min", TOKEN_MIN},
    {"max", TOKEN_MAX},
    {"group", TOKEN_GROUP},
    {"stddev", TOKEN_STDDEV},
    {"stdvar", TOKEN_STDVAR},
    {"topk", TOKEN_TOPK},
    {"bottomk", TOKEN_BOTTOMK},
    {"count_values", TOKEN_COUNT_VALUES},
    {"quantile", TOKEN_QUANTILE},
    {"offset", TOKEN_OFFSET},
    {"by", TOKEN_BY},
    {"without", TOKEN_WITHOUT},
    {"on", TOKEN_ON},
    {"ignoring", TOKEN_IGNORING},
    {"group_left", TOKEN_GROUP_LEFT},
    {"group_right", TOKEN_GROUP_RIGHT},
    {"bool", TOKEN_BOOL},
    {"start", TOKEN_START},
    {"end", TOKEN_END_WORD},
    {"inf", TOKEN_NUMBER},
    {"nan", TOKEN_NUMBER},
};

static bool is_digit(uint32_t rune)
{
    return rune >= '0' && rune <= '9';
}

static bool is_alpha(uint32_t rune)
{
    return rune == '_' || (rune >= 'a' && rune <= 'z') || (rune >= 'A' && rune <= 'Z');
}

static bool is_word(uint32_t rune)
{
    return is_alpha(rune) || is_digit(rune);
}

static bool is_space(uint32_t rune)
{
    return rune == ' ' || rune == '\t' || rune == '\n' || rune == '\r';
}

void lex_init(struct lexer *lexer, struct str text)
{
    *lexer = (struct lexer){.text = text};
}

/* The code point at the place, END_RUNE behind the text; its length is added to the place by next_rune. */
static uint32_t peek_rune(const struct lexer *lexer, size_t *ret_len)
{
    uint32_t rune = END_RUNE;
    const char *base = lexer->text.len ? lexer->text.ptr : "";
    *ret_len = quote_rune_of(base + lexer->at, base + lexer->text.len, &rune);
    return rune;
}

static uint32_t next_rune(struct lexer *lexer)
{
    size_t len;
    uint32_t rune = peek_rune(lexer, &len);
    lexer->at += len;
    return rune;
}

static uint32_t peek(const struct lexer *lexer)
{
    size_t len;
    return peek_rune(lexer, &len);
}

/* Takes one character of the set, if it stands here. */
static bool accept(struct lexer *lexer, const char *set)
{
    uint32_t rune = peek(lexer);
    if (rune == 0 || rune > 0x7f || !strchr(set, (int)rune))
        return false;
    lexer->at++;
    return true;
}

static void accept_run(struct lexer *lexer, const char *set)
{
    while (accept(lexer, set)) {
    }
}

static enum token_kind PRINTF_LIKE(2, 3) fail(struct lexer *lexer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(lexer->error, sizeof(lexer->error), format, args);
    va_end(args);
    return TOKEN_ERROR;
}

static enum token_kind fail_rune(struct lexer *lexer, const char *what, uint32_t rune)
{
    CLEANUP(buf_done) struct buf shown = BUF_INIT(64);
    quote_print_rune(rune == END_RUNE ? QUOTE_BAD_RUNE : rune, &shown);
    return fail(lexer, "%s" STR_FMT, what, STR_ARG(buf_view(&shown)));
}

/* With the text of the token so far. */
static enum token_kind fail_text(struct lexer *lexer, const char *what)
{
    CLEANUP(buf_done) struct buf shown = BUF_INIT(8 * SHOWN_BYTES_MAX);
    quote_print(str_of(lexer->text.ptr + lexer->start, MIN(lexer->at - lexer->start, SHOWN_BYTES_MAX)), &shown);
    return fail(lexer, "%s" STR_FMT, what, STR_ARG(buf_view(&shown)));
}

/* True when a whole number stands here; it need not be a valid one (0x, 1e): who reads its value sees. False when
 * letters follow it; then it may be the beginning of a duration. */
static bool scan_number(struct lexer *lexer)
{
    const char *digits = "0123456789";
    if (accept(lexer, "0") && accept(lexer, "xX"))
        digits = "0123456789abcdefABCDEF";
    accept_run(lexer, digits);
    if (accept(lexer, "."))
        accept_run(lexer, digits);
    if (accept(lexer, "eE")) {
        accept(lexer, "+-");
        accept_run(lexer, "0123456789");
    }
    return !is_word(peek(lexer));
}

/* Behind the first number of a duration. Units in a wrong order (1s1m, 1hs) are found by who reads the value. */
static bool scan_duration_rest(struct lexer *lexer)
{
    if (!accept(lexer, "smhdwy"))
        return false;
    accept(lexer, "s");
    while (accept(lexer, "0123456789")) {
        accept_run(lexer, "0123456789");
        if (!accept(lexer, "smhdw"))
            return false;
        accept(lexer, "s");
    }
    if (!is_word(peek(lexer)))
        return true;
    next_rune(lexer); /* the error shows the first character too much, as Prometheus' does */
    return false;
}

static enum token_kind lex_range(struct lexer *lexer)
{
    if (scan_number(lexer))
        return fail(lexer, "missing unit character in duration");
    if (!scan_duration_rest(lexer))
        return fail_text(lexer, "bad duration syntax: ");
    return TOKEN_DURATION;
}

static enum token_kind lex_number_or_duration(struct lexer *lexer)
{
    if (scan_number(lexer))
        return TOKEN_NUMBER;
    if (!scan_duration_rest(lexer))
        return fail_text(lexer, "bad number or duration syntax: ");
    return TOKEN_DURATION;
}

static enum token_kind lex_word(struct lexer *lexer)
{
    bool colon = lexer->text.ptr[lexer->start] == ':';
    for (uint32_t rune; rune = peek(lexer), is_word(rune) || rune == ':'; lexer->at++)
        colon |= rune == ':';
    struct str word = str_of(lexer->text.ptr + lexer->start, lexer->at - lexer->start);
    for (size_t i = 0; i < ARRAY_LEN(keywords); i++) {
        if (strlen(keywords[i].word) == word.len && strncasecmp(keywords[i].word, word.ptr, word.len) == 0)
            return keywords[i].kind;
    }
    return colon ? TOKEN_METRIC_IDENTIFIER : TOKEN_IDENTIFIER;
}

static enum token_kind fail_escape(struct lexer *lexer, const char *before, uint32_t rune, const char *after)
{
    char bytes[4];
    uint32_t shown = rune == QUOTE_BAD_RUNE ? 0xfffd : rune;
    if (rune == END_RUNE)
        return fail(lexer, "escape sequence not terminated");
    if (!quote_rune_is_print(shown))
        return fail(lexer, "%sU+%04X%s", before, shown, after);
    return fail(lexer, "%sU+%04X '%.*s'%s", before, shown, (int)utf8_encode(shown, bytes), bytes, after);
}

/* Behind the backslash. TOKEN_STRING: the escape is well formed. */
static enum token_kind lex_escape(struct lexer *lexer, uint32_t quote)
{
    uint32_t rune = next_rune(lexer);
    if (rune == quote || (rune < 0x80 && rune && strchr("abfnrtv\\", (int)rune)))
        return TOKEN_STRING;
    bool octal = rune >= '0' && rune <= '7';
    if (!octal && rune != 'x' && rune != 'u' && rune != 'U')
        return fail_escape(lexer, "unknown escape sequence ", rune, "");
    uint32_t value = octal ? rune - '0' : 0;
    uint32_t base = octal ? 8 : 16;
    uint32_t value_max = octal || rune == 'x' ? 0xff : 0x10ffff;
    for (int digits = octal || rune == 'x' ? 2 : rune == 'u' ? 4 : 8; digits > 0; digits--) {
        uint32_t digit = next_rune(lexer);
        uint32_t digit_value = is_digit(digit)                ? digit - '0'
                               : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                               : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                                              : 16;
        if (digit_value >= base)
            return fail_escape(lexer, "illegal character ", digit, " in escape sequence");
        value = value * base + digit_value;
    }
    if (value > value_max || (value >= 0xd800 && value < 0xe000))
        return fail(lexer, "escape sequence is an invalid Unicode code point");
    return TOKEN_STRING;
}

/* Behind the opening quote. */
static enum token_kind lex_string(struct lexer *lexer, uint32_t quote)
{
    bool raw = quote == '`';
    for (;;) {
        uint32_t rune = next_rune(lexer);
        if (rune == quote)
            return TOKEN_STRING;
        if (rune == QUOTE_BAD_RUNE)
            return fail(lexer, "invalid UTF-8 rune");
        if (rune == END_RUNE || (rune == '\n' && !raw))
            return fail(lexer, raw ? "unterminated raw string" : "unterminated quoted string");
        if (rune == '\\' && !raw && lex_escape(lexer, quote) == TOKEN_ERROR)
            return TOKEN_ERROR;
    }
}

/* kind when `second` follows, else the other. */
static enum token_kind one_or_two(struct lexer *lexer, const char *second, enum token_kind both, enum token_kind alone)
{
    return accept(lexer, second) ? both : alone;
}

static enum token_kind lex_in_braces(struct lexer *lexer, uint32_t rune)
{
    if (is_alpha(rune)) {
        while (is_word(peek(lexer)))
            lexer->at++;
        return TOKEN_IDENTIFIER;
    }
    switch (rune) {
    case END_RUNE:
        return fail(lexer, "unexpected end of input inside braces");
    case ',':
        return TOKEN_COMMA;
    case '"':
    case '\'':
    case '`':
        return lex_string(lexer, rune);
    case '=':
        return one_or_two(lexer, "~", TOKEN_EQL_REGEX, TOKEN_EQL);
    case '!':
        rune = next_rune(lexer);
        if (rune != '~' && rune != '=')
            return fail_rune(lexer, "unexpected character after '!' inside braces: ", rune);
        return rune == '~' ? TOKEN_NEQ_REGEX : TOKEN_NEQ;
    case '{':
        return fail_rune(lexer, "unexpected left brace ", rune);
    case '}':
        lexer->brace_open = false;
        return TOKEN_RIGHT_BRACE;
    default:
        return fail_rune(lexer, "unexpected character inside braces: ", rune);
    }
}

static enum token_kind lex_end(struct lexer *lexer)
{
    if (lexer->paren_depth > 0)
        return fail(lexer, "unclosed left parenthesis");
    if (lexer->bracket_open)
        return fail(lexer, "unclosed left bracket");
    return TOKEN_END;
}

static enum token_kind lex_right_paren(struct lexer *lexer)
{
    if (lexer->paren_depth == 0) {
        lexer->start = lexer->at; /* Prometheus points behind it */
        return fail(lexer, "unexpected right parenthesis ')'");
    }
    lexer->paren_depth--;
    return TOKEN_RIGHT_PAREN;
}

static enum token_kind lex_bracket(struct lexer *lexer, uint32_t rune)
{
    bool left = rune == '[';
    if (left == lexer->bracket_open)
        return fail_rune(lexer, left ? "unexpected left bracket " : "unexpected right bracket ", rune);
    lexer->bracket_open = left;
    lexer->bracket_just_opened = left;
    lexer->colon_seen = false;
    return left ? TOKEN_LEFT_BRACKET : TOKEN_RIGHT_BRACKET;
}

/* In a bracket a colon stands between range and step. (2.42 takes any letter in its place, foo[5m x], by an oversight.)
 */
static enum token_kind lex_colon(struct lexer *lexer, uint32_t rune)
{
    if (rune != ':')
        return fail_rune(lexer, "unexpected character: ", rune);
    if (lexer->colon_seen)
        return fail_rune(lexer, "unexpected colon ", rune);
    lexer->colon_seen = true;
    return TOKEN_COLON;
}

static enum token_kind lex_operator(struct lexer *lexer, uint32_t rune)
{
    switch (rune) {
    case '*':
        return TOKEN_MUL;
    case '/':
        return TOKEN_DIV;
    case '%':
        return TOKEN_MOD;
    case '+':
        return TOKEN_ADD;
    case '-':
        return TOKEN_SUB;
    case '^':
        return TOKEN_POW;
    case '@':
        return TOKEN_AT;
    case '<':
        return one_or_two(lexer, "=", TOKEN_LTE, TOKEN_LSS);
    case '>':
        return one_or_two(lexer, "=", TOKEN_GTE, TOKEN_GTR);
    case '=':
        if (peek(lexer) == '~')
            return fail_rune(lexer, "unexpected character after '=': ", '~');
        return one_or_two(lexer, "=", TOKEN_EQLC, TOKEN_EQL);
    case '!':
        rune = next_rune(lexer);
        return rune == '=' ? TOKEN_NEQ : fail_rune(lexer, "unexpected character after '!': ", rune);
    default:
        return fail_rune(lexer, "unexpected character: ", rune);
    }
}

static enum token_kind lex_statement(struct lexer *lexer, uint32_t rune)
{
    if (is_digit(rune) || (rune == '.' && is_digit(peek(lexer)))) {
        lexer->at--;
        return lex_number_or_duration(lexer);
    }
    if (is_alpha(rune) || rune == ':')
        return lexer->bracket_open ? lex_colon(lexer, rune) : lex_word(lexer);
    switch (rune) {
    case END_RUNE:
        return lex_end(lexer);
    case ',':
        return TOKEN_COMMA;
    case '"':
    case '\'':
    case '`':
        return lex_string(lexer, rune);
    case '(':
        lexer->paren_depth++;
        return TOKEN_LEFT_PAREN;
    case ')':
        return lex_right_paren(lexer);
    case '{':
        lexer->brace_open = true;
        return TOKEN_LEFT_BRACE;
    case '[':
    case ']':
        return lex_bracket(lexer, rune);
    default:
        return lex_operator(lexer, rune);
    }
}

static void skip_spaces(struct lexer *lexer)
{
    bool comments = !lexer->bracket_just_opened;
    for (;;) {
        uint32_t rune = peek(lexer);
        if (is_space(rune)) {
            lexer->at++;
        } else if (rune == '#' && comments) {
            while (rune = peek(lexer), rune != '\n' && rune != '\r' && rune != END_RUNE)
                next_rune(lexer);
        } else {
            return;
        }
    }
}

void lex_next(struct lexer *lexer, struct token *ret_token)
{
    enum token_kind kind;
    skip_spaces(lexer);
    lexer->start = lexer->at;
    if (lexer->bracket_just_opened) {
        lexer->bracket_just_opened = false;
        kind = lex_range(lexer);
    } else if (lexer->brace_open) {
        kind = lex_in_braces(lexer, next_rune(lexer));
    } else {
        kind = lex_statement(lexer, next_rune(lexer));
    }
    const char *base = lexer->text.len ? lexer->text.ptr : "";
    *ret_token = (struct token){
        .kind = kind,
        .start = (uint32_t)lexer->start,
        .text = str_of(base + lexer->start, lexer->at - lexer->start),
    };
}

int token_precedence(enum token_kind kind)
{
    switch (kind) {
    case TOKEN_OR:
        return 1;
    case TOKEN_AND:
    case TOKEN_UNLESS:
        return 2;
    case TOKEN_EQLC:
    case TOKEN_NEQ:
    case TOKEN_GTR:
    case TOKEN_LSS:
    case TOKEN_GTE:
    case TOKEN_LTE:
        return 3;
    case TOKEN_ADD:
    case TOKEN_SUB:
        return 4;
    case TOKEN_MUL:
    case TOKEN_DIV:
    case TOKEN_MOD:
    case TOKEN_ATAN2:
        return 5;
    case TOKEN_POW:
        return 6;
    default:
        return 0;
    }
}

bool token_is_metric_name(enum token_kind kind)
{
    return kind == TOKEN_IDENTIFIER || kind == TOKEN_METRIC_IDENTIFIER || token_is_aggregation(kind) ||
           (kind >= TOKEN_AND && kind <= TOKEN_UNLESS) || kind == TOKEN_BY || kind == TOKEN_WITHOUT ||
           kind == TOKEN_OFFSET || kind == TOKEN_START || kind == TOKEN_END_WORD;
}

bool token_is_label_name(enum token_kind kind)
{
    return kind == TOKEN_IDENTIFIER || token_is_aggregation(kind) || (kind >= TOKEN_AND && kind <= TOKEN_UNLESS) ||
           kind == TOKEN_ATAN2 || (kind >= TOKEN_BOOL && kind <= TOKEN_END_WORD && kind != TOKEN_WITHOUT);
}

/* The first runes of the text, quoted, with ... where something was left out. */
static void describe_text(const char *what, struct str text, char ret_text[static LEX_ERROR_BYTES])
{
    CLEANUP(buf_done) struct buf shown = BUF_INIT(LEX_ERROR_BYTES);
    size_t bytes = 0;
    for (size_t runes = 0; runes < SHOWN_RUNES_MAX && bytes < text.len; runes++) {
        uint32_t rune;
        bytes += quote_rune_of(text.ptr + bytes, text.ptr + text.len, &rune);
    }
    quote_print(str_of(text.ptr, bytes), &shown);
    snprintf(ret_text, LEX_ERROR_BYTES, "%s" STR_FMT "%s", what, STR_ARG(buf_view(&shown)),
             text.len > SHOWN_RUNES_MAX ? "..." : "");
}

void token_describe(const struct token *token, char ret_text[static LEX_ERROR_BYTES])
{
    struct str shown = str_of(token->text.ptr, MIN(token->text.len, SHOWN_BYTES_MAX));
    switch (token->kind) {
    case TOKEN_END:
        snprintf(ret_text, LEX_ERROR_BYTES, "end of input");
        return;
    case TOKEN_IDENTIFIER:
        snprintf(ret_text, LEX_ERROR_BYTES, "identifier \"" STR_FMT "\"", STR_ARG(shown));
        return;
    case TOKEN_METRIC_IDENTIFIER:
        snprintf(ret_text, LEX_ERROR_BYTES, "metric identifier \"" STR_FMT "\"", STR_ARG(shown));
        return;
    case TOKEN_STRING:
        describe_text("string ", token->text, ret_text);
        return;
    case TOKEN_NUMBER:
        describe_text("number ", token->text, ret_text);
        return;
    case TOKEN_DURATION:
        describe_text("duration ", token->text, ret_text);
        return;
    default:
        break;
    }
    const char *form = "\"" STR_FMT "\"";
    if (token->kind >= TOKEN_BOOL && token->kind < TOKEN_START)
        form = "<" STR_FMT ">";
    else if (token_is_aggregation(token->kind))
        form = "<aggr:" STR_FMT ">";
    else if (token_precedence(token->kind) > 0 || token->kind == TOKEN_AT || token->kind == TOKEN_EQL_REGEX ||
             token->kind == TOKEN_NEQ_REGEX)
        form = "<op:" STR_FMT ">";
    snprintf(ret_text, LEX_ERROR_BYTES, form, STR_ARG(shown));
}
