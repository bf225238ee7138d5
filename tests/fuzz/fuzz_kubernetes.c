/* Arbitrary bytes as the answers of an API server. The first byte says the role and in how large pieces they come, then
 * a 0xff ends one answer and the next byte says how: each list and watch that is asked for gets the next. Whatever
 * comes, groups can be printed, and other sections that share the watches, join late or take them over have the same.
 */
#include "plugin_rig.h"

extern const struct discovery_plugin discovery_kubernetes;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ANSWERS_MAX 64

static const char *const sections[] = {
    "role: pod\n",
    "role: endpoints\nattach_metadata: {node: true}\n",
    "role: endpointslice\n",
    "role: node\n",
    "role: service\nattach_metadata: {namespace: true}\n",
    "role: ingress\n",
    "role: pod\nattach_metadata: {node: true, namespace: true}\n",
    "role: pod\nnamespaces: {names: [a, b]}\n",
};

static void *shared;

static void *plugin_new(const struct discovery_api *api)
{
    (void)api;
    return shared;
}

static void start(struct plugin_rig *rig, const struct discovery_plugin *plugin, uint8_t choice)
{
    int r = rig_start(rig, plugin, sections[choice % ARRAY_LEN(sections)]);
    ASSERT(r == 0);
    rig->chunk_bytes = choice / ARRAY_LEN(sections);
}

/* The next call in turn, so that each comes to be answered. */
static struct discovery_call *next_call(struct plugin_rig *rig, size_t at)
{
    size_t count = rig_call_count(rig);
    struct discovery_call *call = rig->host.calls;
    ASSERT(count > 0); /* something is always asked for */
    for (size_t i = at % count; i > 0; i--)
        call = call->next;
    return call;
}

static void answer(struct plugin_rig *rig, size_t at, struct str body, uint8_t how)
{
    static const int statuses[] = {200, 200, 200, 200, 410, 403, 500};
    struct discovery_call *call = next_call(rig, at);
    if (how % 8 == 7) { /* half of it */
        rig_head(call, 200, NULL);
        bool refused = rig_feed(rig, call, body) < 0;
        const struct discovery_end end = {
            .failure = DISCOVERY_BROKEN, .reason = "cut", .status = 200, .reader_refused = refused};
        rig_end(call, &end);
    } else {
        rig_answer_with(rig, call, statuses[how % 8], NULL, body);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct discovery_plugin plugin = discovery_kubernetes;
    struct plugin_rig first, second;
    plugin.plugin_new = plugin_new;
    plugin.plugin_free = NULL;
    if (size < 2)
        return 0;
    shared = discovery_kubernetes.plugin_new(&rig_api);
    start(&first, &plugin, data[0]);
    bool joined = false;
    size_t answers = 0, at = 1;
    while (at < size && answers < ANSWERS_MAX) {
        const uint8_t *end = memchr(data + at, 0xff, size - at);
        size_t len = end ? (size_t)(end - (data + at)) : size - at;
        uint8_t how = end && end + 1 < data + size ? end[1] : 0;
        answer(&first, answers++, str_of(data + at, len), how);
        at += len + 2;
        if (!joined && how & 0x80) {
            start(&second, &plugin, data[0]);
            joined = true;
        }
    }
    CLEANUP_FREE char *printed = rig_print(&first);
    if (joined) {
        CLEANUP_FREE char *others = rig_print(&second);
        ASSERT(second.host.commits == 0 || first.host.listing || strcmp(printed, others) == 0);
    }
    rig_stop(&first);
    if (joined) {
        next_call(&second, 0); /* it has taken over */
        rig_stop(&second);
    }
    discovery_kubernetes.plugin_free(shared);
    return 0;
}
