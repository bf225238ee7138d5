#include "promql/series_text.h"

#include "base/fail.h"
#include "metric/sample.h"
#include "promql/literal.h"
#include "promql/parse.h"
#include "promql/parser.h"

#include <errno.h>

#define NUMBER_BYTES_MAX 400 /* of one number; the longest double has 309 digits */

struct reading {
    struct parser parser; /* of the metric; keeps the error for the values too */
    size_t at;            /* in the values */
    struct series_text *series;
    size_t capacity;
};

static bool is_word(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_';
}

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

/* The byte at the place; 0 at the end (the text is terminated) */
static char here(const struct reading *reading)
{
    return reading->parser.lexer.text.ptr[reading->at];
}

static bool fail_here(struct reading *reading, const char *expected)
{
    uint32_t at = (uint32_t)reading->at;
    bool end = at >= reading->parser.lexer.text.len;
    parser_fail(&reading->parser, (struct ast_position){at, at + !end}, "unexpected %s in series values, expected %s",
                end ? "end of input" : "character", expected);
    return false;
}

static bool read_label(struct parser *parser, struct labels_builder *builder)
{
    if (parser_peek(parser) != TOKEN_IDENTIFIER) {
        parser_unexpected(parser, "label set", "identifier or \"}\"");
        return false;
    }
    struct token name = parser_take(parser);
    if (!parser_accept(parser, TOKEN_EQL)) {
        parser_unexpected(parser, "label set", "\"=\"");
        return false;
    }
    if (parser_peek(parser) != TOKEN_STRING) {
        parser_unexpected(parser, "label set", "string");
        return false;
    }
    struct token literal = parser_take(parser);
    struct str value;
    if (!parser_unquote(parser, &literal, &value))
        return false;
    labels_builder_set(builder, name.text, value);
    return true;
}

static bool read_braces(struct parser *parser, struct labels_builder *builder)
{
    parser_take(parser);
    if (parser_accept(parser, TOKEN_RIGHT_BRACE))
        return true;
    while (read_label(parser, builder)) {
        bool comma = parser_accept(parser, TOKEN_COMMA);
        if (parser_accept(parser, TOKEN_RIGHT_BRACE))
            return true;
        if (!comma) {
            parser_unexpected(parser, "label set", "\",\" or \"}\"");
            return false;
        }
    }
    return false;
}

static bool read_metric(struct reading *reading)
{
    struct parser *parser = &reading->parser;
    struct labels_builder builder;
    labels_builder_init(&builder, NULL);
    enum token_kind kind = parser_peek(parser);
    if (token_is_metric_name(kind)) {
        labels_builder_set(&builder, STR(LABEL_NAME), parser_take(parser).text);
    } else if (kind != TOKEN_LEFT_BRACE) {
        parser_unexpected(parser, "", "");
        return false;
    }
    /* No token is read behind the metric: the values are not of the lexer's language. */
    reading->at = parser->lexer.at;
    bool braces = kind == TOKEN_LEFT_BRACE || here(reading) == '{';
    if (braces && !read_braces(parser, &builder))
        return false;
    reading->at = parser->lexer.at;
    reading->series->labels = labels_builder_build(&builder);
    if (!reading->series->labels)
        parser_fail(parser, (struct ast_position){0, (uint32_t)reading->at}, "more than %d labels", LABELS_MAX);
    return reading->series->labels != NULL;
}

static bool add(struct reading *reading, double value, bool omitted)
{
    struct series_text *series = reading->series;
    if (series->count == SERIES_TEXT_VALUES_MAX) {
        parser_fail(&reading->parser, (struct ast_position){(uint32_t)reading->at, (uint32_t)reading->at},
                    "more than %d values", SERIES_TEXT_VALUES_MAX);
        return false;
    }
    if (series->count == reading->capacity) {
        reading->capacity = MAX(2 * reading->capacity, 16U);
        series->values = mem_resize(series->values, reading->capacity, sizeof(*series->values));
    }
    series->values[series->count++] = (struct series_value){.value = value, .omitted = omitted};
    return true;
}

static void take_run(struct reading *reading, const char *set)
{
    while (here(reading) && strchr(set, here(reading)))
        reading->at++;
}

/* Without its sign: decimal, Inf or NaN. No hexadecimal: 0x4 is zero, four times. */
static bool read_number(struct reading *reading, double *ret_value)
{
    size_t start = reading->at;
    bool word = is_word(here(reading)) && !(here(reading) >= '0' && here(reading) <= '9');
    if (word) {
        while (is_word(here(reading)))
            reading->at++;
    } else {
        take_run(reading, "0123456789");
        take_run(reading, ".");
        take_run(reading, "0123456789");
        if (here(reading) == 'e' || here(reading) == 'E') {
            reading->at++;
            if (here(reading) == '+' || here(reading) == '-')
                reading->at++;
            take_run(reading, "0123456789");
        }
    }
    char copy[NUMBER_BYTES_MAX + 1] = {0};
    size_t len = reading->at - start;
    memcpy(copy, reading->parser.lexer.text.ptr + start, MIN(len, NUMBER_BYTES_MAX));
    bool ends = here(reading) == 'x' || !is_word(here(reading));
    if (ends && len > 0 && len <= NUMBER_BYTES_MAX && literal_number(str_of(copy, len), ret_value) == 0)
        return true;
    reading->at = start;
    return fail_here(reading, "number or \"stale\"");
}

static bool read_signed(struct reading *reading, double *ret_value)
{
    bool negative = here(reading) == '-';
    if (negative || here(reading) == '+')
        reading->at++;
    if (!read_number(reading, ret_value))
        return false;
    *ret_value = negative ? -*ret_value : *ret_value;
    return true;
}

/* xN, if it stands here; *ret_times is 0 when it does not. */
static bool read_times(struct reading *reading, size_t *ret_times, bool *ret_found)
{
    *ret_times = 0;
    *ret_found = here(reading) == 'x';
    if (!*ret_found)
        return true;
    size_t start = ++reading->at;
    for (; here(reading) >= '0' && here(reading) <= '9'; reading->at++)
        *ret_times = MIN(*ret_times * 10 + (size_t)(here(reading) - '0'), (size_t)SERIES_TEXT_VALUES_MAX + 1);
    return reading->at > start || fail_here(reading, "number of times");
}

static bool read_omitted(struct reading *reading)
{
    size_t times;
    bool repeated;
    reading->at++;
    if (!read_times(reading, &times, &repeated))
        return false;
    bool added = repeated || add(reading, 0, true);
    for (size_t i = 0; added && i < times; i++)
        added = add(reading, 0, true);
    return added;
}

/* stale, 1, -1, 1x4 (five values), 1+2x4 (five values) */
static bool read_value(struct reading *reading)
{
    struct str rest =
        str_of(reading->parser.lexer.text.ptr + reading->at, reading->parser.lexer.text.len - reading->at);
    double value = value_stale();
    double delta = 0;
    bool stepped = false;
    bool repeated = false;
    size_t times;
    if (str_starts_with(rest, STR("stale")) && (rest.len == 5 || !is_word(rest.ptr[5])))
        reading->at += 5;
    else if (!read_signed(reading, &value))
        return false;
    if (here(reading) == '+' || here(reading) == '-') {
        stepped = true;
        if (!read_signed(reading, &delta))
            return false;
    }
    if (!read_times(reading, &times, &repeated))
        return false;
    if (stepped && !repeated)
        return fail_here(reading, "\"x\"");
    bool added = add(reading, value, false);
    for (size_t i = 0; added && i < times; i++) {
        value = stepped ? value + delta : value;
        added = add(reading, value, false);
    }
    return added;
}

static bool read_values(struct reading *reading)
{
    size_t end = reading->parser.lexer.text.len;
    while (reading->at < end) {
        if (!is_space(here(reading)))
            return fail_here(reading, "a space");
        while (is_space(here(reading)))
            reading->at++;
        if (reading->at == end)
            return true;
        if (here(reading) == '_' ? !read_omitted(reading) : !read_value(reading))
            return false;
    }
    return true;
}

int series_text_parse(struct str text, struct promql_error *ret_error, struct series_text *ret_series)
{
    struct promql_expression memory = {0};
    struct series_text series = {0};
    struct reading reading = {.parser = {.expression = &memory, .error = ret_error}, .series = &series};
    if (text.len > PROMQL_TEXT_BYTES_MAX) {
        promql_error_set(ret_error, (struct ast_position){0, 0}, "series is longer than %zu bytes",
                         PROMQL_TEXT_BYTES_MAX);
        return -EINVAL;
    }
    arena_init(&memory.arena, PROMQL_BYTES_MAX);
    lex_init(&reading.parser.lexer, arena_str(&memory.arena, text));
    bool read = read_metric(&reading) && read_values(&reading);
    arena_done(&memory.arena);
    if (!read) {
        series_text_done(&series);
        return -EINVAL;
    }
    *ret_series = series;
    return 0;
}

void series_text_done(struct series_text *series)
{
    labels_unref(series->labels);
    mem_free(series->values);
    *series = (struct series_text){0};
}
