/* Reads blocks again and again, so that damage is found while there is still a copy to repair it from. */
#include "base/fail.h"
#include "store/blocks_internal.h"

#include <errno.h>

#define SCRUB_PERIOD_MS INT64_C(86400000) /* each block once a day: 1 TB is 12 MB/s */
#define SCRUB_RETRY_MS  INT64_C(3600000)  /* after an error that is not the block's */
#define PUT_BACK_MS     INT64_C(3600000) /* what was whole so recently and is damaged again does not go back by itself */

/* A clock that was set back makes what was checked in its future due: the next stamps are right again. */
static bool is_due(const struct blocks_item *item, int64_t now_ms)
{
    return item->checked_ms > now_ms || now_ms - item->checked_ms >= SCRUB_PERIOD_MS;
}

/* A reference to the block that is due the longest; NULL: none is. */
static struct block *next_due(struct blocks *blocks)
{
    int64_t now_ms = clock_wall_ms(blocks->clock);
    const struct blocks_item *oldest = NULL;
    pthread_mutex_lock(&blocks->lock);
    for (size_t i = 0; i < blocks->served.count; i++) {
        const struct blocks_item *item = &blocks->served.items[i];
        if (is_due(item, now_ms) && (!oldest || item->checked_ms < oldest->checked_ms)) {
            oldest = item;
        }
    }
    struct block *block = oldest ? block_ref(oldest->block) : NULL;
    pthread_mutex_unlock(&blocks->lock);
    return block;
}

/* As checked so long before now. */
static void stamp(struct blocks *blocks, const struct block *block, int64_t before_ms)
{
    pthread_mutex_lock(&blocks->change); /* changes read stamps without `lock` */
    pthread_mutex_lock(&blocks->lock);
    for (size_t i = 0; i < blocks->served.count; i++) {
        if (blocks->served.items[i].block == block) {
            blocks->served.items[i].checked_ms = clock_wall_ms(blocks->clock) - before_ms;
        }
    }
    blocks->scrubbed_total++;
    pthread_mutex_unlock(&blocks->lock);
    pthread_mutex_unlock(&blocks->change);
}

/* ---- what readers found ---- */

static bool next_unexplained(struct blocks *blocks, struct blocks_record *ret_record)
{
    bool found = false;
    pthread_mutex_lock(&blocks->lock);
    for (size_t i = 0; i < blocks->damaged_count && !found; i++) {
        found = blocks->damaged[i].unexplained;
        if (found) {
            *ret_record = blocks->damaged[i];
        }
    }
    pthread_mutex_unlock(&blocks->lock);
    return found;
}

static int examine(struct blocks *blocks, const struct blocks_record *record, postings_cancelled_fn *cancelled,
                   void *arg)
{
    CLEANUP(block_unrefp) struct block *block = NULL;
    char reason[BLOCK_REASON_BYTES] = "";
    int r = block_open(&blocks->damaged_dirs, &record->ulid, reason, &block);
    r = r < 0 ? r : block_verify(block, cancelled, arg, reason);
    if (r == -ECANCELED) {
        return r;
    }
    int64_t since_ms = clock_wall_ms(blocks->clock) - record->checked_ms;
    bool goes_back = r == 0 && (since_ms < 0 || since_ms >= PUT_BACK_MS);
    block_unref(STEAL(block));
    pthread_mutex_lock(&blocks->change);
    if (goes_back) {
        blocks_put_back_locked(blocks, &record->ulid);
    } else {
        blocks_explain_locked(blocks, &record->ulid, reason[0] ? reason : r < 0 ? strerror(-r) : record->reason);
    }
    pthread_mutex_unlock(&blocks->change);
    blocks_tell_all(blocks);
    return 1;
}

/* ---- a step ---- */

int blocks_scrub_step(struct blocks *blocks, postings_cancelled_fn *cancelled, void *arg)
{
    struct blocks_record record;
    if (next_unexplained(blocks, &record)) {
        return examine(blocks, &record, cancelled, arg);
    }
    CLEANUP(block_unrefp) struct block *block = next_due(blocks);
    if (!block) {
        return 0;
    }
    char reason[BLOCK_REASON_BYTES] = "";
    int r = block_verify(block, cancelled, arg, reason);
    if (r == -ECANCELED) {
        return r;
    }
    if (r < 0 && !blocks_error_is_passing(r)) {
        blocks_set_aside(blocks, block, reason[0] ? reason : strerror(-r));
    }
    stamp(blocks, block, r == 0 ? 0 : SCRUB_PERIOD_MS - SCRUB_RETRY_MS);
    return 1;
}
