#pragma once
/* One target's open window: an accumulator per slot of its page. 8 bytes per counter and 32 per gauge, allocated together;
 * what is rare (series that came or went, resets, times of their own) lives in small side lists. */
#include "metric/record.h"
#include "page_cache.h"

struct window;

struct window *window_new(void);
void window_free(struct window *window);
size_t window_bytes(const struct window *window);
size_t window_series(const struct window *window);

/* Takes the values of a scrape of `page` at time_ms in. When the page is another than the window's, the window goes over to
 * the union of both, and series that are gone get a stale marker at time_ms. Counters that fell since the value before
 * (of this window or the one before) keep the values on both sides as extras. */
void window_add(struct window *window, struct page_cache *cache, struct page *page, const struct page_values *values,
                int64_t time_ms);
/* The scrape failed, or the target ended: every live series is stale from time_ms on. */
void window_stale(struct window *window, int64_t time_ms);
/* Writes the window as an entry and its records, then begins the next: last values of counters stay for resets, series that
 * are gone leave the page. False when there is nothing to say (no scrape, no stale marker). */
bool window_close(struct window *window, struct page_cache *cache, struct batch_entry *ret_entry,
                  struct record *ret_records, struct record_extra *ret_extras, size_t *ret_extra_count);
/* Room window_close needs. */
size_t window_records_max(const struct window *window);
size_t window_extras_max(const struct window *window);
struct page *window_page(const struct window *window); /* of the records that window_close gives; NULL: none yet */
