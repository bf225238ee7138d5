/* From what a job's sections say to the job's targets. */
#include "finder_internal.h"

#include "base/fail.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- one group ---- */

int finder_make_target(const struct finder_job *job, const struct group_target *from, char ret_error[static 256],
                       struct target **ret_target, size_t *ret_rule)
{
    const struct target_source source = {.config = job->config,
                                         .job = job->job,
                                         .relabel = job->relabel,
                                         .interval_max_ms = job->finder->config->windows.resolution_ms};
    const struct target_found found = {from->address, from->labels, from->label_count};
    return target_make(&source, &found, ret_error, ret_target, ret_rule);
}

static void made_free(struct made *made)
{
    for (size_t i = 0; i < made->count; i++)
        target_unref(made->targets[i]);
    mem_free(made->targets);
    mem_free(made->listed);
    mem_free(made->first_error);
    group_unref(made->group);
    mem_free(made);
}

static struct made *make(struct finder_job *job, struct group *group)
{
    struct made *made = mem_zalloc(sizeof(*made));
    struct group_target *from = &job->finder->scratch;
    size_t count = group_target_count(group);
    made->group = group_ref(group);
    made->targets = mem_array(count, sizeof(struct target *));
    made->listed = mem_array(count, sizeof(uint64_t));
    for (struct group_cursor at = {0}; group_next_target(group, &at, from);) {
        char error[256];
        made->listed[at.index - 1] = target_found_hash(from->address);
        int r = finder_make_target(job, from, error, &made->targets[made->count], NULL);
        made->count += r > 0;
        made->dropped += r == 0;
        if (r < 0 && made->invalid++ == 0)
            made->first_error = mem_strdup(error);
    }
    return made;
}

/* ---- all groups: what is the same stays, what is gone goes ---- */

static uint64_t key_of(const struct group *group)
{
    return (uint64_t)(uintptr_t)group;
}

const struct groups *finder_job_groups(const struct finder_job *job, size_t index)
{
    const struct section *section = job->sections[index]->section;
    return section_is_complete(section) ? section_groups(section) : NULL;
}

static void add_made(struct finding *finding, struct made *made, size_t *capacity)
{
    size_t listed = group_target_count(made->group);
    if (finding->listed_count + listed > *capacity) {
        *capacity = MAX(2 * *capacity, finding->listed_count + listed);
        finding->targets = mem_resize(finding->targets, *capacity, sizeof(struct target *));
        finding->listed = mem_resize(finding->listed, *capacity, sizeof(uint64_t));
    }
    for (size_t i = 0; i < made->count; i++)
        finding->targets[finding->count++] = target_ref(made->targets[i]);
    for (size_t i = 0; i < listed; i++)
        finding->listed[finding->listed_count++] = made->listed[i];
    finding->dropped += made->dropped;
    if (made->invalid > 0 && finding->invalid == 0)
        snprintf(finding->first_error, sizeof(finding->first_error), "%s", made->first_error);
    finding->invalid += made->invalid;
}

static void add_groups(struct finder_job *job, const struct groups *groups, struct finding *finding, size_t *capacity)
{
    size_t at = 0;
    if (!groups)
        return;
    for (struct group *group; (group = groups_next(groups, &at));) {
        struct made *made = map_get(&job->made, key_of(group), NULL, NULL);
        if (!made) {
            made = make(job, group);
            map_put(&job->made, key_of(group), made);
        }
        made->round = job->round;
        add_made(finding, made, capacity);
    }
}

static void drop_gone(struct finder_job *job)
{
    struct made **gone = mem_array(job->made.count, sizeof(struct made *));
    size_t count = 0, at = 0;
    for (struct made *made; (made = map_next(&job->made, &at));)
        if (made->round != job->round)
            gone[count++] = made;
    for (size_t i = 0; i < count; i++) {
        map_remove(&job->made, key_of(gone[i]->group), NULL, NULL);
        made_free(gone[i]);
    }
    mem_free(gone);
}

static int compare_hashes(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void tell(struct finder_job *job)
{
    struct finding *finding = mem_zalloc(sizeof(*finding));
    size_t capacity = 0;
    finding->job = job_ref(job->job);
    job->round++;
    add_groups(job, job->statics, finding, &capacity);
    for (size_t i = 0; i < job->section_count + job->before_count; i++)
        add_groups(job, finder_job_groups(job, i), finding, &capacity);
    drop_gone(job);
    if (finding->listed_count > 0)
        qsort(finding->listed, finding->listed_count, sizeof(uint64_t), compare_hashes);
    job->told = job->is_known = true;
    job->told_ms = clock_mono_ms(loop_clock(job->finder->env.seams.loop));
    job->finder->fn(job->finder->arg, finding);
}

void finding_free(struct finding *finding)
{
    if (!finding)
        return;
    for (size_t i = 0; i < finding->count; i++)
        target_unref(finding->targets[i]);
    mem_free(finding->targets);
    mem_free(finding->listed);
    job_unref(finding->job);
    mem_free(finding);
}

/* ---- when ---- */

/* Whether there is enough to tell. When all sections have said something, those of the configuration before go. */
static bool settle(struct finder_job *job)
{
    bool complete = true;
    for (size_t i = 0; i < job->section_count; i++)
        complete = complete && finder_job_groups(job, i);
    while (complete && job->before_count > 0)
        finder_release(job->sections[job->section_count + --job->before_count]);
    return complete || job->before_count > 0;
}

static void on_tell(void *arg)
{
    struct finder_job *job = arg;
    int64_t now_ms = clock_mono_ms(loop_clock(job->finder->env.seams.loop));
    int64_t patience_ms = job->since_ms + FINDER_PATIENCE_MS - now_ms;
    /* Half of the truth would end the targets of the other half. */
    if (!settle(job) && !job->told && patience_ms > 0)
        loop_timer_start(&job->tell, patience_ms, 0);
    else
        tell(job);
}

void finder_job_changed(struct finder_job *job)
{
    int64_t now_ms = clock_mono_ms(loop_clock(job->finder->env.seams.loop));
    int64_t wait_ms = job->told ? MAX(job->told_ms + FINDER_TELL_MS - now_ms, 0) : 0;
    if (!job->tell.active || !job->told)
        loop_timer_start(&job->tell, wait_ms, 0);
}

static void fill_statics(struct finder_job *job)
{
    const struct static_config *configs = job->config->static_configs.items;
    job->statics = groups_new(job->finder->env.texts);
    for (size_t i = 0; i < job->config->static_configs.count; i++) {
        const struct static_config *config = &configs[i];
        char source[32], error[256];
        struct label *labels = mem_array(config->labels.count, sizeof(*labels));
        struct discovery_target *targets = mem_array(config->targets.count, sizeof(*targets));
        snprintf(source, sizeof(source), "static:%zu", i);
        for (size_t j = 0; j < config->labels.count; j++)
            labels[j] = (struct label){str_from(config->labels.items[j].name), str_from(config->labels.items[j].value)};
        for (size_t j = 0; j < config->targets.count; j++)
            targets[j].address = str_from(config->targets.items[j]);
        const struct discovery_group group = {str_from(source), labels, config->labels.count, targets,
                                              config->targets.count};
        /* Names and addresses were checked with the configuration, and so were their numbers. */
        if (groups_put(job->statics, &group, error) < 0)
            fatal("job %s: static_configs: %s", job->config->job_name, error);
        mem_free(labels);
        mem_free(targets);
    }
}

void finder_job_start(struct finder_job *job)
{
    const struct conf_list *rules = &job->config->relabel_configs;
    char error[256];
    size_t rule;
    map_init(&job->made);
    if (rules->count > 0 && relabel_new(rules->items, rules->count, error, &rule, &job->relabel) < 0)
        fatal("relabel_configs were checked with the configuration, and now: %s", error);
    fill_statics(job);
    loop_timer_init(&job->tell, job->finder->env.seams.loop, on_tell, job);
    loop_timer_start(&job->tell, 0, 0);
}

void finder_job_done(struct finder_job *job)
{
    size_t at = 0;
    loop_timer_stop(&job->tell);
    for (struct made *made; (made = map_next(&job->made, &at));)
        made_free(made);
    map_done(&job->made);
    groups_free(job->statics);
    for (size_t i = 0; i < job->section_count + job->before_count; i++)
        finder_release(job->sections[i]);
    mem_free(job->sections);
    relabel_free(job->relabel);
    job_unref(job->job);
}
