/* The load of a secondary with many targets is even: no burst at the beginning of a scrape interval, and none at the
 * end of a window. In counts, on a simulated clock. */
#include "base/fail.h"
#include "tools/bench/flat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TARGETS    2000
#define INTERVAL_S 15
#define SERIES     104 /* of the small page, with the six that the scraper adds */

static void run(int interval_s, struct flat *flat)
{
    const struct page_options page = {.name = "small", .hosts = TARGETS};
    char error[PAGE_ERROR_BYTES];
    CLEANUP(page_source_freep) struct page_source *source = NULL;
    assert_int_equal(page_source_new(&page, error, &source), 0);
    const struct flat_options options = {.source = source, .interval_s = interval_s, .windows = 2};
    flat_run(&options, flat);
    assert_int_equal(flat->windows_split, 0);
    assert_int_equal(flat->scrapes_late, 0);
    assert_int_equal(flat->records, 2 * TARGETS * SERIES);
}

static void test_scrapes(void **state)
{
    (void)state;
    struct flat flat;
    run(INTERVAL_S, &flat);
    struct flat_load scrapes = flat_load_of(&flat, offsetof(struct flat_second, scrapes));
    assert_int_equal((int)(scrapes.mean * FLAT_WINDOW_S + 0.5), TARGETS * FLAT_WINDOW_S / INTERVAL_S);
    assert_int_equal(scrapes.busy_seconds, FLAT_WINDOW_S);
    assert_true(scrapes.max_over_mean < 1.3);
}

/* Parts leave group by group, through at least the last interval of a window. */
static void test_parts(void **state)
{
    (void)state;
    struct flat flat;
    run(INTERVAL_S, &flat);
    struct flat_load parts = flat_load_of(&flat, offsetof(struct flat_second, parts));
    struct flat_load bytes = flat_load_of(&flat, offsetof(struct flat_second, bytes));
    assert_true(parts.busy_seconds >= INTERVAL_S - 1);
    assert_true(parts.max <= 2);
    assert_true(bytes.busy_max_over_mean < 2.2);
}

/* With one scrape a window all of the minute is the last interval: then the bytes are even over it as well. */
static void test_one_scrape(void **state)
{
    (void)state;
    struct flat flat;
    run(FLAT_WINDOW_S, &flat);
    struct flat_load scrapes = flat_load_of(&flat, offsetof(struct flat_second, scrapes));
    struct flat_load parts = flat_load_of(&flat, offsetof(struct flat_second, parts));
    assert_true(scrapes.max_over_mean < 2);
    assert_true(parts.max <= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scrapes),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_one_scrape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
