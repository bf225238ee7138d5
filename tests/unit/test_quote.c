/* Literals read and written as Go does. */
#include "base/quote.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void literals_are_quoted_and_unquoted(void **state)
{
    (void)state;
    static const struct {
        struct str literal, bytes, printed;
    } cases[] = {
        {{"\"a\\tb\"", 6}, {"a\tb", 3}, {"\"a\\tb\"", 6}},
        {{"'\\''", 4}, {"'", 1}, {"\"'\"", 3}},
        {{"`\\n`", 4}, {"\\n", 2}, {"\"\\\\n\"", 5}},
        {{"\"\\xff\\u20ac\"", 12}, {"\xff\xe2\x82\xac", 4}, {"\"\\xff\xe2\x82\xac\"", 9}},
        {{"\"\\u200b\\u00a0\\U0010ffff\"", 24},
         {"\xe2\x80\x8b\xc2\xa0\xf4\x8f\xbf\xbf", 9},
         {"\"\\u200b\\u00a0\\U0010ffff\"", 24}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char bytes[64];
        size_t len;
        CLEANUP(buf_done) struct buf printed = BUF_INIT(KIB);
        assert_int_equal(quote_undo(cases[i].literal, bytes, &len), 0);
        assert_true(str_equal(str_of(bytes, len), cases[i].bytes));
        quote_print(cases[i].bytes, &printed);
        assert_true(str_equal(buf_view(&printed), cases[i].printed));
    }
}

static void what_is_no_literal_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",         "\"",          "\"a",       "'a\"",     "\"\\q\"",  "\"\\\"",
                                      "\"\\x4\"", "\"\\ud800\"", "\"\\400\"", "\"a\nb\"", "\"a\"b\"", "`a`b`",
                                      "a"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char bytes[64];
        size_t len;
        assert_int_equal(quote_undo(str_from(bad[i]), bytes, &len), -EINVAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals_are_quoted_and_unquoted),
        cmocka_unit_test(what_is_no_literal_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
