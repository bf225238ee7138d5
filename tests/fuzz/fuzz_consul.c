/* Answers of Consul, one after the other: the first byte says how many services there are (few or many) and the pieces'
 * length. Then, up to a byte 0 each: the call that is answered (one byte, counted from the oldest), X-Consul-Index (one
 * byte), the body. In pieces all becomes what it becomes as a whole. */
#include "plugin_fuzz.h"

extern const struct discovery_plugin discovery_consul;
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CALLS_MAX 32 /* what a section asks for at a time, at most */

static void answer(struct plugin_rig *rig, struct str script)
{
    char index[16];
    struct discovery_call *call = rig->host.calls;
    for (size_t i = (uint8_t)script.ptr[0] % rig_call_count(rig); i > 0; i--)
        call = call->next;
    snprintf(index, sizeof(index), "%d", script.ptr[1]);
    const struct discovery_header headers[] = {{"X-Consul-Index", index}, {NULL, NULL}};
    enum discovery_verdict verdict = rig_answer_with(rig, call, 200, headers, str_of(script.ptr + 2, script.len - 2));
    ASSERT(verdict != DISCOVERY_RETRY || rig->host.problem[0]);
    ASSERT(rig_call_count(rig) > 0 && rig_call_count(rig) <= CALLS_MAX);
}

static char *run(const char *yaml, struct str script, size_t piece)
{
    struct plugin_rig rig;
    fuzz_rig_start(&rig, &discovery_consul, yaml);
    rig.chunk_bytes = piece;
    while (script.len > 2) {
        size_t len = str_find(script, '\0');
        if (len > 2)
            answer(&rig, str_of(script.ptr, len));
        len = MIN(len + 1, script.len);
        script = str_of(script.ptr + len, script.len - len);
    }
    char *printed = rig_print(&rig);
    rig_stop(&rig);
    return printed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const sections[] = {
        "{}\n", "datacenter: d\n", "datacenter: d\nservices: [a, b]\n",
        "datacenter: d\nservices: [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z]\nrefresh_interval: 1s\n"};
    if (size == 0)
        return 0;
    const char *yaml = sections[data[0] % ARRAY_LEN(sections)];
    struct str script = str_of(data + 1, size - 1);
    CLEANUP_FREE char *whole = run(yaml, script, 0);
    CLEANUP_FREE char *pieces = run(yaml, script, data[0] / ARRAY_LEN(sections) + 1);
    ASSERT(strcmp(whole, pieces) == 0);
    return 0;
}
