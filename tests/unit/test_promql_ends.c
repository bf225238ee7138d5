/* Every kind of expensive query ends within a bounded amount of work, wherever it is told to; and on a small stack. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/fail.h"
#include "promql/eval.h"
#include "store/store.h"

#include <pthread.h>
#include <stdio.h>

#define SERIES     2000
#define SAMPLES    6 /* of each, one a minute */
#define MINUTE_MS  INT64_C(60000)
#define FOREVER_MS (INT64_C(1) << 60)
#define WORK_MAX   1024 /* series or values between two questions */
#define STACK_KIB  512  /* of a thread that evaluates the deepest tree; sanitizers make frames several times as large */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACK_FACTOR 8
#else
#define STACK_FACTOR 1
#endif

static struct fixture {
    struct clock *clock;
    struct store *store;
    size_t asked, most;
    int64_t advance_ms; /* at the question that is one too many, instead of a yes */
} fixture;

static bool is_over(void *arg)
{
    (void)arg;
    if (++fixture.asked <= fixture.most)
        return false;
    if (fixture.advance_ms == 0)
        return true;
    clock_simulated_advance(fixture.clock, fixture.advance_ms);
    return false;
}

static int set_up(void **state)
{
    (void)state;
    struct store_options options = {.max_age_ms = FOREVER_MS, .max_ahead_ms = FOREVER_MS, .series_max = 10000};
    fixture.clock = clock_simulated_new(0);
    fixture.store = store_new(fixture.clock, &options);
    for (int i = 0; i < SERIES; i++) {
        char host[16], le[16];
        snprintf(host, sizeof(host), "h%04d", i);
        snprintf(le, sizeof(le), "%d", i * 7 % 100);
        struct label labels[] = {{STR("__name__"), STR("m")}, {STR("host"), str_from(host)}, {STR("le"), str_from(le)}};
        CLEANUP(labels_unrefp) struct labels *set = labels_new(labels, ARRAY_LEN(labels));
        series_ref ref = store_series(fixture.store, set, KIND_GAUGE);
        store_write_begin(fixture.store);
        for (int j = 0; j < SAMPLES; j++) {
            struct record record = record_empty(KIND_GAUGE);
            record_add(&record, (struct sample){j * MINUTE_MS, i * 31 % 1009 + j});
            store_append(fixture.store, ref, j * MINUTE_MS, 0, &record, NULL, 0);
        }
        store_write_end(fixture.store);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    store_free(fixture.store);
    clock_free(fixture.clock);
    return 0;
}

/* most: questions that are answered with "go on". */
static enum promql_failure run(const char *text, int64_t step_ms, size_t most)
{
    CLEANUP(promql_expression_freep) struct promql_expression *expression = NULL;
    CLEANUP(promql_result_freep) struct promql_result *result = NULL;
    struct promql_error error = {0};
    if (promql_parse(str_from(text), &error, &expression) < 0)
        fail_msg("%s: %s", text, error.text);
    struct promql_query query = {
        .store = fixture.store,
        .expression = expression,
        .start_ms = step_ms > 0 ? 0 : SAMPLES * MINUTE_MS,
        .end_ms = SAMPLES * MINUTE_MS,
        .step_ms = step_ms,
        .limits = {.samples_max = 100000000, .bytes_max = GIB, .timeout_ms = 1000, .lookback_ms = 5 * MINUTE_MS},
        .clock = fixture.clock,
        .cancelled = is_over};
    fixture.asked = 0;
    fixture.most = most;
    return promql_eval(&query, &error, &result);
}

/* work: series, members or steps that the query cannot but look at. */
static const struct row {
    const char *text;
    int64_t step_ms; /* 0: instant */
    size_t work;
} rows[] = {
    {"m", 0, SERIES},
    {"m", 1000, SERIES * 300},
    {"sort(m)", 0, SERIES},
    {"sum by (host) (m)", 0, SERIES},
    {"topk(1e9, m)", 0, 2 * SERIES},
    {"topk(3, m)", 10000, SERIES * 36},
    {"bottomk by (le) (2, m)", 10000, SERIES * 36},
    {"quantile(0.5, m)", 10000, SERIES * 36},
    {"count_values('v', m)", 10000, SERIES * 36},
    {"stddev(m)", 10000, SERIES * 36},
    {"m + m", 0, 4 * SERIES},
    {"m + on(le) group_left() sum by (le) (m)", 0, 3 * SERIES},
    {"sum(m) * on() group_right(le) m", 0, 3 * SERIES},
    {"m and m", 0, 4 * SERIES},
    {"m unless on(le) m", 0, 4 * SERIES},
    {"m or -m", 0, 4 * SERIES},
    {"histogram_quantile(0.9, m)", 0, 2 * SERIES},
    {"histogram_quantile(0.9, sum by (le) (m))", 10000, SERIES * 36},
    {"label_replace(m, 'x', '$1', 'host', '(.*)')", 0, 2 * SERIES},
    {"label_join(m, 'x', ',', 'host', 'le', '__name__')", 0, 3 * SERIES},
    {"quantile_over_time(0.5, m[6m])", 0, SERIES * 2 * SAMPLES},
    {"quantile_over_time(0.5, m[6m:1s])", 0, SERIES * 2 * 300},
    {"sum_over_time(sum(m)[6m:1s])", 0, SERIES * 300},
    {"holt_winters(m[6m], 0.5, 0.5)", 0, SERIES * 2 * SAMPLES},
    {"absent(m)", 10000, SERIES * 36},
    {"absent_over_time(m[1m])", 10000, SERIES * 36},
    {"m[6m]", 0, SERIES *SAMPLES},
    {"clamp(m, 1, 2) > bool 1", 10000, SERIES * 36},
    {"abs(m) ^ 2 == 2", 10000, SERIES * 36},
    {"m{host=~'h.*1|h[0-9]*'}", 0, SERIES},
    {"m{host=~'[hx].*',le!~'x+',host!~'y+'}", 0, SERIES * 2},
};

/* Given up at the Nth question, it asks no further one; and it asks once per WORK_MAX or more often. */
static void a_query_ends_wherever_it_is_cancelled(void **state)
{
    (void)state;
    fixture.advance_ms = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (run(rows[i].text, rows[i].step_ms, SIZE_MAX) != PROMQL_OK)
            fail_msg("%s fails", rows[i].text);
        size_t questions = fixture.asked;
        if (questions < rows[i].work / WORK_MAX)
            fail_msg("%s: %zu questions, %zu to do", rows[i].text, questions, rows[i].work);
        for (size_t most = 0; most < questions; most += 1 + questions / 20) {
            if (run(rows[i].text, rows[i].step_ms, most) != PROMQL_CANCELLED)
                fail_msg("%s is not cancelled at question %zu", rows[i].text, most);
            assert_int_equal(fixture.asked, most + 1);
        }
    }
}

static void a_query_ends_at_its_deadline(void **state)
{
    (void)state;
    fixture.advance_ms = 1000;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t most = 0; most < 3; most++) {
            if (run(rows[i].text, rows[i].step_ms, most) != PROMQL_TIMEOUT)
                fail_msg("%s does not end", rows[i].text);
            assert_int_equal(fixture.asked, most + 1);
        }
    }
    fixture.advance_ms = 0;
}

/* ---- Stack ---------------------------------------------------------------------------------------------------------
 */

struct nest {
    const char *open, *close;
    size_t levels; /* of one */
};

static void *evaluate_nested(void *arg)
{
    static const struct nest nests[] = {{"(", ")", 1},
                                        {"-", "", 1},
                                        {"abs(", ")", 1},
                                        {"sum by (host) (1 + ", ")", 2},
                                        {"topk(1, ", ")", 1},
                                        {"quantile(0.5, ", ")", 1},
                                        {"count_values('v', ", ")", 1},
                                        {"histogram_quantile(1, ", ")", 1},
                                        {"label_replace(", ", 'x', '$1', 'host', '(.*)')", 1},
                                        {"label_join(", ", 'x', '', 'host')", 1},
                                        {"sort(", ")", 1},
                                        {"absent(", ")", 1},
                                        {"max_over_time(", "[1m:1m])", 2},
                                        {"vector(scalar(", "))", 2},
                                        {"m and on(host) (", ")", 2},
                                        {"m + on(host) group_left() (", ")", 2}};
    size_t *done = arg;
    for (size_t i = 0; i < ARRAY_LEN(nests); i++) {
        CLEANUP(buf_done) struct buf text = BUF_INIT(64 * KIB);
        size_t depth = (PROMQL_DEPTH_MAX - 2) / nests[i].levels;
        for (size_t j = 0; j < depth; j++)
            buf_append_text(&text, nests[i].open);
        buf_append_text(&text, "m{host='h0007'}");
        for (size_t j = 0; j < depth; j++)
            buf_append_text(&text, nests[i].close);
        buf_append_byte(&text, 0);
        (void)run((const char *)text.data, 0, 100000);
        ++*done;
    }
    return NULL;
}

static void the_deepest_trees_fit_a_small_stack(void **state)
{
    (void)state;
    pthread_attr_t attributes;
    pthread_t thread;
    size_t done = 0;
    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_attr_setstacksize(&attributes, STACK_FACTOR * STACK_KIB * KIB), 0);
    assert_int_equal(pthread_create(&thread, &attributes, evaluate_nested, &done), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    assert_true(done > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_query_ends_wherever_it_is_cancelled),
        cmocka_unit_test(a_query_ends_at_its_deadline),
        cmocka_unit_test(the_deepest_trees_fit_a_small_stack),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
