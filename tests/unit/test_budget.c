/* Memory under one ceiling and under that of all queries together. */
#include "promql/budget.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void a_budget_ends_at_its_ceiling(void **state)
{
    (void)state;
    struct budget budget = {.bytes_max = 1000};
    char text[BUDGET_TEXT_BYTES];
    void *block = budget_array(&budget, 10, 50);
    assert_non_null(block);
    assert_null(budget_array(&budget, 10, 50));
    assert_null(budget_array(&budget, SIZE_MAX / 2, 3));
    assert_false(budget_charge(&budget, 1000));
    budget_text(&budget, text);
    assert_non_null(strstr(text, "more than 1000 bytes of memory (query.max_memory)"));
    budget_free(block);
    assert_int_equal(budget.used_bytes, 0);
    assert_true(budget_charge(&budget, 1000));
    budget_done(&budget);
}

static void all_together_end_at_the_total(void **state)
{
    (void)state;
    struct budget_total total = {.bytes_max = 10 * MIB};
    struct budget large = {.bytes_max = GIB, .total = &total}, small = {.bytes_max = GIB, .total = &total};
    char text[BUDGET_TEXT_BYTES];
    assert_true(budget_charge(&large, 2 * MIB)); /* free */
    assert_int_equal(budget_total_used(&total), 0);
    assert_true(budget_charge(&large, 10 * MIB));
    assert_int_equal(budget_total_used(&total), 10 * MIB);
    assert_false(budget_charge(&large, 1));
    budget_text(&large, text);
    assert_non_null(strstr(text, "more than 10485760 bytes of memory together (query.max_total_memory)"));
    assert_true(budget_charge(&small, 2 * MIB)); /* small ones have theirs all the same */
    assert_false(budget_charge(&small, 1));
    assert_true(small.total_full);
    budget_release(&large, 5 * MIB);
    assert_true(budget_total_used(&total) <= 6 * MIB);
    assert_true(budget_charge(&small, 3 * MIB));
    assert_false(budget_charge(&small, GIB));
    assert_false(small.total_full); /* its own ceiling */
    budget_done(&large);
    budget_done(&small);
    assert_int_equal(budget_total_used(&total), 0);
}

static void what_is_taken_never_lags_behind_what_is_used(void **state)
{
    (void)state;
    struct budget_total total = {.bytes_max = GIB};
    struct budget budget = {.bytes_max = GIB, .total = &total};
    uint64_t seed = 1;
    for (int i = 0; i < 100000; i++) {
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        size_t bytes = (size_t)(seed >> 40) % (3 * MIB);
        if (seed >> 63)
            (void)budget_charge(&budget, bytes);
        else
            budget_release(&budget, bytes < budget.used_bytes ? bytes : budget.used_bytes);
        assert_true(budget.taken_bytes + BUDGET_FREE_BYTES >= budget.used_bytes);
        assert_true(budget.taken_bytes <= budget.used_bytes + 2 * BUDGET_SLICE_BYTES);
        assert_int_equal(budget_total_used(&total), budget.taken_bytes);
    }
    budget_done(&budget);
    assert_int_equal(budget_total_used(&total), 0);
}

static void *take_and_give(void *arg)
{
    struct budget budget = {.bytes_max = GIB, .total = arg};
    for (int i = 0; i < 2000; i++) { /* each zeroes some 400 KiB, which ThreadSanitizer looks at byte by byte */
        void *block = budget_array(&budget, (size_t)(i % 7 + 1), 512 * KIB / 4);
        if (block && i % 3 == 0 && budget_charge(&budget, MIB))
            budget_release(&budget, MIB);
        budget_free(block);
        if (budget_charge(&budget, 3 * MIB))
            budget_release(&budget, 3 * MIB);
    }
    budget_done(&budget);
    return NULL;
}

static void threads_share_a_total(void **state)
{
    (void)state;
    struct budget_total total = {.bytes_max = 4 * MIB};
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, &total), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(budget_total_used(&total), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_budget_ends_at_its_ceiling),
        cmocka_unit_test(all_together_end_at_the_total),
        cmocka_unit_test(what_is_taken_never_lags_behind_what_is_used),
        cmocka_unit_test(threads_share_a_total),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
