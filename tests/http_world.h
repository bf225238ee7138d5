#pragma once
/* For tests: a server and a client on one real loop, over loopback, and requests that wait for their answer. Each test
 * is one program, so all of it is here. */
#include "base/fail.h"
#include "net/http_client.h"
#include "net/http_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define WORLD_HANG_MS 60000

struct http_world {
    struct loop *loop;
    struct executor *executor;
    struct http_server *server;
    struct http_client *client;
    struct loop_timer watchdog; /* a test that hangs fails by name */
    char url[2048];
};

struct http_reply {
    bool done;
    enum http_failure failure;
    char reason[256];
    int status;
    char content_type[128];
    int64_t retry_after_s;
    char *body;
    size_t body_len;
    struct loop *loop; /* stopped when done */
};

static inline void world_hangs(void *arg)
{
    (void)arg;
    fatal("the test hangs");
}

/* 127.0.0.1, any free port, deadlines far above what a test needs. */
static inline struct http_server_options world_server_options(void)
{
    return (struct http_server_options){
        .listen = "127.0.0.1:0", .request_deadline_ms = 30000, .answer_deadline_ms = 30000};
}

static inline void world_init(struct http_world *world, const struct http_server_options *options,
                              const struct http_route *routes, void *context)
{
    *world = (struct http_world){.loop = loop_new()};
    world->executor = executor_pool_new(2, 64);
    const struct http_client_options client = {.name = "test", .shards = 2, .connections_max = 16, .calls_max = 64};
    world->client = http_client_new(world->loop, NULL, &client);
    if (routes)
        assert_int_equal(http_server_new(world->loop, NULL, world->executor, options, routes, context, &world->server),
                         0);
    loop_timer_init(&world->watchdog, world->loop, world_hangs, NULL);
    loop_timer_start(&world->watchdog, WORLD_HANG_MS, 0);
}

static inline void world_done(struct http_world *world)
{
    loop_timer_stop(&world->watchdog);
    http_client_free(world->client);
    http_server_free(world->server);
    executor_free(world->executor);
    loop_settle(world->loop);
    loop_free(world->loop);
}

static inline const char *world_url_at(struct http_world *world, unsigned port, const char *path)
{
    snprintf(world->url, sizeof(world->url), "http://127.0.0.1:%u%s", port, path);
    return world->url;
}

static inline const char *world_url(struct http_world *world, const char *path)
{
    return world_url_at(world, http_server_port(world->server), path);
}

static inline struct http_request_spec world_get(const char *url)
{
    return (struct http_request_spec){.method = "GET", .url = url, .timeout_ms = 20000, .response_bytes_max = 4 * MIB};
}

/* An http_done_fn. */
static inline void reply_take(void *arg, const struct http_result *result)
{
    struct http_reply *reply = arg;
    assert_false(reply->done);
    reply->done = true;
    reply->failure = result->failure;
    snprintf(reply->reason, sizeof(reply->reason), "%s", result->reason);
    reply->status = result->status;
    snprintf(reply->content_type, sizeof(reply->content_type), STR_FMT, STR_ARG(result->content_type));
    reply->retry_after_s = result->retry_after_s;
    reply->body = mem_strndup(result->body.ptr ? result->body.ptr : "", result->body.len);
    reply->body_len = result->body.len;
    if (reply->loop)
        loop_stop(reply->loop);
}

static inline void reply_done(struct http_reply *reply)
{
    mem_free(reply->body);
    *reply = (struct http_reply){0};
}

/* Runs the loop until the answer is there. */
static inline void world_fetch(struct http_world *world, const struct http_request_spec *spec,
                               struct http_reply *ret_reply)
{
    *ret_reply = (struct http_reply){.loop = world->loop};
    assert_int_equal(http_client_call(world->client, spec, reply_take, ret_reply, NULL), 0);
    while (!ret_reply->done)
        loop_run(world->loop);
}

/* A world without servers of ours around one test. */
static inline int world_setup(void **state)
{
    struct http_world *world = mem_zalloc(sizeof(*world));
    world_init(world, NULL, NULL, NULL);
    *state = world;
    return 0;
}

static inline int world_teardown(void **state)
{
    world_done(*state);
    mem_free(*state);
    return 0;
}
