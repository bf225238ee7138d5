#include "totals.h"

#include "base/fail.h"
#include "metric/record.h"

#include <math.h>

struct total {
    struct labels *labels;
    double sum;
    int64_t seen_ms;             /* end of the last window in which it had members */
    struct total *older, *newer; /* in the order of seen_ms, as windows are told in order */
};

void totals_init(struct totals *totals)
{
    *totals = (struct totals){0};
    map_init(&totals->map);
}

static void total_free(struct total *total)
{
    labels_unref(total->labels);
    mem_free(total);
}

void totals_done(struct totals *totals)
{
    while (totals->oldest) {
        struct total *total = totals->oldest;
        totals->oldest = total->newer;
        total_free(total);
    }
    map_done(&totals->map);
    *totals = (struct totals){0};
}

static bool is_total(const void *item, const void *key)
{
    return labels_equal(((const struct total *)item)->labels, key);
}

static void unlink_total(struct totals *totals, struct total *total)
{
    *(total->older ? &total->older->newer : &totals->oldest) = total->newer;
    *(total->newer ? &total->newer->older : &totals->newest) = total->older;
}

static void link_newest(struct totals *totals, struct total *total)
{
    total->older = totals->newest;
    total->newer = NULL;
    *(totals->newest ? &totals->newest->newer : &totals->oldest) = total;
    totals->newest = total;
}

/* So large that more than a thousandth of the increase is lost in it, or past all doubles: it begins anew, which
 * readers see as a reset. Else one member's 1e300 would be the end of its group's rates. */
static double sum_or_anew(double total, double increase)
{
    double sum = increase == 0 ? total : sum_add(total, increase);
    return fabs(sum - total - increase) <= fabs(increase) / 1000 ? sum : increase;
}

double totals_add(struct totals *totals, struct labels *labels, double increase, int64_t end_ms, bool *ret_new)
{
    uint64_t hash = labels_hash(labels);
    struct total *total = map_get(&totals->map, hash, is_total, labels);
    *ret_new = !total;
    if (total) {
        unlink_total(totals, total);
    } else {
        total = mem_zalloc(sizeof(*total));
        total->labels = labels_ref(labels);
        totals->label_bytes += labels_bytes(labels);
        map_put(&totals->map, hash, total);
    }
    link_newest(totals, total);
    total->sum = sum_or_anew(total->sum, isfinite(increase) ? increase : 0);
    ASSERT(isfinite(total->sum));
    total->seen_ms = end_ms;
    return total->sum;
}

static void forget_oldest(struct totals *totals)
{
    struct total *total = totals->oldest;
    ASSERT(total);
    unlink_total(totals, total);
    totals->label_bytes -= labels_bytes(total->labels);
    ASSERT(map_remove(&totals->map, labels_hash(total->labels), is_total, total->labels) == total);
    total_free(total);
}

void totals_forget(struct totals *totals, int64_t start_ms)
{
    while (totals->oldest && start_ms - totals->oldest->seen_ms > AGGREGATE_IDLE_MS)
        forget_oldest(totals);
    while (totals->map.count > AGGREGATE_TOTALS_MAX || totals->label_bytes > AGGREGATE_TOTALS_BYTES_MAX) {
        forget_oldest(totals);
        totals->evicted_total++;
    }
}
