/* Names of labels and their values: of the head and of all blocks in the range, as one list. */
#include "store/select_internal.h"

#include "base/arena.h"
#include "base/fail.h"
#include "base/sort.h"

#include <errno.h>

/* Of one text besides its bytes: its view three times, as lists double and sorting takes as much again, and what the
 * arena rounds up. */
#define TEXT_BYTES 64

/* Strings as the indexes say them, in memory of their own. */
struct collector {
    const struct select_range *range; /* for its charge; may be NULL */
    struct arena arena;
    struct str *items;
    size_t count, capacity;
};

static int collect(void *arg, struct str text)
{
    struct collector *collector = arg;
    const struct select_range *range = collector->range;
    if (range && range->charge && !range->charge(range->charge_arg, text.len + TEXT_BYTES)) {
        return -ENOMEM;
    }
    if (collector->count == collector->capacity) {
        collector->capacity = collector->capacity * 2 + 16;
        collector->items = mem_resize(collector->items, collector->capacity, sizeof(struct str));
    }
    collector->items[collector->count++] = arena_str(&collector->arena, text);
    return 0;
}

static struct postings_visit visit_of(const struct select_range *range, struct collector *collector)
{
    return (struct postings_visit){.each = collect,
                                   .each_arg = collector,
                                   .cancelled = range ? range->cancelled : NULL,
                                   .cancelled_arg = range ? range->cancelled_arg : NULL};
}

static int compare_strings(const void *a, const void *b)
{
    return str_compare(*(const struct str *)a, *(const struct str *)b);
}

static int sort_unique(struct collector *collector)
{
    if (collector->count == 0) {
        return 0;
    }
    const struct select_range *range = collector->range;
    CLEANUP_FREE struct str *scratch =
        collector->count > SORT_SLICE ? mem_array(collector->count, sizeof(*scratch)) : NULL;
    struct sort sort = {.items = collector->items,
                        .count = collector->count,
                        .size = sizeof(struct str),
                        .compare = compare_strings,
                        .cancelled = range ? range->cancelled : NULL,
                        .cancelled_arg = range ? range->cancelled_arg : NULL};
    int result = sort_run(&sort, scratch);
    size_t kept = 1;
    for (size_t i = 1; i < collector->count; i++) {
        if (!str_equal(collector->items[i], collector->items[kept - 1])) {
            collector->items[kept++] = collector->items[i];
        }
    }
    collector->count = kept;
    return result;
}

/* Which strings of which series. */
struct wanted {
    struct store *store;
    const struct str *name; /* NULL: names of labels, else the values of this one */
    const struct matcher *matchers;
    size_t count;
    const struct select_range *range; /* NULL: any time */
};

static bool has_samples(const struct store *store, series_ref ref, const struct select_range *range)
{
    bool has = false;
    for (size_t i = 0; i < store->partition_count && !has; i++) {
        has = strand_meets(store->partitions[i], ref, range->start_ms, range->end_ms);
    }
    return has;
}

/* Takes the series without samples in the range out. */
static int filter_refs(const struct wanted *wanted, roaring_bitmap_t *refs)
{
    struct head *head = &wanted->store->head;
    size_t count = roaring_bitmap_get_cardinality(refs);
    CLEANUP_FREE series_ref *list = mem_array(count, sizeof(*list));
    roaring_bitmap_to_uint32_array(refs, list);
    for (size_t from = 0; from < count; from += SELECT_SLICE) {
        size_t end = MIN(from + SELECT_SLICE, count);
        if (select_is_cancelled(wanted->range)) {
            return -ECANCELED;
        }
        head_read_lock(&head->data_lock);
        for (size_t i = from; i < end; i++) {
            if (!has_samples(wanted->store, list[i], wanted->range)) {
                roaring_bitmap_remove(refs, list[i]);
            }
        }
        pthread_rwlock_unlock(&head->data_lock);
    }
    return 0;
}

/* Under the index lock. */
static int collect_postings(const struct wanted *wanted, const roaring_bitmap_t *refs, struct collector *collector)
{
    const struct postings *postings = &wanted->store->head.postings;
    struct postings_visit visit = visit_of(wanted->range, collector);
    return wanted->name ? postings_values(postings, *wanted->name, refs, &visit)
                        : postings_names(postings, refs, &visit);
}

/* Nearly always the first series of a name or value has samples in the range: so only one of each is looked at, and all
 * of those where that one has none. except NULL: the first round. */
static int collect_round(const struct wanted *wanted, const roaring_bitmap_t *refs, const roaring_bitmap_t *except,
                         struct collector *collector, roaring_bitmap_t *into)
{
    struct head *head = &wanted->store->head;
    struct postings_query query = select_query(NULL, 0, wanted->range);
    struct postings_pick pick = {wanted->name ? *wanted->name : STR_NULL, refs, except, except != NULL};
    head_read_lock(&head->index_lock);
    int result = postings_pick(&head->postings, &pick, &query, into);
    pthread_rwlock_unlock(&head->index_lock);
    if (result == 0) {
        result = filter_refs(wanted, into);
    }
    if (result == 0 && !roaring_bitmap_is_empty(into)) {
        head_read_lock(&head->index_lock);
        result = collect_postings(wanted, into, collector);
        pthread_rwlock_unlock(&head->index_lock);
    }
    return result;
}

static int collect_in_range(const struct wanted *wanted, const roaring_bitmap_t *refs, struct collector *collector)
{
    CLEANUP(bitmap_freep) roaring_bitmap_t *firsts = bitmap_new();
    CLEANUP(bitmap_freep) roaring_bitmap_t *others = bitmap_new();
    int result = collect_round(wanted, refs, NULL, collector, firsts);
    return result < 0 ? result : collect_round(wanted, refs, firsts, collector, others);
}

static int collect_head(const struct wanted *wanted, struct collector *collector)
{
    struct head *head = &wanted->store->head;
    struct postings_query query = select_query(wanted->matchers, wanted->count, wanted->range);
    CLEANUP(bitmap_freep) roaring_bitmap_t *refs = NULL;
    head_read_lock(&head->index_lock);
    int result = postings_select(&head->postings, &query, &refs);
    if (result == 0 && !wanted->range) {
        result = collect_postings(wanted, refs, collector);
    }
    pthread_rwlock_unlock(&head->index_lock);
    return result < 0 || !wanted->range ? result : collect_in_range(wanted, refs, collector);
}

static int collect_block(const struct wanted *wanted, struct block *block, struct collector *collector)
{
    struct postings_query query = select_query(wanted->matchers, wanted->count, wanted->range);
    CLEANUP(bitmap_freep) roaring_bitmap_t *ids = NULL;
    int result = wanted->count > 0 ? block_select(block, &query, &ids) : 0;
    if (result == 0 && (!ids || !roaring_bitmap_is_empty(ids))) {
        struct postings_visit visit = visit_of(wanted->range, collector);
        result = wanted->name ? block_values(block, *wanted->name, ids, &visit) : block_names(block, ids, &visit);
    }
    if (result < 0 && result != -ECANCELED && result != -ENOMEM) {
        blocks_met_error(wanted->store->blocks, block, result);
        return 0; /* the warning is in the next answer, and in this one's coverage */
    }
    return result;
}

static int collect_blocks(const struct wanted *wanted, struct collector *collector)
{
    struct blocks_list list = {0};
    const struct select_range *range = wanted->range;
    int result = 0;
    blocks_in_range(wanted->store->blocks, range ? range->start_ms : INT64_MIN, range ? range->end_ms : INT64_MAX,
                    &list);
    for (size_t i = 0; i < list.count && result == 0; i++) {
        result = select_is_cancelled(range) ? -ECANCELED : collect_block(wanted, list.items[i], collector);
    }
    blocks_list_free(&list);
    return result;
}

/* Each pair of labels that was seen, once. */
static int collect_pairs(const struct wanted *wanted, const struct select *select, const bool *seen,
                         struct collector *collector)
{
    int result = 0;
    for (uint32_t i = 0; i < select->pairs.count && result == 0; i++) {
        const struct label *pair = &select->pairs.items[i];
        if (seen[i] && (!wanted->name || str_equal(pair->name, *wanted->name))) {
            result = collect(collector, wanted->name ? pair->value : pair->name);
        }
    }
    return result;
}

/* Marks the pairs of all series of which something is left. */
static int see_pairs(struct select *select, bool *seen)
{
    struct labels *labels = NULL;
    int result;
    while ((result = select_next(select, &labels)) > 0) {
        size_t count;
        const uint32_t *key = &select->keys[select_entries_of(select, select->cursor.next - 1, &count)->key];
        for (uint32_t i = 1; i <= key[0]; i++) {
            seen[key[i]] = true;
        }
    }
    return result;
}

/* While series are being deleted: series by series, as the indexes do not know of it yet. */
static int collect_series(const struct wanted *wanted, struct collector *collector)
{
    struct matcher any;
    char error[256];
    int result = matcher_init(&any, MATCH_NOT_EQUAL, STR(LABEL_NAME), STR(""), error);
    struct select_range range =
        wanted->range ? *wanted->range : (struct select_range){.start_ms = INT64_MIN, .end_ms = INT64_MAX};
    CLEANUP_FREE struct matcher *matchers = mem_array(wanted->count + 1, sizeof(*matchers));
    memcpy(matchers, wanted->matchers ? wanted->matchers : &any, wanted->count * sizeof(*matchers));
    matchers[wanted->count] = any;
    CLEANUP(select_freep) struct select *select = NULL;
    result = result == 0 ? select_open(wanted->store, matchers, wanted->count + 1, &range, &select) : result;
    matcher_done(&any);
    if (result < 0) {
        return result;
    }
    ASSERT(select);
    CLEANUP_FREE bool *seen = mem_array(select->pairs.count, sizeof(*seen));
    result = see_pairs(select, seen);
    return result < 0 ? result : collect_pairs(wanted, select, seen, collector);
}

static bool is_deleting(const struct wanted *wanted)
{
    if (!wanted->store->deletions) {
        return false;
    }
    CLEANUP(deletion_filter_unrefp) struct deletion_filter *filter = deletions_filter(wanted->store->deletions);
    const struct select_range *range = wanted->range;
    return deletion_filter_meets(filter, 0, range ? range->start_ms : INT64_MIN, range ? range->end_ms : INT64_MAX);
}

static void collector_free(struct collector *collector)
{
    mem_free(collector->items);
    arena_done(&collector->arena);
    mem_free(collector);
}

static int collect_all(const struct wanted *wanted, size_t max, struct select_strings *ret_strings)
{
    struct collector *collector = mem_zalloc(sizeof(*collector));
    collector->range = wanted->range;
    arena_init(&collector->arena, 0); /* at most what the indexes themselves hold, and what the range's charge allows */
    int result = 0;
    if (is_deleting(wanted)) {
        result = collect_series(wanted, collector);
    } else {
        result = collect_head(wanted, collector);
        result = result == 0 && wanted->store->blocks ? collect_blocks(wanted, collector) : result;
    }
    result = result < 0 ? result : sort_unique(collector);
    if (result < 0) {
        collector_free(collector);
        return result;
    }
    *ret_strings = (struct select_strings){.items = collector->items,
                                           .count = MIN(collector->count, max),
                                           .cut = collector->count > max,
                                           .memory = collector};
    return 0;
}

int select_label_names(struct store *store, const struct matcher *matchers, size_t count,
                       const struct select_range *range, size_t max, struct select_strings *ret_names)
{
    struct wanted wanted = {store, NULL, matchers, count, range};
    return collect_all(&wanted, max, ret_names);
}

int select_label_values(struct store *store, struct str name, const struct matcher *matchers, size_t count,
                        const struct select_range *range, size_t max, struct select_strings *ret_values)
{
    struct wanted wanted = {store, &name, matchers, count, range};
    return collect_all(&wanted, max, ret_values);
}

void select_strings_free(struct select_strings *strings)
{
    if (strings->memory) {
        collector_free(strings->memory);
    }
    *strings = (struct select_strings){0};
}
