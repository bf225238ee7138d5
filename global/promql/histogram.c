/* histogram_quantile over classic buckets, as Prometheus 2.42 (promql/quantile.go). */
#include "promql/eval_state.h"
#include "promql/groups.h"
#include "promql/label_set.h"

#include <math.h>
#include <stdlib.h>

struct bucket {
    double bound; /* le */
    double count;
    size_t series;
};

struct histogram {
    struct eval *eval;
    const struct grid *grid;
    const struct ast *ast;
    double *q; /* per step */
    struct vector vector;
    struct groups groups;
    struct bucket *sorted;  /* the buckets of one group, by bound */
    struct bucket *buckets; /* those with a value at one step */
    struct promql_series out;
};

static const struct str le = {"le", 2};

/* Series without a bound that can be read are no buckets. Names stay: two histograms are never mixed. */
static struct labels *bucket_group(const struct promql_series *series, const void *arg)
{
    (void)arg;
    double bound;
    struct str names[1] = {le};
    struct str text = labels_get(series->labels, le);
    if (text.len == 0 || str_to_double(text, &bound) < 0)
        return NULL;
    return label_set_drop(series->labels, &(struct ast_names){names, 1}, false);
}

static int by_bound(const void *a, const void *b)
{
    const struct bucket *left = a;
    const struct bucket *right = b;
    if (left->bound != right->bound)
        return left->bound < right->bound ? -1 : 1;
    return left->series < right->series ? -1 : 1;
}

/* Bounds written in two ways (0.2, 2e-1) are one bucket. Counts that fall from one bucket to the next (scrapes and
 * rules that raced) are lifted: ranks are searched for in them. */
static size_t mend(struct bucket *buckets, size_t count)
{
    size_t last = 0;
    for (size_t i = 1; i < count; i++) {
        if (buckets[i].bound == buckets[last].bound)
            buckets[last].count += buckets[i].count;
        else
            buckets[++last] = buckets[i];
    }
    for (size_t i = 1; i <= last; i++)
        if (buckets[i].count < buckets[i - 1].count)
            buckets[i].count = buckets[i - 1].count;
    return last + 1;
}

static double bucket_quantile(double q, struct bucket *buckets, size_t count)
{
    if (isnan(q))
        return NAN;
    if (q < 0)
        return -INFINITY;
    if (q > 1)
        return INFINITY;
    if (buckets[count - 1].bound != INFINITY)
        return NAN;
    count = mend(buckets, count);
    double observations = buckets[count - 1].count;
    if (count < 2 || observations == 0)
        return NAN;
    double rank = q * observations;
    size_t at = 0;
    while (at < count - 1 && !(buckets[at].count >= rank))
        at++;
    if (at == count - 1)
        return buckets[count - 2].bound; /* above the last finite bound nothing is known */
    if (at == 0 && buckets[0].bound <= 0)
        return buckets[0].bound;
    double start = at > 0 ? buckets[at - 1].bound : 0;
    double below = at > 0 ? buckets[at - 1].count : 0;
    return start + (buckets[at].bound - start) * ((rank - below) / (buckets[at].count - below));
}

static int sort_group(struct histogram *histogram, size_t group, size_t *ret_count)
{
    size_t count = 0;
    for (size_t i = histogram->groups.starts[group]; i < histogram->groups.starts[group + 1]; i++) {
        size_t member = histogram->groups.members[i];
        struct bucket bucket = {.series = member};
        if (str_to_double(labels_get(histogram->vector.series[member].labels, le), &bucket.bound) == 0)
            histogram->sorted[count++] = bucket;
    }
    *ret_count = count;
    return eval_sort(histogram->eval, histogram->sorted, count, sizeof(*histogram->sorted), by_bound);
}

static int histogram_group(struct histogram *histogram, size_t group, struct sink *sink)
{
    struct promql_series *out = &histogram->out;
    size_t sorted = 0;
    int error = sort_group(histogram, group, &sorted);
    if (error < 0)
        return error;
    series_clear(out, histogram->grid->steps);
    for (size_t step = 0; step < histogram->grid->steps; step++) {
        size_t count = 0;
        for (size_t i = 0; i < sorted; i++) {
            const struct promql_series *series = &histogram->vector.series[histogram->sorted[i].series];
            if (!promql_present(series, step))
                continue;
            histogram->buckets[count] = histogram->sorted[i];
            histogram->buckets[count++].count = series->values[step];
        }
        if (count > 0)
            promql_set(out, step, bucket_quantile(histogram->q[step], histogram->buckets, count));
        error = eval_work(histogram->eval, 1 + sorted);
        if (error < 0)
            return error;
    }
    CLEANUP(labels_unrefp) struct labels *labels = label_set_without_name(histogram->groups.table.items[group]);
    out->labels = labels;
    return sink->emit(sink, out);
}

static int histogram_run(struct histogram *histogram, struct sink *sink)
{
    struct eval *eval = histogram->eval;
    const struct ast *ast = histogram->ast;
    histogram->q = eval_scalar(eval, histogram->grid, ast->call.args[0]);
    if (!histogram->q)
        return -1;
    int error = eval_vector(eval, histogram->grid, ast->call.args[1], &histogram->vector);
    if (error < 0)
        return error;
    size_t count = histogram->vector.count;
    histogram->sorted = budget_array(eval->budget, count, sizeof(struct bucket));
    histogram->buckets = budget_array(eval->budget, count, sizeof(struct bucket));
    if (!histogram->sorted || !histogram->buckets ||
        !series_slots(eval->budget, histogram->grid->steps, &histogram->out) ||
        !groups_init(&histogram->groups, eval, &histogram->vector, bucket_group, NULL))
        return eval_fail_memory(eval, ast);
    CLEANUP(merge_done) struct merge merge;
    merge_init(&merge, eval, histogram->grid, ast);
    for (size_t group = 0; group < histogram->groups.table.count; group++) {
        error = histogram_group(histogram, group, &merge.sink);
        if (error < 0)
            return error;
    }
    return vector_drain(&merge.vector, sink);
}

int call_histogram_quantile(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    struct histogram histogram = {.eval = eval, .grid = grid, .ast = ast};
    int error = histogram_run(&histogram, sink);
    vector_done(&histogram.vector);
    groups_done(&histogram.groups);
    budget_free(histogram.q);
    budget_free(histogram.sorted);
    budget_free(histogram.buckets);
    budget_free(histogram.out.values);
    return error;
}
