#include "promql/result.h"

#include "base/fail.h"

struct promql_result *promql_result_new(const struct promql_query *query)
{
    struct promql_result *result = mem_zalloc(sizeof(*result));
    result->own.bytes_max = query->limits.bytes_max;
    result->budget = query->budget ? query->budget : &result->own;
    return result;
}

void promql_result_free(struct promql_result *result)
{
    if (!result)
        return;
    vector_done(&result->vector);
    for (size_t i = 0; i < result->value.points_count; i++) {
        labels_unref(result->value.points[i].labels);
        budget_free(result->value.points[i].samples);
    }
    budget_free(result->value.points);
    budget_free((void *)(uintptr_t)result->value.string.ptr);
    for (size_t i = 0; i < result->warnings.count; i++)
        mem_free(result->warnings.items[i]);
    for (size_t i = 0; i < result->infos.count; i++)
        mem_free(result->infos.items[i]);
    mem_free(result);
}

const struct promql_value *promql_result_value(const struct promql_result *result)
{
    return &result->value;
}

size_t promql_result_steps(const struct promql_result *result)
{
    return result->steps;
}

uint64_t promql_result_samples(const struct promql_result *result)
{
    return result->samples;
}

uint64_t promql_result_queried(const struct promql_result *result)
{
    return result->queried;
}

size_t promql_result_warning_count(const struct promql_result *result)
{
    return result->warnings.count;
}

const char *promql_result_warning(const struct promql_result *result, size_t index)
{
    ASSERT(index < result->warnings.count);
    return result->warnings.items[index];
}

size_t promql_result_info_count(const struct promql_result *result)
{
    return result->infos.count;
}

const char *promql_result_info(const struct promql_result *result, size_t index)
{
    ASSERT(index < result->infos.count);
    return result->infos.items[index];
}
