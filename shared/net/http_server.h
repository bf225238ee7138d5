#pragma once
/* HTTP server on a loop: libmicrohttpd in external epoll mode, or a simulated network. Routes are a table. A handler
 * runs on the loop and answers at once or later; or, with HTTP_WORKER, in a thread of the executor and answers before
 * it returns. Deadline for reading a request, ceilings for header, body, connections in all and per address. */
#include "base/buf.h"
#include "net/executor.h"
#include "net/http_client.h"
#include "net/network.h"

struct http_server;
struct http_exchange; /* one request and its answer */

enum { HTTP_WORKER = 1, HTTP_PREFIX = 2 /* path is a beginning */ };

typedef void http_handler_fn(void *context, struct http_exchange *exchange);

struct http_route {
    const char *method; /* "GET", "POST"; HEAD follows GET */
    const char *path;   /* exact, or with HTTP_PREFIX its beginning; a segment "*" takes any one segment */
    http_handler_fn *handler;
    int flags;
    size_t body_bytes_max;
};

struct http_server_options {
    const char *listen;                                /* "127.0.0.1:9410" */
    const char *cert_file, *key_file, *client_ca_file; /* TLS where set; client_ca_file: a certificate is required */
    unsigned connections_max;                          /* 0: a default */
    unsigned connections_per_address_max;              /* 0: none but connections_max */
    uint64_t body_bytes_max;                           /* of all requests in memory; past it 503; 0: 64 MiB */
    int64_t request_deadline_ms;                       /* for header and body to arrive; 0: 30 s */
    int64_t answer_deadline_ms;                        /* an exchange not answered by then is answered 503; 0: 120 s */
};

/* routes end with path NULL and live as long as the server. context is handed to every handler. Errors: -EINVAL for an
 * address, certificate or key that makes no sense, else of resolving, binding, reading. executor NULL: no HTTP_WORKER.
 */
MUST_CHECK int http_server_new(struct loop *loop, struct network *network, struct executor *executor,
                               const struct http_server_options *options, const struct http_route *routes,
                               void *context, struct http_server **ret_server);
/* Closes all connections at once; not from a handler. Exchanges that a handler kept are still to be answered by it, and
 * go unseen with that. Those in a worker run on until executor_free: call that, then loop_settle, before the context
 * goes. */
void http_server_free(struct http_server *server);
DEFINE_CLEANUP(struct http_server *, http_server_free)
unsigned http_server_port(const struct http_server *server); /* the one bound, when listen said port 0 */

struct http_server_stats {
    uint64_t connections;     /* open now */
    uint64_t requests_total;  /* whose headers arrived */
    uint64_t refused_total;   /* answered 400, 403, 404, 405, 413, 503 without a handler */
    uint64_t deadline_total;  /* requests, answers and readers that were too slow */
    uint64_t too_large_total; /* of the refused: 413 */
};
void http_server_stats(const struct http_server *server, struct http_server_stats *ret_stats);

/* The request. Views live until the exchange is answered. */
struct str http_exchange_method(const struct http_exchange *exchange);
struct str http_exchange_path(const struct http_exchange *exchange);
struct str http_exchange_body(const struct http_exchange *exchange);
struct str http_exchange_header(const struct http_exchange *exchange, const char *name); /* STR_NULL: absent */
/* nth value (from 0) of a parameter of the query string, then of a form body; STR_NULL: no more. */
struct str http_exchange_param(const struct http_exchange *exchange, const char *name, size_t nth);
struct str
http_exchange_peer(const struct http_exchange *exchange); /* address text without port; simulated: the client's name */
/* Subject common name of the verified client certificate; STR_NULL without. */
struct str http_exchange_certificate(const struct http_exchange *exchange);
void *http_exchange_context(const struct http_exchange *exchange);
/* The client has gone: work for it may stop. From any thread. */
bool http_exchange_is_gone(const struct http_exchange *exchange);

/* Answers; takes the bytes of body over (buf_steal is done inside). Exactly once per exchange; on the loop, or in the
 * worker that runs the handler. content_type NULL: text/plain; charset=utf-8. gzip is applied when asked for and worth
 * it. */
void http_exchange_header_add(struct http_exchange *exchange, const char *name, const char *value);
void http_exchange_answer(struct http_exchange *exchange, int status, const char *content_type, struct buf *body);
void http_exchange_answer_text(struct http_exchange *exchange, int status, const char *format, ...) PRINTF_LIKE(3, 4);
/* For who counts answers until they are sent: how many bytes the exchange holds, after it was answered and before the
 * handler, a worker's, returns. release is told the same number on the loop when they are gone. */
size_t http_exchange_hold(struct http_exchange *exchange, void (*release)(void *arg, size_t bytes), void *arg);
