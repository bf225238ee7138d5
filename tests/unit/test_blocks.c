/* The blocks of a store: what is taken in and goes, what is named after restarts and crashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "blocks_rig.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- in and out ---- */

static void test_publish(void **state)
{
    struct rig *rig = *state;
    struct ulid late = add_block(rig, 4), early = add_block(rig, 0);
    struct blocks_list list;
    blocks_in_range(rig->blocks, 0, INT64_MAX, &list);
    assert_int_equal(list.count, 2);
    assert_string_equal(block_meta_of(list.items[0])->ulid.text, early.text);
    assert_string_equal(block_meta_of(list.items[1])->ulid.text, late.text);
    blocks_list_free(&list);
    static const struct {
        int64_t start_ms, end_ms;
        size_t count;
    } rows[] = {{-5, -1, 0},
                {-5, 0, 1},
                {2 * HOUR_MS - 1, 2 * HOUR_MS, 1},
                {2 * HOUR_MS, 4 * HOUR_MS - 1, 0},
                {0, 4 * HOUR_MS, 2},
                {6 * HOUR_MS, INT64_MAX, 0}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        blocks_in_range(rig->blocks, rows[i].start_ms, rows[i].end_ms, &list);
        assert_int_equal(list.count, rows[i].count);
        blocks_list_free(&list);
    }
    struct blocks_stats stats = stats_of(rig);
    assert_true(stats.served == 2 && stats.samples == 720 && stats.series == 6 && stats.disk_bytes > 0);
    assert_true(stats.min_time_ms == 0 && stats.max_time_ms == 6 * HOUR_MS && stats.published_total == 2);
    assert_int_equal(blocks_publish(rig->blocks, &late, NULL, 0, NULL), -EEXIST);
    rig_reopen(rig);
    assert_true(is_served(rig, &late) && is_served(rig, &early));
    assert_int_equal(rig->events.len, 0);
    struct block_status *status;
    size_t count;
    blocks_status(rig->blocks, &status, &count);
    assert_int_equal(count, 2);
    assert_string_equal(status[0].meta.ulid.text, early.text);
    assert_true(status[0].state == BLOCK_SERVED && status[0].disk_bytes > 0);
    blocks_status_free(status, count);
}

/* A block that is read lives on, files and all, until its reader has gone. */
static void test_replace(void **state)
{
    struct rig *rig = *state;
    struct ulid before = add_block(rig, 0), after = write_block(rig, 0, &before);
    struct block *reader = find(rig, &before);
    assert_int_equal(blocks_publish(rig->blocks, &after, &reader, 1, NULL), 0);
    assert_true(is_served(rig, &after) && !is_served(rig, &before));
    assert_true(exists(rig, "blocks", &before) && exists(rig, "aggregates", &before));
    struct block_read *read = mem_zalloc(sizeof(*read));
    assert_int_equal(block_rows_read_block(reader, NULL, NULL, read), 0);
    assert_int_equal(read->series[2].count, 120);
    block_read_free(read);
    blocks_sweep(rig->blocks);
    assert_true(exists(rig, "blocks", &before));
    assert_int_equal(stats_of(rig).leaving, 1);
    assert_int_equal(blocks_publish(rig->blocks, NULL, &reader, 1, "test"), -ESTALE);
    block_unref(reader);
    blocks_sweep(rig->blocks);
    assert_false(exists(rig, "blocks", &before) || exists(rig, "aggregates", &before));
    assert_int_equal(stats_of(rig).leaving, 0);
    assert_int_equal(stats_of(rig).replaced_total, 1);
}

/* Replaced, but the process ended before its files went. */
static void test_replaced_at_start(void **state)
{
    struct rig *rig = *state;
    struct ulid before = add_block(rig, 0), after = write_block(rig, 0, &before);
    struct block *reader = find(rig, &before);
    assert_int_equal(blocks_publish(rig->blocks, &after, &reader, 1, NULL), 0);
    blocks_close(rig->blocks);
    block_unref(reader);
    assert_true(exists(rig, "blocks", &before));
    rig_open(rig);
    assert_true(is_served(rig, &after) && !is_served(rig, &before) && !exists(rig, "blocks", &before));
    assert_int_equal(rig->events.len, 0);

    struct ulid written = write_block(rig, 0, &after); /* and before it was published */
    rig_reopen(rig);
    assert_true(is_served(rig, &written) && !is_served(rig, &after) && !exists(rig, "blocks", &after));
    assert_true(heard(rig, "made of it"));
    warned(rig, 0, INT64_MAX, NULL);
    rig_reopen(rig);
    assert_int_equal(rig->events.len, 0);
    assert_int_equal(stats_of(rig).served, 1);
}

/* Deleted, and put back by somebody while the process was down: it is served. */
static void test_put_back_by_hand(void **state)
{
    struct rig *rig = *state;
    struct ulid ulid = add_block(rig, 0);
    assert_int_equal(blocks_remove(rig->blocks, &ulid, 1, "test"), 0);
    write_as(rig, 0, (struct block_meta){.ulid = ulid});
    rig_reopen(rig);
    assert_true(is_served(rig, &ulid) && heard(rig, "taken in"));
}

/* What was deleted and is still read does not come back at the next start. */
static void test_removed_stays_gone(void **state)
{
    struct rig *rig = *state;
    struct ulid ulid = add_block(rig, 0), other = add_block(rig, 2), none = {"01ARYZ6S41TSV4RRFFQ69G5FAV"};
    struct block *reader = find(rig, &ulid);
    const struct ulid names[] = {ulid, none};
    assert_int_equal(blocks_remove(rig->blocks, names, 2, "older than 30d"), 0);
    assert_true(heard(rig, "goes: older than 30d"));
    assert_true(exists(rig, "blocks", &ulid) && !is_served(rig, &ulid));
    blocks_close(rig->blocks);
    block_unref(reader);
    rig_open(rig);
    assert_true(!is_served(rig, &ulid) && !exists(rig, "blocks", &ulid) && is_served(rig, &other));
    assert_int_equal(rig->events.len, 0);
}

/* Copied from elsewhere: taken in; names that are none: left alone; leftovers: gone. */
static void test_others(void **state)
{
    struct rig *rig = *state;
    struct ulid ulid = write_block(rig, 0, NULL);
    assert_int_equal(file_make_dirs(rig->memory, DIR "/blocks/lost+found"), 0);
    assert_int_equal(file_make_dirs(rig->memory, DIR "/blocks/01ARYZ6S41TSV4RRFFQ69G5FAV.tmp-for-creation/chunks"), 0);
    rig_reopen(rig);
    assert_true(is_served(rig, &ulid));
    assert_true(heard(rig, "was not in blocks.json: taken in") && heard(rig, "lost+found is no block: left alone"));
    assert_int_equal(file_exists(rig->memory, DIR "/blocks/lost+found"), 1);
    assert_int_equal(file_exists(rig->memory, DIR "/blocks/01ARYZ6S41TSV4RRFFQ69G5FAV.tmp-for-creation"), 0);
    rig_reopen(rig);
    assert_false(heard(rig, "taken in"));
}

static uint64_t deletion_of(struct rig *rig, const struct ulid *ulid)
{
    CLEANUP(block_unrefp) struct block *block = find(rig, ulid);
    assert_non_null(block);
    return block_meta_of(block)->deletion;
}

/* Numbers of deletions are a store's own: those of a block that lay there mean nothing, also after restarts and damage.
 */
static void test_deletions_of_others(void **state)
{
    struct rig *rig = *state;
    struct ulid ours = write_as(rig, 0, (struct block_meta){.deletion = 5});
    assert_int_equal(blocks_publish(rig->blocks, &ours, NULL, 0, NULL), 0);
    struct ulid copied = write_as(rig, 2, (struct block_meta){.deletion = 5});
    for (int i = 0; i < 3; i++) {
        rig_reopen(rig);
        assert_true(deletion_of(rig, &ours) == 5 && deletion_of(rig, &copied) == 0);
    }
    clock_simulated_advance(rig->clock, 2 * HOUR_MS);
    struct block *block = find(rig, &copied);
    blocks_met_error(rig->blocks, block, -EIO);
    block_unref(block);
    assert_int_equal(blocks_scrub_step(rig->blocks, NULL, NULL), 1);
    assert_int_equal(deletion_of(rig, &copied), 0);
    rig_reopen(rig);
    assert_int_equal(deletion_of(rig, &copied), 0);
}

/* ---- blocks.json ---- */

static void test_catalog_lost(void **state)
{
    struct rig *rig = *state;
    struct ulid good = add_block(rig, 0), bad = add_block(rig, 2);
    struct block *block = find(rig, &bad);
    blocks_set_aside(rig->blocks, block, "test");
    block_unref(block);
    assert_int_equal(file_unlink(rig->memory, DIR "/blocks.json"), 0);
    rig_reopen(rig);
    assert_true(heard(rig, "blocks.json is made anew from the blocks that are there: 1, and 1 damaged"));
    assert_true(is_served(rig, &good));
    check_aside(rig, &bad, "before blocks.json was lost");
}

static void test_catalog_damaged(void **state)
{
    struct rig *rig = *state;
    struct ulid good = add_block(rig, 0), bad = add_block(rig, 2);
    struct block *block = find(rig, &bad);
    blocks_set_aside(rig->blocks, block, "test");
    block_unref(block);
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(MIB);
    assert_int_equal(file_read_whole(rig->memory, DIR "/blocks.json", &bytes), 0);
    for (size_t i = 0; i < bytes.len; i += 7) { /* cut, and flipped, everywhere */
        size_t len = i % 2 ? i : bytes.len;
        bytes.data[i] ^= 1;
        assert_int_equal(file_write_whole(rig->memory, DIR "/blocks.json", bytes.data, len), 0);
        bytes.data[i] ^= 1;
        rig_reopen(rig);
        bool whole = len == bytes.len && !heard(rig, "damaged ("); /* a byte of the seal's own name, or white space */
        assert_true(whole || heard(rig, "blocks.json is damaged ("));
        assert_true(is_served(rig, &good));
        check_aside(rig, &bad, whole ? "test" : "before blocks.json was lost");
        rig_reopen(rig);
        assert_int_equal(rig->events.len, 0);
    }
    assert_int_equal(file_exists(rig->memory, DIR "/blocks.json.damaged"), 1);
}

/* Of a later version: nothing is touched. */
static void test_catalog_newer(void **state)
{
    struct rig *rig = *state;
    static const char text[] = "{\"version\":2,\"anything\":[]}";
    struct ulid ulid = add_block(rig, 0);
    assert_int_equal(file_write_whole(rig->memory, DIR "/blocks.json", text, strlen(text)), 0);
    struct blocks *blocks = NULL;
    assert_int_equal(blocks_open(rig->fs, rig->clock, DIR, &blocks), -ENOTSUP);
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(MIB);
    assert_int_equal(file_read_whole(rig->memory, DIR "/blocks.json", &bytes), 0);
    assert_true(str_equal(buf_view(&bytes), str_from(text)));
    assert_true(exists(rig, "blocks", &ulid));
}

/* One from a backup: what it names was merged meanwhile, and is no loss. */
static void test_catalog_old(void **state)
{
    struct rig *rig = *state;
    struct ulid first = add_block(rig, 2);
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(MIB);
    assert_int_equal(file_read_whole(rig->memory, DIR "/blocks.json", &bytes), 0);
    struct ulid second = write_block(rig, 2, &first);
    struct block *block = find(rig, &first);
    assert_int_equal(blocks_publish(rig->blocks, &second, &block, 1, NULL), 0);
    block_unref(block);
    blocks_sweep(rig->blocks);
    assert_false(exists(rig, "blocks", &first));
    assert_int_equal(file_write_whole(rig->memory, DIR "/blocks.json", bytes.data, bytes.len), 0);
    rig_reopen(rig);
    warned(rig, INT64_MIN, INT64_MAX, NULL);
    assert_true(is_served(rig, &second));
    /* And merged again: what it is made of is known by its sources. */
    struct block_meta made = {.parents = &second, .parent_count = 1, .sources = &first, .source_count = 1};
    struct ulid third = write_as(rig, 2, made);
    block = find(rig, &second);
    assert_int_equal(blocks_publish(rig->blocks, &third, &block, 1, NULL), 0);
    block_unref(block);
    blocks_sweep(rig->blocks);
    assert_int_equal(file_write_whole(rig->memory, DIR "/blocks.json", bytes.data, bytes.len), 0);
    rig_reopen(rig);
    warned(rig, INT64_MIN, INT64_MAX, NULL);
    assert_true(is_served(rig, &third));
}

/* ---- failing disks ---- */

/* Each operation of a change fails once, or from then on: the change is done or not, nothing is lost, and after a
 * restart it is the same. */
static void replace_failing(struct rig *rig, uint64_t nth, int error, bool once)
{
    struct ulid before = add_block(rig, 0), after = write_block(rig, 0, &before);
    struct block *block = find(rig, &before);
    file_system_failing_at(rig->fs, nth, error, once);
    int r = blocks_publish(rig->blocks, &after, &block, 1, NULL);
    assert_true(r == 0 || r == error);
    assert_true(is_served(rig, &after) == (r == 0) && is_served(rig, &before) == (r != 0));
    block_unref(block);
    blocks_sweep(rig->blocks);
    assert_int_equal(stats_of(rig).served, 1);
    file_system_failing_at(rig->fs, 0, error, true);
    rig_reopen(rig);
    assert_int_equal(stats_of(rig).served, 1);
    warned(rig, INT64_MIN, INT64_MAX, NULL);
    struct ulid *ulid = is_served(rig, &after) ? &after : &before;
    struct block_read *read = mem_zalloc(sizeof(*read));
    block = find(rig, ulid);
    assert_int_equal(block_rows_read_block(block, NULL, NULL, read), 0);
    assert_true(read->series[0].count == 120 && read->series[2].count == 120);
    block_read_free(read);
    block_unref(block);
    assert_int_equal(blocks_remove(rig->blocks, ulid, 1, "test"), 0);
    assert_int_equal(stats_of(rig).served, 0);
}

static void test_failing_publish(void **state)
{
    struct rig *rig = *state;
    for (uint64_t nth = 1; nth <= 12; nth++) {
        replace_failing(rig, nth, -ENOSPC, true);
        replace_failing(rig, nth, -EIO, false);
    }
}

/* Set aside in memory though the disk refuses all. */
static void test_failing_set_aside(void **state)
{
    struct rig *rig = *state;
    for (uint64_t nth = 1; nth <= 10; nth++) {
        for (int once = 0; once < 2; once++) {
            struct ulid bad = add_block(rig, 2);
            struct block *block = find(rig, &bad);
            flip(rig, &bad, "chunks/000001", -5);
            file_system_failing_at(rig->fs, nth, -EIO, once);
            blocks_set_aside(rig->blocks, block, "test");
            block_unref(block);
            check_aside(rig, &bad, "(test)");
            file_system_failing_at(rig->fs, 0, -EIO, true);
            rig_reopen(rig);
            check_aside(rig, &bad, "(");
            assert_true(exists(rig, "damaged", &bad) && !exists(rig, "blocks", &bad));
            assert_int_equal(blocks_remove(rig->blocks, &bad, 1, "test"), 0);
        }
    }
}

/* A full disk at start: what is there is served. */
static void test_failing_start(void **state)
{
    struct rig *rig = *state;
    struct ulid good = add_block(rig, 0), bad = add_block(rig, 2);
    flip(rig, &bad, "index", 0);
    blocks_close(rig->blocks);
    file_system_failing_at(rig->fs, 1, -ENOSPC, false);
    rig_open(rig);
    assert_true(heard(rig, "blocks.json cannot be written") && is_served(rig, &good));
    check_aside(rig, &bad, "index");
    file_system_failing_at(rig->fs, 0, -ENOSPC, false);
    blocks_sweep(rig->blocks);
    rig_reopen(rig);
    assert_true(is_served(rig, &good));
    check_aside(rig, &bad, "index");
}

/* ---- many threads ---- */

#define REPLACEMENTS 150

struct crowd {
    struct rig *rig;
    _Atomic bool ends;
    _Atomic uint64_t looks;
};

/* One block is replaced by another again and again: a reader sees one of them, whole, at any time. */
static void *look_on(void *arg)
{
    struct crowd *crowd = arg;
    while (!atomic_load(&crowd->ends)) {
        struct blocks_list list;
        struct blocks_stats stats;
        CLEANUP(buf_done) struct buf warnings = BUF_INIT(MIB);
        blocks_in_range(crowd->rig->blocks, 0, HOUR_MS, &list);
        ASSERT(list.count == 1);
        struct block_read *read = mem_zalloc(sizeof(*read));
        ASSERT(block_rows_read_block(list.items[0], NULL, NULL, read) == 0);
        ASSERT(read->series[0].count == 120 && read->series[2].count == 120);
        block_read_free(read);
        blocks_list_free(&list);
        blocks_warnings(crowd->rig->blocks, 0, HOUR_MS, &warnings);
        blocks_stats(crowd->rig->blocks, &stats);
        ASSERT(warnings.len == 0 && stats.served >= 1);
        atomic_fetch_add(&crowd->looks, 1);
    }
    return NULL;
}

/* Others come and are set aside, checked, and listed. */
static void *disturb(void *arg)
{
    struct crowd *crowd = arg;
    while (!atomic_load(&crowd->ends)) {
        struct blocks_list list;
        blocks_in_range(crowd->rig->blocks, 10 * HOUR_MS, 12 * HOUR_MS - 1, &list);
        for (size_t i = 0; i < list.count; i++) {
            blocks_set_aside(crowd->rig->blocks, list.items[i], "test");
        }
        blocks_list_free(&list);
        int r = blocks_scrub_step(crowd->rig->blocks, NULL, NULL);
        ASSERT(r >= 0);
        struct block_status *status;
        size_t count;
        blocks_status(crowd->rig->blocks, &status, &count);
        blocks_status_free(status, count);
        blocks_sweep(crowd->rig->blocks);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct crowd crowd = {.rig = *state};
    struct rig *rig = *state;
    pthread_t threads[3];
    blocks_on_event(rig->blocks, NULL, NULL);
    struct ulid present = add_block(rig, 0);
    assert_int_equal(pthread_create(&threads[0], NULL, look_on, &crowd), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, look_on, &crowd), 0);
    assert_int_equal(pthread_create(&threads[2], NULL, disturb, &crowd), 0);
    for (int i = 0; i < REPLACEMENTS; i++) {
        struct ulid next = write_block(rig, 0, &present);
        struct block *block = find(rig, &present);
        assert_int_equal(blocks_publish(rig->blocks, &next, &block, 1, NULL), 0);
        block_unref(block);
        present = next;
        if (i % 20 == 0) {
            add_block(rig, 10);
        }
    }
    atomic_store(&crowd.ends, true);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    assert_true(atomic_load(&crowd.looks) > 0);
    blocks_sweep(rig->blocks);
    assert_int_equal(stats_of(rig).leaving, 0);
    blocks_on_event(rig->blocks, hear, rig);
    rig_reopen(rig);
    assert_true(is_served(rig, &present));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_publish),
        RIG_TEST(test_replace),
        RIG_TEST(test_replaced_at_start),
        RIG_TEST(test_removed_stays_gone),
        RIG_TEST(test_put_back_by_hand),
        RIG_TEST(test_others),
        RIG_TEST(test_deletions_of_others),
        RIG_TEST(test_catalog_lost),
        RIG_TEST(test_catalog_damaged),
        RIG_TEST(test_catalog_newer),
        RIG_TEST(test_catalog_old),
        RIG_TEST(test_failing_publish),
        RIG_TEST(test_failing_set_aside),
        RIG_TEST(test_failing_start),
        RIG_TEST(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
