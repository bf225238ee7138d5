/* Which sources an answer must say are missing. */
#include "base/fail.h"
#include "global/coverage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define NOW_MS INT64_C(1700000000000)

static size_t lines_of(struct coverage *coverage, int64_t start_ms, int64_t end_ms, struct buf *text)
{
    size_t lines = 0;
    buf_reset(text);
    coverage_warnings(coverage, start_ms, end_ms, text);
    for (size_t i = 0; i < text->len; i++)
        lines += text->data[i] == '\n';
    return lines;
}

static void a_source_that_is_behind_is_named_until_it_is_history(void **state)
{
    (void)state;
    struct clock *clock = clock_simulated_new(NOW_MS);
    struct coverage *coverage = coverage_new(clock);
    CLEANUP(buf_done) struct buf text = BUF_INIT(64 * KIB);
    const struct source_id dead = {STR("dc1"), STR("rack-1"), 1}, alive = {STR("dc2"), STR("rack-1"), 2};
    coverage_note(coverage, &dead, NOW_MS - 3600000, NOW_MS);
    coverage_note(coverage, &alive, NOW_MS - 60000, NOW_MS);
    assert_int_equal(lines_of(coverage, NOW_MS - 60000, NOW_MS, &text), 1);
    assert_true(str_starts_with(buf_view(&text), STR("incomplete: dc1/rack-1 has told nothing after ")));
    /* A range that ended while it still told. */
    assert_int_equal(lines_of(coverage, NOW_MS - 7200000, NOW_MS - 3600000, &text), 0);
    /* Its next incarnation speaks for it; an older mark takes nothing back. */
    const struct source_id again = {STR("dc1"), STR("rack-1"), 3};
    coverage_note(coverage, &again, NOW_MS, NOW_MS);
    coverage_note(coverage, &dead, NOW_MS - 3600000, NOW_MS);
    assert_int_equal(lines_of(coverage, NOW_MS - 60000, NOW_MS, &text), 0);
    clock_simulated_advance(clock, 2 * COVERAGE_FORGET_MS);
    assert_int_equal(lines_of(coverage, NOW_MS, NOW_MS + 2 * COVERAGE_FORGET_MS, &text), 0);
    coverage_free(coverage);
    clock_free(clock);
}

static void many_sources_make_few_lines(void **state)
{
    (void)state;
    struct clock *clock = clock_simulated_new(NOW_MS);
    struct coverage *coverage = coverage_new(clock);
    CLEANUP(buf_done) struct buf text = BUF_INIT(64 * KIB);
    for (int i = 0; i < 500; i++) {
        char name[32];
        snprintf(name, sizeof(name), "rack-%d", i);
        const struct source_id source = {STR("dc1"), str_from(name), 1};
        coverage_note(coverage, &source, NOW_MS - 3600000, NOW_MS);
    }
    assert_int_equal(lines_of(coverage, NOW_MS - 60000, NOW_MS, &text), 21);
    assert_true(str_ends_with(buf_view(&text), STR("incomplete: 480 more sources are behind\n")));
    coverage_free(coverage);
    clock_free(clock);
}

/* Hours are closed when all that are alive have told them: one that fills in a backlog is alive, one that is silent is
 * not. */
static void solid_is_what_all_that_are_alive_have_told(void **state)
{
    (void)state;
    struct clock *clock = clock_simulated_new(NOW_MS);
    struct coverage *coverage = coverage_new(clock);
    const struct source_id live = {STR("dc1"), STR("rack-1"), 1}, behind = {STR("dc1"), STR("rack-2"), 1};
    assert_true(coverage_solid_ms(coverage) == INT64_MIN);
    coverage_note(coverage, &live, NOW_MS - 60000, NOW_MS);
    assert_int_equal(coverage_solid_ms(coverage), NOW_MS - 60000);
    coverage_note(coverage, &behind, NOW_MS - 7200000, NOW_MS);
    assert_int_equal(coverage_solid_ms(coverage), NOW_MS - 7200000);
    clock_simulated_advance(clock, COVERAGE_ALIVE_MS + 1);
    coverage_note(coverage, &live, NOW_MS, NOW_MS + COVERAGE_ALIVE_MS);
    assert_int_equal(coverage_solid_ms(coverage), NOW_MS);
    coverage_free(coverage);
    clock_free(clock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_source_that_is_behind_is_named_until_it_is_history),
        cmocka_unit_test(many_sources_make_few_lines),
        cmocka_unit_test(solid_is_what_all_that_are_alive_have_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
