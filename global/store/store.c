#include "store/store_internal.h"

#include "base/fail.h"
#include "store/snapshot.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PRUNE_SLICE_SERIES 4096 /* looked at under one hold of the lock: readers wait some 0.1 ms */
#define EVENT_BYTES        1024

struct store *store_new(struct clock *clock, const struct store_options *options)
{
    ASSERT(options->max_age_ms > 0 && options->max_ahead_ms >= 0);
    struct store *store = mem_zalloc(sizeof(*store));
    store->clock = clock;
    store->options = *options;
    store->kept_position = UINT64_MAX;
    atomic_init(&store->generation, 1);
    store->entries = mem_array(STORE_EXTRAS_MAX + 1, sizeof(*store->entries));
    store->retention = options->retention ? retention_ref(options->retention) : NULL;
    pthread_mutex_init(&store->counts_lock, NULL);
    random_seed_from_system(&store->random);
    head_init(&store->head, options->series_max);
    return store;
}

void store_free(struct store *store)
{
    if (!store) {
        return;
    }
    ASSERT(!store->writing);
    partitions_close(store);
    head_done(&store->head);
    compact_free(store->compact);
    blocks_close(store->blocks);
    deletions_free(store->deletions);
    cut_marks_free(store->marks);
    retention_unref(store->retention);
    pthread_mutex_destroy(&store->counts_lock);
    mem_free(store->entries);
    mem_free(store->head_dir);
    mem_free(store);
}

void store_event(struct store *store, const char *format, ...)
{
    char text[EVENT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (store->options.on_event) {
        store->options.on_event(store->options.on_event_arg, text);
    }
}

bool store_is_cancelled(void *store)
{
    return atomic_load(&((struct store *)store)->cancelled);
}

void store_cancel_work(struct store *store)
{
    atomic_store(&store->cancelled, true);
}

void store_empty_head(struct store *store)
{
    partitions_close(store);
    head_done(&store->head);
    head_init(&store->head, store->options.series_max);
}

uint64_t store_generation(const struct store *store)
{
    return atomic_load(&store->generation);
}

/* data_lock for a change outside of a block; inside of one it is held already. */
static void data_lock(struct store *store)
{
    if (!store->writing) {
        head_write_lock(&store->head.data_lock);
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
    series_ref ref = head_find(&store->head, labels);
    if (ref != SERIES_REF_NONE) {
        return ref;
    }
    data_lock(store);
    head_write_lock(&store->head.index_lock);
    ref = head_add(&store->head, labels, kind);
    pthread_rwlock_unlock(&store->head.index_lock);
    store->stats.series_refused_total += ref == SERIES_REF_NONE;
    data_unlock(store);
    return ref;
}

bool store_has(const struct store *store, series_ref ref)
{
    return head_at(&store->head, ref) != NULL;
}

/* ---- Writing ---- */

static int64_t minus_saturated(int64_t a, int64_t b)
{
    int64_t result;
    return __builtin_sub_overflow(a, b, &result) ? (b > 0 ? INT64_MIN : INT64_MAX) : result;
}

void store_write_begin(struct store *store)
{
    ASSERT(!store->writing);
    head_write_lock(&store->head.data_lock);
    store->writing = true;
    store->now_ms = clock_wall_ms(store->clock);
    store->oldest_ms = minus_saturated(store->now_ms, store->options.max_age_ms);
    store->newest_ms = minus_saturated(store->now_ms, -store->options.max_ahead_ms);
}

void store_write_end(struct store *store)
{
    ASSERT(store->writing);
    store->writing = false;
    pthread_rwlock_unlock(&store->head.data_lock);
}

void store_set_position(struct store *store, uint64_t position)
{
    ASSERT(position >= store->position);
    atomic_store(&store->settled_position, store->position);
    store->position = position;
    store->replay_until = position > store->replay_until ? 0 : store->replay_until;
}

/* A window as the caller named it. */
struct window {
    int64_t start_ms, end_ms;
    uint32_t resolution_ms; /* 0: plain */
};

/* False when the numbers name no window or the time lies outside. */
static bool window_of(int64_t time_ms, int64_t start_ms, int64_t resolution_ms, struct window *ret_window)
{
    if (resolution_ms < 0 || resolution_ms > STORE_RESOLUTION_MS_MAX) {
        return false;
    }
    struct window window = {start_ms, 0, (uint32_t)resolution_ms};
    if (resolution_ms == 0) {
        window.start_ms = time_ms;
        *ret_window = window;
        return time_ms < INT64_MAX;
    }
    bool is_one = window_start_ms(start_ms, resolution_ms) == start_ms &&
                  !__builtin_add_overflow(start_ms, resolution_ms, &window.end_ms) && time_ms >= start_ms &&
                  time_ms < window.end_ms;
    *ret_window = window;
    return is_one;
}

/* Fills store->entries with the extras that are right, then the record. Returns how many. */
static size_t entries_of(struct store *store, const struct window *window, const struct record *record,
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
        store->entries[count++] =
            (struct entry){.sample = extras[i], .flags = ENTRY_EXTRA, .resolution_ms = window->resolution_ms};
    }
    struct entry *last = &store->entries[count];
    *last = (struct entry){
        .sample = {record->time_ms, record->last}, .count = record->count, .resolution_ms = window->resolution_ms};
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

/* In blocks already: only a replay brings such. */
static bool was_cut(struct store *store, int64_t time_ms)
{
    int64_t partition_ms = partition_start_ms(time_ms);
    if (partition_ms != store->replay_partition_ms) {
        store->replay_partition_ms = partition_ms;
        store->replay_partition_cut = cut_marks_get(store->marks, partition_ms);
    }
    return store->position <= store->replay_partition_cut;
}

static void put(struct store *store, series_ref ref, const struct entry *window, size_t count)
{
    struct store_stats *stats = &store->stats;
    if (store->replay_until > 0 && store->position > 0 && was_cut(store, window[count - 1].sample.time_ms)) {
        stats->replayed_total++;
        return;
    }
    struct partition *partition = partitions_for(store, window[count - 1].sample.time_ms);
    if (!partition) {
        stats->refused_total++;
        store->kept_position = MIN(store->kept_position, store->position);
        return;
    }
    switch (partition_put(partition, ref, window, count)) {
    case PUT_REPLACED:
        stats->replaced_total++;
        break;
    case PUT_DUPLICATE:
        stats->duplicates_total++;
        return;
    case PUT_FULL:
        stats->refused_total++;
        return;
    case PUT_ADDED:
        break;
    }
    stats->samples_total += count;
}

/* Resolution 0: every sample is a window of its own. */
static void put_plain(struct store *store, series_ref ref, struct sample sample)
{
    struct entry entry = {.sample = sample, .count = value_is_stale(sample.value) ? 0 : 1};
    put(store, ref, &entry, 1);
}

/* Over a border of partitions there is no identity of windows: it is a matter of resolutions that nothing else fits to,
 * and two hours apart. */
static void put_crossing(struct store *store, series_ref ref, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        put_plain(store, ref, store->entries[i].sample);
    }
}

void store_append(struct store *store, series_ref ref, int64_t start_ms, int64_t resolution_ms,
                  const struct record *record, const struct sample *extras, size_t extra_count)
{
    ASSERT(store->writing);
    struct store_stats *stats = &store->stats;
    struct window window;
    stats->records_total++;
    if (!head_at(&store->head, ref) || !window_of(record->time_ms, start_ms, resolution_ms, &window)) {
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
        size_t count = entries_of(store, &window, record, extras, extra_count);
        if (partition_start_ms(window.start_ms) + PARTITION_MS < window.end_ms) {
            put_crossing(store, ref, count);
        } else {
            put(store, ref, store->entries, count);
        }
        return;
    }
    for (size_t i = 0; i < extra_count; i++) {
        stats->records_total++;
        if (extras[i].time_ms < store->oldest_ms || extras[i].time_ms >= record->time_ms) {
            stats->refused_total++;
        } else {
            put_plain(store, ref, extras[i]);
        }
    }
    put_plain(store, ref, (struct sample){record->time_ms, record->last});
}

void store_prefetch(const struct store *store, series_ref ref, enum store_prefetch how)
{
    if (store->recent && ref < store->head.slot_count) {
        if (how == STORE_PREFETCH_FAR) {
            __builtin_prefetch(&store->head.pages[ref / HEAD_PAGE_SERIES][ref % HEAD_PAGE_SERIES]);
        }
        partition_prefetch(store->recent, ref, how);
    }
}

/* ---- Upkeep ---- */

static bool is_cut(const struct store *store, const struct partition *partition)
{
    (void)store;
    return atomic_load(&partition->cut);
}

static bool is_past(const struct store *store, const struct partition *partition)
{
    return partition->start_ms + PARTITION_MS <=
           minus_saturated(clock_wall_ms(store->clock), store->options.max_age_ms);
}

void store_upkeep(struct store *store, int64_t solid_ms)
{
    ASSERT(!store->writing && store->head_dir);
    head_write_lock(&store->head.data_lock);
    store->now_ms = clock_wall_ms(store->clock);
    store->replayed = true;
    partitions_seal_due(store, solid_ms);
    partitions_take_out(store, is_cut);
    pthread_rwlock_unlock(&store->head.data_lock);
}

void store_cut_all(struct store *store)
{
    ASSERT(!store->writing && store->head_dir);
    head_write_lock(&store->head.data_lock);
    partitions_seal_all(store);
    pthread_rwlock_unlock(&store->head.data_lock);
    while (store_work(store)) {
    }
    store_upkeep(store, INT64_MIN);
}

/* True when the series has something in a partition. */
static bool has_strand(const struct store *store, series_ref ref)
{
    for (size_t i = 0; i < store->partition_count; i++) {
        if (partition_strand(store->partitions[i], ref)) {
            return true;
        }
    }
    return false;
}

/* The refs of one slice whose series have nothing. */
static size_t empty_slice(const struct store *store, series_ref from, size_t max, series_ref *ret_empty)
{
    size_t count = 0;
    for (series_ref ref = from; ref - from < PRUNE_SLICE_SERIES && ref < store->head.slot_count && count < max; ref++) {
        if (head_at(&store->head, ref) && !has_strand(store, ref)) {
            ret_empty[count++] = ref;
        }
    }
    return count;
}

static bool any_sealed(const struct store *store)
{
    for (size_t i = 0; i < store->partition_count; i++) {
        if (store->partitions[i]->sealed) {
            return true;
        }
    }
    return false;
}

void store_prune(struct store *store)
{
    ASSERT(!store->writing);
    struct head *head = &store->head;
    size_t left = STORE_DROPS_MAX;
    CLEANUP_FREE series_ref *empty = mem_array(PRUNE_SLICE_SERIES, sizeof(*empty));
    if (!store->head_dir) {
        head_write_lock(&head->data_lock);
        partitions_take_out(store, is_past);
        pthread_rwlock_unlock(&head->data_lock);
        partitions_free_leaving(store);
    }
    if (any_sealed(store) || atomic_load(&store->snapshotting)) {
        return; /* the background thread relies on the labels of their series */
    }
    head_wake_refs(head);
    for (series_ref from = 0; from < head->slot_count && left > 0; from += PRUNE_SLICE_SERIES) {
        size_t count = empty_slice(store, from, left, empty); /* the writer reads without a lock */
        if (count == 0) {
            continue;
        }
        left -= count;
        head_write_lock(&head->data_lock);
        head_write_lock(&head->index_lock);
        atomic_fetch_add(&store->generation, 1);
        for (size_t i = 0; i < count; i++) {
            head_drop(head, empty[i]);
        }
        pthread_rwlock_unlock(&head->index_lock);
        pthread_rwlock_unlock(&head->data_lock);
    }
}

uint64_t store_replay_from(const struct store *store)
{
    return store->position;
}

bool store_snapshot_begin(struct store *store)
{
    ASSERT(!store->writing && store->head_dir);
    bool wanted = !atomic_load(&store->snapshotting) && store->position != store->snapshot_position;
    atomic_store(&store->cancelled, false); /* also when work was cancelled for the end */
    store->snapshot_position = store->position;
    atomic_store(&store->snapshotting, wanted || atomic_load(&store->snapshotting));
    return wanted;
}

int store_snapshot(struct store *store, struct str extra)
{
    ASSERT(atomic_load(&store->snapshotting));
    int result = snapshot_write(store, extra);
    atomic_store(&store->snapshotting, false);
    return result;
}

uint64_t store_log_needed(struct store *store)
{
    uint64_t needed = MIN(store->position, store->kept_position);
    for (size_t i = 0; i < store->partition_count; i++) {
        needed = MIN(needed, store->partitions[i]->first_position);
    }
    return needed;
}

void store_set_retention(struct store *store, struct retention *retention)
{
    head_write_lock(&store->head.data_lock);
    struct retention *old = store->retention;
    store->retention = retention_ref(retention);
    pthread_rwlock_unlock(&store->head.data_lock);
    retention_unref(old);
}

struct retention *store_retention(struct store *store)
{
    head_read_lock(&store->head.data_lock);
    struct retention *retention = store->retention ? retention_ref(store->retention) : NULL;
    pthread_rwlock_unlock(&store->head.data_lock);
    return retention;
}

/* ---- What is in it ---- */

struct blocks *store_blocks(struct store *store)
{
    return store->blocks;
}

struct deletions *store_deletions(struct store *store)
{
    return store->deletions;
}

struct compact *store_compact(struct store *store)
{
    return store->compact;
}

void store_retention_counts(struct store *store, struct retention_counts counts[static RETENTION_CLASSES_MAX])
{
    pthread_mutex_lock(&store->counts_lock);
    memcpy(counts, store->retention_counts, sizeof(store->retention_counts));
    pthread_mutex_unlock(&store->counts_lock);
}

static void add_partition(struct store_stats *stats, const struct partition *partition)
{
    stats->partitions++;
    stats->late_partitions += partition->late;
    stats->sealed_partitions += partition->sealed;
    stats->chunks += partition->chunks;
    stats->samples += partition->entries;
    stats->chunk_bytes += partition->chunk_bytes + partition->spill.pending_capacity;
    stats->pieces += partition->piece_count;
    stats->spill_bytes += partition->spill.flushed;
    stats->min_time_ms = MIN(stats->min_time_ms, partition->min_time_ms);
    stats->max_time_ms = MAX(stats->max_time_ms, partition->max_time_ms);
}

void store_stats(struct store *store, struct store_stats *ret_stats)
{
    const struct head *head = &store->head;
    head_read_lock(&store->head.data_lock);
    struct store_stats stats = store->stats;
    stats.min_time_ms = INT64_MAX;
    stats.max_time_ms = INT64_MIN;
    stats.series = head->table.count;
    stats.label_bytes = head_label_bytes(head);
    for (size_t i = 0; i < store->partition_count; i++) {
        add_partition(&stats, store->partitions[i]);
    }
    stats.cuts_total = atomic_load(&store->cuts_total);
    stats.cut_failures_total = atomic_load(&store->cut_failures_total);
    stats.late_cuts_total = atomic_load(&store->late_cuts_total);
    *ret_stats = stats;
    pthread_rwlock_unlock(&store->head.data_lock);
}
