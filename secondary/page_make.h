#pragma once
/* Private to page_*.c: what page_cache.c offers to those that make pages. */
#include "page_cache.h"

struct page_text { /* the series parts of a body's lines */
    struct buf text;
    struct page_line *lines;
    uint32_t line_count;
};

/* The page of this text made under this key, with a reference for the caller; or NULL. */
struct page *page_cache_find(struct page_cache *cache, uint64_t key, struct str text);
/* The one layout that says what `made` says; takes made over, gives a reference. */
struct layout *page_cache_layout(struct page_cache *cache, struct layout *made);
/* A page of these families, whose array and references it takes over; NULL past a limit (then they stay the caller's).
 */
struct page *page_cache_page(struct page_cache *cache, struct layout **families, uint32_t count);
/* Keeps the text for page_read, unless the cache is full. */
void page_cache_keep_text(struct page_cache *cache, struct page *page, uint64_t key, struct page_text *text);
void page_values_reserve(struct page_values *values, size_t slots);
void page_values_set_time(struct page_values *values, uint32_t slots, uint32_t slot, int64_t time_ms);
