/* Due times, and a clock that never runs backwards. */
#include "base/fail.h"
#include "secondary/schedule.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_due(void **state)
{
    (void)state;
    assert_int_equal(schedule_floor_ms(119999, 60000), 60000);
    assert_int_equal(schedule_floor_ms(-1, 60000), -60000);
    assert_int_equal(schedule_due_ms(3000, 15000, 60000), 63000);
    assert_int_equal(schedule_due_ms(3000, 15000, 63000), 63000);
    assert_int_equal(schedule_due_ms(3000, 15000, 63001), 78000);
    for (uint64_t key = 0; key < 100000; key += 777) {
        int64_t phase_ms = schedule_phase_ms(key, 15000);
        assert_in_range(phase_ms, 0, 14999);
    }
}

static void test_sample_time(void **state)
{
    (void)state;
    assert_int_equal(schedule_sample_ms(1000, 1002, 100), 1000); /* 2 ms always */
    assert_int_equal(schedule_sample_ms(1000, 1003, 100), 1003);
    assert_int_equal(schedule_sample_ms(1000, 1010, 1000), 1000); /* 1 % */
    assert_int_equal(schedule_sample_ms(1000, 1050, 60000), 1000);
    assert_int_equal(schedule_sample_ms(1000, 1051, 60000), 1051); /* 50 ms at most */
}

static void test_clock_forward(void **state)
{
    (void)state;
    CLEANUP(clock_freep) struct clock *clock = clock_simulated_new(1000000);
    struct schedule_clock schedule;
    schedule_clock_init(&schedule, clock);
    clock_simulated_advance(clock, 500);
    assert_int_equal(schedule_now_ms(&schedule), 1000500);
    clock_simulated_step_wall(clock, 3600000);
    assert_int_equal(schedule_now_ms(&schedule), 4600500);
}

/* Set back by 10 s: time goes on, slower, until both agree. */
static void test_clock_back(void **state)
{
    (void)state;
    CLEANUP(clock_freep) struct clock *clock = clock_simulated_new(1000000);
    struct schedule_clock schedule;
    schedule_clock_init(&schedule, clock);
    clock_simulated_step_wall(clock, -10000);
    int64_t before_ms = schedule_now_ms(&schedule);
    assert_int_equal(before_ms, 1000000);
    for (int i = 0; i < 100; i++) {
        clock_simulated_advance(clock, 1000);
        int64_t now_ms = schedule_now_ms(&schedule);
        assert_in_range(now_ms - before_ms, 900, 1000);
        before_ms = now_ms;
    }
    assert_int_equal(before_ms, clock_wall_ms(clock));
    clock_simulated_advance(clock, 1000);
    assert_int_equal(schedule_now_ms(&schedule), clock_wall_ms(clock));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_due),
        cmocka_unit_test(test_sample_time),
        cmocka_unit_test(test_clock_forward),
        cmocka_unit_test(test_clock_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
