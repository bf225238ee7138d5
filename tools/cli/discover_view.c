#include "discover_view.h"

#include "base/fail.h"

#include <stdlib.h>

static int kind_of(const struct listing_item *item)
{
    return item->target ? 0 : item->error ? 2 : 1;
}

static int compare_labels(const struct listing_item *a, const struct listing_item *b)
{
    for (size_t i = 0; i < a->before_count && i < b->before_count; i++) {
        int order = str_compare(a->before[i].name, b->before[i].name);
        if (order == 0)
            order = str_compare(a->before[i].value, b->before[i].value);
        if (order != 0)
            return order;
    }
    return (a->before_count > b->before_count) - (a->before_count < b->before_count);
}

static int compare_items(const void *left, const void *right)
{
    const struct listing_item *a = left, *b = right;
    int order = kind_of(a) - kind_of(b);
    if (order == 0 && a->target)
        order = strcmp(a->target->url, b->target->url);
    if (order == 0 && a->target)
        order = labels_compare(a->target->labels, b->target->labels);
    if (order == 0 && !a->target && !a->error)
        order = (a->rule > b->rule) - (a->rule < b->rule);
    return order != 0 ? order : compare_labels(a, b);
}

bool discover_is_repeated(const struct discover_job *job, size_t index)
{
    const struct target *target = job->items[index].target;
    return index > 0 && target && job->items[index - 1].target && target_equal(target, job->items[index - 1].target);
}

static void init_job(struct discover_job *job, const struct scrape_config *config, struct listing *listing)
{
    size_t first = 0, end, rule;
    char error[256];
    while (first < listing->count && strcmp(listing->items[first].job, config->job_name) != 0)
        first++;
    for (end = first; end < listing->count && strcmp(listing->items[end].job, config->job_name) == 0;)
        end++;
    *job = (struct discover_job){.config = config, .items = listing->items + first, .count = end - first};
    if (config->relabel_configs.count > 0 &&
        relabel_new(config->relabel_configs.items, config->relabel_configs.count, error, &rule, &job->relabel) < 0)
        bug(__FILE__, __LINE__, error); /* the configuration was read with the same rules */
    if (job->count > 1)
        qsort(job->items, job->count, sizeof(*job->items), compare_items);
    for (size_t i = 0; i < job->count; i++) {
        int kind = kind_of(&job->items[i]);
        job->targets += kind == 0;
        job->repeated += discover_is_repeated(job, i);
        job->dropped += kind == 1;
        job->invalid += kind == 2;
    }
}

void discover_view_init(struct discover_view *view, const struct secondary_config *config, struct listing *listing)
{
    const struct scrape_config *configs = config->scrape_configs.items;
    *view = (struct discover_view){.listing = listing, .job_count = config->scrape_configs.count};
    view->jobs = mem_array(view->job_count, sizeof(*view->jobs));
    for (size_t i = 0; i < view->job_count; i++)
        init_job(&view->jobs[i], &configs[i], listing);
}

void discover_view_done(struct discover_view *view)
{
    for (size_t i = 0; i < view->job_count; i++)
        relabel_free(view->jobs[i].relabel);
    mem_free(view->jobs);
    listing_free(view->listing);
}

void discover_trace(const struct discover_job *job, const struct listing_item *item, relabel_trace_fn *fn, void *arg)
{
    CLEANUP(arena_done) struct arena arena;
    struct labels_builder builder;
    size_t room = TARGET_LABELS_ROOM(item->before_count);
    arena_init(&arena, 0);
    if (!job->relabel)
        return;
    labels_builder_init_room(&builder, arena_alloc(&arena, room * sizeof(struct label)), room);
    for (size_t i = 0; i < item->before_count; i++)
        labels_builder_set(&builder, item->before[i].name, item->before[i].value);
    relabel_trace(job->relabel, &builder, &arena, fn, arg);
}
