/* Patterns that are texts and wildcards: what they are taken apart to, and that they answer as RE2 does. */
#include "base/buf.h"
#include "base/fail.h"
#include "base/globs.h"
#include "base/random.h"
#include "base/regex.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct globs *made(const char *pattern)
{
    struct globs *globs = NULL;
    if (globs_new(str_from(pattern), &globs) < 0)
        fail_msg("%s is no glob", pattern);
    return globs;
}

static void assert_texts(const char *pattern, const char *expected)
{
    CLEANUP(globs_freep) struct globs *globs = made(pattern);
    size_t count = 0;
    const struct str *texts = globs_texts(globs, &count);
    CLEANUP(buf_done) struct buf joined = BUF_INIT(MIB);
    assert_non_null(texts);
    for (size_t i = 0; i < count; i++) {
        buf_append_text(&joined, i > 0 ? "," : "");
        buf_append_str(&joined, texts[i]);
    }
    buf_append_byte(&joined, 0);
    assert_string_equal((const char *)joined.data, expected);
}

static void test_patterns_of_texts_alone(void **state)
{
    (void)state;
    assert_texts("", "");
    assert_texts("up", "up");
    assert_texts("b|a|b", "a,b");
    assert_texts("a|", ",a");
    assert_texts("(?:a|b)", "a,b");
    assert_texts("^(a|b)$|^c", "a,b,c");
    assert_texts("host-(1|2|3):9100", "host-1:9100,host-2:9100,host-3:9100");
    assert_texts("(a|b)(c|d)", "ac,ad,bc,bd");
    assert_texts("10\\.0\\.0\\.1:9100", "10.0.0.1:9100");
    assert_texts("cpu[0-2x]", "cpu0,cpu1,cpu2,cpux");
    assert_texts("web(:80)?", "web,web:80");
    assert_texts("gr\xc3\xbcn|rot", "gr\xc3\xbcn,rot");
}

static enum globs_answer answer(const char *pattern, struct str text)
{
    CLEANUP(globs_freep) struct globs *globs = made(pattern);
    size_t count;
    assert_null(globs_texts(globs, &count));
    return globs_match(globs, text);
}

static void test_wildcards(void **state)
{
    (void)state;
    assert_int_equal(answer("node_.*", STR("node_load1")), GLOBS_YES);
    assert_int_equal(answer("node_.*", STR("node_")), GLOBS_YES);
    assert_int_equal(answer("node_.+", STR("node_")), GLOBS_NO);
    assert_int_equal(answer("node_.*", STR("nod")), GLOBS_NO);
    assert_int_equal(answer(".*_total", STR("a_total")), GLOBS_YES);
    assert_int_equal(answer("a.*a", STR("a")), GLOBS_NO); /* the two do not overlap */
    assert_int_equal(answer(".*cpu.*", STR("node_cpu_seconds")), GLOBS_YES);
    assert_int_equal(answer(".*cpu.*", STR_NULL), GLOBS_NO);
    assert_int_equal(answer("(a|b).*|c", STR("bx")), GLOBS_YES);
    assert_int_equal(answer("(a|b).*|c", STR("c")), GLOBS_YES);
    assert_int_equal(answer("(a|b).*|c", STR("cx")), GLOBS_NO);
    assert_int_equal(answer(".*", STR("a\nb")), GLOBS_ASK);
    assert_int_equal(answer(".*", STR("gr\xc3\xbcn")), GLOBS_ASK);
    assert_int_equal(answer("\xc3\xbc.*", STR("\xc3\xbc.")), GLOBS_YES);
}

static void test_all_and_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *min, *max;
        bool all;
    } rows[] = {
        {".*", "", "", true},         {"(.+)", "", "", true},   {".+.+", "", "", false},
        {"a.*", "a", "a", false},     {"a|b", "a", "b", false}, {"ab.*|a", "a", "a", false},
        {"abc|a.*", "a", "a", false}, {".*a", "", "", false},   {"x|ab.*|b.*", "ab", "x", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(globs_freep) struct globs *globs = made(rows[i].pattern);
        struct str min, max;
        globs_bounds(globs, &min, &max);
        assert_true(str_equal(min, str_from(rows[i].min)));
        assert_true(str_equal(max, str_from(rows[i].max)));
        assert_int_equal(globs_take_all(globs), rows[i].all);
    }
}

static void test_patterns_that_are_left_to_re2(void **state)
{
    (void)state;
    static const char *const others[] = {
        "a*",     "a+", "a?",  "a{2}", "(?i)a",    "(?P<n>a)", "[^a]", "[a-",  "[]a]", "a.b",  "\\d",   "a|\\w",
        "(a",     "a)", "a**", ".**",  "(a)*",     "x^",       "$x",   "a$b",  "\\",   "\xff", "^*",    ".*a.+b.*",
        "[[:a]]", "{",  "(?:", "[",    ".*a.*b.*", "(^a)",     "(a$)", "\\pN", "\\Qa", "\n",   "[z-a]",
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        struct globs *globs = NULL;
        if (globs_new(str_from(others[i]), &globs) != -ENOTSUP)
            fail_msg("%s", others[i]);
        assert_null(globs);
    }
    globs_free(NULL);
}

static void append_times(struct buf *pattern, const char *text, size_t times)
{
    buf_reset(pattern);
    for (size_t i = 0; i < times; i++)
        buf_append_text(pattern, text);
}

/* Each is either taken apart within the limits or left to RE2. */
static void test_patterns_that_would_grow(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf pattern = BUF_INIT(MIB);
    struct globs *globs = NULL;
    append_times(&pattern, "(a|b)", 13); /* 8,192 texts */
    assert_int_equal(globs_new(buf_view(&pattern), &globs), -ENOTSUP);
    append_times(&pattern, "[0-9]", 1000);
    assert_int_equal(globs_new(buf_view(&pattern), &globs), -ENOTSUP);
    append_times(&pattern, "(", 60000);
    assert_int_equal(globs_new(buf_view(&pattern), &globs), -ENOTSUP);
    append_times(&pattern, "a.*|", 17);
    assert_int_equal(globs_new(buf_view(&pattern), &globs), -ENOTSUP);
    append_times(&pattern, "a", 65537);
    assert_int_equal(globs_new(buf_view(&pattern), &globs), -ENOTSUP);
    append_times(&pattern, "[a-z]", 3); /* 17,576 */
    assert_int_equal(globs_new(buf_view(&pattern), &globs), -ENOTSUP);
    append_times(&pattern, "[ab]", 16000);
    assert_int_equal(globs_new(buf_view(&pattern), &globs), -ENOTSUP);
    buf_reset(&pattern);
    for (int i = 0; i < 10000; i++)
        buf_printf(&pattern, "%s%d", i > 0 ? "|" : "", i);
    assert_int_equal(globs_new(buf_view(&pattern), &globs), 0);
    size_t count = 0;
    assert_non_null(globs_texts(globs, &count));
    assert_int_equal(count, 10000);
    assert_int_equal(globs_match(globs, STR("9999")), GLOBS_YES);
    assert_int_equal(globs_match(globs, STR("10000")), GLOBS_NO);
    assert_true(globs_bytes(globs) < MIB);
    globs_free(globs);
}

/* ---- Against RE2 ---- */

static const char *const atoms[] = {"a",        "b",     "ab",   ".*",  ".+",   "a|b",      "(a|b)", "(?:a|)",    "()",
                                    "(.*)",     "-",     "\\.",  "\\-", "[ab]", "[a-c]",    "|",     "^",         "$",
                                    "\xc3\xbc", "?",     "(a)?", ".*?", "[.]",  "(ab|b.*)", ":",     "(^a|b$)",   "\\_",
                                    "\\<",      "{",     "[-a]", "*",   "+",    "\\",       "[",     "]",         "(",
                                    ")",        "(?i)",  ".",    "}",   "a*",   "/",        "\\/",   "(a|(b|c))", "\\n",
                                    "[a:]",     "[:a:]", "\"",   "#",   "a{2}"};
static const char *const pieces[] = {"a",    "b", "ab", "c", "-", ".", "\n", "\xc3\xbc",
                                     "\xff", "",  ":",  "A", "_", "/", "\0"};

/* Random pieces, more often the simple ones. */
static struct str pick(struct random *random, struct buf *into, const char *const *from, size_t count)
{
    buf_reset(into);
    for (uint64_t left = random_below(random, 6); left > 0; left--) {
        size_t among = random_below(random, 3) ? MIN(count, 26) : count;
        buf_append_text(into, from[random_below(random, among)]);
    }
    return buf_view(into);
}

/* Whatever globs says RE2 says; what is a glob is a valid pattern; all that matches lies within both bounds. */
static void test_random_patterns_as_re2(void **state)
{
    (void)state;
    enum { PATTERNS = 40000, TEXTS = 10 };
    struct random random;
    random_seed(&random, 20260714);
    CLEANUP(buf_done) struct buf pattern = BUF_INIT(KIB), text = BUF_INIT(KIB);
    size_t known = 0, yes = 0, asked = 0;
    for (int i = 0; i < PATTERNS; i++) {
        char error[256];
        CLEANUP(globs_freep) struct globs *globs = NULL;
        CLEANUP(regex_freep) struct regex *regex = NULL;
        struct str source = pick(&random, &pattern, atoms, ARRAY_LEN(atoms));
        bool is_glob = globs_new(source, &globs) == 0;
        if (regex_new(source, error, &regex) < 0) {
            if (is_glob)
                fail_msg("RE2 refuses " STR_FMT ": %s", STR_ARG(source), error);
            continue;
        }
        struct str bounds[4] = {0};
        regex_bounds(regex, &bounds[0], &bounds[1]);
        if (is_glob)
            globs_bounds(globs, &bounds[2], &bounds[3]);
        known += is_glob;
        for (int j = 0; j < TEXTS; j++) {
            struct str value = pick(&random, &text, pieces, ARRAY_LEN(pieces));
            bool matches = regex_matches(regex, value);
            enum globs_answer said = is_glob ? globs_match(globs, value) : GLOBS_ASK;
            if (said != GLOBS_ASK && (said == GLOBS_YES) != matches)
                fail_msg("/" STR_FMT "/ and \"" STR_FMT "\": RE2 says %d", STR_ARG(source), STR_ARG(value), matches);
            yes += said == GLOBS_YES;
            asked += is_glob && said == GLOBS_ASK;
            for (size_t k = 0; k < ARRAY_LEN(bounds) && matches; k += 2)
                if (str_compare(value, bounds[k]) < 0 ||
                    str_compare(str_of(value.ptr, MIN(value.len, bounds[k + 1].len)), bounds[k + 1]) > 0)
                    fail_msg("/" STR_FMT "/ takes \"" STR_FMT "\", which is out of its bounds", STR_ARG(source),
                             STR_ARG(value));
        }
    }
    assert_true(known > PATTERNS / 3 && yes > 10000 && asked > 1000); /* it was worth asking */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns_of_texts_alone),  cmocka_unit_test(test_wildcards),
        cmocka_unit_test(test_all_and_bounds),           cmocka_unit_test(test_patterns_that_are_left_to_re2),
        cmocka_unit_test(test_patterns_that_would_grow), cmocka_unit_test(test_random_patterns_as_re2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
