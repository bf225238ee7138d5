#include "uplink.h"
#include "base/clock.h"
#include "base/fail.h"
#include "hop/receiver.h"
#include "hop/sender.h"
#include "rig.h"

#define UPSTREAM      "upper:9411"
#define LAYOUTS_BYTES (2 * GIB)
#define DEADLINE_MS   600000
#define STEP_MS       100

struct uplink {
    struct clock *clock;
    struct random random;
    struct seams lower, upper;
    struct spool *lower_spool, *upper_spool;
    struct http_client *client;
    struct sender *sender;
    struct sender_options sender_options;
    struct auth *auth;
    struct http_server *server;
    struct receiver *receiver;
    uint64_t seq;
    struct buf batch;
    struct account *account; /* of the batch under way; NULL: nobody wants to know */
    struct uplink_tap tap;
    struct uplink_cost *cost;
    bool accepted;
};

static void account_for(struct uplink *uplink, struct str bytes)
{
    CLEANUP(batch_reader_freep) struct batch_reader *reader = NULL;
    struct layout_table *layouts = spool_layouts(uplink->upper_spool);
    struct batch_block block;
    int64_t start_ns = clock_thread_cpu_ns();
    ASSERT(batch_reader_open(bytes.ptr, bytes.len, layouts, &reader) == 0);
    while (batch_reader_next(reader, &block) > 0)
        ;
    uplink->cost->decode_ns += clock_thread_cpu_ns() - start_ns;
    batch_reader_free(STEAL(reader));
    ASSERT(batch_reader_open(bytes.ptr, bytes.len, layouts, &reader) == 0);
    account_batch(uplink->account, bytes, reader);
}

static void show(struct uplink *uplink, struct str bytes)
{
    CLEANUP(batch_reader_freep) struct batch_reader *reader = NULL;
    ASSERT(batch_reader_open(bytes.ptr, bytes.len, spool_layouts(uplink->upper_spool), &reader) == 0);
    uplink->tap.batch(uplink->tap.arg, reader);
}

static int accept_batch(void *arg, const struct spool_batch *batch, struct str bytes)
{
    struct uplink *uplink = arg;
    ASSERT(!batch->is_gap);
    if (uplink->account)
        account_for(uplink, bytes);
    if (uplink->tap.batch)
        show(uplink, bytes);
    uplink->accepted = true;
    return 0;
}

static void refused(void *arg, struct str source, const char *reason)
{
    (void)arg;
    fatal("a batch of " STR_FMT " was refused: %s", STR_ARG(source), reason);
}

static void handle(void *context, struct http_exchange *exchange)
{
    struct uplink *uplink = context;
    if (uplink->account)
        account_request(uplink->account, http_exchange_body(exchange));
    if (uplink->tap.request)
        uplink->tap.request(uplink->tap.arg, http_exchange_body(exchange));
    receiver_handle(uplink->receiver, exchange);
}

static const struct http_route routes[] = {
    {.method = "POST", .path = RECEIVER_PATH, .handler = handle, .body_bytes_max = RECEIVER_REQUEST_BYTES_MAX},
    {0},
};

static void start_upper(struct uplink *uplink)
{
    const struct spool_options spool = {.dir = "/upper", .layout_bytes_max = LAYOUTS_BYTES};
    const struct receiver_options options = {.is_end = true,
                                             .in_flight_bytes_max = 64 * MIB,
                                             .rejects_dir = "/rejects",
                                             .rejects_bytes_max = 1 * MIB,
                                             .ahead_max_ms = INT64_MAX / 4,
                                             .on_refused = refused,
                                             .accept = accept_batch,
                                             .accept_arg = uplink};
    const struct http_server_options server = {.listen = UPSTREAM};
    char error[256];
    uplink->upper.fs = file_system_memory_new(0);
    if (auth_new(uplink->upper.fs, NULL, 0, error, &uplink->auth) < 0 ||
        spool_open(&uplink->upper, &spool, NULL, NULL, &uplink->upper_spool) < 0)
        fatal("the upper spool does not open");
    uplink->receiver = receiver_new(&uplink->upper, uplink->upper_spool, uplink->auth, &options);
    if (http_server_new(uplink->upper.loop, uplink->upper.network, uplink->upper.executor, &server, routes, uplink,
                        &uplink->server) < 0)
        fatal("the simulated server does not start");
}

static void start_lower(struct uplink *uplink)
{
    static const char *const consumers[] = {"upper"}, *const urls[] = {"http://" UPSTREAM};
    const struct spool_options spool = {
        .dir = "/lower", .consumers = consumers, .consumer_count = 1, .layout_bytes_max = LAYOUTS_BYTES};
    const struct http_client_options client = {.name = "lower", .shards = 1, .calls_max = 8};
    uplink->lower.fs = file_system_memory_new(0);
    if (spool_open(&uplink->lower, &spool, NULL, NULL, &uplink->lower_spool) < 0)
        fatal("the lower spool does not open");
    uplink->client = http_client_new(uplink->lower.loop, uplink->lower.network, &client);
    uplink->sender_options = (struct sender_options){.name = "upper", .urls = urls, .url_count = 1};
    uplink->sender = sender_new(&uplink->lower, uplink->lower_spool, 0, uplink->client, &uplink->sender_options);
    sender_start(uplink->sender);
}

struct uplink *uplink_new(void)
{
    struct uplink *uplink = mem_zalloc(sizeof(*uplink));
    uplink->clock = clock_simulated_new(RIG_START_MS);
    random_seed(&uplink->random, 1);
    uplink->lower = (struct seams){
        .loop = loop_simulated_new(uplink->clock), .executor = executor_inline_new(), .random = &uplink->random};
    uplink->lower.network = network_simulated_new(uplink->lower.loop, 1);
    uplink->upper = uplink->lower;
    buf_init(&uplink->batch, BATCH_BYTES_MAX);
    start_upper(uplink);
    start_lower(uplink);
    return uplink;
}

void uplink_free(struct uplink *uplink)
{
    if (!uplink)
        return;
    sender_free(uplink->sender);
    http_client_free(uplink->client);
    spool_close(uplink->lower_spool);
    http_server_free(uplink->server);
    receiver_free(uplink->receiver);
    spool_close(uplink->upper_spool);
    executor_free(uplink->lower.executor);
    loop_settle(uplink->lower.loop);
    auth_free(uplink->auth);
    network_free(uplink->lower.network);
    file_system_free(uplink->lower.fs);
    file_system_free(uplink->upper.fs);
    loop_free(uplink->lower.loop);
    clock_free(uplink->clock);
    buf_done(&uplink->batch);
    mem_free(uplink);
}

void uplink_set_tap(struct uplink *uplink, const struct uplink_tap *tap)
{
    uplink->tap = *tap;
}

static void synced(void *arg, int error)
{
    (void)arg;
    ASSERT(error == 0);
}

void uplink_send(struct uplink *uplink, struct batch_writer *writer, struct envelope *envelope, struct account *account,
                 struct uplink_cost *cost)
{
    struct layout_table *layouts = spool_layouts(uplink->lower_spool);
    uint64_t id;
    envelope->source = (struct source_id){STR("dc1"), STR("rack-7"), spool_incarnation(uplink->lower_spool)};
    envelope->epoch = spool_epoch(uplink->lower_spool);
    envelope->seq = ++uplink->seq;
    buf_reset(&uplink->batch);
    int64_t start_ns = clock_thread_cpu_ns();
    ASSERT(batch_writer_finish(writer, envelope, layouts, &uplink->batch) == 0);
    if (cost)
        cost->encode_ns += clock_thread_cpu_ns() - start_ns;
    uplink->account = account;
    uplink->cost = cost;
    uplink->accepted = false;
    ASSERT(spool_append(uplink->lower_spool, envelope, buf_view(&uplink->batch), &id) == 0);
    batch_writer_release(writer, layouts);
    spool_sync(uplink->lower_spool, synced, uplink);
    for (int64_t ms = 0; spool_pending(uplink->lower_spool, 0) > 0 || !uplink->accepted; ms += STEP_MS) {
        if (ms > DEADLINE_MS)
            fatal("a batch does not arrive");
        loop_advance(uplink->lower.loop, STEP_MS);
    }
    spool_drop_before(uplink->upper_spool, UINT64_MAX);
}
