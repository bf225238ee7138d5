#pragma once
/* The blocks of a store on a disk in memory that may fail, and what they say. */
#include "block_rows.h"

#include "base/str.h"

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

static inline void hear(void *arg, const char *text)
{
    struct rig *rig = arg;
    buf_printf(&rig->events, "%s\n", text);
}

static inline void rig_open(struct rig *rig)
{
    assert_int_equal(blocks_open(rig->fs, rig->clock, DIR, &rig->blocks), 0);
    buf_reset(&rig->events);
    blocks_on_event(rig->blocks, hear, rig);
}

static inline void rig_reopen(struct rig *rig)
{
    blocks_close(rig->blocks);
    rig_open(rig);
}

static inline int rig_setup(void **state)
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

static inline int rig_teardown(void **state)
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

static inline bool heard(struct rig *rig, const char *text)
{
    buf_append_byte(&rig->events, 0);
    rig->events.len--;
    return strstr((const char *)rig->events.data, text) != NULL;
}

/* A block of three series over [hour, hour + 2), written, not published. Of meta what is not zero is taken. */
static inline struct ulid write_as(struct rig *rig, int hour, struct block_meta meta)
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
static inline struct ulid write_block(struct rig *rig, int hour, const struct ulid *parent)
{
    struct block_meta meta = {.parents = (struct ulid *)parent, .parent_count = parent ? 1 : 0};
    return write_as(rig, hour, meta);
}

static inline struct ulid add_block(struct rig *rig, int hour)
{
    struct ulid ulid = write_block(rig, hour, NULL);
    assert_int_equal(blocks_publish(rig->blocks, &ulid, NULL, 0, NULL), 0);
    return ulid;
}

/* With a reference; NULL: not served. */
static inline struct block *find(struct rig *rig, const struct ulid *ulid)
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

static inline bool is_served(struct rig *rig, const struct ulid *ulid)
{
    CLEANUP(block_unrefp) struct block *block = find(rig, ulid);
    return block != NULL;
}

static inline bool exists(struct rig *rig, const char *dir, const struct ulid *ulid)
{
    char path[128];
    snprintf(path, sizeof(path), DIR "/%s/%s", dir, ulid->text);
    return file_exists(rig->memory, path) > 0;
}

static inline struct blocks_stats stats_of(struct rig *rig)
{
    struct blocks_stats stats;
    blocks_stats(rig->blocks, &stats);
    return stats;
}

static inline void flip(struct rig *rig, const struct ulid *ulid, const char *name, int64_t at)
{
    char path[160];
    snprintf(path, sizeof(path), DIR "/blocks/%s/%s", ulid->text, name);
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(MIB);
    assert_int_equal(file_read_whole(rig->memory, path, &bytes), 0);
    bytes.data[at < 0 ? (int64_t)bytes.len + at : at] ^= 1;
    assert_int_equal(file_write_whole(rig->memory, path, bytes.data, bytes.len), 0);
}

static inline void move_block(struct rig *rig, const struct ulid *ulid, const char *from, const char *to)
{
    char from_path[128], to_path[128];
    snprintf(from_path, sizeof(from_path), DIR "/%s/%s", from, ulid->text);
    snprintf(to_path, sizeof(to_path), DIR "/%s/%s", to, ulid->text);
    assert_int_equal(file_rename(rig->memory, from_path, to_path), 0);
}

static inline void warned(struct rig *rig, int64_t start_ms, int64_t end_ms, const char *text)
{
    CLEANUP(buf_done) struct buf warnings = BUF_INIT(MIB);
    blocks_warnings(rig->blocks, start_ms, end_ms, &warnings);
    buf_append_byte(&warnings, 0);
    if (text ? !strstr((const char *)warnings.data, text) : warnings.len > 1) {
        print_error("warnings: %s\n", (const char *)warnings.data);
    }
    assert_true(text ? strstr((const char *)warnings.data, text) != NULL : warnings.len == 1);
}

static inline void check_aside(struct rig *rig, const struct ulid *ulid, const char *reason)
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

#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
