/* Look-ups and files of a section, and letting go of whatever is under way. */
#include "section_internal.h"

#include "base/fail.h"
#include "file_watch.h"
#include "net/resolver.h"

/* ---- DNS ---- */

static const enum resolver_type types[] = {[DISCOVERY_DNS_A] = RESOLVER_A,
                                           [DISCOVERY_DNS_AAAA] = RESOLVER_AAAA,
                                           [DISCOVERY_DNS_SRV] = RESOLVER_SRV,
                                           [DISCOVERY_DNS_MX] = RESOLVER_MX};

static void on_resolved(void *arg, const struct resolver_answer *answer)
{
    struct discovery_call *call = arg;
    call->resolving = NULL;
    if (call->state == CALL_DOOMED)
        return;
    struct discovery_dns_record *records = mem_array(answer->count, sizeof(*records));
    for (size_t i = 0; i < answer->count; i++)
        records[i] = (struct discovery_dns_record){answer->records[i].name, answer->records[i].port,
                                                   answer->records[i].priority, answer->records[i].weight};
    call_end(call, &(struct call_end){.failure = answer->reason ? DISCOVERY_BROKEN : DISCOVERY_OK,
                                      .reason = answer->reason,
                                      .retry_after_s = -1,
                                      .records = records,
                                      .record_count = answer->count});
    mem_free(records);
}

void call_send_dns(struct discovery_call *call)
{
    struct resolver *resolver = call->section->env->resolver;
    ASSERT((size_t)call->lookup.type < ARRAY_LEN(types));
    if (resolver)
        call->resolving = resolver_lookup(resolver, call->lookup.name, types[call->lookup.type], on_resolved, call);
    if (!call->resolving)
        call_unsent(call, resolver ? "too many names are being looked up" : "there is no DNS here");
}

/* ---- files ---- */

/* Files that are as they were are not told again: which are wrong is kept, so that the problem lasts as they do. */
static void note_file(struct discovery_call *call, struct str path, bool is_broken)
{
    uint64_t hash = str_hash(path);
    size_t at = 0;
    while (at < call->broken_count && call->broken[at] != hash)
        at++;
    if (is_broken && at == call->broken_count) {
        call->broken = mem_resize(call->broken, call->broken_count + 1, sizeof(*call->broken));
        call->broken[call->broken_count++] = hash;
    } else if (!is_broken && at < call->broken_count) {
        call->broken[at] = call->broken[--call->broken_count];
    }
}

static int on_file(void *arg, struct str path, struct str text)
{
    struct discovery_call *call = arg;
    struct section *section = call->section;
    if (call->state == CALL_DOOMED)
        return 0;
    section->bytes_total += text.len;
    call->refused = false;
    section->telling = call;
    int r = call->files_reader->file(call->arg, path, text);
    section->telling = NULL;
    section->failures_total += r < 0;
    note_file(call, path, r < 0 || call->refused);
    section_after(section);
    return r;
}

static void on_gone(void *arg, struct str path)
{
    struct discovery_call *call = arg;
    if (call->state == CALL_DOOMED)
        return;
    note_file(call, path, false);
    call->files_reader->gone(call->arg, path);
    section_after(call->section);
}

static void on_settled(void *arg)
{
    struct discovery_call *call = arg;
    struct section *section = call->section;
    if (call->state == CALL_DOOMED)
        return;
    section->requests_total++;
    if (call->files_reader->settled)
        call->files_reader->settled(call->arg);
    call_set_failing(call, call->broken_count > 0 || call->watch_problem);
    section_is_well(section);
    section_after(section);
}

static void on_problem(void *arg, const char *reason)
{
    struct discovery_call *call = arg;
    if (call->state == CALL_DOOMED)
        return;
    call->watch_problem = reason;
    call->section->failures_total += reason != NULL;
    if (reason)
        section_set_problem(call->section, reason);
}

static const struct discovery_files_reader watch_reader = {on_file, on_gone, on_settled};

void call_watch_files(struct discovery_call *call)
{
    const struct file_watch_listener listener = {&watch_reader, call, on_problem, call};
    call->watch = file_watch_new(&call->section->env->seams, &call->files, &listener);
}

/* ---- letting go ---- */

void call_let_go(struct discovery_call *call)
{
    http_call_cancel(STEAL(call->http));
    if (call->aws_wait)
        aws_credentials_cancel(STEAL(call->aws_wait));
    if (call->metadata)
        aws_metadata_cancel(STEAL(call->metadata));
    if (call->resolving)
        resolver_cancel(STEAL(call->resolving));
    file_watch_free(STEAL(call->watch));
    kubeconfig_done(&call->kubeconfig);
    mem_free(STEAL(call->broken));
}
