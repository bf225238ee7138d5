#include "store/retention.h"

#include "base/conf.h"
#include "base/fail.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define RUN_MAX 1000 /* blocks that go in one change: other changes wait for it */

struct retention {
    _Atomic uint32_t refs;
    uint64_t bytes_max;
    size_t count;
    struct retention_class classes[RETENTION_CLASSES_MAX];
    struct selector *selectors[RETENTION_CLASSES_MAX]; /* NULL: all */
};

/* ---- rules ---- */

static int index_of(const struct retention *retention, const char *name)
{
    for (size_t i = 0; i < retention->count; i++) {
        if (strcmp(retention->classes[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -ENOENT;
}

static int add_class(struct retention *retention, const struct retention_class *class, char ret_error[static 256])
{
    if (!class->name[0]) {
        return error_text(-EINVAL, ret_error, "class %zu has no name", retention->count + 1);
    }
    if (index_of(retention, class->name) >= 0) {
        return error_text(-EINVAL, ret_error, "there are two classes %s", class->name);
    }
    if (class->keep_ms <= 0) {
        return error_text(-EINVAL, ret_error, "class %s keeps nothing", class->name);
    }
    struct selector *selector = NULL;
    if (class->match) {
        char error[256];
        size_t at = 0;
        if (selector_new(str_from(class->match), error, &at, &selector) < 0) {
            return error_text(-EINVAL, ret_error, "class %s, at byte %zu of its match: %.150s", class->name, at, error);
        }
    }
    struct retention_class *mine = &retention->classes[retention->count];
    *mine = *class;
    mine->match = class->match ? mem_strdup(class->match) : NULL;
    retention->selectors[retention->count++] = selector;
    return 0;
}

int retention_new(const struct retention_class *classes, size_t count, uint64_t bytes_max, char ret_error[static 256],
                  struct retention **ret_retention)
{
    if (count == 0 || count > RETENTION_CLASSES_MAX) {
        return error_text(-EINVAL, ret_error, "1 to %d classes, not %zu", RETENTION_CLASSES_MAX, count);
    }
    CLEANUP(retention_unrefp) struct retention *retention = mem_zalloc(sizeof(*retention));
    retention->refs = 1;
    retention->bytes_max = bytes_max;
    for (size_t i = 0; i < count; i++) {
        int r = add_class(retention, &classes[i], ret_error);
        if (r < 0) {
            return r;
        }
    }
    if (classes[count - 1].match) {
        return error_text(-EINVAL, ret_error, "the last class, %s, must match all", classes[count - 1].name);
    }
    *ret_retention = STEAL(retention);
    return 0;
}

struct retention *retention_ref(struct retention *retention)
{
    atomic_fetch_add_explicit(&retention->refs, 1, memory_order_relaxed);
    return retention;
}

void retention_unref(struct retention *retention)
{
    if (!retention || atomic_fetch_sub_explicit(&retention->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (size_t i = 0; i < retention->count; i++) {
        selector_free(retention->selectors[i]);
        mem_free((char *)retention->classes[i].match);
    }
    mem_free(retention);
}

bool retention_equal(const struct retention *a, const struct retention *b)
{
    bool same = a->count == b->count && a->bytes_max == b->bytes_max;
    for (size_t i = 0; same && i < a->count; i++) {
        const struct retention_class *x = &a->classes[i], *y = &b->classes[i];
        same = strcmp(x->name, y->name) == 0 && x->keep_ms == y->keep_ms && x->bytes_max == y->bytes_max &&
               !x->match == !y->match && (!x->match || strcmp(x->match, y->match) == 0);
    }
    return same;
}

size_t retention_class_count(const struct retention *retention)
{
    return retention->count;
}

const struct retention_class *retention_class_at(const struct retention *retention, size_t index)
{
    ASSERT(index < retention->count);
    return &retention->classes[index];
}

size_t retention_class_of(const struct retention *retention, const struct labels *labels)
{
    for (size_t i = 0; i + 1 < retention->count; i++) {
        const struct selector *selector = retention->selectors[i];
        if (!selector || matcher_matches_labels(selector->matchers, selector->count, labels)) {
            return i;
        }
    }
    return retention->count - 1;
}

/* ---- what goes ---- */

struct candidate {
    const struct block_status *block;
    size_t class;
    bool gone;
};

struct plan {
    const struct retention *retention;
    struct candidate *candidates; /* oldest first */
    size_t count;
    uint64_t class_bytes[RETENTION_CLASSES_MAX], bytes; /* of those that stay */
    struct retention_victims victims;
};

/* By the newest sample, which is what age is measured by. */
static int compare_age(const void *a, const void *b)
{
    const struct block_meta *x = &((const struct candidate *)a)->block->meta;
    const struct block_meta *y = &((const struct candidate *)b)->block->meta;
    if (x->max_time_ms != y->max_time_ms) {
        return x->max_time_ms < y->max_time_ms ? -1 : 1;
    }
    if (x->min_time_ms != y->min_time_ms) {
        return x->min_time_ms < y->min_time_ms ? -1 : 1;
    }
    return strcmp(x->ulid.text, y->ulid.text);
}

static size_t class_of_block(const struct retention *retention, const struct block_status *block)
{
    int index = index_of(retention, block->meta.class);
    return index >= 0 ? (size_t)index : retention->count - 1;
}

static void add_victim(struct plan *plan, struct candidate *candidate, const char *why)
{
    candidate->gone = true;
    plan->class_bytes[candidate->class] -= candidate->block->disk_bytes;
    plan->bytes -= candidate->block->disk_bytes;
    struct retention_victim *victim = &plan->victims.items[plan->victims.count++];
    victim->block = candidate->block;
    snprintf(victim->why, sizeof(victim->why), "%s", why);
}

static void plan_ages(struct plan *plan, int64_t now_ms)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct retention_class *class = &plan->retention->classes[plan->candidates[i].class];
        int64_t oldest_ms;
        if (__builtin_sub_overflow(now_ms, class->keep_ms, &oldest_ms)) {
            continue; /* longer than there is time */
        }
        if (plan->candidates[i].block->meta.max_time_ms <= oldest_ms) { /* exclusive: its newest sample is before it */
            char keep[64], why[96];
            conf_format_duration(class->keep_ms, keep);
            snprintf(why, sizeof(why), "older than %s", keep);
            add_victim(plan, &plan->candidates[i], why);
        }
    }
}

/* The oldest of a class go while `bytes` is above the bound. */
static void plan_bytes(struct plan *plan, size_t class, const uint64_t *bytes, uint64_t bytes_max, const char *why)
{
    for (size_t i = 0; i<plan->count && * bytes> bytes_max; i++) {
        if (plan->candidates[i].class == class && !plan->candidates[i].gone) {
            add_victim(plan, &plan->candidates[i], why);
        }
    }
}

static void plan_class_bounds(struct plan *plan)
{
    for (size_t i = 0; i < plan->retention->count; i++) {
        const struct retention_class *class = &plan->retention->classes[i];
        if (class->bytes_max > 0) {
            char bound[32], why[96 + sizeof(class->name)];
            conf_format_bytes(class->bytes_max, bound);
            snprintf(why, sizeof(why), "class %s is past its %s", class->name, bound);
            plan_bytes(plan, i, &plan->class_bytes[i], class->bytes_max, why);
        }
    }
}

static void plan_total_bound(struct plan *plan)
{
    uint64_t bytes_max = plan->retention->bytes_max;
    char bound[32], why[96];
    conf_format_bytes(bytes_max, bound);
    snprintf(why, sizeof(why), "all are past %s", bound);
    for (size_t i = plan->retention->count; bytes_max > 0 && i-- > 0;) {
        plan_bytes(plan, i, &plan->bytes, bytes_max, why);
    }
}

void retention_plan(const struct retention *retention, const struct block_status *blocks, size_t count, int64_t now_ms,
                    struct retention_victims *ret_victims)
{
    struct plan plan = {.retention = retention, .count = count};
    plan.candidates = mem_array(count, sizeof(*plan.candidates));
    plan.victims.items = mem_array(count, sizeof(*plan.victims.items));
    for (size_t i = 0; i < count; i++) {
        size_t class = class_of_block(retention, &blocks[i]);
        plan.candidates[i] = (struct candidate){&blocks[i], class, false};
        plan.class_bytes[class] += blocks[i].disk_bytes;
        plan.bytes += blocks[i].disk_bytes;
    }
    if (count > 0) {
        qsort(plan.candidates, count, sizeof(*plan.candidates), compare_age);
    }
    plan_ages(&plan, now_ms);
    plan_class_bounds(&plan);
    plan_total_bound(&plan);
    mem_free(plan.candidates);
    *ret_victims = plan.victims;
}

/* ---- doing it ---- */

static void count_victim(const struct retention *retention, const struct block_status *block,
                         struct retention_counts *counts)
{
    struct retention_counts *of_class = &counts[class_of_block(retention, block)];
    of_class->blocks_total++;
    of_class->bytes_total += block->disk_bytes;
    of_class->samples_total += block->meta.sample_count;
}

/* Victims that go for one reason, in one change. Returns how many, or an error. */
static int apply_run(struct blocks *blocks, const struct retention_victim *victims, size_t count)
{
    CLEANUP_FREE struct ulid *ulids = mem_array(count, sizeof(*ulids));
    size_t run = 0;
    while (run < MIN(count, (size_t)RUN_MAX) && strcmp(victims[run].why, victims[0].why) == 0) {
        ulids[run] = victims[run].block->meta.ulid;
        run++;
    }
    int r = blocks_remove(blocks, ulids, run, victims[0].why);
    return r < 0 ? r : (int)run;
}

int retention_apply(const struct retention *retention, struct blocks *blocks, int64_t now_ms,
                    struct retention_counts counts[static RETENTION_CLASSES_MAX])
{
    struct block_status *items;
    size_t item_count;
    struct retention_victims victims;
    blocks_status(blocks, &items, &item_count);
    retention_plan(retention, items, item_count, now_ms, &victims);
    int r = 0;
    for (size_t at = 0; r >= 0 && at < victims.count;) {
        r = apply_run(blocks, victims.items + at, victims.count - at);
        for (int i = 0; i < r; i++) {
            count_victim(retention, victims.items[at + (size_t)i].block, counts);
        }
        at += r > 0 ? (size_t)r : 0;
    }
    mem_free(victims.items);
    blocks_status_free(items, item_count);
    return r < 0 ? r : 0;
}
