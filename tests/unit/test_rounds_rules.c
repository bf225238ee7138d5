/* The timetable under rules for windows: each class leaves when it is over, nothing comes for a window that was said to
 * be closed, and no sample is lost or told twice, over changes of the rules too. */
#include "pipeline_rig.h"
#include "secondary/rounds.h"
#include "secondary_world.h"

#define HEAD       "datacenter: dc1\nsecondary: s1\ndata_dir: /d\nprimary: {urls: ['http://p:1']}\n"

#define SERIES_MAX 8

struct table {
    struct world world;
    struct secondary_config *config;
    struct rounds *rounds;
    struct rig rig; /* without pipeline: what was read of parts */
    int64_t closed_through_ms;
    unsigned told; /* that windows are closed, without a part */
    bool checked;
};

static void on_sealed(void *arg, const struct pipeline_sealed *sealed, int64_t closed_through_ms)
{
    struct table *table = arg;
    /* A window that was closed gets no more. */
    if (sealed->writer && table->checked)
        assert_true(sealed->window_start_ms + sealed->span_ms > table->closed_through_ms);
    table->told += !sealed->writer;
    assert_true(closed_through_ms >= table->closed_through_ms);
    struct pipeline_sealed copy = *sealed;
    rig_take(&table->rig, &copy);
    table->closed_through_ms = closed_through_ms;
}

static void on_health(void *arg, struct target *target, enum scrape_failure failure, const char *reason)
{
    (void)arg, (void)target, (void)failure, (void)reason;
}

static struct table *table_new(const char *times, const char *rules)
{
    struct table *table = mem_zalloc(sizeof(*table));
    CLEANUP_FREE char *text = mem_printf(
        HEAD "windows: {resolution: 60s, rules: [%s]}\nscrape_configs:\n- {job_name: node, %s}\n", rules, times);
    world_init(&table->world);
    table->checked = true;
    table->config = world_config(&table->world, text);
    table->rig.table = layout_table_new(64 * MIB, 64 * MIB);
    CLEANUP(window_rules_unrefp) struct window_rules *made = windows_config_rules(&table->config->windows);
    const struct rounds_options options = {.loop = table->world.loop,
                                           .network = table->world.network,
                                           .name = "s1",
                                           .rules = made,
                                           .page_bytes_max = MIB,
                                           .sealed = on_sealed,
                                           .health = on_health,
                                           .arg = table};
    table->rounds = rounds_new(&options);
    return table;
}

static void table_free(struct table *table)
{
    rounds_free(table->rounds);
    rig_clear(&table->rig);
    assert_int_equal(layout_table_held(table->rig.table), 0);
    layout_table_free(table->rig.table);
    secondary_config_unref(table->config);
    world_done(&table->world);
    mem_free(table);
}

static struct rounds_stats stats_of(struct table *table)
{
    struct rounds_stats stats;
    rounds_stats(table->rounds, &stats);
    return stats;
}

static bool change_after(struct table *table, const char *rules, int64_t not_before_ms)
{
    CLEANUP_FREE char *text = mem_printf(HEAD "windows: {resolution: 60s, rules: [%s]}\n", rules);
    struct secondary_config *config = world_config(&table->world, text);
    CLEANUP(window_rules_unrefp) struct window_rules *made = windows_config_rules(&config->windows);
    bool set = rounds_set_rules(table->rounds, made, not_before_ms);
    secondary_config_unref(config);
    return set;
}

static bool change(struct table *table, const char *rules)
{
    return change_after(table, rules, 0);
}

/* Samples of all series that begin so, and that none of its windows overlaps another. */
static uint64_t samples_of(const struct rig *rig, const char *start)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < rig->row_count; i++) {
        const struct rig_row *row = &rig->rows[i];
        if (strncmp(row->series, start, strlen(start)) != 0 || row->record.count == 0)
            continue;
        sum += row->record.count;
        for (size_t j = 0; j < i; j++) {
            const struct rig_row *other = &rig->rows[j];
            if (other->record.count == 0 || strcmp(other->series, row->series) != 0)
                continue;
            if (other->window_ms < row->window_ms + row->resolution_ms &&
                row->window_ms < other->window_ms + other->resolution_ms)
                fail_msg("%s: windows %lld+%lld and %lld+%lld", row->series, (long long)row->window_ms,
                         (long long)row->resolution_ms, (long long)other->window_ms, (long long)other->resolution_ms);
        }
    }
    return sum;
}

/* All that was scraped, and answered, is there once. */
static void check_samples(struct table *table)
{
    struct rounds_stats stats = stats_of(table);
    assert_int_equal(samples_of(&table->rig, "up{"), stats.pipeline.scrapes_total);
    assert_int_equal(samples_of(&table->rig, "heat{"), stats.outcomes_total[SCRAPE_OK]);
    assert_int_equal(samples_of(&table->rig, "work_total{"), stats.outcomes_total[SCRAPE_OK]);
    assert_int_equal(table->rig.dropped, 0);
}

static void add_hosts(struct table *table, int count)
{
    for (int i = 0; i < count; i++) {
        char address[32];
        snprintf(address, sizeof(address), "h%d:9100", i);
        world_exporter(&table->world, address);
        struct target *target = world_target(&table->world, table->config, address);
        rounds_add(table->rounds, target);
        target_unref(target);
    }
}

#define RULES "{match: up, resolution: 15s}, {match: heat, resolution: 45s}, {match: 'work_total', resolution: 300s}"

static void run(const char *times)
{
    struct table *table = table_new(times, RULES);
    add_hosts(table, 5);
    for (int minute = 0; minute < 31; minute++) {
        table->world.exporters[minute % 5]->mode = minute % 7 == 3 ? EXPORTER_HANGS : EXPORTER_ANSWERS;
        loop_advance(table->world.loop, 60000);
    }
    assert_int_equal(stats_of(table).beat_ms, 15000);
    assert_true(stats_of(table).closed_through_ms >= WORLD_START_MS + 29 * 60000);
    table->checked = false; /* at the end windows leave as they are */
    rounds_seal_all(table->rounds);
    check_samples(table);
    table_free(table);
}

static void nothing_comes_for_a_closed_window(void **state)
{
    (void)state;
    run("scrape_interval: 5s, scrape_timeout: 5s");
    run("scrape_interval: 15s, scrape_timeout: 10s");
    run("scrape_interval: 20s, scrape_timeout: 20s");
    run("scrape_interval: 60s, scrape_timeout: 60s");
}

static void each_class_leaves_with_its_own_window(void **state)
{
    (void)state;
    struct table *table = table_new("scrape_interval: 15s, scrape_timeout: 10s", "{match: up, resolution: 15s}");
    add_hosts(table, 1);
    loop_advance(table->world.loop, 5 * 60000);
    size_t fine = 0, coarse = 0;
    for (size_t i = 0; i < table->rig.row_count; i++) {
        fine += strcmp(table->rig.rows[i].series, "up{instance=\"h0:9100\",job=\"node\"}") == 0;
        coarse += strcmp(table->rig.rows[i].series, "heat{instance=\"h0:9100\",job=\"node\"}") == 0;
    }
    assert_int_equal(fine, 20);
    assert_int_equal(coarse, 5);
    assert_int_equal(table->rig.expected, 5); /* coverage is told once a minute */
    assert_int_equal(table->rig.parts, 25);
    table_free(table);
}

static void idle_time_is_told_by_beats_and_sealed_by_windows(void **state)
{
    (void)state;
    struct table *table = table_new("scrape_interval: 15s", "{match: up, resolution: 15s}");
    loop_advance(table->world.loop, 2 * 60000);
    assert_int_equal(table->rig.parts, 2);
    assert_int_equal(table->told, 6);
    assert_int_equal(table->closed_through_ms, WORLD_START_MS + 2 * 60000);
    table_free(table);
}

/* To finer, to coarser, to none; each time at the next border of all windows. */
static void rules_change_without_a_gap(void **state)
{
    (void)state;
    static const char *const sets[] = {RULES,
                                       "",
                                       "{match: heat, resolution: 30s}",
                                       "{match: up, resolution: 120s}",
                                       "{match: '{__name__=~\"up|heat\"}', resolution: 20s}",
                                       ""};
    static const char *const times[] = {"scrape_interval: 15s, scrape_timeout: 10s",
                                        "scrape_interval: 60s, scrape_timeout: 60s"};
    for (size_t t = 0; t < ARRAY_LEN(times); t++) {
        struct table *table = table_new(times[t], "");
        add_hosts(table, 5);
        loop_advance(table->world.loop, 130000);
        for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
            assert_true(change(table, sets[i]));
            assert_false(change(table, sets[i])); /* one after the other */
            /* 45 s, 60 s and 300 s end together every 15 minutes. */
            loop_advance(table->world.loop, 17 * 60000 + 777 * (int64_t)i);
            assert_int_equal(stats_of(table).rules_from_ms, 0);
            assert_int_equal(stats_of(table).rules_total, i + 1);
        }
        table->checked = false;
        rounds_seal_all(table->rounds);
        check_samples(table);
        table_free(table);
    }
}

static void targets_come_and_go_while_rules_change(void **state)
{
    (void)state;
    struct table *table = table_new("scrape_interval: 15s, scrape_timeout: 10s", "");
    add_hosts(table, 3);
    struct target *late = world_target(&table->world, table->config, "late:1");
    world_exporter(&table->world, "late:1");
    loop_advance(table->world.loop, 90000);
    assert_true(change(table, RULES));
    rounds_add(table->rounds, late);
    loop_advance(table->world.loop, 60000);
    rounds_remove(table->rounds, late, TARGET_END_REMOVED);
    loop_advance(table->world.loop, 20 * 60000);
    assert_int_equal(stats_of(table).rules_from_ms, 0);
    table->checked = false;
    rounds_seal_all(table->rounds);
    check_samples(table);
    target_unref(late);
    table_free(table);
    /* Without any target they are in force at once, or as soon as the beat is. */
    table = table_new("scrape_interval: 15s", "");
    assert_true(change(table, RULES));
    loop_advance(table->world.loop, 16 * 60000);
    assert_int_equal(stats_of(table).rules_from_ms, 0);
    assert_int_equal(stats_of(table).beat_ms, 15000);
    table_free(table);
}

/* Told of a time ahead, rules wait for it: workers that hear of them one after the other change together. */
static void rules_change_at_the_time_told(void **state)
{
    (void)state;
    int64_t told[2];
    for (int i = 0; i < 2; i++) {
        struct table *table = table_new("scrape_interval: 15s, scrape_timeout: 10s", "");
        add_hosts(table, 1);
        loop_advance(table->world.loop, 58000 + i * 4000); /* before the border, and behind it */
        assert_true(change_after(table, "{match: heat, resolution: 30s}", WORLD_START_MS + 63000));
        told[i] = stats_of(table).rules_from_ms;
        table_free(table);
    }
    assert_int_equal(told[0], WORLD_START_MS + 120000);
    assert_int_equal(told[1], told[0]);
}

/* More scrapes than a batch takes of a target: those of a group leave together, and none is lost. */
static void many_scrapes_leave_by_groups(void **state)
{
    (void)state;
    struct table *table = table_new("scrape_interval: 250ms, scrape_timeout: 200ms", "{match: heat, resolution: 0s}");
    add_hosts(table, 5);
    loop_advance(table->world.loop, 4 * 60000);
    table->checked = false;
    rounds_seal_all(table->rounds);
    check_samples(table);
    /* A minute: 240 scrapes in four parts, and the default windows. At the ends a minute is not whole. */
    assert_true(table->rig.parts <= 5 * (4 + 1) + 2);
    table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_comes_for_a_closed_window),
        cmocka_unit_test(each_class_leaves_with_its_own_window),
        cmocka_unit_test(idle_time_is_told_by_beats_and_sealed_by_windows),
        cmocka_unit_test(rules_change_without_a_gap),
        cmocka_unit_test(rules_change_at_the_time_told),
        cmocka_unit_test(many_scrapes_leave_by_groups),
        cmocka_unit_test(targets_come_and_go_while_rules_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
