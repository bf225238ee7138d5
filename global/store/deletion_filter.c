/* What is deleted of which series: snapshots that readers and compaction hold. */
#include "store/deletion_filter.h"

#include "base/fail.h"

#include <stdatomic.h>
#include <stdlib.h>

/* ---- rules ---- */

struct deletion_rule *deletion_rule_new(uint64_t id, struct time_range range, struct selector *selector)
{
    struct deletion_rule *rule = mem_alloc(sizeof(*rule));
    *rule = (struct deletion_rule){.refs = 1, .id = id, .range = range, .selector = selector};
    return rule;
}

struct deletion_rule *deletion_rule_ref(struct deletion_rule *rule)
{
    atomic_fetch_add_explicit(&rule->refs, 1, memory_order_relaxed);
    return rule;
}

void deletion_rule_unref(struct deletion_rule *rule)
{
    if (rule && atomic_fetch_sub_explicit(&rule->refs, 1, memory_order_acq_rel) == 1) {
        selector_free(rule->selector);
        mem_free(rule);
    }
}

/* ---- filters ---- */

struct deletion_filter {
    _Atomic uint32_t refs;
    uint64_t newest;
    size_t count;
    struct deletion_rule *rules[]; /* references */
};

struct deletion_filter *deletion_filter_new(struct deletion_rule *const *rules, size_t count)
{
    ASSERT(count <= DELETIONS_MAX);
    struct deletion_filter *filter = mem_alloc(sizeof(*filter) + count * sizeof(rules[0]));
    *filter = (struct deletion_filter){.refs = 1, .count = count};
    for (size_t i = 0; i < count; i++) {
        filter->rules[i] = deletion_rule_ref(rules[i]);
        filter->newest = MAX(filter->newest, rules[i]->id);
    }
    return filter;
}

struct deletion_filter *deletion_filter_ref(struct deletion_filter *filter)
{
    atomic_fetch_add_explicit(&filter->refs, 1, memory_order_relaxed);
    return filter;
}

void deletion_filter_unref(struct deletion_filter *filter)
{
    if (!filter || atomic_fetch_sub_explicit(&filter->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (size_t i = 0; i < filter->count; i++) {
        deletion_rule_unref(filter->rules[i]);
    }
    mem_free(filter);
}

uint64_t deletion_filter_newest(const struct deletion_filter *filter)
{
    return filter->newest;
}

const struct deletion_rule *deletion_filter_next(const struct deletion_filter *filter, uint64_t after, int64_t start_ms,
                                                 int64_t end_ms)
{
    for (size_t i = 0; filter && i < filter->count; i++) { /* ascending by id */
        const struct deletion_rule *rule = filter->rules[i];
        if (rule->id > after && rule->range.start_ms <= end_ms && rule->range.end_ms >= start_ms) {
            return rule;
        }
    }
    return NULL;
}

uint64_t deletion_filter_oldest(const struct deletion_filter *filter, uint64_t after, int64_t start_ms, int64_t end_ms)
{
    const struct deletion_rule *rule = deletion_filter_next(filter, after, start_ms, end_ms);
    return rule ? rule->id : 0;
}

bool deletion_filter_meets(const struct deletion_filter *filter, uint64_t after, int64_t start_ms, int64_t end_ms)
{
    return deletion_filter_next(filter, after, start_ms, end_ms) != NULL;
}

static int compare_ranges(const void *a, const void *b)
{
    const struct time_range *x = a, *y = b;
    return x->start_ms < y->start_ms ? -1 : x->start_ms > y->start_ms;
}

/* Sorted in, merged out; how many are left. */
static size_t merge_ranges(struct time_range *ranges, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct time_range *last = kept > 0 ? &ranges[kept - 1] : NULL;
        bool joins = last && (last->end_ms == INT64_MAX || ranges[i].start_ms <= last->end_ms + 1);
        if (joins) {
            last->end_ms = MAX(last->end_ms, ranges[i].end_ms);
        } else {
            ranges[kept++] = ranges[i];
        }
    }
    return kept;
}

size_t deletion_filter_ranges(const struct deletion_filter *filter, const struct labels *labels,
                              struct time_range *ret_ranges)
{
    size_t count = 0;
    for (size_t i = 0; filter && i < filter->count; i++) {
        const struct selector *selector = filter->rules[i]->selector;
        if (matcher_matches_labels(selector->matchers, selector->count, labels)) {
            ret_ranges[count++] = filter->rules[i]->range;
        }
    }
    if (count > 1) {
        qsort(ret_ranges, count, sizeof(*ret_ranges), compare_ranges);
        count = merge_ranges(ret_ranges, count);
    }
    return count;
}

/* ---- ranges ---- */

bool time_ranges_have(const struct time_range *ranges, size_t count, int64_t time_ms)
{
    size_t low = 0, high = count; /* the first that ends at or after it */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (ranges[middle].end_ms < time_ms) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && ranges[low].start_ms <= time_ms;
}

void time_ranges_cut(const struct time_range *ranges, size_t count, struct entries *entries)
{
    size_t kept = 0, at = 0;
    for (size_t i = 0; i < entries->count; i++) {
        int64_t time_ms = entries->items[i].sample.time_ms;
        while (at < count && ranges[at].end_ms < time_ms) {
            at++;
        }
        if (at == count || time_ms < ranges[at].start_ms) {
            entries->items[kept++] = entries->items[i];
        }
    }
    entries->count = kept;
}
