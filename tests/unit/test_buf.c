#include "base/buf.h"
#include "base/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_appends_in_order(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf buf = BUF_INIT(1000);
    assert_int_equal(buf_append(&buf, "ab", 2), 0);
    assert_int_equal(buf_append(&buf, NULL, 0), 0);
    assert_int_equal(buf_append_str(&buf, STR("cd")), 0);
    assert_int_equal(buf_append_str(&buf, STR_NULL), 0);
    assert_int_equal(buf_append_text(&buf, "ef"), 0);
    assert_int_equal(buf_append_byte(&buf, 'g'), 0);
    assert_int_equal(buf_append_le32(&buf, 0x04030201), 0);
    assert_int_equal(buf_append_le64(&buf, UINT64_C(0x0807060504030201)), 0);
    assert_true(str_equal(buf_view(&buf), STR("abcdefg\1\2\3\4\1\2\3\4\5\6\7\10")));
}

static void test_the_ceiling_is_exact_and_full_stays(void **state)
{
    (void)state;
    for (size_t ceiling = 0; ceiling < 200; ceiling++) {
        CLEANUP(buf_done) struct buf buf = BUF_INIT(ceiling);
        for (size_t i = 0; i < ceiling; i++) {
            assert_int_equal(buf_append_byte(&buf, (uint8_t)i), 0);
        }
        assert_false(buf.full);
        assert_int_equal(buf_append(&buf, "", 0), 0);
        assert_int_equal(buf_append_byte(&buf, 1), -EMSGSIZE);
        assert_true(buf.full);
        assert_int_equal(buf_append(&buf, "", 0), -EMSGSIZE);
        assert_int_equal(buf.len, ceiling);
        buf_reset(&buf);
        assert_false(buf.full);
        assert_int_equal(buf.len, 0);
    }
}

static void test_too_long_appends_nothing(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf buf = BUF_INIT(8);
    assert_int_equal(buf_append_text(&buf, "12345"), 0);
    assert_int_equal(buf_append_text(&buf, "6789"), -EMSGSIZE);
    assert_true(str_equal(buf_view(&buf), STR("12345")));
    /* It would fit, but what follows a hole is worth nothing. */
    assert_int_equal(buf_append_text(&buf, "6"), -EMSGSIZE);
    assert_true(str_equal(buf_view(&buf), STR("12345")));
    buf_reset(&buf);
    assert_int_equal(buf_append(&buf, "x", SIZE_MAX), -EMSGSIZE);
}

static void test_printf_at_every_length_and_ceiling(void **state)
{
    (void)state;
    for (int len = 0; len < 140; len++) {
        for (int before = 0; before < 70; before += 7) {
            CLEANUP(buf_done) struct buf exact = BUF_INIT((size_t)(before + len));
            assert_int_equal(buf_printf(&exact, "%*s", before, ""), 0);
            assert_int_equal(buf_printf(&exact, "%*s", len, ""), 0);
            assert_int_equal(exact.len, before + len);
            for (size_t i = 0; i < exact.len; i++) {
                assert_int_equal(exact.data[i], ' ');
            }
            assert_int_equal(buf_printf(&exact, "x"), -EMSGSIZE);
            assert_int_equal(exact.len, before + len);
        }
    }
}

static void test_reserve_and_added(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf buf = BUF_INIT(100);
    assert_non_null(buf_reserve(&buf, 0));
    uint8_t *room = buf_reserve(&buf, 100);
    assert_non_null(room);
    memset(room, 'a', 100);
    buf_added(&buf, 40);
    assert_int_equal(buf.len, 40);
    assert_non_null(buf_reserve(&buf, 60));
    assert_null(buf_reserve(&buf, 61));
    assert_true(buf.full);
}

static void test_steal_leaves_an_empty_buffer(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf buf = BUF_INIT(100);
    size_t len = 7;
    CLEANUP_FREE uint8_t *nothing = buf_steal(&buf, &len);
    assert_int_equal(len, 0);
    assert_non_null(nothing);
    assert_int_equal(buf_append_text(&buf, "abc"), 0);
    CLEANUP_FREE uint8_t *bytes = buf_steal(&buf, &len);
    assert_int_equal(len, 3);
    assert_memory_equal(bytes, "abc", 3);
    assert_int_equal(buf.len, 0);
    assert_int_equal(buf_append_text(&buf, "d"), 0);
    assert_int_equal(buf.bytes_max, 100);
}

static void test_numbers_come_back(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf buf = BUF_INIT(10000);
    for (unsigned bit = 0; bit < 64; bit++) {
        for (uint64_t around = 0; around < 3; around++) {
            buf_append_uvarint(&buf, (UINT64_C(1) << bit) + around - 1);
        }
    }
    buf_append_uvarint(&buf, UINT64_MAX);
    buf_append_le32(&buf, UINT32_MAX - 1);
    buf_append_le64(&buf, UINT64_MAX - 1);
    assert_false(buf.full);
    struct reader reader = reader_of(buf.data, buf.len);
    for (unsigned bit = 0; bit < 64; bit++) {
        for (uint64_t around = 0; around < 3; around++) {
            assert_true(reader_uvarint(&reader) == (UINT64_C(1) << bit) + around - 1);
        }
    }
    assert_true(reader_uvarint(&reader) == UINT64_MAX);
    assert_true(reader_le32(&reader) == UINT32_MAX - 1);
    assert_true(reader_le64(&reader) == UINT64_MAX - 1);
    assert_int_equal(reader_left(&reader), 0);
    assert_false(reader.bad);
}

static void test_uvarint_of_known_bytes(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf buf = BUF_INIT(100);
    buf_append_uvarint(&buf, 0);
    buf_append_uvarint(&buf, 127);
    buf_append_uvarint(&buf, 128);
    buf_append_uvarint(&buf, 300);
    assert_true(str_equal(buf_view(&buf), STR("\x00\x7f\x80\x01\xac\x02")));
}

static void test_a_bad_read_stays_bad(void **state)
{
    (void)state;
    struct reader reader = reader_of("\1\2\3", 3);
    assert_int_equal(reader_byte(&reader), 1);
    assert_int_equal(reader_le32(&reader), 0);
    assert_true(reader.bad);
    assert_int_equal(reader_left(&reader), 0);
    assert_int_equal(reader_byte(&reader), 0);
    assert_int_equal(reader_uvarint(&reader), 0);
    assert_int_equal(reader_le64(&reader), 0);
    assert_null(reader_bytes(&reader, 0).ptr);
    assert_int_equal(reader_count(&reader, 0, 10), 0);
    assert_true(reader.bad);
}

static bool uvarint_is_bad(struct str bytes)
{
    struct reader reader = reader_of(bytes.ptr, bytes.len);
    uint64_t value = reader_uvarint(&reader);
    assert_true(!reader.bad || value == 0);
    return reader.bad;
}

static void test_uvarint_refuses(void **state)
{
    (void)state;
    assert_true(uvarint_is_bad(STR("")));
    assert_true(uvarint_is_bad(STR("\x81")));                                         /* cut short */
    assert_true(uvarint_is_bad(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02")));     /* 65 bits */
    assert_true(uvarint_is_bad(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x80\x00"))); /* 11 bytes */
    assert_false(uvarint_is_bad(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")));
}

static void test_strings_and_counts_are_bounded(void **state)
{
    (void)state;
    struct reader reader = reader_of("\3abc\3de", 7);
    assert_true(str_equal(reader_string(&reader, 3), STR("abc")));
    assert_null(reader_string(&reader, 3).ptr); /* longer than what is left */
    assert_true(reader.bad);

    reader = reader_of("\3abc", 4);
    assert_null(reader_string(&reader, 2).ptr); /* longer than allowed */
    assert_true(reader.bad);

    reader = reader_of("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10);
    assert_null(reader_string(&reader, SIZE_MAX).ptr);
    assert_true(reader.bad);

    reader = reader_of("\4abcd", 5);
    assert_int_equal(reader_count(&reader, 1, 4), 4);
    reader = reader_of("\4abcd", 5);
    assert_int_equal(reader_count(&reader, 1, 3), 0);
    assert_true(reader.bad);
    reader = reader_of("\4abcd", 5);
    assert_int_equal(reader_count(&reader, 2, 100), 0);
    assert_true(reader.bad);
    reader = reader_of("\4", 1);
    assert_int_equal(reader_count(&reader, 0, 4), 4); /* things that take no bytes */
}

static void test_an_empty_reader(void **state)
{
    (void)state;
    struct reader reader = reader_of(NULL, 0);
    assert_int_equal(reader_left(&reader), 0);
    struct str nothing = reader_bytes(&reader, 0);
    assert_int_equal(nothing.len, 0);
    assert_false(reader.bad);
    assert_int_equal(reader_byte(&reader), 0);
    assert_true(reader.bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appends_in_order),
        cmocka_unit_test(test_the_ceiling_is_exact_and_full_stays),
        cmocka_unit_test(test_too_long_appends_nothing),
        cmocka_unit_test(test_printf_at_every_length_and_ceiling),
        cmocka_unit_test(test_reserve_and_added),
        cmocka_unit_test(test_steal_leaves_an_empty_buffer),
        cmocka_unit_test(test_numbers_come_back),
        cmocka_unit_test(test_uvarint_of_known_bytes),
        cmocka_unit_test(test_a_bad_read_stays_bad),
        cmocka_unit_test(test_uvarint_refuses),
        cmocka_unit_test(test_strings_and_counts_are_bounded),
        cmocka_unit_test(test_an_empty_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
