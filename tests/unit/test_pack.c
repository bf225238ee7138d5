#include "base/random.h"
#include "hop/pack.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct unpack of(const struct buf *buf)
{
    return unpack_of(buf->data, buf->len);
}

static void test_values_come_back(void **state)
{
    (void)state;
    static const uint64_t unsigneds[] = {0, 1, 127, 128, 255, 256, 65535, 65536, UINT32_MAX, 1ULL << 32, UINT64_MAX};
    static const int64_t signeds[] = {0, -1, -32, -33, -128, -129, -32768, -32769, INT32_MIN, INT64_MIN, INT64_MAX};
    static const double doubles[] = {0, -0.0, 1.5, DBL_MAX, DBL_MIN, INFINITY};
    CLEANUP(buf_done) struct buf out = BUF_INIT(1 * MIB);
    for (size_t i = 0; i < ARRAY_LEN(unsigneds); i++)
        pack_uint(&out, unsigneds[i]);
    for (size_t i = 0; i < ARRAY_LEN(signeds); i++)
        pack_int(&out, signeds[i]);
    for (size_t i = 0; i < ARRAY_LEN(doubles); i++)
        pack_double(&out, doubles[i]);
    pack_nil(&out);
    pack_bool(&out, true);
    pack_bool(&out, false);
    struct unpack in = of(&out);
    for (size_t i = 0; i < ARRAY_LEN(unsigneds); i++)
        assert_true(unpack_uint(&in, UINT64_MAX) == unsigneds[i]);
    for (size_t i = 0; i < ARRAY_LEN(signeds); i++)
        assert_true(unpack_int(&in) == signeds[i]);
    for (size_t i = 0; i < ARRAY_LEN(doubles); i++) {
        double value = unpack_double(&in);
        assert_memory_equal(&value, &doubles[i], sizeof(value));
    }
    unpack_nil(&in);
    assert_true(unpack_bool(&in));
    assert_false(unpack_bool(&in));
    assert_true(unpack_done(&in));
}

static void test_strings_and_containers(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 31, 32, 255, 256, 65535, 65536, 70000};
    static char text[70000];
    memset(text, 'x', sizeof(text));
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        CLEANUP(buf_done) struct buf out = BUF_INIT(1 * MIB);
        pack_str(&out, str_of(text, lengths[i]));
        pack_bin(&out, text, lengths[i]);
        struct unpack in = of(&out);
        assert_int_equal(unpack_peek(&in), PACK_STR);
        assert_int_equal(unpack_str(&in, lengths[i]).len, lengths[i]);
        assert_int_equal(unpack_peek(&in), PACK_BIN);
        assert_int_equal(unpack_bin(&in, lengths[i]).len, lengths[i]);
        assert_true(unpack_done(&in));
        if (lengths[i] == 0)
            continue;
        in = of(&out); /* a limit below: refused, and everything after it */
        assert_null(unpack_str(&in, lengths[i] - 1).ptr);
        assert_true(in.in.bad);
        assert_null(unpack_bin(&in, SIZE_MAX).ptr);
    }
    static const uint32_t counts[] = {0, 1, 15, 16, 65535, 65536};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        CLEANUP(buf_done) struct buf out = BUF_INIT(1 * MIB);
        pack_array(&out, counts[i]);
        for (uint32_t j = 0; j < counts[i]; j++)
            pack_nil(&out);
        pack_map(&out, counts[i]);
        for (uint32_t j = 0; j < 2 * counts[i]; j++)
            pack_nil(&out);
        struct unpack in = of(&out);
        unpack_skip(&in, 2);
        assert_true(unpack_done(&in));
        in = of(&out);
        assert_int_equal(unpack_array(&in, UINT32_MAX), counts[i]);
    }
}

/* Counts that cannot be true are refused before anybody takes memory for them. */
static void test_claims(void **state)
{
    (void)state;
    static const uint8_t array[] = {0xdd, 0x00, 0x80, 0x00, 0x00, 0xc0};
    static const uint8_t map[] = {0xdf, 0x00, 0x00, 0x00, 0x03, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0};
    static const uint8_t bin[] = {0xc6, 0xff, 0xff, 0xff, 0xff, 1};
    static const uint8_t ext[] = {0xc9, 0xff, 0xff, 0xff, 0xff, 1};
    static const uint8_t unknown[] = {0xc1};
    struct unpack in = unpack_of(array, sizeof(array));
    assert_int_equal(unpack_array(&in, UINT32_MAX), 0);
    assert_true(in.in.bad);
    in = unpack_of(map, sizeof(map));
    assert_int_equal(unpack_map(&in, UINT32_MAX), 0);
    assert_true(in.in.bad);
    in = unpack_of(bin, sizeof(bin));
    assert_int_equal(unpack_bin(&in, SIZE_MAX).len, 0);
    assert_true(in.in.bad);
    in = unpack_of(ext, sizeof(ext));
    unpack_skip(&in, 1);
    assert_true(in.in.bad);
    in = unpack_of(unknown, sizeof(unknown));
    unpack_skip(&in, 1);
    assert_true(in.in.bad);
    in = unpack_of(NULL, 0);
    assert_int_equal(unpack_peek(&in), PACK_END);
    assert_int_equal(unpack_uint(&in, 9), 0);
    assert_false(unpack_done(&in));
}

static void test_types_and_ranges(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf out = BUF_INIT(64);
    pack_int(&out, -1);
    struct unpack in = of(&out);
    assert_int_equal(unpack_uint(&in, UINT64_MAX), 0);
    assert_true(in.in.bad);
    buf_reset(&out);
    pack_uint(&out, UINT64_MAX);
    in = of(&out);
    assert_int_equal(unpack_int(&in), 0);
    assert_true(in.in.bad);
    in = of(&out);
    assert_int_equal(unpack_uint(&in, 5), 0);
    assert_true(in.in.bad);
    in = of(&out);
    assert_true(unpack_double(&in) == 0);
    assert_true(in.in.bad);
    buf_reset(&out);
    pack_array(&out, 2);
    pack_nil(&out);
    pack_nil(&out);
    in = of(&out);
    assert_int_equal(unpack_record(&in, 3), 0); /* too few */
    assert_true(in.in.bad);
    in = of(&out);
    assert_int_equal(unpack_record(&in, 1), 2); /* more than we know */
    unpack_nil(&in);
    unpack_skip(&in, 1);
    assert_true(unpack_done(&in));
}

static void test_depth(void **state)
{
    (void)state;
    for (size_t depth = 1; depth < 3 * PACK_DEPTH_MAX; depth++) {
        CLEANUP(buf_done) struct buf out = BUF_INIT(1 * KIB);
        for (size_t i = 1; i < depth; i++)
            pack_array(&out, 1);
        pack_nil(&out);
        struct unpack in = of(&out);
        unpack_skip(&in, 1);
        assert_int_equal(unpack_done(&in), depth <= PACK_DEPTH_MAX);
    }
}

static void test_a_full_buffer(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf out = BUF_INIT(4);
    assert_int_equal(pack_str(&out, STR("too long")), -EMSGSIZE);
    assert_true(out.full);
    assert_int_equal(pack_nil(&out), -EMSGSIZE);
}

/* Random bytes never lead past their end (sanitizers watch) and always come to rest. */
static void test_noise(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 1);
    uint8_t noise[64];
    for (int round = 0; round < 100000; round++) {
        size_t len = (size_t)random_below(&random, sizeof(noise));
        for (size_t i = 0; i < len; i++)
            noise[i] = (uint8_t)random_next(&random);
        struct unpack in = unpack_of(noise, len);
        while (unpack_peek(&in) != PACK_END)
            unpack_skip(&in, 1);
        assert_true(in.in.bad || reader_left(&in.in) == 0 || noise[len - reader_left(&in.in)] == 0xc1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_come_back),
        cmocka_unit_test(test_strings_and_containers),
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_types_and_ranges),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_a_full_buffer),
        cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
