/* Plots: known values as rows of text. */
#include "base/fail.h"
#include "tools/cli/plot.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOTHING  (-12345.0) /* a step without a point */
#define STEP_MS  60000
#define START_MS INT64_C(1700000400000) /* 22:20:00 */
#define STEPS    9

static const struct output colours = {.colour = true, .utf8 = true};
static const struct output plain = {.utf8 = true};
static const struct output ascii = {0};

static void expect(const double (*values)[STEPS], size_t count, const struct output *output, const char *wanted)
{
    struct query_point points[4][STEPS];
    struct query_series series[4] = {0};
    struct series_span span = {START_MS, START_MS + (STEPS - 1) * STEP_MS, STEP_MS};
    for (size_t i = 0; i < count; i++) {
        series[i].points = points[i];
        for (size_t j = 0; j < STEPS; j++)
            if (values[i][j] != NOTHING)
                points[i][series[i].count++] =
                    (struct query_point){.time_ms = START_MS + (int64_t)j * STEP_MS, .value = values[i][j]};
    }
    struct plot plot = {series, count, &span, 20, 7};
    CLEANUP(buf_done) struct buf out = BUF_INIT(MIB);
    plot_print(&plot, output, &out);
    buf_append_byte(&out, 0);
    if (strcmp((const char *)out.data, wanted) != 0)
        fail_msg("not\n%s\nbut\n%s", wanted, (const char *)out.data);
}

static void one_series_is_dots(void **state)
{
    static const double values[][STEPS] = {{0, 1, 2, 3, 4, 3, 2, 1, 0}};
    (void)state;
    expect(values, 1, &plain,
           "5 ┤\n"
           "  │      ⢀⠤⠊⠢⡀\n"
           "  │    ⡠⠒⠁   ⠈⠢⢄\n"
           "  │  ⡠⠊         ⠑⢄\n"
           "0 ┤⡠⠊             ⠑⢄\n"
           "  └┬────────────────\n"
           "   22:20\n");
}

static void several_have_a_letter_each(void **state)
{
    static const double values[][STEPS] = {{0, 1, 2, 3, 4, 3, 2, 1, 0}, {4, 4, 4, NOTHING, NOTHING, NOTHING, 2, 2, 2}};
    (void)state;
    expect(values, 2, &plain,
           "5 ┤\n"
           "  │ooooo  **\n"
           "  │   ****  ****oooo\n"
           "  │ **          **\n"
           "0 ┤*              **\n"
           "  └┬────────────────\n"
           "   22:20\n");
    expect(values, 2, &ascii,
           "5 +\n"
           "  |ooooo  **\n"
           "  |   ****  ****oooo\n"
           "  | **          **\n"
           "0 +*              **\n"
           "  ++----------------\n"
           "   22:20\n");
}

static void several_have_a_colour_each(void **state)
{
    static const double values[][STEPS] = {{0, 0, 0, 0, 0, 0, 0, 0, 0}, {1, 1, 1, 1, 1, 1, 1, 1, 1}};
    (void)state;
    expect(values, 2, &colours,
           "1 ┤\033[33m⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉\033[0m\n"
           "  │\n"
           "  │\n"
           "  │\n"
           "0 ┤\033[36m⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀\033[0m\n"
           "  └┬────────────────\n"
           "   22:20\n");
}

static void gaps_and_infinities(void **state)
{
    static const double values[][STEPS] = {{1, 1, NAN, 1, NAN, INFINITY, INFINITY, NAN, 0}};
    static const double nothing[][STEPS] = {{NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN}};
    (void)state;
    expect(values, 1, &plain,
           "1 ┤⠉⠉⠁   ⠁   ⠈⠉⠉\n"
           "  │\n"
           "  │\n"
           "  │\n"
           "0 ┤                ⢀\n"
           "  └┬────────────────\n"
           "   22:20\n");
    expect(nothing, 1, &plain,
           "1 ┤\n"
           "  │\n"
           "  │\n"
           "  │\n"
           "0 ┤\n"
           "  └┬────────────────\n"
           "   22:20\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_series_is_dots),
        cmocka_unit_test(several_have_a_letter_each),
        cmocka_unit_test(several_have_a_colour_each),
        cmocka_unit_test(gaps_and_infinities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
