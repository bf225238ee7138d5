#include "base/fail.h"
#include "base/random.h"
#include "hop/seqlog.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct source_id rack = {{"dc1", 3}, {"rack-1", 6}, 7};

static void add(struct seqlog *seqlog, uint64_t epoch, uint64_t seq, uint32_t checksum)
{
    assert_int_equal(seqlog_add(seqlog, &rack, epoch, seq, checksum), 0);
}

static void test_new_duplicate_conflict(void **state)
{
    (void)state;
    CLEANUP(seqlog_freep) struct seqlog *seqlog = seqlog_new();
    assert_int_equal(seqlog_check(seqlog, &rack, 1, 5, 50), SEQLOG_NEW);
    add(seqlog, 1, 5, 50);
    assert_int_equal(seqlog_check(seqlog, &rack, 1, 5, 50), SEQLOG_DUPLICATE);
    assert_int_equal(seqlog_check(seqlog, &rack, 1, 5, 51), SEQLOG_CONFLICT);
    assert_int_equal(seqlog_check(seqlog, &rack, 1, 4, 50), SEQLOG_NEW);
    assert_int_equal(seqlog_check(seqlog, &rack, 2, 5, 50), SEQLOG_NEW);
    struct source_id other = rack;
    other.incarnation++;
    assert_int_equal(seqlog_check(seqlog, &other, 1, 5, 51), SEQLOG_NEW);
    assert_int_equal(seqlog_highest(seqlog, &rack, 1), 5);
    assert_int_equal(seqlog_highest(seqlog, &rack, 2), 0);
}

/* Against a plain table: adds, ranges and removals in any order. */
static void test_like_a_table(void **state)
{
    (void)state;
    enum { SEQS = 300 };
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct random random;
        random_seed(&random, seed);
        CLEANUP(seqlog_freep) struct seqlog *seqlog = seqlog_new();
        bool seen[SEQS + 2] = {false};
        for (int step = 0; step < 400; step++) {
            uint64_t first = 1 + random_below(&random, SEQS);
            uint64_t length = random_below(&random, 10);
            uint64_t last = MIN(first + length, (uint64_t)SEQS);
            uint64_t dice = random_below(&random, 10);
            if (dice < 5) {
                last = first;
                add(seqlog, 1, first, 0);
            } else if (dice < 7) {
                assert_int_equal(seqlog_add_range(seqlog, &rack, 1, first, last), 0);
            } else {
                seqlog_remove(seqlog, &rack, 1, first, last);
            }
            for (uint64_t seq = first; seq <= last; seq++)
                seen[seq] = dice < 7;
        }
        uint64_t highest = 0;
        for (uint64_t seq = 1; seq <= SEQS; seq++) {
            assert_int_equal(seqlog_covers(seqlog, &rack, 1, seq, seq), seen[seq]);
            highest = seen[seq] ? seq : highest;
            for (uint64_t last = seq; last <= MIN(seq + 3, (uint64_t)SEQS); last++) {
                bool all = true;
                for (uint64_t i = seq; i <= last; i++)
                    all = all && seen[i];
                assert_int_equal(seqlog_covers(seqlog, &rack, 1, seq, last), all);
            }
        }
        assert_int_equal(seqlog_highest(seqlog, &rack, 1), highest);
    }
}

static void test_the_ends_of_numbers(void **state)
{
    (void)state;
    CLEANUP(seqlog_freep) struct seqlog *seqlog = seqlog_new();
    add(seqlog, UINT64_MAX, UINT64_MAX, 1);
    add(seqlog, UINT64_MAX, 1, 1);
    add(seqlog, UINT64_MAX, UINT64_MAX - 1, 1);
    assert_true(seqlog_covers(seqlog, &rack, UINT64_MAX, UINT64_MAX - 1, UINT64_MAX));
    assert_false(seqlog_covers(seqlog, &rack, UINT64_MAX, 2, UINT64_MAX));
    assert_int_equal(seqlog_add_range(seqlog, &rack, UINT64_MAX, 1, UINT64_MAX), 0);
    assert_true(seqlog_covers(seqlog, &rack, UINT64_MAX, 1, UINT64_MAX));
    seqlog_remove(seqlog, &rack, UINT64_MAX, 5, UINT64_MAX);
    assert_int_equal(seqlog_highest(seqlog, &rack, UINT64_MAX), 4);
}

static void test_newest_checksums_are_kept(void **state)
{
    (void)state;
    CLEANUP(seqlog_freep) struct seqlog *seqlog = seqlog_new();
    for (uint64_t seq = 1; seq <= 5000; seq++)
        add(seqlog, 1, seq, (uint32_t)seq * 3);
    add(seqlog, 1, 1, 999); /* an old one does not push out a newer one */
    for (uint64_t seq = 5000 - SEQLOG_CHECKSUMS_MAX + 1; seq <= 5000; seq++) {
        assert_int_equal(seqlog_check(seqlog, &rack, 1, seq, (uint32_t)seq * 3), SEQLOG_DUPLICATE);
        assert_int_equal(seqlog_check(seqlog, &rack, 1, seq, (uint32_t)seq * 3 + 1), SEQLOG_CONFLICT);
    }
    assert_int_equal(seqlog_check(seqlog, &rack, 1, 10, 12345), SEQLOG_DUPLICATE);
}

static void test_bounds(void **state)
{
    (void)state;
    CLEANUP(seqlog_freep) struct seqlog *seqlog = seqlog_new();
    /* Epochs: old ones are taken as seen. */
    for (uint64_t epoch = 1; epoch <= SEQLOG_EPOCHS_MAX + 10; epoch++)
        add(seqlog, epoch, 1, 1);
    assert_int_equal(seqlog_check(seqlog, &rack, 3, 77, 1), SEQLOG_DUPLICATE);
    assert_int_equal(seqlog_check(seqlog, &rack, SEQLOG_EPOCHS_MAX, 77, 1), SEQLOG_NEW);
    add(seqlog, 3, 77, 1);
    /* Holes. */
    for (uint64_t i = 1; i < SEQLOG_RANGES_MAX; i++)
        add(seqlog, 50, 1 + 2 * i, 1);
    assert_int_equal(seqlog_add(seqlog, &rack, 50, 100000, 1), -ENOSPC);
    assert_int_equal(seqlog_check(seqlog, &rack, 50, 100000, 1), SEQLOG_NEW);
    add(seqlog, 50, 2, 1); /* fills a hole */
    add(seqlog, 50, 100000, 1);
    /* Incarnations of one name crowd out each other, not others. */
    struct source_id restless = {STR("dc1"), STR("restless"), 0};
    for (uint64_t i = 0; i < 1000; i++) {
        restless.incarnation = i;
        assert_int_equal(seqlog_add(seqlog, &restless, 1, 1, 1), 0);
    }
    assert_int_equal(seqlog_source_count(seqlog), 1 + SEQLOG_INCARNATIONS_MAX);
    assert_int_equal(seqlog_check(seqlog, &restless, 1, 1, 1), SEQLOG_DUPLICATE);
    assert_int_equal(seqlog_check(seqlog, &rack, 50, 1, 1), SEQLOG_DUPLICATE);
}

static void test_sources_max(void **state)
{
    (void)state;
    CLEANUP(seqlog_freep) struct seqlog *seqlog = seqlog_new();
    char name[32];
    for (unsigned i = 0; i < SEQLOG_SOURCES_MAX / 8; i++) {
        for (unsigned j = 0; j < 8; j++) {
            int len = snprintf(name, sizeof(name), "s%u", i);
            struct source_id source = {STR("dc1"), str_of(name, (size_t)len), j};
            assert_int_equal(seqlog_add(seqlog, &source, 1, 1, 1), 0);
        }
    }
    assert_int_equal(seqlog_add(seqlog, &rack, 1, 1, 1), -ENOSPC);
    assert_int_equal(seqlog_source_count(seqlog), SEQLOG_SOURCES_MAX);
}

static void copy(const struct seqlog *from, struct seqlog *to)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(SEQLOG_PIECE_BYTES_MAX);
    int more = 1;
    for (size_t at = 0; more == 1;) {
        buf_reset(&bytes);
        more = seqlog_encode(from, &at, &bytes);
        assert_true(more >= 0);
        assert_int_equal(seqlog_decode(to, bytes.data, bytes.len), 0);
    }
}

static void test_snapshot(void **state)
{
    (void)state;
    CLEANUP(seqlog_freep) struct seqlog *seqlog = seqlog_new();
    struct random random;
    random_seed(&random, 3);
    char name[32];
    for (unsigned i = 0; i < 3000; i++) { /* several pieces */
        int len = snprintf(name, sizeof(name), "secondary-%u", i);
        struct source_id source = {STR("dc1"), str_of(name, (size_t)len), i};
        for (int j = 0; j < 100; j++)
            assert_int_equal(seqlog_add(seqlog, &source, 1 + random_below(&random, 3), 1 + random_below(&random, 200),
                                        (uint32_t)random_next(&random)),
                             0);
    }
    for (uint64_t epoch = 1; epoch <= SEQLOG_EPOCHS_MAX + 3; epoch++)
        add(seqlog, epoch, epoch, 5);
    CLEANUP(seqlog_freep) struct seqlog *read = seqlog_new();
    copy(seqlog, read);
    assert_int_equal(seqlog_source_count(read), seqlog_source_count(seqlog));
    assert_int_equal(seqlog_check(read, &rack, 2, 9, 5), SEQLOG_DUPLICATE); /* below the floor */
    assert_int_equal(seqlog_check(read, &rack, SEQLOG_EPOCHS_MAX + 3, SEQLOG_EPOCHS_MAX + 3, 6), SEQLOG_CONFLICT);
    for (unsigned i = 0; i < 3000; i += 7) {
        int len = snprintf(name, sizeof(name), "secondary-%u", i);
        struct source_id source = {STR("dc1"), str_of(name, (size_t)len), i};
        for (uint64_t epoch = 1; epoch <= 3; epoch++)
            for (uint64_t seq = 1; seq <= 200; seq++)
                assert_int_equal(seqlog_covers(read, &source, epoch, seq, seq),
                                 seqlog_covers(seqlog, &source, epoch, seq, seq));
    }
}

static void test_malformed_snapshots(void **state)
{
    (void)state;
    CLEANUP(seqlog_freep) struct seqlog *seqlog = seqlog_new();
    for (uint64_t seq = 1; seq < 200; seq += 3)
        add(seqlog, 1 + seq % 3, seq, (uint32_t)seq);
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(SEQLOG_PIECE_BYTES_MAX);
    size_t at = 0;
    assert_int_equal(seqlog_encode(seqlog, &at, &bytes), 0);
    for (size_t len = 1; len < bytes.len; len++) {
        CLEANUP(seqlog_freep) struct seqlog *read = seqlog_new();
        CLEANUP_FREE uint8_t *part = mem_alloc(len); /* of the exact size, for the sanitizers */
        memcpy(part, bytes.data, len);
        assert_int_equal(seqlog_decode(read, part, len), -EBADMSG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_duplicate_conflict),
        cmocka_unit_test(test_like_a_table),
        cmocka_unit_test(test_the_ends_of_numbers),
        cmocka_unit_test(test_newest_checksums_are_kept),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_sources_max),
        cmocka_unit_test(test_snapshot),
        cmocka_unit_test(test_malformed_snapshots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
