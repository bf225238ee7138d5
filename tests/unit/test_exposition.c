/* The text format 0.0.4: the documented grammar, what Prometheus 2.42 takes and refuses, the fast road for values. */
#include "base/random.h"
#include "metric/exposition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct exposition_limits limits = {.labels_max = 8, .name_bytes_max = 64, .value_bytes_max = 128};

/* All events as text: one line each, `!` and the line number at an error. */
static void describe(struct str body, struct buf *text)
{
    CLEANUP(exposition_done) struct exposition page;
    exposition_init(&page, body, limits);
    for (;;) {
        switch (exposition_next(&page)) {
        case EXPOSITION_END:
            assert_int_equal(exposition_next(&page), EXPOSITION_END);
            return;
        case EXPOSITION_ERROR:
            assert_non_null(page.error);
            assert_int_equal(exposition_next(&page), EXPOSITION_ERROR);
            buf_printf(text, "!%u\n", page.line);
            return;
        case EXPOSITION_HELP:
            buf_printf(text, "%u help " STR_FMT "|" STR_FMT "\n", page.line, STR_ARG(page.name), STR_ARG(page.text));
            break;
        case EXPOSITION_TYPE:
            buf_printf(text, "%u type " STR_FMT " %s\n", page.line, STR_ARG(page.name), metric_type_name(page.type));
            break;
        case EXPOSITION_COMMENT:
            buf_printf(text, "%u comment\n", page.line);
            break;
        case EXPOSITION_SAMPLE:
            buf_printf(text, "%u " STR_FMT, page.line, STR_ARG(page.name));
            for (size_t i = 0; i < page.label_count; i++)
                buf_printf(text, " [" STR_FMT "=" STR_FMT "]", STR_ARG(page.labels[i].name),
                           STR_ARG(page.labels[i].value));
            buf_printf(text, " %.17g", page.value);
            if (page.has_time)
                buf_printf(text, " @%lld", (long long)page.time_ms);
            buf_append_byte(text, '\n');
        }
    }
}

static void assert_events(struct str body, const char *expected)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 20);
    describe(body, &text);
    buf_append_byte(&text, 0);
    if (strcmp((char *)text.data, expected) != 0)
        fail_msg("\"" STR_FMT "\" gives:\n%s, not:\n%s", STR_ARG(body), (char *)text.data, expected);
}

static bool is_accepted(struct str body)
{
    CLEANUP(exposition_done) struct exposition page;
    exposition_init(&page, body, limits);
    enum exposition_event event;
    do
        event = exposition_next(&page);
    while (event != EXPOSITION_END && event != EXPOSITION_ERROR);
    return event == EXPOSITION_END;
}

/* docs/instrumenting/exposition_formats.md, "Text format example", byte for byte. */
static void the_page_of_the_documentation(void **state)
{
    (void)state;
    static const char page[] =
        "# HELP http_requests_total The total number of HTTP requests.\n"
        "# TYPE http_requests_total counter\n"
        "http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000\n"
        "http_requests_total{method=\"post\",code=\"400\"}    3 1395066363000\n"
        "\n"
        "# Escaping in label values:\n"
        "msdos_file_access_time_seconds{path=\"C:\\\\DIR\\\\FILE.TXT\",error=\"Cannot find file:\\n\\\"FILE.TXT\\\"\"} "
        "1.458255915e9\n"
        "\n"
        "# Minimalistic line:\n"
        "metric_without_timestamp_and_labels 12.47\n"
        "\n"
        "# A histogram, which has a pretty complex representation in the text format:\n"
        "# HELP http_request_duration_seconds A histogram of the request duration.\n"
        "# TYPE http_request_duration_seconds histogram\n"
        "http_request_duration_seconds_bucket{le=\"0.05\"} 24054\n"
        "http_request_duration_seconds_bucket{le=\"+Inf\"} 144320\n"
        "http_request_duration_seconds_sum 53423\n"
        "http_request_duration_seconds_count 144320\n"
        "\n"
        "# Finally a summary, which has a complex representation, too:\n"
        "# HELP rpc_duration_seconds A summary of the RPC duration in seconds.\n"
        "# TYPE rpc_duration_seconds summary\n"
        "rpc_duration_seconds{quantile=\"0.01\"} 3102\n"
        "rpc_duration_seconds_sum 1.7560473e+07\n"
        "rpc_duration_seconds_count 2693\n";
    assert_events(STR_NULL, "");
    assert_events(str_from(page),
                  "1 help http_requests_total|The total number of HTTP requests.\n"
                  "2 type http_requests_total counter\n"
                  "3 http_requests_total [method=post] [code=200] 1027 @1395066363000\n"
                  "4 http_requests_total [method=post] [code=400] 3 @1395066363000\n"
                  "6 comment\n"
                  "7 msdos_file_access_time_seconds [path=C:\\DIR\\FILE.TXT] [error=Cannot find file:\n\"FILE.TXT\"] "
                  "1458255915\n"
                  "9 comment\n"
                  "10 metric_without_timestamp_and_labels 12.470000000000001\n"
                  "12 comment\n"
                  "13 help http_request_duration_seconds|A histogram of the request duration.\n"
                  "14 type http_request_duration_seconds histogram\n"
                  "15 http_request_duration_seconds_bucket [le=0.05] 24054\n"
                  "16 http_request_duration_seconds_bucket [le=+Inf] 144320\n"
                  "17 http_request_duration_seconds_sum 53423\n"
                  "18 http_request_duration_seconds_count 144320\n"
                  "20 comment\n"
                  "21 help rpc_duration_seconds|A summary of the RPC duration in seconds.\n"
                  "22 type rpc_duration_seconds summary\n"
                  "23 rpc_duration_seconds [quantile=0.01] 3102\n"
                  "24 rpc_duration_seconds_sum 17560473\n"
                  "25 rpc_duration_seconds_count 2693\n");
}

static void blanks_commas_and_missing_newlines(void **state)
{
    (void)state;
    assert_events(STR("a 1"), "1 a 1\n");
    assert_events(STR("\n \t\n\ta  {b = \"c\" , d=\"e\",}\t1\t 2 \n"), "3 a [b=c] [d=e] 1 @2\n");
    assert_events(STR("a{b=\"c\" d=\"e\"}1"), "1 a [b=c] [d=e] 1\n");
    assert_events(STR("a{} 1\n"), "1 a 1\n");
    assert_events(STR("a+1\n"), "1 a 1\n");
    assert_events(STR(":a:b1 1\n_ 2\n"), "1 :a:b1 1\n2 _ 2\n");
    assert_events(STR("a{b=\"\"} 1\n"), "1 a [b=] 1\n");
}

static void escapes_are_undone(void **state)
{
    (void)state;
    assert_events(STR("a{b=\"\\\\\\\"\\n\\x\",c=\"d\",e=\"\\\\n\"} 1\n"), "1 a [b=\\\"\n\\x] [c=d] [e=\\n] 1\n");
    assert_events(STR("a{b=\"caf\xc3\xa9 {},=\"} 1\n"), "1 a [b=caf\xc3\xa9 {},=] 1\n");
    assert_events(STR("a{b=\"over\nthe end\"} 1\nc 2\n"), "1 a [b=over\nthe end] 1\n3 c 2\n");
}

static void metadata_and_comments(void **state)
{
    (void)state;
    assert_events(STR("# HELP a  two\\n\\\\ words \n"), "1 help a| two\\n\\\\ words \n");
    char help[16];
    size_t len = exposition_unescape_help(STR("\\n\\\\n\\\"\\x\\"), help);
    assert_true(str_equal(str_of(help, len), STR("\n\\n\\\"\\x\\")));
    assert_events(STR("# HELP a\n# HELP b"), "1 help a|\n2 help b|\n");
    assert_events(STR("#\n# \n#a\n#HELP a b\n# HELPa b\n# HELP\n# TYPE\n# EOF"),
                  "1 comment\n2 comment\n3 comment\n4 comment\n5 comment\n6 comment\n7 comment\n8 comment\n");
    assert_events(STR("#\tTYPE \ta\tgauge \n"), "1 type a gauge\n");
    assert_events(STR("# TYPE a untyped\n# TYPE b unknown\n# TYPE c odd\n# TYPE d info\n# TYPE e gaugehistogram\n"),
                  "1 type a unknown\n2 type b unknown\n3 type c unknown\n4 type d gauge\n5 type e gauge\n");
    assert_events(STR("# HELP \na 1\n"), "!1\n");
    assert_events(STR("# TYPE a\na 1\n"), "!1\n");
    assert_events(STR("# TYPE 1a gauge\n"), "!1\n");
    assert_events(STR("# HELP a \xff\n"), "!1\n");
}

static void what_is_no_sample_is_refused_with_its_line(void **state)
{
    (void)state;
    const struct str cases[] = {
        STR("a"),
        STR("a \n"),
        STR("1a 1\n"),
        STR("{b=\"c\"} 1\n"),
        STR("a{\n"),
        STR("a{b\n"),
        STR("a{b=\n"),
        STR("a{b=c} 1\n"),
        STR("a{b='c'} 1\n"),
        STR("a{b=\"c} 1\n"),
        STR("a{b=\"c\" 1\n"),
        STR("a{b=\"c\\\n\"} 1\n"),
        STR("a{,} 1\n"),
        STR("a{b=\"c\",,} 1\n"),
        STR("a{1b=\"c\"} 1\n"),
        STR("a{b:c=\"d\"} 1\n"),
        STR("a{=\"x\"} 1\n"),
        STR("a{b=\"\xff\"} 1\n"),
        STR("a{b=\"c\"}{d=\"e\"} 1\n"),
        STR("a{b=\"c\"\n} 1\n"),
        STR("a-b 1\n"),
        STR("a 1 2 3\n"),
        STR("a 1 x\n"),
        STR("a 1 2x\n"),
        STR("a 1 -5\n"),
        STR("a 1 +5\n"),
        STR("a 1 5.0\n"),
        STR("a 1 9223372036854775808\n"),
        STR("a 1 # comment\n"),
        STR("a 1\r\n"),
        STR("a{b=\"c\"} 1\r\n"),
        STR("a 1{b=\"c\"}\n"),
        STR("a\0 1\n"),
        STR("a 1\0\n"),
        STR("\0a 1\n"),
        STR("caf\xc3\xa9 1\n"),
        STR("a{b=\"c\",b=\"d\"} 1\n"),
        STR("a{__name__=\"b\"} 1\n"),
        STR("<html>\n"),
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(buf_done) struct buf body = BUF_INIT(4096);
        buf_append_text(&body, "# a comment\n\nfine 1\n");
        buf_append_str(&body, cases[i]);
        assert_events(buf_view(&body), "1 comment\n3 fine 1\n!4\n");
    }
    assert_true(is_accepted(STR("a 1 9223372036854775807\n")));
}

struct number_case {
    const char *text;
    double value; /* accepted, with these bits */
};

static void numbers_as_go_reads_them(void **state)
{
    (void)state;
    const double nan = double_from_bits(NORMAL_NAN_BITS);
    const struct number_case accepted[] = {
        {"1", 1},
        {"-1", -1},
        {"+1", 1},
        {"01", 1},
        {"1.", 1},
        {".5", .5},
        {"-.5e1", -5},
        {"1e5", 1e5},
        {"1E+5", 1e5},
        {"1e-5", 1e-5},
        {"1.e2", 100},
        {"-0", -0.0},
        {"0e999", 0},
        {"1e-999", 0},
        {"-1e-999", -0.0},
        {"1e308", 1e308},
        {"1.7976931348623157e308", 1.7976931348623157e308},
        {"4.9e-324", 4.9406564584124654e-324},
        {"1e22", 1e22},
        {"1e23", 1e23},
        {"9007199254740993", 9007199254740992.0},
        {"9007199254740993e0", 9007199254740992.0},
        {"18446744073709551616", 18446744073709551616.0},
        {"123456789012345678901234567890", 123456789012345678901234567890.0},
        {"0.000000000000000000000000000001", 1e-30},
        {"1e00005", 1e5},
        {"1e-0000000000000000000001", .1},
        {"nan", nan},
        {"NaN", nan},
        {"NAN", nan},
        {"inf", INFINITY},
        {"+Inf", INFINITY},
        {"-INF", -INFINITY},
        {"infinity", INFINITY},
        {"-Infinity", -INFINITY},
    };
    static const char *const refused[] = {
        "+",     "-",       ".",     "e5",     "1e",    "1e+",    "--1",     "+-1",    "1.2.3", "1,5",
        "1_000", "0x10",    "0x1p3", "0X1P-2", "1e999", "-1e999", "1.8e308", "nan(1)", "+nan",  "-NaN",
        "inf1",  "infinit", "1f",    "true",   "1e5.5", "0b1",    "1e5e5",   "\"1\"",  "=1",
    };
    for (size_t i = 0; i < ARRAY_LEN(accepted); i++) {
        char line[600];
        int len = snprintf(line, sizeof(line), "a %s 7\n", accepted[i].text);
        CLEANUP(exposition_done) struct exposition page;
        exposition_init(&page, str_of(line, (size_t)len), limits);
        if (exposition_next(&page) != EXPOSITION_SAMPLE)
            fail_msg("%s is refused: %s", accepted[i].text, page.error);
        assert_true(double_bits(page.value) == double_bits(accepted[i].value));
        assert_int_equal(page.time_ms, 7);
    }
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        char line[600];
        int len = snprintf(line, sizeof(line), "a %s\n", refused[i]);
        if (is_accepted(str_of(line, (size_t)len)))
            fail_msg("%s is accepted", refused[i]);
    }
}

static void long_numbers_have_a_ceiling(void **state)
{
    (void)state;
    char line[1024] = "a 0.";
    memset(line + 4, '1', 508);
    line[4 + 508] = '\n'; /* 0. and 508 digits: 510 bytes */
    assert_true(is_accepted(str_of(line, 513)));
    memset(line + 4, '1', 600);
    line[4 + 600] = '\n';
    assert_false(is_accepted(str_of(line, 605)));
}

static void limits_hold(void **state)
{
    (void)state;
    char line[1024];
    char text[256];
    memset(text, 'x', sizeof(text));
    for (int over = 0; over <= 1; over++) {
        int len = snprintf(line, sizeof(line), "%.*s 1\n", 64 + over, text);
        assert_int_equal(is_accepted(str_of(line, (size_t)len)), !over);
        len = snprintf(line, sizeof(line), "# TYPE %.*s gauge\n", 64 + over, text);
        assert_int_equal(is_accepted(str_of(line, (size_t)len)), !over);
        len = snprintf(line, sizeof(line), "a{%.*s=\"b\"} 1\n", 64 + over, text);
        assert_int_equal(is_accepted(str_of(line, (size_t)len)), !over);
        len = snprintf(line, sizeof(line), "a{b=\"%.*s\"} 1\n", 128 + over, text);
        assert_int_equal(is_accepted(str_of(line, (size_t)len)), !over);
        /* An escape counts as the one byte it stands for. */
        len = snprintf(line, sizeof(line), "a{b=\"%.*s\\n\"} 1\n", 127 + over, text);
        assert_int_equal(is_accepted(str_of(line, (size_t)len)), !over);
        len = snprintf(line, sizeof(line), "a{");
        for (int i = 0; i < 8 + over; i++)
            len += snprintf(line + len, sizeof(line) - (size_t)len, "l%d=\"v\",", i);
        len += snprintf(line + len, sizeof(line) - (size_t)len, "} 1\n");
        assert_int_equal(is_accepted(str_of(line, (size_t)len)), !over);
    }
}

/* The longest page with escapes in all its labels: views must survive the making of the later ones. */
static void many_escaped_values_at_once(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf body = BUF_INIT(1 << 16);
    buf_append_text(&body, "a{");
    for (int i = 0; i < 8; i++)
        buf_printf(&body, "l%d=\"%d\\\\%0100d\",", i, i, i);
    buf_append_text(&body, "} 1\n");
    CLEANUP(exposition_done) struct exposition page;
    exposition_init(&page, buf_view(&body), limits);
    assert_int_equal(exposition_next(&page), EXPOSITION_SAMPLE);
    for (int i = 0; i < 8; i++) {
        char expected[128];
        snprintf(expected, sizeof(expected), "%d\\%0100d", i, i);
        assert_true(str_equal(page.labels[i].value, str_from(expected)));
    }
}

static void series_is_the_line_before_the_value(void **state)
{
    (void)state;
    CLEANUP(exposition_done) struct exposition page;
    exposition_init(&page, STR("  a {b=\"c\\\"\"}  1\nb 2\n"), limits);
    assert_int_equal(exposition_next(&page), EXPOSITION_SAMPLE);
    assert_true(str_equal(page.series, STR("a {b=\"c\\\"\"}")));
    assert_int_equal(exposition_next(&page), EXPOSITION_SAMPLE);
    assert_true(str_equal(page.series, STR("b")));
}

/* ---- The fast road ---- */

static const char *read_value(const char *rest, double *value, bool *has_time, int64_t *time_ms)
{
    return exposition_value(rest, rest + strlen(rest), value, has_time, time_ms);
}

static void a_value_behind_a_known_series(void **state)
{
    (void)state;
    double value = -1;
    bool has_time = true;
    int64_t time_ms = -1;
    const char *rest = " 12.5\nb 1\n";
    assert_ptr_equal(read_value(rest, &value, &has_time, &time_ms), rest + 6);
    assert_true(value == 12.5 && !has_time);
    rest = "\t1e3  1700000000000 \n";
    assert_ptr_equal(read_value(rest, &value, &has_time, &time_ms), rest + strlen(rest));
    assert_true(value == 1000 && has_time && time_ms == 1700000000000);
    rest = " 7";
    assert_ptr_equal(read_value(rest, &value, &has_time, &time_ms), rest + 2);
    assert_true(value == 7);
}

static void no_value_leaves_the_results_alone(void **state)
{
    (void)state;
    /* The second: `a` is known, and the line is `a1 5`: the 1 is no value. */
    static const char *const rests[] = {"",     "1 5\n",  "{b=\"c\"} 1\n", " {b=\"c\"} 1\n", " \n",
                                        " x\n", " 1 x\n", " 1\r\n",        " 1e999\n",       " 1 2 3\n"};
    for (size_t i = 0; i < ARRAY_LEN(rests); i++) {
        double value = 42;
        bool has_time = true;
        int64_t time_ms = 43;
        assert_null(read_value(rests[i], &value, &has_time, &time_ms));
        assert_true(value == 42 && has_time && time_ms == 43);
    }
}

static size_t random_decimal(struct random *random, char text[static 64])
{
    size_t len = 0;
    text[len++] = ' ';
    if (random_below(random, 4) == 0)
        text[len++] = random_below(random, 2) ? '-' : '+';
    size_t whole = random_below(random, 22);
    for (size_t i = 0; i < whole; i++)
        text[len++] = (char)('0' + random_below(random, 10));
    size_t places = random_below(random, 2) ? random_below(random, 20) : 0;
    if (whole == 0 || places > 0) {
        text[len++] = '.';
        for (size_t i = 0; i < places + (whole == 0); i++)
            text[len++] = (char)('0' + random_below(random, 10));
    }
    if (random_below(random, 3) == 0)
        len += (size_t)snprintf(text + len, 8, "e%d", (int)random_below(random, 60) - 30);
    text[len] = '\n';
    text[len + 1] = '\0';
    return len;
}

static void decimals_are_read_as_strtod_reads_them(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 5);
    for (int i = 0; i < 300000; i++) {
        char text[64];
        random_decimal(&random, text);
        double value = 0;
        bool has_time;
        int64_t time_ms;
        if (!read_value(text, &value, &has_time, &time_ms))
            fail_msg("refused: %s", text);
        double expected = strtod(text, NULL);
        if (double_bits(value) != double_bits(expected))
            fail_msg("%s is read as %a, not %a", text, value, expected);
    }
}

static void the_fast_road_agrees_with_the_slow_one(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 6);
    static const char alphabet[] = "0123456789+-.eE \t\nnaif_x{";
    for (int i = 0; i < 300000; i++) {
        char line[64] = "a ";
        size_t len = 2 + random_below(&random, 12);
        for (size_t j = 2; j < len; j++)
            line[j] = alphabet[random_below(&random, i % 2 ? 14 : sizeof(alphabet) - 1)];
        line[len++] = '\n';
        CLEANUP(exposition_done) struct exposition page;
        exposition_init(&page, str_of(line, len), limits);
        bool slow = exposition_next(&page) == EXPOSITION_SAMPLE && page.series.len == 1;
        double value = 0;
        bool has_time = false;
        int64_t time_ms = 0;
        const char *next = exposition_value(line + 1, line + len, &value, &has_time, &time_ms);
        if (slow != (next != NULL))
            fail_msg("%.*s: the slow road says %d, the fast one %d", (int)len, line, slow, next != NULL);
        if (!next)
            continue;
        assert_ptr_equal(next, page.at);
        assert_true(double_bits(value) == double_bits(page.value));
        assert_int_equal(has_time, page.has_time);
        assert_true(!has_time || time_ms == page.time_ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_of_the_documentation),
        cmocka_unit_test(blanks_commas_and_missing_newlines),
        cmocka_unit_test(escapes_are_undone),
        cmocka_unit_test(metadata_and_comments),
        cmocka_unit_test(what_is_no_sample_is_refused_with_its_line),
        cmocka_unit_test(numbers_as_go_reads_them),
        cmocka_unit_test(long_numbers_have_a_ceiling),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(many_escaped_values_at_once),
        cmocka_unit_test(series_is_the_line_before_the_value),
        cmocka_unit_test(a_value_behind_a_known_series),
        cmocka_unit_test(no_value_leaves_the_results_alone),
        cmocka_unit_test(decimals_are_read_as_strtod_reads_them),
        cmocka_unit_test(the_fast_road_agrees_with_the_slow_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
