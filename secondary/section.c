#include "section.h"

#include "base/conf_object.h"
#include "base/fail.h"
#include "base/log.h"
#include "section_internal.h"

#include <stdarg.h>
#include <stdio.h>

#define LOG_EVERY_MS 60000 /* a problem that is another each time is told so often */

/* ---- problems ---- */

/* From a peer's bytes, maybe: nothing of it may move a terminal. */
static void make_printable(char *text)
{
    for (char *at = text; *at; at++)
        if ((uint8_t)*at < 0x20 || *at == 0x7f)
            *at = ' ';
}

void section_set_problem(struct section *section, const char *text)
{
    int64_t now_ms = clock_wall_ms(loop_clock(section->env->seams.loop));
    bool had = section->problem[0], has = text && text[0];
    bool other = has && strcmp(section->problem, text) != 0;
    if (!has && had)
        log_info("%s: works again, %zu targets", section->name, groups_targets(section->groups));
    if (has && !had)
        section->problem_since_ms = now_ms;
    snprintf(section->problem, sizeof(section->problem), "%s", has ? text : "");
    make_printable(section->problem);
    section->problems_total += has;
    if (has && (!had || (other && now_ms - section->logged_ms >= LOG_EVERY_MS))) {
        section->logged_ms = now_ms;
        log_warn("%s: %s; %s", section->name, section->problem,
                 section_is_complete(section) ? "its last targets stay" : "no targets from it yet");
    }
}

void section_is_well(struct section *section)
{
    if (section->failing > 0)
        return;
    section->last_good_ms = clock_wall_ms(loop_clock(section->env->seams.loop));
    section_set_problem(section, NULL);
}

/* As what a plugin says itself: of the call whose reader is at work, if one is. */
static void say_problem(struct section *section, const char *text)
{
    if (section->telling)
        section->telling->said = true;
    section_set_problem(section, text);
}

/* ---- what a plugin may do ---- */

static const char *copy(struct arena *arena, const char *text)
{
    return text ? arena_str(arena, str_from(text)).ptr : NULL;
}

static struct discovery_call *api_request(struct discovery_host *host, const struct discovery_request *request,
                                          const struct discovery_reader *reader, void *arg)
{
    struct discovery_call *call = call_new(section_of(host), CALL_HTTP, arg);
    struct discovery_header *headers = arena_array(&call->arena, request->header_count, sizeof(*headers));
    for (size_t i = 0; i < request->header_count; i++)
        headers[i] = (struct discovery_header){copy(&call->arena, request->headers[i].name),
                                               copy(&call->arena, request->headers[i].value)};
    call->request = *request;
    call->request.method = copy(&call->arena, request->method ? request->method : "GET");
    call->request.url = arena_str(&call->arena, request->url);
    call->request.body = arena_str(&call->arena, request->body);
    call->request.headers = headers;
    call->reader = reader;
    call_start(call, request->after_ms, request->spread_ms);
    return call;
}

static struct discovery_call *api_lookup(struct discovery_host *host, const struct discovery_lookup *lookup,
                                         discovery_lookup_fn *fn, void *arg)
{
    struct discovery_call *call = call_new(section_of(host), CALL_DNS, arg);
    call->lookup = *lookup;
    call->lookup.name = copy(&call->arena, lookup->name);
    call->lookup_fn = fn;
    call_start(call, lookup->after_ms, lookup->spread_ms);
    return call;
}

static struct discovery_call *api_files(struct discovery_host *host, const struct discovery_files *files,
                                        const struct discovery_files_reader *reader, void *arg)
{
    struct discovery_call *call = call_new(section_of(host), CALL_FILES, arg);
    const char **patterns = arena_array(&call->arena, files->pattern_count, sizeof(*patterns));
    for (size_t i = 0; i < files->pattern_count; i++)
        patterns[i] = copy(&call->arena, files->patterns[i]);
    call->files = *files;
    call->files.patterns = patterns;
    call->files_reader = reader;
    call_start(call, 0, 0);
    return call;
}

static void api_begin(struct discovery_host *host)
{
    groups_begin(section_of(host)->groups);
}

static void api_put(struct discovery_host *host, const struct discovery_group *group)
{
    struct section *section = section_of(host);
    char error[256], text[512];
    if (groups_put(section->groups, group, error) == 0) {
        section_after(section);
        return;
    }
    snprintf(text, sizeof(text), "group %.*s is left as it was: %s", (int)MIN(group->source.len, (size_t)100),
             group->source.ptr ? group->source.ptr : "", error);
    if (section->telling)
        section->telling->refused = true;
    say_problem(section, text);
}

static void api_remove(struct discovery_host *host, struct str source)
{
    ASSERT(!groups_is_listing(section_of(host)->groups));
    groups_remove(section_of(host)->groups, source);
    section_after(section_of(host));
}

static void api_commit(struct discovery_host *host)
{
    groups_commit(section_of(host)->groups);
    section_after(section_of(host));
}

static void api_abort(struct discovery_host *host)
{
    groups_abort(section_of(host)->groups);
}

static void api_problem(struct discovery_host *host, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    say_problem(section_of(host), text);
}

static void api_well(struct discovery_host *host)
{
    struct section *section = section_of(host);
    if (section->telling) {
        section->telling->said = false;
        call_set_failing(section->telling, false);
    }
    section_is_well(section);
}

static const struct discovery_api api = {
    .abi = DISCOVERY_ABI,
    .request = api_request,
    .lookup = api_lookup,
    .files = api_files,
    .cancel = call_doom,
    .begin = api_begin,
    .put = api_put,
    .remove = api_remove,
    .commit = api_commit,
    .abort = api_abort,
    .problem = api_problem,
    .well = api_well,
};

const struct discovery_api *section_api(void)
{
    return &api;
}

/* ---- life ---- */

void section_after(struct section *section)
{
    if (groups_changes(section->groups) != section->changes_told ||
        groups_commits(section->groups) != section->commits_told)
        loop_timer_start(&section->sweep, 0, 0);
}

static void on_sweep(void *arg)
{
    struct section *section = arg;
    bool first = section->commits_told == 0 && groups_commits(section->groups) > 0;
    bool changed = groups_changes(section->groups) != section->changes_told;
    section->commits_told = groups_commits(section->groups);
    section->changes_told = groups_changes(section->groups);
    call_free_doomed(section);
    if (first || (changed && section_is_complete(section)))
        section->changed(section->arg);
}

/* The section's own reading of its text: it lives as long as the instance. */
static int read_config(struct section *section, const char *base_dir, char ret_error[static 256])
{
    CLEANUP_FREE char *errors = NULL;
    const struct conf_source source = {.fs = section->env->seams.fs,
                                       .text = str_from(section->text),
                                       .name = section->plugin->name,
                                       .base_dir = base_dir};
    int r = conf_object_load_text(&source, section->plugin->config, &section->config, &errors);
    if (r < 0)
        snprintf(ret_error, 256, "%.*s", (int)str_find(str_from(errors), '\n'), errors);
    return r;
}

void section_set_place(struct section *section, const char *job, size_t index)
{
    char *old = section->job;
    section->job = mem_strdup(job);
    section->index = index;
    snprintf(section->name, sizeof(section->name), "job %.64s: %s_sd_configs[%zu]", job, section->plugin->name, index);
    mem_free(old);
}

struct section *section_new(const struct section_options *options)
{
    struct section *section = mem_zalloc(sizeof(*section));
    char error[256] = "it does not start";
    section->env = options->env;
    section->plugin = options->plugin;
    section_set_place(section, options->job, options->index);
    section->text = mem_strdup(options->text);
    section->changed = options->changed;
    section->arg = options->arg;
    section->groups = groups_new(options->env->texts);
    section->queue_end = &section->queue;
    loop_timer_init(&section->sweep, options->env->seams.loop, on_sweep, section);
    if (options->plugin->plugin_new && !options->plugin_state)
        snprintf(error, sizeof(error), "plugin %s does not start", options->plugin->name);
    else if (read_config(section, options->base_dir, error) == 0)
        section->instance = options->plugin->start(options->plugin_state, &api,
                                                   (struct discovery_host *)(void *)section, section->config, error);
    if (!section->instance)
        section_set_problem(section, error);
    return section;
}

void section_free(struct section *section)
{
    if (!section)
        return;
    for (struct discovery_call *call = section->queue; call; call = call->queue_next)
        call->state = CALL_WAITING; /* nobody's turn comes any more */
    section->queue = NULL;
    section->queue_end = &section->queue;
    while (section->calls)
        call_doom(section->calls);
    call_free_doomed(section);
    if (section->instance)
        section->plugin->stop(section->instance);
    loop_timer_stop(&section->sweep);
    section_let_go(section);
    groups_free(section->groups);
    conf_object_unref(section->config);
    mem_free(section->job);
    mem_free(section->text);
    mem_free(section);
}

bool section_is_of(const struct section *section, const struct discovery_plugin *plugin, const char *text)
{
    return section->instance && section->plugin == plugin && strcmp(section->text, text) == 0;
}

const struct discovery_plugin *section_plugin(const struct section *section)
{
    return section->plugin;
}

const struct groups *section_groups(const struct section *section)
{
    return section->groups;
}

bool section_is_complete(const struct section *section)
{
    return groups_commits(section->groups) > 0;
}

void section_report(const struct section *section, struct section_report *ret_report)
{
    *ret_report = (struct section_report){.plugin = section->plugin->name,
                                          .job = section->job,
                                          .index = section->index,
                                          .problem = section->problem[0] ? section->problem : NULL,
                                          .problem_since_ms = section->problem_since_ms,
                                          .last_good_ms = section->last_good_ms,
                                          .complete = section_is_complete(section),
                                          .groups = groups_count(section->groups),
                                          .targets = groups_targets(section->groups),
                                          .calls = section->call_count,
                                          .in_flight = section->in_flight,
                                          .requests_total = section->requests_total,
                                          .failures_total = section->failures_total,
                                          .problems_total = section->problems_total,
                                          .bytes_total = section->bytes_total};
}
