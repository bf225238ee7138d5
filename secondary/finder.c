#include "finder.h"

#include "base/fail.h"
#include "finder_internal.h"
#include "net/aws_metadata.h"
#include "net/resolver.h"

#include <stdio.h>

#define CONNECTIONS_MAX 256  /* kept open */
#define CALLS_MAX       8192 /* exchanges at a time, of all sections */
#define DNS_TIMEOUT_MS  5000
#define DNS_TRIES       2

/* ---- sections ---- */

static struct plugin_state *state_of(struct finder *finder, const struct discovery_plugin *plugin)
{
    for (size_t i = 0; i < finder->plugin_count; i++)
        if (finder->plugins[i].plugin == plugin)
            return &finder->plugins[i];
    finder->plugins = mem_resize(finder->plugins, finder->plugin_count + 1, sizeof(*finder->plugins));
    finder->plugins[finder->plugin_count] = (struct plugin_state){.plugin = plugin};
    return &finder->plugins[finder->plugin_count++];
}

static void on_section(void *arg)
{
    struct shared_section *shared = arg;
    struct finder *finder = shared->finder;
    for (size_t i = 0; i < finder->job_count; i++)
        for (size_t j = 0; j < finder->jobs[i].slot_count; j++)
            if (finder->jobs[i].slots[j].now == shared || finder->jobs[i].slots[j].before == shared)
                finder_job_changed(&finder->jobs[i]);
}

static struct shared_section *section_for(struct finder *finder, const struct scrape_config *job,
                                          const struct sd_section *config)
{
    for (struct shared_section *shared = finder->sections; shared; shared = shared->next) {
        if (section_is_of(shared->section, config->plugin, config->text)) {
            shared->references++;
            return shared;
        }
    }
    struct plugin_state *state = state_of(finder, config->plugin);
    if (state->references++ == 0 && config->plugin->plugin_new)
        state->state = config->plugin->plugin_new(section_api());
    struct shared_section *shared = mem_zalloc(sizeof(*shared));
    *shared = (struct shared_section){.finder = finder, .next = finder->sections, .references = 1};
    finder->sections = shared;
    shared->section = section_new(&(struct section_options){.env = &finder->env,
                                                            .plugin = config->plugin,
                                                            .plugin_state = state->state,
                                                            .text = config->text,
                                                            .base_dir = config->base_dir,
                                                            .job = job->job_name,
                                                            .index = config->index,
                                                            .changed = on_section,
                                                            .arg = shared});
    return shared;
}

void finder_release(struct shared_section *shared)
{
    if (!shared || --shared->references > 0)
        return;
    struct finder *finder = shared->finder;
    struct shared_section **at = &finder->sections;
    while (*at != shared)
        at = &(*at)->next;
    *at = shared->next;
    struct plugin_state *state = state_of(finder, section_plugin(shared->section));
    section_free(shared->section);
    mem_free(shared);
    if (--state->references == 0 && state->state && state->plugin->plugin_free)
        state->plugin->plugin_free(STEAL(state->state));
}

/* ---- configurations ---- */

static struct finder_job *find_job(struct finder_job *jobs, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(jobs[i].config->job_name, name) == 0)
            return &jobs[i];
    return NULL;
}

/* What the same place of the job before said, until the new section says something. */
static struct shared_section *section_before(const struct finder_job *old, const struct sd_section *config)
{
    const struct sd_section *configs = old->config->discovery.items;
    for (size_t i = 0; i < old->slot_count; i++) {
        if (configs[i].plugin != config->plugin || configs[i].index != config->index)
            continue;
        struct shared_section *before = old->slots[i].before ? old->slots[i].before : old->slots[i].now;
        before->references++;
        return before;
    }
    return NULL;
}

static void set_job(struct finder *finder, struct finder_job *job, const struct finder_job *old)
{
    const struct sd_section *sections = job->config->discovery.items;
    job->slot_count = job->config->discovery.count;
    job->slots = mem_array(job->slot_count, sizeof(*job->slots));
    for (size_t i = 0; i < job->slot_count; i++) {
        job->slots[i].now = section_for(finder, job->config, &sections[i]);
        if (old && !section_is_complete(job->slots[i].now->section))
            job->slots[i].before = section_before(old, &sections[i]);
        if (job->slots[i].before == job->slots[i].now)
            finder_release(STEAL(job->slots[i].before));
    }
    finder_job_start(job);
}

void finder_set(struct finder *finder, struct secondary_config *config, struct job *const *jobs)
{
    struct finder_job *old = finder->jobs;
    size_t old_count = finder->job_count;
    struct secondary_config *old_config = finder->config;
    const struct scrape_config *configs = config->scrape_configs.items;
    finder->config = secondary_config_ref(config);
    finder->job_count = config->scrape_configs.count;
    finder->jobs = mem_array(finder->job_count, sizeof(*finder->jobs));
    for (size_t i = 0; i < finder->job_count; i++) {
        finder->jobs[i] = (struct finder_job){.finder = finder, .config = &configs[i], .job = job_ref(jobs[i])};
        set_job(finder, &finder->jobs[i], find_job(old, old_count, configs[i].job_name));
    }
    for (size_t i = 0; i < old_count; i++)
        finder_job_done(&old[i]);
    mem_free(old);
    secondary_config_unref(old_config);
}

bool finder_is_ready(const struct finder *finder)
{
    for (size_t i = 0; i < finder->job_count; i++)
        if (!finder->jobs[i].told)
            return false;
    return true;
}

/* ---- life ---- */

struct finder *finder_new(const struct seams *seams, finder_fn *fn, void *arg)
{
    struct finder *finder = mem_zalloc(sizeof(*finder));
    const struct http_client_options http = {
        .name = "discovery", .shards = 1, .connections_max = CONNECTIONS_MAX, .calls_max = CALLS_MAX};
    const struct resolver_options dns = {.timeout_ms = DNS_TIMEOUT_MS, .tries = DNS_TRIES};
    finder->fn = fn;
    finder->arg = arg;
    finder->env.seams = *seams;
    finder->env.http = http_client_new(seams->loop, seams->network, &http);
    finder->env.texts = text_pool_new();
    if (!loop_is_simulated(seams->loop) && resolver_new(seams->loop, &dns, &finder->env.resolver) < 0)
        fatal("the resolver does not start");
    finder->env.aws_metadata = aws_metadata_new(seams->loop, finder->env.http, &(struct aws_environment){0});
    return finder;
}

void finder_free(struct finder *finder)
{
    if (!finder)
        return;
    for (size_t i = 0; i < finder->job_count; i++)
        finder_job_done(&finder->jobs[i]);
    mem_free(finder->jobs);
    secondary_config_unref(finder->config);
    mem_free(finder->plugins);
    aws_metadata_free(finder->env.aws_metadata);
    http_client_free(finder->env.http);
    resolver_free(finder->env.resolver);
    text_pool_free(finder->env.texts);
    mem_free(finder);
}

bool finder_next_report(const struct finder *finder, size_t *at, struct section_report *ret_report)
{
    size_t count = 0, wanted = *at;
    for (const struct shared_section *shared = finder->sections; shared; shared = shared->next)
        count++;
    if (wanted >= count)
        return false;
    /* The newest stands first in the list. */
    const struct shared_section *shared = finder->sections;
    for (size_t i = count - 1; i > wanted; i--)
        shared = shared->next;
    section_report(shared->section, ret_report);
    *at = wanted + 1;
    return true;
}

size_t finder_text_bytes(const struct finder *finder)
{
    return text_pool_bytes(finder->env.texts);
}
