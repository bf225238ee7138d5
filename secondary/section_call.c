/* When what a plugin asks for is sent, and what becomes of its end. */
#include "section_internal.h"

#include "base/fail.h"
#include "base/log.h"

#include <stdio.h>

#define BACKOFF_FIRST_MS 1000
#define BACKOFF_MAX_MS   120000
#define CALL_BYTES_MAX   (16 * MIB) /* of a request's texts and body */

static void on_timer(void *arg);

struct discovery_call *call_new(struct section *section, enum call_kind kind, void *arg)
{
    struct discovery_call *call = mem_zalloc(sizeof(*call));
    call->section = section;
    call->kind = kind;
    call->arg = arg;
    arena_init(&call->arena, 0);
    buf_init(&call->error_body, DISCOVERY_ERROR_BYTES_MAX);
    backoff_init(&call->backoff, BACKOFF_FIRST_MS, BACKOFF_MAX_MS);
    loop_timer_init(&call->timer, section->env->seams.loop, on_timer, call);
    call->next = section->calls;
    if (call->next)
        call->next->previous = call;
    section->calls = call;
    section->call_count++;
    return call;
}

void call_start(struct discovery_call *call, int64_t after_ms, int64_t spread_ms)
{
    struct random *random = call->section->env->seams.random;
    int64_t spread = spread_ms > 0 ? (int64_t)random_below(random, (uint64_t)spread_ms + 1) : 0;
    call->state = CALL_WAITING;
    call->timer.fn = on_timer; /* section_http may have lent it */
    loop_timer_start(&call->timer, MAX(after_ms, 0) + spread, 0);
}

static void send(struct discovery_call *call)
{
    struct section *section = call->section;
    call->state = CALL_SENT;
    section->in_flight++;
    section->requests_total += call->kind != CALL_FILES;
    call->sent_ms = clock_mono_ms(loop_clock(section->env->seams.loop));
    call->status = 0;
    call->reader_refused = false;
    call->said = false;
    buf_reset(&call->error_body);
    if (call->kind == CALL_HTTP)
        call_send_http(call);
    else
        call_send_dns(call);
}

static void on_timer(void *arg)
{
    struct discovery_call *call = arg;
    struct section *section = call->section;
    if (call->kind == CALL_FILES) {
        call->state = CALL_SENT;
        call_watch_files(call);
    } else if (section->in_flight < DISCOVERY_CALLS_MAX) {
        send(call);
    } else {
        call->state = CALL_QUEUED;
        call->queue_next = NULL;
        *section->queue_end = call;
        section->queue_end = &call->queue_next;
    }
}

static void send_queued(struct section *section)
{
    while (section->queue && section->in_flight < DISCOVERY_CALLS_MAX) {
        struct discovery_call *call = section->queue;
        section->queue = call->queue_next;
        if (!section->queue)
            section->queue_end = &section->queue;
        send(call);
    }
}

static void leave_queue(struct discovery_call *call)
{
    struct section *section = call->section;
    struct discovery_call **at = &section->queue;
    while (*at != call)
        at = &(*at)->queue_next;
    *at = call->queue_next;
    if (!*at)
        section->queue_end = at;
}

/* ---- the end of a call ---- */

void call_set_failing(struct discovery_call *call, bool failing)
{
    call->section->failing += failing;
    call->section->failing -= call->failing;
    call->failing = failing;
}

/* Out of the section's calls; what is under way is let go on the loop's next turn, as this may be from within it. */
static void doom(struct discovery_call *call)
{
    struct section *section = call->section;
    if (call->state == CALL_QUEUED)
        leave_queue(call);
    if (call->state == CALL_SENT && call->kind != CALL_FILES)
        section->in_flight--;
    call->state = CALL_DOOMED;
    call_set_failing(call, false);
    loop_timer_stop(&call->timer);
    *(call->previous ? &call->previous->next : &section->calls) = call->next;
    if (call->next)
        call->next->previous = call->previous;
    section->call_count--;
    call->previous = NULL;
    call->next = section->doomed;
    section->doomed = call;
    loop_timer_start(&section->sweep, 0, 0);
}

void call_doom(struct discovery_call *call)
{
    ASSERT(call->state != CALL_TELLING && call->state != CALL_DOOMED);
    doom(call);
}

void call_free_doomed(struct section *section)
{
    while (section->doomed) {
        struct discovery_call *call = section->doomed;
        section->doomed = call->next;
        call_let_go(call);
        buf_done(&call->error_body);
        mem_free(call->etag);
        mem_free(call->last_modified);
        arena_done(&call->arena);
        mem_free(call);
    }
    send_queued(section);
}

/* Where the plugin has not said what was wrong. */
static void say_problem(struct discovery_call *call, const struct discovery_end *end)
{
    char text[512];
    const char *what = call->kind == CALL_DNS ? call->lookup.name : call->request.url.ptr;
    struct str body = end->error_body;
    body.len = MIN(str_find(body, '\n'), (size_t)200);
    if (call->said)
        return;
    if (end->failure != DISCOVERY_OK)
        snprintf(text, sizeof(text), "%.200s: %s", what, end->reason ? end->reason : "failed");
    else
        snprintf(text, sizeof(text), "%.200s: HTTP %d%s" STR_FMT, what, end->status, body.len > 0 ? ": " : "",
                 STR_ARG(body));
    section_set_problem(call->section, text);
}

static enum discovery_verdict tell(struct discovery_call *call, const struct call_end *ended,
                                   const struct discovery_end *end)
{
    if (call->kind == CALL_DNS)
        return call->lookup_fn(call->arg, end, ended->records, ended->record_count);
    return call->reader->end(call->arg, end);
}

void call_end(struct discovery_call *call, const struct call_end *ended)
{
    struct section *section = call->section;
    const struct discovery_end end = {.failure = ended->failure,
                                      .reason = ended->reason,
                                      .status = call->status,
                                      .error_body = buf_view(&call->error_body),
                                      .not_modified = call->status == 304,
                                      .reader_refused = call->reader_refused,
                                      .took_ms = clock_mono_ms(loop_clock(section->env->seams.loop)) - call->sent_ms};
    ASSERT(call->state == CALL_SENT);
    section->in_flight--;
    call->state = CALL_TELLING;
    section->telling = call;
    enum discovery_verdict verdict = tell(call, ended, &end);
    section->telling = NULL;
    section->failures_total += verdict == DISCOVERY_RETRY;
    if (verdict == DISCOVERY_DONE) {
        call_keep_validators(call);
        call_set_failing(call, false);
        if (!call->said)
            section_is_well(section);
    }
    if (verdict == DISCOVERY_RETRY) {
        call_set_failing(call, true);
        say_problem(call, &end);
        int64_t wait_ms = backoff_next_ms(&call->backoff, section->env->seams.random);
        call_start(call, MAX(wait_ms, MIN(ended->retry_after_s, 3600) * 1000), 0);
    } else {
        doom(call);
    }
    section_after(section);
    send_queued(section);
}
