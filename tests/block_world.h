#pragma once
/* Series of all kinds of values and windows, written as a block and compared with what is read, to the bit. */
#include "base/fail.h"
#include "base/file.h"
#include "base/random.h"
#include "store/block.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORLD_START_MS INT64_C(1700006400000) /* a multiple of 2 h */
#define WORLD_END_MS   (WORLD_START_MS + 7200000)

struct world_series {
    struct labels *labels;
    enum series_kind kind;
    struct entries entries;
};

struct world {
    struct world_series *series; /* in order of labels */
    size_t count;
    struct str *symbols; /* in memory of the labels */
    size_t symbol_count;
    struct ulid ulid;
};

static inline double world_value(struct random *random, double before)
{
    static const uint64_t strange[] = {STALE_NAN_BITS,
                                       NORMAL_NAN_BITS,
                                       UINT64_C(0x7ff4000000000abc),
                                       UINT64_C(0xfff8000000000001),
                                       UINT64_C(0x7ff0000000000000),
                                       UINT64_C(0xfff0000000000000),
                                       UINT64_C(0x8000000000000000),
                                       1,
                                       UINT64_C(0x7fefffffffffffff)};
    switch (random_below(random, 12)) {
    case 0:
        return double_from_bits(strange[random_below(random, sizeof(strange) / sizeof(strange[0]))]);
    case 1:
        return double_from_bits(random_next(random));
    case 2:
    case 3:
        return before;
    case 4:
        return random_unit(random);
    default:
        return (isfinite(before) ? before : 0) + (double)random_below(random, 100);
    }
}

/* Windows of one resolution one after the other, with gaps, extras, odd counts, aggregates in gauges that move; in one
 * series of four the resolution changes on the way. */
static inline void world_entries(struct random *random, struct world_series *series, size_t count)
{
    static const uint32_t resolutions[] = {0, 10000, 60000, 300000};
    uint32_t resolution_ms = resolutions[random_below(random, 4)];
    bool changes = random_below(random, 4) == 0, uneven = random_below(random, 3) == 0;
    int64_t at = WORLD_START_MS;
    double value = 0;
    for (size_t i = 0; i < count && at < WORLD_END_MS; i++) {
        uint32_t width = resolution_ms ? resolution_ms : 15000;
        int64_t time_ms = at + (int64_t)(uneven ? random_below(random, width) : width / 2);
        if (resolution_ms && random_below(random, 20) == 0 && time_ms > at) {
            value = world_value(random, value);
            struct entry extra = {.sample = {at, value}, .resolution_ms = resolution_ms, .flags = ENTRY_EXTRA};
            entries_add(&series->entries, &extra);
        }
        value = world_value(random, value);
        struct entry entry = {.sample = {time_ms, value}, .resolution_ms = resolution_ms};
        entry.count = value_is_stale(value) ? 0 : resolution_ms ? 4 : 1;
        if (random_below(random, 30) == 0) {
            entry.count = (uint32_t)random_next(random);
        }
        if (series->kind == KIND_GAUGE && resolution_ms && entry.count > 0 && random_below(random, 3) > 0) {
            entry.flags = ENTRY_AGGREGATES;
            entry.sum = world_value(random, 1);
            entry.min = world_value(random, 2);
            entry.max = world_value(random, 3);
        }
        entries_add(&series->entries, &entry);
        at += width;
        if (random_below(random, 40) == 0) {
            at += (int64_t)random_below(random, 600000) / width * width;
        }
        if (changes && random_below(random, 50) == 0) {
            resolution_ms = resolutions[random_below(random, 4)];
            at = (at + 299999) / 300000 * 300000;
        }
    }
    if (series->entries.count == 0) {
        struct entry entry = {.sample = {WORLD_START_MS, 1}, .count = 1};
        entries_add(&series->entries, &entry);
    }
}

static inline int world_series_order(const void *a, const void *b)
{
    return labels_compare(((const struct world_series *)a)->labels, ((const struct world_series *)b)->labels);
}

static inline int world_str_order(const void *a, const void *b)
{
    return str_compare(*(const struct str *)a, *(const struct str *)b);
}

static inline void world_sort(struct world *world)
{
    qsort(world->series, world->count, sizeof(*world->series), world_series_order);
    size_t count = 0;
    for (size_t i = 0; i < world->count; i++) {
        count += 2 * labels_count(world->series[i].labels);
    }
    world->symbols = mem_array(count, sizeof(*world->symbols));
    for (size_t i = 0, at = 0; i < world->count; i++) {
        for (size_t k = 0; k < labels_count(world->series[i].labels); k++) {
            world->symbols[at++] = labels_at(world->series[i].labels, k).name;
            world->symbols[at++] = labels_at(world->series[i].labels, k).value;
        }
    }
    qsort(world->symbols, count, sizeof(*world->symbols), world_str_order);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || !str_equal(world->symbols[i], world->symbols[world->symbol_count - 1])) {
            world->symbols[world->symbol_count++] = world->symbols[i];
        }
    }
}

static inline void world_init(struct world *world, uint64_t seed, size_t series, size_t samples)
{
    struct random random;
    random_seed(&random, seed);
    *world = (struct world){.count = series, .ulid = ulid_new(WORLD_START_MS, &random)};
    world->series = mem_array(series, sizeof(*world->series));
    for (size_t i = 0; i < series; i++) {
        static const char *const names[] = {"__name__", "job", "mode", "cpu"};
        char text[8][32];
        struct label labels[8];
        size_t count = 0;
        for (size_t k = 0; k < ARRAY_LEN(names); k++) {
            if (k == 0 || random_below(&random, 3) > 0) {
                snprintf(text[count], sizeof(text[count]), "%c%d", names[k][0], (int)random_below(&random, 5));
                labels[count] = (struct label){str_from(names[k]), str_from(text[count])};
                count++;
            }
        }
        snprintf(text[count], sizeof(text[count]), "host-%zu", i);
        labels[count] = (struct label){STR("instance"), str_from(text[count])};
        world->series[i].labels = labels_new(labels, count + 1);
        world->series[i].kind = (enum series_kind)random_below(&random, 3);
        world_entries(&random, &world->series[i], 1 + random_below(&random, samples));
    }
    world_sort(world);
}

static inline void world_done(struct world *world)
{
    for (size_t i = 0; i < world->count; i++) {
        labels_unref(world->series[i].labels);
        entries_done(&world->series[i].entries);
    }
    mem_free(world->series);
    mem_free(world->symbols);
}

static inline int world_write(const struct world *world, const struct block_dirs *dirs, uint32_t chunk_samples)
{
    struct block_missing missing = {WORLD_START_MS, WORLD_START_MS + 60000, "a test says so"};
    struct block_meta meta = {.ulid = world->ulid,
                              .min_time_ms = WORLD_START_MS,
                              .max_time_ms = WORLD_END_MS + 600000,
                              .level = 1,
                              .class = "fast",
                              .deletion = 7,
                              .missing = &missing,
                              .missing_count = 1};
    struct block_writer_options options = {.dirs = *dirs,
                                           .meta = &meta,
                                           .symbols = world->symbols,
                                           .symbol_count = world->symbol_count,
                                           .chunk_samples = chunk_samples};
    struct block_writer *writer;
    int error = block_writer_new(&options, &writer);
    if (error) {
        return error;
    }
    for (size_t i = 0; i < world->count && !error; i++) {
        const struct world_series *series = &world->series[i];
        error = block_writer_add(writer, series->labels, series->kind, series->entries.items, series->entries.count);
    }
    error = error ? error : block_writer_finish(writer);
    if (error == -EBADMSG) {
        fprintf(stderr, "block_writer_finish: %s\n", block_writer_reason(writer));
    }
    block_writer_free(writer);
    return error;
}

static inline bool world_same_entry(const struct entry *a, const struct entry *b, bool with_aggregates)
{
    uint16_t flags = a->flags & (with_aggregates ? ENTRY_EXTRA | ENTRY_AGGREGATES : ENTRY_EXTRA);
    if (a->sample.time_ms != b->sample.time_ms || double_bits(a->sample.value) != double_bits(b->sample.value) ||
        a->count != b->count || a->resolution_ms != b->resolution_ms || flags != b->flags) {
        return false;
    }
    return !(flags & ENTRY_AGGREGATES) ||
           (double_bits(a->sum) == double_bits(b->sum) && double_bits(a->min) == double_bits(b->min) &&
            double_bits(a->max) == double_bits(b->max));
}

/* 1: the same, to the bit; 0: other data or less; an error. */
static inline int world_compare_series(const struct world_series *expected, struct block_cursor *cursor,
                                       const struct block_series *series, bool with_aggregates)
{
    struct entries entries = {0};
    int error = block_cursor_entries(cursor, series, 0, series->chunk_count, with_aggregates, &entries);
    bool same = labels_equal(expected->labels, series->labels) && expected->kind == series->kind &&
                entries.count == expected->entries.count;
    for (size_t i = 0; i < entries.count && same; i++) {
        same = world_same_entry(&expected->entries.items[i], &entries.items[i], with_aggregates);
    }
    entries_done(&entries);
    return error ? error : same;
}

static inline int world_compare(const struct world *world, struct block *block, bool with_aggregates)
{
    CLEANUP(block_cursor_freep) struct block_cursor *cursor = block_cursor_new(block);
    CLEANUP(bitmap_freep) roaring_bitmap_t *ids = NULL;
    struct postings_query query = {0};
    int result = block_select(block, &query, &ids);
    if (result < 0) {
        return result;
    }
    if (roaring_bitmap_get_cardinality(ids) != world->count) {
        return 0;
    }
    roaring_uint32_iterator_t at;
    size_t i = 0;
    result = 1;
    for (roaring_init_iterator(ids, &at); at.has_value && result > 0; roaring_advance_uint32_iterator(&at)) {
        struct block_series series;
        result = block_cursor_series(cursor, at.current_value, &series);
        result = result < 0 ? result : world_compare_series(&world->series[i++], cursor, &series, with_aggregates);
    }
    return result;
}
