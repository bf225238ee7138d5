/* Every code point there and back, and everything that is none. */
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void every_code_point_comes_back(void **state)
{
    (void)state;
    for (uint32_t rune = 0; rune <= 0x10ffff; rune++) {
        if (rune >= 0xd800 && rune <= 0xdfff)
            continue;
        char bytes[4];
        uint32_t back = 0;
        size_t len = utf8_encode(rune, bytes);
        assert_true(str_is_utf8(str_of(bytes, len)));
        assert_int_equal(utf8_decode(str_of(bytes, len), 0, &back), len);
        assert_int_equal(back, rune);
        assert_int_equal(utf8_decode(str_of(bytes, len - 1 ? len - 1 : 1), 0, &back), len > 1 ? 0 : 1);
    }
}

static void no_utf8_is_told(void **state)
{
    (void)state;
    const struct str cases[] = {STR("\x80"),         STR("\xc0\x80"),         STR("\xc1\xbf"),
                                STR("\xe0\x9f\xbf"), STR("\xed\xa0\x80"),     STR("\xf0\x8f\xbf\xbf"),
                                STR("\xff"),         STR("\xf4\x90\x80\x80"), STR("\xf5\x80\x80\x80"),
                                STR("\xc3("),        STR("\xe2\x82")};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint32_t rune = 7;
        assert_int_equal(utf8_decode(cases[i], 0, &rune), 0);
        assert_int_equal(rune, 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_comes_back),
        cmocka_unit_test(no_utf8_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
