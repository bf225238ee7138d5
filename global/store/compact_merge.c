#include "store/compact_merge.h"

#include "base/arena.h"
#include "base/fail.h"
#include "base/map.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- walking all sources in order of labels ---- */

struct walker { /* one source */
    struct block *block;
    struct block_cursor *cursor;
    roaring_bitmap_t *ids;
    roaring_uint32_iterator_t at;
    struct block_series series; /* the next one */
    size_t age;                 /* place among the sources: 0 is the oldest */
};

struct walk {
    const struct compact_merge_options *options;
    struct compact_merge_report *report;
    struct walker *walkers;
    struct walker **order; /* those that have a series to come, by (labels, age) */
    size_t count;
    struct walker **members; /* those that have the present series, oldest first */
    size_t member_count;
};

static bool is_before(const struct walker *a, const struct walker *b)
{
    int order = labels_compare(a->series.labels, b->series.labels);
    return order ? order < 0 : a->age < b->age;
}

/* Puts a walker whose series has changed where it belongs. */
static void put_in_order(struct walk *walk, struct walker *walker)
{
    size_t low = 0, high = walk->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (is_before(walk->order[middle], walker)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    memmove(walk->order + low + 1, walk->order + low, (walk->count - low) * sizeof(struct walker *));
    walk->order[low] = walker;
    walk->count++;
}

static int read_series(struct walk *walk, struct walker *walker)
{
    if (!walker->at.has_value) {
        return 0;
    }
    int r = block_cursor_series(walker->cursor, walker->at.current_value, &walker->series);
    if (r < 0) {
        walk->report->unreadable = walker->block;
        return r;
    }
    put_in_order(walk, walker);
    return 0;
}

static int start_walker(struct walk *walk, struct walker *walker)
{
    const struct postings_query all = {.cancelled = walk->options->cancelled,
                                       .cancelled_arg = walk->options->cancelled_arg};
    int r = block_select(walker->block, &all, &walker->ids);
    if (r < 0) {
        walk->report->unreadable = r == -ECANCELED ? NULL : walker->block;
        return r;
    }
    walker->cursor = block_cursor_new(walker->block);
    roaring_init_iterator(walker->ids, &walker->at);
    return read_series(walk, walker);
}

static void walk_done(struct walk *walk)
{
    for (size_t i = 0; walk->walkers && i < walk->options->count; i++) {
        block_cursor_free(walk->walkers[i].cursor);
        bitmap_free(walk->walkers[i].ids);
    }
    mem_free(walk->walkers);
    mem_free(walk->order);
    mem_free(walk->members);
}

static int walk_init(struct walk *walk, const struct compact_merge_options *options,
                     struct compact_merge_report *report)
{
    *walk = (struct walk){.options = options, .report = report};
    walk->walkers = mem_array(options->count, sizeof(*walk->walkers));
    walk->order = mem_array(options->count, sizeof(struct walker *));
    walk->members = mem_array(options->count, sizeof(struct walker *));
    int r = 0;
    for (size_t i = 0; r == 0 && i < options->count; i++) {
        walk->walkers[i].block = options->sources[i];
        walk->walkers[i].age = i;
        r = start_walker(walk, &walk->walkers[i]);
    }
    return r;
}

static bool is_cancelled(const struct compact_merge_options *options)
{
    return options->cancelled && options->cancelled(options->cancelled_arg);
}

/* Goes on to the next series. 1, 0 at the end, or an error. */
static int walk_next(struct walk *walk)
{
    if (is_cancelled(walk->options)) {
        return -ECANCELED;
    }
    for (size_t i = 0; i < walk->member_count; i++) {
        roaring_advance_uint32_iterator(&walk->members[i]->at);
        int r = read_series(walk, walk->members[i]);
        if (r < 0) {
            return r;
        }
    }
    walk->member_count = 0;
    const struct labels *labels = walk->count > 0 ? walk->order[0]->series.labels : NULL;
    while (walk->member_count < walk->count && labels_equal(walk->order[walk->member_count]->series.labels, labels)) {
        walk->members[walk->member_count] = walk->order[walk->member_count];
        walk->member_count++;
    }
    walk->count -= walk->member_count;
    memmove(walk->order, walk->order + walk->member_count, walk->count * sizeof(struct walker *));
    return walk->member_count > 0;
}

/* ---- symbols: of the series that stay, so that a deleted one leaves no text behind ---- */

struct symbols {
    struct arena arena;
    struct map map; /* of struct str in the arena */
    struct str *sorted;
    size_t count;
};

static void symbols_done(struct symbols *symbols)
{
    map_done(&symbols->map);
    mem_free(symbols->sorted);
    arena_done(&symbols->arena);
}

static bool text_is(const void *item, const void *key)
{
    return str_equal(*(const struct str *)item, *(const struct str *)key);
}

static void add_symbol(struct symbols *symbols, struct str text)
{
    uint64_t hash = str_hash(text);
    if (!map_get(&symbols->map, hash, text_is, &text)) {
        struct str *item = arena_alloc(&symbols->arena, sizeof(*item));
        *item = arena_str(&symbols->arena, text);
        map_put(&symbols->map, hash, item);
    }
}

static bool is_covered(const struct block_chunk *chunk, const struct time_range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ranges[i].start_ms <= chunk->min_time_ms && ranges[i].end_ms >= chunk->max_time_ms) {
            return true;
        }
    }
    return false;
}

/* As far as its chunks tell without being opened. */
static bool is_deleted(const struct walk *walk, const struct time_range *ranges, size_t count)
{
    bool deleted = count > 0;
    for (size_t i = 0; deleted && i < walk->member_count; i++) {
        const struct block_series *series = &walk->members[i]->series;
        for (size_t j = 0; deleted && j < series->chunk_count; j++) {
            deleted = is_covered(&series->chunks[j], ranges, count);
        }
    }
    return deleted;
}

static int compare_texts(const void *a, const void *b)
{
    return str_compare(*(const struct str *)a, *(const struct str *)b);
}

static void sort_symbols(struct symbols *symbols)
{
    symbols->sorted = mem_array(symbols->map.count, sizeof(*symbols->sorted));
    size_t at = 0;
    const struct str *item;
    while ((item = map_next(&symbols->map, &at))) {
        symbols->sorted[symbols->count++] = *item;
    }
    if (symbols->count > 0) {
        qsort(symbols->sorted, symbols->count, sizeof(*symbols->sorted), compare_texts);
    }
}

static int collect_symbols(struct symbols *symbols, const struct compact_merge_options *options,
                           struct compact_merge_report *report)
{
    CLEANUP(walk_done) struct walk walk;
    CLEANUP_FREE struct time_range *ranges = mem_array(DELETIONS_MAX, sizeof(*ranges));
    int r = walk_init(&walk, options, report);
    while (r >= 0 && (r = walk_next(&walk)) > 0) {
        const struct labels *labels = walk.members[0]->series.labels;
        if (is_deleted(&walk, ranges, deletion_filter_ranges(options->filter, labels, ranges))) {
            continue;
        }
        for (size_t i = 0; i < labels_count(labels); i++) {
            struct label label = labels_at(labels, i);
            add_symbol(symbols, label.name);
            add_symbol(symbols, label.value);
        }
    }
    sort_symbols(symbols);
    return r;
}

/* ---- samples ---- */

struct merging {
    struct walk walk;
    struct entries all, part;
    struct time_range *ranges; /* DELETIONS_MAX */
};

static void merging_done(struct merging *merging)
{
    walk_done(&merging->walk);
    entries_done(&merging->all);
    entries_done(&merging->part);
    mem_free(merging->ranges);
}

/* All entries of the present series that stay, in merging->all. */
static int gather(struct merging *merging)
{
    struct walk *walk = &merging->walk;
    size_t range_count =
        deletion_filter_ranges(walk->options->filter, walk->members[0]->series.labels, merging->ranges);
    merging->all.count = 0;
    for (size_t i = 0; i < walk->member_count; i++) {
        struct walker *member = walk->members[i];
        struct entries *part = i == 0 ? &merging->all : &merging->part;
        part->count = 0;
        int r = block_cursor_entries(member->cursor, &member->series, 0, member->series.chunk_count, true, part);
        if (r < 0) {
            walk->report->unreadable = member->block;
            return r;
        }
        walk->report->entries_in += part->count;
        time_ranges_cut(merging->ranges, range_count, part);
        if (i > 0) {
            entries_merge(&merging->all, part->items, part->count);
        }
    }
    return 0;
}

/* Knows the kind of the series best: of blocks that others wrote kinds are guessed. */
static const struct walker *newest_of_ours(const struct walk *walk)
{
    for (size_t i = walk->member_count; i-- > 0;) {
        if (block_meta_of(walk->members[i]->block)->ours) {
            return walk->members[i];
        }
    }
    return walk->members[walk->member_count - 1];
}

static int write_series(struct merging *merging, struct block_writer *writer)
{
    struct walk *walk = &merging->walk;
    int r = gather(merging);
    if (r < 0 || merging->all.count == 0) {
        return r;
    }
    walk->report->entries_out += merging->all.count;
    const struct block_series *series = &newest_of_ours(walk)->series;
    return block_writer_add(writer, series->labels, series->kind, merging->all.items, merging->all.count);
}

/* Known once all has been read. */
static bool some_have_histograms(const struct compact_merge_options *options)
{
    for (size_t i = 0; i < options->count; i++) {
        if (block_has_histograms(options->sources[i])) {
            return true;
        }
    }
    return false;
}

int compact_merge(const struct compact_merge_options *options, struct compact_merge_report *ret_report)
{
    *ret_report = (struct compact_merge_report){0};
    CLEANUP(symbols_done) struct symbols symbols = {0};
    CLEANUP(merging_done) struct merging merging = {0};
    CLEANUP(block_writer_freep) struct block_writer *writer = NULL;
    arena_init(&symbols.arena, 0);
    map_init(&symbols.map);
    merging.ranges = mem_array(DELETIONS_MAX, sizeof(*merging.ranges));
    int r = collect_symbols(&symbols, options, ret_report);
    if (r < 0) {
        return r;
    }
    const struct block_writer_options writer_options = {
        .dirs = options->dirs,
        .meta = options->meta,
        .symbols = symbols.sorted,
        .symbol_count = symbols.count,
        .chunk_samples = options->chunk_samples,
        .cancelled = options->cancelled,
        .cancelled_arg = options->cancelled_arg,
        .check_meaning = true, /* what it is made of goes */
    };
    r = block_writer_new(&writer_options, &writer);
    r = r < 0 ? r : walk_init(&merging.walk, options, ret_report);
    while (r >= 0 && (r = walk_next(&merging.walk)) > 0) {
        r = write_series(&merging, writer);
    }
    if (r >= 0 && some_have_histograms(options)) {
        return -ENOTSUP;
    }
    r = r < 0 ? r : block_writer_finish(writer);
    if (r < 0) {
        snprintf(ret_report->reason, sizeof(ret_report->reason), "%s", block_writer_reason(writer));
    }
    return r;
}
