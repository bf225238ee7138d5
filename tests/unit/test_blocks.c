/* The blocks of a store: what is taken in, what is set aside, what is named after restarts and crashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "block_rows.h"

#include "base/str.h"

#include <pthread.h>
#include <stdatomic.h>

#define HOUR_MS INT64_C(3600000)
#define NOW_MS  INT64_C(1790000000000)
#define DIR     "/data"

struct rig {
    struct file_system *memory, *fs; /* fs may fail */
    struct clock *clock;
    struct random random;
    struct blocks *blocks;
    struct buf events;
};

static void hear(void *arg, const char *text)
{
    struct rig *rig = arg;
    buf_printf(&rig->events, "%s\n", text);
}

static void rig_open(struct rig *rig)
{
    assert_int_equal(blocks_open(rig->fs, rig->clock, DIR, &rig->blocks), 0);
    buf_reset(&rig->events);
    blocks_on_event(rig->blocks, hear, rig);
}

static void rig_reopen(struct rig *rig)
{
    blocks_close(rig->blocks);
    rig_open(rig);
}

static int rig_setup(void **state)
{
    struct rig *rig = mem_zalloc(sizeof(*rig));
    rig->memory = file_system_memory_new(0);
    rig->fs = file_system_failing_new(rig->memory);
    rig->clock = clock_simulated_new(NOW_MS);
    rig->events = BUF_INIT(MIB);
    random_seed(&rig->random, 7);
    rig_open(rig);
    assert_int_equal(rig->events.len, 0); /* a first start is nothing to speak of */
    *state = rig;
    return 0;
}

static int rig_teardown(void **state)
{
    struct rig *rig = *state;
    blocks_close(rig->blocks);
    clock_free(rig->clock);
    file_system_free(rig->fs);
    file_system_free(rig->memory);
    buf_done(&rig->events);
    mem_free(rig);
    return 0;
}

static bool heard(struct rig *rig, const char *text)
{
    buf_append_byte(&rig->events, 0);
    rig->events.len--;
    return strstr((const char *)rig->events.data, text) != NULL;
}

/* A block of three series over [hour, hour + 2), written, not published. Of meta what is not zero is taken. */
static struct ulid write_as(struct rig *rig, int hour, struct block_meta meta)
{
    meta.min_time_ms = hour * HOUR_MS;
    meta.max_time_ms = (hour + 2) * HOUR_MS;
    meta.level = 1;
    clock_simulated_advance(rig->clock, 1);
    meta.ulid = meta.ulid.text[0] ? meta.ulid : ulid_new(clock_wall_ms(rig->clock), &rig->random);
    snprintf(meta.class, sizeof(meta.class), "default");
    struct block_rows rows = {0};
    for (uint32_t series = 0; series < 3; series++) {
        for (int i = 0; i < 120; i++) {
            struct entry entry = {.sample = {hour * HOUR_MS + i * 60000, series + i}, .count = 4};
            entry.resolution_ms = 60000;
            if (series == 1) {
                entry.flags = ENTRY_AGGREGATES;
                entry.min = 0;
                entry.sum = entry.max = i * 3.0;
            }
            block_rows_add(&rows, series, &entry);
        }
    }
    assert_int_equal(block_rows_write(blocks_dirs(rig->blocks), &meta, &rows), 0);
    block_rows_done(&rows);
    return meta.ulid;
}

/* parent may be NULL. */
static struct ulid write_block(struct rig *rig, int hour, const struct ulid *parent)
{
    struct block_meta meta = {.parents = (struct ulid *)parent, .parent_count = parent ? 1 : 0};
    return write_as(rig, hour, meta);
}

static struct ulid add_block(struct rig *rig, int hour)
{
    struct ulid ulid = write_block(rig, hour, NULL);
    assert_int_equal(blocks_publish(rig->blocks, &ulid, NULL, 0, NULL), 0);
    return ulid;
}

/* With a reference; NULL: not served. */
static struct block *find(struct rig *rig, const struct ulid *ulid)
{
    struct blocks_list list;
    struct block *found = NULL;
    blocks_in_range(rig->blocks, INT64_MIN, INT64_MAX, &list);
    for (size_t i = 0; i < list.count; i++) {
        if (strcmp(block_meta_of(list.items[i])->ulid.text, ulid->text) == 0) {
            assert_null(found);
            found = block_ref(list.items[i]);
        }
    }
    blocks_list_free(&list);
    return found;
}

static bool is_served(struct rig *rig, const struct ulid *ulid)
{
    CLEANUP(block_unrefp) struct block *block = find(rig, ulid);
    return block != NULL;
}

static bool exists(struct rig *rig, const char *dir, const struct ulid *ulid)
{
    char path[128];
    snprintf(path, sizeof(path), DIR "/%s/%s", dir, ulid->text);
    return file_exists(rig->memory, path) > 0;
}

static struct blocks_stats stats_of(struct rig *rig)
{
    struct blocks_stats stats;
    blocks_stats(rig->blocks, &stats);
    return stats;
}

static void flip(struct rig *rig, const struct ulid *ulid, const char *name, int64_t at)
{
    char path[160];
    snprintf(path, sizeof(path), DIR "/blocks/%s/%s", ulid->text, name);
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(MIB);
    assert_int_equal(file_read_whole(rig->memory, path, &bytes), 0);
    bytes.data[at < 0 ? (int64_t)bytes.len + at : at] ^= 1;
    assert_int_equal(file_write_whole(rig->memory, path, bytes.data, bytes.len), 0);
}

static void move_block(struct rig *rig, const struct ulid *ulid, const char *from, const char *to)
{
    char from_path[128], to_path[128];
    snprintf(from_path, sizeof(from_path), DIR "/%s/%s", from, ulid->text);
    snprintf(to_path, sizeof(to_path), DIR "/%s/%s", to, ulid->text);
    assert_int_equal(file_rename(rig->memory, from_path, to_path), 0);
}

static void warned(struct rig *rig, int64_t start_ms, int64_t end_ms, const char *text)
{
    CLEANUP(buf_done) struct buf warnings = BUF_INIT(MIB);
    blocks_warnings(rig->blocks, start_ms, end_ms, &warnings);
    buf_append_byte(&warnings, 0);
    if (text ? !strstr((const char *)warnings.data, text) : warnings.len > 1) {
        print_error("warnings: %s\n", (const char *)warnings.data);
    }
    assert_true(text ? strstr((const char *)warnings.data, text) != NULL : warnings.len == 1);
}

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

/* ---- damage ---- */

static void check_aside(struct rig *rig, const struct ulid *ulid, const char *reason)
{
    char name[128];
    snprintf(name, sizeof(name), "incomplete: block %s of 1970-01-01T02:00:00Z to 1970-01-01T04:00:00Z is damaged",
             ulid->text);
    assert_false(is_served(rig, ulid));
    warned(rig, 4 * HOUR_MS - 1, 5 * HOUR_MS, name);
    warned(rig, 0, 2 * HOUR_MS, reason);
    warned(rig, 0, 2 * HOUR_MS - 1, NULL);
    warned(rig, 4 * HOUR_MS, INT64_MAX, NULL);
    assert_int_equal(stats_of(rig).damaged, 1);
}

/* Found by a reader. */
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
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_publish),
        TEST(test_replace),
        TEST(test_replaced_at_start),
        TEST(test_removed_stays_gone),
        TEST(test_put_back_by_hand),
        TEST(test_others),
        TEST(test_deletions_of_others),
        TEST(test_set_aside),
        TEST(test_restored),
        TEST(test_damage_at_start),
        TEST(test_damage_unnamed),
        TEST(test_damaged_twice),
        TEST(test_damaged_leaving),
        TEST(test_damaged_parent),
        TEST(test_mutual_parents),
        TEST(test_missing),
        TEST(test_discard),
        TEST(test_reader_error),
        TEST(test_reader_was_wrong),
        TEST(test_failing_put_back),
        TEST(test_scrub),
        TEST(test_catalog_lost),
        TEST(test_catalog_damaged),
        TEST(test_catalog_newer),
        TEST(test_catalog_old),
        TEST(test_failing_publish),
        TEST(test_failing_set_aside),
        TEST(test_failing_start),
        TEST(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
