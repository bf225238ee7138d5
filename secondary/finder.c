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

static bool has_section(const struct finder_job *job, const struct shared_section *shared, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (job->sections[i] == shared)
            return true;
    return false;
}

static void on_section(void *arg)
{
    struct shared_section *shared = arg;
    struct finder *finder = shared->finder;
    for (size_t i = 0; i < finder->job_count; i++)
        if (has_section(&finder->jobs[i], shared, finder->jobs[i].section_count + finder->jobs[i].before_count))
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

static void set_job(struct finder *finder, struct finder_job *job, const struct finder_job *old)
{
    const struct sd_section *sections = job->config->discovery.items;
    size_t old_count = old ? old->section_count + old->before_count : 0;
    job->section_count = job->config->discovery.count;
    job->sections = mem_array(job->section_count + old_count, sizeof(struct shared_section *));
    for (size_t i = 0; i < job->section_count; i++)
        job->sections[i] = section_for(finder, job->config, &sections[i]);
    for (size_t i = 0; i < old_count; i++) {
        if (has_section(job, old->sections[i], job->section_count))
            continue;
        old->sections[i]->references++;
        job->sections[job->section_count + job->before_count++] = old->sections[i];
    }
    job->since_ms = clock_mono_ms(loop_clock(finder->env.seams.loop));
    if (old && !old->told)
        job->since_ms = old->since_ms;
    job->is_known = old && old->is_known;
    finder_job_start(job);
}

/* Where its first user has it: reloads move sections, and end jobs. */
static void name_sections(struct finder *finder)
{
    size_t order = 0;
    for (struct shared_section *shared = finder->sections; shared; shared = shared->next)
        shared->order = SIZE_MAX;
    for (size_t i = 0; i < finder->job_count; i++) {
        const struct sd_section *configs = finder->jobs[i].config->discovery.items;
        for (size_t j = 0; j < finder->jobs[i].section_count; j++) {
            struct shared_section *shared = finder->jobs[i].sections[j];
            if (shared->order != SIZE_MAX)
                continue;
            shared->order = order++;
            section_set_place(shared->section, finder->jobs[i].config->job_name, configs[j].index);
        }
    }
    finder->named_count = order;
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
    name_sections(finder);
}

bool finder_is_ready(const struct finder *finder)
{
    for (size_t i = 0; i < finder->job_count; i++)
        if (!finder->jobs[i].is_known)
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
    for (const struct shared_section *shared = finder->sections; shared && *at < finder->named_count;
         shared = shared->next) {
        if (shared->order != *at)
            continue;
        section_report(shared->section, ret_report);
        ++*at;
        return true;
    }
    return false;
}

size_t finder_text_bytes(const struct finder *finder)
{
    return text_pool_bytes(finder->env.texts);
}
