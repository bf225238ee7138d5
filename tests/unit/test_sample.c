/* Values as text, kinds of series, staleness. */
#include "base/random.h"
#include "metric/sample.h"

#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void values_print_as_go_prints_them(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *plain, *api; /* api NULL: the same */
    } cases[] = {
        {0, "0", NULL},
        {-0.0, "-0", NULL},
        {1, "1", NULL},
        {-1, "-1", NULL},
        {0.1, "0.1", NULL},
        {1.5, "1.5", NULL},
        {100, "100", NULL},
        {123456.789, "123456.789", NULL},
        {0.000001, "0.000001", NULL},
        {0.0000009, "0.0000009", "9e-07"},
        {1.5110000000000001, "1.5110000000000001", NULL},
        {396.50711099999995, "396.50711099999995", NULL},
        {0.1 + 0.2, "0.30000000000000004", NULL},
        {1.0 / 3, "0.3333333333333333", NULL},
        {2.0 / 3, "0.6666666666666666", NULL},
        {9007199254740991, "9007199254740991", NULL},
        {9007199254740992, "9007199254740992", NULL},
        {1e15, "1000000000000000", NULL},
        {999999999999999, "999999999999999", NULL},
        {1234567890123456768.0, "1234567890123456800", NULL},
        {18446744073709551615.0, "18446744073709552000", NULL},
        {1e20, "100000000000000000000", NULL},
        {1e21, "1000000000000000000000", "1e+21"},
        {1.5e22, "15000000000000000000000", "1.5e+22"},
        {1e23, "100000000000000000000000", "1e+23"},
        {9.999999999999997e22, "99999999999999970000000", "9.999999999999997e+22"},
        {1420070400000, "1420070400000", NULL},
        /* Powers of two, where the nearest decimal of 16 digits does not read back and the next one does. */
        {5.684341886080802e-14, "0.00000000000005684341886080802", "5.684341886080802e-14"},
        {9.5367431640625e-07, "0.00000095367431640625", "9.5367431640625e-07"},
        {5e-7, "0.0000005", "5e-07"},
        {INFINITY, "+Inf", NULL},
        {-INFINITY, "-Inf", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[VALUE_TEXT_BYTES];
        assert_int_equal(value_print(cases[i].value, text), strlen(cases[i].plain));
        assert_string_equal(text, cases[i].plain);
        const char *api = cases[i].api ? cases[i].api : cases[i].plain;
        assert_int_equal(value_print_api(cases[i].value, text), strlen(api));
        assert_string_equal(text, api);
    }
    char text[VALUE_TEXT_BYTES];
    value_print(NAN, text);
    assert_string_equal(text, "NaN");
    value_print(value_stale(), text);
    assert_string_equal(text, "NaN");
}

static void extreme_values_fit(void **state)
{
    (void)state;
    char text[VALUE_TEXT_BYTES];
    assert_int_equal(value_print(DBL_MAX, text), 309);
    assert_int_equal(strncmp(text, "17976931348623157000", 20), 0);
    assert_int_equal(value_print(-4.9406564584124654e-324, text), 3 + 324);
    assert_int_equal(text[3 + 323], '5');
    value_print_api(DBL_MAX, text);
    assert_string_equal(text, "1.7976931348623157e+308");
    value_print_api(5e-324, text);
    assert_string_equal(text, "5e-324");
    value_print_api(DBL_MIN, text);
    assert_string_equal(text, "2.2250738585072014e-308");
}

/* Digits that say something: without the point, without zeros at either end. */
static int significant_digits(const char *text)
{
    int count = 0, zeros = 0;
    for (; *text && *text != 'e'; text++) {
        if (*text < '0' || *text > '9' || (*text == '0' && count == 0))
            continue;
        zeros = *text == '0' ? zeros + 1 : 0;
        count++;
    }
    return count - zeros;
}

static void assert_shortest(double value)
{
    char text[VALUE_TEXT_BYTES];
    value_print(value, text);
    double back = strtod(text, NULL);
    if (double_bits(back) != double_bits(value))
        fail_msg("%a is printed as %s", value, text);
    int digits = significant_digits(text);
    if (digits <= 1)
        return;
    char fewer[64];
    snprintf(fewer, sizeof(fewer), "%.*e", digits - 2, value);
    if (strtod(fewer, NULL) == value)
        fail_msg("%a is printed as %s, but %s would do", value, text, fewer);
    value_print_api(value, text);
    assert_true(double_bits(strtod(text, NULL)) == double_bits(value));
}

static void random_values_read_back_and_are_short(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 42);
    for (int i = 0; i < 1000000; i++) {
        double value;
        uint64_t bits = random_next(&random);
        if (i % 4 == 0) /* any double; most are huge or tiny */
            value = i % 400 == 0 ? double_from_bits(bits) : ldexp(random_unit(&random), (int)(bits % 120) - 60);
        else if (i % 4 == 1) /* decimals as exporters write them */
            value = (double)(bits % 10000000000) / 1000;
        else if (i % 4 == 2) /* products that leave digits behind */
            value = (double)(bits % 100000000) * 0.001;
        else
            value = (double)(int64_t)(bits >> (bits % 64));
        if (isfinite(value))
            assert_shortest(value);
    }
    for (int exponent = -1074; exponent < 1024; exponent++)
        assert_shortest(ldexp(1, exponent));
}

static void kinds_come_from_type_then_name(void **state)
{
    (void)state;
    static const struct {
        enum metric_type type;
        const char *name;
        enum series_kind kind;
    } cases[] = {
        {METRIC_COUNTER, "anything", KIND_COUNTER},
        {METRIC_GAUGE, "odd_total", KIND_GAUGE},
        {METRIC_HISTOGRAM, "h_bucket", KIND_COUNTER},
        {METRIC_HISTOGRAM, "h_count", KIND_COUNTER},
        {METRIC_HISTOGRAM, "h_sum", KIND_COUNTER},
        {METRIC_SUMMARY, "s", KIND_GAUGE},
        {METRIC_SUMMARY, "s_sum", KIND_COUNTER},
        {METRIC_SUMMARY, "s_count", KIND_COUNTER},
        {METRIC_UNKNOWN, "requests_total", KIND_COUNTER},
        {METRIC_UNKNOWN, "h_bucket", KIND_COUNTER},
        {METRIC_UNKNOWN, "temperature", KIND_GAUGE},
        {METRIC_UNKNOWN, "total", KIND_GAUGE},
        {METRIC_UNKNOWN, "", KIND_GAUGE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(series_kind_of(cases[i].type, cases[i].name, strlen(cases[i].name)), cases[i].kind);
    assert_string_equal(metric_type_name(METRIC_SUMMARY), "summary");
    assert_string_equal(metric_type_name(METRIC_UNKNOWN), "unknown");
}

static void stale_is_told_by_its_bits(void **state)
{
    (void)state;
    assert_true(value_is_stale(value_stale()));
    assert_true(isnan(value_stale()));
    assert_false(value_is_stale(double_from_bits(NORMAL_NAN_BITS)));
    assert_false(value_is_stale(NAN));
    assert_false(value_is_stale(0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_print_as_go_prints_them),
        cmocka_unit_test(extreme_values_fit),
        cmocka_unit_test(random_values_read_back_and_are_short),
        cmocka_unit_test(kinds_come_from_type_then_name),
        cmocka_unit_test(stale_is_told_by_its_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
