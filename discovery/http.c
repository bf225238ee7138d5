/* http_sd_configs: groups of targets as a JSON list from a URL, asked for every refresh_interval. */
#include "base/fail.h"
#include "discovery/json_items.h"
#include "target/discovery_plugin.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

#define REFRESH_MIN_MS 1000LL
#define REFRESH_MAX_MS (24 * 3600000LL)
#define URL_LABEL      "__meta_url"

struct http_config {
    const char *url;
    int64_t refresh_interval_ms;
    struct access access;
};

static void check_config(struct conf *conf, const struct conf_node *node, void *object)
{
    const struct http_config *config = object;
    access_check(conf, node, &config->access);
}

static const struct conf_table http_config_table = {
    .title = "http_sd_config",
    .struct_bytes = sizeof(struct http_config),
    .check = check_config,
    .options =
        (const struct conf_option[]){
            {.name = "url",
             .type = CONF_URL,
             .offset = offsetof(struct http_config, url),
             .required = true,
             .help = "Where the list of targets is asked for."},
            {.name = "refresh_interval",
             .type = CONF_DURATION,
             .offset = offsetof(struct http_config, refresh_interval_ms),
             .fallback = "60s",
             .min = REFRESH_MIN_MS,
             .max = REFRESH_MAX_MS,
             .help = "How often it is asked for."},
            ACCESS_OPTIONS(struct http_config, access),
            {0},
        },
};

struct http {
    const struct discovery_api *api;
    struct discovery_host *host;
    const struct http_config *config;
    char interval[32];        /* in seconds, for the header */
    struct json_items *items; /* of the answer under way */
    size_t group_count;       /* said of the answer under way */
    char reason[256];         /* why it cannot be taken */
    struct arena arena;       /* of one group */
};

/* ---- one group: {"targets": ["host:port", ...], "labels": {"name": "value", ...}} ---- */

static bool is_absent(const struct json_node *node)
{
    return !node || node->kind == JSON_NULL; /* as Go writes an empty list or map */
}

static int read_keys(struct http *http, const struct json_node *item)
{
    if (item->kind != JSON_OBJECT)
        return error_text(-EBADMSG, http->reason, "group %zu is no map with targets and labels", http->group_count);
    JSON_FOREACH(node, item)
    if (!str_equal(node->key, STR("targets")) && !str_equal(node->key, STR("labels")))
        return error_text(-EBADMSG, http->reason, "group %zu: unknown key \"%.64s\"", http->group_count, node->key.ptr);
    return 0;
}

static int read_targets(struct http *http, const struct json_node *list, struct discovery_group *group)
{
    if (is_absent(list))
        return 0;
    if (list->kind != JSON_LIST || list->count > DISCOVERY_GROUP_TARGETS_MAX)
        return error_text(-EBADMSG, http->reason, "group %zu: targets: expected a list of at most %d texts",
                          http->group_count, DISCOVERY_GROUP_TARGETS_MAX);
    struct discovery_target *targets = arena_array(&http->arena, list->count, sizeof(*targets));
    JSON_FOREACH(node, list)
    {
        if (node->kind != JSON_STRING || node->text.len == 0)
            return error_text(-EBADMSG, http->reason, "group %zu: target %zu: expected host:port", http->group_count,
                              group->target_count);
        targets[group->target_count++].address = node->text;
    }
    group->targets = targets;
    return 0;
}

static int read_labels(struct http *http, const struct json_node *map, struct discovery_group *group)
{
    size_t count = is_absent(map) ? 0 : map->count;
    if (!is_absent(map) && (map->kind != JSON_OBJECT || count >= DISCOVERY_LABELS_MAX))
        return error_text(-EBADMSG, http->reason, "group %zu: labels: expected a map of less than %d texts",
                          http->group_count, DISCOVERY_LABELS_MAX);
    struct label *labels = arena_array(&http->arena, count + 1, sizeof(*labels));
    group->labels = labels;
    labels[group->label_count++] = (struct label){STR(URL_LABEL), str_from(http->config->url)};
    if (count == 0)
        return 0;
    JSON_FOREACH(node, map)
    {
        if (!label_name_is_valid(node->key))
            return error_text(-EBADMSG, http->reason, "group %zu: \"%.64s\" is not a label name", http->group_count,
                              node->key.ptr);
        if (node->kind != JSON_STRING && node->kind != JSON_NULL)
            return error_text(-EBADMSG, http->reason, "group %zu: label %.64s: expected a text", http->group_count,
                              node->key.ptr);
        if (!str_equal(node->key, STR(URL_LABEL)))
            labels[group->label_count++] = (struct label){node->key, node->text};
    }
    return 0;
}

static int http_item(void *arg, const struct json_node *item)
{
    struct http *http = arg;
    struct discovery_group group = {0};
    arena_reset(&http->arena);
    int r = read_keys(http, item);
    if (r >= 0)
        r = read_targets(http, json_get(item, "targets"), &group);
    if (r >= 0)
        r = read_labels(http, json_get(item, "labels"), &group);
    if (r < 0)
        return r;
    group.source = str_from(arena_printf(&http->arena, "%s:%zu", http->config->url, http->group_count++));
    http->api->put(http->host, &group);
    return 0;
}

/* ---- the exchange ---- */

/* As Prometheus: application/json, in any case, with or without charset=utf-8. */
static bool is_json(struct str type)
{
    static const struct str charset = {"charset=", 8};
    size_t semicolon = str_find(type, ';');
    struct str name = str_trim(str_of(type.ptr, semicolon));
    if (name.len != 16 || strncasecmp(name.ptr, "application/json", 16) != 0)
        return false;
    if (semicolon == type.len)
        return true;
    struct str rest = str_trim(str_of(type.ptr + semicolon + 1, type.len - semicolon - 1));
    if (rest.len < charset.len || strncasecmp(rest.ptr, charset.ptr, charset.len) != 0)
        return false;
    rest = str_of(rest.ptr + charset.len, rest.len - charset.len);
    return (rest.len == 5 && strncasecmp(rest.ptr, "utf-8", 5) == 0) ||
           (rest.len == 7 && strncasecmp(rest.ptr, "\"utf-8\"", 7) == 0);
}

static void http_head(void *arg, const struct discovery_answer_head *head)
{
    struct http *http = arg;
    json_items_free(http->items);
    http->items = json_items_new(&(struct json_items_options){.shape = JSON_ELEMENTS, .item = http_item, .arg = http});
    http->group_count = 0;
    http->reason[0] = '\0';
    if (head->status != 200)
        snprintf(http->reason, sizeof(http->reason), "answered %d, not 200", head->status);
    else if (!is_json(head->content_type))
        snprintf(http->reason, sizeof(http->reason), "expected Content-Type application/json, found \"%.*s\"",
                 (int)MIN(head->content_type.len, (size_t)64), head->content_type.ptr ? head->content_type.ptr : "");
    http->api->begin(http->host);
}

static int http_data(void *arg, struct str bytes)
{
    struct http *http = arg;
    return http->reason[0] ? -EBADMSG : json_items_feed(http->items, bytes);
}

/* 0: all groups have been said. Else a problem has. */
static int check_end(struct http *http, const struct discovery_end *end)
{
    const char *url = http->config->url;
    if (end->failure != DISCOVERY_OK && !end->reader_refused)
        http->api->problem(http->host, "%s: %s", url, end->reason);
    else if (end->status / 100 != 2)
        http->api->problem(http->host, "%s: answered %d, not 200", url, end->status);
    else if (!http->reason[0] && json_items_end(http->items, NULL) >= 0)
        return 0;
    else
        http->api->problem(http->host, "%s: %s", url, http->reason[0] ? http->reason : json_items_error(http->items));
    return -1;
}

static void http_ask(struct http *http, int64_t after_ms);

static enum discovery_verdict http_end(void *arg, const struct discovery_end *end)
{
    struct http *http = arg;
    int r = end->not_modified ? 0 : check_end(http, end);
    if (r < 0)
        http->api->abort(http->host);
    else if (!end->not_modified)
        http->api->commit(http->host);
    json_items_free(STEAL(http->items));
    arena_done(&http->arena);
    if (r < 0)
        return DISCOVERY_RETRY;
    http_ask(http, MAX(http->config->refresh_interval_ms - end->took_ms, REFRESH_MIN_MS));
    return DISCOVERY_DONE;
}

static const struct discovery_reader http_reader = {http_head, http_data, http_end};

static void http_ask(struct http *http, int64_t after_ms)
{
    const struct discovery_header headers[] = {{"Accept", "application/json"},
                                               {"X-Prometheus-Refresh-Interval-Seconds", http->interval}};
    const struct discovery_request request = {
        .url = str_from(http->config->url),
        .headers = headers,
        .header_count = ARRAY_LEN(headers),
        .access = &http->config->access,
        .after_ms = after_ms,
        .conditional = true,
    };
    http->api->request(http->host, &request, &http_reader, http);
}

/* ---- the plugin ---- */

static void *http_start(void *plugin, const struct discovery_api *api, struct discovery_host *host, const void *config,
                        char ret_error[static 256])
{
    (void)plugin, (void)ret_error;
    struct http *http = mem_zalloc(sizeof(*http));
    *http = (struct http){.api = api, .host = host, .config = config};
    arena_init(&http->arena, 0); /* an item's tree has a ceiling, and so has what is made of it */
    snprintf(http->interval, sizeof(http->interval), "%.10g", (double)http->config->refresh_interval_ms / 1000);
    http_ask(http, 0);
    return http;
}

static void http_stop(void *instance)
{
    struct http *http = instance;
    json_items_free(http->items);
    arena_done(&http->arena);
    mem_free(http);
}

const struct discovery_plugin discovery_http = {
    .magic = DISCOVERY_MAGIC,
    .abi = DISCOVERY_ABI,
    .name = "http",
    .version = TRIBUTARY_VERSION,
    .about = "Groups of targets as a JSON list from a URL.",
    .config = &http_config_table,
    .start = http_start,
    .stop = http_stop,
};
