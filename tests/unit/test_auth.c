/* Tokens and identities; requests come over the simulated network. */
#include "net/auth.h"

#include "base/fail.h"
#include "net/http_client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
    struct clock *clock;
    struct loop *loop;
    struct network *network;
    struct http_server *server;
    struct http_client *client;
    struct file_system *fs;
    struct auth *auth;
};

/* Answers who it takes the client for. */
static void serve_who(void *context, struct http_exchange *exchange)
{
    struct world *world = context;
    struct str identity = STR("nobody");
    if (auth_check(world->auth, exchange, &identity))
        http_exchange_answer_text(exchange, 403, "refused");
    else
        http_exchange_answer_text(exchange, 200, "%s" STR_FMT, identity.ptr ? "" : "anybody", STR_ARG(identity));
}

static const struct http_route routes[] = {{"GET", "/who", serve_who, 0, 0}, {NULL, NULL, NULL, 0, 0}};

static void put(struct world *world, const char *path, struct str text)
{
    assert_int_equal(file_write_whole(world->fs, path, text.ptr, text.len), 0);
}

static int setup(void **state)
{
    struct world *world = mem_zalloc(sizeof(*world));
    world->clock = clock_simulated_new(0);
    world->loop = loop_simulated_new(world->clock);
    world->network = network_simulated_new(world->loop, 1);
    world->fs = file_system_memory_new(0);
    assert_int_equal(file_make_dirs(world->fs, "/secrets"), 0);
    put(world, "/secrets/a", STR("alpha-token\n"));
    put(world, "/secrets/b", STR("beta-token"));
    const struct http_server_options server = {.listen = "here:1"};
    const struct http_client_options client = {.name = "client"};
    assert_int_equal(http_server_new(world->loop, world->network, NULL, &server, routes, world, &world->server), 0);
    world->client = http_client_new(world->loop, world->network, &client);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    http_client_free(world->client);
    http_server_free(world->server);
    network_free(world->network);
    loop_free(world->loop);
    clock_free(world->clock);
    auth_free(world->auth);
    file_system_free(world->fs);
    mem_free(world);
    return 0;
}

static void take_text(void *arg, const struct http_result *result)
{
    snprintf(arg, 64, STR_FMT, STR_ARG(result->body));
}

static void expect(struct world *world, const char *authorization, const char *answer)
{
    const struct http_header header = {"Authorization", authorization ? authorization : ""};
    const struct http_request_spec spec = {.method = "GET",
                                           .url = "http://here:1/who",
                                           .headers = &header,
                                           .header_count = authorization ? 1 : 0,
                                           .timeout_ms = 1000,
                                           .response_bytes_max = 1000};
    char text[64] = "";
    assert_int_equal(http_client_call(world->client, &spec, take_text, text, NULL), 0);
    loop_settle(world->loop);
    assert_string_equal(text, answer);
}

static int make(struct world *world, const struct auth_entry *entries, size_t count, char error[static 256])
{
    auth_free(STEAL(world->auth));
    return auth_new(world->fs, entries, count, error, &world->auth);
}

static void a_token_is_the_name_it_was_issued_for(void **state)
{
    struct world *world = *state;
    char error[256];
    const struct auth_entry entries[] = {{"alpha", "/secrets/a"}, {"beta", "/secrets/b"}, {"gamma", NULL}};
    assert_int_equal(make(world, entries, ARRAY_LEN(entries), error), 0);
    expect(world, "Bearer alpha-token", "alpha");
    expect(world, "bearer  beta-token ", "beta");
    expect(world, "Bearer gamma", "refused");
    expect(world, "Bearer alpha-toke", "refused");
    expect(world, "Bearer alpha-tokens", "refused");
    expect(world, "Bearer ", "refused");
    expect(world, "Basic alpha-token", "refused");
    expect(world, "alpha-token", "refused");
    expect(world, NULL, "refused");
}

static void no_entries_let_everybody_in(void **state)
{
    struct world *world = *state;
    char error[256];
    assert_int_equal(make(world, NULL, 0, error), 0);
    expect(world, NULL, "anybody");
    expect(world, "Bearer whatever", "anybody");
}

static void expect_unsound(struct world *world, const char *path, const char *reason)
{
    char error[256] = "";
    const struct auth_entry entry = {"x", path};
    assert_int_equal(make(world, &entry, 1, error), -EINVAL);
    assert_non_null(strstr(error, path));
    if (!strstr(error, reason))
        fail_msg("'%s' does not say '%s'", error, reason);
}

static void unsound_secrets_are_named(void **state)
{
    struct world *world = *state;
    CLEANUP_FREE char *large = mem_zalloc(5000);
    memset(large, 'x', 5000);
    put(world, "/secrets/empty", STR("\n"));
    put(world, "/secrets/lines", STR("one\ntwo\n"));
    put(world, "/secrets/large", str_of(large, 5000));
    expect_unsound(world, "/secrets/empty", "empty");
    expect_unsound(world, "/secrets/lines", "more than one line");
    expect_unsound(world, "/secrets/large", "larger than");
    expect_unsound(world, "/secrets/missing", "No such file");
    const struct auth_entry twice[] = {{"x", "/secrets/a"}, {"y", "/secrets/a"}};
    char error[256];
    assert_int_equal(make(world, twice, 2, error), -EINVAL);
    assert_non_null(strstr(error, "same token as of x"));
}

static void a_token_that_others_may_read_is_refused(void **state)
{
    (void)state;
    char path[] = "/tmp/test_auth_XXXXXX", error[256];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "token\n", 6), 6);
    struct auth *auth = NULL;
    const struct auth_entry entry = {"x", path};
    assert_int_equal(auth_new(file_system_real(), &entry, 1, error, &auth), 0);
    auth_free(STEAL(auth));
    assert_int_equal(fchmod(fd, 0640), 0);
    assert_int_equal(auth_new(file_system_real(), &entry, 1, error, &auth), -EINVAL);
    assert_non_null(strstr(error, "0640"));
    /* Other secrets may be readable, as Kubernetes mounts them. */
    char *secret = NULL;
    assert_int_equal(auth_read_secret(file_system_real(), path, error, &secret), 0);
    assert_string_equal(secret, "token");
    mem_free(secret);
    close(fd);
    unlink(path);
}

int main(void)
{
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_WORLD(a_token_is_the_name_it_was_issued_for),
        WITH_WORLD(no_entries_let_everybody_in),
        WITH_WORLD(unsound_secrets_are_named),
        cmocka_unit_test(a_token_that_others_may_read_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
