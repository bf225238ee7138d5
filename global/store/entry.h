#pragma once
/* One sample with what is known about the window it speaks of: what the head keeps, what blocks hold, and what readers
 * and compaction merge. */
#include "metric/record.h"

enum {
    ENTRY_EXTRA = 1,      /* a sample of a window that is not its last: it has no aggregates, count 0 */
    ENTRY_AGGREGATES = 2, /* sum, min and max are kept; else they follow from value and count */
};

struct entry {
    struct sample sample;
    double sum, min, max;   /* with ENTRY_AGGREGATES */
    uint32_t count;         /* scrapes in the window; of extras and stale markers 0 */
    uint32_t resolution_ms; /* of its window, which is aligned to it; 0: a plain sample, a window of its own */
    uint16_t flags;
};

/* A growing list; zeroed is empty. */
struct entries {
    struct entry *items;
    size_t count, capacity;
};
void entries_reserve(struct entries *entries, size_t count); /* room for so many in all */
static inline void entries_add(struct entries *entries, const struct entry *entry)
{
    if (entries->count == entries->capacity) {
        entries_reserve(entries, entries->count + 1);
    }
    entries->items[entries->count++] = *entry;
}
void entries_add_all(struct entries *entries, const struct entry *more, size_t count);
void entries_done(struct entries *entries);

/* The same of samples alone. */
struct samples {
    struct sample *items;
    size_t count, capacity;
};
void samples_reserve(struct samples *samples, size_t count);
void samples_done(struct samples *samples);

/* Where the window that begins at `at` ends: behind the entries that are of the same one. */
size_t entries_window_end(const struct entry *entries, size_t count, size_t at);
/* Where the window of an entry begins: [start, start + resolution), of plain ones [time, time + 1). */
static inline int64_t entry_window_start_ms(const struct entry *entry)
{
    int64_t time_ms = entry->sample.time_ms;
    return entry->resolution_ms == 0 ? time_ms : window_start_ms(time_ms, entry->resolution_ms);
}
static inline int64_t entry_window_end_ms(const struct entry *entry) /* saturated */
{
    int64_t end_ms, span_ms = entry->resolution_ms == 0 ? 1 : entry->resolution_ms;
    return __builtin_add_overflow(entry_window_start_ms(entry), span_ms, &end_ms) ? INT64_MAX : end_ms;
}

/* Merges two lists of one series, each ascending in time without repeats, by the identity (series, window): of two
 * records of one window the one with the larger count stays, then the newer, then the one of `into`; its extras with
 * it; never both. Plain samples of one time: that of `into` stays. A window that spans several of the other list is
 * weighed against all of them together. The result is in `into`, ascending. Returns how many windows of `more` stayed.
 */
size_t entries_merge(struct entries *into, const struct entry *more, size_t count);
