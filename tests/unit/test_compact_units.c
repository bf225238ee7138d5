/* One unit of compaction at a time: what the result says of itself, what fails and when it is tried again, what of a
 * deletion is left on the disk.
 *
 *   test_compact_units --write DIR       merges blocks in DIR and prints the name of the one that is left */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "block_rows.h"

#include "store/compact.h"

#define HOUR_MS INT64_C(3600000)
#define NOW_MS  INT64_C(1790000000000)
#define DIR     "/data" /* in memory */

struct rig {
    struct file_system *memory, *fs;
    struct clock *clock;
    struct random random;
    struct blocks *blocks;
    struct deletions *deletions;
    struct compact *compact;
    const char *dir;
    int64_t asks_left; /* until it is cancelled; < 0: never */
};

static bool is_cancelled(void *arg)
{
    struct rig *rig = arg;
    return rig->asks_left >= 0 && rig->asks_left-- == 0;
}

static void rig_start(struct rig *rig)
{
    char reason[256];
    assert_int_equal(blocks_open(rig->fs, rig->clock, rig->dir, &rig->blocks), 0);
    assert_int_equal(deletions_open(rig->fs, rig->clock, rig->dir, reason, &rig->deletions), 0);
    const struct compact_options options = {.blocks = rig->blocks,
                                            .deletions = rig->deletions,
                                            .clock = rig->clock,
                                            .random = &rig->random,
                                            .levels_ms = {2 * HOUR_MS, 8 * HOUR_MS, 48 * HOUR_MS},
                                            .level_count = 3,
                                            .unit_bytes_max = GIB,
                                            .retry_ms = 60000,
                                            .cancelled = is_cancelled,
                                            .cancelled_arg = rig};
    rig->compact = compact_new(&options);
}

static void rig_stop(struct rig *rig)
{
    compact_free(rig->compact);
    deletions_free(rig->deletions);
    blocks_close(rig->blocks);
}

/* On a file system in memory, or a real one. */
static struct rig *rig_new(const char *dir, bool in_memory)
{
    struct rig *rig = mem_zalloc(sizeof(*rig));
    rig->dir = dir;
    rig->asks_left = -1;
    rig->memory = in_memory ? file_system_memory_new(0) : NULL;
    rig->fs = in_memory ? file_system_failing_new(rig->memory) : file_system_real();
    rig->clock = clock_simulated_new(NOW_MS);
    random_seed(&rig->random, 7);
    rig_start(rig);
    return rig;
}

static void rig_free(struct rig *rig)
{
    rig_stop(rig);
    clock_free(rig->clock);
    file_system_free(rig->fs);
    file_system_free(rig->memory);
    mem_free(rig);
}

static int rig_setup(void **state)
{
    *state = rig_new(DIR, true);
    return 0;
}

static int rig_teardown(void **state)
{
    rig_free(*state);
    return 0;
}

/* ---- blocks ---- */

struct plan_block {
    int64_t start_ms, end_ms;
    uint32_t series; /* 0 .. series - 1 have one sample each minute */
    double value;
    const char *class; /* NULL: default */
    struct block_missing *missing;
    struct ulid *source; /* NULL: itself */
};

static struct ulid add_block(struct rig *rig, const struct plan_block *plan)
{
    struct block_meta meta = {.min_time_ms = plan->start_ms,
                              .max_time_ms = plan->end_ms,
                              .level = 1,
                              .missing = plan->missing,
                              .missing_count = plan->missing ? 1 : 0,
                              .sources = plan->source,
                              .source_count = plan->source ? 1 : 0};
    clock_simulated_advance(rig->clock, 1);
    meta.ulid = ulid_new(clock_wall_ms(rig->clock), &rig->random);
    snprintf(meta.class, sizeof(meta.class), "%s", plan->class ? plan->class : "default");
    struct block_rows rows = {0};
    for (uint32_t series = 0; series < plan->series; series++) {
        for (int64_t at_ms = plan->start_ms; at_ms < plan->end_ms; at_ms += 60000) {
            struct entry entry = {.sample = {at_ms + 1000, plan->value}, .count = 4, .resolution_ms = 60000};
            block_rows_add(&rows, series, &entry);
        }
    }
    assert_int_equal(block_rows_write(blocks_dirs(rig->blocks), &meta, &rows), 0);
    block_rows_done(&rows);
    assert_int_equal(blocks_publish(rig->blocks, &meta.ulid, NULL, 0, NULL), 0);
    return meta.ulid;
}

static struct ulid add_hours(struct rig *rig, int from, int to, double value)
{
    const struct plan_block plan = {.start_ms = from * HOUR_MS, .end_ms = to * HOUR_MS, .series = 4, .value = value};
    return add_block(rig, &plan);
}

static struct blocks_list all_blocks(struct rig *rig)
{
    struct blocks_list list;
    blocks_in_range(rig->blocks, INT64_MIN, INT64_MAX, &list);
    return list;
}

static size_t served(struct rig *rig)
{
    struct blocks_stats stats;
    blocks_stats(rig->blocks, &stats);
    return stats.served;
}

static struct compact_stats stats_of(struct rig *rig)
{
    struct compact_stats stats;
    compact_stats(rig->compact, &stats);
    return stats;
}

static void read_only_block(struct rig *rig, struct block_read **ret_read)
{
    CLEANUP(blocks_list_free) struct blocks_list list = all_blocks(rig);
    assert_int_equal(list.count, 1);
    *ret_read = mem_zalloc(sizeof(**ret_read));
    assert_int_equal(block_rows_read_block(list.items[0], NULL, NULL, *ret_read), 0);
}

static uint64_t request(struct rig *rig, const char *match, int64_t start_ms, int64_t end_ms)
{
    const struct deletion deletion = {
        .match = (char *)match, .who = "ann", .why = "test", .start_ms = start_ms, .end_ms = end_ms};
    char error[256];
    uint64_t id = 0;
    assert_int_equal(deletions_request(rig->deletions, &deletion, error, &id), 0);
    return id;
}

static void step_is(struct rig *rig, int expected)
{
    assert_int_equal(compact_step(rig->compact, 48 * HOUR_MS), expected);
}

/* ---- the result ---- */

static bool names(const struct ulid *list, size_t count, const struct ulid *ulid)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i].text, ulid->text) == 0) {
            return true;
        }
    }
    return false;
}

static void test_meta(void **state)
{
    struct rig *rig = *state;
    struct block_missing gap = {5, 6, "the log was damaged"}, other = {7, 8, "the log was damaged"};
    struct ulid a = add_block(rig, &(struct plan_block){0, 2 * HOUR_MS, 2, 1, NULL, &gap, NULL});
    struct ulid b = add_block(rig, &(struct plan_block){2 * HOUR_MS, 4 * HOUR_MS, 3, 1, NULL, &gap, NULL});
    struct ulid c = add_block(rig, &(struct plan_block){9 * HOUR_MS, 10 * HOUR_MS, 1, 1, NULL, &other, &a});
    add_block(rig, &(struct plan_block){0, 2 * HOUR_MS, 2, 1, "bulk", NULL, NULL});
    assert_int_equal(compact_step(rig->compact, 8 * HOUR_MS), 1); /* a and b */
    assert_int_equal(compact_step(rig->compact, 8 * HOUR_MS), 0);
    assert_int_equal(served(rig), 3);
    uint64_t id = request(rig, "{host=\"999\"}", INT64_MIN, INT64_MAX);
    step_is(rig, 1); /* with c */
    assert_int_equal(served(rig), 2);
    CLEANUP(blocks_list_free) struct blocks_list list = all_blocks(rig);
    const struct block_meta *meta = block_meta_of(list.items[0]);
    meta = strcmp(meta->class, "bulk") == 0 ? block_meta_of(list.items[1]) : meta;
    assert_string_equal(meta->class, "default");
    assert_true(meta->level == 3 && meta->min_time_ms == 0 && meta->max_time_ms == 10 * HOUR_MS);
    assert_true(meta->source_count == 2 && names(meta->sources, 2, &a) && names(meta->sources, 2, &b));
    assert_true(meta->parent_count == 2 && names(meta->parents, 2, &c) && !names(meta->parents, 2, &a));
    assert_true(meta->missing_count == 2 && meta->deletion == id && !meta->from_late);
    assert_true(meta->sample_count == 2 * 120 + 3 * 120 + 60 && meta->series_count == 3);
    struct compact_stats stats = stats_of(rig);
    assert_true(stats.units_total == 2 && stats.failed_total == 0 && stats.source_bytes_total > 0);
    assert_true(stats.result_bytes_total > 0 && stats.samples_total == 600 + 660);
    char reason[BLOCK_REASON_BYTES];
    assert_int_equal(block_verify(list.items[0], NULL, NULL, reason), 0);
}

/* Of two records of equal count and time that of the older block stays, whatever the order of labels. */
static void test_age(void **state)
{
    struct rig *rig = *state;
    add_hours(rig, 0, 2, 1);
    add_hours(rig, 0, 2, 2);
    add_hours(rig, 0, 2, 3);
    step_is(rig, 1);
    step_is(rig, 0);
    struct block_read *read;
    read_only_block(rig, &read);
    for (size_t i = 0; i < read->series[3].count; i++) {
        assert_true(read->series[3].items[i].sample.value == 1);
    }
    block_read_free(read);
}

/* ---- deletions ---- */

static bool file_has(struct rig *rig, const char *name, const char *text)
{
    CLEANUP(blocks_list_free) struct blocks_list list = all_blocks(rig);
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(16 * MIB);
    char path[160];
    snprintf(path, sizeof(path), DIR "/blocks/%s/%s", block_meta_of(list.items[0])->ulid.text, name);
    assert_int_equal(file_read_whole(rig->memory, path, &bytes), 0);
    return memmem(bytes.data, bytes.len, text, strlen(text)) != NULL;
}

/* Of a series that is deleted whole no text is left; of one that is deleted in part the rest is. */
static void test_deleted(void **state)
{
    struct rig *rig = *state;
    add_hours(rig, 0, 2, 1);
    assert_true(file_has(rig, "index", "002") && file_has(rig, "index", "003"));
    request(rig, "{host=\"002\"}", 0, 2 * HOUR_MS);
    request(rig, "{host=\"003\"}", 0, HOUR_MS - 1);
    assert_int_equal(compact_oldest_deletion(rig->compact), 1);
    step_is(rig, 1);
    step_is(rig, 0);
    assert_int_equal(compact_oldest_deletion(rig->compact), 0);
    assert_false(file_has(rig, "index", "002"));
    assert_true(file_has(rig, "index", "003"));
    struct block_read *read;
    read_only_block(rig, &read);
    assert_true(read->series[2].count == 0 && read->series[3].count == 60 && read->series[1].count == 120);
    assert_int_equal(read->series[3].items[0].sample.time_ms, HOUR_MS + 1000);
    block_read_free(read);
}

static void test_all_deleted(void **state)
{
    struct rig *rig = *state;
    add_hours(rig, 0, 2, 1);
    add_hours(rig, 2, 4, 1);
    request(rig, "metric", INT64_MIN, INT64_MAX);
    step_is(rig, 1);
    assert_int_equal(served(rig), 0);
    step_is(rig, 0);
    rig_stop(rig);
    rig_start(rig);
    assert_int_equal(served(rig), 0);
    assert_int_equal(compact_oldest_deletion(rig->compact), 0);
}

/* A deletion that selects nothing of a block does not cost its writing; the next one that does, does. */
static void test_not_concerned(void **state)
{
    struct rig *rig = *state;
    struct ulid ulid = add_hours(rig, 0, 2, 1);
    request(rig, "{host=\"999\"}", 0, HOUR_MS);
    request(rig, "{host=\"000\"}", 10 * HOUR_MS, 20 * HOUR_MS);
    assert_int_equal(compact_oldest_deletion(rig->compact), 1);
    step_is(rig, 1);
    assert_int_equal(compact_oldest_deletion(rig->compact), 0);
    step_is(rig, 0);
    CLEANUP(blocks_list_free) struct blocks_list list = all_blocks(rig);
    assert_string_equal(block_meta_of(list.items[0])->ulid.text, ulid.text);
    assert_int_equal(stats_of(rig).units_total, 0);
    uint64_t id = request(rig, "{host=\"000\"}", 0, HOUR_MS);
    assert_int_equal(compact_oldest_deletion(rig->compact), id);
    step_is(rig, 1);
    assert_int_equal(stats_of(rig).units_total, 1);
    assert_int_equal(compact_oldest_deletion(rig->compact), 0);
}

/* A block whose time the head still adds to is rewritten for a deletion all the same. */
static void test_of_head(void **state)
{
    struct rig *rig = *state;
    add_hours(rig, 0, 2, 1);
    request(rig, "{host=\"000\"}", 0, HOUR_MS);
    assert_int_equal(compact_step(rig->compact, 0), 1);
    assert_int_equal(compact_step(rig->compact, 0), 0);
    struct block_read *read;
    read_only_block(rig, &read);
    assert_int_equal(read->series[0].count, 60); /* the first that stays is that of 01:00:01 */
    block_read_free(read);
}

/* ---- failure ---- */

static void test_failing_unit(void **state)
{
    struct rig *rig = *state;
    add_hours(rig, 0, 2, 1);
    add_hours(rig, 1, 2, 1);
    add_hours(rig, 40, 42, 1);
    add_hours(rig, 41, 42, 1);
    file_system_failing_at(rig->fs, 3, -ENOSPC, true);
    step_is(rig, 1); /* fails */
    struct compact_stats stats = stats_of(rig);
    assert_true(stats.failed_total == 1 && stats.failing == 1 && stats.units_total == 0);
    assert_string_equal(stats.last_failure, "No space left on device");
    assert_int_equal(served(rig), 4);
    assert_int_equal(compact_step(rig->compact, 42 * HOUR_MS), 1); /* the rest goes on */
    assert_int_equal(stats_of(rig).units_total, 1);
    assert_int_equal(served(rig), 3);
    assert_int_equal(compact_step(rig->compact, 42 * HOUR_MS), 0);
    assert_int_equal(stats_of(rig).failing, 1);
    clock_simulated_advance(rig->clock, 59999);
    assert_int_equal(compact_step(rig->compact, 42 * HOUR_MS), 0);
    clock_simulated_advance(rig->clock, 1);
    assert_int_equal(compact_step(rig->compact, 42 * HOUR_MS), 1);
    assert_int_equal(served(rig), 2);
    assert_int_equal(compact_step(rig->compact, 42 * HOUR_MS), 0);
    assert_int_equal(stats_of(rig).failing, 0);
}

/* Each write failing, once or from then on: nothing is left of the try, and it is done when there is room. */
static void test_failing_everywhere(void **state)
{
    struct rig *rig = *state;
    bool failed = true;
    for (uint64_t nth = 1, round = 0; failed; nth += round % 2, round++) {
        add_hours(rig, 0, 2, 1);
        add_hours(rig, 1, 2, 1);
        file_system_failing_at(rig->fs, nth, nth % 2 ? -ENOSPC : -EIO, round % 2);
        step_is(rig, 1);
        file_system_failing_at(rig->fs, 0, -EIO, true);
        failed = stats_of(rig).failed_total > 0;
        assert_int_equal(served(rig), failed ? 2 : 1);
        assert_true(failed || nth > 15);
        clock_simulated_advance(rig->clock, 60000);
        if (failed) {
            step_is(rig, 1);
        }
        assert_int_equal(served(rig), 1);
        rig_stop(rig);
        rig_start(rig);
        assert_int_equal(served(rig), 1);
        CLEANUP(blocks_list_free) struct blocks_list blocks = all_blocks(rig);
        assert_int_equal(blocks_remove(rig->blocks, &block_meta_of(blocks.items[0])->ulid, 1, "test"), 0);
        blocks_list_free(&blocks);
        blocks_sweep(rig->blocks);
        char **list;
        size_t count;
        assert_int_equal(file_list(rig->memory, DIR "/blocks", &list, &count), 0);
        assert_int_equal(count, 0);
        file_names_free(list, count);
    }
}

/* Where there is not enough room for the result, nothing is begun. */
static void test_no_room(void **state)
{
    struct rig *rig = *state;
    add_hours(rig, 0, 2, 1);
    add_hours(rig, 1, 2, 1);
    const struct compact_options options = {.blocks = rig->blocks,
                                            .clock = rig->clock,
                                            .random = &rig->random,
                                            .levels_ms = {2 * HOUR_MS},
                                            .level_count = 1,
                                            .unit_bytes_max = GIB,
                                            .free_bytes_min = (uint64_t)1 << 50};
    CLEANUP(compact_freep) struct compact *compact = compact_new(&options);
    uint64_t before = file_system_failing_count(rig->fs);
    assert_int_equal(compact_step(compact, INT64_MAX), 1);
    assert_int_equal(file_system_failing_count(rig->fs), before);
    struct compact_stats stats;
    compact_stats(compact, &stats);
    assert_true(stats.failed_total == 1 && served(rig) == 2);
    assert_non_null(strstr(stats.last_failure, "are free"));
}

/* A damaged source is set aside by the unit that met it; the others are merged without it. */
static void test_damaged_source(void **state)
{
    struct rig *rig = *state;
    add_hours(rig, 0, 2, 1);
    struct ulid bad = add_hours(rig, 2, 4, 1);
    add_hours(rig, 4, 6, 1);
    char path[160];
    snprintf(path, sizeof(path), DIR "/blocks/%s/chunks/000001", bad.text);
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(16 * MIB), warnings = BUF_INIT(MIB);
    assert_int_equal(file_read_whole(rig->memory, path, &bytes), 0);
    rig_stop(rig);
    bytes.data[bytes.len - 6] ^= 1;
    assert_int_equal(file_write_whole(rig->memory, path, bytes.data, bytes.len), 0);
    rig_start(rig);
    assert_int_equal(served(rig), 3);
    step_is(rig, 1);
    assert_int_equal(served(rig), 2);
    struct compact_stats stats = stats_of(rig);
    assert_true(stats.failed_total == 1 && strstr(stats.last_failure, bad.text) && strstr(stats.last_failure, "chunk"));
    step_is(rig, 1);
    step_is(rig, 0);
    assert_true(served(rig) == 1 && stats_of(rig).units_total == 1 && stats_of(rig).failing == 0);
    blocks_warnings(rig->blocks, INT64_MIN, INT64_MAX, &warnings);
    buf_append_byte(&warnings, 0);
    assert_non_null(strstr((const char *)warnings.data, bad.text));
    assert_non_null(strstr((const char *)warnings.data, "000001"));
}

static void test_cancelled(void **state)
{
    struct rig *rig = *state;
    add_hours(rig, 0, 2, 1);
    add_hours(rig, 1, 2, 2);
    unsigned cancelled = 0;
    int r = -ECANCELED;
    for (int64_t asks = 0; r == -ECANCELED; asks++) {
        rig->asks_left = asks;
        r = compact_step(rig->compact, 48 * HOUR_MS);
        rig->asks_left = -1;
        cancelled += r == -ECANCELED;
        char **list;
        size_t count;
        assert_int_equal(file_list(rig->memory, DIR "/blocks", &list, &count), 0);
        assert_int_equal(count, r == 1 ? 1 : 2);
        file_names_free(list, count);
    }
    assert_true(r == 1 && cancelled > 8);
    assert_true(stats_of(rig).failed_total == 0 && served(rig) == 1);
}

/* ---- for Prometheus to read ---- */

static int write_command(const char *dir)
{
    struct rig *rig = rig_new(dir, false);
    for (int hour = 0; hour < 8; hour++) { /* each overlaps the one before */
        struct plan_block plan = {.start_ms = hour * HOUR_MS, .end_ms = (hour + 2) * HOUR_MS, .series = 30};
        plan.value = hour * 1.25;
        add_block(rig, &plan);
    }
    request(rig, "{host=\"011\"}", INT64_MIN, INT64_MAX);
    request(rig, "{parity=\"0\"}", 2 * HOUR_MS, 3 * HOUR_MS);
    while (compact_step(rig->compact, 48 * HOUR_MS) > 0) {
    }
    struct blocks_list list = all_blocks(rig);
    printf("%s\n", list.count == 1 ? block_meta_of(list.items[0])->ulid.text : "");
    blocks_list_free(&list);
    rig_free(rig);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write") == 0) {
        return write_command(argv[2]);
    }
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_meta),          TEST(test_age),
        TEST(test_deleted),       TEST(test_all_deleted),
        TEST(test_not_concerned), TEST(test_of_head),
        TEST(test_failing_unit),  TEST(test_failing_everywhere),
        TEST(test_no_room),       TEST(test_damaged_source),
        TEST(test_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
