/* What others ask of the list of blocks, and what is told of it. */
#include "base/fail.h"
#include "store/blocks_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static void unlock(pthread_mutex_t **mutex)
{
    pthread_mutex_unlock(*mutex);
}

/* `lock` held until the scope ends. */
#define LOCKED(blocks)                                                                                                 \
    CLEANUP(unlock) UNUSED pthread_mutex_t *locked_ = &(blocks)->lock;                                                 \
    pthread_mutex_lock(locked_)

/* ---- readers ---- */

void blocks_in_range(struct blocks *blocks, int64_t start_ms, int64_t end_ms, struct blocks_list *ret_list)
{
    LOCKED(blocks);
    struct blocks_list list = {mem_array(blocks->served.count, sizeof(struct block *)), 0};
    for (size_t i = 0; i < blocks->served.count; i++) {
        const struct block_meta *meta = block_meta_of(blocks->served.items[i].block);
        if (meta->min_time_ms > end_ms) {
            break;
        }
        if (meta->max_time_ms > start_ms) {
            list.items[list.count++] = block_ref(blocks->served.items[i].block);
        }
    }
    *ret_list = list;
}

void blocks_list_free(struct blocks_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        block_unref(list->items[i]);
    }
    mem_free(list->items);
    *list = (struct blocks_list){0};
}

static void warn_missing(const struct block_meta *meta, int64_t start_ms, int64_t end_ms, struct buf *out)
{
    for (size_t i = 0; i < meta->missing_count; i++) {
        const struct block_missing *missing = &meta->missing[i];
        if (missing->start_ms <= end_ms && missing->end_ms > start_ms) {
            char from[32], to[32];
            blocks_format_time(missing->start_ms, from);
            blocks_format_time(missing->end_ms, to);
            buf_printf(out, "incomplete: block %s lacks data of %s to %s (%s)\n", meta->ulid.text, from, to,
                       missing->reason);
        }
    }
}

void blocks_warnings(struct blocks *blocks, int64_t start_ms, int64_t end_ms, struct buf *out)
{
    LOCKED(blocks);
    for (size_t i = 0; i < blocks->damaged_count; i++) {
        const struct blocks_record *record = &blocks->damaged[i];
        if (record->min_time_ms <= end_ms && record->max_time_ms > start_ms) {
            char name[BLOCKS_NAME_BYTES];
            blocks_name(&record->ulid, record->min_time_ms, record->max_time_ms, name);
            buf_printf(out, "incomplete: %s is damaged and set aside (%s)\n", name, record->reason);
        }
    }
    for (size_t i = 0; i < blocks->served.count; i++) {
        warn_missing(block_meta_of(blocks->served.items[i].block), start_ms, end_ms, out);
    }
}

const struct block_dirs *blocks_dirs(const struct blocks *blocks)
{
    return &blocks->dirs;
}

/* ---- lists and figures ---- */

static struct block_status status_of_record(const struct blocks_record *record)
{
    struct block_status status = {
        .meta = {.ulid = record->ulid,
                 .min_time_ms = record->min_time_ms,
                 .max_time_ms = record->max_time_ms,
                 .sample_count = record->samples,
                 .series_count = record->series},
        .disk_bytes = record->disk_bytes,
        .state = BLOCK_DAMAGED,
        .damaged_at_ms = record->damaged_at_ms,
    };
    memcpy(status.meta.class, record->class, sizeof(status.meta.class));
    memcpy(status.reason, record->reason, sizeof(status.reason));
    return status;
}

/* Served blocks, of which references are taken; damaged ones as statuses behind as many empty ones. */
static struct block_status *copy_lists(struct blocks *blocks, struct blocks_list *ret_served, size_t *ret_count)
{
    LOCKED(blocks);
    size_t served = blocks->served.count, count = served + blocks->damaged_count;
    struct block_status *items = mem_array(count, sizeof(*items));
    *ret_served = (struct blocks_list){mem_array(served, sizeof(struct block *)), served};
    for (size_t i = 0; i < served; i++) {
        ret_served->items[i] = block_ref(blocks->served.items[i].block);
    }
    for (size_t i = served; i < count; i++) {
        items[i] = status_of_record(&blocks->damaged[i - served]);
    }
    *ret_count = count;
    return items;
}

void blocks_status(struct blocks *blocks, struct block_status **ret_items, size_t *ret_count)
{
    CLEANUP(blocks_list_free) struct blocks_list served;
    *ret_items = copy_lists(blocks, &served, ret_count);
    for (size_t i = 0; i < served.count; i++) { /* without the lock: a meta may name thousands of sources */
        struct block_status *status = &(*ret_items)[i];
        block_meta_copy(block_meta_of(served.items[i]), &status->meta);
        status->disk_bytes = block_disk_bytes(served.items[i]);
        status->state = BLOCK_SERVED;
    }
}

void blocks_status_free(struct block_status *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        block_meta_done(&items[i].meta);
    }
    mem_free(items);
}

void blocks_stats(struct blocks *blocks, struct blocks_stats *ret_stats)
{
    struct blocks_stats stats = {.min_time_ms = INT64_MAX, .max_time_ms = INT64_MIN};
    LOCKED(blocks);
    for (size_t i = 0; i < blocks->served.count; i++) {
        const struct block *block = blocks->served.items[i].block;
        const struct block_meta *meta = block_meta_of(block);
        stats.disk_bytes += block_disk_bytes(block);
        stats.memory_bytes += block_memory_bytes(block);
        stats.samples += meta->sample_count;
        stats.series += meta->series_count;
        stats.min_time_ms = MIN(stats.min_time_ms, meta->min_time_ms);
        stats.max_time_ms = MAX(stats.max_time_ms, meta->max_time_ms);
    }
    stats.leaving = blocks->leaving_count;
    stats.served = blocks->served.count;
    stats.damaged = blocks->damaged_count;
    stats.published_total = blocks->published_total;
    stats.replaced_total = blocks->replaced_total;
    stats.set_aside_total = blocks->set_aside_total;
    stats.scrubbed_total = blocks->scrubbed_total;
    *ret_stats = stats;
}

/* ---- events ---- */

void blocks_tell(struct blocks *blocks, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    LOCKED(blocks);
    if (blocks->event_count == BLOCKS_EVENTS_MAX) {
        blocks->events_lost++;
        return;
    }
    size_t bytes = strlen(text) + 1;
    struct blocks_event *event = mem_alloc(sizeof(*event) + bytes);
    event->next = NULL;
    memcpy(event->text, text, bytes);
    *blocks->events_end = event;
    blocks->events_end = &event->next;
    blocks->event_count++;
}

/* The oldest event that waits, NULL: none, or nobody to tell. */
static struct blocks_event *next_event(struct blocks *blocks, void (**ret_fn)(void *, const char *), void **ret_arg)
{
    LOCKED(blocks);
    struct blocks_event *event = blocks->event_fn ? blocks->events : NULL;
    if (event) {
        blocks->events = event->next;
        blocks->events_end = blocks->events ? blocks->events_end : &blocks->events;
        blocks->event_count--;
        *ret_fn = blocks->event_fn;
        *ret_arg = blocks->event_arg;
    }
    return event;
}

static size_t take_lost(struct blocks *blocks)
{
    LOCKED(blocks);
    size_t lost = blocks->event_fn ? blocks->events_lost : 0;
    blocks->events_lost -= lost;
    return lost;
}

void blocks_tell_all(struct blocks *blocks)
{
    size_t lost = take_lost(blocks);
    struct blocks_event *event;
    void (*fn)(void *arg, const char *text);
    void *arg;
    while ((event = next_event(blocks, &fn, &arg))) {
        fn(arg, event->text);
        mem_free(event);
    }
    if (lost > 0) {
        blocks_tell(blocks, "%zu more events of blocks are not told one by one", lost);
        blocks_tell_all(blocks);
    }
}

void blocks_on_event(struct blocks *blocks, void (*fn)(void *arg, const char *text), void *arg)
{
    {
        LOCKED(blocks);
        blocks->event_fn = fn;
        blocks->event_arg = arg;
    }
    blocks_tell_all(blocks);
}

/* ---- text ---- */

#define TEXT_TIME_MAX INT64_C(253402300800000) /* the year 10000 */

void blocks_format_time(int64_t time_ms, char ret_text[static 32])
{
    if (time_ms < -TEXT_TIME_MAX || time_ms > TEXT_TIME_MAX) {
        snprintf(ret_text, 32, "%s", time_ms < 0 ? "the beginning" : "the end");
        return;
    }
    clock_format_rfc3339(time_ms, ret_text);
    char *fraction = strstr(ret_text, ".000Z");
    if (fraction) {
        snprintf(fraction, 2, "Z");
    }
}

void blocks_name(const struct ulid *ulid, int64_t min_time_ms, int64_t max_time_ms,
                 char ret_text[static BLOCKS_NAME_BYTES])
{
    char from[32], to[32];
    blocks_format_time(min_time_ms, from);
    blocks_format_time(max_time_ms, to);
    snprintf(ret_text, BLOCKS_NAME_BYTES, "block %s of %s to %s", ulid->text, from, to);
}
