#include "hop/sender_internal.h"

#include <errno.h>
#include <stdio.h>

#define REQUESTS_DEFAULT 2
#define TIMEOUT_MS       30000
#define BACKOFF_FIRST_MS 200
#define BACKOFF_MAX_MS   15000
/* What the upstream refuses for its version or ours, or for who we are, is tried this slowly: people must act first. */
#define BACKOFF_SLOW_MS   60000
#define ASK_MS            5000                     /* how often we ask what has been delivered */
#define PREFERRED_MS      (5 * 60 * INT64_C(1000)) /* the first address is tried again after so long */
#define KNOWN_LAYOUTS_MAX 262144 /* hashes remembered as known upstream; past it they are learnt anew */

static void turn(void *arg);

/* Acts on the loop's own turn: the spool calls from within its appends. */
static void wake(void *arg)
{
    struct sender *sender = arg;
    if (sender->noted)
        return;
    sender->noted = true;
    loop_timer_start(&sender->next_turn, 0, 0);
}

static int64_t mono_ms(const struct sender *sender)
{
    return clock_mono_ms(loop_clock(sender->seams.loop));
}

static void retry_now(void *arg)
{
    struct sender *sender = arg;
    sender->resting = false;
    turn(sender);
}

static void ask_now(void *arg)
{
    struct sender *sender = arg;
    sender->ask_due = true;
    turn(sender);
}

static void give_back(struct sender_request *request)
{
    for (uint32_t i = 0; i < request->count; i++)
        spool_set_in_flight(request->sender->spool, request->sender->consumer, request->ids[i], false);
}

static void give_back_aside(struct sender *sender)
{
    for (size_t i = 0; i < sender->aside_count; i++)
        spool_set_in_flight(sender->spool, sender->consumer, sender->aside[i], false);
    sender->aside_count = 0;
}

static void slow_over(void *arg)
{
    struct sender *sender = arg;
    give_back_aside(sender);
    turn(sender);
}

static void drain_over(void *arg)
{
    struct sender *sender = arg;
    loop_fn *fn = STEAL(sender->drained);
    loop_timer_stop(&sender->drain);
    if (fn)
        fn(sender->drained_arg);
}

struct sender *sender_new(const struct seams *seams, struct spool *spool, size_t consumer, struct http_client *client,
                          const struct sender_options *options)
{
    ASSERT(options->url_count > 0);
    struct sender *sender = mem_zalloc(sizeof(*sender));
    sender->seams = *seams;
    sender->spool = spool;
    sender->consumer = consumer;
    sender->client = client;
    sender->options = options;
    sender->requests_max = MIN(options->requests_max ? options->requests_max : REQUESTS_DEFAULT, REQUESTS_MAX);
    sender->credit_bytes = REQUEST_BYTES_MAX;
    map_init(&sender->known);
    map_init(&sender->along);
    sender->packer = layout_packer_new(spool_layouts(spool), sender_sends_layout, sender);
    backoff_init(&sender->backoff, BACKOFF_FIRST_MS, BACKOFF_MAX_MS);
    buf_init(&sender->body, RECEIVER_REQUEST_BYTES_MAX);
    loop_timer_init(&sender->next_turn, seams->loop, turn, sender);
    loop_timer_init(&sender->retry, seams->loop, retry_now, sender);
    loop_timer_init(&sender->ask, seams->loop, ask_now, sender);
    loop_timer_init(&sender->slow, seams->loop, slow_over, sender);
    loop_timer_init(&sender->drain, seams->loop, drain_over, sender);
    return sender;
}

void sender_free(struct sender *sender)
{
    if (!sender)
        return;
    if (sender->started)
        spool_off_append(sender->spool, wake, sender);
    loop_timer_stop(&sender->retry);
    loop_timer_stop(&sender->ask);
    loop_timer_stop(&sender->slow);
    loop_timer_stop(&sender->drain);
    loop_timer_stop(&sender->next_turn);
    for (unsigned i = 0; i < REQUESTS_MAX; i++) {
        if (sender->requests[i].call) {
            http_call_cancel(sender->requests[i].call);
            give_back(&sender->requests[i]);
        }
        mem_free(sender->requests[i].layouts);
    }
    give_back_aside(sender);
    mem_free(sender->aside);
    mem_free(sender->stored);
    map_done(&sender->known);
    map_done(&sender->along);
    layout_packer_free(sender->packer);
    buf_done(&sender->body);
    mem_free(sender);
}

void sender_start(struct sender *sender)
{
    ASSERT(!sender->started);
    sender->started = true;
    sender->url_since_ms = mono_ms(sender);
    spool_on_append(sender->spool, wake, sender);
    loop_timer_start(&sender->ask, ASK_MS, ASK_MS);
    wake(sender);
}

void sender_drain(struct sender *sender, int64_t deadline_ms, loop_fn *fn, void *arg)
{
    sender->draining = true;
    sender->drained = fn;
    sender->drained_arg = arg;
    loop_timer_start(&sender->drain, deadline_ms, 0);
    wake(sender);
}

void sender_stats(const struct sender *sender, struct sender_stats *ret_stats)
{
    *ret_stats = sender->stats;
    ret_stats->in_flight = sender->in_flight;
}

/* ---- What comes back ---- */

static void rest(struct sender *sender, int64_t ms)
{
    sender->resting = true;
    loop_timer_start(&sender->retry, ms, 0);
}

static void failed(struct sender_request *request, const char *reason, int64_t rest_ms)
{
    struct sender *sender = request->sender;
    give_back(request);
    sender->stats.up = false;
    sender->stats.failures_total++;
    snprintf(sender->stats.last_error, sizeof(sender->stats.last_error), "%s", reason);
    /* Another address may do, and may belong to another machine. */
    if (request->url == sender->url && sender->options->url_count > 1) {
        sender->url = (sender->url + 1) % sender->options->url_count;
        sender->url_since_ms = mono_ms(sender);
        sender_forget_layouts(sender);
    }
    int64_t backoff_ms = backoff_next_ms(&sender->backoff, sender->seams.random);
    rest(sender, MAX(rest_ms, backoff_ms));
}

static void forget_missing(struct sender *sender, const struct answer *answer)
{
    for (uint32_t i = 0; i < answer->missing_count; i++)
        map_remove(&sender->known, hash128_low(answer->missing[i]), NULL, NULL);
}

static void learn_layouts(struct sender_request *request)
{
    struct sender *sender = request->sender;
    if (sender->known.count + request->layout_count > KNOWN_LAYOUTS_MAX)
        sender_forget_layouts(sender);
    for (uint32_t i = 0; i < request->layout_count; i++)
        if (!sender_knows_layout(sender, request->layouts[i]))
            map_put(&sender->known, hash128_low(request->layouts[i]), sender);
}

/* Stays in flight for the spool until the slow timer. */
static void set_aside(struct sender *sender, uint64_t id)
{
    if (sender->aside_count == ASIDE_MAX) {
        spool_set_in_flight(sender->spool, sender->consumer, id, false);
        return;
    }
    if (!sender->aside)
        sender->aside = mem_array(ASIDE_MAX, sizeof(*sender->aside));
    sender->aside[sender->aside_count++] = id;
    if (!sender->slow.active)
        loop_timer_start(&sender->slow, BACKOFF_SLOW_MS, 0);
}

static void take_verdict(struct sender *sender, uint64_t id, enum batch_verdict verdict)
{
    switch (verdict) {
    case VERDICT_STORED:
    case VERDICT_DUPLICATE:
        sender->stats.batches_stored_total += verdict == VERDICT_STORED;
        sender->stats.batches_duplicate_total += verdict == VERDICT_DUPLICATE;
        spool_set_stored(sender->spool, sender->consumer, id);
        sender_note_stored(sender, id);
        return;
    case VERDICT_MALFORMED:
    case VERDICT_CONFLICT:
        sender->stats.batches_refused_total++;
        spool_set_refused(sender->spool, sender->consumer, id);
        return;
    case VERDICT_UNSUPPORTED:
    case VERDICT_UNAUTHORISED:
        set_aside(sender, id);
        return;
    case VERDICT_MISSING:
    case VERDICT_BUSY:
    case VERDICT_COUNT:
        break;
    }
    spool_set_in_flight(sender->spool, sender->consumer, id, false);
}

/* How long to rest after verdicts of these kinds (a count each). What is busy says so itself; who asks for layouts
 * again and again, and takes nothing in, is met by the back-off. */
static int64_t rest_after(struct sender *sender, const uint32_t *kinds, const struct answer *answer)
{
    bool moved = kinds[VERDICT_STORED] + kinds[VERDICT_DUPLICATE] > 0;
    if (moved || kinds[VERDICT_MISSING] > 0)
        sender->lacking = !moved;
    if (moved || answer->verdict_count == 0)
        backoff_reset(&sender->backoff);
    if (sender->aside_count == ASIDE_MAX)
        return BACKOFF_SLOW_MS;
    if (kinds[VERDICT_BUSY] > 0)
        return MIN(MAX(answer->retry_after_ms, (int64_t)1), (int64_t)BACKOFF_SLOW_MS);
    return kinds[VERDICT_MISSING] > 0 && !moved ? backoff_next_ms(&sender->backoff, sender->seams.random) : 0;
}

/* The worst of what was answered, for people. */
static void note_verdicts(struct sender *sender, const uint32_t *kinds)
{
    static const enum batch_verdict worst_first[] = {VERDICT_CONFLICT, VERDICT_UNAUTHORISED, VERDICT_UNSUPPORTED,
                                                     VERDICT_MALFORMED, VERDICT_BUSY};
    for (size_t i = 0; i < ARRAY_LEN(worst_first); i++) {
        if (kinds[worst_first[i]] == 0)
            continue;
        snprintf(sender->stats.last_error, sizeof(sender->stats.last_error), "the upstream answered: %s",
                 batch_verdict_name(worst_first[i]));
        return;
    }
    if (sender->aside_count == 0)
        sender->stats.last_error[0] = 0;
}

static void take_answer(struct sender_request *request, const struct answer *answer)
{
    struct sender *sender = request->sender;
    size_t unknown_count;
    CLEANUP_FREE uint64_t *unknown = sender_stored_since(request, &unknown_count);
    sender->turn++;
    uint32_t kinds[VERDICT_COUNT] = {0};
    if (spool_set_upstream(sender->spool, sender->consumer, answer->receiver_incarnation))
        sender_forget_layouts(sender);
    for (uint32_t i = 0; i < request->count; i++) {
        kinds[answer->verdicts[i]]++;
        take_verdict(sender, request->ids[i], (enum batch_verdict)answer->verdicts[i]);
    }
    /* A receiver keeps layouts that came with a batch it took, or that others are to follow. */
    if (kinds[VERDICT_STORED] + kinds[VERDICT_MISSING] > 0 || request->count == 0)
        learn_layouts(request);
    forget_missing(sender, answer);
    sender_take_marks(request, answer, unknown, unknown_count);
    sender_forget_stored(sender);
    sender->credit_bytes = MAX(answer->credit_bytes, (uint64_t)1);
    sender->stats.up = true;
    sender->stats.last_success_ms = clock_wall_ms(loop_clock(sender->seams.loop));
    note_verdicts(sender, kinds);
    int64_t rest_ms = rest_after(sender, kinds, answer);
    if (rest_ms > 0)
        rest(sender, rest_ms);
}

static void take_result(struct sender_request *request, const struct http_result *result)
{
    char reason[128];
    if (result->failure != HTTP_OK) {
        failed(request, result->reason, 0);
        return;
    }
    if (result->status == 200) {
        struct arena arena;
        struct answer answer;
        arena_init(&arena, 4 * ANSWER_BYTES_MAX);
        int error = answer_decode(result->body.ptr, result->body.len, &arena, &answer);
        if (error == 0 && answer.verdict_count == request->count)
            take_answer(request, &answer);
        else
            failed(request, "the upstream's answer is not one of tributary's", BACKOFF_SLOW_MS);
        arena_done(&arena);
        return;
    }
    bool people = result->status >= 400 && result->status < 500 && result->status != 408 && result->status != 429;
    snprintf(reason, sizeof(reason), "HTTP status %d: " STR_FMT, result->status,
             (int)MIN(str_find(result->body, '\n'), (size_t)80), result->body.ptr ? result->body.ptr : "");
    failed(request, reason, people ? BACKOFF_SLOW_MS : MIN(result->retry_after_s, 60) * 1000);
}

static void done(void *arg, const struct http_result *result)
{
    struct sender_request *request = arg;
    struct sender *sender = request->sender;
    request->call = NULL;
    sender->in_flight--;
    sender->in_flight_bytes -= request->bytes;
    take_result(request, result);
    wake(sender);
}

/* ---- Sending ---- */

static bool post(struct sender_request *request)
{
    struct sender *sender = request->sender;
    CLEANUP_FREE char *url = mem_printf("%s%s", sender->options->urls[sender->url], RECEIVER_PATH);
    CLEANUP_FREE char *bearer =
        sender->options->bearer_token ? mem_printf("Bearer %s", sender->options->bearer_token) : NULL;
    char sent_at[32];
    snprintf(sent_at, sizeof(sent_at), "%lld", (long long)clock_wall_ms(loop_clock(sender->seams.loop)));
    const struct http_header headers[] = {{"Content-Type", "application/x-tributary-frames"},
                                          {"X-Tributary-Sent-At", sent_at},
                                          {"Authorization", bearer}};
    struct http_request_spec spec = {.method = "POST",
                                     .url = url,
                                     .headers = headers,
                                     .header_count = bearer ? 3 : 2,
                                     .body = sender->body.data,
                                     .body_len = sender->body.len,
                                     .tls = &sender->options->tls,
                                     .timeout_ms =
                                         sender->options->timeout_ms ? sender->options->timeout_ms : TIMEOUT_MS,
                                     .response_bytes_max = ANSWER_BYTES_MAX};
    request->url = sender->url;
    request->turn = sender->turn;
    request->bytes = sender->body.len;
    int error = http_client_call(sender->client, &spec, done, request, &request->call);
    if (error < 0) {
        failed(request, strerror(-error), 0);
        return false;
    }
    sender->in_flight++;
    sender->in_flight_bytes += request->bytes;
    sender->stats.requests_total++;
    sender->stats.bytes_total += request->bytes;
    sender->stats.layouts_total += request->layout_count;
    return true;
}

static struct sender_request *idle_request(struct sender *sender)
{
    for (unsigned i = 0; i < sender->requests_max; i++)
        if (!sender->requests[i].call)
            return &sender->requests[i];
    return NULL;
}

/* The first address is the preferred one: after a while away it is tried again. */
static void prefer_first(struct sender *sender)
{
    if (sender->url == 0 || mono_ms(sender) - sender->url_since_ms < PREFERRED_MS)
        return;
    sender->url = 0;
    sender->url_since_ms = mono_ms(sender);
    sender_forget_layouts(sender);
}

static bool send_one(struct sender *sender)
{
    /* At least one request may always be out, however small the credit. */
    bool over = sender->in_flight > 0 && sender->in_flight_bytes >= sender->credit_bytes;
    struct sender_request *request = over ? NULL : idle_request(sender);
    if (!request)
        return false;
    request->sender = sender;
    sender_fill(request);
    return sender->body.len > 0 && post(request);
}

static void turn(void *arg)
{
    struct sender *sender = arg;
    sender->noted = false;
    if (sender->draining) {
        if (sender->in_flight == 0)
            drain_over(sender);
        return;
    }
    if (!sender->started)
        return;
    prefer_first(sender);
    while (!sender->resting && send_one(sender)) {
    }
}
