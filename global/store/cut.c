/* Cutting: a sealed partition becomes blocks, one for each class of which it has series. In the background thread;
 * nobody writes to a sealed partition, and no series goes while there is one. */
#include "store/store_internal.h"

#include "base/fail.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK_SAMPLES       120 /* as Prometheus; compaction makes longer ones */
#define CANCEL_EVERY_SERIES 1024

/* A series to be cut. The key is the beginning of its labels as ranks, so that most comparisons touch nothing else. */
struct cut_series {
    uint64_t key;
    series_ref ref;
};

/* One cut on its way. */
struct cut {
    struct store *store;
    struct partition *partition;
    struct cut_series *series;
    size_t count;
    uint32_t *ranks;      /* by pair: its place in `labels` */
    struct label *labels; /* pairs in use, sorted by name and value; views into the index */
    size_t label_count;
    struct str *symbols; /* sorted */
    size_t symbol_count;
    struct deletion_filter *filter;
    struct block_writer *writers[RETENTION_CLASSES_MAX]; /* by class; NULL: nothing of it so far */
    struct ulid ulids[RETENTION_CLASSES_MAX];
    struct entries entries, scratch;
};

static void cut_done(struct cut *cut)
{
    for (size_t i = 0; i < RETENTION_CLASSES_MAX; i++) {
        block_writer_free(cut->writers[i]);
    }
    deletion_filter_unref(cut->filter);
    entries_done(&cut->entries);
    entries_done(&cut->scratch);
    mem_free(cut->series);
    mem_free(cut->ranks);
    mem_free(cut->labels);
    mem_free(cut->symbols);
}

static const struct series *series_of(const struct cut *cut, series_ref ref)
{
    return &cut->store->head.pages[ref / HEAD_PAGE_SERIES][ref % HEAD_PAGE_SERIES];
}

/* All series that have something here. */
static void list_series(struct cut *cut)
{
    const struct partition *partition = cut->partition;
    cut->series = mem_array(partition->strands, sizeof(*cut->series));
    for (uint32_t page = 0; page < partition->page_count; page++) {
        for (uint32_t i = 0; partition->pages[page] && i < PARTITION_PAGE; i++) {
            if (partition->pages[page][i].open) {
                ASSERT(cut->count < partition->strands);
                cut->series[cut->count++].ref = page * PARTITION_PAGE + i;
            }
        }
    }
}

struct ranked {
    struct label label;
    uint32_t pair;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct label *x = &((const struct ranked *)a)->label, *y = &((const struct ranked *)b)->label;
    int order = str_compare(x->name, y->name);
    return order != 0 ? order : str_compare(x->value, y->value);
}

/* Copies views of the pairs in use under the lock that guards the index, then sorts them without. */
static void rank_pairs(struct cut *cut)
{
    struct head *head = &cut->store->head;
    head_read_lock(&head->index_lock);
    uint32_t pair_count = head->postings.pair_count;
    cut->ranks = mem_array(pair_count, sizeof(*cut->ranks));
    for (size_t i = 0; i < cut->count; i++) {
        const struct series *series = series_of(cut, cut->series[i].ref);
        const uint32_t *pairs = series_pairs(series);
        for (size_t j = 0; j < series->pair_count; j++) {
            cut->label_count += cut->ranks[pairs[j]] == 0;
            cut->ranks[pairs[j]] = 1;
        }
    }
    CLEANUP_FREE struct ranked *used = mem_array(cut->label_count, sizeof(*used));
    size_t count = 0;
    for (uint32_t pair = 0; pair < pair_count; pair++) {
        if (cut->ranks[pair]) {
            used[count++] = (struct ranked){postings_pair(&head->postings, pair), pair};
        }
    }
    pthread_rwlock_unlock(&head->index_lock);
    qsort(used, count, sizeof(*used), compare_ranked);
    cut->labels = mem_array(count, sizeof(*cut->labels));
    for (size_t i = 0; i < count; i++) {
        cut->labels[i] = used[i].label;
        cut->ranks[used[i].pair] = (uint32_t)i;
    }
}

static int compare_symbols(const void *a, const void *b)
{
    return str_compare(*(const struct str *)a, *(const struct str *)b);
}

static void list_symbols(struct cut *cut)
{
    cut->symbols = mem_array(2 * cut->label_count, sizeof(*cut->symbols));
    size_t count = 0;
    for (size_t i = 0; i < cut->label_count; i++) {
        if (i == 0 || !str_equal(cut->labels[i].name, cut->labels[i - 1].name)) {
            cut->symbols[count++] = cut->labels[i].name;
        }
        cut->symbols[count++] = cut->labels[i].value;
    }
    qsort(cut->symbols, count, sizeof(*cut->symbols), compare_symbols);
    for (size_t i = 0; i < count; i++) {
        if (cut->symbol_count == 0 || !str_equal(cut->symbols[i], cut->symbols[cut->symbol_count - 1])) {
            cut->symbols[cut->symbol_count++] = cut->symbols[i];
        }
    }
}

static int compare_series(const void *a, const void *b, void *arg)
{
    const struct cut_series *x = a, *y = b;
    const struct cut *cut = arg;
    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    const struct series *first = series_of(cut, x->ref), *second = series_of(cut, y->ref);
    const uint32_t *one = series_pairs(first), *two = series_pairs(second);
    for (size_t i = 0; i < first->pair_count && i < second->pair_count; i++) {
        if (one[i] != two[i]) {
            return cut->ranks[one[i]] < cut->ranks[two[i]] ? -1 : 1;
        }
    }
    return (int)first->pair_count - (int)second->pair_count;
}

static void sort_series(struct cut *cut)
{
    for (size_t i = 0; i < cut->count; i++) {
        const struct series *series = series_of(cut, cut->series[i].ref);
        const uint32_t *pairs = series_pairs(series);
        /* One more than the rank, so that a set that ends comes before one that goes on. */
        uint64_t second = series->pair_count > 1 ? (uint64_t)cut->ranks[pairs[1]] + 1 : 0;
        cut->series[i].key = (uint64_t)cut->ranks[pairs[0]] << 32 | second;
    }
    qsort_r(cut->series, cut->count, sizeof(*cut->series), compare_series, cut);
}

static struct labels *labels_of(const struct cut *cut, const struct series *series)
{
    struct label labels[LABELS_MAX];
    const uint32_t *pairs = series_pairs(series);
    for (size_t i = 0; i < series->pair_count; i++) {
        labels[i] = cut->labels[cut->ranks[pairs[i]]];
    }
    return labels_new(labels, series->pair_count);
}

static int open_writer(struct cut *cut, size_t which)
{
    struct store *store = cut->store;
    struct block_meta meta = {.ulid = ulid_new(clock_wall_ms(store->clock), &store->random),
                              .min_time_ms = cut->partition->start_ms,
                              .max_time_ms = cut->partition->start_ms + PARTITION_MS,
                              .level = 1,
                              .from_late = cut->partition->late,
                              .ours = true,
                              .deletion = cut->filter ? deletion_filter_newest(cut->filter) : 0};
    const char *name = retention_class_at(cut->partition->retention, which)->name;
    snprintf(meta.class, sizeof(meta.class), "%s", name);
    struct block_writer_options options = {.dirs = *blocks_dirs(store->blocks),
                                           .meta = &meta,
                                           .symbols = cut->symbols,
                                           .symbol_count = cut->symbol_count,
                                           .chunk_samples = CHUNK_SAMPLES};
    cut->ulids[which] = meta.ulid;
    return block_writer_new(&options, &cut->writers[which]);
}

static int add_series(struct cut *cut, series_ref ref)
{
    const struct series *series = series_of(cut, ref);
    int result = partition_gather(cut->partition, ref, &cut->scratch, &cut->entries);
    if (result < 0) {
        return result; /* the log has it, and is kept: the next start replays it */
    }
    CLEANUP(labels_unrefp) struct labels *labels = labels_of(cut, series);
    struct time_range ranges[DELETIONS_MAX];
    size_t range_count = cut->filter ? deletion_filter_ranges(cut->filter, labels, ranges) : 0;
    if (range_count > 0) {
        time_ranges_cut(ranges, range_count, &cut->entries);
    }
    if (cut->entries.count == 0) {
        return 0;
    }
    size_t which = retention_class_of(cut->partition->retention, labels);
    result = cut->writers[which] ? 0 : open_writer(cut, which);
    if (result < 0) {
        return result;
    }
    return block_writer_add(cut->writers[which], labels, series->kind, cut->entries.items, cut->entries.count);
}

/* Finishes the blocks and shows them. */
static int publish(struct cut *cut)
{
    int result = 0;
    for (size_t which = 0; which < RETENTION_CLASSES_MAX && result == 0; which++) {
        if (cut->writers[which]) {
            result = block_writer_finish(cut->writers[which]);
            if (result == 0) {
                result = blocks_publish(cut->store->blocks, &cut->ulids[which], NULL, 0, "cut");
            } else {
                blocks_discard(cut->store->blocks, &cut->ulids[which]);
            }
        }
    }
    return result;
}

static int write_series(struct cut *cut)
{
    int result = 0;
    for (size_t i = 0; i < cut->count && result == 0; i++) {
        result = i % CANCEL_EVERY_SERIES == 0 && store_is_cancelled(cut->store) ? -ECANCELED : 0;
        result = result == 0 ? add_series(cut, cut->series[i].ref) : result;
    }
    return result;
}

int partition_cut(struct store *store, struct partition *partition)
{
    CLEANUP(cut_done) struct cut cut = {.store = store, .partition = partition};
    cut.filter = deletions_filter(store->deletions);
    list_series(&cut);
    rank_pairs(&cut);
    list_symbols(&cut);
    sort_series(&cut);
    int result = write_series(&cut);
    result = result == 0 ? publish(&cut) : result;
    if (result == 0) {
        result = cut_marks_set(store->marks, partition->start_ms, partition->last_position);
    }
    return result;
}

struct partition *partitions_next_sealed(struct store *store)
{
    struct partition *found = NULL;
    head_read_lock(&store->head.data_lock);
    for (size_t i = 0; i < store->partition_count && !found; i++) {
        struct partition *partition = store->partitions[i];
        found = partition->sealed && !atomic_load(&partition->cut) ? partition_ref(partition) : NULL;
    }
    pthread_rwlock_unlock(&store->head.data_lock);
    return found;
}
