#pragma once
/* How even a secondary's load is over the minute: its timetable (secondary/rounds) with many targets on a simulated
 * clock and network, counted second by second. Counts and bytes only, so that a run can be repeated. */
#include "tools/pages/page_source.h"

#define FLAT_WINDOW_S    60
#define FLAT_TARGETS_MAX PAGE_HOSTS_MAX
#define FLAT_WINDOWS_MAX 60

struct flat_options {
    const struct page_source *source; /* its hosts are the targets */
    int interval_s;                   /* of scrapes; FLAT_WINDOW_S is a multiple of it */
    int windows;                      /* counted; one before them is not */
};

struct flat_second { /* of the minute, all windows together */
    uint64_t scrapes, parts, bytes;
};

struct flat_load { /* of one kind over the seconds of the minute, per window */
    double mean, max;
    double max_over_mean;
    double busy_max_over_mean; /* over the seconds alone that have any */
    int busy_seconds;
};

struct flat {
    struct flat_second seconds[FLAT_WINDOW_S];
    int windows;
    uint64_t records;
    uint64_t windows_split, scrapes_late; /* 0, or the run says nothing */
};

void flat_run(const struct flat_options *options, struct flat *ret_flat);
/* of: where in flat_second the number stands. */
struct flat_load flat_load_of(const struct flat *flat, size_t of);
