/* Bits, XOR chunks and what stands beside them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/fail.h"
#include "base/random.h"
#include "store/chunk.h"

#include <errno.h>

static void bits_come_back_in_any_width(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    static uint64_t values[COUNT];
    static unsigned widths[COUNT];
    static uint8_t data[COUNT * 8];
    struct random random;
    random_seed(&random, 1);
    struct bit_writer writer = {.data = data, .bytes_max = sizeof(data)};
    memset(data, 0xff, sizeof(data)); /* what was there before must not shine through */
    for (size_t i = 0; i < COUNT; i++) {
        widths[i] = (unsigned)random_below(&random, 65);
        values[i] = random_next(&random);
        bit_write(&writer, values[i], widths[i]);
    }
    struct bit_reader reader = bit_reader_of(data, (writer.bits + 7) / 8);
    for (size_t i = 0; i < COUNT; i++) {
        uint64_t mask = widths[i] == 64 ? UINT64_MAX : (UINT64_C(1) << widths[i]) - 1;
        assert_int_equal(bit_read(&reader, widths[i]), values[i] & mask);
    }
    assert_false(reader.bad);
    assert_int_equal(bit_read(&reader, 64), 0);
    assert_true(reader.bad);
    assert_int_equal(bit_read(&reader, 0), 0);
}

static void varints_are_those_of_go(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {0, 1, 127, 128, 300, INT64_MAX, UINT64_C(1) << 63, UINT64_MAX};
    uint8_t data[16];
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        struct bit_writer writer = {.data = data, .bytes_max = sizeof(data)};
        bit_write_uvarint(&writer, numbers[i]);
        struct bit_reader reader = bit_reader_of(data, writer.bits / 8);
        assert_true(bit_read_uvarint(&reader) == numbers[i] && !reader.bad);
        writer.bits = 0;
        bit_write_varint(&writer, (int64_t)numbers[i]);
        reader = bit_reader_of(data, writer.bits / 8);
        assert_true(bit_read_varint(&reader) == (int64_t)numbers[i] && !reader.bad);
    }
    struct bit_writer writer = {.data = data, .bytes_max = sizeof(data)};
    bit_write_varint(&writer, -1);
    bit_write_varint(&writer, 1000);
    assert_memory_equal(data, "\x01\xd0\x0f", 3);
    static const uint8_t too_long[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    struct bit_reader reader = bit_reader_of(too_long, sizeof(too_long));
    assert_int_equal(bit_read_uvarint(&reader), 0);
    assert_true(reader.bad);
}

static struct chunk *chunk_of(const struct chunk_entry *entries, size_t count)
{
    struct chunk *chunk = chunk_new();
    struct xor_state state = XOR_STATE_INIT;
    for (size_t i = 0; i < count; i++) {
        chunk_append(&chunk, &state, &entries[i]);
    }
    return chunk;
}

static struct chunk *chunk_of_samples(const struct sample *samples, size_t count)
{
    struct chunk_entry entries[CHUNK_SAMPLES_MAX];
    for (size_t i = 0; i < count; i++) {
        entries[i] = (struct chunk_entry){.sample = samples[i], .count = 1};
    }
    return chunk_of(entries, count);
}

/* Worked out by hand from the format: 3 samples; t 1000 as varint, 1.0; delta 1000, no change; 0, 0 for the same delta,
 * 11 with 1 leading zero (00001) and 11 significant bits (001011), all ones, for 1.0 ^ 2.0. */
static void bytes_are_those_of_prometheus(void **state)
{
    (void)state;
    CLEANUP(chunk_unrefp)
    struct chunk *chunk = chunk_of_samples((struct sample[]){{1000, 1.0}, {2000, 1.0}, {3000, 2.0}}, 3);
    static const uint8_t expected[] = {0, 3, 0xd0, 0x0f, 0x3f, 0xf0, 0,    0,    0,
                                       0, 0, 0,    0xe8, 0x07, 0x30, 0x97, 0xff, 0xc0};
    assert_int_equal(chunk_data_bytes(chunk), sizeof(expected));
    assert_memory_equal(chunk->data, expected, sizeof(expected));
}

/* The bits that each delta of deltas takes show that each form's range ends where Prometheus' does. */
static void deltas_of_deltas_take_the_smallest_form(void **state)
{
    (void)state;
    static const struct {
        int64_t dod;
        size_t bits;
    } cases[] = {{0, 1},       {1, 16},      {8192, 16},    {8193, 20},    {-8191, 16},
                 {-8192, 20},  {65536, 20},  {65537, 24},   {-65535, 20},  {-65536, 24},
                 {524288, 24}, {524289, 68}, {-524287, 24}, {-524288, 68}, {INT64_C(1) << 40, 68}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t delta = 1000000;
        struct sample samples[] = {{0, 1}, {delta, 1}, {2 * delta + cases[i].dod, 1}};
        CLEANUP(chunk_unrefp) struct chunk *two = chunk_of_samples(samples, 2);
        CLEANUP(chunk_unrefp) struct chunk *three = chunk_of_samples(samples, 3);
        assert_int_equal(three->bits - two->bits, cases[i].bits + 1); /* + 1: the value did not change */
        struct xor_state end = chunk_state(three);
        assert_int_equal(end.time_ms, samples[2].time_ms);
    }
}

static double any_value(struct random *random, double before)
{
    switch (random_below(random, 6)) {
    case 0:
        return before;
    case 1:
        return before + 1;
    case 2:
        return value_stale();
    case 3:
        return double_from_bits(random_next(random));
    case 4:
        return double_from_bits(UINT64_C(1) << random_below(random, 64));
    default:
        return (double)random_below(random, 1000) / 10;
    }
}

static void any_samples_come_back(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 2);
    for (int round = 0; round < 2000; round++) {
        struct chunk_entry entries[CHUNK_SAMPLES_MAX];
        size_t count = 1 + random_below(&random, CHUNK_SAMPLES_MAX);
        int64_t time = round % 3 == 0 ? INT64_MIN : (int64_t)random_next(&random) / 4;
        double value = 0;
        uint32_t scrapes = 4;
        for (size_t i = 0; i < count; i++) {
            value = any_value(&random, value);
            scrapes = random_below(&random, 8) == 0 ? (uint32_t)random_next(&random) : scrapes;
            entries[i] = (struct chunk_entry){.sample = {time, value}, .count = scrapes};
            if (round % 2 && random_below(&random, 4) == 0) {
                entries[i].flags = ENTRY_AGGREGATES;
                entries[i].sum = random_unit(&random);
                entries[i].min = value;
                entries[i].max = (double)i;
            } else if (round % 4 == 3 && random_below(&random, 4) == 0) {
                entries[i].flags = ENTRY_EXTRA;
            }
            time += 1 + (int64_t)(random_next(&random) >> (8 + random_below(&random, 55)));
        }
        CLEANUP(chunk_unrefp) struct chunk *chunk = chunk_of(entries, count);
        assert_int_equal(chunk_count(chunk), count);
        assert_int_equal(chunk->min_time_ms, entries[0].sample.time_ms);
        assert_int_equal(chunk->max_time_ms, entries[count - 1].sample.time_ms);
        struct chunk_reader reader;
        struct chunk_entry entry;
        chunk_reader_init(&reader, chunk);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(chunk_read(&reader, &entry), 1);
            assert_int_equal(entry.sample.time_ms, entries[i].sample.time_ms);
            assert_true(double_bits(entry.sample.value) == double_bits(entries[i].sample.value));
            assert_int_equal(entry.count, entries[i].count);
            assert_int_equal(entry.flags, entries[i].flags);
            assert_memory_equal(&entry.sum, &entries[i].sum, 3 * sizeof(double));
        }
        assert_int_equal(chunk_read(&reader, &entry), 0);
    }
}

static void writing_goes_on_from_what_was_read(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 3);
    for (int round = 0; round < 500; round++) {
        struct chunk *once = chunk_new(), *resumed = chunk_new();
        struct xor_state first = XOR_STATE_INIT;
        double value = 1;
        for (int i = 0; i < 40; i++) {
            value = any_value(&random, value);
            struct chunk_entry entry = {.sample = {1000 * i + (int64_t)random_below(&random, 900), value}, .count = 1};
            chunk_append(&once, &first, &entry);
            struct xor_state found = chunk_state(resumed);
            chunk_append(&resumed, &found, &entry);
        }
        assert_int_equal(once->bits, resumed->bits);
        assert_memory_equal(once->data, resumed->data, chunk_data_bytes(once));
        chunk_unref(once);
        chunk_unref(resumed);
    }
}

static void a_chunk_that_is_read_does_not_change(void **state)
{
    (void)state;
    struct chunk_entry entries[] = {
        {.sample = {1, 1}, .count = 4},
        {.sample = {2, 2}, .count = 4, .flags = ENTRY_AGGREGATES, .sum = 6, .min = 1, .max = 2},
        {.sample = {3, 3}, .count = 4, .flags = ENTRY_AGGREGATES, .sum = 9, .min = 2, .max = 3}};
    struct chunk *chunk = chunk_of(entries, 2);
    struct chunk *held = chunk_ref(chunk);
    struct xor_state found = chunk_state(chunk);
    chunk_append(&chunk, &found, &entries[2]);
    assert_ptr_not_equal(chunk, held);
    assert_int_equal(chunk_count(held), 2);
    assert_int_equal(chunk_count(chunk), 3);
    chunk_unref(held);
    struct chunk *before = chunk_ref(chunk);
    chunk_trim(&chunk);
    assert_ptr_equal(chunk, before);
    chunk_unref(before);
    chunk_trim(&chunk);
    assert_in_range(chunk->capacity - chunk_data_bytes(chunk), 0, 15);
    assert_int_equal(chunk_count(chunk), 3);
    chunk_unref(chunk);
}

static void cut_and_broken_chunks_are_told(void **state)
{
    (void)state;
    struct sample samples[50], sample;
    for (int i = 0; i < 50; i++) {
        samples[i] = (struct sample){i * 977 * i, i * 1.7};
    }
    CLEANUP(chunk_unrefp) struct chunk *chunk = chunk_of_samples(samples, 50);
    for (size_t len = 0; len < chunk_data_bytes(chunk); len++) {
        struct xor_reader reader;
        int result;
        xor_reader_init(&reader, chunk->data, len);
        while ((result = xor_read(&reader, &sample)) > 0) {
        }
        assert_int_equal(result, -EBADMSG);
        assert_int_equal(xor_read(&reader, &sample), -EBADMSG);
    }
    /* 31 leading zeros and 60 significant bits are more than 64. */
    uint8_t wide[32] = {0, 2};
    struct bit_writer writer = {.data = wide, .bytes_max = sizeof(wide), .bits = 16};
    bit_write_varint(&writer, 0);
    bit_write(&writer, 0, 64);
    bit_write_uvarint(&writer, 1);
    bit_write(&writer, 0x3, 2);
    bit_write(&writer, 31, 5);
    bit_write(&writer, 60, 6);
    bit_write(&writer, 1, 60);
    struct xor_reader reader;
    xor_reader_init(&reader, wide, sizeof(wide));
    assert_int_equal(xor_read(&reader, &sample), 1);
    assert_int_equal(xor_read(&reader, &sample), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_come_back_in_any_width),
        cmocka_unit_test(varints_are_those_of_go),
        cmocka_unit_test(bytes_are_those_of_prometheus),
        cmocka_unit_test(deltas_of_deltas_take_the_smallest_form),
        cmocka_unit_test(any_samples_come_back),
        cmocka_unit_test(writing_goes_on_from_what_was_read),
        cmocka_unit_test(a_chunk_that_is_read_does_not_change),
        cmocka_unit_test(cut_and_broken_chunks_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
