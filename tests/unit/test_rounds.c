/* The timetable: when targets are scraped, and when their windows are closed. */
#include "secondary/rounds.h"
#include "secondary_world.h"

#define PARTS_MAX 4096
#define R_MS      60000

struct part {
    int64_t window_start_ms, closed_through_ms, at_ms;
    uint64_t expected, answered;
    size_t entries;
    uint64_t failed[SCRAPE_FAILURE_COUNT];
};

struct table {
    struct world world;
    struct secondary_config *config;
    struct rounds *rounds;
    struct part parts[PARTS_MAX];
    size_t part_count;
    unsigned health_calls;
    enum scrape_failure last_failure;
    char last_reason[160];
};

static void on_sealed(void *arg, const struct pipeline_sealed *sealed, int64_t closed_through_ms)
{
    struct table *table = arg;
    if (!sealed->writer)
        return;
    assert_true(table->part_count < PARTS_MAX);
    struct part *part = &table->parts[table->part_count++];
    *part = (struct part){.window_start_ms = sealed->window_start_ms,
                          .closed_through_ms = closed_through_ms,
                          .at_ms = world_now_ms(&table->world),
                          .expected = sealed->targets_expected,
                          .answered = sealed->targets_answered,
                          .entries = batch_writer_entries(sealed->writer)};
    memcpy(part->failed, sealed->failed, sizeof(part->failed));
    batch_writer_free(sealed->writer);
}

static void on_health(void *arg, struct target *target, enum scrape_failure failure, const char *reason)
{
    struct table *table = arg;
    assert_non_null(target);
    table->health_calls++;
    table->last_failure = failure;
    snprintf(table->last_reason, sizeof(table->last_reason), "%s", reason);
}

static struct table *table_new(const char *times)
{
    struct table *table = mem_zalloc(sizeof(*table));
    CLEANUP_FREE char *text =
        mem_printf("datacenter: dc1\nsecondary: s1\ndata_dir: /d\nprimary: {urls: ['http://p:1']}\n"
                   "windows: {resolution: 60s}\nscrape_configs:\n- {job_name: node, %s}\n",
                   times);
    world_init(&table->world);
    table->config = world_config(&table->world, text);
    CLEANUP(window_rules_unrefp) struct window_rules *rules = windows_config_rules(&table->config->windows);
    const struct rounds_options options = {.loop = table->world.loop,
                                           .network = table->world.network,
                                           .name = "s1",
                                           .rules = rules,
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
    secondary_config_unref(table->config);
    world_done(&table->world);
    mem_free(table);
}

static struct target *add(struct table *table, const char *address)
{
    struct target *target = world_target(&table->world, table->config, address);
    rounds_add(table->rounds, target);
    return target;
}

static struct rounds_stats stats_of(const struct table *table)
{
    struct rounds_stats stats;
    rounds_stats(table->rounds, &stats);
    return stats;
}

/* Each window of [first, end) is there once, in order, and closed_through never runs ahead of what was sealed. */
static void check_windows(const struct table *table, size_t parts_per_window)
{
    int64_t sealed_through_ms = 0;
    for (size_t i = 0; i < table->part_count; i++) {
        const struct part *part = &table->parts[i];
        assert_int_equal(part->window_start_ms, WORLD_START_MS + (int64_t)(i / parts_per_window) * R_MS);
        if (i % parts_per_window == parts_per_window - 1)
            sealed_through_ms = part->window_start_ms + R_MS;
        assert_true(part->closed_through_ms <= MAX(sealed_through_ms, WORLD_START_MS));
    }
}

/* All parts of a window in one. */
static struct part window_of(const struct table *table, int64_t index)
{
    struct part sum = {.window_start_ms = WORLD_START_MS + index * R_MS};
    for (size_t i = 0; i < table->part_count; i++) {
        const struct part *part = &table->parts[i];
        if (part->window_start_ms != sum.window_start_ms)
            continue;
        sum.expected += part->expected;
        sum.answered += part->answered;
        sum.entries += part->entries;
        for (int j = 0; j < SCRAPE_FAILURE_COUNT; j++)
            sum.failed[j] += part->failed[j];
    }
    return sum;
}

static void test_one_target(void **state)
{
    (void)state;
    struct table *table = table_new("scrape_interval: 15s, scrape_timeout: 10s");
    struct exporter *exporter = world_exporter(&table->world, "h1:9100");
    struct target *target = add(table, "h1:9100");
    int64_t phase_ms = (int64_t)(target->key % 15000);
    loop_advance(table->world.loop, 5 * R_MS);
    assert_int_equal(exporter->scrapes, 20);
    assert_string_equal(exporter->timeout, "10");
    assert_int_equal(exporter->last_ms, WORLD_START_MS + 5 * R_MS - 15000 + phase_ms);
    assert_int_equal(atomic_load(&target->last_scrape_ms), exporter->last_ms);
    assert_int_equal(table->part_count, 5);
    check_windows(table, 1);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(table->parts[i].entries, 2);
        assert_int_equal(table->parts[i].expected, 1);
        assert_int_equal(table->parts[i].answered, 1);
        /* Right after the last scrape of the window, which says that it is whole. */
        assert_int_equal(table->parts[i].at_ms, WORLD_START_MS + (int64_t)i * R_MS + 45000 + phase_ms);
        assert_int_equal(table->parts[i].closed_through_ms, table->parts[i].window_start_ms + R_MS);
    }
    assert_int_equal(table->health_calls, 1);
    assert_int_equal(stats_of(table).outcomes_total[SCRAPE_OK], 20);
    assert_int_equal(stats_of(table).late_total + stats_of(table).skipped_total, 0);
    target_unref(target);
    table_free(table);
}

static void test_groups(void **state)
{
    (void)state;
    enum { HOSTS = 450 };
    struct table *table = table_new("scrape_interval: 20s, scrape_timeout: 10s");
    for (int i = 0; i < HOSTS; i++) {
        char address[32];
        snprintf(address, sizeof(address), "h%d:9100", i);
        world_exporter(&table->world, address);
        target_unref(add(table, address));
    }
    assert_int_equal(stats_of(table).groups, 4);
    loop_advance(table->world.loop, 3 * R_MS);
    assert_int_equal(table->part_count, 12);
    check_windows(table, 4);
    for (size_t window = 0; window < 3; window++) {
        uint64_t expected = 0;
        for (size_t i = 0; i < 4; i++) {
            const struct part *part = &table->parts[4 * window + i];
            expected += part->expected;
            assert_true(part->expected >= 60);
            assert_int_equal(part->entries, 2 * part->expected);
            /* Only with the last of them the window is whole. */
            assert_int_equal(part->closed_through_ms == part->window_start_ms + R_MS, i == 3);
        }
        assert_int_equal(expected, HOSTS);
    }
    table_free(table);
}

static void test_failures(void **state)
{
    (void)state;
    struct table *table = table_new("scrape_interval: 15s, scrape_timeout: 10s");
    struct exporter *exporter = world_exporter(&table->world, "h1:9100");
    struct target *target = add(table, "h1:9100"), *absent = add(table, "nobody:1");
    loop_advance(table->world.loop, R_MS);
    assert_int_equal(window_of(table, 0).failed[SCRAPE_CONNECT], 1);
    assert_int_equal(window_of(table, 0).answered, 1);
    exporter->mode = EXPORTER_FAILS;
    loop_advance(table->world.loop, R_MS);
    assert_int_equal(window_of(table, 1).failed[SCRAPE_STATUS], 1);
    assert_int_equal(table->last_failure, SCRAPE_STATUS);
    assert_string_equal(table->last_reason, "the target answered with HTTP status 500");
    exporter->mode = EXPORTER_HANGS;
    loop_advance(table->world.loop, R_MS + 10000);
    assert_int_equal(window_of(table, 2).failed[SCRAPE_TIMEOUT], 1);
    assert_int_equal(window_of(table, 2).answered, 0);
    exporter->mode = EXPORTER_ANSWERS;
    loop_advance(table->world.loop, R_MS);
    assert_int_equal(window_of(table, 2).expected, 2);
    assert_int_equal(window_of(table, 3).answered, 1);
    assert_int_equal(stats_of(table).outcomes_total[SCRAPE_STATUS], 4);
    target_unref(target);
    target_unref(absent);
    table_free(table);
}

/* A target that hangs as long as its interval holds its group up until another one is due; then it follows alone. */
static void test_split(void **state)
{
    (void)state;
    struct table *table = table_new("scrape_interval: 60s, scrape_timeout: 60s");
    struct target *targets[20];
    struct exporter *slowest = NULL;
    uint64_t last_phase = 0;
    for (int i = 0; i < 20; i++) {
        char address[32];
        snprintf(address, sizeof(address), "h%d:9100", i);
        struct exporter *exporter = world_exporter(&table->world, address);
        targets[i] = add(table, address);
        if (targets[i]->key % R_MS >= last_phase) {
            last_phase = targets[i]->key % R_MS;
            slowest = exporter;
        }
    }
    slowest->mode = EXPORTER_HANGS;
    loop_advance(table->world.loop, 5 * R_MS);
    slowest->mode = EXPORTER_ANSWERS;
    loop_advance(table->world.loop, 2 * R_MS);
    struct rounds_stats stats = stats_of(table);
    assert_true(stats.split_total >= 4);
    assert_true(stats.outcomes_total[SCRAPE_TIMEOUT] >= 4);
    uint64_t expected[8] = {0};
    int64_t closed_before_ms = 0;
    for (size_t i = 0; i < table->part_count; i++) {
        const struct part *part = &table->parts[i];
        size_t window = (size_t)((part->window_start_ms - WORLD_START_MS) / R_MS);
        assert_true(window < 8);
        /* Never said to be whole before all of it was there. */
        assert_true(part->window_start_ms >= closed_before_ms);
        closed_before_ms = MAX(closed_before_ms, part->closed_through_ms);
        expected[window] += part->expected;
    }
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(expected[i], 20);
    for (int i = 0; i < 20; i++)
        target_unref(targets[i]);
    table_free(table);
}

static void test_idle(void **state)
{
    (void)state;
    struct table *table = table_new("scrape_interval: 15s, scrape_timeout: 10s");
    loop_advance(table->world.loop, 3 * R_MS);
    assert_int_equal(table->part_count, 3);
    check_windows(table, 1);
    assert_int_equal(table->parts[2].entries, 0);
    assert_int_equal(table->parts[2].closed_through_ms, WORLD_START_MS + 3 * R_MS);
    table_free(table);
}

/* A new target waits until the window that was said to be whole is over. */
static void test_added_late(void **state)
{
    (void)state;
    struct table *table = table_new("scrape_interval: 15s, scrape_timeout: 10s");
    world_exporter(&table->world, "h1:9100");
    struct exporter *late = world_exporter(&table->world, "h2:9100");
    struct target *target = add(table, "h1:9100");
    while (table->part_count == 0)
        loop_advance(table->world.loop, 1);
    int64_t closed_ms = table->parts[0].closed_through_ms;
    assert_true(closed_ms > world_now_ms(&table->world));
    struct target *other = add(table, "h2:9100");
    loop_advance(table->world.loop, closed_ms - world_now_ms(&table->world) - 1);
    assert_int_equal(late->scrapes, 0);
    loop_advance(table->world.loop, 15001);
    assert_int_equal(late->scrapes, 1);
    loop_advance(table->world.loop, 2 * R_MS);
    check_windows(table, 1);
    assert_int_equal(table->parts[1].expected, 2);
    target_unref(target);
    target_unref(other);
    table_free(table);
}

static void test_removed(void **state)
{
    (void)state;
    struct table *table = table_new("scrape_interval: 15s, scrape_timeout: 10s");
    struct exporter *gone = world_exporter(&table->world, "h1:9100");
    world_exporter(&table->world, "h2:9100");
    struct target *target = add(table, "h1:9100"), *other = add(table, "h2:9100"), *never = add(table, "h3:9100");
    rounds_remove(table->rounds, never, TARGET_END_REMOVED); /* before its first scrape: nothing to say */
    loop_advance(table->world.loop, R_MS + 20000);
    gone->mode = EXPORTER_HANGS; /* removed while a scrape may be under way */
    loop_advance(table->world.loop, 15000);
    unsigned scrapes = gone->scrapes;
    rounds_remove(table->rounds, target, TARGET_END_REMOVED);
    rounds_remove(table->rounds, target, TARGET_END_REMOVED); /* twice is once */
    loop_advance(table->world.loop, 2 * R_MS);
    assert_int_equal(gone->scrapes, scrapes);
    check_windows(table, 1);
    assert_int_equal(table->parts[1].entries, 5);  /* its last words, and why */
    assert_int_equal(table->parts[1].expected, 1); /* and it is not missed */
    assert_int_equal(table->parts[2].entries, 2);
    assert_int_equal(table->parts[2].expected, 1);
    rounds_remove(table->rounds, other, TARGET_END_REMOVED); /* the last one: windows go on, empty */
    size_t parts = table->part_count;
    loop_advance(table->world.loop, 3 * R_MS);
    assert_int_equal(table->parts[parts].entries, 3); /* stale markers, and why */
    for (size_t i = parts + 1; i < table->part_count; i++) {
        assert_int_equal(table->parts[i].entries, 0);
        assert_int_equal(table->parts[i].closed_through_ms, table->parts[i].window_start_ms + R_MS);
    }
    assert_int_equal(stats_of(table).closed_through_ms, WORLD_START_MS + 6 * R_MS);
    assert_int_equal(stats_of(table).targets, 0);
    assert_int_equal(stats_of(table).in_flight, 0);
    target_unref(target);
    target_unref(other);
    target_unref(never);
    table_free(table);
}

/* The machine slept for an hour: one jump, not a flood of late scrapes and empty windows. */
static void test_clock_jump(void **state)
{
    (void)state;
    struct table *table = table_new("scrape_interval: 15s, scrape_timeout: 10s");
    struct exporter *exporter = world_exporter(&table->world, "h1:9100");
    target_unref(add(table, "h1:9100"));
    loop_advance(table->world.loop, 2 * R_MS);
    unsigned scrapes = exporter->scrapes;
    clock_simulated_step_wall(table->world.clock, 3600000);
    loop_advance(table->world.loop, 2 * R_MS);
    assert_true(exporter->scrapes <= scrapes + 9);
    assert_true(stats_of(table).skipped_total >= 230);
    assert_true(table->part_count <= 6);
    int64_t start_ms = 0;
    for (size_t i = 0; i < table->part_count; i++) {
        assert_true(table->parts[i].window_start_ms > start_ms);
        start_ms = table->parts[i].window_start_ms;
    }
    /* Set back by an hour: windows go on from where they are. */
    clock_simulated_step_wall(table->world.clock, -3600000);
    scrapes = exporter->scrapes;
    size_t parts = table->part_count;
    loop_advance(table->world.loop, 4 * R_MS);
    assert_in_range(exporter->scrapes - scrapes, 13, 16);
    for (size_t i = parts; i < table->part_count; i++) {
        assert_int_equal(table->parts[i].window_start_ms, start_ms + R_MS);
        start_ms = table->parts[i].window_start_ms;
    }
    table_free(table);
}

/* At the end windows leave as they are, and are not said to be whole. */
static void test_seal_all(void **state)
{
    (void)state;
    struct table *table = table_new("scrape_interval: 15s, scrape_timeout: 10s");
    world_exporter(&table->world, "h1:9100");
    target_unref(add(table, "h1:9100"));
    target_unref(add(table, "h2:9100"));
    loop_advance(table->world.loop, R_MS + 20000);
    assert_int_equal(table->part_count, 1);
    rounds_seal_all(table->rounds);
    assert_int_equal(table->part_count, 2);
    assert_int_equal(table->parts[1].window_start_ms, WORLD_START_MS + R_MS);
    assert_int_equal(table->parts[1].closed_through_ms, WORLD_START_MS + R_MS);
    assert_int_equal(table->parts[1].expected, 2);
    loop_advance(table->world.loop, 5 * R_MS);
    assert_int_equal(table->part_count, 2);
    table_free(table);
}

/* The next scrape goes by the new job. */
static void test_new_secret(void **state)
{
    (void)state;
    struct table *table = table_new("scrape_interval: 15s, scrape_timeout: 10s");
    struct exporter *exporter = world_exporter(&table->world, "h1:9100");
    struct target *target = add(table, "h1:9100");
    loop_advance(table->world.loop, R_MS);
    assert_string_equal(exporter->authorization, "");
    world_write(&table->world, "/token", "secret\n");
    struct secondary_config *config = world_config(
        &table->world, "datacenter: dc1\nsecondary: s1\ndata_dir: /d\nprimary: {urls: ['http://p:1']}\n"
                       "scrape_configs: [{job_name: node, authorization: {type: Token, credentials_file: /token}}]\n");
    char error[256];
    struct job *job;
    assert_int_equal(job_new(table->world.fs, config->scrape_configs.items, table->world.tls, error, &job), 0);
    rounds_set_job(table->rounds, target, job);
    job_unref(job);
    secondary_config_unref(config);
    loop_advance(table->world.loop, R_MS);
    assert_string_equal(exporter->authorization, "Token secret");
    target_unref(target);
    table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_target), cmocka_unit_test(test_groups),     cmocka_unit_test(test_failures),
        cmocka_unit_test(test_split),      cmocka_unit_test(test_idle),       cmocka_unit_test(test_added_late),
        cmocka_unit_test(test_removed),    cmocka_unit_test(test_clock_jump), cmocka_unit_test(test_seal_all),
        cmocka_unit_test(test_new_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
