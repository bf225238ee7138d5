/* Sparklines: what each column shows. */
#include "base/fail.h"
#include "tools/cli/spark.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define NOTHING (-12345.0) /* a step without a point */
#define STEP_MS 1000

static struct series_span span_of(size_t steps)
{
    return (struct series_span){.start_ms = 0, .end_ms = (int64_t)(steps - 1) * STEP_MS, .step_ms = STEP_MS};
}

static size_t make_points(const double *values, size_t count, struct query_point *points)
{
    size_t made = 0;
    for (size_t i = 0; i < count; i++)
        if (values[i] != NOTHING)
            points[made++] = (struct query_point){.time_ms = (int64_t)i * STEP_MS, .value = values[i]};
    return made;
}

static void expect(const double *values, size_t count, size_t columns, const char *wanted)
{
    CLEANUP_FREE struct query_point *points = mem_array(count, sizeof(*points));
    struct query_series series = {.points = points, .count = make_points(values, count, points)};
    struct series_span span = span_of(count);
    CLEANUP(buf_done) struct buf out = BUF_INIT(MIB);
    spark_print(&series, &span, columns, true, &out);
    buf_append_byte(&out, 0);
    assert_string_equal((const char *)out.data, wanted);
}
#define EXPECT(columns, wanted, ...)                                                                                   \
    expect((const double[]){__VA_ARGS__}, ARRAY_LEN(((const double[]){__VA_ARGS__})), columns, wanted)

static void heights_follow_values(void **state)
{
    (void)state;
    EXPECT(8, "▁▂▃▄▅▆▇█", 0, 1, 2, 3, 4, 5, 6, 7);
    EXPECT(3, "█▅▁", -1, -3, -5);
    EXPECT(3, "▁▅█", -1.7e308, 0, 1.7e308); /* whose difference is infinite */
    EXPECT(2, "▁█", 1e-320, 2e-320);
}

static void equal_values_stand_in_the_middle(void **state)
{
    (void)state;
    EXPECT(3, "▅▅▅", 7, 7, 7);
    EXPECT(2, "▁▁", 0, 0);
    EXPECT(1, "▅", 7);
}

static void gaps_are_gaps(void **state)
{
    (void)state;
    EXPECT(5, "▁▁  █", 0, 0, NOTHING, NOTHING, 1);
    EXPECT(5, " ▁  █", NOTHING, 0, NAN, NAN, 1);
    EXPECT(3, "   ", NAN, NAN, NAN);
    EXPECT(3, "█▁█", INFINITY, -INFINITY, INFINITY);
    EXPECT(4, "▁█▅█", 0, INFINITY, 1, 2);
}

static void peaks_and_dips_of_one_step_are_seen(void **state)
{
    (void)state;
    double values[11000] = {0};
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        values[i] = 5;
    values[2500] = 10;
    values[8000] = 0;
    expect(values, ARRAY_LEN(values), 11, "▅▅█▅▅▅▅▅▁▅▅");
}

static void late_samples_leave_no_gap(void **state)
{
    (void)state;
    struct query_point points[] = {
        {.time_ms = 0, .value = 1}, {.time_ms = 2100, .value = 1}, {.time_ms = 3000, .value = 1}};
    struct query_series series = {.points = points, .count = ARRAY_LEN(points)};
    struct series_span span = {.start_ms = 0, .end_ms = 3000, .step_ms = 1500};
    CLEANUP(buf_done) struct buf out = BUF_INIT(MIB);
    assert_int_equal(spark_columns(&span, 80), 3);
    span.step_ms = 1000;
    assert_int_equal(spark_columns(&span, 80), 4);
    span.step_ms = 1500;
    spark_print(&series, &span, 3, false, &out);
    assert_memory_equal(out.data, "===", 3);
}

static void span_is_found_from_points(void **state)
{
    (void)state;
    struct query_point first[] = {{.time_ms = 1000}};
    struct query_point second[] = {{.time_ms = 0}, {.time_ms = 100}, {.time_ms = 200}, {.time_ms = 9000}};
    struct query_series series[] = {{.points = first, .count = 1}, {.points = second, .count = 4}};
    struct series_span span = series_span_of(series, 2);
    assert_int_equal(span.start_ms, 0);
    assert_int_equal(span.end_ms, 9000);
    assert_int_equal(span.step_ms, 100);
    span = series_span_of(series, 1);
    assert_int_equal(span.start_ms, 1000);
    assert_int_equal(series_span_steps(&span), 1);
    span = series_span_of(series, 0);
    assert_int_equal(series_span_steps(&span), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heights_follow_values),
        cmocka_unit_test(equal_values_stand_in_the_middle),
        cmocka_unit_test(gaps_are_gaps),
        cmocka_unit_test(peaks_and_dips_of_one_step_are_seen),
        cmocka_unit_test(late_samples_leave_no_gap),
        cmocka_unit_test(span_is_found_from_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
