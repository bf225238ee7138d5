#include "base/buf.h"
#include "base/fail.h"
#include "base/regex.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct regex *made(const char *pattern)
{
    char error[256] = "";
    struct regex *regex = NULL;
    assert_int_equal(regex_new(str_from(pattern), error, &regex), 0);
    assert_string_equal(error, "");
    return regex;
}

static bool matches(const char *pattern, struct str text)
{
    CLEANUP(regex_freep) struct regex *regex = made(pattern);
    size_t count;
    struct str groups[REGEX_GROUPS_MAX];
    bool both = regex_matches(regex, text);
    assert_int_equal(both, regex_groups(regex, text, groups, &count)); /* the two agree */
    return both;
}

static void test_anchored_at_both_ends(void **state)
{
    (void)state;
    assert_true(matches("abc", STR("abc")));
    assert_false(matches("abc", STR("xabc")));
    assert_false(matches("abc", STR("abcx")));
    assert_true(matches("a|abc", STR("abc"))); /* the whole alternation, not its first success */
    assert_true(matches("a.*", STR("abc")));
    assert_true(matches("", STR("")));
    assert_true(matches("", STR_NULL));
    assert_false(matches("", STR("a")));
    assert_true(matches(".*", STR_NULL));
    assert_false(matches(".+", STR_NULL));
    assert_true(matches("^abc$", STR("abc")));
    assert_false(matches("abc$", STR("abc\n")));
}

static void test_as_prometheus_2_42(void **state)
{
    (void)state;
    assert_false(matches("a.b", STR("a\nb")));
    assert_true(matches("(?s)a.b", STR("a\nb")));
    assert_true(matches("(?i)ABC", STR("abc")));
    assert_true(matches("5..", STR("503")));
    assert_true(matches("\\d+\\.\\w+", STR("12.ab")));
    assert_true(matches("gr.n", STR("gr\xc3\xbcn"))); /* a character, not a byte */
    assert_true(matches("a.b", str_of("a\0b", 3)));
    assert_false(matches(".", STR("\xff")));
}

static void test_patterns_that_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"(",          ")",     "a)(b",    "[",       "*a",
                                      "\\1",        "(?=a)", "(?<n>a)", "a{1001}", "((a{100}){100}){100}",
                                      "\\pL{1000}", "\\8",   "\xff"};
    struct regex *regex = NULL;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char error[256] = "";
        assert_int_equal(regex_new(str_from(bad[i]), error, &regex), -EINVAL);
        assert_true(strlen(error) > 0);
    }
    CLEANUP_FREE char *long_pattern = mem_alloc(REGEX_PATTERN_BYTES_MAX + 1);
    memset(long_pattern, 'a', REGEX_PATTERN_BYTES_MAX + 1);
    char error[256] = "";
    assert_int_equal(regex_new(str_of(long_pattern, REGEX_PATTERN_BYTES_MAX + 1), error, &regex), -EINVAL);
    assert_true(strlen(error) > 0);
    assert_null(regex); /* untouched */
    regex_free(NULL);
}

static void test_groups(void **state)
{
    (void)state;
    CLEANUP(regex_freep) struct regex *regex = made("(?P<host>[^:]+)(:(\\d+))?()");
    struct str groups[REGEX_GROUPS_MAX];
    size_t count = 0;
    assert_true(regex_groups(regex, STR("web:80"), groups, &count));
    assert_int_equal(count, 5);
    assert_true(str_equal(groups[0], STR("web:80")));
    assert_true(str_equal(groups[1], STR("web")));
    assert_true(str_equal(groups[3], STR("80")));
    assert_true(groups[4].ptr && groups[4].len == 0); /* matched nothing */
    assert_true(regex_groups(regex, STR("web"), groups, &count));
    assert_null(groups[3].ptr); /* did not match */
    assert_false(regex_groups(regex, STR(":"), groups, &count));
    CLEANUP(regex_freep) struct regex *all = made("(.*)");
    assert_true(regex_groups(all, STR_NULL, groups, &count));
    assert_true(groups[0].ptr && groups[1].ptr); /* matched, if nothing */
    assert_int_equal(regex_group_index(regex, STR("host")), 1);
    assert_int_equal(regex_group_index(regex, STR("port")), -ENOENT);
    assert_int_equal(regex_group_index(regex, STR_NULL), -ENOENT);
}

static void test_more_groups_than_are_given(void **state)
{
    (void)state;
    CLEANUP(regex_freep) struct regex *regex = made("(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)");
    struct str groups[REGEX_GROUPS_MAX];
    size_t count = 0;
    assert_true(regex_groups(regex, STR("aaaaaaaaaaaaaaaaaaaa"), groups, &count));
    assert_int_equal(count, REGEX_GROUPS_MAX);
    assert_int_equal(groups[REGEX_GROUPS_MAX - 1].len, 1);
}

static void test_no_pattern_explodes(void **state)
{
    (void)state;
    /* Backtracking would need 2^5000 steps. */
    CLEANUP(regex_freep) struct regex *regex = made("(a+)+b");
    char text[5001];
    memset(text, 'a', sizeof(text));
    assert_false(regex_matches(regex, str_of(text, sizeof(text))));
    text[5000] = 'b';
    assert_true(regex_matches(regex, str_of(text, sizeof(text))));
    /* More states than the cache may hold: slower, and still right. */
    CLEANUP(regex_freep) struct regex *wide = made("[ab]*a[ab]{200}");
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = (i * i / 7) % 3 ? 'a' : 'b';
    }
    text[sizeof(text) - 201] = 'a';
    assert_true(regex_matches(wide, str_of(text, sizeof(text))));
    text[sizeof(text) - 201] = 'b';
    assert_false(regex_matches(wide, str_of(text, sizeof(text))));
}

/* What takes other engines ages, on values of 64 KiB: each comes to its end. */
static void test_hostile_patterns_on_long_values(void **state)
{
    (void)state;
    static const char *const patterns[] = {"(a+)+$", "(.*)*x", "(a|a)*x", "(a*)*(a*)*x", "(.*a){25}x", "a*a*a*a*a*a*x"};
    CLEANUP(buf_done) struct buf text = BUF_INIT(65536), alternation = BUF_INIT(REGEX_PATTERN_BYTES_MAX);
    while (!text.full)
        buf_append_byte(&text, 'a');
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        CLEANUP(regex_freep) struct regex *regex = made(patterns[i]);
        assert_int_equal(regex_matches(regex, buf_view(&text)), i == 0);
    }
    for (int i = 0; i < 3000; i++) /* no texts alone, so RE2's to run */
        buf_printf(&alternation, "%sa%d[ab]?", i > 0 ? "|" : "", i);
    buf_append_byte(&alternation, '\0');
    CLEANUP(regex_freep) struct regex *regex = made((const char *)alternation.data);
    assert_false(regex_matches(regex, buf_view(&text)));
    assert_true(regex_matches(regex, STR("a2999b")));
}

/* Refused, or small: never a program past the ceiling. */
static void test_patterns_whose_program_would_be_large(void **state)
{
    (void)state;
    static const char *const bad[] = {"(a{1,1000}){1,1000}", "((a{1,100}){1,100}){1,100}", "(\\pL{500}){2}",
                                      "[^\\x00-\\x{10FFFF}]{2000}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char error[256] = "";
        struct regex *regex = NULL;
        assert_int_equal(regex_new(str_from(bad[i]), error, &regex), -EINVAL);
        assert_true(strlen(error) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_anchored_at_both_ends),
        cmocka_unit_test(test_as_prometheus_2_42),
        cmocka_unit_test(test_patterns_that_are_refused),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_more_groups_than_are_given),
        cmocka_unit_test(test_no_pattern_explodes),
        cmocka_unit_test(test_hostile_patterns_on_long_values),
        cmocka_unit_test(test_patterns_whose_program_would_be_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
