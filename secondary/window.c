#include "window.h"
#include "base/fail.h"

#include <stdlib.h>

/* Room for extras that stays from window to window; all counters of a new target need more, once. */
#define EXTRAS_KEPT_MAX 16

enum {
    SLOT_SEEN = 1,  /* has a value in this window */
    SLOT_LIVE = 2,  /* was on the last good scrape, and no stale marker for it has gone out since */
    SLOT_KNOWN = 4, /* `last` is the value before, of this window or an earlier one */
    SLOT_FIRST = 8  /* a counter that has not moved since its first value, which came in this window */
};

struct range { /* of a gauge in this window */
    double sum, min, max;
};

struct side { /* of a slot, while not all slots share the target's count and times */
    uint32_t count;
    int64_t seen_ms; /* of `last` */
    int64_t gone_ms; /* it vanished then, in this window; 0: it is there */
    bool timed;      /* `last` brought its time along: no stale markers */
};

struct window {
    struct page_cache *cache;
    struct page *page;  /* of the accumulators; a reference */
    struct page *shown; /* what the target shows; a reference */
    uint32_t *slots;    /* slot of shown -> slot of page; NULL: the same page */
    double *last;
    uint8_t *flags;
    struct range *ranges;        /* by page->gauges */
    struct side *sides;          /* NULL in most windows */
    struct record_extra *extras; /* index = slot of page */
    size_t extra_count, extra_capacity;
    uint64_t dropped; /* samples of this window that are lost: past the bound of extras, at impossible times */
    int64_t last_ms;  /* of the last good scrape, of any window */
    uint32_t count;   /* good scrapes in this window */
    int64_t stale_ms; /* the target is gone since then; 0: it is there */
    bool stale_new;   /* and that came in this window */
};

struct window *window_new(struct page_cache *cache)
{
    struct window *window = mem_zalloc(sizeof(*window));
    window->cache = cache;
    return window;
}

static void drop_arrays(struct window *window)
{
    mem_free(STEAL(window->slots));
    mem_free(STEAL(window->last));
    mem_free(STEAL(window->flags));
    mem_free(STEAL(window->ranges));
    mem_free(STEAL(window->sides));
}

void window_free(struct window *window)
{
    if (!window)
        return;
    drop_arrays(window);
    mem_free(window->extras);
    page_unref(window->cache, window->page);
    page_unref(window->cache, window->shown);
    mem_free(window);
}

size_t window_bytes(const struct window *window)
{
    size_t bytes = sizeof(*window) + window->extra_capacity * sizeof(*window->extras);
    if (window->page)
        bytes += window->page->slot_count * (sizeof(double) + 1) + window->page->gauge_count * sizeof(struct range);
    if (window->page && window->sides)
        bytes += window->page->slot_count * sizeof(struct side);
    return bytes;
}

uint32_t window_series(const struct window *window)
{
    return window->shown ? window->shown->slot_count : 0;
}

struct page *window_page(const struct window *window)
{
    return window->shown;
}

/* ---- Going over to another page ---- */

static void make_sides(struct window *window)
{
    if (window->sides)
        return;
    window->sides = mem_array(window->page->slot_count, sizeof(*window->sides));
    for (uint32_t i = 0; i < window->page->slot_count; i++)
        if (window->flags[i] & SLOT_SEEN)
            window->sides[i] = (struct side){.count = window->count, .seen_ms = window->last_ms};
        else
            window->sides[i] = (struct side){.seen_ms = window->last_ms};
}

static int compare_extras(const void *a, const void *b)
{
    const struct record_extra *x = a, *y = b;
    if (x->index != y->index)
        return x->index < y->index ? -1 : 1;
    return x->sample.time_ms < y->sample.time_ms ? -1 : x->sample.time_ms > y->sample.time_ms;
}

static void move_extras(struct window *window, const uint32_t *to)
{
    size_t kept = 0;
    ASSERT(to);
    for (size_t i = 0; i < window->extra_count; i++) {
        uint32_t slot = to[window->extras[i].index];
        if (slot == PAGE_SLOT_NONE)
            continue;
        window->extras[kept] = window->extras[i];
        window->extras[kept++].index = slot;
    }
    window->extra_count = kept;
}

/* The accumulators go over to `page`: to[old slot] = slot of page or PAGE_SLOT_NONE. Takes a reference to page. */
static void move_to(struct window *window, struct page *page, const uint32_t *to, bool with_sides)
{
    ASSERT(!to == !window->page);
    struct window next = *window;
    next.page = page_ref(page);
    next.last = mem_array(page->slot_count, sizeof(*next.last));
    next.flags = mem_array(page->slot_count, 1);
    next.ranges = mem_array(page->gauge_count, sizeof(*next.ranges));
    next.sides = with_sides ? mem_array(page->slot_count, sizeof(*next.sides)) : NULL;
    next.slots = NULL;
    for (uint32_t i = 0; to && i < window->page->slot_count; i++) {
        uint32_t slot = to[i];
        if (slot == PAGE_SLOT_NONE)
            continue;
        next.last[slot] = window->last[i];
        next.flags[slot] = window->flags[i];
        if (with_sides)
            next.sides[slot] = window->sides[i];
        if (page->kinds[slot] == KIND_GAUGE && window->page->kinds[i] == KIND_GAUGE)
            next.ranges[page->gauges[slot]] = window->ranges[window->page->gauges[i]];
        else if (page->kinds[slot] == KIND_GAUGE) /* a counter before: begins as its last value */
            next.ranges[page->gauges[slot]] = (struct range){window->last[i], window->last[i], window->last[i]};
    }
    if (window->extra_count > 0)
        move_extras(&next, to);
    drop_arrays(window);
    page_unref(window->cache, window->page);
    *window = next;
}

static void show(struct window *window, struct page *page)
{
    page_ref(page);
    page_unref(window->cache, window->shown);
    window->shown = page;
}

/* Slots of the page so far that the window still has to speak of although `page` does not have them. */
static bool find_leaving(const struct window *window, const uint32_t *to, bool *leaving)
{
    bool any = false;
    for (uint32_t i = 0; i < window->page->slot_count; i++) {
        bool gone = window->sides && window->sides[i].gone_ms > 0;
        leaving[i] = to[i] == PAGE_SLOT_NONE && (window->flags[i] & (SLOT_SEEN | SLOT_LIVE) || gone);
        any |= leaving[i];
    }
    return any;
}

/* Both pages joined; to[] is completed to lead to the joined page. */
static bool join_pages(struct window *window, struct page *page, uint32_t *to, const bool *leaving)
{
    struct page *joined = page_union(window->cache, page, window->page, leaving);
    if (!joined)
        return false;
    uint32_t *slots = mem_array(page->slot_count, sizeof(*slots));
    page_match(page, joined, slots);
    page_match(window->page, joined, to);
    move_to(window, joined, to, true);
    page_unref(window->cache, joined);
    window->slots = slots;
    return true;
}

static void change_page(struct window *window, struct page *page, int64_t time_ms)
{
    if (!window->page) {
        move_to(window, page, NULL, false);
        show(window, page);
        return;
    }
    CLEANUP_FREE uint32_t *to = mem_array(window->page->slot_count, sizeof(*to));
    CLEANUP_FREE bool *leaving = mem_array(window->page->slot_count, sizeof(*leaving));
    page_match(window->page, page, to);
    bool any = find_leaving(window, to, leaving);
    /* From now on not all series have been seen equally often, unless nothing has been seen yet. */
    bool sides = any || window->count > 0 || window->sides;
    if (sides)
        make_sides(window);
    for (uint32_t i = 0; i < window->page->slot_count && any; i++) {
        /* Gone with the target already, if that came in this window: its own marker will not be said any more. */
        if (leaving[i] && window->flags[i] & SLOT_LIVE && !window->sides[i].timed)
            window->sides[i].gone_ms = window->stale_ms > 0 ? window->stale_ms : time_ms;
        if (leaving[i])
            window->flags[i] &= (uint8_t)~SLOT_LIVE;
    }
    /* Past a limit of layouts what is gone is given up: only its last values of this window are lost. */
    if (!any || !join_pages(window, page, to, leaving)) {
        page_match(window->page, page, to);
        move_to(window, page, to, sides);
    }
    show(window, page);
}

/* ---- Values ---- */

static void add_extra(struct window *window, uint32_t slot, int64_t time_ms, double value)
{
    size_t extras_max = (size_t)window->page->slot_count * WINDOW_EXTRAS_PER_SLOT + WINDOW_EXTRAS_MIN;
    if (window->extra_count == extras_max) {
        window->dropped++;
        return;
    }
    if (window->extra_count == window->extra_capacity) {
        window->extra_capacity = MAX(2 * window->extra_capacity, (size_t)4);
        window->extras = mem_resize(window->extras, window->extra_capacity, sizeof(*window->extras));
    }
    window->extras[window->extra_count++] =
        (struct record_extra){.index = slot, .sample = {.time_ms = time_ms, .value = value}};
}

/* A counter moved for the first time (its first value is where its increase begins), or it fell: what stood before is
 * kept, unless it went out with the window before, and after a fall what stands now. So is a NaN: to PromQL no value is
 * less than it nor more, so a fall that it hides must stay hidden. */
static void note_step(struct window *window, uint32_t slot, double value, int64_t time_ms)
{
    if (isnan(value) && isnan(window->last[slot]))
        return; /* one of them says it */
    if (window->flags[slot] & SLOT_SEEN)
        add_extra(window, slot, window->sides ? window->sides[slot].seen_ms : window->last_ms, window->last[slot]);
    if (!(value >= window->last[slot]))
        add_extra(window, slot, time_ms, value);
}

static inline void add_range(struct range *range, double value, bool first)
{
    if (first) {
        *range = (struct range){value, value, value};
        return;
    }
    range->sum += value;
    if (value < range->min || isnan(range->min))
        range->min = value;
    if (value > range->max || isnan(range->max))
        range->max = value;
}

static inline void add_value(struct window *window, uint32_t slot, double value, int64_t time_ms)
{
    uint8_t flags = window->flags[slot], first = 0;
    if (window->page->kinds[slot] == KIND_GAUGE)
        add_range(&window->ranges[window->page->gauges[slot]], value, !(flags & SLOT_SEEN));
    else if (window->page->kinds[slot] == KIND_LAST)
        first = 0;
    else if (!(flags & SLOT_KNOWN))
        first = SLOT_FIRST;
    else if (!(value >= window->last[slot]) || (flags & SLOT_FIRST && value > window->last[slot]))
        note_step(window, slot, value, time_ms);
    else
        first = flags & SLOT_FIRST;
    window->last[slot] = value;
    window->flags[slot] = SLOT_SEEN | SLOT_LIVE | SLOT_KNOWN | first;
}

static void add_aside(struct window *window, uint32_t slot, int64_t time_ms, bool timed)
{
    struct side *side = &window->sides[slot];
    side->count++;
    side->seen_ms = time_ms;
    side->gone_ms = 0;
    side->timed = timed;
}

static bool time_is_possible(int64_t at_ms, int64_t now_ms)
{
    return at_ms >= 0 && at_ms - now_ms <= WINDOW_AHEAD_MS_MAX;
}

void window_add(struct window *window, struct page *page, const struct page_values *values, int64_t time_ms)
{
    ASSERT(page && page->layout);
    /* Another text may say the same series in the same places. */
    if (window->shown && window->shown != page && hash128_equal(window->shown->layout->hash, page->layout->hash))
        show(window, page);
    else if (window->shown != page)
        change_page(window, page, time_ms);
    if (values->any_time)
        make_sides(window);
    for (uint32_t i = 0; i < page->slot_count; i++) {
        uint32_t slot = window->slots ? window->slots[i] : i;
        bool timed = values->any_time && values->times[i] != INT64_MIN;
        int64_t at = timed ? values->times[i] : time_ms;
        if (timed && !time_is_possible(at, time_ms)) {
            window->dropped++;
            continue;
        }
        /* The same sample again, as exporters with times of their own show it until they have a newer one. */
        if (timed && window->flags[slot] & SLOT_KNOWN && window->sides[slot].timed && at <= window->sides[slot].seen_ms)
            continue;
        /* Samples with times of their own are kept each as it is. */
        if (timed && window->flags[slot] & SLOT_SEEN)
            add_extra(window, slot, window->sides[slot].seen_ms, window->last[slot]);
        add_value(window, slot, values->values[i], at);
        if (window->sides)
            add_aside(window, slot, at, timed);
    }
    window->count++;
    window->last_ms = time_ms;
    window->stale_ms = 0;
    window->stale_new = false;
}

void window_stale(struct window *window, int64_t time_ms)
{
    if (window->stale_ms > 0 || !window->page)
        return;
    window->stale_ms = time_ms;
    window->stale_new = true;
}

bool window_is_open(const struct window *window)
{
    return window->page && (window->count > 0 || window->stale_new);
}

bool window_is_ended(const struct window *window)
{
    return !window->page || window->stale_ms > 0;
}

void window_expect(struct window *window, struct page *page)
{
    ASSERT(!window->page);
    move_to(window, page, NULL, false);
    show(window, page);
    for (uint32_t i = 0; i < page->slot_count; i++)
        window->flags[i] = SLOT_LIVE;
}

/* ---- Closing ---- */

void window_scratch_release(struct window_scratch *scratch)
{
    if (scratch->page)
        page_unref(scratch->cache, STEAL(scratch->page));
}

void window_scratch_done(struct window_scratch *scratch)
{
    window_scratch_release(scratch);
    mem_free(scratch->records);
    mem_free(scratch->extras);
    *scratch = (struct window_scratch){0};
}

struct record *window_scratch_records(struct window_scratch *scratch, size_t count)
{
    if (count > scratch->record_capacity) {
        scratch->record_capacity = count;
        scratch->records = mem_resize(scratch->records, count, sizeof(*scratch->records));
    }
    return scratch->records;
}

/* Values are added as they come; what that is off by is known, and the decimal meant is found once. */
static double settled_sum(const struct record *record)
{
    double count = record->count, largest = fmax(fabs(record->min), fabs(record->max));
    return sum_settle(record->sum, count * (count + 1) * largest * 0x1p-53);
}

static struct record record_of(const struct window *window, uint32_t slot)
{
    const struct side *side = window->sides ? &window->sides[slot] : NULL;
    struct record record = {.kind = window->page->kinds[slot], .last = window->last[slot]};
    bool seen = window->flags[slot] & SLOT_SEEN;
    record.count = !seen ? 0 : side ? side->count : window->count;
    record.time_ms = side && seen ? side->seen_ms : window->last_ms;
    if (record.kind == KIND_GAUGE && record.count > 0) {
        const struct range *range = &window->ranges[window->page->gauges[slot]];
        record.sum = range->sum;
        record.min = range->min;
        record.max = range->max;
    }
    uint64_t bits = double_bits(record.last);
    bool equal = double_bits(record.min) == bits && double_bits(record.max) == bits;
    if (!kind_has_range(record.kind) || record.count == 0 || (equal && (!isnan(record.sum) || isnan(record.last))))
        record_fill_constant(&record);
    else
        record.sum = settled_sum(&record);
    return record;
}

/* A series that vanished: its last value keeps its time as an extra, the record ends with the stale marker. */
static void end_record(struct window *window, uint32_t slot, struct record *record)
{
    if (record->count > 0)
        add_extra(window, slot, record->time_ms, record->last);
    record->last = value_stale();
    record->time_ms = window->sides[slot].gone_ms;
    if (record->count == 0)
        record_fill_constant(record);
}

static void write_records(struct window *window, struct window_scratch *scratch)
{
    uint32_t slots = window->page->slot_count;
    window_scratch_records(scratch, slots);
    for (uint32_t i = 0; i < slots; i++) {
        scratch->records[i] = record_of(window, i);
        if (window->sides && window->sides[i].gone_ms > 0)
            end_record(window, i, &scratch->records[i]);
    }
}

/* Extras in the order of their records, those apart that the record says itself. */
static size_t write_extras(struct window *window, struct window_scratch *scratch)
{
    if (window->extra_count == 0)
        return 0;
    if (window->extra_count > scratch->extra_capacity) {
        scratch->extra_capacity = window->extra_count;
        scratch->extras = mem_resize(scratch->extras, window->extra_count, sizeof(*scratch->extras));
    }
    qsort(window->extras, window->extra_count, sizeof(*window->extras), compare_extras);
    size_t count = 0;
    for (size_t i = 0; i < window->extra_count; i++) {
        const struct record_extra *extra = &window->extras[i];
        bool again = count > 0 && compare_extras(&scratch->extras[count - 1], extra) == 0;
        if (!again && extra->sample.time_ms < scratch->records[extra->index].time_ms)
            scratch->extras[count++] = *extra;
    }
    return count;
}

/* Sides go on only for series that bring their times along, to know a sample that is shown again. */
static void end_sides(struct window *window)
{
    bool any_timed = false;
    for (uint32_t i = 0; window->sides && i < window->page->slot_count; i++) {
        struct side *side = &window->sides[i];
        any_timed |= side->timed;
        *side = (struct side){.seen_ms = side->seen_ms, .timed = side->timed};
    }
    if (!any_timed)
        mem_free(STEAL(window->sides));
}

/* The next window begins with the page that the target shows. */
static void begin_next(struct window *window)
{
    end_sides(window);
    window->extra_count = 0;
    if (window->extra_capacity > EXTRAS_KEPT_MAX) {
        mem_free(STEAL(window->extras));
        window->extra_capacity = 0;
    }
    window->dropped = 0;
    window->count = 0;
    window->stale_new = false;
    if (window->page != window->shown) {
        CLEANUP_FREE uint32_t *to = mem_array(window->page->slot_count, sizeof(*to));
        page_match(window->page, window->shown, to);
        move_to(window, window->shown, to, window->sides != NULL);
    }
    uint8_t ended = SLOT_SEEN | SLOT_FIRST | (window->stale_ms > 0 ? SLOT_LIVE : 0);
    for (uint32_t i = 0; i < window->page->slot_count; i++)
        window->flags[i] &= (uint8_t)~ended;
}

bool window_close(struct window *window, struct window_scratch *scratch, struct window_closed *ret_closed)
{
    if (!window_is_open(window))
        return false;
    window_scratch_release(scratch);
    scratch->cache = window->cache;
    scratch->page = page_ref(window->page);
    *ret_closed = (struct window_closed){.page = window->page->layout,
                                         .time_ms = window->last_ms,
                                         .count = window->count,
                                         .stale_ms = window->stale_new ? window->stale_ms : 0};
    if (window->count > 0) {
        write_records(window, scratch);
        ret_closed->dropped = window->dropped;
        ret_closed->extra_count = write_extras(window, scratch);
        ret_closed->records = scratch->records;
        ret_closed->extras = scratch->extras;
    }
    begin_next(window);
    return true;
}
