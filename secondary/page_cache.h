#pragma once
/* What stood where last time. A target's page is the same line for line as the last one nearly always, and the same as that
 * of the other hosts of its fleet: a page keeps the series part of every sample line, in order, and the slot it belongs to.
 * Reading a known page is a memcmp and a number per line (measured: 18-24 ns per sample; keeping old bodies or hashing lines
 * was slower). Pages are shared by all targets of a worker that show the same text under the same rules. */
#include "metric/exposition.h"
#include "metric/layout.h"
#include "pipeline.h"

#define PAGE_SLOT_NONE UINT32_MAX /* a line that gives no sample: dropped by a rule, or a repeated series */

struct page_line {
    uint32_t text_offset;
    uint32_t text_len;
    uint32_t slot;
};

struct page { /* immutable once made; counted references, one thread */
    uint32_t references;
    struct layout *layout;
    struct layout **families;
    uint32_t family_count;
    uint32_t slot_count;
    uint8_t *kinds;      /* enum series_kind, by slot */
    struct page_line *lines;
    uint32_t line_count; /* sample lines, dropped ones too */
    uint32_t kept_count; /* lines with a slot */
    char *text;
    size_t text_bytes;
    uint64_t key;        /* of rules and label names it was made under */
};

struct page_cache;
struct page_cache *page_cache_new(uint64_t text_bytes_max);
void page_cache_free(struct page_cache *cache);
void page_unref(struct page_cache *cache, struct page *page); /* NULL allowed */

/* Values of a scrape, by slot; reused from scrape to scrape. */
struct page_values {
    double *values;
    int64_t *times;   /* of samples with a time of their own, INT64_MIN for the others; NULL when there are none */
    size_t capacity;
};

/* True when body is the page line for line: values holds slot_count values. False: the caller takes the slow road. */
bool page_read(const struct page *page, struct str body, bool honor_timestamps, struct page_values *values);

/* The slow road: parses, relabels and checks the body, finds or makes the page, fills values. `old` is the target's page so
 * far, to tell how many series are new. */
enum scrape_failure page_parse(struct page_cache *cache, const struct pipeline_job *job, const struct labels *target,
                               struct str body, const struct page *old, struct page_values *values,
                               struct page **ret_page, struct scrape_report *report);
/* The page that has the series of both, for a window in which a page changed. Lines are those of `next`. remap[i] is the slot
 * in the union of slot i of `old`. */
struct page *page_union(struct page_cache *cache, const struct page *old, const struct page *next, uint32_t *remap_old,
                        uint32_t *remap_next);
