#pragma once
/* Inside net: one exchange and the server it belongs to, as the two transports (http_listener, the simulated network)
 * see them. A transport makes an exchange, tells it the request as it comes, and sends the answer when it is ready:
 *
 *     new -> add_header ... -> begin -> add_body ... -> run -> [answered at once | send() is called later] -> free
 *
 * begin, add_body and run may each leave an answer behind (a refusal): look at http_exchange_is_ready after each.
 *
 * Once detached (server freed, deadline passed, client gone for good) the exchange belongs to whoever must answer it,
 * and goes with that answer, unseen. */
#include "base/arena.h"
#include "net/http_form.h"
#include "net/http_server.h"

#include <pthread.h>

#define HTTP_ANSWER_HEADERS_MAX  16             /* extra ones that a handler adds: our own code */
#define HTTP_GZIP_BYTES_MIN      ((size_t)1024) /* below, packing costs more than it saves */
#define HTTP_GZIP_LOOP_BYTES_MAX (256 * KIB)    /* packed on the loop at most: about 1 ms; workers pack any size */

struct http_listener;

struct http_server {
    struct loop *loop;
    struct executor *executor;
    const struct http_route *routes;
    void *context;
    int64_t request_deadline_ms, answer_deadline_ms;
    struct http_server_stats stats;
    struct http_exchange *exchanges;     /* all that are not detached */
    uint64_t body_bytes, body_bytes_max; /* of their requests */

    struct http_listener *listener; /* real, or: */
    struct network *network;
    char *address;
};

typedef void http_send_fn(struct http_exchange *exchange);

struct http_exchange {
    struct http_server *server; /* NULL: detached */
    struct http_exchange *previous, *next;
    void *context;
    const struct http_route *route;

    /* The request: owned copies, so that a worker may read them whatever becomes of the connection. */
    struct arena arena;
    struct str method, path, peer, certificate;
    struct http_param *headers;
    size_t header_count, header_capacity;
    struct http_params params;
    struct buf body;

    /* The answer. While in_worker these and the arena are the worker's. */
    bool answered;
    int status;
    const char *content_type;
    struct http_header answer_headers[HTTP_ANSWER_HEADERS_MAX];
    size_t answer_header_count;
    uint8_t *answer_body;
    size_t answer_body_len;
    void (*release)(void *arg, size_t bytes); /* of answer_body_len, when the body goes; NULL: nobody counts */
    void *release_arg;

    bool inside;    /* the transport is in begin, add_body or run and looks by itself */
    bool in_worker; /* set before submit, cleared on the loop by the worker's end */
    struct loop_timer deadline;
    http_send_fn *send;    /* on the loop, not from inside */
    http_send_fn *expired; /* the answer is late: send 503 by yourself; the exchange is detached right after */
    void *transport;       /* the transport's own end */

    pthread_mutex_t lock; /* guards gone and fd: a worker asks while the loop closes */
    bool gone;
    int64_t asked_ms; /* when the descriptor was last looked at: a system call, so once a millisecond at most */
    int fd;           /* -1: none */
};

/* Views are copied. fd -1 where there is none. */
struct http_exchange *http_exchange_new(struct http_server *server, struct str method, struct str peer, int fd,
                                        void *transport);
void http_exchange_free(struct http_exchange *exchange);
void http_exchange_add_header(struct http_exchange *exchange, struct str name, struct str value);
/* All headers are there. target is what stands in the request line; content_length -1 when not said. Finds the route.
 */
void http_exchange_begin(struct http_exchange *exchange, struct str target, int64_t content_length);
void http_exchange_add_body(struct http_exchange *exchange, const void *data, size_t len);
/* The request is whole: calls or submits the handler, and starts the deadline. */
void http_exchange_run(struct http_exchange *exchange);
bool http_exchange_is_ready(const struct http_exchange *exchange);
void http_exchange_set_gone(struct http_exchange *exchange);
/* For a transport that keeps the body longer than the exchange lives: an owner of it, for body_free. */
struct http_body {
    uint8_t *data;
    size_t len;
    void (*release)(void *arg, size_t bytes);
    void *release_arg;
};
struct http_body *http_exchange_take_body(struct http_exchange *exchange);
void http_body_free(void *body); /* NULL allowed */
/* Lets go of server and transport. The exchange frees itself when it is answered. */
void http_exchange_detach(struct http_exchange *exchange);
/* An answer that the server gives by itself; not sent from in here. */
void http_exchange_refuse(struct http_exchange *exchange, int status);

/* Does a path fit a route's (exact or HTTP_PREFIX; "*" is any one segment)? */
bool http_route_fits(const struct http_route *route, struct str path);
