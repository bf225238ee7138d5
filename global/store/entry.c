#include "store/entry.h"

#include "base/fail.h"

#include <string.h>

#define DROPPED 0x8000 /* in flags, while two lists are merged */

void entries_reserve(struct entries *entries, size_t count)
{
    if (count > entries->capacity) {
        entries->capacity = MAX(count, entries->capacity + entries->capacity / 2);
        entries->items = mem_resize(entries->items, entries->capacity, sizeof(*entries->items));
    }
}

void entries_add_all(struct entries *entries, const struct entry *more, size_t count)
{
    if (count > 0) {
        entries_reserve(entries, entries->count + count);
        memcpy(entries->items + entries->count, more, count * sizeof(*more));
        entries->count += count;
    }
}

void entries_done(struct entries *entries)
{
    mem_free(entries->items);
    *entries = (struct entries){0};
}

void samples_reserve(struct samples *samples, size_t count)
{
    if (count > samples->capacity) {
        samples->capacity = MAX(count, samples->capacity + samples->capacity / 2);
        samples->items = mem_resize(samples->items, samples->capacity, sizeof(*samples->items));
    }
}

void samples_done(struct samples *samples)
{
    mem_free(samples->items);
    *samples = (struct samples){0};
}

size_t entries_window_end(const struct entry *entries, size_t count, size_t at)
{
    int64_t start_ms = entry_window_start_ms(&entries[at]);
    uint32_t resolution_ms = entries[at].resolution_ms;
    size_t end = at + 1;
    while (end < count && entries[end].resolution_ms == resolution_ms &&
           entry_window_start_ms(&entries[end]) == start_ms) {
        end++;
    }
    return end;
}

/* The first entry at or after time_ms. */
static size_t lower_bound(const struct entries *entries, int64_t time_ms)
{
    size_t low = 0, high = entries->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (entries->items[middle].sample.time_ms < time_ms) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Records side by side as one: the sum of their counts, so that a coarse record does not replace finer ones that say
 * more, and the time of the last. */
static struct record as_record(const struct entry *entries, size_t count)
{
    struct record record = {.time_ms = INT64_MIN};
    for (size_t i = 0; i < count; i++) {
        if (!(entries[i].flags & (ENTRY_EXTRA | DROPPED))) {
            uint32_t room = UINT32_MAX - record.count;
            record.count += MIN(room, entries[i].count);
            record.time_ms = entries[i].sample.time_ms;
        }
    }
    return record;
}

/* Weighs one window against what lies in its time. True: it stays, and what lay there is marked. */
static bool window_stays(struct entries *into, const struct entry *window, size_t count)
{
    size_t from = lower_bound(into, entry_window_start_ms(window));
    size_t to = lower_bound(into, entry_window_end_ms(window));
    if (from == to) {
        return true;
    }
    struct record candidate = as_record(window, count), present = as_record(into->items + from, to - from);
    if (window->resolution_ms == 0 || !record_wins(&candidate, &present)) {
        return false;
    }
    for (size_t i = from; i < to; i++) {
        into->items[i].flags |= DROPPED;
    }
    return true;
}

/* Puts `kept` between the entries of `into` that are not marked. */
static void join(struct entries *into, const struct entries *kept)
{
    struct entries all = {0};
    size_t a = 0, b = 0;
    entries_reserve(&all, into->count + kept->count);
    while (a < into->count || b < kept->count) {
        if (a < into->count && (into->items[a].flags & DROPPED)) {
            a++;
        } else if (b == kept->count ||
                   (a < into->count && into->items[a].sample.time_ms < kept->items[b].sample.time_ms)) {
            all.items[all.count++] = into->items[a++];
        } else {
            all.items[all.count++] = kept->items[b++];
        }
    }
    entries_done(into);
    *into = all;
}

size_t entries_merge(struct entries *into, const struct entry *more, size_t count)
{
    size_t stayed = 0;
    if (count == 0) {
        return 0;
    }
    if (into->count == 0 || into->items[into->count - 1].sample.time_ms < entry_window_start_ms(&more[0])) {
        entries_add_all(into, more, count);
        for (size_t at = 0; at < count; at = entries_window_end(more, count, at)) {
            stayed++;
        }
        return stayed;
    }
    struct entries kept = {0};
    for (size_t at = 0, end; at < count; at = end) {
        end = entries_window_end(more, count, at);
        if (window_stays(into, more + at, end - at)) {
            entries_add_all(&kept, more + at, end - at);
            stayed++;
        }
    }
    if (stayed > 0) {
        join(into, &kept);
    }
    entries_done(&kept);
    return stayed;
}
