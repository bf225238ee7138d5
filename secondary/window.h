#pragma once
/* One target's open window: an accumulator per slot of its page. 9 bytes per counter and 33 per gauge, allocated
 * together; what is rare (series that came or went, resets, times of their own) lives in side lists that are there when
 * needed. */
#include "metric/record.h"
#include "page_cache.h"

/* Extras kept per window: a sample of each scrape at 4 s in a minute, for series that bring times of their own along,
 * and many times what resets need; more than that are dropped, counted. */
#define WINDOW_EXTRAS_PER_SLOT 16
#define WINDOW_EXTRAS_MIN      256
/* A sample's own time may be so far ahead of its scrape, as in Prometheus; what is past it is dropped. */
#define WINDOW_AHEAD_MS_MAX (10 * 60 * INT64_C(1000))

struct window;

struct window *window_new(struct page_cache *cache);
void window_free(struct window *window);
size_t window_bytes(const struct window *window);
uint32_t window_series(const struct window *window);   /* of the page the target shows */
struct page *window_page(const struct window *window); /* what the target shows, borrowed; NULL: nothing yet */

/* Takes the values of a scrape of `page` in. When the page is another than the window's, the window goes over to what
 * both have, and series that are gone get a stale marker at time_ms. Counters that fell since the value before (of this
 * window or the one before) keep the values on both sides as extras, and one that begins in this window its first value
 * if it moved since: so increases and resets are those of all samples. Times of one window rise. */
void window_add(struct window *window, struct page *page, const struct page_values *values, int64_t time_ms);
/* The scrape failed, or the target ended: every live series is stale from time_ms on, until the next good scrape (a
 * marker between values of one window is not kept). */
void window_stale(struct window *window, int64_t time_ms);

bool window_is_open(const struct window *window);  /* something was taken in since the last close */
bool window_is_ended(const struct window *window); /* all series are stale, or there never were any */
/* Of a window without any page yet: the series of this one were there until now, elsewhere; those that the next scrape
 * does not show are marked as stale then. */
void window_expect(struct window *window, struct page *page);

/* What a closed window says: an item of a batch but for its target. Pointers live until the next call. */
struct window_closed {
    struct layout *page;
    int64_t time_ms;
    uint32_t count;
    int64_t stale_ms;
    const struct record *records;
    const struct record_extra *extras;
    size_t extra_count;
    uint64_t dropped; /* samples that are lost: at impossible times, or extras past the bound */
};
/* Scratch that window_close writes to, reused from target to target. */
struct window_scratch {
    struct record *records;
    size_t record_capacity;
    struct record_extra *extras;
    size_t extra_capacity;
    struct page *page; /* keeps what was closed last */
    struct page_cache *cache;
};
struct record *window_scratch_records(struct window_scratch *scratch, size_t count); /* room for so many */
void window_scratch_release(struct window_scratch *scratch); /* lets the page go: what was closed is not read again */
void window_scratch_done(struct window_scratch *scratch);

/* Writes the window out and begins the next: last values of counters stay for resets, series that are gone leave the
 * page. False when there is nothing to say (no scrape, no stale marker). */
bool window_close(struct window *window, struct window_scratch *scratch, struct window_closed *ret_closed);
