/* One series of a select: its chunks of all partitions and blocks, in order of time.
 *
 * No window is over a border of partitions (store_append), and no two chunks of one block speak of the same window. So
 * chunks of one block, or of the head where their windows do not meet, are decoded one after the other, samples alone.
 * Where two places have something of the same two hours, or aggregates are asked for, entries are held and merged by
 * the identity of windows: what lies before the border of the next chunk is final and given out. */
#include "store/index_format.h"
#include "store/select_internal.h"

#include "base/fail.h"

#include <errno.h>
#include <stdlib.h>

/* Where a chunk lies. */
struct source {
    int64_t start_ms, end_ms; /* [start, end): of its windows in the head, of its samples in a block */
    uint32_t age;             /* of two that begin at one time the older first */
    uint32_t owner;           /* as of struct select_entry */
    uint32_t index;           /* chunk of the block's series, or strand part */
    bool alone;               /* nothing else speaks of its windows */
};

struct block_reader { /* of one block of the select */
    struct block_cursor *cursor;
    uint32_t id;     /* of the series */
    bool has_series; /* with what `windows` says of it: */
    struct block_series series;
};

struct sample_reader {
    struct select *select;
    enum select_field field;
    struct block_reader *blocks; /* by place in the select */
    struct strand_parts parts;   /* of the head */
    struct time_range *deleted;  /* of the series; room for DELETIONS_MAX, where there is a filter */
    size_t deleted_count;
    struct source *sources;
    size_t source_count, source_capacity, next;
    struct samples samples; /* of a chunk alone; from sample_at on still to be given out */
    size_t sample_at;
    struct entries held, scratch; /* held from `given` on is still to be given out */
    size_t given;
    int64_t final_ms; /* what is held before it can change no more */
};

/* ---- Where the series has something ---- */

/* The border of partitions at or before a time; times at the ends of all times stay in them. */
static int64_t border_before(int64_t time_ms)
{
    return partition_start_ms(MAX(time_ms, INT64_MIN + PARTITION_MS));
}

static int64_t border_behind(int64_t time_ms)
{
    return time_ms > INT64_MAX - PARTITION_MS ? INT64_MAX : partition_start_ms(time_ms) + PARTITION_MS;
}

static void add_source(struct sample_reader *reader, struct source source)
{
    if (reader->source_count == reader->source_capacity) {
        reader->source_capacity = 2 * reader->source_capacity + 8;
        reader->sources = mem_resize(reader->sources, reader->source_capacity, sizeof(*reader->sources));
    }
    source.age = (uint32_t)reader->source_count;
    reader->sources[reader->source_count++] = source;
}

/* Aggregates, counts and the identity of windows look at whole windows: a range reaches as far as its first and last
 * may, from one border of partitions to another. */
static void add_block(struct sample_reader *reader, const struct select_entry *entry)
{
    struct select *select = reader->select;
    struct block_reader *block = &reader->blocks[entry->owner - 1];
    const struct index_series *series;
    if (!block->cursor) {
        block->cursor = block_cursor_new(select->blocks[entry->owner - 1]);
    }
    int error = block_cursor_entry(block->cursor, entry->ref, &series);
    if (error < 0) {
        select_damage(select, select->blocks[entry->owner - 1], error);
        return;
    }
    block->id = entry->ref;
    block->has_series = false;
    int64_t from_ms = border_before(select->range.start_ms), until_ms = border_behind(select->range.end_ms);
    for (size_t i = 0; i < series->chunk_count; i++) {
        const struct block_chunk *chunk = &series->chunks[i];
        if (chunk->max_time_ms >= from_ms && chunk->min_time_ms < until_ms) {
            add_source(reader, (struct source){.start_ms = chunk->min_time_ms,
                                               .end_ms = chunk->max_time_ms + (chunk->max_time_ms < INT64_MAX),
                                               .owner = entry->owner,
                                               .index = (uint32_t)i});
        }
    }
}

/* Under the data lock: the series that was found still lives at its ref. */
static bool lives(const struct sample_reader *reader, const struct select_entry *entry, size_t index)
{
    const struct select *select = reader->select;
    if (store_generation(select->store) == select->generation) {
        return true;
    }
    const struct head *head = &select->store->head;
    const struct series *series = head_at(head, entry->ref);
    CLEANUP(labels_unrefp) struct labels *labels = select_labels(select, index);
    return series && head_has_labels(head, series, labels);
}

static void add_head(struct sample_reader *reader, const struct select_entry *entry, size_t index)
{
    const struct select *select = reader->select;
    struct head *head = &select->store->head;
    head_read_lock(&head->data_lock);
    bool same = lives(reader, entry, index);
    for (size_t i = 0; i < select->partition_count; i++) {
        /* A series that had something in a partition kept its ref as long as that was in the head. */
        if (same || (i < 63 && entry->in & UINT64_C(1) << i)) {
            strand_parts_add(&reader->parts, select->partitions[i], entry->ref, select->range.start_ms,
                             select->range.end_ms);
        }
    }
    pthread_rwlock_unlock(&head->data_lock);
    for (size_t i = 0; i < reader->parts.count; i++) {
        const struct strand_part *part = &reader->parts.items[i];
        add_source(reader, (struct source){.start_ms = part->start_ms, .end_ms = part->end_ms, .index = (uint32_t)i});
    }
}

static int compare_sources(const void *a, const void *b)
{
    const struct source *x = a, *y = b;
    if (x->start_ms != y->start_ms) {
        return x->start_ms < y->start_ms ? -1 : 1;
    }
    return x->age < y->age ? -1 : x->age > y->age;
}

static void sort_sources(struct sample_reader *reader)
{
    for (size_t i = 1; i < reader->source_count; i++) {
        if (compare_sources(&reader->sources[i - 1], &reader->sources[i]) > 0) {
            qsort(reader->sources, reader->source_count, sizeof(*reader->sources), compare_sources);
            return;
        }
    }
}

/* Finds out which sources are alone: in each run of those that may speak of the same two hours all or none are. */
static void mark_alone(struct sample_reader *reader)
{
    if (reader->field != SELECT_LAST || reader->deleted_count > 0) {
        return;
    }
    struct source *sources = reader->sources;
    for (size_t from = 0, end; from < reader->source_count; from = end) {
        int64_t border_ms = border_behind(sources[from].end_ms - 1), reach_ms = sources[from].end_ms;
        bool alone = true;
        for (end = from + 1; end < reader->source_count && border_before(sources[end].start_ms) < border_ms; end++) {
            alone &= sources[end].owner == sources[from].owner && sources[end].start_ms >= reach_ms;
            border_ms = MAX(border_ms, border_behind(sources[end].end_ms - 1));
            reach_ms = MAX(reach_ms, sources[end].end_ms);
        }
        for (size_t i = from; i < end; i++) {
            sources[i].alone = alone;
        }
    }
}

static void find_deletions(struct sample_reader *reader, size_t index)
{
    struct select *select = reader->select;
    if (select->filter) {
        CLEANUP(labels_unrefp) struct labels *labels = select_labels(select, index);
        reader->deleted_count = deletion_filter_ranges(select->filter, labels, reader->deleted);
    }
}

struct sample_reader *sample_reader_new(struct select *select, enum select_field field)
{
    struct sample_reader *reader = mem_zalloc(sizeof(*reader));
    reader->select = select;
    reader->field = field;
    reader->blocks = mem_array(select->block_count, sizeof(*reader->blocks));
    reader->deleted = select->filter ? mem_array(DELETIONS_MAX, sizeof(*reader->deleted)) : NULL;
    return reader;
}

void sample_reader_free(struct sample_reader *reader)
{
    if (!reader) {
        return;
    }
    for (size_t i = 0; i < reader->select->block_count; i++) {
        block_cursor_free(reader->blocks[i].cursor);
    }
    strand_parts_done(&reader->parts);
    samples_done(&reader->samples);
    entries_done(&reader->held);
    entries_done(&reader->scratch);
    mem_free(reader->blocks);
    mem_free(reader->deleted);
    mem_free(reader->sources);
    mem_free(reader);
}

/* What cannot be read is told once. */
static int tell(struct sample_reader *reader, const struct source *source, int error)
{
    struct select *select = reader->select;
    if (error < 0 && source->owner != SELECT_HEAD) {
        select_damage(select, select->blocks[source->owner - 1], error);
    } else if (error < 0) {
        select_warn(select, reader->parts.items[source->index].partition->spill_path, error);
    }
    return error;
}

/* ---- Chunks alone ---- */

static int decode_samples(struct sample_reader *reader, const struct source *source)
{
    const struct select_range *range = &reader->select->range;
    struct samples *samples = &reader->samples;
    samples->count = reader->sample_at = 0;
    int error = source->owner == SELECT_HEAD
                    ? strand_read_samples(&reader->parts.items[source->index], samples)
                    : block_cursor_samples(reader->blocks[source->owner - 1].cursor, source->index, samples);
    while (samples->count > 0 && samples->items[samples->count - 1].time_ms > range->end_ms) {
        samples->count--;
    }
    while (reader->sample_at < samples->count && samples->items[reader->sample_at].time_ms < range->start_ms) {
        reader->sample_at++;
    }
    return tell(reader, source, error);
}

/* A chunk of the head says its last sample without being decoded. */
static bool take_last_of_chunk(struct sample_reader *reader, const struct source *source)
{
    const struct select_range *range = &reader->select->range;
    const struct strand_part *part = source->owner == SELECT_HEAD ? &reader->parts.items[source->index] : NULL;
    if (!part || !part->chunk) {
        return false;
    }
    struct sample last = {part->partition->start_ms + part->chunk->time, double_from_bits(part->chunk->value_bits)};
    if (last.time_ms < range->start_ms || last.time_ms > range->end_ms) {
        return false;
    }
    samples_reserve(&reader->samples, 1);
    reader->samples.items[0] = last;
    reader->samples.count = 1;
    reader->sample_at = 0;
    return true;
}

/* Goes from the newest source to older ones, as far as all are alone, until one has a sample. What cannot be read is
 * told, and passed over. */
static void seek_newest(struct sample_reader *reader)
{
    const struct select_range *range = &reader->select->range;
    for (size_t i = 0; i < reader->source_count; i++) {
        if (!reader->sources[i].alone) {
            return;
        }
    }
    for (size_t i = reader->source_count; i-- > 0 && reader->sample_at == reader->samples.count;) {
        const struct source *source = &reader->sources[i];
        bool meets = source->end_ms > range->start_ms && source->start_ms <= range->end_ms;
        if (meets && !take_last_of_chunk(reader, source)) {
            (void)decode_samples(reader, source);
        }
    }
    if (reader->sample_at < reader->samples.count) {
        reader->sample_at = reader->samples.count - 1;
    }
    reader->next = reader->source_count;
}

void sample_reader_series(struct sample_reader *reader, size_t index)
{
    size_t count;
    const struct select_entry *entries = select_entries_of(reader->select, index, &count);
    strand_parts_clear(&reader->parts);
    reader->source_count = reader->next = 0;
    reader->samples.count = reader->sample_at = 0;
    reader->held.count = reader->given = 0;
    reader->final_ms = INT64_MIN;
    find_deletions(reader, index);
    for (size_t i = 0; i < count; i++) {
        if (entries[i].owner == SELECT_HEAD) {
            add_head(reader, &entries[i], index);
        } else {
            add_block(reader, &entries[i]);
        }
    }
    sort_sources(reader);
    mark_alone(reader);
    if (reader->select->range.newest_only) {
        seek_newest(reader);
    }
}

void sample_reader_current(struct sample_reader *reader)
{
    ASSERT(reader->select->cursor.next > 0);
    sample_reader_series(reader, reader->select->cursor.next - 1);
}

/* ---- Merged ---- */

static int decode_block(struct sample_reader *reader, const struct source *source, struct entries *entries)
{
    struct block_reader *block = &reader->blocks[source->owner - 1];
    if (!block->has_series) {
        int error = block_cursor_series(block->cursor, block->id, &block->series);
        if (error) {
            return error;
        }
        block->has_series = true;
    }
    return block_cursor_entries(block->cursor, &block->series, source->index, 1, reader->field != SELECT_LAST, entries);
}

static int decode_entries(struct sample_reader *reader, const struct source *source, struct entries *entries)
{
    return tell(reader, source,
                source->owner == SELECT_HEAD ? strand_read(&reader->parts.items[source->index], entries)
                                             : decode_block(reader, source, entries));
}

/* What is deleted takes no part in merging, so that it makes no difference which blocks were written anew already. */
static int read_source(struct sample_reader *reader, const struct source *source, struct entries *entries)
{
    if (reader->deleted_count == 0) {
        return decode_entries(reader, source, entries);
    }
    struct entries decoded = {0};
    int error = decode_entries(reader, source, &decoded);
    time_ranges_cut(reader->deleted, reader->deleted_count, &decoded);
    entries_add_all(entries, decoded.items, decoded.count);
    entries_done(&decoded);
    return error;
}

/* Decodes behind what is held; where that is not all later, merges. */
static int hold_next(struct sample_reader *reader)
{
    struct entries *held = &reader->held;
    if (reader->given == held->count) {
        reader->given = held->count = 0;
    }
    size_t before = held->count;
    int error = read_source(reader, &reader->sources[reader->next++], held);
    bool behind = before == 0 || held->count == before ||
                  entry_window_start_ms(&held->items[before]) > held->items[before - 1].sample.time_ms;
    if (!behind) {
        reader->scratch.count = 0;
        entries_add_all(&reader->scratch, held->items + before, held->count - before);
        held->count = before;
        memmove(held->items, held->items + reader->given, (before - reader->given) * sizeof(*held->items));
        held->count -= reader->given;
        reader->given = 0;
        entries_merge(held, reader->scratch.items, reader->scratch.count);
    }
    bool more = reader->next < reader->source_count;
    reader->final_ms = more ? border_before(reader->sources[reader->next].start_ms) : INT64_MAX;
    return error;
}

static double field_of(const struct entry *entry, enum select_field field)
{
    bool kept = entry->flags & ENTRY_AGGREGATES;
    if (field == SELECT_LAST || entry->count == 0) { /* a window without values is a stale marker */
        return entry->sample.value;
    }
    switch (field) {
    case SELECT_COUNT:
        return entry->count;
    case SELECT_SUM:
        return kept ? entry->sum : entry->sample.value * entry->count;
    case SELECT_MIN:
        return kept ? entry->min : entry->sample.value;
    default:
        return kept ? entry->max : entry->sample.value;
    }
}

static bool is_wanted(const struct sample_reader *reader, const struct entry *entry)
{
    const struct select_range *range = &reader->select->range;
    return entry->sample.time_ms >= range->start_ms && entry->sample.time_ms <= range->end_ms &&
           (reader->field == SELECT_LAST || !(entry->flags & ENTRY_EXTRA));
}

/* ---- Reading ---- */

static size_t give_held(struct sample_reader *reader, struct sample *ret_samples, size_t max)
{
    const struct entries *held = &reader->held;
    size_t count = 0;
    for (; count < max && reader->given < held->count; reader->given++) {
        const struct entry *entry = &held->items[reader->given];
        if (entry->sample.time_ms >= reader->final_ms) {
            break;
        }
        if (is_wanted(reader, entry)) {
            ret_samples[count++] = (struct sample){entry->sample.time_ms, field_of(entry, reader->field)};
        }
    }
    return count;
}

static size_t give_samples(struct sample_reader *reader, struct sample *ret_samples, size_t max)
{
    size_t count = MIN(max, reader->samples.count - reader->sample_at);
    if (count > 0) {
        memcpy(ret_samples, reader->samples.items + reader->sample_at, count * sizeof(*ret_samples));
        reader->sample_at += count;
    }
    return count;
}

/* Decodes the next source. Of those that are alone only what meets the range; what is behind the range is not. */
static int take_source(struct sample_reader *reader)
{
    const struct select_range *range = &reader->select->range;
    const struct source *source = &reader->sources[reader->next];
    if (!source->alone) {
        return hold_next(reader);
    }
    reader->next++;
    bool meets = source->end_ms > range->start_ms && source->start_ms <= range->end_ms;
    return meets ? decode_samples(reader, source) : 0;
}

int64_t sample_reader_read(struct sample_reader *reader, struct sample *ret_samples, size_t max)
{
    size_t count = 0;
    for (;;) {
        /* What is held is all given before a source alone follows it: that begins behind the border. */
        count += give_held(reader, ret_samples + count, max - count);
        count += give_samples(reader, ret_samples + count, max - count);
        if (count == max || reader->next == reader->source_count) {
            return (int64_t)count;
        }
        int error = take_source(reader);
        if (error < 0 && count == 0) {
            return error;
        }
        if (error < 0) {
            return (int64_t)count;
        }
    }
}
