#pragma once
/* A list of series held in memory, each with its own block of step slots. Private to the evaluator. */
#include "promql/budget.h"
#include "promql/value.h"

struct vector {
    struct budget *budget;
    size_t steps; /* of every series */
    struct promql_series *series;
    size_t count, capacity;
};

void vector_init(struct vector *vector, struct budget *budget, size_t steps);
void vector_done(struct vector *vector);
/* A series with nothing filled, at the end of the list; NULL past the budget. Valid until the next is added. Takes a
 * reference of labels of its own. */
struct promql_series *vector_add(struct vector *vector, struct labels *labels);
struct promql_series *vector_add_copy(struct vector *vector, const struct promql_series *series);
/* Gives the series' memory back; its place stays, without labels. */
void vector_drop(struct vector *vector, size_t index);
/* Compares two struct promql_series by labels, as Prometheus orders a matrix. */
int series_order(const void *a, const void *b);

/* Slots of one series, in one block: free with budget_free(series->values). */
bool series_slots(struct budget *budget, size_t steps, struct promql_series *series);
void series_clear(struct promql_series *series, size_t steps); /* nothing filled */
bool series_is_empty(const struct promql_series *series, size_t steps);
