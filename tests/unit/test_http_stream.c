/* Answers read as they come: what is told when, what ends a stream, and gzip in pieces. */
#include "http_liar.h"

#include "base/buf.h"
#include "net/http_gunzip.h"
#include "net/http_gzip.h"

#include <errno.h>
#include <signal.h>

/* What a stream and its call have told, as one text: "head 200 text/plain;" "[piece]" "end ok". */
struct told {
    struct http_world *world;
    struct liar *liar;
    struct buf text;
    size_t bytes;
    size_t refuse_after; /* bytes; 0: never */
    bool quiet;          /* pieces are counted, not kept */
    bool cancel;         /* on the loop's next turn after the first piece */
    struct http_call *call;
    bool done;
};

static void on_head(void *arg, const struct http_head *head)
{
    struct told *told = arg;
    assert_false(told->done);
    buf_printf(&told->text, "head %d " STR_FMT ";", head->status, STR_ARG(http_head_get(head, "content-type")));
}

static void cancel_now(void *arg)
{
    struct told *told = arg;
    http_call_cancel(told->call);
    told->done = true;
    loop_stop(told->world->loop);
}

static int on_data(void *arg, struct str bytes)
{
    struct told *told = arg;
    assert_false(told->done);
    assert_true(bytes.len > 0);
    told->bytes += bytes.len;
    if (!told->quiet)
        buf_printf(&told->text, "[" STR_FMT "]", STR_ARG(bytes));
    if (told->liar)
        sem_post(&told->liar->go);
    if (told->cancel) {
        told->cancel = false;
        loop_defer(told->world->loop, cancel_now, told);
    }
    return told->refuse_after > 0 && told->bytes >= told->refuse_after ? -1 : 0;
}

static const struct http_stream stream = {on_head, on_data};

static void on_done(void *arg, const struct http_result *result)
{
    struct told *told = arg;
    assert_false(told->done);
    told->done = true;
    assert_int_equal(result->body.len, 0);
    buf_printf(&told->text, "end %s %d", http_failure_name(result->failure), result->status);
    loop_stop(told->world->loop);
}

static void stream_from(struct http_world *world, struct liar *liar, struct http_request_spec *spec, struct told *told)
{
    liar_start(liar);
    spec->url = world_url_at(world, liar->port, "/");
    spec->stream = &stream;
    told->world = world;
    told->liar = liar;
    buf_init(&told->text, 64 * KIB);
    assert_int_equal(http_client_call(world->client, spec, on_done, told, &told->call), 0);
    while (!told->done)
        loop_run(world->loop);
    buf_append_byte(&told->text, '\0');
    liar_stop(liar);
}

static void expect_told(struct http_world *world, const char *answer, const char *expected)
{
    struct liar liar = {.answer = answer, .answer_len = strlen(answer)};
    struct http_request_spec spec = world_get("");
    struct told told = {0};
    stream_from(world, &liar, &spec, &told);
    assert_string_equal((const char *)told.text.data, expected);
    buf_done(&told.text);
}

/* The liar says a piece only when the one before was told: none waits for more. */
static void each_piece_is_told_when_it_comes(void **state)
{
    static const char start[] = "HTTP/1.1 100 Continue\r\nContent-Type: interim\r\n\r\n"
                                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
                                "3\r\none\r\n";
    static const struct str pieces[] = {{"3\r\ntwo\r\n", 8}, {"5\r\nthree\r\n", 10}, {"0\r\n\r\n", 5}};
    struct liar liar = {
        .answer = start, .answer_len = sizeof(start) - 1, .pieces = pieces, .piece_count = ARRAY_LEN(pieces)};
    struct http_request_spec spec = world_get("");
    struct told told = {0};
    stream_from(*state, &liar, &spec, &told);
    assert_string_equal((const char *)told.text.data, "head 200 text/plain;[one][two][three]end ok 200");
    buf_done(&told.text);
}

static void the_head_is_told_once_whatever_the_status(void **state)
{
    expect_told(*state, "HTTP/1.1 204 No Content\r\n\r\n", "head 204 ;end ok 204");
    expect_told(*state, "HTTP/1.1 404 No\r\nContent-Type: a\r\nContent-Length: 2\r\n\r\nno",
                "head 404 a;[no]end ok 404");
    expect_told(*state, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "head 200 ;end ok 200");
    expect_told(*state, "HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 410 Gone\r\n\r\n",
                "head 410 ;end ok 410");
}

static void half_an_answer_is_told_and_then_its_failure(void **state)
{
    expect_told(*state, "", "end broken 0");
    expect_told(*state, "HTTP/1.1 200 OK\r\nContent-Ty", "end broken 0");
    expect_told(*state, "HTTP/1.1 101 Switching\r\n\r\nanother protocol", "end broken 0");
    expect_told(*state, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "head 200 ;[half]end broken 0");
    expect_told(*state, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
                "head 200 ;[ab]end broken 0");
    expect_told(*state, "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\nxxxx", "end broken 0");
    expect_told(*state, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\n\r\nxxxx", "end broken 0");
    expect_told(*state, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nno gzip", "head 200 ;end broken 0");
}

static void a_reader_that_refuses_ends_the_call(void **state)
{
    static const char start[] = "HTTP/1.1 200 OK\r\n\r\n";
    struct liar liar = {.answer = start, .answer_len = sizeof(start) - 1, .again = "more "};
    struct http_request_spec spec = world_get("");
    struct told told = {.refuse_after = 1000, .quiet = true};
    stream_from(*state, &liar, &spec, &told);
    assert_string_equal((const char *)told.text.data, "head 200 ;end refused 0");
    buf_done(&told.text);
}

static void an_endless_stream_ends_at_its_ceiling(void **state)
{
    static const char start[] = "HTTP/1.1 200 OK\r\n\r\n";
    struct liar liar = {.answer = start, .answer_len = sizeof(start) - 1, .again = "more "};
    struct http_request_spec spec = world_get("");
    struct told told = {.quiet = true};
    spec.response_bytes_max = 100000;
    stream_from(*state, &liar, &spec, &told);
    assert_string_equal((const char *)told.text.data, "head 200 ;end too_large 0");
    assert_in_range(told.bytes, 1, 100000);
    buf_done(&told.text);
}

static void a_cancelled_stream_is_told_nothing_more(void **state)
{
    static const char start[] = "HTTP/1.1 200 OK\r\n\r\n";
    struct liar liar = {.answer = start, .answer_len = sizeof(start) - 1, .again = "more "};
    struct http_request_spec spec = world_get("");
    struct told told = {.quiet = true, .cancel = true};
    spec.response_bytes_max = SIZE_MAX;
    stream_from(*state, &liar, &spec, &told);
    assert_string_equal((const char *)told.text.data, "head 200 ;");
    buf_done(&told.text);
}

static void a_stream_that_falls_silent_ends_by_its_idle_limit(void **state)
{
    static const char *const starts[] = {"", "HTTP/1.1 200 OK\r\nX", "HTTP/1.1 200 OK\r\n\r\na"};
    static const char *const expected[] = {"end timeout 0", "end timeout 0", "head 200 ;[a]end timeout 0"};
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        struct liar liar = {.answer = starts[i], .answer_len = strlen(starts[i]), .silent = true};
        struct http_request_spec spec = world_get("");
        struct told told = {0};
        spec.idle_timeout_ms = 60;
        stream_from(*state, &liar, &spec, &told);
        assert_string_equal((const char *)told.text.data, expected[i]);
        buf_done(&told.text);
    }
}

/* Endless chatter, in which an idle limit far below the deadline never strikes. */
static void a_stream_that_goes_on_is_not_idle(void **state)
{
    static const char start[] = "HTTP/1.1 200 OK\r\n\r\n";
    struct liar liar = {.answer = start, .answer_len = sizeof(start) - 1, .again = "more "};
    struct http_request_spec spec = world_get("");
    struct told told = {.quiet = true};
    spec.idle_timeout_ms = 10000;
    spec.timeout_ms = 300;
    spec.response_bytes_max = SIZE_MAX;
    stream_from(*state, &liar, &spec, &told);
    assert_string_equal((const char *)told.text.data, "head 200 ;end timeout 0");
    buf_done(&told.text);
}

/* ---- gzip ---- */

static struct buf gzip_answer(struct str text)
{
    struct buf answer = BUF_INIT(256 * MIB); /* of what it may grow to, not of what it takes */
    buf_append_text(&answer, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n");
    assert_int_equal(http_gzip_pack(text, &answer), 0);
    return answer;
}

static void gzip_is_undone_as_it_comes(void **state)
{
    struct buf answer = gzip_answer(STR("some text, some text")), more = BUF_INIT(MIB);
    assert_int_equal(http_gzip_pack(STR(" and a second member"), &more), 0);
    struct str second = buf_view(&more);
    struct liar liar = {
        .answer = (const char *)answer.data, .answer_len = answer.len, .pieces = &second, .piece_count = 1};
    struct http_request_spec spec = world_get("");
    struct told told = {0};
    stream_from(*state, &liar, &spec, &told);
    assert_string_equal((const char *)told.text.data,
                        "head 200 ;[some text, some text][ and a second member]end ok 200");
    buf_done(&told.text);
    struct liar cut = {.answer = (const char *)answer.data, .answer_len = answer.len - 1};
    told = (struct told){0};
    stream_from(*state, &cut, &spec, &told);
    assert_string_equal((const char *)told.text.data, "head 200 ;[some text, some text]end broken 0");
    buf_done(&told.text);
    buf_done(&answer);
    buf_done(&more);
}

static void a_gzip_bomb_ends_at_the_ceiling(void **state)
{
    CLEANUP_FREE char *zeros = mem_zalloc(64 * MIB);
    struct buf answer = gzip_answer(str_of(zeros, 64 * MIB));
    struct liar liar = {.answer = (const char *)answer.data, .answer_len = answer.len};
    struct http_request_spec spec = world_get("");
    struct told told = {.quiet = true};
    stream_from(*state, &liar, &spec, &told);
    assert_string_equal((const char *)told.text.data, "head 200 ;end too_large 0");
    assert_true(told.bytes <= spec.response_bytes_max && told.bytes > spec.response_bytes_max / 2);
    buf_done(&told.text);
    buf_done(&answer);
}

static int append(void *arg, struct str bytes)
{
    return buf_append_str(arg, bytes);
}

/* Cut at each place into two pieces; at each place off. */
static void gzip_in_any_pieces_is_the_same(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf text = BUF_INIT(MIB), packed = BUF_INIT(MIB);
    for (int i = 0; i < 6000; i++) /* more than one piece of what is handed on */
        buf_printf(&text, "%d;", i);
    assert_int_equal(http_gzip_pack(buf_view(&text), &packed), 0);
    for (size_t at = 0; at < packed.len; at += 7) {
        CLEANUP(buf_done) struct buf plain = BUF_INIT(MIB);
        CLEANUP(http_gunzip_freep) struct http_gunzip *gunzip = http_gunzip_new();
        assert_int_equal(http_gunzip_feed(gunzip, str_of(packed.data, at), append, &plain), 0);
        assert_int_equal(http_gunzip_is_whole(gunzip), at == 0);
        assert_int_equal(http_gunzip_feed(gunzip, str_of(packed.data + at, packed.len - at), append, &plain), 0);
        assert_true(http_gunzip_is_whole(gunzip));
        assert_true(str_equal(buf_view(&plain), buf_view(&text)));
    }
    CLEANUP(buf_done) struct buf small = BUF_INIT(100), plain = BUF_INIT(MIB);
    CLEANUP(http_gunzip_freep) struct http_gunzip *refused = http_gunzip_new(), *broken = http_gunzip_new();
    assert_int_equal(http_gunzip_feed(refused, buf_view(&packed), append, &small), -EMSGSIZE);
    packed.data[packed.len - 6] ^= 1; /* of the checksum */
    assert_int_equal(http_gunzip_feed(broken, buf_view(&packed), append, &plain), -EBADMSG);
}

/* ---- The simulated network ---- */

static void serve_text(void *context, struct http_exchange *exchange)
{
    struct buf body = BUF_INIT(64 * KIB);
    buf_append_text(&body, context);
    http_exchange_header_add(exchange, "ETag", "7");
    http_exchange_answer(exchange, 200, "text/plain", &body);
}

static void expect_simulated(char *body, size_t bytes_max, const char *expected)
{
    static const struct http_route routes[] = {{"GET", "/", serve_text, 0, 0}, {NULL, NULL, NULL, 0, 0}};
    const struct http_client_options client = {.name = "test", .shards = 1};
    const struct http_server_options server = {.listen = "server:80"};
    struct clock *clock = clock_simulated_new(0);
    struct http_world world = {.loop = loop_simulated_new(clock)};
    struct network *network = network_simulated_new(world.loop, 1);
    world.client = http_client_new(world.loop, network, &client);
    assert_int_equal(http_server_new(world.loop, network, NULL, &server, routes, body, &world.server), 0);
    struct http_request_spec spec = world_get("http://server/");
    struct told told = {.world = &world, .text = BUF_INIT(64 * KIB), .quiet = strlen(body) > 100};
    spec.stream = &stream;
    spec.accept_gzip = true;
    spec.response_bytes_max = bytes_max;
    assert_int_equal(http_client_call(world.client, &spec, on_done, &told, NULL), 0);
    loop_advance(world.loop, 1000);
    buf_append_byte(&told.text, '\0');
    assert_string_equal((const char *)told.text.data, expected);
    assert_int_equal(told.bytes, strstr(expected, "ok") ? strlen(body) : 0);
    buf_done(&told.text);
    http_client_free(world.client);
    http_server_free(world.server);
    network_free(network);
    loop_free(world.loop);
    clock_free(clock);
}

static void a_simulated_network_streams_too(void **state)
{
    (void)state;
    char text[] = "short";
    expect_simulated(text, 100, "head 200 text/plain;[short]end ok 200");
    expect_simulated(text, 4, "head 200 text/plain;end too_large 0");
    CLEANUP_FREE char *long_text = mem_zalloc(5001); /* long enough to be packed */
    memset(long_text, 'x', 5000);
    expect_simulated(long_text, 5000, "head 200 text/plain;end ok 200");
    expect_simulated(long_text, 4999, "head 200 text/plain;end too_large 0");
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        WITH_WORLD(each_piece_is_told_when_it_comes),
        WITH_WORLD(the_head_is_told_once_whatever_the_status),
        WITH_WORLD(half_an_answer_is_told_and_then_its_failure),
        WITH_WORLD(a_reader_that_refuses_ends_the_call),
        WITH_WORLD(an_endless_stream_ends_at_its_ceiling),
        WITH_WORLD(a_cancelled_stream_is_told_nothing_more),
        WITH_WORLD(a_stream_that_falls_silent_ends_by_its_idle_limit),
        WITH_WORLD(a_stream_that_goes_on_is_not_idle),
        WITH_WORLD(gzip_is_undone_as_it_comes),
        WITH_WORLD(a_gzip_bomb_ends_at_the_ceiling),
        cmocka_unit_test(gzip_in_any_pieces_is_the_same),
        cmocka_unit_test(a_simulated_network_streams_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
