/* The store with its blocks against a plain table of windows: late and doubled records, deletions, cuts, compactions,
 * expiry, restarts, power cuts and a disk that fails, in random order by seed. What was in the log is there afterwards,
 * each window once, values and aggregates to the bit.
 *
 * TRIBUTARY_TEST_OPERATIONS: records in all; SEED: one seed alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/fail.h"
#include "base/map.h"
#include "base/random.h"
#include "store/store_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define START_MS       INT64_C(1700000000000)
#define HOUR_MS        INT64_C(3600000)
#define MINUTE_MS      INT64_C(60000)
#define DAY_MS         (24 * HOUR_MS)
#define SERIES         48
#define OPERATIONS     1200000
#define SEEDS          6
#define KEEP_MS        (30 * DAY_MS)
#define BULK_KEEP_MS   (9 * DAY_MS)
#define MAX_AGE_MS     (7 * DAY_MS)
#define BATCH_RECORDS  400
#define STEPS_PER_LOOK 40
#define SAMPLES_MAX    200000 /* of one series */
#define RANGES_MAX     64

struct operation {
    uint32_t series;
    int64_t window_ms;
    struct record record;
    struct sample extra;
    bool has_extra;
};

struct range {
    uint32_t series;
    int64_t start_ms, end_ms;
};

struct world {
    struct random random;
    struct clock *clock;
    struct file_system *disk, *fs;
    struct retention *retention;
    struct store *store;
    struct labels *labels[SERIES];
    series_ref refs[SERIES];
    uint64_t generation;
    /* The log, in batches: position i + 1 is that of batch i, whose operations begin at batches[i]. What is before
     * log_from was dropped. */
    struct operation *log;
    size_t log_count, log_from;
    size_t *batches;
    size_t batch_count;
    struct map winners; /* of each (series, window) the operation's index + 1 */
    int64_t live_ms[SERIES];
    struct range deleted[RANGES_MAX]; /* nothing more is written there */
    size_t deleted_count;
    bool fails;
};

static int64_t resolution_of(uint32_t series)
{
    static const int64_t resolutions[] = {60000, 60000, 15000, 0, 300000, 60000};
    return resolutions[series % ARRAY_LEN(resolutions)];
}

/* Of windows, and of plain samples. */
static int64_t step_of(uint32_t series)
{
    return resolution_of(series) > 0 ? resolution_of(series) : 20000;
}

static bool is_gauge(uint32_t series)
{
    return series % 3 == 0;
}

static bool is_bulk(uint32_t series)
{
    return series % 7 == 2;
}

/* All content follows from series, window, count and time, so that equal versions of a window are equal in all. */
static void fill(struct operation *operation)
{
    struct record *record = &operation->record;
    struct random random;
    random_seed(&random, (uint64_t)operation->window_ms * 31 + (uint64_t)record->time_ms * 7 + operation->series +
                             record->count * UINT64_C(1000003));
    record->kind = is_gauge(operation->series) ? KIND_GAUGE : KIND_COUNTER;
    record->last = record->count == 0 ? value_stale() : (double)random_below(&random, 5000) / 100;
    record_fill_constant(record);
    if (is_gauge(operation->series) && record->count > 1 && random_below(&random, 2)) {
        record->min -= (double)random_below(&random, 100) / 100;
        record->max += random_unit(&random);
        record->sum += (double)random_below(&random, 100) / 100;
    }
    int64_t room_ms = record->time_ms - operation->window_ms;
    operation->has_extra = resolution_of(operation->series) > 0 && room_ms > 0 && random_below(&random, 8) == 0;
    if (operation->has_extra)
        operation->extra = (struct sample){operation->window_ms + (int64_t)random_below(&random, (uint64_t)room_ms), 3};
}

static uint64_t key_of(uint32_t series, int64_t window_ms)
{
    return (uint64_t)window_ms * SERIES + series;
}

static bool is_deleted(const struct world *world, uint32_t series, int64_t time_ms)
{
    for (size_t i = 0; i < world->deleted_count; i++) {
        const struct range *range = &world->deleted[i];
        if (range->series == series && time_ms >= range->start_ms && time_ms <= range->end_ms)
            return true;
    }
    return false;
}

/* ---- The store ---- */

static void event(void *arg, const char *text)
{
    (void)arg;
    if (getenv("TRIBUTARY_TEST_EVENTS"))
        fprintf(stderr, "%s\n", text);
}

static void hand_over(struct world *world, size_t index)
{
    const struct operation *operation = &world->log[index];
    struct store *store = world->store;
    if (world->generation != store_generation(store)) {
        for (size_t i = 0; i < SERIES; i++)
            world->refs[i] = SERIES_REF_NONE;
        world->generation = store_generation(store);
    }
    series_ref *ref = &world->refs[operation->series];
    if (*ref == SERIES_REF_NONE)
        *ref = store_series(store, world->labels[operation->series], (enum series_kind)operation->record.kind);
    store_append(store, *ref, operation->window_ms, resolution_of(operation->series), &operation->record,
                 &operation->extra, operation->has_extra);
}

static void replay(struct world *world)
{
    for (size_t i = 0; i < SERIES; i++)
        world->refs[i] = SERIES_REF_NONE;
    world->generation = store_generation(world->store);
    for (size_t i = MAX(world->log_from, (size_t)store_replay_from(world->store)); i < world->batch_count; i++) {
        size_t end = i + 1 < world->batch_count ? world->batches[i + 1] : world->log_count;
        store_set_position(world->store, i + 1);
        store_write_begin(world->store);
        for (size_t j = world->batches[i]; j < end; j++)
            hand_over(world, j);
        store_write_end(world->store);
    }
}

static void open_store(struct world *world)
{
    struct store_options options = {.max_age_ms = MAX_AGE_MS,
                                    .max_ahead_ms = 10 * MINUTE_MS,
                                    .series_max = 1000,
                                    .fs = world->fs,
                                    .data_dir = "/data",
                                    .retention = world->retention,
                                    .on_event = event};
    char error[256] = "";
    int result = store_open(world->clock, &options, error, NULL, &world->store);
    if (result < 0)
        fail_msg("store_open: %s", error);
    replay(world);
}

/* ---- Steps ---- */

static void append(struct world *world)
{
    int64_t now_ms = clock_wall_ms(world->clock);
    world->batches[world->batch_count++] = world->log_count;
    store_set_position(world->store, world->batch_count);
    store_write_begin(world->store);
    for (int i = 0; i < BATCH_RECORDS; i++) {
        uint32_t series = (uint32_t)random_below(&world->random, SERIES);
        int64_t resolution_ms = resolution_of(series);
        int64_t step_ms = step_of(series);
        struct operation operation = {.series = series, .record.count = 1};
        int64_t at_ms = world->live_ms[series];
        if (at_ms > now_ms || random_below(&world->random, 12) == 0) {
            int64_t back_ms = random_below(&world->random, 4) ? 3 * HOUR_MS : 3 * DAY_MS;
            at_ms = now_ms - (int64_t)random_below(&world->random, (uint64_t)back_ms);
        } else {
            world->live_ms[series] = MAX(at_ms + step_ms, now_ms - 2 * HOUR_MS);
        }
        operation.window_ms = window_start_ms(at_ms, step_ms);
        operation.record.time_ms = operation.window_ms;
        if (resolution_ms > 0) {
            operation.record.count = (uint32_t)random_below(&world->random, 5);
            operation.record.time_ms += (int64_t)random_below(&world->random, 4) * (resolution_ms / 4);
        }
        if (is_deleted(world, series, operation.window_ms) || operation.window_ms < now_ms - MAX_AGE_MS + HOUR_MS)
            continue;
        fill(&operation);
        world->log[world->log_count++] = operation;
        hand_over(world, world->log_count - 1);
        uintptr_t index = (uintptr_t)world->log_count;
        uint64_t key = key_of(series, operation.window_ms);
        uintptr_t present = (uintptr_t)map_get(&world->winners, key, NULL, NULL);
        if (!present || (resolution_ms > 0 && record_wins(&operation.record, &world->log[present - 1].record))) {
            map_remove(&world->winners, key, NULL, NULL);
            map_put(&world->winners, key, (void *)index); // NOLINT: a number
        }
    }
    store_write_end(world->store);
}

static void work(struct world *world)
{
    int64_t solid_ms = random_below(&world->random, 3) ? clock_wall_ms(world->clock) - 5 * MINUTE_MS : INT64_MIN;
    store_upkeep(world->store, solid_ms);
    for (uint64_t i = random_below(&world->random, 12); i > 0 && store_work(world->store); i--) {
    }
    store_upkeep(world->store, solid_ms);
    world->log_from = MAX(world->log_from, (size_t)(MAX(store_log_needed(world->store), 1) - 1));
}

static void delete_some(struct world *world)
{
    if (world->deleted_count == RANGES_MAX)
        return;
    uint32_t series = (uint32_t)random_below(&world->random, SERIES);
    int64_t end_ms = clock_wall_ms(world->clock) - (int64_t)random_below(&world->random, DAY_MS);
    struct range range = {series, window_start_ms(end_ms - 5 * HOUR_MS, HOUR_MS), window_start_ms(end_ms, HOUR_MS) - 1};
    char match[64], error[256] = "";
    snprintf(match, sizeof(match), "{instance=\"host-%u\"}", series);
    struct deletion request = {.match = match,
                               .who = (char[]){"model"},
                               .why = (char[]){"test"},
                               .start_ms = range.start_ms,
                               .end_ms = range.end_ms};
    uint64_t id;
    if (deletions_request(store_deletions(world->store), &request, error, &id) < 0)
        return; /* the disk fails, or there are too many */
    world->deleted[world->deleted_count++] = range;
    int64_t step_ms = step_of(series);
    for (int64_t at_ms = range.start_ms; at_ms <= range.end_ms; at_ms += step_ms)
        map_remove(&world->winners, key_of(series, window_start_ms(at_ms, step_ms)), NULL, NULL);
}

static void snapshot(struct world *world)
{
    if (store_snapshot_begin(world->store))
        (void)!store_snapshot(world->store, STR("model"));
}

static void restart(struct world *world, bool power_cut)
{
    if (power_cut)
        file_system_memory_crash(world->disk, &world->random);
    store_free(world->store);
    file_system_failing_at(world->fs, 0, -EIO, true);
    open_store(world);
}

static void clean_restart(struct world *world)
{
    if (random_below(&world->random, 2))
        snapshot(world);
    restart(world, false);
}

/* ---- Looking ---- */

static struct sample expected_of(const struct operation *operation, enum select_field field)
{
    const struct record *record = &operation->record;
    bool gauge = is_gauge(operation->series);
    double value = record->last;
    if (record->count > 0 && field == SELECT_COUNT)
        value = record->count;
    else if (record->count > 0 && field == SELECT_SUM)
        value = gauge ? record->sum : record->last * record->count;
    else if (record->count > 0 && field == SELECT_MIN && gauge)
        value = record->min;
    else if (record->count > 0 && field == SELECT_MAX && gauge)
        value = record->max;
    return (struct sample){record->time_ms, value};
}

static int compare_samples(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    return x->time_ms < y->time_ms ? -1 : x->time_ms > y->time_ms;
}

/* All that should be there of each series, sorted. */
static void expected_samples(struct world *world, enum select_field field, struct sample **lists, size_t *counts)
{
    size_t at = 0;
    memset(counts, 0, SERIES * sizeof(*counts));
    for (void *item; (item = map_next(&world->winners, &at));) {
        const struct operation *operation = &world->log[(uintptr_t)item - 1];
        size_t *count = &counts[operation->series];
        assert_true(*count + 2 < SAMPLES_MAX);
        if (operation->has_extra && field == SELECT_LAST)
            lists[operation->series][(*count)++] = operation->extra;
        lists[operation->series][(*count)++] = expected_of(operation, field);
    }
    for (size_t i = 0; i < SERIES; i++)
        qsort(lists[i], counts[i], sizeof(struct sample), compare_samples);
}

static size_t read_samples(struct select *select, enum select_field field, struct sample *samples)
{
    CLEANUP(sample_reader_freep) struct sample_reader *reader = sample_reader_new(select, field);
    sample_reader_current(reader);
    size_t count = 0;
    for (int64_t got; (got = sample_reader_read(reader, samples + count, 1000)) != 0; count += (size_t)got)
        assert_true(got > 0 && count + 2000 < SAMPLES_MAX);
    return count;
}

/* What is older than its class is kept may be there or not. */
static void compare(const struct world *world, uint32_t series, const struct sample *got, size_t got_count,
                    const struct sample *expected, size_t expected_count)
{
    int64_t kept_ms = clock_wall_ms(world->clock) - (is_bulk(series) ? BULK_KEEP_MS : KEEP_MS);
    size_t at = 0;
    for (size_t i = 0; i < expected_count; i++) {
        bool same = at < got_count && got[at].time_ms == expected[i].time_ms &&
                    double_bits(got[at].value) == double_bits(expected[i].value);
        if (!same && expected[i].time_ms >= kept_ms)
            fail_msg("series %u: expected %.17g at %lld, got %.17g at %lld", series, expected[i].value,
                     (long long)expected[i].time_ms, at < got_count ? got[at].value : 0,
                     at < got_count ? (long long)got[at].time_ms : 0);
        at += same;
    }
    if (at < got_count)
        fail_msg("series %u: %.17g at %lld is too much", series, got[at].value, (long long)got[at].time_ms);
}

static void look(struct world *world)
{
    static struct sample *lists[SERIES], *got;
    size_t counts[SERIES];
    for (size_t i = 0; i < SERIES && !lists[i]; i++)
        lists[i] = mem_array(SAMPLES_MAX, sizeof(struct sample));
    got = got ? got : mem_array(SAMPLES_MAX, sizeof(struct sample));
    enum select_field field = random_below(&world->random, 2) ? SELECT_LAST : random_below(&world->random, 5);
    expected_samples(world, field, lists, counts);
    struct matcher matcher;
    char error[256];
    assert_int_equal(matcher_init(&matcher, MATCH_EQUAL, STR("__name__"), STR("m"), error), 0);
    struct select_range range = {.start_ms = 0, .end_ms = INT64_MAX};
    CLEANUP(select_freep) struct select *select = NULL;
    assert_int_equal(select_open(world->store, &matcher, 1, &range, &select), 0);
    struct labels *series = NULL;
    bool seen[SERIES] = {false};
    while (select_next(select, &series) > 0) {
        uint64_t number;
        struct str host = labels_get(series, STR("instance"));
        assert_int_equal(str_to_u64(str_of(host.ptr + 5, host.len - 5), &number), 0);
        assert_true(number < SERIES && !seen[number]);
        seen[number] = true;
        compare(world, (uint32_t)number, got, read_samples(select, field, got), lists[number], counts[number]);
    }
    for (uint32_t i = 0; i < SERIES; i++)
        if (!seen[i])
            compare(world, i, NULL, 0, lists[i], counts[i]);
    CLEANUP(buf_done) struct buf warnings = BUF_INIT(KIB * 64);
    select_warnings(select, &warnings);
    assert_int_equal(warnings.len, 0);
    matcher_done(&matcher);
}

/* ---- Seeds ---- */

static void step(struct world *world)
{
    uint64_t what = random_below(&world->random, 1000);
    if (what < 500)
        append(world);
    else if (what < 700)
        clock_simulated_advance(world->clock, (int64_t)random_below(&world->random, 20 * MINUTE_MS));
    else if (what < 940)
        work(world);
    else if (what < 960)
        store_prune(world->store);
    else if (what < 962)
        delete_some(world);
    else if (what < 966)
        snapshot(world);
    else if (what < 978)
        clean_restart(world);
    else if (what < 990)
        restart(world, true);
    else
        file_system_failing_at(world->fs, 1 + random_below(&world->random, 60),
                               random_below(&world->random, 2) ? -ENOSPC : -EIO, random_below(&world->random, 4) > 0);
}

static void make_labels(struct world *world)
{
    for (uint32_t i = 0; i < SERIES; i++) {
        char host[32];
        snprintf(host, sizeof(host), "host-%u", i);
        struct label labels[] = {{STR("__name__"), STR("m")},
                                 {STR("instance"), str_from(host)},
                                 {STR("job"), is_bulk(i) ? STR("bulk") : STR("node")}};
        world->labels[i] = labels_new(labels, ARRAY_LEN(labels));
        world->live_ms[i] = START_MS;
    }
}

static void run_seed(uint64_t seed, size_t operations)
{
    struct world world = {.log = mem_array(operations + BATCH_RECORDS, sizeof(*world.log)),
                          .batches = mem_array(operations, sizeof(*world.batches))};
    random_seed(&world.random, seed);
    world.clock = clock_simulated_new(START_MS);
    world.disk = file_system_memory_new(0);
    world.fs = file_system_failing_new(world.disk);
    static const struct retention_class classes[] = {
        {.name = "bulk", .match = "{job=\"bulk\"}", .keep_ms = BULK_KEEP_MS}, {.name = "rest", .keep_ms = KEEP_MS}};
    char error[256];
    assert_int_equal(retention_new(classes, ARRAY_LEN(classes), 0, error, &world.retention), 0);
    map_init(&world.winners);
    make_labels(&world);
    open_store(&world);
    for (size_t steps = 1; world.log_count < operations; steps++) {
        step(&world);
        if (steps % STEPS_PER_LOOK == 0)
            look(&world);
    }
    restart(&world, true);
    store_cut_all(world.store);
    look(&world);
    struct store_stats stats;
    struct blocks_stats blocks;
    store_stats(world.store, &stats);
    blocks_stats(store_blocks(world.store), &blocks);
    assert_int_equal(stats.refused_total + stats.too_old_total + stats.too_new_total, 0);
    assert_int_equal(stats.partitions, 0);
    assert_int_equal(blocks.damaged, 0);
    assert_true(blocks.served > 0);
    store_free(world.store);
    for (size_t i = 0; i < SERIES; i++)
        labels_unref(world.labels[i]);
    map_done(&world.winners);
    mem_free(world.log);
    mem_free(world.batches);
    retention_unref(world.retention);
    file_system_free(world.fs);
    file_system_free(world.disk);
    clock_free(world.clock);
}

static void what_came_is_there_whatever_happens(void **state)
{
    (void)state;
    const char *one = getenv("SEED"), *all = getenv("TRIBUTARY_TEST_OPERATIONS");
    size_t operations = (all ? strtoull(all, NULL, 10) : OPERATIONS) / SEEDS;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        if (!one || strtoull(one, NULL, 10) == seed) {
            print_message("seed %llu\n", (unsigned long long)seed);
            run_seed(seed, operations);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_came_is_there_whatever_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
