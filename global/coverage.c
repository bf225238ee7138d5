#include "coverage.h"
#include "base/fail.h"

#include <pthread.h>

/* Sources named in one answer; the rest is a number. */
#define WARNINGS_MAX 20

struct mark {
    char name[2 * SOURCE_NAME_BYTES_MAX + 2]; /* datacenter/secondary */
    int64_t closed_through_ms;
};

struct coverage {
    struct clock *clock;
    pthread_mutex_t lock; /* guards the marks; leaf: nothing else is taken while it is held */
    struct mark *marks;
    size_t count;
};

struct coverage *coverage_new(struct clock *clock)
{
    struct coverage *coverage = mem_zalloc(sizeof(*coverage));
    coverage->clock = clock;
    pthread_mutex_init(&coverage->lock, NULL);
    return coverage;
}

void coverage_free(struct coverage *coverage)
{
    if (!coverage)
        return;
    pthread_mutex_destroy(&coverage->lock);
    mem_free(coverage->marks);
    mem_free(coverage);
}

/* The newest incarnation of a source speaks for it. */
static struct mark *mark_of(struct mark *marks, size_t *count, const char *name)
{
    for (size_t i = 0; i < *count; i++)
        if (strcmp(marks[i].name, name) == 0)
            return &marks[i];
    struct mark *mark = &marks[(*count)++];
    memcpy(mark->name, name, sizeof(mark->name));
    return mark;
}

void coverage_update(struct coverage *coverage, const struct receiver *receiver)
{
    size_t sources = receiver_source_count(receiver), count = 0;
    struct mark *marks = mem_array(sources, sizeof(*marks));
    for (size_t i = 0; i < sources; i++) {
        const struct receiver_source *source = receiver_source_at(receiver, i);
        struct mark next = {0};
        CLEANUP(buf_done) struct buf name = BUF_INIT(sizeof(next.name) - 1);
        buf_append_str(&name, source->source.datacenter);
        buf_append_byte(&name, '/');
        buf_append_str(&name, source->source.secondary);
        memcpy(next.name, name.data, name.len);
        struct mark *mark = mark_of(marks, &count, next.name);
        mark->closed_through_ms = MAX(mark->closed_through_ms, source->closed_through_ms);
    }
    pthread_mutex_lock(&coverage->lock);
    struct mark *old = coverage->marks;
    coverage->marks = marks;
    coverage->count = count;
    pthread_mutex_unlock(&coverage->lock);
    mem_free(old);
}

void coverage_warnings(void *arg, int64_t start_ms, int64_t end_ms, struct buf *warnings)
{
    struct coverage *coverage = arg;
    int64_t now_ms = clock_wall_ms(coverage->clock);
    int64_t wanted_ms = MIN(end_ms, now_ms) - COVERAGE_LAG_MS;
    size_t missing = 0;
    (void)start_ms; /* gaps inside a range are told when gap records are kept with their blocks */
    pthread_mutex_lock(&coverage->lock);
    for (size_t i = 0; i < coverage->count; i++) {
        const struct mark *mark = &coverage->marks[i];
        if (mark->closed_through_ms >= wanted_ms || now_ms - mark->closed_through_ms > COVERAGE_FORGET_MS)
            continue;
        char through[32];
        clock_format_rfc3339(mark->closed_through_ms, through);
        if (missing++ < WARNINGS_MAX)
            buf_printf(warnings, "incomplete: %s has told nothing after %s\n", mark->name, through);
    }
    pthread_mutex_unlock(&coverage->lock);
    if (missing > WARNINGS_MAX)
        buf_printf(warnings, "incomplete: %zu more sources are behind\n", missing - WARNINGS_MAX);
}
