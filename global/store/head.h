#pragma once
/* The table of series: by labels, by ref and by the index of labels; with the two locks of the store.
 *
 * One thread writes. Reading threads hold a lock for a copy of what they need and work without it:
 *   data_lock   the partitions, the series' chunks in them, and what store.c counts
 *   index_lock  the table, the postings, which series lives at which ref
 * The writer takes data_lock first. A series comes and goes under both, so that either is enough to see who lives at a
 * ref. The writing thread itself reads without them. Both locks prefer the writer: readers without pause don't starve
 * it. */
#include "metric/sample.h"
#include "store/postings.h"
#include "store/series_ref.h"
#include "store/series_table.h"

#include <pthread.h>

typedef uint32_t series_ref;
#define SERIES_REF_NONE  UINT32_MAX

#define HEAD_PAGE_SERIES 4096 /* series live in pages that never move, without an allocation each */
#define SERIES_PAIRS_FEW 9    /* labels that need no memory of their own: of nearly all series */

/* A series: its labels as pairs of the index, in order of names. */
struct series {
    uint8_t pair_count; /* 0: nobody lives here */
    uint8_t kind;       /* enum series_kind */
    union {
        uint32_t few[SERIES_PAIRS_FEW];
        uint32_t *many; /* of more than SERIES_PAIRS_FEW */
    };
};

struct head {
    pthread_rwlock_t data_lock, index_lock;
    struct series_table table;
    struct postings postings;
    struct series **pages;
    uint32_t series_max;
    uint32_t slots_max;    /* refs: twice series_max, for those that rest */
    uint32_t slot_count;   /* refs ever given */
    series_ref *free_refs; /* in two parts: the resting ones stand behind the free ones */
    uint32_t free_count, resting_count, free_capacity;
    uint64_t many_bytes; /* of pairs past SERIES_PAIRS_FEW */
};

/* Of either lock; pthread_rwlock_unlock gives it back. */
void head_read_lock(pthread_rwlock_t *lock);
void head_write_lock(pthread_rwlock_t *lock);

void head_init(struct head *head, uint64_t series_max);
void head_done(struct head *head);

/* The series at a ref; NULL for refs never given or dropped. */
struct series *head_at(const struct head *head, series_ref ref);
series_ref head_find(const struct head *head, const struct labels *labels);
static inline const uint32_t *series_pairs(const struct series *series)
{
    return series->pair_count > SERIES_PAIRS_FEW ? series->many : series->few;
}
/* Under a lock, or in the writing thread. */
bool head_has_labels(const struct head *head, const struct series *series, const struct labels *labels);
/* Under both locks: a series for labels (at least one) that are not there. SERIES_REF_NONE past the ceiling. */
series_ref head_add(struct head *head, const struct labels *labels, enum series_kind kind);
/* The same at the ref that a snapshot says, of pairs of the index; false when somebody lives there, or the same series
 * elsewhere, or it is past the ceiling. */
bool head_add_at(struct head *head, series_ref ref, const uint32_t *pairs, size_t count, enum series_kind kind);
/* After head_add_at: refs that nobody took are free. */
void head_collect_free(struct head *head);
/* Under both locks. The ref rests until head_wake_refs. */
void head_drop(struct head *head, series_ref ref);
/* Refs of series dropped before may be given again from now on. */
void head_wake_refs(struct head *head);
/* Memory of labels: pairs, their texts, the table. */
uint64_t head_label_bytes(const struct head *head);
