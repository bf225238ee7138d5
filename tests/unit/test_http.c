/* Server and client together over loopback: routes, limits, workers, later answers, deadlines. */
#include "http_world.h"

#include "net/executor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

struct context {
    struct loop *loop;
    struct http_exchange *kept;
    struct loop_timer later;
    unsigned kept_count;
    bool stop_when_kept;
    bool seen_gone;
};

static void serve_hello(void *context, struct http_exchange *exchange)
{
    (void)context;
    http_exchange_header_add(exchange, "X-Test", "yes");
    http_exchange_answer_text(exchange, 200, "hello");
}

/* Says back what the request was. */
static void serve_echo(void *context, struct http_exchange *exchange)
{
    (void)context;
    struct buf text = BUF_INIT(4 * MIB);
    struct str a0 = http_exchange_param(exchange, "a", 0), a1 = http_exchange_param(exchange, "a", 1);
    struct str a2 = http_exchange_param(exchange, "a", 2), x = http_exchange_header(exchange, "x-word");
    buf_printf(&text,
               STR_FMT " " STR_FMT " a=[" STR_FMT "|" STR_FMT "|" STR_FMT "] x=" STR_FMT " peer=" STR_FMT " body=",
               STR_ARG(http_exchange_method(exchange)), STR_ARG(http_exchange_path(exchange)), STR_ARG(a0), STR_ARG(a1),
               STR_ARG(a2), STR_ARG(x), STR_ARG(http_exchange_peer(exchange)));
    buf_append_str(&text, http_exchange_body(exchange));
    http_exchange_answer(exchange, 200, "text/echo", &text);
}

static void serve_large(void *context, struct http_exchange *exchange)
{
    (void)context;
    struct buf text = BUF_INIT(MIB);
    for (int i = 0; i < 10000; i++)
        buf_append_text(&text, "line of text\n");
    http_exchange_answer(exchange, 200, NULL, &text);
}

static void answer_kept(void *arg)
{
    struct context *context = arg;
    struct http_exchange *exchange = STEAL(context->kept);
    context->seen_gone = http_exchange_is_gone(exchange);
    http_exchange_answer_text(exchange, 202, "later");
}

static void serve_later(void *arg, struct http_exchange *exchange)
{
    struct context *context = arg;
    context->kept = exchange;
    loop_timer_init(&context->later, context->loop, answer_kept, context);
    loop_timer_start(&context->later, 20, 0);
}

static void serve_kept(void *arg, struct http_exchange *exchange)
{
    struct context *context = arg;
    assert_null(context->kept);
    context->kept = exchange;
    context->kept_count++;
    if (context->stop_when_kept)
        loop_stop(context->loop);
}

/* A worker that waits until its client was answered without it. */
static void serve_slow(void *context, struct http_exchange *exchange)
{
    (void)context;
    while (!http_exchange_is_gone(exchange))
        poll(NULL, 0, 1);
    http_exchange_answer_text(exchange, 200, "nobody reads this");
}

static const struct http_route routes[] = {
    {"GET", "/slow", serve_slow, HTTP_WORKER, 0},
    {"GET", "/hello", serve_hello, 0, 0},
    {"GET", "/large", serve_large, 0, 0},
    {"GET", "/label/*/values", serve_echo, 0, 0},
    {"GET", "/files/", serve_echo, HTTP_PREFIX, 0},
    {"POST", "/echo", serve_echo, 0, 1000},
    {"GET", "/echo", serve_echo, 0, 1000},
    {"POST", "/worker", serve_echo, HTTP_WORKER, MIB},
    {"GET", "/worker-large", serve_large, HTTP_WORKER, 0},
    {"GET", "/later", serve_later, 0, 0},
    {"GET", "/kept", serve_kept, 0, 0},
    {"POST", "/kept-body", serve_kept, 0, 1000},
    {NULL, NULL, NULL, 0, 0},
};

struct fixture {
    struct http_world world;
    struct context context;
};

static void start(struct fixture *fixture, const struct http_server_options *options)
{
    fixture->context = (struct context){0};
    world_init(&fixture->world, options, routes, &fixture->context);
    fixture->context.loop = fixture->world.loop;
}

static int setup(void **state)
{
    struct fixture *fixture = mem_zalloc(sizeof(*fixture));
    struct http_server_options options = world_server_options();
    start(fixture, &options);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    world_done(&fixture->world);
    mem_free(fixture);
    return 0;
}

static void get(struct fixture *fixture, const char *path, struct http_reply *reply)
{
    struct http_request_spec spec = world_get(world_url(&fixture->world, path));
    world_fetch(&fixture->world, &spec, reply);
}

static void expect_get(struct fixture *fixture, const char *path, int status, const char *body)
{
    struct http_reply reply;
    get(fixture, path, &reply);
    assert_int_equal(reply.failure, HTTP_OK);
    assert_int_equal(reply.status, status);
    assert_string_equal(reply.body, body);
    reply_done(&reply);
}

static void routes_are_found_by_method_and_path(void **state)
{
    struct fixture *fixture = *state;
    expect_get(fixture, "/hello", 200, "hello");
    expect_get(fixture, "/hello?x=1", 200, "hello");
    expect_get(fixture, "/hello/", 404, "not found\n");
    expect_get(fixture, "/", 404, "not found\n");
    expect_get(fixture, "/label/job/values", 200, "GET /label/job/values a=[||] x= peer=127.0.0.1 body=");
    expect_get(fixture, "/label//values", 404, "not found\n");
    expect_get(fixture, "/label/a/b/values", 404, "not found\n");
    expect_get(fixture, "/files/a/b", 200, "GET /files/a/b a=[||] x= peer=127.0.0.1 body=");
    expect_get(fixture, "/worker", 405, "method not allowed\n");
    expect_get(fixture, "/label/%zz/values", 400, "bad request\n");
    expect_get(fixture, "/hello%00", 400, "bad request\n");
    struct http_server_stats stats;
    http_server_stats(fixture->world.server, &stats);
    assert_int_equal(stats.requests_total, 11);
    assert_int_equal(stats.refused_total, 7);
}

static void parameters_of_query_and_form_are_all_seen(void **state)
{
    struct fixture *fixture = *state;
    expect_get(fixture, "/echo?a=1%2B1&b=x&a=two+words", 200, "GET /echo a=[1+1|two words|] x= peer=127.0.0.1 body=");
    const struct http_header headers[] = {{"Content-Type", "application/x-www-form-urlencoded; charset=utf-8"},
                                          {"X-Word", "w"}};
    struct http_request_spec spec = world_get(world_url(&fixture->world, "/echo?a=q"));
    struct http_reply reply;
    spec.method = "POST";
    spec.headers = headers;
    spec.header_count = 2;
    spec.body = "a=f%7B&a=g";
    spec.body_len = 10;
    world_fetch(&fixture->world, &spec, &reply);
    assert_string_equal(reply.body, "POST /echo a=[q|f{|g] x=w peer=127.0.0.1 body=a=f%7B&a=g");
    assert_string_equal(reply.content_type, "text/echo");
    reply_done(&reply);
    spec.body = "a=%";
    spec.body_len = 3;
    world_fetch(&fixture->world, &spec, &reply);
    assert_int_equal(reply.status, 400);
    reply_done(&reply);
}

static void post_zeros(struct fixture *fixture, const char *path, size_t len, struct http_reply *reply)
{
    CLEANUP_FREE char *body = mem_zalloc(len + 1);
    memset(body, '0', len);
    struct http_request_spec spec = world_get(world_url(&fixture->world, path));
    spec.method = "POST";
    spec.body = body;
    spec.body_len = len;
    world_fetch(&fixture->world, &spec, reply);
}

static void a_body_past_the_routes_ceiling_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct http_reply reply;
    post_zeros(fixture, "/echo", 1000, &reply);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.body_len, strlen("POST /echo a=[||] x= peer=127.0.0.1 body=") + 1000);
    reply_done(&reply);
    post_zeros(fixture, "/echo", 1001, &reply);
    assert_int_equal(reply.status, 413);
    reply_done(&reply);
    post_zeros(fixture, "/nowhere", 2 * MIB, &reply); /* the refusal is read although the body was on its way */
    assert_int_equal(reply.status, 404);
    reply_done(&reply);
    struct http_server_stats stats;
    http_server_stats(fixture->world.server, &stats);
    assert_int_equal(stats.too_large_total, 1);
}

static void a_worker_answers_from_its_thread(void **state)
{
    struct fixture *fixture = *state;
    struct http_reply reply;
    post_zeros(fixture, "/worker", 500000, &reply);
    assert_int_equal(reply.status, 200);
    assert_true(reply.body_len > 500000);
    reply_done(&reply);
}

static void many_calls_at_once_all_end(void **state)
{
    enum { COUNT = 60 };
    struct fixture *fixture = *state;
    CLEANUP_FREE struct http_reply *replies = mem_array(COUNT, sizeof(*replies));
    for (unsigned i = 0; i < COUNT; i++) {
        bool worker = i % 2;
        struct http_request_spec spec = world_get(world_url(&fixture->world, worker ? "/worker" : "/hello"));
        spec.method = worker ? "POST" : "GET";
        spec.body = "b";
        spec.body_len = worker;
        spec.shard = i;
        replies[i].loop = fixture->world.loop;
        assert_int_equal(http_client_call(fixture->world.client, &spec, reply_take, &replies[i], NULL), 0);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        while (!replies[i].done)
            loop_run(fixture->world.loop);
        assert_int_equal(replies[i].failure, HTTP_OK);
        assert_int_equal(replies[i].status, 200);
        reply_done(&replies[i]);
    }
}

static void an_answer_may_come_later(void **state)
{
    struct fixture *fixture = *state;
    expect_get(fixture, "/later", 202, "later");
    assert_false(fixture->context.seen_gone);
    expect_get(fixture, "/later", 202, "later");
}

static void text_is_packed_when_asked_for(void **state)
{
    struct fixture *fixture = *state;
    for (int round = 0; round < 2; round++) {
        struct http_request_spec spec = world_get(world_url(&fixture->world, round ? "/worker-large" : "/large"));
        struct http_reply reply;
        spec.accept_gzip = true;
        world_fetch(&fixture->world, &spec, &reply);
        assert_int_equal(reply.status, 200);
        assert_int_equal(reply.body_len, 130000);
        assert_memory_equal(reply.body, "line of text\nline of", 20);
        reply_done(&reply);
        spec.response_bytes_max = 129999; /* a ceiling on what it unpacks to */
        world_fetch(&fixture->world, &spec, &reply);
        assert_int_equal(reply.failure, HTTP_TOO_LARGE);
        reply_done(&reply);
    }
}

static void an_answer_past_the_callers_ceiling_fails(void **state)
{
    struct fixture *fixture = *state;
    struct http_request_spec spec = world_get(world_url(&fixture->world, "/large"));
    struct http_reply reply;
    spec.response_bytes_max = 1000;
    world_fetch(&fixture->world, &spec, &reply);
    assert_int_equal(reply.failure, HTTP_TOO_LARGE);
    assert_int_equal(reply.status, 0);
    reply_done(&reply);
}

static void head_has_no_body(void **state)
{
    struct fixture *fixture = *state;
    struct http_request_spec spec = world_get(world_url(&fixture->world, "/hello"));
    struct http_reply reply;
    spec.method = "HEAD";
    world_fetch(&fixture->world, &spec, &reply);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.body_len, 0);
    reply_done(&reply);
}

static void a_late_answer_is_503_and_the_handler_may_still_answer(void **state)
{
    (void)state;
    struct fixture fixture;
    struct http_server_options options = world_server_options();
    options.answer_deadline_ms = 30;
    start(&fixture, &options);
    struct http_reply reply;
    get(&fixture, "/kept", &reply);
    assert_int_equal(reply.status, 503);
    assert_int_equal(reply.retry_after_s, 5);
    reply_done(&reply);
    struct http_exchange *kept = STEAL(fixture.context.kept);
    assert_true(http_exchange_is_gone(kept));
    http_exchange_answer_text(kept, 200, "nobody reads this");
    expect_get(&fixture, "/slow", 503, "no answer in time\n");
    expect_get(&fixture, "/hello", 200, "hello");
    struct http_server_stats stats;
    http_server_stats(fixture.world.server, &stats);
    assert_int_equal(stats.deadline_total, 2);
    world_done(&fixture.world);
}

static void a_server_may_go_with_a_worker_at_work(void **state)
{
    struct fixture *fixture = *state;
    struct http_world *world = &fixture->world;
    struct http_request_spec spec = world_get(world_url(world, "/slow"));
    struct http_reply reply = {.loop = world->loop};
    struct http_server_stats stats = {0};
    assert_int_equal(http_client_call(world->client, &spec, reply_take, &reply, NULL), 0);
    while (stats.requests_total == 0) {
        loop_settle(world->loop);
        http_server_stats(world->server, &stats);
    }
    http_server_free(STEAL(world->server));
    while (!reply.done)
        loop_run(world->loop);
    assert_int_equal(reply.failure, HTTP_BROKEN);
    reply_done(&reply);
}

static void a_server_may_go_with_answers_pending(void **state)
{
    struct fixture *fixture = *state;
    struct http_world *world = &fixture->world;
    struct http_request_spec spec = world_get(world_url(world, "/kept"));
    struct http_reply reply = {.loop = world->loop};
    fixture->context.stop_when_kept = true;
    assert_int_equal(http_client_call(world->client, &spec, reply_take, &reply, NULL), 0);
    loop_run(world->loop);
    assert_int_equal(fixture->context.kept_count, 1);
    http_server_free(STEAL(world->server));
    assert_true(http_exchange_is_gone(fixture->context.kept));
    while (!reply.done)
        loop_run(world->loop);
    assert_int_equal(reply.failure, HTTP_BROKEN);
    reply_done(&reply);
    http_exchange_answer_text(STEAL(fixture->context.kept), 200, "nobody reads this");
}

static void a_cancelled_call_is_not_told_and_the_server_sees_it_gone(void **state)
{
    struct fixture *fixture = *state;
    struct http_world *world = &fixture->world;
    struct http_request_spec spec = world_get(world_url(world, "/kept"));
    struct http_reply reply = {.loop = world->loop};
    struct http_call *call;
    fixture->context.stop_when_kept = true;
    assert_int_equal(http_client_call(world->client, &spec, reply_take, &reply, &call), 0);
    loop_run(world->loop);
    assert_non_null(fixture->context.kept);
    assert_false(http_exchange_is_gone(fixture->context.kept));
    http_call_cancel(call);
    loop_settle(world->loop);
    /* The connection is looked at once a millisecond. */
    for (int i = 0; i < 1000 && !http_exchange_is_gone(fixture->context.kept); i++)
        usleep(1000);
    assert_true(http_exchange_is_gone(fixture->context.kept));
    http_exchange_answer_text(STEAL(fixture->context.kept), 200, "nobody reads this");
    fixture->context.stop_when_kept = false;
    expect_get(fixture, "/hello", 200, "hello");
    assert_false(reply.done);
}

static void a_client_that_goes_cancels_what_is_in_flight(void **state)
{
    struct fixture *fixture = *state;
    struct http_world *world = &fixture->world;
    struct http_request_spec spec = world_get(world_url(world, "/kept"));
    struct http_reply replies[2] = {{.loop = world->loop}, {.loop = NULL}};
    fixture->context.stop_when_kept = true;
    assert_int_equal(http_client_call(world->client, &spec, reply_take, &replies[0], NULL), 0);
    loop_run(world->loop);
    spec.url = world_url(world, "/hello");
    assert_int_equal(http_client_call(world->client, &spec, reply_take, &replies[1], NULL), 0);
    http_client_free(STEAL(world->client));
    for (size_t i = 0; i < ARRAY_LEN(replies); i++) {
        assert_true(replies[i].done);
        assert_int_equal(replies[i].failure, HTTP_CANCELLED);
        reply_done(&replies[i]);
    }
    http_exchange_answer_text(STEAL(fixture->context.kept), 200, "nobody reads this");
}

struct freeing {
    struct http_world *world;
    struct http_reply reply;
};

static void free_client(void *arg, const struct http_result *result)
{
    struct freeing *freeing = arg;
    reply_take(&freeing->reply, result);
    http_client_free(STEAL(freeing->world->client));
}

static void a_client_may_be_freed_by_an_answer(void **state)
{
    struct fixture *fixture = *state;
    struct http_world *world = &fixture->world;
    struct http_request_spec spec = world_get(world_url(world, "/hello"));
    struct freeing freeing = {world, {.loop = world->loop}};
    assert_int_equal(http_client_call(world->client, &spec, free_client, &freeing, NULL), 0);
    loop_run(world->loop);
    assert_int_equal(freeing.reply.status, 200);
    assert_null(world->client);
    reply_done(&freeing.reply);
}

static void calls_have_ceilings_and_sound_arguments(void **state)
{
    struct fixture *fixture = *state;
    struct http_world *world = &fixture->world;
    static const char *const bad[] = {"",           "127.0.0.1:1/x",      "ftp://127.0.0.1/",  "http://",
                                      "http://a b", "http://u:p@a.test/", "file:///etc/passwd"};
    struct http_reply reply = {0};
    struct http_call *call;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct http_request_spec spec = world_get(bad[i]);
        assert_int_equal(http_client_call(world->client, &spec, reply_take, &reply, &call), -EINVAL);
    }
    const struct http_header split = {"X-A", "1\r\nX-B: 2"};
    struct http_request_spec spec = world_get(world_url(world, "/hello"));
    spec.headers = &split;
    spec.header_count = 1;
    assert_int_equal(http_client_call(world->client, &spec, reply_take, &reply, &call), -EINVAL);
    spec.header_count = 0;
    struct http_call *calls[64];
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        assert_int_equal(http_client_call(world->client, &spec, reply_take, &reply, &calls[i]), 0);
    assert_int_equal(http_client_call(world->client, &spec, reply_take, &reply, &call), -EAGAIN);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        http_call_cancel(calls[i]);
    loop_settle(world->loop);
    assert_false(reply.done);
    expect_get(fixture, "/hello", 200, "hello");
}

/* ---- Clients that misbehave: a thread with a plain socket ---- */

struct raw_client {
    struct loop *loop;
    unsigned port;
    const char *text;    /* sent at once */
    const char *dribble; /* then one byte of it each 5 ms, until the server has enough */
    char answer[8192];
    size_t answer_len;
    bool closed;
};

static int connect_to(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ? fd : -1;
}

static void stop_it(void *arg)
{
    loop_stop(arg);
}

static void *run_raw_client(void *arg)
{
    struct raw_client *client = arg;
    int fd = connect_to(client->port);
    size_t dribbled = 0;
    if (fd >= 0 && send(fd, client->text, strlen(client->text), MSG_NOSIGNAL) < 0)
        client->closed = true;
    while (fd >= 0 && !client->closed) {
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        if (poll(&readable, 1, client->dribble ? 5 : 20000) == 0) {
            if (!client->dribble)
                break;
            size_t at = dribbled++ % strlen(client->dribble);
            if (send(fd, client->dribble + at, 1, MSG_NOSIGNAL) < 0)
                client->closed = true;
            continue;
        }
        ssize_t len = recv(fd, client->answer + client->answer_len, sizeof(client->answer) - 1 - client->answer_len, 0);
        if (len <= 0)
            client->closed = true;
        else
            client->answer_len += (size_t)len;
    }
    if (fd >= 0)
        close(fd);
    loop_post(client->loop, stop_it, client->loop);
    return NULL;
}

static void run_raw(struct fixture *fixture, struct raw_client *client)
{
    pthread_t thread;
    client->loop = fixture->world.loop;
    client->port = http_server_port(fixture->world.server);
    assert_int_equal(pthread_create(&thread, NULL, run_raw_client, client), 0);
    loop_run(fixture->world.loop);
    pthread_join(thread, NULL);
}

static void a_dribbling_client_is_cut_off(void **state)
{
    (void)state;
    static const struct {
        const char *text, *dribble;
    } cases[] = {
        {"GET /hello HTTP/1.1\r\nHost: x\r\nX-Slow: ", "y"},
        {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n", "z"},
        {"GET /he", "l"},
    };
    struct fixture fixture;
    struct http_server_options options = world_server_options();
    options.request_deadline_ms = 100;
    start(&fixture, &options);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct raw_client client = {.text = cases[i].text, .dribble = cases[i].dribble};
        run_raw(&fixture, &client);
        assert_true(client.closed);
        assert_int_equal(client.answer_len, 0);
        struct http_server_stats stats;
        http_server_stats(fixture.world.server, &stats);
        assert_int_equal(stats.deadline_total, i + 1);
    }
    expect_get(&fixture, "/hello", 200, "hello");
    world_done(&fixture.world);
}

static void expect_raw(struct fixture *fixture, const char *text, const char *start_of_answer)
{
    struct raw_client client = {.text = text};
    run_raw(fixture, &client);
    assert_true(client.closed);
    assert_memory_equal(client.answer, start_of_answer, strlen(start_of_answer));
}

static void hostile_requests_are_answered_and_harm_nobody(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(buf_done) struct buf long_header = BUF_INIT(MIB);
    buf_append_text(&long_header, "GET /hello HTTP/1.1\r\nHost: x\r\nX-Long: ");
    while (long_header.len < 30000)
        buf_append_byte(&long_header, 'x');
    buf_append(&long_header, "\r\n\r\n", 5);
    expect_raw(fixture, (const char *)long_header.data, "HTTP/1.1 431");
    expect_raw(fixture, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", "HTTP/1.1 413");
    expect_raw(fixture, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", "HTTP/1.1 400");
    expect_raw(fixture, "POST /nowhere HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
               "HTTP/1.1 404");
    expect_raw(fixture, "DELETE /echo HTTP/1.0\r\nHost: x\r\n\r\n", "HTTP/1.1 405");
    expect_raw(fixture, "\x16\x03\x01 not http at all\r\n\r\n", "");
    expect_get(fixture, "/hello", 200, "hello");
}

static void a_chunked_body_is_counted_as_it_comes(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(buf_done) struct buf request = BUF_INIT(MIB);
    buf_append_text(&request,
                    "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 101; i++)
        buf_append_text(&request, "a\r\n0123456789\r\n");
    buf_append(&request, "0\r\n\r\n", 6);
    expect_raw(fixture, (const char *)request.data, "HTTP/1.1 413");
}

static void a_405_says_what_is_allowed(void **state)
{
    struct fixture *fixture = *state;
    struct raw_client client = {.text = "DELETE /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"};
    run_raw(fixture, &client);
    assert_non_null(strstr(client.answer, "HTTP/1.1 405"));
    assert_non_null(strstr(client.answer, "Allow: POST, GET, HEAD\r\n"));
}

static void one_address_gets_so_many_connections(void **state)
{
    (void)state;
    struct fixture fixture;
    struct http_server_options options = world_server_options();
    options.connections_per_address_max = 2;
    start(&fixture, &options);
    int fds[2];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        assert_true((fds[i] = connect_to(http_server_port(fixture.world.server))) >= 0);
    loop_settle(fixture.world.loop);
    struct http_reply reply;
    get(&fixture, "/hello", &reply);
    assert_int_equal(reply.failure, HTTP_BROKEN);
    reply_done(&reply);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    loop_settle(fixture.world.loop);
    expect_get(&fixture, "/hello", 200, "hello");
    world_done(&fixture.world);
}

/* Bodies of all requests together: each is small, many of them would be as much memory as clients care to send. */
static void bodies_have_a_ceiling_in_all(void **state)
{
    (void)state;
    static const char zeros[1000];
    struct fixture fixture;
    struct http_server_options options = world_server_options();
    options.body_bytes_max = 1500;
    start(&fixture, &options);
    fixture.context.stop_when_kept = true;
    struct http_request_spec spec = world_get(world_url(&fixture.world, "/kept-body"));
    spec.method = "POST";
    spec.body = zeros;
    spec.body_len = sizeof(zeros);
    struct http_reply first = {0}, second;
    assert_int_equal(http_client_call(fixture.world.client, &spec, reply_take, &first, NULL), 0);
    loop_run(fixture.world.loop);
    post_zeros(&fixture, "/echo", 501, &second);
    assert_int_equal(second.status, 503);
    assert_int_equal(second.retry_after_s, 1);
    reply_done(&second);
    post_zeros(&fixture, "/echo", 500, &second);
    assert_int_equal(second.status, 200);
    reply_done(&second);
    http_exchange_answer_text(STEAL(fixture.context.kept), 200, "done");
    loop_settle(fixture.world.loop);
    post_zeros(&fixture, "/echo", 1000, &second);
    assert_int_equal(second.status, 200);
    reply_done(&second);
    while (!first.done)
        loop_settle(fixture.world.loop);
    assert_int_equal(first.status, 200);
    reply_done(&first);
    world_done(&fixture.world);
}

static void an_address_in_use_or_unsound_is_refused(void **state)
{
    struct fixture *fixture = *state;
    static const char *const bad[] = {"", "127.0.0.1", "127.0.0.1:70000", "127.0.0.1:x", "::1:80"};
    struct http_server_options options = world_server_options();
    struct http_server *server = NULL;
    char taken[32];
    snprintf(taken, sizeof(taken), "127.0.0.1:%u", http_server_port(fixture->world.server));
    options.listen = taken;
    assert_int_equal(http_server_new(fixture->world.loop, NULL, fixture->world.executor, &options, routes,
                                     &fixture->context, &server),
                     -EADDRINUSE);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        options.listen = bad[i];
        assert_int_equal(http_server_new(fixture->world.loop, NULL, fixture->world.executor, &options, routes,
                                         &fixture->context, &server),
                         -EINVAL);
    }
    assert_null(server);
}

int main(void)
{
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(routes_are_found_by_method_and_path),
        WITH_SERVER(parameters_of_query_and_form_are_all_seen),
        WITH_SERVER(a_body_past_the_routes_ceiling_is_refused),
        WITH_SERVER(a_worker_answers_from_its_thread),
        WITH_SERVER(many_calls_at_once_all_end),
        WITH_SERVER(an_answer_may_come_later),
        WITH_SERVER(text_is_packed_when_asked_for),
        WITH_SERVER(an_answer_past_the_callers_ceiling_fails),
        WITH_SERVER(head_has_no_body),
        cmocka_unit_test(a_late_answer_is_503_and_the_handler_may_still_answer),
        WITH_SERVER(a_server_may_go_with_answers_pending),
        WITH_SERVER(a_server_may_go_with_a_worker_at_work),
        WITH_SERVER(a_cancelled_call_is_not_told_and_the_server_sees_it_gone),
        WITH_SERVER(a_client_that_goes_cancels_what_is_in_flight),
        WITH_SERVER(a_client_may_be_freed_by_an_answer),
        WITH_SERVER(calls_have_ceilings_and_sound_arguments),
        cmocka_unit_test(a_dribbling_client_is_cut_off),
        WITH_SERVER(hostile_requests_are_answered_and_harm_nobody),
        WITH_SERVER(a_chunked_body_is_counted_as_it_comes),
        WITH_SERVER(a_405_says_what_is_allowed),
        cmocka_unit_test(one_address_gets_so_many_connections),
        cmocka_unit_test(bodies_have_a_ceiling_in_all),
        WITH_SERVER(an_address_in_use_or_unsound_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
