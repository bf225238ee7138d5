/* Rules for windows, from bodies to what leaves: classes of resolution, last values alone, what is dropped, every
 * scrape as it is, and rules that change. */
#include "pipeline_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define T0 INT64_C(1700000040000) /* a whole minute, and a whole five of them is T0 - 240000 + 300000 */

static const struct pipeline_job job = {.honor_timestamps = true,
                                        .sample_limit = 1000,
                                        .label_limit = 30,
                                        .label_name_bytes_max = 100,
                                        .label_value_bytes_max = 1000};

#define RESOLUTION(selector, ms)                                                                                       \
    {                                                                                                                  \
        .match = selector, .resolution_ms = ms                                                                         \
    }
#define FIELDS(selector, what)                                                                                         \
    {                                                                                                                  \
        .match = selector, .resolution_ms = RESOLUTION_UNSAID, .fields = what                                          \
    }
#define KEEP(selector, what)                                                                                           \
    {                                                                                                                  \
        .match = selector, .resolution_ms = RESOLUTION_UNSAID, .keep = what                                            \
    }

static struct pipeline_target *new_target(struct rig *rig, const char *instance, int64_t interval_ms)
{
    const struct label label = {STR("instance"), str_from(instance)};
    CLEANUP(labels_unrefp) struct labels *labels = labels_new(&label, 1);
    return pipeline_target_new(rig->pipeline, labels, interval_ms, &job);
}

static void scrape(struct pipeline_target *target, int64_t time_ms, const char *body)
{
    struct scrape_report report;
    if (rig_scrape(target, time_ms, body, &report) != SCRAPE_OK)
        fail_msg("%s", report.reason);
}

static void fail_scrape(struct pipeline_target *target, int64_t time_ms)
{
    struct scrape_outcome outcome = {.time_ms = time_ms, .failure = SCRAPE_TIMEOUT};
    struct scrape_report report;
    pipeline_scrape(target, &outcome, &report);
}

/* The row of the series in this window at this resolution; NULL: none. */
static const struct rig_row *row_at(const struct rig *rig, const char *series, int64_t window_ms, int64_t resolution_ms)
{
    const struct rig_row *found = NULL;
    for (size_t i = 0; i < rig->row_count; i++) {
        const struct rig_row *row = &rig->rows[i];
        bool says = row->record.count > 0 || value_is_stale(row->record.last);
        if (!says || strcmp(row->series, series) != 0 || row->window_ms != window_ms ||
            row->resolution_ms != resolution_ms)
            continue;
        assert_null(found);
        found = row;
    }
    return found;
}

static void expect(const struct rig *rig, const char *series, int64_t window_ms, int64_t resolution_ms, double last,
                   uint32_t count)
{
    const struct rig_row *row = row_at(rig, series, window_ms, resolution_ms);
    if (!row)
        fail_msg("%s has no record at %lld / %lld", series, (long long)window_ms, (long long)resolution_ms);
    if (row->record.last != last || row->record.count != count)
        fail_msg("%s: last %g, count %u", series, row->record.last, row->record.count);
}

static size_t rows_of(const struct rig *rig, const char *series)
{
    size_t count = 0;
    for (size_t i = 0; i < rig->row_count; i++)
        count += strcmp(rig->rows[i].series, series) == 0 &&
                 (rig->rows[i].record.count > 0 || value_is_stale(rig->rows[i].record.last));
    return count;
}

/* ---- Resolution ---- */

static void each_class_has_windows_of_its_own(void **state)
{
    (void)state;
    static const struct window_rule rules[] = {RESOLUTION("{__name__=~\"fine_.*|up\"}", 15000),
                                               RESOLUTION("coarse", 120000)};
    struct rig rig;
    rig_init_rules(&rig, 1 * MIB, rules, 2);
    struct pipeline_target *target = new_target(&rig, "a", 15000);
    for (int i = 0; i < 8; i++) {
        char body[200];
        snprintf(body, sizeof(body), "plain %d\nfine_x %d\ncoarse %d\nfine_total %d\n", i, i * 2, i * 3, i * 4);
        scrape(target, T0 + i * 15000 + 5000, body);
        rig_close_beat(rig.pipeline, T0 + i * 15000, 15000, &target, 1);
        /* Each leaves when its own window is over, no earlier. */
        assert_int_equal(rows_of(&rig, "plain{instance=\"a\"}"), (i + 1) / 4);
        assert_int_equal(rows_of(&rig, "fine_x{instance=\"a\"}"), i + 1);
        assert_int_equal(rows_of(&rig, "coarse{instance=\"a\"}"), (i + 1) / 8);
    }
    for (int i = 0; i < 8; i++) {
        expect(&rig, "fine_x{instance=\"a\"}", T0 + i * 15000, 15000, i * 2, 1);
        expect(&rig, "up{instance=\"a\"}", T0 + i * 15000, 15000, 1, 1);
    }
    expect(&rig, "plain{instance=\"a\"}", T0, 60000, 3, 4);
    expect(&rig, "plain{instance=\"a\"}", T0 + 60000, 60000, 7, 4);
    expect(&rig, "coarse{instance=\"a\"}", T0, 120000, 21, 8);
    assert_true(row_at(&rig, "coarse{instance=\"a\"}", T0, 120000)->record.sum == 84);
    expect(&rig, "scrape_samples_scraped{instance=\"a\"}", T0, 60000, 4, 4);
    /* Coverage is told with the default resolution alone: one part per minute and target. */
    assert_int_equal(rig.expected, 2);
    assert_int_equal(rig.answered, 2);
    pipeline_target_free(target);
    rig_done(&rig);
}

static void without_rules_a_page_has_no_parts(void **state)
{
    (void)state;
    static const struct window_rule rules[] = {RESOLUTION("fine", 15000), KEEP("{instance=\"b\"}", KEEP_DROP)};
    struct rig rig;
    rig_init_rules(&rig, 1 * MIB, rules, 2);
    struct pipeline_target *a = new_target(&rig, "a", 15000), *b = new_target(&rig, "b", 15000);
    struct pipeline_stats stats;
    scrape(a, T0, "x 1\ny 2\n");
    scrape(b, T0, "x 1\ny 2\n");
    pipeline_stats(rig.pipeline, &stats);
    /* They differ in a label that a rule reads, so their pages are not one. */
    assert_int_equal(stats.pages, 4);
    assert_int_equal(stats.series, 2 + 6);
    assert_int_equal(stats.series_dropped, 2 + 6);
    assert_int_equal(stats.decided[0], 0);
    assert_int_equal(stats.decided[1], 2 + 6);
    assert_int_equal(stats.samples_total, 2);
    struct pipeline_target *both[] = {a, b};
    rig_close_beat(rig.pipeline, T0 + 45000, 15000, both, 2);
    expect(&rig, "x{instance=\"a\"}", T0, 60000, 1, 1);
    assert_int_equal(rows_of(&rig, "x{instance=\"b\"}") + rows_of(&rig, "up{instance=\"b\"}"), 0);
    /* Nothing is lost: it was not wanted. */
    assert_int_equal(rig.dropped, 0);
    pipeline_target_free(a);
    pipeline_target_free(b);
    rig_done(&rig);
}

static void a_window_is_no_shorter_than_the_interval(void **state)
{
    (void)state;
    static const struct window_rule rules[] = {RESOLUTION("{__name__=~\"x|up\"}", 15000)};
    struct rig rig;
    rig_init_rules(&rig, 1 * MIB, rules, 1);
    struct pipeline_target *target = new_target(&rig, "a", 20000);
    for (int i = 0; i < 3; i++) {
        char body[32];
        snprintf(body, sizeof(body), "x %d\n", i);
        scrape(target, T0 + i * 20000 + 1000, body);
        const struct pipeline_closing closing = {target, T0 + (i + 1) * 20000 + 1000};
        pipeline_close(rig.pipeline, T0 + i * 20000 / 15000 * 15000, &closing, 1);
    }
    expect(&rig, "x{instance=\"a\"}", T0, 30000, 1, 2);
    expect(&rig, "x{instance=\"a\"}", T0 + 30000, 30000, 2, 1);
    struct pipeline_stats stats;
    pipeline_stats(rig.pipeline, &stats);
    assert_int_equal(stats.class_count, 2);
    assert_int_equal(stats.classes[1].resolution_ms, 30000);
    assert_int_equal(stats.classes[1].series, 2);
    pipeline_target_free(target);
    rig_done(&rig);
}

static void failures_and_ends_reach_all_classes(void **state)
{
    (void)state;
    static const struct window_rule rules[] = {RESOLUTION("fine", 15000), RESOLUTION("coarse", 300000)};
    struct rig rig;
    rig_init_rules(&rig, 1 * MIB, rules, 2);
    struct pipeline_target *target = new_target(&rig, "a", 15000);
    scrape(target, T0, "x 1\nfine 2\ncoarse 3\n");
    rig_close_beat(rig.pipeline, T0, 15000, &target, 1);
    fail_scrape(target, T0 + 15000);
    rig_close_beat(rig.pipeline, T0 + 15000, 15000, &target, 1);
    assert_int_equal(rig.ended, 1); /* the fine one, in a window without values */
    assert_int_equal(rig.ended_ms, T0 + 15000);
    scrape(target, T0 + 30000, "x 1\nfine 2\n"); /* coarse has vanished meanwhile */
    rig_close_beat(rig.pipeline, T0 + 30000, 15000, &target, 1);
    pipeline_target_end(target, T0 + 40000, TARGET_END_REMOVED);
    const struct pipeline_closing closing = {target, INT64_MAX};
    pipeline_close(rig.pipeline, T0 + 30000, &closing, 1);
    assert_int_equal(row_at(&rig, "x{instance=\"a\"}", T0, 60000)->stale_ms, T0 + 40000);
    const struct rig_row *coarse = row_at(&rig, "coarse{instance=\"a\"}", T0 - 240000, 300000);
    assert_true(value_is_stale(coarse->record.last));
    assert_int_equal(coarse->record.time_ms, T0 + 15000);
    assert_int_equal(coarse->extra_count, 1);
    assert_true(coarse->extras[0].time_ms == T0 && coarse->extras[0].value == 3);
    pipeline_target_free(target);
    rig_done(&rig);
}

/* ---- Fields, keep ---- */

static void last_values_alone(void **state)
{
    (void)state;
    static const struct window_rule rules[] = {FIELDS("{__name__=~\"x|c_total|same\",only!=\"\"}", FIELDS_LAST)};
    struct rig rig;
    rig_init_rules(&rig, 1 * MIB, rules, 1);
    struct pipeline_target *target = new_target(&rig, "a", 15000);
    for (int i = 0; i < 3; i++) {
        char body[400];
        snprintf(
            body, sizeof(body),
            "x{only=\"1\"} %d\nx 5\nc_total{only=\"1\"} %d\nnode_scrape_collector_duration_seconds{c=\"a\"} 0.%d\n",
            9 - i, i == 1 ? 0 : 7, i + 1);
        scrape(target, T0 + i * 15000, body);
    }
    rig_close_beat(rig.pipeline, T0 + 0, 60000, &target, 1);
    const struct rig_row *x = row_at(&rig, "x{instance=\"a\",only=\"1\"}", T0, 60000);
    assert_int_equal(x->record.kind, KIND_LAST);
    assert_true(x->record.last == 7 && x->record.count == 3 && x->record.min == 0 && x->record.sum == 0);
    assert_int_equal(x->extra_count, 0); /* it fell, which means nothing of a gauge */
    assert_int_equal(row_at(&rig, "x{instance=\"a\"}", T0, 60000)->record.kind, KIND_GAUGE);
    const struct rig_row *c = row_at(&rig, "c_total{instance=\"a\",only=\"1\"}", T0, 60000);
    assert_int_equal(c->record.kind, KIND_COUNTER);
    assert_int_equal(c->extra_count, 2); /* counters keep their resets */
    assert_int_equal(
        row_at(&rig, "node_scrape_collector_duration_seconds{c=\"a\",instance=\"a\"}", T0, 60000)->record.kind,
        KIND_LAST);
    pipeline_target_free(target);
    rig_done(&rig);
}

static void series_of_last_values_come_and_go(void **state)
{
    (void)state;
    static const struct window_rule rules[] = {FIELDS("x", FIELDS_LAST)};
    struct rig rig;
    rig_init_rules(&rig, 1 * MIB, rules, 1);
    struct pipeline_target *target = new_target(&rig, "a", 15000);
    scrape(target, T0, "x{n=\"1\"} 1\nx{n=\"2\"} 2\ny 1\n");
    scrape(target, T0 + 15000, "x{n=\"2\"} 3\ny 1\nx{n=\"3\"} 4\n");
    rig_close(rig.pipeline, T0, &target, 1);
    const struct rig_row *gone = row_at(&rig, "x{instance=\"a\",n=\"1\"}", T0, 60000);
    assert_true(value_is_stale(gone->record.last) && gone->extra_count == 1 && gone->extras[0].value == 1);
    expect(&rig, "x{instance=\"a\",n=\"2\"}", T0, 60000, 3, 2);
    expect(&rig, "x{instance=\"a\",n=\"3\"}", T0, 60000, 4, 1);
    pipeline_target_free(target);
    rig_done(&rig);
}

/* ---- Every scrape as it is ---- */

static void a_scrape_as_it_is_goes_out_with_the_default_window(void **state)
{
    (void)state;
    static const struct window_rule rules[] = {RESOLUTION("{__name__=~\"raw_.*\"}", 0)};
    struct rig rig;
    rig_init_rules(&rig, 1 * MIB, rules, 1);
    struct pipeline_target *target = new_target(&rig, "a", 60000);
    scrape(target, T0 + 20000, "raw_x 5\nraw_total 6\nx 7\n");
    rig_close(rig.pipeline, T0, &target, 1);
    expect(&rig, "raw_x{instance=\"a\"}", T0, 0, 5, 1);
    expect(&rig, "raw_total{instance=\"a\"}", T0, 0, 6, 1);
    expect(&rig, "x{instance=\"a\"}", T0, 60000, 7, 1);
    assert_int_equal(row_at(&rig, "raw_x{instance=\"a\"}", T0, 0)->record.time_ms, T0 + 20000);
    assert_int_equal(rig.parts, 2);
    assert_int_equal(rig.expected, 1);
    rig_clear(&rig);
    scrape(target, T0 + 80000, "raw_x 5\nx 7\n"); /* raw_total has gone */
    rig_close(rig.pipeline, T0 + 60000, &target, 1);
    const struct rig_row *gone = row_at(&rig, "raw_total{instance=\"a\"}", T0 + 60000, 0);
    assert_true(value_is_stale(gone->record.last));
    assert_int_equal(gone->record.time_ms, T0 + 80000);
    pipeline_target_free(target);
    rig_done(&rig);
}

static size_t raw_rows(const struct rig *rig, const char *series, double sum)
{
    size_t count = 0;
    for (size_t i = 0; i < rig->row_count; i++) {
        const struct rig_row *row = &rig->rows[i];
        if (strcmp(row->series, series) != 0 || row->resolution_ms != 0 || row->record.count == 0)
            continue;
        assert_int_equal(row->record.count, 1);
        count++;
        sum -= row->record.last;
    }
    assert_true(sum == 0);
    return count;
}

static void every_scrape_is_there_in_its_order(void **state)
{
    (void)state;
    static const struct window_rule rules[] = {RESOLUTION("{__name__=~\"raw_.*|up\"}", 0)};
    struct rig rig;
    rig_init_rules(&rig, 1 * MIB, rules, 1);
    struct pipeline_target *both[] = {new_target(&rig, "a", 15000), new_target(&rig, "b", 15000)};
    for (int i = 0; i < 4; i++) {
        char body[60];
        snprintf(body, sizeof(body), "raw_x %d\nraw_total %d\nx 7\n", i, 10 * i);
        scrape(both[0], T0 + i * 15000, body);
        if (i == 2)
            fail_scrape(both[1], T0 + i * 15000 + 7000);
        else
            scrape(both[1], T0 + i * 15000 + 7000, body);
    }
    rig_close(rig.pipeline, T0, both, 2);
    assert_int_equal(rig.parts, 2);
    assert_int_equal(raw_rows(&rig, "raw_x{instance=\"a\"}", 6), 4);
    assert_int_equal(raw_rows(&rig, "raw_total{instance=\"a\"}", 60), 4);
    assert_int_equal(raw_rows(&rig, "raw_x{instance=\"b\"}", 4), 3);
    assert_int_equal(raw_rows(&rig, "up{instance=\"b\"}", 3), 4);
    assert_int_equal(rig.ended_ms, T0 + 37000);
    pipeline_target_free(both[0]);
    pipeline_target_free(both[1]);
    rig_done(&rig);
}

static void too_many_scrapes_leave_before_their_window_is_over(void **state)
{
    (void)state;
    static const struct window_rule rules[] = {RESOLUTION("raw_x", 0)};
    struct rig rig;
    rig_init_rules(&rig, 1 * MIB, rules, 1);
    struct pipeline_target *target = new_target(&rig, "a", 500);
    for (int i = 0; i < 120; i++) {
        struct scrape_report report;
        const struct pipeline_closing full = {.target = target};
        assert_int_equal(rig_scrape(target, T0 + i * 500, "raw_x 1\n", &report), SCRAPE_OK);
        assert_int_equal(report.raw_is_full, i == BATCH_ROUNDS_MAX - 1);
        if (report.raw_is_full)
            pipeline_seal_raw(rig.pipeline, &full, 1, T0 + i * 500);
        assert_int_equal(rig.parts, i >= BATCH_ROUNDS_MAX - 1);
    }
    rig_close(rig.pipeline, T0, &target, 1);
    assert_int_equal(rig.parts, 3);
    assert_int_equal(raw_rows(&rig, "raw_x{instance=\"a\"}", 120), 120);
    assert_int_equal(rig.expected, 1);
    pipeline_target_free(target);
    rig_done(&rig);
}

/* ---- Rules that change ---- */

static void change(struct rig *rig, const struct window_rule *rules, size_t count, int64_t from_ms)
{
    CLEANUP(window_rules_unrefp) struct window_rules *made = rig_rules(rules, count);
    pipeline_set_rules(rig->pipeline, made, from_ms);
}

static void rules_change_between_two_windows(void **state)
{
    (void)state;
    static const struct window_rule fine[] = {RESOLUTION("{__name__=~\"x|c_total\"}", 15000), KEEP("z", KEEP_DROP)};
    struct rig rig;
    struct pipeline_stats stats;
    rig_init(&rig, 1 * MIB);
    struct pipeline_target *target = new_target(&rig, "a", 15000), *idle = new_target(&rig, "idle", 15000);
    for (int i = 0; i < 8; i++) {
        char body[100];
        snprintf(body, sizeof(body), "x %d\nc_total %d\ny %d\nz 1\n%s", i, i == 4 ? 2 : 10 + i, i,
                 i < 4 ? "w 1\n" : "");
        if (i == 1)
            change(&rig, fine, 2, T0 + 60000);
        scrape(target, T0 + i * 15000, body);
        rig_close_beat(rig.pipeline, T0 + i * 15000, 15000, &target, 1);
        pipeline_stats(rig.pipeline, &stats);
        assert_int_equal(stats.rules_waiting, i == 0 ? 0 : i < 4 ? 2 : 1);
    }
    /* The old window is whole, the new ones begin behind it: all samples are there once. */
    expect(&rig, "x{instance=\"a\"}", T0, 60000, 3, 4);
    for (int i = 4; i < 8; i++)
        expect(&rig, "x{instance=\"a\"}", T0 + i * 15000, 15000, i, 1);
    assert_int_equal(rows_of(&rig, "x{instance=\"a\"}"), 5);
    expect(&rig, "y{instance=\"a\"}", T0, 60000, 3, 4);
    expect(&rig, "y{instance=\"a\"}", T0 + 60000, 60000, 7, 4);
    /* No marker for what has only moved; one for what is dropped from now on, and for what went just then. */
    assert_int_equal(row_at(&rig, "x{instance=\"a\"}", T0 + 60000, 15000)->extra_count, 0);
    assert_null(row_at(&rig, "x{instance=\"a\"}", T0 + 60000, 60000));
    assert_true(value_is_stale(row_at(&rig, "z{instance=\"a\"}", T0 + 60000, 60000)->record.last));
    assert_int_equal(row_at(&rig, "z{instance=\"a\"}", T0 + 60000, 60000)->record.time_ms, T0 + 60000);
    assert_true(value_is_stale(row_at(&rig, "w{instance=\"a\"}", T0 + 60000, 60000)->record.last));
    /* A counter that fell on the border: its samples on both sides are there. */
    expect(&rig, "c_total{instance=\"a\"}", T0, 60000, 13, 4);
    expect(&rig, "c_total{instance=\"a\"}", T0 + 60000, 15000, 2, 1);
    assert_int_equal(stats.decided[0], 2);
    assert_int_equal(stats.decided[1], 1);
    assert_int_equal(stats.series_dropped, 1);
    pipeline_target_free(idle);
    pipeline_stats(rig.pipeline, &stats);
    assert_int_equal(stats.rules_waiting, 0);
    /* And back. */
    rig_clear(&rig);
    change(&rig, NULL, 0, T0 + 120000);
    scrape(target, T0 + 120000, "x 1\nc_total 2\ny 3\nz 1\n");
    rig_close(rig.pipeline, T0 + 120000, &target, 1);
    expect(&rig, "x{instance=\"a\"}", T0 + 120000, 60000, 1, 1);
    expect(&rig, "z{instance=\"a\"}", T0 + 120000, 60000, 1, 1);
    pipeline_target_free(target);
    rig_done(&rig);
}

/* The first scrape under the new rules fails: what was sent until then ends, whichever window it had. */
static void a_failure_right_behind_a_change(void **state)
{
    (void)state;
    static const struct window_rule rules[] = {RESOLUTION("fine", 15000), KEEP("folded", KEEP_AGGREGATE)};
    struct rig rig;
    rig_init_rules(&rig, 1 * MIB, rules, 2);
    rig.aggregate = aggregate_new();
    struct pipeline_target *target = new_target(&rig, "a", 15000);
    scrape(target, T0 + 45000, "x 1\nfine 2\nfolded 3\n");
    rig_close_beat(rig.pipeline, T0 + 45000, 15000, &target, 1);
    change(&rig, NULL, 0, T0 + 60000);
    rig_clear(&rig);
    fail_scrape(target, T0 + 60000);
    rig_close(rig.pipeline, T0 + 60000, &target, 1);
    assert_int_equal(rig.ended, 1);
    assert_int_equal(rig.ended_ms, T0 + 60000);
    scrape(target, T0 + 120000, "x 1\nfolded 3\n");
    rig_close(rig.pipeline, T0 + 120000, &target, 1);
    expect(&rig, "x{instance=\"a\"}", T0 + 120000, 60000, 1, 1);
    expect(&rig, "folded{instance=\"a\"}", T0 + 120000, 60000, 3, 1);
    assert_int_equal(rows_of(&rig, "fine{instance=\"a\"}"), 0); /* it has ended already */
    pipeline_target_free(target);
    aggregate_free(rig.aggregate);
    rig_done(&rig);
}

/* The last word of a target goes by the rules, as `up` does. */
static void why_a_target_ended_goes_by_the_rules(void **state)
{
    (void)state;
    static const char ended[] = "scrape_target_ended{instance=\"a\",reason=\"job\"}";
    static const struct window_rule sets[][1] = {{RESOLUTION("{__name__=~\"scrape_.*|up\"}", 0)},
                                                 {RESOLUTION("scrape_target_ended", 15000)},
                                                 {KEEP("scrape_target_ended", KEEP_DROP)},
                                                 {KEEP("{__name__=~\"scrape_.*|up\"}", KEEP_AGGREGATE)}};
    static const int64_t resolutions[] = {0, 15000, -1, -1};
    for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
        struct rig rig;
        rig_init_rules(&rig, 1 * MIB, sets[i], 1);
        rig.aggregate = aggregate_new();
        struct pipeline_target *target = new_target(&rig, "a", 15000);
        for (int j = 0; j < 3; j++)
            scrape(target, T0 + 45000 + j * 3000, "x 1\n");
        pipeline_target_end(target, T0 + 55000, TARGET_END_JOB);
        const struct pipeline_closing closing = {target, INT64_MAX};
        pipeline_close(rig.pipeline, T0 + 45000, &closing, 1);
        assert_int_equal(rows_of(&rig, ended), resolutions[i] >= 0);
        if (resolutions[i] >= 0) {
            const struct rig_row *row = row_at(&rig, ended, resolutions[i] == 0 ? T0 : T0 + 45000, resolutions[i]);
            assert_true(row->record.last == 1 && row->record.time_ms == T0 + 55000 && row->stale_ms == 0);
        }
        const struct label name = {STR("__name__"), STR("scrape_target_ended")};
        CLEANUP(labels_unrefp) struct labels *group = labels_new(&name, 1);
        const struct aggregate_cell *cell = aggregate_find(rig.aggregate, group);
        assert_true(i == 3 ? cell && cell->sum == 1 && cell->members == 1 : !cell);
        pipeline_target_free(target);
        aggregate_free(rig.aggregate);
        rig_done(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_class_has_windows_of_its_own),
        cmocka_unit_test(without_rules_a_page_has_no_parts),
        cmocka_unit_test(a_window_is_no_shorter_than_the_interval),
        cmocka_unit_test(failures_and_ends_reach_all_classes),
        cmocka_unit_test(last_values_alone),
        cmocka_unit_test(series_of_last_values_come_and_go),
        cmocka_unit_test(a_scrape_as_it_is_goes_out_with_the_default_window),
        cmocka_unit_test(every_scrape_is_there_in_its_order),
        cmocka_unit_test(too_many_scrapes_leave_before_their_window_is_over),
        cmocka_unit_test(rules_change_between_two_windows),
        cmocka_unit_test(a_failure_right_behind_a_change),
        cmocka_unit_test(why_a_target_ended_goes_by_the_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
