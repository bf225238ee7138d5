#include "hop/sender_internal.h"

#include <errno.h>
#include <stdio.h>

#define ASKS_MAX 64 /* sources in one request; the walk goes on with the next */

bool sender_knows_layout(const struct sender *sender, struct hash128 hash)
{
    return map_get(&sender->known, hash128_low(hash), NULL, NULL) != NULL;
}

void sender_forget_layouts(struct sender *sender)
{
    map_clear(&sender->known);
}

/* ---- Layouts ---- */

static void note_layout(struct sender_request *request, struct hash128 hash)
{
    if (request->layout_count == request->layout_capacity) {
        request->layout_capacity = MAX(2 * request->layout_capacity, 64U);
        request->layouts = mem_resize(request->layouts, request->layout_capacity, sizeof(*request->layouts));
    }
    request->layouts[request->layout_count++] = hash;
    map_put(&request->sender->along, hash128_low(hash), request->sender);
}

bool sender_sends_layout(void *arg, struct hash128 hash)
{
    struct sender *sender = arg;
    return sender_knows_layout(sender, hash) || map_get(&sender->along, hash128_low(hash), NULL, NULL);
}

static int add_pack(struct sender_request *request)
{
    struct sender *sender = request->sender;
    CLEANUP(buf_done) struct buf payload = BUF_INIT(LAYOUT_PACK_BYTES_MAX + MIB);
    int error = layout_packer_finish(sender->packer, &payload);
    if (error == -EMSGSIZE)
        error = -E2BIG; /* for any request */
    if (error == 0)
        error = frame_append(&sender->body, FRAME_PACK, payload.data, payload.len);
    for (uint32_t i = 0; error == 0 && i < layout_packer_count(sender->packer); i++)
        note_layout(request, layout_packer_at(sender->packer, i));
    return error;
}

/* Packs of what a batch names and the upstream may lack. -ENOENT: we lack it ourselves. */
static int add_layouts(struct sender_request *request, struct str batch)
{
    CLEANUP(arena_done) struct arena arena;
    struct envelope envelope;
    struct str body;
    arena_init(&arena, 4 * ENVELOPE_BYTES_MAX);
    int error = envelope_decode(batch.ptr, batch.len, &arena, &envelope, &body);
    if (error < 0)
        return error;
    struct layout_packer *packer = request->sender->packer;
    layout_packer_set_alone(packer, request->sender->lacking);
    for (uint32_t i = 0; i < envelope_layout_count(&envelope) && error == 0; i++) {
        error = layout_packer_add(packer, envelope_layout_at(&envelope, i));
        bool last = i + 1 == envelope_layout_count(&envelope);
        if (error == 0 && layout_packer_count(packer) > 0 && (last || layout_packer_is_full(packer))) {
            error = add_pack(request);
            layout_packer_drop(packer);
        }
    }
    layout_packer_drop(packer);
    return error;
}

/* ---- Batches ---- */

/* Back to where the body and the request's layouts stood. */
static void take_back(struct sender_request *request, size_t len, uint32_t layout_count)
{
    struct sender *sender = request->sender;
    sender->body.len = len;
    sender->body.full = false;
    while (request->layout_count > layout_count)
        map_remove(&sender->along, hash128_low(request->layouts[--request->layout_count]), NULL, NULL);
}

static void lose(struct sender *sender, uint64_t id, int error)
{
    spool_set_refused(sender->spool, sender->consumer, id);
    sender->stats.batches_refused_total++;
    snprintf(sender->stats.last_error, sizeof(sender->stats.last_error), "a batch of the spool cannot be sent: %s",
             strerror(-error));
}

/* Adds a batch or gap. False: the request is full, or ends with layouts alone. */
static bool add_batch(struct sender_request *request, uint64_t id)
{
    struct sender *sender = request->sender;
    size_t len = sender->body.len;
    uint32_t layout_count = request->layout_count;
    struct spool_batch batch;
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(FRAME_PAYLOAD_BYTES_MAX + FRAME_HEADER_BYTES);
    int error = spool_read(sender->spool, id, &batch, &bytes);
    if (error == 0 && !batch.is_gap)
        error = add_layouts(request, buf_view(&bytes));
    if (error == 0)
        error = frame_append(&sender->body, batch.is_gap ? FRAME_GAP : FRAME_BATCH, bytes.data, bytes.len);
    bool first = request->count == 0;
    if (error == 0 && (first || sender->body.len <= REQUEST_BYTES_MAX)) {
        spool_set_in_flight(sender->spool, sender->consumer, id, true);
        request->ids[request->count++] = id;
        return true;
    }
    /* More layouts than one request carries: they go ahead, the batch follows. */
    if (error == -EMSGSIZE && first && request->layout_count > 0) {
        sender->body.full = false;
        return false;
    }
    take_back(request, len, layout_count);
    if (error == 0 || (error == -EMSGSIZE && !first))
        return false;
    if (error == -EBADMSG || error == -ENOENT || error == -EMSGSIZE || error == -E2BIG || error == -EPROTO) {
        lose(sender, id, error); /* damaged here: it holds up no other */
        return true;
    }
    /* The disk may read again later. */
    snprintf(sender->stats.last_error, sizeof(sender->stats.last_error), "a batch of the spool cannot be read: %s",
             strerror(-error));
    return false;
}

/* In order where all goes into this request. Where more has piled up, the newest first: what is new goes out at once,
 * the backlog with the room that is left, oldest first. */
static void add_batches(struct sender_request *request)
{
    struct sender *sender = request->sender;
    bool behind = spool_pending(sender->spool, sender->consumer) > REQUEST_BATCHES_MAX;
    for (int tries = 0; tries < 2 * REQUEST_BATCHES_MAX && request->count < REQUEST_BATCHES_MAX; tries++) {
        bool newest = behind && request->count == 0;
        uint64_t id = spool_next_pending(sender->spool, sender->consumer, newest);
        if (id == 0 || !add_batch(request, id))
            return;
    }
}

/* What was stored but is not known to be delivered: asked for, as answers speak of sources in the request only. */
static void add_asks(struct sender *sender)
{
    struct source_id source;
    uint64_t epoch;
    CLEANUP(buf_done) struct buf ask = BUF_INIT(4 * KIB);
    for (int i = 0; i < ASKS_MAX; i++) {
        if (!spool_next_stored(sender->spool, sender->consumer, &sender->ask_at, &source, &epoch)) {
            sender->ask_at = 0;
            return;
        }
        buf_reset(&ask);
        if (answer_ask_encode(&source, epoch, &ask) < 0 ||
            frame_append(&sender->body, FRAME_ASK, ask.data, ask.len) < 0) {
            sender->body.full = false;
            return; /* next time */
        }
    }
}

void sender_fill(struct sender_request *request)
{
    struct sender *sender = request->sender;
    buf_reset(&sender->body);
    map_clear(&sender->along);
    request->count = request->layout_count = 0;
    add_batches(request);
    bool speaks = sender->body.len > 0;
    if (sender->ask_due && (speaks || sender->in_flight == 0)) {
        sender->ask_due = false;
        add_asks(sender);
    }
}
