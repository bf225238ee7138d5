/* Bits, and XOR chunks made of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "any_value.h"
#include "base/fail.h"
#include "base/random.h"
#include "store/xor.h"

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

#define SAMPLES_MAX 200

struct xor_chunk {
    uint8_t data[XOR_HEADER_BYTES + SAMPLES_MAX * XOR_SAMPLE_BYTES_MAX];
    size_t bits;
    struct xor_state state;
};

static void chunk_of_samples(const struct sample *samples, size_t count, struct xor_chunk *ret_chunk)
{
    struct bit_writer writer = {.data = ret_chunk->data, .bytes_max = sizeof(ret_chunk->data)};
    ret_chunk->state = XOR_STATE_INIT;
    bit_write(&writer, count, 16);
    for (size_t i = 0; i < count; i++) {
        xor_write(&writer, &ret_chunk->state, samples[i]);
    }
    ret_chunk->bits = writer.bits;
}

static size_t bytes_of(const struct xor_chunk *chunk)
{
    return (chunk->bits + 7) / 8;
}

/* Worked out by hand from the format: 3 samples; t 1000 as varint, 1.0; delta 1000, no change; 0, 0 for the same delta,
 * 11 with 1 leading zero (00001) and 11 significant bits (001011), all ones, for 1.0 ^ 2.0. */
static void bytes_are_those_of_prometheus(void **state)
{
    (void)state;
    struct xor_chunk chunk;
    chunk_of_samples((struct sample[]){{1000, 1.0}, {2000, 1.0}, {3000, 2.0}}, 3, &chunk);
    static const uint8_t expected[] = {0, 3, 0xd0, 0x0f, 0x3f, 0xf0, 0,    0,    0,
                                       0, 0, 0,    0xe8, 0x07, 0x30, 0x97, 0xff, 0xc0};
    assert_int_equal(bytes_of(&chunk), sizeof(expected));
    assert_memory_equal(chunk.data, expected, sizeof(expected));
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
        struct xor_chunk two, three;
        chunk_of_samples(samples, 2, &two);
        chunk_of_samples(samples, 3, &three);
        assert_int_equal(three.bits - two.bits, cases[i].bits + 1); /* + 1: the value did not change */
        assert_int_equal(three.state.time_ms, samples[2].time_ms);
    }
}

static void any_samples_come_back(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 2);
    for (int round = 0; round < 2000; round++) {
        struct sample samples[SAMPLES_MAX], sample;
        size_t count = 1 + random_below(&random, SAMPLES_MAX);
        int64_t time = round % 3 == 0 ? INT64_MIN : (int64_t)random_next(&random) / 4;
        double value = 0;
        for (size_t i = 0; i < count; i++) {
            value = any_value(&random, value);
            samples[i] = (struct sample){time, value};
            time += 1 + (int64_t)(random_next(&random) >> (9 + random_below(&random, 54)));
        }
        struct xor_chunk chunk;
        struct xor_reader reader;
        chunk_of_samples(samples, count, &chunk);
        struct sample bulk[SAMPLES_MAX];
        assert_int_equal(xor_count(chunk.data, bytes_of(&chunk)), count);
        assert_int_equal(xor_decode(chunk.data, bytes_of(&chunk), bulk), 0);
        assert_memory_equal(bulk, samples, count * sizeof(*bulk));
        xor_reader_init(&reader, chunk.data, bytes_of(&chunk));
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(xor_read(&reader, &sample), 1);
            assert_int_equal(sample.time_ms, samples[i].time_ms);
            assert_true(double_bits(sample.value) == double_bits(samples[i].value));
        }
        assert_int_equal(xor_read(&reader, &sample), 0);
    }
}

static void cut_and_broken_chunks_are_told(void **state)
{
    (void)state;
    struct sample samples[50], sample;
    for (int i = 0; i < 50; i++) {
        samples[i] = (struct sample){i * 977 * i, i * 1.7};
    }
    struct xor_chunk chunk;
    chunk_of_samples(samples, 50, &chunk);
    for (size_t len = 0; len < bytes_of(&chunk); len++) {
        struct xor_reader reader;
        struct sample bulk[50];
        int result;
        assert_true(len < XOR_HEADER_BYTES || xor_decode(chunk.data, len, bulk) == -EBADMSG);
        xor_reader_init(&reader, chunk.data, len);
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
        cmocka_unit_test(bits_come_back_in_any_width),   cmocka_unit_test(varints_are_those_of_go),
        cmocka_unit_test(bytes_are_those_of_prometheus), cmocka_unit_test(deltas_of_deltas_take_the_smallest_form),
        cmocka_unit_test(any_samples_come_back),         cmocka_unit_test(cut_and_broken_chunks_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
