#include "store/head.h"

#include "base/fail.h"

#include <string.h>

#define SLOTS_MAX (UINT32_MAX / 2) /* of series_max: twice as many refs are still below SERIES_REF_NONE */

static bool series_has(const void *item, const void *key)
{
    const struct series *series = item;
    return labels_equal(series->labels, key);
}

static const struct labels *labels_of_ref(void *arg, uint32_t ref)
{
    const struct series *series = head_at(arg, ref);
    ASSERT(series); /* what is in the index is in the table */
    return series->labels;
}

static void lock_init(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attributes;
    int result = pthread_rwlockattr_init(&attributes);
    result |= pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    result |= pthread_rwlock_init(lock, &attributes);
    ASSERT(result == 0);
    pthread_rwlockattr_destroy(&attributes);
}

void head_init(struct head *head, uint64_t series_max)
{
    *head = (struct head){.series_max = (uint32_t)MIN(series_max, (uint64_t)SLOTS_MAX)};
    head->slots_max = head->series_max * 2;
    lock_init(&head->data_lock);
    lock_init(&head->index_lock);
    map_init(&head->table);
    postings_init(&head->postings, labels_of_ref, head);
    head->pages = mem_array(head->slots_max / HEAD_PAGE_SERIES + 1, sizeof(*head->pages));
}

void head_done(struct head *head)
{
    for (uint32_t i = 0; i < head->slot_count; i++) {
        struct series *series = head_at(head, i);
        if (series) {
            series_done(series, &head->totals);
        }
    }
    for (uint32_t i = 0; i < head->slot_count; i += HEAD_PAGE_SERIES) {
        mem_free(head->pages[i / HEAD_PAGE_SERIES]);
    }
    mem_free(head->pages);
    mem_free(head->free_refs);
    postings_done(&head->postings);
    map_done(&head->table);
    pthread_rwlock_destroy(&head->index_lock);
    pthread_rwlock_destroy(&head->data_lock);
}

static struct series *slot_at(const struct head *head, series_ref ref)
{
    return &head->pages[ref / HEAD_PAGE_SERIES][ref % HEAD_PAGE_SERIES];
}

struct series *head_at(const struct head *head, series_ref ref)
{
    if (ref >= head->slot_count) {
        return NULL;
    }
    struct series *series = slot_at(head, ref);
    return series->labels ? series : NULL;
}

struct series *head_find(const struct head *head, const struct labels *labels)
{
    return map_get(&head->table, labels_hash(labels), series_has, labels);
}

static series_ref take_ref(struct head *head)
{
    if (head->free_count > 0) {
        series_ref ref = head->free_refs[--head->free_count];
        /* The resting ones move up into the gap. */
        if (head->resting_count > 0) {
            head->free_refs[head->free_count] = head->free_refs[head->free_count + head->resting_count];
        }
        return ref;
    }
    if (head->slot_count == head->slots_max) {
        return SERIES_REF_NONE;
    }
    series_ref ref = head->slot_count;
    if (ref % HEAD_PAGE_SERIES == 0) {
        head->pages[ref / HEAD_PAGE_SERIES] = mem_array(HEAD_PAGE_SERIES, sizeof(struct series));
    }
    head->slot_count++;
    return ref;
}

struct series *head_add(struct head *head, struct labels *labels, enum series_kind kind)
{
    if (head->table.count >= head->series_max) {
        return NULL;
    }
    series_ref ref = take_ref(head);
    if (ref == SERIES_REF_NONE) {
        return NULL;
    }
    struct series *series = slot_at(head, ref);
    *series = (struct series){.labels = labels_ref(labels), .ref = ref, .kind = (uint8_t)kind};
    map_put(&head->table, labels_hash(labels), series);
    postings_add(&head->postings, labels, ref);
    head->label_bytes += labels_bytes(labels);
    return series;
}

void head_drop(struct head *head, struct series *series)
{
    series_ref ref = series->ref;
    map_remove(&head->table, labels_hash(series->labels), series_has, series->labels);
    postings_remove(&head->postings, series->labels, ref);
    head->label_bytes -= labels_bytes(series->labels);
    series_done(series, &head->totals);
    uint32_t count = head->free_count + head->resting_count;
    if (count == head->free_capacity) {
        head->free_capacity = head->free_capacity + head->free_capacity / 2 + HEAD_PAGE_SERIES;
        head->free_refs = mem_resize(head->free_refs, head->free_capacity, sizeof(*head->free_refs));
    }
    head->free_refs[count] = ref;
    head->resting_count++;
}

void head_wake_refs(struct head *head)
{
    head->free_count += head->resting_count;
    head->resting_count = 0;
}
