#pragma once
/* The inverted index: for each label's name and value, which series have it, as roaring bitmaps of their refs
 * (postings.c); and what matchers select (postings_select.c). A name with a value is a pair, and the pair's id is all a
 * series keeps of its labels: each text stands here once. No lock of its own: the head's index lock guards it. */
#include "base/map.h"
#include "metric/labels.h"
#include "metric/matcher.h"

#include <roaring/roaring.h>

/* Asked every POSTINGS_STEPS values or series or so; true: the operation ends with -ECANCELED. */
typedef bool postings_cancelled_fn(void *arg);
#define POSTINGS_STEPS 1024

/* The value that a series in the index has of a label; STR_NULL: none. */
typedef struct str postings_value_fn(void *arg, uint32_t ref, struct str name);
/* One text after the other; the view ends with the call. An error (negative) ends the walk. */
struct postings_visit {
    int (*each)(void *arg, struct str text);
    void *each_arg;
    postings_cancelled_fn *cancelled; /* may be NULL */
    void *cancelled_arg;
};

struct postings {
    struct map names;
    roaring_bitmap_t *all;
    struct posting_value **pairs; /* by id; NULL: free */
    uint32_t pair_count;          /* ids ever given */
    uint32_t pair_capacity;
    uint32_t *free_pairs; /* room for pair_capacity */
    uint32_t free_pair_count;
    uint64_t text_bytes; /* of all pairs, with what it takes to find them */
    postings_value_fn *value_of;
    void *value_arg;
};

void postings_init(struct postings *postings, postings_value_fn *value_of, void *value_arg);
void postings_done(struct postings *postings);
/* Adds a series; its pairs in order of names go to ret_pairs (room for labels_count). */
void postings_add(struct postings *postings, const struct labels *labels, uint32_t ref, uint32_t *ret_pairs);
/* For who fills an empty index: a pair (made if absent), and a series that has pairs. Pairs that no series took in the
 * end go with postings_drop_unused. */
uint32_t postings_pair_make(struct postings *postings, struct label label);
void postings_add_pairs(struct postings *postings, const uint32_t *pairs, size_t count, uint32_t ref);
void postings_drop_unused(struct postings *postings);
/* The pairs of labels; false when one of them is not there: nobody has it. */
bool postings_find(const struct postings *postings, const struct labels *labels, uint32_t *ret_pairs);
void postings_remove(struct postings *postings, const uint32_t *pairs, size_t count, uint32_t ref);
/* Views that live as long as some series has the pair. */
struct label postings_pair(const struct postings *postings, uint32_t pair);

struct postings_query {
    const struct matcher *matchers;
    size_t count;
    postings_cancelled_fn *cancelled; /* may be NULL */
    void *cancelled_arg;
};

/* The series that match all matchers, all series when count is 0: a bitmap of the caller's. -ECANCELED. */
MUST_CHECK int postings_select(const struct postings *postings, const struct postings_query *query,
                               roaring_bitmap_t **ret_refs);
/* The names of labels, or the values of one, that series in refs have; each once, in no order. -ECANCELED, or what
 * each said. */
MUST_CHECK int postings_names(const struct postings *postings, const roaring_bitmap_t *refs,
                              const struct postings_visit *visit);
MUST_CHECK int postings_values(const struct postings *postings, struct str name, const roaring_bitmap_t *refs,
                               const struct postings_visit *visit);

/* Of each name, or each value of one (name not STR_NULL), that series of refs have and no series of `except` (NULL:
 * none is excepted): its lowest series of refs, or all of them, into the bitmap. -ECANCELED. */
struct postings_pick {
    struct str name;
    const roaring_bitmap_t *refs, *except;
    bool all;
};
MUST_CHECK int postings_pick(const struct postings *postings, const struct postings_pick *pick,
                             const struct postings_query *query, roaring_bitmap_t *into);

/* For each name its number of values and the bytes of their texts; for each pair its series. */
struct postings_counts {
    struct str name, value; /* value STR_NULL: of a name */
    uint64_t values, bytes; /* of a name */
    uint64_t series;        /* of a pair */
};
typedef void postings_count_fn(void *arg, const struct postings_counts *counts);
void postings_count(const struct postings *postings, postings_count_fn *each, void *arg);

roaring_bitmap_t *bitmap_new(void);
void bitmap_free(roaring_bitmap_t *bitmap); /* NULL allowed */
DEFINE_CLEANUP(roaring_bitmap_t *, bitmap_free)
