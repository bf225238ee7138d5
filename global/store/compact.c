#include "store/compact.h"

#include "base/crc.h"
#include "base/fail.h"
#include "base/map.h"
#include "store/compact_merge.h"
#include "store/compact_plan.h"
#include "store/deletion_filter.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Of merged blocks: larger chunks cost fewer bytes a sample in index and chunk headers; readers decode a whole chunk
 * for one sample (docs/benchmarks.md). */
#define COMPACT_CHUNK_SAMPLES 240

#define FAILING_MAX           256 /* units that wait; past it the oldest is tried again early */

struct failing {         /* a unit that failed */
    uint64_t key;        /* hash of its sources: it is another unit when they change */
    int64_t retry_at_ms; /* of the clock that never runs backwards */
};

struct cleared { /* a block that no deletion up to this one selects anything of */
    uint64_t key;
    uint64_t deletion;
    bool seen;
};

struct compact {
    struct compact_options options;
    struct failing failing[FAILING_MAX];
    size_t failing_count;
    struct map cleared;   /* of struct cleared, by hash of ulid */
    pthread_mutex_t lock; /* guards stats */
    struct compact_stats stats;
};

/* One look at what there is. */
struct step {
    struct compact *compact;
    struct blocks_list list; /* with references */
    struct deletion_filter *filter;
    struct compact_source *sources; /* as list */
    struct compact_units units;
};

struct compact *compact_new(const struct compact_options *options)
{
    ASSERT(options->level_count <= COMPACT_LEVELS_MAX);
    struct compact *compact = mem_zalloc(sizeof(*compact));
    compact->options = *options;
    map_init(&compact->cleared);
    pthread_mutex_init(&compact->lock, NULL);
    return compact;
}

void compact_free(struct compact *compact)
{
    if (!compact) {
        return;
    }
    size_t at = 0;
    void *item;
    while ((item = map_next(&compact->cleared, &at))) {
        mem_free(item);
    }
    map_done(&compact->cleared);
    pthread_mutex_destroy(&compact->lock);
    mem_free(compact);
}

void compact_stats(struct compact *compact, struct compact_stats *ret_stats)
{
    pthread_mutex_lock(&compact->lock);
    *ret_stats = compact->stats;
    pthread_mutex_unlock(&compact->lock);
}

/* ---- deletions that select nothing of a block: it need not be written anew for them ---- */

static uint64_t key_of(const struct ulid *ulid)
{
    return hash64(ulid->text, ULID_CHARS, 0);
}

/* Deletions up to this number are applied to the block, or have nothing to do with it. */
static uint64_t applied_to(const struct compact *compact, const struct block *block)
{
    const struct block_meta *meta = block_meta_of(block);
    const struct cleared *cleared = map_get(&compact->cleared, key_of(&meta->ulid), NULL, NULL);
    return MAX(meta->deletion, cleared ? cleared->deletion : 0);
}

static void set_cleared(struct compact *compact, const struct block *block, uint64_t deletion)
{
    uint64_t key = key_of(&block_meta_of(block)->ulid);
    struct cleared *cleared = map_get(&compact->cleared, key, NULL, NULL);
    if (!cleared) {
        cleared = mem_zalloc(sizeof(*cleared));
        cleared->key = key;
        map_put(&compact->cleared, key, cleared);
    }
    cleared->deletion = deletion;
}

/* Forgets blocks that are not there any more. */
static void prune_cleared(struct compact *compact, const struct blocks_list *list)
{
    struct map kept;
    map_init(&kept);
    map_reserve(&kept, compact->cleared.count);
    for (size_t i = 0; i < list->count && compact->cleared.count > 0; i++) {
        uint64_t key = key_of(&block_meta_of(list->items[i])->ulid);
        void *cleared = map_remove(&compact->cleared, key, NULL, NULL);
        if (cleared) {
            map_put(&kept, key, cleared);
        }
    }
    size_t at = 0;
    void *gone;
    while ((gone = map_next(&compact->cleared, &at))) {
        mem_free(gone);
    }
    map_done(&compact->cleared);
    compact->cleared = kept;
}

/* 1: some deletion that is to be applied selects series of the block, 0, or an error. */
static int has_deleted_series(const struct step *step, struct block *block)
{
    const struct compact_options *options = &step->compact->options;
    const struct block_meta *meta = block_meta_of(block);
    uint64_t after = applied_to(step->compact, block);
    const struct deletion_rule *rule;
    while ((rule = deletion_filter_next(step->filter, after, meta->min_time_ms, meta->max_time_ms - 1))) {
        const struct postings_query query = {rule->selector->matchers, rule->selector->count, options->cancelled,
                                             options->cancelled_arg};
        CLEANUP(bitmap_freep) roaring_bitmap_t *ids = NULL;
        int r = block_select(block, &query, &ids);
        if (r < 0 || !roaring_bitmap_is_empty(ids)) {
            return r < 0 ? r : 1;
        }
        after = rule->id;
    }
    return 0;
}

/* ---- one look ---- */

static void step_done(struct step *step)
{
    blocks_list_free(&step->list);
    deletion_filter_unref(step->filter);
    mem_free(step->sources);
    compact_units_done(&step->units);
}

/* A block that was found to have native histograms stays as it is: they would be lost. */
static void list_blocks(struct step *step)
{
    blocks_in_range(step->compact->options.blocks, INT64_MIN, INT64_MAX, &step->list);
    size_t kept = 0;
    for (size_t i = 0; i < step->list.count; i++) {
        if (block_has_histograms(step->list.items[i])) {
            block_unref(step->list.items[i]);
        } else {
            step->list.items[kept++] = step->list.items[i];
        }
    }
    step->list.count = kept;
}

static void look(struct step *step, struct compact *compact)
{
    const struct compact_options *options = &compact->options;
    *step = (struct step){.compact = compact};
    step->filter = options->deletions ? deletions_filter(options->deletions) : NULL;
    list_blocks(step);
    prune_cleared(compact, &step->list);
    step->sources = mem_array(step->list.count, sizeof(*step->sources));
    for (size_t i = 0; i < step->list.count; i++) {
        const struct block *block = step->list.items[i];
        const struct block_meta *meta = block_meta_of(block);
        bool has_deletions =
            deletion_filter_meets(step->filter, applied_to(compact, block), meta->min_time_ms, meta->max_time_ms - 1);
        step->sources[i] = (struct compact_source){
            .ulid = meta->ulid,
            .class = meta->class,
            .min_time_ms = meta->min_time_ms,
            .max_time_ms = meta->max_time_ms,
            .bytes = block_disk_bytes(block),
            .has_deletions = has_deletions,
        };
    }
}

uint64_t compact_oldest_deletion(struct compact *compact)
{
    CLEANUP(blocks_list_free) struct blocks_list list;
    CLEANUP(deletion_filter_unrefp)
    struct deletion_filter *filter = compact->options.deletions ? deletions_filter(compact->options.deletions) : NULL;
    uint64_t oldest = 0;
    blocks_in_range(compact->options.blocks, INT64_MIN, INT64_MAX, &list); /* those with histograms too */
    for (size_t i = 0; i < list.count; i++) {
        const struct block_meta *meta = block_meta_of(list.items[i]);
        uint64_t id = deletion_filter_oldest(filter, applied_to(compact, list.items[i]), meta->min_time_ms,
                                             meta->max_time_ms - 1);
        oldest = id > 0 && (oldest == 0 || id < oldest) ? id : oldest;
    }
    return oldest;
}

/* ---- units that failed ---- */

static uint64_t unit_key(const struct step *step, const struct compact_unit *unit)
{
    uint64_t key = 0;
    for (size_t i = 0; i < unit->count; i++) {
        key = hash64(step->sources[unit->sources[i]].ulid.text, ULID_CHARS, key);
    }
    return key;
}

static struct failing *find_failing(struct compact *compact, uint64_t key)
{
    for (size_t i = 0; i < compact->failing_count; i++) {
        if (compact->failing[i].key == key) {
            return &compact->failing[i];
        }
    }
    return NULL;
}

/* Forgets units that are not planned any more. */
static void prune_failing(const struct step *step)
{
    struct compact *compact = step->compact;
    bool planned[FAILING_MAX] = {false};
    size_t count = 0;
    for (size_t i = 0; i < step->units.count && compact->failing_count > 0; i++) {
        const struct failing *failing = find_failing(compact, unit_key(step, &step->units.items[i]));
        if (failing) {
            planned[failing - compact->failing] = true;
        }
    }
    for (size_t i = 0; i < compact->failing_count; i++) {
        if (planned[i]) {
            compact->failing[count++] = compact->failing[i];
        }
    }
    compact->failing_count = count;
    pthread_mutex_lock(&compact->lock);
    compact->stats.failing = count;
    pthread_mutex_unlock(&compact->lock);
}

static void unit_failed(struct compact *compact, uint64_t key, const char *reason)
{
    struct failing *failing = find_failing(compact, key);
    if (!failing) {
        if (compact->failing_count == FAILING_MAX) {
            compact->failing_count--;
            memmove(compact->failing, compact->failing + 1, compact->failing_count * sizeof(*failing));
        }
        failing = &compact->failing[compact->failing_count++];
    }
    *failing = (struct failing){key, clock_mono_ms(compact->options.clock) + compact->options.retry_ms};
    pthread_mutex_lock(&compact->lock);
    compact->stats.failed_total++;
    compact->stats.failing = compact->failing_count;
    snprintf(compact->stats.last_failure, sizeof(compact->stats.last_failure), "%s", reason);
    pthread_mutex_unlock(&compact->lock);
}

static bool may_be_tried(struct compact *compact, uint64_t key)
{
    const struct failing *failing = find_failing(compact, key);
    return !failing || clock_mono_ms(compact->options.clock) >= failing->retry_at_ms;
}

/* ---- meta of the result ---- */

static int compare_ulids(const void *a, const void *b)
{
    return strcmp(((const struct ulid *)a)->text, ((const struct ulid *)b)->text);
}

static void unite_sources(struct block_meta *meta, struct block *const *blocks, size_t count)
{
    size_t total = 0, kept = 0;
    for (size_t i = 0; i < count; i++) {
        total += MAX(block_meta_of(blocks[i])->source_count, (size_t)1);
    }
    struct ulid *all = mem_array(total, sizeof(*all));
    total = 0;
    for (size_t i = 0; i < count; i++) {
        const struct block_meta *from = block_meta_of(blocks[i]);
        bool none = from->source_count == 0;
        memcpy(all + total, none ? &from->ulid : from->sources, (none ? 1 : from->source_count) * sizeof(*all));
        total += none ? 1 : from->source_count;
    }
    qsort(all, total, sizeof(*all), compare_ulids);
    for (size_t i = 0; i < total && kept < BLOCK_SOURCES_MAX; i++) {
        if (kept == 0 || compare_ulids(&all[kept - 1], &all[i]) != 0) {
            all[kept++] = all[i];
        }
    }
    meta->sources = all;
    meta->source_count = kept;
}

static void add_missing(struct block_meta *meta, const struct block_missing *missing)
{
    for (size_t i = 0; i < meta->missing_count; i++) {
        const struct block_missing *other = &meta->missing[i];
        if (other->start_ms == missing->start_ms && other->end_ms == missing->end_ms &&
            strcmp(other->reason, missing->reason) == 0) {
            return;
        }
    }
    if (meta->missing_count < BLOCK_MISSING_MAX) {
        meta->missing = mem_resize(meta->missing, meta->missing_count + 1, sizeof(*missing));
        meta->missing[meta->missing_count++] = *missing;
        return;
    }
    struct block_missing *last = &meta->missing[BLOCK_MISSING_MAX - 1]; /* the rest as one */
    last->start_ms = MIN(last->start_ms, missing->start_ms);
    last->end_ms = MAX(last->end_ms, missing->end_ms);
    snprintf(last->reason, sizeof(last->reason), "several reasons");
}

static void make_meta(const struct step *step, struct block *const *blocks, size_t count, struct block_meta *meta)
{
    ASSERT(count > 0);
    const struct block_meta *first = block_meta_of(blocks[0]);
    uint64_t deletion = UINT64_MAX;
    meta->ulid = ulid_new(clock_wall_ms(step->compact->options.clock), step->compact->options.random);
    meta->min_time_ms = first->min_time_ms;
    meta->max_time_ms = first->max_time_ms;
    memcpy(meta->class, first->class, sizeof(meta->class));
    meta->parents = mem_array(count, sizeof(*meta->parents));
    for (size_t i = 0; i < count; i++) {
        const struct block_meta *from = block_meta_of(blocks[i]);
        meta->min_time_ms = MIN(meta->min_time_ms, from->min_time_ms);
        meta->max_time_ms = MAX(meta->max_time_ms, from->max_time_ms);
        meta->level = MAX(meta->level, from->level);
        deletion = MIN(deletion, from->deletion);
        meta->parents[meta->parent_count++] = from->ulid;
        for (size_t j = 0; j < from->missing_count; j++) {
            add_missing(meta, &from->missing[j]);
        }
    }
    meta->level += meta->level < UINT32_MAX ? 1 : 0;
    meta->deletion = step->filter ? MAX(deletion, deletion_filter_newest(step->filter)) : deletion;
    unite_sources(meta, blocks, count);
}

/* ---- one unit ---- */

/* A source could not be read: when reading it whole finds damage too, it is set aside with that reason. */
static void check_source(const struct step *step, struct block *block, char reason[static BLOCK_REASON_BYTES])
{
    const struct compact_options *options = &step->compact->options;
    char found[BLOCK_REASON_BYTES] = "";
    const char *name = block_meta_of(block)->ulid.text;
    int r = block_verify(block, options->cancelled, options->cancelled_arg, found);
    if (r < 0 && r != -ECANCELED && !blocks_error_is_passing(r)) {
        blocks_set_aside(options->blocks, block, found[0] ? found : strerror(-r));
    }
    snprintf(reason, BLOCK_REASON_BYTES, "source %s: %.200s", name,
             found[0] ? found : "could not be read, but is whole");
}

static uint64_t bytes_of_result(struct compact *compact, const struct block_meta *meta)
{
    CLEANUP(blocks_list_free) struct blocks_list list;
    blocks_in_range(compact->options.blocks, meta->min_time_ms, meta->max_time_ms, &list);
    uint64_t bytes = 0;
    for (size_t i = 0; i < list.count; i++) {
        bool same = strcmp(block_meta_of(list.items[i])->ulid.text, meta->ulid.text) == 0;
        bytes += same ? block_disk_bytes(list.items[i]) : 0;
    }
    return bytes;
}

static void count_unit(const struct step *step, const struct compact_unit *unit,
                       const struct compact_merge_report *report, uint64_t result_bytes)
{
    struct compact *compact = step->compact;
    pthread_mutex_lock(&compact->lock);
    compact->stats.units_total++;
    compact->stats.samples_total += report->entries_in;
    compact->stats.result_bytes_total += result_bytes;
    for (size_t i = 0; i < unit->count; i++) {
        compact->stats.source_bytes_total += step->sources[unit->sources[i]].bytes;
    }
    pthread_mutex_unlock(&compact->lock);
}

/* The result may be as large as its sources together, which stay until it is there. -ENOSPC before anything is written:
 * a disk that is full of a half-written block is full for the log too. */
static int check_room(const struct step *step, const struct compact_unit *unit, char reason[static BLOCK_REASON_BYTES])
{
    const struct compact_options *options = &step->compact->options;
    const struct block_dirs *dirs = blocks_dirs(options->blocks);
    uint64_t needed = options->free_bytes_min, free_bytes;
    for (size_t i = 0; i < unit->count; i++) {
        needed += step->sources[unit->sources[i]].bytes;
    }
    int r = file_free_bytes(dirs->fs, dirs->blocks, &free_bytes);
    if (r == 0 && free_bytes < needed) {
        snprintf(reason, BLOCK_REASON_BYTES, "needs %" PRIu64 " bytes on the disk, of which %" PRIu64 " are free",
                 needed, free_bytes);
        return -ENOSPC;
    }
    return 0; /* where the disk does not say, it is tried */
}

/* Merges and publishes. After an error reason says what it was. */
static int do_unit(const struct step *step, const struct compact_unit *unit, char reason[static BLOCK_REASON_BYTES])
{
    struct compact *compact = step->compact;
    struct block *sources[COMPACT_SOURCES_MAX];
    for (size_t i = 0; i < unit->count; i++) {
        sources[i] = step->list.items[unit->sources[i]];
    }
    CLEANUP(block_meta_done) struct block_meta meta = {0};
    make_meta(step, sources, unit->count, &meta);
    const struct compact_merge_options merge = {
        .dirs = *blocks_dirs(compact->options.blocks),
        .sources = sources,
        .count = unit->count,
        .filter = step->filter,
        .meta = &meta,
        .chunk_samples = COMPACT_CHUNK_SAMPLES,
        .cancelled = compact->options.cancelled,
        .cancelled_arg = compact->options.cancelled_arg,
    };
    struct compact_merge_report report;
    int r = compact_merge(&merge, &report);
    if (r < 0) {
        blocks_discard(compact->options.blocks, &meta.ulid);
    }
    if (r == 0 || r == -ENODATA) {
        r = blocks_publish(compact->options.blocks, r == 0 ? &meta.ulid : NULL, sources, unit->count,
                           "all samples in it are deleted");
        report.unreadable = NULL;
    }
    if (r == -ECANCELED) {
        return r;
    }
    if (r == 0) {
        count_unit(step, unit, &report, bytes_of_result(compact, &meta));
    } else if (report.unreadable) {
        check_source(step, report.unreadable, reason);
    } else {
        snprintf(reason, BLOCK_REASON_BYTES, "%s%s%s",
                 r == -ESTALE    ? "a source went meanwhile"
                 : r == -ENOTSUP ? "a source has native histograms and stays as it is"
                                 : strerror(-r),
                 report.reason[0] ? ": " : "", report.reason);
    }
    return r;
}

static void tell_failure(const struct step *step, const struct compact_unit *unit, const char *reason)
{
    const struct compact_source *first = &step->sources[unit->sources[0]];
    char text[2 * BLOCK_REASON_BYTES];
    snprintf(text, sizeof(text), "merging %zu blocks (%s, of class %s) failed, tried again later: %s", unit->count,
             first->ulid.text, first->class, reason);
    blocks_say(step->compact->options.blocks, text);
}

/* 1: done, or nothing was to be done; or failed, which is remembered. */
static int try_unit(const struct step *step, const struct compact_unit *unit)
{
    char reason[BLOCK_REASON_BYTES] = "";
    struct block *first = step->list.items[unit->sources[0]];
    int r = unit->why == COMPACT_DELETIONS ? has_deleted_series(step, first) : 1;
    if (r == 0) {
        set_cleared(step->compact, first, deletion_filter_newest(step->filter));
        return 1;
    }
    if (r < 0 && r != -ECANCELED) {
        check_source(step, first, reason);
    } else if (r > 0) {
        r = check_room(step, unit, reason);
        r = r < 0 ? r : do_unit(step, unit, reason);
    }
    if (r == -ECANCELED) {
        return r;
    }
    if (r < 0) {
        unit_failed(step->compact, unit_key(step, unit), reason);
        tell_failure(step, unit, reason);
    }
    return 1;
}

static int do_next(struct compact *compact, int64_t head_start_ms)
{
    const struct compact_options *options = &compact->options;
    CLEANUP(step_done) struct step step;
    look(&step, compact);
    const struct compact_plan_options plan = {
        .levels_ms = options->levels_ms,
        .level_count = options->level_count,
        .unit_bytes_max = options->unit_bytes_max,
        .sources_max = COMPACT_SOURCES_MAX,
        .head_start_ms = head_start_ms,
        .now_ms = clock_wall_ms(options->clock),
        .settle_ms = options->settle_ms,
    };
    compact_plan(&plan, step.sources, step.list.count, &step.units);
    prune_failing(&step);
    for (size_t i = 0; i < step.units.count; i++) {
        if (may_be_tried(compact, unit_key(&step, &step.units.items[i]))) {
            return try_unit(&step, &step.units.items[i]);
        }
    }
    return 0;
}

int compact_step(struct compact *compact, int64_t head_start_ms)
{
    int r = do_next(compact, head_start_ms);
    blocks_sweep(compact->options.blocks); /* the sources, now that nobody here has them any more */
    return r;
}
