/* Reading series of a block. */
#include "base/fail.h"
#include "store/aggr_chunk.h"
#include "store/block_parts.h"

#include <errno.h>

struct block_cursor *block_cursor_new(struct block *block)
{
    struct block_cursor *cursor = mem_zalloc(sizeof(*cursor));
    cursor->block = block_ref(block);
    index_cursor_init(&cursor->index, &block->raw.index);
    segments_cursor_init(&cursor->chunks, &block->raw.segments);
    if (block->raw.meta.ours) {
        windows_cursor_init(&cursor->windows, &block->windows);
    }
    if (block->raw.meta.has_aggregates) {
        index_cursor_init(&cursor->aggregates_index, &block->aggregates.index);
        segments_cursor_init(&cursor->aggregates_chunks, &block->aggregates.segments);
    }
    return cursor;
}

void block_cursor_free(struct block_cursor *cursor)
{
    if (!cursor) {
        return;
    }
    index_cursor_done(&cursor->index);
    segments_cursor_done(&cursor->chunks);
    windows_cursor_done(&cursor->windows);
    index_cursor_done(&cursor->aggregates_index);
    segments_cursor_done(&cursor->aggregates_chunks);
    samples_done(&cursor->samples);
    labels_unref(cursor->labels);
    block_unref(cursor->block);
    mem_free(cursor);
}

/* ---- Series ---- */

static int read_windows(struct block_cursor *cursor, uint32_t id, struct block_series *series)
{
    const struct windows_record *record;
    if (!cursor->block->raw.meta.ours) {
        series->kind = KIND_GAUGE;
        return 0;
    }
    int error = windows_find(&cursor->windows, id, &record);
    if (error) {
        return error;
    }
    cursor->note = record->note;
    series->kind = note_kind(record->note);
    series->aggregates_id = record->aggregates_id;
    return series->aggregates_id != 0 && !cursor->block->raw.meta.has_aggregates ? -EBADMSG : 0;
}

int block_cursor_series(struct block_cursor *cursor, uint32_t id, struct block_series *ret_series)
{
    struct block_series series = {.id = id};
    struct labels *labels = NULL;
    cursor->id = id;
    int error = index_series_read(&cursor->index, id);
    error = error ? error : read_windows(cursor, id, &series);
    error = error ? error : index_series_labels(&cursor->index, &labels);
    if (error) {
        return error;
    }
    labels_unref(cursor->labels);
    cursor->labels = labels;
    series.labels = labels;
    series.chunks = cursor->index.entry->chunks;
    series.chunk_count = cursor->index.entry->chunk_count;
    *ret_series = series;
    return 0;
}

int block_cursor_entry(struct block_cursor *cursor, uint32_t id, const struct index_series **ret_entry)
{
    cursor->id = id;
    int error = index_series_read(&cursor->index, id);
    if (!error) {
        *ret_entry = cursor->index.entry;
    }
    return error;
}

int block_cursor_symbol(struct block_cursor *cursor, uint32_t symbol, struct str *ret_text)
{
    return symbol_read(&cursor->index.symbols, symbol, ret_text);
}

/* ---- Chunks ---- */

/* Ascending, and in the times that the index says. */
static bool are_in_order(const struct block_chunk *chunk, const struct sample *samples, size_t count)
{
    bool good =
        count == 0 || (samples[0].time_ms >= chunk->min_time_ms && samples[count - 1].time_ms <= chunk->max_time_ms);
    for (size_t i = 1; i < count; i++) {
        good &= samples[i].time_ms > samples[i - 1].time_ms;
    }
    return good;
}

/* Appends the samples of a chunk as they are written; none of one of native histograms in a foreign block. */
static int decode_chunk(struct block_cursor *cursor, const struct block_chunk *chunk, struct samples *samples)
{
    uint8_t encoding;
    struct str data;
    int error = segments_read(&cursor->chunks, chunk->ref, &encoding, &data);
    if (error) {
        return error;
    }
    bool foreign = !cursor->block->raw.meta.ours;
    if (foreign && (encoding == CHUNK_HISTOGRAM || encoding == CHUNK_FLOAT_HISTOGRAM)) {
        atomic_store(&cursor->block->has_histograms, true);
        return 0;
    }
    if (encoding != CHUNK_XOR || data.len < XOR_HEADER_BYTES) {
        return -EBADMSG;
    }
    size_t count = xor_count(data.ptr, data.len);
    samples_reserve(samples, samples->count + count);
    struct sample *into = samples->items + samples->count;
    if (xor_decode(data.ptr, data.len, into) < 0 || !are_in_order(chunk, into, count)) {
        return -EBADMSG;
    }
    samples->count += count;
    return 0;
}

static void fill_entries(const struct samples *samples, struct note_reader *note, struct entries *entries)
{
    entries_reserve(entries, entries->count + samples->count);
    for (size_t i = 0; i < samples->count; i++) {
        struct entry entry = {.sample = samples->items[i], .count = !value_is_stale(samples->items[i].value)};
        if (note) {
            note_reader_sample(note, &entry);
        }
        entries->items[entries->count++] = entry;
    }
}

/* Of ours: the chunk is as the index and the note have it, to the last sample. */
static int check_chunk(const struct block_chunk *chunk, const struct note_reader *note, const struct entry *items,
                       size_t count)
{
    bool good = count > 0 && items[0].sample.time_ms == chunk->min_time_ms &&
                items[count - 1].sample.time_ms == chunk->max_time_ms && note_reader_is_done(note);
    return good ? 0 : -EBADMSG;
}

/* Times come ascending; `at` goes on from one call to the next. */
static bool is_covered(const struct tombstone *items, size_t count, size_t *at, int64_t time_ms)
{
    while (*at < count && items[*at].max_time_ms < time_ms) {
        (*at)++;
    }
    return *at < count && items[*at].min_time_ms <= time_ms;
}

/* Takes out what tombstones cover, from an entry on. */
static void apply_tombstones(const struct block *block, uint32_t id, struct entries *entries, size_t from)
{
    size_t count, at = 0, kept = from;
    const struct tombstone *items = tombstones_of(&block->tombstones, id, &count);
    if (count == 0) {
        return;
    }
    for (size_t i = from; i < entries->count; i++) {
        if (!is_covered(items, count, &at, entries->items[i].sample.time_ms)) {
            entries->items[kept++] = entries->items[i];
        }
    }
    entries->count = kept;
}

static int read_chunk(struct block_cursor *cursor, const struct block_chunk *chunk, struct note_reader *note,
                      struct entries *entries)
{
    size_t before = entries->count;
    cursor->samples.count = 0;
    int error = decode_chunk(cursor, chunk, &cursor->samples);
    if (error) {
        return error;
    }
    if (note) {
        note_reader_next_chunk(note);
    }
    fill_entries(&cursor->samples, note, entries);
    if (note && check_chunk(chunk, note, entries->items + before, entries->count - before) < 0) {
        entries->count = before;
        return -EBADMSG;
    }
    return 0;
}

int block_cursor_samples(struct block_cursor *cursor, size_t chunk, struct samples *samples)
{
    const struct index_series *entry = cursor->index.entry;
    size_t count, at = 0, from = samples->count, kept = from;
    if (chunk >= entry->chunk_count) {
        return -EBADMSG; /* reading the entry again has failed since */
    }
    int error = decode_chunk(cursor, &entry->chunks[chunk], samples);
    const struct tombstone *items = tombstones_of(&cursor->block->tombstones, cursor->id, &count);
    if (error || count == 0) {
        return error;
    }
    for (size_t i = from; i < samples->count; i++) {
        if (!is_covered(items, count, &at, samples->items[i].time_ms)) {
            samples->items[kept++] = samples->items[i];
        }
    }
    samples->count = kept;
    return 0;
}

/* ---- Aggregates ---- */

/* The place of a window in entries that are ascending; `at` goes on from one call to the next. */
static struct entry *find_entry(struct entries *entries, size_t *at, int64_t time_ms)
{
    while (*at < entries->count && entries->items[*at].sample.time_ms < time_ms) {
        (*at)++;
    }
    bool found = *at < entries->count && entries->items[*at].sample.time_ms == time_ms;
    return found ? &entries->items[*at] : NULL;
}

struct join {
    struct block_cursor *cursor;
    struct entries *entries;
    size_t at;
    int64_t min_time_ms, max_time_ms;
};

static int join_window(struct join *join, const struct entry *window)
{
    struct entry *entry = find_entry(join->entries, &join->at, window->sample.time_ms);
    if (!entry || entry->count != window->count || entry->flags & ENTRY_EXTRA) {
        return -EBADMSG;
    }
    entry->sum = window->sum;
    entry->min = window->min;
    entry->max = window->max;
    entry->flags |= ENTRY_AGGREGATES;
    return 0;
}

static int join_chunk(struct join *join, const struct block_chunk *chunk)
{
    uint8_t encoding;
    struct str data;
    struct aggr_reader reader;
    struct entry window;
    int64_t before = INT64_MIN;
    int result = segments_read(&join->cursor->aggregates_chunks, chunk->ref, &encoding, &data);
    if (result < 0) {
        return result;
    }
    result = encoding == CHUNK_AGGREGATES ? aggr_reader_init(&reader, data) : -EBADMSG;
    result = result < 0 ? result : aggr_read(&reader, &window);
    for (; result > 0; result = aggr_read(&reader, &window)) {
        int64_t time_ms = window.sample.time_ms;
        if (time_ms < chunk->min_time_ms || time_ms > chunk->max_time_ms || time_ms <= before) {
            return -EBADMSG;
        }
        before = time_ms;
        bool is_wanted = time_ms >= join->min_time_ms && time_ms <= join->max_time_ms;
        int error = is_wanted ? join_window(join, &window) : 0;
        if (error) {
            return error;
        }
    }
    return result < 0 || before != chunk->max_time_ms ? -EBADMSG : 0;
}

/* The series' entry in the second index. Both have the same symbols, so that the same labels are the same numbers. */
static int read_aggregates_series(struct block_cursor *cursor, uint32_t id)
{
    const struct index_series *raw = cursor->index.entry;
    if (cursor->aggregates_id != id) {
        cursor->aggregates_id = 0;
        int error = index_series_read(&cursor->aggregates_index, id);
        if (error) {
            return error;
        }
        cursor->aggregates_id = id;
    }
    const struct index_series *entry = cursor->aggregates_index.entry;
    bool same = entry->label_count == raw->label_count &&
                memcmp(entry->labels, raw->labels, raw->label_count * sizeof(raw->labels[0])) == 0;
    return same ? 0 : -EBADMSG;
}

static int join_aggregates(struct join *join, uint32_t id)
{
    int error = read_aggregates_series(join->cursor, id);
    const struct index_series *entry = join->cursor->aggregates_index.entry;
    for (size_t i = 0; i < entry->chunk_count && !error; i++) {
        const struct block_chunk *chunk = &entry->chunks[i];
        bool meets = chunk->max_time_ms >= join->min_time_ms && chunk->min_time_ms <= join->max_time_ms;
        error = meets ? join_chunk(join, chunk) : 0;
    }
    return error;
}

int block_cursor_entries(struct block_cursor *cursor, const struct block_series *series, size_t first, size_t count,
                         bool with_aggregates, struct entries *entries)
{
    ASSERT(first <= series->chunk_count && count <= series->chunk_count - first);
    struct note_reader reader, *note = NULL;
    size_t start = entries->count;
    int error = 0;
    if (cursor->block->raw.meta.ours) {
        note = &reader;
        note_reader_init(note, cursor->note);
        for (size_t i = 0; i < first; i++) {
            note_reader_next_chunk(note);
        }
    }
    for (size_t i = first; i < first + count && !error; i++) {
        error = read_chunk(cursor, &series->chunks[i], note, entries);
    }
    if (!error && with_aggregates && series->aggregates_id != 0 && count > 0) {
        struct join join = {cursor, entries, start, series->chunks[first].min_time_ms,
                            series->chunks[first + count - 1].max_time_ms};
        error = join_aggregates(&join, series->aggregates_id);
    }
    apply_tombstones(cursor->block, series->id, entries, start);
    return error;
}
