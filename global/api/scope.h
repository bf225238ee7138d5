#pragma once
/* Which series a request is about, by its match[], start and end; and the walk over what any of its selectors matches.
 * Private to global/api. */
#include "api/request.h"
#include "promql/reach.h"

#define SCOPE_SETS_MAX PROMQL_REACH_SELECTORS_MAX /* match[] of one request; a dashboard sends one or two */

struct scope_set {
    const struct matcher *matchers;
    size_t count;
};

struct scope {
    struct promql_expression *expressions[SCOPE_SETS_MAX]; /* they hold the matchers */
    struct scope_set sets[SCOPE_SETS_MAX];
    size_t count; /* 0: no match[]: all series */
    struct select_range range;
};

void scope_done(struct scope *scope);
/* Adds all match[] of the request. -EINVAL: one is not well formed, and error says so. -ENOMEM: they
 * are more than the request's memory. */
MUST_CHECK int scope_add_matches(struct scope *scope, struct api_request *request, struct buf *error);

/* Walks over series in order of labels, each once, whichever of the selectors match it. */
struct scope_walk {
    struct select *selects[SCOPE_SETS_MAX];
    struct sample_reader *readers[SCOPE_SETS_MAX]; /* made when they are needed */
    struct labels *heads[SCOPE_SETS_MAX];          /* of each select; NULL: at its end */
    size_t count;
    struct labels *last; /* a reference, */
    size_t last_set;     /* and the select that stands at it */
};
/* Of a zeroed walk; scope_walk_done is to be called, failed or not. Errors as of select_open. */
MUST_CHECK int scope_walk_open(struct scope_walk *walk, struct store *store, const struct scope *scope);
void scope_walk_done(struct scope_walk *walk);
/* 1 and the next series, valid until the next call; 0 at the end; -ECANCELED. */
MUST_CHECK int scope_walk_next(struct scope_walk *walk, struct labels **ret_labels);
/* The newest sample that the last series has in its range. 1; 0: there is none, or it is a stale marker; or an error of
 * reading. What is damaged is passed over. Counts what it reads into samples. */
MUST_CHECK int scope_walk_newest(struct scope_walk *walk, uint64_t *samples, struct sample *ret_sample);
/* Says why a walk or a select ended. */
void scope_fail(struct api_request *request, int error);
