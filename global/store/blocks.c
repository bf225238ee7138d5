/* What changes the list of blocks: each change is written to blocks.json before it is seen, and files are deleted only
 * after that. */
#include "store/blocks.h"

#include "base/fail.h"
#include "store/blocks_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void unlock(pthread_mutex_t **mutex)
{
    pthread_mutex_unlock(*mutex);
}

/* Locked until the scope ends. */
#define LOCKED(mutex)                                                                                                  \
    CLEANUP(unlock) UNUSED pthread_mutex_t *locked_ = (mutex);                                                         \
    pthread_mutex_lock(locked_)

bool blocks_error_is_passing(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -EINTR || error == -EAGAIN;
}

/* ---- lists ---- */

int blocks_item_compare(const void *a, const void *b)
{
    const struct block_meta *x = block_meta_of(((const struct blocks_item *)a)->block);
    const struct block_meta *y = block_meta_of(((const struct blocks_item *)b)->block);
    if (x->min_time_ms != y->min_time_ms) {
        return x->min_time_ms < y->min_time_ms ? -1 : 1;
    }
    return strcmp(x->ulid.text, y->ulid.text);
}

static struct blocks_item *find_served(const struct blocks_items *served, const struct ulid *ulid)
{
    for (size_t i = 0; i < served->count; i++) {
        if (strcmp(block_meta_of(served->items[i].block)->ulid.text, ulid->text) == 0) {
            return &served->items[i];
        }
    }
    return NULL;
}

static struct blocks_record *find_damaged(const struct blocks *blocks, const struct ulid *ulid)
{
    for (size_t i = 0; i < blocks->damaged_count; i++) {
        if (strcmp(blocks->damaged[i].ulid.text, ulid->text) == 0) {
            return &blocks->damaged[i];
        }
    }
    return NULL;
}

void blocks_add_damaged(struct blocks *blocks, const struct blocks_record *record)
{
    LOCKED(&blocks->lock);
    if (blocks->damaged_count == blocks->damaged_capacity) {
        blocks->damaged_capacity = MAX(blocks->damaged_capacity * 2, (size_t)8);
        blocks->damaged = mem_resize(blocks->damaged, blocks->damaged_capacity, sizeof(*record));
    }
    blocks->damaged[blocks->damaged_count++] = *record;
}

static void drop_damaged(struct blocks *blocks, struct blocks_record *record)
{
    LOCKED(&blocks->lock);
    *record = blocks->damaged[--blocks->damaged_count];
}

void blocks_add_leaving(struct blocks *blocks, const struct ulid *ulid, struct block *block, bool damaged)
{
    if (blocks->leaving_count == blocks->leaving_capacity) {
        blocks->leaving_capacity = MAX(blocks->leaving_capacity * 2, (size_t)8);
        blocks->leaving = mem_resize(blocks->leaving, blocks->leaving_capacity, sizeof(*blocks->leaving));
    }
    blocks->leaving[blocks->leaving_count++] = (struct blocks_leaving){*ulid, block ? block_ref(block) : NULL, damaged};
}

/* Takes back what was added last. */
static void cut_leaving(struct blocks *blocks, size_t count)
{
    while (blocks->leaving_count > count) {
        block_unref(blocks->leaving[--blocks->leaving_count].block);
    }
}

/* What is served now without `gone`, and with `added`, which may be NULL. References are those of the lists' owner. */
static struct blocks_items next_items(const struct blocks *blocks, struct block *const *gone, size_t gone_count,
                                      const struct blocks_item *added)
{
    struct blocks_items next = {mem_array(blocks->served.count + 1, sizeof(*next.items)), 0};
    for (size_t i = 0; i < blocks->served.count; i++) {
        bool stays = true;
        for (size_t j = 0; j < gone_count; j++) {
            stays = stays && blocks->served.items[i].block != gone[j];
        }
        if (stays) {
            next.items[next.count++] = blocks->served.items[i];
        }
    }
    if (added) {
        next.items[next.count++] = *added;
        qsort(next.items, next.count, sizeof(*next.items), blocks_item_compare);
    }
    return next;
}

/* Readers see the next list from here on. */
static void swap_items(struct blocks *blocks, struct blocks_items *next)
{
    LOCKED(&blocks->lock);
    struct blocks_items before = blocks->served;
    blocks->served = *next;
    mem_free(before.items);
}

/* ---- blocks.json ---- */

struct blocks_record blocks_record_of(const struct blocks_item *item)
{
    const struct block_meta *meta = block_meta_of(item->block);
    struct blocks_record record = {
        .ulid = meta->ulid,
        .min_time_ms = meta->min_time_ms,
        .max_time_ms = meta->max_time_ms,
        .samples = meta->sample_count,
        .series = meta->series_count,
        .disk_bytes = block_disk_bytes(item->block),
        .checked_ms = item->checked_ms,
    };
    memcpy(record.class, meta->class, sizeof(record.class));
    return record;
}

void blocks_print_catalog(const struct blocks *blocks, const struct blocks_items *served, struct buf *out)
{
    CLEANUP(blocks_catalog_done) struct blocks_catalog catalog = {0};
    for (size_t i = 0; i < served->count; i++) {
        struct blocks_record record = blocks_record_of(&served->items[i]);
        blocks_catalog_add(&catalog, &record);
    }
    for (size_t i = 0; i < blocks->damaged_count; i++) {
        blocks_catalog_add(&catalog, &blocks->damaged[i]);
    }
    for (size_t i = 0; i < blocks->leaving_count; i++) {
        blocks_catalog_add_leaving(&catalog, &blocks->leaving[i].ulid);
    }
    blocks_catalog_sort(&catalog);
    blocks_catalog_print(&catalog, out);
}

int blocks_write_catalog(struct blocks *blocks, const struct blocks_items *served)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(BLOCKS_CATALOG_BYTES_MAX);
    blocks_print_catalog(blocks, served, &text);
    int r = text.full ? -EFBIG : file_write_whole(blocks->fs, blocks->catalog_path, text.data, text.len);
    if (r < 0) {
        if (!blocks->unwritten) {
            blocks_tell(blocks, "blocks.json cannot be written: %s", strerror(-r));
        }
        blocks->unwritten = true; /* it may be the new one all the same: the rename is done before the last sync */
        return r;
    }
    blocks->unwritten = false;
    return 0;
}

/* ---- files ---- */

/* 0 also when it has gone before. */
static int delete_files(const struct block_dirs *dirs, const struct ulid *ulid)
{
    int r = block_delete(dirs, ulid);
    return r == -ENOENT ? 0 : r;
}

static int move_dir(struct blocks *blocks, const char *from_dir, const char *to_dir, const struct ulid *ulid)
{
    CLEANUP_FREE char *from = mem_printf("%s/%s", from_dir, ulid->text);
    CLEANUP_FREE char *to = mem_printf("%s/%s", to_dir, ulid->text);
    int r = file_exists(blocks->fs, from);
    if (r <= 0) {
        return r;
    }
    r = file_rename(blocks->fs, from, to);
    r = r < 0 ? r : file_sync_dir(blocks->fs, to_dir);
    return r < 0 ? r : file_sync_dir(blocks->fs, from_dir);
}

int blocks_move_aside(struct blocks *blocks, const struct ulid *ulid)
{
    CLEANUP_FREE char *from = mem_printf("%s/%s", blocks->blocks_dir, ulid->text);
    CLEANUP_FREE char *to = mem_printf("%s/%s", blocks->damaged_dir, ulid->text);
    int is_here = file_exists(blocks->fs, from), is_there = file_exists(blocks->fs, to);
    int r = MIN(is_here, is_there);
    if (r < 0) {
        return r;
    }
    if (is_here && is_there) { /* damaged before, restored, damaged again */
        r = delete_files(&blocks->damaged_dirs, ulid);
    }
    /* Aggregates first: without their block they are leftovers. */
    r = r < 0 ? r : move_dir(blocks, blocks->aggregates_dir, blocks->damaged_aggregates_dir, ulid);
    return r < 0 ? r : move_dir(blocks, blocks->blocks_dir, blocks->damaged_dir, ulid);
}

int blocks_move_back(struct blocks *blocks, const struct ulid *ulid)
{
    /* The block first: aggregates without it are leftovers; it without them is found damaged, and goes again. */
    int r = move_dir(blocks, blocks->damaged_dir, blocks->blocks_dir, ulid);
    return r < 0 ? r : move_dir(blocks, blocks->damaged_aggregates_dir, blocks->aggregates_dir, ulid);
}

void blocks_sweep_locked(struct blocks *blocks)
{
    if (blocks->unwritten && blocks_write_catalog(blocks, &blocks->served) < 0) {
        return;
    }
    size_t kept = 0;
    for (size_t i = 0; i < blocks->leaving_count; i++) {
        struct blocks_leaving *leaving = &blocks->leaving[i];
        bool gone = !leaving->block || !block_is_shared(leaving->block);
        if (gone) {
            block_unref(STEAL(leaving->block));
            gone = delete_files(leaving->damaged ? &blocks->damaged_dirs : &blocks->dirs, &leaving->ulid) == 0;
        }
        if (!gone) {
            blocks->leaving[kept++] = *leaving;
        }
    }
    blocks->leaving_count = kept;
}

void blocks_sweep(struct blocks *blocks)
{
    {
        LOCKED(&blocks->change);
        blocks_sweep_locked(blocks);
    }
    blocks_tell_all(blocks);
}

/* ---- publish ---- */

static int check_publish(const struct blocks *blocks, const struct block *block, struct block *const *replaced,
                         size_t replaced_count)
{
    for (size_t i = 0; i < replaced_count; i++) {
        const struct blocks_item *item = find_served(&blocks->served, &block_meta_of(replaced[i])->ulid);
        if (!item || item->block != replaced[i]) {
            return -ESTALE;
        }
    }
    if (!block) {
        return 0;
    }
    if (find_served(&blocks->served, &block_meta_of(block)->ulid)) {
        return -EEXIST;
    }
    return blocks->served.count - replaced_count >= BLOCKS_MAX ? -EMFILE : 0;
}

/* The change itself: blocks.json, then what readers see. Takes the reference of `block`, which may be NULL, when it is
 * done. */
static int publish_locked(struct blocks *blocks, struct block *block, struct block *const *replaced,
                          size_t replaced_count)
{
    int r = check_publish(blocks, block, replaced, replaced_count);
    if (r < 0) {
        return r;
    }
    struct blocks_item added = {block, clock_wall_ms(blocks->clock)}; /* its writer has read it back */
    struct blocks_items next = next_items(blocks, replaced, replaced_count, block ? &added : NULL);
    size_t leaving_before = blocks->leaving_count;
    for (size_t i = 0; i < replaced_count; i++) {
        blocks_add_leaving(blocks, &block_meta_of(replaced[i])->ulid, replaced[i], false);
    }
    r = blocks_write_catalog(blocks, &next);
    if (r < 0) {
        cut_leaving(blocks, leaving_before);
        mem_free(next.items);
        return r;
    }
    swap_items(blocks, &next);
    for (size_t i = 0; i < replaced_count; i++) {
        block_unref(replaced[i]); /* the list's; that of `leaving` is there */
    }
    LOCKED(&blocks->lock);
    blocks->published_total += block ? 1 : 0;
    blocks->replaced_total += replaced_count;
    return 0;
}

static void tell_gone(struct blocks *blocks, struct block *const *gone, size_t count, const char *why)
{
    for (size_t i = 0; i < count; i++) {
        const struct block_meta *meta = block_meta_of(gone[i]);
        char name[BLOCKS_NAME_BYTES];
        blocks_name(&meta->ulid, meta->min_time_ms, meta->max_time_ms, name);
        blocks_tell(blocks, "%s goes: %s", name, why);
    }
}

int blocks_publish(struct blocks *blocks, const struct ulid *ulid, struct block *const *replaced, size_t replaced_count,
                   const char *why)
{
    CLEANUP(block_unrefp) struct block *block = NULL;
    char reason[BLOCK_REASON_BYTES] = "";
    int r = ulid ? block_open(&blocks->dirs, ulid, reason, &block) : 0;
    if (r < 0) {
        blocks_tell(blocks, "block %s cannot be opened after it was written: %s", ulid->text, reason);
    }
    {
        LOCKED(&blocks->change);
        blocks_sweep_locked(blocks);
        r = r < 0 ? r : publish_locked(blocks, block, replaced, replaced_count);
        if (r == 0) {
            block = NULL;
        } else if (ulid && r != -EEXIST) {
            /* It must not be taken in at a later start, when its sources may have changed. */
            blocks_add_leaving(blocks, ulid, NULL, false);
            block_unref(STEAL(block));
        }
        if (r == 0 && !ulid) {
            tell_gone(blocks, replaced, replaced_count, why);
        }
        blocks_sweep_locked(blocks);
    }
    blocks_tell_all(blocks);
    return r;
}

void blocks_discard(struct blocks *blocks, const struct ulid *ulid)
{
    CLEANUP_FREE char *path = mem_printf("%s/%s", blocks->blocks_dir, ulid->text);
    if (file_exists(blocks->fs, path) == 0) {
        return;
    }
    {
        LOCKED(&blocks->change);
        if (!find_served(&blocks->served, ulid)) {
            blocks_add_leaving(blocks, ulid, NULL, false);
            blocks->unwritten = true; /* it must be named there before anything else changes */
            blocks_sweep_locked(blocks);
        }
    }
    blocks_tell_all(blocks);
}

/* ---- remove ---- */

struct removal {
    struct block **served;
    struct ulid *damaged;
    size_t served_count, damaged_count;
};

static void removal_done(struct removal *removal)
{
    mem_free(removal->served);
    mem_free(removal->damaged);
}

static void find_removed(const struct blocks *blocks, const struct ulid *ulids, size_t count, struct removal *removal)
{
    removal->served = mem_array(count, sizeof(struct block *));
    removal->damaged = mem_array(count, sizeof(*removal->damaged));
    for (size_t i = 0; i < count; i++) {
        const struct blocks_item *item = find_served(&blocks->served, &ulids[i]);
        if (item) {
            removal->served[removal->served_count++] = item->block;
        } else if (find_damaged(blocks, &ulids[i])) {
            removal->damaged[removal->damaged_count++] = ulids[i];
        }
    }
}

static void remove_damaged(struct blocks *blocks, const struct removal *removal, const char *why)
{
    for (size_t i = 0; i < removal->damaged_count; i++) {
        struct blocks_record *record = find_damaged(blocks, &removal->damaged[i]);
        char name[BLOCKS_NAME_BYTES];
        blocks_name(&record->ulid, record->min_time_ms, record->max_time_ms, name);
        blocks_tell(blocks, "damaged %s goes: %s", name, why);
        blocks_add_leaving(blocks, &record->ulid, NULL, true);
        drop_damaged(blocks, record);
    }
}

static int remove_locked(struct blocks *blocks, const struct removal *removal, const char *why)
{
    /* Damaged ones are no loss: they go first, and stay gone in memory whatever becomes of the rest. */
    remove_damaged(blocks, removal, why);
    int r = 0;
    if (removal->served_count > 0) {
        r = publish_locked(blocks, NULL, removal->served, removal->served_count);
        tell_gone(blocks, removal->served, r == 0 ? removal->served_count : 0, why);
    } else if (removal->damaged_count > 0) {
        r = blocks_write_catalog(blocks, &blocks->served);
    }
    return r;
}

int blocks_remove(struct blocks *blocks, const struct ulid *ulids, size_t count, const char *why)
{
    int r;
    {
        LOCKED(&blocks->change);
        CLEANUP(removal_done) struct removal removal = {0};
        find_removed(blocks, ulids, count, &removal);
        r = remove_locked(blocks, &removal, why);
        blocks_sweep_locked(blocks);
    }
    blocks_tell_all(blocks);
    return r;
}

/* ---- damage ---- */

static void set_aside_locked(struct blocks *blocks, const struct blocks_item *item, const char *reason,
                             bool unexplained)
{
    struct block *block = item->block;
    struct blocks_record record = blocks_record_of(item);
    record.damaged = true;
    record.unexplained = unexplained;
    record.damaged_at_ms = clock_wall_ms(blocks->clock);
    struct str text = {reason, strnlen(reason, sizeof(record.reason) - 1)};
    memcpy(record.reason, text.ptr, text.len);
    char name[BLOCKS_NAME_BYTES];
    blocks_name(&record.ulid, record.min_time_ms, record.max_time_ms, name);
    blocks_tell(blocks, "%s is damaged and set aside: %s", name, record.reason);

    blocks_add_damaged(blocks, &record); /* before it is not served any more: no answer is without both */
    struct blocks_items next = next_items(blocks, &block, 1, NULL);
    swap_items(blocks, &next);
    /* The record first: found at start in its old place, the block is checked and moved then. */
    int r = blocks_write_catalog(blocks, &blocks->served);
    (void)r; /* told, and tried again by the next sweep; without it the directory is found missing, and why is lost */
    r = blocks_move_aside(blocks, &record.ulid);
    if (r < 0) {
        blocks_tell(blocks, "block %s cannot be moved to %s: %s", record.ulid.text, blocks->damaged_dir, strerror(-r));
    }
    block_unref(block);
    LOCKED(&blocks->lock);
    blocks->set_aside_total++;
}

static void set_aside(struct blocks *blocks, struct block *block, const char *reason, bool unexplained)
{
    {
        LOCKED(&blocks->change);
        const struct blocks_item *item = find_served(&blocks->served, &block_meta_of(block)->ulid);
        if (item && item->block == block) {
            struct blocks_item copy = *item; /* the list changes */
            set_aside_locked(blocks, &copy, reason, unexplained);
        }
    }
    blocks_tell_all(blocks);
}

void blocks_set_aside(struct blocks *blocks, struct block *block, const char *reason)
{
    set_aside(blocks, block, reason, false);
}

void blocks_met_error(struct blocks *blocks, struct block *block, int error)
{
    if (error == -ECANCELED || blocks_error_is_passing(error)) {
        return;
    }
    char reason[BLOCK_REASON_BYTES];
    snprintf(reason, sizeof(reason), "met when it was read: %s", strerror(-error));
    set_aside(blocks, block, reason, true);
}

void blocks_explain_locked(struct blocks *blocks, const struct ulid *ulid, const char *reason)
{
    struct blocks_record *record = find_damaged(blocks, ulid);
    if (!record) {
        return; /* forgotten or expired meanwhile */
    }
    {
        LOCKED(&blocks->lock);
        record->unexplained = false;
        snprintf(record->reason, sizeof(record->reason), "%s", reason);
    }
    blocks_tell(blocks, "damaged block %s: %s", ulid->text, reason);
    int r = blocks_write_catalog(blocks, &blocks->served);
    (void)r; /* told, and tried again by the next sweep */
}

void blocks_put_back_locked(struct blocks *blocks, const struct ulid *ulid)
{
    struct blocks_record *record = find_damaged(blocks, ulid);
    struct block *block = NULL;
    char reason[BLOCK_REASON_BYTES] = "";
    if (!record) {
        return;
    }
    int r = blocks_move_back(blocks, ulid);
    r = r < 0 ? r : block_open(&blocks->dirs, ulid, reason, &block);
    if (r < 0) {
        blocks_explain_locked(blocks, ulid, reason[0] ? reason : "it is whole, but cannot be moved back");
        r = blocks_move_aside(blocks, ulid);
        (void)r; /* else the next start does it */
        return;
    }
    struct blocks_item item = {block, clock_wall_ms(blocks->clock)};
    struct blocks_items next = next_items(blocks, NULL, 0, &item);
    swap_items(blocks, &next);
    drop_damaged(blocks, record); /* after it is served: no answer is without both */
    blocks_tell(blocks, "block %s is whole, and is served again", ulid->text);
    r = blocks_write_catalog(blocks, &blocks->served);
    (void)r; /* found in its place at a start, it is read whole and served */
}

int blocks_forget(struct blocks *blocks, const struct ulid *ulid)
{
    int r = -ENOENT;
    {
        LOCKED(&blocks->change);
        struct blocks_record *record = find_damaged(blocks, ulid);
        if (record) {
            struct blocks_record before = *record;
            drop_damaged(blocks, record);
            r = blocks_write_catalog(blocks, &blocks->served);
            if (r < 0) {
                blocks_add_damaged(blocks, &before);
            }
        }
    }
    blocks_tell_all(blocks);
    return r;
}
