/* The caret under a place of an expression. */
#include "tools/cli/caret.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* before, then what is at the place and behind: the caret stands under its first character. */
static void expect(const char *before, const char *behind, size_t columns, const char *wanted)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(MIB);
    CLEANUP(buf_done) struct buf out = BUF_INIT(MIB);
    buf_printf(&text, "%s%s", before, behind);
    caret_print(buf_view(&text), strlen(before), columns, &out);
    buf_append_byte(&out, 0);
    assert_string_equal((const char *)out.data, wanted);
}

static void caret_stands_below_the_place(void **state)
{
    (void)state;
    expect("sum(", "up", 80, "  sum(up\n      ^\n");
    expect("", "up", 80, "  up\n  ^\n");
    expect("up", "", 80, "  up\n    ^\n");
    expect("", "", 80, "  \n  ^\n");
    expect("sum(\n\tup", ")\n+ 1", 80, "   up)\n     ^\n");
    expect("\t a\t", "b", 80, "    a b\n      ^\n");
    expect("日本", "語", 80, "  日本語\n      ^\n");
    expect("e\xcc\x81", "b", 80,
           "  e\xcc\x81"
           "b\n   ^\n");
    expect("\xff\x1b", "b", 80, "  \\xff\\x1bb\n          ^\n");
}

static void long_lines_are_cut_around_it(void **state)
{
    (void)state;
    expect("0123456789012345678901234567890123456789", "abcdefghijklmnopqrstuvwxyz0123456789", 40,
           "  ...901234567890123456789abcdefghijk...\n                          ^\n");
    expect("01234567890123456789", "abcdefghijklmnopqrstuvwxyz", 40,
           "  01234567890123456789abcdefghijkl...\n                      ^\n");
    expect("0123456789012345678901234567890123456789", "", 40,
           "  ...901234567890123456789\n                          ^\n");
}

static void every_place_of_long_lines_fits(void **state)
{
    (void)state;
    static const char *const parts[] = {"a", "日", "\t", "\x1b", "e\xcc\x81", "\xff"};
    CLEANUP(buf_done) struct buf text = BUF_INIT(MIB);
    for (size_t i = 0; i < 300; i++)
        buf_append_text(&text, parts[i * i % ARRAY_LEN(parts)]);
    for (size_t place = 0; place <= text.len; place++) {
        CLEANUP(buf_done) struct buf out = BUF_INIT(MIB);
        caret_print(buf_view(&text), place, 60, &out);
        struct str shown = buf_view(&out);
        size_t end = str_find(shown, '\n');
        assert_true(end < shown.len && shown.ptr[shown.len - 1] == '\n' && shown.ptr[shown.len - 2] == '^');
        assert_true(shown.len - end - 2 <= 60);
    }
}

static void places_are_read(void **state)
{
    static const struct {
        const char *message, *expression;
        int64_t place; /* -1: none */
    } cases[] = {
        {"1:1: parse error: x", "up", 0},
        {"1:3: x", "up", 2},
        {"1:4: x", "up", -1},
        {"2:2: x", "a\nbc", 3},
        {"2:1: x", "a\n", 2},
        {"3:1: x", "a\n", -1},
        {"0:1: x", "up", -1},
        {"1:0: x", "up", -1},
        {"1:1", "up", -1},
        {"many: x", "up", -1},
        {"", "up", -1},
        {":", "", -1},
        {"1:1:", "", 0},
        {"99999999999999999999:1: x", "up", -1},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t place = 0;
        bool found = caret_place(str_from(cases[i].message), str_from(cases[i].expression), &place);
        assert_int_equal(found ? (int64_t)place : -1, cases[i].place);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(caret_stands_below_the_place),
        cmocka_unit_test(long_lines_are_cut_around_it),
        cmocka_unit_test(every_place_of_long_lines_fits),
        cmocka_unit_test(places_are_read),
    };
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
