#pragma once
/* What an evaluation gives: for every step of the range a value per series.
 *
 * One evaluation works over all steps at once: a vector is a list of series, each with one value slot per step and a
 * bit that says whether the slot is filled (an absent value is not a NaN). A scalar is a series without labels that is
 * filled at every step. */
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
    } * points;
    size_t points_count;
};

static inline size_t promql_words(size_t steps) /* of a series' present bits */
{
    return (steps + 63) / 64;
}
static inline bool promql_present(const struct promql_series *series, size_t step)
{
    return series->present[step / 64] >> (step % 64) & 1;
}
static inline void promql_set(struct promql_series *series, size_t step, double value)
{
    series->values[step] = value;
    series->present[step / 64] |= UINT64_C(1) << (step % 64);
}
/* The first filled step at or behind `step`; `steps` when there is none. */
static inline size_t promql_next(const struct promql_series *series, size_t step, size_t steps)
{
    while (step < steps) {
        uint64_t word = series->present[step / 64] >> (step % 64);
        if (word)
            return step + (size_t)__builtin_ctzll(word);
        step = (step / 64 + 1) * 64;
    }
    return steps;
}
/* for each filled step of a series */
#define PROMQL_EACH(step, series, steps)                                                                               \
    for (size_t step = promql_next((series), 0, (steps)); (step) < (steps);                                            \
         step = promql_next((series), (step) + 1, (steps)))
