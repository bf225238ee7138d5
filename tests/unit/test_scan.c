/* Selectors that several threads work on: answers are those of one thread, to the bit, and so are failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/crew.h"
#include "base/fail.h"
#include "base/random.h"
#include "promql/eval.h"
#include "store/store.h"

#include <stdatomic.h>
#include <stdio.h>

#define SERIES     3000 /* a dozen slices */
#define SAMPLES    60
#define STEP_MS    INT64_C(30000)
#define FOREVER_MS (INT64_C(1) << 60)

struct fixture {
    struct clock *clock;
    struct store *store;
    struct crew *crew;
    _Atomic int cancel_at; /* the nth question whether to go on is answered no; 0: none */
};

static void fill(struct store *store)
{
    struct random random;
    random_seed(&random, 7);
    for (int i = 0; i < SERIES; i++) {
        char host[32], mode[32];
        snprintf(host, sizeof(host), "host-%d", i * 7919 % SERIES / 3);
        snprintf(mode, sizeof(mode), "mode-%d", i * 7919 % SERIES % 3);
        struct label labels[] = {
            {STR("__name__"), STR("m_total")}, {STR("host"), str_from(host)}, {STR("mode"), str_from(mode)}};
        CLEANUP(labels_unrefp) struct labels *set = labels_new(labels, ARRAY_LEN(labels));
        series_ref ref = store_series(store, set, KIND_COUNTER);
        double value = 0;
        for (int j = 0; j < SAMPLES; j++) {
            value = random_below(&random, 50) == 0 ? 0 : value + (double)random_below(&random, 1000) / 7;
            struct record record = record_empty(KIND_COUNTER);
            int64_t time_ms = j * STEP_MS + (int64_t)random_below(&random, 100);
            record_add(&record, (struct sample){time_ms, random_below(&random, 40) == 0 ? value_stale() : value});
            store_write_begin(store);
            store_append(store, ref, time_ms, 0, &record, NULL, 0);
            store_write_end(store);
        }
    }
}

static int setup(void **state)
{
    struct fixture *fixture = mem_zalloc(sizeof(*fixture));
    *state = fixture;
    fixture->clock = clock_simulated_new(0);
    fixture->crew = crew_new(3);
    struct store_options options = {.max_age_ms = FOREVER_MS, .max_ahead_ms = FOREVER_MS, .series_max = SERIES};
    fixture->store = store_new(fixture->clock, &options);
    fill(fixture->store);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    crew_free(fixture->crew);
    store_free(fixture->store);
    clock_free(fixture->clock);
    mem_free(fixture);
    return 0;
}

static bool is_cancelled(void *arg)
{
    struct fixture *fixture = arg;
    return atomic_fetch_sub(&fixture->cancel_at, 1) == 1;
}

static struct promql_query query_of(struct fixture *fixture, bool range)
{
    return (struct promql_query){.store = fixture->store,
                                 .start_ms = range ? 5 * STEP_MS : 50 * STEP_MS,
                                 .end_ms = 50 * STEP_MS,
                                 .step_ms = range ? STEP_MS : 0,
                                 .limits = {.samples_max = 4 * SERIES * SAMPLES,
                                            .bytes_max = 256 * MIB,
                                            .timeout_ms = 60000,
                                            .lookback_ms = 5 * 60000},
                                 .clock = fixture->clock,
                                 .cancelled = is_cancelled,
                                 .cancelled_arg = fixture};
}

static enum promql_failure run(struct promql_query *query, const char *text, struct promql_error *error,
                               struct promql_result **ret_result)
{
    CLEANUP(promql_expression_freep) struct promql_expression *expression = NULL;
    assert_int_equal(promql_parse(str_from(text), error, &expression), 0);
    query->expression = expression;
    return promql_eval(query, error, ret_result);
}

static void expect_same(const struct promql_result *a, const struct promql_result *b)
{
    const struct promql_value *left = promql_result_value(a), *right = promql_result_value(b);
    size_t steps = promql_result_steps(a);
    assert_int_equal(promql_result_samples(a), promql_result_samples(b));
    assert_int_equal(left->series_count, right->series_count);
    for (size_t i = 0; i < left->series_count; i++) {
        const struct promql_series *x = &left->series[i], *y = &right->series[i];
        assert_true(labels_equal(x->labels, y->labels));
        assert_memory_equal(x->present, y->present, promql_words(steps) * sizeof(uint64_t));
        PROMQL_EACH(step, x, steps)
        assert_true(double_bits(x->values[step]) == double_bits(y->values[step]));
    }
}

static const char *const expressions[] = {
    "m_total",
    "sum by (mode) (rate(m_total[5m]))",
    "sum without (host) (m_total)",
    "count(m_total)",
    "avg by (host) (increase(m_total[2m]))",
    "topk(5, deriv(m_total[3m]))",
    "max by (mode) (avg_over_time(m_total[4m]))",
    "sum(rate(m_total{mode=\"mode-1\"}[5m])) / on() group_right() sum by (host) (rate(m_total[5m]))",
    "absent(m_total{mode=\"none\"})",
    "quantile by (mode) (0.9, max_over_time(rate(m_total[2m])[3m:30s]))",
    "stddev by (mode) (m_total offset 1m)",
    "{__name__=~\"m.*\"} @ 600",
};

static void answers_are_those_of_one_thread(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < 2 * ARRAY_LEN(expressions); i++) {
        struct promql_query query = query_of(fixture, i % 2);
        struct promql_error error = {0};
        CLEANUP(promql_result_freep) struct promql_result *alone = NULL;
        CLEANUP(promql_result_freep) struct promql_result *helped = NULL;
        assert_int_equal(run(&query, expressions[i / 2], &error, &alone), PROMQL_OK);
        query.crew = fixture->crew;
        assert_int_equal(run(&query, expressions[i / 2], &error, &helped), PROMQL_OK);
        expect_same(alone, helped);
    }
}

/* Wherever it is cancelled, it ends, with nothing left behind; all threads ask. */
static void work_ends_wherever_it_is_cancelled(void **state)
{
    struct fixture *fixture = *state;
    int cancelled = 0;
    for (int at = 1; at < 400; at += at < 20 ? 1 : 17) {
        struct promql_query query = query_of(fixture, true);
        struct promql_error error = {0};
        CLEANUP(promql_result_freep) struct promql_result *result = NULL;
        query.crew = fixture->crew;
        atomic_store(&fixture->cancel_at, at);
        enum promql_failure failure = run(&query, "sum by (mode) (rate(m_total[5m]))", &error, &result);
        assert_true(failure == PROMQL_CANCELLED || failure == PROMQL_OK);
        cancelled += failure == PROMQL_CANCELLED;
    }
    atomic_store(&fixture->cancel_at, 0);
    assert_true(cancelled > 20);
}

static void limits_hold_over_all_threads(void **state)
{
    struct fixture *fixture = *state;
    struct promql_error error = {0};
    CLEANUP(promql_result_freep) struct promql_result *result = NULL;
    struct promql_query query = query_of(fixture, true);
    query.crew = fixture->crew;
    query.limits.samples_max = SERIES * SAMPLES / 2;
    assert_int_equal(run(&query, "sum(rate(m_total[5m]))", &error, &result), PROMQL_TOO_MUCH);
    /* Failures of series far behind: what is told is the first in order of labels. */
    query.limits.samples_max = SERIES * SAMPLES;
    assert_int_equal(run(&query, "holt_winters(m_total[5m], 2, 0.5)", &error, &result), PROMQL_EXECUTION);
    for (uint64_t bytes = 1 * MIB / 64; bytes < 4 * MIB; bytes *= 2) {
        CLEANUP(promql_result_freep) struct promql_result *some = NULL;
        query.limits.bytes_max = bytes;
        enum promql_failure failure = run(&query, "sum by (mode) (rate(m_total[5m]))", &error, &some);
        assert_true(failure == PROMQL_OK || failure == PROMQL_TOO_MUCH);
    }
}

/* ---- The crew alone ---- */

struct counted {
    _Atomic int began;
};

static void count(void *arg)
{
    atomic_fetch_add(&((struct counted *)arg)->began, 1);
}

static void nobody_works_on_a_job_that_has_ended(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 2000; i++) {
        struct counted counted = {0};
        struct crew_job job, other;
        crew_begin(fixture->crew, &job, count, &counted, (size_t)(i % 5));
        crew_begin(fixture->crew, &other, count, &counted, 1);
        crew_end(fixture->crew, &job);
        crew_end(fixture->crew, &other);
        int began = atomic_load(&counted.began);
        assert_true(began <= MIN(i % 5, 3) + 1);
    }
    struct crew_job job;
    crew_begin(NULL, &job, count, NULL, 4); /* without a crew */
    crew_end(NULL, &job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_those_of_one_thread),
        cmocka_unit_test(work_ends_wherever_it_is_cancelled),
        cmocka_unit_test(limits_hold_over_all_threads),
        cmocka_unit_test(nobody_works_on_a_job_that_has_ended),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
