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

static uint32_t part_of_key(const struct batch_entry *entry, bool target)
{
    return target ? entry->target : entry->page;
}

/* By counting, an order in which what stood first stays first: linear, whatever a peer sends, where a hash could be
 * filled with targets and pages chosen to meet in it. */
static void sort_by(const struct batch_entry *entries, size_t count, bool target, const uint32_t *from, uint32_t *to)
{
    size_t values = 0;
    for (size_t i = 0; i < count; i++)
        values = MAX(values, (size_t)part_of_key(&entries[i], target) + 1);
    CLEANUP_FREE uint32_t *next = mem_array(values + 1, sizeof(*next));
    for (size_t i = 0; i < count; i++)
        next[part_of_key(&entries[i], target) + 1]++;
    for (size_t value = 0; value < values; value++)
        next[value + 1] += next[value];
    for (size_t i = 0; i < count; i++) {
        uint32_t index = from ? from[i] : (uint32_t)i;
        to[next[part_of_key(&entries[index], target)]++] = index;
    }
}

/* Targets, pages, rounds and counts are known. */
static void find_before(const struct batch_entry *entries, size_t count, uint32_t *before)
{
    for (size_t i = 0; i < count; i++)
        before[i] = BATCH_NONE;
    if (count == 0 || entries[0].round == entries[count - 1].round)
        return;
    CLEANUP_FREE uint32_t *order = mem_array(2 * count, sizeof(*order));
    ASSERT(order);
    uint32_t *by_page = order + count;
    sort_by(entries, count, false, NULL, by_page);
    sort_by(entries, count, true, by_page, order);
    uint32_t last = BATCH_NONE, earlier = BATCH_NONE; /* with scrapes: so far; of the rounds before */
    for (size_t i = 0; i < count; i++) {
        const struct batch_entry *entry = &entries[order[i]], *prior = i > 0 ? &entries[order[i - 1]] : entry;
        if (prior->target != entry->target || prior->page != entry->page)
            last = earlier = BATCH_NONE;
        else if (prior->round != entry->round)
            earlier = last;
        before[order[i]] = earlier;
        if (entry->count > 0)
            last = order[i];
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
    find_before(entries->items, entries->count, entries->before);
    buf_append_uvarint(header, rounds);
    for (uint32_t round = 0, from = 0; round < rounds; round++) {
        size_t end = round_end(entries, from, round);
        buf_append_uvarint(header, end - from);
        for (int column = 0; column < BATCH_ENTRY_COLUMNS && end > from; column++) {
            for (size_t i = from; i < end; i++)
                numbers[i - from] = number_of(entries, i, from, column);
            column_encode_ints(numbers, end - from, header, payload);
        }
        from = (uint32_t)end;
    }
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
        entry->time_ms = number; /* a difference until all predecessors are known */
        return true;
    case 3:
        entry->count = (uint32_t)number;
        return number >= 0 && number <= UINT32_MAX;
    default:
        entry->stale_ms = number;
        return true;
    }
}

static int read_round(struct batch_entries *entries, size_t from, struct column_input *in)
{
    size_t count = entries->count - from;
    CLEANUP_FREE int64_t *numbers = mem_array(count, sizeof(*numbers));
    for (int column = 0; column < BATCH_ENTRY_COLUMNS && count > 0; column++) {
        if (column_decode_ints(in, count, numbers) < 0)
            return -EBADMSG;
        for (size_t i = 0; i < count; i++)
            if (!take_number(entries, from + i, from, column, numbers[i]))
                return -EBADMSG;
    }
    return 0;
}

static int read_rounds(struct batch_entries *entries, struct column_input *in)
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
        for (size_t i = from; i < entries->count; i++)
            entries->items[i] = (struct batch_entry){.round = round};
        if (read_round(entries, from, in) < 0)
            return -EBADMSG;
    }
    return 0;
}

int batch_entries_read(struct batch_entries *entries, struct column_input *in)
{
    ASSERT(entries->count == 0);
    int error = read_rounds(entries, in);
    if (error < 0)
        return error;
    entries->before = mem_resize(NULL, entries->count, sizeof(*entries->before));
    find_before(entries->items, entries->count, entries->before);
    for (size_t i = 0; i < entries->count; i++) { /* a predecessor stands before, its time is known */
        struct batch_entry *entry = &entries->items[i];
        entry->time_ms = (int64_t)((uint64_t)time_base(entries, i) + (uint64_t)entry->time_ms);
    }
    return 0;
}
