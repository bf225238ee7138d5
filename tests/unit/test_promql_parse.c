#include "ast_equal.h"
#include "base/fail.h"
#include "base/quote.h"
#include "metric/sample.h"
#include "promql/functions.h"
#include "promql/lex.h"
#include "promql/literal.h"
#include "promql/parse.h"
#include "promql/series_text.h"
#include "unit/promql_parse_cases.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define PRINTED_BYTES_MAX (16 * MIB)

/* ---- Helpers -------------------------------------------------------------------------------------------------------
 */

/* The printed expression, or "LINE:COLUMN: reason"; the caller frees it. */
static char *answer_to(struct str text, bool *ret_valid)
{
    CLEANUP(promql_expression_freep) struct promql_expression *expression = NULL;
    CLEANUP(buf_done) struct buf answer = BUF_INIT(PRINTED_BYTES_MAX);
    struct promql_error error;
    *ret_valid = promql_parse(text, &error, &expression) == 0;
    if (*ret_valid) {
        assert_int_equal(ast_print(promql_expression_root(expression), &answer), 0);
        return mem_strndup((const char *)answer.data, answer.len);
    }
    assert_true(error.position.start <= error.position.end);
    promql_error_print_short(&error, text, &answer);
    buf_append_byte(&answer, 0);
    /* "1:2: parse error: x" -> "1:2: x" */
    const char *middle = "parse error: ";
    char *found = strstr((char *)answer.data, middle);
    assert_non_null(found);
    memmove(found, found + strlen(middle), strlen(found + strlen(middle)) + 1);
    return mem_strdup((char *)answer.data);
}

static void expect_answer(const char *text, bool valid, const char *answer)
{
    bool is_valid;
    CLEANUP_FREE char *is = answer_to(str_from(text), &is_valid);
    if (is_valid != valid || strcmp(is, answer) != 0)
        print_error("%s\n  is     %s\n  should %s\n", text, is, answer);
    assert_int_equal(is_valid, valid);
    assert_string_equal(is, answer);
}

static void expect_invalid_with(struct str text, const char *part)
{
    bool valid;
    CLEANUP_FREE char *answer = answer_to(text, &valid);
    assert_false(valid);
    if (!strstr(answer, part))
        print_error("%s\n  should have %s\n", answer, part);
    assert_non_null(strstr(answer, part));
}

static struct promql_expression *parse(const char *text)
{
    struct promql_expression *expression = NULL;
    struct promql_error error = {0};
    if (promql_parse(str_from(text), &error, &expression) < 0)
        fail_msg("%s: %s", text, error.text);
    return expression;
}

/* before, count times the middle, after. */
static char *repeated(const char *before, const char *middle, size_t count, const char *after)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(PRINTED_BYTES_MAX);
    buf_append_text(&text, before);
    for (size_t i = 0; i < count; i++)
        buf_append_text(&text, middle);
    buf_append_text(&text, after);
    return mem_strndup((const char *)text.data, text.len);
}

/* ---- Against Prometheus --------------------------------------------------------------------------------------------
 */

static void valid_cases_print_as_prometheus_prints_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(promql_valid_cases); i++)
        expect_answer(promql_valid_cases[i].text, true, promql_valid_cases[i].answer);
}

static void invalid_cases_are_refused_in_prometheus_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(promql_invalid_cases); i++)
        expect_answer(promql_invalid_cases[i].text, false, promql_invalid_cases[i].answer);
}

/* Each with the reason for being other than Prometheus 2.42. */
static void differences_on_purpose(void **state)
{
    (void)state;
    /* Its String() loses a matcher and a grouping that have a meaning. */
    expect_answer("{__name__=\"\",a=\"b\"}", true, "{__name__=\"\",a=\"b\"}");
    expect_answer("a + ignoring() group_left() b", true, "a + ignoring () group_left () b");
    /* Its String() gives the sign of +Inf another meaning before ^. */
    expect_answer("Inf ^ 2", true, "Inf ^ 2");
    /* It takes any letter for the colon of a subquery. */
    expect_answer("foo[5m x]", false, "1:8: unexpected character: 'x'");
    /* It has no name for this token. */
    expect_answer("@", false, "1:1: unexpected <op:@>");
    /* It accepts times that overflow its milliseconds. */
    expect_answer("x @ 1e16", false, "1:1: timestamp out of bounds for @ modifier: 10000000000000000.000000");
    expect_answer("x @ 1e12", true, "x @ 1000000000000.000");
    /* It cannot tell the replacement character from broken UTF-8. */
    expect_answer("\"\xef\xbf\xbd\"", true, "\"\xef\xbf\xbd\"");
    /* RE2 in C++ has other words than RE2 in Go. */
    expect_answer("{a=~\"(\"}", false, "1:2: error parsing regexp: missing ): (");
}

static void what_is_printed_is_the_same_tree(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(promql_valid_cases); i++) {
        CLEANUP(promql_expression_freep) struct promql_expression *first = parse(promql_valid_cases[i].text);
        bool valid;
        CLEANUP_FREE char *once = answer_to(str_from(promql_valid_cases[i].text), &valid);
        CLEANUP(promql_expression_freep) struct promql_expression *second = parse(once);
        CLEANUP_FREE char *twice = answer_to(str_from(once), &valid);
        assert_string_equal(once, twice);
        assert_true(ast_equal(promql_expression_root(first), promql_expression_root(second)));
    }
}

/* A Go-quoted field of the table; \udcNN in it stands for the byte NN that is no UTF-8. */
static struct str unquote_field(char *field, char *ret_bytes)
{
    for (char *at; (at = strstr(field, "\\udc"));) {
        bool escaped = at > field && at[-1] == '\\';
        assert_false(escaped);
        memcpy(at, "\\x", 2);
        memmove(at + 2, at + 4, strlen(at + 4) + 1);
    }
    size_t len;
    assert_int_equal(quote_undo(str_from(field), ret_bytes, &len), 0);
    return str_of(ret_bytes, len);
}

static bool row_is_valid(const char *kind, struct str text, struct promql_error *ret_error)
{
    if (strcmp(kind, "testSeries") == 0) {
        struct series_text series;
        if (series_text_parse(text, ret_error, &series) < 0)
            return false;
        series_text_done(&series);
        return true;
    }
    struct promql_expression *expression = NULL;
    if (promql_parse(text, ret_error, &expression) < 0)
        return false;
    promql_expression_free(expression);
    return true;
}

static void conformance_table_agrees(void **state)
{
    (void)state;
    const char *path = SOURCE_DIR "/../shared/conformance/promql_parse.tsv";
    FILE *file = fopen(path, "r");
    if (!file) {
        print_message("no ../shared/conformance/promql_parse.tsv beside the source: its rows are not checked\n");
        skip();
    }
    char line[8192];
    size_t rows = 0;
    size_t wrong = 0;
    size_t other_words = 0;
    while (fgets(line, sizeof(line), file)) {
        char text_bytes[8192];
        char part_bytes[8192];
        char *rest = line;
        const char *wanted = strsep(&rest, "\t");
        const char *kind = strsep(&rest, "\t");
        char *text_field = strsep(&rest, "\t");
        char *part_field = strsep(&rest, "\n");
        assert_non_null(part_field);
        struct str text = unquote_field(text_field, text_bytes);
        struct str part = unquote_field(part_field, part_bytes);
        struct promql_error error;
        CLEANUP(buf_done) struct buf said = BUF_INIT(KIB);
        bool valid = row_is_valid(kind, text, &error);
        rows++;
        if (valid != (strcmp(wanted, "valid") == 0)) {
            print_error("should be %s: %s\n", wanted, text_field);
            wrong++;
        }
        if (valid)
            continue;
        promql_error_print_short(&error, text, &said);
        if (!memmem(said.data, said.len, part.ptr, part.len)) {
            print_message("%s\n  says        " STR_FMT "\n  should have " STR_FMT "\n", text_field,
                          STR_ARG(buf_view(&said)), STR_ARG(part));
            other_words++;
        }
    }
    fclose(file);
    print_message("%zu rows, %zu wrong, %zu with other words\n", rows, wrong, other_words);
    assert_true(rows >= 100);
    assert_int_equal(wrong, 0);
    /* The row "(" carries the text of a much longer expression that begins so. */
    assert_true(other_words <= 1);
}

/* ---- Limits --------------------------------------------------------------------------------------------------------
 */

static void deep_nesting_is_an_error_with_a_place(void **state)
{
    (void)state;
    CLEANUP_FREE char *parens = repeated("", "(", 10000, "");
    CLEANUP_FREE char *signs = repeated("", "-", 10000, "x");
    CLEANUP_FREE char *powers = repeated("x", "^x", 10000, "");
    CLEANUP_FREE char *sums = repeated("x", "+x", 10000, "");
    CLEANUP_FREE char *calls = repeated("", "abs(", 10000, "x");
    CLEANUP_FREE char *aggregations = repeated("", "sum(", 10000, "x");
    CLEANUP_FREE char *subqueries = repeated("x", "[1m:]", 10000, "");
    CLEANUP_FREE char *mixed = repeated("", "(1+", 10000, "");
    const char *texts[] = {parens, signs, powers, sums, calls, aggregations, subqueries, mixed};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        expect_invalid_with(str_from(texts[i]), "nested too deeply: more than 200 levels");
    expect_invalid_with(str_from(parens), "1:201: ");
}

static void nesting_up_to_the_limit_works(void **state)
{
    (void)state;
    CLEANUP_FREE char *left = repeated("", "(", PROMQL_DEPTH_MAX - 1, "x");
    CLEANUP_FREE char *text = repeated(left, ")", PROMQL_DEPTH_MAX - 1, "");
    CLEANUP_FREE char *sums = repeated("x", " + x", PROMQL_DEPTH_MAX - 1, "");
    expect_answer(text, true, text);
    expect_answer(sums, true, sums);
    CLEANUP_FREE char *too_many = repeated(sums, " + x", 1, "");
    expect_invalid_with(str_from(too_many), "nested too deeply");
}

static void size_has_limits(void **state)
{
    (void)state;
    CLEANUP_FREE char *spaces = repeated("x", " ", PROMQL_TEXT_BYTES_MAX, "");
    expect_invalid_with(str_from(spaces), "longer than 131072 bytes");
    expect_answer(spaces + PROMQL_TEXT_BYTES_MAX, false, "1:1: no expression found in input");
    CLEANUP_FREE char *args = repeated("label_join(x", ",\"\"", PROMQL_NODES_MAX, ")");
    expect_invalid_with(str_from(args), "more than 20000 parts");
    CLEANUP_FREE char *regexes = repeated("{b=\"c\"", ",a=~\"b\"", PROMQL_REGEXES_MAX + 1, "}");
    expect_invalid_with(str_from(regexes), "more than 256 regular expressions");
    CLEANUP_FREE char *matchers = repeated("{b=\"c\"", ",a=\"\"", PROMQL_LIST_MAX - 1, "}");
    bool valid;
    mem_free(answer_to(str_from(matchers), &valid));
    assert_true(valid);
    CLEANUP_FREE char *more = repeated("{b=\"c\"", ",a=\"\"", PROMQL_LIST_MAX, "}");
    expect_invalid_with(str_from(more), "more than 1000 matchers in one selector");
    CLEANUP_FREE char *names = repeated("sum by (a", ",a", PROMQL_LIST_MAX, ") (x)");
    expect_invalid_with(str_from(names), "more than 1000 labels in one list");
}

static void bytes_that_are_no_text_are_refused(void **state)
{
    (void)state;
    expect_invalid_with(STR("\xff"), "1:1: unexpected character: '\xef\xbf\xbd'");
    expect_invalid_with(STR("x\0"), "1:2: unexpected character: '\\x00'");
    expect_invalid_with(STR("{a=\"\xc3\"}"), "1:4: invalid UTF-8 rune");
    expect_invalid_with(STR("{a=`\xed\xa0\x80`}"), "1:4: invalid UTF-8 rune");
    expect_invalid_with(STR("{\xe9=\"\"}"), "1:2: unexpected character inside braces: ");
    expect_invalid_with(STR(""), "1:1: no expression found in input");
    expect_invalid_with(STR_NULL, "1:1: no expression found in input");
    /* In a comment they do not matter. */
    bool valid;
    mem_free(answer_to(STR("x # \xff\xfe"), &valid));
    assert_true(valid);
}

static void long_words_are_cut_in_errors(void **state)
{
    (void)state;
    CLEANUP_FREE char *name = repeated("a ", "b", 100000, "");
    CLEANUP_FREE char *function = repeated("", "f", 100000, "(x)");
    CLEANUP_FREE char *number = repeated("", "9", 100000, "");
    CLEANUP_FREE char *runes = repeated("x{a=~\"(", "\xe2\x82\xac", 300, "\"}");
    expect_invalid_with(str_from(name), "1:3: unexpected identifier \"bbb");
    expect_invalid_with(str_from(function), "1:1: unknown function with name \"fff");
    expect_invalid_with(str_from(number), "1:1: error parsing number: strconv.ParseFloat: parsing \"999");
    struct promql_error error;
    struct promql_expression *expression = NULL;
    assert_int_equal(promql_parse(str_from(runes), &error, &expression), -EINVAL);
    assert_true(str_is_utf8(str_from(error.text)));
}

/* ---- Trees ---------------------------------------------------------------------------------------------------------
 */

static void selectors_hold_all_that_was_written(void **state)
{
    (void)state;
    CLEANUP(promql_expression_freep)
    struct promql_expression *expression = parse("foo{a!=\"\\u00e4\", b=~'x|y'}[5m] @ -1.5 offset -1h");
    const struct ast *root = promql_expression_root(expression);
    assert_int_equal(root->kind, AST_SELECTOR);
    assert_int_equal(root->type, PROMQL_MATRIX);
    assert_int_equal(root->range_ms, 300000);
    assert_int_equal(root->at, AT_TIME);
    assert_int_equal(root->at_ms, -1500);
    assert_int_equal(root->offset_ms, -3600000);
    assert_int_equal(root->position.start, 0);
    assert_int_equal(root->position.end, 48);
    assert_true(str_equal(root->selector.name, STR("foo")));
    assert_int_equal(root->selector.matcher_count, 3);
    const struct matcher *matchers = root->selector.matchers;
    assert_int_equal(matchers[0].type, MATCH_NOT_EQUAL);
    assert_true(str_equal(matchers[0].value, STR("\xc3\xa4")));
    assert_true(matcher_matches(&matchers[1], STR("y")));
    assert_false(matcher_matches(&matchers[1], STR("xy")));
    assert_true(str_equal(matchers[2].name, STR("__name__")));
    assert_true(str_equal(matchers[2].value, STR("foo")));
}

static void operators_bind_as_in_prometheus(void **state)
{
    (void)state;
    CLEANUP(promql_expression_freep) struct promql_expression *sign = parse("-a^b");
    const struct ast *root = promql_expression_root(sign);
    assert_int_equal(root->kind, AST_UNARY);
    assert_int_equal(root->unary.inner->binary.op, OP_POW);
    CLEANUP(promql_expression_freep) struct promql_expression *power = parse("a^b^c");
    root = promql_expression_root(power);
    assert_int_equal(root->binary.left->kind, AST_SELECTOR);
    assert_int_equal(root->binary.right->kind, AST_BINARY);
    CLEANUP(promql_expression_freep) struct promql_expression *minus = parse("a-b-c");
    root = promql_expression_root(minus);
    assert_int_equal(root->binary.left->kind, AST_BINARY);
    CLEANUP(promql_expression_freep) struct promql_expression *mixed = parse("a or b and c == d + e * f");
    root = promql_expression_root(mixed);
    static const enum ast_operator down[] = {OP_OR, OP_AND, OP_EQL, OP_ADD, OP_MUL};
    for (size_t i = 0; i < ARRAY_LEN(down); i++, root = root->binary.right) {
        assert_int_equal(root->kind, AST_BINARY);
        assert_int_equal(root->binary.op, down[i]);
        assert_int_equal(root->height, ARRAY_LEN(down) + 1 - i);
    }
}

static void matching_is_kept(void **state)
{
    (void)state;
    CLEANUP(promql_expression_freep)
    struct promql_expression *many = parse("a > bool on(x, by) group_right(y,) b");
    const struct ast *root = promql_expression_root(many);
    assert_true(root->binary.return_bool && root->binary.on);
    assert_int_equal(root->binary.card, CARD_ONE_TO_MANY);
    assert_int_equal(root->binary.matching.count, 2);
    assert_true(str_equal(root->binary.matching.items[1], STR("by")));
    assert_int_equal(root->binary.include.count, 1);
    assert_int_equal(root->binary.op_position.start, 2);
    CLEANUP(promql_expression_freep) struct promql_expression *set = parse("a unless ignoring(x) b");
    root = promql_expression_root(set);
    assert_false(root->binary.on);
    assert_int_equal(root->binary.card, CARD_MANY_TO_MANY);
}

struct counts {
    size_t nodes;
    size_t until; /* the visit that ends the walk */
    bool typed;
};

static bool count_node(const struct ast *ast, void *arg)
{
    struct counts *counts = arg;
    counts->typed &= ast->type != PROMQL_NONE;
    return ++counts->nodes != counts->until;
}

static void every_node_is_typed_and_walked(void **state)
{
    (void)state;
    CLEANUP(promql_expression_freep)
    struct promql_expression *expression =
        parse("topk(3, -label_replace(a, \"b\", \"c\", \"d\", \"e\")) + (max_over_time(rate(x[5m])[1h:]) > 1)");
    struct counts counts = {.typed = true};
    assert_true(ast_walk(promql_expression_root(expression), count_node, &counts));
    assert_int_equal(counts.nodes, 17);
    assert_true(counts.typed);
    struct counts few = {.until = 3, .typed = true};
    assert_false(ast_walk(promql_expression_root(expression), count_node, &few));
    assert_int_equal(few.nodes, 3);
}

static void a_selector_alone_is_read_as_match_takes_it(void **state)
{
    (void)state;
    static const char *const good[] = {"up", "{a=\"b\"}", " up { job=~\"a|b\" } ", "sum", "job:x:y{a!=\"\"}"};
    static const char *const bad[] = {"",        "up + 1", "up[5m]", "up offset 5m", "(up)",
                                      "sum(up)", "1",      "{}",     "{a=\"\"}",     "up up"};
    struct promql_error error;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        CLEANUP(promql_expression_freep) struct promql_expression *expression = NULL;
        assert_int_equal(promql_parse_selector(str_from(good[i]), &error, &expression), 0);
        assert_int_equal(promql_expression_root(expression)->kind, AST_SELECTOR);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct promql_expression *expression = NULL;
        assert_int_equal(promql_parse_selector(str_from(bad[i]), &error, &expression), -EINVAL);
        assert_null(expression);
    }
}

/* ---- Functions, errors, literals, series ---------------------------------------------------------------------------
 */

static void functions_are_a_sorted_table(void **state)
{
    (void)state;
    assert_int_equal(promql_function_count(), 70);
    assert_int_equal(FUNCTION_COUNT, 70);
    for (size_t i = 0; i < promql_function_count(); i++) {
        const struct promql_function *function = promql_function_at(i);
        assert_int_equal(function->id, i);
        assert_ptr_equal(promql_function_find(str_from(function->name)), function);
        assert_true(function->arg_count <= PROMQL_ARGS_MAX);
        assert_true(function->variadic == 0 || function->arg_count > 0);
        for (size_t arg = 0; arg < function->arg_count; arg++)
            assert_int_not_equal(function->args[arg], PROMQL_NONE);
        assert_true(i == 0 || strcmp(promql_function_at(i - 1)->name, function->name) < 0);
    }
    assert_null(promql_function_find(STR("Rate")));
    assert_null(promql_function_find(STR("rat")));
    assert_null(promql_function_find(STR_NULL));
    assert_int_equal(promql_function_find(STR("holt_winters"))->id, FUNCTION_HOLT_WINTERS);
}

static void expect_said(const char *text, const char *wanted)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(4 * KIB);
    struct promql_expression *expression = NULL;
    struct promql_error error;
    assert_int_equal(promql_parse(str_from(text), &error, &expression), -EINVAL);
    promql_error_print_short(&error, str_from(text), &out);
    buf_append_byte(&out, 0);
    assert_string_equal((char *)out.data, wanted);
}

static void errors_say_their_place(void **state)
{
    (void)state;
    expect_said("sum(a b)", "1:7: parse error: unexpected identifier \"b\" in aggregation");
    expect_said("a +\n\tb c\n+ d", "2:4: parse error: unexpected identifier \"c\"");
    expect_said("\"\xc3\xa4\xc3\xb6\" + x",
                "1:1: parse error: binary expression must contain only scalar and instant vector types");
    expect_said("{a=\"\xc3\xa4\"} b", "1:10: parse error: unexpected identifier \"b\"");
}

static void numbers_and_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int result;
        double value;
    } numbers[] = {
        {"1", 0, 1},
        {"010", 0, 8},
        {"08", 0, 8},
        {"0xFf", 0, 255},
        {".5e1", 0, 5},
        {"1e-400", 0, 0},
        {"5.", 0, 5},
        {"iNf", 0, INFINITY},
        {"1e400", -ERANGE, 0},
        {"0x", -EINVAL, 0},
        {"1e", -EINVAL, 0},
        {"0x1.8", -EINVAL, 0},
        {"0xffffffffffffffff", -EINVAL, 0},
        {"01.5", 0, 1.5},
        {"9223372036854775808", 0, 9223372036854775808.0},
    };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        double value = -1;
        assert_int_equal(literal_number(str_from(numbers[i].text), &value), numbers[i].result);
        assert_true(value == (numbers[i].result ? -1 : numbers[i].value));
    }
    static const struct {
        const char *text;
        int64_t ms; /* 0: refused */
    } durations[] = {
        {"1ms", 1},
        {"1y2w3d4h5m6s7ms", 33019506007},
        {"90m", 5400000},
        {"0s", 0},
        {"1m1h", 0},
        {"1m1m", 0},
        {"m", 0},
        {"1", 0},
        {"1.5h", 0},
        {"1hs", 0},
        {"292y", 9208512000000},
        {"293y", 0},
        {"106751d", 9223286400000},
        {"99999999999999999999y", 0},
        {"9223372036854ms", 9223372036854},
        {"", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
        char error[256];
        int64_t ms = 0;
        int result = literal_duration_ms(str_from(durations[i].text), error, &ms);
        assert_int_equal(result, durations[i].ms ? 0 : -EINVAL);
        assert_int_equal(ms, durations[i].ms);
    }
}

static void keywords_are_known_in_any_case(void **state)
{
    (void)state;
    struct lexer lexer;
    struct token token;
    lex_init(&lexer, STR("Sum gRoup_LEFT OFFSET atan2 End summ :sum count_VALUES"));
    static const enum token_kind kinds[] = {
        TOKEN_SUM,        TOKEN_GROUP_LEFT,        TOKEN_OFFSET,       TOKEN_ATAN2, TOKEN_END_WORD,
        TOKEN_IDENTIFIER, TOKEN_METRIC_IDENTIFIER, TOKEN_COUNT_VALUES, TOKEN_END,   TOKEN_END};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        lex_next(&lexer, &token);
        assert_int_equal(token.kind, kinds[i]);
    }
    assert_int_equal(token.start, lexer.text.len);
}

static void series_are_read(void **state)
{
    (void)state;
    struct series_text series;
    struct promql_error error;
    assert_int_equal(
        series_text_parse(STR("m{b=\"c\",a='d'} 1 -2.5 3-1x2 _ 7x1 _x2 stale Inf -0x1 1e2 "), &error, &series), 0);
    assert_int_equal(labels_count(series.labels), 3);
    assert_true(str_equal(labels_get(series.labels, STR("__name__")), STR("m")));
    assert_true(str_equal(labels_get(series.labels, STR("a")), STR("d")));
    static const double values[] = {1, -2.5, 3, 2, 1, 0, 7, 7, 0, 0, 0, INFINITY, 0, 0, 100};
    static const bool omitted[ARRAY_LEN(values)] = {[5] = true, [8] = true, [9] = true};
    assert_int_equal(series.count, ARRAY_LEN(values));
    for (size_t i = 0; i < series.count; i++) {
        assert_int_equal(series.values[i].omitted, omitted[i]);
        assert_true(i == 10 ? value_is_stale(series.values[i].value) : series.values[i].value == values[i]);
    }
    series_text_done(&series);
    assert_int_equal(series_text_parse(STR("{} "), &error, &series), 0);
    assert_int_equal(series.count + labels_count(series.labels), 0);
    series_text_done(&series);
    static const char *const bad[] = {"",          "m{",   "m{a}",    "m{a=~\"b\"} 1", "m 1+",    "m 1+2",
                                      "m 1x",      "m _x", "m 1,2",   "m stales",      "m 1 - 2", "m 1x9999999",
                                      "m _ 5 _a4", "1 2",  "m 1+ax2", "m{a=\"b\"}1"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(series_text_parse(str_from(bad[i]), &error, &series), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_cases_print_as_prometheus_prints_them),
        cmocka_unit_test(invalid_cases_are_refused_in_prometheus_words),
        cmocka_unit_test(differences_on_purpose),
        cmocka_unit_test(what_is_printed_is_the_same_tree),
        cmocka_unit_test(conformance_table_agrees),
        cmocka_unit_test(deep_nesting_is_an_error_with_a_place),
        cmocka_unit_test(nesting_up_to_the_limit_works),
        cmocka_unit_test(size_has_limits),
        cmocka_unit_test(bytes_that_are_no_text_are_refused),
        cmocka_unit_test(long_words_are_cut_in_errors),
        cmocka_unit_test(selectors_hold_all_that_was_written),
        cmocka_unit_test(operators_bind_as_in_prometheus),
        cmocka_unit_test(matching_is_kept),
        cmocka_unit_test(every_node_is_typed_and_walked),
        cmocka_unit_test(a_selector_alone_is_read_as_match_takes_it),
        cmocka_unit_test(functions_are_a_sorted_table),
        cmocka_unit_test(errors_say_their_place),
        cmocka_unit_test(numbers_and_durations),
        cmocka_unit_test(keywords_are_known_in_any_case),
        cmocka_unit_test(series_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
