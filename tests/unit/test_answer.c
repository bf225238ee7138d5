#include "base/fail.h"
#include "hop/answer.h"
#include "hop/backoff.h"
#include "hop/gap.h"
#include "hop/pack.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct hash128 missing[3] = {{{1}}, {{2}}, {{3}}};
static const uint8_t verdicts[] = {VERDICT_STORED, VERDICT_MISSING, VERDICT_CONFLICT};

static struct answer make(struct answer_mark *mark)
{
    *mark = (struct answer_mark){{STR("dc1"), STR("rack-1"), UINT64_MAX}, 4, 1234};
    return (struct answer){.receiver_incarnation = 99,
                           .body_version_max = 2,
                           .retry_after_ms = 1500,
                           .credit_bytes = 1 << 20,
                           .verdicts = verdicts,
                           .verdict_count = 3,
                           .missing = missing,
                           .missing_count = 3,
                           .marks = mark,
                           .mark_count = 1};
}

static void test_comes_back(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf out = BUF_INIT(ANSWER_BYTES_MAX);
    CLEANUP(arena_done) struct arena arena;
    arena_init(&arena, 1 * MIB);
    struct answer_mark mark;
    struct answer made = make(&mark);
    struct answer read;
    assert_int_equal(answer_encode(&made, &out), 0);
    assert_int_equal(answer_decode(out.data, out.len, &arena, &read), 0);
    assert_int_equal(read.receiver_incarnation, 99);
    assert_int_equal(read.body_version_max, 2);
    assert_int_equal(read.retry_after_ms, 1500);
    assert_int_equal(read.credit_bytes, 1 << 20);
    assert_int_equal(read.verdict_count, 3);
    assert_memory_equal(read.verdicts, verdicts, 3);
    assert_int_equal(read.missing_count, 3);
    assert_memory_equal(read.missing, missing, sizeof(missing));
    assert_int_equal(read.mark_count, 1);
    assert_true(str_equal(read.marks[0].source.secondary, STR("rack-1")));
    assert_true(read.marks[0].source.incarnation == UINT64_MAX);
    assert_int_equal(read.marks[0].epoch, 4);
    assert_int_equal(read.marks[0].delivered_seq, 1234);
}

/* The largest there may be fits where both ends say it fits. */
static void test_the_largest(void **state)
{
    (void)state;
    static struct answer_mark marks[ANSWER_MARKS_MAX];
    static struct hash128 hashes[ANSWER_MISSING_MAX];
    static uint8_t many[ANSWER_VERDICTS_MAX];
    char name[SOURCE_NAME_BYTES_MAX];
    memset(name, 'x', sizeof(name));
    for (size_t i = 0; i < ANSWER_MARKS_MAX; i++)
        marks[i] = (struct answer_mark){
            {str_of(name, sizeof(name)), str_of(name, sizeof(name)), UINT64_MAX}, UINT64_MAX, UINT64_MAX};
    struct answer made = {.verdicts = many,
                          .verdict_count = ANSWER_VERDICTS_MAX,
                          .missing = hashes,
                          .missing_count = ANSWER_MISSING_MAX,
                          .marks = marks,
                          .mark_count = ANSWER_MARKS_MAX};
    CLEANUP(buf_done) struct buf out = BUF_INIT(ANSWER_BYTES_MAX);
    CLEANUP(arena_done) struct arena arena;
    arena_init(&arena, 4 * ANSWER_BYTES_MAX);
    struct answer read;
    assert_int_equal(answer_encode(&made, &out), 0);
    assert_int_equal(answer_decode(out.data, out.len, &arena, &read), 0);
}

static void test_malformed(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf out = BUF_INIT(ANSWER_BYTES_MAX);
    CLEANUP(arena_done) struct arena arena;
    arena_init(&arena, 1 * MIB);
    struct answer_mark mark;
    struct answer made = make(&mark);
    struct answer read;
    assert_int_equal(answer_encode(&made, &out), 0);
    for (size_t len = 0; len < out.len; len++)
        assert_int_equal(answer_decode(out.data, len, &arena, &read), -EBADMSG);
    buf_append_byte(&out, 0);
    assert_int_equal(answer_decode(out.data, out.len, &arena, &read), -EBADMSG);
    static const uint8_t unknown[] = {VERDICT_COUNT};
    made.verdicts = unknown;
    made.verdict_count = 1;
    buf_reset(&out);
    assert_int_equal(answer_encode(&made, &out), 0);
    assert_int_equal(answer_decode(out.data, out.len, &arena, &read), -EBADMSG);
    mark.source.secondary = STR("../../etc");
    made = make(&mark);
    mark.source.secondary = STR("../../etc");
    buf_reset(&out);
    assert_int_equal(answer_encode(&made, &out), 0);
    assert_int_equal(answer_decode(out.data, out.len, &arena, &read), -EBADMSG);
}

static void test_a_newer_version_may_say_more(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf out = BUF_INIT(1 * KIB);
    pack_array(&out, 8);
    for (int i = 0; i < 4; i++)
        pack_uint(&out, 7);
    pack_bin(&out, verdicts, 3);
    pack_bin(&out, NULL, 0);
    pack_array(&out, 0);
    pack_map(&out, 1);
    pack_str(&out, STR("new"));
    pack_nil(&out);
    CLEANUP(arena_done) struct arena arena;
    arena_init(&arena, 1 * MIB);
    struct answer read;
    assert_int_equal(answer_decode(out.data, out.len, &arena, &read), 0);
    assert_int_equal(read.verdict_count, 3);
}

static void test_asks_and_gaps(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf out = BUF_INIT(1 * KIB);
    struct source_id source = {STR("dc1"), STR("rack-1"), 5};
    struct source_id read;
    uint64_t epoch;
    assert_int_equal(answer_ask_encode(&source, 9, &out), 0);
    assert_int_equal(answer_ask_decode(buf_view(&out), &read, &epoch), 0);
    assert_int_equal(epoch, 9);
    assert_true(str_equal(read.datacenter, STR("dc1")));
    for (size_t len = 0; len < out.len; len++)
        assert_int_equal(answer_ask_decode(str_of(out.data, len), &read, &epoch), -EBADMSG);

    struct spool_batch gap = {
        .source = source, .epoch = 2, .seq = 10, .seq_end = 20, .window_start_ms = 1000, .window_end_ms = 2000};
    struct spool_batch got;
    buf_reset(&out);
    assert_int_equal(gap_encode(&gap, &out), 0);
    assert_int_equal(gap_decode(buf_view(&out), &got), 0);
    assert_true(got.is_gap && got.seq == 10 && got.seq_end == 20 && got.window_end_ms == 2000);
    for (size_t len = 0; len < out.len; len++)
        assert_int_equal(gap_decode(str_of(out.data, len), &got), -EBADMSG);
    gap.seq_end = 9;
    buf_reset(&out);
    assert_int_equal(gap_encode(&gap, &out), 0);
    assert_int_equal(gap_decode(buf_view(&out), &got), -EBADMSG);
}

static void test_backoff(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 1);
    struct backoff backoff;
    backoff_init(&backoff, 100, 1000);
    static const int64_t wholes[] = {100, 200, 400, 800, 1000, 1000};
    for (size_t i = 0; i < ARRAY_LEN(wholes); i++)
        assert_in_range(backoff_next_ms(&backoff, &random), wholes[i] / 2, wholes[i]);
    backoff_reset(&backoff);
    assert_in_range(backoff_next_ms(&backoff, &random), 50, 100);
    assert_string_equal(batch_verdict_name(VERDICT_BUSY), "busy");
    assert_string_equal(batch_verdict_name((enum batch_verdict)77), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comes_back),    cmocka_unit_test(test_the_largest),
        cmocka_unit_test(test_malformed),     cmocka_unit_test(test_a_newer_version_may_say_more),
        cmocka_unit_test(test_asks_and_gaps), cmocka_unit_test(test_backoff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
