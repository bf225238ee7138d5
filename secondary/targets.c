#include "targets.h"

#include "base/fail.h"
#include "base/map.h"

#include <stdio.h>
#include <stdlib.h>

struct job_targets { /* of one job, by its name */
    struct job *job; /* a reference: the one they are fetched by */
    uint64_t name_hash;
    struct target **items;
    size_t count, capacity;
    bool is_kept; /* in targets_keep_jobs */
};

struct targets {
    targets_fn *fn;
    void *arg;
    struct map by_key; /* struct target, a reference each */
    struct map jobs;   /* struct job_targets by name */
    struct target_counts counts;
    uint64_t round;
};

struct targets *targets_new(targets_fn *fn, void *arg)
{
    struct targets *targets = mem_zalloc(sizeof(*targets));
    targets->fn = fn;
    targets->arg = arg;
    map_init(&targets->by_key);
    map_init(&targets->jobs);
    return targets;
}

static void job_free(struct job_targets *job)
{
    job_unref(job->job);
    mem_free(job->items);
    mem_free(job);
}

void targets_free(struct targets *targets)
{
    if (!targets)
        return;
    size_t at = 0;
    for (struct target *target; (target = map_next(&targets->by_key, &at));)
        target_unref(target);
    at = 0;
    for (struct job_targets *job; (job = map_next(&targets->jobs, &at));)
        job_free(job);
    map_done(&targets->by_key);
    map_done(&targets->jobs);
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

static bool has_name(const void *item, const void *name)
{
    return strcmp(((const struct job_targets *)item)->job->name, name) == 0;
}

static struct job_targets *find_job(const struct targets *targets, const struct job *job)
{
    return map_get(&targets->jobs, str_hash(str_from(job->name)), has_name, job->name);
}

static struct job_targets *job_of(struct targets *targets, struct job *job)
{
    struct job_targets *known = find_job(targets, job);
    if (known)
        return known;
    known = mem_zalloc(sizeof(*known));
    known->job = job_ref(job);
    known->name_hash = str_hash(str_from(job->name));
    map_put(&targets->jobs, known->name_hash, known);
    return known;
}

static void add(struct targets *targets, struct job_targets *job, struct target *target)
{
    if (job->count == job->capacity) {
        job->capacity = MAX(2 * job->capacity, (size_t)16);
        job->items = mem_resize(job->items, job->capacity, sizeof(struct target *));
    }
    job->items[job->count++] = target;
    map_put(&targets->by_key, target->key, target_ref(target));
    target->round = targets->round;
    targets->counts.now[TARGET_PENDING]++;
    targets->fn(targets->arg, TARGETS_ADDED, target, target->job);
}

/* Its place among the job's is the caller's. */
static void end(struct targets *targets, struct target *target, enum target_end why)
{
    target->end = why;
    map_remove(&targets->by_key, target->key, equal, target);
    target_set_state(target, TARGET_ENDED, &targets->counts);
    targets->fn(targets->arg, TARGETS_REMOVED, target, target->job);
    target_unref(target);
}

/* ---- A job's targets ---- */

static int compare_hashes(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static enum target_end why_unseen(const struct targets *targets, const struct targets_list *list,
                                  const struct target *target)
{
    if (target->limit_round == targets->round)
        return TARGET_END_LIMIT;
    bool is_found = list->found_count > 0 && bsearch(&target->found_hash, list->found, list->found_count,
                                                     sizeof(list->found[0]), compare_hashes);
    return is_found ? TARGET_END_RELABELED : TARGET_END_REMOVED;
}

/* Those of the job that this round has not seen. */
static size_t end_unseen(struct targets *targets, struct job_targets *job, const struct targets_list *list)
{
    size_t kept = 0, before = job->count;
    for (size_t i = 0; i < before; i++) {
        struct target *target = job->items[i];
        if (target->round == targets->round)
            job->items[kept++] = target;
        else
            end(targets, target, why_unseen(targets, list, target));
    }
    job->count = kept;
    return before - kept;
}

void targets_sync(struct targets *targets, const struct targets_list *list, struct targets_outcome *ret_outcome)
{
    struct targets_outcome outcome = {0};
    struct job_targets *job = job_of(targets, list->job);
    bool is_other = job->job != list->job;
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
        if (is_other)
            targets->fn(targets->arg, TARGETS_JOB, live, list->job);
    }
    outcome.removed = end_unseen(targets, job, list);
    for (size_t i = 0; i < list->count; i++) {
        if (find(targets, list->items[i]))
            outcome.repeated++; /* the live ones are taken off below */
        else if (kept + outcome.added == list->count_max)
            outcome.over_limit++;
        else {
            add(targets, job, list->items[i]);
            outcome.added++;
        }
    }
    outcome.repeated -= kept;
    if (is_other) {
        job_unref(job->job);
        job->job = job_ref(list->job);
    }
    *ret_outcome = outcome;
}

/* ---- All jobs ---- */

void targets_keep_jobs(struct targets *targets, struct job *const *jobs, size_t count)
{
    struct job_targets **gone = mem_array(targets->jobs.count, sizeof(struct job_targets *));
    size_t gone_count = 0, at = 0;
    for (size_t i = 0; i < count; i++) {
        struct job_targets *job = find_job(targets, jobs[i]);
        if (job)
            job->is_kept = true;
    }
    for (struct job_targets *job; (job = map_next(&targets->jobs, &at));) {
        if (!job->is_kept)
            gone[gone_count++] = job;
        job->is_kept = false;
    }
    for (size_t i = 0; i < gone_count; i++) {
        map_remove(&targets->jobs, gone[i]->name_hash, has_name, gone[i]->job->name);
        for (size_t j = 0; j < gone[i]->count; j++)
            end(targets, gone[i]->items[j], TARGET_END_JOB);
        job_free(gone[i]);
    }
    mem_free(gone);
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
