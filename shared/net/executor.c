#include "net/executor.h"

#include "base/fail.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#define EXECUTOR_THREADS_MAX 256 /* more than any machine we run on has use for */

struct job {
    struct executor *executor;
    struct job *previous, *next;
    struct loop *loop;
    loop_fn *work, *done;
    void *arg;
    struct loop_timer timer; /* inline only: its turn */
};

struct executor {
    unsigned thread_count; /* 0: inline, then the lock is never contended */
    size_t queue_max;
    pthread_t *threads;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;
    struct job *first, *last;
    size_t queued;
    bool closing;
};

static void unlink_job(struct executor *executor, struct job *job)
{
    *(job->previous ? &job->previous->next : &executor->first) = job->next;
    *(job->next ? &job->next->previous : &executor->last) = job->previous;
    executor->queued--;
}

static void *thread_main(void *arg)
{
    struct executor *executor = arg;
    pthread_mutex_lock(&executor->lock);
    for (;;) {
        while (!executor->first && !executor->closing)
            pthread_cond_wait(&executor->wake, &executor->lock);
        struct job *job = executor->first;
        if (!job)
            break;
        unlink_job(executor, job);
        pthread_mutex_unlock(&executor->lock);
        job->work(job->arg);
        if (job->done)
            loop_post(job->loop, job->done, job->arg);
        mem_free(job);
        pthread_mutex_lock(&executor->lock);
    }
    pthread_mutex_unlock(&executor->lock);
    return NULL;
}

static struct executor *new_executor(unsigned threads, size_t queue_max)
{
    struct executor *executor = mem_zalloc(sizeof(*executor));
    executor->thread_count = threads;
    executor->queue_max = queue_max;
    ASSERT(pthread_mutex_init(&executor->lock, NULL) == 0);
    ASSERT(pthread_cond_init(&executor->wake, NULL) == 0);
    return executor;
}

struct executor *executor_pool_new(unsigned threads, size_t queue_max)
{
    ASSERT(threads > 0 && threads <= EXECUTOR_THREADS_MAX && queue_max > 0);
    struct executor *executor = new_executor(threads, queue_max);
    executor->threads = mem_array(threads, sizeof(pthread_t));
    /* Signals belong to the loop's thread. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    for (unsigned i = 0; i < threads; i++) {
        int error = pthread_create(&executor->threads[i], NULL, thread_main, executor);
        if (error)
            fatal("cannot start a thread: %s", strerror(error));
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return executor;
}

struct executor *executor_inline_new(void)
{
    return new_executor(0, SIZE_MAX);
}

static void run_inline(void *arg)
{
    struct job *job = arg;
    struct executor *executor = job->executor;
    loop_timer_stop(&job->timer);
    pthread_mutex_lock(&executor->lock);
    unlink_job(executor, job);
    pthread_mutex_unlock(&executor->lock);
    job->work(job->arg);
    if (job->done)
        job->done(job->arg);
    mem_free(job);
}

void executor_free(struct executor *executor)
{
    if (!executor)
        return;
    pthread_mutex_lock(&executor->lock);
    executor->closing = true;
    pthread_cond_broadcast(&executor->wake);
    pthread_mutex_unlock(&executor->lock);
    for (unsigned i = 0; i < executor->thread_count; i++)
        pthread_join(executor->threads[i], NULL);
    while (executor->first)
        run_inline(executor->first);
    pthread_mutex_destroy(&executor->lock);
    pthread_cond_destroy(&executor->wake);
    mem_free(executor->threads);
    mem_free(executor);
}

int executor_submit(struct executor *executor, struct loop *loop, loop_fn *work, loop_fn *done, void *arg)
{
    pthread_mutex_lock(&executor->lock);
    if (executor->queued >= executor->queue_max || executor->closing) {
        pthread_mutex_unlock(&executor->lock);
        return -EAGAIN;
    }
    struct job *job = mem_zalloc(sizeof(*job));
    *job = (struct job){
        .executor = executor, .previous = executor->last, .loop = loop, .work = work, .done = done, .arg = arg};
    *(executor->last ? &executor->last->next : &executor->first) = job;
    executor->last = job;
    executor->queued++;
    if (executor->thread_count > 0) {
        pthread_cond_signal(&executor->wake);
    } else {
        loop_timer_init(&job->timer, loop, run_inline, job);
        loop_timer_start(&job->timer, 0, 0);
    }
    pthread_mutex_unlock(&executor->lock);
    return 0;
}

size_t executor_queued(struct executor *executor)
{
    pthread_mutex_lock(&executor->lock);
    size_t queued = executor->queued;
    pthread_mutex_unlock(&executor->lock);
    return queued;
}
