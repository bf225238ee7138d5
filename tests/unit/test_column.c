/* Columns: every double comes back bit for bit, in the bytes that were hoped for; nothing damaged is taken. */
#include "base/fail.h"
#include "base/random.h"
#include "hop/column.h"
#include "hop/scale.h"
#include "metric/sample.h"

#include <errno.h>
#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define COUNT_MAX 3000

struct packed {
    struct buf header, payload;
};

static void packed_init(struct packed *packed)
{
    buf_init(&packed->header, 1 * MIB);
    buf_init(&packed->payload, 1 * MIB);
}

static void packed_done(struct packed *packed)
{
    buf_done(&packed->header);
    buf_done(&packed->payload);
}

/* A copy of the exact size, so that a sanitizer sees a read behind its end. */
static uint8_t *exact(const struct buf *buf, size_t len)
{
    uint8_t *copy = mem_alloc(len ? len : 1);
    if (len > 0)
        memcpy(copy, buf->data, len);
    return copy;
}

static void keep_stats(void *arg, int part, const struct column_stats *stats)
{
    assert_int_equal(part, 7);
    *(struct column_stats *)arg = *stats;
}

static int decode(const struct packed *packed, size_t header_len, size_t payload_len, size_t count, double *values,
                  struct column_stats *stats)
{
    uint8_t *header = exact(&packed->header, header_len), *payload = exact(&packed->payload, payload_len);
    struct column_input in = {.header = reader_of(header, header_len),
                              .payload = reader_of(payload, payload_len),
                              keep_stats,
                              stats,
                              .part = 7};
    int error = column_decode_doubles(&in, NULL, count, values, NULL);
    if (error == 0) {
        assert_int_equal(stats->count, count);
        assert_int_equal(stats->header_bytes, header_len);
        assert_int_equal(stats->payload_bytes, payload_len);
        assert_int_equal(reader_left(&in.header), 0);
        assert_int_equal(reader_left(&in.payload), 0);
    }
    mem_free(header);
    mem_free(payload);
    return error;
}

static void assert_same(const double *got, const double *wanted, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (double_bits(got[i]) != double_bits(wanted[i]))
            fail_msg("value %zu of %zu: %a is not %a", i, count, got[i], wanted[i]);
}

static size_t round_trip(const double *values, size_t count, struct column_stats *ret_stats)
{
    CLEANUP(packed_done) struct packed packed;
    static double got[COUNT_MAX];
    struct column_stats stats;
    packed_init(&packed);
    assert_int_equal(column_encode_doubles(values, NULL, count, &packed.header, &packed.payload), 0);
    assert_int_equal(decode(&packed, packed.header.len, packed.payload.len, count, got, &stats), 0);
    assert_same(got, values, count);
    if (ret_stats)
        *ret_stats = stats;
    return packed.header.len + packed.payload.len;
}

typedef double make_value(struct random *random, size_t i);

static double any_bits(struct random *random, size_t i)
{
    (void)i;
    return double_from_bits(random_next(random));
}
static double unit(struct random *random, size_t i)
{
    (void)i;
    return random_unit(random);
}
static double small_ints(struct random *random, size_t i)
{
    (void)i;
    return (double)random_below(random, 200) - 100;
}
static double big_ints(struct random *random, size_t i)
{
    (void)i;
    return (double)(random_next(random) >> random_below(random, 64));
}
static double around_two_53(struct random *random, size_t i)
{
    (void)i;
    return 9007199254740992.0 + (double)random_below(random, 2000) - 1000;
}
static double around_two_51(struct random *random, size_t i)
{
    (void)i;
    double value = 2251799813685248.0 + (double)random_below(random, 2000) - 1000;
    return random_below(random, 2) ? value : -value;
}
static double hundredths(struct random *random, size_t i)
{
    (void)i;
    return (double)random_below(random, 10000000) / 100;
}
static double nanoseconds(struct random *random, size_t i)
{
    (void)i;
    return (double)random_below(random, 10000000000) / 1e9;
}
static double milli_product(struct random *random, size_t i)
{
    (void)i;
    return (double)random_below(random, 10000000) * 0.001;
}
static double milli_milli(struct random *random, size_t i)
{
    (void)i;
    return (double)random_below(random, 10000000000) / 1000 / 1000;
}
static double pages(struct random *random, size_t i)
{
    (void)i;
    return (double)random_below(random, 1 << 24) * 4096;
}
static double thousands(struct random *random, size_t i)
{
    (void)i;
    return (double)random_below(random, 100000) * 1e6;
}
static double digits_17(struct random *random, size_t i)
{
    (void)i;
    char text[64];
    snprintf(text, sizeof(text), "%.17g", random_unit(random) * 1e6);
    double value = 0;
    assert_int_equal(str_to_double(str_from(text), &value), 0);
    return value;
}
static double specials(struct random *random, size_t i)
{
    static const uint64_t bits[] = {0,
                                    0x8000000000000000,
                                    STALE_NAN_BITS,
                                    NORMAL_NAN_BITS,
                                    0xfff8000000000000,
                                    0x7ff0000000000001,
                                    0x7ff0000000000000,
                                    0xfff0000000000000,
                                    1,
                                    0x8000000000000001,
                                    0x000fffffffffffff,
                                    0x7fefffffffffffff,
                                    0x0010000000000000,
                                    0x43f0000000000000,
                                    UINT64_MAX};
    (void)i;
    return double_from_bits(bits[random_below(random, ARRAY_LEN(bits))]);
}
static double all_equal(struct random *random, size_t i)
{
    (void)random;
    (void)i;
    return 123.456;
}
static double one_outlier(struct random *random, size_t i)
{
    (void)random;
    return i == 7 ? 1e15 : 3;
}
static double some_stale(struct random *random, size_t i)
{
    return random_below(random, 50) ? (double)(1000000 + i) : value_stale();
}
static double starts_stale(struct random *random, size_t i)
{
    (void)random;
    return i < 5 ? value_stale() : (double)i;
}
static double mixed(struct random *random, size_t i)
{
    static make_value *const makers[] = {any_bits, unit, small_ints, big_ints, hundredths, milli_product, specials};
    return makers[random_below(random, ARRAY_LEN(makers))](random, i);
}
static double mostly_ints(struct random *random, size_t i)
{
    return random_below(random, 30) ? small_ints(random, i) : mixed(random, i);
}
/* What an address space without a limit is given as: k/10^e of it is another number. */
static double unlimited(struct random *random, size_t i)
{
    return random_below(random, 3) ? 1.8446744073709552e+19 : i % 2 ? -1 : 9.223372036854776e+18;
}

static make_value *const makers[] = {any_bits,   unit,        small_ints,    big_ints,    around_two_53, around_two_51,
                                     hundredths, nanoseconds, milli_product, milli_milli, pages,         thousands,
                                     digits_17,  specials,    all_equal,     one_outlier, some_stale,    starts_stale,
                                     mixed,      mostly_ints, unlimited};

static void every_value_comes_back_bit_for_bit(void **state)
{
    (void)state;
    static const size_t counts[] = {1, 2, 3, 7, 8, 9, 19, 48, 49, 95, 100, 1000, COUNT_MAX};
    static double values[COUNT_MAX];
    struct random random;
    random_seed(&random, 1);
    for (size_t m = 0; m < ARRAY_LEN(makers); m++)
        for (size_t c = 0; c < ARRAY_LEN(counts); c++)
            for (int round = 0; round < 10; round++) {
                for (size_t i = 0; i < counts[c]; i++)
                    values[i] = makers[m](&random, i);
                round_trip(values, counts[c], NULL);
            }
}

/* The bytes that make the format worth having; counts of 1000. */
static void common_values_are_small(void **state)
{
    (void)state;
    static const struct {
        make_value *make;
        size_t bits_max; /* per value */
        uint32_t exceptions_max;
    } wanted[] = {{small_ints, 9, 0},       {hundredths, 25, 0},  {milli_product, 25, 0}, {milli_milli, 35, 0},
                  {pages, 25, 0},           {thousands, 18, 0},   {all_equal, 1, 0},      {one_outlier, 1, 0},
                  {around_two_51, 54, 600}, {nanoseconds, 35, 0}, {any_bits, 65, 0},      {unlimited, 65, 0}};
    static double values[1000];
    struct random random;
    random_seed(&random, 2);
    for (size_t w = 0; w < ARRAY_LEN(wanted); w++) {
        struct column_stats stats;
        for (size_t i = 0; i < 1000; i++)
            values[i] = wanted[w].make(&random, i);
        size_t bytes = round_trip(values, 1000, &stats);
        if (bytes * 8 > wanted[w].bits_max * 1000 || stats.exceptions > wanted[w].exceptions_max)
            fail_msg("case %zu: %zu bytes, scale %s, %u bits, %u exceptions", w, bytes, scale_name(stats.scale),
                     stats.bits, stats.exceptions);
    }
}

static void an_exception_does_not_cost_the_others(void **state)
{
    (void)state;
    static double values[1000];
    for (size_t i = 0; i < 1000; i++)
        values[i] = (double)(i % 16);
    values[500] = 0.1234567890123;
    values[501] = NAN;
    struct column_stats stats;
    size_t bytes = round_trip(values, 1000, &stats);
    assert_string_equal(scale_name(stats.scale), "1");
    assert_int_equal(stats.exceptions, 2);
    assert_int_equal(stats.bits, 4);
    assert_true(bytes < 500 + 40);
}

static void ints_come_back(void **state)
{
    (void)state;
    static int64_t values[COUNT_MAX], got[COUNT_MAX];
    struct random random;
    random_seed(&random, 3);
    for (int round = 0; round < 2000; round++) {
        size_t count = 1 + random_below(&random, round % 10 ? 60 : COUNT_MAX);
        unsigned shift = (unsigned)random_below(&random, 64), zeros = (unsigned)random_below(&random, 64);
        uint64_t base = random_next(&random);
        for (size_t i = 0; i < count; i++) {
            uint64_t bits = random_below(&random, 20) ? random_next(&random) >> shift : random_next(&random);
            values[i] = (int64_t)(base + (round % 3 ? bits : bits << zeros));
        }
        if (round % 50 == 0)
            values[0] = INT64_MIN;
        if (round % 75 == 0)
            values[count - 1] = INT64_MAX;
        CLEANUP(packed_done) struct packed packed;
        packed_init(&packed);
        assert_int_equal(column_encode_ints(values, count, &packed.header, &packed.payload), 0);
        uint8_t *header = exact(&packed.header, packed.header.len),
                *payload = exact(&packed.payload, packed.payload.len);
        struct column_input in = {.header = reader_of(header, packed.header.len),
                                  .payload = reader_of(payload, packed.payload.len)};
        assert_int_equal(column_decode_ints(&in, count, got), 0);
        assert_int_equal(reader_left(&in.header) + reader_left(&in.payload), 0);
        assert_memory_equal(got, values, count * sizeof(*values));
        mem_free(header);
        mem_free(payload);
    }
}

/* Values near others that both ends know: any bases at all give the same values back, near ones give them in less. */
static void near_values_are_small(void **state)
{
    (void)state;
    static double values[1000], bases[1000], got[1000];
    struct random random;
    random_seed(&random, 7);
    for (size_t m = 0; m < 4 * ARRAY_LEN(makers); m++) {
        CLEANUP(packed_done) struct packed packed;
        packed_init(&packed);
        for (size_t i = 0; i < 1000; i++) {
            bases[i] = makers[m % ARRAY_LEN(makers)](&random, i);
            bool near = m % 3 && fabs(bases[i]) < 1e15;
            values[i] = near ? bases[i] + (double)random_below(&random, 50) / 100
                             : makers[(m / 2) % ARRAY_LEN(makers)](&random, i);
        }
        assert_int_equal(column_encode_doubles(values, bases, 1000, &packed.header, &packed.payload), 0);
        struct column_input in = {.header = reader_of(packed.header.data, packed.header.len),
                                  .payload = reader_of(packed.payload.data, packed.payload.len)};
        assert_int_equal(column_decode_doubles(&in, bases, 1000, got, NULL), 0);
        assert_int_equal(reader_left(&in.header) + reader_left(&in.payload), 0);
        assert_same(got, values, 1000);
    }
    CLEANUP(packed_done) struct packed packed;
    packed_init(&packed);
    for (size_t i = 0; i < 1000; i++) {
        bases[i] = (double)random_below(&random, UINT64_C(1) << 40);
        values[i] = bases[i] - (double)random_below(&random, 1000);
    }
    assert_int_equal(column_encode_doubles(values, bases, 1000, &packed.header, &packed.payload), 0);
    assert_true(packed.payload.len <= 1000 * 10 / 8 + 8);
    /* Without the bases it cannot be read. */
    assert_int_equal(decode(&packed, packed.header.len, packed.payload.len, 1000, got, NULL), -EBADMSG);
}

static void every_truncation_is_an_error(void **state)
{
    (void)state;
    static double values[300], got[300];
    struct random random;
    random_seed(&random, 4);
    for (size_t m = 0; m < ARRAY_LEN(makers); m++) {
        for (size_t count = 1; count <= 300; count = 3 * count + 1) {
            CLEANUP(packed_done) struct packed packed;
            packed_init(&packed);
            for (size_t i = 0; i < count; i++)
                values[i] = makers[m](&random, i);
            assert_int_equal(column_encode_doubles(values, NULL, count, &packed.header, &packed.payload), 0);
            for (size_t len = 0; len < packed.header.len; len++)
                assert_int_equal(decode(&packed, len, packed.payload.len, count, got, NULL), -EBADMSG);
            for (size_t len = 0; len < packed.payload.len; len++)
                assert_int_equal(decode(&packed, packed.header.len, len, count, got, NULL), -EBADMSG);
        }
    }
}

static void nothing_damaged_reads_behind_the_end(void **state)
{
    (void)state;
    static double values[300], got[301];
    struct random random;
    random_seed(&random, 5);
    int refused = 0;
    for (int round = 0; round < 30000; round++) {
        CLEANUP(packed_done) struct packed packed;
        packed_init(&packed);
        size_t count = 1 + random_below(&random, 300);
        make_value *make = makers[random_below(&random, ARRAY_LEN(makers))];
        for (size_t i = 0; i < count; i++)
            values[i] = make(&random, i);
        assert_int_equal(column_encode_doubles(values, NULL, count, &packed.header, &packed.payload), 0);
        struct buf *hit = random_below(&random, 3) || packed.payload.len == 0 ? &packed.header : &packed.payload;
        hit->data[random_below(&random, hit->len)] = (uint8_t)random_next(&random);
        uint8_t *header = exact(&packed.header, packed.header.len),
                *payload = exact(&packed.payload, packed.payload.len);
        struct column_input in = {.header = reader_of(header, packed.header.len),
                                  .payload = reader_of(payload, packed.payload.len)};
        got[count] = 42;
        int error = column_decode_doubles(&in, NULL, count, got, NULL);
        assert_true(error == 0 || error == -EBADMSG);
        assert_true(got[count] == 42);
        refused += error < 0;
        mem_free(header);
        mem_free(payload);
    }
    assert_true(refused > 1000);
}

static void unknown_modes_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t len;
    } bad[] = {
        {"\x10\x00\xff", 3},         /* a scale that is not there */
        {"\x7f\x00\xff", 3},         /* another */
        {"\x01\x00\x41", 3},         /* 65 bits */
        {"\x01\x00\x08\x40\x00", 5}, /* 64 zeros */
        {"\x01\x00\x00\x00\x00", 5}, /* no bits and no patches: that is all equal */
        {"\x01\x00\x08\x00\x05", 5}, /* more patches than values */
        {"\x81\x05\x00\xff", 4},     /* more exceptions than values */
        {"\x81\x02\x00\xff", 4},     /* exceptions at one place: steps of zero */
        {"\x01\x00\x3f\x00\x01", 5}, /* 63 bits and two more in a patch */
        {"", 0},
    };
    /* Of 32 bytes, then a step and a high part. */
    static const uint8_t payload[64] = {[33] = 2};
    double got[4];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct column_input in = {.header = reader_of(bad[i].header, bad[i].len),
                                  .payload = reader_of(payload, sizeof(payload))};
        assert_int_equal(column_decode_doubles(&in, NULL, 4, got, NULL), -EBADMSG);
    }
}

static void a_full_buffer_is_an_error(void **state)
{
    (void)state;
    static double values[1000];
    struct random random;
    random_seed(&random, 6);
    for (size_t i = 0; i < 1000; i++)
        values[i] = random_unit(&random);
    CLEANUP(buf_done) struct buf header = BUF_INIT(1000), payload = BUF_INIT(5000), none = BUF_INIT(0);
    assert_int_equal(column_encode_doubles(values, NULL, 1000, &header, &payload), -EMSGSIZE);
    assert_int_equal(column_encode_doubles(values, NULL, 1, &none, &payload), -EMSGSIZE);
}

static void signed_numbers_are_zigzag(void **state)
{
    (void)state;
    static const int64_t values[] = {0, -1, 1, 63, -64, 64, INT64_MAX, INT64_MIN};
    CLEANUP(buf_done) struct buf out = BUF_INIT(1000);
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        assert_int_equal(column_append_signed(&out, values[i]), 0);
    assert_memory_equal(out.data, "\x00\x01\x02\x7e\x7f\x80\x01", 7);
    struct reader in = reader_of(out.data, out.len);
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        assert_int_equal(column_read_signed(&in), values[i]);
    assert_int_equal(reader_left(&in), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_comes_back_bit_for_bit),
        cmocka_unit_test(common_values_are_small),
        cmocka_unit_test(an_exception_does_not_cost_the_others),
        cmocka_unit_test(ints_come_back),
        cmocka_unit_test(near_values_are_small),
        cmocka_unit_test(every_truncation_is_an_error),
        cmocka_unit_test(nothing_damaged_reads_behind_the_end),
        cmocka_unit_test(unknown_modes_are_refused),
        cmocka_unit_test(a_full_buffer_is_an_error),
        cmocka_unit_test(signed_numbers_are_zigzag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
