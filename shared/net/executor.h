#pragma once
/* Work for other threads: owned in, owned out. `work` runs in some thread (or inline, in order of submission, right
 * when the loop turns: for tests and simulations), then `done` runs on the loop that submitted it. */
#include "net/loop.h"

struct executor;

struct executor *executor_pool_new(unsigned threads, size_t queue_max);
struct executor *executor_inline_new(void);
/* Waits for work that runs; work still queued is done first. Inline: its `done` runs at once too. Pool: `done` is
 * posted; call loop_settle before the owners of the args go. Free it before its loops. */
void executor_free(struct executor *executor);
DEFINE_CLEANUP(struct executor *, executor_free)

/* -EAGAIN when queue_max works wait already. done may be NULL. From any thread (inline: the loop's). */
MUST_CHECK int executor_submit(struct executor *executor, struct loop *loop, loop_fn *work, loop_fn *done, void *arg);
size_t executor_queued(struct executor *executor);
