#pragma once
/* The table of series: by labels, by ref and by the index of labels; with the two locks of the store.
 *
 * One thread writes. Reading threads hold a lock for a copy of what they need and work without it:
 *   data_lock   the series' chunk lists, the totals, and what store.c counts
 *   index_lock  the table, the postings, which series lives at which ref
 * The writer takes data_lock first. A series comes and goes under both, so that either is enough to see who lives at a
 * ref. The writing thread itself reads without them. Both locks prefer the writer: readers without pause don't starve
 * it. */
#include "base/map.h"
#include "store/postings.h"
#include "store/series.h"
#include "store/store.h"

#include <pthread.h>

#define HEAD_PAGE_SERIES 4096 /* series live in pages that never move, without an allocation each */

struct head {
    pthread_rwlock_t data_lock, index_lock;
    struct map table; /* struct series, by labels */
    struct postings postings;
    struct series **pages;
    uint32_t series_max;
    uint32_t slots_max;    /* refs: twice series_max, for those that rest */
    uint32_t slot_count;   /* refs ever given */
    series_ref *free_refs; /* room for slots_max, in two parts: the resting ones stand behind the free ones */
    uint32_t free_count, resting_count, free_capacity;
    struct series_totals totals;
    uint64_t label_bytes;
};

void head_init(struct head *head, uint64_t series_max);
void head_done(struct head *head);

/* The series at a ref; NULL for refs never given or dropped. */
struct series *head_at(const struct head *head, series_ref ref);
struct series *head_find(const struct head *head, const struct labels *labels);
/* Under both locks: a series for labels that are not there; takes a reference of them. NULL past the ceiling. */
struct series *head_add(struct head *head, struct labels *labels, enum series_kind kind);
/* Under both locks. The ref rests until head_wake_refs. */
void head_drop(struct head *head, struct series *series);
/* Refs of series dropped before may be given again from now on. */
void head_wake_refs(struct head *head);

struct head *store_head(struct store *store); /* for select.c */
