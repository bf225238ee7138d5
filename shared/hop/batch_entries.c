/* The entries of a body, written and read: which target showed which page in which round, when and how often.
 *
 *   uvarint rounds; of each: uvarint entries; when there are any, five integer columns:
 *     target   steps in the target list, from the entry before in the round (the first from 0)
 *     page     index in the envelope's pages
 *     time     since that of the entry's predecessor (the last of the same target and page, with scrapes, in an earlier
 *              round); without one since its window began
 *     count    scrapes
 *     stale    time from which the target is gone; 0: it is there */
#include "base/fail.h"
#include "hop/batch_body.h"

#include <errno.h>

/* ---- Predecessors ---- */

/* Target and page in one number, mixed so that neighbours lie apart: multiplying by an odd number is one to one. */
static uint64_t link_key(const struct batch_entry *entry)
{
    return ((uint64_t)entry->target << 32 | entry->page) * UINT64_C(0x9e3779b97f4a7c15);
}

/* Of entries from..end, which are one round; the map has the rounds before it. */
static void find_before(const struct map *last, const struct batch_entry *entries, size_t from, size_t end,
                        uint32_t *before)
{
    for (size_t i = from; i < end; i++) {
        uintptr_t found = last->count > 0 ? (uintptr_t)map_get(last, link_key(&entries[i]), NULL, NULL) : 0;
        before[i] = found ? (uint32_t)(found - 1) : BATCH_NONE;
    }
}

static void note_round(struct map *last, const struct batch_entry *entries, size_t from, size_t end)
{
    for (size_t i = from; i < end; i++) {
        uint64_t key = link_key(&entries[i]);
        if (entries[i].count == 0)
            continue;
        map_remove(last, key, NULL, NULL);
        map_put(last, key, (void *)(uintptr_t)(i + 1)); // NOLINT: a number
    }
}

static int64_t time_base(const struct batch_entries *entries, size_t index)
{
    const struct batch_entry *entry = &entries->items[index];
    if (entries->before[index] != BATCH_NONE)
        return entries->items[entries->before[index]].time_ms;
    return (int64_t)((uint64_t)entries->window_start_ms + entry->round * (uint64_t)entries->resolution_ms);
}

void batch_entries_done(struct batch_entries *entries)
{
    mem_free(entries->items);
    mem_free(entries->before);
    *entries = (struct batch_entries){0};
}

/* ---- Writing ---- */

static int64_t number_of(const struct batch_entries *entries, size_t index, size_t from, int column)
{
    const struct batch_entry *entry = &entries->items[index];
    switch (column) {
    case 0:
        return (int64_t)entry->target - (index > from ? entries->items[index - 1].target : 0);
    case 1:
        return entry->page;
    case 2:
        return batch_time_between(entry->time_ms, time_base(entries, index));
    case 3:
        return entry->count;
    default:
        return entry->stale_ms;
    }
}

static size_t round_end(const struct batch_entries *entries, size_t from, uint32_t round)
{
    size_t end = from;
    while (end < entries->count && entries->items[end].round == round)
        end++;
    return end;
}

void batch_entries_write(struct batch_entries *entries, struct buf *header, struct buf *payload)
{
    uint32_t rounds = entries->count > 0 ? entries->items[entries->count - 1].round + 1 : 0;
    CLEANUP_FREE int64_t *numbers = mem_array(entries->count, sizeof(*numbers));
    struct map last;
    map_init(&last);
    buf_append_uvarint(header, rounds);
    for (uint32_t round = 0, from = 0; round < rounds; round++) {
        size_t end = round_end(entries, from, round);
        find_before(&last, entries->items, from, end, entries->before);
        buf_append_uvarint(header, end - from);
        for (int column = 0; column < BATCH_ENTRY_COLUMNS && end > from; column++) {
            for (size_t i = from; i < end; i++)
                numbers[i - from] = number_of(entries, i, from, column);
            column_encode_ints(numbers, end - from, header, payload);
        }
        if (round + 1 < rounds)
            note_round(&last, entries->items, from, end);
        from = (uint32_t)end;
    }
    map_done(&last);
}

/* ---- Reading ---- */

static bool take_number(struct batch_entries *entries, size_t index, size_t from, int column, int64_t number)
{
    struct batch_entry *entry = &entries->items[index];
    uint64_t target;
    switch (column) {
    case 0:
        target = (uint64_t)number + (index > from ? entries->items[index - 1].target : 0);
        entry->target = (uint32_t)target;
        return target < entries->limits.targets;
    case 1:
        entry->page = (uint32_t)number;
        return number >= 0 && number < entries->limits.pages;
    case 2:
        entry->time_ms = (int64_t)((uint64_t)time_base(entries, index) + (uint64_t)number);
        return true;
    case 3:
        entry->count = (uint32_t)number;
        return number >= 0 && number <= UINT32_MAX;
    default:
        entry->stale_ms = number;
        return true;
    }
}

static int read_round(struct batch_entries *entries, size_t from, struct map *last, struct column_input *in)
{
    size_t count = entries->count - from;
    CLEANUP_FREE int64_t *numbers = mem_array(count, sizeof(*numbers));
    for (int column = 0; column < BATCH_ENTRY_COLUMNS && count > 0; column++) {
        if (column_decode_ints(in, count, numbers) < 0)
            return -EBADMSG;
        if (column == 2) /* target and page are known: so are the predecessors, by whose times it goes */
            find_before(last, entries->items, from, entries->count, entries->before);
        for (size_t i = 0; i < count; i++)
            if (!take_number(entries, from + i, from, column, numbers[i]))
                return -EBADMSG;
    }
    return 0;
}

static int read_rounds(struct batch_entries *entries, struct column_input *in, struct map *last)
{
    uint64_t rounds = reader_uvarint(&in->header);
    if (in->header.bad || rounds > entries->limits.rounds)
        return -EBADMSG;
    for (uint32_t round = 0; round < rounds; round++) {
        size_t from = entries->count;
        uint64_t count = reader_uvarint(&in->header);
        if (in->header.bad || count > entries->limits.entries - from)
            return -EBADMSG;
        entries->count = from + (size_t)count;
        entries->items = mem_resize(entries->items, entries->count + 1, sizeof(*entries->items));
        entries->before = mem_resize(entries->before, entries->count + 1, sizeof(*entries->before));
        for (size_t i = from; i < entries->count; i++)
            entries->items[i] = (struct batch_entry){.round = round};
        if (read_round(entries, from, last, in) < 0)
            return -EBADMSG;
        if (round + 1 < rounds)
            note_round(last, entries->items, from, entries->count);
    }
    return 0;
}

int batch_entries_read(struct batch_entries *entries, struct column_input *in)
{
    ASSERT(entries->count == 0);
    struct map last;
    map_init(&last);
    int error = read_rounds(entries, in, &last);
    map_done(&last);
    return error;
}
