/* The store against a plain table of windows: whatever the order of arrival, the content is the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/fail.h"
#include "base/random.h"
#include "store/store_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define NOW_MS           INT64_C(1700000000000)
#define HOUR_MS          INT64_C(3600000)
#define SPAN_MS          (5 * HOUR_MS) /* of the model: over some borders of partitions */
#define MODEL_SERIES     12
#define MODEL_OPERATIONS 100000 /* in all orders together more; TRIBUTARY_TEST_OPERATIONS says otherwise */
#define EXTRAS_MAX       3

/* All divide two hours: a window over a border of partitions has no identity (store_append). */
static const int64_t resolutions[] = {60000, 15000, 0, 5000, 6 * 60000, HOUR_MS};

/* One record to be stored. All of its content follows from series, window, count and time. */
struct operation {
    uint32_t series;
    int64_t window_ms;
    struct record record;
    struct sample extras[EXTRAS_MAX];
    size_t extra_count;
};

static int64_t resolution_of(uint32_t series)
{
    return resolutions[series % ARRAY_LEN(resolutions)];
}

static struct store *new_store(struct clock *clock)
{
    struct store_options options = {.max_age_ms = 24 * HOUR_MS, .max_ahead_ms = 600000, .series_max = 1000};
    return store_new(clock, &options);
}

static struct labels *labels_for(uint32_t series)
{
    char text[32];
    snprintf(text, sizeof(text), "host-%03u", series);
    struct label labels[] = {{STR("__name__"), STR("metric")}, {STR("instance"), str_from(text)}};
    return labels_new(labels, ARRAY_LEN(labels));
}

static series_ref ref_for(struct store *store, uint32_t series, enum series_kind kind)
{
    CLEANUP(labels_unrefp) struct labels *labels = labels_for(series);
    return store_series(store, labels, kind);
}

/* Content from what identifies a version of a window, so that equal versions are equal. */
static void fill_operation(struct operation *operation)
{
    struct record *record = &operation->record;
    struct random random;
    random_seed(&random, (uint64_t)operation->window_ms * 31 + (uint64_t)record->time_ms * 7 + operation->series +
                             record->count * UINT64_C(1000003));
    record->kind = operation->series % 2 ? KIND_COUNTER : KIND_GAUGE;
    record->last = record->count == 0 ? value_stale() : (double)random_below(&random, 50);
    if (record->kind == KIND_GAUGE) {
        bool constant = random_below(&random, 2) == 0 || resolution_of(operation->series) == 0;
        record->min = constant ? record->last : record->last - 1;
        record->max = record->last;
        record->sum = record->last * record->count - (constant ? 0 : 1);
    }
    if (record->count == 0) {
        record->sum = 0;
        record->min = record->max = value_stale();
    }
    if (resolution_of(operation->series) > 0 && random_below(&random, 5) == 0) {
        int64_t at = operation->window_ms;
        for (size_t i = 0; i < EXTRAS_MAX && at < record->time_ms; i++) {
            operation->extras[operation->extra_count++] = (struct sample){at, (double)random_below(&random, 9)};
            at += 1 + (int64_t)random_below(&random, 2000);
        }
    }
}

static void random_operation(struct random *random, struct operation *ret_operation)
{
    uint32_t series = (uint32_t)random_below(random, MODEL_SERIES);
    int64_t resolution = resolution_of(series);
    int64_t time = NOW_MS - 1 - (int64_t)random_below(random, (uint64_t)SPAN_MS);
    *ret_operation = (struct operation){.series = series, .record.count = 1};
    if (resolution == 0) {
        time -= time % 5000; /* so that times meet */
        ret_operation->window_ms = time;
    } else {
        ret_operation->window_ms = window_start_ms(time, resolution);
        ret_operation->record.count = (uint32_t)random_below(random, 5);
        time -= random_below(random, 2) ? time % 1000 : 0;
        time = MAX(time, ret_operation->window_ms);
    }
    ret_operation->record.time_ms = time;
    fill_operation(ret_operation);
}

static void apply(struct store *store, const series_ref *refs, const struct operation *operations,
                  const uint32_t *order, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct operation *operation = &operations[order[i]];
        if (i % 1000 == 0) {
            store_write_begin(store);
        }
        store_append(store, refs[operation->series], operation->window_ms, resolution_of(operation->series),
                     &operation->record, operation->extras, operation->extra_count);
        if (i % 1000 == 999 || i + 1 == count) {
            store_write_end(store);
        }
    }
}

/* By series, window; of one window the winner first. */
static int compare_operations(const void *a, const void *b)
{
    const struct operation *x = *(const struct operation *const *)a, *y = *(const struct operation *const *)b;
    if (x->series != y->series) {
        return x->series < y->series ? -1 : 1;
    }
    if (x->window_ms != y->window_ms) {
        return x->window_ms < y->window_ms ? -1 : 1;
    }
    return record_wins(&x->record, &y->record) ? -1 : record_wins(&y->record, &x->record);
}

/* The model: all operations sorted, the first of each window stays. Returns how many stay. */
static size_t winners_of(const struct operation *operations, size_t count, const struct operation **ret_winners)
{
    for (size_t i = 0; i < count; i++) {
        ret_winners[i] = &operations[i];
    }
    qsort(ret_winners, count, sizeof(*ret_winners), compare_operations);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        const struct operation *last = kept > 0 ? ret_winners[kept - 1] : NULL;
        if (!last || last->series != ret_winners[i]->series || last->window_ms != ret_winners[i]->window_ms) {
            ret_winners[kept++] = ret_winners[i];
        }
    }
    return kept;
}

static double field_of(const struct record *record, enum select_field field)
{
    bool derived = record->kind == KIND_COUNTER;
    if (record->count == 0) {
        return value_stale();
    }
    switch (field) {
    case SELECT_COUNT:
        return record->count;
    case SELECT_SUM:
        return derived ? record->last * record->count : record->sum;
    case SELECT_MIN:
        return derived ? record->last : record->min;
    case SELECT_MAX:
        return derived ? record->last : record->max;
    default:
        return record->last;
    }
}

static void expect_sample(struct sample_reader *reader, struct sample expected)
{
    struct sample sample;
    assert_int_equal(sample_reader_read(reader, &sample, 1), 1);
    assert_int_equal(sample.time_ms, expected.time_ms);
    assert_true(double_bits(sample.value) == double_bits(expected.value));
}

static void check_field(struct store *store, const struct operation **winners, size_t count, enum select_field field)
{
    struct matcher matcher;
    char error[256];
    assert_int_equal(matcher_init(&matcher, MATCH_EQUAL, STR("__name__"), STR("metric"), error), 0);
    struct select_range range = {.start_ms = NOW_MS - 24 * HOUR_MS, .end_ms = NOW_MS};
    CLEANUP(select_freep) struct select *select = NULL;
    assert_int_equal(select_open(store, &matcher, 1, &range, &select), 0);
    size_t at = 0;
    struct labels *series = NULL;
    while (select_next(select, &series) > 0) {
        CLEANUP(sample_reader_freep) struct sample_reader *reader = sample_reader_new(select, field);
        sample_reader_current(reader);
        CLEANUP(labels_unrefp) struct labels *labels = labels_for(winners[at]->series);
        assert_true(labels_equal(labels, series));
        uint32_t which = winners[at]->series;
        for (; at < count && winners[at]->series == which; at++) {
            const struct operation *winner = winners[at];
            for (size_t i = 0; i < winner->extra_count && field == SELECT_LAST; i++) {
                expect_sample(reader, winner->extras[i]);
            }
            expect_sample(reader, (struct sample){winner->record.time_ms, field_of(&winner->record, field)});
        }
        struct sample sample;
        assert_int_equal(sample_reader_read(reader, &sample, 1), 0);
    }
    assert_int_equal(at, count);
    matcher_done(&matcher);
}

/* What the head counts of its chunks is what is there. */
static void check_chunks(struct store *store)
{
    struct store_stats stats;
    uint64_t chunks = 0, bytes = 0, pieces = 0, entries = 0;
    for (size_t i = 0; i < store->partition_count; i++) {
        const struct partition *partition = store->partitions[i];
        bytes += partition->spill.pending_capacity;
        for (series_ref ref = 0; ref < store->head.slot_count; ref++) {
            const struct strand *strand = partition_strand(partition, ref);
            const struct chunk *both[] = {strand ? strand->open : NULL,
                                          strand && strand->rest ? strand->rest->late : NULL};
            for (size_t j = 0; j < 2; j++) {
                chunks += both[j] != NULL;
                bytes += both[j] ? chunk_memory_bytes(both[j]) : 0;
                entries += both[j] ? both[j]->entries : 0;
            }
            for (size_t j = 0; strand && strand->rest && j < strand->rest->count; j++) {
                pieces++;
                entries += strand->rest->pieces[j].entries;
            }
        }
    }
    store_stats(store, &stats);
    assert_int_equal(stats.chunks, chunks);
    assert_int_equal(stats.pieces, pieces);
    assert_int_equal(stats.samples, entries);
    assert_int_equal(stats.chunk_bytes, bytes);
}

/* How many samples readers see. */
static uint64_t samples_in(struct store *store)
{
    struct matcher matcher;
    char error[256];
    assert_int_equal(matcher_init(&matcher, MATCH_EQUAL, STR("__name__"), STR("metric"), error), 0);
    struct select_range range = {.start_ms = INT64_MIN, .end_ms = INT64_MAX};
    CLEANUP(select_freep) struct select *select = NULL;
    assert_int_equal(select_open(store, &matcher, 1, &range, &select), 0);
    uint64_t samples = 0;
    struct labels *series = NULL;
    while (select_next(select, &series) > 0) {
        CLEANUP(sample_reader_freep) struct sample_reader *reader = sample_reader_new(select, SELECT_LAST);
        struct sample some[64];
        sample_reader_current(reader);
        for (int64_t got; (got = sample_reader_read(reader, some, ARRAY_LEN(some))) > 0;) {
            samples += (uint64_t)got;
        }
    }
    matcher_done(&matcher);
    return samples;
}

static void check_totals(struct store *store, uint64_t expected_samples)
{
    check_chunks(store);
    assert_int_equal(samples_in(store), expected_samples);
}

/* Stores all operations in the given order into a new store and compares it with the model. */
static void check_order(const struct operation *operations, const uint32_t *order, size_t count,
                        const struct operation **winners, size_t winner_count)
{
    CLEANUP(clock_freep) struct clock *clock = clock_simulated_new(NOW_MS);
    CLEANUP(store_freep) struct store *store = new_store(clock);
    series_ref refs[MODEL_SERIES];
    for (uint32_t i = 0; i < MODEL_SERIES; i++) {
        refs[i] = ref_for(store, i, i % 2 ? KIND_COUNTER : KIND_GAUGE);
    }
    apply(store, refs, operations, order, count);
    uint64_t samples = 0;
    for (size_t i = 0; i < winner_count; i++) {
        samples += 1 + winners[i]->extra_count;
    }
    check_totals(store, samples);
    for (enum select_field field = SELECT_LAST; field <= SELECT_MAX; field++) {
        check_field(store, winners, winner_count, field);
    }
    struct store_stats stats;
    store_stats(store, &stats);
    assert_int_equal(stats.records_total, count);
    assert_int_equal(stats.refused_total + stats.too_old_total + stats.too_new_total, 0);
    /* What lies in chunks on disk is not looked at when a window comes: readers merge. */
    assert_true(stats.records_total - stats.duplicates_total - stats.replaced_total >= winner_count);
}

static const struct operation *sort_operations;
static int compare_times(const void *a, const void *b)
{
    int64_t x = sort_operations[*(const uint32_t *)a].record.time_ms;
    int64_t y = sort_operations[*(const uint32_t *)b].record.time_ms;
    return x < y ? -1 : x > y;
}

static void any_order_gives_the_same_content(void **state)
{
    (void)state;
    const char *wish = getenv("TRIBUTARY_TEST_OPERATIONS");
    size_t count = wish ? strtoul(wish, NULL, 10) : MODEL_OPERATIONS;
    struct random random;
    random_seed(&random, 21);
    CLEANUP_FREE struct operation *operations = mem_array(count, sizeof(*operations));
    CLEANUP_FREE const struct operation **winners = mem_array(count, sizeof(*winners));
    CLEANUP_FREE uint32_t *order = mem_array(count, sizeof(*order));
    for (size_t i = 0; i < count; i++) {
        random_operation(&random, &operations[i]);
        order[i] = (uint32_t)i;
    }
    size_t winner_count = winners_of(operations, count, winners);
    check_order(operations, order, count, winners, winner_count); /* at random */

    sort_operations = operations;
    qsort(order, count, sizeof(*order), compare_times);
    check_order(operations, order, count, winners, winner_count); /* as live data comes */

    for (size_t i = 0; i < count / 2; i++) {
        uint32_t swap = order[i];
        order[i] = order[count - 1 - i];
        order[count - 1 - i] = swap;
    }
    check_order(operations, order, count, winners, winner_count); /* newest first */

    for (size_t i = 0; i + 500 < count; i++) { /* roughly in order of time, two lanes */
        size_t other = i + random_below(&random, 500);
        uint32_t swap = order[i];
        order[i] = order[other];
        order[other] = swap;
    }
    check_order(operations, order, count, winners, winner_count);
}

static void put(struct store *store, series_ref ref, int64_t window_ms, int64_t resolution_ms, struct record record)
{
    store_write_begin(store);
    store_append(store, ref, window_ms, resolution_ms, &record, NULL, 0);
    store_write_end(store);
}

static void what_is_out_of_bounds_is_refused_and_counted(void **state)
{
    (void)state;
    CLEANUP(clock_freep) struct clock *clock = clock_simulated_new(NOW_MS);
    CLEANUP(store_freep) struct store *store = new_store(clock);
    series_ref ref = ref_for(store, 1, KIND_COUNTER);
    struct record record = {.time_ms = NOW_MS, .last = 1, .count = 1, .kind = KIND_COUNTER};
    int64_t window = window_start_ms(NOW_MS, 60000);

    put(store, ref + 1, window, 60000, record);         /* nobody's ref */
    put(store, SERIES_REF_NONE, window, 60000, record); /* a series that was refused */
    put(store, ref, window + 1, 60000, record);         /* not aligned */
    put(store, ref, window + 60000, 60000, record);     /* time before its window */
    put(store, ref, window - 60000, 60000, record);     /* behind it */
    put(store, ref, window, -60000, record);            /* no resolution */
    put(store, ref, 0, INT64_MAX, record);              /* too wide */
    put(store, ref, INT64_MIN, 8, (struct record){.time_ms = INT64_MIN});
    put(store, ref, INT64_MAX - INT64_MAX % 8, 8, (struct record){.time_ms = INT64_MAX});
    put(store, ref, 0, 0, (struct record){.time_ms = INT64_MAX});
    struct store_stats stats;
    store_stats(store, &stats);
    assert_int_equal(stats.refused_total, 9);
    assert_int_equal(stats.too_old_total, 1);

    record.time_ms = NOW_MS + 600000;
    put(store, ref, 0, 0, record);
    record.time_ms++;
    put(store, ref, 0, 0, record);
    record.time_ms = NOW_MS - 24 * HOUR_MS;
    put(store, ref, 0, 0, record);
    record.time_ms--;
    put(store, ref, 0, 0, record);
    store_stats(store, &stats);
    assert_int_equal(stats.too_new_total, 1);
    assert_int_equal(stats.too_old_total, 2);
    assert_int_equal(stats.samples, 2);
    assert_int_equal(stats.min_time_ms, NOW_MS - 24 * HOUR_MS);
    assert_int_equal(stats.max_time_ms, NOW_MS + 600000);
    check_totals(store, 2);
}

static void extras_out_of_place_are_left_out(void **state)
{
    (void)state;
    CLEANUP(clock_freep) struct clock *clock = clock_simulated_new(NOW_MS);
    CLEANUP(store_freep) struct store *store = new_store(clock);
    series_ref ref = ref_for(store, 1, KIND_COUNTER);
    int64_t window = window_start_ms(NOW_MS - 60000, 60000);
    struct record record = {.time_ms = window + 1000, .last = 1, .count = 3, .kind = KIND_COUNTER};
    const struct sample extras[] = {{window - 1, 1}, {window + 10, 2},   {window + 10, 3},
                                    {window + 5, 4}, {window + 1000, 5}, {window + 20, 6}};
    store_write_begin(store);
    store_append(store, ref, window, 60000, &record, extras, ARRAY_LEN(extras));
    CLEANUP_FREE struct sample *many = mem_array(STORE_EXTRAS_MAX + 10, sizeof(*many));
    for (int i = 0; i < STORE_EXTRAS_MAX + 10; i++) {
        many[i].time_ms = window - 60000 + i;
    }
    record.time_ms = window - 1;
    store_append(store, ref, window - 60000, 60000, &record, many, STORE_EXTRAS_MAX + 10);
    store_write_end(store);
    struct store_stats stats;
    store_stats(store, &stats);
    assert_int_equal(stats.refused_total, 4 + 10);
    assert_int_equal(stats.samples_total, 3 + STORE_EXTRAS_MAX + 1);
    check_totals(store, 3 + STORE_EXTRAS_MAX + 1);
}

static void series_are_one_by_labels_and_have_a_ceiling(void **state)
{
    (void)state;
    CLEANUP(clock_freep) struct clock *clock = clock_simulated_new(NOW_MS);
    CLEANUP(store_freep) struct store *store = new_store(clock);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_not_equal(ref_for(store, i, KIND_GAUGE), SERIES_REF_NONE);
    }
    series_ref first = ref_for(store, 0, KIND_GAUGE);
    assert_int_equal(ref_for(store, 0, KIND_COUNTER), first);
    assert_int_equal(ref_for(store, 1000, KIND_GAUGE), SERIES_REF_NONE);
    struct store_stats stats;
    store_stats(store, &stats);
    assert_int_equal(stats.series, 1000);
    assert_int_equal(stats.series_refused_total, 1);
    assert_in_range(stats.label_bytes, 1000 * sizeof(struct series), 1000 * 300);
    assert_int_equal(stats.min_time_ms, INT64_MAX);
    assert_int_equal(stats.max_time_ms, INT64_MIN);
}

static void pruning_drops_old_chunks_then_series(void **state)
{
    (void)state;
    CLEANUP(clock_freep) struct clock *clock = clock_simulated_new(NOW_MS);
    CLEANUP(store_freep) struct store *store = new_store(clock);
    series_ref old = ref_for(store, 1, KIND_GAUGE), live = ref_for(store, 2, KIND_GAUGE);
    struct record record = {.time_ms = NOW_MS, .last = 1, .count = 1, .kind = KIND_COUNTER};
    put(store, old, 0, 0, record);
    put(store, live, 0, 0, record);
    clock_simulated_advance(clock, 20 * HOUR_MS);
    record.time_ms += 20 * HOUR_MS;
    put(store, live, 0, 0, record);
    uint64_t generation = store_generation(store);
    store_prune(store);
    assert_int_equal(store_generation(store), generation);
    check_totals(store, 3);

    clock_simulated_advance(clock, 7 * HOUR_MS); /* whole partitions of two hours go */
    store_prune(store);
    assert_int_not_equal(store_generation(store), generation);
    check_totals(store, 1);
    struct store_stats stats;
    store_stats(store, &stats);
    assert_int_equal(stats.series, 1);
    assert_int_equal(stats.min_time_ms, record.time_ms);

    /* The dropped ref takes nothing, and is nobody else's before the next pruning. */
    record.time_ms += HOUR_MS;
    put(store, old, 0, 0, record);
    store_stats(store, &stats);
    assert_int_equal(stats.refused_total, 1);
    series_ref other = ref_for(store, 3, KIND_GAUGE);
    assert_int_not_equal(other, old);
    put(store, other, 0, 0, record);
    store_prune(store);
    assert_int_equal(ref_for(store, 4, KIND_GAUGE), old);
    assert_int_equal(ref_for(store, 2, KIND_GAUGE), live);
    check_totals(store, 2);
}

static struct labels *labels_at_head(const struct head *head, const struct series *series)
{
    struct label labels[LABELS_MAX];
    for (size_t i = 0; i < series->pair_count; i++) {
        labels[i] = postings_pair(&head->postings, series_pairs(series)[i]);
    }
    return labels_new(labels, series->pair_count);
}

static void dropping_and_making_series_keeps_refs_apart(void **state)
{
    (void)state;
    CLEANUP(clock_freep) struct clock *clock = clock_simulated_new(NOW_MS);
    CLEANUP(store_freep) struct store *store = new_store(clock);
    struct random random;
    random_seed(&random, 22);
    for (int round = 0; round < 60; round++) {
        clock_simulated_advance(clock, 13 * HOUR_MS);
        store_prune(store);
        struct record record = {.time_ms = clock_wall_ms(clock), .last = round, .count = 1, .kind = KIND_COUNTER};
        bool taken[2000] = {false};
        for (uint32_t i = 0; i < 800; i++) {
            series_ref ref = ref_for(store, i, KIND_GAUGE);
            assert_true(ref < ARRAY_LEN(taken) && !taken[ref]);
            taken[ref] = true;
            if (random_below(&random, 2)) {
                put(store, ref, 0, 0, record);
            }
        }
    }
    const struct head *head = &store->head;
    for (series_ref ref = 0; ref < head->slot_count; ref++) {
        const struct series *series = head_at(head, ref);
        CLEANUP(labels_unrefp) struct labels *labels = series ? labels_at_head(head, series) : NULL;
        assert_true(!series || head_find(head, labels) == ref);
    }
    assert_true(head->slot_count <= 2000);
}

/* Each new record is before all that came: a chunk of late ones fills and becomes a piece, up to a ceiling. */
static void a_series_has_a_ceiling_of_pieces(void **state)
{
    (void)state;
    struct partition *partition = NULL;
    struct partition_options options = {.slots_max = 1};
    assert_int_equal(partition_new(&options, &partition), 0);
    size_t refused = 0;
    for (uint32_t i = 0; i < PARTITION_MS && refused < 3; i += 5) {
        struct entry entry = {.sample = {i, (double)i * i / 7}, .count = 1};
        entry.flags = ENTRY_AGGREGATES;
        entry.sum = entry.min = entry.max = (double)i * i / 3;
        enum put_result result = partition_put(partition, 0, &entry, 1);
        assert_true(result == PUT_ADDED || result == PUT_FULL);
        refused += result == PUT_FULL;
    }
    assert_int_equal(refused, 3);
    assert_int_equal(partition_strand(partition, 0)->rest->count, STRAND_PIECES_MAX);
    partition_unref(partition);
}

/* A coarser window over finer ones, as when the resolution was changed: what counts more stays. */
static void windows_of_two_resolutions_are_weighed_by_count(void **state)
{
    (void)state;
    CLEANUP(clock_freep) struct clock *clock = clock_simulated_new(NOW_MS);
    CLEANUP(store_freep) struct store *store = new_store(clock);
    series_ref ref = ref_for(store, 1, KIND_GAUGE);
    int64_t window = window_start_ms(NOW_MS - 60000, 60000);
    for (int i = 0; i < 4; i++) {
        struct record fine = {.time_ms = window + i * 15000 + 5, .last = i, .count = 1, .min = i, .max = i, .sum = i};
        put(store, ref, window + i * 15000, 15000, fine);
    }
    struct record coarse = {.time_ms = window + 45005, .last = 3, .count = 4, .max = 3, .sum = 6};
    put(store, ref, window, 60000, coarse);
    check_totals(store, 4);
    coarse.count = 5;
    put(store, ref, window, 60000, coarse);
    check_totals(store, 1);
}

/* At resolution 0 the first sample of a time stays, whatever the later one counts, beside extras, too. */
static void plain_samples_never_replace(void **state)
{
    (void)state;
    CLEANUP(clock_freep) struct clock *clock = clock_simulated_new(NOW_MS);
    CLEANUP(store_freep) struct store *store = new_store(clock);
    series_ref ref = ref_for(store, 1, KIND_COUNTER);
    struct record record = {.time_ms = NOW_MS, .last = 1, .count = 1, .kind = KIND_COUNTER};
    put(store, ref, 0, 0, record);
    record.count = 9;
    put(store, ref, 0, 0, record);

    int64_t window = window_start_ms(NOW_MS - 60000, 60000);
    struct record full = {.time_ms = window + 50000, .last = 5, .count = 4, .kind = KIND_COUNTER};
    struct sample extra = {window + 10000, 3};
    store_write_begin(store);
    store_append(store, ref, window, 60000, &full, &extra, 1);
    record.time_ms = extra.time_ms;
    store_append(store, ref, 0, 0, &record, NULL, 0);
    store_write_end(store);
    struct store_stats stats;
    store_stats(store, &stats);
    assert_int_equal(stats.duplicates_total, 2);
    assert_int_equal(stats.replaced_total, 0);
    check_totals(store, 3);
}

/* A target that ended: its last value comes as an extra of the stale marker, and is a sample like any other. */
static void extras_of_plain_samples_are_plain_samples(void **state)
{
    (void)state;
    CLEANUP(clock_freep) struct clock *clock = clock_simulated_new(NOW_MS);
    CLEANUP(store_freep) struct store *store = new_store(clock);
    series_ref ref = ref_for(store, 1, KIND_GAUGE);
    struct record record = {.time_ms = NOW_MS, .last = value_stale(), .count = 1, .min = 7, .max = 7, .sum = 7};
    const struct sample extras[] = {{NOW_MS - 2, 7}, {NOW_MS, 8}};
    store_write_begin(store);
    store_append(store, ref, NOW_MS, 0, &record, extras, ARRAY_LEN(extras));
    store_append(store, ref, NOW_MS, 0, &record, extras, 1);
    store_write_end(store);
    struct store_stats stats;
    store_stats(store, &stats);
    assert_int_equal(stats.records_total, 5);
    assert_int_equal(stats.refused_total, 1);
    assert_int_equal(stats.duplicates_total, 2);
    check_totals(store, 2);
    const struct partition *partition = store->partitions[0];
    struct entries entries = {0};
    assert_int_equal(strand_read_chunk(partition, partition_strand(partition, ref)->open, &entries), 0);
    assert_int_equal(entries.count, 2);
    const struct entry *first = &entries.items[0], *last = &entries.items[1];
    assert_true(first->sample.value == 7 && first->count == 1 && first->flags == 0);
    assert_true(value_is_stale(last->sample.value) && last->count == 0 && last->flags == 0);
    entries_done(&entries);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_gives_the_same_content),
        cmocka_unit_test(what_is_out_of_bounds_is_refused_and_counted),
        cmocka_unit_test(extras_out_of_place_are_left_out),
        cmocka_unit_test(series_are_one_by_labels_and_have_a_ceiling),
        cmocka_unit_test(pruning_drops_old_chunks_then_series),
        cmocka_unit_test(dropping_and_making_series_keeps_refs_apart),
        cmocka_unit_test(a_series_has_a_ceiling_of_pieces),
        cmocka_unit_test(windows_of_two_resolutions_are_weighed_by_count),
        cmocka_unit_test(plain_samples_never_replace),
        cmocka_unit_test(extras_of_plain_samples_are_plain_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
