#pragma once
/* What stood where last time. A target's page is the same line for line as the last one nearly always, and the same as
 * that of the other hosts of its fleet: a page keeps the series part of every sample line, in order, and the slot it
 * belongs to. Reading a known page is a memcmp and a number per line (measured: 18-24 ns per sample; keeping old bodies
 * or hashing lines was slower). Pages are shared by all targets of a worker that show the same text under the same
 * rules. (A TYPE or HELP line that changes while every series line stays is noticed when the target's page
 * next changes.) */
#include "metric/exposition.h"
#include "metric/layout.h"
#include "pipeline.h"
#include "window_rules.h"

#define PAGE_SLOT_NONE UINT32_MAX /* a line that gives no sample: dropped by a rule, or a repeated series */

struct page_line {
    uint32_t text_offset;
    uint32_t text_len;
    uint32_t slot;
};

struct page;
struct page_part { /* series that rules give windows of their own: a page without text */
    struct window_class class;
    struct page *page;
    uint32_t first_value; /* where its slots' values begin among those of the whole page */
};

struct page { /* immutable once made; counted references, one thread */
    uint32_t references;
    struct layout *layout;
    struct layout **families;
    uint32_t family_count;
    uint32_t slot_count;
    uint32_t gauge_count;
    uint8_t *kinds;          /* enum series_kind, by slot */
    uint32_t *gauges;        /* by slot: its number among the gauges; of counters not used */
    struct page_line *lines; /* NULL: the text is not kept (a union, or past the cache's bound) */
    uint32_t line_count;     /* sample lines, dropped ones too */
    uint32_t kept_count;     /* lines with a slot */
    uint32_t repeated_count; /* lines whose series stood before on the page */
    uint32_t dropped_count;  /* lines that rules dropped */
    uint32_t value_count;    /* slots of the page and of its parts */
    struct page_part *parts; /* what the page's slots are not: series of other classes than the default one */
    uint32_t part_count;
    uint32_t *decided; /* by rule: series of which it decides something; NULL: no rules were asked */
    uint32_t rule_count;
    char *text;
    size_t text_bytes;
    uint64_t key;  /* of the rules and label names it was made under */
    uint64_t hash; /* of key and text */
};

struct page_cache;
struct page_cache *page_cache_new(uint64_t text_bytes_max);
void page_cache_free(struct page_cache *cache); /* all pages are back by then */
struct page *page_ref(struct page *page);
void page_unref(struct page_cache *cache, struct page *page); /* NULL allowed */
size_t page_cache_pages(const struct page_cache *cache);
size_t page_cache_layouts(const struct page_cache *cache); /* of families, with those that wait to be swept */
uint64_t page_cache_text_bytes(const struct page_cache *cache);

/* Values of a scrape, by slot, those of parts behind the page's own; reused from scrape to scrape. */
struct page_values {
    double *values;
    int64_t *times; /* when any_time: of samples with a time of their own, INT64_MIN for the others */
    bool any_time;
    size_t capacity;
};
void page_values_done(struct page_values *values);

/* The values of a part: a view. */
struct page_values page_values_of(const struct page_values *values, const struct page_part *part);

/* True when body is the page line for line: values holds value_count values. False: the caller takes the slow road. */
bool page_read(const struct page *page, struct str body, bool honor_timestamps, struct page_values *values);

/* The slow road: parses, relabels and checks the body, finds or makes the page (a reference of the caller's), fills
 * values. Anything but SCRAPE_OK: no page, and the reason in the report. */
struct page_source { /* whose body it is */
    const struct pipeline_job *job;
    const struct window_rules *rules;
    const struct labels *target;
};
enum scrape_failure page_parse(struct page_cache *cache, const struct page_source *source, struct str body,
                               struct page_values *values, struct page **ret_page, struct scrape_report *report);

/* These speak of a page's own slots, not of its parts'. Where the series of `old` stand in `next`: ret_slots[old slot]
 * = next slot, or PAGE_SLOT_NONE. Returns how many of next's slots are not in old: the series that are new. */
uint32_t page_match(const struct page *old, const struct page *next, uint32_t *ret_slots);
/* A page with the slots of `next` and those slots of `old` that keep[] names, for a window in which series went: no
 * text. NULL when it would pass a limit. */
struct page *page_union(struct page_cache *cache, const struct page *next, const struct page *old, const bool *keep);
/* A page that is not scraped. ret_slots: where the value of each series stands, or PAGE_SLOT_NONE. NULL past a limit
 * of layouts. */
struct page_series {
    struct str name, help;
    enum metric_type type;
    const struct label *labels; /* without __name__ */
    size_t label_count;         /* below LABELS_MAX */
};
struct page *page_of_series(struct page_cache *cache, const struct page_source *source,
                            const struct page_series *series, size_t count, uint32_t *ret_slots);
/* A page without series. */
struct page *page_empty(struct page_cache *cache);
