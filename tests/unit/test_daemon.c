/* What the daemons' mains share: arguments, signals, descriptors, the routes below /-/. */
#include "net/daemon.h"

#include "http_world.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

/* Parses with stdout and stderr out of the way. */
static bool parse(char **argv, struct daemon_arguments *arguments, int *ret_exit)
{
    int argc = 0;
    while (argv[argc])
        argc++;
    fflush(stdout);
    int out = dup(1), err = dup(2), null = open("/dev/null", O_WRONLY);
    dup2(null, 1);
    dup2(null, 2);
    bool go_on = daemon_parse(argc, argv, "tributary-test", "A test.", arguments, ret_exit);
    fflush(stdout);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    close(null);
    return go_on;
}

static void expect_exit(char *one, char *two, char *three, int status)
{
    char *argv[] = {"tributary-test", one, two, three, NULL};
    struct daemon_arguments arguments;
    int leave = -1;
    assert_false(parse(argv, &arguments, &leave));
    assert_int_equal(leave, status);
}

static void arguments_are_read_or_refused(void **state)
{
    (void)state;
    char *argv[] = {"tributary-test", "--config", "a.yaml", "--check-config", "--log-level=debug", NULL};
    struct daemon_arguments arguments = {0};
    int leave = -1;
    assert_true(parse(argv, &arguments, &leave));
    assert_string_equal(arguments.config, "a.yaml");
    assert_true(arguments.check_config);
    assert_int_equal(arguments.log_level, LOG_DEBUG);
    expect_exit("--version", NULL, NULL, DAEMON_OK);
    expect_exit("--help", NULL, NULL, DAEMON_OK);
    expect_exit(NULL, NULL, NULL, DAEMON_USAGE);
    expect_exit("--config", NULL, NULL, DAEMON_USAGE);
    expect_exit("--nonsense", NULL, NULL, DAEMON_USAGE);
    expect_exit("--config", "a.yaml", "more", DAEMON_USAGE);
    expect_exit("--log-level", "loud", NULL, DAEMON_USAGE);
}

static void the_descriptor_limit_is_what_is_returned(void **state)
{
    (void)state;
    struct rlimit old, limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    limit = old;
    limit.rlim_cur = MIN(old.rlim_max, 256u);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    uint64_t now = daemon_raise_descriptors(257);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(limit.rlim_cur, now);
    assert_int_equal(now, old.rlim_max);
    now = daemon_raise_descriptors(UINT64_C(1) << 40); /* nobody gets so many */
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(limit.rlim_cur, now);
    assert_true(now < UINT64_C(1) << 40);
}

/* ---- A running daemon ---- */

struct sample_daemon {
    struct daemon daemon; /* the first member: the server's context */
    struct http_world world;
    bool is_ready;
    const char *fault; /* of the configuration */
    unsigned reloads, stops;
};

static void on_stop(struct daemon *daemon)
{
    struct sample_daemon *self = CONTAINER_OF(daemon, struct sample_daemon, daemon);
    self->stops++;
    loop_stop(daemon->loop);
}

static int on_reload(struct daemon *daemon, struct buf *errors)
{
    struct sample_daemon *self = CONTAINER_OF(daemon, struct sample_daemon, daemon);
    self->reloads++;
    loop_stop(daemon->loop);
    if (!self->fault)
        return 0;
    buf_append_text(errors, self->fault);
    return -EINVAL;
}

static bool on_ready(struct daemon *daemon, struct buf *reason)
{
    struct sample_daemon *self = CONTAINER_OF(daemon, struct sample_daemon, daemon);
    if (!self->is_ready)
        buf_append_text(reason, "replaying");
    return self->is_ready;
}

static const struct http_route routes[] = {DAEMON_ROUTES, {NULL, NULL, NULL, 0, 0}};

static int setup(void **state)
{
    struct sample_daemon *self = mem_zalloc(sizeof(*self));
    struct http_server_options options = world_server_options();
    log_set_level(LOG_ERROR);
    world_init(&self->world, &options, routes, self);
    self->daemon = (struct daemon){
        .loop = self->world.loop, .name = "test", .stop = on_stop, .reload = on_reload, .ready = on_ready};
    *state = self;
    return 0;
}

static int teardown(void **state)
{
    struct sample_daemon *self = *state;
    world_done(&self->world);
    mem_free(self);
    return 0;
}

static void expect(struct sample_daemon *self, const char *method, const char *path, int status, const char *body)
{
    struct http_request_spec spec = world_get(world_url(&self->world, path));
    struct http_reply reply;
    spec.method = method;
    world_fetch(&self->world, &spec, &reply);
    assert_int_equal(reply.status, status);
    assert_string_equal(reply.body, body);
    reply_done(&reply);
}

static void health_readiness_and_reload_are_served(void **state)
{
    struct sample_daemon *self = *state;
    expect(self, "GET", "/-/healthy", 200, "test is healthy\n");
    expect(self, "GET", "/-/ready", 503, "test is not ready: replaying\n");
    self->is_ready = true;
    expect(self, "GET", "/-/ready", 200, "test is ready\n");
    expect(self, "GET", "/-/reload", 405, "method not allowed\n");
    expect(self, "POST", "/-/reload", 200, "configuration reloaded\n");
    self->fault = "a.yaml:1:2: no such key\n";
    expect(self, "POST", "/-/reload", 400,
           "configuration not reloaded, the old one stays in force:\na.yaml:1:2: no such key\n");
    assert_int_equal(self->reloads, 2);
}

static void signals_reload_and_stop(void **state)
{
    struct sample_daemon *self = *state;
    daemon_handle_signals(&self->daemon);
    kill(getpid(), SIGPIPE); /* ends nobody */
    kill(getpid(), SIGHUP);
    loop_run(self->world.loop);
    assert_int_equal(self->reloads, 1);
    kill(getpid(), SIGTERM);
    loop_run(self->world.loop);
    assert_int_equal(self->stops, 1);
    assert_true(self->daemon.stopping);
    self->is_ready = true;
    expect(self, "GET", "/-/ready", 503, "test is stopping\n");
}

int main(void)
{
#define RUNNING(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_are_read_or_refused),
        cmocka_unit_test(the_descriptor_limit_is_what_is_returned),
        RUNNING(health_readiness_and_reload_are_served),
        RUNNING(signals_reload_and_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
