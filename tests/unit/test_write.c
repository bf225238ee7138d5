/* The way of a remote write request: who may, what is answered, and that what is answered 204 is on disk. */
#include "hop_world.h"
#include "write_world.h"

#include "net/http_client.h"
#include "write/write.h"

#include <errno.h>

#define ADDRESS   "upper:9412"
#define FAILS_MAX 40 /* operations on files of one request: a write, a sync, and two segments begun */
#define VALUES    64 /* samples are told apart by their values, 0..63 */

struct rig {
    struct hop_world world;
    struct file_system *fs; /* fails where it is told to */
    struct seams seams;
    struct network *network;
    struct http_server *server;
    struct http_client *client;
    struct spool *log;
    struct write *write;
    struct write_options options;
    const char *busy; /* what why_busy says */
    unsigned accepted[VALUES], replayed[VALUES];
    unsigned refusals;
};

struct reply {
    bool done;
    int status;
    int64_t retry_after_s;
    char text[256];
};

static void handle(void *context, struct http_exchange *exchange)
{
    struct rig *rig = context;
    write_handle(rig->write, exchange);
}

static const struct http_route routes[] = {
    {.method = "POST", .path = WRITE_PATH, .handler = handle, .body_bytes_max = CONVERT_BODY_BYTES_MAX},
    {0},
};

/* Counts the samples of a batch by their values. */
static void note(struct layout_table *table, struct str bytes, unsigned counts[static VALUES])
{
    CLEANUP(batch_reader_freep) struct batch_reader *reader = NULL;
    struct batch_block block;
    assert_int_equal(batch_reader_open(bytes.ptr, bytes.len, table, &reader), 0);
    assert_true(batch_reader_envelope(reader)->is_remote_write);
    while (batch_reader_next(reader, &block) > 0)
        for (uint32_t i = 0; i < block.family->count * block.entry_count; i++)
            counts[(unsigned)block.records[i].last]++;
}

static int accept_batch(void *arg, const struct spool_batch *batch, struct str bytes)
{
    struct rig *rig = arg;
    assert_true(batch->is_remote_write && spool_has(rig->log, batch->id));
    note(spool_layouts(rig->log), bytes, rig->accepted);
    return 0;
}

static int replay_batch(void *arg, const struct spool_batch *batch, struct str bytes, struct layout_table *layouts)
{
    struct rig *rig = arg;
    assert_true(batch->is_remote_write && !batch->is_gap);
    note(layouts, bytes, rig->replayed);
    return 0;
}

static void refused(void *arg, struct str sender, const char *reason)
{
    struct rig *rig = arg;
    assert_true(sender.len > 0 && reason[0]);
    rig->refusals++;
}

static const char *why_busy(void *arg)
{
    return ((struct rig *)arg)->busy;
}

static void set_senders(struct rig *rig, const struct write_sender *senders, size_t count)
{
    char error[256];
    assert_int_equal(write_set_senders(rig->write, senders, count, error), 0);
}

static void start(struct rig *rig)
{
    const struct spool_options log = {.dir = "/log", .layout_bytes_max = HOP_LAYOUT_BYTES};
    const struct http_server_options server = {
        .listen = ADDRESS, .request_deadline_ms = 10000, .answer_deadline_ms = 10000};
    const struct write_sender anybody = {.name = "anybody", .anonymous = true};
    memset(rig->replayed, 0, sizeof(rig->replayed));
    assert_int_equal(spool_open(&rig->seams, &log, replay_batch, rig, &rig->log), 0);
    rig->write = write_new(&rig->seams, rig->log, &rig->options);
    set_senders(rig, &anybody, 1);
    assert_int_equal(
        http_server_new(rig->seams.loop, rig->network, rig->seams.executor, &server, routes, rig, &rig->server), 0);
}

static void stop(struct rig *rig)
{
    http_server_free(STEAL(rig->server));
    write_free(STEAL(rig->write));
    spool_close(STEAL(rig->log));
    loop_settle(rig->seams.loop);
}

static int setup(void **state)
{
    struct rig *rig = mem_zalloc(sizeof(*rig));
    hop_world_init(&rig->world, 1);
    rig->fs = file_system_failing_new(rig->world.seams.fs);
    rig->seams = rig->world.seams;
    rig->seams.fs = rig->fs;
    rig->network = network_simulated_new(rig->seams.loop, 1);
    const struct http_client_options client = {.name = "sender", .shards = 1, .calls_max = 8};
    rig->client = http_client_new(rig->seams.loop, rig->network, &client);
    rig->options = (struct write_options){.datacenter = "eu",
                                          .age_max_ms = 3600000,
                                          .ahead_max_ms = 600000,
                                          .in_flight_bytes_max = MIB,
                                          .accept = accept_batch,
                                          .accept_arg = rig,
                                          .why_busy = why_busy,
                                          .why_busy_arg = rig,
                                          .on_refused = refused,
                                          .on_refused_arg = rig};
    start(rig);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    stop(rig);
    http_client_free(rig->client);
    network_free(rig->network);
    file_system_free(rig->fs);
    hop_world_done(&rig->world);
    mem_free(rig);
    return 0;
}

static void done(void *arg, const struct http_result *result)
{
    struct reply *reply = arg;
    reply->done = true;
    reply->status = result->failure == HTTP_OK ? result->status : -1;
    reply->retry_after_s = result->retry_after_s;
    snprintf(reply->text, sizeof(reply->text), STR_FMT, STR_ARG(result->body));
}

static void begin_post(struct rig *rig, struct str body, const char *token, struct reply *reply)
{
    char bearer[64];
    struct http_header headers[2] = {{"Content-Encoding", "snappy"}, {"Authorization", bearer}};
    snprintf(bearer, sizeof(bearer), "Bearer %s", token ? token : "");
    const struct http_request_spec spec = {.method = "POST",
                                           .url = "http://" ADDRESS WRITE_PATH,
                                           .headers = headers,
                                           .header_count = token ? 2 : 1,
                                           .body = body.ptr,
                                           .body_len = body.len,
                                           .timeout_ms = 20000,
                                           .response_bytes_max = MIB};
    *reply = (struct reply){0};
    assert_int_equal(http_client_call(rig->client, &spec, done, reply, NULL), 0);
}

static struct reply post_bytes(struct rig *rig, struct str body, const char *token)
{
    struct reply reply;
    begin_post(rig, body, token, &reply);
    loop_advance(rig->seams.loop, 15000);
    assert_true(reply.done);
    return reply;
}

/* A request of one series for each value from..to-1. */
static void make_request(struct rig *rig, int from, int to, struct buf *body)
{
    CLEANUP(buf_done) struct buf request = BUF_INIT(MIB);
    char labels[64];
    for (int i = from; i < to; i++) {
        snprintf(labels, sizeof(labels), "__name__=m,i=%d", i);
        wire_series(&request, labels, clock_wall_ms(rig->world.clock), i);
    }
    wire_pack(&request, body);
}

static struct reply post(struct rig *rig, int from, int to, const char *token)
{
    CLEANUP(buf_done) struct buf body = BUF_INIT(MIB);
    make_request(rig, from, to, &body);
    return post_bytes(rig, buf_view(&body), token);
}

static void expect_all(const unsigned counts[static VALUES], int from, int to)
{
    for (int i = from; i < to; i++)
        if (counts[i] == 0)
            fail_msg("%d is missing", i);
}

/* ---- The promise ---- */

static void what_was_stored_outlives_a_power_cut(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(post(rig, 0, 10, NULL).status, 204);
    assert_int_equal(post(rig, 10, 20, NULL).status, 204);
    expect_all(rig->accepted, 0, 20);
    file_system_memory_crash(rig->world.seams.fs, &rig->world.random);
    stop(rig);
    start(rig);
    for (int i = 0; i < 20; i++)
        assert_int_equal(rig->replayed[i], 1);
    /* The numbers of the next start are new ones. */
    assert_int_equal(post(rig, 0, 20, NULL).status, 204);
    stop(rig);
    start(rig);
    for (int i = 0; i < 20; i++)
        assert_int_equal(rig->replayed[i], 2);
}

/* The nth operation on files fails, and all after it or not: it is said, the sender comes again, and then all is there.
 */
static void failures_of_the_disk_are_told(void **state)
{
    static const int errors[] = {EIO, ENOSPC};
    unsigned failed = 0;
    teardown(state);
    for (unsigned nth = 1; nth <= FAILS_MAX; nth++) {
        for (unsigned kind = 0; kind < 4; kind++) {
            setup(state);
            struct rig *rig = *state;
            assert_int_equal(post(rig, 0, 10, NULL).status, 204);
            file_system_failing_at(rig->fs, nth, -errors[kind % 2], kind / 2);
            struct reply reply = post(rig, 10, 20, NULL);
            assert_true(reply.status == 204 || (reply.status == 503 && reply.retry_after_s >= 1));
            failed += reply.status == 503;
            file_system_failing_at(rig->fs, 0, -EIO, false);
            for (int i = 0; reply.status != 204 && i < 5; i++)
                reply = post(rig, 10, 20, NULL);
            assert_int_equal(reply.status, 204);
            assert_int_equal(post(rig, 20, 30, NULL).status, 204);
            expect_all(rig->accepted, 0, 30);
            stop(rig);
            start(rig);
            expect_all(rig->replayed, 0, 30);
            teardown(state);
        }
    }
    assert_true(failed >= 4);
    setup(state);
}

/* ---- Who, and how much ---- */

static void tokens_tell_who_it_is(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(file_make_dirs(rig->fs, "/etc"), 0);
    assert_int_equal(file_write_whole(rig->fs, "/etc/a", "secret-a\n", 9), 0);
    assert_int_equal(file_write_whole(rig->fs, "/etc/b", "secret-b\n", 9), 0);
    const struct write_sender both[] = {{.name = "a", .datacenter = "dc1", .bearer_token_file = "/etc/a"},
                                        {.name = "b", .bearer_token_file = "/etc/b", .honor_datacenter = true}};
    set_senders(rig, both, 2);
    assert_int_equal(post(rig, 0, 1, NULL).status, 401);
    assert_int_equal(post(rig, 0, 1, "secret-c").status, 401);
    assert_int_equal(rig->accepted[0], 0);
    assert_int_equal(rig->refusals, 2);
    assert_int_equal(post(rig, 0, 1, "secret-a").status, 204);
    assert_int_equal(post(rig, 1, 3, "secret-b").status, 204);
    CLEANUP(buf_done) struct buf text = BUF_INIT(MIB);
    write_metrics(rig->write, &text);
    buf_append_byte(&text, 0);
    assert_non_null(strstr((char *)text.data, "tributary_remote_write_sender_samples_total{sender=\"a\"} 1\n"));
    assert_non_null(strstr((char *)text.data, "tributary_remote_write_sender_samples_total{sender=\"b\"} 2\n"));
    assert_non_null(strstr((char *)text.data, "tributary_remote_write_requests_total{outcome=\"unauthorised\"} 2\n"));

    /* Who stays keeps his counters; a file that is not there changes nothing. */
    char error[256] = "";
    const struct write_sender bad[] = {{.name = "a", .bearer_token_file = "/etc/none"}};
    assert_int_equal(write_set_senders(rig->write, bad, 1, error), -EINVAL);
    assert_non_null(strstr(error, "/etc/none"));
    assert_int_equal(post(rig, 3, 4, "secret-b").status, 204);
    const struct write_sender one[] = {{.name = "b", .bearer_token_file = "/etc/b"}};
    set_senders(rig, one, 1);
    assert_int_equal(post(rig, 0, 1, "secret-a").status, 401);
    assert_int_equal(post(rig, 4, 5, "secret-b").status, 204);
    buf_reset(&text);
    write_metrics(rig->write, &text);
    buf_append_byte(&text, 0);
    assert_non_null(strstr((char *)text.data, "tributary_remote_write_sender_samples_total{sender=\"b\"} 4\n"));
    set_senders(rig, NULL, 0);
    assert_int_equal(post(rig, 0, 1, "secret-b").status, 404);
}

static void too_much_at_once_comes_again(void **state)
{
    struct rig *rig = *state;
    rig->busy = "full";
    struct reply reply = post(rig, 0, 1, NULL);
    assert_int_equal(reply.status, 503);
    assert_int_equal(reply.retry_after_s, 1);
    assert_string_equal(reply.text, "full: come again\n");
    rig->busy = NULL;
    assert_int_equal(post(rig, 0, 1, NULL).status, 204);
    /* More bytes than may be in flight. */
    CLEANUP(buf_done) struct buf body = BUF_INIT(4 * MIB);
    memset(buf_reserve(&body, 2 * MIB), 0, 2 * MIB);
    buf_added(&body, 2 * MIB);
    assert_int_equal(post_bytes(rig, buf_view(&body), NULL).status, 503);
    assert_int_equal(post(rig, 1, 2, NULL).status, 204);
}

static void malformed_requests_leave_nothing(void **state)
{
    struct rig *rig = *state;
    CLEANUP(buf_done) struct buf body = BUF_INIT(MIB);
    make_request(rig, 0, 10, &body);
    body.len--;
    assert_int_equal(post_bytes(rig, buf_view(&body), NULL).status, 400);
    assert_int_equal(post_bytes(rig, STR(""), NULL).status, 400);
    assert_int_equal(post_bytes(rig, STR("\x00"), NULL).status, 204); /* an empty request says nothing */
    for (int i = 0; i < VALUES; i++)
        assert_int_equal(rig->accepted[i], 0);
    assert_int_equal(rig->refusals, 2);
}

/* Requests wait for the disk when it ends: each is answered, or its connection ends; nothing is acknowledged and lost.
 */
static void an_end_in_between_is_survived(void **state)
{
    struct rig *rig = *state;
    struct reply replies[8];
    CLEANUP(buf_done) struct buf body = BUF_INIT(MIB);
    make_request(rig, 0, 10, &body);
    for (int64_t ms = 0; ms < 20; ms++) {
        for (size_t i = 0; i < ARRAY_LEN(replies); i++)
            begin_post(rig, buf_view(&body), NULL, &replies[i]);
        loop_advance(rig->seams.loop, ms);
        stop(rig);
        loop_advance(rig->seams.loop, 30000);
        bool stored = false;
        for (size_t i = 0; i < ARRAY_LEN(replies); i++) {
            assert_true(replies[i].done);
            stored |= replies[i].status == 204;
        }
        start(rig);
        if (stored)
            expect_all(rig->replayed, 0, 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_stored_outlives_a_power_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(failures_of_the_disk_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(tokens_tell_who_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(too_much_at_once_comes_again, setup, teardown),
        cmocka_unit_test_setup_teardown(malformed_requests_leave_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(an_end_in_between_is_survived, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
