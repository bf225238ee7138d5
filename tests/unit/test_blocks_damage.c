/* Blocks that are damaged, missing or met with an error: what is set aside, what comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "blocks_rig.h"

static void test_set_aside(void **state)
{
    struct rig *rig = *state;
    struct ulid good = add_block(rig, 0), bad = add_block(rig, 2);
    struct block *block = find(rig, &bad);
    blocks_set_aside(rig->blocks, block, "chunks/000001: torn");
    blocks_set_aside(rig->blocks, block, "again");
    assert_int_equal(stats_of(rig).set_aside_total, 1);
    assert_true(heard(rig, "is damaged and set aside: chunks/000001: torn") && !heard(rig, "again"));
    block_unref(block);
    check_aside(rig, &bad, "(chunks/000001: torn)");
    assert_true(exists(rig, "damaged", &bad) && exists(rig, "damaged/aggregates", &bad));
    assert_false(exists(rig, "blocks", &bad) || exists(rig, "aggregates", &bad));
    rig_reopen(rig);
    assert_int_equal(rig->events.len, 0);
    check_aside(rig, &bad, "(chunks/000001: torn)");
    assert_true(is_served(rig, &good));
    struct block_status *status;
    size_t count;
    blocks_status(rig->blocks, &status, &count);
    assert_int_equal(count, 2);
    assert_true(status[1].state == BLOCK_DAMAGED && status[1].meta.sample_count == 360 && status[1].disk_bytes > 0);
    assert_true(status[1].damaged_at_ms == clock_wall_ms(rig->clock));
    assert_string_equal(status[1].meta.class, "default");
    blocks_status_free(status, count);
    assert_int_equal(blocks_forget(rig->blocks, &good), -ENOENT);
    assert_int_equal(blocks_forget(rig->blocks, &bad), 0);
    warned(rig, INT64_MIN, INT64_MAX, NULL);
    rig_reopen(rig);
    warned(rig, INT64_MIN, INT64_MAX, NULL);
    assert_true(exists(rig, "damaged", &bad)); /* for people */
}

/* Put back whole by somebody: served again. Put back damaged: aside again. */
static void test_restored(void **state)
{
    struct rig *rig = *state;
    add_block(rig, 0);
    struct ulid bad = add_block(rig, 2);
    struct block *block = find(rig, &bad);
    blocks_set_aside(rig->blocks, block, "test");
    block_unref(block);
    move_block(rig, &bad, "damaged", "blocks");
    move_block(rig, &bad, "damaged/aggregates", "aggregates");
    rig_reopen(rig);
    assert_true(heard(rig, "is whole again") && is_served(rig, &bad));
    warned(rig, INT64_MIN, INT64_MAX, NULL);
    rig_reopen(rig);
    assert_int_equal(rig->events.len, 0);
    block = find(rig, &bad);
    blocks_set_aside(rig->blocks, block, "the first reason");
    block_unref(block);
    move_block(rig, &bad, "damaged", "blocks");
    move_block(rig, &bad, "damaged/aggregates", "aggregates");
    flip(rig, &bad, "chunks/000001", -5); /* opens, but is not whole */
    rig_reopen(rig);
    check_aside(rig, &bad, "the first reason");
    assert_true(exists(rig, "damaged", &bad) && !exists(rig, "blocks", &bad));
}

/* A table of what may happen to a block between two starts. */
static void test_damage_at_start(void **state)
{
    struct rig *rig = *state;
    static const struct {
        const char *file; /* NULL: all of it is away; flipped: this byte of it */
        int64_t at;
        const char *reason;
    } rows[] = {
        {NULL, 0, "its directory is missing"},
        {"meta.json", 40, "meta.json"},
        {"tributary.json", 40, "tributary.json"},
        {"index", 0, "index"},
        {"index", -1, "index"},
        {"chunks/000001", 0, "chunks"},
        {"windows", 0, "windows"},
    };
    struct ulid good = add_block(rig, 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ulid bad = add_block(rig, 2);
        if (rows[i].file) {
            flip(rig, &bad, rows[i].file, rows[i].at);
        } else {
            move_block(rig, &bad, "blocks", "damaged"); /* anywhere else */
        }
        rig_reopen(rig);
        assert_true(heard(rig, bad.text) && heard(rig, "is damaged and set aside"));
        check_aside(rig, &bad, rows[i].reason);
        assert_true(is_served(rig, &good));
        rig_reopen(rig);
        assert_int_equal(rig->events.len, 0);
        check_aside(rig, &bad, rows[i].reason);
        assert_int_equal(blocks_remove(rig->blocks, &bad, 1, "test"), 0);
        assert_false(exists(rig, "damaged", &bad) || exists(rig, "damaged/aggregates", &bad));
        warned(rig, INT64_MIN, INT64_MAX, NULL);
    }
}

/* A damaged one that nobody named: its range from its meta, or all of time. */
static void test_damage_unnamed(void **state)
{
    struct rig *rig = *state;
    struct ulid bad = write_block(rig, 2, NULL);
    flip(rig, &bad, "index", 0);
    rig_reopen(rig);
    check_aside(rig, &bad, "index");
    struct ulid worse = write_block(rig, 2, NULL);
    flip(rig, &worse, "meta.json", 0);
    rig_reopen(rig);
    assert_int_equal(stats_of(rig).damaged, 2);
    warned(rig, 90000 * HOUR_MS, INT64_MAX, "of the beginning to the end is damaged");
}

/* Set aside, restored by a copy while the damaged one stays in its place, and set aside once more. */
static void test_damaged_twice(void **state)
{
    struct rig *rig = *state;
    struct ulid ulid = add_block(rig, 2);
    for (int round = 0; round < 2; round++) {
        struct block *block = find(rig, &ulid);
        blocks_set_aside(rig->blocks, block, "test");
        block_unref(block);
        check_aside(rig, &ulid, "test");
        assert_true(exists(rig, "damaged", &ulid) && !exists(rig, "blocks", &ulid) &&
                    !exists(rig, "aggregates", &ulid));
        write_as(rig, 2, (struct block_meta){.ulid = ulid});
        rig_reopen(rig);
        assert_true(is_served(rig, &ulid) && exists(rig, "damaged", &ulid));
    }
}

/* A damaged one that was to be deleted when the disk failed: at the next start it goes. */
static void test_damaged_leaving(void **state)
{
    struct rig *rig = *state;
    struct ulid bad = add_block(rig, 2);
    struct block *block = find(rig, &bad);
    blocks_set_aside(rig->blocks, block, "test");
    block_unref(block);
    file_system_failing_at(rig->fs, 5, -EIO, false); /* behind the four of blocks.json */
    assert_int_equal(blocks_remove(rig->blocks, &bad, 1, "test"), 0);
    blocks_close(rig->blocks);
    file_system_failing_at(rig->fs, 0, -EIO, false);
    assert_true(exists(rig, "damaged", &bad) && exists(rig, "damaged/aggregates", &bad));
    rig_open(rig);
    assert_int_equal(stats_of(rig).damaged, 0);
    assert_false(exists(rig, "damaged", &bad) || exists(rig, "damaged/aggregates", &bad));
    rig_reopen(rig);
    assert_int_equal(rig->events.len, 0);
}

/* The process ended before a block was published, and one that it was made of is damaged meanwhile: no loss. */
static void test_damaged_parent(void **state)
{
    struct rig *rig = *state;
    struct ulid before = add_block(rig, 2), after = write_block(rig, 2, &before);
    flip(rig, &before, "index", 0);
    rig_reopen(rig);
    assert_true(is_served(rig, &after) && !exists(rig, "blocks", &before) && !exists(rig, "damaged", &before));
    warned(rig, INT64_MIN, INT64_MAX, NULL);
}

/* Two that name each other as what they were made of: both stay. */
static void test_mutual_parents(void **state)
{
    struct rig *rig = *state;
    struct ulid a = {"01ARYZ6S41TSV4RRFFQ69G5FAV"}, b = {"01ARYZ6S41TSV4RRFFQ69G5FAW"};
    write_as(rig, 2, (struct block_meta){.ulid = a, .parents = &b, .parent_count = 1});
    write_as(rig, 4, (struct block_meta){.ulid = b, .parents = &a, .parent_count = 1});
    rig_reopen(rig);
    assert_true(is_served(rig, &a) && is_served(rig, &b));
}

/* What is known to be missing in a block that is served. */
static void test_missing(void **state)
{
    struct rig *rig = *state;
    struct block_missing gap = {3 * HOUR_MS, 3 * HOUR_MS + 5, "the log was damaged"};
    struct ulid ulid = write_as(rig, 2, (struct block_meta){.missing = &gap, .missing_count = 1});
    assert_int_equal(blocks_publish(rig->blocks, &ulid, NULL, 0, NULL), 0);
    warned(rig, 0, 3 * HOUR_MS - 1, NULL);
    warned(rig, 3 * HOUR_MS + 5, INT64_MAX, NULL);
    warned(rig, 0, 3 * HOUR_MS, "lacks data of 1970-01-01T03:00:00Z to 1970-01-01T03:00:00.005Z (the log was damaged)");
    warned(rig, 3 * HOUR_MS + 4, INT64_MAX, ulid.text);
}

/* The writing of a block failed, and it stands there all the same. */
static void test_discard(void **state)
{
    struct rig *rig = *state;
    struct ulid served = add_block(rig, 2), ulid = write_block(rig, 4, NULL), none = {"01ARYZ6S41TSV4RRFFQ69G5FAV"};
    blocks_discard(rig->blocks, &none);
    blocks_discard(rig->blocks, &served);
    file_system_failing_at(rig->fs, 1, -EIO, false);
    blocks_discard(rig->blocks, &ulid);
    file_system_failing_at(rig->fs, 0, -EIO, false);
    assert_true(exists(rig, "blocks", &ulid));
    add_block(rig, 8);
    rig_reopen(rig);
    assert_true(is_served(rig, &served) && !is_served(rig, &ulid) && !exists(rig, "blocks", &ulid));
    assert_int_equal(rig->events.len, 0);
    /* Named as leaving before it is deleted, which fails; then the process ends. */
    ulid = write_block(rig, 4, NULL);
    file_system_failing_at(rig->fs, 5, -EIO, false);
    blocks_discard(rig->blocks, &ulid);
    blocks_close(rig->blocks);
    file_system_failing_at(rig->fs, 0, -EIO, false);
    assert_true(exists(rig, "blocks", &ulid));
    rig_open(rig);
    assert_false(is_served(rig, &ulid) || exists(rig, "blocks", &ulid));
}

/* Found by a reader: what it is is found out behind it, also after a restart. */
static void test_reader_error(void **state)
{
    struct rig *rig = *state;
    struct ulid bad = add_block(rig, 2);
    struct block *block = find(rig, &bad);
    flip(rig, &bad, "chunks/000001", -5);
    static const int passing[] = {-EMFILE, -ENFILE, -ENOMEM, -ECANCELED};
    for (size_t i = 0; i < ARRAY_LEN(passing); i++) {
        blocks_met_error(rig->blocks, block, passing[i]);
        assert_true(is_served(rig, &bad));
    }
    blocks_met_error(rig->blocks, block, -EBADMSG);
    blocks_met_error(rig->blocks, block, -EIO);
    block_unref(block);
    check_aside(rig, &bad, "met when it was read: Bad message");
    rig_reopen(rig);
    check_aside(rig, &bad, "met when it was read: Bad message");
    clock_simulated_advance(rig->clock, 2 * HOUR_MS);
    assert_int_equal(blocks_scrub_step(rig->blocks, NULL, NULL), 1);
    assert_true(heard(rig, "chunks/000001"));
    check_aside(rig, &bad, "(chunks/000001");
    assert_int_equal(blocks_scrub_step(rig->blocks, NULL, NULL), 0);
    rig_reopen(rig);
    check_aside(rig, &bad, "(chunks/000001");
    assert_int_equal(blocks_scrub_step(rig->blocks, NULL, NULL), 0);
}

/* Whole after all: back in its place; a second time within the hour it stays aside. */
static void test_reader_was_wrong(void **state)
{
    struct rig *rig = *state;
    struct ulid ulid = add_block(rig, 2);
    clock_simulated_advance(rig->clock, 2 * HOUR_MS);
    struct block *block = find(rig, &ulid);
    blocks_met_error(rig->blocks, block, -EIO);
    block_unref(block);
    check_aside(rig, &ulid, "Input/output error");
    assert_int_equal(blocks_scrub_step(rig->blocks, NULL, NULL), 1);
    assert_true(is_served(rig, &ulid) && heard(rig, "served again"));
    assert_true(exists(rig, "blocks", &ulid) && exists(rig, "aggregates", &ulid) && !exists(rig, "damaged", &ulid));
    warned(rig, INT64_MIN, INT64_MAX, NULL);
    rig_reopen(rig);
    assert_int_equal(rig->events.len, 0);
    block = find(rig, &ulid);
    blocks_met_error(rig->blocks, block, -EIO);
    block_unref(block);
    assert_int_equal(blocks_scrub_step(rig->blocks, NULL, NULL), 1);
    check_aside(rig, &ulid, "Input/output error");
    assert_int_equal(blocks_scrub_step(rig->blocks, NULL, NULL), 0);
}

/* The disk fails while it goes back. */
static void test_failing_put_back(void **state)
{
    struct rig *rig = *state;
    for (uint64_t nth = 1; nth <= 12; nth++) {
        struct ulid ulid = add_block(rig, 2);
        clock_simulated_advance(rig->clock, 2 * HOUR_MS);
        struct block *block = find(rig, &ulid);
        blocks_met_error(rig->blocks, block, -EIO);
        block_unref(block);
        file_system_failing_at(rig->fs, nth, -EIO, nth % 2);
        assert_int_equal(blocks_scrub_step(rig->blocks, NULL, NULL), 1);
        bool back = is_served(rig, &ulid);
        blocks_close(rig->blocks);
        file_system_failing_at(rig->fs, 0, -EIO, false);
        rig_open(rig);
        if (is_served(rig, &ulid)) { /* or found whole in blocks/ at this start */
            warned(rig, INT64_MIN, INT64_MAX, NULL);
        } else {
            check_aside(rig, &ulid, "(");
            assert_false(back);
        }
        assert_int_equal(blocks_remove(rig->blocks, &ulid, 1, "test"), 0);
        assert_false(exists(rig, "damaged", &ulid) || exists(rig, "damaged/aggregates", &ulid));
        assert_false(exists(rig, "blocks", &ulid) || exists(rig, "aggregates", &ulid));
    }
}

static void test_scrub(void **state)
{
    struct rig *rig = *state;
    struct ulid good = add_block(rig, 0), bad = add_block(rig, 2);
    assert_int_equal(blocks_scrub_step(rig->blocks, NULL, NULL), 0); /* their writer has read them */
    flip(rig, &bad, "chunks/000001", -5);
    clock_simulated_advance(rig->clock, 24 * HOUR_MS - 100);
    assert_int_equal(blocks_scrub_step(rig->blocks, NULL, NULL), 0);
    clock_simulated_advance(rig->clock, 100);
    assert_int_equal(blocks_scrub_step(rig->blocks, NULL, NULL), 1);
    assert_int_equal(blocks_scrub_step(rig->blocks, NULL, NULL), 1);
    assert_int_equal(blocks_scrub_step(rig->blocks, NULL, NULL), 0);
    assert_true(is_served(rig, &good));
    check_aside(rig, &bad, "chunks/000001");
    assert_int_equal(stats_of(rig).scrubbed_total, 2);
    add_block(rig, 9); /* the stamps are written with it */
    rig_reopen(rig);
    assert_int_equal(blocks_scrub_step(rig->blocks, NULL, NULL), 0);
    struct ulid copied = write_block(rig, 20, NULL);
    rig_reopen(rig);
    assert_int_equal(blocks_scrub_step(rig->blocks, NULL, NULL), 1); /* nobody has read it here */
    assert_true(is_served(rig, &copied));
    assert_int_equal(blocks_scrub_step(rig->blocks, NULL, NULL), 0);
    clock_simulated_step_wall(rig->clock, -1000 * HOUR_MS); /* a clock that went back: once more, not for ever */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(blocks_scrub_step(rig->blocks, NULL, NULL), 1);
    }
    assert_int_equal(blocks_scrub_step(rig->blocks, NULL, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_set_aside),        RIG_TEST(test_restored),       RIG_TEST(test_damage_at_start),
        RIG_TEST(test_damage_unnamed),   RIG_TEST(test_damaged_twice),  RIG_TEST(test_damaged_leaving),
        RIG_TEST(test_damaged_parent),   RIG_TEST(test_mutual_parents), RIG_TEST(test_missing),
        RIG_TEST(test_discard),          RIG_TEST(test_reader_error),   RIG_TEST(test_reader_was_wrong),
        RIG_TEST(test_failing_put_back), RIG_TEST(test_scrub),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
