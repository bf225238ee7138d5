/* The signer against a server of S3 that checks signatures, where S3_ENDPOINT says one (tests/e2e/test_sigv4.py starts
 * one): objects under odd names are put, got and listed; what is signed wrong is refused. */
#include "http_world.h"

#include "net/sigv4.h"

#include <stdlib.h>

#define BUCKET "/tributary-signatures"

static const char *const odd_keys[] = {
    "plain.txt",
    "dir/with/slashes",
    "a space and  two",
    "plus+plus",
    "equals=and&and?question#hash",
    "percent%25%and%2F",
    "\303\274ber/\xe6\x97\xa5\xe6\x9c\xac",
    "quote'\"<>()[]{}|\\^`~!*$@,;:",
    ".hidden/../-_",
    "two//slashes",
};

struct question {
    const char *method, *target;
    struct str body;
    const char *secret;       /* NULL: the right one */
    const char *payload_hash; /* NULL: of the body */
    int64_t ahead_ms;         /* of the right time */
};

struct answer {
    int status;
    char *body;
};

static struct answer ask(struct http_world *world, const struct question *question)
{
    const char *secret = question->secret ? question->secret : getenv("S3_SECRET_KEY");
    const struct sigv4_credentials keys = {getenv("S3_ACCESS_KEY"), secret, NULL};
    CLEANUP_FREE char *url = mem_printf("%s%s", getenv("S3_ENDPOINT"), question->target);
    const struct http_header type = {"Content-Type", "text/plain;  charset=utf-8"};
    const struct sigv4_request request = {.method = question->method,
                                          .url = url,
                                          .headers = &type,
                                          .header_count = 1,
                                          .payload = question->body,
                                          .payload_hash = question->payload_hash,
                                          .region = "us-east-1",
                                          .service = "s3",
                                          .time_ms = clock_wall_ms(loop_clock(world->loop)) + question->ahead_ms,
                                          .s3 = true};
    struct sigv4_headers added = {0};
    struct http_header headers[1 + ARRAY_LEN(added.headers)] = {type};
    struct http_request_spec spec = world_get(url);
    struct http_reply reply;
    assert_int_equal(sigv4_sign(&request, &keys, &added), 0);
    memcpy(headers + 1, added.headers, added.count * sizeof(headers[0]));
    spec.method = question->method;
    spec.headers = headers;
    spec.header_count = 1 + added.count;
    spec.body = question->body.ptr;
    spec.body_len = question->body.len;
    world_fetch(world, &spec, &reply);
    sigv4_headers_done(&added);
    assert_string_equal(reply.reason, "");
    return (struct answer){reply.status, reply.body};
}

static void expect_status(struct http_world *world, const struct question *question, int status)
{
    struct answer answer = ask(world, question);
    if (answer.status != status)
        print_error("%s %s: %d %s\n", question->method, question->target, answer.status, answer.body);
    assert_int_equal(answer.status, status);
    mem_free(answer.body);
}

static void skip_without_a_server(void)
{
    if (!getenv("S3_ENDPOINT"))
        skip();
}

static char *target_of(const char *key)
{
    CLEANUP(buf_done) struct buf path = BUF_INIT(4 * KIB);
    buf_append_escaped(&path, str_from(key), true);
    return mem_printf(BUCKET "/" STR_FMT, STR_ARG(buf_view(&path)));
}

static void objects_under_odd_names_are_put_got_and_listed(void **state)
{
    struct http_world *world = *state;
    skip_without_a_server();
    expect_status(world, &(struct question){"PUT", BUCKET, .ahead_ms = 0}, 200);
    for (size_t i = 0; i < ARRAY_LEN(odd_keys); i++) {
        CLEANUP_FREE char *target = target_of(odd_keys[i]);
        expect_status(world, &(struct question){"PUT", target, .body = str_from(odd_keys[i])}, 200);
        struct answer answer = ask(world, &(struct question){"GET", target, .ahead_ms = 0});
        assert_int_equal(answer.status, 200);
        assert_string_equal(answer.body, odd_keys[i]);
        mem_free(answer.body);
        CLEANUP(buf_done) struct buf list = BUF_INIT(8 * KIB), listed = BUF_INIT(8 * KIB);
        buf_append_text(&list, BUCKET "?prefix="); /* in no order, and as AWS encodes parameters */
        buf_append_escaped(&list, str_from(odd_keys[i]), false);
        buf_append_text(&list, "&list-type=2&encoding-type=url");
        buf_append_byte(&list, '\0');
        buf_append_text(&listed, "<Key>");
        buf_append_escaped(&listed, str_from(odd_keys[i]), true);
        buf_append_text(&listed, "</Key>");
        buf_append_byte(&listed, '\0');
        answer = ask(world, &(struct question){"GET", (const char *)list.data, .ahead_ms = 0});
        assert_int_equal(answer.status, 200);
        if (!strstr(answer.body, (const char *)listed.data))
            assert_string_equal(answer.body, (const char *)listed.data);
        mem_free(answer.body);
    }
    for (size_t i = 0; i < ARRAY_LEN(odd_keys); i++) {
        CLEANUP_FREE char *target = target_of(odd_keys[i]);
        expect_status(world, &(struct question){"DELETE", target, .ahead_ms = 0}, 204);
        expect_status(world, &(struct question){"GET", target, .ahead_ms = 0}, 404);
    }
}

static void parameters_without_values_are_signed(void **state)
{
    skip_without_a_server();
    expect_status(*state, &(struct question){"GET", BUCKET "?location", .ahead_ms = 0}, 200);
    expect_status(*state, &(struct question){"GET", BUCKET "?uploads", .ahead_ms = 0}, 200);
}

static void payloads_may_go_unsigned(void **state)
{
    skip_without_a_server();
    expect_status(
        *state, &(struct question){"PUT", BUCKET "/unsigned", .body = STR("x"), .payload_hash = SIGV4_UNSIGNED_PAYLOAD},
        200);
    expect_status(*state, &(struct question){"DELETE", BUCKET "/unsigned", .ahead_ms = 0}, 204);
}

/* The server is no rubber stamp. */
static void what_is_signed_wrong_is_refused(void **state)
{
    skip_without_a_server();
    char hash[SIGV4_HASH_BYTES];
    sigv4_hash(STR("another body"), hash);
    expect_status(*state, &(struct question){"GET", BUCKET, .secret = "not-the-secret"}, 403);
    expect_status(*state, &(struct question){"GET", BUCKET, .ahead_ms = (int64_t)3600 * 1000}, 403);
    expect_status(*state, &(struct question){"PUT", BUCKET "/wrong", .body = STR("one body"), .payload_hash = hash},
                  400);
    expect_status(*state, &(struct question){"GET", BUCKET "/wrong", .ahead_ms = 0}, 404);
}

int main(void)
{
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        WITH_WORLD(objects_under_odd_names_are_put_got_and_listed),
        WITH_WORLD(parameters_without_values_are_signed),
        WITH_WORLD(payloads_may_go_unsigned),
        WITH_WORLD(what_is_signed_wrong_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
