/* A request of frames, by who may write. The input is pieces: type, length in 2 bytes, payload; each is framed with
 * right checksums, as no fuzzer guesses those. Types of 128 and more stand for raw bytes without a frame. */
#include "base/fail.h"
#include "hop/answer.h"
#include "hop/receiver.h"
#include "net/http_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ADDRESS "upper:9411"

static void handle(void *context, struct http_exchange *exchange)
{
    receiver_handle(*(struct receiver **)context, exchange);
}

static const struct http_route routes[] = {
    {.method = "POST", .path = RECEIVER_PATH, .handler = handle, .body_bytes_max = RECEIVER_REQUEST_BYTES_MAX},
    {0},
};

static void check_answer(void *arg, const struct http_result *result)
{
    CLEANUP(arena_done) struct arena arena;
    arena_init(&arena, 4 * ANSWER_BYTES_MAX);
    struct answer answer;
    ASSERT(result->failure == HTTP_OK && (result->status == 200 || result->status == 400));
    if (result->status == 200)
        ASSERT(answer_decode(result->body.ptr, result->body.len, &arena, &answer) == 0);
    *(bool *)arg = true;
}

static void build(const uint8_t *data, size_t size, struct buf *body)
{
    for (size_t at = 0; at + 3 <= size;) {
        uint8_t type = data[at];
        size_t len = MIN((size_t)data[at + 1] << 8 | data[at + 2], size - at - 3);
        if (type < 128)
            ASSERT(frame_append(body, (enum frame_type)type, data + at + 3, len) == 0);
        else
            buf_append(body, data + at + 3, len);
        at += 3 + len;
    }
}

static void run(const struct seams *seams, struct spool *spool, const struct buf *body)
{
    char error[256];
    CLEANUP(auth_freep) struct auth *auth = NULL;
    ASSERT(auth_new(seams->fs, NULL, 0, error, &auth) == 0);
    const struct receiver_options options = {
        .is_end = true, .in_flight_bytes_max = 64 * MIB, .rejects_dir = "/rejects", .rejects_bytes_max = 1 * MIB};
    const struct http_server_options listen = {
        .listen = ADDRESS, .request_deadline_ms = 1000, .answer_deadline_ms = 1000};
    const struct http_client_options from = {.name = "lower", .shards = 1, .calls_max = 1};
    struct receiver *receiver = receiver_new(seams, spool, auth, &options);
    struct http_server *server;
    ASSERT(http_server_new(seams->loop, seams->network, seams->executor, &listen, routes, &receiver, &server) == 0);
    struct http_client *client = http_client_new(seams->loop, seams->network, &from);
    const struct http_request_spec spec = {.method = "POST",
                                           .url = "http://" ADDRESS RECEIVER_PATH,
                                           .body = body->data,
                                           .body_len = body->len,
                                           .timeout_ms = 5000,
                                           .response_bytes_max = ANSWER_BYTES_MAX};
    bool answered = false;
    ASSERT(http_client_call(client, &spec, check_answer, &answered, NULL) == 0);
    loop_advance(seams->loop, 2000);
    ASSERT(answered);
    http_client_free(client);
    http_server_free(server);
    receiver_free(receiver);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct clock *clock = clock_simulated_new(INT64_C(1800000000000));
    struct random random;
    random_seed(&random, 1);
    struct seams seams = {.loop = loop_simulated_new(clock),
                          .fs = file_system_memory_new(0),
                          .executor = executor_inline_new(),
                          .random = &random};
    seams.network = network_simulated_new(seams.loop, 1);
    const struct spool_options options = {.dir = "/log", .layout_bytes_max = 16 * MIB};
    CLEANUP(buf_done) struct buf body = BUF_INIT(RECEIVER_REQUEST_BYTES_MAX);
    build(data, size, &body);
    /* Twice over one directory: what was written is replayed. */
    for (int i = 0; i < 2; i++) {
        struct spool *spool;
        ASSERT(spool_open(&seams, &options, NULL, NULL, &spool) == 0);
        run(&seams, spool, &body);
        spool_close(spool);
        loop_settle(seams.loop);
    }
    network_free(seams.network);
    executor_free(seams.executor);
    loop_free(seams.loop);
    file_system_free(seams.fs);
    clock_free(clock);
    return 0;
}
