#include "base/random.h"
#include "base/str.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_compare_and_equal(void **state)
{
    (void)state;
    assert_true(str_compare(STR("a"), STR("b")) < 0);
    assert_true(str_compare(STR("a"), STR("ab")) < 0);
    assert_true(str_compare(STR("b"), STR("ab")) > 0);
    assert_int_equal(str_compare(STR("ab"), STR("ab")), 0);
    assert_int_equal(str_compare(STR(""), STR_NULL), 0);
    assert_true(str_compare(STR("\xff"), STR("a")) > 0); /* bytes, not signed chars */
    assert_true(str_equal(STR_NULL, STR("")));
    assert_false(str_equal(STR("a"), STR("b")));
    assert_true(str_hash(STR("abc")) != str_hash(STR("abd")));
    assert_true(str_hash(STR_NULL) == str_hash(STR("")));
}

static void test_starts_ends_finds_trims(void **state)
{
    (void)state;
    assert_true(str_starts_with(STR("abc"), STR("ab")));
    assert_true(str_starts_with(STR("abc"), STR_NULL));
    assert_false(str_starts_with(STR("ab"), STR("abc")));
    assert_false(str_starts_with(STR("abc"), STR("b")));
    assert_true(str_ends_with(STR("abc"), STR("bc")));
    assert_true(str_ends_with(STR_NULL, STR_NULL));
    assert_false(str_ends_with(STR("bc"), STR("abc")));
    assert_false(str_ends_with(STR("abc"), STR("b")));
    assert_int_equal(str_find(STR("a=b=c"), '='), 1);
    assert_int_equal(str_find(STR("abc"), '='), 3);
    assert_int_equal(str_find(STR_NULL, '='), 0);
    assert_true(str_equal(str_trim(STR(" \t a b\t ")), STR("a b")));
    assert_int_equal(str_trim(STR(" \t ")).len, 0);
    assert_int_equal(str_trim(STR_NULL).len, 0);
}

static void test_utf8(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "plain text of more than eight bytes",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "1234567\xc3\xa4",
                                       "12345678\xe2\x82\xac"};
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xe2\x82",
                                      "\xe2\x82z",
                                      "1234567\xff",
                                      "12345678\xe2\x28\xa1"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(str_is_utf8(str_from(good[i])));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(str_is_utf8(str_from(bad[i])));
    }
    assert_true(str_is_utf8(STR("zero \0 is a character")));
    assert_false(str_is_utf8(str_of("\xe2\x82\xac", 2))); /* the third byte is not the view's */
}

static void test_whole_numbers(void **state)
{
    (void)state;
    uint64_t number = 7;
    assert_int_equal(str_to_u64(STR("0"), &number), 0);
    assert_true(number == 0);
    assert_int_equal(str_to_u64(STR("18446744073709551615"), &number), 0);
    assert_true(number == UINT64_MAX);
    assert_int_equal(str_to_u64(STR("0000000000000000000000012"), &number), 0);
    assert_true(number == 12);
    assert_int_equal(str_to_u64(STR("18446744073709551616"), &number), -ERANGE);
    assert_int_equal(str_to_u64(STR("99999999999999999999999"), &number), -ERANGE);
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "1x", "x", "0x10", "1.0", "99999999999999999999999x"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(str_to_u64(str_from(bad[i]), &number), -EINVAL);
    }
    assert_true(number == 12); /* untouched by failures */

    int64_t with_sign = 7;
    assert_int_equal(str_to_i64(STR("-9223372036854775808"), &with_sign), 0);
    assert_true(with_sign == INT64_MIN);
    assert_int_equal(str_to_i64(STR("9223372036854775807"), &with_sign), 0);
    assert_true(with_sign == INT64_MAX);
    assert_int_equal(str_to_i64(STR("+5"), &with_sign), 0);
    assert_true(with_sign == 5);
    assert_int_equal(str_to_i64(STR("9223372036854775808"), &with_sign), -ERANGE);
    assert_int_equal(str_to_i64(STR("-9223372036854775809"), &with_sign), -ERANGE);
    static const char *const bad_signed[] = {"", "-", "+", "--1", "-+1", "- 1"};
    for (size_t i = 0; i < ARRAY_LEN(bad_signed); i++) {
        assert_int_equal(str_to_i64(str_from(bad_signed[i]), &with_sign), -EINVAL);
    }
    assert_true(with_sign == 5);
}

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

/* libc's own answer is the oracle. */
static void check_as_libc(const char *text)
{
    double value = -1;
    assert_int_equal(str_to_double(str_from(text), &value), 0);
    assert_true(bits_of(value) == bits_of(strtod(text, NULL)));
}

static void test_doubles_as_libc_reads_them(void **state)
{
    (void)state;
    static const char *const texts[] = {"0",
                                        "-0",
                                        "+0",
                                        "1",
                                        "-1.5",
                                        "+2",
                                        ".5",
                                        "5.",
                                        "1e3",
                                        "1E3",
                                        "1e+3",
                                        "1e-3",
                                        "9007199254740992",
                                        "9007199254740993",
                                        "9007199254740991e22",
                                        "1e22",
                                        "1e23",
                                        "1e-22",
                                        "1e-23",
                                        "123456789012345678",
                                        "1234567890123456789",
                                        "1.7976931348623157e308",
                                        "4.9e-324",
                                        "2.2250738585072011e-308",
                                        "1e-400",
                                        "-1e-400",
                                        "0.1",
                                        "0.30000000000000004",
                                        "1.0000000000000002",
                                        "0e999",
                                        "0x1p3",
                                        "0X1.8P1",
                                        "00000000000000000000000000001",
                                        "0.000000000000000000000000000000000000000000000000001",
                                        "8.41782e-311",
                                        "179769313486231570000000000000000000000"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        check_as_libc(texts[i]);
    }
    struct random random;
    random_seed(&random, 1);
    char text[64];
    for (int i = 0; i < 200000; i++) {
        uint64_t bits = random_next(&random);
        double value;
        memcpy(&value, &bits, sizeof(value));
        if (!isfinite(value)) {
            continue;
        }
        snprintf(text, sizeof(text), "%.*g", 1 + (int)random_below(&random, 17), value);
        if (isfinite(strtod(text, NULL))) {
            check_as_libc(text);
        }
        /* As metrics look: few digits, small exponents. */
        snprintf(text, sizeof(text), "%.*f", (int)random_below(&random, 7), (double)(bits >> 40) / 1000);
        check_as_libc(text);
        snprintf(text, sizeof(text), "%llue%d", (unsigned long long)(bits >> random_below(&random, 64)),
                 (int)random_below(&random, 60) - 30);
        check_as_libc(text);
    }
}

static void test_doubles_that_are_not_finite(void **state)
{
    (void)state;
    static const char *const up[] = {"inf", "+Inf", "INF", "Infinity", "+infinity", "iNf"};
    static const char *const down[] = {"-inf", "-Inf", "-INFINITY"};
    static const char *const not_numbers[] = {"nan", "NaN", "NAN"};
    double value;
    for (size_t i = 0; i < ARRAY_LEN(up); i++) {
        assert_int_equal(str_to_double(str_from(up[i]), &value), 0);
        assert_true(isinf(value) && value > 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(down); i++) {
        assert_int_equal(str_to_double(str_from(down[i]), &value), 0);
        assert_true(isinf(value) && value < 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(not_numbers); i++) {
        assert_int_equal(str_to_double(str_from(not_numbers[i]), &value), 0);
        assert_true(isnan(value));
    }
}

static void test_texts_that_are_no_doubles(void **state)
{
    (void)state;
    static const char *const bad[] = {"",     " ",    "+",    "-",         ".",   "e5",    "1e",    "1e+", "1 ",
                                      " 1",   "\t1",  "1x",   "--1",       "+-1", "1,5",   "1_000", "0x",  "nan(1)",
                                      "+nan", "-nan", "infi", "infinityx", "in",  "1.2.3", "1e5.0", "true"};
    double value = 7;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(str_to_double(str_from(bad[i]), &value), -EINVAL);
    }
    assert_int_equal(str_to_double(STR("1\0"), &value), -EINVAL);
    assert_int_equal(str_to_double(STR("1e309"), &value), -ERANGE);
    assert_int_equal(str_to_double(STR("-1e99999"), &value), -ERANGE);
    char digits[STR_NUMBER_BYTES_MAX + 1];
    memset(digits, '0', sizeof(digits));
    digits[0] = '.';
    assert_int_equal(str_to_double(str_of(digits, sizeof(digits)), &value), -EINVAL);
    assert_true(value == 7);
    assert_int_equal(str_to_double(str_of(digits, sizeof(digits) - 1), &value), 0);
    assert_true(value == 0);
    /* The view ends where it ends. */
    assert_int_equal(str_to_double(str_of("12345", 2), &value), 0);
    assert_true(value == 12);
}

static void check_duration(const char *text, int64_t ms)
{
    int64_t value = -1;
    assert_int_equal(str_to_duration_ms(str_from(text), &value), 0);
    assert_true(value == ms);
}

static void test_durations(void **state)
{
    (void)state;
    check_duration("0", 0);
    check_duration("0s", 0);
    check_duration("15s", 15000);
    check_duration("250ms", 250);
    check_duration("1h30m", 5400000);
    check_duration("1d", 86400000);
    check_duration("1w", 604800000);
    check_duration("1y", INT64_C(31536000000));
    check_duration("1y2w3d4h5m6s7ms", INT64_C(31536000000) + 2 * 604800000 + 3 * 86400000 + 4 * 3600000 + 306007);
    check_duration("1m1ms", 60001);
    static const char *const bad[] = {"",    "s",    "15",    "1",  "-1s", "1.5s", "1s1m", "1s1s",
                                      "1 s", "15s ", "15sec", "1M", "1µs", "1h30", "00"};
    int64_t value = 7;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(str_to_duration_ms(str_from(bad[i]), &value), -EINVAL);
    }
    assert_int_equal(str_to_duration_ms(STR_NULL, &value), -EINVAL);
    assert_int_equal(str_to_duration_ms(STR("292471209y"), &value), -ERANGE);
    assert_int_equal(str_to_duration_ms(STR("99999999999999999999s"), &value), -ERANGE);
    assert_int_equal(str_to_duration_ms(STR("9223372036854775s9999ms"), &value), -ERANGE);
    assert_int_equal(str_to_duration_ms(STR("99999999999999999999s1"), &value), -EINVAL);
    assert_true(value == 7);
}

static void test_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"1000", 1000},
                {"0", 0},
                {"7B", 7},
                {"512KiB", 524288},
                {"4GiB", UINT64_C(4294967296)},
                {"2MiB", 2097152},
                {"1TiB", UINT64_C(1099511627776)},
                {"3kB", 3000},
                {"3MB", 3000000},
                {"3GB", UINT64_C(3000000000)},
                {"3TB", UINT64_C(3000000000000)}};
    uint64_t bytes = 7;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(str_to_bytes(str_from(good[i].text), &bytes), 0);
        assert_true(bytes == good[i].bytes);
    }
    bytes = 7;
    static const char *const bad[] = {"", "GiB", "4gib", "4 GiB", "4GiB ", "1.5GiB", "-1", "4GiB4", "4K", "4GiBx"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(str_to_bytes(str_from(bad[i]), &bytes), -EINVAL);
    }
    assert_int_equal(str_to_bytes(STR("18446744073709551616"), &bytes), -ERANGE);
    assert_int_equal(str_to_bytes(STR("16777216TiB"), &bytes), -ERANGE);
    assert_true(bytes == 7);
}

static void test_hashes_have_a_seed(void **state)
{
    (void)state;
    uint64_t before = str_hash(STR("instance"));
    str_hash_seed(1);
    uint64_t seeded = str_hash(STR("instance"));
    assert_true(seeded != before);
    assert_true(seeded == str_hash(STR("instance")));
    str_hash_seed(0);
    assert_true(str_hash(STR("instance")) == before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare_and_equal),
        cmocka_unit_test(test_starts_ends_finds_trims),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_whole_numbers),
        cmocka_unit_test(test_doubles_as_libc_reads_them),
        cmocka_unit_test(test_doubles_that_are_not_finite),
        cmocka_unit_test(test_texts_that_are_no_doubles),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_hashes_have_a_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
