/* The spool at its ceilings. */
#include "hop_world.h"

#include "hop/spool_internal.h"

#include <errno.h>
#include <stdio.h>

static const char *const consumers[] = {"up"};

static struct spool_options options_of(void)
{
    return (struct spool_options){
        .dir = "/spool", .consumers = consumers, .consumer_count = 1, .layout_bytes_max = HOP_LAYOUT_BYTES};
}

static struct spool *open_spool(struct hop_world *world, const struct spool_options *options)
{
    struct spool *spool = NULL;
    assert_int_equal(spool_open(&world->seams, options, NULL, NULL, &spool), 0);
    return spool;
}

static uint64_t append_gap(struct spool *spool, uint64_t seq)
{
    const struct spool_batch gap = {.is_gap = true,
                                    .source = hop_source("rack-1"),
                                    .epoch = 1,
                                    .seq = seq,
                                    .seq_end = seq,
                                    .window_start_ms = INT64_C(1800000000000),
                                    .window_end_ms = INT64_C(1800000060000)};
    uint64_t id = 0;
    assert_int_equal(spool_append_gap(spool, &gap, &id), 0);
    return id;
}

/* More runs of states than a position holds: what is left out is sent again, nothing that is pending is taken for
 * stored. */
static void test_runs_past_the_ceiling(void **state)
{
    (void)state;
    struct hop_world world;
    hop_world_init(&world, 1);
    struct spool_options options = options_of();
    struct spool *spool = open_spool(&world, &options);
    uint64_t seq = 0;
    for (unsigned run = 0; run < SPOOL_RUNS_MAX + 2; run++) {
        append_gap(spool, ++seq); /* pending */
        spool_set_stored(spool, 0, append_gap(spool, ++seq));
        spool_set_stored(spool, 0, append_gap(spool, ++seq));
    }
    spool_close(spool);
    spool = open_spool(&world, &options);
    for (unsigned run = 0; run < SPOOL_RUNS_MAX + 2; run++) {
        uint64_t id = spool_next_pending(spool, 0, false);
        struct spool_batch batch;
        CLEANUP(buf_done) struct buf bytes = BUF_INIT(KIB);
        assert_int_not_equal(id, 0);
        assert_int_equal(spool_read(spool, id, &batch, &bytes), 0);
        assert_int_equal(batch.seq, 3 * run + 1);
        spool_set_in_flight(spool, 0, id, true);
        for (int more = 0; more < 2 && run >= SPOOL_RUNS_MAX; more++) /* left out */
            spool_set_in_flight(spool, 0, spool_next_pending(spool, 0, false), true);
    }
    assert_int_equal(spool_next_pending(spool, 0, false), 0);
    spool_close(spool);
    hop_world_done(&world);
}

static int try_append(struct spool *spool, uint64_t seq, uint64_t *ret_id)
{
    struct hop_batch batch = {hop_source("rack-1"), 1, seq, 0, 200};
    return hop_append(spool, &batch, ret_id);
}

/* A segment has all layouts that its batches name. Where they are damaged, the batch is as if not there, so that it can
 * be sent again, although another segment has the same ones: that may go first. */
static void test_layouts_of_another_segment_do_not_count(void **state)
{
    (void)state;
    struct hop_world world;
    hop_world_init(&world, 1);
    struct spool_options options = options_of();
    struct spool *spool = open_spool(&world, &options);
    uint64_t first = 0, second = 0;
    assert_int_equal(try_append(spool, 1, &first), 0);
    spool_close(spool);
    spool = open_spool(&world, &options); /* begins a segment of its own */
    assert_int_equal(try_append(spool, 2, &second), 0);
    spool_close(spool);
    assert_int_equal(second >> 32, (first >> 32) + 1);

    /* The pack stands before its batch. */
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(MIB);
    char path[64];
    snprintf(path, sizeof(path), "/spool/%010u.segment", (unsigned)(second >> 32));
    assert_int_equal(file_read_whole(world.seams.fs, path, &bytes), 0);
    bytes.data[(uint32_t)second - 3] ^= 1;
    assert_int_equal(file_write_whole(world.seams.fs, path, bytes.data, bytes.len), 0);
    spool = open_spool(&world, &options);
    struct spool_stats stats;
    spool_stats(spool, &stats);
    assert_int_equal(stats.unreadable_total, 1);
    assert_int_equal(try_append(spool, 1, &first), -EEXIST);
    assert_int_equal(try_append(spool, 2, &second), 0);
    spool_close(spool);
    hop_world_done(&world);
}

static void note_error(void *arg, int error)
{
    *(int *)arg = error;
}

/* A batch whose sync failed and that could not be cut off is found again at the next start. Batches before and behind
 * it have been delivered; it has not, and is sent. */
static void test_what_was_given_up_is_not_delivered_with_its_neighbours(void **state)
{
    (void)state;
    struct hop_world world;
    hop_world_init(&world, 1);
    struct file_system *inner = world.seams.fs, *failing = file_system_failing_new(inner);
    world.seams.fs = failing;
    struct spool_options options = options_of();
    struct spool *spool = open_spool(&world, &options);
    uint64_t first = 0, given_up = 0, last = 0;
    int error = 1;
    assert_int_equal(try_append(spool, 1, &first), 0);
    spool_sync(spool, note_error, &error);
    loop_settle(world.seams.loop);
    assert_int_equal(error, 0);
    assert_int_equal(try_append(spool, 2, &given_up), 0);
    file_system_failing_at(failing, 1, -EIO, false); /* the sync, and then the cutting off */
    spool_sync(spool, note_error, &error);
    loop_settle(world.seams.loop);
    assert_int_equal(error, -EIO);
    file_system_failing_at(failing, 0, -EIO, true);
    assert_int_equal(try_append(spool, 3, &last), 0);
    for (int i = 0; i < 2; i++) { /* the first one is told that something before it was given up */
        spool_sync(spool, note_error, &error);
        loop_settle(world.seams.loop);
    }
    assert_int_equal(error, 0);
    spool_set_stored(spool, 0, first);
    spool_set_stored(spool, 0, last);
    spool_close(spool);
    spool = open_spool(&world, &options);
    assert_int_equal(spool_next_pending(spool, 0, false), given_up);
    assert_int_equal(spool_pending(spool, 0), 1);
    spool_close(spool);
    world.seams.fs = inner;
    file_system_free(failing);
    hop_world_done(&world);
}

/* As a busy receiver: each batch comes while the one before is being synced. */
struct busy {
    struct spool *spool;
    struct loop_timer timer;
    uint64_t seq, seq_max;
    uint64_t most_bytes;
};

static void no_error(void *arg, int error)
{
    (void)arg;
    assert_int_equal(error, 0);
}

static void on_busy_timer(void *arg)
{
    struct busy *busy = arg;
    if (busy->spool->job || busy->spool->waiting.count == 0) {
        struct hop_batch batch = {hop_source("rack-1"), 1, ++busy->seq, 0, 8000};
        uint64_t id;
        struct spool_stats stats;
        assert_int_equal(hop_append(busy->spool, &batch, &id), 0);
        spool_sync(busy->spool, no_error, NULL);
        spool_stats(busy->spool, &stats);
        busy->most_bytes = MAX(busy->most_bytes, stats.bytes);
    }
    if (busy->seq < busy->seq_max)
        loop_timer_start(&busy->timer, 0, 0);
}

static void test_bound_holds_while_syncs_follow_each_other(void **state)
{
    (void)state;
    struct hop_world world;
    hop_world_init(&world, 2);
    struct spool_options options = options_of();
    options.bytes_max = 8 * SPOOL_SEGMENT_BYTES_MIN;
    struct busy busy = {.spool = open_spool(&world, &options), .seq_max = 500};
    loop_timer_init(&busy.timer, world.seams.loop, on_busy_timer, &busy);
    loop_timer_start(&busy.timer, 0, 0);
    loop_settle(world.seams.loop);
    assert_int_equal(busy.seq, busy.seq_max);
    assert_true(busy.most_bytes < options.bytes_max + 2 * SPOOL_SEGMENT_BYTES_MIN);
    spool_close(busy.spool);
    hop_world_done(&world);
}

/* A copy that somebody left beside the segments is none. */
static void test_foreign_files(void **state)
{
    (void)state;
    struct hop_world world;
    hop_world_init(&world, 3);
    struct spool_options options = options_of();
    struct spool *spool = open_spool(&world, &options);
    append_gap(spool, 1);
    spool_close(spool);
    static const char *const names[] = {"/spool/1.segment", "/spool/1", "/spool/00000000001.segment",
                                        "/spool/99.segment"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        CLEANUP(file_closep) struct file *file = NULL;
        assert_int_equal(file_open(world.seams.fs, names[i], FILE_CREATE_NEW, &file), 0);
    }
    spool = open_spool(&world, &options);
    assert_int_equal(spool_pending(spool, 0), 1);
    assert_int_equal(spool_epoch(spool), 2);
    spool_close(spool);
    hop_world_done(&world);
}

/* An upstream that is gone for good: what was dropped for it takes no memory, however long it lasts, and one gap tells
 * of it. */
static void test_memory_of_a_dead_upstream(void **state)
{
    (void)state;
    struct hop_world world;
    hop_world_init(&world, 4);
    struct spool_options options = options_of();
    options.bytes_max = 8 * SPOOL_SEGMENT_BYTES_MIN;
    struct spool *spool = open_spool(&world, &options);
    for (uint64_t seq = 1; seq <= 10000; seq++) {
        struct hop_batch batch = {hop_source("rack-1"), 1, seq, 0, 500};
        uint64_t id;
        assert_int_equal(hop_append(spool, &batch, &id), 0);
        if (seq % 10 == 0)
            loop_settle(world.seams.loop);
    }
    size_t at = 0;
    const struct stream *stream = map_next(&spool->streams, &at);
    assert_true(stream->capacity <= 4 * spool->batches);
    /* Nearly all of the bound is batches. */
    size_t gaps = 0;
    for (size_t i = 0; i < spool->segment_count; i++)
        for (size_t j = 0; j < spool->segments[i]->entry_count; j++)
            gaps += spool->segments[i]->entries[j].is_gap;
    assert_true(spool->batches - gaps > 100);
    assert_true(gaps <= 2 * spool->segment_count);
    /* It comes back: a gap, and what is kept, each once and in order. */
    uint64_t next = 1;
    unsigned told = 0;
    for (uint64_t id; (id = spool_next_pending(spool, 0, false)) != 0; spool_set_stored(spool, 0, id)) {
        struct spool_batch batch;
        CLEANUP(buf_done) struct buf bytes = BUF_INIT(MIB);
        assert_int_equal(spool_read(spool, id, &batch, &bytes), 0);
        told += batch.is_gap;
        next = batch.is_gap ? next : MAX(next, batch.seq + 1);
        if (batch.is_gap)
            assert_int_equal(batch.seq, 1);
    }
    assert_int_equal(told, 1);
    assert_int_equal(next, 10001);
    spool_close(spool);
    hop_world_done(&world);
}

/* What one consumer takes leaves its stream's order as it is for the one that takes nothing yet. */
static void test_two_consumers_apart(void **state)
{
    (void)state;
    static const char *const two[] = {"eu", "us"};
    struct hop_world world;
    hop_world_init(&world, 5);
    struct spool_options options = options_of();
    options.consumers = two;
    options.consumer_count = 2;
    struct spool *spool = open_spool(&world, &options);
    struct source_id source = hop_source("rack-1");
    struct spool_stats stats;
    for (uint64_t seq = 1; seq <= 1000; seq++) {
        spool_set_stored(spool, 0, append_gap(spool, seq));
        spool_set_delivered(spool, 0,
                            &(struct spool_mark){.source = source,
                                                 .epoch = 1,
                                                 .seq = seq - seq % 2}); /* each second time the mark is one behind */
        assert_int_equal(spool_delivered_through(spool, &source, 1), 0);
    }
    uint64_t through = 0;
    for (uint64_t id; (id = spool_next_pending(spool, 1, false)) != 0;) {
        spool_set_stored(spool, 1, id);
        spool_set_delivered(spool, 1, &(struct spool_mark){.source = source, .epoch = 1, .seq = ++through});
        assert_int_equal(spool_delivered_through(spool, &source, 1), through);
    }
    assert_int_equal(through, 1000);
    spool_stats(spool, &stats);
    assert_int_equal(stats.pending[0], 0);
    spool_close(spool);
    hop_world_done(&world);
}

/* After a day of silence the oldest come in beside the newest: that makes no segment of every second batch. */
static void test_backlog_beside_what_is_new(void **state)
{
    (void)state;
    struct hop_world world;
    hop_world_init(&world, 6);
    struct spool_options options = options_of();
    options.age_max_ms = 72 * 3600 * INT64_C(1000);
    struct spool *spool = open_spool(&world, &options);
    struct spool_stats stats;
    for (uint64_t i = 0; i < 200; i++) {
        struct hop_batch batch = {hop_source("rack-1"), 1, i % 2 ? 1 + i : 1440 + i, 0, 100};
        uint64_t id;
        assert_int_equal(hop_append(spool, &batch, &id), 0);
    }
    spool_stats(spool, &stats);
    assert_int_equal(stats.segments, 1);
    spool_close(spool);
    hop_world_done(&world);
}

/* What is known of many sources may be larger than a small segment: it is not written for every batch. */
static void test_a_head_larger_than_a_segment(void **state)
{
    (void)state;
    struct hop_world world;
    hop_world_init(&world, 7);
    struct spool_options options = options_of();
    options.segment_bytes = SPOOL_SEGMENT_BYTES_MIN;
    struct spool *spool = open_spool(&world, &options);
    struct spool_stats stats;
    char name[32];
    for (unsigned i = 0; i < 1500; i++) {
        snprintf(name, sizeof(name), "rack-%u", i);
        struct hop_batch batch = {hop_source(name), 1, 1, 0, 10};
        uint64_t id;
        assert_int_equal(hop_append(spool, &batch, &id), 0);
    }
    spool_stats(spool, &stats);
    assert_true(stats.segments < 60);
    spool_close(spool);
    hop_world_done(&world);
}

static void note_synced(void *arg, int error)
{
    *(unsigned *)arg += error == 0;
}

/* Past the bound of layouts in memory the oldest segment goes, and a gap for it: no new batch is lost. */
static void test_layouts_at_their_ceiling(void **state)
{
    (void)state;
    enum { BATCHES = 600 };
    struct hop_world world;
    unsigned synced = 0;
    hop_world_init(&world, 8);
    struct spool_options options = options_of();
    options.bytes_max = 64 * MIB;
    options.layout_bytes_max = 64 * KIB;
    struct spool *spool = open_spool(&world, &options);
    for (unsigned i = 1; i <= BATCHES; i++) {
        struct hop_batch batch = {hop_source("rack-1"), 1, i, i, 100};
        uint64_t id;
        assert_int_equal(hop_append(spool, &batch, &id), 0);
        spool_sync(spool, note_synced, &synced);
        loop_settle(world.seams.loop);
        assert_true(layout_table_packed_bytes(spool_layouts(spool)) < options.layout_bytes_max + 4 * KIB);
    }
    struct spool_stats stats;
    assert_int_equal(synced, BATCHES);
    spool_stats(spool, &stats);
    assert_true(stats.dropped_batches_total > 0);
    assert_true(stats.pending[0] > BATCHES - stats.dropped_batches_total); /* with the gap */
    assert_true(stats.layout_bytes > 0 && stats.layout_cache_bytes > 0);
    spool_close(spool);
    /* What is left is read again, with all its layouts. */
    spool = open_spool(&world, &options);
    spool_stats(spool, &stats);
    assert_int_equal(stats.unreadable_total, 0);
    spool_close(spool);
    hop_world_done(&world);
}

/* ---- Batches that stand for others ---- */

#define REPLACED 5

static int append_replacing(struct spool *spool, uint64_t seq, const uint64_t *replaces, uint64_t *ret_id)
{
    CLEANUP(hop_layouts_done) struct hop_layouts layouts = hop_layouts_new(0);
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(1 * MIB);
    const struct hop_batch batch = {hop_source("rack-1"), 1, seq, 0, 0};
    struct envelope envelope;
    hop_batch_make(&batch, &layouts, &envelope, &bytes);
    envelope.replaces = replaces;
    envelope.replaces_count = REPLACED;
    buf_reset(&bytes);
    assert_int_equal(envelope_encode(&envelope, &bytes), 0);
    hop_layouts_hold(spool_layouts(spool), &layouts);
    int error = spool_append(spool, &envelope, buf_view(&bytes), ret_id);
    hop_layouts_release(spool_layouts(spool), &layouts);
    return error;
}

static bool saw(struct spool *spool, uint64_t first, uint64_t last)
{
    struct source_id source = hop_source("rack-1");
    return seqlog_covers(spool_seen(spool), &source, 1, first, last);
}

static void note_result(void *arg, int error)
{
    *(int *)arg = error;
}

static int sync_now(struct hop_world *world, struct spool *spool)
{
    int result = 1;
    spool_sync(spool, note_result, &result);
    loop_advance(world->seams.loop, 100);
    return result;
}

/* Nothing of what it replaces is delivered before it is: the mark stays before them. */
static void test_mark_stays_before_replaced(void **state)
{
    (void)state;
    static const uint64_t replaces[REPLACED] = {3, 4, 9, 10, 11};
    struct source_id source = hop_source("rack-1");
    struct hop_world world;
    uint64_t id;
    hop_world_init(&world, 11);
    struct spool_options options = options_of();
    struct spool *spool = open_spool(&world, &options);
    assert_int_equal(append_replacing(spool, 20, replaces, &id), 0);
    assert_int_equal(sync_now(&world, spool), 0);
    for (int opens = 0; opens < 2; opens++) {
        assert_int_equal(spool_delivered_through(spool, &source, 1), 2);
        spool_close(spool);
        spool = open_spool(&world, &options);
    }
    id = spool_next_pending(spool, 0, false);
    spool_set_stored(spool, 0, id);
    spool_set_delivered(spool, 0, &(struct spool_mark){.source = source, .epoch = 1, .seq = 19});
    assert_int_equal(spool_delivered_through(spool, &source, 1), 2);
    spool_set_delivered(spool, 0, &(struct spool_mark){source, 1, 20, &id, 1}); /* who said so did not know of it */
    assert_int_equal(spool_delivered_through(spool, &source, 1), 2);
    spool_set_delivered(spool, 0, &(struct spool_mark){.source = source, .epoch = 1, .seq = 20});
    assert_int_equal(spool_delivered_through(spool, &source, 1), 20);
    spool_close(spool);
    hop_world_done(&world);
}

/* What was not synced was not seen, nor what it replaces: each comes again. */
static void test_replaced_by_what_was_not_synced(void **state)
{
    (void)state;
    static const uint64_t replaces[REPLACED] = {3, 4, 9, 10, 11};
    struct hop_world world;
    uint64_t id;
    hop_world_init(&world, 11);
    struct file_system *failing = file_system_failing_new(world.seams.fs);
    struct file_system *memory = world.seams.fs;
    world.seams.fs = failing;
    struct spool_options options = options_of();
    struct spool *spool = open_spool(&world, &options);
    assert_int_equal(append_replacing(spool, 20, replaces, &id), 0);
    file_system_failing_at(failing, 1, -EIO, true);
    assert_int_equal(sync_now(&world, spool), -EIO);
    assert_false(saw(spool, 3, 3) || saw(spool, 11, 11) || saw(spool, 20, 20));
    const struct hop_batch late = {hop_source("rack-1"), 1, 9, 0, 100};
    assert_int_equal(hop_append(spool, &late, &id), 0);
    assert_int_equal(append_replacing(spool, 20, replaces, &id), 0);
    (void)sync_now(&world, spool); /* who asks next is told of the failure once more */
    assert_int_equal(sync_now(&world, spool), 0);
    assert_true(saw(spool, 3, 4) && saw(spool, 20, 20));
    spool_close(spool);
    world.seams.fs = memory;
    file_system_free(failing);
    hop_world_done(&world);
}

/* Who has the one has seen those it replaces: so also the next time it is opened, and from its memory in segments that
 * follow. */
static void test_replaced_are_seen(void **state)
{
    (void)state;
    static const uint64_t replaces[REPLACED] = {3, 4, 9, 10, 11};
    struct hop_world world;
    uint64_t id;
    hop_world_init(&world, 11);
    struct spool_options options = options_of();
    struct spool *spool = open_spool(&world, &options);
    assert_int_equal(append_replacing(spool, 20, replaces, &id), 0);
    assert_false(saw(spool, 3, 3)); /* not on disk yet */
    assert_int_equal(sync_now(&world, spool), 0);
    for (int opens = 0; opens < 3; opens++) {
        assert_true(saw(spool, 3, 4) && saw(spool, 9, 11) && saw(spool, 20, 20));
        assert_false(saw(spool, 2, 2) || saw(spool, 5, 8) || saw(spool, 12, 12));
        const struct hop_batch late = {hop_source("rack-1"), 1, 9, 0, 100};
        assert_int_equal(hop_append(spool, &late, &id), -EEXIST);
        spool_close(spool);
        spool = open_spool(&world, &options);
    }
    spool_close(spool);
    hop_world_done(&world);
}

/* Past the bound the one goes, and with it what it had replaced: the gap says so for all of them. */
static void test_replaced_are_told_as_a_gap(void **state)
{
    (void)state;
    static const uint64_t replaces[REPLACED] = {1, 2, 3, 4, 5};
    struct hop_world world;
    uint64_t id, ids[REPLACED];
    hop_world_init(&world, 12);
    struct spool_options options = options_of();
    options.bytes_max = 8 * SPOOL_SEGMENT_BYTES_MIN;
    struct spool *spool = open_spool(&world, &options);
    for (uint64_t seq = 1; seq <= REPLACED; seq++) {
        const struct hop_batch one = {hop_source("rack-1"), 1, seq, 0, 500};
        assert_int_equal(hop_append(spool, &one, &ids[seq - 1]), 0);
        assert_true(spool_is_waiting(spool, 0, ids[seq - 1]));
    }
    assert_int_equal(append_replacing(spool, 6, replaces, &id), 0);
    for (int i = 0; i < REPLACED; i++)
        spool_give_up(spool, ids[i]);
    assert_int_equal(spool_pending(spool, 0), 1);
    for (uint64_t seq = 7; seq < 60; seq++) {
        const struct hop_batch one = {hop_source("rack-1"), 1, seq, 0, 8000};
        assert_int_equal(hop_append(spool, &one, &id), 0);
        spool_sync(spool, no_error, NULL);
        loop_advance(world.seams.loop, 100);
    }
    struct spool_batch gap;
    bool told = false;
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(MIB);
    while ((id = spool_next_pending(spool, 0, false)) != 0) {
        buf_reset(&bytes);
        assert_int_equal(spool_read(spool, id, &gap, &bytes), 0);
        told |= gap.is_gap && gap.seq == 1 && gap.seq_end > 6;
        spool_set_in_flight(spool, 0, id, true);
    }
    assert_true(told);
    spool_close(spool);
    hop_world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs_past_the_ceiling),
        cmocka_unit_test(test_layouts_of_another_segment_do_not_count),
        cmocka_unit_test(test_what_was_given_up_is_not_delivered_with_its_neighbours),
        cmocka_unit_test(test_bound_holds_while_syncs_follow_each_other),
        cmocka_unit_test(test_foreign_files),
        cmocka_unit_test(test_memory_of_a_dead_upstream),
        cmocka_unit_test(test_two_consumers_apart),
        cmocka_unit_test(test_backlog_beside_what_is_new),
        cmocka_unit_test(test_a_head_larger_than_a_segment),
        cmocka_unit_test(test_layouts_at_their_ceiling),
        cmocka_unit_test(test_mark_stays_before_replaced),
        cmocka_unit_test(test_replaced_by_what_was_not_synced),
        cmocka_unit_test(test_replaced_are_seen),
        cmocka_unit_test(test_replaced_are_told_as_a_gap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
