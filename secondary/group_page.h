#pragma once
/* Groups of a window as series: their page, and where each of them stands. Groups rarely change from window to window,
 * and a page is dear to make: it is kept for as long as it fits. */
#include "aggregate.h"
#include "page_cache.h"

enum group_field { GROUP_COUNT, GROUP_MAX, GROUP_MIN, GROUP_SUM, GROUP_FIELDS };

struct group_series {
    uint32_t group;
    uint32_t slot; /* of the page */
    enum group_field field;
};

struct group_page {
    struct labels **groups; /* sorted; references */
    enum series_kind *kinds;
    size_t group_count;
    struct group_series *series; /* counters: count and sum; gauges: all four */
    size_t count;
    struct page *page; /* NULL: labels that no layout holds */
};

/* source: the target they are told of, and its rules. Of the aggregate nothing is kept but references to labels. */
struct group_page *group_page_new(struct page_cache *cache, const struct page_source *source,
                                  const struct aggregate *aggregate);
void group_page_free(struct page_cache *cache, struct group_page *page); /* NULL allowed */
/* True when it is the page of these groups: ret_cells[group] is each of them. */
bool group_page_fits(const struct group_page *page, const struct aggregate *aggregate,
                     const struct aggregate_cell **ret_cells);
