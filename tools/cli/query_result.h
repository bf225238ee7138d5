#pragma once
/* What the query API answered, taken apart. */
#include "metric/labels.h"
#include "remote.h"

#define QUERY_POINTS_MAX 50000000 /* of one answer: what a global loads at most for one query */

struct query_point {
    int64_t time_ms;
    double value;
    const char *text; /* as it came; of the JSON */
};

struct query_series {
    struct labels *labels;
    struct query_point *points; /* at least one */
    size_t count;
};

struct query_result {
    json_t *json; /* what the texts belong to */
    enum { QUERY_VECTOR, QUERY_MATRIX, QUERY_SCALAR, QUERY_STRING } type;
    struct query_series *series; /* of a scalar or string one without labels */
    size_t count;
};

/* Takes json over. -EBADMSG: not an answer of this API. */
MUST_CHECK int query_result_of(json_t *json, struct query_result *ret_result);
void query_result_done(struct query_result *result);
/* Says the answer's warnings on stderr. */
void query_result_warn(const struct query_result *result);

/* The whole way: POSTs the form to path, takes the answer apart, says what is wrong. expression is for the caret under
 * the place of an error; NULL: none. */
MUST_CHECK enum cli_exit query_fetch(const struct remote *remote, const char *path, const struct buf *form,
                                     const char *expression, struct query_result *ret_result);
