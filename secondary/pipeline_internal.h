#pragma once
/* Private to pipeline*.c: pipeline.c takes scrapes in, pipeline_close.c lets windows out, pipeline_stats.c counts. */
#include "page_cache.h"
#include "pipeline.h"
#include "window_set.h"

/* The series that the scraper adds, in this order. The last is there while scrapes fail. */
enum { OWN_UP, OWN_DURATION, OWN_SCRAPED, OWN_KEPT, OWN_ADDED, OWN_BODY_BYTES, OWN_FAILURE, OWN_COUNT };

struct own_pages { /* for all targets that say the same to rules; pages are made when needed */
    uint32_t references;
    uint64_t key;
    struct page *pages[SCRAPE_FAILURE_COUNT]; /* by how the scrape ended */
    uint32_t slots[SCRAPE_FAILURE_COUNT][OWN_COUNT];
    struct page *ends[TARGET_END_COUNT]; /* by why the target did */
    uint32_t end_slots[TARGET_END_COUNT];
};

struct pipeline {
    struct pipeline_options options;
    struct window_rules *rules, *next_rules; /* next: NULL, or what holds from next_from_ms on */
    int64_t next_from_ms;
    uint64_t targets, targets_before; /* of these, by the rules before */
    struct page_cache *pages;
    struct page *empty;
    struct map own; /* struct own_pages, by key */
    struct page_values values, own_values;
    struct window_scratch scratch;
    struct pipeline_sealed *parts; /* of the close under way, one per resolution */
    size_t part_count;
    struct pipeline_stats stats;
};

enum { SET_EXPOSED, SET_OWN, SET_ENDED, SETS };

struct pipeline_target {
    struct pipeline *pipeline;
    struct labels *labels;
    const struct pipeline_job *job;
    struct window_rules *rules; /* a reference: those it goes by */
    int64_t interval_ms;
    struct own_pages *own;
    struct window_set sets[SETS]; /* of what the target exposes, what the scraper adds, and that it has ended */
    size_t set_count;             /* the last one is there from the end on */
    enum scrape_failure last_failure;
    bool answered;     /* the last scrape gave samples */
    bool ended;        /* nobody expects anything of it any more */
    bool asked;        /* a scrape was tried since the default window began */
    uint64_t repeated; /* lines dropped in this window as repeated series */
    /* As they stand in the pipeline's stats. */
    size_t counted_bytes;
    struct page *counted[SETS]; /* references */
};

struct window_rules *pipeline_newest_rules(const struct pipeline *pipeline);
bool pipeline_raw_is_full(const struct pipeline_target *target);

/* ---- pipeline_stats.c ---- */

void pipeline_count(struct pipeline_target *target);   /* after its windows or pages changed */
void pipeline_uncount(struct pipeline_target *target); /* it goes, or its rules do */
