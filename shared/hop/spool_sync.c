/* Group commit: one fdatasync on the executor for all that wait; who comes while it runs waits for the next. */
#include "base/fail.h"
#include "base/log.h"
#include "hop/spool_internal.h"

#include <errno.h>

/* Lives until its `done`: longer than the spool, where that is closed meanwhile. */
struct sync_job {
    struct spool *spool; /* NULL: closed */
    struct file *file;
    bool owns_file;      /* given up by the spool: cut, then closed */
    uint64_t keep_bytes; /* where it is cut; UINT64_MAX: not */
    uint64_t upto;       /* bytes of the segment that the sync covers */
    int error;
};

static void add_waiter(struct spool_waiters *waiters, spool_synced_fn *fn, void *arg)
{
    if (waiters->count == waiters->capacity) {
        waiters->capacity = MAX(waiters->capacity * 2, (size_t)16);
        waiters->items = mem_resize(waiters->items, waiters->capacity, sizeof(*waiters->items));
    }
    waiters->items[waiters->count++] = (struct spool_waiter){fn, arg};
}

/* The list is taken first: a callback may wait again. */
static void tell(struct spool_waiters *waiters, int error)
{
    struct spool_waiters taken = *waiters;
    *waiters = (struct spool_waiters){0};
    for (size_t i = 0; i < taken.count; i++)
        taken.items[i].fn(taken.items[i].arg, error);
    mem_free(taken.items);
}

static void run_job(void *arg)
{
    struct sync_job *job = arg;
    job->error = file_sync(job->file);
}

static void finish_file(struct sync_job *job)
{
    if (!job->owns_file)
        return;
    if (job->keep_bytes != UINT64_MAX && file_truncate(job->file, job->keep_bytes) < 0)
        log_debug("%s could not be cut", file_path(job->file));
    file_close(job->file);
}

/* What the sync brought, as the segment's state. */
static int take_result(struct spool *spool, const struct sync_job *job)
{
    if (job->owns_file) /* the segment failed while the sync ran */
        return job->error < 0 ? job->error : -EIO;
    if (job->error < 0) {
        spool->stats.errors_total++;
        segment_fail(spool, job->error);
        return job->error;
    }
    segment_newest(spool)->synced_bytes = job->upto;
    replaced_synced(spool, job->upto);
    spool->stats.synced_total++;
    return 0;
}

static void job_done(void *arg)
{
    CLEANUP_FREE struct sync_job *job = arg;
    struct spool *spool = job->spool;
    if (!spool) {
        finish_file(job);
        return;
    }
    spool->job = NULL;
    int result = take_result(spool, job);
    finish_file(job);
    if (spool->file && segment_is_full(spool) && segment_roll(spool) < 0)
        log_debug("spool %s: the segment could not be ended", spool->dir); /* who waits is told below */
    tell(&spool->syncing, result);
    if (spool->waiting.count > 0)
        loop_timer_start(&spool->sync_timer, 0, 0);
}

static void start_job(struct spool *spool)
{
    struct sync_job *job = mem_zalloc(sizeof(*job));
    *job = (struct sync_job){
        .spool = spool, .file = spool->file, .keep_bytes = UINT64_MAX, .upto = segment_newest(spool)->bytes};
    spool->job = job;
    spool->syncing = spool->waiting;
    spool->waiting = (struct spool_waiters){0};
    if (executor_submit(spool->seams.executor, spool->seams.loop, run_job, job_done, job) < 0) {
        /* Its queue is full: the loop does it itself, which also slows down what fills the queue. */
        run_job(job);
        job_done(job);
    }
}

static void on_sync_timer(void *arg)
{
    struct spool *spool = arg;
    if (spool->job || spool->waiting.count == 0)
        return;
    if (spool->lost_error) {
        int error = spool->lost_error;
        spool->lost_error = 0;
        tell(&spool->waiting, error);
        return;
    }
    const struct segment *segment = segment_newest(spool);
    if (spool->file && segment->synced_bytes < segment->bytes)
        start_job(spool);
    else
        tell(&spool->waiting, 0);
}

void spool_sync(struct spool *spool, spool_synced_fn *fn, void *arg)
{
    ASSERT(spool->waiting.count < SPOOL_WAITERS_MAX);
    add_waiter(&spool->waiting, fn, arg);
    if (!spool->job)
        loop_timer_start(&spool->sync_timer, 0, 0);
}

void sync_give_file(struct spool *spool, uint64_t keep_bytes)
{
    spool->job->owns_file = true;
    spool->job->keep_bytes = keep_bytes;
}

void sync_init(struct spool *spool)
{
    loop_timer_init(&spool->sync_timer, spool->seams.loop, on_sync_timer, spool);
}

void sync_done(struct spool *spool)
{
    loop_timer_stop(&spool->sync_timer);
    if (spool->job) {
        if (!spool->job->owns_file) {
            sync_give_file(spool, UINT64_MAX);
            spool->file = NULL;
        }
        spool->job->spool = NULL;
        spool->job = NULL;
    }
    tell(&spool->syncing, -ECANCELED);
    tell(&spool->waiting, -ECANCELED);
    mem_free(spool->syncing.items);
    mem_free(spool->waiting.items);
}
