#include "discover.h"

#include "base/fail.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#define PUBLISH_MS         1000 /* how old the figures may be */
#define EXECUTOR_THREADS   1    /* reads files of targets: a disk that hangs holds up nothing else */
#define EXECUTOR_QUEUE_MAX 256

/* What messages point to: they may outlive the discover, as a loop may outlive a daemon in tests. */
struct mailbox {
    atomic_uint references;
    struct discover *discover; /* NULL: it has gone; set on the main loop, when the thread is over */
};

struct discover {
    struct mailbox *mailbox;
    struct loop *main_loop;
    struct seams seams; /* of the thread's loop, or the main one */
    struct random random;
    pthread_t thread;
    bool has_thread;
    bool stopped;          /* main loop's */
    struct finder *finder; /* of the discovery's loop; NULL: stopped */
    struct loop_timer publish_timer;
    discover_fn *fn;
    void *arg;
    uint64_t sets;        /* main loop's: configurations given */
    uint64_t ready_of;    /* main loop's: the last of which all jobs have been told */
    uint64_t taken;       /* discovery's: the one at work */
    pthread_mutex_t lock; /* guards published */
    struct discover_report *published;
};

static struct mailbox *mailbox_ref(struct discover *discover)
{
    atomic_fetch_add_explicit(&discover->mailbox->references, 1, memory_order_relaxed);
    return discover->mailbox;
}

static void mailbox_unref(struct mailbox *mailbox)
{
    if (atomic_fetch_sub_explicit(&mailbox->references, 1, memory_order_acq_rel) == 1)
        mem_free(mailbox);
}

/* ---- messages to the main loop ---- */

struct found_message {
    struct mailbox *mailbox;
    struct finding *finding; /* or NULL */
    uint64_t ready_of;       /* all jobs of this configuration have been told with this; 0: not yet */
};

static void take_finding(void *arg)
{
    struct found_message *message = arg;
    struct discover *discover = message->mailbox->discover;
    if (discover && !discover->stopped && message->finding)
        discover->fn(discover->arg, message->finding);
    if (discover)
        discover->ready_of = MAX(discover->ready_of, message->ready_of);
    finding_free(message->finding);
    mailbox_unref(message->mailbox);
    mem_free(message);
}

/* finding NULL: of readiness alone. */
static void on_finding(void *arg, struct finding *finding)
{
    struct discover *discover = arg;
    struct found_message *message = mem_alloc(sizeof(*message));
    *message = (struct found_message){mailbox_ref(discover), finding, 0};
    if (finder_is_ready(discover->finder))
        message->ready_of = discover->taken;
    loop_post(discover->main_loop, take_finding, message);
}

struct list_message {
    struct mailbox *mailbox;
    struct listing_options options;
    char *job;
    discover_list_fn *fn;
    void *arg;
    struct loop *main_loop;
    struct listing *listing;
};

static void take_listing(void *arg)
{
    struct list_message *message = arg;
    const struct discover *discover = message->mailbox->discover;
    if (!discover || discover->stopped)
        listing_free(STEAL(message->listing));
    message->fn(message->arg, message->listing);
    mailbox_unref(message->mailbox);
    mem_free(message->job);
    mem_free(message);
}

static void make_listing(void *arg)
{
    struct list_message *message = arg;
    struct discover *discover = message->mailbox->discover;
    if (discover && discover->finder)
        message->listing = finder_list(discover->finder, &message->options);
    loop_post(message->main_loop, take_listing, message);
}

void discover_list(struct discover *discover, const struct listing_options *options, discover_list_fn *fn, void *arg)
{
    struct list_message *message = mem_alloc(sizeof(*message));
    *message = (struct list_message){.mailbox = mailbox_ref(discover),
                                     .options = *options,
                                     .job = options->job ? mem_strdup(options->job) : NULL,
                                     .fn = fn,
                                     .arg = arg,
                                     .main_loop = discover->main_loop};
    message->options.job = message->job;
    loop_post(discover->stopped ? discover->main_loop : discover->seams.loop,
              discover->stopped ? take_listing : make_listing, message);
}

/* ---- figures ---- */

static const char *copy(struct arena *arena, const char *text)
{
    return text ? arena_str(arena, str_from(text)).ptr : NULL;
}

void discover_report_free(struct discover_report *report)
{
    if (!report)
        return;
    arena_done(&report->arena);
    mem_free(report->sections);
    mem_free(report);
}

static void add_section(struct discover_report *report, const struct section_report *section)
{
    report->sections = mem_resize(report->sections, report->count + 1, sizeof(*section));
    struct section_report *added = &report->sections[report->count++];
    *added = *section;
    added->plugin = copy(&report->arena, section->plugin);
    added->job = copy(&report->arena, section->job);
    added->problem = copy(&report->arena, section->problem);
}

static void publish(void *arg)
{
    struct discover *discover = arg;
    struct discover_report *report = mem_zalloc(sizeof(*report));
    struct section_report section;
    size_t at = 0;
    arena_init(&report->arena, 0);
    while (finder_next_report(discover->finder, &at, &section))
        add_section(report, &section);
    report->text_bytes = finder_text_bytes(discover->finder);
    report->cpu_ns = discover->has_thread ? clock_thread_cpu_ns() : 0;
    pthread_mutex_lock(&discover->lock);
    struct discover_report *old = discover->published;
    discover->published = report;
    pthread_mutex_unlock(&discover->lock);
    discover_report_free(old);
}

struct discover_report *discover_report(struct discover *discover)
{
    struct discover_report *copied = mem_zalloc(sizeof(*copied));
    arena_init(&copied->arena, 0);
    pthread_mutex_lock(&discover->lock);
    const struct discover_report *published = discover->published;
    for (size_t i = 0; published && i < published->count; i++)
        add_section(copied, &published->sections[i]);
    copied->text_bytes = published ? published->text_bytes : 0;
    copied->cpu_ns = published ? published->cpu_ns : 0;
    pthread_mutex_unlock(&discover->lock);
    return copied;
}

/* ---- messages to discovery ---- */

struct set_message {
    struct mailbox *mailbox;
    struct secondary_config *config;
    struct job **jobs;
    size_t count;
    uint64_t number;
};

static void take_set(void *arg)
{
    struct set_message *message = arg;
    struct discover *discover = message->mailbox->discover;
    if (discover && discover->finder) {
        finder_set(discover->finder, message->config, message->jobs);
        discover->taken = message->number;
        if (finder_is_ready(discover->finder)) /* it has no jobs */
            on_finding(discover, NULL);
    }
    for (size_t i = 0; i < message->count; i++)
        job_unref(message->jobs[i]);
    mem_free(message->jobs);
    secondary_config_unref(message->config);
    mailbox_unref(message->mailbox);
    mem_free(message);
}

void discover_set(struct discover *discover, struct secondary_config *config, struct job *const *jobs)
{
    struct set_message *message = mem_alloc(sizeof(*message));
    size_t count = config->scrape_configs.count;
    ASSERT(!discover->stopped);
    *message = (struct set_message){.mailbox = mailbox_ref(discover),
                                    .config = secondary_config_ref(config),
                                    .jobs = mem_array(count, sizeof(struct job *)),
                                    .count = count,
                                    .number = ++discover->sets};
    for (size_t i = 0; i < count; i++)
        message->jobs[i] = job_ref(jobs[i]);
    loop_post(discover->seams.loop, take_set, message);
}

bool discover_is_ready(const struct discover *discover)
{
    return discover->ready_of == discover->sets;
}

/* ---- life ---- */

static void *thread_main(void *arg)
{
    struct discover *discover = arg;
    loop_run(discover->seams.loop);
    return NULL;
}

static void start_thread(struct discover *discover)
{
    /* Signals belong to the main thread. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    discover->has_thread = true;
    int r = pthread_create(&discover->thread, NULL, thread_main, discover);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r != 0)
        fatal("cannot start the discovery's thread: %s", strerrordesc_np(r));
}

struct discover *discover_new(const struct seams *seams, discover_fn *fn, void *arg)
{
    struct discover *discover = mem_zalloc(sizeof(*discover));
    bool is_inline = loop_is_simulated(seams->loop);
    discover->mailbox = mem_zalloc(sizeof(*discover->mailbox));
    discover->mailbox->discover = discover;
    atomic_init(&discover->mailbox->references, 1);
    discover->main_loop = seams->loop;
    discover->seams = *seams;
    discover->fn = fn;
    discover->arg = arg;
    if (!is_inline) {
        random_seed_from_system(&discover->random);
        discover->seams.loop = loop_new();
        discover->seams.random = &discover->random;
        discover->seams.executor = executor_pool_new(EXECUTOR_THREADS, EXECUTOR_QUEUE_MAX);
    }
    ASSERT(pthread_mutex_init(&discover->lock, NULL) == 0);
    discover->finder = finder_new(&discover->seams, on_finding, discover);
    loop_timer_init(&discover->publish_timer, discover->seams.loop, publish, discover);
    loop_timer_start(&discover->publish_timer, 0, PUBLISH_MS);
    if (!is_inline)
        start_thread(discover);
    return discover;
}

void discover_stop(struct discover *discover)
{
    if (discover->stopped)
        return;
    discover->stopped = true;
    if (discover->has_thread) {
        loop_stop(discover->seams.loop);
        pthread_join(discover->thread, NULL);
        discover->has_thread = false;
    }
    loop_timer_stop(&discover->publish_timer);
    finder_free(STEAL(discover->finder));
}

void discover_free(struct discover *discover)
{
    if (!discover)
        return;
    discover_stop(discover);
    if (discover->seams.loop != discover->main_loop) {
        executor_free(discover->seams.executor);
        loop_settle(discover->seams.loop); /* messages that it did not take */
        loop_free(discover->seams.loop);
    }
    discover_report_free(discover->published);
    pthread_mutex_destroy(&discover->lock);
    discover->mailbox->discover = NULL;
    mailbox_unref(discover->mailbox);
    mem_free(discover);
}
