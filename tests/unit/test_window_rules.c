/* Rules for windows: which one decides what of a series, and which rules go together. */
#include "base/fail.h"
#include "secondary/window_rules.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define R_MS 60000

static const char *const by_job[] = {"job"};

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
#define AGGREGATE(selector, ms)                                                                                        \
    {                                                                                                                  \
        .match = selector, .resolution_ms = ms, .keep = KEEP_AGGREGATE, .by = by_job, .by_count = 1                    \
    }

static struct window_rules *rules_of(const struct window_rule *rules, size_t count)
{
    struct window_rules_error error;
    struct window_rules *made = NULL;
    if (window_rules_new(rules, count, R_MS, &error, &made) < 0)
        fail_msg("rule %zu, %s: %s", error.rule, error.property, error.text);
    return made;
}

static struct labels *target_of(const char *job)
{
    const struct label labels[] = {{STR("instance"), STR("h1")}, {STR("job"), str_from(job)}};
    return labels_new(labels, 2);
}

static struct window_decision decide(const struct window_rules *rules, const struct labels *target, const char *name)
{
    uint32_t decided[WINDOW_RULES_MAX + 8] = {0};
    const struct label labels[] = {{STR(LABEL_NAME), str_from(name)}};
    return window_rules_decide(rules, target, labels, 1, decided);
}

static void the_first_that_says_it_wins(void **state)
{
    (void)state;
    static const struct window_rule list[] = {
        RESOLUTION("{__name__=~\"probe_.*|up\"}", 15000),
        FIELDS("{job=\"trading\"}", FIELDS_LAST),
        RESOLUTION("{job=\"trading\"}", 0),
        KEEP("{__name__=~\"go_.*\"}", KEEP_DROP),
        RESOLUTION("{__name__=~\"go_.*\"}", 30000),
        AGGREGATE("{__name__=~\"container_.*\"}", RESOLUTION_UNSAID),
        KEEP("{__name__=\"go_kept\"}", KEEP_FULL),
    };
    CLEANUP(window_rules_unrefp) struct window_rules *rules = rules_of(list, ARRAY_LEN(list));
    CLEANUP(labels_unrefp) struct labels *node = target_of("node"), *trading = target_of("trading");
    static const struct {
        bool trading;
        const char *name;
        int64_t resolution_ms;
        int32_t aggregate;
        bool last_only, dropped;
    } cases[] = {
        {false, "x", R_MS, -1, false, false},
        {false, "up", 15000, -1, false, false},
        {false, "probe_success", 15000, -1, false, 0},
        {true, "up", 15000, -1, true, false},
        {true, "x", 0, -1, true, false},
        {false, "go_threads", 30000, -1, false, true},
        {false, "go_kept", 30000, -1, false, true},
        {false, "container_cpu", R_MS, 5, false, false},
        {true, "container_cpu", R_MS, 5, false, false}, /* aggregates have windows of their own */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct window_decision got = decide(rules, cases[i].trading ? trading : node, cases[i].name);
        if (got.class.resolution_ms != cases[i].resolution_ms || got.class.aggregate != cases[i].aggregate ||
            got.last_only != cases[i].last_only || got.dropped != cases[i].dropped)
            fail_msg("case %zu: %s", i, cases[i].name);
    }
    assert_int_equal(window_rules_beat_ms(rules), 15000);
}

static void what_the_project_says_comes_last(void **state)
{
    (void)state;
    static const char name[] = "node_scrape_collector_duration_seconds";
    CLEANUP(labels_unrefp) struct labels *target = target_of("node");
    CLEANUP(window_rules_unrefp) struct window_rules *none = rules_of(NULL, 0);
    assert_true(decide(none, target, name).last_only);
    assert_false(decide(none, target, "node_load1").last_only);
    static const struct window_rule all[] = {FIELDS("{__name__=~\"node_.*\"}", FIELDS_ALL)};
    CLEANUP(window_rules_unrefp) struct window_rules *rules = rules_of(all, 1);
    assert_false(decide(rules, target, name).last_only);
}

static void labels_of_the_series_win_over_the_targets(void **state)
{
    (void)state;
    static const struct window_rule list[] = {KEEP("{job=\"b\"}", KEEP_DROP), RESOLUTION("{job=\"\"}", 30000)};
    CLEANUP(window_rules_unrefp) struct window_rules *rules = rules_of(list, 2);
    CLEANUP(labels_unrefp) struct labels *target = target_of("a");
    uint32_t decided[8] = {0};
    const struct label other[] = {{STR(LABEL_NAME), STR("x")}, {STR("job"), STR("b")}};
    const struct label gone[] = {{STR(LABEL_NAME), STR("x")}, {STR("job"), STR("")}};
    assert_false(decide(rules, target, "x").dropped);
    assert_true(window_rules_decide(rules, target, other, 2, decided).dropped);
    assert_int_equal(window_rules_decide(rules, target, gone, 2, decided).class.resolution_ms, 30000);
    assert_int_equal(decided[0], 1);
    assert_int_equal(decided[1], 1);
}

static void targets_share_pages_by_what_rules_read(void **state)
{
    (void)state;
    static const struct window_rule list[] = {RESOLUTION("{job=\"a\",rack!=\"\"}", 30000)};
    CLEANUP(window_rules_unrefp) struct window_rules *rules = rules_of(list, 1), *none = rules_of(NULL, 0);
    CLEANUP(labels_unrefp) struct labels *a = target_of("a"), *b = target_of("b");
    const struct label labels[] = {{STR("instance"), STR("h2")}, {STR("job"), STR("a")}};
    CLEANUP(labels_unrefp) struct labels *other_host = labels_new(labels, 2);
    assert_true(window_rules_key(rules, a) == window_rules_key(rules, other_host));
    assert_true(window_rules_key(rules, a) != window_rules_key(rules, b));
    assert_true(window_rules_key(none, a) == window_rules_key(none, b));
    assert_true(window_rules_key(none, a) != window_rules_key(rules, a));
}

static void refuse(const struct window_rule *list, size_t count, size_t rule, const char *property, const char *text)
{
    struct window_rules_error error = {.rule = SIZE_MAX};
    struct window_rules *made = NULL;
    assert_int_equal(window_rules_new(list, count, R_MS, &error, &made), -EINVAL);
    assert_null(made);
    assert_int_equal(error.rule, rule);
    assert_string_equal(error.property, property);
    if (!strstr(error.text, text))
        fail_msg("%s", error.text);
}

static void rules_must_go_together(void **state)
{
    (void)state;
    static const struct window_rule bad_selector[] = {RESOLUTION("up", 15000), RESOLUTION("up{", 15000)};
    refuse(bad_selector, 2, 1, "match", "at character 4: ");
    static const struct window_rule no_multiple[] = {RESOLUTION("a", 15000), RESOLUTION("b", 20000)};
    refuse(no_multiple, 2, 1, "resolution", "no multiple of 15s");
    static const struct window_rule no_part[] = {RESOLUTION("a", 50000)};
    refuse(no_part, 1, 0, "resolution", "must divide windows.resolution, 1m, without a rest");
    static const struct window_rule two[] = {AGGREGATE("a", RESOLUTION_UNSAID), AGGREGATE("b", 120000)};
    refuse(two, 2, 1, "resolution", "an earlier rule makes aggregates at a resolution of 1m");
    static const struct window_rule late[] = {AGGREGATE("a", 120000), AGGREGATE("b", RESOLUTION_UNSAID)};
    refuse(late, 2, 1, "keep", "an earlier rule makes aggregates at a resolution of 2m");
    static const struct window_rule fine[] = {RESOLUTION("a", 20000), AGGREGATE("b", 20000)};
    refuse(fine, 2, 1, "resolution", "aggregates need windows of windows.resolution");
    static const struct window_rule good[] = {RESOLUTION("a", 15000), RESOLUTION("b", 45000), RESOLUTION("c", 300000),
                                              RESOLUTION("d", 0),     AGGREGATE("e", R_MS),   AGGREGATE("f", 60000)};
    window_rules_unref(rules_of(good, ARRAY_LEN(good)));
}

static void windows_are_no_shorter_than_the_interval(void **state)
{
    (void)state;
    static const struct window_rule list[] = {RESOLUTION("a", 15000)};
    CLEANUP(window_rules_unrefp) struct window_rules *rules = rules_of(list, 1);
    assert_int_equal(window_rules_resolution_ms(rules, 15000, 10000), 15000);
    assert_int_equal(window_rules_resolution_ms(rules, 15000, 15000), 15000);
    assert_int_equal(window_rules_resolution_ms(rules, 15000, 20000), 30000);
    assert_int_equal(window_rules_resolution_ms(rules, 15000, 60000), 60000);
    assert_int_equal(window_rules_resolution_ms(rules, R_MS, 20000), R_MS);
    assert_int_equal(window_rules_resolution_ms(rules, 0, 20000), 0);
}

static void a_period_is_what_all_resolutions_divide(void **state)
{
    (void)state;
    static const struct window_rule fine[] = {RESOLUTION("a", 15000), RESOLUTION("b", 45000)};
    static const struct window_rule coarse[] = {RESOLUTION("a", 300000)};
    static const struct window_rule odd[] = {RESOLUTION("a", 1000), RESOLUTION("b", 59000), RESOLUTION("c", 61000)};
    CLEANUP(window_rules_unrefp) struct window_rules *none = rules_of(NULL, 0);
    CLEANUP(window_rules_unrefp) struct window_rules *a = rules_of(fine, 2);
    CLEANUP(window_rules_unrefp) struct window_rules *b = rules_of(coarse, 1);
    CLEANUP(window_rules_unrefp) struct window_rules *c = rules_of(odd, 3);
    assert_int_equal(window_rules_period_ms(none, none), 60000);
    assert_int_equal(window_rules_period_ms(none, a), 180000);
    assert_int_equal(window_rules_period_ms(a, b), 900000);
    assert_true(window_rules_period_ms(none, c) == INT64_MAX);
    assert_true(window_rules_equal(a, a));
    assert_false(window_rules_equal(a, b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_that_says_it_wins),
        cmocka_unit_test(what_the_project_says_comes_last),
        cmocka_unit_test(labels_of_the_series_win_over_the_targets),
        cmocka_unit_test(targets_share_pages_by_what_rules_read),
        cmocka_unit_test(rules_must_go_together),
        cmocka_unit_test(windows_are_no_shorter_than_the_interval),
        cmocka_unit_test(a_period_is_what_all_resolutions_divide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
