#include "coverage.h"
#include "base/fail.h"
#include "base/map.h"

#include <pthread.h>
#include <stdio.h>

/* Sources named in one answer; the rest is a number. */
#define WARNINGS_MAX    20

#define MARK_NAME_BYTES (2 * SOURCE_NAME_BYTES_MAX + 2)

struct mark {
    char name[MARK_NAME_BYTES]; /* datacenter/secondary */
    int64_t closed_through_ms;
    int64_t told_ms; /* when it was last heard of, by our clock */
};

struct coverage {
    struct clock *clock;
    pthread_mutex_t lock; /* guards the marks; leaf: nothing else is taken while it is held */
    struct mark *marks;
    size_t count, capacity;
    struct map by_name; /* index + 1 */
};

struct coverage *coverage_new(struct clock *clock)
{
    struct coverage *coverage = mem_zalloc(sizeof(*coverage));
    coverage->clock = clock;
    map_init(&coverage->by_name);
    pthread_mutex_init(&coverage->lock, NULL);
    return coverage;
}

void coverage_free(struct coverage *coverage)
{
    if (!coverage)
        return;
    pthread_mutex_destroy(&coverage->lock);
    map_done(&coverage->by_name);
    mem_free(coverage->marks);
    mem_free(coverage);
}

struct mark_key {
    const struct coverage *coverage;
    const char *name;
};

static bool is_mark(const void *item, const void *key)
{
    const struct mark_key *wanted = key;
    return strcmp(wanted->coverage->marks[(uintptr_t)item - 1].name, wanted->name) == 0;
}

/* The newest incarnation of a source speaks for it. Held by the lock. */
static struct mark *mark_of(struct coverage *coverage, const char name[static MARK_NAME_BYTES])
{
    struct mark_key key = {coverage, name};
    uintptr_t found = (uintptr_t)map_get(&coverage->by_name, str_hash(str_from(name)), is_mark, &key);
    if (found)
        return &coverage->marks[found - 1];
    if (coverage->count == SEQLOG_SOURCES_MAX)
        return NULL;
    if (coverage->count == coverage->capacity) {
        coverage->capacity = MAX(2 * coverage->capacity, (size_t)16);
        coverage->marks = mem_resize(coverage->marks, coverage->capacity, sizeof(*coverage->marks));
    }
    struct mark *mark = &coverage->marks[coverage->count++];
    *mark = (struct mark){.closed_through_ms = INT64_MIN, .told_ms = INT64_MIN / 2};
    memcpy(mark->name, name, MARK_NAME_BYTES);
    map_put(&coverage->by_name, str_hash(str_from(name)), (void *)(uintptr_t)coverage->count); // NOLINT: a number
    return mark;
}

void coverage_note(struct coverage *coverage, const struct source_id *source, int64_t closed_through_ms,
                   int64_t told_ms)
{
    char name[MARK_NAME_BYTES] = "";
    snprintf(name, sizeof(name), STR_FMT "/" STR_FMT, STR_ARG(source->datacenter), STR_ARG(source->secondary));
    pthread_mutex_lock(&coverage->lock);
    struct mark *mark = mark_of(coverage, name);
    if (mark)
        mark->closed_through_ms = MAX(mark->closed_through_ms, closed_through_ms);
    if (mark)
        mark->told_ms = MAX(mark->told_ms, told_ms);
    pthread_mutex_unlock(&coverage->lock);
}

void coverage_update(struct coverage *coverage, const struct receiver *receiver)
{
    for (size_t i = 0; i < receiver_source_count(receiver); i++) {
        const struct receiver_source *source = receiver_source_at(receiver, i);
        coverage_note(coverage, &source->source, source->closed_through_ms, source->last_received_ms);
    }
}

int64_t coverage_solid_ms(struct coverage *coverage)
{
    int64_t now_ms = clock_wall_ms(coverage->clock), solid_ms = INT64_MAX;
    pthread_mutex_lock(&coverage->lock);
    for (size_t i = 0; i < coverage->count; i++) {
        const struct mark *mark = &coverage->marks[i];
        if (now_ms - mark->told_ms <= COVERAGE_ALIVE_MS)
            solid_ms = MIN(solid_ms, mark->closed_through_ms);
    }
    pthread_mutex_unlock(&coverage->lock);
    return solid_ms == INT64_MAX ? INT64_MIN : solid_ms;
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
