#pragma once
/* The network between http_client and http_server: NULL is the real one; a simulated one hands exchanges over in
 * memory, with delay and faults by link. A link is (from, to): `from` is the name given to http_client_new, `to`
 * "host:port". */
#include "base/random.h"
#include "net/loop.h"

struct network;
struct http_server;

struct network_link {
    int64_t delay_ms;     /* each way */
    bool cut;             /* connections fail at once; what is on its way fails when it would arrive */
    double lose_request;  /* share of requests that never arrive (client times out) */
    double lose_response; /* share of responses lost after the server acted */
};

struct network *network_simulated_new(struct loop *loop, uint64_t seed);
void network_free(struct network *network); /* after its clients and servers, before its loop */
DEFINE_CLEANUP(struct network *, network_free)
/* from or to NULL: any. The most exact link set wins (`to` before `from`); setting it again replaces it. Servers are
 * found by the text of their `listen`: a request to 127.0.0.1:80 does not reach a server on 0.0.0.0:80. */
void network_set_link(struct network *network, const char *from, const char *to, const struct network_link *link);
