#include "discovery/kubernetes_watch.h"

#include "base/fail.h"

#include <errno.h>
#include <stdio.h>

/* ---- what is wrong ---- */

/* All sections of the watch are told; it stands in each until none of its watches has one. */
static void set_problem(struct kubernetes_watch *watch, const char *text)
{
    snprintf(watch->problem, sizeof(watch->problem), "%s", text);
    for (struct kubernetes_subscription *at = watch->subscriptions; at; at = at->next)
        watch->hub->api->problem(at->section->host, "%s", text);
}

static void set_well(struct kubernetes_watch *watch)
{
    watch->problem[0] = '\0';
    for (struct kubernetes_subscription *at = watch->subscriptions; at; at = at->next) {
        bool well = true;
        for (size_t i = 0; i < at->section->count; i++)
            well = well && !at->section->subscriptions[i].watch->problem[0];
        if (well)
            watch->hub->api->well(at->section->host);
    }
}

/* ---- reading ---- */

static bool awaited(const struct kubernetes_watch *watch)
{
    for (const struct kubernetes_subscription *at = watch->subscriptions; at; at = at->next)
        if (!at->listed)
            return true;
    return false;
}

static void remove_record(struct kubernetes_record *record)
{
    record->gone = true;
    kubernetes_dirty(record);
    kubernetes_dirty_dependents(record);
}

static int read_object(void *arg, const struct json_node *object, bool removed)
{
    struct kubernetes_watch *watch = arg;
    struct kubernetes_record *record = NULL;
    if (removed) {
        record = kubernetes_store_find_object(&watch->store, object);
        if (record)
            remove_record(record);
        return 0;
    }
    int changed = kubernetes_store_put(&watch->store, object, &record);
    if (changed < 0 || !record)
        return changed;
    if (changed)
        kubernetes_dirty_dependents(record);
    if (changed || awaited(watch)) /* who came late has not heard of it */
        kubernetes_dirty(record);
    else if (!watch->keeps && !record->dirty)
        kubernetes_store_drop_bytes(&watch->store, record);
    return 0;
}

static void answer_head(void *arg, const struct discovery_answer_head *head)
{
    struct kubernetes_watch *watch = arg;
    (void)head;
    kubernetes_stream_begin(watch->stream);
    if (kubernetes_stream_is_listing(watch->stream))
        kubernetes_store_page_begins(&watch->store);
    else
        set_well(watch); /* it will be long before it ends */
}

static int answer_data(void *arg, struct str bytes)
{
    struct kubernetes_watch *watch = arg;
    watch->begun = true;
    int r = kubernetes_stream_data(watch->stream, bytes);
    kubernetes_say_dirty(watch->hub);
    return r;
}

/* Sections that wait for this watch's list have it, or go on without it; with it also those that had gone on. */
static void list_answered(struct kubernetes_watch *watch, bool listed)
{
    for (struct kubernetes_subscription *sub = watch->subscriptions; sub; sub = sub->next) {
        if (sub->listed || (sub->refused && !listed))
            continue;
        sub->section->waiting -= !sub->refused;
        sub->listed = listed;
        sub->refused = !listed;
        if (sub->section->waiting == 0)
            kubernetes_section_listed(sub->section);
    }
    kubernetes_say_dirty(watch->hub);
    for (struct kubernetes_subscription *sub = watch->subscriptions; sub; sub = sub->next)
        kubernetes_section_said(sub->section);
}

/* A whole list has come: what it does not have is gone. */
static void list_ends(struct kubernetes_watch *watch)
{
    size_t at = 0;
    kubernetes_store_list_ends(&watch->store);
    for (struct kubernetes_record *record; (record = kubernetes_store_next_unlisted(&watch->store, &at));)
        remove_record(record);
    watch->listed = true;
    list_answered(watch, true);
}

static enum discovery_verdict answer_end(void *arg, const struct discovery_end *end)
{
    struct kubernetes_watch *watch = arg;
    char problem[KUBERNETES_PROBLEM_BYTES_MAX];
    enum kubernetes_outcome outcome = kubernetes_stream_end(watch->stream, end, problem);
    kubernetes_say_dirty(watch->hub); /* the end of an answer may end an object */
    if (problem[0])
        set_problem(watch, problem);
    if (outcome == KUBERNETES_REFUSED)
        list_answered(watch, false);
    if (outcome == KUBERNETES_RETRY || outcome == KUBERNETES_REFUSED)
        return DISCOVERY_RETRY;
    if (outcome == KUBERNETES_LISTED)
        list_ends(watch);
    else if (outcome == KUBERNETES_NEXT)
        kubernetes_store_page_ends(&watch->store);
    if (outcome != KUBERNETES_BROKEN)
        set_well(watch);
    watch->call = NULL;
    kubernetes_watch_ask(watch);
    return DISCOVERY_DROP; /* not DONE: the section's other watches may have a problem */
}

void kubernetes_watch_ask(struct kubernetes_watch *watch)
{
    static const struct discovery_reader reader = {answer_head, answer_data, answer_end};
    struct discovery_request request;
    if (watch->call)
        return;
    if (kubernetes_stream_at_beginning(watch->stream))
        kubernetes_store_list_begins(&watch->store);
    if (!watch->asker)
        watch->asker = watch->subscriptions;
    const struct kubernetes_section *section = watch->asker->section;
    kubernetes_stream_request(watch->stream, &request);
    request.kubernetes = &section->config->server;
    request.access = &section->config->access;
    watch->call = watch->hub->api->request(section->host, &request, &reader, watch);
}

/* ---- joining and leaving ---- */

static const char *text_or_none(const char *text)
{
    return text ? text : "";
}

/* What makes two sections' watches one: server, who we are there, path, selectors. */
static char *identity_of(const struct kubernetes_config *config, const char *path,
                         const struct kubernetes_selector *selector)
{
    const struct access *access = &config->access;
    const char *const parts[] = {
        config->server.api_server,
        config->server.kubeconfig_file,
        access->basic_auth.username,
        access->basic_auth.password_file,
        access->authorization.credentials_file ? access->authorization.type : NULL,
        access->authorization.credentials_file,
        access->tls.ca_file,
        access->tls.cert_file,
        access->tls.key_file,
        access->tls.server_name,
        access->tls.insecure_skip_verify ? "insecure" : NULL,
        path,
        selector ? selector->label : NULL,
        selector ? selector->field : NULL,
    };
    struct buf text = BUF_INIT(2 * CONF_FILE_BYTES_MAX);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        (void)buf_printf(&text, "%zu:%s", strlen(text_or_none(parts[i])), text_or_none(parts[i]));
    (void)buf_append_byte(&text, 0);
    ASSERT(!text.full); /* all of it stood in one file */
    return (char *)buf_steal(&text, &(size_t){0});
}

static struct kubernetes_watch *find_watch(const struct kubernetes_hub *hub, const char *identity)
{
    for (struct kubernetes_watch *watch = hub->watches; watch; watch = watch->next)
        if (strcmp(watch->identity, identity) == 0)
            return watch;
    return NULL;
}

static struct kubernetes_watch *watch_new(struct kubernetes_hub *hub, enum kubernetes_kind kind, const char *name_space)
{
    struct kubernetes_watch *watch = mem_zalloc(sizeof(*watch));
    watch->hub = hub;
    watch->kind = kind;
    watch->name_space = name_space ? mem_strdup(name_space) : NULL;
    map_init(&watch->dependents);
    kubernetes_store_init(&watch->store, watch, kind);
    watch->next = hub->watches;
    hub->watches = watch;
    return watch;
}

static void watch_free(struct kubernetes_watch *watch)
{
    struct kubernetes_watch **at = &watch->hub->watches;
    while (*at != watch)
        at = &(*at)->next;
    *at = watch->next;
    kubernetes_forget_dependents(watch);
    kubernetes_store_done(&watch->store);
    kubernetes_stream_free(watch->stream);
    mem_free(watch->identity);
    mem_free(watch->path);
    mem_free(watch->name_space);
    mem_free(watch);
}

/* A section joins that has not heard what the watch no longer knows: it lists anew. */
static void watch_restart(struct kubernetes_watch *watch)
{
    if (watch->call)
        watch->hub->api->cancel(STEAL(watch->call));
    kubernetes_stream_restart(watch->stream);
    watch->begun = watch->listed = false;
}

void kubernetes_watch_join(struct kubernetes_subscription *subscription, enum kubernetes_kind kind,
                           const char *name_space)
{
    struct kubernetes_section *section = subscription->section;
    struct kubernetes_hub *hub = section->hub;
    const struct kubernetes_kind_info *info = &kubernetes_kinds[kind];
    const struct kubernetes_selector *selector = kubernetes_config_selector(section->config, kind);
    unsigned kinds = kubernetes_config_kinds(section->config);
    bool keeps = (kinds & (kinds - 1)) != 0; /* of several kinds */
    CLEANUP_FREE char *path = name_space ? mem_printf("%s/namespaces/%s/%s", info->api, name_space, info->plural)
                                         : mem_printf("%s/%s", info->api, info->plural);
    CLEANUP_FREE char *identity = identity_of(section->config, path, selector);
    struct kubernetes_watch *watch = find_watch(hub, identity);
    if (!watch) {
        watch = watch_new(hub, kind, name_space);
        watch->identity = STEAL(identity);
        watch->path = STEAL(path);
        const struct kubernetes_stream_options options = {
            .path = watch->path,
            .label = selector ? selector->label : NULL,
            .field = selector ? selector->field : NULL,
            .random = &hub->random,
            .object = read_object,
            .arg = watch,
        };
        watch->stream = kubernetes_stream_new(&options);
    } else if (!watch->keeps && watch->begun) {
        watch_restart(watch);
    }
    watch->keeps = watch->keeps || keeps;
    subscription->watch = watch;
    subscription->next = watch->subscriptions;
    watch->subscriptions = subscription;
    subscription->listed = watch->keeps && watch->listed;
    section->waiting += !subscription->listed;
    if (watch->problem[0])
        hub->api->problem(section->host, "%s", watch->problem);
}

void kubernetes_watch_leave(struct kubernetes_subscription *subscription)
{
    struct kubernetes_watch *watch = subscription->watch;
    struct kubernetes_subscription **at = &watch->subscriptions;
    while (*at != subscription)
        at = &(*at)->next;
    *at = subscription->next;
    if (watch->asker == subscription) {
        watch->asker = NULL; /* its calls are over */
        watch->call = NULL;
    }
    if (!watch->subscriptions)
        watch_free(watch);
    else
        kubernetes_watch_ask(watch);
}
