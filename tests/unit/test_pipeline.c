/* The heart as a whole: bodies in, batches out, read back as a receiver reads them. */
#include "base/limits.h"
#include "pipeline_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define T0 INT64_C(1700000040000) /* where a window begins */

static const struct pipeline_job plain_job = {.honor_timestamps = true,
                                              .sample_limit = 1000,
                                              .label_limit = 20,
                                              .label_name_bytes_max = 100,
                                              .label_value_bytes_max = 100};

static struct pipeline_target *new_target(struct rig *rig, const char *instance, const struct pipeline_job *job)
{
    struct label label = {STR("instance"), str_from(instance)};
    CLEANUP(labels_unrefp) struct labels *labels = labels_new(&label, 1);
    return pipeline_target_new(rig->pipeline, labels, 15000, job);
}

static const struct rig_row *row_of(const struct rig *rig, const char *series)
{
    const struct rig_row *row = rig_find(rig, series);
    if (!row)
        fail_msg("no %s", series);
    return row;
}

static void assert_last(const struct rig *rig, const char *series, double last)
{
    const struct rig_row *row = row_of(rig, series);
    if (double_bits(row->record.last) != double_bits(last))
        fail_msg("%s is %g, not %g", series, row->record.last, last);
}

static void bodies_become_records(void **state)
{
    (void)state;
    struct rig rig;
    struct scrape_report report;
    rig_init(&rig, 1 * MIB);
    struct pipeline_target *a = new_target(&rig, "a", &plain_job), *b = new_target(&rig, "b", &plain_job);
    static const char page[] =
        "# TYPE hits counter\nhits{code=\"200\"} %d\nhits{code=\"500\"} 1\n# TYPE heat gauge\nheat %d.5\n";
    for (int i = 0; i < 4; i++) {
        char body[256];
        snprintf(body, sizeof(body), page, 10 * i, i);
        assert_int_equal(rig_scrape(a, T0 + 15000 * i, body, &report), SCRAPE_OK);
        assert_int_equal(report.samples_scraped, 3);
        assert_int_equal(report.samples_kept, 3);
        assert_int_equal(report.page_changed, i == 0);
        assert_int_equal(report.series_added, i == 0 ? 3 : 0);
        assert_int_equal(rig_scrape(b, T0 + 15000 * i + 7, body, &report), SCRAPE_OK);
    }
    struct pipeline_target *both[] = {a, b};
    rig_close(rig.pipeline, T0, both, 2);
    assert_int_equal(rig.parts, 1);
    assert_int_equal(rig.entries, 4); /* each page, and each own page */
    assert_int_equal(rig.row_count, 2 * (3 + 6));
    assert_int_equal(rig.expected, 2);
    assert_int_equal(rig.answered, 2);
    const struct rig_row *heat = row_of(&rig, "heat{instance=\"b\"}");
    assert_int_equal(heat->record.time_ms, T0 + 45007);
    assert_int_equal(heat->record.count, 4);
    assert_true(heat->record.min == 0.5 && heat->record.max == 3.5 && heat->record.sum == 8 &&
                heat->record.last == 3.5);
    assert_last(&rig, "hits{code=\"200\",instance=\"a\"}", 30);
    assert_last(&rig, "hits{code=\"500\",instance=\"a\"}", 1);
    /* Where an increase begins is kept; what did not move needs no more than its value. */
    const struct rig_row *hits = row_of(&rig, "hits{code=\"200\",instance=\"a\"}");
    assert_int_equal(hits->extra_count, 1);
    assert_true(hits->extras[0].value == 0 && hits->extras[0].time_ms == T0);
    assert_int_equal(row_of(&rig, "hits{code=\"500\",instance=\"a\"}")->extra_count, 0);
    assert_last(&rig, "up{instance=\"a\"}", 1);
    assert_last(&rig, "scrape_samples_scraped{instance=\"a\"}", 3);
    assert_last(&rig, "scrape_samples_post_metric_relabeling{instance=\"a\"}", 3);
    assert_last(&rig, "scrape_duration_seconds{instance=\"a\"}", 0.012);
    assert_true(row_of(&rig, "scrape_body_size_bytes{instance=\"a\"}")->record.last > 80);
    assert_true(row_of(&rig, "scrape_series_added{instance=\"a\"}")->record.max == 3);
    assert_null(rig_find(&rig, "scrape_failure{instance=\"a\",reason=\"ok\"}"));
    struct pipeline_stats stats;
    pipeline_stats(rig.pipeline, &stats);
    assert_int_equal(stats.scrapes_total, 8);
    assert_int_equal(stats.samples_total, 24);
    assert_int_equal(stats.series, 18);
    assert_true(stats.window_bytes > 0 && stats.page_bytes > 0);
    pipeline_target_free(a);
    pipeline_target_free(b);
    pipeline_stats(rig.pipeline, &stats);
    assert_int_equal(stats.series, 0);
    assert_int_equal(stats.window_bytes, 0);
    rig_done(&rig);
}

static void samples_with_times_of_their_own_are_all_kept(void **state)
{
    (void)state;
    struct rig rig;
    struct scrape_report report;
    rig_init(&rig, 1 * MIB);
    struct pipeline_target *target = new_target(&rig, "a", &plain_job);
    for (int i = 0; i < 4; i++) {
        char body[128]; /* the third scrape shows the second's sample again */
        int shown = i == 2 ? 1 : i;
        snprintf(body, sizeof(body), "# TYPE g gauge\ng %d %lld\n", shown, (long long)(T0 + 15000 * shown - 4000));
        assert_int_equal(rig_scrape(target, T0 + 15000 * i, body, &report), SCRAPE_OK);
    }
    rig_close(rig.pipeline, T0, &target, 1);
    const struct rig_row *row = row_of(&rig, "g{instance=\"a\"}");
    assert_int_equal(row->extra_count, 2);
    assert_true(row->extras[0].value == 0 && row->extras[0].time_ms == T0 - 4000);
    assert_true(row->extras[1].value == 1 && row->extras[1].time_ms == T0 + 11000);
    assert_true(row->record.last == 3 && row->record.time_ms == T0 + 41000 && row->record.count == 3);
    pipeline_target_free(target);
    rig_done(&rig);
}

/* ---- What exporters should not do ---- */

static void bad_bodies_fail_their_own_scrape(void **state)
{
    (void)state;
    static char endless[200001], many_labels[8000];
    memset(endless, 'a', sizeof(endless) - 1);
    size_t at = (size_t)snprintf(many_labels, sizeof(many_labels), "m{");
    for (int i = 0; i < 200; i++)
        at += (size_t)snprintf(many_labels + at, sizeof(many_labels) - at, "l%d=\"1\",", i);
    snprintf(many_labels + at, sizeof(many_labels) - at, "} 1\n");
    const struct {
        const char *body;
        enum scrape_failure failure;
        const char *reason;
    } bad[] = {
        {"<html><body>Not here</body></html>", SCRAPE_PARSE, "line 1: "},
        {"good 1\n{\"json\": true}\n", SCRAPE_PARSE, "line 2: "},
        {"good 1\nbad{a=\"1\"", SCRAPE_PARSE, "line 2: "},
        {"good 1\nbad{a=\"1\"}", SCRAPE_PARSE, "line 2: "},
        {"good 1\nbad nothing\n", SCRAPE_PARSE, "line 2: "},
        {"good{a=\"\xff\xfe\"} 1\n", SCRAPE_PARSE, "line 1: "},
        {endless, SCRAPE_PARSE, "line 1: "},
        {many_labels, SCRAPE_PARSE, "line 1: "},
        {"good "
         "1\nm{aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa="
         "\"1\"} 1\n",
         SCRAPE_LABEL_LIMIT, "line 2: a label name is longer"},
    };
    struct rig rig;
    struct scrape_report report;
    rig_init(&rig, 1 * MIB);
    struct pipeline_target *other = new_target(&rig, "other", &plain_job);
    assert_int_equal(rig_scrape(other, T0, "good 1\n", &report), SCRAPE_OK);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct pipeline_target *target = new_target(&rig, "bad", &plain_job);
        assert_int_equal(rig_scrape(target, T0, "good 7\n", &report), SCRAPE_OK);
        if (rig_scrape(target, T0 + 15000, bad[i].body, &report) != bad[i].failure ||
            strncmp(report.reason, bad[i].reason, strlen(bad[i].reason)) != 0)
            fail_msg("body %zu: %s, %s", i, scrape_failure_name(report.failure), report.reason);
        assert_int_equal(report.samples_kept, 0);
        struct pipeline_target *both[] = {target, other};
        rig_close(rig.pipeline, T0, both, 2);
        /* The value keeps its time, the marker its own; the neighbour is unharmed. */
        const struct rig_row *good = row_of(&rig, "good{instance=\"bad\"}");
        assert_true(good->record.last == 7 && good->record.time_ms == T0 && good->stale_ms == T0 + 15000);
        assert_last(&rig, "up{instance=\"bad\"}", 0);
        char failure[100];
        snprintf(failure, sizeof(failure), "scrape_failure{instance=\"bad\",reason=\"%s\"}",
                 scrape_failure_name(bad[i].failure));
        assert_last(&rig, failure, 1);
        assert_int_equal(rig.answered, i == 0 ? 2 - 1 : 1);
        assert_int_equal(rig.failed[bad[i].failure], 1);
        if (i == 0)
            assert_last(&rig, "good{instance=\"other\"}", 1);
        pipeline_target_free(target);
        rig_clear(&rig);
    }
    pipeline_target_free(other);
    rig_done(&rig);
}

static void empty_bodies_are_pages_without_series(void **state)
{
    (void)state;
    struct rig rig;
    struct scrape_report report;
    rig_init(&rig, 1 * MIB);
    struct pipeline_target *target = new_target(&rig, "a", &plain_job);
    assert_int_equal(rig_scrape(target, T0, "", &report), SCRAPE_OK);
    assert_int_equal(rig_scrape(target, T0 + 15000, "\n\n# nothing here\n", &report), SCRAPE_OK);
    assert_int_equal(rig_scrape(target, T0 + 30000, "now 1\n", &report), SCRAPE_OK);
    assert_int_equal(rig_scrape(target, T0 + 45000, "", &report), SCRAPE_OK);
    rig_close(rig.pipeline, T0, &target, 1);
    assert_last(&rig, "up{instance=\"a\"}", 1);
    const struct rig_row *now = row_of(&rig, "now{instance=\"a\"}");
    assert_true(value_is_stale(now->record.last) && now->record.time_ms == T0 + 45000 && now->record.count == 1);
    assert_int_equal(now->extra_count, 1);
    assert_true(now->extras[0].value == 1 && now->extras[0].time_ms == T0 + 30000);
    pipeline_target_free(target);
    rig_done(&rig);
}

static void failures_have_a_companion_while_they_last(void **state)
{
    (void)state;
    struct rig rig;
    struct scrape_report report;
    rig_init(&rig, 1 * MIB);
    struct pipeline_target *target = new_target(&rig, "a", &plain_job);
    struct scrape_outcome outcome = {.time_ms = T0, .duration_ns = 1, .failure = SCRAPE_TIMEOUT};
    pipeline_scrape(target, &outcome, &report);
    assert_int_equal(report.failure, SCRAPE_TIMEOUT);
    rig_close(rig.pipeline, T0, &target, 1);
    assert_last(&rig, "up{instance=\"a\"}", 0);
    assert_last(&rig, "scrape_failure{instance=\"a\",reason=\"timeout\"}", 1);
    assert_int_equal(rig.failed[SCRAPE_TIMEOUT], 1);
    assert_int_equal(rig.answered, 0);
    rig_clear(&rig);
    /* Another reason, then none. */
    outcome = (struct scrape_outcome){.time_ms = T0 + 60000, .failure = SCRAPE_BODY_LIMIT};
    pipeline_scrape(target, &outcome, &report);
    rig_close(rig.pipeline, T0 + 60000, &target, 1);
    assert_last(&rig, "scrape_failure{instance=\"a\",reason=\"body_limit\"}", 1);
    assert_last(&rig, "scrape_body_size_bytes{instance=\"a\"}", -1);
    const struct rig_row *timeout = row_of(&rig, "scrape_failure{instance=\"a\",reason=\"timeout\"}");
    assert_true(value_is_stale(timeout->record.last) && timeout->record.time_ms == T0 + 60000);
    rig_clear(&rig);
    assert_int_equal(rig_scrape(target, T0 + 120000, "x 1\n", &report), SCRAPE_OK);
    rig_close(rig.pipeline, T0 + 120000, &target, 1);
    assert_true(value_is_stale(row_of(&rig, "scrape_failure{instance=\"a\",reason=\"body_limit\"}")->record.last));
    assert_last(&rig, "up{instance=\"a\"}", 1);
    rig_clear(&rig);
    assert_int_equal(rig_scrape(target, T0 + 180000, "x 1\n", &report), SCRAPE_OK);
    rig_close(rig.pipeline, T0 + 180000, &target, 1);
    assert_int_equal(rig.row_count, 7);
    pipeline_target_free(target);
    rig_done(&rig);
}

/* ---- Limits ---- */

static void limits_fail_the_scrape_with_a_reason(void **state)
{
    (void)state;
    const struct pipeline_job job = {
        .sample_limit = 3, .label_limit = 4, .label_name_bytes_max = 8, .label_value_bytes_max = 8};
    /* label_limit counts the name and the target's label, as in Prometheus. */
    static const struct {
        const char *body;
        enum scrape_failure failure;
    } cases[] = {{"a 1\nb 1\nc 1\n", SCRAPE_OK},
                 {"a 1\nb 1\nc 1\nd 1\n", SCRAPE_SAMPLE_LIMIT},
                 {"a{x=\"1\",y=\"2\"} 1\n", SCRAPE_OK},
                 {"a{x=\"1\",y=\"2\",z=\"3\"} 1\n", SCRAPE_LABEL_LIMIT},
                 {"a{x=\"1\",y=\"2\",z=\"\"} 1\n", SCRAPE_OK},
                 {"a{longname=\"12345678\"} 1\n", SCRAPE_OK},
                 {"a{longnamex=\"1\"} 1\n", SCRAPE_LABEL_LIMIT},
                 {"a{x=\"123456789\"} 1\n", SCRAPE_LABEL_LIMIT},
                 {"longname 1\n", SCRAPE_OK},
                 {"longnamex 1\n", SCRAPE_LABEL_LIMIT}};
    struct rig rig;
    struct scrape_report report;
    rig_init(&rig, 1 * MIB);
    struct pipeline_target *target = new_target(&rig, "a", &job);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (rig_scrape(target, T0 + (int64_t)i * 1000, cases[i].body, &report) != cases[i].failure)
            fail_msg("case %zu: %s, %s", i, scrape_failure_name(report.failure), report.reason);
    pipeline_target_free(target);
    rig_done(&rig);
}

static void repeated_series_are_counted_as_dropped(void **state)
{
    (void)state;
    struct rig rig;
    struct scrape_report report;
    rig_init(&rig, 1 * MIB);
    struct pipeline_target *target = new_target(&rig, "a", &plain_job);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            rig_scrape(target, T0 + i * 15000, "x{a=\"1\",b=\"2\"} 1\ny 2\nx{b=\"2\",a=\"1\"} 3\n", &report),
            SCRAPE_OK);
        assert_int_equal(report.samples_scraped, 3);
        assert_int_equal(report.samples_kept, 2);
    }
    rig_close(rig.pipeline, T0, &target, 1);
    assert_int_equal(rig.dropped, 2);
    rig_close(rig.pipeline, T0 + 60000, &target, 1);
    assert_int_equal(rig.dropped, 2); /* of the first window alone */
    assert_last(&rig, "x{a=\"1\",b=\"2\",instance=\"a\"}", 1);
    pipeline_target_free(target);
    rig_done(&rig);
}

static void impossible_times_are_dropped(void **state)
{
    (void)state;
    struct rig rig;
    struct scrape_report report;
    rig_init(&rig, 1 * MIB);
    struct pipeline_target *target = new_target(&rig, "a", &plain_job);
    static const char body[] = "after 2 1700000700000\nfar 3 999999999999999999\nfine 4 1700000000000\n";
    assert_int_equal(rig_scrape(target, T0, body, &report), SCRAPE_OK);
    rig_close(rig.pipeline, T0, &target, 1);
    assert_int_equal(rig.dropped, 2);
    const struct rig_row *fine = row_of(&rig, "fine{instance=\"a\"}");
    assert_true(fine->record.last == 4 && fine->record.time_ms == 1700000000000 && fine->record.count == 1);
    assert_int_equal(row_of(&rig, "far{instance=\"a\"}")->record.count, 0);
    pipeline_target_free(target);
    rig_done(&rig);
}

/* ---- Ends ---- */

static void a_target_that_ends_is_stale(void **state)
{
    (void)state;
    struct rig rig;
    struct scrape_report report;
    rig_init(&rig, 1 * MIB);
    struct pipeline_target *target = new_target(&rig, "a", &plain_job);
    assert_int_equal(rig_scrape(target, T0, "x 1\n", &report), SCRAPE_OK);
    pipeline_target_end(target, T0 + 20000, TARGET_END_REMOVED);
    rig_close(rig.pipeline, T0, &target, 1);
    assert_int_equal(rig.expected, 0); /* it is not missing */
    assert_int_equal(row_of(&rig, "x{instance=\"a\"}")->stale_ms, T0 + 20000);
    assert_int_equal(row_of(&rig, "up{instance=\"a\"}")->stale_ms, T0 + 20000);
    const struct rig_row *ended = row_of(&rig, "scrape_target_ended{instance=\"a\",reason=\"removed\"}");
    assert_true(ended->record.last == 1 && ended->record.count == 1 && ended->record.time_ms == T0 + 20000);
    assert_int_equal(ended->stale_ms, 0);
    rig_clear(&rig);
    /* Once said is enough. */
    rig_close(rig.pipeline, T0 + 60000, &target, 1);
    assert_int_equal(rig.entries, 0);
    rig_clear(&rig);
    pipeline_target_free(target);
    /* In a window without values only the end is said. */
    target = new_target(&rig, "a", &plain_job);
    assert_int_equal(rig_scrape(target, T0, "x 1\n", &report), SCRAPE_OK);
    rig_close(rig.pipeline, T0, &target, 1);
    rig_clear(&rig);
    pipeline_target_end(target, T0 + 70000, TARGET_END_LIMIT);
    rig_close(rig.pipeline, T0 + 60000, &target, 1);
    assert_int_equal(rig.row_count, 1); /* but for the reason */
    assert_int_equal(row_of(&rig, "scrape_target_ended{instance=\"a\",reason=\"limit\"}")->stale_ms, 0);
    assert_int_equal(rig.ended, 2);
    assert_int_equal(rig.ended_ms, T0 + 70000);
    pipeline_target_free(target);
    rig_done(&rig);
}

static void nothing_is_said_too(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, 1 * MIB);
    pipeline_close_idle(rig.pipeline, T0 + 60000);
    assert_int_equal(rig.parts, 1);
    assert_int_equal(rig.entries, 0);
    struct pipeline_target *target = new_target(&rig, "a", &plain_job);
    rig_close(rig.pipeline, T0, &target, 1);
    assert_int_equal(rig.parts, 2);
    assert_int_equal(rig.expected, 1);
    assert_int_equal(rig.answered, 0);
    assert_int_equal(rig.entries, 0);
    pipeline_target_free(target);
    rig_done(&rig);
}

/* ---- Size ---- */

static void large_groups_come_in_parts(void **state)
{
    (void)state;
    enum { TARGETS = 300, SERIES = 3000 };
    struct rig rig;
    struct scrape_report report;
    struct pipeline_job job = plain_job;
    job.sample_limit = SERIES;
    rig_init(&rig, 8 * MIB);
    CLEANUP(buf_done) struct buf body = BUF_INIT(1 * MIB);
    struct pipeline_target *targets[TARGETS];
    for (int t = 0; t < TARGETS; t++) {
        char name[16];
        snprintf(name, sizeof(name), "h%d", t);
        targets[t] = new_target(&rig, name, &job);
        for (int scrape = 0; scrape < 2; scrape++) {
            buf_reset(&body);
            for (int i = 0; i < SERIES; i++)
                buf_printf(&body, "g_%d{n=\"%d\"} 0.%d%d\n", i % 10, i, scrape + 1, t * i);
            buf_append_byte(&body, 0);
            assert_int_equal(rig_scrape(targets[t], T0 + scrape * 15000, (const char *)body.data, &report), SCRAPE_OK);
        }
    }
    rig_close(rig.pipeline, T0, targets, TARGETS);
    assert_true(rig.parts > 2);
    assert_int_equal(rig.expected, TARGETS);
    assert_int_equal(rig.answered, TARGETS);
    assert_int_equal(rig.row_count, TARGETS * (SERIES + 6));
    assert_true(rig.bytes / rig.parts <= BATCH_PART_BYTES);
    assert_last(&rig, "g_9{instance=\"h299\",n=\"2999\"}", 0.2896701);
    struct pipeline_stats stats;
    pipeline_stats(rig.pipeline, &stats);
    assert_int_equal(stats.pages, 2); /* all hosts share theirs */
    for (int t = 0; t < TARGETS; t++)
        pipeline_target_free(targets[t]);
    rig_done(&rig);
}

static void without_room_for_pages_the_result_is_the_same(void **state)
{
    (void)state;
    struct rig rig;
    struct scrape_report report;
    rig_init(&rig, 0);
    struct pipeline_target *target = new_target(&rig, "a", &plain_job);
    for (int i = 0; i < 4; i++) {
        char body[128];
        snprintf(body, sizeof(body), "a_total %d\nb{x=\"1\"} %d\n", i < 2 ? 5 + i : i - 2, i);
        assert_int_equal(rig_scrape(target, T0 + i * 15000, body, &report), SCRAPE_OK);
        assert_int_equal(report.page_changed, i == 0);
        assert_int_equal(report.series_added, i == 0 ? 2 : 0);
    }
    rig_close(rig.pipeline, T0, &target, 1);
    const struct rig_row *a = row_of(&rig, "a_total{instance=\"a\"}");
    assert_int_equal(a->record.count, 4);
    assert_int_equal(a->extra_count, 3); /* where it begins, and both sides of the reset */
    assert_true(a->extras[0].value == 5 && a->extras[1].value == 6 && a->extras[2].value == 0 && a->record.last == 1);
    assert_true(row_of(&rig, "b{instance=\"a\",x=\"1\"}")->record.sum == 6);
    struct pipeline_stats stats;
    pipeline_stats(rig.pipeline, &stats);
    assert_int_equal(stats.page_bytes, 0);
    pipeline_target_free(target);
    rig_done(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_become_records),
        cmocka_unit_test(samples_with_times_of_their_own_are_all_kept),
        cmocka_unit_test(bad_bodies_fail_their_own_scrape),
        cmocka_unit_test(empty_bodies_are_pages_without_series),
        cmocka_unit_test(failures_have_a_companion_while_they_last),
        cmocka_unit_test(limits_fail_the_scrape_with_a_reason),
        cmocka_unit_test(repeated_series_are_counted_as_dropped),
        cmocka_unit_test(impossible_times_are_dropped),
        cmocka_unit_test(a_target_that_ends_is_stale),
        cmocka_unit_test(nothing_is_said_too),
        cmocka_unit_test(large_groups_come_in_parts),
        cmocka_unit_test(without_room_for_pages_the_result_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
