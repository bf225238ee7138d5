#include "store/store.h"

#include "base/fail.h"
#include "store/head.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#define PRUNE_SLICE_SERIES 4096 /* looked at under one hold of the lock: readers wait some 0.1 ms */

struct store {
    struct head head;
    struct clock *clock;
    struct store_options options;
    struct store_stats stats; /* what head does not count; guarded by data_lock */
    _Atomic uint64_t generation;
    bool writing;                 /* the writer's: between begin and end, data_lock held */
    int64_t oldest_ms, newest_ms; /* accepted in this block */
    struct chunk_entry *entries;  /* the writer's: of one window, room for STORE_EXTRAS_MAX + 1 */
};

struct store *store_new(struct clock *clock, const struct store_options *options)
{
    ASSERT(options->max_age_ms > 0 && options->max_ahead_ms >= 0);
    struct store *store = mem_zalloc(sizeof(*store));
    store->clock = clock;
    store->options = *options;
    store->stats.min_time_ms = INT64_MAX;
    store->stats.max_time_ms = INT64_MIN;
    atomic_init(&store->generation, 1);
    store->entries = mem_array(STORE_EXTRAS_MAX + 1, sizeof(*store->entries));
    head_init(&store->head, options->series_max);
    return store;
}

void store_free(struct store *store)
{
    if (!store) {
        return;
    }
    ASSERT(!store->writing);
    head_done(&store->head);
    mem_free(store->entries);
    mem_free(store);
}

struct head *store_head(struct store *store)
{
    return &store->head;
}

uint64_t store_generation(const struct store *store)
{
    return atomic_load(&store->generation);
}

static void write_lock(pthread_rwlock_t *lock)
{
    int result = pthread_rwlock_wrlock(lock);
    ASSERT(result == 0);
}

/* data_lock for a change outside of a block; inside of one it is held already. */
static void data_lock(struct store *store)
{
    if (!store->writing) {
        write_lock(&store->head.data_lock);
    }
}

static void data_unlock(struct store *store)
{
    if (!store->writing) {
        pthread_rwlock_unlock(&store->head.data_lock);
    }
}

series_ref store_series(struct store *store, struct labels *labels, enum series_kind kind)
{
    struct series *series = head_find(&store->head, labels);
    if (series) {
        return series->ref;
    }
    data_lock(store);
    write_lock(&store->head.index_lock);
    series = head_add(&store->head, labels, kind);
    pthread_rwlock_unlock(&store->head.index_lock);
    store->stats.series_refused_total += series ? 0 : 1;
    data_unlock(store);
    return series ? series->ref : SERIES_REF_NONE;
}

static int64_t minus_saturated(int64_t a, int64_t b)
{
    int64_t result;
    return __builtin_sub_overflow(a, b, &result) ? (b > 0 ? INT64_MIN : INT64_MAX) : result;
}

static int64_t oldest_kept_ms(const struct store *store)
{
    return minus_saturated(clock_wall_ms(store->clock), store->options.max_age_ms);
}

void store_write_begin(struct store *store)
{
    ASSERT(!store->writing);
    write_lock(&store->head.data_lock);
    store->writing = true;
    store->oldest_ms = oldest_kept_ms(store);
    store->newest_ms = minus_saturated(clock_wall_ms(store->clock), -store->options.max_ahead_ms);
}

void store_write_end(struct store *store)
{
    ASSERT(store->writing);
    store->writing = false;
    pthread_rwlock_unlock(&store->head.data_lock);
}

/* The window that the numbers name, or false when they name none or the time lies outside. */
static bool window_of(int64_t time_ms, int64_t start_ms, int64_t resolution_ms, struct series_window *ret_window)
{
    *ret_window = (struct series_window){0};
    if (resolution_ms == 0) {
        return time_ms < INT64_MAX; /* what is stored is [time, time + 1) */
    }
    if (resolution_ms < 0 || resolution_ms > STORE_RESOLUTION_MS_MAX) {
        return false;
    }
    ret_window->start_ms = start_ms;
    return start_ms % resolution_ms == 0 && !__builtin_add_overflow(start_ms, resolution_ms, &ret_window->end_ms) &&
           time_ms >= start_ms && time_ms < ret_window->end_ms;
}

/* Fills store->entries with the extras that are right, then the record. Returns how many. */
static size_t entries_of(struct store *store, const struct series_window *window, const struct record *record,
                         const struct sample *extras, size_t extra_count)
{
    size_t count = 0;
    int64_t after_ms = minus_saturated(window->start_ms, 1);
    for (size_t i = 0; i < extra_count; i++) {
        if (extras[i].time_ms <= after_ms || extras[i].time_ms >= record->time_ms || count == STORE_EXTRAS_MAX) {
            store->stats.refused_total++;
            continue;
        }
        after_ms = extras[i].time_ms;
        store->entries[count++] = (struct chunk_entry){.sample = extras[i], .flags = ENTRY_EXTRA};
    }
    struct chunk_entry *last = &store->entries[count];
    *last = (struct chunk_entry){.sample = {record->time_ms, record->last}, .count = record->count};
    if (!record_is_constant(record)) {
        last->flags = ENTRY_AGGREGATES;
        last->sum = record->sum;
        last->min = record->min;
        last->max = record->max;
    } else if (count > 0 && record->count > 0 && value_is_stale(record->last)) {
        /* A counter that went stale: its last value is the extra before the marker. */
        double value = store->entries[count - 1].sample.value;
        last->flags = ENTRY_AGGREGATES;
        last->sum = value * record->count;
        last->min = last->max = value;
    }
    return count + 1;
}

static void count_result(struct store_stats *stats, enum series_result result, const struct series_window *window)
{
    switch (result) {
    case SERIES_REPLACED:
        stats->replaced_total++;
        break;
    case SERIES_DUPLICATE:
        stats->duplicates_total++;
        return;
    case SERIES_FULL:
        stats->refused_total++;
        return;
    case SERIES_ADDED:
        break;
    }
    stats->samples_total += window->count;
    stats->min_time_ms = MIN(stats->min_time_ms, window->entries[0].sample.time_ms);
    stats->max_time_ms = MAX(stats->max_time_ms, window->entries[window->count - 1].sample.time_ms);
}

static void put_window(struct store *store, struct series *series, struct series_window *window, size_t count)
{
    window->entries = store->entries;
    window->count = count;
    count_result(&store->stats, series_put(series, window, &store->head.totals), window);
}

/* Resolution 0: every sample is a window of its own. */
static void put_plain(struct store *store, struct series *series, struct sample sample)
{
    struct series_window window = {.start_ms = sample.time_ms, .end_ms = sample.time_ms + 1, .plain = true};
    store->entries[0] = (struct chunk_entry){.sample = sample, .count = value_is_stale(sample.value) ? 0 : 1};
    put_window(store, series, &window, 1);
}

void store_append(struct store *store, series_ref ref, int64_t start_ms, int64_t resolution_ms,
                  const struct record *record, const struct sample *extras, size_t extra_count)
{
    ASSERT(store->writing);
    struct store_stats *stats = &store->stats;
    struct series *series = head_at(&store->head, ref);
    struct series_window window;
    stats->records_total++;
    if (!series || !window_of(record->time_ms, start_ms, resolution_ms, &window)) {
        stats->refused_total++;
        return;
    }
    if (record->time_ms < store->oldest_ms) {
        stats->too_old_total++;
        return;
    }
    if (record->time_ms > store->newest_ms) {
        stats->too_new_total++;
        return;
    }
    if (resolution_ms > 0) {
        put_window(store, series, &window, entries_of(store, &window, record, extras, extra_count));
        return;
    }
    for (size_t i = 0; i < extra_count; i++) {
        stats->records_total++;
        if (extras[i].time_ms < store->oldest_ms || extras[i].time_ms >= record->time_ms) {
            stats->refused_total++;
        } else {
            put_plain(store, series, extras[i]);
        }
    }
    put_plain(store, series, (struct sample){record->time_ms, record->last});
}

/* Prunes one slice of slots; the empty series' refs go to ret_empty. */
static size_t prune_slice(struct store *store, series_ref from, int64_t before_ms, struct store_stats *bounds,
                          series_ref ret_empty[static PRUNE_SLICE_SERIES])
{
    size_t count = 0;
    for (series_ref ref = from; ref - from < PRUNE_SLICE_SERIES && ref < store->head.slot_count; ref++) {
        struct series *series = head_at(&store->head, ref);
        if (!series) {
            continue;
        }
        series_prune(series, before_ms, &store->head.totals);
        if (series->chunk_count == 0) {
            ret_empty[count++] = ref;
            continue;
        }
        bounds->min_time_ms = MIN(bounds->min_time_ms, series->chunks[0]->min_time_ms);
        bounds->max_time_ms = MAX(bounds->max_time_ms, series->chunks[series->chunk_count - 1]->max_time_ms);
    }
    return count;
}

void store_prune(struct store *store)
{
    ASSERT(!store->writing);
    struct head *head = &store->head;
    struct store_stats bounds = {.min_time_ms = INT64_MAX, .max_time_ms = INT64_MIN};
    int64_t before_ms = oldest_kept_ms(store);
    CLEANUP_FREE series_ref *empty = mem_array(PRUNE_SLICE_SERIES, sizeof(*empty));
    head_wake_refs(head);
    for (series_ref from = 0; from < head->slot_count; from += PRUNE_SLICE_SERIES) {
        write_lock(&head->data_lock);
        size_t count = prune_slice(store, from, before_ms, &bounds, empty);
        if (count > 0) {
            atomic_fetch_add(&store->generation, 1);
            write_lock(&head->index_lock);
            for (size_t i = 0; i < count; i++) {
                head_drop(head, head_at(head, empty[i]));
            }
            pthread_rwlock_unlock(&head->index_lock);
        }
        pthread_rwlock_unlock(&head->data_lock);
    }
    write_lock(&head->data_lock);
    store->stats.min_time_ms = bounds.min_time_ms;
    store->stats.max_time_ms = bounds.max_time_ms;
    pthread_rwlock_unlock(&head->data_lock);
}

void store_stats(struct store *store, struct store_stats *ret_stats)
{
    const struct head *head = &store->head;
    int result = pthread_rwlock_rdlock(&store->head.data_lock);
    ASSERT(result == 0);
    *ret_stats = store->stats;
    ret_stats->series = head->table.count;
    ret_stats->chunks = head->totals.chunks;
    ret_stats->samples = head->totals.samples;
    ret_stats->chunk_bytes = head->totals.chunk_bytes;
    ret_stats->label_bytes = head->label_bytes;
    pthread_rwlock_unlock(&store->head.data_lock);
}
