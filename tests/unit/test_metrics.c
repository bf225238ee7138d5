/* A daemon's own metrics as text. */
#include "net/metrics.h"

#include "base/clock.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect_text(struct buf *out, const char *text)
{
    buf_append_byte(out, '\0');
    assert_false(out->full);
    assert_string_equal((const char *)out->data, text);
}

static void families_and_samples_are_exposition_text(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf out = BUF_INIT(KIB);
    metrics_family(&out, "a_total", METRICS_COUNTER, "Things, by\\in\nkind.");
    metrics_sample(&out, "a_total", "kind=\"x\"", 12345678901234);
    metrics_sample(&out, "a_total", NULL, 0.1);
    metrics_one(&out, "b", METRICS_GAUGE, "Level.", -INFINITY);
    metrics_sample(&out, "b", NULL, INFINITY);
    metrics_sample(&out, "b", "", NAN);
    expect_text(&out, "# HELP a_total Things, by\\\\in\\nkind.\n"
                      "# TYPE a_total counter\n"
                      "a_total{kind=\"x\"} 12345678901234\n"
                      "a_total 0.10000000000000001\n"
                      "# HELP b Level.\n"
                      "# TYPE b gauge\n"
                      "b -Inf\n"
                      "b +Inf\n"
                      "b NaN\n");
}

static void quoting_keeps_a_value_inside_its_quotes(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf out = BUF_INIT(KIB);
    metrics_quote(&out, STR("a\"b\\c\nd"));
    expect_text(&out, "\"a\\\"b\\\\c\\nd\"");
}

static double value_of(const char *text, const char *name)
{
    char start[128];
    snprintf(start, sizeof(start), "\n%s ", name);
    const char *line = strstr(text, start);
    assert_non_null(line);
    return strtod(line + strlen(start), NULL);
}

static void the_process_tells_about_itself(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf out = BUF_INIT(64 * KIB), again = BUF_INIT(64 * KIB);
    metrics_process(&out, "tributary-test");
    metrics_process(&again, "tributary-test");
    buf_append_byte(&out, '\0');
    buf_append_byte(&again, '\0');
    const char *text = (const char *)out.data;
    assert_non_null(
        strstr(text, "\ntributary_build_info{daemon=\"tributary-test\",version=\"" TRIBUTARY_VERSION "\"} 1\n"));
    assert_true(value_of(text, "process_cpu_seconds_total") >= 0);
    assert_true(value_of(text, "process_resident_memory_bytes") > 100000);
    assert_true(value_of(text, "process_virtual_memory_bytes") >= value_of(text, "process_resident_memory_bytes"));
    assert_true(value_of(text, "process_open_fds") >= 1);
    assert_true(value_of(text, "process_max_fds") >= value_of(text, "process_open_fds"));
    double start_s = value_of(text, "process_start_time_seconds");
    double now_s = (double)clock_wall_ms(clock_real()) / 1e3;
    assert_true(start_s > now_s - 3600 && start_s < now_s + 5);
    assert_true(start_s == value_of((const char *)again.data, "process_start_time_seconds"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families_and_samples_are_exposition_text),
        cmocka_unit_test(quoting_keeps_a_value_inside_its_quotes),
        cmocka_unit_test(the_process_tells_about_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
