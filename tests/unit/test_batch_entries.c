/* Entries of a body: what is written is read, and each entry's predecessor is the last of an earlier round of the same
 * target and page, with scrapes, however many targets and pages there are and in whatever order they come. */
#include "base/fail.h"
#include "base/random.h"
#include "hop/batch_body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define WINDOW_MS     INT64_C(1700000040000)
#define RESOLUTION_MS 60000

struct shape {
    uint32_t targets, pages, rounds, entries;
    bool in_order; /* of targets, as writers of ours bring them */
};

/* Targets and pages may come twice in a round; some entries only end, some rounds are empty. */
static struct batch_entry *entries_of(const struct shape *shape, struct random *random)
{
    struct batch_entry *items = mem_array(shape->entries, sizeof(*items));
    uint32_t round = 0;
    for (uint32_t i = 0; i < shape->entries; i++) {
        uint32_t wanted = (uint32_t)((uint64_t)i * shape->rounds / shape->entries);
        if (wanted > round && random_below(random, 10) > 0)
            round = wanted;
        uint32_t in_round = i % (shape->entries / shape->rounds + 1);
        items[i] = (struct batch_entry){.round = round,
                                        .target = shape->in_order ? in_round / shape->pages % shape->targets
                                                                  : (uint32_t)random_below(random, shape->targets),
                                        .page = shape->in_order ? in_round % shape->pages
                                                                : (uint32_t)random_below(random, shape->pages),
                                        .time_ms = WINDOW_MS + (int64_t)random_below(random, 100000000),
                                        .count = (uint32_t)random_below(random, 4),
                                        .stale_ms = random_below(random, 5) ? 0 : WINDOW_MS + (int64_t)i};
    }
    return items;
}

/* By a table of all targets and pages: index + 1 of the last one. */
static void assert_predecessors(const struct shape *shape, const struct batch_entry *items, const uint32_t *before)
{
    CLEANUP_FREE uint32_t *last = mem_array((size_t)shape->targets * shape->pages, sizeof(*last));
    for (uint32_t from = 0, end; from < shape->entries; from = end) {
        for (end = from; end < shape->entries && items[end].round == items[from].round; end++) {
            uint32_t wanted = last[items[end].target * shape->pages + items[end].page];
            assert_int_equal(before[end], wanted ? wanted - 1 : BATCH_NONE);
        }
        for (uint32_t i = from; i < end; i++)
            if (items[i].count > 0)
                last[items[i].target * shape->pages + items[i].page] = i + 1;
    }
}

static void check(const struct shape *shape, uint64_t seed)
{
    struct random random;
    random_seed(&random, seed);
    CLEANUP(buf_done) struct buf header = BUF_INIT(16 * MIB), payload = BUF_INIT(16 * MIB);
    CLEANUP_FREE struct batch_entry *items = entries_of(shape, &random);
    CLEANUP_FREE uint32_t *before = mem_array(shape->entries, sizeof(*before));
    struct batch_entries written = {.items = items,
                                    .before = before,
                                    .count = shape->entries,
                                    .window_start_ms = WINDOW_MS,
                                    .resolution_ms = RESOLUTION_MS};
    batch_entries_write(&written, &header, &payload);
    assert_predecessors(shape, items, before);
    struct column_input in = {.header = reader_of(header.data, header.len),
                              .payload = reader_of(payload.data, payload.len)};
    CLEANUP(batch_entries_done)
    struct batch_entries got = {
        .window_start_ms = WINDOW_MS,
        .resolution_ms = RESOLUTION_MS,
        .limits = {.targets = shape->targets, .pages = shape->pages, .rounds = 64, .entries = shape->entries}};
    assert_int_equal(batch_entries_read(&got, &in), 0);
    assert_int_equal(reader_left(&in.header) + reader_left(&in.payload), 0);
    assert_int_equal(got.count, shape->entries);
    for (uint32_t i = 0; i < shape->entries; i++) {
        assert_int_equal(got.items[i].round, items[i].round);
        assert_int_equal(got.items[i].target, items[i].target);
        assert_int_equal(got.items[i].page, items[i].page);
        assert_int_equal(got.items[i].time_ms, items[i].time_ms);
        assert_int_equal(got.items[i].count, items[i].count);
        assert_int_equal(got.items[i].stale_ms, items[i].stale_ms);
        assert_int_equal(got.before[i], before[i]);
    }
}

static void entries_come_back_with_their_predecessors(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct random random;
        random_seed(&random, seed);
        struct shape shape = {.targets = 1 + (uint32_t)random_below(&random, 20),
                              .pages = 1 + (uint32_t)random_below(&random, 5),
                              .rounds = 1 + (uint32_t)random_below(&random, 8),
                              .in_order = seed % 2};
        shape.entries = shape.rounds * (uint32_t)random_below(&random, 60);
        if (shape.entries > 0)
            check(&shape, seed);
    }
}

/* As many as a batch may have, of all targets and pages, of one target, of one page, and of one of both. */
static void the_most_entries_come_back(void **state)
{
    (void)state;
    static const struct shape shapes[] = {
        {LAYOUT_TARGETS_MAX, 256, 64, BATCH_ENTRIES_MAX, false},
        {512, 256, 64, BATCH_ENTRIES_MAX, false},
        {64, 32, 64, BATCH_ENTRIES_MAX, true},
        {1, ENVELOPE_PAGES_MAX, 3, BATCH_ENTRIES_MAX, false},
        {LAYOUT_TARGETS_MAX, 1, 8, BATCH_ENTRIES_MAX, true},
        {1, 1, 64, BATCH_ENTRIES_MAX, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
        check(&shapes[i], i + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_back_with_their_predecessors),
        cmocka_unit_test(the_most_entries_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
