/* The promise of the link, whole: a sender's spool, a network that loses, a receiver's spool; either side may crash. */
#include "hop_world.h"

#include "hop/answer.h"
#include "hop/receiver.h"
#include "hop/sender.h"

#include <errno.h>

#define BATCHES_MAX 20000
#define UPSTREAM    "upper:9411"
#define SEEDS       50

/* One machine with a spool: files that can crash. */
struct node {
    struct seams seams;
    struct spool *spool;
    struct spool_options spool_options;
};

struct link {
    struct hop_world world;
    struct network *network;
    struct node lower, upper;
    const char *consumer_name;
    const char *url;
    struct http_client *client;
    struct sender *sender;
    struct sender_options sender_options;
    struct http_server *server;
    struct receiver *receiver;
    struct receiver_options receiver_options;
    struct auth *auth, *next_auth; /* next_auth: taken while a request waits for the disk */
    unsigned made;                 /* batches that the lower spool promised to keep */
    uint8_t promised[BATCHES_MAX]; /* by number; a batch's number is in its body's size and the source's seq */
    uint64_t seq, epoch;           /* of the source */
    uint64_t refusals;
    unsigned accepted[BATCHES_MAX];
};

/* The number of a batch: epochs are few, so both fit. */
static unsigned number_of(uint64_t epoch, uint64_t seq)
{
    assert_true(epoch < 100 && seq < 200);
    return (unsigned)(epoch * 200 + seq);
}

static int accept_batch(void *arg, const struct spool_batch *batch, struct str bytes)
{
    struct link *link = arg;
    assert_true(bytes.len > 0);
    if (!batch->is_gap)
        link->accepted[number_of(batch->epoch, batch->seq)]++;
    return 0;
}

static void refused(void *arg, struct str source, const char *reason)
{
    struct link *link = arg;
    assert_true(source.len > 0 && reason[0]);
    link->refusals++;
}

static void handle(void *context, struct http_exchange *exchange)
{
    struct link *link = context;
    receiver_handle(link->receiver, exchange);
    if (link->next_auth) {
        receiver_set_auth(link->receiver, link->next_auth);
        auth_free(link->auth);
        link->auth = STEAL(link->next_auth);
    }
}

static const struct http_route routes[] = {
    {.method = "POST", .path = RECEIVER_PATH, .handler = handle, .body_bytes_max = RECEIVER_REQUEST_BYTES_MAX},
    {0},
};

static void start_lower(struct link *link)
{
    assert_int_equal(spool_open(&link->lower.seams, &link->lower.spool_options, NULL, NULL, &link->lower.spool), 0);
    link->epoch = spool_epoch(link->lower.spool);
    link->seq = 0;
    const struct http_client_options client = {.name = "lower", .shards = 1, .calls_max = 8};
    link->client = http_client_new(link->world.seams.loop, link->network, &client);
    link->sender = sender_new(&link->lower.seams, link->lower.spool, 0, link->client, &link->sender_options);
    sender_start(link->sender);
}

static void stop_lower(struct link *link)
{
    sender_free(STEAL(link->sender));
    http_client_free(STEAL(link->client));
    spool_close(STEAL(link->lower.spool));
}

static void start_upper(struct link *link)
{
    assert_int_equal(spool_open(&link->upper.seams, &link->upper.spool_options, NULL, NULL, &link->upper.spool), 0);
    link->receiver = receiver_new(&link->upper.seams, link->upper.spool, link->auth, &link->receiver_options);
    const struct http_server_options server = {
        .listen = UPSTREAM, .request_deadline_ms = 10000, .answer_deadline_ms = 10000};
    assert_int_equal(http_server_new(link->world.seams.loop, link->network, link->world.seams.executor, &server, routes,
                                     link, &link->server),
                     0);
}

static void stop_upper(struct link *link)
{
    http_server_free(STEAL(link->server));
    receiver_free(STEAL(link->receiver));
    spool_close(STEAL(link->upper.spool));
}

static void link_init(struct link *link, uint64_t seed)
{
    static const char *const consumers[] = {"upper"};
    static const char *const urls[] = {"http://" UPSTREAM};
    memset(link, 0, sizeof(*link));
    hop_world_init(&link->world, seed);
    link->network = network_simulated_new(link->world.seams.loop, seed);
    link->world.seams.network = link->network;
    link->lower.seams = link->upper.seams = link->world.seams;
    link->lower.seams.fs = file_system_memory_new(0);
    link->upper.seams.fs = file_system_memory_new(0);
    link->lower.spool_options = (struct spool_options){.dir = "/lower",
                                                       .segment_bytes = 32 * KIB,
                                                       .consumers = consumers,
                                                       .consumer_count = 1,
                                                       .layout_bytes_max = HOP_LAYOUT_BYTES};
    link->upper.spool_options =
        (struct spool_options){.dir = "/upper", .segment_bytes = 32 * KIB, .layout_bytes_max = HOP_LAYOUT_BYTES};
    link->sender_options = (struct sender_options){.name = "upper", .urls = urls, .url_count = 1, .timeout_ms = 5000};
    link->receiver_options = (struct receiver_options){.is_end = true,
                                                       .in_flight_bytes_max = 64 * MIB,
                                                       .rejects_dir = "/rejects",
                                                       .rejects_bytes_max = 1 * MIB,
                                                       .ahead_max_ms = INT64_MAX / 4,
                                                       .accept = accept_batch,
                                                       .accept_arg = link,
                                                       .on_refused = refused,
                                                       .on_refused_arg = link};
    char error[256];
    assert_int_equal(auth_new(link->upper.seams.fs, NULL, 0, error, &link->auth), 0);
    start_upper(link);
    start_lower(link);
}

static void link_done(struct link *link)
{
    if (link->sender)
        stop_lower(link);
    if (link->server)
        stop_upper(link);
    loop_advance(link->world.seams.loop, 60000); /* syncs that ran */
    auth_free(link->auth);
    network_free(link->network);
    file_system_free(link->lower.seams.fs);
    file_system_free(link->upper.seams.fs);
    hop_world_done(&link->world);
}

struct promise {
    struct link *link;
    unsigned number;
};

static void kept(void *arg, int error)
{
    struct promise *promise = arg;
    if (error == 0)
        promise->link->promised[promise->number] = 1;
    mem_free(promise);
}

static void make_batch(struct link *link)
{
    if (link->seq >= 190)
        return;
    struct hop_batch batch = {{STR("dc1"), STR("rack-1"), spool_incarnation(link->lower.spool)},
                              link->epoch,
                              ++link->seq,
                              (unsigned)random_below(&link->world.random, 4),
                              200 + (size_t)random_below(&link->world.random, 2000)};
    uint64_t id;
    assert_int_equal(hop_append(link->lower.spool, &batch, &id), 0);
    struct promise *promise = mem_alloc(sizeof(*promise));
    *promise = (struct promise){link, number_of(batch.epoch, batch.seq)};
    spool_sync(link->lower.spool, kept, promise);
}

struct upper_content {
    unsigned count[BATCHES_MAX];
};

static int count_upper(void *arg, const struct spool_batch *batch, struct str bytes, struct layout_table *layouts)
{
    (void)bytes, (void)layouts;
    struct upper_content *content = arg;
    assert_false(batch->is_gap);
    content->count[number_of(batch->epoch, batch->seq)]++;
    return 0;
}

/* What the upper spool holds on disk, by number. Stops the upper node. */
static void read_upper(struct link *link, struct upper_content *content)
{
    *content = (struct upper_content){0};
    stop_upper(link);
    struct spool *spool;
    assert_int_equal(spool_open(&link->upper.seams, &link->upper.spool_options, count_upper, content, &spool), 0);
    spool_close(spool);
}

static void set_weather(struct link *link)
{
    struct random *random = &link->world.random;
    struct network_link faults = {.delay_ms = (int64_t)random_below(random, 200),
                                  .cut = random_below(random, 5) == 0,
                                  .lose_request = random_below(random, 2) ? 0.3 : 0,
                                  .lose_response = random_below(random, 2) ? 0.3 : 0};
    network_set_link(link->network, NULL, NULL, &faults);
}

/* A process that dies takes what was not synced along, or a part of it. */
static void crash_lower(struct link *link)
{
    file_system_memory_crash(link->lower.seams.fs, &link->world.random);
    stop_lower(link);
    start_lower(link);
}

static void crash_upper(struct link *link)
{
    file_system_memory_crash(link->upper.seams.fs, &link->world.random);
    stop_upper(link);
    loop_advance(link->world.seams.loop, (int64_t)random_below(&link->world.random, 20000));
    start_upper(link);
}

static void run_seed(uint64_t seed)
{
    static struct link link;
    static struct upper_content content;
    link_init(&link, seed);
    for (int step = 0; step < 400; step++) {
        uint64_t dice = random_below(&link.world.random, 100);
        if (dice < 60)
            make_batch(&link);
        else if (dice < 66)
            set_weather(&link);
        else if (dice < 68)
            crash_lower(&link);
        else if (dice < 70)
            crash_upper(&link);
        loop_advance(link.world.seams.loop, (int64_t)random_below(&link.world.random, 2000));
    }
    network_set_link(link.network, NULL, NULL, &(struct network_link){.delay_ms = 5});
    loop_advance(link.world.seams.loop, 10 * 60000);
    struct spool_stats stats;
    spool_stats(link.lower.spool, &stats);
    assert_int_equal(stats.pending[0], 0);
    /* And all of it is known to be delivered: nothing but the newest segment is kept. */
    size_t at = 0;
    struct source_id source;
    uint64_t epoch;
    assert_false(spool_next_stored(link.lower.spool, 0, &at, &source, &epoch));
    assert_int_equal(stats.segments, 1);
    assert_int_equal(stats.dropped_batches_total, 0);
    read_upper(&link, &content);
    unsigned promised = 0;
    for (unsigned i = 0; i < BATCHES_MAX; i++) {
        promised += link.promised[i];
        assert_true(content.count[i] <= 1);
        if (link.promised[i] && content.count[i] != 1)
            fail_msg("seed %llu: batch %u of epoch %u is lost", (unsigned long long)seed, i % 200, i / 200);
    }
    assert_true(promised > 150);
    link_done(&link);
}

static void test_everything_once(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_seed(seed);
}

/* Without crashes of the upper node what it hands on is what it stores. */
static void test_accepted_once_and_in_order(void **state)
{
    (void)state;
    static struct link link;
    link_init(&link, 99);
    network_set_link(link.network, NULL, NULL, &(struct network_link){.delay_ms = 20, .lose_response = 0.4});
    for (int i = 0; i < 150; i++) {
        make_batch(&link);
        loop_advance(link.world.seams.loop, 100);
    }
    network_set_link(link.network, NULL, NULL, &(struct network_link){.delay_ms = 5});
    loop_advance(link.world.seams.loop, 120000);
    for (unsigned seq = 1; seq <= 150; seq++)
        assert_int_equal(link.accepted[number_of(1, seq)], 1);
    struct sender_stats stats;
    sender_stats(link.sender, &stats);
    assert_true(stats.up);
    assert_true(stats.failures_total > 5);
    assert_true(stats.batches_duplicate_total > 5);
    assert_true(stats.layouts_total >= 8);
    assert_int_equal(stats.batches_refused_total, 0);
    assert_int_equal(receiver_source_count(link.receiver), 1);
    const struct receiver_source *source = receiver_source_at(link.receiver, 0);
    assert_int_equal(source->batches_total, 150);
    assert_true(str_equal(source->source.secondary, STR("rack-1")));
    link_done(&link);
}

/* The upstream's disk is replaced: what was delivered to it and is still here goes again, the new one is whole. */
static void test_a_replaced_upstream(void **state)
{
    (void)state;
    static struct link link;
    static struct upper_content content;
    static const char *const behind[] = {"global"};
    link_init(&link, 7);
    stop_upper(&link);
    /* A primary whose global is away: it stores, nothing is delivered. */
    link.receiver_options.is_end = false;
    link.upper.spool_options.consumers = behind;
    link.upper.spool_options.consumer_count = 1;
    start_upper(&link);
    for (int i = 0; i < 100; i++) {
        make_batch(&link);
        loop_advance(link.world.seams.loop, 50);
    }
    loop_advance(link.world.seams.loop, 20000);
    struct spool_stats stats;
    spool_stats(link.lower.spool, &stats);
    assert_int_equal(stats.pending[0], 0);
    stop_upper(&link);
    file_system_free(link.upper.seams.fs);
    link.upper.seams.fs = file_system_memory_new(0);
    start_upper(&link);
    make_batch(&link);
    loop_advance(link.world.seams.loop, 60000);
    read_upper(&link, &content);
    for (unsigned seq = 1; seq <= 101; seq++)
        assert_int_equal(content.count[number_of(1, seq)], 1);
    link_done(&link);
}

/* A second address takes over while the first is away. */
static void test_fails_over(void **state)
{
    (void)state;
    static const char *const urls[] = {"http://nobody:1", "http://" UPSTREAM};
    static struct link link;
    link_init(&link, 8);
    stop_lower(&link);
    link.sender_options.urls = urls;
    link.sender_options.url_count = 2;
    start_lower(&link);
    for (int i = 0; i < 20; i++)
        make_batch(&link);
    loop_advance(link.world.seams.loop, 10000);
    for (unsigned seq = 1; seq <= 20; seq++)
        assert_int_equal(link.accepted[number_of(2, seq)], 1);
    struct sender_stats stats;
    sender_stats(link.sender, &stats);
    assert_true(stats.up && stats.failures_total >= 1);
    link_done(&link);
}

static void note_drained(void *arg)
{
    *(bool *)arg = true;
}

static void test_drains(void **state)
{
    (void)state;
    static struct link link;
    link_init(&link, 9);
    network_set_link(link.network, NULL, NULL, &(struct network_link){.delay_ms = 500});
    make_batch(&link);
    loop_advance(link.world.seams.loop, 100);
    bool drained = false;
    sender_drain(link.sender, 10000, note_drained, &drained);
    loop_advance(link.world.seams.loop, 100);
    assert_false(drained);
    loop_advance(link.world.seams.loop, 2000);
    assert_true(drained);
    assert_int_equal(link.accepted[number_of(1, 1)], 1);
    link_done(&link);
}

/* ---- What a receiver does with single requests ---- */

struct reply {
    int status;
    struct arena arena;
    struct buf bytes;
    struct answer answer;
};

static void take_reply(void *arg, const struct http_result *result)
{
    struct reply *reply = arg;
    assert_int_equal(result->failure, HTTP_OK);
    reply->status = result->status;
    if (result->status != 200)
        return;
    buf_append(&reply->bytes, result->body.ptr, result->body.len);
    assert_int_equal(answer_decode(reply->bytes.data, reply->bytes.len, &reply->arena, &reply->answer), 0);
}

static void ask(struct link *link, const struct buf *body, const char *token, struct reply *reply)
{
    *reply = (struct reply){.bytes = BUF_INIT(ANSWER_BYTES_MAX)};
    arena_init(&reply->arena, 4 * MIB);
    const struct http_header headers[] = {{"Authorization", token}};
    struct http_request_spec spec = {.method = "POST",
                                     .url = "http://" UPSTREAM RECEIVER_PATH,
                                     .headers = headers,
                                     .header_count = token ? 1 : 0,
                                     .body = body->data,
                                     .body_len = body->len,
                                     .timeout_ms = 5000,
                                     .response_bytes_max = ANSWER_BYTES_MAX};
    assert_int_equal(http_client_call(link->client, &spec, take_reply, reply, NULL), 0);
    loop_advance(link->world.seams.loop, 1000);
    assert_true(reply->status > 0);
}

static void reply_done(struct reply *reply)
{
    buf_done(&reply->bytes);
    arena_done(&reply->arena);
}

static enum batch_verdict only_verdict(const struct reply *reply)
{
    assert_int_equal(reply->status, 200);
    assert_int_equal(reply->answer.verdict_count, 1);
    return (enum batch_verdict)reply->answer.verdicts[0];
}

static void add_layouts(struct buf *body, unsigned fleet)
{
    CLEANUP(hop_layouts_done) struct hop_layouts layouts = hop_layouts_new(fleet);
    hop_pack(&layouts, body);
}

static void add_batch(struct buf *body, const char *datacenter, const char *secondary, uint64_t seq, size_t bytes)
{
    CLEANUP(hop_layouts_done) struct hop_layouts layouts = hop_layouts_new(1);
    CLEANUP(buf_done) struct buf batch = BUF_INIT(1 * MIB);
    struct hop_batch made = {{str_from(datacenter), str_from(secondary), 5}, 1, seq, 1, bytes};
    struct envelope envelope;
    hop_batch_make(&made, &layouts, &envelope, &batch);
    assert_int_equal(frame_append(body, FRAME_BATCH, batch.data, batch.len), 0);
}

static enum batch_verdict send_one(struct link *link, const char *datacenter, const char *secondary, uint64_t seq,
                                   size_t bytes, bool with_layouts)
{
    CLEANUP(buf_done) struct buf body = BUF_INIT(1 * MIB);
    CLEANUP(reply_done) struct reply reply;
    if (with_layouts)
        add_layouts(&body, 1);
    add_batch(&body, datacenter, secondary, seq, bytes);
    ask(link, &body, NULL, &reply);
    assert_int_equal(reply.answer.missing_count, only_verdict(&reply) == VERDICT_MISSING ? 2 : 0);
    return only_verdict(&reply);
}

/* A peer's batch with the incarnation of the receiver's own log, or of remote write: what only the daemon itself makes.
 */
static void what_only_the_daemon_makes_is_refused(void **state)
{
    (void)state;
    static struct link link;
    link_init(&link, 12);
    for (int own = 0; own < 2; own++) {
        CLEANUP(hop_layouts_done) struct hop_layouts layouts = hop_layouts_new(1);
        CLEANUP(buf_done) struct buf made = BUF_INIT(1 * MIB);
        CLEANUP(buf_done) struct buf batch = BUF_INIT(1 * MIB);
        CLEANUP(buf_done) struct buf body = BUF_INIT(1 * MIB);
        CLEANUP(reply_done) struct reply reply;
        uint64_t incarnation = own ? spool_incarnation(link.upper.spool) : 5;
        struct hop_batch wanted = {{STR("dc1"), STR("rack-1"), incarnation}, 1, 1, 1, 100};
        struct envelope envelope;
        hop_batch_make(&wanted, &layouts, &envelope, &made);
        envelope.is_remote_write = !own;
        assert_int_equal(envelope_encode(&envelope, &batch), 0);
        assert_int_equal(buf_append(&batch, made.data + made.len - wanted.body_bytes, wanted.body_bytes), 0);
        add_layouts(&body, 1);
        assert_int_equal(frame_append(&body, FRAME_BATCH, batch.data, batch.len), 0);
        ask(&link, &body, NULL, &reply);
        assert_int_equal(only_verdict(&reply), own ? VERDICT_UNAUTHORISED : VERDICT_MALFORMED);
    }
    struct receiver_stats stats;
    receiver_stats(link.receiver, &stats);
    assert_int_equal(stats.batches_total, 0);
    link_done(&link);
}

static void test_verdicts(void **state)
{
    (void)state;
    static struct link link;
    link_init(&link, 10);
    stop_upper(&link);
    link.receiver_options.datacenter = "dc1";
    start_upper(&link);
    assert_int_equal(send_one(&link, "dc1", "rack-1", 1, 100, false), VERDICT_MISSING);
    assert_int_equal(send_one(&link, "dc1", "rack-1", 1, 100, true), VERDICT_STORED);
    assert_int_equal(send_one(&link, "dc1", "rack-1", 2, 100, false), VERDICT_STORED); /* layouts are known now */
    assert_int_equal(send_one(&link, "dc1", "rack-1", 1, 100, false), VERDICT_DUPLICATE);
    assert_int_equal(send_one(&link, "dc1", "rack-1", 1, 101, false), VERDICT_CONFLICT);
    assert_int_equal(send_one(&link, "dc2", "rack-1", 1, 100, true), VERDICT_UNAUTHORISED);
    struct receiver_stats stats;
    receiver_stats(link.receiver, &stats);
    assert_int_equal(stats.batches_total, 2);
    assert_int_equal(stats.missing_total, 1);
    assert_int_equal(stats.duplicates_total, 1);
    assert_int_equal(stats.conflicts_total, 1);
    assert_int_equal(stats.unauthorised_total, 1);
    assert_int_equal(link.refusals, 2);
    assert_int_equal(receiver_source_count(link.receiver), 1); /* a refused one takes no place */
    link_done(&link);
}

static void test_malformed_is_set_aside(void **state)
{
    (void)state;
    static struct link link;
    link_init(&link, 11);
    CLEANUP(buf_done) struct buf body = BUF_INIT(1 * MIB);
    CLEANUP(reply_done) struct reply reply;
    add_layouts(&body, 1);
    assert_int_equal(frame_append(&body, FRAME_BATCH, "TRB\1junk, well framed", 21), 0);
    add_batch(&body, "dc1", "rack-1", 1, 100);
    assert_int_equal(frame_append(&body, FRAME_BATCH, "TRB\2\0\0\0\0", 8), 0);
    ask(&link, &body, NULL, &reply);
    assert_int_equal(reply.answer.verdict_count, 3);
    assert_int_equal(reply.answer.verdicts[0], VERDICT_MALFORMED);
    assert_int_equal(reply.answer.verdicts[1], VERDICT_STORED);
    assert_int_equal(reply.answer.verdicts[2], VERDICT_UNSUPPORTED);
    char **names;
    size_t count;
    assert_int_equal(file_list(link.upper.seams.fs, "/rejects", &names, &count), 0);
    assert_int_equal(count, 1);
    file_names_free(names, count);
    link_done(&link);
}

/* Cut or flipped anywhere: refused as a whole, nothing of it is taken in. */
static void test_damaged_requests(void **state)
{
    (void)state;
    static struct link link;
    link_init(&link, 12);
    CLEANUP(buf_done) struct buf body = BUF_INIT(1 * MIB);
    add_layouts(&body, 1);
    add_batch(&body, "dc1", "rack-1", 1, 100);
    add_batch(&body, "dc1", "rack-1", 2, 100);
    for (size_t at = 0; at < body.len; at += 17) {
        CLEANUP(reply_done) struct reply reply;
        body.data[at] ^= 4;
        ask(&link, &body, NULL, &reply);
        body.data[at] ^= 4;
        assert_int_equal(reply.status, 400);
        struct buf cut = {.data = body.data, .len = body.len - 1 - at % 100, .bytes_max = body.len};
        CLEANUP(reply_done) struct reply other;
        ask(&link, &cut, NULL, &other);
        assert_int_equal(other.status, 400);
    }
    struct receiver_stats stats;
    receiver_stats(link.receiver, &stats);
    assert_int_equal(stats.batches_total, 0);
    CLEANUP(reply_done) struct reply whole;
    ask(&link, &body, NULL, &whole);
    assert_int_equal(whole.answer.verdicts[0], VERDICT_STORED);
    assert_int_equal(whole.answer.verdicts[1], VERDICT_STORED);
    link_done(&link);
}

static void test_only_as_itself(void **state)
{
    (void)state;
    static struct link link;
    link_init(&link, 13);
    stop_upper(&link);
    auth_free(link.auth);
    assert_int_equal(file_write_whole(link.upper.seams.fs, "/token", "secret\n", 7), 0);
    const struct auth_entry entry = {"rack-1", "/token"};
    char error[256];
    assert_int_equal(auth_new(link.upper.seams.fs, &entry, 1, error, &link.auth), 0);
    link.receiver_options.identity_is_secondary = true;
    start_upper(&link);
    CLEANUP(buf_done) struct buf body = BUF_INIT(1 * MIB);
    add_layouts(&body, 1);
    add_batch(&body, "dc1", "rack-1", 1, 100);
    add_batch(&body, "dc1", "rack-2", 1, 100);
    CLEANUP(reply_done) struct reply stranger;
    ask(&link, &body, "Bearer guess", &stranger);
    assert_int_equal(stranger.status, 401);
    CLEANUP(reply_done) struct reply known;
    ask(&link, &body, "Bearer secret", &known);
    assert_int_equal(known.answer.verdicts[0], VERDICT_STORED);
    assert_int_equal(known.answer.verdicts[1], VERDICT_UNAUTHORISED);
    /* A reload between a request and its answer: it is the request's identity that counts. */
    assert_int_equal(auth_new(link.upper.seams.fs, &entry, 1, error, &link.next_auth), 0);
    CLEANUP(buf_done) struct buf question = BUF_INIT(256);
    struct source_id source = hop_source("rack-1");
    assert_int_equal(answer_ask_encode(&source, 1, &question), 0);
    assert_int_equal(frame_append(&body, FRAME_ASK, question.data, question.len), 0);
    CLEANUP(reply_done) struct reply asked;
    ask(&link, &body, "Bearer secret", &asked);
    assert_int_equal(asked.answer.mark_count, 2); /* the batch's and the question's */
    link_done(&link);
}

/* More questions than an answer has room for: some are answered, nothing breaks. */
static void test_many_asks(void **state)
{
    (void)state;
    static struct link link;
    link_init(&link, 14);
    CLEANUP(buf_done) struct buf body = BUF_INIT(2 * MIB);
    for (uint64_t epoch = 1; epoch <= 2 * ANSWER_MARKS_MAX; epoch++) {
        CLEANUP(buf_done) struct buf question = BUF_INIT(256);
        struct source_id source = hop_source("rack-1");
        assert_int_equal(answer_ask_encode(&source, epoch, &question), 0);
        assert_int_equal(frame_append(&body, FRAME_ASK, question.data, question.len), 0);
    }
    CLEANUP(reply_done) struct reply reply;
    ask(&link, &body, NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.answer.mark_count, ANSWER_MARKS_MAX);
    link_done(&link);
}

/* A disk that fails: nothing is called stored, and it goes on when the disk does. */
static void test_full_disk_above(void **state)
{
    (void)state;
    static struct link link;
    static struct upper_content content;
    link_init(&link, 15);
    stop_upper(&link);
    struct file_system *memory = link.upper.seams.fs;
    link.upper.seams.fs = file_system_failing_new(memory);
    start_upper(&link);
    file_system_failing_at(link.upper.seams.fs, 3, -ENOSPC, false);
    for (int i = 0; i < 30; i++) {
        make_batch(&link);
        loop_advance(link.world.seams.loop, 500);
    }
    struct sender_stats stats;
    sender_stats(link.sender, &stats);
    assert_true(stats.batches_stored_total < 3);
    file_system_failing_at(link.upper.seams.fs, 0, -ENOSPC, true);
    loop_advance(link.world.seams.loop, 5000);
    for (unsigned seq = 1; seq <= 30; seq++)
        assert_int_equal(link.accepted[number_of(1, seq)], 1);
    read_upper(&link, &content);
    for (unsigned seq = 1; seq <= 30; seq++)
        assert_int_equal(content.count[number_of(1, seq)], 1);
    file_system_free(link.upper.seams.fs);
    link.upper.seams.fs = memory;
    link_done(&link);
}

/* Above, segments go with the bases in them, and a restart empties the cache: what is sent as an edit finds no base
 * there. All the same everything arrives, and soon. */
static void test_bases_that_are_gone(void **state)
{
    (void)state;
    static struct link link;
    link_init(&link, 16);
    uint64_t missing = 0, refused_before = link.refusals;
    struct receiver_stats stats;
    for (unsigned i = 1; i <= 150; i++) {
        struct hop_batch batch = {hop_source("rack-1"), link.epoch, i, i / 3, 2000};
        uint64_t id;
        batch.source.incarnation = spool_incarnation(link.lower.spool);
        assert_int_equal(hop_append(link.lower.spool, &batch, &id), 0);
        struct promise *promise = mem_alloc(sizeof(*promise));
        *promise = (struct promise){&link, number_of(link.epoch, i)};
        spool_sync(link.lower.spool, kept, promise);
        loop_advance(link.world.seams.loop, 1000);
        if (i % 10 != 0)
            continue;
        receiver_stats(link.receiver, &stats);
        missing += stats.missing_total;
        stop_upper(&link);
        start_upper(&link);
        spool_drop_before(link.upper.spool, UINT64_MAX);
    }
    loop_advance(link.world.seams.loop, 60000);
    for (unsigned i = 1; i <= 150; i++)
        assert_int_equal(link.accepted[number_of(link.epoch, i)], 1);
    /* Each time the batch is sent back once, for layouts or for the base of one. */
    assert_in_range(missing, 14, 2 * 14);
    assert_int_equal(link.refusals, refused_before);
    link_done(&link);
}

#define LARGE_PAGES 12
#define LARGE_SLOTS 1000
#define LARGE_VALUE 4000

/* A page of 4 MB of text that no compression makes less than 3 of. */
static struct layout *large_page(struct random *random, unsigned number)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    CLEANUP_FREE char *texts = mem_alloc(LARGE_SLOTS * LARGE_VALUE);
    static struct label labels[LARGE_SLOTS];
    static struct layout_slot slots[LARGE_SLOTS];
    for (size_t i = 0; i < (size_t)LARGE_SLOTS * LARGE_VALUE; i++)
        texts[i] = digits[random_below(random, 64)];
    for (unsigned i = 0; i < LARGE_SLOTS; i++) {
        labels[i] = (struct label){STR("label"), str_of(texts + (size_t)i * LARGE_VALUE, LARGE_VALUE)};
        slots[i] = (struct layout_slot){.labels = &labels[i], .label_count = 1};
    }
    char name[32];
    snprintf(name, sizeof(name), "large_%u", number);
    struct layout_family_spec spec = {
        .name = str_from(name), .metric_type = METRIC_GAUGE, .slots = slots, .count = LARGE_SLOTS};
    CLEANUP(layout_unrefp) struct layout *family = layout_family_new(&spec);
    assert_non_null(family);
    return layout_page_new(&family, 1);
}

/* Layouts of a batch may be larger than a few requests are: they go ahead, and the batch arrives all the same. */
static void test_layouts_larger_than_requests(void **state)
{
    (void)state;
    static struct link link;
    link_init(&link, 15);
    stop_lower(&link);
    stop_upper(&link);
    link.lower.spool_options.layout_bytes_max = link.upper.spool_options.layout_bytes_max = 512 * MIB;
    start_upper(&link);
    start_lower(&link);
    struct layout_table *table = spool_layouts(link.lower.spool);
    CLEANUP(hop_layouts_done) struct hop_layouts small = hop_layouts_new(1);
    struct hash128 pages[LARGE_PAGES];
    struct random random;
    random_seed(&random, 5);
    for (unsigned i = 0; i < LARGE_PAGES; i++) {
        CLEANUP(layout_unrefp) struct layout *page = large_page(&random, i);
        pages[i] = page->hash;
        assert_int_equal(layout_table_hold(table, page), 0);
    }
    assert_int_equal(layout_table_hold(table, small.targets), 0);
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(1 * MIB);
    struct hop_batch batch = {{STR("dc1"), STR("rack-1"), spool_incarnation(link.lower.spool)}, link.epoch, 1, 0, 0};
    struct envelope envelope;
    hop_batch_make(&batch, &small, &envelope, &bytes);
    envelope.pages = pages;
    envelope.page_count = LARGE_PAGES;
    buf_reset(&bytes);
    assert_int_equal(envelope_encode(&envelope, &bytes), 0);
    uint64_t id;
    assert_int_equal(spool_append(link.lower.spool, &envelope, buf_view(&bytes), &id), 0);
    loop_advance(link.world.seams.loop, 5 * 60000);
    struct sender_stats stats;
    sender_stats(link.sender, &stats);
    assert_int_equal(stats.batches_stored_total, 1);
    assert_true(stats.layouts_total <= 2 * (LARGE_PAGES + 2)); /* two requests at once */
    link_done(&link);
}

/* A page of many small slots, in memory a dozen times its text. */
static struct layout *dense_page(unsigned number)
{
    enum { NAMES = 100, VALUES = 60 };
    static char names[NAMES][8];
    static struct label labels[NAMES * VALUES];
    static struct layout_slot slots[NAMES * VALUES];
    static char values[VALUES][2];
    for (unsigned i = 0; i < NAMES * VALUES; i++) {
        snprintf(names[i / VALUES], sizeof(names[0]), "n%02u", i / VALUES);
        values[i % VALUES][0] = (char)('0' + i % VALUES);
        labels[i] = (struct label){str_from(names[i / VALUES]), str_from(values[i % VALUES])};
        slots[i] = (struct layout_slot){.labels = &labels[i], .label_count = 1};
    }
    char name[32];
    snprintf(name, sizeof(name), "dense_%u", number);
    struct layout_family_spec spec = {.name = str_from(name), .slots = slots, .count = NAMES * VALUES};
    CLEANUP(layout_unrefp) struct layout *family = layout_family_new(&spec);
    assert_non_null(family);
    return layout_page_new(&family, 1);
}

/* Layouts whose batches never come, request by request: what is held for them is bounded by memory, not by text. */
static void test_layouts_without_batches(void **state)
{
    (void)state;
    static struct link link;
    link_init(&link, 18);
    struct layout_table *table = spool_layouts(link.upper.spool);
    uint64_t held_max = layout_table_cache_bytes_max(table) / 2, each = 0, text = 0;
    for (unsigned i = 0; i < 200; i++) {
        CLEANUP(layout_unrefp) struct layout *page = dense_page(i);
        CLEANUP(hop_layouts_done) struct hop_layouts layouts = hop_layouts_new(1);
        layout_unref(layouts.page);
        layouts.page = layout_ref(page);
        CLEANUP(buf_done) struct buf body = BUF_INIT(16 * MIB);
        for (unsigned j = 0; j < 3; j++) /* the same again is held once */
            hop_pack(&layouts, &body);
        CLEANUP(reply_done) struct reply reply;
        ask(&link, &body, NULL, &reply);
        assert_int_equal(reply.status, 200);
        each = page->whole_memory;
        text += page->whole_bytes;
    }
    assert_true(each > 8 * text / 200);
    assert_true(2 * 200 * each > 3 * held_max && text < held_max);
    /* In the ring: a page and a small list for each request. */
    assert_in_range(layout_table_held(table), held_max / each / 2, held_max / each + 1);
    assert_true(layout_table_cache_bytes(table) <= layout_table_cache_bytes_max(table));
    link_done(&link);
}

/* Said in so few bytes that one request may not make them all: the rest is asked for, and the batch arrives. */
static void test_layouts_past_what_a_request_may_make(void **state)
{
    (void)state;
    enum { BITS = 14, PAGES = 12000 };
    static struct link link;
    static struct hash128 pages[PAGES];
    link_init(&link, 19);
    struct layout_table *table = spool_layouts(link.lower.spool);
    CLEANUP(hop_layouts_done) struct hop_layouts small = hop_layouts_new(1);
    struct layout *families[BITS];
    for (unsigned i = 0; i < BITS; i++) {
        char name[32];
        snprintf(name, sizeof(name), "family_%u", i);
        struct layout_family_spec spec = {.name = str_from(name)};
        families[i] = layout_family_new(&spec);
    }
    for (unsigned i = 0; i < PAGES; i++) {
        struct layout *some[BITS];
        uint32_t count = 0;
        for (unsigned bit = 0; bit < BITS; bit++)
            if ((i + 1) >> bit & 1)
                some[count++] = families[bit];
        CLEANUP(layout_unrefp) struct layout *page = layout_page_new(some, count);
        pages[i] = page->hash;
        assert_int_equal(layout_table_hold(table, page), 0);
    }
    for (unsigned i = 0; i < BITS; i++)
        layout_unref(families[i]);
    assert_int_equal(layout_table_hold(table, small.targets), 0);
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(1 * MIB);
    struct hop_batch batch = {{STR("dc1"), STR("rack-1"), spool_incarnation(link.lower.spool)}, link.epoch, 1, 0, 0};
    struct envelope envelope;
    hop_batch_make(&batch, &small, &envelope, &bytes);
    envelope.pages = pages;
    envelope.page_count = PAGES;
    buf_reset(&bytes);
    assert_int_equal(envelope_encode(&envelope, &bytes), 0);
    uint64_t id;
    assert_int_equal(spool_append(link.lower.spool, &envelope, buf_view(&bytes), &id), 0);
    loop_advance(link.world.seams.loop, 5 * 60000);
    struct sender_stats stats;
    struct receiver_stats upper;
    sender_stats(link.sender, &stats);
    receiver_stats(link.receiver, &upper);
    assert_int_equal(stats.batches_stored_total, 1);
    assert_in_range(upper.missing_total, 1, 4);
    assert_true(stats.layouts_total < 2 * PAGES);
    link_done(&link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_once),
        cmocka_unit_test(test_accepted_once_and_in_order),
        cmocka_unit_test(test_a_replaced_upstream),
        cmocka_unit_test(test_fails_over),
        cmocka_unit_test(test_drains),
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(what_only_the_daemon_makes_is_refused),
        cmocka_unit_test(test_malformed_is_set_aside),
        cmocka_unit_test(test_damaged_requests),
        cmocka_unit_test(test_only_as_itself),
        cmocka_unit_test(test_many_asks),
        cmocka_unit_test(test_full_disk_above),
        cmocka_unit_test(test_layouts_larger_than_requests),
        cmocka_unit_test(test_layouts_without_batches),
        cmocka_unit_test(test_layouts_past_what_a_request_may_make),
        cmocka_unit_test(test_bases_that_are_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
