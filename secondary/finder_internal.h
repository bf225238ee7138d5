#pragma once
/* Private to finder*.c. finder.c: sections and configurations. finder_job.c: from groups to a job's targets.
 * finder_list.c: what was found, for people. */
#include "base/map.h"
#include "finder.h"

struct shared_section { /* jobs with equal sections have it together */
    struct finder *finder;
    struct shared_section *next;
    struct section *section;
    unsigned references;
    size_t order; /* in the configuration; SIZE_MAX: it is of one before */
};

struct made { /* of one group, by the rules of a job */
    struct group *group;
    uint64_t round; /* of the job, to find what is gone */
    struct target **targets;
    uint64_t *listed; /* target_found_hash of each of the group's targets */
    size_t count, dropped, invalid;
    char *first_error;
};

struct finder_job {
    struct finder *finder;
    const struct scrape_config *config; /* of the finder's configuration */
    struct job *job;
    struct relabel *relabel;
    struct groups *statics;
    /* Of the configuration, in its order; then those of the configuration before that are not in this one, until all
     * of this one's have said something. */
    struct shared_section **sections;
    size_t section_count, before_count;
    struct map made; /* struct made by its group */
    uint64_t round;
    struct loop_timer tell;
    bool told;        /* since it was set */
    bool is_known;    /* was told by this configuration or one before */
    int64_t told_ms;  /* monotonic, as that below */
    int64_t since_ms; /* when it was set, or the first of the configurations before by which it was not told */
};

struct plugin_state {
    const struct discovery_plugin *plugin;
    void *state;
    unsigned references;
};

struct finder {
    struct section_env env;
    finder_fn *fn;
    void *arg;
    struct secondary_config *config;
    struct finder_job *jobs;
    size_t job_count;
    struct shared_section *sections;
    size_t named_count; /* of them: in the configuration */
    struct plugin_state *plugins;
    size_t plugin_count;
    struct group_target scratch;
};

/* ---- finder_job.c ---- */
void finder_job_start(struct finder_job *job);   /* its sections are set */
void finder_job_changed(struct finder_job *job); /* a section of it has said something */
void finder_job_done(struct finder_job *job);
/* What its section `index` says, those of before too; NULL: nothing yet. */
const struct groups *finder_job_groups(const struct finder_job *job, size_t index);
/* As target_make, of a target as its group says it. */
int finder_make_target(const struct finder_job *job, const struct group_target *from, char ret_error[static 256],
                       struct target **ret_target, size_t *ret_rule);

/* ---- finder.c ---- */
void finder_release(struct shared_section *section); /* NULL allowed */
