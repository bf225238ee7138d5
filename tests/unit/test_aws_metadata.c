/* Instance metadata: one token for many questions, got anew when it ages or is refused; and all that goes wrong. */
#include "aws_world.h"

#include <errno.h>

#define ROLES "/latest/meta-data/iam/security-credentials/"

struct heard {
    unsigned times;
    int error, status;
    char text[256], reason[AWS_METADATA_REASON_MAX];
};

static void hear(void *arg, int error, const char *reason, const struct http_result *result)
{
    struct heard *heard = arg;
    heard->times++;
    heard->error = error;
    heard->status = result ? result->status : 0;
    snprintf(heard->reason, sizeof(heard->reason), "%s", reason);
    snprintf(heard->text, sizeof(heard->text), STR_FMT, STR_ARG(result ? result->body : STR_NULL));
    assert_true(!result == (error != 0));
    assert_true((error != 0) == (reason[0] != '\0'));
}

static int setup(void **state)
{
    struct aws_world *world = mem_zalloc(sizeof(*world));
    aws_world_init(world);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    aws_world_done(*state);
    mem_free(*state);
    return 0;
}

/* Asks and waits for longer than any answer may take. */
static struct heard ask(struct aws_world *world, const char *path)
{
    struct heard heard = {0};
    aws_metadata_get(world->metadata, path, hear, &heard);
    assert_int_equal(heard.times, 0); /* never from inside */
    loop_advance(world->loop, 3 * AWS_METADATA_TIMEOUT_MS);
    assert_int_equal(heard.times, 1);
    return heard;
}

static void expect_text(struct aws_world *world, const char *text)
{
    struct heard heard = ask(world, ROLES);
    assert_int_equal(heard.error, 0);
    assert_int_equal(heard.status, 200);
    assert_string_equal(heard.text, text);
}

static void expect_error(struct aws_world *world, int error, const char *reason)
{
    struct heard heard = ask(world, ROLES);
    assert_int_equal(heard.error, error);
    if (!strstr(heard.reason, reason))
        assert_string_equal(heard.reason, reason);
}

static void one_token_serves_many_questions(void **state)
{
    struct aws_world *world = *state;
    struct heard heard[20] = {{0}};
    for (size_t i = 0; i < ARRAY_LEN(heard); i++)
        aws_metadata_get(world->metadata, ROLES, hear, &heard[i]);
    loop_advance(world->loop, 100);
    for (size_t i = 0; i < ARRAY_LEN(heard); i++)
        assert_string_equal(heard[i].text, "node-role\n");
    assert_int_equal(world->tokens.requests, 1);
    loop_advance(world->loop, 5 * 3600 * 1000); /* of six hours */
    expect_text(world, "node-role\n");
    assert_int_equal(world->tokens.requests, 1);
    loop_advance(world->loop, 3600 * 1000);
    expect_text(world, "node-role\n");
    assert_int_equal(world->tokens.requests, 2);
}

static void a_token_lives_as_long_as_the_service_says(void **state)
{
    struct aws_world *world = *state;
    world->ttl = "60";
    expect_text(world, "node-role\n");
    loop_advance(world->loop, 40000);
    expect_text(world, "node-role\n");
    assert_int_equal(world->tokens.requests, 1);
    loop_advance(world->loop, 10000);
    expect_text(world, "node-role\n");
    assert_int_equal(world->tokens.requests, 2);
}

static void a_refused_token_is_got_anew_once(void **state)
{
    struct aws_world *world = *state;
    expect_text(world, "node-role\n");
    world->tokens_made = 100; /* the service has forgotten the one it gave */
    expect_text(world, "node-role\n");
    assert_int_equal(world->tokens.requests, 2);
    world->refuse_tokens = true;
    expect_error(world, -EACCES, "401");
    assert_int_equal(world->tokens.requests, 3);
    world->refuse_tokens = false;
    expect_text(world, "node-role\n");
}

static void what_is_not_there_is_an_answer_too(void **state)
{
    struct heard heard = ask(*state, "/latest/meta-data/placement/nothing");
    assert_int_equal(heard.error, 0);
    assert_int_equal(heard.status, 404);
}

static void without_a_token_nothing_is_asked(void **state)
{
    static const char page[] = "<html><body>Log in to the network</body></html>";
    static const struct {
        int status;
        const char *body;
        int error;
        const char *reason;
    } cases[] = {{403, NULL, -EACCES, "no token: HTTP status 403"}, {404, NULL, -EIO, "no token: HTTP status 404"},
                 {500, NULL, -EIO, "no token: HTTP status 500"},    {302, NULL, -EIO, "no token: HTTP status 302"},
                 {200, page, -EIO, "the answer is no token"},       {200, "", -EIO, "the answer is no token"}};
    struct aws_world *world = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        world->tokens.status = cases[i].status;
        world->tokens.body = cases[i].body;
        expect_error(world, cases[i].error, cases[i].reason);
    }
    CLEANUP_FREE char *large = mem_zalloc(2 * MIB);
    memset(large, 'x', 2 * MIB - 1);
    world->tokens.body = large;
    expect_error(world, -EIO, "larger");
    large[2000] = '\0';
    expect_error(world, -EIO, "the answer is no token");
    assert_int_equal(world->roles.requests, 0);
}

static void an_answer_has_a_ceiling(void **state)
{
    struct aws_world *world = *state;
    CLEANUP_FREE char *large = mem_zalloc(AWS_METADATA_BYTES_MAX + 2);
    memset(large, 'x', AWS_METADATA_BYTES_MAX + 1);
    world->roles.body = large;
    expect_error(world, -EIO, "larger");
}

static void silence_ends_soon(void **state)
{
    struct aws_world *world = *state;
    const struct network_link lost = {.lose_request = 1}, cut = {.cut = true}, sound = {0};
    network_set_link(world->network, NULL, NULL, &lost);
    expect_error(world, -EIO, "hop limit");
    network_set_link(world->network, NULL, NULL, &cut);
    expect_error(world, -EIO, "refused");
    network_set_link(world->network, NULL, NULL, &sound);
    expect_text(world, "node-role\n");
    network_set_link(world->network, NULL, NULL, &lost);
    expect_error(world, -EIO, "no answer in time");
}

static void the_environment_rules_where_and_whether(void **state)
{
    struct aws_world *world = *state;
    aws_world_set(world, "AWS_EC2_METADATA_DISABLED", "True");
    expect_error(world, -EACCES, "AWS_EC2_METADATA_DISABLED");
    assert_int_equal(world->tokens.requests, 0);
    aws_world_set(world, "AWS_EC2_METADATA_DISABLED", "false");
    expect_text(world, "node-role\n");
    aws_world_set(world, "AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://metadata.test:8080/");
    expect_error(world, -EIO, "refused");
    aws_world_serve_metadata(world, "metadata.test:8080");
    expect_text(world, "node-role\n");
    aws_world_set(world, "AWS_EC2_METADATA_SERVICE_ENDPOINT", "");
    aws_world_set(world, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ipv6");
    aws_world_serve_metadata(world, "[fd00:ec2::254]:80");
    expect_text(world, "node-role\n");
    aws_world_set(world, "AWS_EC2_METADATA_SERVICE_ENDPOINT", "not a URL");
    expect_error(world, -EINVAL, "URL");
}

static void a_path_that_is_none_is_refused(void **state)
{
    static const char *const paths[] = {"", "latest", "/a b", "/a\r\nX: y"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        assert_int_equal(ask(*state, paths[i]).error, -EINVAL);
}

static void too_many_are_refused(void **state)
{
    struct aws_world *world = *state;
    struct heard heard = {0}, last = {0};
    for (int i = 0; i < AWS_METADATA_GETS_MAX; i++)
        aws_metadata_get(world->metadata, ROLES, hear, &heard);
    aws_metadata_get(world->metadata, ROLES, hear, &last);
    loop_advance(world->loop, 3 * AWS_METADATA_TIMEOUT_MS);
    assert_int_equal(heard.times, AWS_METADATA_GETS_MAX);
    assert_int_equal(heard.error, 0);
    assert_int_equal(last.error, -EAGAIN);
}

static void the_cancelled_hear_nothing(void **state)
{
    struct aws_world *world = *state;
    struct heard heard = {0}, other = {0};
    struct aws_metadata_request *waiting = aws_metadata_get(world->metadata, ROLES, hear, &heard);
    aws_metadata_get(world->metadata, ROLES, hear, &other);
    struct aws_metadata_request *failed = aws_metadata_get(world->metadata, "no path", hear, &heard);
    aws_metadata_cancel(waiting);
    aws_metadata_cancel(failed);
    loop_advance(world->loop, 100);
    assert_int_equal(other.times, 1);
    struct aws_metadata_request *asked = aws_metadata_get(world->metadata, ROLES, hear, &heard);
    aws_metadata_cancel(asked);
    aws_metadata_get(world->metadata, ROLES, hear, &heard); /* and one that the end of all finds */
    aws_metadata_free(STEAL(world->metadata));
    loop_advance(world->loop, 100);
    assert_int_equal(heard.times, 0);
}

int main(void)
{
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_WORLD(one_token_serves_many_questions),
        WITH_WORLD(a_token_lives_as_long_as_the_service_says),
        WITH_WORLD(a_refused_token_is_got_anew_once),
        WITH_WORLD(what_is_not_there_is_an_answer_too),
        WITH_WORLD(without_a_token_nothing_is_asked),
        WITH_WORLD(an_answer_has_a_ceiling),
        WITH_WORLD(silence_ends_soon),
        WITH_WORLD(the_environment_rules_where_and_whether),
        WITH_WORLD(a_path_that_is_none_is_refused),
        WITH_WORLD(too_many_are_refused),
        WITH_WORLD(the_cancelled_hear_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
