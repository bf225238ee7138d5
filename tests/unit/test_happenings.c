/* What happens to a target, and what the records of its windows say: the rows of docs/downsampling.md that are about
 * scrapes. Through the pipeline, batches and ingest into the store. */
#include "global/ingest.h"
#include "pipeline_rig.h"
#include "promql/eval.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define T0         INT64_C(1700000040000) /* a whole minute */
#define R_MS       INT64_C(60000)
#define FOREVER_MS (INT64_C(1) << 60)

static const struct pipeline_job job = {.honor_timestamps = true,
                                        .sample_limit = 1000,
                                        .label_limit = 30,
                                        .label_name_bytes_max = 100,
                                        .label_value_bytes_max = 1000};

struct scene {
    struct clock *clock;
    struct store *store;
    struct ingest *ingest;
    struct families *families;
    uint64_t batches; /* taken in so far */
    struct layout_table *table;
    struct pipeline *pipeline;
    struct pipeline_target *target;
};

static void on_sealed(void *arg, struct pipeline_sealed *sealed)
{
    struct scene *scene = arg;
    CLEANUP(buf_done) struct buf batch = BUF_INIT(BATCH_BYTES_MAX);
    struct envelope envelope = {.source = {STR("dc1"), STR("rack-7"), 1},
                                .epoch = 1,
                                .seq = 1,
                                .window_start_ms = sealed->window_start_ms,
                                .resolution_ms = sealed->resolution_ms,
                                .span_ms = sealed->span_ms};
    assert_int_equal(batch_writer_finish(sealed->writer, &envelope, scene->table, &batch), 0);
    assert_int_equal(ingest_batch(scene->ingest, scene->table, ++scene->batches, buf_view(&batch), T0), 0);
    batch_writer_release(sealed->writer, scene->table);
    pipeline_sealed_done(sealed);
}

static struct pipeline_target *new_target(struct scene *scene)
{
    CLEANUP(labels_unrefp) struct labels *labels = labels_new(NULL, 0);
    return pipeline_target_new(scene->pipeline, labels, 15000, &job);
}

static int set_up(void **state)
{
    struct scene *scene = mem_zalloc(sizeof(*scene));
    const struct store_options store = {.max_age_ms = FOREVER_MS, .max_ahead_ms = FOREVER_MS, .series_max = 1000};
    CLEANUP(window_rules_unrefp) struct window_rules *rules = rig_rules(NULL, 0);
    const struct pipeline_options pipeline = {
        .rules = rules, .page_bytes_max = MIB, .sealed = on_sealed, .sealed_arg = scene};
    scene->clock = clock_simulated_new(T0);
    scene->store = store_new(scene->clock, &store);
    scene->families = families_new();
    scene->ingest = ingest_new(scene->store, scene->families);
    scene->table = layout_table_new(MIB, MIB);
    scene->pipeline = pipeline_new(&pipeline);
    scene->target = new_target(scene);
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    pipeline_target_free(scene->target);
    pipeline_free(scene->pipeline);
    ingest_free(scene->ingest);
    families_free(scene->families);
    store_free(scene->store);
    layout_table_free(scene->table);
    clock_free(scene->clock);
    mem_free(scene);
    return 0;
}

/* second: from T0. */
static void scrape(struct pipeline_target *target, int64_t second, const char *body)
{
    struct scrape_report report;
    if (rig_scrape(target, T0 + second * 1000, body, &report) != SCRAPE_OK)
        fail_msg("%s", report.reason);
}

static void fail_scrape(struct pipeline_target *target, int64_t second)
{
    struct scrape_outcome outcome = {.time_ms = T0 + second * 1000, .failure = SCRAPE_CONNECT};
    struct scrape_report report;
    pipeline_scrape(target, &outcome, &report);
}

static void close_window(struct scene *scene, int64_t second)
{
    rig_close(scene->pipeline, T0 + second * 1000, &scene->target, 1);
}

/* The samples that the store has of a metric, as "value@second". */
static void expect(struct scene *scene, const char *name, const char *wanted)
{
    struct matcher matcher;
    char error[256];
    CLEANUP(buf_done) struct buf text = BUF_INIT(MIB);
    const struct select_range range = {.start_ms = T0 - 10 * R_MS, .end_ms = T0 + 10 * R_MS};
    assert_int_equal(matcher_init(&matcher, MATCH_EQUAL, STR(LABEL_NAME), str_from(name), error), 0);
    CLEANUP(select_freep) struct select *select = NULL;
    assert_int_equal(select_open(scene->store, &matcher, 1, &range, &select), 0);
    struct labels *series = NULL;
    while (select_next(select, &series) > 0) {
        CLEANUP(sample_reader_freep) struct sample_reader *reader = sample_reader_new(select, SELECT_LAST);
        struct sample samples[64];
        sample_reader_current(reader);
        size_t count = (size_t)sample_reader_read(reader, samples, 64);
        for (size_t i = 0; i < count; i++) {
            buf_printf(&text, value_is_stale(samples[i].value) ? "stale" : "%g", samples[i].value);
            buf_printf(&text, "@%g ", (double)(samples[i].time_ms - T0) / 1000);
        }
    }
    matcher_done(&matcher);
    buf_append_byte(&text, 0);
    assert_string_equal((const char *)text.data, wanted);
}

/* An expression at a second. */
static double value_of(struct scene *scene, const char *text, int64_t second)
{
    CLEANUP(promql_expression_freep) struct promql_expression *expression = NULL;
    CLEANUP(promql_result_freep) struct promql_result *result = NULL;
    struct promql_error error;
    if (promql_parse(str_from(text), &error, &expression) < 0)
        fail_msg("%s: %s", text, error.text);
    const struct promql_query query = {
        .store = scene->store,
        .expression = expression,
        .start_ms = T0 + second * 1000,
        .end_ms = T0 + second * 1000,
        .limits = {.samples_max = 10000, .bytes_max = MIB, .timeout_ms = 60000, .lookback_ms = 5 * R_MS},
        .clock = scene->clock};
    if (promql_eval(&query, &error, &result) != PROMQL_OK)
        fail_msg("%s: %s", text, error.text);
    const struct promql_value *value = promql_result_value(result);
    return value->series_count == 1 && promql_present(&value->series[0], 0) ? value->series[0].values[0] : NAN;
}

/* ---- Rows ---- */

static void a_failed_scrape(void **state)
{
    struct scene *scene = *state;
    scrape(scene->target, 5, "x 1\n");
    scrape(scene->target, 20, "x 3\n");
    fail_scrape(scene->target, 35);
    fail_scrape(scene->target, 50);
    close_window(scene, 0);
    expect(scene, "x", "3@20 stale@35 "); /* at the first that failed */
    expect(scene, "up", "0@50 ");
    expect(scene, "scrape_failure", "1@50 ");
    assert_true(value_of(scene, "min_over_time(up[1m])", 59) == 0 && value_of(scene, "max_over_time(up[1m])", 59) == 1);
    assert_true(value_of(scene, "count_over_time(x[59s])", 59) == 2);
    assert_true(isnan(value_of(scene, "x", 36)) && value_of(scene, "x", 34) == 3);
    /* A whole window without an answer adds nothing. */
    fail_scrape(scene->target, 65);
    close_window(scene, 60);
    expect(scene, "x", "3@20 stale@35 ");
    expect(scene, "up", "0@50 0@65 ");
}

static void failed_and_back_within_the_window(void **state)
{
    struct scene *scene = *state;
    scrape(scene->target, 5, "x 1\nc_total 10\n");
    fail_scrape(scene->target, 20);
    scrape(scene->target, 35, "x 3\nc_total 14\n");
    scrape(scene->target, 50, "x 2\nc_total 15\n");
    close_window(scene, 0);
    expect(scene, "x", "2@50 "); /* no marker */
    assert_true(value_of(scene, "count_over_time(x[59s])", 59) == 3);
    assert_true(value_of(scene, "max_over_time(x[59s])", 59) == 3);
    expect(scene, "c_total", "10@5 15@50 ");
    assert_true(value_of(scene, "avg_over_time(up[59s])", 59) == 0.75);
    expect(scene, "scrape_failure", "1@20 stale@35 ");
}

static void a_target_removed(void **state)
{
    struct scene *scene = *state;
    scrape(scene->target, 5, "x 1\n");
    pipeline_target_end(scene->target, T0 + 12000, TARGET_END_REMOVED);
    close_window(scene, 0);
    expect(scene, "x", "1@5 stale@12 ");
    expect(scene, "up", "1@5 stale@12 ");
    expect(scene, "scrape_target_ended", "1@12 "); /* no marker: it is to be seen for a while */
    assert_true(value_of(scene, "scrape_target_ended{reason=\"removed\"}", 12 + 299) == 1);
    assert_true(value_of(scene, "last_over_time(scrape_target_ended[1d])", 80000) == 1);
}

static void a_series_vanished(void **state)
{
    struct scene *scene = *state;
    scrape(scene->target, 5, "x 1\ny 1\n");
    scrape(scene->target, 20, "x 7\ny 1\n");
    scrape(scene->target, 35, "y 1\n");
    close_window(scene, 0);
    expect(scene, "x", "7@20 stale@35 ");
    assert_true(value_of(scene, "sum_over_time(x[59s])", 59) == 8);
    expect(scene, "y", "1@35 ");
    /* Back within one window: as if it had been there. */
    scrape(scene->target, 65, "x 2\ny 1\n");
    scrape(scene->target, 80, "y 1\n");
    scrape(scene->target, 95, "x 4\ny 1\n");
    close_window(scene, 60);
    expect(scene, "x", "7@20 stale@35 4@95 ");
    assert_true(value_of(scene, "count_over_time(x[59s])", 119) == 2);
}

static void a_series_new(void **state)
{
    struct scene *scene = *state;
    scrape(scene->target, 5, "y 1\n");
    scrape(scene->target, 20, "y 1\nx 7\nc_total 100\nrest_total 5\n");
    scrape(scene->target, 35, "y 1\nx 5\nc_total 103\nrest_total 5\n");
    close_window(scene, 0);
    expect(scene, "x", "5@35 ");
    assert_true(value_of(scene, "count_over_time(x[59s])", 59) == 2);
    expect(scene, "c_total", "100@20 103@35 "); /* where its increase begins */
    expect(scene, "rest_total", "5@35 ");       /* it has none */
    assert_true(value_of(scene, "increase(c_total[15s])", 35) == 3);
}

static void a_counter_reset_in_the_window(void **state)
{
    struct scene *scene = *state;
    scrape(scene->target, -5, "c_total 90\n");
    close_window(scene, -60);
    scrape(scene->target, 5, "c_total 100\n");
    scrape(scene->target, 20, "c_total 3\n");
    scrape(scene->target, 35, "c_total 5\n");
    scrape(scene->target, 50, "c_total 9\n");
    close_window(scene, 0);
    expect(scene, "c_total", "90@-5 100@5 3@20 9@50 ");
    assert_true(value_of(scene, "increase(c_total[55s])", 50) == 19);
    assert_true(value_of(scene, "resets(c_total[55s])", 50) == 1);
}

static void a_counter_reset_on_the_border(void **state)
{
    struct scene *scene = *state;
    scrape(scene->target, 35, "c_total 90\n");
    scrape(scene->target, 50, "c_total 100\n");
    close_window(scene, 0);
    scrape(scene->target, 65, "c_total 2\n");
    scrape(scene->target, 80, "c_total 150\n"); /* more than before: the fall would not be seen */
    close_window(scene, 60);
    expect(scene, "c_total", "90@35 100@50 2@65 150@80 ");
    assert_true(value_of(scene, "increase(c_total[30s])", 80) == 150);
}

static void samples_with_times_of_their_own(void **state)
{
    struct scene *scene = *state;
    char body[100];
    for (int i = 0; i < 4; i++) { /* the exporter has a new value every 30 s, and shows it twice */
        snprintf(body, sizeof(body), "x %d %lld\n", i / 2, (long long)T0 + i / 2 * 30000 - 2000);
        scrape(scene->target, 5 + 15 * i, body);
    }
    close_window(scene, 0);
    expect(scene, "x", "0@-2 1@28 "); /* each by its own time, in whichever window that lies */
    scrape(scene->target, 65, "y 1\n");
    close_window(scene, 60);
    expect(scene, "x", "0@-2 1@28 "); /* no marker: its times are its own */
}

/* A target of other times is another target: the old one ends, the new one begins. Of the window in which that happens
 * two records come, and the one of more scrapes stays. */
static void a_changed_interval(void **state)
{
    struct scene *scene = *state;
    scrape(scene->target, -5, "x 9\nc_total 8\n");
    close_window(scene, -60);
    scrape(scene->target, 10, "x 1\nc_total 10\n");
    scrape(scene->target, 25, "x 8\nc_total 12\n");
    pipeline_target_end(scene->target, T0 + 30000, TARGET_END_RELABELED);
    struct pipeline_target *next = new_target(scene);
    for (int i = 0; i < 5; i++) {
        char body[50];
        snprintf(body, sizeof(body), "x %d\nc_total %d\n", i + 2, 13 + i);
        scrape(next, 35 + 5 * i, body);
    }
    close_window(scene, 0);
    pipeline_target_free(scene->target);
    scene->target = next;
    close_window(scene, 0);
    expect(scene, "x", "9@-5 6@55 ");
    assert_true(value_of(scene, "max_over_time(x[59s])", 59) == 6); /* the 8 before is not known any more */
    expect(scene, "c_total", "8@-5 13@35 17@55 ");
    assert_true(value_of(scene, "increase(c_total[1m])", 55) == 9); /* counters lose nothing but a reset */
}

/* A daemon that is stopped seals its open window, the next one seals what is left of it. After kill -9 there is only
 * the second. */
static void a_restart_within_a_window(void **state)
{
    struct scene *scene = *state;
    scrape(scene->target, -5, "x 9\nc_total 8\n");
    close_window(scene, -60);
    scrape(scene->target, 10, "x 7\nc_total 10\n");
    scrape(scene->target, 25, "x 1\nc_total 12\n");
    const struct pipeline_closing last = {scene->target, INT64_MAX};
    pipeline_close(scene->pipeline, T0, &last, 1);
    expect(scene, "x", "9@-5 1@25 "); /* no marker: the target is still there */
    pipeline_target_free(scene->target);
    scene->target = new_target(scene);
    scrape(scene->target, 40, "x 2\nc_total 13\n");
    scrape(scene->target, 55, "x 3\nc_total 15\n");
    close_window(scene, 0);
    expect(scene, "x", "9@-5 3@55 "); /* as many scrapes: the newer */
    expect(scene, "c_total", "8@-5 13@40 15@55 ");
    assert_true(value_of(scene, "increase(c_total[1m])", 55) == 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_failed_scrape, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failed_and_back_within_the_window, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_target_removed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_series_vanished, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_series_new, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_counter_reset_in_the_window, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_counter_reset_on_the_border, set_up, tear_down),
        cmocka_unit_test_setup_teardown(samples_with_times_of_their_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_changed_interval, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_restart_within_a_window, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
