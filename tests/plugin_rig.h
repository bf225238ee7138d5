#pragma once
/* A discovery plugin's host in memory: it records what the plugin asks for, a test answers with recorded bytes, and the
 * groups said so far can be printed. Time does not pass: after_ms is only recorded. */
#include "base/fail.h"
#include "target/discovery_plugin.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum rig_kind { RIG_REQUEST, RIG_LOOKUP, RIG_FILES };

struct discovery_call { /* what was asked for and is not over */
    struct discovery_call *next;
    struct discovery_host *host;
    enum rig_kind kind;
    struct discovery_request request; /* its texts are copies, in `arena` */
    struct discovery_lookup lookup;
    struct discovery_files files;
    const char *url; /* of a request; of a lookup its name; of files the first pattern */
    const struct discovery_reader *reader;
    const struct discovery_files_reader *files_reader;
    discovery_lookup_fn *lookup_fn;
    void *arg;
    unsigned retries; /* verdicts DISCOVERY_RETRY so far */
    struct arena arena;
};

struct rig_group {
    char *source, *text; /* text: printed, a line per target */
    bool seen;
};

struct discovery_host {
    struct discovery_call *calls;      /* oldest first */
    struct rig_group *groups, *staged; /* staged: of the listing under way */
    size_t group_count, staged_count;
    bool listing;
    unsigned commits, problems;
    char problem[512]; /* the last one; cleared by DISCOVERY_DONE */
    size_t call_total;
};

struct plugin_rig {
    const struct discovery_plugin *plugin;
    void *state, *instance;
    struct discovery_host host;
    struct arena config_arena;
    struct conf *conf;
    void *config;
    size_t chunk_bytes; /* bodies are fed in pieces of so many; 0: whole */
    char error[256];    /* of a start that failed */
};

/* ---- the host's side ---- */

static struct discovery_call *rig_call(struct discovery_host *host, enum rig_kind kind, void *arg)
{
    struct discovery_call *call = mem_zalloc(sizeof(*call)), **at = &host->calls;
    *call = (struct discovery_call){.host = host, .kind = kind, .arg = arg};
    arena_init(&call->arena, 0);
    while (*at)
        at = &(*at)->next;
    *at = call;
    host->call_total++;
    return call;
}

static const char *rig_copy(struct discovery_call *call, const char *text)
{
    return text ? arena_str(&call->arena, str_from(text)).ptr : NULL;
}

static struct discovery_call *rig_request(struct discovery_host *host, const struct discovery_request *request,
                                          const struct discovery_reader *reader, void *arg)
{
    struct discovery_call *call = rig_call(host, RIG_REQUEST, arg);
    struct discovery_header *headers = arena_array(&call->arena, request->header_count, sizeof(*headers));
    for (size_t i = 0; i < request->header_count; i++)
        headers[i] = (struct discovery_header){rig_copy(call, request->headers[i].name),
                                               rig_copy(call, request->headers[i].value)};
    call->request = *request;
    call->request.headers = headers;
    call->request.method = rig_copy(call, request->method ? request->method : "GET");
    call->request.url = arena_str(&call->arena, request->url);
    call->request.body = arena_str(&call->arena, request->body);
    call->url = call->request.url.ptr;
    call->reader = reader;
    return call;
}

static struct discovery_call *rig_lookup(struct discovery_host *host, const struct discovery_lookup *lookup,
                                         discovery_lookup_fn *fn, void *arg)
{
    struct discovery_call *call = rig_call(host, RIG_LOOKUP, arg);
    call->lookup = *lookup;
    call->lookup.name = call->url = rig_copy(call, lookup->name);
    call->lookup_fn = fn;
    return call;
}

static struct discovery_call *rig_files(struct discovery_host *host, const struct discovery_files *files,
                                        const struct discovery_files_reader *reader, void *arg)
{
    struct discovery_call *call = rig_call(host, RIG_FILES, arg);
    call->files = *files;
    call->url = files->pattern_count > 0 ? rig_copy(call, files->patterns[0]) : "";
    call->files_reader = reader;
    return call;
}

static void rig_cancel(struct discovery_call *call)
{
    struct discovery_call **at = &call->host->calls;
    while (*at != call)
        at = &(*at)->next; /* a call that is over crashes here */
    *at = call->next;
    arena_done(&call->arena);
    mem_free(call);
}

static int rig_label_compare(const void *a, const void *b)
{
    return str_compare(((const struct label *)a)->name, ((const struct label *)b)->name);
}

/* address{name="value",...}, group labels under the target's, sorted, empty ones left out. */
static void rig_print_target(const struct discovery_group *group, const struct discovery_target *target,
                             struct buf *text)
{
    struct label labels[2 * DISCOVERY_LABELS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < group->label_count; i++) {
        bool own = false;
        for (size_t j = 0; j < target->label_count; j++)
            own = own || str_equal(target->labels[j].name, group->labels[i].name);
        if (!own)
            labels[count++] = group->labels[i];
    }
    for (size_t j = 0; j < target->label_count; j++)
        labels[count++] = target->labels[j];
    qsort(labels, count, sizeof(labels[0]), rig_label_compare);
    buf_printf(text, STR_FMT "{", STR_ARG(target->address));
    bool first = true;
    for (size_t i = 0; i < count; i++) {
        if (labels[i].value.len == 0)
            continue;
        buf_printf(text, "%s" STR_FMT "=\"" STR_FMT "\"", first ? "" : ",", STR_ARG(labels[i].name),
                   STR_ARG(labels[i].value));
        first = false;
    }
    buf_append_text(text, "}\n");
}

static void rig_set(struct rig_group **groups, size_t *count, struct str source, char *text)
{
    for (size_t i = 0; i < *count; i++) {
        if (!str_equal(str_from((*groups)[i].source), source))
            continue;
        mem_free((*groups)[i].text);
        (*groups)[i].text = text;
        return;
    }
    *groups = mem_resize(*groups, *count + 1, sizeof(**groups));
    (*groups)[(*count)++] = (struct rig_group){mem_strndup(source.ptr ? source.ptr : "", source.len), text, false};
}

static void rig_clear(struct rig_group **groups, size_t *count)
{
    for (size_t i = 0; i < *count; i++) {
        mem_free((*groups)[i].source);
        mem_free((*groups)[i].text);
    }
    mem_free(*groups);
    *groups = NULL;
    *count = 0;
}

static void rig_remove(struct discovery_host *host, struct str source)
{
    ASSERT(!host->listing);
    for (size_t i = 0; i < host->group_count; i++) {
        if (!str_equal(str_from(host->groups[i].source), source))
            continue;
        mem_free(host->groups[i].source);
        mem_free(host->groups[i].text);
        host->groups[i] = host->groups[--host->group_count];
        return;
    }
}

static void rig_put(struct discovery_host *host, const struct discovery_group *group)
{
    struct buf text = BUF_INIT(64 * MIB);
    for (size_t i = 0; i < group->target_count; i++)
        rig_print_target(group, &group->targets[i], &text);
    buf_append_byte(&text, 0);
    char *printed = (char *)buf_steal(&text, &(size_t){0});
    if (group->target_count == 0 && !host->listing) {
        mem_free(printed);
        rig_remove(host, group->source);
    } else if (host->listing)
        rig_set(&host->staged, &host->staged_count, group->source, printed);
    else
        rig_set(&host->groups, &host->group_count, group->source, printed);
}

/* Groups of no targets count as not said. */
static void rig_drop_empty(struct rig_group *groups, size_t *count)
{
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        if (groups[i].text[0]) {
            groups[kept++] = groups[i];
            continue;
        }
        mem_free(groups[i].source);
        mem_free(groups[i].text);
    }
    *count = kept;
}

static void rig_begin(struct discovery_host *host)
{
    rig_clear(&host->staged, &host->staged_count);
    host->listing = true;
}

static void rig_commit(struct discovery_host *host)
{
    ASSERT(host->listing);
    rig_clear(&host->groups, &host->group_count);
    rig_drop_empty(host->staged, &host->staged_count);
    host->groups = STEAL(host->staged);
    host->group_count = host->staged_count;
    host->staged_count = 0;
    host->listing = false;
    host->commits++;
}

static void rig_abort(struct discovery_host *host)
{
    rig_clear(&host->staged, &host->staged_count);
    host->listing = false;
}

static void rig_problem(struct discovery_host *host, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(host->problem, sizeof(host->problem), format, args);
    va_end(args);
    host->problems++;
}

static void rig_well(struct discovery_host *host)
{
    host->problem[0] = '\0';
}

static const struct discovery_api rig_api = {
    .abi = DISCOVERY_ABI,
    .request = rig_request,
    .lookup = rig_lookup,
    .files = rig_files,
    .cancel = rig_cancel,
    .begin = rig_begin,
    .put = rig_put,
    .remove = rig_remove,
    .commit = rig_commit,
    .abort = rig_abort,
    .problem = rig_problem,
    .well = rig_well,
};

/* ---- the test's side ---- */

/* -EINVAL and rig->error: the section is refused by its table, or the plugin does not start. */
static UNUSED int rig_start(struct plugin_rig *rig, const struct discovery_plugin *plugin, const char *yaml)
{
    *rig = (struct plugin_rig){.plugin = plugin};
    arena_init(&rig->config_arena, 0);
    rig->config = arena_array(&rig->config_arena, 1, plugin->config->struct_bytes);
    const struct conf_source source = {.fs = file_system_real(), .text = str_from(yaml), .name = "section"};
    if (conf_load_text(&source, plugin->config, rig->config, &rig->config_arena, &rig->conf) < 0) {
        snprintf(rig->error, sizeof(rig->error), "%s", conf_errors(rig->conf));
        return -1;
    }
    if (plugin->plugin_new)
        rig->state = plugin->plugin_new(&rig_api);
    rig->instance = plugin->start(rig->state, &rig_api, &rig->host, rig->config, rig->error);
    return rig->instance ? 0 : -1;
}

static UNUSED void rig_stop(struct plugin_rig *rig)
{
    while (rig->host.calls)
        rig_cancel(rig->host.calls);
    if (rig->instance)
        rig->plugin->stop(rig->instance);
    if (rig->plugin->plugin_free && rig->state)
        rig->plugin->plugin_free(rig->state);
    rig_clear(&rig->host.groups, &rig->host.group_count);
    rig_clear(&rig->host.staged, &rig->host.staged_count);
    conf_free(rig->conf);
    arena_done(&rig->config_arena);
}

/* Whether the section is refused by words with `part` in them; if not, ret_error is what was said, "" for nothing. */
static UNUSED bool rig_refuses(const struct discovery_plugin *plugin, const char *yaml, const char *part,
                               char ret_error[static 256])
{
    struct plugin_rig rig;
    bool refused = rig_start(&rig, plugin, yaml) < 0;
    snprintf(ret_error, 256, "%s", rig.error);
    rig_stop(&rig);
    return refused && strstr(ret_error, part);
}

/* The oldest call whose URL (name, pattern) holds the text; NULL: none. */
static UNUSED struct discovery_call *rig_find(struct plugin_rig *rig, const char *text)
{
    for (struct discovery_call *call = rig->host.calls; call; call = call->next)
        if (strstr(call->url, text))
            return call;
    return NULL;
}

static UNUSED size_t rig_call_count(struct plugin_rig *rig)
{
    size_t count = 0;
    for (struct discovery_call *call = rig->host.calls; call; call = call->next)
        count++;
    return count;
}

struct rig_head {
    struct discovery_answer_head head;      /* first */
    const struct discovery_header *headers; /* ends with name NULL; or NULL */
};

static struct str rig_header(const struct discovery_answer_head *head, const char *name)
{
    const struct rig_head *own = (const struct rig_head *)(const void *)head;
    for (const struct discovery_header *at = own->headers; at && at->name; at++)
        if (strcasecmp(at->name, name) == 0)
            return str_from(at->value);
    return STR_NULL;
}

/* The call's end is told: it is over, or waits to be sent again. */
static UNUSED enum discovery_verdict rig_end(struct discovery_call *call, const struct discovery_end *end)
{
    struct discovery_host *host = call->host;
    struct discovery_call **at = &host->calls;
    ASSERT(call->kind == RIG_REQUEST);
    enum discovery_verdict verdict = call->reader->end(call->arg, end);
    if (verdict == DISCOVERY_DONE)
        host->problem[0] = '\0';
    if (verdict == DISCOVERY_RETRY) {
        call->retries++;
        return verdict;
    }
    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    arena_done(&call->arena);
    mem_free(call);
    return verdict;
}

/* Head and data only, of an answer that goes on. Negative: the reader refused. */
static UNUSED int rig_feed(struct plugin_rig *rig, struct discovery_call *call, struct str body)
{
    int r = 0;
    for (size_t at = 0; r >= 0 && at < body.len;) {
        size_t piece = rig->chunk_bytes ? MIN(rig->chunk_bytes, body.len - at) : body.len;
        /* A copy of its own, so that reading past its end is seen. */
        char *bytes = mem_alloc(piece);
        memcpy(bytes, body.ptr + at, piece);
        r = call->reader->data ? call->reader->data(call->arg, str_of(bytes, piece)) : 0;
        mem_free(bytes);
        at += piece;
    }
    return r;
}

static UNUSED void rig_head(struct discovery_call *call, int status, const struct discovery_header *headers)
{
    struct rig_head head = {.head = {.status = status, .header = rig_header}, .headers = headers};
    head.head.content_type = rig_header(&head.head, "Content-Type");
    if (call->reader->head)
        call->reader->head(call->arg, &head.head);
}

/* A whole answer. */
static UNUSED enum discovery_verdict rig_answer_with(struct plugin_rig *rig, struct discovery_call *call, int status,
                                                     const struct discovery_header *headers, struct str body)
{
    struct discovery_end end = {.status = status, .not_modified = status == 304};
    if (status / 100 == 2) {
        rig_head(call, status, headers);
        end.reader_refused = rig_feed(rig, call, body) < 0;
    } else {
        end.error_body = str_of(body.ptr, MIN(body.len, (size_t)DISCOVERY_ERROR_BYTES_MAX));
    }
    return rig_end(call, &end);
}

static UNUSED enum discovery_verdict rig_answer(struct plugin_rig *rig, struct discovery_call *call, int status,
                                                const char *body)
{
    return rig_answer_with(rig, call, status, NULL, str_from(body));
}

static UNUSED enum discovery_verdict rig_fail(struct discovery_call *call, enum discovery_failure failure,
                                              const char *reason)
{
    return rig_end(call, &(struct discovery_end){.failure = failure, .reason = reason});
}

static int rig_group_compare(const void *a, const void *b)
{
    return strcmp(((const struct rig_group *)a)->source, ((const struct rig_group *)b)->source);
}

/* All targets in force, groups by source: "# source" and a line each. The caller frees it. */
static UNUSED char *rig_print(struct plugin_rig *rig)
{
    struct buf text = BUF_INIT(256 * MIB);
    if (rig->host.group_count > 0)
        qsort(rig->host.groups, rig->host.group_count, sizeof(rig->host.groups[0]), rig_group_compare);
    for (size_t i = 0; i < rig->host.group_count; i++)
        buf_printf(&text, "# %s\n%s", rig->host.groups[i].source, rig->host.groups[i].text);
    buf_append_byte(&text, 0);
    return (char *)buf_steal(&text, &(size_t){0});
}
