/* What readers of the store see. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/fail.h"
#include "store/store_internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define NOW_MS    INT64_C(1700000000000)
#define WINDOW_MS INT64_C(60000)

struct fixture {
    struct clock *clock;
    struct store *store;
};

static int set_up(void **state)
{
    struct fixture *fixture = mem_zalloc(sizeof(*fixture));
    struct store_options options = {.max_age_ms = 86400000, .max_ahead_ms = 600000, .series_max = 10000};
    fixture->clock = clock_simulated_new(NOW_MS);
    fixture->store = store_new(fixture->clock, &options);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    store_free(fixture->store);
    clock_free(fixture->clock);
    mem_free(fixture);
    return 0;
}

static series_ref series(struct store *store, const char *name, const char *instance, enum series_kind kind)
{
    struct label items[] = {{STR("__name__"), str_from(name)}, {STR("instance"), str_from(instance)}};
    CLEANUP(labels_unrefp) struct labels *labels = labels_new(items, ARRAY_LEN(items));
    return store_series(store, labels, kind);
}

static int64_t window_at(int index)
{
    return window_start_ms(NOW_MS, WINDOW_MS) - (100 - index) * WINDOW_MS;
}

/* A counter's windows first .. last - 1, one scrape each, with the index as value. */
static void fill(struct store *store, series_ref ref, int first, int last)
{
    store_write_begin(store);
    for (int i = first; i < last; i++) {
        struct record record = {.time_ms = window_at(i) + 5, .last = i, .count = 1, .kind = KIND_COUNTER};
        store_append(store, ref, window_at(i), WINDOW_MS, &record, NULL, 0);
    }
    store_write_end(store);
}

static struct matcher match(enum matcher_type type, const char *name, const char *value)
{
    struct matcher matcher;
    char error[256];
    assert_int_equal(matcher_init(&matcher, type, str_from(name), str_from(value), error), 0);
    return matcher;
}

static struct select_range range_of(int first, int last)
{
    return (struct select_range){.start_ms = window_at(first), .end_ms = window_at(last)};
}

/* The instances of what is selected, in its order, joined by spaces. */
static void selected(struct select *select, struct buf *ret_text)
{
    struct labels *item = NULL;
    size_t count = 0;
    int result;
    buf_reset(ret_text);
    while ((result = select_next(select, &item)) > 0) {
        buf_printf(ret_text, "%s" STR_FMT, count++ ? " " : "", STR_ARG(labels_get(item, STR("instance"))));
    }
    assert_int_equal(result, 0);
    buf_append_byte(ret_text, 0);
}

static void series_come_in_order_of_labels_and_by_time(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    fill(store, series(store, "m", "c", KIND_COUNTER), 0, 10);
    fill(store, series(store, "m", "a", KIND_COUNTER), 20, 30);
    fill(store, series(store, "m", "b", KIND_COUNTER), 0, 30);
    fill(store, series(store, "l", "z", KIND_COUNTER), 0, 30);
    series(store, "m", "nothing", KIND_COUNTER);
    struct matcher all = match(MATCH_REGEX, "__name__", ".+"), m = match(MATCH_EQUAL, "__name__", "m");
    static const struct {
        bool all;
        int first, last;
        const char *expected;
    } cases[] = {{true, 0, 40, "z a b c"}, {false, 0, 40, "a b c"}, {false, 0, 10, "b c"},
                 {false, 21, 40, "a b"},   {false, 30, 40, ""},     {false, -50, -1, ""}};
    CLEANUP(buf_done) struct buf text = BUF_INIT(KIB);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct select_range range = range_of(cases[i].first, cases[i].last);
        CLEANUP(select_freep) struct select *select = NULL;
        assert_int_equal(select_open(store, cases[i].all ? &all : &m, 1, &range, &select), 0);
        selected(select, &text);
        assert_string_equal((char *)text.data, cases[i].expected);
    }
    matcher_done(&all);
}

static void expect_windows(struct store *store, int first, int last)
{
    struct matcher m = match(MATCH_EQUAL, "__name__", "m");
    struct select_range range = {.start_ms = window_at(first) + 5, .end_ms = window_at(last) + 5};
    CLEANUP(select_freep) struct select *select = NULL;
    CLEANUP(sample_reader_freep) struct sample_reader *reader = NULL;
    struct labels *item = NULL;
    assert_int_equal(select_open(store, &m, 1, &range, &select), 0);
    assert_int_equal(select_next(select, &item), 1);
    reader = sample_reader_new(select, SELECT_LAST);
    sample_reader_current(reader);
    struct sample samples[10];
    int64_t count;
    int next = first;
    while ((count = sample_reader_read(reader, samples, ARRAY_LEN(samples))) > 0) {
        for (int64_t i = 0; i < count; i++, next++) {
            assert_int_equal(samples[i].time_ms, window_at(next) + 5);
            assert_true(samples[i].value == next);
        }
    }
    assert_int_equal(count, 0);
    assert_int_equal(next, last + 1);
}

/* Whichever sample of a chunk the ends fall on. */
static void the_range_has_both_its_ends(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    fill(store, series(store, "m", "a", KIND_COUNTER), -200, 100);
    for (int i = -200; i < 100; i++) {
        expect_windows(store, i, i);
        expect_windows(store, i, 99);
        expect_windows(store, -200, i);
    }
}

static void expect(struct store *store, enum select_field field, const struct sample *expected, size_t count)
{
    struct matcher m = match(MATCH_EQUAL, "__name__", "m");
    struct select_range range = range_of(0, 100);
    CLEANUP(select_freep) struct select *select = NULL;
    CLEANUP(sample_reader_freep) struct sample_reader *reader = NULL;
    struct labels *item = NULL;
    struct sample samples[16];
    assert_int_equal(select_open(store, &m, 1, &range, &select), 0);
    assert_int_equal(select_next(select, &item), 1);
    reader = sample_reader_new(select, field);
    sample_reader_current(reader);
    assert_int_equal(sample_reader_read(reader, samples, ARRAY_LEN(samples)), count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(samples[i].time_ms, expected[i].time_ms);
        assert_true(double_bits(samples[i].value) == double_bits(expected[i].value));
    }
}

/* The newest sample of a range, where the same chunk has others before and behind it, or none in it. */
static void the_newest_sample_is_of_the_range(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    series_ref ref = series(store, "m", "a", KIND_COUNTER);
    fill(store, ref, 0, 3);
    fill(store, ref, 20, 21);
    struct matcher m = match(MATCH_EQUAL, "__name__", "m");
    static const struct {
        int first, last, newest; /* -1: none */
    } cases[] = {{0, 30, 20}, {0, 19, 2}, {3, 19, -1}, {2, 2, 2}, {20, 20, 20}, {0, 0, 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct select_range range = {
            .start_ms = window_at(cases[i].first) + 5, .end_ms = window_at(cases[i].last) + 5, .newest_only = true};
        CLEANUP(select_freep) struct select *select = NULL;
        struct sample samples[32];
        assert_int_equal(select_open(store, &m, 1, &range, &select), 0);
        int64_t count = 0;
        if (select_count(select) > 0) {
            CLEANUP(sample_reader_freep) struct sample_reader *reader = sample_reader_new(select, SELECT_LAST);
            sample_reader_series(reader, 0);
            count = sample_reader_read(reader, samples, ARRAY_LEN(samples));
        }
        assert_int_equal(count > 0, cases[i].newest >= 0);
        for (int64_t j = 0; j < count; j++)
            assert_true(samples[j].time_ms >= range.start_ms && samples[j].time_ms <= range.end_ms);
        if (count > 0)
            assert_int_equal(samples[count - 1].time_ms, window_at(cases[i].newest) + 5);
    }
}

static void aggregates_of_a_gauge_are_read(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    series_ref ref = series(store, "m", "a", KIND_GAUGE);
    int64_t a = window_at(1), b = window_at(2), c = window_at(3), d = window_at(4);
    struct record moving = {.time_ms = a + 9, .last = 2, .count = 4, .min = 1, .max = 7, .sum = 13};
    struct record constant = {.time_ms = b + 9, .last = 3, .count = 2, .min = 3, .max = 3, .sum = 6};
    struct record ended = {.time_ms = c + 9, .last = value_stale(), .count = 1, .min = 5, .max = 5, .sum = 5};
    struct record nothing = {.time_ms = d + 9, .last = value_stale(), .min = value_stale(), .max = value_stale()};
    struct sample before = {c + 3, 5};
    store_write_begin(store);
    store_append(store, ref, a, WINDOW_MS, &moving, NULL, 0);
    store_append(store, ref, b, WINDOW_MS, &constant, NULL, 0);
    store_append(store, ref, c, WINDOW_MS, &ended, &before, 1);
    store_append(store, ref, d, WINDOW_MS, &nothing, NULL, 0);
    store_write_end(store);
    double stale = value_stale();
    expect(store, SELECT_LAST, (struct sample[]){{a + 9, 2}, {b + 9, 3}, {c + 3, 5}, {c + 9, stale}, {d + 9, stale}},
           5);
    expect(store, SELECT_COUNT, (struct sample[]){{a + 9, 4}, {b + 9, 2}, {c + 9, 1}, {d + 9, stale}}, 4);
    expect(store, SELECT_SUM, (struct sample[]){{a + 9, 13}, {b + 9, 6}, {c + 9, 5}, {d + 9, stale}}, 4);
    expect(store, SELECT_MIN, (struct sample[]){{a + 9, 1}, {b + 9, 3}, {c + 9, 5}, {d + 9, stale}}, 4);
    expect(store, SELECT_MAX, (struct sample[]){{a + 9, 7}, {b + 9, 3}, {c + 9, 5}, {d + 9, stale}}, 4);
}

static void a_counter_that_went_stale_keeps_its_last_value(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    series_ref ref = series(store, "m", "a", KIND_COUNTER);
    int64_t a = window_at(1);
    struct record ended = {.time_ms = a + 9, .last = value_stale(), .count = 3, .kind = KIND_COUNTER};
    struct sample before = {a + 3, 5};
    store_write_begin(store);
    store_append(store, ref, a, WINDOW_MS, &ended, &before, 1);
    store_write_end(store);
    expect(store, SELECT_LAST, (struct sample[]){{a + 3, 5}, {a + 9, value_stale()}}, 2);
    expect(store, SELECT_COUNT, (struct sample[]){{a + 9, 3}}, 1);
    expect(store, SELECT_MAX, (struct sample[]){{a + 9, 5}}, 1);
    expect(store, SELECT_SUM, (struct sample[]){{a + 9, 15}}, 1);
}

static bool yes(void *arg)
{
    (void)arg;
    return true;
}

static void what_selects_all_is_refused_and_a_cancelled_one_ends(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    fill(store, series(store, "m", "a", KIND_COUNTER), 0, 10);
    struct select_range range = range_of(0, 100);
    struct select *select = NULL;
    struct matcher matchers[] = {match(MATCH_REGEX, "a", ".*"), match(MATCH_NOT_EQUAL, "b", "x"),
                                 match(MATCH_EQUAL, "c", "")};
    assert_int_equal(select_open(store, NULL, 0, &range, &select), -EINVAL);
    assert_int_equal(select_open(store, matchers, ARRAY_LEN(matchers), &range, &select), -EINVAL);
    matcher_done(&matchers[0]);
    struct matcher m = match(MATCH_EQUAL, "__name__", "m");
    struct select_strings strings = {0};
    range.cancelled = yes;
    assert_int_equal(select_open(store, &m, 1, &range, &select), -ECANCELED);
    assert_int_equal(select_label_names(store, &m, 1, &range, 9, &strings), -ECANCELED);
    assert_null(select);
    assert_null(strings.items);
}

static void expect_strings(struct select_strings *strings, const char *const *expected, size_t count, bool cut)
{
    assert_int_equal(strings->count, count);
    assert_int_equal(strings->cut, cut);
    for (size_t i = 0; i < count; i++) {
        assert_true(str_equal(strings->items[i], str_from(expected[i])));
    }
    select_strings_free(strings);
}

static void names_and_values_come_sorted_and_cut(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    fill(store, series(store, "m", "c", KIND_COUNTER), 0, 10);
    fill(store, series(store, "m", "a", KIND_COUNTER), 20, 30);
    fill(store, series(store, "n", "b", KIND_COUNTER), 0, 30);
    CLEANUP(labels_unrefp) struct labels *other = labels_new((struct label[]){{STR("zone"), STR("eu")}}, 1);
    fill(store, store_series(store, other, KIND_COUNTER), 20, 30);

    struct select_strings strings = {0};
    struct str instance = STR("instance");
    struct select_range early = range_of(0, 5), none = range_of(50, 60);
    struct matcher m = match(MATCH_EQUAL, "__name__", "m"), no_zone = match(MATCH_EQUAL, "zone", "");
    static const char *const names[] = {"__name__", "instance", "zone"}, *const values[] = {"a", "b", "c"};
    static const char *const ac[] = {"a", "c"};
    assert_int_equal(select_label_names(store, NULL, 0, NULL, 9, &strings), 0);
    expect_strings(&strings, names, 3, false);
    assert_int_equal(select_label_names(store, NULL, 0, &early, 9, &strings), 0);
    expect_strings(&strings, names, 2, false);
    assert_int_equal(select_label_names(store, &no_zone, 1, NULL, 9, &strings), 0);
    expect_strings(&strings, names, 2, false);
    assert_int_equal(select_label_values(store, instance, NULL, 0, NULL, 9, &strings), 0);
    expect_strings(&strings, values, 3, false);
    assert_int_equal(select_label_values(store, instance, NULL, 0, NULL, 2, &strings), 0);
    expect_strings(&strings, values, 2, true);
    assert_int_equal(select_label_values(store, instance, &m, 1, NULL, 9, &strings), 0);
    expect_strings(&strings, ac, 2, false);
    assert_int_equal(select_label_values(store, instance, &m, 1, &early, 9, &strings), 0);
    expect_strings(&strings, &values[2], 1, false);
    assert_int_equal(select_label_values(store, instance, NULL, 0, &none, 9, &strings), 0);
    expect_strings(&strings, NULL, 0, false);
    assert_int_equal(select_label_values(store, STR("absent"), NULL, 0, NULL, 9, &strings), 0);
    expect_strings(&strings, NULL, 0, false);
}

/* A series that is pruned, and whose ref is given to another, is not taken for that one. */
static void a_pruned_series_reads_as_it_was(void **state)
{
    struct fixture *fixture = *state;
    struct store *store = fixture->store;
    series_ref ref = series(store, "m", "a", KIND_COUNTER);
    fill(store, ref, 0, 10);
    struct matcher m = match(MATCH_EQUAL, "__name__", "m");
    struct select_range range = {.start_ms = 0, .end_ms = INT64_MAX};
    struct labels *item = NULL;
    CLEANUP(select_freep) struct select *select = NULL;
    CLEANUP(sample_reader_freep) struct sample_reader *early = NULL;
    CLEANUP(sample_reader_freep) struct sample_reader *late = NULL;
    assert_int_equal(select_open(store, &m, 1, &range, &select), 0);
    assert_int_equal(select_next(select, &item), 1);
    early = sample_reader_new(select, SELECT_LAST);
    sample_reader_current(early);
    clock_simulated_advance(fixture->clock, 3 * 86400000);
    store_prune(store);
    store_prune(store);
    series_ref other = series(store, "m", "b", KIND_COUNTER);
    assert_int_equal(other, ref);
    struct record record = {.time_ms = clock_wall_ms(fixture->clock), .last = 1, .count = 1, .kind = KIND_COUNTER};
    store_write_begin(store);
    store_append(store, other, 0, 0, &record, NULL, 0);
    store_write_end(store);

    struct sample samples[20];
    late = sample_reader_new(select, SELECT_LAST);
    sample_reader_current(late);
    assert_int_equal(sample_reader_read(late, samples, ARRAY_LEN(samples)), 10); /* what a select found, it holds */
    assert_true(str_equal(labels_get(item, STR("instance")), STR("a")));
    assert_int_equal(sample_reader_read(early, samples, ARRAY_LEN(samples)), 10); /* what it holds, it holds */
}

/* One writer and some readers at once. Every sample's value follows from its time, so that a reader can judge alone. */
#define RACE_SERIES  40
#define RACE_WINDOWS 300
#define RACE_READERS 3

struct race {
    struct store *store;
    _Atomic bool done;
    _Atomic uint64_t errors;
    _Atomic uint64_t rounds;
};

static double race_value(int64_t time_ms)
{
    return (double)(time_ms / 1000 % 1009);
}

static uint64_t read_one(struct select *select)
{
    CLEANUP(sample_reader_freep) struct sample_reader *reader = sample_reader_new(select, SELECT_LAST);
    sample_reader_current(reader);
    struct sample samples[64];
    int64_t count, before = INT64_MIN;
    uint64_t errors = 0;
    while ((count = sample_reader_read(reader, samples, ARRAY_LEN(samples))) > 0) {
        for (int64_t i = 0; i < count; i++) {
            errors += samples[i].time_ms <= before || samples[i].value != race_value(samples[i].time_ms);
            before = samples[i].time_ms;
        }
    }
    return errors + (count < 0);
}

static uint64_t read_all(struct store *store)
{
    struct matcher matcher;
    char error[256];
    struct select_range range = {.start_ms = 0, .end_ms = INT64_MAX};
    struct select_strings strings = {0};
    CLEANUP(select_freep) struct select *select = NULL;
    struct labels *item = NULL;
    struct store_stats stats;
    uint64_t errors = 0;
    if (matcher_init(&matcher, MATCH_REGEX, STR("instance"), STR("host.*"), error) < 0) {
        return 1;
    }
    errors += select_open(store, &matcher, 1, &range, &select) < 0;
    matcher_done(&matcher);
    while (select && select_next(select, &item) > 0) {
        errors += read_one(select);
    }
    errors += select_label_values(store, STR("instance"), NULL, 0, &range, 1000, &strings) < 0;
    errors += strings.count > RACE_SERIES;
    select_strings_free(&strings);
    store_stats(store, &stats);
    return errors + (stats.series > RACE_SERIES);
}

static void *race_reader(void *arg)
{
    struct race *race = arg;
    do {
        atomic_fetch_add(&race->errors, read_all(race->store));
        atomic_fetch_add(&race->rounds, 1);
    } while (!atomic_load(&race->done));
    return NULL;
}

/* The windows in an order that appends, inserts and replaces; now and then everything is pruned away. */
static void race_write(struct fixture *fixture)
{
    struct store *store = fixture->store;
    for (int step = 0; step < RACE_WINDOWS; step++) {
        int index = step % 3 == 2 ? step - 20 : step;
        int64_t window = window_start_ms(NOW_MS, WINDOW_MS) + index * WINDOW_MS;
        series_ref refs[RACE_SERIES];
        clock_simulated_step_wall(fixture->clock, WINDOW_MS);
        for (int i = 0; i < RACE_SERIES; i++) {
            char name[16];
            snprintf(name, sizeof(name), "host%d", i);
            refs[i] = series(store, "m", name, KIND_COUNTER);
        }
        store_write_begin(store);
        for (int i = 0; i < RACE_SERIES; i++) {
            int64_t time = window + (step % 5 + 1) * 1000;
            uint32_t count = 1 + (uint32_t)step % 4;
            struct record record = {.time_ms = time, .last = race_value(time), .count = count, .kind = KIND_COUNTER};
            store_append(store, refs[i], window, WINDOW_MS, &record, NULL, 0);
            record.count++;
            record.time_ms += 1000;
            record.last = race_value(record.time_ms);
            store_append(store, refs[i], window, WINDOW_MS, &record, NULL, 0);
        }
        store_write_end(store);
        if (step % 100 == 99) {
            clock_simulated_step_wall(fixture->clock, 2 * 86400000);
            store_prune(store);
            clock_simulated_step_wall(fixture->clock, -2 * 86400000);
        } else if (step % 10 == 9) {
            store_prune(store);
        }
    }
}

static void readers_and_a_writer_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct race race = {.store = fixture->store};
    pthread_t threads[RACE_READERS];
    for (size_t i = 0; i < RACE_READERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, race_reader, &race), 0);
    }
    race_write(fixture);
    atomic_store(&race.done, true);
    for (size_t i = 0; i < RACE_READERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(race.errors, 0);
    assert_true(race.rounds >= RACE_READERS);
    struct store_stats stats;
    store_stats(fixture->store, &stats);
    assert_int_equal(stats.records_total, RACE_WINDOWS * RACE_SERIES * 2);
    assert_int_equal(stats.refused_total + stats.too_old_total + stats.too_new_total, 0);
    assert_true(stats.replaced_total >= RACE_WINDOWS / 2 * RACE_SERIES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(series_come_in_order_of_labels_and_by_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_newest_sample_is_of_the_range, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_range_has_both_its_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(aggregates_of_a_gauge_are_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_counter_that_went_stale_keeps_its_last_value, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_selects_all_is_refused_and_a_cancelled_one_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_and_values_come_sorted_and_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pruned_series_reads_as_it_was, set_up, tear_down),
        cmocka_unit_test_setup_teardown(readers_and_a_writer_at_once, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
