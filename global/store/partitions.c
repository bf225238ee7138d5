/* The partitions of the head: which there are, when one begins, when it is sealed, when it goes.
 *
 * One is made when a record of its time comes. While its two hours are the present it closes when all sources that are
 * alive have told what they had of it, or close_after_ms after its end. What comes later makes another one of the same
 * time, a late one: cut when it has been quiet, and small overlapping blocks are merged by compaction. Late ones are
 * bounded in number and memory, the one that was quiet for longest goes first: a backlog is filled in by every source
 * at a pace of its own, so a few at once keep it from being cut into crumbs. */
#include "store/store_internal.h"

#include "base/fail.h"

#include <errno.h>
#include <stdio.h>

#define LATE_MAX        24 /* two days of backlogs at different places */
#define LATE_BYTES_MAX  (1 * GIB)
#define LATE_BYTES_END  (4 * GIB) /* past it, and with so many that wait to be cut, nothing more is taken in */
#define LATE_QUIET_MS   (5 * 60 * INT64_C(1000))
#define LATE_AGE_MAX_MS (3600 * INT64_C(1000))
#define CLOSE_AFTER_MS  (3600 * INT64_C(1000))
#define SEALED_MAX      16 /* that wait to be cut; then more late ones are open at once, max_age / 2 h at most */
#define MARKS_KEPT_MS   (3 * 86400 * INT64_C(1000)) /* beyond max_age */

static int64_t close_after_ms(const struct store *store)
{
    return store->options.close_after_ms > 0 ? store->options.close_after_ms : CLOSE_AFTER_MS;
}

static size_t count_of(const struct store *store, bool sealed, bool late)
{
    size_t count = 0;
    for (size_t i = 0; i < store->partition_count; i++) {
        count += store->partitions[i]->sealed == sealed && store->partitions[i]->late == late;
    }
    return count;
}

static void seal(struct store *store, struct partition *partition)
{
    partition->sealed = true;
    /* In the midst of a batch, which may bring more of this time: a replay is to hand over all of it, and what is in
     * blocks already merges with it. */
    if (store->writing) {
        partition->last_position = MIN(partition->last_position, atomic_load(&store->settled_position));
    }
    store->recent = store->recent == partition ? NULL : store->recent;
    (void)spill_flush(&partition->spill); /* else it is read from memory */
}

/* The open late partition that was quiet for longest. */
static struct partition *quietest_late(const struct store *store)
{
    struct partition *found = NULL;
    for (size_t i = 0; i < store->partition_count; i++) {
        struct partition *partition = store->partitions[i];
        if (partition->late && !partition->sealed && (!found || partition->touched_ms < found->touched_ms)) {
            found = partition;
        }
    }
    return found;
}

static uint64_t late_bytes(const struct store *store)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < store->partition_count; i++) {
        const struct partition *partition = store->partitions[i];
        bytes += partition->late ? partition->chunk_bytes + partition->piece_count * sizeof(struct piece) : 0;
    }
    return bytes;
}

/* Before another late one begins. False: cutting does not keep up, and memory has an end. */
static bool make_room(struct store *store)
{
    uint64_t bytes = late_bytes(store);
    struct partition *quietest = quietest_late(store);
    bool waiting = count_of(store, true, true) + count_of(store, true, false) >= SEALED_MAX;
    if (waiting || !quietest) {
        return bytes <= LATE_BYTES_END;
    }
    if (count_of(store, false, true) >= LATE_MAX || bytes > LATE_BYTES_MAX) {
        seal(store, quietest);
    }
    return true;
}

void partitions_insert(struct store *store, struct partition *partition)
{
    if (store->partition_count == store->partition_capacity) {
        store->partition_capacity = 2 * store->partition_capacity + 16;
        store->partitions = mem_resize(store->partitions, store->partition_capacity, sizeof(struct partition *));
    }
    size_t at = store->partition_count++;
    for (; at > 0 && store->partitions[at - 1]->start_ms > partition->start_ms; at--) {
        store->partitions[at] = store->partitions[at - 1];
    }
    store->partitions[at] = partition;
}

static struct partition *make(struct store *store, int64_t start_ms, bool late)
{
    struct partition *partition = NULL;
    struct partition_options options = {.fs = store->head_dir ? store->options.fs : NULL,
                                        .dir = store->head_dir,
                                        .retention = store->retention,
                                        .start_ms = start_ms,
                                        .number = store->next_number++,
                                        .slots_max = store->head.slots_max};
    int result = partition_new(&options, &partition);
    if (result < 0) {
        store_event(store, "no room for what comes of new hours: %s/%08llu.spill: %s", options.dir,
                    (unsigned long long)options.number, strerror(-result));
        options.fs = NULL; /* in memory then: the log has it */
        result = partition_new(&options, &partition);
    }
    ASSERT(result == 0);
    partition->late = late;
    partition->began_ms = store->now_ms;
    partition->first_position = store->position;
    partitions_insert(store, partition);
    return partition;
}

/* Its time was cut before, or should have been. What a replay brings of hours that nobody cut yet is not late but due.
 */
static bool is_late(const struct store *store, int64_t start_ms)
{
    return cut_marks_get(store->marks, start_ms) > 0 ||
           (store->replayed && start_ms + PARTITION_MS + close_after_ms(store) <= store->now_ms);
}

struct partition *partitions_for(struct store *store, int64_t time_ms)
{
    int64_t start_ms = partition_start_ms(time_ms);
    struct partition *partition = store->recent;
    if (!partition || partition->start_ms != start_ms) {
        partition = NULL;
        bool again = false;
        for (size_t i = 0; i < store->partition_count && !partition; i++) {
            struct partition *other = store->partitions[i];
            again |= other->start_ms == start_ms;
            partition = other->start_ms == start_ms && !other->sealed ? other : NULL;
        }
        if (!partition) {
            bool late = store->head_dir && (again || is_late(store, start_ms));
            if (late && !make_room(store)) {
                return NULL;
            }
            partition = make(store, start_ms, late);
        }
        store->recent = partition;
    }
    partition->touched_ms = store->now_ms;
    partition->last_position = store->position;
    return partition;
}

static bool is_due(const struct store *store, const struct partition *partition, int64_t now_ms, int64_t solid_ms)
{
    int64_t end_ms = partition->start_ms + PARTITION_MS;
    if (partition->late) {
        return now_ms - partition->touched_ms >= LATE_QUIET_MS || now_ms - partition->began_ms >= LATE_AGE_MAX_MS ||
               partition->touched_ms > now_ms; /* our clock went back */
    }
    return end_ms <= solid_ms || end_ms + close_after_ms(store) <= now_ms;
}

/* Takes the partition out of the list; its data is in blocks, or wanted no more. Of a large head it has millions of
 * chunks: the background thread frees them. */
static void take_out(struct store *store, size_t index)
{
    struct partition *partition = store->partitions[index];
    store->recent = NULL;
    for (size_t i = index + 1; i < store->partition_count; i++) {
        store->partitions[i - 1] = store->partitions[i];
    }
    store->partition_count--;
    partition_remove(partition);
    pthread_mutex_lock(&store->counts_lock);
    partition->leaving = store->leaving;
    store->leaving = partition;
    pthread_mutex_unlock(&store->counts_lock);
}

void partitions_free_leaving(struct store *store)
{
    pthread_mutex_lock(&store->counts_lock);
    struct partition *partition = STEAL(store->leaving);
    pthread_mutex_unlock(&store->counts_lock);
    while (partition) {
        struct partition *next = partition->leaving;
        partition_unref(partition);
        partition = next;
    }
}

void partitions_take_out(struct store *store, bool (*wanted)(const struct store *store, const struct partition *))
{
    for (size_t i = store->partition_count; i-- > 0;) {
        if (wanted(store, store->partitions[i])) {
            take_out(store, i);
        }
    }
}

void partitions_seal_due(struct store *store, int64_t solid_ms)
{
    int64_t now_ms = clock_wall_ms(store->clock);
    for (size_t i = 0; i < store->partition_count; i++) {
        if (!store->partitions[i]->sealed && is_due(store, store->partitions[i], now_ms, solid_ms)) {
            seal(store, store->partitions[i]);
        }
    }
    cut_marks_forget(store->marks, now_ms - store->options.max_age_ms - MARKS_KEPT_MS);
}

void partitions_seal_all(struct store *store)
{
    for (size_t i = 0; i < store->partition_count; i++) {
        if (!store->partitions[i]->sealed) {
            seal(store, store->partitions[i]);
        }
    }
}

void partitions_close(struct store *store)
{
    partitions_free_leaving(store);
    for (size_t i = 0; i < store->partition_count; i++) {
        partition_unref(store->partitions[i]);
    }
    mem_free(store->partitions);
    store->partitions = NULL;
    store->partition_count = store->partition_capacity = 0;
    store->recent = NULL;
}

/* The file belongs to a partition that is there. */
static bool is_in_use(const struct store *store, const char *name)
{
    for (size_t i = 0; i < store->partition_count; i++) {
        char used[32];
        snprintf(used, sizeof(used), "%08llu.spill", (unsigned long long)store->partitions[i]->number);
        if (strcmp(used, name) == 0) {
            return true;
        }
    }
    return false;
}

int partitions_clean(struct store *store)
{
    char **names = NULL;
    size_t count = 0;
    int result = file_list(store->options.fs, store->head_dir, &names, &count);
    for (size_t i = 0; result == 0 && i < count; i++) {
        if (str_ends_with(str_from(names[i]), STR(".spill")) && !is_in_use(store, names[i])) {
            CLEANUP_FREE char *path = mem_printf("%s/%s", store->head_dir, names[i]);
            result = file_unlink(store->options.fs, path);
        }
    }
    file_names_free(names, count);
    return result;
}
