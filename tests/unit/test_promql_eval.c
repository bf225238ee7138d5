/* The evaluator: its limits, failures and kinds of answers. What expressions mean is said by the scripts in
 * tests/promql. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/fail.h"
#include "promql/eval.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>

#define MINUTE_MS  INT64_C(60000)
#define SERIES     20
#define SAMPLES    100 /* of each series, one a minute */
#define FOREVER_MS (INT64_C(1) << 60)

struct fixture {
    struct clock *clock;
    struct store *store;
    struct promql_query query; /* as each test starts with it */
    struct promql_error error;
    struct promql_result *result;
};

static void append(struct store *store, const char *name, const char *host, struct record record, int64_t resolution_ms)
{
    struct label labels[] = {{STR("__name__"), str_from(name)}, {STR("host"), str_from(host)}};
    CLEANUP(labels_unrefp) struct labels *set = labels_new(labels, ARRAY_LEN(labels));
    series_ref ref = store_series(store, set, (enum series_kind)record.kind);
    assert_true(ref != SERIES_REF_NONE);
    int64_t window_ms = resolution_ms > 0 ? window_start_ms(record.time_ms, resolution_ms) : record.time_ms;
    store_write_begin(store);
    store_append(store, ref, window_ms, resolution_ms, &record, NULL, 0);
    store_write_end(store);
}

static int setup(void **state)
{
    struct fixture *fixture = mem_zalloc(sizeof(*fixture));
    *state = fixture;
    fixture->clock = clock_simulated_new(0);
    struct store_options options = {.max_age_ms = FOREVER_MS, .max_ahead_ms = FOREVER_MS, .series_max = 1000};
    fixture->store = store_new(fixture->clock, &options);
    for (int i = 0; i < SERIES; i++) {
        char host[16];
        snprintf(host, sizeof(host), "h%02d", i);
        for (int j = 0; j < SAMPLES; j++) {
            struct record record = record_empty(KIND_GAUGE);
            record_add(&record, (struct sample){j * MINUTE_MS, i + j});
            append(fixture->store, "metric", host, record, 0);
        }
    }
    fixture->query = (struct promql_query){
        .store = fixture->store,
        .start_ms = 50 * MINUTE_MS,
        .end_ms = 50 * MINUTE_MS,
        .limits = {.samples_max = 100000, .bytes_max = 64 * MIB, .timeout_ms = 60000, .lookback_ms = 5 * MINUTE_MS},
        .clock = fixture->clock};
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    promql_result_free(fixture->result);
    store_free(fixture->store);
    clock_free(fixture->clock);
    mem_free(fixture);
    return 0;
}

/* Parses, which must succeed, and evaluates. */
static enum promql_failure run(struct fixture *fixture, const char *text)
{
    CLEANUP(promql_expression_freep) struct promql_expression *expression = NULL;
    promql_result_free(STEAL(fixture->result));
    memset(&fixture->error, 0, sizeof(fixture->error));
    if (promql_parse(str_from(text), &fixture->error, &expression) < 0)
        fail_msg("%s: %s", text, fixture->error.text);
    fixture->query.expression = expression;
    enum promql_failure failure = promql_eval(&fixture->query, &fixture->error, &fixture->result);
    assert_int_equal(failure == PROMQL_OK, fixture->result != NULL);
    return failure;
}

static void set_range(struct fixture *fixture, int64_t start_ms, int64_t end_ms, int64_t step_ms)
{
    fixture->query.start_ms = start_ms;
    fixture->query.end_ms = end_ms;
    fixture->query.step_ms = step_ms;
}

static double only_value(const struct fixture *fixture)
{
    const struct promql_value *value = promql_result_value(fixture->result);
    assert_int_equal(value->series_count, 1);
    assert_true(promql_present(&value->series[0], 0));
    return value->series[0].values[0];
}

/* ---- Kinds of answers ----------------------------------------------------------------------------------------------
 */

static void test_a_scalar_is_filled_at_every_step(void **state)
{
    struct fixture *fixture = *state;
    set_range(fixture, 0, 10 * MINUTE_MS, MINUTE_MS);
    assert_int_equal(run(fixture, "time() / 60"), PROMQL_OK);
    const struct promql_value *value = promql_result_value(fixture->result);
    assert_int_equal(value->type, PROMQL_SCALAR);
    assert_int_equal(promql_result_steps(fixture->result), 11);
    assert_int_equal(labels_count(value->series[0].labels), 0);
    for (size_t step = 0; step < 11; step++) {
        assert_true(promql_present(&value->series[0], step));
        assert_true(value->series[0].values[step] == (double)step);
    }
}

static void test_a_string_is_its_own_answer(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(run(fixture, "(\"some text\")"), PROMQL_OK);
    const struct promql_value *value = promql_result_value(fixture->result);
    assert_int_equal(value->type, PROMQL_STRING);
    assert_true(str_equal(value->string, STR("some text")));
}

static void test_a_range_selector_gives_its_samples(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(run(fixture, "metric{host=~\"h0[12]\"}[3m]"), PROMQL_OK);
    const struct promql_value *value = promql_result_value(fixture->result);
    assert_int_equal(value->type, PROMQL_MATRIX);
    assert_int_equal(value->points_count, 2);
    assert_int_equal(value->points[0].count, 4); /* both ends belong to it */
    assert_int_equal(value->points[0].samples[0].time_ms, 47 * MINUTE_MS);
    assert_true(value->points[1].samples[3].value == 52);

    assert_int_equal(run(fixture, "metric{host=\"h01\"}[2m:30s] offset 10m"), PROMQL_OK);
    value = promql_result_value(fixture->result);
    assert_int_equal(value->points_count, 1);
    assert_int_equal(value->points[0].count, 5);
    assert_int_equal(value->points[0].samples[4].time_ms, 40 * MINUTE_MS);
}

static void test_a_range_query_takes_vectors_and_scalars_only(void **state)
{
    struct fixture *fixture = *state;
    set_range(fixture, 0, 10 * MINUTE_MS, MINUTE_MS);
    assert_int_equal(run(fixture, "metric[5m]"), PROMQL_BAD_DATA);
    assert_string_equal(fixture->error.text,
                        "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector");
    assert_int_equal(run(fixture, "\"text\""), PROMQL_BAD_DATA);
}

static void test_series_of_a_range_come_in_order_of_labels(void **state)
{
    struct fixture *fixture = *state;
    set_range(fixture, 50 * MINUTE_MS, 60 * MINUTE_MS, MINUTE_MS);
    assert_int_equal(run(fixture, "sort_desc(metric)"), PROMQL_OK);
    const struct promql_value *value = promql_result_value(fixture->result);
    assert_int_equal(value->series_count, SERIES);
    for (size_t i = 1; i < value->series_count; i++)
        assert_true(labels_compare(value->series[i - 1].labels, value->series[i].labels) < 0);
}

static void test_series_without_a_value_are_not_in_the_answer(void **state)
{
    struct fixture *fixture = *state;
    set_range(fixture, 50 * MINUTE_MS, 60 * MINUTE_MS, MINUTE_MS);
    assert_int_equal(run(fixture, "metric > 78"), PROMQL_OK);
    const struct promql_value *value = promql_result_value(fixture->result);
    assert_int_equal(value->series_count, 1); /* h19 is 79 at the last step */
    assert_int_equal(promql_next(&value->series[0], 0, 11), 10);
    assert_int_equal(run(fixture, "metric > 1e9"), PROMQL_OK);
    assert_int_equal(promql_result_value(fixture->result)->series_count, 0);
}

/* ---- Limits --------------------------------------------------------------------------------------------------------
 */

static void test_samples_are_counted_and_limited(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(run(fixture, "sum(count_over_time(metric[30m]))"), PROMQL_OK);
    assert_true(only_value(fixture) == SERIES * 31);
    assert_int_equal(promql_result_samples(fixture->result), SERIES * 31);
    fixture->query.limits.samples_max = SERIES * 31 - 1;
    assert_int_equal(run(fixture, "sum(count_over_time(metric[30m]))"), PROMQL_TOO_MUCH);
    assert_string_equal(fixture->error.text,
                        "query processing would load too many samples into memory in query execution");
    assert_int_equal(fixture->error.position.start, 20);
}

/* Each byte less may fail elsewhere; none may crash or leak. */
static void test_memory_is_limited_at_every_place(void **state)
{
    static const char *const expressions[] = {
        "metric + on(host) group_left metric",
        "sum by (host) (rate(metric[5m])) or avg(metric) or topk(3, metric)",
        "quantile(0.5, metric) + on() histogram_quantile(0.5, sum by (le) (label_replace(metric, \"le\", \"$1\", "
        "\"host\", "
        "\"h(.*)\")))",
        "count_values(\"v\", stddev by (host) (max_over_time(metric[10m:2m])))",
        "label_join(absent(metric) or -metric, \"x\", \"-\", \"host\") unless clamp(vector(scalar(metric)), 1, 2)",
        "sort(quantile_over_time(0.5, metric[10m])) and avg_over_time(metric[5m])",
    };
    struct fixture *fixture = *state;
    set_range(fixture, 50 * MINUTE_MS, 55 * MINUTE_MS, MINUTE_MS);
    for (size_t i = 0; i < ARRAY_LEN(expressions); i++) {
        enum promql_failure failure = PROMQL_TOO_MUCH;
        uint64_t bytes = 0;
        for (; failure == PROMQL_TOO_MUCH && bytes < 4 * MIB; bytes += 997) {
            fixture->query.limits.bytes_max = bytes;
            failure = run(fixture, expressions[i]);
        }
        assert_int_equal(failure, PROMQL_OK);
        assert_true(bytes > 10000);
    }
}

static void test_a_failing_allocation_is_an_answer(void **state)
{
    struct fixture *fixture = *state;
    const char *text = "topk(3, metric + ignoring(x) metric) or sum by (host) (rate(metric[5m:1m]))";
    uint64_t nth = 1;
    enum promql_failure failure = PROMQL_TOO_MUCH;
    for (; failure == PROMQL_TOO_MUCH; nth++) {
        CLEANUP(promql_expression_freep) struct promql_expression *expression = NULL;
        assert_int_equal(promql_parse(str_from(text), &fixture->error, &expression), 0);
        fixture->query.expression = expression;
        promql_result_free(STEAL(fixture->result));
        mem_fail_at(nth);
        failure = promql_eval(&fixture->query, &fixture->error, &fixture->result);
        mem_fail_at(0);
    }
    assert_int_equal(failure, PROMQL_OK);
    assert_true(nth > 20);
}

static void test_steps_are_limited(void **state)
{
    struct fixture *fixture = *state;
    set_range(fixture, 0, PROMQL_STEPS_MAX - 1, 1);
    assert_int_equal(run(fixture, "1"), PROMQL_OK);
    assert_int_equal(promql_result_steps(fixture->result), PROMQL_STEPS_MAX);
    set_range(fixture, 0, PROMQL_STEPS_MAX, 1);
    assert_int_equal(run(fixture, "1"), PROMQL_BAD_DATA);
    set_range(fixture, 1, 0, 1);
    assert_int_equal(run(fixture, "1"), PROMQL_BAD_DATA);
    set_range(fixture, 0, 1, -1);
    assert_int_equal(run(fixture, "1"), PROMQL_BAD_DATA);
}

static void test_steps_of_subqueries_are_limited_by_memory(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(run(fixture, "sum_over_time(vector(1)[100y:1ms])"), PROMQL_TOO_MUCH);
    assert_int_equal(run(fixture, "sum_over_time(metric[100y:1ms])"), PROMQL_TOO_MUCH);
    assert_int_equal(run(fixture, "count_over_time(vector(1)[10m:1s])"), PROMQL_OK);
    assert_true(only_value(fixture) == 601);
}

static void test_times_at_the_ends_of_the_scale_are_refused_or_empty(void **state)
{
    struct fixture *fixture = *state;
    set_range(fixture, INT64_MIN, INT64_MAX, 1);
    assert_int_equal(run(fixture, "metric"), PROMQL_BAD_DATA);
    set_range(fixture, INT64_MAX, INT64_MAX, 0);
    assert_int_equal(run(fixture, "metric offset -292y"), PROMQL_BAD_DATA);
    set_range(fixture, 0, 0, 0);
    assert_int_equal(run(fixture, "rate(metric[292y] offset 292y) or metric @ -9e9 or metric @ 9e9"), PROMQL_OK);
    assert_int_equal(promql_result_value(fixture->result)->series_count, 0);
}

struct patience {
    int asked, asks_max;
    struct clock *clock;
    int64_t advance_ms; /* at each question */
};

static bool is_cancelled(void *arg)
{
    struct patience *patience = arg;
    if (patience->advance_ms > 0)
        clock_simulated_advance(patience->clock, patience->advance_ms);
    return ++patience->asked > patience->asks_max;
}

static void test_work_stops_when_cancelled(void **state)
{
    struct fixture *fixture = *state;
    struct patience patience = {.asks_max = 3};
    fixture->query.cancelled = is_cancelled;
    fixture->query.cancelled_arg = &patience;
    assert_int_equal(run(fixture, "sum_over_time(sum(metric)[90m:1s])"), PROMQL_CANCELLED);
    assert_string_equal(fixture->error.text, "query was canceled in expression evaluation");
    assert_int_equal(patience.asked, 4);
}

static void test_work_stops_at_the_deadline(void **state)
{
    struct fixture *fixture = *state;
    struct patience patience = {.asks_max = INT32_MAX, .clock = fixture->clock, .advance_ms = 10000};
    fixture->query.cancelled = is_cancelled;
    fixture->query.cancelled_arg = &patience;
    assert_int_equal(run(fixture, "sum_over_time(sum(metric)[90m:1s])"), PROMQL_TIMEOUT);
    assert_string_equal(fixture->error.text, "query timed out in expression evaluation");
    assert_in_range(patience.asked, 5, 7);
}

/* ---- Structure ------------------------------------------------------------------------------------------------------
 */

/* A window of the store counts whole: a peak between two records is seen, and averages weigh each scrape. */
static void test_functions_over_time_read_the_aggregates_of_records(void **state)
{
    struct fixture *fixture = *state;
    static const double values[2][4] = {{1, 9, 1, 2}, {3, 3, -7, 4}};
    for (int window = 0; window < 2; window++) {
        struct record record = record_empty(KIND_GAUGE);
        for (int i = 0; i < 4; i++)
            record_add(&record, (struct sample){window * MINUTE_MS + i * 15000, values[window][i]});
        append(fixture->store, "windowed", "a", record, MINUTE_MS);
    }
    struct record lone = record_empty(KIND_GAUGE);
    record_add(&lone, (struct sample){2 * MINUTE_MS, 100});
    append(fixture->store, "windowed", "a", lone, MINUTE_MS);
    set_range(fixture, 2 * MINUTE_MS, 2 * MINUTE_MS, 0);
    static const struct {
        const char *text;
        double value;
    } cases[] = {
        {"max_over_time(windowed[2m] offset 15s)", 9}, {"min_over_time(windowed[2m])", -7},
        {"sum_over_time(windowed[2m])", 116},          {"count_over_time(windowed[2m])", 9},
        {"avg_over_time(windowed[2m])", 116.0 / 9},    {"last_over_time(windowed[2m] offset 15s)", 4},
        {"avg_over_time(windowed[2m] offset 15s)", 2}, {"sum_over_time(windowed[2m:15s])", 4 * 2 + 4 + 100},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(run(fixture, cases[i].text), PROMQL_OK);
        if (fabs(only_value(fixture) - cases[i].value) > 1e-9)
            fail_msg("%s is %g, not %g", cases[i].text, only_value(fixture), cases[i].value);
    }
}

static void test_what_never_changes_is_evaluated_once(void **state)
{
    struct fixture *fixture = *state;
    set_range(fixture, 0, 99 * MINUTE_MS, MINUTE_MS);
    assert_int_equal(run(fixture, "sum(count_over_time(metric[10m] @ 3000))"), PROMQL_OK);
    assert_int_equal(promql_result_samples(fixture->result), SERIES * 11);
    const struct promql_value *value = promql_result_value(fixture->result);
    assert_int_equal(value->series_count, 1);
    for (size_t step = 0; step < 100; step++)
        assert_true(promql_present(&value->series[0], step) && value->series[0].values[step] == SERIES * 11);
}

static void test_a_sliding_window_reads_each_sample_once(void **state)
{
    struct fixture *fixture = *state;
    set_range(fixture, 30 * MINUTE_MS, 99 * MINUTE_MS, MINUTE_MS);
    assert_int_equal(run(fixture, "rate(metric[30m])"), PROMQL_OK);
    assert_int_equal(promql_result_samples(fixture->result), SERIES * SAMPLES);
}

static void test_the_deepest_tree_fits_the_stack(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(buf_done) struct buf text = BUF_INIT(64 * KIB);
    int depth = (PROMQL_DEPTH_MAX - 4) / 2;
    for (int i = 0; i < depth; i++)
        buf_append_text(&text, i % 2 ? "-abs(" : "sum by (host) (1 + ");
    buf_append_text(&text, "metric{host=\"h07\"}");
    for (int i = 0; i < depth; i++)
        buf_append_byte(&text, ')');
    buf_append_byte(&text, 0);
    assert_int_equal(run(fixture, (const char *)text.data), PROMQL_OK);
    assert_int_equal(promql_result_value(fixture->result)->series_count, 1);
}

static void test_errors_point_at_their_place(void **state)
{
    struct fixture *fixture = *state;
    const char *text = "1 + topk(NaN, metric)";
    assert_int_equal(run(fixture, text), PROMQL_EXECUTION);
    assert_int_equal(fixture->error.position.start, 9);
    assert_int_equal(fixture->error.position.end, 12);
    assert_int_equal(run(fixture, "2 * (metric + on() metric)"), PROMQL_EXECUTION);
    assert_int_equal(fixture->error.position.start, 5);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_scalar_is_filled_at_every_step),
        TEST(test_a_string_is_its_own_answer),
        TEST(test_a_range_selector_gives_its_samples),
        TEST(test_a_range_query_takes_vectors_and_scalars_only),
        TEST(test_series_of_a_range_come_in_order_of_labels),
        TEST(test_series_without_a_value_are_not_in_the_answer),
        TEST(test_samples_are_counted_and_limited),
        TEST(test_memory_is_limited_at_every_place),
        TEST(test_a_failing_allocation_is_an_answer),
        TEST(test_steps_are_limited),
        TEST(test_steps_of_subqueries_are_limited_by_memory),
        TEST(test_times_at_the_ends_of_the_scale_are_refused_or_empty),
        TEST(test_work_stops_when_cancelled),
        TEST(test_work_stops_at_the_deadline),
        TEST(test_functions_over_time_read_the_aggregates_of_records),
        TEST(test_what_never_changes_is_evaluated_once),
        TEST(test_a_sliding_window_reads_each_sample_once),
        TEST(test_the_deepest_tree_fits_the_stack),
        TEST(test_errors_point_at_their_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
