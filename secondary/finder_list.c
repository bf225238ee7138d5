/* What was found, for people: each target as discovery says it, and what became of it. */
#include "base/fail.h"
#include "finder_internal.h"

#define INVALID_MIN 1000 /* of a job, listed at least: each is somebody's mistake */

struct list_making {
    struct listing *listing;
    const struct listing_options *options;
    size_t capacity;
    size_t dropped, dropped_max; /* of the job, listed */
    size_t invalid, invalid_max; /* likewise */
};

static void add_item(struct list_making *making, const struct listing_item *item)
{
    struct listing *listing = making->listing;
    if (listing->count == making->capacity) {
        making->capacity = MAX(2 * making->capacity, (size_t)64);
        listing->items = mem_resize(listing->items, making->capacity, sizeof(*listing->items));
    }
    listing->items[listing->count++] = *item;
}

/* A copy of what the rules begin with. */
static void copy_before(struct arena *arena, const struct finder_job *job, const struct group_target *from,
                        struct listing_item *item)
{
    struct labels_builder builder;
    CLEANUP(arena_done) struct arena scratch;
    arena_init(&scratch, 0);
    target_labels_before(job->config, &(struct target_found){from->address, from->labels, from->label_count}, &scratch,
                         &builder);
    struct label *labels = arena_array(arena, builder.count, sizeof(*labels));
    for (size_t i = 0; i < builder.count; i++)
        labels[i] = (struct label){arena_str(arena, builder.items[i].name), arena_str(arena, builder.items[i].value)};
    item->before = labels;
    item->before_count = builder.count;
}

static void list_target(const struct finder_job *job, const struct group_target *from, struct list_making *making)
{
    struct listing *listing = making->listing;
    struct listing_item item = {.job = job->config->job_name};
    char error[256];
    int r = finder_make_target(job, from, error, &item.target, &item.rule);
    const struct listing_options *options = making->options;
    bool wanted = r > 0    ? !options->without_targets
                  : r == 0 ? !options->without_dropped && making->dropped++ < making->dropped_max
                           : !options->without_dropped && making->invalid++ < making->invalid_max;
    listing->dropped_total += r == 0;
    listing->is_cut =
        listing->is_cut || (wanted && options->bytes_max > 0 && listing->arena.used_bytes >= options->bytes_max);
    if (!wanted || listing->is_cut) {
        target_unref(item.target);
        return;
    }
    item.job = arena_str(&listing->arena, str_from(item.job)).ptr;
    if (r < 0)
        item.error = arena_str(&listing->arena, str_from(error)).ptr;
    copy_before(&listing->arena, job, from, &item);
    add_item(making, &item);
}

static void list_groups(const struct finder_job *job, const struct groups *groups, struct list_making *making)
{
    size_t at = 0;
    if (!groups)
        return;
    for (struct group *group; (group = groups_next(groups, &at));) {
        for (struct group_cursor place = {0}; group_next_target(group, &place, &job->finder->scratch);)
            list_target(job, &job->finder->scratch, making);
    }
}

static size_t dropped_max(const struct scrape_config *config, const struct listing_options *options)
{
    bool all = options->dropped_max == SIZE_MAX || config->dropped_max == 0;
    return all ? options->dropped_max : MIN(options->dropped_max, (size_t)config->dropped_max);
}

struct listing *finder_list(const struct finder *finder, const struct listing_options *options)
{
    struct listing *listing = mem_zalloc(sizeof(*listing));
    struct list_making making = {.listing = listing, .options = options};
    making.invalid_max = MAX(options->dropped_max, (size_t)INVALID_MIN);
    arena_init(&listing->arena, 0);
    for (size_t i = 0; i < finder->job_count; i++) {
        const struct finder_job *job = &finder->jobs[i];
        if (options->job && strcmp(job->config->job_name, options->job) != 0)
            continue;
        making.dropped = 0;
        making.invalid = 0;
        making.dropped_max = dropped_max(job->config, options);
        list_groups(job, job->statics, &making);
        for (size_t j = 0; j < job->section_count + job->before_count; j++)
            list_groups(job, finder_job_groups(job, j), &making);
    }
    return listing;
}

void listing_free(struct listing *listing)
{
    if (!listing)
        return;
    for (size_t i = 0; i < listing->count; i++)
        target_unref(listing->items[i].target);
    mem_free(listing->items);
    arena_done(&listing->arena);
    mem_free(listing);
}
