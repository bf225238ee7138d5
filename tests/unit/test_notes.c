/* Infos of answers over records that stand for windows, and ranges that are widened. */
#include "store_sample.h"

#include "metric/record.h"
#include "promql/eval.h"
#include "store/store.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define T0        INT64_C(1700000040000) /* a window of a minute begins */
#define WINDOWS   60
#define WINDOW_MS INT64_C(60000)
#define NOW_MS    (T0 + WINDOWS * WINDOW_MS)

struct rig {
    struct clock *clock;
    struct store *store;
    struct promql_result *result;
};

/* A record a window: a counter that rises by 60 in it, or a gauge, of 4 scrapes; the last one 5 s before its end. */
static void put_windows(struct store *store, const char *name, enum series_kind kind, int64_t window_ms)
{
    struct label pairs[] = {{STR("__name__"), str_from(name)}, {STR("host"), STR("a")}};
    struct labels *labels = labels_new(pairs, 2);
    series_ref series = store_series(store, labels, kind);
    store_write_begin(store);
    for (int64_t start_ms = T0; start_ms < NOW_MS; start_ms += window_ms) {
        struct record record = {
            .time_ms = start_ms + window_ms - 5000, .last = (double)(start_ms - T0 + window_ms) / 1000, .kind = kind};
        record.count = 4;
        record_fill_constant(&record);
        store_append(store, series, start_ms, window_ms, &record, NULL, 0);
    }
    store_write_end(store);
    labels_unref(labels);
}

static int setup(void **state)
{
    struct rig *rig = mem_zalloc(sizeof(*rig));
    rig->clock = clock_simulated_new(NOW_MS);
    struct store_options options = {.max_age_ms = INT64_C(1) << 60, .max_ahead_ms = 600000, .series_max = 1000};
    rig->store = store_new(rig->clock, &options);
    put_windows(rig->store, "minute_total", KIND_COUNTER, WINDOW_MS);
    put_windows(rig->store, "quarter_total", KIND_COUNTER, 15000);
    put_windows(rig->store, "gauge", KIND_GAUGE, WINDOW_MS);
    for (int64_t time_ms = T0; time_ms < NOW_MS; time_ms += 15000) /* scrapes as they are */
        store_sample(rig->store, "plain", "a", time_ms, (double)(time_ms - T0));
    store_sample(rig->store, "once", "a", NOW_MS - 1000, 1);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    promql_result_free(rig->result);
    store_free(rig->store);
    clock_free(rig->clock);
    mem_free(rig);
    return 0;
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

static const struct promql_value *ask_range(struct rig *rig, const char *text, bool widen, int64_t start_ms,
                                            int64_t step_ms)
{
    CLEANUP(promql_expression_freep) struct promql_expression *expression = NULL;
    struct promql_error error;
    assert_int_equal(promql_parse(str_from(text), &error, &expression), 0);
    struct promql_query query = {
        .store = rig->store,
        .expression = expression,
        .start_ms = start_ms,
        .end_ms = NOW_MS,
        .step_ms = step_ms,
        .widen_ranges = widen,
        .limits = {.samples_max = 1000000, .bytes_max = 64 * MIB, .timeout_ms = 60000, .lookback_ms = 300000},
        .clock = rig->clock,
        .cancelled = never};
    promql_result_free(rig->result);
    rig->result = NULL;
    assert_int_equal(promql_eval(&query, &error, &rig->result), PROMQL_OK);
    return promql_result_value(rig->result);
}

static const struct promql_value *ask(struct rig *rig, const char *text, bool widen)
{
    return ask_range(rig, text, widen, NOW_MS, 0);
}

static void expect_infos(const struct rig *rig, size_t count, const char *first)
{
    assert_int_equal(promql_result_warning_count(rig->result), 0);
    assert_int_equal(promql_result_info_count(rig->result), count);
    if (count > 0)
        assert_string_equal(promql_result_info(rig->result, 0), first);
}

#define TOO_SHORT                                                                                                      \
    "rate(minute_total[1m]): 1m is too short for series whose samples are 1m apart: two are needed, [4m] is a good "   \
    "range"

static void a_range_of_one_record_is_told(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(ask(rig, "rate(minute_total[1m])", false)->series_count, 0);
    expect_infos(rig, 1, TOO_SHORT);
    /* Once, however often and wherever it stands. */
    ask(rig, "sum(rate(minute_total[1m])) / sum(rate(minute_total[1m])) + max_over_time(rate(minute_total[1m])[5m:])",
        false);
    expect_infos(rig, 1, TOO_SHORT);
    assert_int_equal(ask_range(rig, "rate(minute_total[1m])", false, T0, 30000)->series_count, 0);
    expect_infos(rig, 1, TOO_SHORT);
    ask(rig, "deriv(gauge[30s])", false);
    expect_infos(rig, 1,
                 "deriv(gauge[30s]): 30s is too short for series whose samples are 1m apart: two are needed, [4m] is a "
                 "good range");
}

static void a_range_that_will_do_is_not(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(ask(rig, "rate(minute_total[4m])", false)->series_count, 1);
    expect_infos(rig, 0, NULL);
    assert_int_equal(ask(rig, "rate(quarter_total[1m])", false)->series_count, 1);
    expect_infos(rig, 0, NULL);
    /* Nothing there; one sample in all; one sample is enough; samples of a subquery. */
    static const char *const others[] = {"rate(nothing[1m])", "rate(once[1m])", "avg_over_time(gauge[1m])",
                                         "rate(minute_total[30s:20s])"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        ask(rig, others[i], true);
        expect_infos(rig, 0, NULL);
    }
}

static void some_series_among_others_are_told_of(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(ask(rig, "rate({__name__=~\".*_total\"}[1m])", false)->series_count, 1);
    expect_infos(rig, 1,
                 "rate({__name__=~\".*_total\"}[1m]): 1m is too short for series whose samples are 1m apart: two are "
                 "needed, [4m] is a good range");
}

static void widened_ranges_answer(void **state)
{
    struct rig *rig = *state;
    const struct promql_value *value = ask(rig, "rate(minute_total[1m])", true);
    assert_int_equal(value->series_count, 1);
    assert_true(fabs(value->series[0].values[0] - 1) < 1e-12);
    expect_infos(rig, 1,
                 "rate(minute_total[1m]): evaluated over [4m], as its own range is too short for samples so far apart");
    /* As if it had been written so. */
    static const char *const calls[] = {"rate(minute_total[%s])", "increase(minute_total[%s] offset 5m)",
                                        "deriv(gauge[%s])", "sum(irate(minute_total[%s]))"};
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        char narrow[128], wide[128];
        snprintf(narrow, sizeof(narrow), calls[i], "90s");
        snprintf(wide, sizeof(wide), calls[i], "4m");
        double values[WINDOWS];
        value = ask_range(rig, wide, false, T0 + 10 * WINDOW_MS, WINDOW_MS);
        assert_int_equal(value->series_count, 1);
        memcpy(values, value->series[0].values, 50 * sizeof(double));
        value = ask_range(rig, narrow, true, T0 + 10 * WINDOW_MS, WINDOW_MS);
        assert_int_equal(value->series_count, 1);
        assert_memory_equal(values, value->series[0].values, 50 * sizeof(double));
    }
}

static void ranges_of_two_windows_stay_as_they_are(void **state)
{
    struct rig *rig = *state;
    ask(rig, "rate(minute_total[2m])", true);
    expect_infos(rig, 0, NULL);
    ask(rig, "rate(quarter_total[30s])", true);
    expect_infos(rig, 0, NULL);
    ask(rig, "avg_over_time(gauge[30s])", true);
    expect_infos(rig, 0, NULL);
}

static void approximate_results_are_told(void **state)
{
    struct rig *rig = *state;
    ask(rig, "quantile_over_time(0.9, gauge[10m])", false);
    expect_infos(rig, 1,
                 "quantile_over_time(0.9, gauge[10m]): approximate, from the last value alone of windows of several "
                 "scrapes");
    ask(rig, "stddev_over_time(gauge[10m]) + changes(gauge[5m])", false);
    expect_infos(rig, 2,
                 "stddev_over_time(gauge[10m]): approximate, from the last value alone of windows of several scrapes");
    ask(rig, "quantile_over_time(0.9, plain[10m])", false); /* of each scrape */
    expect_infos(rig, 0, NULL);
    ask(rig, "avg_over_time(gauge[10m]) + max_over_time(gauge[10m])", false); /* exact */
    expect_infos(rig, 0, NULL);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_range_of_one_record_is_told),          TEST(a_range_that_will_do_is_not),
        TEST(some_series_among_others_are_told_of),   TEST(widened_ranges_answer),
        TEST(ranges_of_two_windows_stay_as_they_are), TEST(approximate_results_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
