#include "store/compact_plan.h"

#include "base/fail.h"

#include <stdlib.h>
#include <string.h>

#define SMALL_PARTS 4 /* the rest is small beside the largest when it is less than 1/4 of it */

struct planning {
    const struct compact_plan_options *options;
    const struct compact_source *sources;
    uint32_t *order; /* of one class, by (min time, ulid) */
    size_t count;
    struct compact_units *units;
};

static int compare_times(const struct compact_source *a, const struct compact_source *b)
{
    if (a->min_time_ms != b->min_time_ms) {
        return a->min_time_ms < b->min_time_ms ? -1 : 1;
    }
    return strcmp(a->ulid.text, b->ulid.text);
}

static int by_class_and_time(const void *a, const void *b, void *arg)
{
    const struct compact_source *sources = arg;
    const struct compact_source *x = &sources[*(const uint32_t *)a], *y = &sources[*(const uint32_t *)b];
    int order = strcmp(x->class, y->class);
    return order ? order : compare_times(x, y);
}

static int by_ulid(const void *a, const void *b, void *arg)
{
    const struct compact_source *sources = arg;
    return strcmp(sources[*(const uint32_t *)a].ulid.text, sources[*(const uint32_t *)b].ulid.text);
}

static int by_bytes(const void *a, const void *b, void *arg)
{
    const struct compact_source *sources = arg;
    const struct compact_source *x = &sources[*(const uint32_t *)a], *y = &sources[*(const uint32_t *)b];
    if (x->bytes != y->bytes) {
        return x->bytes < y->bytes ? -1 : 1;
    }
    return compare_times(x, y);
}

static void add_unit(struct planning *planning, const uint32_t *members, size_t count, enum compact_why why)
{
    struct compact_units *units = planning->units;
    if (units->count == units->capacity) {
        units->capacity = MAX(units->capacity * 2, (size_t)16);
        units->items = mem_resize(units->items, units->capacity, sizeof(*units->items));
    }
    uint32_t *copy = mem_array(count, sizeof(*copy));
    memcpy(copy, members, count * sizeof(*copy));
    qsort_r(copy, count, sizeof(*copy), by_ulid, (void *)planning->sources);
    units->items[units->count++] = (struct compact_unit){copy, count, why};
}

static const struct compact_source *source_at(const struct planning *planning, size_t at)
{
    return &planning->sources[planning->order[at]];
}

static bool is_of_head(const struct planning *planning, const struct compact_source *source)
{
    return source->max_time_ms > planning->options->head_start_ms;
}

static uint64_t bytes_of(const struct planning *planning, const uint32_t *members, size_t count)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += planning->sources[members[i]].bytes;
    }
    return bytes;
}

static bool fits(const struct planning *planning, const uint32_t *members, size_t count)
{
    return count <= planning->options->sources_max &&
           bytes_of(planning, members, count) <= planning->options->unit_bytes_max;
}

/* ---- overlaps ---- */

static bool overlap(const struct compact_source *a, const struct compact_source *b)
{
    return a->min_time_ms < b->max_time_ms && b->min_time_ms < a->max_time_ms;
}

/* Another small one may come any minute. */
static bool waits(const struct planning *planning, const uint32_t *members, size_t count)
{
    uint64_t largest = 0, bytes = bytes_of(planning, members, count);
    int64_t newest_ms = INT64_MIN, now_ms = planning->options->now_ms;
    for (size_t i = 0; i < count; i++) {
        largest = MAX(largest, planning->sources[members[i]].bytes);
        newest_ms = MAX(newest_ms, ulid_time_ms(&planning->sources[members[i]].ulid));
    }
    bool small = (bytes - largest) * SMALL_PARTS < largest;
    return small && newest_ms <= now_ms && now_ms - newest_ms < planning->options->settle_ms;
}

/* Of those that are too many or too large for one unit: a small one with the smallest that overlap it. members are
 * sorted by bytes. */
static bool add_smallest(struct planning *planning, const uint32_t *members, size_t count)
{
    CLEANUP_FREE uint32_t *chosen = mem_array(count, sizeof(*chosen));
    for (size_t seed = 0; seed < count; seed++) {
        size_t chosen_count = 1;
        chosen[0] = members[seed];
        for (size_t i = 0; i < count; i++) {
            bool wanted = i != seed && overlap(&planning->sources[members[seed]], &planning->sources[members[i]]);
            if (!wanted) {
                continue;
            }
            chosen[chosen_count] = members[i];
            if (!fits(planning, chosen, chosen_count + 1)) {
                break; /* the next ones are larger */
            }
            chosen_count++;
        }
        if (chosen_count > 1) {
            add_unit(planning, chosen, chosen_count, COMPACT_OVERLAP);
            return true;
        }
    }
    return false;
}

/* Blocks that hang together: each overlaps another. */
static void add_overlapping(struct planning *planning, uint32_t *members, size_t count)
{
    if (count < 2 || waits(planning, members, count)) {
        return;
    }
    if (fits(planning, members, count)) {
        add_unit(planning, members, count, COMPACT_OVERLAP);
        return;
    }
    qsort_r(members, count, sizeof(*members), by_bytes, (void *)planning->sources);
    add_smallest(planning, members, count);
}

static void plan_overlaps(struct planning *planning)
{
    CLEANUP_FREE uint32_t *group = mem_array(planning->count, sizeof(*group));
    size_t count = 0;
    int64_t end_ms = INT64_MIN;
    for (size_t i = 0; i < planning->count; i++) {
        const struct compact_source *source = source_at(planning, i);
        if (is_of_head(planning, source)) {
            continue;
        }
        if (source->min_time_ms >= end_ms) {
            add_overlapping(planning, group, count);
            count = 0;
        }
        group[count++] = planning->order[i];
        end_ms = MAX(end_ms, source->max_time_ms);
    }
    add_overlapping(planning, group, count);
}

/* The head adds to their range, not to them: those that are of one range are one afterwards. */
static void plan_head(struct planning *planning)
{
    CLEANUP_FREE uint32_t *group = mem_array(planning->count, sizeof(*group));
    CLEANUP_FREE bool *seen = mem_array(planning->count, sizeof(*seen));
    for (size_t i = 0; i < planning->count; i++) {
        const struct compact_source *first = source_at(planning, i);
        size_t count = 0;
        if (seen[i] || !is_of_head(planning, first)) {
            continue;
        }
        for (size_t j = i; j < planning->count && source_at(planning, j)->min_time_ms == first->min_time_ms; j++) {
            bool same = source_at(planning, j)->max_time_ms == first->max_time_ms;
            seen[j] |= same;
            if (same) {
                group[count++] = planning->order[j];
            }
        }
        add_overlapping(planning, group, count);
    }
}

/* ---- ranges of levels ---- */

static int64_t floor_to(int64_t time_ms, int64_t step_ms)
{
    int64_t rest = time_ms % step_ms;
    int64_t start_ms;
    return __builtin_sub_overflow(time_ms, rest < 0 ? rest + step_ms : rest, &start_ms) ? INT64_MIN : start_ms;
}

/* Lies within one range of the level and leaves room for others in it. */
static bool is_part(const struct compact_source *source, int64_t level_ms)
{
    int64_t span_ms;
    return source->max_time_ms > source->min_time_ms &&
           !__builtin_sub_overflow(source->max_time_ms, source->min_time_ms, &span_ms) && span_ms < level_ms &&
           floor_to(source->min_time_ms, level_ms) == floor_to(source->max_time_ms - 1, level_ms);
}

static void add_range(struct planning *planning, const uint32_t *members, size_t count)
{
    size_t taken = MIN(count, planning->options->sources_max);
    if (taken > 1 && fits(planning, members, taken)) {
        add_unit(planning, members, taken, COMPACT_RANGE);
    }
}

static void plan_level(struct planning *planning, int64_t level_ms)
{
    CLEANUP_FREE uint32_t *group = mem_array(planning->count, sizeof(*group));
    size_t count = 0;
    int64_t start_ms = INT64_MIN;
    for (size_t i = 0; i < planning->count; i++) {
        const struct compact_source *source = source_at(planning, i);
        int64_t source_start_ms = floor_to(source->min_time_ms, level_ms), end_ms;
        bool is_over =
            !__builtin_add_overflow(source_start_ms, level_ms, &end_ms) && end_ms <= planning->options->head_start_ms;
        if (!is_over || !is_part(source, level_ms)) {
            continue;
        }
        if (source_start_ms != start_ms) {
            add_range(planning, group, count);
            count = 0;
            start_ms = source_start_ms;
        }
        group[count++] = planning->order[i];
    }
    add_range(planning, group, count);
}

/* ---- all ---- */

static void plan_deletions(struct planning *planning)
{
    for (size_t i = 0; i < planning->count; i++) {
        if (source_at(planning, i)->has_deletions) {
            add_unit(planning, &planning->order[i], 1, COMPACT_DELETIONS);
        }
    }
}

/* One kind of unit over all classes. */
static void each_class(struct planning *planning, const uint32_t *order, size_t count,
                       void (*plan)(struct planning *planning))
{
    for (size_t at = 0, end; at < count; at = end) {
        end = at + 1;
        while (end < count && strcmp(planning->sources[order[at]].class, planning->sources[order[end]].class) == 0) {
            end++;
        }
        planning->order = (uint32_t *)order + at;
        planning->count = end - at;
        plan(planning);
    }
}

static void plan_ranges(struct planning *planning)
{
    for (size_t level = planning->options->level_count; level-- > 1;) {
        plan_level(planning, planning->options->levels_ms[level]);
    }
}

void compact_plan(const struct compact_plan_options *options, const struct compact_source *sources, size_t count,
                  struct compact_units *ret_units)
{
    ASSERT(options->sources_max >= 2 && count <= UINT32_MAX);
    struct compact_units units = {0};
    struct planning planning = {.options = options, .sources = sources, .units = &units};
    CLEANUP_FREE uint32_t *order = mem_array(count, sizeof(*order));
    for (size_t i = 0; i < count; i++) {
        order[i] = (uint32_t)i;
    }
    if (count > 0) {
        qsort_r(order, count, sizeof(*order), by_class_and_time, (void *)sources);
    }
    each_class(&planning, order, count, plan_overlaps);
    each_class(&planning, order, count, plan_head);
    each_class(&planning, order, count, plan_ranges);
    each_class(&planning, order, count, plan_deletions);
    *ret_units = units;
}

void compact_units_done(struct compact_units *units)
{
    for (size_t i = 0; i < units->count; i++) {
        mem_free(units->items[i].sources);
    }
    mem_free(units->items);
    *units = (struct compact_units){0};
}
