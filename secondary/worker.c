#include "worker.h"

#include "base/fail.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define PUBLISH_MS 1000 /* how old a worker's figures may be */

/* What messages point to: they may outlive the worker, as a loop may outlive a daemon in tests. */
struct mailbox {
    atomic_uint references;
    struct worker *worker; /* NULL: it has gone; set on the main loop, when the thread is over */
};

struct worker {
    struct mailbox *mailbox;
    struct worker_options options;
    struct loop *main_loop;
    struct network *network;
    struct loop *loop; /* its own; the main one where it is inline */
    pthread_t thread;
    bool has_thread;
    struct rounds *rounds; /* of the worker's loop */
    struct loop_timer publish_timer;
    loop_fn *stopped;
    void *stopped_arg;
    pthread_mutex_t lock; /* guards published */
    struct worker_stats published;
};

static struct mailbox *mailbox_ref(struct worker *worker)
{
    atomic_fetch_add_explicit(&worker->mailbox->references, 1, memory_order_relaxed);
    return worker->mailbox;
}

static void mailbox_unref(struct mailbox *mailbox)
{
    if (atomic_fetch_sub_explicit(&mailbox->references, 1, memory_order_acq_rel) == 1)
        mem_free(mailbox);
}

/* ---- Messages to the main loop ---- */

struct sealed_message {
    struct mailbox *mailbox;
    struct pipeline_sealed sealed;
    int64_t closed_through_ms;
};

static void take_sealed(void *arg)
{
    struct sealed_message *message = arg;
    struct worker *worker = message->mailbox->worker;
    if (worker)
        worker->options.sealed(worker->options.arg, worker->options.index, &message->sealed,
                               message->closed_through_ms);
    else
        pipeline_sealed_done(&message->sealed);
    mailbox_unref(message->mailbox);
    mem_free(message);
}

static void on_sealed(void *arg, const struct pipeline_sealed *sealed, int64_t closed_through_ms)
{
    struct worker *worker = arg;
    struct sealed_message *message = mem_alloc(sizeof(*message));
    *message = (struct sealed_message){mailbox_ref(worker), *sealed, closed_through_ms};
    loop_post(worker->main_loop, take_sealed, message);
}

struct health_message {
    struct mailbox *mailbox;
    struct target *target; /* a reference */
    enum scrape_failure failure;
    char reason[160];
};

static void take_health(void *arg)
{
    struct health_message *message = arg;
    struct worker *worker = message->mailbox->worker;
    if (worker)
        worker->options.health(worker->options.arg, message->target, message->failure, message->reason);
    mailbox_unref(message->mailbox);
    target_unref(message->target);
    mem_free(message);
}

static void on_health(void *arg, struct target *target, enum scrape_failure failure, const char *reason)
{
    struct worker *worker = arg;
    struct health_message *message = mem_alloc(sizeof(*message));
    *message =
        (struct health_message){.mailbox = mailbox_ref(worker), .target = target_ref(target), .failure = failure};
    snprintf(message->reason, sizeof(message->reason), "%s", reason);
    loop_post(worker->main_loop, take_health, message);
}

/* ---- Figures ---- */

static void publish(void *arg)
{
    struct worker *worker = arg;
    struct worker_stats stats = {.cpu_ns = worker->loop == worker->main_loop ? 0 : clock_thread_cpu_ns()};
    rounds_stats(worker->rounds, &stats.rounds);
    pthread_mutex_lock(&worker->lock);
    worker->published = stats;
    pthread_mutex_unlock(&worker->lock);
}

void worker_stats(struct worker *worker, struct worker_stats *ret_stats)
{
    pthread_mutex_lock(&worker->lock);
    *ret_stats = worker->published;
    pthread_mutex_unlock(&worker->lock);
}

/* ---- Messages to the worker ---- */

enum command { COMMAND_ADD, COMMAND_REMOVE, COMMAND_JOB, COMMAND_RULES };

struct command_message {
    struct mailbox *mailbox;
    enum command command;
    struct target *target; /* references, or NULL */
    struct job *job;
    struct window_rules *rules;
    int64_t not_before_ms;
    enum target_end end;
};

static void take_command(void *arg)
{
    struct command_message *message = arg;
    struct rounds *rounds = message->mailbox->worker ? message->mailbox->worker->rounds : NULL;
    if (rounds && message->command == COMMAND_ADD)
        rounds_add(rounds, message->target);
    else if (rounds && message->command == COMMAND_REMOVE)
        rounds_remove(rounds, message->target, message->end);
    else if (rounds && message->command == COMMAND_JOB)
        rounds_set_job(rounds, message->target, message->job);
    else if (rounds)
        ASSERT(rounds_set_rules(rounds, message->rules, message->not_before_ms));
    mailbox_unref(message->mailbox);
    target_unref(message->target);
    job_unref(message->job);
    window_rules_unref(message->rules);
    mem_free(message);
}

static void command(struct worker *worker, const struct command_message *content)
{
    struct command_message *message = mem_alloc(sizeof(*message));
    *message = *content;
    message->mailbox = mailbox_ref(worker);
    loop_post(worker->loop, take_command, message);
}

void worker_add(struct worker *worker, struct target *target)
{
    command(worker, &(struct command_message){.command = COMMAND_ADD, .target = target_ref(target)});
}

void worker_remove(struct worker *worker, struct target *target, enum target_end end)
{
    command(worker, &(struct command_message){.command = COMMAND_REMOVE, .target = target_ref(target), .end = end});
}

void worker_set_job(struct worker *worker, struct target *target, struct job *job)
{
    command(worker,
            &(struct command_message){.command = COMMAND_JOB, .target = target_ref(target), .job = job_ref(job)});
}

void worker_set_rules(struct worker *worker, struct window_rules *rules, int64_t not_before_ms)
{
    command(worker, &(struct command_message){
                        .command = COMMAND_RULES, .rules = window_rules_ref(rules), .not_before_ms = not_before_ms});
}

/* ---- Life ---- */

static void make_rounds(struct worker *worker)
{
    const struct rounds_options options = {.loop = worker->loop,
                                           .network = worker->network,
                                           .name = worker->options.name,
                                           .rules = worker->options.rules,
                                           .page_bytes_max = worker->options.page_bytes_max,
                                           .sealed = on_sealed,
                                           .health = on_health,
                                           .arg = worker};
    worker->rounds = rounds_new(&options);
    loop_timer_init(&worker->publish_timer, worker->loop, publish, worker);
    loop_timer_start(&worker->publish_timer, 0, PUBLISH_MS);
}

static void drop_rounds(struct worker *worker)
{
    loop_timer_stop(&worker->publish_timer);
    rounds_free(STEAL(worker->rounds));
}

static void *thread_main(void *arg)
{
    struct worker *worker = arg;
    loop_run(worker->loop);
    return NULL;
}

static void start_thread(struct worker *worker)
{
    /* Signals belong to the main thread. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int r = pthread_create(&worker->thread, NULL, thread_main, worker);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r != 0)
        fatal("cannot start a scraping thread: %s", strerrordesc_np(r));
    worker->has_thread = true;
}

struct worker *worker_new(const struct seams *seams, const struct worker_options *options)
{
    struct worker *worker = mem_zalloc(sizeof(*worker));
    bool is_inline = loop_is_simulated(seams->loop);
    worker->mailbox = mem_zalloc(sizeof(*worker->mailbox));
    worker->mailbox->worker = worker;
    atomic_init(&worker->mailbox->references, 1);
    worker->options = *options;
    worker->main_loop = seams->loop;
    worker->network = seams->network;
    worker->loop = is_inline ? seams->loop : loop_new();
    ASSERT(pthread_mutex_init(&worker->lock, NULL) == 0);
    make_rounds(worker);
    if (!is_inline)
        start_thread(worker);
    return worker;
}

static void take_stopped(void *arg)
{
    struct mailbox *mailbox = arg;
    struct worker *worker = mailbox->worker;
    mailbox_unref(mailbox);
    if (!worker)
        return;
    if (worker->has_thread)
        pthread_join(worker->thread, NULL);
    worker->has_thread = false;
    worker->stopped(worker->stopped_arg);
}

static void stop_here(void *arg)
{
    struct mailbox *mailbox = arg;
    struct worker *worker = mailbox->worker;
    if (worker) {
        rounds_seal_all(worker->rounds);
        publish(worker);
        drop_rounds(worker);
        loop_post(worker->main_loop, take_stopped, mailbox_ref(worker)); /* behind all that was sealed */
        if (worker->loop != worker->main_loop)
            loop_stop(worker->loop);
    }
    mailbox_unref(mailbox);
}

void worker_stop(struct worker *worker, loop_fn *fn, void *arg)
{
    worker->stopped = fn;
    worker->stopped_arg = arg;
    loop_post(worker->loop, stop_here, mailbox_ref(worker));
}

void worker_free(struct worker *worker)
{
    if (!worker)
        return;
    if (worker->has_thread) {
        loop_stop(worker->loop);
        pthread_join(worker->thread, NULL);
    }
    if (worker->rounds)
        drop_rounds(worker);
    if (worker->loop != worker->main_loop)
        loop_free(worker->loop);
    pthread_mutex_destroy(&worker->lock);
    worker->mailbox->worker = NULL;
    mailbox_unref(worker->mailbox);
    mem_free(worker);
}
