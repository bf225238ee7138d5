#pragma once
/* Kubernetes' plugin in a host in memory: objects and events written with ' for ", answers to what is asked, and
 * several sections on one plugin. */
#include "plugin_rig.h"

#include <setjmp.h>

#include <cmocka.h>

extern const struct discovery_plugin discovery_kubernetes;

static size_t kube_chunk_bytes; /* how bodies come: pieces of so many bytes, 0: whole */
static void *kube_shared;       /* state of the plugin that all sections of a test share */

static void *kube_plugin_new(const struct discovery_api *api)
{
    (void)api;
    return kube_shared;
}

static void kube_plugin_free(void *plugin)
{
    (void)plugin; /* by kube_done */
}

static struct discovery_plugin kube_plugin;

/* Sections on one plugin, from here to kube_done. */
static UNUSED void kube_init(void)
{
    kube_plugin = discovery_kubernetes;
    kube_plugin.plugin_new = kube_plugin_new;
    kube_plugin.plugin_free = kube_plugin_free;
    kube_shared = discovery_kubernetes.plugin_new(&rig_api);
}

static UNUSED void kube_done(void)
{
    discovery_kubernetes.plugin_free(kube_shared);
    kube_shared = NULL;
}

static UNUSED void kube_start(struct plugin_rig *rig, const char *yaml)
{
    if (rig_start(rig, &kube_plugin, yaml) < 0)
        fail_msg("%s", rig->error);
    rig->chunk_bytes = kube_chunk_bytes;
}

/* ' becomes ": JSON without a thicket of backslashes. */
static char *kube_json(const char *text)
{
    char *json = mem_strdup(text);
    for (char *at = json; *at; at++)
        *at = *at == '\'' ? '"' : *at;
    return json;
}

static UNUSED struct discovery_call *kube_call(struct plugin_rig *rig, const char *text)
{
    struct discovery_call *call = rig_find(rig, text);
    if (!call)
        fail_msg("nobody asks for %s", text);
    return call;
}

/* The whole answer to the oldest call whose URL has the text. */
static UNUSED enum discovery_verdict kube_answer(struct plugin_rig *rig, const char *url, const char *body)
{
    CLEANUP_FREE char *json = kube_json(body);
    return rig_answer(rig, kube_call(rig, url), 200, json);
}

static UNUSED enum discovery_verdict kube_refuse(struct plugin_rig *rig, const char *url, int status, const char *body)
{
    CLEANUP_FREE char *json = kube_json(body);
    return rig_answer(rig, kube_call(rig, url), status, json);
}

/* A list of these objects, the only page. */
static UNUSED void kube_list(struct plugin_rig *rig, const char *url, const char *version, const char *items)
{
    CLEANUP_FREE char *body = mem_printf(
        "{'kind':'List','apiVersion':'v1','metadata':{'resourceVersion':'%s'},'items':[%s]}\n", version, items);
    kube_answer(rig, url, body);
}

/* Bytes of a watch that goes on. */
static UNUSED int kube_feed(struct plugin_rig *rig, const char *url, const char *text)
{
    CLEANUP_FREE char *json = kube_json(text);
    return rig_feed(rig, kube_call(rig, url), str_from(json));
}

/* The watch is answered, and goes on. */
static UNUSED void kube_open(struct plugin_rig *rig, const char *url)
{
    rig_head(kube_call(rig, url), 200, NULL);
}

/* One event. */
static UNUSED void kube_event(struct plugin_rig *rig, const char *url, const char *type, const char *object)
{
    CLEANUP_FREE char *line = mem_printf("{'type':'%s','object':%s}\n", type, object);
    assert_int_equal(kube_feed(rig, url, line), 0);
}

static UNUSED void kube_expect(struct plugin_rig *rig, const char *expected)
{
    CLEANUP_FREE char *printed = rig_print(rig);
    if (strcmp(printed, expected) != 0)
        fail_msg("expected:\n%s\nfound:\n%s", expected, printed);
}

/* A pod with a port 80 and a label app: enough to see whether it is there. */
static UNUSED char *kube_pod(const char *name, const char *ip, const char *version)
{
    return mem_printf("{'metadata':{'name':'%s','namespace':'shop','resourceVersion':'%s','managedFields':[{'a':1}]},"
                      "'spec':{'nodeName':'n1','containers':[{'name':'c','image':'i','ports':[{'containerPort':80}]}]},"
                      "'status':{'podIP':'%s','phase':'Running'}}",
                      name, version, ip);
}
