/* Which blocks are merged: tables of blocks in, units out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/fail.h"
#include "store/compact_plan.h"

#include <stdio.h>
#include <string.h>

#define HOUR_MS   INT64_C(3600000)
#define ROW_MAX   12
#define SETTLE_MS HOUR_MS
#define NOW_MS    INT64_C(1800000000000)

static const int64_t levels[] = {2 * HOUR_MS, 8 * HOUR_MS, 48 * HOUR_MS};

struct row_block {
    char name;
    const char *class;
    int min_hours, max_hours;
    uint64_t bytes;
    bool has_deletions;
    bool fresh; /* made just now, else long ago */
};

struct row {
    const char *about;
    int head_hours;
    struct row_block blocks[ROW_MAX];
    const char *units; /* names, kinds o r d in front, blanks between */
};

static const struct row rows[] = {
    {"nothing", 100, {{0}}, ""},
    {"one block", 100, {{'a', "x", 0, 2, 10, false, false}}, ""},
    {"two of an open range", 6, {{'a', "x", 0, 2, 10, false, false}, {'b', "x", 2, 4, 10, false, false}}, ""},
    {"two of a range that is over", 8, {{'a', "x", 0, 2, 10, false, false}, {'b', "x", 2, 4, 10, false, false}}, "rab"},
    {"of two classes", 8, {{'a', "x", 0, 2, 10, false, false}, {'b', "y", 2, 4, 10, false, false}}, ""},
    {"of two ranges", 16, {{'a', "x", 6, 8, 10, false, false}, {'b', "x", 8, 10, 10, false, false}}, ""},
    {"the larger range first",
     48,
     {{'a', "x", 0, 2, 10, false, false}, {'b', "x", 2, 4, 10, false, false}, {'c', "x", 40, 42, 10, false, false}},
     "rabc rab"},
    {"too large for one: its parts",
     48,
     {{'a', "x", 0, 2, 40, false, false}, {'b', "x", 2, 4, 40, false, false}, {'c', "x", 40, 42, 40, false, false}},
     "rab"},
    {"a block that fills the range is no part of it",
     48,
     {{'a', "x", 0, 8, 40, false, false}, {'b', "x", 8, 16, 40, false, false}},
     "rab"},
    {"before 1970", 0, {{'a', "x", -8, -6, 10, false, false}, {'b', "x", -2, 0, 10, false, false}}, "rab rab"},
    {"over 1970", 48, {{'a', "x", -2, 0, 10, false, false}, {'b', "x", 0, 2, 10, false, false}}, ""},
    {"across ranges, of another's making",
     48,
     {{'a', "x", 6, 10, 10, false, false}, {'b', "x", 10, 12, 9, false, false}},
     "rab"},
    {"two that overlap", 100, {{'a', "x", 0, 2, 10, false, false}, {'b', "x", 1, 2, 10, false, false}}, "oab rab rab"},
    {"two that touch", 7, {{'a', "x", 0, 2, 10, false, false}, {'b', "x", 2, 4, 10, false, false}}, ""},
    {"a chain",
     20,
     {{'a', "x", 6, 9, 10, false, false}, {'b', "x", 8, 12, 10, false, false}, {'c', "x", 11, 20, 10, false, false}},
     "oabc"},
    {"overlaps of other classes are none",
     100,
     {{'a', "x", 0, 48, 10, false, false}, {'b', "y", 1, 2, 10, false, false}},
     ""},
    {"a small one waits for more", 100, {{'a', "x", 0, 48, 90, false, false}, {'b', "x", 1, 2, 9, false, true}}, ""},
    {"and has waited", 100, {{'a', "x", 0, 48, 90, false, false}, {'b', "x", 1, 2, 9, false, false}}, "oab"},
    {"one that is not small does not wait",
     100,
     {{'a', "x", 0, 48, 60, false, false}, {'b', "x", 1, 2, 20, false, true}},
     "oab"},
    {"small ones of a range meanwhile",
     100,
     {{'a', "x", 0, 48, 90, false, false}, {'b', "x", 1, 2, 4, false, true}, {'c', "x", 5, 6, 4, false, true}},
     "rbc rbc"},
    {"too large: the smallest",
     100,
     {{'a', "x", 0, 48, 95, false, false}, {'b', "x", 1, 4, 9, false, false}, {'c', "x", 3, 5, 8, false, false}},
     "obc rbc rbc"},
    {"too large and nothing fits", 100, {{'a', "x", 0, 48, 95, false, false}, {'b', "x", 1, 48, 90, false, false}}, ""},
    {"more than a unit takes",
     100,
     {{'a', "x", 0, 2, 1, false, false},
      {'b', "x", 0, 2, 2, false, false},
      {'c', "x", 0, 2, 3, false, false},
      {'d', "x", 0, 2, 4, false, false},
      {'e', "x", 0, 2, 5, false, false}},
     "oabcd rabcd rabcd"},
    {"of the head: of one range",
     2,
     {{'a', "x", 2, 4, 10, false, false}, {'b', "x", 2, 4, 10, false, false}, {'c', "x", 2, 5, 10, false, false}},
     "oab"},
    {"of the head: overlap in part", 2, {{'a', "x", 2, 4, 10, false, false}, {'b', "x", 3, 4, 10, false, false}}, ""},
    {"deletions alone", 2, {{'a', "x", 2, 4, 10, true, false}, {'b', "x", 8, 9, 10, false, false}}, "da"},
    {"deletions last", 8, {{'a', "x", 0, 2, 10, true, false}, {'b', "x", 2, 4, 10, false, false}}, "rab da"},
    {"touching is not overlapping",
     100,
     {{'a', "x", 0, 48, 95, false, false}, {'b', "x", 0, 2, 9, false, false}, {'c', "x", 2, 4, 8, false, false}},
     "rbc rbc"},
    {"all that hang on one",
     100,
     {{'a', "x", 0, 48, 20, false, false}, {'b', "x", 1, 2, 9, false, false}, {'c', "x", 9, 10, 9, false, false}},
     "oabc rbc"},
    {"of the head: three of one range",
     2,
     {{'a', "x", 2, 4, 10, false, false}, {'b', "x", 2, 4, 10, false, false}, {'c', "x", 2, 4, 10, false, false}},
     "oabc"},
    {"empty in time", 8, {{'a', "x", 2, 2, 10, false, false}, {'b', "x", 2, 2, 10, false, false}}, ""},
};

static size_t make_sources(const struct row *row, struct compact_source *sources)
{
    size_t count = 0;
    struct random random;
    random_seed(&random, 1);
    for (; count < ROW_MAX && row->blocks[count].name; count++) {
        const struct row_block *from = &row->blocks[count];
        struct ulid ulid = ulid_new(from->fresh ? NOW_MS : NOW_MS - 2 * SETTLE_MS, &random);
        ulid.text[ULID_CHARS - 1] = from->name;
        memset(ulid.text + 10, '0', 15); /* of one time: by name */
        sources[count] = (struct compact_source){.ulid = ulid,
                                                 .class = from->class,
                                                 .min_time_ms = from->min_hours * HOUR_MS,
                                                 .max_time_ms = from->max_hours * HOUR_MS,
                                                 .bytes = from->bytes,
                                                 .has_deletions = from->has_deletions};
    }
    return count;
}

static void print_units(const struct compact_units *units, const struct compact_source *sources, struct buf *out)
{
    for (size_t i = 0; i < units->count; i++) {
        buf_printf(out, "%s%c", i > 0 ? " " : "", "ord"[units->items[i].why]);
        for (size_t j = 0; j < units->items[i].count; j++) {
            buf_append_byte(out, (uint8_t)sources[units->items[i].sources[j]].ulid.text[ULID_CHARS - 1]);
        }
    }
    buf_append_byte(out, '\0');
}

static void test_plans(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct compact_source sources[ROW_MAX];
        size_t count = make_sources(&rows[i], sources);
        const struct compact_plan_options options = {.levels_ms = levels,
                                                     .level_count = ARRAY_LEN(levels),
                                                     .unit_bytes_max = 100,
                                                     .sources_max = 4,
                                                     .head_start_ms = rows[i].head_hours * HOUR_MS,
                                                     .now_ms = NOW_MS,
                                                     .settle_ms = SETTLE_MS};
        struct compact_units units;
        CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
        compact_plan(&options, sources, count, &units);
        print_units(&units, sources, &text);
        if (strcmp((const char *)text.data, rows[i].units) != 0) {
            print_error("%s: \"%s\", not \"%s\"\n", rows[i].about, (const char *)text.data, rows[i].units);
        }
        assert_string_equal((const char *)text.data, rows[i].units);
        compact_units_done(&units);
    }
}

/* Extremes of time, and a clock that went back. */
static void test_edges(void **state)
{
    (void)state;
    struct compact_source sources[2] = {
        {.class = "x", .min_time_ms = INT64_MIN, .max_time_ms = INT64_MAX, .bytes = 100},
        {.class = "x", .min_time_ms = INT64_MAX - 1, .max_time_ms = INT64_MAX, .bytes = 1},
    };
    struct random random;
    random_seed(&random, 2);
    sources[0].ulid = ulid_new(NOW_MS + 1000, &random);
    sources[1].ulid = ulid_new(NOW_MS + 2000, &random);
    const struct compact_plan_options options = {.levels_ms = levels,
                                                 .level_count = ARRAY_LEN(levels),
                                                 .unit_bytes_max = UINT64_MAX,
                                                 .sources_max = 2,
                                                 .head_start_ms = INT64_MAX,
                                                 .now_ms = NOW_MS,
                                                 .settle_ms = SETTLE_MS};
    struct compact_units units;
    compact_plan(&options, sources, 2, &units);
    assert_int_equal(units.count, 1);
    assert_int_equal(units.items[0].count, 2);
    compact_units_done(&units);
}

/* A plan that is followed comes to an end: every unit makes fewer blocks, or takes a deletion away. */
static void test_ends(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct random random;
        random_seed(&random, seed);
        struct compact_source sources[60];
        size_t count = 1 + random_below(&random, 60), steps = 0;
        for (size_t i = 0; i < count; i++) {
            int64_t start = (int64_t)random_below(&random, 100), end = start + 1 + (int64_t)random_below(&random, 10);
            sources[i] =
                (struct compact_source){.ulid = ulid_new(NOW_MS - (int64_t)random_below(&random, 9000), &random),
                                        .class = random_below(&random, 3) ? "x" : "y",
                                        .min_time_ms = start * HOUR_MS,
                                        .max_time_ms = end * HOUR_MS,
                                        .bytes = 1 + random_below(&random, 20),
                                        .has_deletions = random_below(&random, 10) == 0};
        }
        for (;; steps++) {
            const struct compact_plan_options options = {.levels_ms = levels,
                                                         .level_count = ARRAY_LEN(levels),
                                                         .unit_bytes_max = 200,
                                                         .sources_max = 5,
                                                         .head_start_ms = 80 * HOUR_MS,
                                                         .now_ms = NOW_MS + 2 * SETTLE_MS,
                                                         .settle_ms = SETTLE_MS};
            struct compact_units units;
            compact_plan(&options, sources, count, &units);
            if (units.count == 0) {
                compact_units_done(&units);
                break;
            }
            const struct compact_unit *unit = &units.items[random_below(&random, units.count)];
            struct compact_source result = sources[unit->sources[0]];
            bool gone[60] = {0};
            for (size_t i = 0; i < unit->count; i++) {
                const struct compact_source *source = &sources[unit->sources[i]];
                assert_string_equal(source->class, result.class);
                result.min_time_ms = MIN(result.min_time_ms, source->min_time_ms);
                result.max_time_ms = MAX(result.max_time_ms, source->max_time_ms);
                result.bytes += i > 0 ? source->bytes : 0;
                gone[unit->sources[i]] = true;
            }
            assert_true(unit->count <= 5 && (unit->why == COMPACT_DELETIONS || result.bytes <= 200));
            result.has_deletions = false;
            size_t kept = 0;
            for (size_t i = 0; i < count; i++) {
                if (!gone[i]) {
                    sources[kept++] = sources[i];
                }
            }
            sources[kept++] = result;
            count = kept;
            compact_units_done(&units);
            assert_true(steps < 200);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plans),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
