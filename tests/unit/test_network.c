/* The simulated network: the same server and client in memory, on simulated time, with delay and faults by link. */
#include "net/http_client.h"
#include "net/http_server.h"

#include "base/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct world {
    struct clock *clock;
    struct loop *loop;
    struct network *network;
    struct executor *executor;
    struct http_server *server;
    struct http_client *client;
    unsigned acted;
    struct http_exchange *kept;
};

static void serve_act(void *context, struct http_exchange *exchange)
{
    struct world *world = context;
    world->acted++;
    http_exchange_answer_text(exchange, 200, "acted for " STR_FMT ", q=" STR_FMT, STR_ARG(http_exchange_peer(exchange)),
                              STR_ARG(http_exchange_param(exchange, "q", 0)));
}

static void serve_body(void *context, struct http_exchange *exchange)
{
    (void)context;
    struct buf body = BUF_INIT(MIB);
    buf_append_str(&body, http_exchange_body(exchange));
    http_exchange_answer(exchange, 200, "text/copy", &body);
}

static void serve_kept(void *context, struct http_exchange *exchange)
{
    struct world *world = context;
    world->kept = exchange;
}

static const struct http_route routes[] = {
    {"GET", "/act", serve_act, 0, 0},
    {"POST", "/body", serve_body, HTTP_WORKER, 100000},
    {"GET", "/kept", serve_kept, 0, 0},
    {NULL, NULL, NULL, 0, 0},
};

static void world_start(struct world *world, uint64_t seed)
{
    *world = (struct world){.clock = clock_simulated_new(0)};
    world->loop = loop_simulated_new(world->clock);
    world->network = network_simulated_new(world->loop, seed);
    world->executor = executor_inline_new();
    const struct http_server_options server = {.listen = "primary:9411", .answer_deadline_ms = 5000};
    const struct http_client_options client = {.name = "rack-7"};
    assert_int_equal(
        http_server_new(world->loop, world->network, world->executor, &server, routes, world, &world->server), 0);
    world->client = http_client_new(world->loop, world->network, &client);
}

static void world_stop(struct world *world)
{
    http_client_free(world->client);
    http_server_free(world->server);
    executor_free(world->executor);
    loop_settle(world->loop);
    network_free(world->network);
    loop_free(world->loop);
    clock_free(world->clock);
}

static int setup(void **state)
{
    struct world *world = mem_zalloc(sizeof(*world));
    world_start(world, 1);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    world_stop(*state);
    mem_free(*state);
    return 0;
}

struct reply {
    struct world *world;
    bool done;
    enum http_failure failure;
    int status;
    int64_t at_ms;
    char body[256];
    size_t body_len;
};

static void take(void *arg, const struct http_result *result)
{
    struct reply *reply = arg;
    assert_false(reply->done);
    reply->done = true;
    reply->failure = result->failure;
    reply->status = result->status;
    reply->at_ms = clock_mono_ms(reply->world->clock);
    reply->body_len = result->body.len;
    snprintf(reply->body, sizeof(reply->body), STR_FMT, STR_ARG(result->body));
}

static struct http_call *call(struct world *world, const char *url, struct reply *reply)
{
    const struct http_request_spec spec = {
        .method = "GET", .url = url, .timeout_ms = 10000, .response_bytes_max = 1000};
    struct http_call *started = NULL;
    *reply = (struct reply){.world = world};
    assert_int_equal(http_client_call(world->client, &spec, take, reply, &started), 0);
    assert_false(reply->done);
    return started;
}

static void an_answer_takes_the_delay_both_ways(void **state)
{
    struct world *world = *state;
    const struct network_link slow = {.delay_ms = 30};
    struct reply reply;
    network_set_link(world->network, NULL, NULL, &slow);
    int64_t start_ms = clock_mono_ms(world->clock);
    call(world, "http://primary:9411/act?q=a%20b", &reply);
    loop_advance(world->loop, 59);
    assert_false(reply.done);
    assert_int_equal(world->acted, 1);
    loop_advance(world->loop, 1);
    assert_true(reply.done);
    assert_int_equal(reply.failure, HTTP_OK);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.at_ms - start_ms, 60);
    assert_string_equal(reply.body, "acted for rack-7, q=a b");
}

static void routes_and_limits_are_those_of_the_real_one(void **state)
{
    struct world *world = *state;
    CLEANUP_FREE char *body = mem_zalloc(100001);
    struct reply reply;
    memset(body, 'x', 100001);
    call(world, "http://primary:9411/nothing", &reply);
    loop_settle(world->loop);
    assert_int_equal(reply.status, 404);
    struct http_request_spec spec = {.method = "POST",
                                     .url = "http://primary:9411/body",
                                     .body = body,
                                     .body_len = 100000,
                                     .timeout_ms = 1000,
                                     .response_bytes_max = 100000,
                                     .accept_gzip = true};
    reply = (struct reply){.world = world};
    assert_int_equal(http_client_call(world->client, &spec, take, &reply, NULL), 0);
    loop_settle(world->loop);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.body_len, 100000);
    spec.response_bytes_max = 99999;
    reply = (struct reply){.world = world};
    assert_int_equal(http_client_call(world->client, &spec, take, &reply, NULL), 0);
    loop_settle(world->loop);
    assert_int_equal(reply.failure, HTTP_TOO_LARGE);
    spec.body_len = 100001;
    reply = (struct reply){.world = world};
    assert_int_equal(http_client_call(world->client, &spec, take, &reply, NULL), 0);
    loop_settle(world->loop);
    assert_int_equal(reply.status, 413);
}

static void a_cut_link_fails_at_once_and_the_most_exact_link_counts(void **state)
{
    struct world *world = *state;
    const struct network_link cut = {.cut = true}, fine = {0};
    struct reply reply;
    network_set_link(world->network, NULL, NULL, &cut);
    call(world, "http://primary:9411/act", &reply);
    loop_settle(world->loop);
    assert_int_equal(reply.failure, HTTP_CONNECT);
    assert_int_equal(world->acted, 0);
    network_set_link(world->network, "rack-7", "primary:9411", &fine);
    call(world, "http://primary:9411/act", &reply);
    loop_settle(world->loop);
    assert_int_equal(reply.status, 200);
    network_set_link(world->network, "rack-7", "primary:9411", &cut);
    call(world, "http://primary:9411/act", &reply);
    loop_settle(world->loop);
    assert_int_equal(reply.failure, HTTP_CONNECT);
    call(world, "http://nobody:1/act", &reply);
    loop_settle(world->loop);
    assert_int_equal(reply.failure, HTTP_CONNECT);
}

static void a_link_cut_on_the_way_back_breaks_off_after_the_server_acted(void **state)
{
    struct world *world = *state;
    const struct network_link slow = {.delay_ms = 30}, cut = {.delay_ms = 30, .cut = true};
    struct reply reply;
    network_set_link(world->network, NULL, NULL, &slow);
    call(world, "http://primary:9411/act", &reply);
    loop_advance(world->loop, 40);
    network_set_link(world->network, NULL, NULL, &cut);
    loop_advance(world->loop, 40);
    assert_int_equal(reply.failure, HTTP_BROKEN);
    assert_int_equal(world->acted, 1);
}

static void lost_messages_end_by_the_callers_deadline(void **state)
{
    struct world *world = *state;
    const struct network_link lose_request = {.lose_request = 1}, lose_response = {.lose_response = 1};
    struct reply reply;
    network_set_link(world->network, NULL, NULL, &lose_request);
    call(world, "http://primary:9411/act", &reply);
    loop_advance(world->loop, 9999);
    assert_false(reply.done);
    loop_advance(world->loop, 1);
    assert_int_equal(reply.failure, HTTP_TIMEOUT);
    assert_int_equal(world->acted, 0);
    network_set_link(world->network, NULL, NULL, &lose_response);
    call(world, "http://primary:9411/act", &reply);
    loop_advance(world->loop, 10000);
    assert_int_equal(reply.failure, HTTP_TIMEOUT);
    assert_int_equal(world->acted, 1);
}

/* What happens to 200 calls, as text. */
static void run_lossy(uint64_t seed, char outcome[static 201], unsigned *ret_acted)
{
    struct world world;
    const struct network_link lossy = {.delay_ms = 5, .lose_request = 0.2, .lose_response = 0.2};
    world_start(&world, seed);
    network_set_link(world.network, NULL, "primary:9411", &lossy);
    for (int i = 0; i < 200; i++) {
        struct reply reply;
        call(&world, "http://primary:9411/act", &reply);
        loop_advance(world.loop, 20000);
        assert_true(reply.done);
        outcome[i] = reply.failure == HTTP_OK ? '.' : 't';
    }
    outcome[200] = '\0';
    *ret_acted = world.acted;
    world_stop(&world);
}

static void the_seed_decides_what_is_lost(void **state)
{
    (void)state;
    char first[201], second[201], other[201];
    unsigned acted[3];
    run_lossy(7, first, &acted[0]);
    run_lossy(7, second, &acted[1]);
    run_lossy(8, other, &acted[2]);
    assert_string_equal(first, second);
    assert_int_equal(acted[0], acted[1]);
    assert_string_not_equal(first, other);
    unsigned answered = 0;
    for (int i = 0; i < 200; i++)
        answered += first[i] == '.';
    assert_true(answered > 90 && answered < 165); /* 0.8 * 0.8 of 200, give or take */
    assert_true(acted[0] > answered);
}

static void gone_clients_and_late_answers_are_seen(void **state)
{
    struct world *world = *state;
    struct reply reply;
    struct http_call *started = call(world, "http://primary:9411/kept", &reply);
    loop_settle(world->loop);
    assert_non_null(world->kept);
    assert_false(http_exchange_is_gone(world->kept));
    http_call_cancel(started);
    assert_true(http_exchange_is_gone(world->kept));
    http_exchange_answer_text(STEAL(world->kept), 200, "nobody");
    call(world, "http://primary:9411/kept", &reply);
    loop_advance(world->loop, 5000);
    assert_int_equal(reply.status, 503);
    http_exchange_answer_text(STEAL(world->kept), 200, "nobody");
}

static void a_server_that_goes_breaks_what_it_had(void **state)
{
    struct world *world = *state;
    struct reply reply;
    call(world, "http://primary:9411/kept", &reply);
    loop_settle(world->loop);
    http_server_free(STEAL(world->server));
    loop_settle(world->loop);
    assert_int_equal(reply.failure, HTTP_BROKEN);
    assert_true(http_exchange_is_gone(world->kept));
    http_exchange_answer_text(STEAL(world->kept), 200, "nobody");
    call(world, "http://primary:9411/act", &reply);
    loop_settle(world->loop);
    assert_int_equal(reply.failure, HTTP_CONNECT);
}

static void an_address_is_taken_once(void **state)
{
    struct world *world = *state;
    const struct http_server_options options = {.listen = "primary:9411"};
    struct http_server *second = NULL;
    assert_int_equal(http_server_new(world->loop, world->network, world->executor, &options, routes, world, &second),
                     -EADDRINUSE);
    assert_null(second);
    assert_int_equal(http_server_port(world->server), 9411);
}

static void a_client_that_goes_cancels_and_its_request_still_arrives(void **state)
{
    struct world *world = *state;
    const struct network_link slow = {.delay_ms = 30};
    struct reply reply;
    network_set_link(world->network, NULL, NULL, &slow);
    call(world, "http://primary:9411/act", &reply);
    loop_advance(world->loop, 10);
    http_client_free(STEAL(world->client));
    assert_int_equal(reply.failure, HTTP_CANCELLED);
    loop_advance(world->loop, 100);
    assert_int_equal(world->acted, 1);
}

int main(void)
{
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_WORLD(an_answer_takes_the_delay_both_ways),
        WITH_WORLD(routes_and_limits_are_those_of_the_real_one),
        WITH_WORLD(a_cut_link_fails_at_once_and_the_most_exact_link_counts),
        WITH_WORLD(a_link_cut_on_the_way_back_breaks_off_after_the_server_acted),
        WITH_WORLD(lost_messages_end_by_the_callers_deadline),
        cmocka_unit_test(the_seed_decides_what_is_lost),
        WITH_WORLD(gone_clients_and_late_answers_are_seen),
        WITH_WORLD(a_server_that_goes_breaks_what_it_had),
        WITH_WORLD(an_address_is_taken_once),
        WITH_WORLD(a_client_that_goes_cancels_and_its_request_still_arrives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
