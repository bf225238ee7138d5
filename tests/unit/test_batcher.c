/* Sealed parts become numbered batches in the spool; what cannot be written is counted and told. */
#include "secondary/batcher.h"
#include "secondary_world.h"

#include <errno.h>

#define R_MS 60000

struct scene {
    struct world world;
    struct file_system *failing; /* between the spool and the files */
    struct seams seams;
    struct spool *spool;
    struct batcher *batcher;
    struct pipeline *pipeline;
    struct pipeline_target *target;
    struct pipeline_sealed sealed;
    unsigned synced;
};

static void on_sealed(void *arg, struct pipeline_sealed *sealed)
{
    struct scene *scene = arg;
    scene->sealed = *sealed;
}

static const struct pipeline_job job = {.honor_timestamps = true,
                                        .sample_limit = 1000,
                                        .label_limit = 30,
                                        .label_name_bytes_max = 100,
                                        .label_value_bytes_max = 1000};

static void open_spool(struct scene *scene, unsigned workers)
{
    const char *const consumers[] = {"primary"};
    const struct spool_options options = {.dir = "/spool",
                                          .bytes_max = 64 * MIB,
                                          .consumers = consumers,
                                          .consumer_count = 1,
                                          .layout_bytes_max = 64 * MIB};
    const struct batcher_options batcher = {.datacenter = "dc1", .secondary = "s1", .workers = workers};
    assert_int_equal(spool_open(&scene->seams, &options, NULL, NULL, &scene->spool), 0);
    scene->batcher = batcher_new(&scene->seams, scene->spool, &batcher);
}

static void close_spool(struct scene *scene)
{
    spool_close(scene->spool);
    batcher_free(scene->batcher);
}

static int set_up(void **state)
{
    struct scene *scene = mem_zalloc(sizeof(*scene));
    const struct label labels[] = {{STR("instance"), STR("h1:1")}};
    CLEANUP(labels_unrefp) struct labels *set = labels_new(labels, 1);
    struct window_rules_error error;
    struct window_rules *rules = NULL;
    assert_int_equal(window_rules_new(NULL, 0, R_MS, &error, &rules), 0);
    const struct pipeline_options pipeline = {
        .rules = rules, .page_bytes_max = MIB, .sealed = on_sealed, .sealed_arg = scene};
    world_init(&scene->world);
    log_set_level(LOG_ERROR + 1);
    scene->failing = file_system_failing_new(scene->world.fs);
    scene->seams = scene->world.seams;
    scene->seams.fs = scene->failing;
    scene->pipeline = pipeline_new(&pipeline);
    window_rules_unref(rules);
    scene->target = pipeline_target_new(scene->pipeline, set, 15000, &job);
    open_spool(scene, 2);
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    close_spool(scene);
    pipeline_target_free(scene->target);
    pipeline_free(scene->pipeline);
    file_system_free(scene->failing);
    world_done(&scene->world);
    mem_free(scene);
    return 0;
}

static void take(struct scene *scene, unsigned worker, int64_t window, int64_t closed_through_ms)
{
    const struct scrape_outcome outcome = {.time_ms = WORLD_START_MS + window * R_MS + 5,
                                           .body = STR("a 1\nb_total 2\nb_total 3\n")};
    struct scrape_report report;
    pipeline_scrape(scene->target, &outcome, &report);
    const struct pipeline_closing closing = {scene->target, WORLD_START_MS + (window + 1) * R_MS};
    pipeline_close(scene->pipeline, WORLD_START_MS + window * R_MS, &closing, 1);
    batcher_take(scene->batcher, worker, &scene->sealed, closed_through_ms);
}

static void on_synced(void *arg)
{
    struct scene *scene = arg;
    scene->synced++;
}

static void settle(struct scene *scene)
{
    unsigned synced = scene->synced;
    batcher_sync(scene->batcher, on_synced, scene);
    loop_advance(scene->world.loop, 100);
    assert_int_equal(scene->synced, synced + 1);
}

/* The newest batch's envelope. */
static struct envelope newest(struct scene *scene, struct arena *arena, struct buf *bytes)
{
    struct spool_batch batch;
    struct envelope envelope;
    struct str body;
    uint64_t id = spool_next_pending(scene->spool, 0, true);
    assert_true(id > 0);
    buf_reset(bytes);
    assert_int_equal(spool_read(scene->spool, id, &batch, bytes), 0);
    assert_int_equal(envelope_decode(bytes->data, bytes->len, arena, &envelope, &body), 0);
    return envelope;
}

static struct batcher_stats stats_of(const struct scene *scene)
{
    struct batcher_stats stats;
    batcher_stats(scene->batcher, &stats);
    return stats;
}

static void test_numbers(void **state)
{
    struct scene *scene = *state;
    CLEANUP(arena_done) struct arena arena;
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(BATCH_BYTES_MAX);
    arena_init(&arena, 0);
    take(scene, 0, 0, WORLD_START_MS + R_MS);
    settle(scene);
    struct envelope envelope = newest(scene, &arena, &bytes);
    assert_true(str_equal(envelope.source.datacenter, STR("dc1")));
    assert_true(str_equal(envelope.source.secondary, STR("s1")));
    assert_true(envelope.source.incarnation == spool_incarnation(scene->spool));
    assert_int_equal(envelope.epoch, 1);
    assert_int_equal(envelope.seq, 1);
    assert_int_equal(envelope.part, 0);
    assert_int_equal(envelope.window_start_ms, WORLD_START_MS);
    assert_int_equal(envelope.resolution_ms, R_MS);
    assert_int_equal(envelope.sealed_at_ms, WORLD_START_MS);
    assert_int_equal(envelope.targets_expected, 1);
    assert_int_equal(envelope.targets_answered, 1);
    assert_int_equal(envelope.dropped_count, 1); /* b_total stood there twice */
    assert_true(str_equal(envelope.dropped[0].reason, STR("samples")));
    assert_int_equal(envelope.closed_through_ms, 0); /* the other worker has said nothing yet */

    batcher_take(scene->batcher, 1,
                 &(struct pipeline_sealed){.writer = batch_writer_new(),
                                           .window_start_ms = WORLD_START_MS,
                                           .resolution_ms = R_MS,
                                           .span_ms = R_MS,
                                           .targets_expected = 3,
                                           .failed = {[SCRAPE_TIMEOUT] = 2, [SCRAPE_PARSE] = 1}},
                 WORLD_START_MS);
    settle(scene);
    envelope = newest(scene, &arena, &bytes);
    assert_int_equal(envelope.seq, 2);
    assert_int_equal(envelope.part, 1);
    assert_int_equal(envelope.closed_through_ms, WORLD_START_MS);
    assert_int_equal(envelope.failed_count, 2);
    assert_true(str_equal(envelope.failed[0].reason, STR("timeout")));
    assert_int_equal(envelope.failed[0].count, 2);
    take(scene, 1, 1, WORLD_START_MS + 2 * R_MS);
    settle(scene);
    envelope = newest(scene, &arena, &bytes);
    assert_int_equal(envelope.part, 0);
    assert_int_equal(envelope.closed_through_ms, WORLD_START_MS + R_MS);
    assert_int_equal(stats_of(scene).batches_total, 3);
    assert_int_equal(stats_of(scene).empty_total, 1);
}

static struct pipeline_sealed part_of_aggregates(double sum)
{
    struct aggregate *aggregate = aggregate_new();
    const struct str names[] = {STR("__name__")}, values[] = {STR("x")};
    const struct aggregate_key key = {names, values, 1};
    const struct aggregate_cell cell = {
        .sum = sum, .members = 3, .count = 4, .first_ms = WORLD_START_MS, .last_ms = WORLD_START_MS + 45000};
    aggregate_add(aggregate, &key, &cell);
    return (struct pipeline_sealed){
        .aggregate = aggregate, .window_start_ms = WORLD_START_MS, .resolution_ms = R_MS, .span_ms = R_MS};
}

/* When all workers have closed the window, and before a batch says so. */
static void test_aggregates(void **state)
{
    struct scene *scene = *state;
    CLEANUP(arena_done) struct arena arena;
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(BATCH_BYTES_MAX);
    arena_init(&arena, 0);
    struct pipeline_sealed first = part_of_aggregates(1.5), second = part_of_aggregates(2.25);
    batcher_take(scene->batcher, 0, &first, WORLD_START_MS + R_MS);
    batcher_take(scene->batcher, 1, &second, WORLD_START_MS);
    assert_int_equal(stats_of(scene).batches_total, 0);
    /* Nothing but the news that its window is closed. */
    batcher_take(scene->batcher, 1, &(struct pipeline_sealed){0}, WORLD_START_MS + R_MS);
    settle(scene);
    assert_int_equal(stats_of(scene).batches_total, 1);
    assert_int_equal(stats_of(scene).records_total, 4);
    assert_int_equal(stats_of(scene).aggregate_groups, 1);
    assert_int_equal(stats_of(scene).series_folded, 6);
    struct envelope envelope = newest(scene, &arena, &bytes);
    assert_int_equal(envelope.window_start_ms, WORLD_START_MS);
    assert_int_equal(envelope.targets_expected, 0);
    assert_int_equal(envelope.closed_through_ms, WORLD_START_MS);
    assert_int_equal(envelope.dropped_count, 1);
    assert_true(str_equal(envelope.dropped[0].reason, STR("folded")));
    assert_int_equal(envelope.dropped[0].count, 6);
    take(scene, 0, 1, WORLD_START_MS + R_MS);
    settle(scene);
    envelope = newest(scene, &arena, &bytes);
    assert_int_equal(envelope.closed_through_ms, WORLD_START_MS + R_MS);
    /* At the end what is open goes as it is. */
    struct pipeline_sealed last = part_of_aggregates(1);
    last.window_start_ms += R_MS;
    batcher_take(scene->batcher, 0, &last, WORLD_START_MS + R_MS);
    batcher_seal_aggregates(scene->batcher);
    settle(scene);
    assert_int_equal(newest(scene, &arena, &bytes).window_start_ms, WORLD_START_MS + R_MS);
}

static void test_next_epoch(void **state)
{
    struct scene *scene = *state;
    CLEANUP(arena_done) struct arena arena;
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(BATCH_BYTES_MAX);
    arena_init(&arena, 0);
    take(scene, 0, 0, WORLD_START_MS + R_MS);
    settle(scene);
    close_spool(scene);
    open_spool(scene, 1);
    take(scene, 0, 1, WORLD_START_MS + 2 * R_MS);
    settle(scene);
    struct envelope envelope = newest(scene, &arena, &bytes);
    assert_int_equal(envelope.epoch, 2);
    assert_int_equal(envelope.seq, 1);
    assert_int_equal(envelope.closed_through_ms, WORLD_START_MS + 2 * R_MS);
}

/* The records of a batch that could not be written are in the next one's `dropped`. */
static void check_told(struct scene *scene, uint64_t lost_batches)
{
    CLEANUP(arena_done) struct arena arena;
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(BATCH_BYTES_MAX);
    arena_init(&arena, 0);
    assert_int_equal(stats_of(scene).lost_total, lost_batches);
    take(scene, 0, 5, WORLD_START_MS + 6 * R_MS);
    settle(scene);
    struct envelope envelope = newest(scene, &arena, &bytes);
    bool told = false;
    for (uint32_t i = 0; i < envelope.dropped_count; i++)
        if (str_equal(envelope.dropped[i].reason, STR("spool")))
            told = envelope.dropped[i].count == lost_batches * 8; /* a, b_total and six of the scraper's own */
    assert_true(told);
    assert_int_equal(stats_of(scene).lost_total, lost_batches);
    take(scene, 0, 6, WORLD_START_MS + 7 * R_MS);
    settle(scene);
    envelope = newest(scene, &arena, &bytes);
    assert_int_equal(envelope.dropped_count, 1); /* once */
}

static void test_write_fails(void **state)
{
    struct scene *scene = *state;
    take(scene, 0, 0, WORLD_START_MS + R_MS);
    settle(scene);
    file_system_failing_at(scene->failing, 1, -ENOSPC, false);
    take(scene, 0, 1, WORLD_START_MS + 2 * R_MS);
    take(scene, 0, 2, WORLD_START_MS + 3 * R_MS);
    assert_non_null(stats_of(scene).last_error);
    file_system_failing_at(scene->failing, 0, -EIO, false);
    check_told(scene, 2);
}

static void test_sync_fails(void **state)
{
    struct scene *scene = *state;
    take(scene, 0, 0, WORLD_START_MS + R_MS);
    settle(scene);
    take(scene, 0, 1, WORLD_START_MS + 2 * R_MS);
    file_system_failing_at(scene->failing, 1, -EIO, true);
    settle(scene);
    assert_true(stats_of(scene).sync_errors_total > 0);
    check_told(scene, 1);
}

/* ---- The backlog ---- */

static size_t count_waiting(struct scene *scene)
{
    struct spool_stats stats;
    spool_stats(scene->spool, &stats);
    return stats.pending[0];
}

/* Last values of a (a counter of windows here) by window, of the newest batch. */
static void check_windows(struct scene *scene, const struct buf *bytes, uint32_t count)
{
    CLEANUP(batch_reader_freep) struct batch_reader *reader = NULL;
    struct batch_block block;
    uint32_t rounds = 0;
    assert_int_equal(batch_reader_open(bytes->data, bytes->len, spool_layouts(scene->spool), &reader), 0);
    while (batch_reader_next(reader, &block) == 1) {
        if (!str_equal(block.family->name, STR("a")))
            continue;
        assert_int_equal(block.round, rounds);
        assert_true(block.records[0].last == 1);
        assert_int_equal(block.records[0].time_ms, WORLD_START_MS + (int64_t)rounds * R_MS + 5);
        rounds++;
    }
    assert_int_equal(rounds, count);
}

static void test_what_waits_is_put_together(void **state)
{
    struct scene *scene = *state;
    CLEANUP(arena_done) struct arena arena;
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(BATCH_BYTES_MAX);
    arena_init(&arena, 0);
    for (int window = 0; window < 5; window++) {
        assert_int_equal(count_waiting(scene), window);
        take(scene, 0, window, WORLD_START_MS + (window + 1) * R_MS);
        if (window < 4)
            settle(scene);
    }
    assert_int_equal(count_waiting(scene), 6); /* until the sixth is on disk */
    settle(scene);
    assert_int_equal(count_waiting(scene), 1);
    struct envelope envelope = newest(scene, &arena, &bytes);
    assert_int_equal(envelope.seq, 6);
    assert_int_equal(envelope.window_start_ms, WORLD_START_MS);
    assert_int_equal(envelope.resolution_ms, R_MS);
    assert_int_equal(envelope.span_ms, 5 * R_MS);
    assert_int_equal(envelope.targets_expected, 5);
    assert_int_equal(envelope.targets_answered, 5);
    assert_int_equal(envelope.dropped_count, 1);
    assert_int_equal(envelope.dropped[0].count, 5);
    assert_int_equal(envelope.replaces_count, 5);
    for (uint64_t i = 0; i < 5; i++)
        assert_int_equal(envelope.replaces[i], i + 1);
    check_windows(scene, &bytes, 5);
    assert_int_equal(stats_of(scene).packed_total, 5);
    /* So it stands after a crash, too. */
    close_spool(scene);
    open_spool(scene, 1);
    assert_int_equal(count_waiting(scene), 1);
    envelope = newest(scene, &arena, &bytes);
    assert_int_equal(envelope.replaces_count, 5);
}

/* What is in flight, or has a window missing beside it, is left alone. */
static void test_only_what_waits_is_put_together(void **state)
{
    struct scene *scene = *state;
    for (int window = 0; window < 12; window++) {
        if (window == 6)
            continue;
        take(scene, 0, window, WORLD_START_MS + (window + 1) * R_MS);
        settle(scene);
        if (window == 2)
            spool_set_in_flight(scene->spool, 0, spool_next_pending(scene->spool, 0, false), true);
    }
    /* 0 to 2 alone, as the first was in flight when 3 came; 3 to 5; 7 to 11 together. */
    assert_int_equal(stats_of(scene).packed_total, 5);
    assert_int_equal(count_waiting(scene), 7);
}

/* The one that stands for others is lost with the sync: they are there. */
static void test_a_set_outlives_a_failed_sync(void **state)
{
    struct scene *scene = *state;
    for (int window = 0; window < 4; window++) {
        take(scene, 0, window, WORLD_START_MS + (window + 1) * R_MS);
        settle(scene);
    }
    take(scene, 0, 4, WORLD_START_MS + 5 * R_MS);
    file_system_failing_at(scene->failing, 1, -EIO, true);
    settle(scene);
    assert_int_equal(count_waiting(scene), 4);
    assert_int_equal(stats_of(scene).lost_total, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_numbers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_aggregates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_next_epoch, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_write_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sync_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_waits_is_put_together, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_only_what_waits_is_put_together, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_set_outlives_a_failed_sync, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
