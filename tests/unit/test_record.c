/* One series' window: adding, merging in any grouping, who wins. */
#include "base/random.h"
#include "metric/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct record record_of(enum series_kind kind, const double *values, size_t count, int64_t start_ms)
{
    struct record record = record_empty(kind);
    for (size_t i = 0; i < count; i++)
        record_add(&record, (struct sample){start_ms + (int64_t)i * 1000, values[i]});
    return record;
}

#define RECORD(kind, ...)                                                                                              \
    record_of(kind, (double[]){__VA_ARGS__}, sizeof((double[]){__VA_ARGS__}) / sizeof(double), 1000)

static void assert_same_bits(double a, double b)
{
    if (double_bits(a) != double_bits(b))
        fail_msg("%a (%#lx) is not %a (%#lx)", a, (unsigned long)double_bits(a), b, (unsigned long)double_bits(b));
}

static void assert_same(const struct record *a, const struct record *b)
{
    assert_int_equal(a->time_ms, b->time_ms);
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->kind, b->kind);
    assert_same_bits(a->last, b->last);
    assert_same_bits(a->min, b->min);
    assert_same_bits(a->max, b->max);
    if (!isnan(a->sum) || !isnan(b->sum)) /* a NaN's payload is no part of the promise */
        assert_same_bits(a->sum, b->sum);
}

static void windows_start_on_the_grid(void **state)
{
    (void)state;
    assert_int_equal(window_start_ms(0, 60000), 0);
    assert_int_equal(window_start_ms(59999, 60000), 0);
    assert_int_equal(window_start_ms(60000, 60000), 60000);
    assert_int_equal(window_start_ms(-1, 60000), -60000);
    assert_int_equal(window_start_ms(-60000, 60000), -60000);
}

static void a_gauge_keeps_its_aggregates(void **state)
{
    (void)state;
    struct record record = RECORD(KIND_GAUGE, 3, -1, 7, 2);
    assert_int_equal(record.count, 4);
    assert_int_equal(record.time_ms, 4000);
    assert_true(record.sum == 11 && record.min == -1 && record.max == 7 && record.last == 2);
    assert_false(record_is_constant(&record));
}

static void a_counter_keeps_its_last_value(void **state)
{
    (void)state;
    struct record record = RECORD(KIND_COUNTER, 3, 5, 9);
    assert_int_equal(record.count, 3);
    assert_true(record.last == 9 && record.sum == 0);
    assert_true(record_is_constant(&record));
}

static void equal_values_sum_exactly(void **state)
{
    (void)state;
    struct record record = RECORD(KIND_GAUGE, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1);
    assert_true(record.sum == 0.1 * 10);
    assert_true(record_is_constant(&record));
    struct record again = {.time_ms = record.time_ms, .last = record.last, .count = record.count, .kind = record.kind};
    record_fill_constant(&again);
    assert_same(&again, &record);
}

static void a_stale_marker_counts_for_nothing_but_last(void **state)
{
    (void)state;
    struct record record = RECORD(KIND_GAUGE, 4, 6, value_stale());
    assert_int_equal(record.count, 2);
    assert_int_equal(record.time_ms, 3000);
    assert_true(value_is_stale(record.last));
    assert_true(record.sum == 10 && record.min == 4 && record.max == 6);
    assert_false(record_is_constant(&record));

    struct record only = RECORD(KIND_GAUGE, value_stale());
    assert_int_equal(only.count, 0);
    assert_int_equal(only.time_ms, 1000);
    assert_true(value_is_stale(only.last) && only.sum == 0);
    assert_true(record_is_constant(&only));

    struct record back = RECORD(KIND_GAUGE, value_stale(), 5);
    assert_int_equal(back.count, 1);
    assert_true(back.last == 5 && back.min == 5 && back.sum == 5);
}

static void nan_is_skipped_by_min_and_max_unless_alone(void **state)
{
    (void)state;
    double nan = double_from_bits(NORMAL_NAN_BITS);
    struct record mixed = RECORD(KIND_GAUGE, nan, 5, nan, 3);
    assert_int_equal(mixed.count, 4);
    assert_true(mixed.min == 3 && mixed.max == 5 && isnan(mixed.sum));
    struct record alone = RECORD(KIND_GAUGE, nan, nan);
    assert_true(isnan(alone.min) && isnan(alone.max) && isnan(alone.sum));
    assert_true(record_is_constant(&alone));
    struct record hidden = RECORD(KIND_GAUGE, 5, nan, 5);
    assert_false(record_is_constant(&hidden));
}

static void merging_gives_the_same_in_any_grouping(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 3);
    /* Whole numbers: their sums are exact, so that sums can be compared bit for bit too. */
    const double pool[] = {-2, -0.0, 0, 1, 5, 5, INFINITY, double_from_bits(NORMAL_NAN_BITS), value_stale()};
    for (int round = 0; round < 100000; round++) {
        enum series_kind kind = random_below(&random, 2) ? KIND_GAUGE : KIND_COUNTER;
        struct record parts[3];
        for (size_t i = 0; i < 3; i++) {
            double values[3];
            size_t count = random_below(&random, 4);
            for (size_t j = 0; j < count; j++)
                values[j] = pool[random_below(&random, sizeof(pool) / sizeof(pool[0]))];
            parts[i] = record_of(kind, values, count, (int64_t)i * 10000);
        }
        struct record left = parts[0];
        record_merge(&left, &parts[1]);
        record_merge(&left, &parts[2]);
        struct record tail = parts[1];
        record_merge(&tail, &parts[2]);
        struct record right = parts[0];
        record_merge(&right, &tail);
        assert_same(&left, &right);
    }
}

#define SUMS_MAX 64

/* One of the forms in which exporters show decimals of `digits` digits: k / 10^e, k / 1000 / 1000, k * 0.001. */
static double decimal(struct random *random, int64_t k, int digits)
{
    static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
    bool odd = random_below(random, 2);
    if (digits == 6 && odd)
        return (double)k / 1000 / 1000;
    return digits == 3 && odd ? (double)k * 0.001 : (double)k / powers[digits];
}

/* Adds the terms from..end in an order and grouping of chance. */
static double add_somehow(struct random *random, const double *terms, size_t from, size_t end)
{
    if (end - from == 1)
        return terms[from];
    size_t middle = from + 1 + random_below(random, end - from - 1);
    double left = add_somehow(random, terms, from, middle), right = add_somehow(random, terms, middle, end);
    return random_below(random, 2) ? sum_add(left, right) : sum_add(right, left);
}

static void shuffle(struct random *random, double *terms, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t other = random_below(random, i);
        double held = terms[i - 1];
        terms[i - 1] = terms[other];
        terms[other] = held;
    }
}

static void sums_of_decimals_are_exact(void **state)
{
    (void)state;
    static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
    struct random random;
    random_seed(&random, 17);
    assert_same_bits(sum_add(0.1, 0.2), 0.3);
    assert_same_bits(sum_add(1e6 + 0.1, -1e6), 0.1);
    for (int round = 0; round < 20000; round++) {
        double terms[SUMS_MAX];
        int digits = (int)random_below(&random, 10);
        size_t count = 2 + random_below(&random, SUMS_MAX - 2);
        unsigned bits = 1 + (unsigned)random_below(&random, 40);
        bool negative = random_below(&random, 2);
        int64_t sum = 0;
        for (size_t i = 0; i < count; i++) {
            int64_t k = (int64_t)(random_next(&random) >> (64 - bits));
            k = negative && random_below(&random, 2) ? -k : k;
            terms[i] = decimal(&random, k, digits);
            sum += k;
        }
        double wanted = (double)sum / powers[digits];
        for (int tries = 0; tries < 5; tries++) {
            shuffle(&random, terms, count);
            double got = add_somehow(&random, terms, 0, count);
            if (wanted != 0) /* of either sign */
                assert_same_bits(got, wanted);
            assert_true(got == wanted);
        }
    }
}

/* What is no decimal is added as doubles are: next to the sum, whatever the size. */
static void other_sums_are_near(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 18);
    for (int round = 0; round < 100000; round++) {
        double a = double_from_bits(random_next(&random)), b = double_from_bits(random_next(&random));
        double sum = sum_add(a, b);
        if (!isfinite(a + b))
            assert_int_equal(isnan(sum), isnan(a + b));
        else
            assert_true(fabs(sum - (a + b)) <= (fabs(a) + fabs(b)) * 0x1p-50);
    }
}

static void merging_is_as_adding(void **state)
{
    (void)state;
    struct record whole = RECORD(KIND_GAUGE, 1, 2, 3, 4);
    struct record first = record_of(KIND_GAUGE, (double[]){1, 2}, 2, 1000);
    struct record second = record_of(KIND_GAUGE, (double[]){3, 4}, 2, 3000);
    record_merge(&first, &second);
    assert_same(&first, &whole);
    struct record nothing = record_empty(KIND_GAUGE);
    record_merge(&first, &nothing);
    assert_same(&first, &whole);
    record_merge(&nothing, &whole);
    assert_same(&nothing, &whole);
}

static void a_changed_kind_keeps_what_both_have(void **state)
{
    (void)state;
    struct record gauge = RECORD(KIND_GAUGE, 1, 2);
    struct record counter = record_of(KIND_COUNTER, (double[]){7}, 1, 60000);
    record_merge(&gauge, &counter);
    assert_int_equal(gauge.kind, KIND_COUNTER);
    assert_int_equal(gauge.count, 3);
    assert_true(gauge.last == 7 && gauge.sum == 0);
}

static void the_larger_count_wins_then_the_newer(void **state)
{
    (void)state;
    struct record three = RECORD(KIND_GAUGE, 1, 2, 3);
    struct record two = record_of(KIND_GAUGE, (double[]){1, 2}, 2, 50000);
    struct record later = record_of(KIND_GAUGE, (double[]){1, 2, 3}, 3, 1500);
    assert_true(record_wins(&three, &two));
    assert_false(record_wins(&two, &three));
    assert_true(record_wins(&later, &three));
    assert_false(record_wins(&three, &later));
    assert_false(record_wins(&three, &three));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_start_on_the_grid),
        cmocka_unit_test(a_gauge_keeps_its_aggregates),
        cmocka_unit_test(a_counter_keeps_its_last_value),
        cmocka_unit_test(equal_values_sum_exactly),
        cmocka_unit_test(a_stale_marker_counts_for_nothing_but_last),
        cmocka_unit_test(nan_is_skipped_by_min_and_max_unless_alone),
        cmocka_unit_test(merging_gives_the_same_in_any_grouping),
        cmocka_unit_test(sums_of_decimals_are_exact),
        cmocka_unit_test(other_sums_are_near),
        cmocka_unit_test(merging_is_as_adding),
        cmocka_unit_test(a_changed_kind_keeps_what_both_have),
        cmocka_unit_test(the_larger_count_wins_then_the_newer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
