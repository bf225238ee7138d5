/* Which series match: from the head and from each block, their labels as numbers of one list of pairs. */
#include "store/index_format.h"
#include "store/select_internal.h"

#include "base/fail.h"

#include <errno.h>

/* What one contributor's numbers are in the select's list. */
struct finder {
    struct select *select;
    struct pair_numbers numbers;
    uint64_t generation; /* of the head: numbers of its pairs are as they were then */
};

/* Room for one more entry with so many labels, which the caller writes behind ret_key. */
static struct select_entry *add_entry(struct select *select, size_t labels, uint32_t **ret_key)
{
    if (select->entry_count == select->entry_capacity) {
        select->entry_capacity = 2 * select->entry_capacity + 16;
        select->entries = mem_resize(select->entries, select->entry_capacity, sizeof(*select->entries));
    }
    if (select->key_count + labels + 1 > select->key_capacity) {
        select->key_capacity = 2 * select->key_capacity + LABELS_MAX + 1;
        select->keys = mem_resize(select->keys, select->key_capacity, sizeof(*select->keys));
    }
    struct select_entry *entry = &select->entries[select->entry_count++];
    *entry = (struct select_entry){.key = (uint32_t)select->key_count};
    select->keys[select->key_count] = (uint32_t)labels;
    *ret_key = &select->keys[select->key_count + 1];
    select->key_count += labels + 1;
    return entry;
}

/* -ECANCELED: nobody waits for it any more. -ENOMEM: more memory than the reader has. */
static int may_go_on(struct select *select)
{
    const struct select_range *range = &select->range;
    size_t bytes = label_pairs_bytes(&select->pairs) + select->entry_capacity * sizeof(*select->entries) +
                   select->key_capacity * sizeof(*select->keys);
    if (select_is_cancelled(range)) {
        return -ECANCELED;
    }
    if (select->key_count > UINT32_MAX / 2) { /* struct select_entry says where keys are in 32 bits */
        return -ENOMEM;
    }
    if (bytes <= select->charged_bytes || !range->charge) {
        return 0;
    }
    if (!range->charge(range->charge_arg, bytes - select->charged_bytes)) {
        return -ENOMEM;
    }
    select->charged_bytes = bytes;
    return 0;
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

static void add_series(struct finder *finder, const struct head *head, series_ref ref, uint64_t in)
{
    const struct series *series = head_at(head, ref);
    if (!series) {
        return;
    }
    const uint32_t *pairs = series_pairs(series);
    uint32_t *key;
    struct select_entry *entry = add_entry(finder->select, series->pair_count, &key);
    entry->ref = ref;
    entry->in = in;
    for (size_t i = 0; i < series->pair_count; i++) {
        key[i] = pair_numbers_get(&finder->numbers, pairs[i]);
        if (key[i] == PAIR_NUMBER_NONE) {
            key[i] = label_pairs_number(&finder->select->pairs, postings_pair(&head->postings, pairs[i]));
            pair_numbers_put(&finder->numbers, pairs[i], key[i]);
        }
    }
}

/* One slice of refs: those that have something in the range. */
static void add_slice(struct finder *finder, const uint32_t *refs, size_t count)
{
    struct head *head = &finder->select->store->head;
    uint64_t in[SELECT_SLICE];
    ASSERT(count <= SELECT_SLICE);
    head_read_lock(&head->data_lock);
    for (size_t i = 0; i < count; i++) {
        in[i] = strands_of(finder->select, refs[i]);
    }
    head_read_lock(&head->index_lock); /* under both, as series go under either */
    if (finder->generation != store_generation(finder->select->store)) {
        pair_numbers_done(&finder->numbers); /* they may be other pairs' by now */
        finder->generation = store_generation(finder->select->store);
    }
    for (size_t i = 0; i < count; i++) {
        if (in[i]) {
            add_series(finder, head, refs[i], in[i]);
        }
    }
    pthread_rwlock_unlock(&head->index_lock);
    pthread_rwlock_unlock(&head->data_lock);
}

/* Series went and others took their refs between the search and the copy of labels: those that do not match go. */
static void drop_strangers(struct select *select, const struct matcher *matchers, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < select->entry_count; i++) {
        const uint32_t *key = &select->keys[select->entries[i].key];
        struct label pairs[LABELS_MAX];
        for (uint32_t j = 0; j < key[0]; j++) {
            pairs[j] = select->pairs.items[key[1 + j]];
        }
        CLEANUP(labels_unrefp) struct labels *labels = labels_new(pairs, key[0]);
        if (matcher_matches_labels(matchers, count, labels)) {
            select->entries[kept++] = select->entries[i];
        }
    }
    select->entry_count = kept;
}

static int find_refs(struct select *select, const struct matcher *matchers, size_t count, uint32_t **ret_refs,
                     size_t *ret_count)
{
    struct head *head = &select->store->head;
    struct postings_query query = select_query(matchers, count, &select->range);
    CLEANUP(bitmap_freep) roaring_bitmap_t *found = NULL;
    head_read_lock(&head->index_lock);
    select->generation = store_generation(select->store);
    int result = postings_select(&head->postings, &query, &found);
    pthread_rwlock_unlock(&head->index_lock);
    if (result < 0) {
        return result;
    }
    *ret_count = roaring_bitmap_get_cardinality(found);
    *ret_refs = mem_array(*ret_count, sizeof(**ret_refs));
    roaring_bitmap_to_uint32_array(found, *ret_refs);
    return 0;
}

static int find_in_head(struct select *select, const struct matcher *matchers, size_t count)
{
    struct finder finder = {.select = select};
    CLEANUP_FREE uint32_t *refs = NULL;
    size_t ref_count = 0;
    hold_partitions(select);
    int result = find_refs(select, matchers, count, &refs, &ref_count);
    finder.generation = select->generation;
    for (size_t from = 0; from < ref_count && result == 0; from += SELECT_SLICE) {
        add_slice(&finder, refs + from, MIN(SELECT_SLICE, ref_count - from));
        result = may_go_on(select);
    }
    pair_numbers_done(&finder.numbers);
    select->series_went = finder.generation != select->generation;
    if (result == 0 && select->series_went) {
        drop_strangers(select, matchers, count);
    }
    return result;
}

/* ---- Blocks ---- */

static int number_of_symbols(struct finder *finder, struct block_cursor *cursor, const struct index_label *symbols,
                             uint32_t *ret_number)
{
    uint64_t key = (uint64_t)symbols->name << 32 | symbols->value;
    *ret_number = pair_numbers_get(&finder->numbers, key);
    if (*ret_number != PAIR_NUMBER_NONE) {
        return 0;
    }
    struct str name, value;
    int error = block_cursor_symbol(cursor, symbols->name, &name);
    if (error) {
        return error;
    }
    CLEANUP_FREE char *copy = mem_strndup(name.ptr, name.len); /* reading the next may drop it */
    error = block_cursor_symbol(cursor, symbols->value, &value);
    if (error) {
        return error;
    }
    *ret_number = label_pairs_number(&finder->select->pairs, (struct label){str_of(copy, name.len), value});
    pair_numbers_put(&finder->numbers, key, *ret_number);
    return 0;
}

static int add_block_series(struct finder *finder, struct block_cursor *cursor, uint32_t id)
{
    struct select *select = finder->select;
    const struct index_series *series;
    bool meets = false;
    int error = block_cursor_entry(cursor, id, &series);
    if (error) {
        return error;
    }
    for (size_t i = 0; i < series->chunk_count && !meets; i++) {
        const struct block_chunk *chunk = &series->chunks[i];
        meets = chunk->min_time_ms <= select->range.end_ms && chunk->max_time_ms >= select->range.start_ms;
    }
    if (!meets) {
        return 0;
    }
    uint32_t numbers[LABELS_MAX], *key;
    for (size_t i = 0; i < series->label_count && !error; i++) {
        error = number_of_symbols(finder, cursor, &series->labels[i], &numbers[i]);
    }
    if (!error) {
        struct select_entry *entry = add_entry(select, series->label_count, &key);
        entry->owner = (uint32_t)select->block_count; /* that of the block, + 1 */
        entry->ref = id;
        memcpy(key, numbers, series->label_count * sizeof(*key));
    }
    return error;
}

/* An error of the block ends it: what came before is there. */
static int find_in_block(struct select *select, struct block *block, const roaring_bitmap_t *ids)
{
    struct finder finder = {.select = select};
    CLEANUP(block_cursor_freep) struct block_cursor *cursor = block_cursor_new(block);
    roaring_uint32_iterator_t at;
    size_t count = 0, before = select->entry_count;
    int result = 0, error = 0;
    select->blocks[select->block_count++] = block_ref(block);
    for (roaring_init_iterator(ids, &at); at.has_value && !error && result == 0; roaring_advance_uint32_iterator(&at)) {
        error = add_block_series(&finder, cursor, at.current_value);
        result = ++count % SELECT_SLICE == 0 ? may_go_on(select) : 0;
    }
    pair_numbers_done(&finder.numbers);
    if (error) {
        select_damage(select, block, error);
    }
    if (select->entry_count == before) {
        block_unref(select->blocks[--select->block_count]);
    }
    return result < 0 ? result : may_go_on(select);
}

static int search_block(struct select *select, struct block *block, const struct postings_query *query)
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
    return roaring_bitmap_is_empty(found) ? 0 : find_in_block(select, block, found);
}

static int find_in_blocks(struct select *select, const struct matcher *matchers, size_t count)
{
    struct postings_query query = select_query(matchers, count, &select->range);
    struct blocks_list list = {0};
    blocks_warnings(select->store->blocks, select->range.start_ms, select->range.end_ms, &select->warnings);
    blocks_in_range(select->store->blocks, select->range.start_ms, select->range.end_ms, &list);
    select->blocks = mem_array(list.count, sizeof(struct block *));
    int result = 0;
    for (size_t i = 0; i < list.count && result == 0; i++) {
        result = search_block(select, list.items[i], &query);
    }
    blocks_list_free(&list);
    return result;
}

int select_find(struct select *select, const struct matcher *matchers, size_t count)
{
    /* The head before the blocks: what is cut or rewritten meanwhile is seen twice rather than never. */
    int result = find_in_head(select, matchers, count);
    return result == 0 && select->store->blocks ? find_in_blocks(select, matchers, count) : result;
}
