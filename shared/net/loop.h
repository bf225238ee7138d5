#pragma once
/* One event loop per thread: timers, descriptors, deferred calls; libev behind a few verbs. A simulated loop has the
 * same face on a simulated clock: time jumps from timer to timer, nothing waits. All calls are for the loop's own
 * thread but loop_post and loop_stop. */
#include "base/clock.h"
#include "base/defs.h"

struct loop;
typedef void loop_fn(void *arg);

struct loop *loop_new(void); /* real */
struct loop *loop_simulated_new(struct clock *simulated_clock);
void loop_free(struct loop *loop); /* deferred and posted calls that did not run are dropped */
DEFINE_CLEANUP(struct loop *, loop_free)
struct clock *loop_clock(struct loop *loop);
bool loop_is_simulated(const struct loop *loop);

void loop_run(struct loop *loop);  /* until loop_stop; real loops only */
void loop_stop(struct loop *loop); /* from any thread or signal watcher */
/* Simulated: runs everything due up to now + ms, in order of time, and leaves the clock there. */
void loop_advance(struct loop *loop, int64_t ms);
/* Runs what is due right now, without waiting. On a real loop: at the end of a daemon, after executor_free, so that the
 * last `done` calls still find their owners. Not from a callback. */
void loop_settle(struct loop *loop);

/* Runs fn on the loop's next turn, after the current callback has returned: do not act inside a callback. */
void loop_defer(struct loop *loop, loop_fn *fn, void *arg);
/* The same from any thread; wakes the loop. At most LOOP_POSTED_MAX wait; then the caller waits (never drops). */
#define LOOP_POSTED_MAX 65536
void loop_post(struct loop *loop, loop_fn *fn, void *arg);

/* A timer lives inside its owner. Once, or repeating without drift. Stopping or starting again at any time is fine. */
struct loop_timer {
    struct loop *loop;
    loop_fn *fn;
    void *arg;
    int64_t due_ms;    /* monotonic */
    int64_t repeat_ms; /* 0: once */
    bool active;
    uint64_t order; /* of equal times the first started runs first */
    size_t heap_index;
};
void loop_timer_init(struct loop_timer *timer, struct loop *loop, loop_fn *fn, void *arg);
void loop_timer_start(struct loop_timer *timer, int64_t after_ms, int64_t repeat_ms);
void loop_timer_stop(struct loop_timer *timer);

/* A descriptor watched for reading or writing. Real loops only. Stop it before the descriptor is closed. */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };
struct loop_watch;
typedef void loop_watch_fn(void *arg, int events);
struct loop_watch *loop_watch_new(struct loop *loop, int fd, int events, loop_watch_fn *fn, void *arg);
void loop_watch_set(struct loop_watch *watch, int events);
void loop_watch_free(struct loop_watch *watch); /* NULL allowed */

/* Signals on this loop (one loop per process may have them). */
void loop_on_signal(struct loop *loop, int signal_number, loop_fn *fn, void *arg);
