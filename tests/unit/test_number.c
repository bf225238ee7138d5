/* Numbers for people, and the marks of axes. */
#include "tools/cli/axis.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void numbers_are_short(void **state)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-0.0, "0"},
        {1, "1"},
        {-17, "-17"},
        {0.123456789, "0.1235"},
        {12.3456, "12.35"},
        {999.96, "1000"},
        {1234.56, "1235"},
        {123456, "123456"},
        {999999, "999999"},
        {999999.7, "1M"},
        {1234567, "1.235M"},
        {8350294016, "8.35G"},
        {999.96e9, "1T"},
        {-2.5e18, "-2.5E"},
        {1e21, "1e+21"},
        {DBL_MAX, "1.798e+308"},
        {1.25e-7, "1.25e-07"},
        {DBL_TRUE_MIN, "4.941e-324"},
        {NAN, "NaN"},
        {INFINITY, "+Inf"},
        {-INFINITY, "-Inf"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[NUMBER_BYTES];
        number_print(cases[i].value, text);
        assert_string_equal(text, cases[i].text);
    }
}

/* Marks from below, joined by spaces. */
static void expect_axis(double low, double high, const char *wanted)
{
    struct axis axis = axis_of(low, high, 5);
    char all[512] = "";
    assert_true(axis.low <= low && axis.high >= high && axis.low < axis.high && axis.marks >= 2 && axis.marks <= 12);
    for (size_t i = 0; i < axis.marks; i++) {
        char text[NUMBER_BYTES];
        number_print_scaled(axis_value(&axis, i), &axis.scale, text);
        size_t len = strlen(all);
        snprintf(all + len, sizeof(all) - len, "%s%s", i > 0 ? " " : "", text);
    }
    assert_string_equal(all, wanted);
}

static void marks_are_round(void **state)
{
    (void)state;
    expect_axis(0, 1, "0 0.5 1.0");
    expect_axis(0.1, 3.7, "0 1 2 3 4");
    expect_axis(5, 5, "0 2 4 6");
    expect_axis(0, 0, "0 0.5 1.0");
    expect_axis(-3, -3, "-3 -2 -1 0");
    expect_axis(100, 101, "100.0 100.5 101.0");
    expect_axis(-7, 12, "-10 -5 0 5 10 15");
    expect_axis(0, 1500, "0 500 1000 1500");
    expect_axis(0, 8350294016., "0 5G 10G");
    expect_axis(1e9, 3e9, "0 1G 2G 3G");
    expect_axis(1700000000, 1700000004, "1700000000 1700000001 1700000002 1700000003 1700000004");
    expect_axis(0, 1e-7, "0 0.00000005 0.00000010");
    expect_axis(0, 1e-30, "0 5e-31 1e-30");
    expect_axis(0, 1e30, "0 5e+29 1e+30");
}

static void no_values_are_too_large_or_too_close(void **state)
{
    static const double pairs[][2] = {
        {-DBL_MAX, DBL_MAX},  {0, DBL_MAX},      {DBL_MAX, DBL_MAX},           {DBL_MAX / 2, DBL_MAX},
        {-DBL_MAX, -DBL_MAX}, {0, DBL_TRUE_MIN}, {DBL_TRUE_MIN, DBL_TRUE_MIN}, {1e16, 1e16 + 2},
        {1, 1 + DBL_EPSILON}, {-1e300, 1e-300}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        for (size_t marks = 2; marks < 30; marks++) {
            struct axis axis = axis_of(pairs[i][0], pairs[i][1], marks);
            assert_true(isfinite(axis.low) && isfinite(axis.high) && axis.low < axis.high);
            assert_true(axis.low <= pairs[i][0] && pairs[i][1] <= axis.high && axis.marks <= 2 * marks + 1);
            for (size_t mark = 0; mark < axis.marks; mark++)
                assert_true(axis_value(&axis, mark) >= axis.low && axis_value(&axis, mark) <= axis.high);
            double share = axis_share(&axis, pairs[i][1]);
            assert_true(share >= axis_share(&axis, pairs[i][0]) && share <= 1);
            assert_true(axis_share(&axis, INFINITY) == 1 && axis_share(&axis, -INFINITY) == 0);
        }
}

static void times_are_round(void **state)
{
    (void)state;
    static const struct {
        int64_t start_s, end_s;
        size_t marks;
        int64_t step_ms;
        const char *first;
    } cases[] = {
        {1700000000, 1700003600, 7, 600000, "22:20"},         {1700000000, 1700000010, 6, 2000, "22:13:20"},
        {1700000000, 1700000000, 6, 1, "22:13:20.000"},       {1700000000, 1700086400, 5, 21600000, "11-15"},
        {1700000000, 1702592000, 4, 864000000, "2023-11-19"}, {-3000, -1000, 3, 1800000, "23:30"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct series_span span = {cases[i].start_s * 1000, cases[i].end_s * 1000, 1000};
        char text[TIME_MARK_BYTES];
        int64_t step_ms = time_axis_step_ms(&span, cases[i].marks);
        assert_int_equal(step_ms, cases[i].step_ms);
        int64_t first_ms = time_axis_first_ms(&span, step_ms);
        assert_true(first_ms >= span.start_ms && first_ms < span.start_ms + step_ms && first_ms % step_ms == 0);
        time_axis_print(first_ms, step_ms, text);
        assert_string_equal(text, cases[i].first);
    }
    assert_int_equal(time_step_ms(3600000, 120), 30000);
    assert_int_equal(time_step_ms(3600000, 119), 60000);
    assert_int_equal(time_step_ms(0, 10), 1);
    assert_true(time_step_ms(INT64_C(4000000000000000000), 2) >= INT64_C(2000000000000000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_short),
        cmocka_unit_test(marks_are_round),
        cmocka_unit_test(no_values_are_too_large_or_too_close),
        cmocka_unit_test(times_are_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
