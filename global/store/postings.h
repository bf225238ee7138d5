#pragma once
/* The inverted index: for each label's name and value, which series have it, as roaring bitmaps of their refs; and what
 * matchers select. No lock of its own: the head's index lock guards it. */
#include "base/map.h"
#include "metric/labels.h"
#include "metric/matcher.h"

#include <roaring/roaring.h>

/* Asked every POSTINGS_STEPS values or series or so; true: the operation ends with -ECANCELED. */
typedef bool postings_cancelled_fn(void *arg);
#define POSTINGS_STEPS 1024

/* The labels of a series that is in the index. */
typedef const struct labels *postings_labels_fn(void *arg, uint32_t ref);
typedef void postings_each_fn(void *arg, struct str text); /* the view ends with the call */

struct postings {
    struct map names;
    roaring_bitmap_t *all;
    postings_labels_fn *labels_of;
    void *labels_arg;
};

void postings_init(struct postings *postings, postings_labels_fn *labels_of, void *labels_arg);
void postings_done(struct postings *postings);
void postings_add(struct postings *postings, const struct labels *labels, uint32_t ref);
/* labels as they were added. */
void postings_remove(struct postings *postings, const struct labels *labels, uint32_t ref);

struct postings_query {
    const struct matcher *matchers;
    size_t count;
    postings_cancelled_fn *cancelled; /* may be NULL */
    void *cancelled_arg;
};

/* The series that match all matchers, all series when count is 0: a bitmap of the caller's. -ECANCELED. */
MUST_CHECK int postings_select(const struct postings *postings, const struct postings_query *query,
                               roaring_bitmap_t **ret_refs);
/* The names of labels, or the values of one, that series in refs have; each once, in no order. */
void postings_names(const struct postings *postings, const roaring_bitmap_t *refs, postings_each_fn *each, void *arg);
void postings_values(const struct postings *postings, struct str name, const roaring_bitmap_t *refs,
                     postings_each_fn *each, void *arg);

roaring_bitmap_t *bitmap_new(void);
void bitmap_free(roaring_bitmap_t *bitmap); /* NULL allowed */
DEFINE_CLEANUP(roaring_bitmap_t *, bitmap_free)
