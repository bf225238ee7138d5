#include "store/series.h"

#include "base/fail.h"

#include <string.h>

static void count_in(struct series_totals *totals, const struct chunk *chunk)
{
    totals->samples += chunk_count(chunk);
    totals->chunks++;
    totals->chunk_bytes += chunk_memory_bytes(chunk);
}

static void count_out(struct series_totals *totals, const struct chunk *chunk)
{
    totals->samples -= chunk_count(chunk);
    totals->chunks--;
    totals->chunk_bytes -= chunk_memory_bytes(chunk);
}

static int64_t partition_of(int64_t time_ms)
{
    return window_start_ms(time_ms, SERIES_PARTITION_MS);
}

size_t series_chunk_at(const struct series *series, int64_t time_ms)
{
    size_t low = 0, high = series->chunk_count;
    if (high > 0 && series->chunks[high - 1]->max_time_ms < time_ms) { /* nearly always, when writing */
        return high;
    }
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (series->chunks[middle]->max_time_ms < time_ms) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Where the chunk that begins at `at` ends: at the partition's border, and what is too long in even parts. */
static size_t next_cut(const struct chunk_entry *entries, size_t count, size_t at)
{
    int64_t partition = partition_of(entries[at].sample.time_ms);
    size_t end = at + 1;
    while (end < count && entries[end].sample.time_ms - partition < SERIES_PARTITION_MS) {
        end++;
    }
    size_t parts = (end - at + CHUNK_SAMPLES_MAX - 1) / CHUNK_SAMPLES_MAX;
    return at + (end - at + parts - 1) / parts;
}

static void chunks_reserve(struct series *series, size_t count)
{
    if (count > series->chunk_capacity) {
        series->chunk_capacity = (uint16_t)(count <= 2 ? count : count + count / 4 + 1);
        series->chunks = mem_resize(series->chunks, series->chunk_capacity, sizeof(struct chunk *));
    }
}

static void trim(struct series *series, size_t index, struct series_totals *totals)
{
    count_out(totals, series->chunks[index]);
    chunk_trim(&series->chunks[index]);
    count_in(totals, series->chunks[index]);
}

/* Puts the entries, as new chunks, in the place of the chunks [first, after). False past the ceiling. */
static bool rewrite(struct series *series, size_t first, size_t after, const struct series_window *list,
                    struct series_totals *totals)
{
    size_t fresh = 0;
    for (size_t at = 0; at < list->count; at = next_cut(list->entries, list->count, at)) {
        fresh++;
    }
    size_t tail = series->chunk_count - after;
    if (first + fresh + tail > SERIES_CHUNKS_MAX) {
        return false;
    }
    series->open = NULL;
    for (size_t i = first; i < after; i++) {
        count_out(totals, series->chunks[i]);
        chunk_unref(series->chunks[i]);
    }
    chunks_reserve(series, first + fresh + tail);
    memmove(series->chunks + first + fresh, series->chunks + after, tail * sizeof(struct chunk *));
    series->chunk_count = (uint16_t)(first + fresh + tail);
    if (first > 0) {
        trim(series, first - 1, totals);
    }
    size_t at = 0;
    for (size_t i = first; i < first + fresh; i++) {
        struct chunk **chunk = &series->chunks[i];
        *chunk = chunk_new();
        series->open_state = XOR_STATE_INIT;
        for (size_t end = next_cut(list->entries, list->count, at); at < end; at++) {
            chunk_append(chunk, &series->open_state, &list->entries[at]);
        }
        if (i + 1 < series->chunk_count) {
            chunk_trim(chunk);
        }
        count_in(totals, *chunk);
        series->open = *chunk;
    }
    return true;
}

static void append(struct series *series, size_t index, const struct series_window *window,
                   struct series_totals *totals)
{
    struct chunk **chunk = &series->chunks[index];
    if (series->open != *chunk) {
        series->open_state = chunk_state(*chunk);
    }
    count_out(totals, *chunk);
    for (size_t i = 0; i < window->count; i++) {
        chunk_append(chunk, &series->open_state, &window->entries[i]);
    }
    count_in(totals, *chunk);
    series->open = *chunk;
}

/* All entries of the chunks [first, after), behind each other in memory of the caller's. */
static size_t gather(const struct series *series, size_t first, size_t after, struct chunk_entry *ret_entries)
{
    size_t count = 0;
    for (size_t i = first; i < after; i++) {
        struct chunk_reader reader;
        chunk_reader_init(&reader, series->chunks[i]);
        while (chunk_read(&reader, &ret_entries[count]) > 0) {
            count++;
        }
    }
    return count;
}

/* What is there of a window as one record: of records of a finer resolution the sum of their counts, so that a coarser
 * record does not replace what says more. */
static struct record present_record(const struct chunk_entry *entries, size_t count)
{
    struct record present = {.time_ms = INT64_MIN};
    for (size_t i = 0; i < count; i++) {
        if (!(entries[i].flags & ENTRY_EXTRA)) {
            uint32_t room = UINT32_MAX - present.count;
            present.count += MIN(room, entries[i].count);
            present.time_ms = entries[i].sample.time_ms;
        }
    }
    return present;
}

/* Stores the window among the samples of the chunks [first, after), which is all that may belong to it. */
static enum series_result put_among(struct series *series, size_t first, size_t after,
                                    const struct series_window *window, struct series_totals *totals)
{
    size_t room = window->count;
    for (size_t i = first; i < after; i++) {
        room += chunk_count(series->chunks[i]);
    }
    CLEANUP_FREE struct chunk_entry *list = mem_resize(NULL, room + 1, sizeof(*list)); /* + 1: the read that ends it */
    size_t count = gather(series, first, after, list);
    size_t from = 0;
    while (from < count && list[from].sample.time_ms < window->start_ms) {
        from++;
    }
    size_t to = from;
    while (to < count && list[to].sample.time_ms < window->end_ms) {
        to++;
    }
    if (to > from) {
        const struct chunk_entry *last = &window->entries[window->count - 1];
        struct record candidate = {.time_ms = last->sample.time_ms, .count = last->count};
        struct record present = present_record(list + from, to - from);
        if (window->plain || !record_wins(&candidate, &present)) {
            return SERIES_DUPLICATE;
        }
    }
    memmove(list + from + window->count, list + to, (count - to) * sizeof(*list));
    memcpy(list + from, window->entries, window->count * sizeof(*list));
    struct series_window merged = {.entries = list, .count = count - (to - from) + window->count};
    if (!rewrite(series, first, after, &merged, totals)) {
        return SERIES_FULL;
    }
    return to > from ? SERIES_REPLACED : SERIES_ADDED;
}

/* True when the window's last sample is of the chunk's partition (where an earlier one is not, put_among cuts) and all
 * have room. */
static bool fits(const struct chunk *chunk, const struct series_window *window)
{
    return chunk_count(chunk) + window->count <= CHUNK_SAMPLES_MAX &&
           partition_of(window->entries[window->count - 1].sample.time_ms) == partition_of(chunk->min_time_ms);
}

enum series_result series_put(struct series *series, const struct series_window *window, struct series_totals *totals)
{
    ASSERT(window->count > 0 && window->start_ms <= window->entries[0].sample.time_ms &&
           window->end_ms > window->entries[window->count - 1].sample.time_ms);
    size_t first = series_chunk_at(series, window->start_ms);
    size_t after = first;
    while (after < series->chunk_count && series->chunks[after]->min_time_ms < window->end_ms) {
        after++;
    }
    if (after > first) {
        return put_among(series, first, after, window, totals);
    }
    if (first > 0 && fits(series->chunks[first - 1], window)) {
        append(series, first - 1, window, totals);
        return SERIES_ADDED;
    }
    if (after < series->chunk_count && fits(series->chunks[after], window)) {
        return put_among(series, first, after + 1, window, totals);
    }
    return rewrite(series, first, after, window, totals) ? SERIES_ADDED : SERIES_FULL;
}

static void drop_first(struct series *series, size_t count, struct series_totals *totals)
{
    if (count == 0) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (series->open == series->chunks[i]) {
            series->open = NULL;
        }
        count_out(totals, series->chunks[i]);
        chunk_unref(series->chunks[i]);
    }
    series->chunk_count = (uint16_t)(series->chunk_count - count);
    memmove(series->chunks, series->chunks + count, series->chunk_count * sizeof(struct chunk *));
}

void series_prune(struct series *series, int64_t before_ms, struct series_totals *totals)
{
    drop_first(series, series_chunk_at(series, before_ms), totals);
}

void series_done(struct series *series, struct series_totals *totals)
{
    drop_first(series, series->chunk_count, totals);
    mem_free(series->chunks);
    labels_unref(series->labels);
    *series = (struct series){0};
}
