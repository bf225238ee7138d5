#pragma once
/* One target's series that are not sent themselves: what they add to aggregates in the open window. An accumulator of
 * 25 bytes per slot, 41 in a window in which the page changes. The value before is known across windows, so that
 * increases of counters are exact; a counter that is new counts from its first value on. Members that are not on the
 * page any more stand aside, some 300 bytes each: what is kept goes by what changed, not by pages. */
#include "aggregate.h"
#include "page_cache.h"

/* Of members that stand aside: 50,000 of usual labels. Past it counters go first that have not been seen in the window;
 * then what a member came to until it went is given up and told as refused. */
#define FOLD_AWAY_BYTES_MAX (16 * MIB)
/* A counter that comes back after so many whole windows of scrapes without it goes on where it was: so far reach the
 * ranges over which rates of series that are sent are usually asked for. */
#define FOLD_AWAY_WINDOWS 4

struct fold;
struct fold *fold_new(struct page_cache *cache);
void fold_free(struct fold *fold);
size_t fold_bytes(const struct fold *fold);
struct page *fold_page(const struct fold *fold); /* shown last, borrowed; NULL: none */
/* Something was taken in since the last close, or there are members that may come back. */
bool fold_is_open(const struct fold *fold);
/* Samples' own times are not looked at. Of counters only finite values count. */
void fold_add(struct fold *fold, struct page *page, const struct page_values *values, int64_t time_ms);
/* Adds the window to the aggregate, by the labels that the rule lets stand, and begins the next. */
void fold_close(struct fold *fold, const struct window_rule *rule, const struct labels *target,
                struct aggregate *aggregate);
