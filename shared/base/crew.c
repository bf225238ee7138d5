#include "base/crew.h"

#include "base/fail.h"

#include <pthread.h>

struct crew {
    pthread_mutex_t lock; /* guards all below, and the jobs; leaf */
    pthread_cond_t work;  /* there is some, or it is over */
    pthread_cond_t ended; /* somebody has done with a job */
    struct crew_job *jobs, **jobs_end;
    bool over;
    size_t count;
    pthread_t *threads;
};

/* The oldest job that wants somebody; one that has enough leaves the list. */
static struct crew_job *take_job(struct crew *crew)
{
    struct crew_job *job = crew->jobs;
    job->running++;
    if (--job->wanted == 0) {
        crew->jobs = job->next;
        crew->jobs_end = crew->jobs ? crew->jobs_end : &crew->jobs;
    }
    return job;
}

static void *crew_main(void *arg)
{
    struct crew *crew = arg;
    pthread_mutex_lock(&crew->lock);
    for (;;) {
        while (!crew->jobs && !crew->over)
            pthread_cond_wait(&crew->work, &crew->lock);
        if (crew->over)
            break;
        struct crew_job *job = take_job(crew);
        pthread_mutex_unlock(&crew->lock);
        job->work(job->arg);
        pthread_mutex_lock(&crew->lock);
        job->running--;
        pthread_cond_broadcast(&crew->ended);
    }
    pthread_mutex_unlock(&crew->lock);
    return NULL;
}

struct crew *crew_new(size_t threads)
{
    struct crew *crew = mem_zalloc(sizeof(*crew));
    crew->jobs_end = &crew->jobs;
    crew->threads = mem_array(threads, sizeof(*crew->threads));
    ASSERT(pthread_mutex_init(&crew->lock, NULL) == 0);
    ASSERT(pthread_cond_init(&crew->work, NULL) == 0 && pthread_cond_init(&crew->ended, NULL) == 0);
    while (crew->count < threads && pthread_create(&crew->threads[crew->count], NULL, crew_main, crew) == 0)
        crew->count++; /* fewer help where no more can be had */
    return crew;
}

void crew_free(struct crew *crew)
{
    if (!crew)
        return;
    ASSERT(!crew->jobs);
    pthread_mutex_lock(&crew->lock);
    crew->over = true;
    pthread_cond_broadcast(&crew->work);
    pthread_mutex_unlock(&crew->lock);
    for (size_t i = 0; i < crew->count; i++)
        pthread_join(crew->threads[i], NULL);
    pthread_cond_destroy(&crew->work);
    pthread_cond_destroy(&crew->ended);
    pthread_mutex_destroy(&crew->lock);
    mem_free(crew->threads);
    mem_free(crew);
}

size_t crew_threads(const struct crew *crew)
{
    return crew ? crew->count : 0;
}

void crew_begin(struct crew *crew, struct crew_job *job, void (*work)(void *arg), void *arg, size_t helpers)
{
    *job = (struct crew_job){.work = work, .arg = arg, .wanted = MIN(helpers, crew_threads(crew))};
    if (job->wanted == 0)
        return;
    pthread_mutex_lock(&crew->lock);
    *crew->jobs_end = job;
    crew->jobs_end = &job->next;
    pthread_cond_broadcast(&crew->work);
    pthread_mutex_unlock(&crew->lock);
}

void crew_end(struct crew *crew, struct crew_job *job)
{
    if (crew_threads(crew) == 0)
        return;
    pthread_mutex_lock(&crew->lock);
    for (struct crew_job **at = &crew->jobs; *at; at = &(*at)->next) {
        if (*at == job) {
            *at = job->next;
            break;
        }
    }
    crew->jobs_end = &crew->jobs;
    while (*crew->jobs_end)
        crew->jobs_end = &(*crew->jobs_end)->next;
    while (job->running > 0)
        pthread_cond_wait(&crew->ended, &crew->lock);
    pthread_mutex_unlock(&crew->lock);
}
