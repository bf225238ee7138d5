#pragma once
/* Inside net: the simulated network as both ends of it see it. A wire is one request and its response. The network owns
 * it; each end has a pointer until it lets go. All on the network's loop; no function here calls the other end at once.
 */
#include "net/http_client.h"
#include "net/network.h"

struct wire;

struct wire_request {
    const char *method;
    const char *target; /* path and query, as in a request line */
    const struct http_header *headers;
    size_t header_count;
    struct str body;
};

struct wire_response {
    int status;
    const struct http_header *headers;
    size_t header_count;
    struct str body;
};

enum wire_end {
    WIRE_ANSWERED,
    WIRE_REFUSED, /* nobody listens, or the link is cut: the request never arrived */
    WIRE_BROKEN   /* cut or server gone before the response arrived */
};

/* The client's end. The request is copied. fn is called at most once (never for a lost message), response NULL unless
 * answered; afterwards the client's pointer is dead. */
typedef void wire_end_fn(void *arg, enum wire_end end, const struct wire_response *response);
struct wire *wire_send(struct network *network, const char *from, const char *to, const struct wire_request *request,
                       wire_end_fn *fn, void *arg);
void wire_abandon(struct wire *wire); /* fn is not called any more; what is on its way still arrives */

/* The server's end. -EADDRINUSE. accept may answer at once or keep the wire. */
typedef void wire_accept_fn(void *arg, struct wire *wire);
MUST_CHECK int network_listen(struct network *network, const char *address, wire_accept_fn *accept, void *arg);
void network_unlisten(struct network *network, const char *address);

/* Views live until the wire is answered or hung up. */
const struct wire_request *wire_request_of(const struct wire *wire);
const char *wire_peer(const struct wire *wire);
/* gone is called when the client abandons; at once if it has already. */
void wire_watch_gone(struct wire *wire, loop_fn *gone, void *arg);
void wire_answer(struct wire *wire, const struct wire_response *response); /* copied; the server's pointer is dead */
void wire_hang_up(struct wire *wire);                                      /* no answer; the pointer is dead */
