/* Aggregates over many windows: totals that are kept and forgotten, windows whose length changes, pages that stay. */
#include "pipeline_rig.h"
#include "secondary/aggregator.h"
#include "secondary/totals.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define T0       INT64_C(1700000100000) /* a multiple of all resolutions here */
#define FINE_MS  INT64_C(15000)
#define LONG_MS  INT64_C(300000)
#define HOUR_MS  INT64_C(3600000)
#define SUM(n)   "x:sum{n=\"" n "\",secondary=\"s1\"}"
#define COUNT(n) "x:count{n=\"" n "\",secondary=\"s1\"}"

struct scene {
    struct rig rig;
    struct aggregator *aggregator;
};

static void scene_init(struct scene *scene)
{
    *scene = (struct scene){.aggregator = aggregator_new("s1")};
    rig_init(&scene->rig, MIB);
}

static void scene_done(struct scene *scene)
{
    aggregator_free(scene->aggregator);
    rig_done(&scene->rig);
}

static void add(struct aggregate *aggregate, enum series_kind kind, const char *n, double value, int64_t time_ms)
{
    const struct str names[] = {STR(LABEL_NAME), STR("n")}, values[] = {STR("x"), str_from(n)};
    const struct aggregate_key key = {names, values, 2};
    const struct aggregate_cell cell = {.kind = kind,
                                        .sum = value,
                                        .min = value,
                                        .max = value,
                                        .members = 1,
                                        .count = 1,
                                        .first_ms = time_ms - 5,
                                        .last_ms = time_ms};
    aggregate_add(aggregate, &key, &cell);
}

/* A part with these groups ("a b c"), each a gauge that is 1. */
static void take(struct scene *scene, int64_t start_ms, int64_t resolution_ms, const char *groups)
{
    CLEANUP(aggregate_freep) struct aggregate *part = aggregate_new();
    for (const char *at = groups; *at; at++)
        if (*at != ' ')
            add(part, KIND_GAUGE, (char[]){*at, 0}, 1, start_ms + resolution_ms - 1000);
    aggregator_take(scene->aggregator, start_ms, resolution_ms, part);
}

/* All that is over by then; rows are those of this call alone. */
static size_t tell(struct scene *scene, int64_t through_ms)
{
    struct pipeline_sealed sealed;
    size_t told = 0;
    rig_clear(&scene->rig);
    for (; aggregator_next(scene->aggregator, through_ms, &sealed); told++)
        rig_take(&scene->rig, &sealed);
    return told;
}

static bool is_told(const struct scene *scene, const char *series, bool stale)
{
    for (size_t i = 0; i < scene->rig.row_count; i++)
        if (strcmp(scene->rig.rows[i].series, series) == 0 && value_is_stale(scene->rig.rows[i].record.last) == stale)
            return true;
    return false;
}

static void expect_ended(const struct scene *scene, const char *series)
{
    if (!is_told(scene, series, true))
        fail_msg("%s did not end", series);
}

static void expect_alive(const struct scene *scene, const char *series)
{
    if (!is_told(scene, series, false))
        fail_msg("no %s", series);
    if (is_told(scene, series, true))
        fail_msg("%s ended", series);
}

static void expect_none_ended(const struct scene *scene)
{
    for (size_t i = 0; i < scene->rig.row_count; i++)
        if (value_is_stale(scene->rig.rows[i].record.last))
            fail_msg("%s ended", scene->rig.rows[i].series);
}

/* ---- Totals ---- */

static struct labels *group(int i)
{
    char text[24];
    snprintf(text, sizeof(text), "%d", i);
    const struct label label = {STR("n"), str_from(text)};
    return labels_new(&label, 1);
}

/* What a group comes to with 1 more; begins: whether it began anew. */
static double rise(struct totals *totals, int i, int64_t end_ms, bool *begins)
{
    CLEANUP(labels_unrefp) struct labels *labels = group(i);
    return totals_add(totals, labels, 1, end_ms, begins);
}

static void totals_are_forgotten_when_idle(void **state)
{
    (void)state;
    CLEANUP(totals_done) struct totals totals;
    bool begins;
    totals_init(&totals);
    assert_true(rise(&totals, 1, T0, &begins) == 1 && begins);
    assert_true(rise(&totals, 2, T0, &begins) == 1 && begins);
    totals_forget(&totals, T0 - 60000);
    assert_true(rise(&totals, 1, T0 + 60000, &begins) == 2 && !begins);
    totals_forget(&totals, T0 + HOUR_MS); /* not longer than an hour */
    assert_int_equal(totals.map.count, 2);
    totals_forget(&totals, T0 + HOUR_MS + 1);
    assert_int_equal(totals.map.count, 1);
    assert_true(rise(&totals, 2, T0 + HOUR_MS + 60000, &begins) == 1 && begins);
    assert_true(rise(&totals, 1, T0 + HOUR_MS + 60000, &begins) == 3 && !begins);
    totals_forget(&totals, T0 + 3 * HOUR_MS);
    assert_int_equal(totals.map.count, 0);
    assert_int_equal(totals.label_bytes, 0);
    assert_int_equal(totals.evicted_total, 0);
    assert_null(totals.oldest);
    assert_null(totals.newest);
}

static void past_the_ceiling_the_longest_unseen_goes(void **state)
{
    (void)state;
    CLEANUP(totals_done) struct totals totals;
    bool begins;
    totals_init(&totals);
    for (int i = 0; i < (int)AGGREGATE_TOTALS_MAX; i++)
        rise(&totals, i, T0, &begins);
    totals_forget(&totals, T0 - 1000);
    assert_int_equal(totals.evicted_total, 0);
    /* A window with 10 more, and with the five that would be the first to go. */
    for (int i = 0; i < 10; i++)
        rise(&totals, -1 - i, T0 + 1000, &begins);
    for (int i = 0; i < 5; i++)
        assert_true(rise(&totals, i, T0 + 1000, &begins) == 2 && !begins);
    totals_forget(&totals, T0);
    assert_int_equal(totals.map.count, AGGREGATE_TOTALS_MAX);
    assert_int_equal(totals.evicted_total, 10);
    rise(&totals, 4, T0 + 2000, &begins);
    assert_false(begins);
    rise(&totals, 15, T0 + 2000, &begins);
    assert_false(begins);
    for (int i = 5; i < 15; i++) {
        rise(&totals, i, T0 + 2000, &begins);
        assert_true(begins);
    }
}

static void labels_of_totals_have_a_ceiling(void **state)
{
    (void)state;
    CLEANUP(totals_done) struct totals totals;
    CLEANUP_FREE char *text = mem_zalloc(LABEL_VALUE_BYTES_MAX + 1);
    bool begins;
    totals_init(&totals);
    memset(text, 'v', LABEL_VALUE_BYTES_MAX);
    for (int i = 0; i < 1100; i++) {
        text[0] = (char)('a' + i % 26);
        text[1] = (char)('a' + i / 26);
        const struct label label = {STR("n"), str_of(text, LABEL_VALUE_BYTES_MAX)};
        CLEANUP(labels_unrefp) struct labels *labels = labels_new(&label, 1);
        totals_add(&totals, labels, 1, T0, &begins);
    }
    totals_forget(&totals, T0);
    assert_true(totals.label_bytes <= AGGREGATE_TOTALS_BYTES_MAX);
    assert_int_equal(totals.map.count + totals.evicted_total, 1100);
    assert_in_range(totals.map.count, 1000, 1023);
}

/* Groups that live for one window each, as with an id of requests in `by`: what is kept of them stays bounded, and
 * forgetting costs what is forgotten. (Each window swept all of them into a new map, in quadratic time: of 12,000 new
 * ones a second the main loop came to stand still.) */
static void groups_that_come_and_go_are_bounded(void **state)
{
    (void)state;
    enum { WINDOWS = 25, GROUPS = 12000 };
    struct scene scene;
    struct pipeline_sealed sealed;
    scene_init(&scene);
    for (int i = 0; i < WINDOWS; i++) {
        int64_t start_ms = T0 + i * 1000;
        CLEANUP(aggregate_freep) struct aggregate *part = aggregate_new();
        for (int j = 0; j < GROUPS; j++) {
            char text[24];
            snprintf(text, sizeof(text), "%d", i * GROUPS + j);
            add(part, KIND_COUNTER, text, 1, start_ms + 500);
        }
        add(part, KIND_COUNTER, "always", 1, start_ms + 500);
        if (i == 0 || i == WINDOWS - 1)
            add(part, KIND_COUNTER, "seldom", 1, start_ms + 500);
        aggregator_take(scene.aggregator, start_ms, 1000, part);
        if (i + 1 < WINDOWS) {
            assert_true(aggregator_next(scene.aggregator, start_ms + 1000, &sealed));
            pipeline_sealed_done(&sealed);
        }
    }
    assert_int_equal(tell(&scene, T0 + WINDOWS * 1000), 1);
    struct aggregator_stats stats;
    aggregator_stats(scene.aggregator, &stats);
    assert_int_equal(stats.totals, AGGREGATE_TOTALS_MAX);
    assert_int_equal(stats.totals_evicted_total, WINDOWS * GROUPS + 3 - (int)AGGREGATE_TOTALS_MAX);
    assert_true(rig_find(&scene.rig, SUM("always"))->record.last == WINDOWS);
    assert_true(rig_find(&scene.rig, SUM("seldom"))->record.last == 1); /* it began anew */
    scene_done(&scene);
}

/* ---- Windows whose length changes ---- */

static void longer_windows_end_nothing_that_lives_on(void **state)
{
    (void)state;
    struct scene scene;
    scene_init(&scene);
    take(&scene, T0 - FINE_MS, FINE_MS, "a b c");
    take(&scene, T0, LONG_MS, ""); /* what a change of the rules says */
    assert_int_equal(tell(&scene, T0), 1);
    for (int64_t at = T0 + FINE_MS; at < T0 + LONG_MS; at += FINE_MS)
        assert_int_equal(tell(&scene, at), 0);
    take(&scene, T0, LONG_MS, "a b d");
    assert_int_equal(tell(&scene, T0 + LONG_MS), 1);
    expect_alive(&scene, SUM("a"));
    expect_alive(&scene, SUM("b"));
    expect_alive(&scene, SUM("d"));
    expect_ended(&scene, SUM("c"));
    expect_ended(&scene, COUNT("c"));
    /* And nothing of it is left to be told. */
    take(&scene, T0 + LONG_MS, LONG_MS, "a b d");
    assert_int_equal(tell(&scene, T0 + 2 * LONG_MS), 1);
    expect_none_ended(&scene);
    assert_null(rig_find(&scene.rig, SUM("c")));
    scene_done(&scene);
}

static void shorter_windows_end_nothing_that_lives_on(void **state)
{
    (void)state;
    struct scene scene;
    scene_init(&scene);
    /* Those of both are open before the first is over. */
    take(&scene, T0, FINE_MS, "");
    take(&scene, T0, FINE_MS, "a b");
    take(&scene, T0 - LONG_MS, LONG_MS, "a b c");
    assert_int_equal(tell(&scene, T0), 1);
    assert_int_equal(tell(&scene, T0 + FINE_MS), 1);
    expect_alive(&scene, SUM("a"));
    expect_alive(&scene, SUM("b"));
    expect_ended(&scene, SUM("c"));
    for (int64_t at = T0 + FINE_MS; at < T0 + 2 * LONG_MS; at += FINE_MS) {
        take(&scene, at, FINE_MS, "a b");
        assert_int_equal(tell(&scene, at + FINE_MS), 1);
        expect_none_ended(&scene);
    }
    scene_done(&scene);
}

static void a_change_that_no_series_outlives_ends_all(void **state)
{
    (void)state;
    static const int64_t next_ms[] = {LONG_MS, FINE_MS, 0}; /* 0: no aggregates any more */
    for (size_t i = 0; i < ARRAY_LEN(next_ms); i++) {
        struct scene scene;
        scene_init(&scene);
        take(&scene, T0 - 60000, 60000, "a b");
        if (next_ms[i] > 0)
            take(&scene, T0, next_ms[i], "");
        int64_t end_ms = T0 + (next_ms[i] > 0 ? next_ms[i] : 60000);
        assert_int_equal(tell(&scene, end_ms - 1), 1);
        assert_int_equal(tell(&scene, end_ms), 1);
        expect_ended(&scene, SUM("a"));
        expect_ended(&scene, SUM("b"));
        assert_int_equal(tell(&scene, end_ms + 10 * LONG_MS), 0);
        scene_done(&scene);
    }
}

/* A worker that hears of new rules right behind the boundary goes by the old ones for a period longer: windows of both
 * lengths lie over each other. a: at both workers; b, c: at the first; d, e: at the second; c and e end. */
static void workers_that_change_at_different_times(void **state)
{
    (void)state;
    const int64_t lengths[][2] = {{FINE_MS, LONG_MS}, {LONG_MS, FINE_MS}};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        int64_t old_ms = lengths[i][0], new_ms = lengths[i][1], middle_ms = T0 + LONG_MS;
        struct scene scene;
        scene_init(&scene);
        take(&scene, T0 - old_ms, old_ms, "abcde");
        take(&scene, T0, new_ms, "");
        take(&scene, middle_ms - old_ms, old_ms, "");
        take(&scene, middle_ms, new_ms, "");
        tell(&scene, T0);
        for (int64_t through = T0 + FINE_MS; through <= middle_ms; through += FINE_MS) {
            if (through % new_ms == 0)
                take(&scene, through - new_ms, new_ms, "abc");
            if (through % old_ms == 0)
                take(&scene, through - old_ms, old_ms, "ade");
            tell(&scene, through);
            expect_none_ended(&scene);
        }
        take(&scene, middle_ms, new_ms, "abd");
        tell(&scene, middle_ms + new_ms);
        expect_alive(&scene, SUM("a"));
        expect_alive(&scene, SUM("b"));
        expect_alive(&scene, SUM("d"));
        expect_ended(&scene, SUM("c"));
        expect_ended(&scene, SUM("e"));
        take(&scene, middle_ms + new_ms, new_ms, "ab");
        tell(&scene, middle_ms + 2 * new_ms);
        expect_ended(&scene, SUM("d"));
        scene_done(&scene);
    }
}

/* A stop within a period: windows that have not begun say nothing. */
static void what_is_to_come_is_not_told_at_the_end(void **state)
{
    (void)state;
    struct scene scene;
    scene_init(&scene);
    take(&scene, T0 - FINE_MS, FINE_MS, "a");
    assert_int_equal(tell(&scene, T0), 1);
    take(&scene, T0, FINE_MS, "a");
    take(&scene, T0 + LONG_MS, LONG_MS, "");
    assert_int_equal(tell(&scene, INT64_MAX), 1);
    expect_alive(&scene, SUM("a"));
    scene_done(&scene);
}

/* As with single series: who stops in a window ends nothing. */
static void the_end_of_scraping_ends_no_series(void **state)
{
    (void)state;
    struct scene scene;
    scene_init(&scene);
    take(&scene, T0 - FINE_MS, FINE_MS, "a b");
    assert_int_equal(tell(&scene, T0), 1);
    take(&scene, T0, FINE_MS, "a"); /* b was not scraped in it yet */
    assert_int_equal(tell(&scene, INT64_MAX), 1);
    expect_alive(&scene, SUM("a"));
    expect_none_ended(&scene);
    scene_done(&scene);
}

struct announced {
    size_t count;
    int64_t start_ms[4], resolution_ms[4];
};

static void take_announced(void *arg, struct pipeline_sealed *sealed)
{
    struct announced *announced = arg;
    assert_true(sealed->aggregate && sealed->aggregate->cells.count == 0 && !sealed->writer);
    assert_true(announced->count < ARRAY_LEN(announced->start_ms));
    announced->start_ms[announced->count] = sealed->window_start_ms;
    announced->resolution_ms[announced->count++] = sealed->resolution_ms;
    pipeline_sealed_done(sealed);
}

/* The pipeline says it when it hears of other rules: aggregates of whichever length, and only when it changes. */
static void a_change_of_rules_announces_windows(void **state)
{
    (void)state;
    static const struct window_rule rules[] = {
        {.match = "x", .resolution_ms = RESOLUTION_UNSAID, .keep = KEEP_AGGREGATE},
        {.match = "x", .resolution_ms = LONG_MS, .keep = KEEP_AGGREGATE},
        {.match = "y", .resolution_ms = RESOLUTION_UNSAID, .keep = KEEP_AGGREGATE},
        {.match = "y", .resolution_ms = LONG_MS},
    };
    static const struct {
        size_t from, to, announced;
    } changes[] = {{0, 1, 2}, {1, 0, 2}, {0, 2, 0}, {0, 3, 0}, {3, 1, 0}};
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        struct announced announced = {0};
        CLEANUP(window_rules_unrefp) struct window_rules *from = rig_rules(&rules[changes[i].from], 1);
        CLEANUP(window_rules_unrefp) struct window_rules *to = rig_rules(&rules[changes[i].to], 1);
        const struct pipeline_options options = {.rules = from, .sealed = take_announced, .sealed_arg = &announced};
        CLEANUP(pipeline_freep) struct pipeline *pipeline = pipeline_new(&options);
        pipeline_set_rules(pipeline, to, T0);
        assert_int_equal(announced.count, changes[i].announced);
        if (announced.count == 0)
            continue;
        int64_t old_ms = i == 0 ? RIG_RESOLUTION_MS : LONG_MS, new_ms = i == 0 ? LONG_MS : RIG_RESOLUTION_MS;
        assert_true(announced.start_ms[0] == T0 - old_ms && announced.resolution_ms[0] == old_ms);
        assert_true(announced.start_ms[1] == T0 && announced.resolution_ms[1] == new_ms);
    }
}

/* ---- Pages that stay ---- */

/* In whatever order groups come, with one more, one less, and of another kind for a while. */
static void values_go_to_the_groups_of_a_page_that_stays(void **state)
{
    (void)state;
    struct scene scene;
    scene_init(&scene);
    static const char *const order[] = {"abcdefgh", "hgfedcba", "badcfehg", "abcdefgi", "abcdefg", "abcdefgh"};
    double totals[128] = {0};
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        int64_t start_ms = T0 + (int64_t)i * FINE_MS;
        enum series_kind kind = i == 2 ? KIND_GAUGE : KIND_COUNTER;
        CLEANUP(aggregate_freep) struct aggregate *part = aggregate_new();
        for (const char *at = order[i]; *at; at++) {
            add(part, kind, (char[]){*at, 0}, *at + (double)i, start_ms + *at);
            totals[(int)*at] += kind == KIND_COUNTER ? *at + (double)i : 0;
        }
        aggregator_take(scene.aggregator, start_ms, FINE_MS, part);
        assert_int_equal(tell(&scene, start_ms + FINE_MS), 1);
        for (const char *at = order[i]; *at; at++) {
            char series[64];
            snprintf(series, sizeof(series), "x:sum{n=\"%c\",secondary=\"s1\"}", *at);
            const struct rig_row *row = rig_find(&scene.rig, series);
            assert_non_null(row);
            assert_int_equal(row->record.kind, kind);
            assert_int_equal(row->record.time_ms, start_ms + *at);
            assert_true(row->record.last == (kind == KIND_COUNTER ? totals[(int)*at] : *at + (double)i));
        }
    }
    scene_done(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(totals_are_forgotten_when_idle),
        cmocka_unit_test(past_the_ceiling_the_longest_unseen_goes),
        cmocka_unit_test(labels_of_totals_have_a_ceiling),
        cmocka_unit_test(groups_that_come_and_go_are_bounded),
        cmocka_unit_test(longer_windows_end_nothing_that_lives_on),
        cmocka_unit_test(shorter_windows_end_nothing_that_lives_on),
        cmocka_unit_test(a_change_that_no_series_outlives_ends_all),
        cmocka_unit_test(workers_that_change_at_different_times),
        cmocka_unit_test(what_is_to_come_is_not_told_at_the_end),
        cmocka_unit_test(the_end_of_scraping_ends_no_series),
        cmocka_unit_test(a_change_of_rules_announces_windows),
        cmocka_unit_test(values_go_to_the_groups_of_a_page_that_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
