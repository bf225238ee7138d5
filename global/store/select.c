#include "store/select.h"

#include "base/arena.h"
#include "base/fail.h"
#include "store/head.h"

#include <errno.h>
#include <stdlib.h>

#define SLICE_SERIES 1024 /* looked at under one hold of the data lock, and between two questions whether to go on */

/* A series that matched. The ref may have been given away since; then other labels live there. */
struct select_item {
    struct labels *labels;
    series_ref ref;
    uint8_t kind;
};

struct select {
    struct head *head;
    struct select_range range;
    struct select_item *items;
    size_t count;
    size_t next;
};

static bool is_cancelled(const struct select_range *range)
{
    return range && range->cancelled && range->cancelled(range->cancelled_arg);
}

static void read_lock(pthread_rwlock_t *lock)
{
    int result = pthread_rwlock_rdlock(lock);
    ASSERT(result == 0);
}

static struct postings_query query_of(const struct matcher *matchers, size_t count, const struct select_range *range)
{
    return (struct postings_query){.matchers = matchers,
                                   .count = count,
                                   .cancelled = range ? range->cancelled : NULL,
                                   .cancelled_arg = range ? range->cancelled_arg : NULL};
}

/* True when the series that lives at ref has a chunk in the range. Under the data lock. labels NULL: whoever it is. */
static bool has_samples(const struct head *head, series_ref ref, const struct labels *labels,
                        const struct select_range *range)
{
    const struct series *series = head_at(head, ref);
    if (!series || (labels && series->labels != labels)) {
        return false;
    }
    size_t at = series_chunk_at(series, range->start_ms);
    return at < series->chunk_count && series->chunks[at]->min_time_ms <= range->end_ms;
}

static int copy_matches(struct select *select, const struct postings_query *query)
{
    struct head *head = select->head;
    CLEANUP(bitmap_freep) roaring_bitmap_t *refs = NULL;
    read_lock(&head->index_lock);
    int result = postings_select(&head->postings, query, &refs);
    if (result == 0) {
        select->items = mem_array(roaring_bitmap_get_cardinality(refs), sizeof(*select->items));
        roaring_uint32_iterator_t at;
        for (roaring_init_iterator(refs, &at); at.has_value; roaring_advance_uint32_iterator(&at)) {
            struct series *series = head_at(head, at.current_value);
            ASSERT(series);
            select->items[select->count++] =
                (struct select_item){.labels = labels_ref(series->labels), .ref = series->ref, .kind = series->kind};
        }
    }
    pthread_rwlock_unlock(&head->index_lock);
    return result;
}

/* Keeps the series that may have samples in the range. */
static int filter_by_time(struct select *select)
{
    struct head *head = select->head;
    size_t kept = 0;
    for (size_t from = 0; from < select->count; from += SLICE_SERIES) {
        size_t end = MIN(from + SLICE_SERIES, select->count);
        bool cancelled = is_cancelled(&select->range);
        read_lock(&head->data_lock);
        for (size_t i = from; i < end && !cancelled; i++) {
            struct select_item *item = &select->items[i];
            if (has_samples(head, item->ref, item->labels, &select->range)) {
                struct select_item swap = select->items[kept]; /* whoever does not stay keeps its reference, behind */
                select->items[kept++] = *item;
                *item = swap;
            }
        }
        pthread_rwlock_unlock(&head->data_lock);
        if (cancelled) {
            return -ECANCELED;
        }
    }
    for (size_t i = kept; i < select->count; i++) {
        labels_unref(select->items[i].labels);
    }
    select->count = kept;
    return 0;
}

static int compare_items(const void *a, const void *b)
{
    return labels_compare(((const struct select_item *)a)->labels, ((const struct select_item *)b)->labels);
}

int select_open(struct store *store, const struct matcher *matchers, size_t count, const struct select_range *range,
                struct select **ret_select)
{
    size_t empty = 0;
    while (empty < count && matcher_matches_empty(&matchers[empty])) {
        empty++;
    }
    if (empty == count) {
        return -EINVAL;
    }
    CLEANUP(select_freep) struct select *select = mem_zalloc(sizeof(*select));
    select->head = store_head(store);
    select->range = *range;
    struct postings_query query = query_of(matchers, count, range);
    int result = copy_matches(select, &query);
    if (result == 0) {
        result = filter_by_time(select);
    }
    if (result < 0) {
        return result;
    }
    if (select->count > 0) {
        qsort(select->items, select->count, sizeof(*select->items), compare_items);
    }
    *ret_select = STEAL(select);
    return 0;
}

void select_free(struct select *select)
{
    if (!select) {
        return;
    }
    for (size_t i = 0; i < select->count; i++) {
        labels_unref(select->items[i].labels);
    }
    mem_free(select->items);
    mem_free(select);
}

size_t select_count(const struct select *select)
{
    return select->count;
}

int select_next(struct select *select, struct select_series *ret_series)
{
    if (select->next == select->count) {
        return 0;
    }
    if (select->next % SLICE_SERIES == 0 && is_cancelled(&select->range)) {
        return -ECANCELED;
    }
    struct select_item *item = &select->items[select->next++];
    *ret_series = (struct select_series){.labels = item->labels, .kind = item->kind, .handle = item};
    return 1;
}

struct sample_reader {
    struct select_range range;
    struct chunk_reader chunk;
    size_t next;  /* of chunks; the one before is being read */
    size_t count; /* chunks, a reference of each */
    struct chunk *chunks[];
};

int sample_reader_open(struct select *select, const struct select_series *series, struct sample_reader **ret_reader)
{
    const struct select_item *item = series->handle;
    struct head *head = select->head;
    read_lock(&head->data_lock);
    const struct series *found = head_at(head, item->ref);
    size_t first = 0, after = 0;
    if (found && found->labels == item->labels) {
        after = first = series_chunk_at(found, select->range.start_ms);
        while (after < found->chunk_count && found->chunks[after]->min_time_ms <= select->range.end_ms) {
            after++;
        }
    }
    struct sample_reader *reader = mem_alloc(sizeof(*reader) + (after - first) * sizeof(struct chunk *));
    *reader = (struct sample_reader){.range = select->range, .count = after - first};
    for (size_t i = first; i < after; i++) {
        reader->chunks[i - first] = chunk_ref(found->chunks[i]);
    }
    pthread_rwlock_unlock(&head->data_lock);
    *ret_reader = reader;
    return 0;
}

void sample_reader_close(struct sample_reader *reader)
{
    if (!reader) {
        return;
    }
    for (size_t i = 0; i < reader->count; i++) {
        chunk_unref(reader->chunks[i]);
    }
    mem_free(reader);
}

/* 1 and the next entry of all chunks, 0 at the end, or an error. */
static int next_entry(struct sample_reader *reader, struct chunk_entry *ret_entry)
{
    for (;;) {
        int result = reader->next > 0 ? chunk_read(&reader->chunk, ret_entry) : 0;
        if (result != 0) {
            return result;
        }
        if (reader->next == reader->count) {
            return 0;
        }
        chunk_reader_init(&reader->chunk, reader->chunks[reader->next++]);
    }
}

static double field_of(const struct chunk_entry *entry, enum select_field field)
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

int64_t sample_reader_read(struct sample_reader *reader, struct sample *ret_samples, size_t max)
{
    size_t count = 0;
    while (count < max) {
        struct chunk_entry entry;
        int result = next_entry(reader, &entry);
        if (result < 0) {
            return result;
        }
        if (result == 0 || entry.sample.time_ms > reader->range.end_ms) {
            break;
        }
        bool wanted = reader->range.field == SELECT_LAST || !(entry.flags & ENTRY_EXTRA);
        if (wanted && entry.sample.time_ms >= reader->range.start_ms) {
            ret_samples[count++] = (struct sample){entry.sample.time_ms, field_of(&entry, reader->range.field)};
        }
    }
    return (int64_t)count;
}

/* Strings as the index says them, in memory of their own. */
struct collector {
    struct arena arena;
    struct str *items;
    size_t count, capacity;
};

static void collect(void *arg, struct str text)
{
    struct collector *collector = arg;
    if (collector->count == collector->capacity) {
        collector->capacity = collector->capacity * 2 + 16;
        collector->items = mem_resize(collector->items, collector->capacity, sizeof(struct str));
    }
    collector->items[collector->count++] = arena_str(&collector->arena, text);
}

static int compare_strings(const void *a, const void *b)
{
    return str_compare(*(const struct str *)a, *(const struct str *)b);
}

/* Takes the series without samples in the range out. */
static int filter_refs(struct head *head, const struct select_range *range, roaring_bitmap_t *refs)
{
    size_t count = roaring_bitmap_get_cardinality(refs);
    CLEANUP_FREE series_ref *list = mem_array(count, sizeof(*list));
    roaring_bitmap_to_uint32_array(refs, list);
    for (size_t from = 0; from < count; from += SLICE_SERIES) {
        size_t end = MIN(from + SLICE_SERIES, count);
        if (is_cancelled(range)) {
            return -ECANCELED;
        }
        read_lock(&head->data_lock);
        for (size_t i = from; i < end; i++) {
            if (!has_samples(head, list[i], NULL, range)) {
                roaring_bitmap_remove(refs, list[i]);
            }
        }
        pthread_rwlock_unlock(&head->data_lock);
    }
    return 0;
}

/* name NULL: names of labels, else the values of that one. */
static int collect_strings(struct head *head, const struct str *name, const struct postings_query *query,
                           const struct select_range *range, struct collector *collector)
{
    CLEANUP(bitmap_freep) roaring_bitmap_t *refs = NULL;
    read_lock(&head->index_lock);
    int result = postings_select(&head->postings, query, &refs);
    pthread_rwlock_unlock(&head->index_lock);
    if (result == 0 && range) {
        result = filter_refs(head, range, refs);
    }
    if (result < 0) {
        return result;
    }
    read_lock(&head->index_lock);
    if (name) {
        postings_values(&head->postings, *name, refs, collect, collector);
    } else {
        postings_names(&head->postings, refs, collect, collector);
    }
    pthread_rwlock_unlock(&head->index_lock);
    return 0;
}

static void collector_free(struct collector *collector)
{
    mem_free(collector->items);
    arena_done(&collector->arena);
    mem_free(collector);
}

static int collect_sorted(struct store *store, const struct str *name, const struct postings_query *query,
                          const struct select_range *range, struct collector **ret_collector)
{
    struct collector *collector = mem_zalloc(sizeof(*collector));
    arena_init(&collector->arena, 0); /* at most what the index itself holds */
    int result = collect_strings(store_head(store), name, query, range, collector);
    if (result < 0) {
        collector_free(collector);
        return result;
    }
    if (collector->count > 0) {
        qsort(collector->items, collector->count, sizeof(struct str), compare_strings);
    }
    *ret_collector = collector;
    return 0;
}

static struct select_strings strings_of(struct collector *collector, size_t max)
{
    return (struct select_strings){.items = collector->items,
                                   .count = MIN(collector->count, max),
                                   .cut = collector->count > max,
                                   .memory = collector};
}

int select_label_names(struct store *store, const struct matcher *matchers, size_t count,
                       const struct select_range *range, size_t max, struct select_strings *ret_names)
{
    struct postings_query query = query_of(matchers, count, range);
    struct collector *collector = NULL;
    int result = collect_sorted(store, NULL, &query, range, &collector);
    if (result == 0) {
        *ret_names = strings_of(collector, max);
    }
    return result;
}

int select_label_values(struct store *store, struct str name, const struct matcher *matchers, size_t count,
                        const struct select_range *range, size_t max, struct select_strings *ret_values)
{
    struct postings_query query = query_of(matchers, count, range);
    struct collector *collector = NULL;
    int result = collect_sorted(store, &name, &query, range, &collector);
    if (result == 0) {
        *ret_values = strings_of(collector, max);
    }
    return result;
}

void select_strings_free(struct select_strings *strings)
{
    if (strings->memory) {
        collector_free(strings->memory);
    }
    *strings = (struct select_strings){0};
}
