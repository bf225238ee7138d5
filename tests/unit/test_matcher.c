/* Matchers: four operators, absent labels, bad patterns. */
#include "metric/matcher.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static bool matches(enum matcher_type type, const char *pattern, const char *value)
{
    struct matcher matcher;
    char error[256];
    assert_int_equal(matcher_init(&matcher, type, STR("l"), str_from(pattern), error), 0);
    bool result = matcher_matches(&matcher, str_from(value));
    assert_int_equal(matcher_matches_empty(&matcher), matcher_matches(&matcher, STR("")));
    matcher_done(&matcher);
    return result;
}

static void the_four_operators(void **state)
{
    (void)state;
    assert_true(matches(MATCH_EQUAL, "a", "a"));
    assert_false(matches(MATCH_EQUAL, "a", "ab"));
    assert_false(matches(MATCH_NOT_EQUAL, "a", "a"));
    assert_true(matches(MATCH_NOT_EQUAL, "a", ""));
    assert_true(matches(MATCH_REGEX, "a.*|b", "abc"));
    assert_false(matches(MATCH_REGEX, "a", "ab")); /* anchored */
    assert_false(matches(MATCH_REGEX, "b", "ab"));
    assert_false(matches(MATCH_REGEX, "a.b", "a\nb"));
    assert_true(matches(MATCH_NOT_REGEX, "a", "ab"));
    assert_false(matches(MATCH_NOT_REGEX, ".*", ""));
    assert_true(matches(MATCH_REGEX, "", ""));
    assert_string_equal(matcher_operator(MATCH_EQUAL), "=");
    assert_string_equal(matcher_operator(MATCH_NOT_EQUAL), "!=");
    assert_string_equal(matcher_operator(MATCH_REGEX), "=~");
    assert_string_equal(matcher_operator(MATCH_NOT_REGEX), "!~");
}

static void all_must_match_and_absent_is_empty(void **state)
{
    (void)state;
    const struct label items[] = {{STR("a"), STR("1")}, {STR("b"), STR("2")}};
    CLEANUP(labels_unrefp) struct labels *labels = labels_new(items, 2);
    struct matcher matchers[3];
    char error[256];
    assert_int_equal(matcher_init(&matchers[0], MATCH_EQUAL, STR("a"), STR("1"), error), 0);
    assert_int_equal(matcher_init(&matchers[1], MATCH_REGEX, STR("b"), STR("[0-9]"), error), 0);
    assert_int_equal(matcher_init(&matchers[2], MATCH_NOT_EQUAL, STR("absent"), STR(""), error), 0);
    assert_true(matcher_matches_labels(matchers, 0, labels));
    assert_true(matcher_matches_labels(matchers, 2, labels));
    assert_false(matcher_matches_labels(matchers, 3, labels));
    for (size_t i = 0; i < 3; i++)
        matcher_done(&matchers[i]);
}

static void a_bad_pattern_says_why(void **state)
{
    (void)state;
    struct matcher matcher = {.type = MATCH_EQUAL};
    char error[256] = "";
    assert_int_equal(matcher_init(&matcher, MATCH_REGEX, STR("a"), STR("a(b"), error), -EINVAL);
    assert_true(error[0] != '\0');
    assert_int_equal(matcher.type, MATCH_EQUAL);
    /* Not a pattern with these: */
    assert_int_equal(matcher_init(&matcher, MATCH_EQUAL, STR("a"), STR("a(b"), error), 0);
    assert_true(matcher_matches(&matcher, STR("a(b")));
    matcher_done(&matcher);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_four_operators),
        cmocka_unit_test(all_must_match_and_absent_is_empty),
        cmocka_unit_test(a_bad_pattern_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
