#pragma once
/* What `tributary discover` shows: targets before and after relabel_configs, job by job. */
#include "metric/relabel_trace.h"
#include "output.h"
#include "secondary/finder.h"

struct discover_job {
    const struct scrape_config *config;
    struct relabel *relabel; /* NULL: no rules */
    /* Of the listing: first those to scrape by URL, then the dropped by rule, then the invalid. */
    struct listing_item *items;
    size_t count;
    size_t targets, repeated, dropped, invalid; /* repeated: found several times, of the targets */
};

struct discover_view {
    struct listing *listing;
    struct discover_job *jobs;
    size_t job_count;
};

/* Of all jobs of the configuration. Takes the listing over, which must list all that was dropped. */
void discover_view_init(struct discover_view *view, const struct secondary_config *config, struct listing *listing);
void discover_view_done(struct discover_view *view);
/* A target that stands before in the list as well. */
bool discover_is_repeated(const struct discover_job *job, size_t index);
/* Of the items behind the rules: how the job's rules change its labels, one step after the other. */
void discover_trace(const struct discover_job *job, const struct listing_item *item, relabel_trace_fn *fn, void *arg);

void discover_print(const struct discover_view *view, const struct output *output, bool targets_only);
/* One object: {"jobs": [...], "sections": [...]}. CLI_FAILED, and said why: it is too long. */
enum cli_exit discover_print_json(const struct discover_view *view, const struct finder *finder,
                                  const struct output *output);
