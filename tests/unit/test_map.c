#include "base/map.h"
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define ITEMS 5000

struct item {
    uint64_t hash;
    int key;
    bool in_map;
    bool seen;
};

static bool item_equal(const void *item, const void *key)
{
    return ((const struct item *)item)->key == *(const int *)key;
}

static void test_an_empty_map(void **state)
{
    (void)state;
    CLEANUP(map_done) struct map map;
    map_init(&map);
    size_t at = 0;
    assert_null(map_get(&map, 1, NULL, NULL));
    assert_null(map_remove(&map, 1, NULL, NULL));
    assert_null(map_next(&map, &at));
    assert_int_equal(map_bytes(&map), 0);
    map_clear(&map);
}

static void test_equal_hashes_are_told_apart(void **state)
{
    (void)state;
    CLEANUP(map_done) struct map map;
    map_init(&map);
    struct item items[40];
    for (int i = 0; i < 40; i++) {
        items[i] = (struct item){.hash = 9, .key = i};
        map_put(&map, 9, &items[i]);
    }
    for (int i = 0; i < 40; i++) {
        assert_ptr_equal(map_get(&map, 9, item_equal, &i), &items[i]);
    }
    int absent = 40;
    assert_null(map_get(&map, 9, item_equal, &absent));
    for (int i = 0; i < 40; i += 2) {
        assert_ptr_equal(map_remove(&map, 9, item_equal, &i), &items[i]);
    }
    for (int i = 0; i < 40; i++) {
        assert_ptr_equal(map_get(&map, 9, item_equal, &i), i % 2 ? &items[i] : NULL);
    }
    assert_int_equal(map.count, 20);
}

static void test_numbers_as_hashes(void **state)
{
    (void)state;
    CLEANUP(map_done) struct map map;
    map_init(&map);
    static int things[1000];
    /* Numbers that differ in their high bits alone, and 0. */
    for (uint64_t i = 0; i < 1000; i++) {
        map_put(&map, i << 50, &things[i]);
    }
    for (uint64_t i = 0; i < 1000; i++) {
        assert_ptr_equal(map_get(&map, i << 50, NULL, NULL), &things[i]);
    }
    assert_null(map_get(&map, 1, NULL, NULL));
    assert_true(map_bytes(&map) >= 1000 * 2 * sizeof(void *));
    map_clear(&map);
    assert_int_equal(map.count, 0);
    assert_null(map_get(&map, 0, NULL, NULL));
    map_put(&map, 0, &things[7]);
    assert_ptr_equal(map_get(&map, 0, NULL, NULL), &things[7]);
}

static void check_against(const struct map *map, struct item *items)
{
    size_t count = 0;
    for (int i = 0; i < ITEMS; i++) {
        items[i].seen = false;
        count += items[i].in_map;
        assert_ptr_equal(map_get(map, items[i].hash, item_equal, &i), items[i].in_map ? &items[i] : NULL);
    }
    assert_int_equal(map->count, count);
    size_t at = 0;
    size_t walked = 0;
    for (struct item *item = map_next(map, &at); item; item = map_next(map, &at)) {
        assert_true(item->in_map && !item->seen);
        item->seen = true;
        walked++;
    }
    assert_int_equal(walked, count);
}

static void test_against_a_plain_array(void **state)
{
    (void)state;
    static struct item items[ITEMS];
    struct random random;
    random_seed(&random, 2);
    /* Hashes from a few values to all different: long runs and short ones. */
    for (uint64_t spread = 50; spread <= UINT64_C(1) << 40; spread *= 1000) {
        CLEANUP(map_done) struct map map;
        map_init(&map);
        for (int i = 0; i < ITEMS; i++) {
            items[i] = (struct item){.hash = random_below(&random, spread), .key = i};
        }
        for (int step = 0; step < 20000; step++) {
            int key = (int)random_below(&random, ITEMS);
            struct item *item = &items[key];
            if (item->in_map) {
                assert_ptr_equal(map_remove(&map, item->hash, item_equal, &key), item);
            } else {
                assert_null(map_remove(&map, item->hash, item_equal, &key));
                map_put(&map, item->hash, item);
            }
            item->in_map = !item->in_map;
            if (step % 5000 == 0) {
                check_against(&map, items);
            }
        }
        check_against(&map, items);
    }
}

/* What a walk gives, put into a map with room for it: no growth, and in linear time. (Without room each stands at the
 * end of one run: minutes.) */
static void test_room_for_what_a_walk_gives(void **state)
{
    (void)state;
    enum { COUNT = 1200000 }; /* 0.57 of the slots */
    static int things[COUNT];
    CLEANUP(map_done) struct map map;
    CLEANUP(map_done) struct map copy;
    map_init(&map);
    map_init(&copy);
    map_reserve(&copy, 0);
    assert_int_equal(map_bytes(&copy), 0);
    for (uint64_t i = 0; i < COUNT; i++) {
        things[i] = (int)i;
        map_put(&map, i * UINT64_C(0xD6E8FEB86659FD93), &things[i]);
    }
    map_reserve(&copy, COUNT);
    size_t at = 0, bytes = map_bytes(&copy);
    assert_int_equal(bytes, map_bytes(&map));
    for (const int *thing; (thing = map_next(&map, &at));)
        map_put(&copy, (uint64_t)*thing * UINT64_C(0xD6E8FEB86659FD93), (void *)thing);
    assert_int_equal(copy.count, COUNT);
    map_reserve(&copy, 5); /* never less */
    assert_int_equal(map_bytes(&copy), bytes);
    for (uint64_t i = 0; i < COUNT; i++)
        assert_ptr_equal(map_get(&copy, i * UINT64_C(0xD6E8FEB86659FD93), NULL, NULL), &things[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_map),
        cmocka_unit_test(test_equal_hashes_are_told_apart),
        cmocka_unit_test(test_numbers_as_hashes),
        cmocka_unit_test(test_against_a_plain_array),
        cmocka_unit_test(test_room_for_what_a_walk_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
