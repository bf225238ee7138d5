#include "hop/sender.h"
#include "base/fail.h"
#include "base/map.h"
#include "hop/answer.h"
#include "hop/receiver.h"

#include <errno.h>
#include <stdio.h>

#define REQUEST_BYTES_MAX                                                                                              \
    (8 * MIB) /* aimed at; one batch and its layouts may take it further, to the receiver's limit */
#define REQUEST_BATCHES_MAX 64
#define REQUESTS_DEFAULT    2
#define REQUESTS_MAX        16
#define TIMEOUT_MS          30000
#define BACKOFF_FIRST_MS    200
#define BACKOFF_MAX_MS      15000
/* What the upstream refuses for its version or ours, or for who we are, is tried this slowly: people must act first. */
#define BACKOFF_SLOW_MS   60000
#define ASK_MS            5000 /* how often we ask what has been delivered, when there is nothing to send */
#define ASKS_MAX          64   /* sources in one such request */
#define PREFERRED_MS      (5 * 60 * INT64_C(1000)) /* the first address is tried again after so long */
#define KNOWN_LAYOUTS_MAX 262144 /* hashes remembered as known upstream; past it they are learnt anew */

struct sender_request {
    struct sender *sender;
    struct http_call *call;
    uint64_t ids[REQUEST_BATCHES_MAX];
    uint32_t count;
    struct hash128 *layouts; /* sent along */
    uint32_t layout_count, layout_capacity;
    size_t bytes;
    size_t url;
};

struct sender {
    struct seams seams;
    struct spool *spool;
    size_t consumer;
    struct http_client *client;
    const struct sender_options *options;
    struct sender_request requests[REQUESTS_MAX];
    unsigned requests_max, in_flight;
    uint64_t in_flight_bytes, credit_bytes;
    size_t url; /* of the options, in use */
    int64_t url_since_ms;
    struct map known; /* low halves of hashes of layouts that the upstream has; items are (void *)1 */
    struct backoff backoff;
    struct loop_timer next_turn, retry, ask;
    struct buf body;
    bool started, resting; /* resting: until retry runs */
    bool noted;            /* a turn is due already */
    bool ask_due;
    bool draining;
    loop_fn *drained;
    void *drained_arg;
    struct loop_timer drain;
    struct sender_stats stats;
};

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
    backoff_init(&sender->backoff, BACKOFF_FIRST_MS, BACKOFF_MAX_MS);
    buf_init(&sender->body, RECEIVER_REQUEST_BYTES_MAX);
    loop_timer_init(&sender->next_turn, seams->loop, turn, sender);
    loop_timer_init(&sender->retry, seams->loop, retry_now, sender);
    loop_timer_init(&sender->ask, seams->loop, ask_now, sender);
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
    loop_timer_stop(&sender->drain);
    loop_timer_stop(&sender->next_turn);
    for (unsigned i = 0; i < REQUESTS_MAX; i++) {
        if (sender->requests[i].call)
            http_call_cancel(sender->requests[i].call);
        mem_free(sender->requests[i].layouts);
    }
    map_done(&sender->known);
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

/* ---- What goes into a request ---- */

static bool is_known(const struct sender *sender, struct hash128 hash)
{
    return map_get(&sender->known, hash128_low(hash), NULL, NULL) != NULL;
}

static void note_layout(struct sender_request *request, struct hash128 hash)
{
    if (request->layout_count == request->layout_capacity) {
        request->layout_capacity = MAX(2 * request->layout_capacity, 64U);
        request->layouts = mem_resize(request->layouts, request->layout_capacity, sizeof(*request->layouts));
    }
    request->layouts[request->layout_count++] = hash;
}

static bool is_along(const struct sender_request *request, struct hash128 hash)
{
    for (uint32_t i = request->layout_count; i-- > 0;)
        if (hash128_equal(request->layouts[i], hash))
            return true;
    return false;
}

/* Frames of the layouts that a batch names and the upstream may lack. -ENOENT: we lack it ourselves. */
static int add_layout(struct sender_request *request, struct hash128 hash)
{
    struct sender *sender = request->sender;
    if (is_known(sender, hash) || is_along(request, hash))
        return 0;
    const struct layout *layout = layout_table_get(spool_layouts(sender->spool), hash);
    if (!layout)
        return -ENOENT;
    int error = frame_append(&sender->body, FRAME_LAYOUT, layout->bytes, layout->bytes_len);
    if (error == 0)
        note_layout(request, hash);
    return error;
}

static int add_layouts(struct sender_request *request, struct str batch)
{
    struct arena arena;
    struct envelope envelope;
    struct str body;
    arena_init(&arena, 4 * ENVELOPE_BYTES_MAX);
    int error = envelope_decode(batch.ptr, batch.len, &arena, &envelope, &body);
    if (error == 0)
        error = add_layout(request, envelope.targets);
    for (uint32_t i = 0; i < envelope.page_count && error == 0; i++)
        error = add_layout(request, envelope.pages[i]);
    for (uint32_t i = 0; i < envelope.family_count && error == 0; i++)
        error = add_layout(request, envelope.families[i]);
    arena_done(&arena);
    return error;
}

/* Back to where the body and the request's layouts stood. */
static void take_back(struct sender_request *request, size_t len, uint32_t layout_count)
{
    request->sender->body.len = len;
    request->sender->body.full = false;
    request->layout_count = layout_count;
}

/* Adds a batch or gap. False: it does not fit any more. */
static bool add_batch(struct sender_request *request, uint64_t id)
{
    struct sender *sender = request->sender;
    size_t len = sender->body.len;
    uint32_t layout_count = request->layout_count;
    struct spool_batch batch;
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(FRAME_PAYLOAD_BYTES_MAX);
    int error = spool_read(sender->spool, id, &batch, &bytes);
    if (error == 0 && !batch.is_gap)
        error = add_layouts(request, buf_view(&bytes));
    if (error == 0)
        error = frame_append(&sender->body, batch.is_gap ? FRAME_GAP : FRAME_BATCH, bytes.data, bytes.len);
    bool first = request->count == 0;
    bool too_much = sender->body.len > REQUEST_BYTES_MAX && !first;
    if (error == 0 && !too_much) {
        spool_set_in_flight(sender->spool, sender->consumer, id, true);
        request->ids[request->count++] = id;
        return true;
    }
    take_back(request, len, layout_count);
    if (too_much || (error == -EMSGSIZE && !first))
        return false;
    /* It cannot be read here, or not be sent at all: it is lost, counted, and holds up no other. */
    spool_set_refused(sender->spool, sender->consumer, id);
    sender->stats.batches_refused_total++;
    snprintf(sender->stats.last_error, sizeof(sender->stats.last_error), "a batch of the spool cannot be sent: %s",
             strerror(-error));
    return true;
}

/* The newest first, then the oldest: what is new goes out at once, what piled up with the room that is left. */
static void fill(struct sender_request *request)
{
    struct sender *sender = request->sender;
    buf_reset(&sender->body);
    request->count = request->layout_count = 0;
    for (int tries = 0; tries < 2 * REQUEST_BATCHES_MAX && request->count < REQUEST_BATCHES_MAX; tries++) {
        uint64_t id = spool_next_pending(sender->spool, sender->consumer, request->count == 0);
        if (id == 0 || !add_batch(request, id))
            return;
    }
}

/* Nothing to send, but something that was stored is not known to be delivered: asks for that. */
static void fill_asks(struct sender *sender)
{
    struct source_id source;
    uint64_t epoch;
    size_t at = 0;
    CLEANUP(buf_done) struct buf ask = BUF_INIT(4 * KIB);
    for (int i = 0; i < ASKS_MAX && spool_next_stored(sender->spool, sender->consumer, &at, &source, &epoch); i++) {
        buf_reset(&ask);
        if (answer_ask_encode(&source, epoch, &ask) == 0)
            (void)!frame_append(&sender->body, FRAME_ASK, ask.data, ask.len);
    }
}

/* ---- What comes back ---- */

static void rest(struct sender *sender, int64_t ms)
{
    sender->resting = true;
    loop_timer_start(&sender->retry, ms, 0);
}

static void give_back(struct sender_request *request)
{
    for (uint32_t i = 0; i < request->count; i++)
        spool_set_in_flight(request->sender->spool, request->sender->consumer, request->ids[i], false);
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
        map_clear(&sender->known);
    }
    rest(sender, MAX(rest_ms, backoff_next_ms(&sender->backoff, sender->seams.random)));
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
        map_clear(&sender->known);
    for (uint32_t i = 0; i < request->layout_count; i++)
        if (!is_known(sender, request->layouts[i]))
            map_put(&sender->known, hash128_low(request->layouts[i]), sender);
}

static void take_verdict(struct sender *sender, uint64_t id, enum batch_verdict verdict, int64_t *rest_ms,
                         const struct answer *answer)
{
    switch (verdict) {
    case VERDICT_STORED:
    case VERDICT_DUPLICATE:
        sender->stats.batches_stored_total += verdict == VERDICT_STORED;
        sender->stats.batches_duplicate_total += verdict == VERDICT_DUPLICATE;
        spool_set_stored(sender->spool, sender->consumer, id);
        return;
    case VERDICT_MALFORMED:
    case VERDICT_CONFLICT:
        sender->stats.batches_refused_total++;
        spool_set_refused(sender->spool, sender->consumer, id);
        break;
    case VERDICT_MISSING:
        /* At once, with what it asked for; a receiver that asks again and again is met by the back-off. */
        spool_set_in_flight(sender->spool, sender->consumer, id, false);
        *rest_ms = MAX(*rest_ms, backoff_next_ms(&sender->backoff, sender->seams.random));
        return;
    case VERDICT_BUSY:
        spool_set_in_flight(sender->spool, sender->consumer, id, false);
        *rest_ms = MAX(*rest_ms, MIN(answer->retry_after_ms, (int64_t)BACKOFF_SLOW_MS));
        break;
    case VERDICT_UNSUPPORTED:
    case VERDICT_UNAUTHORISED:
    default:
        spool_set_in_flight(sender->spool, sender->consumer, id, false);
        *rest_ms = MAX(*rest_ms, (int64_t)BACKOFF_SLOW_MS);
        break;
    }
    snprintf(sender->stats.last_error, sizeof(sender->stats.last_error), "the upstream answered: %s",
             batch_verdict_name(verdict));
}

static void take_answer(struct sender_request *request, const struct answer *answer)
{
    struct sender *sender = request->sender;
    int64_t rest_ms = 0;
    bool moved = false; /* something was taken in */
    if (spool_set_upstream(sender->spool, sender->consumer, answer->receiver_incarnation))
        map_clear(&sender->known);
    learn_layouts(request);
    forget_missing(sender, answer);
    for (uint32_t i = 0; i < request->count; i++) {
        take_verdict(sender, request->ids[i], answer->verdicts[i], &rest_ms, answer);
        moved |= answer->verdicts[i] == VERDICT_STORED || answer->verdicts[i] == VERDICT_DUPLICATE;
    }
    for (uint32_t i = 0; i < answer->mark_count; i++)
        spool_set_delivered(sender->spool, sender->consumer, &answer->marks[i].source, answer->marks[i].epoch,
                            answer->marks[i].delivered_seq);
    sender->credit_bytes = MAX(answer->credit_bytes, (uint64_t)1);
    sender->stats.up = true;
    sender->stats.last_success_ms = clock_wall_ms(loop_clock(sender->seams.loop));
    if (rest_ms == 0) {
        backoff_reset(&sender->backoff);
        sender->stats.last_error[0] = 0;
    } else if (!moved) {
        rest(sender, rest_ms);
    }
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
    map_clear(&sender->known);
}

static bool send_one(struct sender *sender)
{
    /* At least one request may always be out, however small the credit. */
    bool over = sender->in_flight > 0 && sender->in_flight_bytes >= sender->credit_bytes;
    struct sender_request *request = over ? NULL : idle_request(sender);
    if (!request)
        return false;
    request->sender = sender;
    fill(request);
    if (request->count == 0 && sender->ask_due && sender->in_flight == 0)
        fill_asks(sender);
    sender->ask_due = false;
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
