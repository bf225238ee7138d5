/* Blocks of tools/bench/snappy_block, read back by the letter of snappy's description. */
#include "base/fail.h"
#include "base/random.h"
#include "tools/bench/snappy_block.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static size_t little_endian(struct reader *in, size_t bytes)
{
    size_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value |= (size_t)reader_byte(in) << 8 * i;
    return value;
}

static void copy_back(struct buf *out, size_t offset, size_t len)
{
    assert_true(offset > 0 && offset <= out->len);
    while (len-- > 0)
        buf_append_byte(out, out->data[out->len - offset]);
}

static void unpack_block(struct str block, struct buf *out)
{
    struct reader in = reader_of(block.ptr, block.len);
    uint64_t whole = reader_uvarint(&in);
    while (reader_left(&in) > 0) {
        uint8_t tag = reader_byte(&in);
        if ((tag & 3) == 0) {
            size_t len = tag >> 2;
            len = 1 + (len < 60 ? len : little_endian(&in, len - 59));
            buf_append_str(out, reader_bytes(&in, len));
        } else if ((tag & 3) == 1) {
            size_t offset = (size_t)(tag >> 5) << 8 | reader_byte(&in);
            copy_back(out, offset, 4 + (tag >> 2 & 7));
        } else {
            copy_back(out, little_endian(&in, (tag & 3) == 2 ? 2 : 4), 1 + (tag >> 2));
        }
        assert_false(in.bad);
    }
    assert_int_equal(out->len, whole);
}

/* Returns the length of the block. */
static size_t check(struct str raw)
{
    CLEANUP(buf_done) struct buf block = BUF_INIT(2 * MIB), back = BUF_INIT(2 * MIB);
    assert_int_equal(snappy_block_append(&block, raw), 0);
    unpack_block(buf_view(&block), &back);
    assert_int_equal(back.len, raw.len);
    assert_true(raw.len == 0 || memcmp(back.data, raw.ptr, raw.len) == 0);
    return block.len;
}

static void test_all_lengths(void **state)
{
    (void)state;
    static char same[300];
    memset(same, 'x', sizeof(same));
    for (size_t len = 0; len <= sizeof(same); len++) /* copies of each length */
        check(str_of(same, len));
}

static void test_random_and_repeated(void **state)
{
    (void)state;
    static uint8_t bytes[400000];
    struct random random;
    random_seed(&random, 7);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)random_next(&random);
    assert_true(check(str_of(bytes, sizeof(bytes))) < sizeof(bytes) + 100); /* what cannot be packed hardly grows */
    for (size_t i = 1000; i < sizeof(bytes); i++)                           /* far and near copies, across fragments */
        bytes[i] = i % 5000 < 10 ? bytes[i] : bytes[i - 1 - i / 1000 % 999];
    assert_true(check(str_of(bytes, sizeof(bytes))) < sizeof(bytes) / 2);
}

static void test_ceiling(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf block = BUF_INIT(10);
    assert_true(snappy_block_append(&block, STR("more than ten bytes of text")) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_lengths), cmocka_unit_test(test_random_and_repeated),
                                       cmocka_unit_test(test_ceiling)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
