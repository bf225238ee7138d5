#include "promql/eval_state.h"

#include <errno.h>

static int merge_emit(struct sink *sink, const struct promql_series *series)
{
    struct merge *merge = CONTAINER_OF(sink, struct merge, sink);
    size_t steps = merge->vector.steps;
    if (series_is_empty(series, steps))
        return 0;
    int error = eval_work(merge->eval, 1 + promql_words(steps));
    if (error < 0)
        return error;
    int64_t number = label_table_add(&merge->table, series->labels);
    if (number < 0)
        return eval_fail_memory(merge->eval, merge->ast);
    if ((size_t)number == merge->vector.count)
        return vector_add_copy(&merge->vector, series) ? 0 : eval_fail_memory(merge->eval, merge->ast);
    struct promql_series *joined = &merge->vector.series[number];
    if (merge->strict)
        return eval_fail_duplicate(merge->eval, merge->ast);
    for (size_t i = 0; i < promql_words(steps); i++)
        if (joined->present[i] & series->present[i])
            return eval_fail_duplicate(merge->eval, merge->ast);
    PROMQL_EACH(step, series, steps)
    promql_set(joined, step, series->values[step]);
    return 0;
}

void merge_init(struct merge *merge, struct eval *eval, const struct grid *grid, const struct ast *ast)
{
    *merge = (struct merge){.sink = {.emit = merge_emit}, .eval = eval, .ast = ast};
    label_table_init(&merge->table, eval->budget);
    vector_init(&merge->vector, eval->budget, grid->steps);
}

void merge_done(struct merge *merge)
{
    label_table_done(&merge->table);
    vector_done(&merge->vector);
}
