/* Opening a store: what lies in its directory, in the order in which it is to be believed. */
#include "store/snapshot.h"
#include "store/store_internal.h"

#include "base/fail.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Left to the log, and to what is cut, while a merge is written. */
#define FREE_BYTES_MIN (512 * MIB)

static void blocks_event(void *arg, const char *text)
{
    store_event(arg, "%s", text);
}

static void open_compaction(struct store *store)
{
    struct compact_options options = {.blocks = store->blocks,
                                      .deletions = store->deletions,
                                      .clock = store->clock,
                                      .random = &store->random,
                                      .levels_ms = {PARTITION_MS, 4 * PARTITION_MS, 24 * PARTITION_MS},
                                      .level_count = 3,
                                      .unit_bytes_max = 64 * GIB,
                                      .retry_ms = 10 * 60 * INT64_C(1000),
                                      .free_bytes_min = FREE_BYTES_MIN,
                                      .settle_ms = 60 * 60 * INT64_C(1000),
                                      .cancelled = store_is_cancelled,
                                      .cancelled_arg = store};
    if (store->options.levels_ms[0] > 0) {
        memcpy(options.levels_ms, store->options.levels_ms, sizeof(options.levels_ms));
        options.level_count = store->options.level_count;
    }
    store->compact = compact_new(&options);
}

/* The head as the last snapshot has it; else it is filled from the log alone. */
static void open_snapshot(struct store *store, struct buf *extra)
{
    int result = snapshot_read(store, extra);
    if (result < 0) {
        store_event(store, "%s/snapshot cannot be used: %s; the whole log is replayed", store->head_dir,
                    result == -ESTALE    ? "it is of another version"
                    : result == -EBADMSG ? "it is damaged"
                                         : strerror(-result));
    }
}

/* Positions of a log that is not there any more (its directory was taken away) would leave out what comes now. */
static int forget_replaced_log(struct store *store, struct buf *extra)
{
    uint64_t end = store->options.log_end;
    if (end == 0 || MAX(store->position, cut_marks_newest(store->marks)) < end) {
        return 0;
    }
    store_event(store, "the log is another one than before: what it had and blocks have not is lost");
    buf_reset(extra);
    store_empty_head(store);
    store->position = 0;
    atomic_store(&store->settled_position, 0);
    return cut_marks_clear(store->marks);
}

static int open_parts(struct store *store, char ret_error[static 256], struct buf *extra)
{
    const struct store_options *options = &store->options;
    bool damaged = false;
    store->head_dir = mem_printf("%s/head", options->data_dir);
    int result = file_make_dirs(options->fs, store->head_dir);
    if (result == 0) {
        result = cut_marks_open(options->fs, store->head_dir, &damaged, &store->marks);
    }
    if (result == 0) {
        open_snapshot(store, extra);
        result = forget_replaced_log(store, extra);
    }
    if (result == 0) {
        result = partitions_clean(store);
    }
    if (result < 0) {
        snprintf(ret_error, 256, "%s: %s", store->head_dir, strerror(-result));
        return result;
    }
    store->replay_until = cut_marks_newest(store->marks);
    store->replay_partition_ms = INT64_MIN;
    if (damaged) {
        store_event(store, "%s/marks is damaged: what the log has is stored once more, and merged", store->head_dir);
    }
    result = deletions_open(options->fs, store->clock, options->data_dir, ret_error, &store->deletions);
    if (result < 0) {
        return result;
    }
    result = blocks_open(options->fs, store->clock, options->data_dir, &store->blocks);
    if (result < 0) {
        snprintf(ret_error, 256, "%s/blocks: %s", options->data_dir, strerror(-result));
        return result;
    }
    blocks_on_event(store->blocks, blocks_event, store);
    open_compaction(store);
    return 0;
}

int store_open(struct clock *clock, const struct store_options *options, char ret_error[static 256],
               struct buf *ret_extra, struct store **ret_store)
{
    ASSERT(options->fs && options->data_dir && options->retention);
    CLEANUP(store_freep) struct store *store = store_new(clock, options);
    CLEANUP(buf_done) struct buf extra = BUF_INIT(SIZE_MAX);
    int result = open_parts(store, ret_error, ret_extra ? ret_extra : &extra);
    if (result < 0) {
        return result;
    }
    *ret_store = STEAL(store);
    return 0;
}
