#pragma once
/* A fixture's hosts as targets of one pipeline, without I/O: scrapes go in, parts of windows come out. */
#include "secondary/pipeline.h"
#include "tools/pages/page_source.h"

#define RIG_PARTS_MAX 1024 /* of one window */
#define RIG_START_MS  INT64_C(1700000040000)
#define RIG_WINDOW_MS INT64_C(60000) /* usual */

struct rig;

struct rig_cost { /* thread CPU time and what it was spent on */
    uint64_t samples, series_added;
    int64_t scrape_ns, close_ns;
};

struct rig_options {
    const struct page_source *source; /* must outlive the rig */
    int64_t window_ms;
    int64_t start_ms;  /* of the first window, a multiple of window_ms; 0: RIG_START_MS */
    int scrapes;       /* of each target in a window */
    bool every_scrape; /* by a rule, as it is */
    uint32_t group;    /* hosts whose window is closed together; 0: all */
};

/* Windows of this length, without rules but the project's own; or every scrape as it is. */
struct window_rules *rig_rules(int64_t window_ms, bool every_scrape);
struct rig *rig_new(const struct rig_options *options);
void rig_free(struct rig *rig);
/* Scrapes all hosts through the nth window; adds to cost. */
void rig_scrape(struct rig *rig, int window, struct rig_cost *cost);
/* Closes it, group by group. The writers of the parts are the caller's; the array lives until the next call. */
size_t rig_close(struct rig *rig, int window, struct rig_cost *cost, struct pipeline_sealed **ret_parts);
void rig_stats(const struct rig *rig, struct pipeline_stats *ret_stats);
