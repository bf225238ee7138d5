#include "base/sort.h"
#include "promql/eval_state.h"

#include <errno.h>
#include <math.h>

static bool is_over(void *eval)
{
    return eval_work(eval, SORT_STEPS) < 0;
}

int eval_sort(struct eval *eval, void *items, size_t count, size_t size, eval_order_fn *order)
{
    CLEANUP_BUDGET void *scratch = NULL;
    if (count > SORT_SLICE) {
        scratch = budget_grow(eval->budget, NULL, count, size);
        if (!scratch)
            return eval_fail_memory(eval, NULL);
    }
    struct sort sort = {items, count, size, order, is_over, eval};
    return sort_run(&sort, scratch) < 0 ? -EINVAL : 0;
}

static int by_value(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    if (isnan(left) || isnan(right))
        return isnan(right) - isnan(left);
    return (left > right) - (left < right);
}

int eval_sort_values(struct eval *eval, double *values, size_t count)
{
    return eval_sort(eval, values, count, sizeof(*values), by_value);
}
