/* Answers of http_sd_configs: the first byte says the pieces' length. Read in pieces it is what it is as a whole, and
 * one that is refused leaves all as it was. */
#include "plugin_fuzz.h"

extern const struct discovery_plugin discovery_http;
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct discovery_header headers[] = {{"Content-Type", "application/json"}, {NULL, NULL}};
    struct plugin_rig rig;
    if (size == 0)
        return 0;
    struct str body = str_of(data + 1, size - 1);
    fuzz_rig_start(&rig, &discovery_http, "url: http://h/\n");
    rig_answer_with(&rig, rig_find(&rig, "http"), 200, headers, STR("[{\"targets\":[\"before\"]}]"));
    CLEANUP_FREE char *before = rig_print(&rig);
    enum discovery_verdict whole = rig_answer_with(&rig, rig_find(&rig, "http"), 200, headers, body);
    ASSERT((whole == DISCOVERY_RETRY) == (rig.host.problem[0] != '\0'));
    CLEANUP_FREE char *taken = rig_print(&rig);
    ASSERT(whole == DISCOVERY_DONE || strcmp(before, taken) == 0);
    rig.chunk_bytes = (size_t)data[0] + 1;
    ASSERT(rig_answer_with(&rig, rig_find(&rig, "http"), 200, headers, body) == whole);
    CLEANUP_FREE char *again = rig_print(&rig);
    ASSERT(strcmp(taken, again) == 0);
    rig_stop(&rig);
    return 0;
}
