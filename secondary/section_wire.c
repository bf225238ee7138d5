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

static int on_file(void *arg, struct str path, struct str text)
{
    struct discovery_call *call = arg;
    struct section *section = call->section;
    section->problem_said = false;
    section->bytes_total += text.len;
    int r = call->files_reader->file(call->arg, path, text);
    section->failures_total += r < 0;
    section_after(section);
    return r;
}

static void on_gone(void *arg, struct str path)
{
    struct discovery_call *call = arg;
    call->files_reader->gone(call->arg, path);
    section_after(call->section);
}

static void on_settled(void *arg, bool all_well)
{
    struct discovery_call *call = arg;
    struct section *section = call->section;
    section->requests_total++;
    section->problem_said = !all_well;
    if (call->files_reader->settled)
        call->files_reader->settled(call->arg);
    section_is_well(section);
    section_after(section);
}

static void on_problem(void *arg, const char *text)
{
    struct discovery_call *call = arg;
    section_set_problem(call->section, text);
}

static const struct file_watch_reader watch_reader = {on_file, on_gone, on_settled, on_problem};

void call_watch_files(struct discovery_call *call)
{
    call->watch = file_watch_new(&call->section->env->seams, &call->files, &watch_reader, call);
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
}
