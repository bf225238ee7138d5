#include "metric/selector.h"
#include "base/arena.h"
#include "base/fail.h"
#include "base/quote.h"

#include <errno.h>
#include <stdio.h>

struct owned_selector {
    struct selector selector; /* first: a selector is its owner */
    struct arena arena;       /* names and values */
    struct matcher matchers[SELECTOR_MATCHERS_MAX];
};

struct parse {
    struct str text;
    size_t at;
    struct owned_selector *owner;
    char *error; /* 256 bytes */
    size_t error_at;
};

static int fail_at(struct parse *parse, size_t at, const char *text)
{
    snprintf(parse->error, 256, "%s", text);
    parse->error_at = at;
    return -EINVAL;
}

static void skip_blank(struct parse *parse)
{
    while (parse->at < parse->text.len && parse->text.ptr[parse->at] && strchr(" \t\r\n", parse->text.ptr[parse->at]))
        parse->at++;
}

/* The byte that comes next, blanks apart; 0 at the end. */
static char peek(struct parse *parse)
{
    skip_blank(parse);
    return parse->at < parse->text.len ? parse->text.ptr[parse->at] : 0;
}

static bool is_name_byte(char byte, bool colon)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           byte == '_' || (colon && byte == ':');
}

static struct str take_name(struct parse *parse, bool colon)
{
    skip_blank(parse);
    size_t start = parse->at;
    while (parse->at < parse->text.len && is_name_byte(parse->text.ptr[parse->at], colon))
        parse->at++;
    return str_of(parse->text.ptr + start, parse->at - start);
}

/* ---- strings ---- */

/* The literal that begins at the quote: up to its twin that no backslash hides; empty where there is none. */
static struct str find_literal(struct str text, char quote)
{
    for (size_t end = 1; end < text.len && (text.ptr[end] != '\n' || quote == '`'); end++) {
        if (text.ptr[end] == quote)
            return str_of(text.ptr, end + 1);
        if (text.ptr[end] == '\\' && quote != '`')
            end++;
    }
    return STR_NULL;
}

static int take_string(struct parse *parse, struct str *ret_text)
{
    char quote = peek(parse);
    if (quote != '"' && quote != '\'' && quote != '`')
        return fail_at(parse, parse->at, "expected a string in quotes");
    struct str literal = find_literal(str_of(parse->text.ptr + parse->at, parse->text.len - parse->at), quote);
    if (literal.len == 0)
        return fail_at(parse, parse->at, "the string has no end");
    char *out = arena_alloc(&parse->owner->arena, literal.len);
    size_t len = 0;
    if (quote_undo(literal, out, &len) < 0)
        return fail_at(parse, parse->at, "a backslash in the string begins nothing known");
    *ret_text = str_of(out, len);
    if (!str_is_utf8(*ret_text))
        return fail_at(parse, parse->at, "the string is not UTF-8");
    parse->at += literal.len;
    return 0;
}

/* ---- matchers ---- */

static int add_matcher(struct parse *parse, enum matcher_type type, struct str name, struct str value, size_t value_at)
{
    struct owned_selector *owner = parse->owner;
    if (owner->selector.count == SELECTOR_MATCHERS_MAX)
        return fail_at(parse, value_at, "more matchers than a selector may have");
    int r = matcher_init(&owner->matchers[owner->selector.count], type, arena_str(&owner->arena, name), value,
                         parse->error);
    if (r < 0) {
        parse->error_at = value_at;
        return r;
    }
    owner->selector.count++;
    return 0;
}

static int take_operator(struct parse *parse, enum matcher_type *ret_type)
{
    char first = peek(parse);
    char second = parse->at + 1 < parse->text.len ? parse->text.ptr[parse->at + 1] : 0;
    if (first == '=')
        *ret_type = second == '~' ? MATCH_REGEX : MATCH_EQUAL;
    else if (first == '!' && (second == '=' || second == '~'))
        *ret_type = second == '~' ? MATCH_NOT_REGEX : MATCH_NOT_EQUAL;
    else
        return fail_at(parse, parse->at, "expected one of = != =~ !~");
    parse->at += *ret_type == MATCH_EQUAL ? 1 : 2;
    return 0;
}

static int take_matcher(struct parse *parse)
{
    enum matcher_type type = MATCH_EQUAL;
    struct str value, name = take_name(parse, false);
    if (!label_name_is_valid(name))
        return fail_at(parse, parse->at - name.len, "expected the name of a label");
    int r = take_operator(parse, &type);
    if (r < 0)
        return r;
    skip_blank(parse);
    size_t value_at = parse->at;
    r = take_string(parse, &value);
    return r < 0 ? r : add_matcher(parse, type, name, value, value_at);
}

static int take_braces(struct parse *parse)
{
    parse->at++;
    while (peek(parse) != '}') {
        int r = take_matcher(parse);
        if (r < 0)
            return r;
        if (peek(parse) == ',')
            parse->at++;
        else if (peek(parse) != '}')
            return fail_at(parse, parse->at, "expected a comma or }");
    }
    parse->at++;
    return 0;
}

static int take_selector(struct parse *parse)
{
    int r = 0;
    if (parse->text.len > SELECTOR_BYTES_MAX)
        return fail_at(parse, SELECTOR_BYTES_MAX, "the selector is too long");
    struct str name = take_name(parse, true);
    if (name.len > 0 && !metric_name_is_valid(name))
        return fail_at(parse, parse->at - name.len, "this is no name of a metric");
    if (name.len > 0)
        r = add_matcher(parse, MATCH_EQUAL, STR(LABEL_NAME), arena_str(&parse->owner->arena, name), 0);
    if (r == 0 && peek(parse) == '{')
        r = take_braces(parse);
    if (r < 0)
        return r;
    if (peek(parse) || parse->at < parse->text.len)
        return fail_at(parse, parse->at, "expected a selector, name{label=\"value\"}, and nothing more");
    if (parse->owner->selector.count == 0)
        return fail_at(parse, 0, "the selector names no label; {__name__=~\".+\"} is every series");
    return 0;
}

int selector_new(struct str text, char ret_error[static 256], size_t *ret_offset, struct selector **ret_selector)
{
    struct owned_selector *owner = mem_zalloc(sizeof(*owner));
    CLEANUP(selector_freep) struct selector *selector = &owner->selector;
    struct parse parse = {.text = text, .owner = owner, .error = ret_error};
    arena_init(&owner->arena, 0);
    selector->matchers = owner->matchers;
    int r = take_selector(&parse);
    if (r < 0) {
        *ret_offset = parse.error_at;
        return r;
    }
    *ret_selector = STEAL(selector);
    return 0;
}

void selector_free(struct selector *selector)
{
    if (!selector)
        return;
    struct owned_selector *owner = CONTAINER_OF(selector, struct owned_selector, selector);
    for (size_t i = 0; i < selector->count; i++)
        matcher_done(&owner->matchers[i]);
    arena_done(&owner->arena);
    mem_free(owner);
}
