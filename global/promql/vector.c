#include "promql/vector.h"

#include <string.h>

bool series_slots(struct budget *budget, size_t steps, struct promql_series *series)
{
    if (steps > SIZE_MAX / 32)
        return false;
    series->values = budget_array(budget, steps + promql_words(steps), sizeof(double));
    if (!series->values)
        return false;
    series->present = (uint64_t *)(void *)(series->values + steps);
    return true;
}

void series_clear(struct promql_series *series, size_t steps)
{
    memset(series->present, 0, promql_words(steps) * sizeof(*series->present));
}

bool series_is_empty(const struct promql_series *series, size_t steps)
{
    return promql_next(series, 0, steps) == steps;
}

void vector_init(struct vector *vector, struct budget *budget, size_t steps)
{
    *vector = (struct vector){.budget = budget, .steps = steps};
}

void vector_drop(struct vector *vector, size_t index)
{
    struct promql_series *series = &vector->series[index];
    if (!series->labels)
        return;
    budget_release(vector->budget, labels_bytes(series->labels));
    labels_unref(series->labels);
    budget_free(series->values);
    *series = (struct promql_series){0};
}

void vector_done(struct vector *vector)
{
    for (size_t i = 0; i < vector->count; i++)
        vector_drop(vector, i);
    budget_free(vector->series);
    *vector = (struct vector){0};
}

struct promql_series *vector_add(struct vector *vector, struct labels *labels)
{
    if (vector->count == vector->capacity) {
        size_t capacity = MAX(vector->capacity * 2, (size_t)8);
        struct promql_series *list = budget_grow(vector->budget, vector->series, capacity, sizeof(*list));
        if (!list)
            return NULL;
        vector->series = list;
        vector->capacity = capacity;
    }
    struct promql_series *series = &vector->series[vector->count];
    *series = (struct promql_series){0};
    if (!budget_charge(vector->budget, labels_bytes(labels)))
        return NULL;
    if (!series_slots(vector->budget, vector->steps, series)) {
        budget_release(vector->budget, labels_bytes(labels));
        return NULL;
    }
    series->labels = labels_ref(labels);
    vector->count++;
    return series;
}

struct promql_series *vector_add_copy(struct vector *vector, const struct promql_series *series)
{
    struct promql_series *copy = vector_add(vector, series->labels);
    if (!copy)
        return NULL;
    memcpy(copy->values, series->values, vector->steps * sizeof(double));
    memcpy(copy->present, series->present, promql_words(vector->steps) * sizeof(uint64_t));
    return copy;
}

int series_order(const void *a, const void *b)
{
    const struct promql_series *left = a;
    const struct promql_series *right = b;
    return labels_compare(left->labels, right->labels);
}
