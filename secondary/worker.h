#pragma once
/* A thread that scrapes: rounds on a loop of its own. Targets come and go by messages, closed windows and news of
 * targets go back as messages to the main loop. Nothing is shared between workers. On a simulated loop there is no
 * thread: then the worker lives on the main loop. All functions are for the main loop. */
#include "net/seams.h"
#include "rounds.h"

struct worker;

struct worker_options {
    unsigned index;
    const char *name;           /* of this secondary, for simulated links */
    struct window_rules *rules; /* a reference is taken */
    uint64_t page_bytes_max;
    /* On the main loop. What sealed owns is the receiver's. */
    void (*sealed)(void *arg, unsigned worker, struct pipeline_sealed *sealed, int64_t closed_through_ms);
    void (*health)(void *arg, struct target *target, enum scrape_failure failure, const char *reason);
    void *arg;
};

struct worker *worker_new(const struct seams *seams, const struct worker_options *options);
/* After worker_stop's callback; or at any time, as a crash: what was not handed over is lost. */
void worker_free(struct worker *worker);
DEFINE_CLEANUP(struct worker *, worker_free)

void worker_add(struct worker *worker, struct target *target);
void worker_remove(struct worker *worker, struct target *target, enum target_end end);
void worker_set_job(struct worker *worker, struct target *target, struct job *job);
/* Other rules for windows, as rounds_set_rules. The change before is in force (worker_stats). */
void worker_set_rules(struct worker *worker, struct window_rules *rules, int64_t not_before_ms);
/* No more scrapes; what open windows hold is sealed; then fn is called, after all of it was handed over. */
void worker_stop(struct worker *worker, loop_fn *fn, void *arg);

struct worker_stats {
    struct rounds_stats rounds;
    int64_t cpu_ns; /* of its thread */
};
/* As of the last second. */
void worker_stats(struct worker *worker, struct worker_stats *ret_stats);
