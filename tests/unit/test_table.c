/* Tables on terminals of any width, and the columns of labels. */
#include "base/fail.h"
#include "tools/cli/label_columns.h"
#include "tools/cli/table.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct table_column columns[] = {{.title = "NAME"},
                                              {.title = "COUNT", .right = true},
                                              {.title = "MORE", .minor = true},
                                              {.title = "SERIES", .wraps = true}};

static struct table *make(const char *const (*rows)[4], size_t count)
{
    struct table *table = table_new(columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < 4; j++)
            table_cell(table, str_from(rows[i][j]));
    return table;
}

static void expect(const char *const (*rows)[4], size_t count, int width, const char *wanted)
{
    char *text = NULL;
    size_t len = 0;
    struct output output = {.utf8 = true, .width = width};
    CLEANUP(table_freep) struct table *table = make(rows, count);
    FILE *out = open_memstream(&text, &len);
    table_write(table, &output, "", out);
    fclose(out);
    if (strcmp(text, wanted) != 0)
        fail_msg("not\n%s\nbut\n%s", wanted, text);
    free(text);
}

static void columns_stand_below_each_other(void **state)
{
    static const char *const rows[][4] = {
        {"a", "1", "x", "{}"}, {"日本", "1000000", "", "{a=\"b\"}"}, {"e\xcc\x81", "2", "", ""}};
    (void)state;
    expect(rows, 3, 80,
           "NAME    COUNT  MORE  SERIES\n"
           "a           1  x     {}\n"
           "日本  1000000        {a=\"b\"}\n"
           "e\xcc\x81           2        \n");
}

static void what_does_not_fit_wraps_or_goes(void **state)
{
    static const char *const rows[][4] = {{"a", "1", "x", "{datacenter=\"dc1\",instance=\"10.0.0.1:9100\"}"}};
    static const char *const long_word[][4] = {{"a", "1", "", "0123456789012345678901234567890123456789日本"}};
    (void)state;
    expect(rows, 1, 60,
           "NAME  COUNT  MORE  SERIES\n"
           "a         1  x     {datacenter=\"dc1\",\n"
           "                   instance=\"10.0.0.1:9100\"}\n");
    expect(rows, 1, 40,
           "NAME  COUNT  SERIES\n"
           "a         1  {datacenter=\"dc1\",\n"
           "             instance=\"10.0.0.1:9100\"}\n"
           "(columns left out, for the terminal is too narrow: 1)\n");
    expect(rows, 1, 30,
           "NAME  COUNT\n"
           "    SERIES\n"
           "a         1\n"
           "    {datacenter=\"dc1\",\n"
           "    instance=\"10.0.0.1:9100\"}\n"
           "(columns left out, for the terminal is too narrow: 1)\n");
    expect(long_word, 1, 36,
           "NAME  COUNT\n"
           "    SERIES\n"
           "a         1\n"
           "    01234567890123456789012345678901\n"
           "    23456789日本\n");
}

static void nothing_steers_the_terminal(void **state)
{
    static const char *const rows[][4] = {{"\x1b[31m", "\n", "\xff",
                                           "\xc2\x9b"
                                           "\xe2\x80\xae"}};
    (void)state;
    expect(rows, 1, 80,
           "NAME      COUNT  MORE  SERIES\n"
           "\\x1b[31m   \\x0a  \\xff  \\xc2\\x9b\\xe2\\x80\\xae\n");
}

static void common_labels_are_taken_out(void **state)
{
    (void)state;
    CLEANUP(labels_unrefp)
    struct labels *first = labels_new(
        (const struct label[]){
            {STR("__name__"), STR("up")}, {STR("a"), STR("1")}, {STR("b"), STR("x")}, {STR("c"), STR("y")}},
        4);
    CLEANUP(labels_unrefp)
    struct labels *second =
        labels_new((const struct label[]){{STR("__name__"), STR("up")}, {STR("a"), STR("2")}, {STR("b"), STR("x")}}, 3);
    const struct query_series series[] = {{.labels = first}, {.labels = second}};
    struct label_columns labels;
    CLEANUP(buf_done) struct buf text = BUF_INIT(MIB);
    label_columns_of(series, 2, &labels);
    assert_int_equal(labels.count, 4);
    label_columns_split(&labels, series, 2, &text);
    assert_true(str_equal(buf_view(&text), STR("up{b=\"x\"}")));
    assert_int_equal(labels.count, 2);
    buf_reset(&text);
    label_columns_print(&labels, &series[0], &text);
    assert_true(str_equal(buf_view(&text), STR("{a=\"1\",c=\"y\"}")));
    buf_reset(&text);
    label_columns_print(&labels, &series[1], &text);
    assert_true(str_equal(buf_view(&text), STR("{a=\"2\"}")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_stand_below_each_other),
        cmocka_unit_test(what_does_not_fit_wraps_or_goes),
        cmocka_unit_test(nothing_steers_the_terminal),
        cmocka_unit_test(common_labels_are_taken_out),
    };
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
