/* Chunks of the head: what is put in comes out, to the bit, and nothing else does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "any_value.h"
#include "base/fail.h"
#include "base/random.h"
#include "store/chunk.h"

#include <errno.h>

#define BASE_MS INT64_C(1700000000000)

/* A window of some entries at or after *time_ms, which is moved behind it. */
static size_t random_window(struct random *random, int64_t *time_ms, struct entry entries[static 4])
{
    static const uint32_t resolutions[] = {0, 1000, 15000, 60000};
    uint32_t resolution_ms = resolutions[random_below(random, 8) == 0 ? random_below(random, 4) : 3];
    size_t count = resolution_ms == 0 || random_below(random, 5) ? 1 : 1 + random_below(random, 4);
    int64_t at_ms = *time_ms;
    if (resolution_ms > 0) {
        at_ms += (resolution_ms - at_ms % resolution_ms) % resolution_ms;
    }
    for (size_t i = 0; i < count; i++) {
        entries[i] = (struct entry){.sample = {at_ms + (int64_t)i * (resolution_ms / 5), any_value(random, (double)i)},
                                    .flags = i + 1 < count ? ENTRY_EXTRA : 0,
                                    .resolution_ms = resolution_ms};
    }
    struct entry *record = &entries[count - 1];
    record->count = random_below(random, 6) == 0 ? (uint32_t)random_next(random) : 4;
    if (random_below(random, 3) == 0) {
        double value = record->sample.value;
        bool decimal = random_below(random, 2);
        record->flags = ENTRY_AGGREGATES;
        record->sum = decimal ? (double)random_below(random, 100000) / 100 : any_value(random, value);
        record->min = decimal ? value - 0.25 : any_value(random, value);
        record->max = decimal ? value + 1 : any_value(random, value);
    }
    *time_ms = at_ms + MAX(resolution_ms, 1U) + (int64_t)random_below(random, 3) * 1000;
    return count;
}

static bool same_entry(const struct entry *a, const struct entry *b)
{
    return a->sample.time_ms == b->sample.time_ms && double_bits(a->sample.value) == double_bits(b->sample.value) &&
           a->count == b->count && a->flags == b->flags && a->resolution_ms == b->resolution_ms &&
           (!(a->flags & ENTRY_AGGREGATES) || memcmp(&a->sum, &b->sum, 3 * sizeof(double)) == 0);
}

static void expect_entries(const struct chunk *chunk, const struct entries *expected)
{
    struct entries got = {0};
    assert_int_equal(chunk_decode(chunk->data, chunk_data_bytes(chunk), chunk->entries, BASE_MS, &got), 0);
    assert_int_equal(got.count, expected->count);
    struct sample *samples = mem_array(got.count, sizeof(*samples));
    struct str data = str_of((const char *)chunk->data, chunk_data_bytes(chunk));
    assert_int_equal(chunk_decode_samples(data, chunk->entries, BASE_MS, samples), 0);
    for (size_t i = 0; i < got.count; i++) {
        assert_true(same_entry(&got.items[i], &expected->items[i]));
        assert_int_equal(samples[i].time_ms, got.items[i].sample.time_ms);
        assert_true(double_bits(samples[i].value) == double_bits(got.items[i].sample.value));
    }
    mem_free(samples);
    entries_done(&got);
}

static void any_windows_come_back(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 2);
    for (int round = 0; round < 3000; round++) {
        CLEANUP(chunk_unrefp) struct chunk *chunk = chunk_new();
        struct entries expected = {0};
        int64_t time_ms = BASE_MS + (int64_t)random_below(&random, 1000);
        bool fits = true;
        while (fits) {
            struct entry window[4];
            size_t count = random_window(&random, &time_ms, window);
            fits = chunk_append(&chunk, BASE_MS, window, count);
            if (fits) {
                entries_add_all(&expected, window, count);
            } else {
                assert_true(expected.count > 0);
            }
            assert_int_equal(chunk->entries, expected.count);
            assert_int_equal(BASE_MS + chunk->start, entry_window_start_ms(&expected.items[0]));
            assert_int_equal(BASE_MS + chunk->end, entry_window_end_ms(&expected.items[expected.count - 1]));
        }
        assert_true(chunk_data_bytes(chunk) <= CHUNK_DATA_MAX || expected.items[0].flags & ENTRY_EXTRA);
        expect_entries(chunk, &expected);
        entries_done(&expected);
    }
}

static void a_regular_sample_costs_its_value_and_a_bit(void **state)
{
    (void)state;
    CLEANUP(chunk_unrefp) struct chunk *chunk = chunk_new();
    struct entry entry = {.sample = {BASE_MS, 7}, .count = 4, .resolution_ms = 60000};
    uint32_t before = 0;
    for (int i = 0; i < 120; i++) {
        entry.sample.time_ms = BASE_MS - BASE_MS % 60000 + 60000 * (i + 1) + 5;
        before = chunk->bits;
        assert_true(chunk_append(&chunk, BASE_MS, &entry, 1));
        assert_true(i < 2 || chunk->bits - before == 2);
    }
    assert_true(chunk->capacity == CHUNK_DATA_FIRST); /* two hours of a value that stands still */
}

static void a_window_of_many_extras_has_room(void **state)
{
    (void)state;
    CLEANUP(chunk_unrefp) struct chunk *chunk = chunk_new();
    struct entries expected = {0};
    for (int i = 0; i < CHUNK_WINDOW_MAX; i++) {
        struct entry entry = {.sample = {BASE_MS + i * 7 + i % 3, i / 7.0}, .resolution_ms = 3600000};
        entry.flags = i + 1 < CHUNK_WINDOW_MAX ? ENTRY_EXTRA : 0;
        entries_add(&expected, &entry);
    }
    assert_true(chunk_append(&chunk, BASE_MS, expected.items, expected.count));
    expect_entries(chunk, &expected);
    struct entry next = {.sample = {BASE_MS + 7200000, 1}, .count = 1};
    assert_false(chunk_append(&chunk, BASE_MS, &next, 1));
    entries_done(&expected);
}

static void a_chunk_that_is_read_does_not_change(void **state)
{
    (void)state;
    struct chunk *chunk = chunk_new();
    struct entry entry = {.sample = {BASE_MS + 1, 1}, .count = 1};
    assert_true(chunk_append(&chunk, BASE_MS, &entry, 1));
    struct chunk *held = chunk_ref(chunk);
    entry.sample.time_ms += 1000;
    assert_true(chunk_append(&chunk, BASE_MS, &entry, 1));
    assert_ptr_not_equal(chunk, held);
    assert_int_equal(held->entries, 1);
    assert_int_equal(chunk->entries, 2);
    chunk_unref(held);
    chunk_unref(chunk);
}

/* A spill file has a checksum; what passes it all the same must do no harm. */
static void broken_bytes_do_no_harm(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 3);
    CLEANUP(chunk_unrefp) struct chunk *chunk = chunk_new();
    int64_t time_ms = BASE_MS;
    struct entry window[4];
    for (size_t count;
         count = random_window(&random, &time_ms, window), chunk_append(&chunk, BASE_MS, window, count);) {
    }
    size_t len = chunk_data_bytes(chunk);
    for (size_t cut = 0; cut < len; cut++) {
        struct entries got = {0};
        assert_int_equal(chunk_decode(chunk->data, cut, chunk->entries, BASE_MS, &got), -EBADMSG);
        entries_done(&got);
    }
    uint8_t bytes[CHUNK_DATA_MAX];
    for (int i = 0; i < 20000; i++) {
        struct entries got = {0};
        memcpy(bytes, chunk->data, len);
        bytes[random_below(&random, len)] ^= (uint8_t)(1 << random_below(&random, 8));
        int result = chunk_decode(bytes, len, chunk->entries, BASE_MS, &got);
        assert_true(result == -EBADMSG || (result == 0 && got.count == chunk->entries));
        for (size_t j = 1; j < got.count; j++) {
            assert_true(got.items[j].sample.time_ms > got.items[j - 1].sample.time_ms);
        }
        entries_done(&got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_windows_come_back),
        cmocka_unit_test(a_regular_sample_costs_its_value_and_a_bit),
        cmocka_unit_test(a_window_of_many_extras_has_room),
        cmocka_unit_test(a_chunk_that_is_read_does_not_change),
        cmocka_unit_test(broken_bytes_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
