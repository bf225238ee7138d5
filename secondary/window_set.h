#pragma once
/* The open windows of one page of a target: one for the series of the default class, and one more for each class that
 * rules make of the others: a window of another resolution, every scrape as it is, or what is folded into aggregates.
 */
#include "fold.h"
#include "raw_window.h"
#include "window.h"

struct class_window {
    struct window_class class;
    int64_t resolution_ms; /* of its windows at this target's interval; 0: raw */
    /* One of them. */
    struct window *window;
    struct raw_window *raw;
    struct fold *fold;
};

struct window_set {
    struct page_cache *cache;
    const struct window_rules *rules; /* by which its pages are made */
    int64_t interval_ms;
    struct page *empty; /* what a class shows that is not on the page any more */
    struct window *window;
    struct class_window *classes;
    size_t class_count;
    struct page *before; /* shown under other rules; NULL once the first scrape under these has come */
};

struct window_set_options {
    struct page_cache *cache;
    struct page *empty; /* page_empty of this cache */
    const struct window_rules *rules;
    int64_t interval_ms; /* between scrapes */
};
/* What options point to must outlive the set. */
void window_set_init(struct window_set *set, const struct window_set_options *options);
void window_set_done(struct window_set *set);
size_t window_set_bytes(const struct window_set *set);
struct page *window_set_page(const struct window_set *set); /* with its parts; borrowed; NULL: nothing yet */
/* As window_add, for all classes of the page. */
void window_set_add(struct window_set *set, struct page *page, const struct page_values *values, int64_t time_ms);
void window_set_stale(struct window_set *set, int64_t time_ms);
/* Frees classes that have nothing to show and nothing open. After windows were closed. */
void window_set_sweep(struct window_set *set);
/* Other rules hold from the next scrape on: series may change their class. Those that are not sent any more then, gone,
 * dropped or folded, are marked as stale by that scrape. All windows are closed. */
void window_set_release(struct window_set *set, const struct window_rules *rules);
