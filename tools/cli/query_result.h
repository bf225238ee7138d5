#pragma once
/* What the query API answered, taken apart. */
#include "base/arena.h"
#include "remote.h"
#include "series.h"

#define QUERY_POINTS_MAX 50000000 /* of one answer: what a global loads at most for one query */

struct query_result {
    json_t *answer; /* without its series */
    enum { QUERY_VECTOR, QUERY_MATRIX, QUERY_SCALAR, QUERY_STRING } type;
    struct query_series *series; /* of a scalar or string one without labels */
    size_t count, capacity;
    struct arena texts; /* of the points */
    struct buf body;    /* as it came; empty of one that was not fetched */
};

/* -EBADMSG: no JSON, or cut off, and where; -EPROTO: not an answer of this API. */
MUST_CHECK int query_result_of(struct str body, size_t *ret_place, struct query_result *ret_result);
void query_result_done(struct query_result *result);

/* The whole way: POSTs the form to path, takes the answer apart, says what is wrong. expression is for the caret under
 * the place of an error. */
MUST_CHECK enum cli_exit query_fetch(const struct remote *remote, const char *path, const struct buf *form,
                                     struct str expression, struct query_result *ret_result);
