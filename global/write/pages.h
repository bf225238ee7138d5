#pragma once
/* Layouts for what remote write brings. Series of a target that came together, in the order of the page that was
 * scraped, are cut into pages at places that depend on what stands there and not on where a request began (as rsync
 * cuts files). So the pages are the same ones each time, however a sender divides its series into requests, but for one
 * at each end; and hosts of a fleet share them. Made once, then kept. */
#include "base/crc.h"
#include "metric/layout.h"
#include "write/metadata.h"

/* Of one page: most series, and bytes of their messages. One that changes costs the page that it is on. */
#define PAGES_SLOTS_MAX 1024
#define PAGES_TEXT_MAX  MIB

#define PAGES_BYTES_MAX (256 * MIB) /* kept, counted as memory of layouts; past it all are made again */
#define PAGES_AGE_MS    (10 * 60 * INT64_C(1000))

struct pages_series {     /* one of a page to be; in order of (metric_hash, slot), no two equal */
    uint64_t metric_hash; /* of the metric's name */
    struct hash128 slot;  /* of the labels but the target's */
    struct str message;   /* the labels again, when the page is not known */
};

/* With `slots` and `text` bytes on the page so far, its last series `last`: a new page begins with `next`. */
bool pages_is_cut(size_t slots, size_t text, const struct pages_series *last, const struct pages_series *next);

struct pages;
struct pages *pages_new(void);
void pages_free(struct pages *pages);
DEFINE_CLEANUP(struct pages *, pages_free)
struct pages_wanted {
    const struct pages_series *series;
    size_t count;
    struct str datacenter; /* as series_read_labels takes it */
};
/* The page whose slots are these series, in this order; borrowed until the next call. NULL: no layout can say it (more
 * than 1,024 names of labels in one family). */
struct layout *pages_get(struct pages *pages, const struct metadata *metadata, const struct pages_wanted *wanted,
                         int64_t now_ms);
