/* keep: aggregate: from members to NAME:sum, :min, :max and :count, over workers and over secondaries. */
#include "base/random.h"
#include "pipeline_rig.h"
#include "secondary/aggregator.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define T0 INT64_C(1700000040000)

static const struct pipeline_job job = {.honor_timestamps = true,
                                        .sample_limit = 1000,
                                        .label_limit = 30,
                                        .label_name_bytes_max = 100,
                                        .label_value_bytes_max = 1000};
static const char *const by_ns[] = {"ns"};
static const struct window_rule by_namespace = {.match = "{__name__=~\"c_.*\"}",
                                                .resolution_ms = RESOLUTION_UNSAID,
                                                .keep = KEEP_AGGREGATE,
                                                .by = by_ns,
                                                .by_count = 1};

struct scene {
    struct rig rig;
    struct aggregator *aggregator;
    struct pipeline_sealed sealed;
};

static void scene_init(struct scene *scene)
{
    *scene = (struct scene){.aggregator = aggregator_new("s1")};
    rig_init_rules(&scene->rig, MIB, &by_namespace, 1);
    scene->rig.aggregate = aggregate_new();
}

static void scene_done(struct scene *scene)
{
    aggregator_free(scene->aggregator);
    aggregate_free(scene->rig.aggregate);
    rig_done(&scene->rig);
}

static struct pipeline_target *new_target(struct rig *rig, const char *instance)
{
    const struct label label = {STR("instance"), str_from(instance)};
    CLEANUP(labels_unrefp) struct labels *labels = labels_new(&label, 1);
    return pipeline_target_new(rig->pipeline, labels, 15000, &job);
}

static void scrape(struct pipeline_target *target, int64_t time_ms, const char *body)
{
    struct scrape_report report;
    if (rig_scrape(target, time_ms, body, &report) != SCRAPE_OK)
        fail_msg("%s", report.reason);
}

/* Closes a window and lets its aggregates be told: rows are those of the window alone. */
static void close_window(struct scene *scene, int64_t start_ms, struct pipeline_target *const *targets, size_t count)
{
    struct aggregate *aggregate = scene->rig.aggregate;
    rig_clear(&scene->rig);
    rig_close(scene->rig.pipeline, start_ms, targets, count);
    if (aggregate->cells.count > 0)
        aggregator_take(scene->aggregator, start_ms, RIG_RESOLUTION_MS, aggregate);
    aggregate_free(aggregate);
    scene->rig.aggregate = NULL;
    scene->sealed = (struct pipeline_sealed){0};
    while (aggregator_next(scene->aggregator, start_ms + RIG_RESOLUTION_MS, &scene->sealed))
        rig_take(&scene->rig, &scene->sealed);
    scene->rig.aggregate = aggregate_new();
}

static const struct rig_row *row_of(const struct scene *scene, const char *series)
{
    const struct rig_row *row = rig_find(&scene->rig, series);
    if (!row)
        fail_msg("no %s", series);
    return row;
}

static void expect(const struct scene *scene, const char *series, double value)
{
    const struct rig_row *row = row_of(scene, series);
    if (row->record.last != value)
        fail_msg("%s is %.17g", series, row->record.last);
}

/* ---- Values ---- */

static void gauges_have_sum_min_max_and_count(void **state)
{
    (void)state;
    struct scene scene;
    scene_init(&scene);
    struct pipeline_target *both[] = {new_target(&scene.rig, "a"), new_target(&scene.rig, "b")};
    scrape(both[0], T0 + 1000,
           "c_mem{ns=\"x\",pod=\"1\"} 5.5\nc_mem{ns=\"x\",pod=\"2\"} 0.1\nc_mem{ns=\"y\"} 3\nother 1\n");
    scrape(both[0], T0 + 16000,
           "c_mem{ns=\"x\",pod=\"1\"} 1\nc_mem{ns=\"x\",pod=\"2\"} 0.2\nc_mem{ns=\"y\"} 9\nother 1\n");
    scrape(both[1], T0 + 8000, "c_mem{ns=\"x\"} -7\nc_mem 1\n");
    close_window(&scene, T0, both, 2);
    expect(&scene, "c_mem:sum{ns=\"x\",secondary=\"s1\"}", -5.8);
    expect(&scene, "c_mem:min{ns=\"x\",secondary=\"s1\"}", -7);
    expect(&scene, "c_mem:max{ns=\"x\",secondary=\"s1\"}", 5.5);
    expect(&scene, "c_mem:count{ns=\"x\",secondary=\"s1\"}", 3);
    expect(&scene, "c_mem:sum{ns=\"y\",secondary=\"s1\"}", 9);
    expect(&scene, "c_mem:min{ns=\"y\",secondary=\"s1\"}", 3);
    expect(&scene, "c_mem:sum{secondary=\"s1\"}", 1);
    /* Each at the last scrape of its members, counted as that of them which was scraped most. */
    const struct rig_row *x = row_of(&scene, "c_mem:sum{ns=\"x\",secondary=\"s1\"}");
    assert_int_equal(x->record.time_ms, T0 + 16000);
    assert_int_equal(x->record.count, 2);
    assert_true(x->record.sum == -11.6);
    assert_int_equal(row_of(&scene, "c_mem:sum{secondary=\"s1\"}")->record.time_ms, T0 + 8000);
    assert_int_equal(row_of(&scene, "c_mem:sum{secondary=\"s1\"}")->record.count, 1);
    assert_int_equal(row_of(&scene, "c_mem:count{ns=\"x\",secondary=\"s1\"}")->record.kind, KIND_GAUGE);
    /* The members are not sent, the others are. */
    assert_null(rig_find(&scene.rig, "c_mem{instance=\"a\",ns=\"y\"}"));
    row_of(&scene, "other{instance=\"a\"}");
    pipeline_target_free(both[0]);
    pipeline_target_free(both[1]);
    scene_done(&scene);
}

static void counters_are_running_totals_of_increases(void **state)
{
    (void)state;
    struct scene scene;
    scene_init(&scene);
    struct pipeline_target *both[] = {new_target(&scene.rig, "a"), new_target(&scene.rig, "b")};
    static const char sum[] = "c_total:sum{ns=\"x\",secondary=\"s1\"}";
    scrape(both[0], T0 + 1000, "c_total{ns=\"x\"} 100\n");
    scrape(both[0], T0 + 16000, "c_total{ns=\"x\"} 107\n");
    scrape(both[1], T0 + 3000, "c_total{ns=\"x\"} 1000\n");
    close_window(&scene, T0, both, 2);
    expect(&scene, sum, 7); /* nothing is invented: they count from their first values on */
    assert_int_equal(row_of(&scene, sum)->record.kind, KIND_COUNTER);
    assert_int_equal(row_of(&scene, sum)->extra_count, 1); /* where it began, at 0 */
    assert_true(row_of(&scene, sum)->extras[0].value == 0 && row_of(&scene, sum)->extras[0].time_ms == T0 + 1000);
    assert_null(rig_find(&scene.rig, "c_total:min{ns=\"x\",secondary=\"s1\"}"));
    expect(&scene, "c_total:count{ns=\"x\",secondary=\"s1\"}", 2);
    /* A reset on the border, one in the window, a counter that is new. */
    scrape(both[0], T0 + 61000, "c_total{ns=\"x\"} 3\n");
    scrape(both[0], T0 + 76000, "c_total{ns=\"x\"} 5\n");
    scrape(both[1], T0 + 63000, "c_total{ns=\"x\"} 1010.5\nc_total{ns=\"x\",new=\"1\"} 77\n");
    scrape(both[1], T0 + 78000, "c_total{ns=\"x\"} 0.5\nc_total{ns=\"x\",new=\"1\"} 78\n");
    close_window(&scene, T0 + 60000, both, 2);
    expect(&scene, sum, 7 + 5 + 10.5 + 0.5 + 1);
    assert_int_equal(row_of(&scene, sum)->extra_count, 0);
    expect(&scene, "c_total:count{ns=\"x\",secondary=\"s1\"}", 3);
    /* A failed scrape changes nothing; what rose meanwhile counts. */
    struct scrape_report report;
    pipeline_scrape(both[0], &(struct scrape_outcome){.time_ms = T0 + 121000, .failure = SCRAPE_TIMEOUT}, &report);
    scrape(both[0], T0 + 136000, "c_total{ns=\"x\"} 105\n");
    close_window(&scene, T0 + 120000, both, 2);
    expect(&scene, sum, 24 + 100);
    expect(&scene, "c_total:count{ns=\"x\",secondary=\"s1\"}", 1);
    pipeline_target_free(both[0]);
    pipeline_target_free(both[1]);
    scene_done(&scene);
}

/* The only member vanishes from a page, and with it the part of the page that is folded. */
static void a_counter_that_was_away_goes_on(void **state)
{
    (void)state;
    struct scene scene;
    scene_init(&scene);
    struct pipeline_target *target = new_target(&scene.rig, "a");
    static const char sum[] = "c_total:sum{ns=\"x\",secondary=\"s1\"}";
    scrape(target, T0, "c_total{ns=\"x\"} 5\nother 1\n");
    scrape(target, T0 + 15000, "c_total{ns=\"x\"} 6\nother 1\n");
    scrape(target, T0 + 45000, "other 1\n");
    close_window(&scene, T0, &target, 1);
    expect(&scene, sum, 1);
    for (int window = 1; window <= 2; window++) {
        scrape(target, T0 + window * INT64_C(60000), "other 1\n");
        close_window(&scene, T0 + window * INT64_C(60000), &target, 1);
        assert_true(window > 1 || value_is_stale(row_of(&scene, sum)->record.last));
    }
    scrape(target, T0 + 180000, "other 1\n");
    scrape(target, T0 + 195000, "c_total{ns=\"x\"} 16\nother 1\n");
    scrape(target, T0 + 210000, "other 1\n");
    scrape(target, T0 + 225000, "c_total{ns=\"x\"} 18\nother 1\n");
    close_window(&scene, T0 + 180000, &target, 1);
    expect(&scene, sum, 13);
    assert_int_equal(row_of(&scene, sum)->record.count, 2);
    assert_int_equal(row_of(&scene, sum)->record.time_ms, T0 + 225000);
    pipeline_target_free(target);
    scene_done(&scene);
}

static double told(struct scene *scene, int window, struct pipeline_target *target, double a, double b)
{
    char body[100];
    snprintf(body, sizeof(body), "c_total{ns=\"x\",pod=\"a\"} %g\nc_total{ns=\"x\",pod=\"b\"} %g\n", a, b);
    scrape(target, T0 + window * INT64_C(60000), body);
    close_window(scene, T0 + window * INT64_C(60000), &target, 1);
    return row_of(scene, "c_total:sum{ns=\"x\",secondary=\"s1\"}")->record.last;
}

/* What one member shows is not the end of its group's rates. */
static void a_total_outlives_values_without_measure(void **state)
{
    (void)state;
    struct scene scene;
    scene_init(&scene);
    struct pipeline_target *target = new_target(&scene.rig, "a");
    assert_true(told(&scene, 0, target, 10, 100) == 0);
    assert_true(told(&scene, 1, target, INFINITY, 101) == 1);
    assert_true(told(&scene, 2, target, -INFINITY, 103) == 3);
    assert_true(told(&scene, 3, target, 14, 104) == 8);
    /* So far that nothing shows beside it: the total begins anew, a reset to readers. */
    assert_true(told(&scene, 4, target, 1e300, 105) == 1e300);
    assert_true(told(&scene, 5, target, 1e300, 112) == 7);
    assert_true(told(&scene, 6, target, 1e300, 113) == 8);
    assert_true(told(&scene, 7, target, 1e300, 113) == 8);
    /* Past all doubles. */
    assert_true(told(&scene, 8, target, 1.5e308, 114) == 1.5e308 - 1e300);
    assert_true(told(&scene, 9, target, 1e308, 115) == 1e308);
    assert_true(told(&scene, 10, target, 1e308, 118) == 3);
    pipeline_target_free(target);
    scene_done(&scene);
}

static void parts_of_histograms_keep_le(void **state)
{
    (void)state;
    struct scene scene;
    scene_init(&scene);
    struct pipeline_target *target = new_target(&scene.rig, "a");
    static const char page[] = "# TYPE c_time histogram\nc_time_bucket{ns=\"x\",le=\"1\",pod=\"p\"} %d\n"
                               "c_time_bucket{ns=\"x\",le=\"+Inf\",pod=\"p\"} %d\nc_time_sum{ns=\"x\",pod=\"p\"} %d\n"
                               "c_time_count{ns=\"x\",pod=\"p\"} %d\n";
    for (int i = 0; i < 2; i++) {
        char body[300];
        snprintf(body, sizeof(body), page, i, 2 * i, 3 * i, 2 * i);
        scrape(target, T0 + i * 15000, body);
    }
    close_window(&scene, T0, &target, 1);
    expect(&scene, "c_time_bucket:sum{le=\"1\",ns=\"x\",secondary=\"s1\"}", 1);
    expect(&scene, "c_time_bucket:sum{le=\"+Inf\",ns=\"x\",secondary=\"s1\"}", 2);
    expect(&scene, "c_time_sum:sum{ns=\"x\",secondary=\"s1\"}", 3);
    expect(&scene, "c_time_count:sum{ns=\"x\",secondary=\"s1\"}", 2);
    pipeline_target_free(target);
    scene_done(&scene);
}

static void groups_come_and_go(void **state)
{
    (void)state;
    struct scene scene;
    scene_init(&scene);
    struct pipeline_target *target = new_target(&scene.rig, "a");
    static const char x[] = "c_mem:sum{ns=\"x\",secondary=\"s1\"}", y[] = "c_mem:sum{ns=\"y\",secondary=\"s1\"}";
    scrape(target, T0, "c_mem{ns=\"x\"} 1\nc_mem{ns=\"y\"} 2\n");
    scrape(target, T0 + 15000, "c_mem{ns=\"y\"} 2\n");
    scrape(target, T0 + 30000, "c_mem{ns=\"x\"} 4\nc_mem{ns=\"y\"} 2\n");
    scrape(target, T0 + 45000, "c_mem{ns=\"y\"} 2\n");
    close_window(&scene, T0, &target, 1);
    expect(&scene, x, 4); /* it had a value in the window */
    expect(&scene, "c_mem:count{ns=\"x\",secondary=\"s1\"}", 1);
    expect(&scene, "c_mem:min{ns=\"x\",secondary=\"s1\"}", 1);
    scrape(target, T0 + 60000, "c_mem{ns=\"y\"} 2\n");
    close_window(&scene, T0 + 60000, &target, 1);
    assert_true(value_is_stale(row_of(&scene, x)->record.last));
    expect(&scene, y, 2);
    /* A window without any member: one part that ends all of them, and then none. */
    close_window(&scene, T0 + 120000, &target, 1);
    assert_true(value_is_stale(row_of(&scene, y)->record.last));
    assert_null(rig_find(&scene.rig, x));
    close_window(&scene, T0 + 180000, &target, 1);
    assert_null(rig_find(&scene.rig, y));
    scrape(target, T0 + 240000, "c_mem{ns=\"y\"} 5\n");
    close_window(&scene, T0 + 240000, &target, 1);
    expect(&scene, y, 5);
    pipeline_target_free(target);
    scene_done(&scene);
}

static void two_kinds_of_one_name_do_not_mix(void **state)
{
    (void)state;
    struct scene scene;
    scene_init(&scene);
    struct pipeline_target *both[] = {new_target(&scene.rig, "a"), new_target(&scene.rig, "b")};
    scrape(both[0], T0, "# TYPE c_x gauge\nc_x{ns=\"x\"} 1\n");
    scrape(both[1], T0, "# TYPE c_x counter\nc_x{ns=\"x\"} 2\n");
    rig_close(scene.rig.pipeline, T0, both, 2);
    assert_int_equal(scene.rig.aggregate->folded, 1);
    assert_int_equal(scene.rig.aggregate->refused, 1);
    pipeline_target_free(both[0]);
    pipeline_target_free(both[1]);
    scene_done(&scene);
}

static void add_one(struct aggregate *aggregate, const char *name, const char *value)
{
    const struct str names[] = {STR(LABEL_NAME), STR("n")}, values[] = {str_from(name), str_from(value)};
    const struct aggregate_key key = {names, values, 2};
    aggregate_add(aggregate, &key, &(struct aggregate_cell){.members = 1, .sum = 1});
}

static void groups_have_ceilings(void **state)
{
    (void)state;
    CLEANUP(aggregate_freep) struct aggregate *groups = aggregate_new();
    CLEANUP(aggregate_freep) struct aggregate *metrics = aggregate_new();
    CLEANUP(aggregate_freep) struct aggregate *bytes = aggregate_new();
    CLEANUP_FREE char *longest = mem_zalloc(AGGREGATE_NAME_BYTES_MAX + 2);
    memset(longest, 'x', AGGREGATE_NAME_BYTES_MAX + 1);
    char text[16];
    for (int i = 0; i < AGGREGATE_GROUPS_MAX + 5; i++) {
        snprintf(text, sizeof(text), "n%d", i);
        add_one(groups, "x", text);
        add_one(metrics, text, "");
        add_one(bytes, longest + 1, text);
    }
    add_one(groups, "x", "n7"); /* known ones go on */
    assert_int_equal(groups->cells.count, AGGREGATE_GROUPS_MAX);
    assert_int_equal(groups->refused, 5);
    assert_int_equal(groups->folded, AGGREGATE_GROUPS_MAX + 1);
    assert_int_equal(metrics->cells.count, AGGREGATE_METRICS_MAX);
    assert_true(bytes->label_bytes <= AGGREGATE_BYTES_MAX && bytes->cells.count > 1000);
    add_one(metrics, longest, "");
    assert_int_equal(metrics->folded, AGGREGATE_METRICS_MAX);
}

/* As many as there may be fit into one page. */
static void all_that_may_be_is_told(void **state)
{
    (void)state;
    struct scene scene;
    scene_init(&scene);
    char text[16];
    for (int i = 0; i < AGGREGATE_METRICS_MAX; i++) {
        snprintf(text, sizeof(text), "n%d", i);
        add_one(scene.rig.aggregate, text, "");
    }
    close_window(&scene, T0, NULL, 0);
    assert_int_equal(scene.rig.row_count, AGGREGATE_METRICS_MAX * 4);
    assert_int_equal(scene.sealed.series_refused, 0);
    scene_done(&scene);
    scene_init(&scene);
    for (int i = 0; i < AGGREGATE_GROUPS_MAX; i++) {
        snprintf(text, sizeof(text), "n%d", i);
        add_one(scene.rig.aggregate, "x", text);
    }
    close_window(&scene, T0, NULL, 0);
    assert_int_equal(scene.rig.row_count, AGGREGATE_GROUPS_MAX * 4);
    assert_int_equal(scene.sealed.series_refused, 0);
    scene_done(&scene);
}

/* ---- Merging ---- */

enum { HOSTS = 60, SCRAPES = 4 };

/* A page of decimals: gauges of two places, counters that rise by thousandths and fall now and then. */
static void write_page(struct random *random, int64_t *counters, char *body, size_t len)
{
    size_t at = 0;
    for (int i = 0; i < 6; i++) {
        counters[i] = random_below(random, 10) == 0 ? (int64_t)random_below(random, 50)
                                                    : counters[i] + (int64_t)random_below(random, 100000);
        at += (size_t)snprintf(body + at, len - at,
                               "c_mem{ns=\"%d\",pod=\"%d\"} %.2f\nc_total{ns=\"%d\",pod=\"%d\"} %.3f\n", i % 3, i,
                               (double)random_below(random, 1000000) / 100, i % 3, i, (double)counters[i] / 1000);
    }
}

static void scrape_hosts(struct random *random, int64_t counters[HOSTS][6], int64_t window_ms,
                         struct pipeline_target *const *all, struct pipeline_target *const *halves)
{
    for (int s = 0; s < SCRAPES; s++) {
        for (int host = 0; host < HOSTS; host++) {
            char body[2000];
            write_page(random, counters[host], body, sizeof(body));
            scrape(all[host], window_ms + s * 15000 + host * 100, body);
            scrape(halves[host], window_ms + s * 15000 + host * 100, body);
        }
    }
}

static void expect_equal(const struct aggregate *a, const struct aggregate *b)
{
    assert_int_equal(a->cells.count, b->cells.count);
    assert_int_equal(a->folded, b->folded);
    size_t at = 0;
    for (const struct aggregate_cell *x; (x = map_next(&a->cells, &at));) {
        const struct aggregate_cell *y = NULL;
        size_t other = 0;
        while ((y = map_next(&b->cells, &other)) && !labels_equal(x->labels, y->labels)) {
        }
        assert_non_null(y);
        if (double_bits(x->sum) != double_bits(y->sum))
            fail_msg("sum %.17g and %.17g", x->sum, y->sum);
        assert_true(double_bits(x->min) == double_bits(y->min) && double_bits(x->max) == double_bits(y->max));
        assert_true(x->members == y->members && x->count == y->count && x->kind == y->kind);
        assert_true(x->first_ms == y->first_ms && x->last_ms == y->last_ms);
    }
}

static void two_halves_make_the_whole(void **state)
{
    (void)state;
    struct rig rigs[3];
    struct pipeline_target *all[HOSTS], *halves[HOSTS];
    static int64_t counters[HOSTS][6];
    struct random random;
    random_seed(&random, 11);
    for (int i = 0; i < 3; i++)
        rig_init_rules(&rigs[i], MIB, &by_namespace, 1);
    for (int host = 0; host < HOSTS; host++) {
        char name[16];
        snprintf(name, sizeof(name), "h%d", host);
        all[host] = new_target(&rigs[0], name);
        halves[host] = new_target(&rigs[1 + host % 2], name);
    }
    for (int window = 0; window < 5; window++) {
        int64_t start_ms = T0 + window * RIG_RESOLUTION_MS;
        CLEANUP(aggregate_freep) struct aggregate *whole = aggregate_new();
        CLEANUP(aggregate_freep) struct aggregate *left = aggregate_new();
        CLEANUP(aggregate_freep) struct aggregate *right = aggregate_new();
        CLEANUP(aggregate_freep) struct aggregate *merged = aggregate_new();
        rigs[0].aggregate = whole;
        rigs[1].aggregate = left;
        rigs[2].aggregate = right;
        scrape_hosts(&random, counters, start_ms, all, halves);
        rig_close(rigs[0].pipeline, start_ms, all, HOSTS);
        for (int host = 0; host < HOSTS; host++)
            rig_close(rigs[1 + host % 2].pipeline, start_ms, &halves[host], 1);
        aggregate_merge(merged, right);
        aggregate_merge(merged, left);
        assert_int_equal(whole->cells.count, 6);
        expect_equal(whole, merged);
    }
    for (int host = 0; host < HOSTS; host++) {
        pipeline_target_free(all[host]);
        pipeline_target_free(halves[host]);
    }
    for (int i = 0; i < 3; i++)
        rig_done(&rigs[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gauges_have_sum_min_max_and_count), cmocka_unit_test(counters_are_running_totals_of_increases),
        cmocka_unit_test(parts_of_histograms_keep_le),       cmocka_unit_test(groups_come_and_go),
        cmocka_unit_test(two_kinds_of_one_name_do_not_mix),  cmocka_unit_test(groups_have_ceilings),
        cmocka_unit_test(a_counter_that_was_away_goes_on),   cmocka_unit_test(a_total_outlives_values_without_measure),
        cmocka_unit_test(all_that_may_be_is_told),           cmocka_unit_test(two_halves_make_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
