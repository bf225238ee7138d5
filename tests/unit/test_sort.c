/* Sorting that can be given up. */
#include "base/fail.h"
#include "base/random.h"
#include "base/sort.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct item {
    uint32_t key, place;
};

static int by_key(const void *a, const void *b)
{
    const struct item *left = a, *right = b;
    return (left->key > right->key) - (left->key < right->key);
}

struct patience {
    size_t asked, most;
};

static bool is_over(void *arg)
{
    struct patience *patience = arg;
    return ++patience->asked > patience->most;
}

static struct item *random_items(size_t count, uint64_t seed)
{
    struct random random;
    random_seed(&random, seed);
    struct item *items = mem_array(count, sizeof(*items));
    for (size_t i = 0; i < count; i++)
        items[i] = (struct item){(uint32_t)random_below(&random, count / 3 + 1), (uint32_t)i};
    return items;
}

static void any_number_of_items(void **state)
{
    (void)state;
    static const size_t counts[] = {0,     1, 2, 100, SORT_SLICE, SORT_SLICE + 1, 2 * SORT_SLICE, 3 * SORT_SLICE + 7,
                                    100000};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        CLEANUP_FREE struct item *items = random_items(counts[i], i);
        CLEANUP_FREE struct item *scratch = mem_array(counts[i], sizeof(*scratch));
        struct sort sort = {.items = items, .count = counts[i], .size = sizeof(*items), .compare = by_key};
        assert_int_equal(sort_run(&sort, counts[i] > SORT_SLICE ? scratch : NULL), 0);
        for (size_t j = 1; j < counts[i]; j++) {
            assert_true(items[j - 1].key <= items[j].key);
            assert_true(items[j - 1].key < items[j].key || items[j - 1].place < items[j].place);
        }
    }
}

/* Wherever it is given up, within so many items, all items are still there. */
static void it_can_be_given_up_anywhere(void **state)
{
    (void)state;
    enum { COUNT = 50000 };
    bool ended = false;
    for (size_t most = 0; !ended; most += 13) {
        CLEANUP_FREE struct item *items = random_items(COUNT, most);
        CLEANUP_FREE struct item *scratch = mem_array(COUNT, sizeof(*scratch));
        struct patience patience = {0, most};
        struct sort sort = {items, COUNT, sizeof(*items), by_key, is_over, &patience};
        int result = sort_run(&sort, scratch);
        assert_true(result == 0 || result == -ECANCELED);
        ended = result == 0;
        assert_int_equal(patience.asked, ended ? patience.asked : most + 1); /* not asked again */
        uint64_t sum = 0;
        for (size_t i = 0; i < COUNT; i++)
            sum += items[i].place;
        assert_int_equal(sum, (uint64_t)COUNT * (COUNT - 1) / 2);
        /* Slices and three passes of merging ask once per SORT_STEPS items or more often. */
        assert_true(!ended || patience.asked >= 3 * COUNT / SORT_STEPS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_items),
        cmocka_unit_test(it_can_be_given_up_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
