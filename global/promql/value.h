#pragma once
/* What an evaluation gives: for every step of the range a value per series.
 *
 * One evaluation works over all steps at once: a vector is a list of series, each with one value slot per step and a bit
 * that says whether the slot is filled (an absent value is not a NaN). A scalar is a series without labels that is filled
 * at every step. */
#include "base/arena.h"
#include "metric/labels.h"
#include "metric/sample.h"
#include "promql/ast.h"

struct promql_series {
    struct labels *labels; /* a reference of its own */
    double *values;        /* step_count */
    uint64_t *present;     /* a bit per step */
};

struct promql_value {
    enum promql_type type;
    size_t series_count;
    struct promql_series *series;
    struct str string; /* PROMQL_STRING */
    /* PROMQL_MATRIX as the answer to an instant query of a range selector: samples as they are. */
    struct promql_points {
        struct labels *labels;
        struct sample *samples;
        size_t count;
    } *points;
    size_t points_count;
};

static inline bool promql_present(const struct promql_series *series, size_t step)
{
    return series->present[step / 64] >> (step % 64) & 1;
}
static inline void promql_set(struct promql_series *series, size_t step, double value)
{
    series->values[step] = value;
    series->present[step / 64] |= UINT64_C(1) << (step % 64);
}
