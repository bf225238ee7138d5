#include "store/head.h"

#include "base/crc.h"
#include "base/fail.h"

#include <string.h>

#define SLOTS_MAX (UINT32_MAX / 2) /* of series_max: twice as many refs are still below SERIES_REF_NONE */

static struct str value_of(void *arg, uint32_t ref, struct str name)
{
    const struct head *head = arg;
    const struct series *series = head_at(head, ref);
    ASSERT(series); /* what is in the index is in the table */
    const uint32_t *pairs = series_pairs(series);
    for (size_t i = 0; i < series->pair_count; i++) {
        struct label label = postings_pair(&head->postings, pairs[i]);
        if (str_equal(label.name, name)) {
            return label.value;
        }
    }
    return STR_NULL;
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

void head_read_lock(pthread_rwlock_t *lock)
{
    int result = pthread_rwlock_rdlock(lock);
    ASSERT(result == 0);
}

void head_write_lock(pthread_rwlock_t *lock)
{
    int result = pthread_rwlock_wrlock(lock);
    ASSERT(result == 0);
}

void head_init(struct head *head, uint64_t series_max)
{
    *head = (struct head){.series_max = (uint32_t)MIN(series_max, (uint64_t)SLOTS_MAX)};
    head->slots_max = head->series_max * 2;
    lock_init(&head->data_lock);
    lock_init(&head->index_lock);
    series_table_init(&head->table);
    postings_init(&head->postings, value_of, head);
    head->pages = mem_array(head->slots_max / HEAD_PAGE_SERIES + 1, sizeof(*head->pages));
}

static void series_done(struct series *series)
{
    if (series->pair_count > SERIES_PAIRS_FEW) {
        mem_free(series->many);
    }
    *series = (struct series){0};
}

void head_done(struct head *head)
{
    for (uint32_t i = 0; i < head->slot_count; i++) {
        struct series *series = head_at(head, i);
        if (series) {
            series_done(series);
        }
    }
    for (uint32_t i = 0; i < head->slot_count; i += HEAD_PAGE_SERIES) {
        mem_free(head->pages[i / HEAD_PAGE_SERIES]);
    }
    mem_free(head->pages);
    mem_free(head->free_refs);
    postings_done(&head->postings);
    series_table_done(&head->table);
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
    return series->pair_count > 0 ? series : NULL;
}

/* ---- By labels ---- */

struct wanted {
    const struct head *head;
    const uint32_t *pairs;
    size_t count;
};

static bool is_wanted(const void *arg, uint32_t ref)
{
    const struct wanted *wanted = arg;
    const struct series *series = slot_at(wanted->head, ref);
    return series->pair_count == wanted->count &&
           memcmp(series_pairs(series), wanted->pairs, wanted->count * sizeof(uint32_t)) == 0;
}

static uint64_t hash_of(const uint32_t *pairs, size_t count)
{
    return hash64(pairs, count * sizeof(*pairs), 0);
}

series_ref head_find(const struct head *head, const struct labels *labels)
{
    uint32_t pairs[LABELS_MAX];
    size_t count = labels_count(labels);
    if (count == 0 || !postings_find(&head->postings, labels, pairs)) {
        return SERIES_REF_NONE;
    }
    struct wanted wanted = {head, pairs, count};
    return series_table_get(&head->table, hash_of(pairs, count), is_wanted, &wanted);
}

bool head_has_labels(const struct head *head, const struct series *series, const struct labels *labels)
{
    const uint32_t *pairs = series_pairs(series);
    bool same = series->pair_count == labels_count(labels);
    for (size_t i = 0; same && i < series->pair_count; i++) {
        struct label mine = postings_pair(&head->postings, pairs[i]), other = labels_at(labels, i);
        same = str_equal(mine.value, other.value) && str_equal(mine.name, other.name);
    }
    return same;
}

/* ---- Coming and going ---- */

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
    return head->slot_count < head->slots_max ? head->slot_count : SERIES_REF_NONE;
}

/* Makes the slots up to ref. */
static void reach(struct head *head, series_ref ref)
{
    for (; head->slot_count <= ref; head->slot_count++) {
        if (head->slot_count % HEAD_PAGE_SERIES == 0) {
            head->pages[head->slot_count / HEAD_PAGE_SERIES] = mem_array(HEAD_PAGE_SERIES, sizeof(struct series));
        }
    }
}

static void live_at(struct head *head, series_ref ref, const uint32_t *pairs, size_t count, enum series_kind kind)
{
    struct series *series = slot_at(head, ref);
    *series = (struct series){.pair_count = (uint8_t)count, .kind = (uint8_t)kind};
    if (count > SERIES_PAIRS_FEW) {
        series->many = mem_alloc(count * sizeof(uint32_t));
        head->many_bytes += count * sizeof(uint32_t);
        memcpy(series->many, pairs, count * sizeof(uint32_t));
    } else {
        memcpy(series->few, pairs, count * sizeof(uint32_t));
    }
    series_table_put(&head->table, hash_of(pairs, count), ref);
}

series_ref head_add(struct head *head, const struct labels *labels, enum series_kind kind)
{
    if (head->table.count >= head->series_max || labels_count(labels) == 0) {
        return SERIES_REF_NONE;
    }
    series_ref ref = take_ref(head);
    if (ref != SERIES_REF_NONE) {
        uint32_t pairs[LABELS_MAX];
        reach(head, ref);
        postings_add(&head->postings, labels, ref, pairs);
        live_at(head, ref, pairs, labels_count(labels), kind);
    }
    return ref;
}

bool head_add_at(struct head *head, series_ref ref, const uint32_t *pairs, size_t count, enum series_kind kind)
{
    if (ref >= head->slots_max || head->table.count >= head->series_max || count == 0) {
        return false;
    }
    struct wanted wanted = {head, pairs, count};
    reach(head, ref);
    if (head_at(head, ref) ||
        series_table_get(&head->table, hash_of(pairs, count), is_wanted, &wanted) != SERIES_REF_NONE) {
        return false;
    }
    postings_add_pairs(&head->postings, pairs, count, ref);
    live_at(head, ref, pairs, count, kind);
    return true;
}

static void ref_free(struct head *head, series_ref ref)
{
    uint32_t count = head->free_count + head->resting_count;
    if (count == head->free_capacity) {
        head->free_capacity = head->free_capacity + head->free_capacity / 2 + HEAD_PAGE_SERIES;
        head->free_refs = mem_resize(head->free_refs, head->free_capacity, sizeof(*head->free_refs));
    }
    head->free_refs[count] = ref;
    head->resting_count++;
}

void head_collect_free(struct head *head)
{
    for (series_ref ref = 0; ref < head->slot_count; ref++) {
        if (!head_at(head, ref)) {
            ref_free(head, ref);
        }
    }
    head_wake_refs(head);
}

void head_drop(struct head *head, series_ref ref)
{
    struct series *series = slot_at(head, ref);
    const uint32_t *pairs = series_pairs(series);
    series_table_remove(&head->table, hash_of(pairs, series->pair_count), ref);
    postings_remove(&head->postings, pairs, series->pair_count, ref);
    head->many_bytes -= series->pair_count > SERIES_PAIRS_FEW ? series->pair_count * sizeof(uint32_t) : 0;
    series_done(series);
    ref_free(head, ref);
}

void head_wake_refs(struct head *head)
{
    head->free_count += head->resting_count;
    head->resting_count = 0;
}

uint64_t head_label_bytes(const struct head *head)
{
    return head->postings.text_bytes + head->many_bytes + series_table_bytes(&head->table) +
           (uint64_t)head->slot_count * sizeof(struct series);
}
