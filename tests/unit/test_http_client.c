/* The client against servers that lie, stall and break off: each fails its own call, by the right name. */
#include "http_liar.h"

#include "base/buf.h"
#include "net/http_gzip.h"

#include <errno.h>
#include <signal.h>

/* Fetches from a liar; the spec's url is filled in. */
static void fetch_from(struct http_world *world, struct liar *liar, struct http_request_spec *spec,
                       struct http_reply *reply)
{
    liar_start(liar);
    spec->url = world_url_at(world, liar->port, "/");
    world_fetch(world, spec, reply);
    liar_stop(liar);
}

static void expect_failure(struct http_world *world, const char *answer, enum http_failure failure)
{
    struct liar liar = {.answer = answer, .answer_len = strlen(answer)};
    struct http_request_spec spec = world_get("");
    struct http_reply reply;
    fetch_from(world, &liar, &spec, &reply);
    assert_string_equal(http_failure_name(reply.failure), http_failure_name(failure));
    assert_true(reply.reason[0] != '\0');
    assert_int_equal(reply.status, 0);
    assert_int_equal(reply.body_len, 0);
    reply_done(&reply);
}

static void broken_answers_fail_as_broken(void **state)
{
    expect_failure(*state, "", HTTP_BROKEN);
    expect_failure(*state, "\x01\x02\x03 nonsense without end of line", HTTP_BROKEN);
    expect_failure(*state, "SSH-2.0-OpenSSH_9.2\r\n", HTTP_BROKEN);
    expect_failure(*state, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", HTTP_BROKEN);
    expect_failure(*state, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nnot a chunk", HTTP_BROKEN);
    expect_failure(*state, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", HTTP_BROKEN);
    expect_failure(*state, "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\nxxxx", HTTP_BROKEN);
    expect_failure(*state, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nnot gzip at all, but long enough",
                   HTTP_BROKEN);
}

/* Whatever is found too large, the claim or what came, is told in the same words. */
static void large_claims_fail_as_too_large(void **state)
{
    static const char claim[] = "HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\nx";
    struct liar liar = {.answer = claim, .answer_len = sizeof(claim) - 1};
    struct http_request_spec spec = world_get("");
    struct http_reply reply;
    fetch_from(*state, &liar, &spec, &reply);
    assert_string_equal(http_failure_name(reply.failure), "too_large");
    assert_string_equal(reply.reason, "answer larger than allowed");
    reply_done(&reply);
}

static void expect_endless(struct http_world *world, const char *start, const char *again, enum http_failure failure)
{
    struct liar liar = {.answer = start, .answer_len = strlen(start), .again = again};
    struct http_request_spec spec = world_get("");
    struct http_reply reply;
    fetch_from(world, &liar, &spec, &reply);
    assert_string_equal(http_failure_name(reply.failure), http_failure_name(failure));
    reply_done(&reply);
}

static void endless_answers_are_cut_off(void **state)
{
    expect_endless(*state, "HTTP/1.1 200 OK\r\n", "X-More: header\r\n", HTTP_BROKEN);
    expect_endless(*state, "HTTP/1.1 200 OK\r\nX-Line: ", "without end ", HTTP_BROKEN);
    expect_endless(*state, "", "HTTP/1.1 100 Continue\r\n\r\n", HTTP_BROKEN);
    expect_endless(*state, "HTTP/1.1 200 OK\r\n\r\n", "body without end\n", HTTP_TOO_LARGE);
    expect_endless(*state, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "4\r\nbody\r\n", HTTP_TOO_LARGE);
}

struct headers_seen {
    struct loop *loop;
    char text[256];
};

static void see_headers(void *arg, const struct http_result *result)
{
    static const char *const names[] = {"etag", "X-EMPTY", "X-Twice", "X-Interim", "X-Late"};
    struct headers_seen *seen = arg;
    size_t len = 0;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct str value = http_result_header(result, names[i]);
        len += (size_t)snprintf(seen->text + len, sizeof(seen->text) - len, STR_FMT "|",
                                STR_ARG(value.ptr ? value : STR("none")));
    }
    snprintf(seen->text + len, sizeof(seen->text) - len, STR_FMT, STR_ARG(result->body));
    loop_stop(seen->loop);
}

static void silence_ends_by_the_deadline(void **state)
{
    static const char *const starts[] = {"", "HTTP/1.1 200 OK\r\nContent-", "HTTP/1.1 200 OK\r\n\r\nand then"};
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        struct liar liar = {.answer = starts[i], .answer_len = strlen(starts[i]), .silent = true};
        struct http_request_spec spec = world_get("");
        struct http_reply reply;
        spec.timeout_ms = 50;
        fetch_from(*state, &liar, &spec, &reply);
        assert_string_equal(http_failure_name(reply.failure), "timeout");
        reply_done(&reply);
    }
}

static void nobody_listening_is_a_connect_failure(void **state)
{
    struct liar liar = {0};
    liar_start(&liar);
    liar_stop(&liar);
    struct http_request_spec spec = world_get(world_url_at(*state, liar.port, "/"));
    struct http_reply reply;
    world_fetch(*state, &spec, &reply);
    assert_string_equal(http_failure_name(reply.failure), "connect");
    reply_done(&reply);
}

static void plain_http_at_an_https_url_is_a_tls_failure(void **state)
{
    struct http_world *world = *state;
    struct liar liar = {.answer = "HTTP/1.1 400 Bad Request\r\n\r\n", .answer_len = 28};
    liar_start(&liar);
    char url[64];
    snprintf(url, sizeof(url), "https://127.0.0.1:%u/", liar.port);
    struct http_request_spec spec = world_get(url);
    struct http_reply reply;
    spec.timeout_ms = 2000; /* the liar waits for a header's end that does not come */
    world_fetch(world, &spec, &reply);
    assert_true(reply.failure == HTTP_TLS || reply.failure == HTTP_TIMEOUT);
    reply_done(&reply);
    liar_stop(&liar);
}

/* 64 MiB of zeros in some 64 KiB: stopped at the caller's ceiling. */
static void a_gzip_bomb_stops_at_the_ceiling(void **state)
{
    CLEANUP_FREE char *zeros = mem_zalloc(64 * MIB);
    CLEANUP(buf_done) struct buf answer = BUF_INIT(256 * MIB);
    buf_append_text(&answer, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n");
    assert_int_equal(http_gzip_pack(str_of(zeros, 64 * MIB), &answer), 0);
    assert_true(answer.len < MIB);
    struct liar liar = {.answer = (const char *)answer.data, .answer_len = answer.len};
    struct http_request_spec spec = world_get("");
    struct http_reply reply;
    fetch_from(*state, &liar, &spec, &reply);
    assert_string_equal(http_failure_name(reply.failure), "too_large");
    reply_done(&reply);
}

static void status_type_and_retry_after_are_told(void **state)
{
    static const char text[] = "HTTP/1.1 503 Busy\r\nContent-Type: application/json\r\nRetry-After: 7\r\n"
                               "Content-Length: 2\r\n\r\n{}";
    struct liar liar = {.answer = text, .answer_len = sizeof(text) - 1};
    struct http_request_spec spec = world_get("");
    struct http_reply reply;
    fetch_from(*state, &liar, &spec, &reply);
    assert_int_equal(reply.failure, HTTP_OK);
    assert_int_equal(reply.status, 503);
    assert_int_equal(reply.retry_after_s, 7);
    assert_string_equal(reply.content_type, "application/json");
    assert_string_equal(reply.body, "{}");
    reply_done(&reply);
}

static void any_header_is_told_by_its_name(void **state)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\nX-Interim: 1\r\n\r\n"
                               "HTTP/1.1 200 Fine\r\nETag:  \"a:b\" \r\nX-Empty:\r\nX-Twice: 1\r\n"
                               "x-twice: 2\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n"
                               "2\r\nab\r\n0\r\nX-Late: 1\r\nContent-Encoding: gzip\r\n\r\n";
    struct liar liar = {.answer = text, .answer_len = sizeof(text) - 1};
    liar_start(&liar);
    struct http_world *world = *state;
    struct http_request_spec spec = world_get(world_url_at(world, liar.port, "/"));
    struct headers_seen seen = {.loop = world->loop};
    assert_int_equal(http_client_call(world->client, &spec, see_headers, &seen, NULL), 0);
    loop_run(world->loop);
    assert_string_equal(seen.text, "\"a:b\"||1|none|none|ab");
    liar_stop(&liar);
}

static void retry_after_may_be_a_date(void **state)
{
    static const struct {
        const char *value;
        int64_t least_s, most_s;
    } cases[] = {
        {"Fri, 31 Dec 9999 23:59:59 GMT", INT32_MAX, INT32_MAX},
        {"Sun, 06 Nov 1994 08:49:37 GMT", 0, 0},
        {"some day", -1, -1},
        {"-5", -1, -1},
        {"99999999999999999999999999", -1, -1},
        {"9999999999", INT32_MAX, INT32_MAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[256];
        int len = snprintf(text, sizeof(text), "HTTP/1.1 503 Busy\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n",
                           cases[i].value);
        struct liar liar = {.answer = text, .answer_len = (size_t)len};
        struct http_request_spec spec = world_get("");
        struct http_reply reply;
        fetch_from(*state, &liar, &spec, &reply);
        assert_in_range(reply.retry_after_s + 1, cases[i].least_s + 1, cases[i].most_s + 1);
        reply_done(&reply);
    }
}

static void redirects_are_not_followed(void **state)
{
    static const char text[] = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    struct liar liar = {.answer = text, .answer_len = sizeof(text) - 1};
    struct http_request_spec spec = world_get("");
    struct http_reply reply;
    fetch_from(*state, &liar, &spec, &reply);
    assert_int_equal(reply.failure, HTTP_OK);
    assert_int_equal(reply.status, 302);
    reply_done(&reply);
}

/* A path may be a key, in which dots and slashes mean themselves; and what is signed must be what is sent. */
static void a_path_is_sent_as_it_is(void **state)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    struct liar liar = {.answer = text, .answer_len = sizeof(text) - 1};
    struct http_world *world = *state;
    struct http_reply reply;
    liar_start(&liar);
    struct http_request_spec spec = world_get(world_url_at(world, liar.port, "/a/../b//./%2e%2E/c+%7e?x=../y"));
    world_fetch(world, &spec, &reply);
    liar_stop(&liar);
    assert_int_equal(reply.status, 200);
    assert_true(str_starts_with(str_from(liar.request), STR("GET /a/../b//./%2e%2E/c+%7e?x=../y HTTP/1.1\r\n")));
    reply_done(&reply);
}

/* ---- gzip by itself ---- */

static void gzip_goes_both_ways_and_says_what_is_wrong(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf packed = BUF_INIT(MIB), plain = BUF_INIT(MIB), small = BUF_INIT(10);
    assert_int_equal(http_gzip_pack(STR("some text, some text, some text"), &packed), 0);
    assert_int_equal(http_gzip_pack(STR(" and a second member"), &packed), 0);
    assert_int_equal(http_gzip_unpack(buf_view(&packed), &plain), 0);
    assert_true(str_equal(buf_view(&plain), STR("some text, some text, some text and a second member")));
    assert_int_equal(http_gzip_unpack(buf_view(&packed), &small), -EMSGSIZE);
    for (size_t len = 0; len < packed.len; len++) {
        CLEANUP(buf_done) struct buf cut = BUF_INIT(MIB);
        int error = http_gzip_unpack(str_of(packed.data, len), &cut);
        assert_true(error == -EBADMSG ||
                    (error == 0 && str_equal(buf_view(&cut), STR("some text, some text, some text"))));
    }
    packed.data[20] ^= 1;
    buf_reset(&plain);
    assert_int_equal(http_gzip_unpack(buf_view(&packed), &plain), -EBADMSG);
}

static void accept_encoding_is_read_with_its_weights(void **state)
{
    (void)state;
    assert_true(http_gzip_accepted(STR("gzip")));
    assert_true(http_gzip_accepted(STR("deflate, GZIP;q=0.5")));
    assert_true(http_gzip_accepted(STR("*")));
    assert_true(http_gzip_accepted(STR("br;q=0 , gzip ; q=0.01")));
    assert_false(http_gzip_accepted(STR_NULL));
    assert_false(http_gzip_accepted(STR("identity, deflate")));
    assert_false(http_gzip_accepted(STR("gzip;q=0")));
    assert_false(http_gzip_accepted(STR("gzip;q=0.000")));
    assert_false(http_gzip_accepted(STR("xgzip")));
    assert_false(http_gzip_accepted(STR(",,,")));
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* as every daemon does: TLS has no MSG_NOSIGNAL */
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        WITH_WORLD(broken_answers_fail_as_broken),
        WITH_WORLD(large_claims_fail_as_too_large),
        WITH_WORLD(endless_answers_are_cut_off),
        WITH_WORLD(silence_ends_by_the_deadline),
        WITH_WORLD(nobody_listening_is_a_connect_failure),
        WITH_WORLD(plain_http_at_an_https_url_is_a_tls_failure),
        WITH_WORLD(a_gzip_bomb_stops_at_the_ceiling),
        WITH_WORLD(status_type_and_retry_after_are_told),
        WITH_WORLD(any_header_is_told_by_its_name),
        WITH_WORLD(retry_after_may_be_a_date),
        WITH_WORLD(redirects_are_not_followed),
        WITH_WORLD(a_path_is_sent_as_it_is),
        cmocka_unit_test(gzip_goes_both_ways_and_says_what_is_wrong),
        cmocka_unit_test(accept_encoding_is_read_with_its_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
