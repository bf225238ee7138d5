#include "promql/mapper.h"

#include "promql/label_set.h"

static int mapper_emit(struct sink *sink, const struct promql_series *series)
{
    struct mapper *mapper = CONTAINER_OF(sink, struct mapper, sink);
    int error = eval_work(mapper->eval, mapper->grid->steps);
    if (error < 0)
        return error;
    series_clear(&mapper->out, mapper->grid->steps);
    mapper->map(mapper, series, &mapper->out);
    CLEANUP(labels_unrefp)
    struct labels *labels = mapper->drop_name ? label_set_without_name(series->labels) : labels_ref(series->labels);
    mapper->out.labels = labels;
    return mapper->next->emit(mapper->next, &mapper->out);
}

static int mapper_merged(struct mapper *mapper, const struct ast *inner, struct sink *next)
{
    CLEANUP(merge_done) struct merge merge;
    merge_init(&merge, mapper->eval, mapper->grid, mapper->ast);
    merge.strict = mapper->strict;
    mapper->next = &merge.sink;
    int error = eval_node(mapper->eval, mapper->grid, inner, &mapper->sink);
    return error < 0 ? error : vector_drain(&merge.vector, next);
}

int mapper_run(struct mapper *mapper, const struct ast *inner, struct sink *next)
{
    mapper->sink.emit = mapper_emit;
    mapper->next = next;
    if (!series_slots(mapper->eval->budget, mapper->grid->steps, &mapper->out))
        return eval_fail_memory(mapper->eval, mapper->ast);
    CLEANUP_BUDGET UNUSED double *slots = mapper->out.values;
    if (mapper->drop_name && !ast_has_one_name(inner))
        return mapper_merged(mapper, inner, next);
    return eval_node(mapper->eval, mapper->grid, inner, &mapper->sink);
}
