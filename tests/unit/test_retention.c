/* Which blocks go: ages, bounds of classes, the bound of all; tables of blocks in, names out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "block_rows.h"

#include "store/retention.h"

#include <errno.h>
#include <stdio.h>

#define HOUR_MS INT64_C(3600000)
#define DAY_MS  (24 * HOUR_MS)
#define NOW_MS  (INT64_C(20000) * DAY_MS)
#define MAX_ROW 8

static const struct retention_class classes[] = {
    {.name = "gold", .match = "{tier=\"gold\"}", .keep_ms = 365 * DAY_MS},
    {.name = "bulk", .match = "{job=~\"debug.*\"}", .keep_ms = 2 * DAY_MS, .bytes_max = 250},
    {.name = RETENTION_DEFAULT, .keep_ms = 30 * DAY_MS},
};

static struct retention *make(uint64_t bytes_max)
{
    struct retention *retention = NULL;
    char error[256];
    assert_int_equal(retention_new(classes, ARRAY_LEN(classes), bytes_max, error, &retention), 0);
    return retention;
}

/* ---- rules ---- */

static void refused(const struct retention_class *list, size_t count, const char *expected)
{
    struct retention *retention = NULL;
    char error[256] = "";
    assert_int_equal(retention_new(list, count, 0, error, &retention), -EINVAL);
    assert_non_null(strstr(error, expected));
    assert_null(retention);
}

static void test_rules(void **state)
{
    (void)state;
    const struct retention_class all = {.name = "a", .keep_ms = 1};
    struct retention_class many[RETENTION_CLASSES_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        many[i] = all;
        snprintf(many[i].name, sizeof(many[i].name), "c%zu", i);
    }
    refused(many, 0, "classes");
    refused(many, ARRAY_LEN(many), "classes");
    refused((struct retention_class[]){{.keep_ms = 1}}, 1, "no name");
    refused((struct retention_class[]){{.name = "a"}}, 1, "keeps nothing");
    refused((struct retention_class[]){{.name = "a", .keep_ms = -1}}, 1, "keeps nothing");
    refused((struct retention_class[]){all, all}, 2, "two classes a");
    refused((struct retention_class[]){{.name = "a", .match = "{x=", .keep_ms = 1}, all}, 2, "class a, at byte");
    refused((struct retention_class[]){{.name = "b", .match = "up", .keep_ms = 1}}, 1, "must match all");
    struct retention *retention = NULL;
    char error[256];
    assert_int_equal(retention_new(many, RETENTION_CLASSES_MAX, 0, error, &retention), 0);
    assert_int_equal(retention_class_count(retention), RETENTION_CLASSES_MAX);
    retention_unref(retention);
}

static void test_class_of(void **state)
{
    (void)state;
    static const struct {
        const char *tier, *job;
        size_t class;
    } rows[] = {
        {"gold", "api", 0}, {"gold", "debug-x", 0}, {"lead", "debug-x", 1}, {"lead", "xdebug", 2}, {"", "", 2},
    };
    struct retention *retention = make(0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct label list[] = {{STR("tier"), str_from(rows[i].tier)}, {STR("job"), str_from(rows[i].job)}};
        CLEANUP(labels_unrefp) struct labels *labels = labels_new(list, 2);
        assert_int_equal(retention_class_of(retention, labels), rows[i].class);
    }
    struct retention *again = retention_ref(retention);
    retention_unref(retention);
    assert_string_equal(retention_class_at(again, 1)->name, "bulk");
    retention_unref(again);
}

/* ---- plans ---- */

struct row_block {
    char name;
    const char *class;
    int64_t min_hours, max_hours; /* before now; [min, max) */
    uint64_t bytes;
    bool damaged;
};

struct row {
    const char *about;
    uint64_t bytes_max;
    struct row_block blocks[MAX_ROW];
    const char *gone; /* names in order */
    const char *why;  /* of the last */
};

static const struct row rows[] = {
    {"nothing there", 0, {{0}}, "", NULL},
    {"young", 0, {{'a', "default", 48, 0, 10, false}}, "", NULL},
    {"its newest sample is a millisecond too old", 0, {{'a', "default", 722, 720, 10, false}}, "a", "older than 30d"},
    {"one hour left", 0, {{'a', "default", 721, 719, 10, false}}, "", NULL},
    {"each class by its own age",
     0,
     {{'a', "gold", 1000, 998, 10, false}, {'b', "bulk", 60, 50, 10, false}, {'c', "default", 60, 50, 10, false}},
     "b",
     "older than 2d"},
    {"oldest first", 0, {{'b', "bulk", 60, 50, 10, false}, {'a', "bulk", 70, 60, 10, false}}, "ab", "older than 2d"},
    {"an unknown class is the last",
     0,
     {{'a', "old-name", 722, 720, 10, false}, {'b', "old-name", 60, 50, 10, false}},
     "a",
     "older than 30d"},
    {"of the future", 0, {{'a', "bulk", -9000, -9100, 10, false}}, "", NULL},
    {"damaged ones too", 0, {{'a', "bulk", 60, 50, 10, true}}, "a", "older than 2d"},
    {"a class is past its bound",
     0,
     {{'c', "bulk", 6, 4, 100, false},
      {'a', "bulk", 10, 8, 100, false},
      {'b', "bulk", 8, 6, 100, false},
      {'x', "default", 40, 38, 9000, false}},
     "a",
     "class bulk is past its 250"},
    {"what is too old does not count for the bound",
     0,
     {{'a', "bulk", 70, 60, 100, false}, {'b', "bulk", 8, 6, 100, false}, {'c', "bulk", 6, 4, 100, false}},
     "a",
     "older than 2d"},
    {"one block alone is past it", 0, {{'a', "bulk", 4, 2, 300, false}}, "a", "class bulk is past its 250"},
    {"all together: the last class first",
     1000,
     {{'g', "gold", 900, 898, 600, false},
      {'b', "bulk", 20, 10, 200, false},
      {'d', "default", 4, 2, 100, false},
      {'e', "default", 6, 4, 150, false}},
     "e",
     "all are past 1000"},
    {"then the one above it",
     500,
     {{'g', "gold", 900, 898, 400, false}, {'b', "bulk", 20, 10, 200, false}, {'d', "default", 4, 2, 100, false}},
     "db",
     "all are past 500"},
    {"and the first last",
     100,
     {{'g', "gold", 900, 898, 400, false}, {'h', "gold", 898, 896, 100, false}},
     "g",
     "all are past 100"},
    {"unknown classes count as the last",
     500,
     {{'g', "gold", 900, 898, 400, false}, {'u', "old-name", 3, 2, 101, false}},
     "u",
     "all are past 500"},
    {"exactly at the bound", 500, {{'g', "gold", 900, 898, 400, false}, {'d', "default", 3, 2, 100, false}}, "", NULL},
    {"of one end the longer first",
     100,
     {{'a', "gold", 4, 2, 80, false}, {'b', "gold", 6, 2, 80, false}},
     "b",
     "all are past 100"},
};

static size_t make_blocks(const struct row *row, struct block_status *blocks)
{
    size_t count = 0;
    for (; count < MAX_ROW && row->blocks[count].name; count++) {
        const struct row_block *from = &row->blocks[count];
        struct block_status *block = &blocks[count];
        *block = (struct block_status){.disk_bytes = from->bytes};
        block->state = from->damaged ? BLOCK_DAMAGED : BLOCK_SERVED;
        block->meta.min_time_ms = NOW_MS - from->min_hours * HOUR_MS;
        block->meta.max_time_ms = NOW_MS - from->max_hours * HOUR_MS;
        snprintf(block->meta.class, sizeof(block->meta.class), "%s", from->class);
        snprintf(block->meta.ulid.text, sizeof(block->meta.ulid.text), "%c", from->name);
    }
    return count;
}

static void test_plans(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct block_status blocks[MAX_ROW];
        size_t count = make_blocks(&rows[i], blocks);
        struct retention *retention = make(rows[i].bytes_max);
        struct retention_victims victims;
        retention_plan(retention, blocks, count, NOW_MS, &victims);
        char gone[MAX_ROW + 1] = "";
        for (size_t j = 0; j < victims.count; j++) {
            gone[j] = victims.items[j].block->meta.ulid.text[0];
        }
        if (strcmp(gone, rows[i].gone) != 0) {
            print_error("%s: \"%s\" go, not \"%s\"\n", rows[i].about, gone, rows[i].gone);
        }
        assert_string_equal(gone, rows[i].gone);
        if (rows[i].why) {
            assert_string_equal(victims.items[victims.count - 1].why, rows[i].why);
        }
        mem_free(victims.items);
        retention_unref(retention);
    }
}

/* A damaged block of which nothing is known, and ages longer than there is time. */
static void test_edges(void **state)
{
    (void)state;
    const struct retention_class forever[] = {{.name = RETENTION_DEFAULT, .keep_ms = INT64_MAX, .bytes_max = 50}};
    struct block_status blocks[2] = {{.disk_bytes = 40}, {.disk_bytes = 40}};
    blocks[0].meta = (struct block_meta){.min_time_ms = INT64_MIN, .max_time_ms = INT64_MAX, .class = "default"};
    blocks[1].meta = (struct block_meta){.min_time_ms = INT64_MIN, .max_time_ms = INT64_MIN, .class = "default"};
    struct retention *retention = NULL;
    struct retention_victims victims;
    char error[256];
    assert_int_equal(retention_new(forever, 1, 0, error, &retention), 0);
    retention_plan(retention, blocks, 2, INT64_MIN + 1, &victims);
    assert_int_equal(victims.count, 1);
    assert_ptr_equal(victims.items[0].block, &blocks[1]);
    assert_string_equal(victims.items[0].why, "class default is past its 50");
    mem_free(victims.items);
    retention_unref(retention);
}

/* ---- doing it ---- */

static struct ulid add_block(struct blocks *blocks, struct random *random, const char *class, int hours_ago)
{
    struct block_meta meta = {.min_time_ms = NOW_MS - (hours_ago + 2) * HOUR_MS, .level = 1};
    meta.max_time_ms = meta.min_time_ms + 2 * HOUR_MS;
    meta.ulid = ulid_new(NOW_MS, random);
    snprintf(meta.class, sizeof(meta.class), "%s", class);
    struct block_rows content = {0};
    struct entry entry = {.sample = {meta.min_time_ms, 1}, .count = 1};
    block_rows_add(&content, 1, &entry);
    assert_int_equal(block_rows_write(blocks_dirs(blocks), &meta, &content), 0);
    block_rows_done(&content);
    assert_int_equal(blocks_publish(blocks, &meta.ulid, NULL, 0, NULL), 0);
    return meta.ulid;
}

static size_t dirs_in(struct file_system *fs, const char *dir)
{
    char **names;
    size_t count;
    assert_int_equal(file_list(fs, dir, &names, &count), 0);
    file_names_free(names, count);
    return count;
}

static void test_apply(void **state)
{
    (void)state;
    struct file_system *memory = file_system_memory_new(0), *fs = file_system_failing_new(memory);
    struct clock *clock = clock_simulated_new(NOW_MS);
    struct retention *retention = make(0);
    struct retention_counts counts[RETENTION_CLASSES_MAX] = {{0}};
    struct blocks *blocks;
    struct random random;
    random_seed(&random, 1);
    assert_int_equal(blocks_open(fs, clock, "/data", &blocks), 0);
    add_block(blocks, &random, "default", 31 * 24);
    add_block(blocks, &random, "default", 29 * 24);
    add_block(blocks, &random, "gold", 31 * 24);
    add_block(blocks, &random, "bulk", 3 * 24); /* too old; the next is past the bound alone */
    add_block(blocks, &random, "bulk", 24);
    add_block(blocks, &random, "old-name", 31 * 24);
    struct blocks_list list;
    blocks_in_range(blocks, NOW_MS - 73 * HOUR_MS, NOW_MS - 73 * HOUR_MS, &list);
    assert_int_equal(list.count, 1);
    blocks_set_aside(blocks, list.items[0], "test");
    blocks_list_free(&list);
    file_system_failing_at(fs, 1, -ENOSPC, false);
    assert_int_equal(retention_apply(retention, blocks, NOW_MS, counts), -ENOSPC);
    file_system_failing_at(fs, 0, -ENOSPC, false);
    struct blocks_stats stats;
    blocks_stats(blocks, &stats);
    assert_true(stats.served == 5 && counts[2].blocks_total == 0);
    assert_int_equal(retention_apply(retention, blocks, NOW_MS, counts), 0);
    blocks_stats(blocks, &stats);
    assert_true(stats.served == 2 && stats.damaged == 0 && stats.leaving == 0);
    assert_true(counts[0].blocks_total == 0 && counts[1].blocks_total >= 1 && counts[2].blocks_total == 2);
    assert_true(counts[2].bytes_total > 0 && counts[2].samples_total == 2);
    assert_true(dirs_in(memory, "/data/blocks") == 2 && dirs_in(memory, "/data/damaged") == 1);
    assert_int_equal(retention_apply(retention, blocks, NOW_MS, counts), 0);
    assert_int_equal(counts[2].blocks_total, 2);
    blocks_close(blocks);
    retention_unref(retention);
    clock_free(clock);
    file_system_free(fs);
    file_system_free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules), cmocka_unit_test(test_class_of), cmocka_unit_test(test_plans),
        cmocka_unit_test(test_edges), cmocka_unit_test(test_apply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
