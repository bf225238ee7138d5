#include "store/select_internal.h"

#include "base/fail.h"

#include <errno.h>
#include <stdlib.h>

#define WARNINGS_BYTES_MAX (64 * KIB)

bool select_is_cancelled(const struct select_range *range)
{
    return range && range->cancelled && range->cancelled(range->cancelled_arg);
}

struct postings_query select_query(const struct matcher *matchers, size_t count, const struct select_range *range)
{
    return (struct postings_query){.matchers = matchers,
                                   .count = count,
                                   .cancelled = range ? range->cancelled : NULL,
                                   .cancelled_arg = range ? range->cancelled_arg : NULL};
}

void select_damage(struct select *select, struct block *block, int error)
{
    const char *name = block_meta_of(block)->ulid.text;
    blocks_met_error(select->store->blocks, block, error);
    buf_printf(&select->warnings, "incomplete: block %s cannot be read: %s\n", name, strerror(-error));
}

/* ---- The head ---- */

static void hold_partitions(struct select *select)
{
    struct store *store = select->store;
    head_read_lock(&store->head.data_lock);
    select->partitions = mem_array(store->partition_count, sizeof(struct partition *));
    for (size_t i = 0; i < store->partition_count; i++) {
        if (partition_meets(store->partitions[i], select->range.start_ms, select->range.end_ms)) {
            select->partitions[select->partition_count++] = partition_ref(store->partitions[i]);
        }
    }
    pthread_rwlock_unlock(&store->head.data_lock);
}

/* In which of the partitions the series has something in the range. */
static uint64_t strands_of(const struct select *select, series_ref ref)
{
    uint64_t in = 0;
    for (size_t i = 0; i < select->partition_count; i++) {
        if (strand_meets(select->partitions[i], ref, select->range.start_ms, select->range.end_ms)) {
            in |= UINT64_C(1) << MIN(i, 63);
        }
    }
    return in;
}

/* One slice of refs: of those that have something in the range the labels. */
static void copy_slice(struct select *select, const uint32_t *refs, size_t count)
{
    struct head *head = &select->store->head;
    uint64_t in[SELECT_SLICE];
    ASSERT(count <= SELECT_SLICE);
    head_read_lock(&head->data_lock);
    for (size_t i = 0; i < count; i++) {
        in[i] = strands_of(select, refs[i]);
    }
    head_read_lock(&head->index_lock); /* under both, as series go under either */
    for (size_t i = 0; i < count; i++) {
        const struct series *series = in[i] ? head_at(head, refs[i]) : NULL;
        if (series) {
            select->items[select->count++] = (struct select_item){
                .labels = head_labels(head, series), .in = in[i], .ref = refs[i], .kind = series->kind};
        }
    }
    pthread_rwlock_unlock(&head->index_lock);
    pthread_rwlock_unlock(&head->data_lock);
}

static int compare_items(const void *a, const void *b)
{
    return labels_compare(((const struct select_item *)a)->labels, ((const struct select_item *)b)->labels);
}

/* Series went and others took their refs between the search and the copy of labels: those that do not match go, and of
 * one that came again one is enough. */
static void drop_strangers(struct select *select, const struct matcher *matchers, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < select->count; i++) {
        struct select_item item = select->items[i];
        bool twice = kept > 0 && labels_equal(select->items[kept - 1].labels, item.labels);
        if (twice || !matcher_matches_labels(matchers, count, item.labels)) {
            labels_unref(item.labels);
        } else {
            select->items[kept++] = item;
        }
    }
    select->count = kept;
}

static int open_head(struct select *select, const struct matcher *matchers, size_t count)
{
    struct head *head = &select->store->head;
    struct postings_query query = select_query(matchers, count, &select->range);
    CLEANUP(bitmap_freep) roaring_bitmap_t *found = NULL;
    hold_partitions(select);
    head_read_lock(&head->index_lock);
    uint64_t generation = store_generation(select->store);
    int result = postings_select(&head->postings, &query, &found);
    pthread_rwlock_unlock(&head->index_lock);
    if (result < 0) {
        return result;
    }
    size_t ref_count = roaring_bitmap_get_cardinality(found);
    CLEANUP_FREE uint32_t *refs = mem_array(ref_count, sizeof(*refs));
    roaring_bitmap_to_uint32_array(found, refs);
    select->items = mem_array(ref_count, sizeof(*select->items));
    for (size_t from = 0; from < ref_count; from += SELECT_SLICE) {
        if (select_is_cancelled(&select->range)) {
            return -ECANCELED;
        }
        copy_slice(select, refs + from, MIN(SELECT_SLICE, ref_count - from));
    }
    if (select->count > 0) {
        qsort(select->items, select->count, sizeof(*select->items), compare_items);
    }
    if (generation != store_generation(select->store)) {
        drop_strangers(select, matchers, count);
    }
    return 0;
}

/* ---- Blocks ---- */

/* Moves on to the part's next series with a chunk in the range. An error ends the part. */
static void part_advance(struct select *select, struct select_part *part)
{
    part->has = false;
    while (part->next < part->count) {
        int error = block_cursor_series(part->cursor, part->ids[part->next++], &part->series);
        if (error < 0) {
            select_damage(select, part->block, error);
            part->next = part->count;
            return;
        }
        for (size_t i = 0; i < part->series.chunk_count; i++) {
            const struct block_chunk *chunk = &part->series.chunks[i];
            part->has |= chunk->min_time_ms <= select->range.end_ms && chunk->max_time_ms >= select->range.start_ms;
        }
        if (part->has) {
            return;
        }
    }
}

static int open_part(struct select *select, struct block *block, const struct postings_query *query)
{
    CLEANUP(bitmap_freep) roaring_bitmap_t *found = NULL;
    int error = block_select(block, query, &found);
    if (error == -ECANCELED) {
        return error;
    }
    if (error < 0) {
        select_damage(select, block, error);
        return 0;
    }
    if (roaring_bitmap_is_empty(found)) {
        return 0;
    }
    struct select_part *part = &select->parts[select->part_count++];
    *part = (struct select_part){.block = block_ref(block), .count = roaring_bitmap_get_cardinality(found)};
    part->ids = mem_array(part->count, sizeof(*part->ids));
    roaring_bitmap_to_uint32_array(found, part->ids);
    part->cursor = block_cursor_new(block);
    part_advance(select, part);
    return 0;
}

static int open_blocks(struct select *select, const struct matcher *matchers, size_t count)
{
    struct postings_query query = select_query(matchers, count, &select->range);
    struct blocks_list list = {0};
    blocks_warnings(select->store->blocks, select->range.start_ms, select->range.end_ms, &select->warnings);
    blocks_in_range(select->store->blocks, select->range.start_ms, select->range.end_ms, &list);
    select->parts = mem_array(list.count, sizeof(*select->parts));
    int result = 0;
    for (size_t i = 0; i < list.count && result == 0; i++) {
        result = open_part(select, list.items[i], &query);
    }
    blocks_list_free(&list);
    return result;
}

/* ---- Both ---- */

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
    select->store = store;
    select->range = *range;
    buf_init(&select->warnings, WARNINGS_BYTES_MAX);
    /* The filter and the head before the blocks: what is cut or rewritten meanwhile is seen twice rather than never. */
    if (store->deletions) {
        select->filter = deletions_filter(store->deletions);
        if (!deletion_filter_meets(select->filter, 0, range->start_ms, range->end_ms)) {
            deletion_filter_unref(STEAL(select->filter));
        }
        select->deleted = select->filter ? mem_array(DELETIONS_MAX, sizeof(*select->deleted)) : NULL;
    }
    int result = open_head(select, matchers, count);
    if (result == 0 && store->blocks) {
        result = open_blocks(select, matchers, count);
    }
    if (result < 0) {
        return result;
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
    for (size_t i = 0; i < select->partition_count; i++) {
        partition_unref(select->partitions[i]);
    }
    mem_free(select->partitions);
    for (size_t i = 0; i < select->part_count; i++) {
        block_cursor_free(select->parts[i].cursor);
        block_unref(select->parts[i].block);
        mem_free(select->parts[i].ids);
    }
    labels_unref(select->labels);
    deletion_filter_unref(select->filter);
    buf_done(&select->warnings);
    mem_free(select->deleted);
    mem_free(select->parts);
    mem_free(select->items);
    mem_free(select);
}

void select_warnings(const struct select *select, struct buf *out)
{
    buf_append(out, select->warnings.data, select->warnings.len);
}

/* The first labels of what is left; NULL: nothing is. */
static struct labels *smallest(const struct select *select)
{
    struct labels *best = select->next < select->count ? select->items[select->next].labels : NULL;
    for (size_t i = 0; i < select->part_count; i++) {
        const struct select_part *part = &select->parts[i];
        if (part->has && (!best || labels_compare(part->series.labels, best) < 0)) {
            best = part->series.labels;
        }
    }
    return best;
}

/* Leaves the current series behind. */
static void leave_current(struct select *select)
{
    for (size_t i = 0; i < select->part_count; i++) {
        struct select_part *part = &select->parts[i];
        if (part->is_current) {
            part->is_current = false;
            part_advance(select, part);
        }
    }
    select->next += select->current != NULL;
    select->current = NULL;
    labels_unref(STEAL(select->labels));
}

/* False: all that the range has of it is deleted. */
static bool take_deletions(struct select *select)
{
    if (!select->filter) {
        return true;
    }
    select->deleted_count = deletion_filter_ranges(select->filter, select->labels, select->deleted);
    for (size_t i = 0; i < select->deleted_count; i++) {
        if (select->deleted[i].start_ms <= select->range.start_ms &&
            select->deleted[i].end_ms >= select->range.end_ms) {
            return false;
        }
    }
    return true;
}

static bool take_next(struct select *select, struct select_series *ret_series)
{
    leave_current(select);
    struct labels *labels = smallest(select);
    if (!labels) {
        return false;
    }
    select->labels = labels_ref(labels);
    if (select->next < select->count && labels_equal(select->items[select->next].labels, labels)) {
        select->current = &select->items[select->next];
        ret_series->kind = select->current->kind;
    }
    for (size_t i = 0; i < select->part_count; i++) {
        struct select_part *part = &select->parts[i];
        part->is_current = part->has && labels_equal(part->series.labels, labels);
        ret_series->kind = part->is_current && !select->current ? part->series.kind : ret_series->kind;
    }
    ret_series->labels = select->labels;
    return true;
}

int select_next(struct select *select, struct select_series *ret_series)
{
    struct select_series series = {0};
    do {
        if (select_is_cancelled(&select->range)) {
            return -ECANCELED;
        }
        if (!take_next(select, &series)) {
            return 0;
        }
    } while (!take_deletions(select));
    *ret_series = series;
    return 1;
}
