#include "raw_window.h"

#include "base/fail.h"

#define TIME_OF_SCRAPE INT64_MIN /* in a list of times: the sample brought none along */
#define TIME_UNSAID    INT64_MAX /* this slot says nothing */

struct raw_scrape {
    struct page *page; /* with the series that are gone, whose values are the stale marker */
    int64_t time_ms;
    bool ended;     /* all series of the page ended then: no values */
    double *values; /* by slot */
    int64_t *times; /* NULL: all of the scrape's time */
};

struct raw_window {
    struct page_cache *cache;
    struct page *shown; /* by the last scrape that gave values */
    bool live;          /* and its series have not been marked as stale since */
    int64_t *seen_ms;   /* by slot of shown: the time that its last sample brought along; NULL: none did */
    struct raw_scrape *scrapes;
    uint32_t count;
    size_t value_bytes;
    uint64_t dropped; /* samples at impossible times */
};

struct raw_window *raw_window_new(struct page_cache *cache)
{
    struct raw_window *raw = mem_zalloc(sizeof(*raw));
    raw->cache = cache;
    raw->scrapes = mem_array(RAW_SCRAPES_MAX, sizeof(*raw->scrapes));
    return raw;
}

void raw_window_clear(struct raw_window *raw)
{
    for (uint32_t i = 0; i < raw->count; i++) {
        page_unref(raw->cache, raw->scrapes[i].page);
        mem_free(raw->scrapes[i].values);
        mem_free(raw->scrapes[i].times);
    }
    raw->count = 0;
    raw->value_bytes = 0;
    raw->dropped = 0;
}

void raw_window_free(struct raw_window *raw)
{
    if (!raw)
        return;
    raw_window_clear(raw);
    page_unref(raw->cache, raw->shown);
    mem_free(raw->seen_ms);
    mem_free(raw->scrapes);
    mem_free(raw);
}

size_t raw_window_bytes(const struct raw_window *raw)
{
    size_t seen = raw->seen_ms ? raw->shown->slot_count * sizeof(*raw->seen_ms) : 0;
    return sizeof(*raw) + RAW_SCRAPES_MAX * sizeof(*raw->scrapes) + raw->value_bytes + seen;
}

struct page *raw_window_page(const struct raw_window *raw)
{
    return raw->shown;
}

uint32_t raw_window_count(const struct raw_window *raw)
{
    return raw->count;
}

uint64_t raw_window_dropped(const struct raw_window *raw)
{
    return raw->dropped;
}

/* The page with those series of the page before that it lacks; NULL: it lacks none, or past a limit of layouts. Series
 * that bring times along get no markers. */
static struct page *page_with_gone(const struct raw_window *raw, const struct page *page)
{
    const struct page *old = raw->shown;
    if (!raw->live || hash128_equal(old->layout->hash, page->layout->hash))
        return NULL;
    CLEANUP_FREE uint32_t *to = mem_array(old->slot_count, sizeof(*to));
    CLEANUP_FREE bool *gone = mem_array(old->slot_count, sizeof(*gone));
    bool any = false;
    page_match(old, page, to);
    for (uint32_t i = 0; i < old->slot_count; i++) {
        gone[i] = to[i] == PAGE_SLOT_NONE && !(raw->seen_ms && raw->seen_ms[i] != TIME_OF_SCRAPE);
        any |= gone[i];
    }
    return any ? page_union(raw->cache, page, old, gone) : NULL;
}

static void show(struct raw_window *raw, struct page *page)
{
    if (raw->shown && !hash128_equal(raw->shown->layout->hash, page->layout->hash))
        mem_free(STEAL(raw->seen_ms));
    page_ref(page);
    page_unref(raw->cache, raw->shown);
    raw->shown = page;
    raw->live = true;
}

/* The time of a sample that brought one along; TIME_UNSAID for one that was there before or lies too far ahead. */
static int64_t own_time(struct raw_window *raw, uint32_t slot, int64_t at_ms, int64_t scrape_ms)
{
    if (at_ms < 0 || at_ms - scrape_ms > WINDOW_AHEAD_MS_MAX) {
        raw->dropped++;
        return TIME_UNSAID;
    }
    if (raw->seen_ms[slot] != TIME_OF_SCRAPE && at_ms <= raw->seen_ms[slot])
        return TIME_UNSAID;
    raw->seen_ms[slot] = at_ms;
    return at_ms;
}

static void make_seen(struct raw_window *raw)
{
    if (raw->seen_ms)
        return;
    raw->seen_ms = mem_array(raw->shown->slot_count, sizeof(*raw->seen_ms));
    for (uint32_t i = 0; i < raw->shown->slot_count; i++)
        raw->seen_ms[i] = TIME_OF_SCRAPE;
}

void raw_window_add(struct raw_window *raw, struct page *page, const struct page_values *values, int64_t time_ms)
{
    ASSERT(raw->count < RAW_SCRAPES_MAX);
    struct page *joined = page_with_gone(raw, page);
    CLEANUP_FREE uint32_t *to = joined ? mem_array(page->slot_count, sizeof(*to)) : NULL;
    struct raw_scrape *scrape = &raw->scrapes[raw->count++];
    *scrape = (struct raw_scrape){.page = joined ? joined : page_ref(page), .time_ms = time_ms};
    if (joined)
        page_match(page, joined, to);
    show(raw, page);
    uint32_t slots = scrape->page->slot_count;
    scrape->values = mem_array(slots, sizeof(*scrape->values));
    scrape->times = values->any_time ? mem_array(slots, sizeof(*scrape->times)) : NULL;
    raw->value_bytes += slots * (scrape->times ? 2 : 1) * sizeof(*scrape->values);
    for (uint32_t i = 0; i < slots && (joined || scrape->times); i++) {
        scrape->values[i] = value_stale();
        if (scrape->times)
            scrape->times[i] = TIME_OF_SCRAPE;
    }
    if (values->any_time)
        make_seen(raw);
    for (uint32_t i = 0; i < page->slot_count; i++) {
        uint32_t slot = joined ? to[i] : i;
        scrape->values[slot] = values->values[i];
        if (scrape->times && values->times[i] != INT64_MIN)
            scrape->times[slot] = own_time(raw, i, values->times[i], time_ms);
    }
}

void raw_window_stale(struct raw_window *raw, int64_t time_ms)
{
    if (!raw->live || raw->count == RAW_SCRAPES_MAX)
        return;
    raw->live = false;
    raw->scrapes[raw->count++] = (struct raw_scrape){.page = page_ref(raw->shown), .time_ms = time_ms, .ended = true};
}

void raw_window_item(const struct raw_window *raw, uint32_t nth, struct window_scratch *scratch,
                     struct batch_item *ret_item)
{
    ASSERT(nth < raw->count);
    const struct raw_scrape *scrape = &raw->scrapes[nth];
    const struct page *page = scrape->page;
    *ret_item = (struct batch_item){.page = page->layout, .time_ms = scrape->time_ms};
    if (scrape->ended) {
        ret_item->stale_ms = scrape->time_ms;
        return;
    }
    struct record *records = window_scratch_records(scratch, page->slot_count);
    for (uint32_t i = 0; i < page->slot_count; i++) {
        struct record *record = &records[i];
        int64_t at_ms = scrape->times ? scrape->times[i] : TIME_OF_SCRAPE;
        bool said = at_ms != TIME_UNSAID;
        *record = (struct record){.time_ms = !said || at_ms == TIME_OF_SCRAPE ? scrape->time_ms : at_ms,
                                  .last = said ? scrape->values[i] : 0,
                                  .count = said && !value_is_stale(scrape->values[i]),
                                  .kind = page->kinds[i]};
        record_fill_constant(record);
    }
    ret_item->count = 1;
    ret_item->records = records;
}
