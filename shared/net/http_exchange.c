#include "net/http_exchange.h"

#include "base/clock.h"
#include "base/fail.h"
#include "net/http_gzip.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#define ANSWER_TEXT_BYTES_MAX ((size_t)64 * KIB) /* of http_exchange_answer_text */
#define RETRY_AFTER_BUSY_S    "1"

/* ---- Lifecycle ---- */

static void on_deadline(void *arg)
{
    struct http_exchange *exchange = arg;
    exchange->server->stats.deadline_total++;
    http_send_fn *expired = exchange->expired;
    expired(exchange);
    http_exchange_set_gone(exchange);
    http_exchange_detach(exchange);
}

struct http_exchange *http_exchange_new(struct http_server *server, struct str method, struct str peer, int fd,
                                        void *transport)
{
    struct http_exchange *exchange = mem_zalloc(sizeof(*exchange));
    exchange->server = server;
    exchange->context = server->context;
    exchange->next = server->exchanges;
    if (exchange->next)
        exchange->next->previous = exchange;
    server->exchanges = exchange;
    arena_init(&exchange->arena, 0); /* the transport's header limit and the route's body limit bound it */
    exchange->method = arena_str(&exchange->arena, method);
    exchange->peer = arena_str(&exchange->arena, peer);
    exchange->transport = transport;
    exchange->fd = fd;
    ASSERT(pthread_mutex_init(&exchange->lock, NULL) == 0);
    loop_timer_init(&exchange->deadline, server->loop, on_deadline, exchange);
    return exchange;
}

void http_exchange_detach(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;
    if (!server)
        return;
    *(exchange->previous ? &exchange->previous->next : &server->exchanges) = exchange->next;
    if (exchange->next)
        exchange->next->previous = exchange->previous;
    server->body_bytes -= exchange->body.len;
    exchange->server = NULL;
    exchange->transport = NULL;
    loop_timer_stop(&exchange->deadline);
}

void http_exchange_free(struct http_exchange *exchange)
{
    if (!exchange)
        return;
    ASSERT(!exchange->in_worker);
    http_exchange_detach(exchange);
    pthread_mutex_destroy(&exchange->lock);
    arena_done(&exchange->arena);
    buf_done(&exchange->body);
    http_body_free(http_exchange_take_body(exchange));
    mem_free(exchange);
}

/* ---- The request ---- */

void http_exchange_add_header(struct http_exchange *exchange, struct str name, struct str value)
{
    if (exchange->header_count == exchange->header_capacity) {
        size_t capacity = exchange->header_capacity ? exchange->header_capacity * 2 : 16;
        struct http_param *larger = arena_array(&exchange->arena, capacity, sizeof(*larger));
        for (size_t i = 0; i < exchange->header_count; i++)
            larger[i] = exchange->headers[i];
        exchange->headers = larger;
        exchange->header_capacity = capacity;
    }
    struct http_param *header = &exchange->headers[exchange->header_count++];
    header->name = arena_str(&exchange->arena, name);
    header->value = arena_str(&exchange->arena, value);
}

struct str http_exchange_method(const struct http_exchange *exchange)
{
    return exchange->method;
}

struct str http_exchange_path(const struct http_exchange *exchange)
{
    return exchange->path;
}

struct str http_exchange_body(const struct http_exchange *exchange)
{
    return buf_view(&exchange->body);
}

struct str http_exchange_header(const struct http_exchange *exchange, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < exchange->header_count; i++) {
        const struct http_param *header = &exchange->headers[i];
        if (header->name.len == len && strncasecmp(header->name.ptr, name, len) == 0)
            return header->value;
    }
    return STR_NULL;
}

struct str http_exchange_param(const struct http_exchange *exchange, const char *name, size_t nth)
{
    return http_params_get(&exchange->params, name, nth);
}

struct str http_exchange_peer(const struct http_exchange *exchange)
{
    return exchange->peer;
}

struct str http_exchange_certificate(const struct http_exchange *exchange)
{
    return exchange->certificate;
}

void *http_exchange_context(const struct http_exchange *exchange)
{
    return exchange->context;
}

bool http_exchange_is_gone(const struct http_exchange *exchange)
{
    struct http_exchange *self = (struct http_exchange *)exchange; /* the lock changes, the exchange does not */
    pthread_mutex_lock(&self->lock);
    int64_t now_ms = clock_mono_ms(clock_real());
    if (!self->gone && self->fd >= 0 && self->asked_ms != now_ms) {
        self->asked_ms = now_ms;
        /* The server does not read a connection while its answer is pending, so nothing else would tell. */
        struct pollfd descriptor = {.fd = self->fd, .events = POLLRDHUP};
        self->gone = poll(&descriptor, 1, 0) > 0;
    }
    bool gone = self->gone;
    pthread_mutex_unlock(&self->lock);
    return gone;
}

void http_exchange_set_gone(struct http_exchange *exchange)
{
    pthread_mutex_lock(&exchange->lock);
    exchange->gone = true;
    exchange->fd = -1;
    pthread_mutex_unlock(&exchange->lock);
}

/* ---- Routes ---- */

bool http_route_fits(const struct http_route *route, struct str path)
{
    const char *pattern = route->path;
    size_t at = 0;
    while (*pattern) {
        bool any = pattern[0] == '*' && pattern > route->path && pattern[-1] == '/' &&
                   (pattern[1] == '/' || pattern[1] == '\0');
        size_t start = at;
        if (any) {
            while (at < path.len && path.ptr[at] != '/')
                at++;
            if (at == start)
                return false;
        } else if (at < path.len && path.ptr[at] == *pattern) {
            at++;
        } else {
            return false;
        }
        pattern++;
    }
    return at == path.len || (route->flags & HTTP_PREFIX);
}

static bool method_fits(const struct http_route *route, struct str method)
{
    return str_equal(str_from(route->method), method) ||
           (str_equal(method, STR("HEAD")) && strcmp(route->method, "GET") == 0);
}

static const char *status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } texts[] = {
        {400, "bad request"},        {403, "forbidden"},         {404, "not found"},
        {405, "method not allowed"}, {413, "content too large"}, {503, "overloaded, try again"},
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i].status == status)
            return texts[i].text;
    return "error";
}

void http_exchange_refuse(struct http_exchange *exchange, int status)
{
    bool was_inside = exchange->inside;
    exchange->inside = true;
    exchange->server->stats.refused_total++;
    http_exchange_answer_text(exchange, status, "%s\n", status_text(status));
    exchange->inside = was_inside;
}

static void refuse_method(struct http_exchange *exchange)
{
    CLEANUP(buf_done) struct buf allow = BUF_INIT(KIB);
    for (const struct http_route *route = exchange->server->routes; route->path; route++) {
        if (!http_route_fits(route, exchange->path))
            continue;
        const char *also = strcmp(route->method, "GET") == 0 ? ", HEAD" : "";
        buf_printf(&allow, "%s%s%s", allow.len ? ", " : "", route->method, also);
    }
    buf_append_byte(&allow, '\0');
    http_exchange_header_add(exchange, "Allow", allow.full ? "GET" : (const char *)allow.data);
    http_exchange_refuse(exchange, 405);
}

static void find_route(struct http_exchange *exchange)
{
    bool path_known = false;
    for (const struct http_route *route = exchange->server->routes; route->path; route++) {
        if (!http_route_fits(route, exchange->path))
            continue;
        path_known = true;
        if (method_fits(route, exchange->method)) {
            exchange->route = route;
            return;
        }
    }
    if (path_known)
        refuse_method(exchange);
    else
        http_exchange_refuse(exchange, 404);
}

/* The path of "/path?query" or of the absolute form "http://host/path?query" (RFC 9112 3.2). */
static int read_target(struct http_exchange *exchange, struct str target)
{
    static const struct str schemes[] = {{"http://", 7}, {"https://", 8}};
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        if (target.len < schemes[i].len || strncasecmp(target.ptr, schemes[i].ptr, schemes[i].len) != 0)
            continue;
        struct str rest = str_of(target.ptr + schemes[i].len, target.len - schemes[i].len);
        size_t slash = str_find(rest, '/');
        target = str_of(rest.ptr + slash, rest.len - slash);
        break;
    }
    size_t question = str_find(target, '?');
    if (question == 0 || target.len == 0 || target.ptr[0] != '/')
        return -EINVAL;
    int error = http_percent_decode(&exchange->arena, str_of(target.ptr, question), false, &exchange->path);
    if (error || question == target.len)
        return error;
    struct str query = str_of(target.ptr + question + 1, target.len - question - 1);
    return http_form_decode(&exchange->arena, query, &exchange->params);
}

static void drop_body(struct http_exchange *exchange)
{
    exchange->server->body_bytes -= exchange->body.len;
    buf_done(&exchange->body);
}

static void refuse_large(struct http_exchange *exchange)
{
    exchange->server->stats.too_large_total++;
    http_exchange_refuse(exchange, 413);
}

void http_exchange_begin(struct http_exchange *exchange, struct str target, int64_t content_length)
{
    exchange->inside = true;
    exchange->server->stats.requests_total++;
    if (read_target(exchange, target))
        http_exchange_refuse(exchange, 400);
    else
        find_route(exchange);
    if (!exchange->answered) {
        buf_init(&exchange->body, exchange->route->body_bytes_max);
        if (content_length > 0 && (uint64_t)content_length > exchange->route->body_bytes_max)
            refuse_large(exchange);
    }
    exchange->inside = false;
}

void http_exchange_add_body(struct http_exchange *exchange, const void *data, size_t len)
{
    if (exchange->answered || len == 0)
        return;
    exchange->inside = true;
    struct http_server *server = exchange->server;
    if (server->body_bytes + len > server->body_bytes_max) {
        drop_body(exchange);
        http_exchange_header_add(exchange, "Retry-After", RETRY_AFTER_BUSY_S);
        http_exchange_refuse(exchange, 503);
    } else if (buf_append(&exchange->body, data, len)) {
        drop_body(exchange);
        refuse_large(exchange);
    } else {
        server->body_bytes += len;
    }
    exchange->inside = false;
}

/* ---- The handler ---- */

static void run_in_worker(void *arg)
{
    struct http_exchange *exchange = arg;
    exchange->route->handler(exchange->context, exchange);
    ASSERT(exchange->answered); /* a worker's handler answers before it returns */
}

static void worker_ended(void *arg)
{
    struct http_exchange *exchange = arg;
    exchange->in_worker = false;
    loop_timer_stop(&exchange->deadline);
    if (exchange->server)
        exchange->send(exchange);
    else
        http_exchange_free(exchange);
}

static void submit(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;
    exchange->in_worker = true;
    if (executor_submit(server->executor, server->loop, run_in_worker, worker_ended, exchange) == 0)
        return;
    exchange->in_worker = false;
    http_exchange_header_add(exchange, "Retry-After", RETRY_AFTER_BUSY_S);
    http_exchange_refuse(exchange, 503);
}

static int read_form(struct http_exchange *exchange)
{
    static const char form[] = "application/x-www-form-urlencoded";
    struct str type = http_exchange_header(exchange, "Content-Type");
    type = str_trim(str_of(type.ptr, str_find(type, ';')));
    if (type.len != sizeof(form) - 1 || strncasecmp(type.ptr, form, type.len) != 0)
        return 0;
    return http_form_decode(&exchange->arena, buf_view(&exchange->body), &exchange->params);
}

void http_exchange_run(struct http_exchange *exchange)
{
    ASSERT(!exchange->answered && exchange->route);
    if (read_form(exchange)) {
        http_exchange_refuse(exchange, 400);
        return;
    }
    /* Before the handler: from submit on the exchange is the worker's. */
    loop_timer_start(&exchange->deadline, exchange->server->answer_deadline_ms, 0);
    if (exchange->route->flags & HTTP_WORKER) {
        submit(exchange);
    } else {
        exchange->inside = true;
        exchange->route->handler(exchange->context, exchange);
        exchange->inside = false;
    }
    if (http_exchange_is_ready(exchange))
        loop_timer_stop(&exchange->deadline);
}

bool http_exchange_is_ready(const struct http_exchange *exchange)
{
    return !exchange->in_worker && exchange->answered;
}

/* ---- The answer ---- */

void http_exchange_header_add(struct http_exchange *exchange, const char *name, const char *value)
{
    ASSERT(!exchange->answered && exchange->answer_header_count < HTTP_ANSWER_HEADERS_MAX);
    struct http_header *header = &exchange->answer_headers[exchange->answer_header_count++];
    header->name = arena_str(&exchange->arena, str_from(name)).ptr;
    header->value = arena_str(&exchange->arena, str_from(value)).ptr;
}

static void pack_body(struct http_exchange *exchange, struct buf *body)
{
    if (body->len < HTTP_GZIP_BYTES_MIN || (!exchange->in_worker && body->len > HTTP_GZIP_LOOP_BYTES_MAX))
        return;
    http_exchange_header_add(exchange, "Vary", "Accept-Encoding");
    if (!http_gzip_accepted(http_exchange_header(exchange, "Accept-Encoding")))
        return;
    struct buf packed = BUF_INIT(body->len + body->len / 2 + KIB);
    if (http_gzip_pack(buf_view(body), &packed) || packed.len >= body->len) {
        buf_done(&packed);
        return;
    }
    http_exchange_header_add(exchange, "Content-Encoding", "gzip");
    buf_done(body);
    *body = packed;
}

void http_exchange_answer(struct http_exchange *exchange, int status, const char *content_type, struct buf *body)
{
    ASSERT(!exchange->answered && status >= 200 && status <= 599);
    const char *type = content_type ? content_type : "text/plain; charset=utf-8";
    exchange->content_type = arena_str(&exchange->arena, str_from(type)).ptr;
    exchange->status = status;
    if (body) {
        pack_body(exchange, body);
        exchange->answer_body = buf_steal(body, &exchange->answer_body_len);
    }
    exchange->answered = true;
    if (exchange->in_worker || exchange->inside)
        return;
    loop_timer_stop(&exchange->deadline);
    if (exchange->server)
        exchange->send(exchange);
    else
        http_exchange_free(exchange);
}

size_t http_exchange_hold(struct http_exchange *exchange, void (*release)(void *arg, size_t bytes), void *arg)
{
    ASSERT(exchange->answered && exchange->in_worker && !exchange->release);
    if (!exchange->answer_body)
        return 0;
    exchange->release = release;
    exchange->release_arg = arg;
    return exchange->answer_body_len;
}

struct http_body *http_exchange_take_body(struct http_exchange *exchange)
{
    if (!exchange->answer_body)
        return NULL;
    struct http_body *body = mem_alloc(sizeof(*body));
    uint8_t *bytes = STEAL(exchange->answer_body);
    *body = (struct http_body){bytes, exchange->answer_body_len, exchange->release, exchange->release_arg};
    return body;
}

void http_body_free(void *pointer)
{
    struct http_body *body = pointer;
    if (!body)
        return;
    if (body->release)
        body->release(body->release_arg, body->len);
    mem_free(body->data);
    mem_free(body);
}

void http_exchange_answer_text(struct http_exchange *exchange, int status, const char *format, ...)
{
    struct buf body = BUF_INIT(ANSWER_TEXT_BYTES_MAX);
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    size_t room = MIN((size_t)MAX(len, 0) + 1, ANSWER_TEXT_BYTES_MAX);
    char *text = (char *)buf_reserve(&body, room);
    ASSERT(text);
    vsnprintf(text, room, format, again);
    va_end(again);
    buf_added(&body, room - 1);
    http_exchange_answer(exchange, status, NULL, &body);
}
