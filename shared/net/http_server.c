#include "net/http_server.h"

#include "base/fail.h"
#include "net/http_exchange.h"
#include "net/http_listener.h"
#include "net/network_wire.h"

#define REQUEST_DEADLINE_MS_DEFAULT 30000
#define ANSWER_DEADLINE_MS_DEFAULT  120000
#define BODY_BYTES_DEFAULT          (64 * MIB)

/* ---- The simulated transport: an exchange's transport is its wire ---- */

static void answer_wire(struct wire *wire, const struct http_exchange *exchange)
{
    struct http_header headers[HTTP_ANSWER_HEADERS_MAX + 1];
    size_t count = 0;
    headers[count++] = (struct http_header){"Content-Type", exchange->content_type};
    for (size_t i = 0; i < exchange->answer_header_count; i++)
        headers[count++] = exchange->answer_headers[i];
    bool head = str_equal(exchange->method, STR("HEAD"));
    wire_answer(wire, &(struct wire_response){
                          .status = exchange->status,
                          .headers = headers,
                          .header_count = count,
                          .body = head ? STR_NULL : str_of(exchange->answer_body, exchange->answer_body_len),
                      });
}

static void send_on_wire(struct http_exchange *exchange)
{
    struct wire *wire = STEAL(exchange->transport);
    answer_wire(wire, exchange);
    http_exchange_free(exchange);
}

static void expire_on_wire(struct http_exchange *exchange)
{
    struct wire *wire = STEAL(exchange->transport);
    static const struct http_header retry = {"Retry-After", "5"};
    wire_answer(wire, &(struct wire_response){503, &retry, 1, STR("no answer in time\n")});
}

static void on_wire_gone(void *arg)
{
    http_exchange_set_gone(arg);
}

static void accept_wire(void *arg, struct wire *wire)
{
    struct http_server *server = arg;
    const struct wire_request *request = wire_request_of(wire);
    struct http_exchange *exchange =
        http_exchange_new(server, str_from(request->method), str_from(wire_peer(wire)), -1, wire);
    exchange->send = send_on_wire;
    exchange->expired = expire_on_wire;
    wire_watch_gone(wire, on_wire_gone, exchange);
    for (size_t i = 0; i < request->header_count; i++)
        http_exchange_add_header(exchange, str_from(request->headers[i].name), str_from(request->headers[i].value));
    http_exchange_begin(exchange, str_from(request->target), (int64_t)request->body.len);
    http_exchange_add_body(exchange, request->body.ptr, request->body.len);
    if (!exchange->answered)
        http_exchange_run(exchange);
    if (http_exchange_is_ready(exchange))
        send_on_wire(exchange);
}

static void hang_up_all(struct http_server *server)
{
    while (server->exchanges) {
        struct http_exchange *exchange = server->exchanges;
        struct wire *wire = STEAL(exchange->transport);
        http_exchange_set_gone(exchange);
        http_exchange_detach(exchange);
        wire_hang_up(wire);
    }
}

/* ---- Lifecycle ---- */

int http_server_new(struct loop *loop, struct network *network, struct executor *executor,
                    const struct http_server_options *options, const struct http_route *routes, void *context,
                    struct http_server **ret_server)
{
    struct http_server *server = mem_zalloc(sizeof(*server));
    *server = (struct http_server){
        .loop = loop,
        .network = network,
        .executor = executor,
        .routes = routes,
        .context = context,
        .request_deadline_ms =
            options->request_deadline_ms ? options->request_deadline_ms : REQUEST_DEADLINE_MS_DEFAULT,
        .answer_deadline_ms = options->answer_deadline_ms ? options->answer_deadline_ms : ANSWER_DEADLINE_MS_DEFAULT,
        .body_bytes_max = options->body_bytes_max ? options->body_bytes_max : BODY_BYTES_DEFAULT,
    };
    for (const struct http_route *route = routes; route->path; route++)
        ASSERT(executor || !(route->flags & HTTP_WORKER));
    int error = 0;
    if (network) {
        error = network_listen(network, options->listen, accept_wire, server);
        if (!error)
            server->address = mem_strdup(options->listen);
    } else {
        error = http_listener_new(server, options, &server->listener);
    }
    if (error) {
        mem_free(server);
        return error;
    }
    *ret_server = server;
    return 0;
}

void http_server_free(struct http_server *server)
{
    if (!server)
        return;
    if (server->address) {
        network_unlisten(server->network, server->address);
        hang_up_all(server);
    }
    http_listener_free(server->listener);
    ASSERT(!server->exchanges);
    mem_free(server->address);
    mem_free(server);
}

unsigned http_server_port(const struct http_server *server)
{
    if (server->listener)
        return http_listener_port(server->listener);
    const char *colon = strrchr(server->address, ':');
    uint64_t port = 0;
    return colon && str_to_u64(str_from(colon + 1), &port) == 0 ? (unsigned)port : 0;
}

void http_server_stats(const struct http_server *server, struct http_server_stats *ret_stats)
{
    *ret_stats = server->stats;
}
