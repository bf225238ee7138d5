#include "discover.h"

#include "base/fail.h"
#include "file_source.h"

struct discovered_job {
    struct discover *discover;
    const struct scrape_config *config;
    struct job *job;
    struct relabel *relabel;
    struct file_source **files; /* of config's file_sd_configs, in order */
    size_t file_count;
    struct loop_timer tell; /* soon, once for all that changed */
    bool told;
};

struct discover {
    struct seams seams;
    discover_fn *fn;
    void *arg;
    int64_t interval_max_ms;
    struct discovered_job *jobs;
    size_t job_count;
};

struct discover *discover_new(const struct seams *seams, discover_fn *fn, void *arg)
{
    struct discover *discover = mem_zalloc(sizeof(*discover));
    discover->seams = *seams;
    discover->fn = fn;
    discover->arg = arg;
    return discover;
}

static void free_jobs(struct discovered_job *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        loop_timer_stop(&jobs[i].tell);
        for (size_t j = 0; j < jobs[i].file_count; j++)
            file_source_free(jobs[i].files[j]);
        mem_free(jobs[i].files);
        relabel_free(jobs[i].relabel);
        job_unref(jobs[i].job);
    }
    mem_free(jobs);
}

void discover_free(struct discover *discover)
{
    if (!discover)
        return;
    free_jobs(discover->jobs, discover->job_count);
    mem_free(discover);
}

/* ---- What a job's sources say now ---- */

struct finding {
    struct target_source source;
    struct discovered found;
    size_t capacity;
    char first_error[256];
};

static void find_target(struct finding *finding, const struct target_found *source)
{
    struct target *target = NULL;
    char error[256];
    int r = target_make(&finding->source, source, &target, error);
    if (r == 0)
        finding->found.dropped++;
    if (r < 0 && finding->found.invalid++ == 0)
        memcpy(finding->first_error, error, sizeof(error));
    if (r <= 0)
        return;
    if (finding->found.count == finding->capacity) {
        finding->capacity = MAX(2 * finding->capacity, (size_t)64);
        finding->found.targets = mem_resize(finding->found.targets, finding->capacity, sizeof(*finding->found.targets));
    }
    finding->found.targets[finding->found.count++] = target;
}

static void find_static(struct finding *finding, const struct static_config *group)
{
    struct label labels[LABELS_MAX];
    size_t label_count = MIN(group->labels.count, ARRAY_LEN(labels));
    for (size_t i = 0; i < label_count; i++)
        labels[i] = (struct label){str_from(group->labels.items[i].name), str_from(group->labels.items[i].value)};
    for (size_t i = 0; i < group->targets.count; i++)
        find_target(finding, &(struct target_found){str_from(group->targets.items[i]), labels, label_count});
}

static void find_group(struct finding *finding, const struct target_group *group, struct str path)
{
    struct label labels[LABELS_MAX];
    size_t count = MIN(group->label_count, ARRAY_LEN(labels) - 1);
    for (size_t i = 0; i < count; i++)
        labels[i] = group->labels[i];
    labels[count++] = (struct label){STR("__meta_filepath"), path};
    for (size_t i = 0; i < group->address_count; i++)
        find_target(finding, &(struct target_found){group->addresses[i], labels, count});
}

static void find_in_files(struct finding *finding, const struct file_source *files)
{
    for (size_t i = 0; i < file_source_count(files); i++) {
        const struct target_groups *groups = file_source_groups(files, i);
        for (size_t j = 0; groups && j < groups->count; j++)
            find_group(finding, &groups->items[j], str_from(file_source_path(files, i)));
    }
}

static bool all_read(const struct discovered_job *job)
{
    for (size_t i = 0; i < job->file_count; i++)
        if (!file_source_was_read(job->files[i]))
            return false;
    return true;
}

static void tell_job(void *arg)
{
    struct discovered_job *job = arg;
    const struct static_config *statics = job->config->static_configs.items;
    struct finding finding = {.source = {.config = job->config,
                                         .job = job->job,
                                         .relabel = job->relabel,
                                         .interval_max_ms = job->discover->interval_max_ms},
                              .found = {.job = job->job}};
    if (!all_read(job))
        return; /* half of the truth would end the targets of the other half */
    finding.found.first_error = finding.first_error;
    for (size_t i = 0; i < job->config->static_configs.count; i++)
        find_static(&finding, &statics[i]);
    for (size_t i = 0; i < job->file_count; i++)
        find_in_files(&finding, job->files[i]);
    job->told = true;
    job->discover->fn(job->discover->arg, &finding.found);
    for (size_t i = 0; i < finding.found.count; i++)
        target_unref(finding.found.targets[i]);
    mem_free(finding.found.targets);
}

static void on_files(void *arg)
{
    struct discovered_job *job = arg;
    if (!job->tell.active)
        loop_timer_start(&job->tell, 0, 0);
}

/* ---- Configuration ---- */

/* From the configuration before, where its patterns are the same: its targets must not end while files are read again.
 */
static struct file_source *inherit(struct discovered_job *old, size_t old_count, const struct file_sd_config *config)
{
    for (size_t i = 0; i < old_count; i++)
        for (size_t j = 0; j < old[i].file_count; j++)
            if (old[i].files[j] && file_source_is_of(old[i].files[j], config))
                return STEAL(old[i].files[j]);
    return NULL;
}

static void set_files(struct discovered_job *job, struct discovered_job *old, size_t old_count)
{
    const struct file_sd_config *configs = job->config->file_sd_configs.items;
    job->file_count = job->config->file_sd_configs.count;
    job->files = mem_array(job->file_count, sizeof(struct file_source *));
    for (size_t i = 0; i < job->file_count; i++) {
        job->files[i] = inherit(old, old_count, &configs[i]);
        if (job->files[i])
            file_source_give_to(job->files[i], on_files, job, configs[i].refresh_interval_ms);
        else
            job->files[i] = file_source_new(&job->discover->seams, &configs[i], on_files, job);
    }
}

void discover_set(struct discover *discover, const struct secondary_config *config, struct job *const *jobs)
{
    struct discovered_job *old = discover->jobs;
    size_t old_count = discover->job_count;
    const struct scrape_config *configs = config->scrape_configs.items;
    discover->interval_max_ms = config->windows.resolution_ms;
    discover->job_count = config->scrape_configs.count;
    discover->jobs = mem_array(discover->job_count, sizeof(*discover->jobs));
    for (size_t i = 0; i < discover->job_count; i++) {
        struct discovered_job *job = &discover->jobs[i];
        char error[256];
        size_t rule;
        *job = (struct discovered_job){.discover = discover, .config = &configs[i], .job = job_ref(jobs[i])};
        loop_timer_init(&job->tell, discover->seams.loop, tell_job, job);
        const struct conf_list *rules = &configs[i].relabel_configs;
        if (rules->count > 0 && relabel_new(rules->items, rules->count, error, &rule, &job->relabel) < 0)
            fatal("relabel_configs were checked with the configuration, and now: %s", error);
        set_files(job, old, old_count);
        loop_timer_start(&job->tell, 0, 0);
    }
    free_jobs(old, old_count);
}

void discover_stop(struct discover *discover)
{
    free_jobs(discover->jobs, discover->job_count);
    discover->jobs = NULL;
    discover->job_count = 0;
}

bool discover_is_ready(const struct discover *discover)
{
    for (size_t i = 0; i < discover->job_count; i++)
        if (!discover->jobs[i].told)
            return false;
    return true;
}

void discover_stats(const struct discover *discover, struct discover_stats *ret_stats)
{
    *ret_stats = (struct discover_stats){0};
    for (size_t i = 0; i < discover->job_count; i++) {
        for (size_t j = 0; j < discover->jobs[i].file_count; j++) {
            struct file_source_stats files;
            file_source_stats(discover->jobs[i].files[j], &files);
            ret_stats->files += files.files;
            ret_stats->files_broken += files.broken;
            ret_stats->reads_total += files.reads_total;
            ret_stats->failures_total += files.failures_total;
        }
    }
}
