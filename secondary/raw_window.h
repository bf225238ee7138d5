#pragma once
/* Every scrape of a target as it is (resolution 0): the values of each are kept until the window closes, then each
 * scrape is an item of a batch. */
#include "hop/batch.h"
#include "window.h"

/* Scrapes kept per target at most; then they have to leave although the window is open. */
#define RAW_SCRAPES_MAX BATCH_ROUNDS_MAX

struct raw_window;
struct raw_window *raw_window_new(struct page_cache *cache);
void raw_window_free(struct raw_window *raw);
size_t raw_window_bytes(const struct raw_window *raw);
struct page *raw_window_page(const struct raw_window *raw); /* shown last, borrowed; NULL: none */

/* Series that are gone since the scrape before get a stale marker at time_ms. raw_window_count < RAW_SCRAPES_MAX. */
void raw_window_add(struct raw_window *raw, struct page *page, const struct page_values *values, int64_t time_ms);
/* All series are stale from time_ms on, until the next scrape. */
void raw_window_stale(struct raw_window *raw, int64_t time_ms);
uint32_t raw_window_count(const struct raw_window *raw); /* what was added and has not been cleared */
uint64_t raw_window_dropped(const struct raw_window *raw);
/* The nth of it, but for target and round. Valid until the next call with this scratch. */
void raw_window_item(const struct raw_window *raw, uint32_t nth, struct window_scratch *scratch,
                     struct batch_item *ret_item);
void raw_window_clear(struct raw_window *raw);
