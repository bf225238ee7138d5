#include "base/limits.h"
#include "hop/batch.h"
#include "hop/gap.h"
#include "hop/receiver_internal.h"

#include <errno.h>
#include <stdio.h>

/* Of one request: batches and gaps are bounded by what an answer holds; packs, asks and what is not known here. */
#define OTHERS_MAX      65536
#define ARENA_BYTES_MAX (64 * MIB)
#define RETRY_AFTER_MS  1000
/* A sender may have so much in flight, of all that may be. */
#define CREDIT_SHARE 8

struct taken { /* a batch or gap of the request */
    enum batch_verdict verdict;
    struct envelope envelope; /* of batches */
    struct spool_batch batch; /* as accept gets it; of gaps too */
    struct str bytes;
    bool is_new; /* to be handed on when it is on disk */
};

struct receiver_request {
    struct receiver_request *next, **previous; /* among receiver->requests */
    struct receiver *receiver;                 /* NULL: gone meanwhile */
    struct http_exchange *exchange;            /* NULL: answered */
    struct str identity;
    struct arena arena;
    struct taken *taken;
    uint32_t taken_count;
    struct hash128 *missing;
    uint32_t missing_count;
    struct answer_mark *marks;
    uint32_t mark_count;
    struct layout_take layouts; /* of its packs, held in the table until it is over */
    uint64_t bytes;
    int64_t sent_at_ms;
};

struct receiver *receiver_new(const struct seams *seams, struct spool *spool, const struct auth *auth,
                              const struct receiver_options *options)
{
    struct receiver *receiver = mem_zalloc(sizeof(*receiver));
    receiver->seams = *seams;
    receiver->spool = spool;
    receiver->auth = auth;
    receiver->options = *options;
    receiver->datacenter = options->datacenter ? mem_strdup(options->datacenter) : NULL;
    receiver->rejects_dir = options->rejects_dir ? mem_strdup(options->rejects_dir) : NULL;
    map_init(&receiver->source_map);
    return receiver;
}

void receiver_set_auth(struct receiver *receiver, const struct auth *auth)
{
    receiver->auth = auth;
}

void receiver_stats(const struct receiver *receiver, struct receiver_stats *ret_stats)
{
    *ret_stats = receiver->stats;
}

/* ---- Layouts whose batches are still to come ---- */

static void unpark_first(struct receiver *receiver)
{
    struct parked_layout *first = &receiver->parked[receiver->parked_first];
    receiver->parked_bytes -= first->bytes;
    receiver->parked_first = (receiver->parked_first + 1) % PARKED_LAYOUTS_MAX;
    receiver->parked_count--;
    layout_table_release(spool_layouts(receiver->spool), first->hash);
}

/* Takes over one hold of the layout. */
static void park(struct receiver *receiver, struct hash128 hash)
{
    struct layout_table *table = spool_layouts(receiver->spool);
    uint64_t bytes = layout_table_get(table, hash)->whole_memory,
             bytes_max = layout_table_cache_bytes_max(table) / PARKED_CACHE_SHARE;
    if (!receiver->parked)
        receiver->parked = mem_array(PARKED_LAYOUTS_MAX, sizeof(*receiver->parked));
    while (receiver->parked_count == PARKED_LAYOUTS_MAX ||
           (receiver->parked_count > 0 && receiver->parked_bytes + bytes > bytes_max))
        unpark_first(receiver);
    size_t place = (receiver->parked_first + receiver->parked_count++) % PARKED_LAYOUTS_MAX;
    receiver->parked[place] = (struct parked_layout){hash, bytes};
    receiver->parked_bytes += bytes;
}

/* ---- A request's life ---- */

static struct receiver_request *request_new(struct receiver *receiver, struct http_exchange *exchange)
{
    struct receiver_request *request = mem_zalloc(sizeof(*request));
    request->receiver = receiver;
    request->exchange = exchange;
    request->bytes = http_exchange_body(exchange).len;
    arena_init(&request->arena, ARENA_BYTES_MAX);
    receiver->in_flight_bytes += request->bytes;
    request->next = receiver->requests;
    request->previous = &receiver->requests;
    if (request->next)
        request->next->previous = &request->next;
    receiver->requests = request;
    return request;
}

/* Off the receiver's list. */
static void request_leave(struct receiver_request *request)
{
    struct receiver *receiver = request->receiver;
    if (!receiver)
        return;
    bool others_follow = request->missing_count > 0 || request->taken_count == 0;
    for (uint32_t i = 0; i < request->layouts.held_count; i++) {
        if (others_follow)
            park(receiver, request->layouts.held[i]);
        else
            layout_table_release(spool_layouts(receiver->spool), request->layouts.held[i]);
    }
    receiver->in_flight_bytes -= request->bytes;
    *request->previous = request->next;
    if (request->next)
        request->next->previous = request->previous;
    request->receiver = NULL;
}

static void request_free(struct receiver_request *request)
{
    request_leave(request);
    mem_free(request->taken);
    mem_free(request->missing);
    mem_free(request->marks);
    layout_take_done(&request->layouts);
    arena_done(&request->arena);
    mem_free(request);
}

void receiver_free(struct receiver *receiver)
{
    if (!receiver)
        return;
    /* Their syncs call back later and find nothing left to do. */
    while (receiver->requests) {
        struct receiver_request *request = receiver->requests;
        http_exchange_answer_text(STEAL(request->exchange), 503, "stopping\n");
        request_leave(request);
    }
    while (receiver->parked_count > 0)
        unpark_first(receiver);
    mem_free(receiver->parked);
    receiver_sources_free(receiver);
    mem_free(receiver->datacenter);
    mem_free(receiver->rejects_dir);
    mem_free(receiver);
}

/* ---- Verdicts ---- */

static void refuse(struct receiver_request *request, const struct source_id *source, const char *reason)
{
    struct receiver *receiver = request->receiver;
    if (source) {
        struct source_entry *entry = receiver_source_get(receiver, source);
        if (entry)
            entry->public.refused_total++;
    }
    if (!receiver->options.on_refused)
        return;
    char text[2 * SOURCE_NAME_BYTES_MAX + 2];
    if (source)
        snprintf(text, sizeof(text), STR_FMT "/" STR_FMT, STR_ARG(source->datacenter), STR_ARG(source->secondary));
    else
        snprintf(text, sizeof(text), STR_FMT, STR_ARG(http_exchange_peer(request->exchange)));
    receiver->options.on_refused(receiver->options.on_refused_arg, str_from(text), reason);
}

/* A source may write as itself only. NULL: it may. */
static const char *why_not(const struct receiver_request *request, const struct source_id *source)
{
    const struct receiver *receiver = request->receiver;
    if (source->incarnation == spool_incarnation(receiver->spool))
        return "it bears this daemon's own incarnation";
    if (receiver->datacenter && !str_equal(source->datacenter, str_from(receiver->datacenter)))
        return "it is of another datacenter";
    struct str name = receiver->options.identity_is_secondary ? source->secondary : source->datacenter;
    if (request->identity.len > 0 && !str_equal(request->identity, name))
        return "its sender may not write in its name";
    return NULL;
}

static void note_missing(void *arg, struct hash128 hash)
{
    struct receiver_request *request = arg;
    if (request->missing_count == ANSWER_MISSING_MAX)
        return;
    if (request->missing_count % 64 == 0)
        request->missing = mem_resize(request->missing, request->missing_count + 64, sizeof(*request->missing));
    request->missing[request->missing_count++] = hash;
}

static bool is_missing(struct receiver_request *request, struct hash128 hash, enum layout_type type)
{
    if (layout_table_has(spool_layouts(request->receiver->spool), hash, type))
        return false;
    note_missing(request, hash);
    return true;
}

static bool note_all_missing(struct receiver_request *request, const struct envelope *envelope)
{
    bool missing = is_missing(request, envelope->targets, LAYOUT_TARGETS);
    for (uint32_t i = 0; i < envelope->page_count; i++)
        missing |= is_missing(request, envelope->pages[i], LAYOUT_PAGE);
    return missing;
}

static enum batch_verdict malformed(struct receiver_request *request, struct str bytes, const struct source_id *source,
                                    const char *reason)
{
    request->receiver->stats.malformed_total++;
    refuse(request, source, reason);
    receiver_reject(request->receiver, bytes);
    return VERDICT_MALFORMED;
}

static enum batch_verdict unauthorised(struct receiver_request *request, const struct source_id *source,
                                       const char *reason)
{
    request->receiver->stats.unauthorised_total++;
    refuse(request, source, reason);
    return VERDICT_UNAUTHORISED;
}

static enum batch_verdict unsupported(struct receiver_request *request, const struct source_id *source)
{
    request->receiver->stats.unsupported_total++;
    refuse(request, source, "its version is newer than this daemon knows: upgrade from the top down");
    return VERDICT_UNSUPPORTED;
}

static enum batch_verdict conflict(struct receiver_request *request, const struct source_id *source)
{
    request->receiver->stats.conflicts_total++;
    refuse(request, source, "its number is known with another content: two secondaries of one name and directory?");
    return VERDICT_CONFLICT;
}

static enum batch_verdict duplicate(struct receiver_request *request, const struct source_id *source)
{
    struct source_entry *entry = receiver_source_get(request->receiver, source);
    request->receiver->stats.duplicates_total++;
    if (entry)
        entry->public.duplicates_total++;
    return VERDICT_DUPLICATE;
}

/* What the spool said. */
static enum batch_verdict appended(struct receiver_request *request, struct taken *taken, int error)
{
    if (error == -EEXIST)
        return duplicate(request, &taken->batch.source);
    if (error < 0) {
        request->receiver->stats.busy_total++;
        refuse(request, &taken->batch.source, strerror(-error));
        return VERDICT_BUSY;
    }
    taken->is_new = true;
    return VERDICT_STORED;
}

static enum batch_verdict take_batch(struct receiver_request *request, struct taken *taken, uint32_t checksum)
{
    struct receiver *receiver = request->receiver;
    struct envelope *envelope = &taken->envelope;
    struct str body;
    int error = taken->bytes.len > BATCH_BYTES_MAX
                    ? -EMSGSIZE
                    : envelope_decode(taken->bytes.ptr, taken->bytes.len, &request->arena, envelope, &body);
    if (error == -EPROTO)
        return unsupported(request, NULL);
    if (error < 0)
        return malformed(request, taken->bytes, NULL, error == -EMSGSIZE ? "it is too large" : "it is malformed");
    taken->batch.source = envelope->source;
    const char *reason = why_not(request, &envelope->source);
    if (reason)
        return unauthorised(request, &envelope->source, reason);
    if (envelope->is_remote_write)
        return malformed(request, taken->bytes, &envelope->source, "it is of a global's own log");
    if (envelope->body_version > BATCH_BODY_VERSION)
        return unsupported(request, &envelope->source);
    if (!receiver_source_make(receiver, &envelope->source))
        return unauthorised(request, NULL, "there are too many sources");
    switch (seqlog_check(spool_seen(receiver->spool), &envelope->source, envelope->epoch, envelope->seq, checksum)) {
    case SEQLOG_CONFLICT:
        return conflict(request, &envelope->source);
    case SEQLOG_DUPLICATE:
        return duplicate(request, &envelope->source);
    case SEQLOG_NEW:
        break;
    }
    if (note_all_missing(request, envelope)) {
        receiver->stats.missing_total++;
        return VERDICT_MISSING;
    }
    taken->batch = (struct spool_batch){.source = envelope->source,
                                        .epoch = envelope->epoch,
                                        .seq = envelope->seq,
                                        .seq_end = envelope->seq,
                                        .window_start_ms = envelope->window_start_ms,
                                        .window_end_ms = envelope->window_start_ms + envelope->span_ms,
                                        .bytes = taken->bytes.len};
    return appended(request, taken, spool_append(receiver->spool, envelope, taken->bytes, &taken->batch.id));
}

static enum batch_verdict take_gap(struct receiver_request *request, struct taken *taken)
{
    if (gap_decode(taken->bytes, &taken->batch) < 0)
        return malformed(request, taken->bytes, NULL, "its gap is malformed");
    const char *reason = why_not(request, &taken->batch.source);
    if (reason)
        return unauthorised(request, &taken->batch.source, reason);
    if (seqlog_covers(spool_seen(request->receiver->spool), &taken->batch.source, taken->batch.epoch, taken->batch.seq,
                      taken->batch.seq_end))
        return duplicate(request, &taken->batch.source);
    taken->batch.is_gap = true;
    return appended(request, taken, spool_append_gap(request->receiver->spool, &taken->batch, &taken->batch.id));
}

/* ---- Frames ---- */

static void take_pack(struct receiver_request *request, struct str pack)
{
    request->layouts.missing = note_missing;
    request->layouts.arg = request;
    /* Where there is no room, or a base is missing, the batch will be answered as missing layouts, and come again. */
    if (layout_table_take(spool_layouts(request->receiver->spool), pack, &request->layouts) == -EBADMSG)
        malformed(request, pack, NULL, "its layouts are malformed");
}

/* Answered once per source and epoch: at the end what is stored is delivered, before it what all upstreams have. */
static void add_mark(struct receiver_request *request, const struct source_id *source, uint64_t epoch)
{
    struct receiver *receiver = request->receiver;
    for (uint32_t i = 0; i < request->mark_count; i++) {
        const struct answer_mark *mark = &request->marks[i];
        if (mark->epoch == epoch && mark->source.incarnation == source->incarnation &&
            str_equal(mark->source.secondary, source->secondary) &&
            str_equal(mark->source.datacenter, source->datacenter))
            return;
    }
    if (request->mark_count == ANSWER_MARKS_MAX)
        return; /* asked again later */
    if (request->mark_count % 64 == 0)
        request->marks = mem_resize(request->marks, request->mark_count + 64, sizeof(*request->marks));
    uint64_t delivered = receiver->options.is_end ? seqlog_highest(spool_seen(receiver->spool), source, epoch)
                                                  : spool_delivered_through(receiver->spool, source, epoch);
    request->marks[request->mark_count++] =
        (struct answer_mark){.source = *source, .epoch = epoch, .delivered_seq = delivered};
}

static void take_frame(struct receiver_request *request, const struct frame *frame)
{
    if (frame->type == FRAME_PACK) {
        take_pack(request, frame->payload);
        return;
    }
    if (frame->type != FRAME_BATCH && frame->type != FRAME_GAP)
        return;
    if (request->taken_count % 64 == 0)
        request->taken = mem_resize(request->taken, request->taken_count + 64, sizeof(*request->taken));
    struct taken *taken = &request->taken[request->taken_count++];
    *taken = (struct taken){.bytes = frame->payload};
    taken->verdict =
        frame->type == FRAME_BATCH ? take_batch(request, taken, frame->checksum) : take_gap(request, taken);
}

/* Before anything is taken in: a request is whole frames within the limits, or it is nothing. */
static bool frames_are_sound(struct str body)
{
    size_t at = 0;
    uint32_t batches = 0;
    uint32_t others = 0;
    struct frame frame;
    while (frame_next(body, &at, &frame) > 0) {
        bool counts = frame.type == FRAME_BATCH || frame.type == FRAME_GAP;
        batches += counts;
        others += !counts;
        if (frame.damaged_bytes > 0 || batches > ANSWER_VERDICTS_MAX || others > OTHERS_MAX)
            return false;
    }
    return at == body.len;
}

static void take_frames(struct receiver_request *request)
{
    struct str body = http_exchange_body(request->exchange);
    size_t at = 0;
    struct frame frame;
    while (frame_next(body, &at, &frame) > 0)
        take_frame(request, &frame);
}

/* Who asks without sending anything. After all is taken in, so that marks see it. No more questions are read than an
 * answer has marks: each is looked for among these. */
static void take_asks(struct receiver_request *request)
{
    struct str body = http_exchange_body(request->exchange);
    size_t at = 0;
    uint32_t asks = 0;
    struct frame frame;
    while (asks < ANSWER_MARKS_MAX && frame_next(body, &at, &frame) > 0) {
        struct source_id source;
        uint64_t epoch;
        asks += frame.type == FRAME_ASK;
        if (frame.type == FRAME_ASK && answer_ask_decode(frame.payload, &source, &epoch) == 0 &&
            !why_not(request, &source))
            add_mark(request, &source, epoch);
    }
}

/* ---- The answer ---- */

static void hand_on(struct receiver_request *request, struct taken *taken)
{
    struct receiver *receiver = request->receiver;
    int64_t now_ms = clock_wall_ms(loop_clock(receiver->seams.loop));
    if (taken->batch.is_gap) {
        receiver->stats.gaps_total++;
    } else {
        struct source_entry *entry = receiver_source_get(receiver, &taken->batch.source);
        receiver->stats.batches_total++;
        receiver->stats.bytes_total += taken->bytes.len;
        receiver->stats.ahead_total += taken->batch.window_end_ms > now_ms + receiver->options.ahead_max_ms;
        if (entry)
            receiver_source_stored(entry, &taken->envelope, http_exchange_peer(request->exchange), request->sent_at_ms,
                                   now_ms);
    }
    receiver_accept_fn *accept = receiver->options.accept;
    if (accept && accept(receiver->options.accept_arg, &taken->batch, taken->bytes) < 0)
        receiver->stats.accept_errors_total++;
}

static void answer(struct receiver_request *request)
{
    struct receiver *receiver = request->receiver;
    CLEANUP(buf_done) struct buf out = BUF_INIT(ANSWER_BYTES_MAX);
    CLEANUP_FREE uint8_t *verdicts = mem_array(request->taken_count, 1);
    for (uint32_t i = 0; i < request->taken_count; i++) {
        verdicts[i] = (uint8_t)request->taken[i].verdict;
        if (verdicts[i] == VERDICT_STORED || verdicts[i] == VERDICT_DUPLICATE)
            add_mark(request, &request->taken[i].batch.source, request->taken[i].batch.epoch);
    }
    take_asks(request);
    struct answer message = {.receiver_incarnation = spool_incarnation(receiver->spool),
                             .body_version_max = BATCH_BODY_VERSION,
                             .retry_after_ms = RETRY_AFTER_MS,
                             .credit_bytes = receiver->options.in_flight_bytes_max / CREDIT_SHARE,
                             .verdicts = verdicts,
                             .verdict_count = request->taken_count,
                             .missing = request->missing,
                             .missing_count = request->missing_count,
                             .marks = request->marks,
                             .mark_count = request->mark_count};
    if (answer_encode(&message, &out) < 0)
        http_exchange_answer_text(STEAL(request->exchange), 500, "the answer is too long\n");
    else
        http_exchange_answer(STEAL(request->exchange), 200, "application/msgpack", &out);
}

static void synced(void *arg, int error)
{
    struct receiver_request *request = arg;
    if (!request->receiver) {
        request_free(request);
        return;
    }
    for (uint32_t i = 0; i < request->taken_count; i++) {
        struct taken *taken = &request->taken[i];
        bool kept = taken->verdict == VERDICT_STORED || taken->verdict == VERDICT_DUPLICATE;
        if (error < 0 && kept) {
            taken->verdict = VERDICT_BUSY; /* not known to be on disk */
            request->receiver->stats.busy_total++;
        }
        /* What the spool still has will be called a duplicate when it comes again: this is the time to hand it on. */
        if (taken->is_new && (error == 0 || spool_has(request->receiver->spool, taken->batch.id)))
            hand_on(request, taken);
    }
    if (error < 0)
        refuse(request, NULL, strerror(-error));
    answer(request);
    request_free(request);
}

void receiver_handle(struct receiver *receiver, struct http_exchange *exchange)
{
    struct str identity;
    receiver->stats.requests_total++;
    if (auth_check(receiver->auth, exchange, &identity) < 0) {
        receiver->stats.unauthorised_total++;
        if (receiver->options.on_refused)
            receiver->options.on_refused(receiver->options.on_refused_arg, http_exchange_peer(exchange),
                                         "its token or certificate is not known here");
        http_exchange_answer_text(exchange, 401, "the token or certificate is not known here\n");
        return;
    }
    if (receiver->in_flight_bytes + http_exchange_body(exchange).len > receiver->options.in_flight_bytes_max) {
        receiver->stats.busy_total++;
        http_exchange_header_add(exchange, "Retry-After", "1");
        http_exchange_answer_text(exchange, 503, "busy\n");
        return;
    }
    struct receiver_request *request = request_new(receiver, exchange);
    request->identity = arena_str(&request->arena, identity); /* a reload may replace the auth before the answer */
    int64_t sent_at_ms;
    if (str_to_i64(http_exchange_header(exchange, "X-Tributary-Sent-At"), &sent_at_ms) == 0)
        request->sent_at_ms = sent_at_ms;
    if (!frames_are_sound(http_exchange_body(exchange))) {
        receiver->stats.malformed_total++;
        refuse(request, NULL, "the request is cut or damaged");
        http_exchange_answer_text(STEAL(request->exchange), 400, "the request is cut or damaged\n");
        request_free(request);
        return;
    }
    take_frames(request);
    spool_sync(receiver->spool, synced, request);
}
