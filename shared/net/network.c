#include "net/network_wire.h"

#include "base/arena.h"
#include "base/fail.h"

#include <errno.h>
#include <string.h>

struct link {
    struct link *next;
    char *from, *to; /* NULL: any */
    struct network_link faults;
};

struct listener {
    struct listener *next;
    char *address;
    wire_accept_fn *accept;
    void *arg;
};

enum wire_state {
    WIRE_GOING,  /* request on its way */
    WIRE_SERVED, /* the server has it */
    WIRE_COMING, /* response, or the news of its failure, on its way */
    WIRE_LOST    /* nothing more will happen; only the client still waits */
};

struct wire {
    struct network *network;
    struct wire *previous, *next;
    enum wire_state state;
    struct arena arena; /* request and response */
    char *from, *to;
    struct wire_request request;
    struct wire_response response;
    enum wire_end end;
    struct loop_timer transit;
    wire_end_fn *on_end; /* NULL: the client has let go */
    void *on_end_arg;
    loop_fn *on_gone;
    void *on_gone_arg;
};

struct network {
    struct loop *loop;
    struct random random;
    struct link *links;
    struct listener *listeners;
    struct wire *wires;
};

struct network *network_simulated_new(struct loop *loop, uint64_t seed)
{
    struct network *network = mem_zalloc(sizeof(*network));
    network->loop = loop;
    random_seed(&network->random, seed);
    return network;
}

static void wire_free(struct wire *wire)
{
    struct network *network = wire->network;
    *(wire->previous ? &wire->previous->next : &network->wires) = wire->next;
    if (wire->next)
        wire->next->previous = wire->previous;
    loop_timer_stop(&wire->transit);
    arena_done(&wire->arena);
    mem_free(wire->from);
    mem_free(wire->to);
    mem_free(wire);
}

void network_free(struct network *network)
{
    if (!network)
        return;
    ASSERT(!network->listeners); /* servers go first */
    while (network->wires) {
        ASSERT(!network->wires->on_end); /* and clients */
        wire_free(network->wires);
    }
    while (network->links) {
        struct link *link = network->links;
        network->links = link->next;
        mem_free(link->from);
        mem_free(link->to);
        mem_free(link);
    }
    mem_free(network);
}

/* ---- Links ---- */

static bool same_end(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

void network_set_link(struct network *network, const char *from, const char *to, const struct network_link *faults)
{
    struct link *link = network->links;
    while (link && !(same_end(link->from, from) && same_end(link->to, to)))
        link = link->next;
    if (!link) {
        link = mem_zalloc(sizeof(*link));
        link->from = from ? mem_strdup(from) : NULL;
        link->to = to ? mem_strdup(to) : NULL;
        link->next = network->links;
        network->links = link;
    }
    link->faults = *faults;
}

static struct network_link link_of(const struct network *network, const struct wire *wire)
{
    struct network_link best = {0};
    int best_rank = -1;
    for (const struct link *link = network->links; link; link = link->next) {
        bool fits =
            (!link->from || strcmp(link->from, wire->from) == 0) && (!link->to || strcmp(link->to, wire->to) == 0);
        int rank = (link->to ? 2 : 0) + (link->from ? 1 : 0);
        if (fits && rank > best_rank) {
            best_rank = rank;
            best = link->faults;
        }
    }
    return best;
}

static bool happens(struct network *network, double share)
{
    return share > 0 && random_unit(&network->random) < share;
}

/* ---- Wires ---- */

static struct http_header *copy_headers(struct arena *arena, const struct http_header *headers, size_t count)
{
    struct http_header *copy = arena_array(arena, count, sizeof(*copy));
    for (size_t i = 0; i < count; i++) {
        copy[i].name = arena_str(arena, str_from(headers[i].name)).ptr;
        copy[i].value = arena_str(arena, str_from(headers[i].value)).ptr;
    }
    return copy;
}

static void send_back(struct wire *wire, enum wire_end end, int64_t delay_ms)
{
    wire->end = end;
    wire->state = WIRE_COMING;
    loop_timer_start(&wire->transit, delay_ms, 0);
}

static void arrive_at_server(struct wire *wire)
{
    struct network_link faults = link_of(wire->network, wire);
    struct listener *listener = wire->network->listeners;
    while (listener && strcmp(listener->address, wire->to) != 0)
        listener = listener->next;
    if (!listener || faults.cut) {
        send_back(wire, WIRE_REFUSED, faults.cut ? 0 : faults.delay_ms);
        return;
    }
    wire->state = WIRE_SERVED;
    listener->accept(listener->arg, wire);
}

static void arrive_at_client(struct wire *wire)
{
    wire_end_fn *on_end = wire->on_end;
    void *arg = wire->on_end_arg;
    wire->on_end = NULL;
    enum wire_end end = wire->end;
    if (end == WIRE_ANSWERED && link_of(wire->network, wire).cut)
        end = WIRE_BROKEN;
    if (on_end)
        on_end(arg, end, end == WIRE_ANSWERED ? &wire->response : NULL);
    wire_free(wire);
}

static void on_transit(void *arg)
{
    struct wire *wire = arg;
    if (wire->state == WIRE_GOING)
        arrive_at_server(wire);
    else
        arrive_at_client(wire);
}

struct wire *wire_send(struct network *network, const char *from, const char *to, const struct wire_request *request,
                       wire_end_fn *fn, void *arg)
{
    struct wire *wire = mem_zalloc(sizeof(*wire));
    wire->network = network;
    wire->next = network->wires;
    if (wire->next)
        wire->next->previous = wire;
    network->wires = wire;
    wire->from = mem_strdup(from);
    wire->to = mem_strdup(to);
    wire->on_end = fn;
    wire->on_end_arg = arg;
    arena_init(&wire->arena, 0); /* the ends have their own ceilings */
    wire->request = (struct wire_request){
        .method = arena_str(&wire->arena, str_from(request->method)).ptr,
        .target = arena_str(&wire->arena, str_from(request->target)).ptr,
        .headers = copy_headers(&wire->arena, request->headers, request->header_count),
        .header_count = request->header_count,
        .body = arena_str(&wire->arena, request->body),
    };
    loop_timer_init(&wire->transit, network->loop, on_transit, wire);
    struct network_link faults = link_of(network, wire);
    bool lost = happens(network, faults.lose_request);
    if (faults.cut) {
        send_back(wire, WIRE_REFUSED, 0);
    } else if (lost) {
        wire->state = WIRE_LOST;
    } else {
        wire->state = WIRE_GOING;
        loop_timer_start(&wire->transit, faults.delay_ms, 0);
    }
    return wire;
}

void wire_abandon(struct wire *wire)
{
    wire->on_end = NULL;
    if (wire->state == WIRE_SERVED && wire->on_gone)
        wire->on_gone(wire->on_gone_arg);
    else if (wire->state == WIRE_COMING || wire->state == WIRE_LOST)
        wire_free(wire);
}

const struct wire_request *wire_request_of(const struct wire *wire)
{
    return &wire->request;
}

const char *wire_peer(const struct wire *wire)
{
    return wire->from;
}

void wire_watch_gone(struct wire *wire, loop_fn *gone, void *arg)
{
    wire->on_gone = gone;
    wire->on_gone_arg = arg;
    if (!wire->on_end)
        gone(arg);
}

/* The server has let go: true when there is still a client to tell. */
static bool leave_server(struct wire *wire)
{
    ASSERT(wire->state == WIRE_SERVED);
    wire->on_gone = NULL;
    if (wire->on_end)
        return true;
    wire_free(wire);
    return false;
}

void wire_answer(struct wire *wire, const struct wire_response *response)
{
    struct network_link faults = link_of(wire->network, wire);
    bool lost = happens(wire->network, faults.lose_response);
    if (!leave_server(wire))
        return;
    if (lost) {
        wire->state = WIRE_LOST;
        return;
    }
    wire->response = (struct wire_response){
        .status = response->status,
        .headers = copy_headers(&wire->arena, response->headers, response->header_count),
        .header_count = response->header_count,
        .body = arena_str(&wire->arena, response->body),
    };
    send_back(wire, WIRE_ANSWERED, faults.delay_ms);
}

void wire_hang_up(struct wire *wire)
{
    if (leave_server(wire))
        send_back(wire, WIRE_BROKEN, link_of(wire->network, wire).delay_ms);
}

/* ---- Listeners ---- */

int network_listen(struct network *network, const char *address, wire_accept_fn *accept, void *arg)
{
    for (struct listener *other = network->listeners; other; other = other->next)
        if (strcmp(other->address, address) == 0)
            return -EADDRINUSE;
    struct listener *listener = mem_zalloc(sizeof(*listener));
    *listener = (struct listener){network->listeners, mem_strdup(address), accept, arg};
    network->listeners = listener;
    return 0;
}

void network_unlisten(struct network *network, const char *address)
{
    for (struct listener **at = &network->listeners; *at; at = &(*at)->next) {
        struct listener *listener = *at;
        if (strcmp(listener->address, address) != 0)
            continue;
        *at = listener->next;
        mem_free(listener->address);
        mem_free(listener);
        return;
    }
}
