#include "api/targets.h"

#include "base/fail.h"

#include <math.h>
#include <stdlib.h>

void targets_done(struct targets *targets)
{
    for (size_t i = 0; i < targets->count; i++) {
        labels_unref(targets->items[i].labels);
        labels_unref(targets->items[i].failure);
    }
    for (size_t i = 0; i < targets->end_count; i++) {
        labels_unref(targets->ends[i].labels);
        labels_unref(targets->ends[i].event);
    }
    map_done(&targets->by_labels);
    mem_free(targets->items);
    mem_free(targets->ends);
}

struct target_key {
    const struct targets *targets;
    const struct labels *labels;
};

static bool is_target(const void *item, const void *key)
{
    const struct target_key *wanted = key;
    return labels_equal(wanted->targets->items[(uintptr_t)item - 1].labels, wanted->labels);
}

static struct target *target_of(const struct targets *targets, const struct labels *labels)
{
    struct target_key key = {targets, labels};
    uintptr_t number = (uintptr_t)map_get(&targets->by_labels, labels_hash(labels), is_target, &key);
    return number > 0 ? &targets->items[number - 1] : NULL;
}

/* ---- What the series say ---- */

/* key: the labels that the series has of its target. */
typedef void take_fn(struct targets *targets, struct labels *key, struct labels *labels, struct sample sample);

static void take_up(struct targets *targets, struct labels *key, struct labels *labels, struct sample sample)
{
    (void)labels;
    if (target_of(targets, key))
        return; /* two that differ in what is no label of the target */
    if (targets->count == targets->capacity) {
        targets->capacity = MAX(2 * targets->capacity, (size_t)64);
        targets->items = mem_resize(targets->items, targets->capacity, sizeof(*targets->items));
    }
    targets->items[targets->count++] = (struct target){.labels = labels_ref(key), .up = sample, .samples = (double)NAN};
    map_put(&targets->by_labels, labels_hash(key), (void *)(uintptr_t)targets->count); // NOLINT: a number
    targets->bytes += sizeof(*targets->items) + labels_bytes(key);
}

static void take_seconds(struct targets *targets, struct labels *key, struct labels *labels, struct sample sample)
{
    struct target *target = target_of(targets, key);
    (void)labels;
    if (target)
        target->seconds = sample.value;
}

static void take_samples(struct targets *targets, struct labels *key, struct labels *labels, struct sample sample)
{
    struct target *target = target_of(targets, key);
    (void)labels;
    if (target)
        target->samples = sample.value;
}

static void take_failure(struct targets *targets, struct labels *key, struct labels *labels, struct sample sample)
{
    struct target *target = target_of(targets, key);
    if (!target || target->up.value == 1 || (target->failure && target->failure_ms >= sample.time_ms))
        return;
    labels_unref(target->failure);
    target->failure = labels_ref(labels);
    target->failure_ms = sample.time_ms;
    targets->bytes += labels_bytes(labels);
}

/* One that is scraped again under the same labels is no ended one. */
static void take_end(struct targets *targets, struct labels *key, struct labels *labels, struct sample sample)
{
    const struct target *target = target_of(targets, key);
    if (target && target->up.time_ms > sample.time_ms)
        return;
    if (targets->end_count == targets->end_capacity) {
        targets->end_capacity = MAX(2 * targets->end_capacity, (size_t)64);
        targets->ends = mem_resize(targets->ends, targets->end_capacity, sizeof(*targets->ends));
    }
    targets->ends[targets->end_count++] =
        (struct target_end){.labels = labels_ref(key), .event = labels_ref(labels), .time_ms = sample.time_ms};
    targets->bytes += sizeof(*targets->ends) + labels_bytes(key) + labels_bytes(labels);
}

struct part {
    const char *name;
    const char *own_label; /* beside the name: not of the target */
    take_fn *take;
};

/* up comes first: the others are looked up among its targets. */
static const struct part parts[] = {
    {"up", NULL, take_up},
    {"scrape_duration_seconds", NULL, take_seconds},
    {"scrape_samples_scraped", NULL, take_samples},
    {"scrape_failure", TARGET_REASON, take_failure},
};

static struct labels *key_of(const struct part *part, const struct labels *labels)
{
    struct labels_builder builder;
    labels_builder_init(&builder, labels);
    labels_builder_delete(&builder, STR(LABEL_NAME));
    if (part->own_label)
        labels_builder_delete(&builder, str_from(part->own_label));
    return labels_builder_build(&builder);
}

/* True when all was taken; else it is answered why not. */
static bool collect_part(struct api_request *request, const struct part *part, const struct select_range *range,
                         struct targets *targets)
{
    const struct promql_limits *limits = &request->api->options.limits;
    const struct matcher matcher = {.type = MATCH_EQUAL, .name = STR(LABEL_NAME), .value = str_from(part->name)};
    const struct scope scope = {.sets = {{&matcher, 1}}, .count = 1, .range = *range};
    CLEANUP(scope_walk_done) struct scope_walk walk = {0};
    struct labels *labels;
    struct sample sample;
    int more = scope_walk_open(&walk, request->api->options.store, &scope);
    while (more >= 0 && (more = scope_walk_next(&walk, &labels)) > 0) {
        more = scope_walk_newest(&walk, &targets->samples, &sample);
        if (more > 0) {
            CLEANUP(labels_unrefp) struct labels *key = key_of(part, labels);
            part->take(targets, key, labels, sample);
        }
        if (targets->bytes > limits->bytes_max || targets->samples > limits->samples_max) {
            request_fail(request, API_EXECUTION,
                         "there are more targets than query.max_samples or query.max_memory allow");
            return false;
        }
        if (request_is_late(request)) {
            request_fail(request, API_TIMEOUT, "query timed out in select");
            return false;
        }
    }
    if (more < 0)
        scope_fail(request, more);
    return more == 0;
}

bool targets_collect(struct targets *targets, struct api_request *request, const struct select_range *range)
{
    map_init(&targets->by_labels);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (!collect_part(request, &parts[i], range, targets))
            return false;
    return true;
}

/* The newest first; of one time by labels, so that answers can be compared. */
static int by_time(const void *a, const void *b)
{
    const struct target_end *left = a, *right = b;
    if (left->time_ms != right->time_ms)
        return left->time_ms > right->time_ms ? -1 : 1;
    return labels_compare(left->labels, right->labels);
}

static bool is_same_end(const void *item, const void *key)
{
    return labels_equal(((const struct target_end *)item)->labels, key);
}

/* Of a target that ended several times the last one stays. */
static void drop_repeated_ends(struct targets *targets)
{
    CLEANUP(map_done) struct map seen;
    size_t kept = 0;
    map_init(&seen);
    for (size_t i = 0; i < targets->end_count; i++) {
        struct target_end end = targets->ends[i];
        if (map_get(&seen, labels_hash(end.labels), is_same_end, end.labels)) {
            labels_unref(end.labels);
            labels_unref(end.event);
            continue;
        }
        targets->ends[kept] = end;
        map_put(&seen, labels_hash(end.labels), &targets->ends[kept++]);
    }
    targets->end_count = kept;
}

bool targets_collect_ends(struct targets *targets, struct api_request *request, int64_t end_ms)
{
    static const struct part part = {"scrape_target_ended", TARGET_REASON, take_end};
    struct select_range range = request_range(request, end_ms - TARGETS_ENDED_AGE_MS, end_ms);
    range.newest_only = true;
    if (!collect_part(request, &part, &range, targets))
        return false;
    if (targets->end_count > 1)
        qsort(targets->ends, targets->end_count, sizeof(*targets->ends), by_time);
    drop_repeated_ends(targets);
    return true;
}

struct select_range targets_range(struct api_request *request)
{
    int64_t now_ms = clock_wall_ms(request->api->options.clock);
    struct select_range range = request_range(request, now_ms - request->api->options.limits.lookback_ms, now_ms);
    range.newest_only = true;
    return range;
}
