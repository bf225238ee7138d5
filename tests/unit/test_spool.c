#include "hop_world.h"

#include "hop/gap.h"
#include "hop/spool_internal.h"

#include <errno.h>

#define SEQS_MAX 4096

/* ---- What a spool holds, by seq ---- */

struct content {
    unsigned count[SEQS_MAX]; /* times each seq of epoch 1 was met */
    unsigned batches, gaps;
    uint64_t gap_first, gap_last;
    bool bytes_right;
    struct buf expected;
};

static int take(void *arg, const struct spool_batch *batch, struct str bytes, struct layout_table *layouts)
{
    struct content *content = arg;
    if (batch->is_gap) {
        struct spool_batch gap;
        assert_int_equal(gap_decode(bytes, &gap), 0);
        assert_int_equal(gap.seq_end, batch->seq_end);
        content->gaps++;
        content->gap_first = batch->seq;
        content->gap_last = batch->seq_end;
        return 0;
    }
    assert_true(batch->seq < SEQS_MAX);
    content->count[batch->seq]++;
    content->batches++;
    CLEANUP(arena_done) struct arena arena;
    arena_init(&arena, 0);
    struct envelope envelope;
    struct str body;
    assert_int_equal(envelope_decode(bytes.ptr, bytes.len, &arena, &envelope, &body), 0);
    assert_int_equal(envelope.seq, batch->seq);
    assert_true(layout_table_has_all(layouts, &envelope));
    for (uint32_t i = 0; i < envelope_layout_count(&envelope); i++)
        assert_non_null(layout_table_get(layouts, envelope_layout_at(&envelope, i)));
    return 0;
}

static const char *const one_consumer[] = {"up"};
static const char *const two_consumers[] = {"eu", "us"};

static struct spool_options options_of(size_t consumer_count)
{
    return (struct spool_options){.dir = "/spool",
                                  .consumers = consumer_count == 1 ? one_consumer : two_consumers,
                                  .consumer_count = consumer_count,
                                  .layout_bytes_max = HOP_LAYOUT_BYTES};
}

static struct spool *open_spool(struct hop_world *world, const struct spool_options *options, struct content *content)
{
    struct spool *spool = NULL;
    if (content)
        *content = (struct content){0};
    assert_int_equal(spool_open(&world->seams, options, content ? take : NULL, content, &spool), 0);
    return spool;
}

static uint64_t append(struct spool *spool, uint64_t seq, size_t body_bytes)
{
    struct hop_batch batch = {hop_source("rack-1"), 1, seq, (unsigned)(seq % 3), body_bytes};
    uint64_t id = 0;
    assert_int_equal(hop_append(spool, &batch, &id), 0);
    return id;
}

static int try_append(struct spool *spool, uint64_t seq)
{
    struct hop_batch batch = {hop_source("rack-1"), 1, seq, 0, 100};
    uint64_t id;
    return hop_append(spool, &batch, &id);
}

static void note(void *arg, int error)
{
    *(int *)arg = error;
}

static int sync_now(struct hop_world *world, struct spool *spool)
{
    int result = 1;
    spool_sync(spool, note, &result);
    assert_int_equal(result, 1); /* never from inside the call */
    loop_settle(world->seams.loop);
    assert_int_not_equal(result, 1);
    return result;
}

/* ---- Tests ---- */

static void test_holds_over_opens(void **state)
{
    (void)state;
    struct hop_world world;
    hop_world_init(&world, 1);
    struct spool_options options = options_of(1);
    struct spool *spool = open_spool(&world, &options, NULL);
    uint64_t incarnation = spool_incarnation(spool);
    assert_int_equal(spool_epoch(spool), 1);
    uint64_t last = 0;
    for (uint64_t seq = 1; seq <= 50; seq++) {
        uint64_t id = append(spool, seq, 200);
        assert_true(id > last);
        last = id;
    }
    assert_int_equal(try_append(spool, 7), -EEXIST);
    assert_int_equal(sync_now(&world, spool), 0);
    spool_close(spool);
    struct content content;
    spool = open_spool(&world, &options, &content);
    assert_int_equal(content.batches, 50);
    for (uint64_t seq = 1; seq <= 50; seq++)
        assert_int_equal(content.count[seq], 1);
    assert_int_equal(spool_incarnation(spool), incarnation);
    assert_int_equal(spool_epoch(spool), 2);
    struct source_id source = hop_source("rack-1");
    assert_int_equal(seqlog_highest(spool_seen(spool), &source, 1), 50);
    struct spool *second;
    assert_int_equal(spool_open(&world.seams, &options, NULL, NULL, &second), -EBUSY);
    spool_close(spool);
    hop_world_done(&world);
}

static void test_reads_the_same_bytes(void **state)
{
    (void)state;
    struct hop_world world;
    hop_world_init(&world, 2);
    struct spool_options options = options_of(1);
    options.segment_bytes = SPOOL_SEGMENT_BYTES_MIN;
    struct spool *spool = open_spool(&world, &options, NULL);
    uint64_t ids[101];
    for (uint64_t seq = 1; seq <= 100; seq++)
        ids[seq] = append(spool, seq, 1000);
    struct spool_stats stats;
    spool_stats(spool, &stats);
    assert_true(stats.segments > 5);
    assert_int_equal(stats.pending[0], 100);
    for (uint64_t seq = 1; seq <= 100; seq += 9) {
        CLEANUP(buf_done) struct buf bytes = BUF_INIT(1 * MIB);
        CLEANUP(buf_done) struct buf expected = BUF_INIT(1 * MIB);
        struct spool_batch batch;
        assert_int_equal(spool_read(spool, ids[seq], &batch, &bytes), 0);
        assert_int_equal(batch.seq, seq);
        CLEANUP(hop_layouts_done) struct hop_layouts layouts = hop_layouts_new((unsigned)(seq % 3));
        struct hop_batch made = {hop_source("rack-1"), 1, seq, (unsigned)(seq % 3), 1000};
        struct envelope envelope;
        hop_batch_make(&made, &layouts, &envelope, &expected);
        assert_true(str_equal(buf_view(&bytes), buf_view(&expected)));
    }
    CLEANUP(buf_done) struct buf none = BUF_INIT(1 * MIB);
    struct spool_batch batch;
    assert_int_equal(spool_read(spool, ids[5] + 1, &batch, &none), -ENOENT);
    spool_close(spool);
    hop_world_done(&world);
}

static void test_a_layout_must_be_known(void **state)
{
    (void)state;
    struct hop_world world;
    hop_world_init(&world, 3);
    struct spool_options options = options_of(1);
    struct spool *spool = open_spool(&world, &options, NULL);
    CLEANUP(hop_layouts_done) struct hop_layouts layouts = hop_layouts_new(9);
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(1 * MIB);
    struct hop_batch made = {hop_source("rack-1"), 1, 1, 9, 10};
    struct envelope envelope;
    hop_batch_make(&made, &layouts, &envelope, &bytes);
    uint64_t id;
    assert_int_equal(spool_append(spool, &envelope, buf_view(&bytes), &id), -ENOENT);
    hop_layouts_hold(spool_layouts(spool), &layouts);
    assert_int_equal(spool_append(spool, &envelope, buf_view(&bytes), &id), 0);
    hop_layouts_release(spool_layouts(spool), &layouts);
    /* The segment holds them on. */
    assert_non_null(layout_table_get(spool_layouts(spool), layouts.page->hash));
    spool_close(spool);
    hop_world_done(&world);
}

static void test_lanes_and_states(void **state)
{
    (void)state;
    struct hop_world world;
    hop_world_init(&world, 4);
    struct spool_options options = options_of(2);
    struct spool *spool = open_spool(&world, &options, NULL);
    uint64_t ids[11];
    for (uint64_t seq = 1; seq <= 10; seq++)
        ids[seq] = append(spool, seq, 100);
    assert_int_equal(spool_next_pending(spool, 0, false), ids[1]);
    assert_int_equal(spool_next_pending(spool, 0, true), ids[10]);
    spool_set_in_flight(spool, 0, ids[10], true);
    spool_set_in_flight(spool, 0, ids[1], true);
    assert_int_equal(spool_next_pending(spool, 0, false), ids[2]);
    assert_int_equal(spool_next_pending(spool, 0, true), ids[9]);
    assert_int_equal(spool_next_pending(spool, 1, true), ids[10]); /* each consumer by itself */
    spool_set_in_flight(spool, 0, ids[1], false);
    assert_int_equal(spool_next_pending(spool, 0, false), ids[1]);

    struct source_id source = hop_source("rack-1");
    for (uint64_t seq = 1; seq <= 6; seq++)
        spool_set_stored(spool, 0, ids[seq]);
    spool_set_delivered(
        spool, 0, &(struct spool_mark){.source = source, .epoch = 1, .seq = 8}); /* 7 and 8 are pending: they stay so */
    assert_int_equal(spool_next_pending(spool, 0, false), ids[7]);
    assert_int_equal(spool_delivered_through(spool, &source, 1), 0); /* the other has none of them */
    for (uint64_t seq = 1; seq <= 3; seq++)
        spool_set_stored(spool, 1, ids[seq]);
    spool_set_delivered(spool, 1, &(struct spool_mark){.source = source, .epoch = 1, .seq = 2});
    assert_int_equal(spool_delivered_through(spool, &source, 1), 2);
    spool_set_refused(spool, 1, ids[3]);
    assert_int_equal(spool_delivered_through(spool, &source, 1), 3);
    spool_close(spool);
    hop_world_done(&world);
}

static void test_positions_over_opens(void **state)
{
    (void)state;
    struct hop_world world;
    hop_world_init(&world, 5);
    struct spool_options options = options_of(1);
    struct spool *spool = open_spool(&world, &options, NULL);
    uint64_t ids[11];
    for (uint64_t seq = 1; seq <= 10; seq++)
        ids[seq] = append(spool, seq, 100);
    struct source_id source = hop_source("rack-1");
    assert_false(spool_set_upstream(spool, 0, 555));
    for (uint64_t seq = 1; seq <= 5; seq++)
        spool_set_stored(spool, 0, ids[seq]);
    spool_set_stored(spool, 0, ids[8]);
    spool_set_delivered(spool, 0, &(struct spool_mark){.source = source, .epoch = 1, .seq = 2});
    loop_advance(world.seams.loop, 2 * SPOOL_POSITION_MS);
    assert_int_equal(sync_now(&world, spool), 0);
    /* A crash: what was synced stays. */
    file_system_memory_crash(world.seams.fs, &world.random);
    spool_close(spool);
    struct content content;
    spool = open_spool(&world, &options, &content);
    assert_int_equal(content.batches, 10);
    assert_int_equal(spool_next_pending(spool, 0, false), ids[6]);
    struct spool_stats stats;
    spool_stats(spool, &stats);
    assert_int_equal(stats.pending[0], 4);
    assert_int_equal(spool_delivered_through(spool, &source, 1), 2);
    size_t at = 0;
    struct source_id stored;
    uint64_t epoch;
    assert_true(spool_next_stored(spool, 0, &at, &stored, &epoch));
    assert_int_equal(epoch, 1);
    assert_false(spool_next_stored(spool, 0, &at, &stored, &epoch));
    /* Another upstream behind the address: what was stored but not delivered goes again. */
    assert_false(spool_set_upstream(spool, 0, 555));
    assert_true(spool_set_upstream(spool, 0, 556));
    assert_int_equal(spool_next_pending(spool, 0, false), ids[3]);
    spool_close(spool);
    hop_world_done(&world);
}

static void test_delivered_segments_go(void **state)
{
    (void)state;
    struct hop_world world;
    hop_world_init(&world, 6);
    struct spool_options options = options_of(2);
    options.segment_bytes = SPOOL_SEGMENT_BYTES_MIN;
    struct spool *spool = open_spool(&world, &options, NULL);
    struct source_id source = hop_source("rack-1");
    struct spool_stats stats;
    for (uint64_t seq = 1; seq <= 200; seq++) {
        uint64_t id = append(spool, seq, 1000);
        spool_set_stored(spool, 0, id);
        spool_set_stored(spool, 1, id);
        if (seq > 100)
            continue;
        spool_set_delivered(spool, 0, &(struct spool_mark){.source = source, .epoch = 1, .seq = seq});
        spool_set_delivered(spool, 1, &(struct spool_mark){.source = source, .epoch = 1, .seq = seq});
    }
    spool_stats(spool, &stats);
    uint64_t kept = stats.bytes;
    assert_true(kept > 100 * 1000 && kept < 150 * 1000);
    spool_set_delivered(spool, 0, &(struct spool_mark){.source = source, .epoch = 1, .seq = 200});
    spool_stats(spool, &stats);
    assert_int_equal(stats.bytes, kept); /* one of two */
    spool_set_delivered(spool, 1, &(struct spool_mark){.source = source, .epoch = 1, .seq = 200});
    spool_stats(spool, &stats);
    assert_int_equal(stats.segments, 1);
    assert_int_equal(stats.dropped_batches_total, 0);
    /* What was seen outlives the segments. */
    assert_int_equal(sync_now(&world, spool), 0);
    spool_close(spool);
    spool = open_spool(&world, &options, NULL);
    assert_true(seqlog_covers(spool_seen(spool), &source, 1, 1, 200));
    assert_int_equal(spool_delivered_through(spool, &source, 1), 200);
    spool_close(spool);
    hop_world_done(&world);
}

static void test_past_the_bound_a_gap(void **state)
{
    (void)state;
    struct hop_world world;
    hop_world_init(&world, 7);
    struct spool_options options = options_of(1);
    options.bytes_max = 16 * SPOOL_SEGMENT_BYTES_MIN;
    struct spool *spool = open_spool(&world, &options, NULL);
    for (uint64_t seq = 1; seq <= 1000; seq++) {
        append(spool, seq, 1000);
        if (seq % 10 == 0)
            assert_int_equal(sync_now(&world, spool), 0);
    }
    struct spool_stats stats;
    spool_stats(spool, &stats);
    assert_true(stats.bytes <= options.bytes_max + 2 * SPOOL_SEGMENT_BYTES_MIN);
    assert_true(stats.dropped_batches_total > 500);
    spool_close(spool);
    /* Every seq is there once, as a batch or within a gap; the dropped ones are the oldest. */
    struct content content;
    spool = open_spool(&world, &options, &content);
    assert_int_equal(content.batches + stats.dropped_batches_total, 1000);
    unsigned met = 0;
    for (uint64_t seq = 1; seq <= 1000; seq++) {
        assert_int_equal(content.count[seq], seq > stats.dropped_batches_total ? 1 : 0);
        met += content.count[seq];
    }
    assert_int_equal(met, content.batches);
    uint64_t covered = 0;
    for (uint64_t id; (id = spool_next_pending(spool, 0, false)) != 0;) {
        CLEANUP(buf_done) struct buf bytes = BUF_INIT(1 * MIB);
        struct spool_batch batch;
        assert_int_equal(spool_read(spool, id, &batch, &bytes), 0);
        if (batch.is_gap)
            covered += batch.seq_end - batch.seq + 1;
        spool_set_in_flight(spool, 0, id, true);
    }
    assert_int_equal(covered, stats.dropped_batches_total);
    spool_close(spool);
    hop_world_done(&world);
}

static void test_age_bound_and_drop_before(void **state)
{
    (void)state;
    struct hop_world world;
    hop_world_init(&world, 8);
    struct spool_options options = options_of(1);
    options.age_max_ms = 3600 * 1000;
    options.segment_bytes = SPOOL_SEGMENT_BYTES_MIN;
    struct spool *spool = open_spool(&world, &options, NULL);
    for (uint64_t seq = 1; seq <= 240; seq++) { /* a minute each */
        append(spool, seq, 1000);
        loop_advance(world.seams.loop, 60000);
    }
    struct spool_stats stats;
    spool_stats(spool, &stats);
    assert_in_range(stats.dropped_batches_total, 140, 180);
    spool_close(spool);
    hop_world_done(&world);

    hop_world_init(&world, 8);
    options = options_of(0);
    options.segment_bytes = SPOOL_SEGMENT_BYTES_MIN;
    spool = open_spool(&world, &options, NULL);
    int64_t start_ms = clock_wall_ms(world.clock);
    uint64_t needed = 0;
    for (uint64_t seq = 1; seq <= 240; seq++) {
        uint64_t id = append(spool, seq, 1000);
        needed = seq == 121 ? id : needed;
    }
    spool_drop_before(spool, needed);
    assert_true(spool_has(spool, needed));
    spool_stats(spool, &stats);
    assert_in_range(stats.batches, 119, 140);
    assert_true(stats.oldest_window_ms > start_ms);
    spool_close(spool);
    hop_world_done(&world);
}

static void test_waiters_share_a_sync(void **state)
{
    (void)state;
    struct hop_world world;
    hop_world_init(&world, 9);
    struct file_system *memory = world.seams.fs;
    world.seams.fs = file_system_failing_new(memory);
    struct spool_options options = options_of(1);
    struct spool *spool = open_spool(&world, &options, NULL);
    int results[100];
    struct spool_stats before, after;
    spool_stats(spool, &before);
    for (uint64_t i = 0; i < 100; i++) {
        append(spool, i + 1, 100);
        results[i] = 1;
        spool_sync(spool, note, &results[i]);
    }
    loop_settle(world.seams.loop);
    spool_stats(spool, &after);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(results[i], 0);
    assert_int_equal(after.synced_total - before.synced_total, 1);
    /* Who still waits at the end is told. */
    append(spool, 101, 100);
    int result = 1;
    spool_sync(spool, note, &result);
    spool_close(spool);
    assert_int_equal(result, -ECANCELED);
    file_system_free(world.seams.fs);
    world.seams.fs = memory;
    hop_world_done(&world);
}

/* Fails each operation in turn, once: what was promised is there after a crash, and appends go on without a reopen. */
static void run_with_failure(uint64_t nth, int error, bool *ret_reached)
{
    struct hop_world world;
    hop_world_init(&world, nth);
    struct file_system *memory = world.seams.fs;
    struct spool_options options = options_of(1);
    options.segment_bytes = SPOOL_SEGMENT_BYTES_MIN;
    world.seams.fs = file_system_failing_new(memory);
    struct spool *spool = open_spool(&world, &options, NULL);
    uint64_t before = file_system_failing_count(world.seams.fs);
    file_system_failing_at(world.seams.fs, nth, error, true);
    bool promised[SEQS_MAX] = {false};
    unsigned failures = 0;
    for (uint64_t seq = 1; seq <= 60; seq++) {
        /* As a sender would: again until it is stored. */
        for (int attempt = 0; !promised[seq] && attempt < 4; attempt++) {
            struct hop_batch batch = {hop_source("rack-1"), 1, seq, (unsigned)(seq % 3), 1000};
            uint64_t id;
            int result = hop_append(spool, &batch, &id);
            int synced = sync_now(&world, spool);
            bool known = result == 0 || result == -EEXIST;
            failures += !known || synced < 0;
            promised[seq] = known && synced == 0;
        }
        assert_true(promised[seq]);
    }
    assert_true(failures <= 2);
    *ret_reached = file_system_failing_count(world.seams.fs) - before >= nth;
    file_system_memory_crash(memory, &world.random);
    spool_close(spool);
    struct content content;
    spool = open_spool(&world, &options, &content);
    for (uint64_t seq = 1; seq <= 60; seq++)
        assert_int_equal(content.count[seq], 1);
    spool_close(spool);
    file_system_free(world.seams.fs);
    world.seams.fs = memory;
    hop_world_done(&world);
}

static void test_each_operation_fails_once(void **state)
{
    (void)state;
    const int errors[] = {-EIO, -ENOSPC};
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        bool reached = true;
        uint64_t nth = 1;
        for (; reached; nth++)
            run_with_failure(nth, errors[i], &reached);
        assert_true(nth > 100);
    }
}

/* A process is killed with writes in the page cache; the next one reads them, so it promises them; then the power goes.
 */
static void test_what_replay_tells_is_on_disk(void **state)
{
    (void)state;
    struct hop_world world;
    hop_world_init(&world, 12);
    struct file_system *memory = world.seams.fs;
    world.seams.fs = file_system_failing_new(memory);
    struct spool_options options = options_of(1);
    struct spool *spool = open_spool(&world, &options, NULL);
    for (uint64_t seq = 1; seq <= 20; seq++)
        append(spool, seq, 1000);
    file_system_failing_at(world.seams.fs, 1, -EIO, false);
    spool_close(spool); /* cannot sync */
    file_system_free(world.seams.fs);
    world.seams.fs = memory;
    struct content told, kept;
    spool = open_spool(&world, &options, &told);
    assert_int_equal(told.batches, 20);
    file_system_memory_crash(memory, &world.random);
    spool_close(spool);
    spool = open_spool(&world, &options, &kept);
    for (uint64_t seq = 1; seq <= 20; seq++)
        assert_int_equal(kept.count[seq], 1);
    spool_close(spool);
    hop_world_done(&world);
}

static void test_full_disk(void **state)
{
    (void)state;
    struct hop_world world;
    hop_world_init(&world, 11);
    file_system_free(world.seams.fs);
    world.seams.fs = file_system_memory_new(100 * 1000);
    struct spool_options options = options_of(1);
    struct spool *spool = open_spool(&world, &options, NULL);
    struct file *ballast;
    assert_int_equal(file_open(world.seams.fs, "/ballast", FILE_CREATE_NEW, &ballast), 0);
    CLEANUP_FREE uint8_t *zeros = mem_zalloc(90000);
    assert_int_equal(file_append(ballast, zeros, 90000), 0);
    uint64_t seq = 1;
    while (try_append(spool, seq) == 0)
        seq++;
    assert_true(seq > 5);
    assert_int_equal(sync_now(&world, spool), 0); /* what fitted is stored */
    for (int i = 0; i < 10; i++)
        assert_int_equal(try_append(spool, seq), -ENOSPC);
    assert_int_equal(file_truncate(ballast, 0), 0);
    assert_int_equal(try_append(spool, seq), 0);
    assert_int_equal(sync_now(&world, spool), 0);
    spool_close(spool);
    file_close(ballast);
    struct content content;
    spool = open_spool(&world, &options, &content);
    assert_int_equal(content.batches, seq);
    spool_close(spool);
    hop_world_done(&world);
}

/* ---- Damage ---- */

#define IMAGE_BATCHES 62

struct image {
    struct buf bytes;
    size_t starts[IMAGE_BATCHES + 2]; /* of batch frames, by seq; then the end */
};

/* One segment of about 64 KiB, and where its batches are. */
static void make_image(struct image *image)
{
    struct hop_world world;
    hop_world_init(&world, 20);
    struct spool_options options = options_of(1);
    struct spool *spool = open_spool(&world, &options, NULL);
    for (uint64_t seq = 1; seq <= IMAGE_BATCHES; seq++)
        image->starts[seq] = (uint32_t)append(spool, seq, 850);
    assert_int_equal(sync_now(&world, spool), 0);
    image->bytes = BUF_INIT(1 * MIB);
    assert_int_equal(file_read_whole(world.seams.fs, "/spool/0000000001.segment", &image->bytes), 0);
    image->starts[IMAGE_BATCHES + 1] = image->bytes.len;
    assert_true(image->bytes.len > 60000 && image->bytes.len < 70000);
    spool_close(spool);
    hop_world_done(&world);
}

static void replay_image(const uint8_t *bytes, size_t len, struct content *content, struct spool_stats *stats)
{
    struct hop_world world;
    hop_world_init(&world, 21);
    struct spool_options options = options_of(1);
    assert_int_equal(file_make_dirs(world.seams.fs, "/spool"), 0);
    struct file *file;
    assert_int_equal(file_open(world.seams.fs, "/spool/0000000001.segment", FILE_CREATE_NEW, &file), 0);
    assert_int_equal(file_append(file, bytes, len), 0);
    file_close(file);
    struct spool *spool = open_spool(&world, &options, content);
    spool_stats(spool, stats);
    assert_true(spool_epoch(spool) > 1); /* never the first's once more */
    spool_close(spool);
    hop_world_done(&world);
}

static void test_cut_at_any_length(void **state)
{
    (void)state;
    struct image image;
    make_image(&image);
    struct content content;
    struct spool_stats stats;
    for (size_t len = 0; len <= image.bytes.len; len += len < 2000 || len > image.bytes.len - 2000 ? 1 : 13) {
        replay_image(image.bytes.data, len, &content, &stats);
        for (uint64_t seq = 1; seq <= IMAGE_BATCHES; seq++) {
            size_t end = seq < IMAGE_BATCHES ? image.starts[seq + 1] : image.bytes.len;
            bool whole = len >= end;
            /* Between two batches there may be a layout: then the first is whole a little earlier. */
            if (whole || len < image.starts[seq])
                assert_int_equal(content.count[seq], whole ? 1 : 0);
        }
        assert_int_equal(stats.damaged_bytes_total, 0);
    }
    buf_done(&image.bytes);
}

static void test_any_byte_flipped(void **state)
{
    (void)state;
    struct image image;
    make_image(&image);
    struct content content;
    struct spool_stats stats;
    for (size_t at = 0; at < image.bytes.len; at += at < 3000 ? 1 : 11) {
        image.bytes.data[at] ^= (uint8_t)(1 << at % 8);
        replay_image(image.bytes.data, image.bytes.len, &content, &stats);
        image.bytes.data[at] ^= (uint8_t)(1 << at % 8);
        unsigned lost = 0;
        for (uint64_t seq = 1; seq <= IMAGE_BATCHES; seq++) {
            assert_true(content.count[seq] <= 1);
            bool hit = at >= image.starts[seq] && at < image.starts[seq + 1];
            lost += content.count[seq] == 0 && !hit;
        }
        /* A damaged layout hides what names it: as if that were not there. */
        assert_true(lost == 0 || stats.unreadable_total > 0);
        assert_true(stats.batches + stats.unreadable_total >= IMAGE_BATCHES - 1);
        assert_true(stats.damaged_bytes_total + stats.torn_bytes_total > 0);
    }
    buf_done(&image.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_holds_over_opens),
        cmocka_unit_test(test_reads_the_same_bytes),
        cmocka_unit_test(test_a_layout_must_be_known),
        cmocka_unit_test(test_lanes_and_states),
        cmocka_unit_test(test_positions_over_opens),
        cmocka_unit_test(test_delivered_segments_go),
        cmocka_unit_test(test_past_the_bound_a_gap),
        cmocka_unit_test(test_age_bound_and_drop_before),
        cmocka_unit_test(test_waiters_share_a_sync),
        cmocka_unit_test(test_each_operation_fails_once),
        cmocka_unit_test(test_what_replay_tells_is_on_disk),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_cut_at_any_length),
        cmocka_unit_test(test_any_byte_flipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
