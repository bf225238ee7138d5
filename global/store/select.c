#include "store/select_internal.h"

#include "base/fail.h"

#include <errno.h>
#include <stdio.h>
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

void select_warn(struct select *select, const char *what, int error)
{
    pthread_mutex_lock(&select->lock);
    buf_printf(&select->warnings, "incomplete: %s cannot be read: %s\n", what, strerror(-error));
    pthread_mutex_unlock(&select->lock);
}

void select_damage(struct select *select, struct block *block, int error)
{
    char what[64];
    snprintf(what, sizeof(what), "block %s", block_meta_of(block)->ulid.text);
    blocks_met_error(select->store->blocks, block, error);
    select_warn(select, what, error);
}

/* ---- Order ---- */

/* By labels, then owner. Numbers of pairs are in order of texts by now. */
static int compare_entries(const void *a, const void *b, void *keys_arg)
{
    const struct select_entry *x = a, *y = b;
    const uint32_t *keys = keys_arg, *left = keys + x->key, *right = keys + y->key;
    uint32_t count = MIN(left[0], right[0]);
    for (uint32_t i = 1; i <= count; i++) {
        if (left[i] != right[i]) {
            return left[i] < right[i] ? -1 : 1;
        }
    }
    if (left[0] != right[0]) {
        return left[0] < right[0] ? -1 : 1;
    }
    return x->owner < y->owner ? -1 : x->owner > y->owner;
}

static bool are_in_order(const struct select *select)
{
    for (size_t i = 1; i < select->entry_count; i++) {
        if (compare_entries(&select->entries[i - 1], &select->entries[i], select->keys) >= 0) {
            return false;
        }
    }
    return true;
}

static void sort_entries(struct select *select)
{
    CLEANUP_FREE uint32_t *numbers = NULL;
    label_pairs_sort(&select->pairs, &numbers);
    for (size_t i = 0; i < select->key_count; i += select->keys[i] + 1) {
        for (uint32_t j = 1; j <= select->keys[i]; j++) {
            select->keys[i + j] = numbers[select->keys[i + j]];
        }
    }
    if (!are_in_order(select)) {
        qsort_r(select->entries, select->entry_count, sizeof(*select->entries), compare_entries, select->keys);
    }
}

static bool same_labels(const struct select *select, const struct select_entry *a, const struct select_entry *b)
{
    const uint32_t *left = select->keys + a->key, *right = select->keys + b->key;
    return left[0] == right[0] && memcmp(left, right, (left[0] + 1) * sizeof(*left)) == 0;
}

/* One series for all entries of the same labels. A series of the head that went and came again while it was looked for
 * has two: the first will do. */
static void join_entries(struct select *select)
{
    size_t kept = 0;
    select->firsts = mem_array(select->entry_count + 1, sizeof(*select->firsts));
    for (size_t i = 0; i < select->entry_count; i++) {
        const struct select_entry *entry = &select->entries[i];
        bool same = kept > 0 && same_labels(select, &select->entries[kept - 1], entry);
        if (same && entry->owner == select->entries[kept - 1].owner) {
            continue;
        }
        if (!same) {
            select->firsts[select->count++] = (uint32_t)kept;
        }
        select->entries[kept++] = *entry;
    }
    select->entry_count = kept;
    select->firsts[select->count] = (uint32_t)kept;
}

/* ---- Lifecycle ---- */

static bool any_is_needed(const struct matcher *matchers, size_t count)
{
    size_t empty = 0;
    while (empty < count && matcher_matches_empty(&matchers[empty])) {
        empty++;
    }
    return empty < count;
}

int select_open(struct store *store, const struct matcher *matchers, size_t count, const struct select_range *range,
                struct select **ret_select)
{
    if (!any_is_needed(matchers, count)) {
        return -EINVAL;
    }
    CLEANUP(select_freep) struct select *select = mem_zalloc(sizeof(*select));
    select->store = store;
    select->range = *range;
    label_pairs_init(&select->pairs);
    buf_init(&select->warnings, WARNINGS_BYTES_MAX);
    ASSERT(pthread_mutex_init(&select->lock, NULL) == 0);
    /* The filter before head and blocks, for the same reason as the head before them. */
    if (store->deletions) {
        select->filter = deletions_filter(store->deletions);
        if (!deletion_filter_meets(select->filter, 0, range->start_ms, range->end_ms)) {
            deletion_filter_unref(STEAL(select->filter));
        }
    }
    int result = select_find(select, matchers, count);
    if (result < 0) {
        return result;
    }
    bool one_list = select->block_count == 0 ||
                    (select->block_count == 1 && select->entry_count > 0 && select->entries[0].owner != SELECT_HEAD);
    if (!one_list || select->series_went || !range->any_order) {
        sort_entries(select);
    }
    join_entries(select);
    *ret_select = STEAL(select);
    return 0;
}

void select_free(struct select *select)
{
    if (!select) {
        return;
    }
    for (size_t i = 0; i < select->partition_count; i++) {
        partition_unref(select->partitions[i]);
    }
    for (size_t i = 0; i < select->block_count; i++) {
        block_unref(select->blocks[i]);
    }
    if (select->charged_bytes > 0) {
        select->range.release(select->range.charge_arg, select->charged_bytes);
    }
    mem_free(select->partitions);
    mem_free(select->blocks);
    label_pairs_done(&select->pairs);
    mem_free(select->keys);
    mem_free(select->entries);
    mem_free(select->firsts);
    deletion_filter_unref(select->filter);
    labels_unref(select->cursor.labels);
    mem_free(select->cursor.deleted);
    pthread_mutex_destroy(&select->lock);
    buf_done(&select->warnings);
    mem_free(select);
}

void select_warnings(struct select *select, struct buf *out)
{
    pthread_mutex_lock(&select->lock);
    buf_append(out, select->warnings.data, select->warnings.len);
    pthread_mutex_unlock(&select->lock);
}

size_t select_count(const struct select *select)
{
    return select->count;
}

struct labels *select_labels(const struct select *select, size_t index)
{
    size_t count;
    const uint32_t *key = &select->keys[select_entries_of(select, index, &count)->key];
    struct label labels[LABELS_MAX];
    for (uint32_t i = 0; i < key[0]; i++) {
        labels[i] = select->pairs.items[key[1 + i]];
    }
    return labels_new(labels, key[0]);
}

/* All that the range has of it is deleted. */
static bool is_deleted(struct select *select, const struct labels *labels)
{
    if (!select->filter) {
        return false;
    }
    struct select_cursor *cursor = &select->cursor;
    if (!cursor->deleted) {
        cursor->deleted = mem_array(DELETIONS_MAX, sizeof(*cursor->deleted));
    }
    size_t count = deletion_filter_ranges(select->filter, labels, cursor->deleted);
    bool all = false;
    for (size_t i = 0; i < count && !all; i++) {
        all =
            cursor->deleted[i].start_ms <= select->range.start_ms && cursor->deleted[i].end_ms >= select->range.end_ms;
    }
    return all;
}

int select_next(struct select *select, struct labels **ret_labels)
{
    struct select_cursor *cursor = &select->cursor;
    while (cursor->next < select->count) {
        if (select_is_cancelled(&select->range)) {
            return -ECANCELED;
        }
        labels_unref(cursor->labels);
        cursor->labels = select_labels(select, cursor->next++);
        if (!is_deleted(select, cursor->labels)) {
            *ret_labels = cursor->labels;
            return 1;
        }
    }
    return 0;
}
