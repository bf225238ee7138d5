/* Which names, labels and pairs have most series: what status/tsdb shows. */
#include "store/store_internal.h"

#include "base/fail.h"

#include <stdio.h>
#include <stdlib.h>

/* The largest few of many: a heap would be quicker and is not needed for ten. */
struct top {
    struct cardinality_item *items;
    size_t count, max;
};

struct collected {
    struct top metrics, values, bytes, pairs;
    uint64_t pair_count;
};

/* Puts it in its place from the largest down; of equal ones the first by name. */
static void top_offer(struct top *top, struct str name, struct str value, uint64_t number)
{
    if (top->max == 0 || (top->count == top->max && top->items[top->count - 1].value >= number)) {
        return;
    }
    if (top->count == top->max) {
        mem_free(top->items[--top->count].name);
    }
    size_t at = top->count++;
    for (; at > 0 && top->items[at - 1].value < number; at--) {
        top->items[at] = top->items[at - 1];
    }
    top->items[at].value = number;
    top->items[at].name =
        value.ptr ? mem_printf(STR_FMT "=" STR_FMT, STR_ARG(name), STR_ARG(value)) : mem_printf(STR_FMT, STR_ARG(name));
}

static void collect(void *arg, const struct postings_counts *counts)
{
    struct collected *collected = arg;
    if (!counts->value.ptr) {
        top_offer(&collected->values, counts->name, STR_NULL, counts->values);
        top_offer(&collected->bytes, counts->name, STR_NULL, counts->bytes);
        return;
    }
    collected->pair_count++;
    top_offer(&collected->pairs, counts->name, counts->value, counts->series);
    if (str_equal(counts->name, STR(LABEL_NAME))) {
        top_offer(&collected->metrics, counts->value, STR_NULL, counts->series);
    }
}

static struct top top_new(size_t max)
{
    return (struct top){.items = mem_array(max, sizeof(struct cardinality_item)), .max = max};
}

void store_cardinality(struct store *store, size_t max, struct store_cardinality *ret_cardinality)
{
    struct collected collected = {top_new(max), top_new(max), top_new(max), top_new(max), 0};
    struct store_stats stats;
    store_stats(store, &stats);
    head_read_lock(&store->head.index_lock);
    postings_count(&store->head.postings, collect, &collected);
    pthread_rwlock_unlock(&store->head.index_lock);
    *ret_cardinality = (struct store_cardinality){.by_metric = collected.metrics.items,
                                                  .values_by_label = collected.values.items,
                                                  .bytes_by_label = collected.bytes.items,
                                                  .by_pair = collected.pairs.items,
                                                  .metric_count = collected.metrics.count,
                                                  .values_count = collected.values.count,
                                                  .bytes_count = collected.bytes.count,
                                                  .pair_count = collected.pairs.count,
                                                  .series = stats.series,
                                                  .label_pairs = collected.pair_count,
                                                  .chunks = stats.chunks + stats.pieces,
                                                  .min_time_ms = stats.min_time_ms,
                                                  .max_time_ms = stats.max_time_ms};
}

static void items_free(struct cardinality_item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        mem_free(items[i].name);
    }
    mem_free(items);
}

void store_cardinality_free(struct store_cardinality *cardinality)
{
    items_free(cardinality->by_metric, cardinality->metric_count);
    items_free(cardinality->values_by_label, cardinality->values_count);
    items_free(cardinality->bytes_by_label, cardinality->bytes_count);
    items_free(cardinality->by_pair, cardinality->pair_count);
    *cardinality = (struct store_cardinality){0};
}
