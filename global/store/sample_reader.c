/* One series of a select: its chunks of all partitions and blocks, in order of time, merged where they meet.
 *
 * No window is over a border of partitions (store_append), so that what lies before the border of the next chunk is
 * final: it is given out, and only what two chunks may both speak of is held and merged. */
#include "store/select_internal.h"

#include "base/fail.h"

#include <errno.h>
#include <stdlib.h>

/* Where a chunk lies. */
enum source_kind { SOURCE_BLOCK, SOURCE_PIECE, SOURCE_LATE, SOURCE_OPEN };

struct source {
    int64_t start_ms; /* nothing in it is earlier */
    uint32_t age;     /* of two that begin at one time the older first */
    uint16_t kind;
    uint16_t owner; /* part, or copy */
    uint32_t index; /* chunk, or piece */
};

struct sample_reader {
    struct select *select;
    struct strand_copy *copies; /* by partition that has something */
    size_t copy_count;
    struct source *sources;
    size_t source_count, source_capacity, next;
    struct entries held, scratch; /* held from `given` on is still to be given out */
    size_t given;
    int64_t final_ms; /* what is held before it can change no more */
};

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
static void add_blocks(struct sample_reader *reader)
{
    const struct select *select = reader->select;
    int64_t end_ms = select->range.end_ms;
    int64_t from_ms = partition_start_ms(MAX(select->range.start_ms, INT64_MIN + PARTITION_MS));
    int64_t reach_ms = end_ms > INT64_MAX - PARTITION_MS ? INT64_MAX : partition_start_ms(end_ms) + PARTITION_MS;
    for (size_t i = 0; i < select->part_count; i++) {
        const struct select_part *part = &select->parts[i];
        for (size_t j = 0; part->is_current && j < part->series.chunk_count; j++) {
            const struct block_chunk *chunk = &part->series.chunks[j];
            if (chunk->max_time_ms >= from_ms && chunk->min_time_ms < reach_ms) {
                add_source(reader, (struct source){.start_ms = chunk->min_time_ms,
                                                   .kind = SOURCE_BLOCK,
                                                   .owner = (uint16_t)i,
                                                   .index = (uint32_t)j});
            }
        }
    }
}

static void add_copy(struct sample_reader *reader, size_t owner)
{
    const struct strand_copy *copy = &reader->copies[owner];
    struct source source = {.owner = (uint16_t)owner, .kind = SOURCE_PIECE};
    for (size_t i = 0; i < copy->piece_count; i++) {
        source.index = (uint32_t)i;
        source.start_ms = copy->partition->start_ms + copy->pieces[i].start;
        add_source(reader, source);
    }
    source.index = 0;
    if (copy->late) {
        source.kind = SOURCE_LATE;
        source.start_ms = copy->partition->start_ms + copy->late->start;
        add_source(reader, source);
    }
    if (copy->open) {
        source.kind = SOURCE_OPEN;
        source.start_ms = copy->partition->start_ms + copy->open->start;
        add_source(reader, source);
    }
}

static void copy_head(struct sample_reader *reader)
{
    const struct select *select = reader->select;
    struct store *store = select->store;
    const struct select_item *item = select->current;
    head_read_lock(&store->head.data_lock);
    const struct series *series = head_at(&store->head, item->ref);
    bool same = series && head_has_labels(&store->head, series, item->labels);
    reader->copies = mem_array(select->partition_count, sizeof(*reader->copies));
    for (size_t i = 0; i < select->partition_count; i++) {
        /* A series that had something in a partition kept its ref as long as that was in the head. */
        if (same || (i < 63 && item->in & UINT64_C(1) << i)) {
            reader->copy_count += strand_copy(select->partitions[i], item->ref, select->range.start_ms,
                                              select->range.end_ms, &reader->copies[reader->copy_count]);
        }
    }
    pthread_rwlock_unlock(&store->head.data_lock);
}

static int compare_sources(const void *a, const void *b)
{
    const struct source *x = a, *y = b;
    if (x->start_ms != y->start_ms) {
        return x->start_ms < y->start_ms ? -1 : 1;
    }
    return x->age < y->age ? -1 : x->age > y->age;
}

int sample_reader_open(struct select *select, struct sample_reader **ret_reader)
{
    ASSERT(select->labels);
    struct sample_reader *reader = mem_zalloc(sizeof(*reader));
    reader->select = select;
    reader->final_ms = INT64_MIN;
    add_blocks(reader);
    if (select->current) {
        copy_head(reader);
    }
    for (size_t i = 0; i < reader->copy_count; i++) {
        add_copy(reader, i);
    }
    if (reader->source_count > 1) {
        qsort(reader->sources, reader->source_count, sizeof(*reader->sources), compare_sources);
    }
    *ret_reader = reader;
    return 0;
}

void sample_reader_close(struct sample_reader *reader)
{
    if (!reader) {
        return;
    }
    for (size_t i = 0; i < reader->copy_count; i++) {
        strand_copy_done(&reader->copies[i]);
    }
    entries_done(&reader->held);
    entries_done(&reader->scratch);
    mem_free(reader->copies);
    mem_free(reader->sources);
    mem_free(reader);
}

static int decode_source(struct sample_reader *reader, const struct source *source, struct entries *entries)
{
    if (source->kind == SOURCE_BLOCK) {
        struct select_part *part = &reader->select->parts[source->owner];
        int error = block_cursor_entries(part->cursor, &part->series, source->index, 1,
                                         reader->select->range.field != SELECT_LAST, entries);
        if (error < 0) {
            select_damage(reader->select, part->block, error);
        }
        return error;
    }
    const struct strand_copy *copy = &reader->copies[source->owner];
    int error =
        source->kind == SOURCE_PIECE
            ? strand_read_piece(copy, source->index, entries)
            : strand_read_chunk(copy->partition, source->kind == SOURCE_LATE ? copy->late : copy->open, entries);
    if (error < 0) {
        buf_printf(&reader->select->warnings, "incomplete: %s cannot be read: %s\n", copy->partition->spill_path,
                   strerror(-error));
    }
    return error;
}

/* What is deleted takes no part in merging, so that it makes no difference which blocks were written anew already. */
static int read_source(struct sample_reader *reader, const struct source *source, struct entries *entries)
{
    const struct select *select = reader->select;
    if (select->deleted_count == 0) {
        return decode_source(reader, source, entries);
    }
    struct entries decoded = {0};
    int error = decode_source(reader, source, &decoded);
    time_ranges_cut(select->deleted, select->deleted_count, &decoded);
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
    reader->final_ms = more ? partition_start_ms(reader->sources[reader->next].start_ms) : INT64_MAX;
    return error;
}

/* 1 and the next entry of all, 0 at the end, or an error, behind which it goes on. */
static int next_entry(struct sample_reader *reader, const struct entry **ret_entry)
{
    for (;;) {
        if (reader->given < reader->held.count && reader->held.items[reader->given].sample.time_ms < reader->final_ms) {
            *ret_entry = &reader->held.items[reader->given++];
            return 1;
        }
        if (reader->next == reader->source_count) {
            return 0;
        }
        int error = hold_next(reader);
        if (error < 0) {
            return error;
        }
    }
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

static bool is_wanted(const struct select *select, const struct entry *entry)
{
    return entry->sample.time_ms >= select->range.start_ms &&
           (select->range.field == SELECT_LAST || !(entry->flags & ENTRY_EXTRA));
}

int64_t sample_reader_read(struct sample_reader *reader, struct sample *ret_samples, size_t max)
{
    const struct select *select = reader->select;
    size_t count = 0;
    while (count < max) {
        const struct entry *entry;
        int result = next_entry(reader, &entry);
        if (result < 0) {
            return count > 0 ? (int64_t)count : result;
        }
        if (result == 0 || entry->sample.time_ms > select->range.end_ms) {
            break;
        }
        if (is_wanted(select, entry)) {
            ret_samples[count++] = (struct sample){entry->sample.time_ms, field_of(entry, select->range.field)};
        }
    }
    return (int64_t)count;
}
