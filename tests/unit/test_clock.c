#include "base/clock.h"
#include "base/random.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_simulated_time_stands_still(void **state)
{
    (void)state;
    CLEANUP(clock_freep) struct clock *clock = clock_simulated_new(1000);
    assert_true(clock_is_simulated(clock));
    int64_t mono_ns = clock_mono_ns(clock);
    assert_int_equal(clock_wall_ms(clock), 1000);
    assert_int_equal(clock_wall_ms(clock), 1000);
    assert_true(clock_mono_ns(clock) == mono_ns);
    clock_simulated_advance(clock, 250);
    assert_int_equal(clock_wall_ms(clock), 1250);
    assert_true(clock_mono_ns(clock) == mono_ns + 250000000);
    clock_simulated_step_wall(clock, -1000);
    assert_int_equal(clock_wall_ms(clock), 250);
    assert_true(clock_mono_ns(clock) == mono_ns + 250000000);
}

static void test_real_time(void **state)
{
    (void)state;
    struct clock *clock = clock_real();
    assert_false(clock_is_simulated(clock));
    assert_true(clock_wall_ms(clock) > INT64_C(1700000000000)); /* after this was written */
    int64_t before_ns = clock_mono_ns(clock);
    int64_t cpu_ns = clock_thread_cpu_ns();
    for (int i = 0; i < 1000; i++) {
        int64_t now_ns = clock_mono_ns(clock);
        assert_true(now_ns >= before_ns);
        before_ns = now_ns;
    }
    assert_true(clock_thread_cpu_ns() > cpu_ns);
    clock_free(clock); /* allowed, does nothing */
    assert_true(clock_mono_ns(clock_real()) >= before_ns);
    clock_free(NULL);
}

static void check_both_ways(int64_t ms, const char *text)
{
    char printed[32];
    clock_format_rfc3339(ms, printed);
    assert_string_equal(printed, text);
    int64_t parsed = -1;
    assert_int_equal(clock_parse_rfc3339(text, &parsed), 0);
    assert_true(parsed == ms);
}

static void test_rfc3339_of_known_times(void **state)
{
    (void)state;
    check_both_ways(0, "1970-01-01T00:00:00.000Z");
    check_both_ways(-1, "1969-12-31T23:59:59.999Z");
    check_both_ways(951782400000, "2000-02-29T00:00:00.000Z");
    check_both_ways(1767323045678, "2026-01-02T03:04:05.678Z");
    check_both_ways(4107542400000, "2100-03-01T00:00:00.000Z"); /* no leap year */
    check_both_ways(-62167219200000, "0000-01-01T00:00:00.000Z");
    check_both_ways(253402300799999, "9999-12-31T23:59:59.999Z");
    char text[32];
    clock_format_rfc3339(INT64_MAX, text);
    assert_string_equal(text, "292278994-08-17T07:12:55.807Z");
    clock_format_rfc3339(INT64_MIN, text);
    assert_string_equal(text, "-292275055-05-16T16:47:04.192Z");
}

static void test_rfc3339_comes_back(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 3);
    for (int i = 0; i < 100000; i++) {
        int64_t ms =
            (int64_t)random_below(&random, UINT64_C(253402300800000 + 62167219200000)) - INT64_C(62167219200000);
        char text[32];
        int64_t parsed;
        clock_format_rfc3339(ms, text);
        assert_int_equal(clock_parse_rfc3339(text, &parsed), 0);
        assert_true(parsed == ms);
    }
}

static void test_rfc3339_offsets_and_fractions(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T01:00:00+01:00", 0},
        {"1969-12-31T18:30:00-05:30", 0},
        {"1970-01-01T00:00:00.5Z", 500},
        {"1970-01-01T00:00:00.123456789Z", 123},
        {"1970-01-01T00:00:00.0000000000000000000000000000001Z", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        int64_t ms = -1;
        assert_int_equal(clock_parse_rfc3339(good[i].text, &ms), 0);
        assert_true(ms == good[i].ms);
    }
}

static void test_rfc3339_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "1970",
                                      "1970-01-01",
                                      "1970-01-01T00:00:00",
                                      "1970-01-01 00:00:00Z",
                                      "1970-13-01T00:00:00Z",
                                      "1970-00-01T00:00:00Z",
                                      "1970-02-29T00:00:00Z",
                                      "2100-02-29T00:00:00Z",
                                      "1970-01-00T00:00:00Z",
                                      "1970-04-31T00:00:00Z",
                                      "1970-01-01T24:00:00Z",
                                      "1970-01-01T00:60:00Z",
                                      "1970-01-01T00:00:60Z",
                                      "1970-01-01T00:00:00.Z",
                                      "1970-01-01T00:00:00,5Z",
                                      "1970-01-01T00:00:00+0100",
                                      "1970-01-01T00:00:00+24:00",
                                      "1970-01-01T00:00:00Zx",
                                      "1970-1-01T00:00:00Z",
                                      "-970-01-01T00:00:00Z"};
    int64_t ms = 7;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(clock_parse_rfc3339(bad[i], &ms), -EINVAL);
    }
    assert_int_equal(ms, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simulated_time_stands_still),   cmocka_unit_test(test_real_time),
        cmocka_unit_test(test_rfc3339_of_known_times),        cmocka_unit_test(test_rfc3339_comes_back),
        cmocka_unit_test(test_rfc3339_offsets_and_fractions), cmocka_unit_test(test_rfc3339_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
