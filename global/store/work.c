/* Background work of the store, a unit at a time, in the order of what waiting costs: cutting (memory and log grow
 * until it is done), retention (disk), compaction (queries), checks. */
#include "store/store_internal.h"

#include "base/fail.h"

#include <errno.h>

#define RETRY_CUT_MS       (60 * INT64_C(1000))
#define RETENTION_EVERY_MS (60 * INT64_C(1000))
#define SCRUB_PAUSE_MS     (10 * INT64_C(1000)) /* between two blocks: checking all is no hurry */

static bool cut_one(struct store *store, int64_t now_ms)
{
    if (now_ms < store->retry_cut_ms && store->retry_cut_ms - now_ms <= RETRY_CUT_MS) {
        return false;
    }
    struct partition *partition = partitions_next_sealed(store);
    if (!partition) {
        return false;
    }
    int result = partition_cut(store, partition);
    if (result == 0) {
        atomic_fetch_add(&store->cuts_total, 1);
        atomic_fetch_add(&store->late_cuts_total, partition->late);
        atomic_store(&partition->cut, true);
    } else if (result != -ECANCELED) {
        char start[32];
        clock_format_rfc3339(partition->start_ms, start);
        atomic_fetch_add(&store->cut_failures_total, 1);
        store->retry_cut_ms = now_ms + RETRY_CUT_MS;
        store_event(store, "the two hours from %s cannot be written as blocks, tried again in a minute: %s", start,
                    strerror(-result));
    }
    partition_unref(partition);
    return result == 0;
}

static void expire(struct store *store, int64_t now_ms)
{
    struct retention_counts counts[RETENTION_CLASSES_MAX] = {0};
    struct retention *retention = store_retention(store);
    int result = retention_apply(retention, store->blocks, now_ms, counts);
    if (result < 0) {
        store_event(store, "blocks past their retention cannot be deleted: %s", strerror(-result));
    }
    pthread_mutex_lock(&store->counts_lock);
    for (size_t i = 0; i < RETENTION_CLASSES_MAX; i++) {
        store->retention_counts[i].blocks_total += counts[i].blocks_total;
        store->retention_counts[i].bytes_total += counts[i].bytes_total;
        store->retention_counts[i].samples_total += counts[i].samples_total;
    }
    pthread_mutex_unlock(&store->counts_lock);
    retention_unref(retention);
}

/* What the head may still add to begins here; INT64_MAX when it is empty. */
static int64_t head_start_ms(struct store *store)
{
    int64_t start_ms = INT64_MAX;
    head_read_lock(&store->head.data_lock);
    for (size_t i = 0; i < store->partition_count; i++) {
        start_ms = MIN(start_ms, store->partitions[i]->start_ms);
    }
    pthread_rwlock_unlock(&store->head.data_lock);
    return start_ms;
}

/* Some part of the head may have what the deletion covers. */
static bool head_meets(struct store *store, const struct deletion *deletion)
{
    bool meets = false;
    head_read_lock(&store->head.data_lock);
    for (size_t i = 0; i < store->partition_count && !meets; i++) {
        meets = partition_meets(store->partitions[i], deletion->start_ms, deletion->end_ms);
    }
    pthread_rwlock_unlock(&store->head.data_lock);
    return meets;
}

/* Those that neither the head nor a block can have anything of. One that is being accepted right now is in the list
 * before the blocks are looked at for it: it comes next time. */
static void finish_deletions(struct store *store)
{
    struct deletion *items = NULL;
    size_t count = 0;
    uint64_t newest = deletions_newest(store->deletions);
    uint64_t waiting = compact_oldest_deletion(store->compact);
    uint64_t until = waiting > 0 ? MIN(waiting - 1, newest) : newest;
    deletions_list(store->deletions, &items, &count);
    for (size_t i = 0; i < count && items[i].id <= until; i++) {
        if (items[i].done_ms == 0 && !head_meets(store, &items[i]) &&
            deletions_done(store->deletions, items[i].id) == 0) {
            store_event(store, "deletion %llu, of %s, is applied everywhere", (unsigned long long)items[i].id,
                        items[i].match);
        }
    }
    deletions_list_free(items, count);
}

bool store_work(struct store *store)
{
    int64_t now_ms = clock_wall_ms(store->clock);
    partitions_free_leaving(store);
    if (store_is_cancelled(store)) {
        return false;
    }
    if (cut_one(store, now_ms)) {
        return true;
    }
    if (now_ms >= store->next_retention_ms || store->next_retention_ms - now_ms > RETENTION_EVERY_MS) {
        store->next_retention_ms = now_ms + RETENTION_EVERY_MS;
        expire(store, now_ms);
    }
    int done = compact_step(store->compact, head_start_ms(store));
    if (done > 0) {
        return true;
    }
    if (now_ms >= store->next_scrub_ms || store->next_scrub_ms - now_ms > SCRUB_PAUSE_MS) {
        store->next_scrub_ms = now_ms + SCRUB_PAUSE_MS;
        finish_deletions(store);
        blocks_sweep(store->blocks);
        done = blocks_scrub_step(store->blocks, store_is_cancelled, store);
    }
    return done > 0;
}
