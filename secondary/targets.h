#pragma once
/* The live set: which targets are scraped now. Discovery hands over a job's targets whole; what is new is told to the
 * owner, what is gone too, and what is the same stays as it is, state and schedule included. On the main loop. */
#include "target.h"

struct targets;

enum targets_event { TARGETS_ADDED, TARGETS_REMOVED, TARGETS_JOB /* to be fetched by `job` from now on */ };
/* TARGETS_REMOVED: target->end says why. */
typedef void targets_fn(void *arg, enum targets_event event, struct target *target, struct job *job);

struct targets *targets_new(targets_fn *fn, void *arg);
void targets_free(struct targets *targets); /* without events */
DEFINE_CLEANUP(struct targets *, targets_free)

struct targets_outcome {
    size_t added, removed, repeated, over_limit;
};
struct targets_list { /* of one job, borrowed */
    struct job *job;
    struct target *const *items;
    size_t count;
    size_t count_max;
    /* str_hash of the addresses that discovery lists, before rules, rising: a target that is not among the items ended
     * because it is not listed any more, or because of what the configuration makes of it. NULL: all are taken for
     * not listed. */
    const uint64_t *found;
    size_t found_count;
};
/* The targets of the job are these. Identical ones count once. Past count_max those that are scraped already stay, and
 * of the others the first come in. */
void targets_sync(struct targets *targets, const struct targets_list *list, struct targets_outcome *ret_outcome);
/* Only the jobs named remain; the targets of the others end. */
void targets_keep_jobs(struct targets *targets, struct job *const *jobs, size_t count);
/* The live one that is equal to it; NULL: there is none. */
struct target *targets_find(const struct targets *targets, const struct target *target);
/* What a worker says of a target's last scrape. Of one that has ended: nothing happens. */
void targets_report(struct targets *targets, struct target *target, bool up, const char *error);

size_t targets_count(const struct targets *targets);
const struct target_counts *targets_counts(const struct targets *targets);
/* All, in no order: size_t at = 0; while ((target = targets_next(targets, &at))). */
struct target *targets_next(const struct targets *targets, size_t *at);
