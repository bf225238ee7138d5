/* Batches into the store: which series, which samples. */
#include "base/fail.h"
#include "global/ingest.h"
#include "store/select.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define WINDOW_MS INT64_C(60000)
#define NOW_MS    (INT64_C(1700000000000) / WINDOW_MS * WINDOW_MS)

struct world {
    struct clock *clock;
    struct store *store;
    struct ingest *ingest;
    struct families *families;
    uint64_t batches; /* taken in so far */
    struct layout_table *table;
    struct layout *family, *page;
    struct labels *target;
};

/* One family of two slots: a gauge m{i="0"} and m{i="1"}. */
static int setup(void **state)
{
    struct world *world = mem_zalloc(sizeof(*world));
    world->clock = clock_simulated_new(NOW_MS + WINDOW_MS);
    struct store_options options = {.max_age_ms = 3600000, .max_ahead_ms = 600000, .series_max = 1000};
    world->store = store_new(world->clock, &options);
    world->families = families_new();
    world->ingest = ingest_new(world->store, world->families);
    world->table = layout_table_new(16 * MIB, 16 * MIB);
    const struct label zero = {STR("i"), STR("0")}, one = {STR("i"), STR("1")};
    const struct layout_slot slots[] = {{.labels = &zero, .label_count = 1}, {.labels = &one, .label_count = 1}};
    struct layout_family_spec spec = {.name = STR("m"),
                                      .help = STR("What it is."),
                                      .unit = STR("bytes"),
                                      .metric_type = METRIC_GAUGE,
                                      .slots = slots,
                                      .count = 2};
    world->family = layout_family_new(&spec);
    world->page = layout_page_new(&world->family, 1);
    const struct label labels[] = {{STR("datacenter"), STR("mine")}, {STR("instance"), STR("h1")}};
    world->target = labels_new(labels, 2);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    ingest_free(world->ingest);
    families_free(world->families);
    store_free(world->store);
    layout_table_free(world->table);
    layout_unref(world->family);
    layout_unref(world->page);
    labels_unref(world->target);
    clock_free(world->clock);
    mem_free(world);
    return 0;
}

static struct record gauge(int64_t time_ms, double last, uint32_t count)
{
    struct record record = {.time_ms = time_ms, .last = last, .count = count, .kind = KIND_GAUGE};
    record_fill_constant(&record);
    return record;
}

/* Writes a batch of one entry and hands it to ingest; the batch goes to out where that is not NULL. */
static int push(struct world *world, const struct batch_item *given, struct buf *out)
{
    CLEANUP(batch_writer_freep) struct batch_writer *writer = batch_writer_new();
    CLEANUP(buf_done) struct buf batch = BUF_INIT(BATCH_BYTES_MAX);
    struct batch_item item = *given;
    item.target = world->target;
    item.page = world->page;
    struct envelope envelope = {.source = {STR("dc1"), STR("rack-1"), 7},
                                .epoch = 1,
                                .seq = 1,
                                .window_start_ms = NOW_MS,
                                .resolution_ms = WINDOW_MS,
                                .span_ms = WINDOW_MS,
                                .sealed_at_ms = NOW_MS + WINDOW_MS,
                                .closed_through_ms = NOW_MS + WINDOW_MS};
    assert_int_equal(batch_writer_add(writer, &item), 0);
    assert_int_equal(batch_writer_finish(writer, &envelope, world->table, &batch), 0);
    int result = ingest_batch(world->ingest, world->table, ++world->batches, buf_view(&batch), NOW_MS);
    if (out)
        buf_append(out, batch.data, batch.len);
    batch_writer_release(writer, world->table);
    return result;
}

/* Samples of m{i=...}, at most 16. */
static size_t samples_of(struct world *world, const char *i, struct sample samples[static 16], char *name)
{
    struct matcher matchers[2];
    char error[256];
    assert_int_equal(matcher_init(&matchers[0], MATCH_EQUAL, STR(LABEL_NAME), STR("m"), error), 0);
    assert_int_equal(matcher_init(&matchers[1], MATCH_EQUAL, STR("i"), str_from(i), error), 0);
    struct select_range range = {.start_ms = NOW_MS - WINDOW_MS, .end_ms = NOW_MS + 2 * WINDOW_MS};
    CLEANUP(select_freep) struct select *select = NULL;
    assert_int_equal(select_open(world->store, matchers, 2, &range, &select), 0);
    struct labels *series = NULL;
    size_t count = 0;
    if (select_next(select, &series) > 0) {
        CLEANUP(sample_reader_freep) struct sample_reader *reader = sample_reader_new(select, SELECT_LAST);
        CLEANUP(buf_done) struct buf text = BUF_INIT(1024);
        sample_reader_current(reader);
        count = (size_t)sample_reader_read(reader, samples, 16);
        labels_print(series, &text);
        memcpy(name, text.data, text.len);
        name[text.len] = 0;
    }
    matcher_done(&matchers[0]);
    matcher_done(&matchers[1]);
    return count;
}

static void values_get_the_labels_of_target_slot_and_datacenter(void **state)
{
    struct world *world = *state;
    const struct record records[] = {gauge(NOW_MS + 55000, 1.5, 4), gauge(NOW_MS + 55000, -3, 4)};
    struct batch_item item = {.time_ms = NOW_MS + 55000, .count = 4, .records = records};
    assert_int_equal(push(world, &item, NULL), 0);
    struct sample samples[16];
    char name[1024] = "";
    assert_int_equal(samples_of(world, "1", samples, name), 1);
    assert_string_equal(name, "m{datacenter=\"dc1\",exported_datacenter=\"mine\",i=\"1\",instance=\"h1\"}");
    assert_true(samples[0].value == -3);
    assert_int_equal(samples[0].time_ms, NOW_MS + 55000);
}

static void the_same_batch_twice_is_there_once(void **state)
{
    struct world *world = *state;
    const struct record records[] = {gauge(NOW_MS + 55000, 1, 4), gauge(NOW_MS + 55000, 2, 4)};
    struct batch_item item = {.time_ms = NOW_MS + 55000, .count = 4, .records = records};
    struct sample samples[16];
    char name[1024];
    assert_int_equal(push(world, &item, NULL), 0);
    assert_int_equal(push(world, &item, NULL), 0);
    assert_int_equal(samples_of(world, "0", samples, name), 1);
}

static void of_two_records_of_a_window_the_larger_count_wins(void **state)
{
    struct world *world = *state;
    const struct record few[] = {gauge(NOW_MS + 58000, 1, 2), gauge(NOW_MS + 58000, 1, 2)};
    const struct record many[] = {gauge(NOW_MS + 55000, 9, 4), gauge(NOW_MS + 55000, 9, 4)};
    struct batch_item partial = {.time_ms = NOW_MS + 58000, .count = 2, .records = few};
    struct batch_item full = {.time_ms = NOW_MS + 55000, .count = 4, .records = many};
    struct sample samples[16];
    char name[1024];
    assert_int_equal(push(world, &full, NULL), 0);
    assert_int_equal(push(world, &partial, NULL), 0);
    assert_int_equal(samples_of(world, "0", samples, name), 1);
    assert_true(samples[0].value == 9);
}

static void a_target_that_ends_leaves_its_value_and_a_stale_marker(void **state)
{
    struct world *world = *state;
    const struct record records[] = {gauge(NOW_MS + 25000, 1, 2), gauge(NOW_MS + 25000, 2, 2)};
    struct batch_item item = {.time_ms = NOW_MS + 25000, .count = 2, .stale_ms = NOW_MS + 40000, .records = records};
    struct sample samples[16];
    char name[1024];
    assert_int_equal(push(world, &item, NULL), 0);
    assert_int_equal(samples_of(world, "0", samples, name), 2);
    assert_true(samples[0].value == 1 && samples[0].time_ms == NOW_MS + 25000);
    assert_true(value_is_stale(samples[1].value));
    assert_int_equal(samples[1].time_ms, NOW_MS + 40000);
}

static void a_target_without_values_gets_stale_markers_only(void **state)
{
    struct world *world = *state;
    struct batch_item item = {.stale_ms = NOW_MS + 5000};
    struct sample samples[16];
    char name[1024];
    assert_int_equal(push(world, &item, NULL), 0);
    assert_int_equal(samples_of(world, "1", samples, name), 1);
    assert_true(value_is_stale(samples[0].value));
    assert_int_equal(samples[0].time_ms, NOW_MS + 5000);
}

static void extras_are_samples_and_silent_records_are_none(void **state)
{
    struct world *world = *state;
    struct record records[] = {gauge(NOW_MS + 55000, 5, 4), gauge(NOW_MS + 55000, 7, 0)};
    const struct record_extra extras[] = {{0, {NOW_MS + 10000, 90}}, {0, {NOW_MS + 25000, 2}}};
    struct batch_item item = {
        .time_ms = NOW_MS + 55000, .count = 4, .records = records, .extras = extras, .extra_count = 2};
    struct sample samples[16];
    char name[1024];
    assert_int_equal(push(world, &item, NULL), 0);
    assert_int_equal(samples_of(world, "0", samples, name), 3);
    assert_true(samples[0].value == 90 && samples[1].value == 2 && samples[2].value == 5);
    assert_int_equal(samples_of(world, "1", samples, name), 0);
}

static void samples_with_times_of_their_own_are_kept_wherever_they_lie(void **state)
{
    struct world *world = *state;
    const struct record records[] = {gauge(NOW_MS - 30000, 5, 4), gauge(NOW_MS + 55000, 7, 4)};
    const struct record_extra extras[] = {{0, {NOW_MS - 45000, 3}}};
    struct batch_item item = {
        .time_ms = NOW_MS + 55000, .count = 4, .records = records, .extras = extras, .extra_count = 1};
    struct sample samples[16];
    char name[1024];
    assert_int_equal(push(world, &item, NULL), 0);
    assert_int_equal(push(world, &item, NULL), 0);
    assert_int_equal(samples_of(world, "0", samples, name), 2);
    assert_true(samples[0].value == 3 && samples[0].time_ms == NOW_MS - 45000);
    assert_true(samples[1].value == 5 && samples[1].time_ms == NOW_MS - 30000);
}

static void a_batch_without_its_layouts_or_bytes_is_refused(void **state)
{
    struct world *world = *state;
    const struct record records[] = {gauge(NOW_MS + 55000, 1, 4), gauge(NOW_MS + 55000, 2, 4)};
    struct batch_item item = {.time_ms = NOW_MS + 55000, .count = 4, .records = records};
    CLEANUP(buf_done) struct buf batch = BUF_INIT(BATCH_BYTES_MAX);
    assert_int_equal(push(world, &item, &batch), 0);
    CLEANUP(layout_table_freep) struct layout_table *other = layout_table_new(MIB, MIB);
    assert_true(ingest_batch(world->ingest, other, ++world->batches, buf_view(&batch), NOW_MS) < 0);
    assert_true(ingest_batch(world->ingest, world->table, ++world->batches, str_of(batch.data, batch.len - 1), NOW_MS) <
                0);
    struct ingest_stats stats;
    ingest_stats(world->ingest, &stats);
    assert_int_equal(stats.malformed_total, 2);
    assert_int_equal(stats.batches_total, 1);
}

static void assert_one_family(struct families *families)
{
    const struct family **items = NULL;
    assert_int_equal(families_list(families, STR_NULL, &items), 1);
    assert_true(str_equal(items[0]->name, STR("m")) && str_equal(items[0]->help, STR("What it is.")));
    assert_true(str_equal(items[0]->unit, STR("bytes")) && items[0]->type == METRIC_GAUGE);
    mem_free(items);
}

static void what_pages_say_of_metrics_is_known_again_after_a_restart(void **state)
{
    struct world *world = *state;
    const struct record records[] = {gauge(NOW_MS + 55000, 1, 4), gauge(NOW_MS + 55000, 2, 4)};
    struct batch_item item = {.time_ms = NOW_MS + 55000, .count = 4, .records = records};
    assert_int_equal(push(world, &item, NULL), 0);
    assert_one_family(world->families);
    CLEANUP(buf_done) struct buf saved = BUF_INIT(MIB);
    ingest_save(world->ingest, &saved);
    CLEANUP(families_freep) struct families *families = families_new();
    CLEANUP(ingest_freep) struct ingest *again = ingest_new(world->store, families);
    ingest_load(again, buf_view(&saved), NOW_MS);
    assert_one_family(families);
    struct ingest_stats stats;
    ingest_stats(again, &stats);
    assert_int_equal(stats.rows, 1);
}

/* A batch of targets h<from> to h<to - 1>, of the world's page. */
static void push_targets(struct world *world, unsigned from, unsigned to, int64_t now_ms)
{
    CLEANUP(batch_writer_freep) struct batch_writer *writer = batch_writer_new();
    CLEANUP(buf_done) struct buf batch = BUF_INIT(BATCH_BYTES_MAX);
    const struct record records[] = {gauge(NOW_MS, 1, 1), gauge(NOW_MS, 2, 1)};
    for (unsigned i = from; i < to; i++) {
        char text[16];
        snprintf(text, sizeof(text), "h%u", i);
        const struct label label = {STR("instance"), str_from(text)};
        CLEANUP(labels_unrefp) struct labels *target = labels_new(&label, 1);
        struct batch_item item = {
            .target = target, .page = world->page, .time_ms = NOW_MS, .count = 1, .records = records};
        assert_int_equal(batch_writer_add(writer, &item), 0);
    }
    struct envelope envelope = {.source = {STR("dc1"), STR("rack-1"), 7},
                                .epoch = 1,
                                .seq = 1,
                                .window_start_ms = NOW_MS,
                                .resolution_ms = WINDOW_MS,
                                .span_ms = WINDOW_MS};
    assert_int_equal(batch_writer_finish(writer, &envelope, world->table, &batch), 0);
    assert_int_equal(ingest_batch(world->ingest, world->table, ++world->batches, buf_view(&batch), now_ms), 0);
    batch_writer_release(writer, world->table);
}

static uint64_t rows(const struct world *world)
{
    struct ingest_stats stats;
    ingest_stats(world->ingest, &stats);
    return stats.rows;
}

static void past_the_bound_rows_of_late_use_stay(void **state)
{
    struct world *world = *state;
    enum { PART = 16000 };
    int64_t later_ms = NOW_MS + INGEST_ROW_SPARE_MS + 1;
    unsigned next = 0;
    for (; next + PART < INGEST_ROWS_MAX; next += PART)
        push_targets(world, next, next + PART, NOW_MS);
    assert_int_equal(rows(world), next);
    push_targets(world, 0, PART, later_ms);
    push_targets(world, next, next + PART, later_ms);
    assert_int_equal(rows(world), next + PART);
    next += PART;
    push_targets(world, next, next + 1, later_ms);
    assert_int_equal(rows(world), 2 * PART + 1);

    /* All are in use: they go. */
    while (rows(world) <= INGEST_ROWS_MAX) {
        push_targets(world, next, next + PART, later_ms);
        next += PART;
    }
    push_targets(world, 0, 1, later_ms);
    assert_int_equal(rows(world), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(values_get_the_labels_of_target_slot_and_datacenter, setup, teardown),
        cmocka_unit_test_setup_teardown(the_same_batch_twice_is_there_once, setup, teardown),
        cmocka_unit_test_setup_teardown(of_two_records_of_a_window_the_larger_count_wins, setup, teardown),
        cmocka_unit_test_setup_teardown(a_target_that_ends_leaves_its_value_and_a_stale_marker, setup, teardown),
        cmocka_unit_test_setup_teardown(a_target_without_values_gets_stale_markers_only, setup, teardown),
        cmocka_unit_test_setup_teardown(extras_are_samples_and_silent_records_are_none, setup, teardown),
        cmocka_unit_test_setup_teardown(samples_with_times_of_their_own_are_kept_wherever_they_lie, setup, teardown),
        cmocka_unit_test_setup_teardown(a_batch_without_its_layouts_or_bytes_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(what_pages_say_of_metrics_is_known_again_after_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(past_the_bound_rows_of_late_use_stay, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
