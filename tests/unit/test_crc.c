#include "base/crc.h"
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_crc32c_of_known_bytes(void **state)
{
    (void)state;
    /* The check value of the catalogue of CRCs, and the examples of RFC 3720, B.4. */
    uint8_t bytes[32] = {0};
    assert_int_equal(crc32c(0, "123456789", 9), 0xE3069283);
    assert_int_equal(crc32c(0, bytes, 32), 0x8A9136AA);
    memset(bytes, 0xff, sizeof(bytes));
    assert_int_equal(crc32c(0, bytes, 32), 0x62A8AB43);
    for (uint8_t i = 0; i < 32; i++) {
        bytes[i] = i;
    }
    assert_int_equal(crc32c(0, bytes, 32), 0x46DD794E);
    assert_int_equal(crc32c(0, NULL, 0), 0);
}

static void test_crc32c_in_parts_and_without_instructions(void **state)
{
    (void)state;
    uint8_t bytes[300];
    struct random random;
    random_seed(&random, 4);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)random_next(&random);
    }
    for (size_t start = 0; start < 9; start++) {
        for (size_t len = 0; len + start <= sizeof(bytes); len++) {
            uint32_t whole = crc32c(0, bytes + start, len);
            assert_int_equal(whole, crc32c_portable(0, bytes + start, len));
            size_t cut = len / 3;
            assert_int_equal(whole, crc32c(crc32c(0, bytes + start, cut), bytes + start + cut, len - cut));
            assert_int_equal(whole, crc32c_portable(crc32c(0, bytes + start, cut), bytes + start + cut, len - cut));
        }
    }
}

static void test_hash128(void **state)
{
    (void)state;
    char text[33];
    struct hash128 hash = hash128_of("", 0);
    hash128_hex(hash, text);
    assert_string_equal(text, "99aa06d3014798d86001c324468d497f"); /* XXH3-128 of nothing, as published */
    assert_true(hash128_low(hash) == UINT64_C(0x6001c324468d497f));
    assert_true(hash128_equal(hash, hash128_of("", 0)));
    assert_false(hash128_equal(hash, hash128_of("a", 1)));
    assert_true(hash64("", 0, 0) == UINT64_C(0x2d06800538d394c2)); /* XXH3-64 of nothing */
    assert_true(hash64("a", 1, 0) != hash64("a", 1, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c_of_known_bytes),
        cmocka_unit_test(test_crc32c_in_parts_and_without_instructions),
        cmocka_unit_test(test_hash128),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
