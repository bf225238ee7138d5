/* At start: what blocks.json says against what lies on the disk.
 *
 *   named, there and whole                     served
 *   not named, there and whole                 taken in
 *   cannot be opened                           set aside
 *   named, not there                           set aside; but gone if a block that is there was made of it
 *   parent of a block that is there            deleted
 *   named as damaged, lies in blocks/          read whole: served again, or moved to damaged/
 *
 * blocks.json is written before anything is deleted. */
#include "base/fail.h"
#include "store/blocks_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct opening {
    struct blocks *blocks;
    struct buf text; /* of blocks.json as it was read */
    struct blocks_catalog named;
    bool anew;                 /* there is none to go by */
    struct blocks_items items; /* with references */
    size_t item_capacity;
    struct blocks_catalog broken; /* not to be served, but whose place in time is: as damaged records */
    struct blocks_catalog lost;   /* named and not there, the same */
};

static void opening_done(struct opening *opening)
{
    for (size_t i = 0; i < opening->items.count; i++) {
        block_unref(opening->items.items[i].block);
    }
    mem_free(opening->items.items);
    buf_done(&opening->text);
    blocks_catalog_done(&opening->named);
    blocks_catalog_done(&opening->broken);
    blocks_catalog_done(&opening->lost);
}

/* ---- blocks.json ---- */

static int read_catalog(struct opening *opening)
{
    struct blocks *blocks = opening->blocks;
    char reason[BLOCK_REASON_BYTES];
    int r = file_read_whole(blocks->fs, blocks->catalog_path, &opening->text);
    if (r == -ENOENT) {
        opening->anew = true;
        return 0;
    }
    if (r < 0) {
        snprintf(reason, sizeof(reason), "%s", strerror(-r));
    } else {
        r = blocks_catalog_parse(buf_view(&opening->text), &opening->named, reason);
    }
    if (r == -ENOTSUP || blocks_error_is_passing(r)) {
        return r;
    }
    if (r < 0) {
        CLEANUP_FREE char *kept = mem_printf("%s.damaged", blocks->catalog_path);
        int ignored = file_rename(blocks->fs, blocks->catalog_path, kept); /* for people; else it is written over */
        (void)ignored;
        blocks_tell(blocks, "blocks.json is damaged (%s): made anew from the blocks that are there", reason);
        buf_reset(&opening->text);
        opening->anew = true;
    }
    return 0;
}

/* ---- directories ---- */

static bool read_meta_file(struct blocks *blocks, const char *dir, const struct ulid *ulid, const char *name,
                           struct buf *text)
{
    CLEANUP_FREE char *path = mem_printf("%s/%s/%s", dir, ulid->text, name);
    buf_reset(text);
    return file_read_whole(blocks->fs, path, text) == 0;
}

/* Of a block that nobody named and that cannot be opened: what its meta says, if that can be read. */
static struct blocks_record guess_record(struct blocks *blocks, const char *dir, const struct ulid *ulid)
{
    struct blocks_record record = {.ulid = *ulid, .min_time_ms = INT64_MIN, .max_time_ms = INT64_MAX};
    CLEANUP(block_meta_done) struct block_meta meta = {0};
    CLEANUP(buf_done) struct buf text = BUF_INIT(BLOCK_META_BYTES_MAX);
    char reason[BLOCK_REASON_BYTES];
    if (read_meta_file(blocks, dir, ulid, "meta.json", &text) &&
        block_meta_parse(buf_view(&text), &meta, reason) == 0 && meta.min_time_ms < meta.max_time_ms) {
        record.min_time_ms = meta.min_time_ms;
        record.max_time_ms = meta.max_time_ms;
        record.samples = meta.sample_count;
        record.series = meta.series_count;
    }
    if (read_meta_file(blocks, dir, ulid, "tributary.json", &text) &&
        block_meta_parse_ours(buf_view(&text), &meta, reason) == 0) {
        memcpy(record.class, meta.class, sizeof(record.class));
    }
    if (!record.class[0]) {
        snprintf(record.class, sizeof(record.class), "default");
    }
    return record;
}

static void add_broken(struct opening *opening, struct blocks_record record, const char *reason)
{
    struct blocks *blocks = opening->blocks;
    if (!record.damaged) {
        char name[BLOCKS_NAME_BYTES];
        blocks_name(&record.ulid, record.min_time_ms, record.max_time_ms, name);
        blocks_tell(blocks, "%s is damaged and set aside: %s", name, reason);
        record.damaged = true;
        record.damaged_at_ms = clock_wall_ms(blocks->clock);
        snprintf(record.reason, sizeof(record.reason), "%s", reason);
    }
    blocks_catalog_add(&opening->broken, &record);
}

static void add_item(struct opening *opening, struct block *block, int64_t checked_ms)
{
    struct blocks_items *items = &opening->items;
    if (items->count == opening->item_capacity) {
        opening->item_capacity = MAX(opening->item_capacity * 2, (size_t)64);
        items->items = mem_resize(items->items, opening->item_capacity, sizeof(*items->items));
    }
    items->items[items->count++] = (struct blocks_item){block, checked_ms};
}

/* A directory in blocks/ whose name is a ULID. */
static int take_dir(struct opening *opening, const struct ulid *ulid)
{
    struct blocks *blocks = opening->blocks;
    if (blocks_catalog_is_leaving(&opening->named, ulid)) {
        blocks_add_leaving(blocks, ulid, NULL, false);
        return 0;
    }
    const struct blocks_record *record = blocks_catalog_find(&opening->named, ulid);
    CLEANUP(block_unrefp) struct block *block = NULL;
    char reason[BLOCK_REASON_BYTES] = "";
    int r = block_open(&blocks->dirs, ulid, reason, &block);
    if (r == 0 && record && record->damaged) {
        r = block_verify(block, NULL, NULL, reason);
    }
    if (blocks_error_is_passing(r)) {
        blocks_tell(blocks, "block %s cannot be opened now: %s", ulid->text, strerror(-r));
        return r;
    }
    if (r < 0) {
        add_broken(opening, record ? *record : guess_record(blocks, blocks->blocks_dir, ulid),
                   reason[0] ? reason : strerror(-r));
        return 0;
    }
    if (record && record->damaged) {
        blocks_tell(blocks, "block %s is whole again", ulid->text);
    } else if (!record && !opening->anew) {
        blocks_tell(blocks, "block %s was not in blocks.json: taken in", ulid->text);
    }
    bool read_now = record && record->damaged;
    add_item(opening, STEAL(block), read_now ? clock_wall_ms(blocks->clock) : record ? record->checked_ms : 0);
    return 0;
}

/* Calls take for each name in dir that is a ULID; an error of its ends it. */
static int each_dir(struct opening *opening, const char *dir, int (*take)(struct opening *, const struct ulid *),
                    bool tell_others)
{
    char **names = NULL;
    size_t count = 0;
    int r = file_list(opening->blocks->fs, dir, &names, &count);
    for (size_t i = 0; r == 0 && i < count; i++) {
        struct ulid ulid;
        if (ulid_parse(str_from(names[i]), &ulid) == 0) {
            r = take(opening, &ulid);
        } else if (tell_others) {
            blocks_tell(opening->blocks, "%s/%s is no block: left alone", dir, names[i]);
        }
    }
    file_names_free(names, count);
    return r;
}

/* Without blocks.json: what was set aside is known by its place, unless another one of the name lies in blocks/. */
static int take_damaged_dir(struct opening *opening, const struct ulid *ulid)
{
    CLEANUP_FREE char *path = mem_printf("%s/%s", opening->blocks->blocks_dir, ulid->text);
    if (file_exists(opening->blocks->fs, path) > 0) {
        return 0;
    }
    add_broken(opening, guess_record(opening->blocks, opening->blocks->damaged_dir, ulid),
               "it was set aside before blocks.json was lost");
    return 0;
}

/* ---- what is not there ---- */

static void find_lost(struct opening *opening)
{
    for (size_t i = 0; i < opening->named.count; i++) {
        const struct blocks_record *record = &opening->named.records[i];
        bool there = blocks_catalog_find(&opening->broken, &record->ulid);
        for (size_t j = 0; !there && j < opening->items.count; j++) {
            there = strcmp(block_meta_of(opening->items.items[j].block)->ulid.text, record->ulid.text) == 0;
        }
        if (!there) {
            blocks_catalog_add(&opening->lost, record);
        }
    }
}

/* What was to be deleted when the process ended: it may lie in damaged/ too. */
static void find_leaving_damaged(struct opening *opening)
{
    struct blocks *blocks = opening->blocks;
    for (size_t i = 0; i < opening->named.leaving_count; i++) {
        const struct ulid *ulid = &opening->named.leaving[i];
        CLEANUP_FREE char *path = mem_printf("%s/%s", blocks->damaged_dir, ulid->text);
        if (file_exists(blocks->fs, path) > 0) {
            blocks_add_leaving(blocks, ulid, NULL, true);
        }
    }
}

/* ---- what was replaced ---- */

struct offspring { /* `parent` is in the block `child` */
    struct ulid parent;
    const struct block_meta *child;
};

struct family {
    struct offspring *items;
    size_t count;
};

static void family_done(struct family *family)
{
    mem_free(family->items);
}

static int compare_offspring(const void *a, const void *b)
{
    return strcmp(((const struct offspring *)a)->parent.text, ((const struct offspring *)b)->parent.text);
}

static void family_init(struct family *family, const struct blocks_items *items, bool of_sources)
{
    size_t count = 0;
    for (size_t i = 0; i < items->count; i++) {
        const struct block_meta *meta = block_meta_of(items->items[i].block);
        count += of_sources ? meta->source_count : meta->parent_count;
    }
    *family = (struct family){mem_array(count, sizeof(*family->items)), 0};
    for (size_t i = 0; i < items->count; i++) {
        const struct block_meta *meta = block_meta_of(items->items[i].block);
        const struct ulid *from = of_sources ? meta->sources : meta->parents;
        for (size_t j = 0; j < (of_sources ? meta->source_count : meta->parent_count); j++) {
            family->items[family->count++] = (struct offspring){from[j], meta};
        }
    }
    if (family->count > 0) {
        qsort(family->items, family->count, sizeof(*family->items), compare_offspring);
    }
}

static bool names_as_parent(const struct block_meta *meta, const struct ulid *ulid)
{
    for (size_t i = 0; i < meta->parent_count; i++) {
        if (strcmp(meta->parents[i].text, ulid->text) == 0) {
            return true;
        }
    }
    return false;
}

/* meta: of the block itself if it is there, else NULL. Two that name each other both stay. */
static bool has_offspring(const struct family *family, const struct ulid *ulid, const struct block_meta *meta)
{
    const struct offspring key = {.parent = *ulid};
    const struct offspring *found =
        family->count == 0 ? NULL
                           : bsearch(&key, family->items, family->count, sizeof(*family->items), compare_offspring);
    return found && strcmp(found->child->ulid.text, ulid->text) != 0 &&
           !(meta && names_as_parent(meta, &found->child->ulid));
}

static void drop_replaced_items(struct opening *opening, const struct family *parents)
{
    struct blocks_items kept = {mem_array(opening->items.count, sizeof(*kept.items)), 0};
    struct blocks_items gone = {mem_array(opening->items.count, sizeof(*gone.items)), 0};
    for (size_t i = 0; i < opening->items.count; i++) {
        const struct block_meta *meta = block_meta_of(opening->items.items[i].block);
        struct blocks_items *to = has_offspring(parents, &meta->ulid, meta) ? &gone : &kept;
        to->items[to->count++] = opening->items.items[i];
    }
    for (size_t i = 0; i < gone.count; i++) { /* after the loop above, which looks into them */
        const struct ulid *ulid = &block_meta_of(gone.items[i].block)->ulid;
        blocks_tell(opening->blocks, "block %s goes: a block that was made of it is there", ulid->text);
        blocks_add_leaving(opening->blocks, ulid, NULL, false);
        block_unref(gone.items[i].block);
    }
    mem_free(gone.items);
    mem_free(opening->items.items);
    opening->items = kept;
}

/* Records that become damaged ones of `blocks`; what was replaced goes instead. */
static void keep_damaged(struct opening *opening, const struct family *parents, const struct family *sources)
{
    struct blocks *blocks = opening->blocks;
    for (size_t i = 0; i < opening->broken.count; i++) {
        const struct blocks_record *record = &opening->broken.records[i];
        if (has_offspring(parents, &record->ulid, NULL)) {
            blocks_tell(blocks, "block %s goes: a block that was made of it is there", record->ulid.text);
            blocks_add_leaving(blocks, &record->ulid, NULL, false);
        } else {
            blocks_add_damaged(blocks, record);
        }
    }
    opening->broken.count = 0;
    for (size_t i = 0; i < opening->lost.count; i++) {
        const struct blocks_record *record = &opening->lost.records[i];
        if (!has_offspring(parents, &record->ulid, NULL) && !has_offspring(sources, &record->ulid, NULL)) {
            add_broken(opening, *record, "its directory is missing");
        }
    }
    for (size_t i = 0; i < opening->broken.count; i++) {
        blocks_add_damaged(blocks, &opening->broken.records[i]);
    }
}

static void resolve(struct opening *opening)
{
    CLEANUP(family_done) struct family parents, sources;
    family_init(&parents, &opening->items, false);
    family_init(&sources, &opening->items, true);
    keep_damaged(opening, &parents, &sources);
    drop_replaced_items(opening, &parents);
    if (opening->items.count > 0) {
        qsort(opening->items.items, opening->items.count, sizeof(*opening->items.items), blocks_item_compare);
    }
}

/* ---- all of it ---- */

static void settle(struct opening *opening)
{
    struct blocks *blocks = opening->blocks;
    blocks->served = opening->items;
    opening->items = (struct blocks_items){0};
    CLEANUP(buf_done) struct buf text = BUF_INIT(BLOCKS_CATALOG_BYTES_MAX);
    blocks_print_catalog(blocks, &blocks->served, &text);
    if (!str_equal(buf_view(&text), buf_view(&opening->text))) {
        int r = blocks_write_catalog(blocks, &blocks->served);
        (void)r; /* told; a full disk is no reason not to serve */
    }
    for (size_t i = 0; i < blocks->damaged_count; i++) {
        const struct ulid *ulid = &blocks->damaged[i].ulid;
        int r = blocks_move_aside(blocks, ulid);
        if (r < 0) {
            blocks_tell(blocks, "block %s cannot be moved to %s: %s", ulid->text, blocks->damaged_dir, strerror(-r));
        }
    }
    blocks_sweep_locked(blocks);
    blocks_forget_gone_locked(blocks);
}

static int make_dirs(struct blocks *blocks)
{
    int r = file_make_dirs(blocks->fs, blocks->blocks_dir);
    r = r < 0 ? r : file_make_dirs(blocks->fs, blocks->aggregates_dir);
    return r < 0 ? r : file_make_dirs(blocks->fs, blocks->damaged_aggregates_dir);
}

static void remove_leftovers(struct blocks *blocks)
{
    int r = block_remove_leftovers(&blocks->dirs);
    int r_damaged = block_remove_leftovers(&blocks->damaged_dirs);
    r = r < 0 ? r : r_damaged;
    if (r < 0) {
        blocks_tell(blocks, "leftovers in %s cannot be deleted: %s", blocks->blocks_dir, strerror(-r));
    }
}

static int load(struct blocks *blocks)
{
    CLEANUP(opening_done) struct opening opening = {.blocks = blocks, .text = BUF_INIT(BLOCKS_CATALOG_BYTES_MAX)};
    int r = make_dirs(blocks);
    r = r < 0 ? r : read_catalog(&opening);
    if (r < 0) {
        return r;
    }
    remove_leftovers(blocks);
    r = each_dir(&opening, blocks->blocks_dir, take_dir, true);
    if (r == 0 && opening.anew) {
        r = each_dir(&opening, blocks->damaged_dir, take_damaged_dir, false);
    }
    if (r < 0) {
        return r;
    }
    if (opening.anew && opening.text.len == 0 && opening.items.count + opening.broken.count > 0) {
        blocks_tell(blocks, "blocks.json is made anew from the blocks that are there: %zu, and %zu damaged ones",
                    opening.items.count, opening.broken.count);
    }
    blocks_catalog_sort(&opening.broken);
    find_lost(&opening);
    find_leaving_damaged(&opening);
    resolve(&opening);
    settle(&opening);
    return 0;
}

int blocks_open(struct file_system *fs, struct clock *clock, const char *data_dir, struct blocks **ret_blocks)
{
    struct blocks *blocks = mem_zalloc(sizeof(*blocks));
    blocks->fs = fs;
    blocks->clock = clock;
    blocks->blocks_dir = mem_printf("%s/blocks", data_dir);
    blocks->aggregates_dir = mem_printf("%s/aggregates", data_dir);
    blocks->damaged_dir = mem_printf("%s/damaged", data_dir);
    blocks->damaged_aggregates_dir = mem_printf("%s/damaged/aggregates", data_dir);
    blocks->catalog_path = mem_printf("%s/blocks.json", data_dir);
    blocks->dirs = (struct block_dirs){fs, blocks->blocks_dir, blocks->aggregates_dir};
    blocks->damaged_dirs = (struct block_dirs){fs, blocks->damaged_dir, blocks->damaged_aggregates_dir};
    pthread_mutex_init(&blocks->change, NULL);
    pthread_mutex_init(&blocks->lock, NULL);
    blocks->events_end = &blocks->events;
    int r = load(blocks);
    if (r < 0) {
        blocks_close(blocks);
        return r;
    }
    *ret_blocks = blocks;
    return 0;
}

void blocks_close(struct blocks *blocks)
{
    if (!blocks) {
        return;
    }
    blocks_sweep(blocks);
    blocks_forget_gone_locked(blocks); /* nobody else is here any more */
    for (size_t i = 0; i < blocks->served.count; i++) {
        block_unref(blocks->served.items[i].block);
    }
    for (size_t i = 0; i < blocks->leaving_count; i++) {
        block_unref(blocks->leaving[i].block);
    }
    for (struct blocks_event *event = blocks->events, *next; event; event = next) {
        next = event->next;
        mem_free(event);
    }
    mem_free(blocks->served.items);
    mem_free(blocks->leaving);
    mem_free(blocks->damaged);
    mem_free(blocks->blocks_dir);
    mem_free(blocks->aggregates_dir);
    mem_free(blocks->damaged_dir);
    mem_free(blocks->damaged_aggregates_dir);
    mem_free(blocks->catalog_path);
    pthread_mutex_destroy(&blocks->lock);
    pthread_mutex_destroy(&blocks->change);
    mem_free(blocks);
}
