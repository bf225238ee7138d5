#include "targets.h"

#include "base/fail.h"
#include "base/map.h"

#include <stdio.h>
#include <stdlib.h>

struct targets {
    targets_fn *fn;
    void *arg;
    struct map by_key; /* struct target, a reference each */
    struct target_counts counts;
    uint64_t round;
};

struct targets *targets_new(targets_fn *fn, void *arg)
{
    struct targets *targets = mem_zalloc(sizeof(*targets));
    targets->fn = fn;
    targets->arg = arg;
    map_init(&targets->by_key);
    return targets;
}

void targets_free(struct targets *targets)
{
    if (!targets)
        return;
    size_t at = 0;
    for (struct target *target; (target = map_next(&targets->by_key, &at));)
        target_unref(target);
    map_done(&targets->by_key);
    mem_free(targets);
}

static bool equal(const void *item, const void *key)
{
    return target_equal(item, key);
}

static struct target *find(const struct targets *targets, const struct target *target)
{
    return map_get(&targets->by_key, target->key, equal, target);
}

static void add(struct targets *targets, struct target *target)
{
    map_put(&targets->by_key, target->key, target_ref(target));
    target->round = targets->round;
    targets->counts.now[TARGET_PENDING]++;
    targets->fn(targets->arg, TARGETS_ADDED, target, target->job);
}

static void end(struct targets *targets, struct target *target, enum target_end why)
{
    target->end = why;
    map_remove(&targets->by_key, target->key, equal, target);
    target_set_state(target, TARGET_ENDED, &targets->counts);
    targets->fn(targets->arg, TARGETS_REMOVED, target, target->job);
    target_unref(target);
}

static bool same_job(const struct job *a, const struct job *b)
{
    return strcmp(a->name, b->name) == 0;
}

/* Ends all for which `why` has an answer. */
typedef int why_fn(const void *arg, const struct target *target); /* enum target_end, or -1: it stays */

static size_t end_some(struct targets *targets, why_fn *why, const void *arg)
{
    struct target **gone = mem_array(targets->by_key.count, sizeof(struct target *));
    size_t gone_count = 0, at = 0;
    for (struct target *target; (target = map_next(&targets->by_key, &at));)
        if (why(arg, target) >= 0)
            gone[gone_count++] = target;
    for (size_t i = 0; i < gone_count; i++)
        end(targets, gone[i], (enum target_end)why(arg, gone[i]));
    mem_free(gone);
    return gone_count;
}

/* ---- A job's targets ---- */

struct syncing {
    const struct targets_list *list;
    uint64_t round;
};

static int compare_hashes(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static int why_unseen(const void *arg, const struct target *target)
{
    const struct syncing *syncing = arg;
    const struct targets_list *list = syncing->list;
    if (!same_job(target->job, list->job) || target->round == syncing->round)
        return -1;
    if (target->limit_round == syncing->round)
        return TARGET_END_LIMIT;
    bool is_found = list->found_count > 0 && bsearch(&target->found_hash, list->found, list->found_count,
                                                     sizeof(list->found[0]), compare_hashes);
    return is_found ? TARGET_END_RELABELED : TARGET_END_REMOVED;
}

void targets_sync(struct targets *targets, const struct targets_list *list, struct targets_outcome *ret_outcome)
{
    struct targets_outcome outcome = {0};
    size_t kept = 0;
    targets->round++;
    for (size_t i = 0; i < list->count; i++) {
        struct target *live = find(targets, list->items[i]);
        if (!live || live->round == targets->round)
            continue;
        live->found_hash = list->items[i]->found_hash;
        if (kept == list->count_max) {
            live->limit_round = targets->round;
            continue;
        }
        live->round = targets->round;
        kept++;
        targets->fn(targets->arg, TARGETS_JOB, live, list->job);
    }
    outcome.removed = end_some(targets, why_unseen, &(struct syncing){list, targets->round});
    for (size_t i = 0; i < list->count; i++) {
        if (find(targets, list->items[i]))
            outcome.repeated++; /* the live ones are taken off below */
        else if (kept + outcome.added == list->count_max)
            outcome.over_limit++;
        else {
            add(targets, list->items[i]);
            outcome.added++;
        }
    }
    outcome.repeated -= kept;
    *ret_outcome = outcome;
}

/* ---- All jobs ---- */

struct kept_jobs {
    struct job *const *jobs;
    size_t count;
};

static int why_not_kept(const void *arg, const struct target *target)
{
    const struct kept_jobs *kept = arg;
    for (size_t i = 0; i < kept->count; i++)
        if (same_job(target->job, kept->jobs[i]))
            return -1;
    return TARGET_END_JOB;
}

void targets_keep_jobs(struct targets *targets, struct job *const *jobs, size_t count)
{
    end_some(targets, why_not_kept, &(struct kept_jobs){jobs, count});
}

void targets_report(struct targets *targets, struct target *target, bool up, const char *error)
{
    if (target->state == TARGET_ENDED)
        return;
    mem_free(target->last_error);
    target->last_error = error[0] ? mem_strdup(error) : NULL;
    target_set_state(target, up ? TARGET_UP : TARGET_DOWN, &targets->counts);
}

struct target *targets_find(const struct targets *targets, const struct target *target)
{
    return find(targets, target);
}

size_t targets_count(const struct targets *targets)
{
    return targets->by_key.count;
}

const struct target_counts *targets_counts(const struct targets *targets)
{
    return &targets->counts;
}

struct target *targets_next(const struct targets *targets, size_t *at)
{
    return map_next(&targets->by_key, at);
}
