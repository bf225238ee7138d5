#pragma once
/* One series written as text, as tests of expressions and rules load them: my_metric{a="b"} 1 2+3x4 _ _x2 stale
 * (Prometheus' "series description"). */
#include "metric/labels.h"
#include "promql/error.h"

#define SERIES_TEXT_VALUES_MAX 1000000 /* of one series; 16 MB */

struct series_value {
    double value; /* may be the stale marker */
    bool omitted; /* _ : no sample at this place */
};

struct series_text {
    struct labels *labels;
    struct series_value *values;
    size_t count;
};

/* -EINVAL with ret_error filled. On success the caller calls series_text_done. */
MUST_CHECK int series_text_parse(struct str text, struct promql_error *ret_error, struct series_text *ret_series);
void series_text_done(struct series_text *series);
