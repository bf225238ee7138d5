/* Selecting series of a block against looking at every series; names and values; giving up. */
#include "block_world.h"
#include "matcher_pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct rig {
    struct file_system *fs;
    struct world world;
    struct block *block;
    uint32_t *ids; /* of the world's series */
} rig;

static int set_up(void **state)
{
    (void)state;
    rig.fs = file_system_memory_new(0);
    struct block_dirs dirs = {.fs = rig.fs, .blocks = "blocks", .aggregates = "aggregates"};
    char reason[BLOCK_REASON_BYTES];
    struct postings_query query = {0};
    CLEANUP(bitmap_freep) roaring_bitmap_t *all = NULL;
    world_init(&rig.world, 5, 1500, 2);
    assert_int_equal(world_write(&rig.world, &dirs, 120), 0);
    assert_int_equal(block_open(&dirs, &rig.world.ulid, reason, &rig.block), 0);
    assert_int_equal(block_select(rig.block, &query, &all), 0);
    assert_int_equal(roaring_bitmap_get_cardinality(all), rig.world.count);
    rig.ids = mem_array(rig.world.count, sizeof(*rig.ids));
    roaring_bitmap_to_uint32_array(all, rig.ids);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    block_unref(rig.block);
    world_done(&rig.world);
    mem_free(rig.ids);
    file_system_free(rig.fs);
    return 0;
}

static void check_selection(const struct matcher *matchers, size_t count)
{
    CLEANUP(bitmap_freep) roaring_bitmap_t *ids = NULL;
    struct postings_query query = {.matchers = matchers, .count = count};
    size_t expected_count = 0;
    assert_int_equal(block_select(rig.block, &query, &ids), 0);
    for (size_t i = 0; i < rig.world.count; i++) {
        bool expected = matcher_matches_labels(matchers, count, rig.world.series[i].labels);
        assert_int_equal(roaring_bitmap_contains(ids, rig.ids[i]), expected);
        expected_count += expected;
    }
    assert_int_equal(roaring_bitmap_get_cardinality(ids), expected_count);
}

static size_t random_matchers(struct random *random, struct matcher matchers[static 4])
{
    char error[256];
    size_t count = random_below(random, 5);
    for (size_t i = 0; i < count; i++) {
        size_t which = random_below(random, ARRAY_LEN(pool));
        assert_int_equal(matcher_init(&matchers[i], pool[which].type, str_from(pool[which].name),
                                      str_from(pool[which].value), error),
                         0);
    }
    return count;
}

static void any_matchers_select_what_looking_does(void **state)
{
    (void)state;
    struct random random;
    struct matcher matchers[4];
    char error[256];
    random_seed(&random, 1);
    for (int round = 0; round < 1000; round++) {
        size_t count = random_matchers(&random, matchers);
        check_selection(matchers, count);
        for (size_t i = 0; i < count; i++) {
            matcher_done(&matchers[i]);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(pool); i++) {
        assert_int_equal(matcher_init(matchers, pool[i].type, str_from(pool[i].name), str_from(pool[i].value), error),
                         0);
        check_selection(matchers, 1);
        matcher_done(matchers);
    }
}

/* ---- Names and values ---- */

struct told {
    char items[2048][32];
    size_t count;
};

static int tell(void *arg, struct str text)
{
    struct told *told = arg;
    assert_true(told->count < ARRAY_LEN(told->items) && text.len < sizeof(told->items[0]));
    memcpy(told->items[told->count], text.ptr, text.len);
    told->items[told->count++][text.len] = '\0';
    return 0;
}

static void expect(struct told *told, struct str text)
{
    for (size_t i = 0; i < told->count; i++) {
        if (str_equal(str_from(told->items[i]), text)) {
            return;
        }
    }
    tell(told, text);
}

static int told_order(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void check_told(const struct told *got, struct told *expected)
{
    qsort(expected->items, expected->count, sizeof(expected->items[0]), told_order);
    assert_int_equal(got->count, expected->count);
    for (size_t i = 0; i < got->count; i++) {
        assert_string_equal(got->items[i], expected->items[i]);
    }
}

/* of: one series in so many; 0: no bitmap, all. */
static void check_names(uint32_t of)
{
    static struct told names, expected_names, values, expected_values;
    static const char *const asked[] = {"__name__", "job", "instance", "cpu", "absent", ""};
    CLEANUP(bitmap_freep) roaring_bitmap_t *ids = bitmap_new();
    names.count = expected_names.count = 0;
    for (size_t i = 0; i < rig.world.count; i++) {
        const struct labels *labels = rig.world.series[i].labels;
        if (of > 0 && i % of != 0) {
            continue;
        }
        roaring_bitmap_add(ids, rig.ids[i]);
        for (size_t k = 0; k < labels_count(labels); k++) {
            expect(&expected_names, labels_at(labels, k).name);
        }
    }
    assert_int_equal(
        block_names(rig.block, of > 0 ? ids : NULL, &(struct postings_visit){.each = tell, .each_arg = &names}), 0);
    check_told(&names, &expected_names);
    for (size_t a = 0; a < ARRAY_LEN(asked); a++) {
        values.count = expected_values.count = 0;
        for (size_t i = 0; i < rig.world.count; i++) {
            struct str value = labels_get(rig.world.series[i].labels, str_from(asked[a]));
            if (roaring_bitmap_contains(ids, rig.ids[i]) && value.len > 0) {
                expect(&expected_values, value);
            }
        }
        struct postings_visit visit = {.each = tell, .each_arg = &values};
        assert_int_equal(block_values(rig.block, str_from(asked[a]), of > 0 ? ids : NULL, &visit), 0);
        check_told(&values, &expected_values);
    }
}

static void names_and_values_are_those_of_the_series(void **state)
{
    (void)state;
    check_names(0);
    check_names(1);
    check_names(3);
    check_names(200);
    check_names(1499);
}

static bool give_up(void *arg)
{
    (*(int *)arg)++;
    return true;
}

static void a_long_selection_can_be_given_up(void **state)
{
    (void)state;
    struct matcher matchers[4];
    char error[256];
    int asked = 0;
    CLEANUP(bitmap_freep) roaring_bitmap_t *ids = NULL;
    for (size_t i = 0; i < 4; i++) { /* 1,500 values: 1,024 come together in the first */
        assert_int_equal(matcher_init(&matchers[i], MATCH_REGEX, STR("instance"), STR("h.*"), error), 0);
    }
    struct postings_query query = {matchers, 4, give_up, &asked};
    assert_int_equal(block_select(rig.block, &query, &ids), -ECANCELED);
    assert_int_equal(asked, 1);
    for (size_t i = 0; i < 4; i++) {
        matcher_done(&matchers[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_matchers_select_what_looking_does),
        cmocka_unit_test(names_and_values_are_those_of_the_series),
        cmocka_unit_test(a_long_selection_can_be_given_up),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
