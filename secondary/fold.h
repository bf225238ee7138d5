#pragma once
/* One target's series that are not sent themselves: what they add to aggregates in the open window. An accumulator of
 * 25 bytes per slot. The value before is known across windows, so that increases of counters are exact; a counter that
 * is new counts from its first value on. */
#include "aggregate.h"
#include "page_cache.h"

struct fold;
struct fold *fold_new(struct page_cache *cache);
void fold_free(struct fold *fold);
size_t fold_bytes(const struct fold *fold);
struct page *fold_page(const struct fold *fold); /* shown last, borrowed; NULL: none */
bool fold_is_open(const struct fold *fold);      /* something was taken in since the last close */
/* Samples' own times are not looked at. */
void fold_add(struct fold *fold, struct page *page, const struct page_values *values, int64_t time_ms);
/* Adds the window to the aggregate, by the labels that the rule lets stand, and begins the next. */
void fold_close(struct fold *fold, const struct window_rule *rule, const struct labels *target,
                struct aggregate *aggregate);
