#pragma once
/* qsort for what may be long: it can be given up, and takes no memory but what it is given. Stable. */
#include "base/defs.h"

struct sort {
    void *items;
    size_t count;
    size_t size; /* of one */
    int (*compare)(const void *a, const void *b);
    bool (*cancelled)(void *arg); /* asked every SORT_STEPS items or so; may be NULL */
    void *cancelled_arg;
};

#define SORT_STEPS 1024
/* So many are sorted at one go; more need `scratch`, room for count items. */
#define SORT_SLICE ((size_t)8192)

/* -ECANCELED: the items are all there, in no order. */
MUST_CHECK int sort_run(const struct sort *sort, void *scratch);
