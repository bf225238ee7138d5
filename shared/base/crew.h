#pragma once
/* Threads that help with work that can be parted. Whoever has such work does it himself, and those threads of the crew
 * that are idle do it beside him: with no thread idle it only takes longer. Any number of callers at once. */
#include "base/defs.h"

struct crew;

/* 0 threads are allowed: then nobody helps. */
struct crew *crew_new(size_t threads);
void crew_free(struct crew *crew); /* NULL allowed; when no job is open */
DEFINE_CLEANUP(struct crew *, crew_free)
size_t crew_threads(const struct crew *crew); /* NULL: 0 */

struct crew_job { /* the caller's, from crew_begin to crew_end */
    void (*work)(void *arg);
    void *arg;
    size_t wanted, running;
    struct crew_job *next;
};
/* Lets up to `helpers` threads run work(arg), each once, as they become idle. */
void crew_begin(struct crew *crew, struct crew_job *job, void (*work)(void *arg), void *arg, size_t helpers);
/* Nobody begins any more; waits for those that run. */
void crew_end(struct crew *crew, struct crew_job *job);
