#include "base/crc.h"
#include "base/fail.h"
#include "hop/frame.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void add(struct buf *out, enum frame_type type, const char *text)
{
    assert_int_equal(frame_append(out, type, text, strlen(text)), 0);
}

static void expect(struct str bytes, size_t *at, enum frame_type type, const char *text)
{
    struct frame frame;
    assert_int_equal(frame_next(bytes, at, &frame), 1);
    assert_int_equal(frame.type, type);
    assert_true(str_equal(frame.payload, str_from(text)));
    assert_int_equal(frame.checksum, crc32c(0, text, strlen(text)));
}

static void test_one_after_the_other(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf out = BUF_INIT(1 * KIB);
    add(&out, FRAME_BATCH, "first");
    add(&out, FRAME_PACK, "");
    add(&out, (enum frame_type)200, "of a newer version");
    size_t at = 0;
    expect(buf_view(&out), &at, FRAME_BATCH, "first");
    expect(buf_view(&out), &at, FRAME_PACK, "");
    expect(buf_view(&out), &at, (enum frame_type)200, "of a newer version");
    struct frame frame;
    assert_int_equal(frame_next(buf_view(&out), &at, &frame), 0);
    assert_int_equal(at, out.len);
    assert_int_equal(frame.damaged_bytes, 0);
    assert_int_equal(frame.offset, out.len);
}

static void test_bytes_are_as_documented(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf out = BUF_INIT(1 * KIB);
    add(&out, FRAME_BATCH, "abc");
    const uint8_t start[] = {0xf7, 0x54, 0x52, 0x31, 3, 0, 0, 0, 3, 0, 0, 0};
    assert_int_equal(out.len, FRAME_HEADER_BYTES + 3);
    assert_memory_equal(out.data, start, sizeof(start));
    assert_memory_equal(out.data + FRAME_HEADER_BYTES, "abc", 3);
}

static void test_limits(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf small = BUF_INIT(30);
    assert_int_equal(frame_append(&small, FRAME_BATCH, "0123456789a", 11), -EMSGSIZE);
    assert_int_equal(small.len, 0); /* no half frame */
    CLEANUP_FREE uint8_t *large = mem_zalloc(FRAME_PAYLOAD_BYTES_MAX + 1);
    CLEANUP(buf_done) struct buf out = BUF_INIT(64 * MIB);
    assert_int_equal(frame_append(&out, FRAME_BATCH, large, FRAME_PAYLOAD_BYTES_MAX + 1), -EMSGSIZE);
    assert_int_equal(frame_append(&out, FRAME_BATCH, large, FRAME_PAYLOAD_BYTES_MAX), 0);
}

/* Any bit flipped: the frame it is in is lost, the others are found, and the bytes skipped are counted. */
static void test_a_flip_costs_one_frame(void **state)
{
    (void)state;
    static const char *const texts[] = {"one", "two with \xf7TR1 inside", "three", "four"};
    CLEANUP(buf_done) struct buf out = BUF_INIT(1 * KIB);
    size_t starts[5];
    for (size_t i = 0; i < 4; i++) {
        starts[i] = out.len;
        add(&out, FRAME_BATCH, texts[i]);
    }
    starts[4] = out.len;
    for (size_t bit = 0; bit < 8 * out.len; bit++) {
        out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        size_t at = 0;
        size_t hit = 0;
        while (bit / 8 >= starts[hit + 1])
            hit++;
        size_t damaged = 0;
        for (size_t i = 0; i < 4; i++) {
            if (i == hit)
                continue;
            struct frame frame;
            assert_int_equal(frame_next(buf_view(&out), &at, &frame), 1);
            assert_true(str_equal(frame.payload, str_from(texts[i])));
            damaged += frame.damaged_bytes;
        }
        assert_int_equal(damaged, hit == 3 ? 0 : starts[hit + 1] - starts[hit]);
        struct frame none;
        assert_int_equal(frame_next(buf_view(&out), &at, &none), 0);
        out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

/* Cut anywhere: whole frames are given, and where the cut one begins is said. */
static void test_cut_anywhere(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf out = BUF_INIT(1 * KIB);
    add(&out, FRAME_BATCH, "first");
    size_t second = out.len;
    add(&out, FRAME_BATCH, "a frame inside: \xf7TR1");
    for (size_t len = 0; len < out.len; len++) {
        size_t at = 0;
        struct str bytes = str_of(out.data, len);
        if (len >= second)
            expect(bytes, &at, FRAME_BATCH, "first");
        struct frame frame;
        assert_int_equal(frame_next(bytes, &at, &frame), 0);
        assert_int_equal(at, len >= second ? second : 0);
        assert_int_equal(frame.offset, at);
        assert_int_equal(frame.damaged_bytes, 0);
        bool header_is_here = len - at >= FRAME_HEADER_BYTES;
        assert_int_equal(frame.wanted_bytes, !header_is_here ? 0 : at == 0 ? second : out.len - second);
    }
}

/* What a torn batch holds inside must not become a frame. */
static void test_nothing_is_found_inside_a_torn_frame(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf inner = BUF_INIT(1 * KIB);
    CLEANUP(buf_done) struct buf outer = BUF_INIT(1 * KIB);
    add(&inner, FRAME_BATCH, "forged");
    buf_append_text(&inner, "and more");
    assert_int_equal(frame_append(&outer, FRAME_BATCH, inner.data, inner.len), 0);
    size_t at = 0;
    struct frame frame;
    assert_int_equal(frame_next(str_of(outer.data, outer.len - 1), &at, &frame), 0);
    outer.data[outer.len - 1] ^= 1;
    assert_int_equal(frame_next(buf_view(&outer), &at, &frame), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_after_the_other),
        cmocka_unit_test(test_bytes_are_as_documented),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_a_flip_costs_one_frame),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_nothing_is_found_inside_a_torn_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
