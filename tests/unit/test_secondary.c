/* A whole secondary in a simulated world, with a receiver as its primary; and one with real threads. */
#include "hop/receiver.h"
#include "metric/exposition.h"
#include "secondary/secondary.h"
#include "secondary_world.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#define R_MS        15000
#define BATCHES_MAX 4096

struct arrived {
    uint64_t epoch, seq;
    int64_t window_start_ms, span_ms, closed_through_ms;
    uint64_t expected, answered;
    size_t entries;
};

struct scene {
    struct world world;
    struct spool *store; /* the primary's */
    struct auth *auth;
    struct receiver *receiver;
    struct http_server *primary;
    struct http_client *client; /* of the test */
    struct secondary *secondary;
    struct arrived arrived[BATCHES_MAX];
    size_t count;
    uint64_t ups;                          /* records of up that were 1 */
    uint64_t stale;                        /* pages of targets that ended: two of each */
    uint64_t aggregates, aggregates_ended; /* records of work_total:sum, and of these stale markers */
    bool stopped;
};

/* ---- The primary's end ---- */

static bool is_up_page(const struct batch_block *block)
{
    return str_equal(block->family->name, STR("up"));
}

static void count_aggregates(struct scene *scene, const struct batch_block *block)
{
    if (!str_equal(block->family->name, STR("work_total:sum")))
        return;
    for (uint32_t i = 0; i < block->family->count * block->entry_count; i++) {
        scene->aggregates++;
        scene->aggregates_ended += value_is_stale(block->records[i].last);
    }
}

static int on_batch(void *arg, const struct spool_batch *batch, struct str bytes)
{
    struct scene *scene = arg;
    struct batch_reader *reader;
    struct batch_block block;
    size_t entry_count;
    assert_false(batch->is_gap);
    assert_true(scene->count < BATCHES_MAX);
    assert_int_equal(batch_reader_open(bytes.ptr, bytes.len, spool_layouts(scene->store), &reader), 0);
    const struct envelope *envelope = batch_reader_envelope(reader);
    const struct batch_entry *entries = batch_reader_entries(reader, &entry_count);
    scene->arrived[scene->count++] = (struct arrived){.epoch = envelope->epoch,
                                                      .seq = envelope->seq,
                                                      .window_start_ms = envelope->window_start_ms,
                                                      .span_ms = envelope->span_ms,
                                                      .closed_through_ms = envelope->closed_through_ms,
                                                      .expected = envelope->targets_expected,
                                                      .answered = envelope->targets_answered,
                                                      .entries = entry_count};
    for (size_t i = 0; i < entry_count; i++)
        scene->stale += entries[i].stale_ms != 0;
    int r;
    while ((r = batch_reader_next(reader, &block)) == 1) {
        count_aggregates(scene, &block);
        if (!is_up_page(&block))
            continue;
        for (uint32_t i = 0; i < block.entry_count; i++) {
            const struct batch_entry *entry = &entries[block.entries[i]];
            scene->ups += entry->count > 0 && block.records[i].last == 1;
            int64_t start_ms = batch_round_start_ms(envelope, entry->round);
            if (entry->count > 0)
                assert_true(entry->time_ms >= start_ms && entry->time_ms < start_ms + R_MS);
        }
    }
    assert_int_equal(r, 0);
    batch_reader_free(reader);
    return 0;
}

static void serve_batches(void *context, struct http_exchange *exchange)
{
    struct scene *scene = context;
    receiver_handle(scene->receiver, exchange);
}

static void open_primary(struct scene *scene)
{
    static const struct http_route routes[] = {{"POST", RECEIVER_PATH, serve_batches, 0, RECEIVER_REQUEST_BYTES_MAX},
                                               {0}};
    const struct spool_options options = {.dir = "/primary/spool", .layout_bytes_max = 64 * MIB};
    const struct receiver_options receiver = {.is_end = true,
                                              .in_flight_bytes_max = 64 * MIB,
                                              .rejects_dir = "/primary/rejects",
                                              .rejects_bytes_max = MIB,
                                              .ahead_max_ms = 600000,
                                              .accept = on_batch,
                                              .accept_arg = scene};
    const struct http_server_options server = {.listen = "primary:9411"};
    assert_int_equal(spool_open(&scene->world.seams, &options, NULL, NULL, &scene->store), 0);
    scene->receiver = receiver_new(&scene->world.seams, scene->store, scene->auth, &receiver);
    assert_non_null(scene->receiver);
    assert_int_equal(
        http_server_new(scene->world.loop, scene->world.network, NULL, &server, routes, scene, &scene->primary), 0);
}

/* ---- The secondary's ---- */

#define HEAD                                                                                                           \
    "datacenter: dc1\nsecondary: s1\nlisten: s1:9410\ndata_dir: /s1\nprimary: {urls: ['http://primary:9411']}\n"       \
    "windows: {resolution: 15s}\nglobal: {scrape_interval: 5s, scrape_timeout: 4s}\nscrape_configs:\n"
#define JOBS                                                                                                           \
    "- {job_name: fixed, static_configs: [{targets: ['h1:9100', 'h2:9100']}]}\n"                                       \
    "- {job_name: files, file_sd_configs: [{files: ['/sd/*.json']}]}\n"

static void start_secondary(struct scene *scene)
{
    char error[512] = "";
    world_write(&scene->world, "/s1.yaml", HEAD JOBS);
    struct secondary_config *config = world_config(&scene->world, HEAD JOBS);
    if (secondary_new(&scene->world.seams, config, "/s1.yaml", error, &scene->secondary) < 0)
        fail_msg("%s", error);
    secondary_start(scene->secondary);
}

static void advance(struct scene *scene, int64_t ms)
{
    loop_advance(scene->world.loop, ms);
}

static int set_up(void **state)
{
    struct scene *scene = mem_zalloc(sizeof(*scene));
    const struct http_client_options client = {.name = "test", .shards = 1};
    char error[256];
    world_init(&scene->world);
    assert_int_equal(auth_new(scene->world.fs, NULL, 0, error, &scene->auth), 0);
    log_set_level(LOG_ERROR + 1);
    scene->client = http_client_new(scene->world.loop, scene->world.network, &client);
    assert_int_equal(file_make_dirs(scene->world.fs, "/sd"), 0);
    world_write(&scene->world, "/sd/a.json", "[{\"targets\":[\"h3:9100\"],\"labels\":{\"rack\":\"r1\"}}]");
    for (int i = 1; i <= 4; i++) {
        char address[32];
        snprintf(address, sizeof(address), "h%d:9100", i);
        world_exporter(&scene->world, address);
    }
    open_primary(scene);
    start_secondary(scene);
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    secondary_free(scene->secondary);
    http_server_free(scene->primary);
    receiver_free(scene->receiver);
    spool_close(scene->store);
    http_client_free(scene->client);
    auth_free(scene->auth);
    world_done(&scene->world);
    mem_free(scene);
    return 0;
}

/* ---- Asking it ---- */

struct reply {
    bool done;
    int status;
    char *body;
};

static void on_reply(void *arg, const struct http_result *result)
{
    struct reply *reply = arg;
    reply->done = true;
    reply->status = result->failure == HTTP_OK ? result->status : -1;
    reply->body = mem_strndup(result->body.ptr ? result->body.ptr : "", result->body.len);
}

/* The body, to be freed. */
static char *ask(struct scene *scene, const char *method, const char *path, int status)
{
    CLEANUP_FREE char *url = mem_printf("http://s1:9410%s", path);
    struct reply reply = {0};
    const struct http_request_spec spec = {
        .method = method, .url = url, .timeout_ms = 5000, .response_bytes_max = 4 * MIB};
    assert_int_equal(http_client_call(scene->client, &spec, on_reply, &reply, NULL), 0);
    advance(scene, 100);
    assert_true(reply.done);
    if (reply.status != status)
        fail_msg("%s: %d, expected %d: %s", path, reply.status, status, reply.body);
    return reply.body;
}

static double metric(struct scene *scene, const char *series)
{
    CLEANUP_FREE char *body = ask(scene, "GET", "/metrics", 200);
    struct exposition exposition;
    double value = -1;
    enum exposition_event event;
    exposition_init(&exposition, str_from(body), (struct exposition_limits){32, 1024, 4096});
    while ((event = exposition_next(&exposition)) != EXPOSITION_END) {
        if (event == EXPOSITION_ERROR)
            fail_msg("line %u: %s", exposition.line, exposition.error);
        if (event == EXPOSITION_SAMPLE && str_equal(exposition.series, str_from(series)))
            value = exposition.value;
    }
    exposition_done(&exposition);
    return value;
}

/* ---- Tests ---- */

/* Each window from the first is there, once per group, and what is said to be whole is. */
static void test_flow(void **state)
{
    struct scene *scene = *state;
    advance(scene, 10 * R_MS);
    assert_in_range(scene->count, 9, 10);
    for (size_t i = 0; i < scene->count; i++) {
        assert_int_equal(scene->arrived[i].seq, i + 1);
        assert_int_equal(scene->arrived[i].window_start_ms, WORLD_START_MS + (int64_t)i * R_MS);
        assert_int_equal(scene->arrived[i].closed_through_ms, WORLD_START_MS + (int64_t)(i + 1) * R_MS);
        assert_int_equal(scene->arrived[i].expected, 3);
        assert_int_equal(scene->arrived[i].answered, 3);
        assert_int_equal(scene->arrived[i].entries, 6);
    }
    assert_int_equal(scene->ups, 3 * scene->count);
    assert_int_equal(scene->stale, 0);
    assert_true(metric(scene, "tributary_secondary_targets{state=\"up\"}") == 3);
    assert_true(metric(scene, "tributary_secondary_scrapes_total{outcome=\"ok\"}") >= 87);
    assert_true(metric(scene, "tributary_secondary_batches_lost_total") == 0);
}

static void test_discovery_changes(void **state)
{
    struct scene *scene = *state;
    advance(scene, 4 * R_MS);
    world_write(&scene->world, "/sd/a.json", "[{\"targets\":[\"h4:9100\"],\"labels\":{\"rack\":\"r1\"}}]");
    advance(scene, 4 * R_MS);
    assert_true(scene->world.exporters[3]->scrapes >= 9);
    assert_int_equal(scene->stale, 2);
    unsigned scrapes = scene->world.exporters[2]->scrapes;
    advance(scene, 4 * R_MS);
    assert_int_equal(scene->world.exporters[2]->scrapes, scrapes);
    assert_int_equal(scene->arrived[scene->count - 1].expected, 3);
}

/* What piled up while the link was cut arrives, once, put together: 20 windows as 4 batches of five, but for the one
 * that was in flight. */
static void test_link_down(void **state)
{
    struct scene *scene = *state;
    advance(scene, 2 * R_MS);
    size_t before = scene->count;
    network_set_link(scene->world.network, "s1", "primary:9411", &(struct network_link){.cut = true});
    advance(scene, 20 * R_MS);
    assert_int_equal(scene->count, before);
    double pending = metric(scene, "tributary_upstream_pending_batches{upstream=\"primary\"}");
    assert_true(pending >= 4 && pending <= 9);
    network_set_link(scene->world.network, "s1", "primary:9411", &(struct network_link){0});
    advance(scene, 20 * R_MS);
    bool seen[64] = {0}, window[64] = {0};
    size_t windows = 0, packed = 0;
    for (size_t i = 0; i < scene->count; i++) {
        const struct arrived *arrived = &scene->arrived[i];
        assert_true(arrived->seq < ARRAY_LEN(seen));
        assert_false(seen[arrived->seq]);
        seen[arrived->seq] = true;
        packed += arrived->span_ms > R_MS;
        assert_int_equal(arrived->expected, 3 * (uint64_t)(arrived->span_ms / R_MS));
        for (int64_t at = 0; at < arrived->span_ms; at += R_MS, windows++) {
            size_t place = (size_t)(arrived->window_start_ms + at - WORLD_START_MS) / R_MS;
            assert_true(place < ARRAY_LEN(window) && !window[place]);
            window[place] = true;
        }
    }
    assert_in_range(windows, 41, 42);
    assert_true(packed >= 3);
    assert_int_equal(scene->ups, 3 * windows);
}

/* Power fails: what was spooled and on disk still arrives; the next start is another epoch. */
static void test_crash(void **state)
{
    struct scene *scene = *state;
    network_set_link(scene->world.network, "s1", "primary:9411", &(struct network_link){.cut = true});
    advance(scene, 4 * R_MS + 7000);
    assert_int_equal(scene->count, 0);
    secondary_free(STEAL(scene->secondary));
    advance(scene, 1000);
    http_server_free(STEAL(scene->primary));
    receiver_free(STEAL(scene->receiver));
    spool_close(STEAL(scene->store));
    file_system_memory_crash(scene->world.fs, &scene->world.random);
    network_set_link(scene->world.network, "s1", "primary:9411", &(struct network_link){0});
    open_primary(scene);
    world_write(&scene->world, "/sd/a.json", "[{\"targets\":[\"h3:9100\"],\"labels\":{\"rack\":\"r1\"}}]");
    start_secondary(scene);
    advance(scene, 6 * R_MS);
    size_t old = 0;
    for (size_t i = 0; i < scene->count; i++)
        old += scene->arrived[i].epoch == 1;
    assert_int_equal(old, 4);
    assert_true(scene->count - old >= 5);
}

static void on_stopped(void *arg)
{
    struct scene *scene = arg;
    scene->stopped = true;
}

/* At the end the window so far is sealed, spooled and sent. */
static void test_stop(void **state)
{
    struct scene *scene = *state;
    advance(scene, 3 * R_MS);
    advance(scene, 6000); /* every target was scraped once in the fourth window */
    size_t before = scene->count;
    secondary_stop(scene->secondary, on_stopped, scene);
    mem_free(ask(scene, "GET", "/-/ready", 503));
    advance(scene, 10000);
    assert_true(scene->stopped);
    assert_int_equal(scene->count, before + 1);
    assert_int_equal(scene->arrived[before].window_start_ms, WORLD_START_MS + 3 * R_MS);
    assert_int_equal(scene->arrived[before].closed_through_ms, WORLD_START_MS + 3 * R_MS);
    assert_int_equal(scene->stale, 0); /* its successor goes on with them */
}

/* Nobody listens: the end is not waited for. */
static void test_stop_alone(void **state)
{
    struct scene *scene = *state;
    network_set_link(scene->world.network, NULL, "primary:9411", &(struct network_link){.cut = true});
    advance(scene, 2 * R_MS);
    secondary_stop(scene->secondary, on_stopped, scene);
    advance(scene, 10000);
    assert_true(scene->stopped);
}

static void test_reload(void **state)
{
    struct scene *scene = *state;
    advance(scene, 2 * R_MS);
    unsigned scrapes = scene->world.exporters[0]->scrapes;
    world_write(&scene->world, "/s1.yaml",
                HEAD "- {job_name: fixed, static_configs: [{targets: ['h1:9100', 'h4:9100']}]}\n");
    mem_free(ask(scene, "POST", "/-/reload", 200));
    advance(scene, 4 * R_MS);
    assert_true(metric(scene, "tributary_secondary_targets{state=\"up\"}") == 2);
    assert_true(metric(scene, "tributary_secondary_targets_ended_total") == 2);
    assert_int_equal(scene->stale, 4);
    assert_in_range(scene->world.exporters[0]->scrapes - scrapes, 11, 13); /* went on as before */
    assert_true(scene->world.exporters[3]->scrapes >= 10);

    world_write(&scene->world, "/s1.yaml", HEAD "- {job_name: fixed, sample_limit: none}\n");
    CLEANUP_FREE char *wrong = ask(scene, "POST", "/-/reload", 400);
    assert_non_null(strstr(wrong, "s1.yaml:9:"));
    world_write(&scene->world, "/s1.yaml",
                "datacenter: dc2\nsecondary: s1\nlisten: s1:9410\ndata_dir: /s1\n"
                "primary: {urls: ['http://primary:9411']}\n"
                "windows: {resolution: 15s}\nglobal: {scrape_interval: 5s}\n");
    CLEANUP_FREE char *restart = ask(scene, "POST", "/-/reload", 400);
    assert_non_null(strstr(restart, "datacenter needs a restart"));
    assert_true(metric(scene, "tributary_secondary_targets{state=\"up\"}") == 2);
    world_write(&scene->world, "/s1.yaml",
                "datacenter: dc1\nsecondary: s1\nlisten: s1:9410\ndata_dir: /s1\n"
                "primary: {urls: ['http://other:9411', 'http://primary:9411']}\n"
                "windows: {resolution: 15s}\nglobal: {scrape_interval: 5s, scrape_timeout: 4s}\n");
    mem_free(ask(scene, "POST", "/-/reload", 200));
    size_t before = scene->count;
    advance(scene, 8 * R_MS); /* no targets any more: empty batches, over the second address */
    assert_true(scene->count >= before + 4);
    assert_int_equal(scene->arrived[scene->count - 1].entries, 0);
}

/* Rules that change do so between two windows, without a word about a restart. */
static void test_rules(void **state)
{
    struct scene *scene = *state;
    advance(scene, 2 * R_MS);
    world_write(&scene->world, "/s1.yaml",
                "datacenter: dc1\nsecondary: s1\nlisten: s1:9410\ndata_dir: /s1\n"
                "primary: {urls: ['http://primary:9411']}\n"
                "windows:\n  resolution: 15s\n  rules:\n"
                "  - {match: heat, keep: drop}\n"
                "  - {match: work_total, keep: aggregate}\n"
                "  - {match: up, resolution: 5s}\n"
                "global: {scrape_interval: 5s, scrape_timeout: 4s}\nscrape_configs:\n" JOBS);
    mem_free(ask(scene, "POST", "/-/reload", 200));
    CLEANUP_FREE char *again = ask(scene, "POST", "/-/reload", 200); /* the same: nothing to do */
    world_write(&scene->world, "/s1.yaml", HEAD JOBS);
    CLEANUP_FREE char *early = ask(scene, "POST", "/-/reload", 400);
    assert_non_null(strstr(early, "is not in force yet"));
    uint64_t before = scene->ups;
    advance(scene, 4 * R_MS);
    assert_in_range(scene->ups - before, 27, 33); /* three targets, every 5 s: still there, in windows of 5 s */
    assert_true(metric(scene, "tributary_secondary_series_dropped") == 3);
    assert_true(metric(scene, "tributary_secondary_series_folded") == 3);
    assert_true(metric(scene, "tributary_secondary_aggregate_groups") == 1);
    assert_true(metric(scene, "tributary_secondary_aggregate_totals") == 1);
    assert_true(metric(scene, "tributary_secondary_aggregate_totals_evicted_total") == 0);
    assert_true(metric(scene, "tributary_secondary_rule_series{rule=\"1\",match=\"heat\"}") == 3);
    assert_true(metric(scene, "tributary_secondary_rule_series{rule=\"3\",match=\"up\"}") == 3);
    assert_true(metric(scene, "tributary_secondary_class_series{resolution=\"5\",keep=\"full\"}") == 3);
    assert_true(metric(scene, "tributary_secondary_class_series{resolution=\"15\",keep=\"aggregate\"}") == 3);
    mem_free(ask(scene, "POST", "/-/reload", 200)); /* and back */
    advance(scene, 3 * R_MS);
    assert_true(metric(scene, "tributary_secondary_series_dropped") == 0);
    /* What never ends together needs a restart. */
    world_write(&scene->world, "/s1.yaml",
                "datacenter: dc1\nsecondary: s1\nlisten: s1:9410\ndata_dir: /s1\n"
                "primary: {urls: ['http://primary:9411']}\n"
                "windows:\n  resolution: 15s\n  rules:\n"
                "  - {match: heat, resolution: 1s}\n"
                "  - {match: up, resolution: 32s}\n"
                "  - {match: other, resolution: 225s}\n"
                "global: {scrape_interval: 5s, scrape_timeout: 4s}\n");
    CLEANUP_FREE char *restart = ask(scene, "POST", "/-/reload", 400);
    assert_non_null(strstr(restart, "this change of windows.rules needs a restart"));
    secondary_stop(scene->secondary, on_stopped, scene);
    advance(scene, 10000);
    assert_true(scene->stopped);
}

static void reload_aggregates(struct scene *scene, const char *rule)
{
    CLEANUP_FREE char *text = mem_printf("datacenter: dc1\nsecondary: s1\nlisten: s1:9410\ndata_dir: /s1\n"
                                         "primary: {urls: ['http://primary:9411']}\n"
                                         "windows: {resolution: 15s, rules: [%s]}\n"
                                         "global: {scrape_interval: 5s, scrape_timeout: 4s}\nscrape_configs:\n" JOBS,
                                         rule);
    world_write(&scene->world, "/s1.yaml", text);
    mem_free(ask(scene, "POST", "/-/reload", 200));
}

/* Windows of aggregates become longer, and shorter again: no series ends, until there are none any more. */
static void test_aggregates_change_their_windows(void **state)
{
    struct scene *scene = *state;
    static const char *const rules[] = {
        "{match: work_total, keep: aggregate}", "{match: work_total, keep: aggregate, resolution: 60s}",
        "{match: work_total, keep: aggregate, resolution: 30s}", "{match: work_total, keep: aggregate}"};
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        uint64_t before = scene->aggregates;
        reload_aggregates(scene, rules[i]);
        advance(scene, 16 * R_MS);
        assert_in_range(scene->aggregates - before, 3, 17);
        assert_int_equal(scene->aggregates_ended, 0);
    }
    reload_aggregates(scene, "");
    advance(scene, 4 * R_MS);
    assert_int_equal(scene->aggregates_ended, 1);
}

static void test_status(void **state)
{
    struct scene *scene = *state;
    json_error_t error;
    scene->world.exporters[1]->mode = EXPORTER_FAILS;
    advance(scene, 2 * R_MS);
    CLEANUP_FREE char *body = ask(scene, "GET", "/api/v1/status", 200);
    json_t *status = json_loads(body, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(status);
    json_t *targets = json_object_get(status, "targets"), *source = json_object_get(status, "source");
    assert_string_equal(json_string_value(json_object_get(source, "secondary")), "s1");
    assert_int_equal(json_integer_value(json_object_get(targets, "count")), 3);
    assert_int_equal(json_integer_value(json_object_get(targets, "down")), 1);
    assert_int_equal(json_array_size(json_object_get(targets, "list")), 3);
    json_decref(status);
    CLEANUP_FREE char *list = ask(scene, "GET", "/api/v1/targets", 200);
    status = json_loads(list, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(status);
    json_t *active = json_object_get(json_object_get(status, "data"), "activeTargets"), *target;
    size_t index, failed = 0;
    json_array_foreach(active, index, target)
    {
        bool down = strcmp(json_string_value(json_object_get(target, "health")), "down") == 0;
        const char *text = json_string_value(json_object_get(target, "lastError"));
        assert_int_equal(strstr(text, "HTTP status 500") != NULL, down);
        failed += down;
    }
    assert_int_equal(failed, 1);
    json_decref(status);
    mem_free(ask(scene, "GET", "/-/healthy", 200));
    mem_free(ask(scene, "GET", "/-/ready", 200));
}

/* ---- With threads, real time and a real disk ---- */

struct threaded {
    struct loop *loop;
    struct secondary *secondary;
    struct http_server *exporter;
    struct loop_timer timer, watchdog;
    unsigned turns;
    _Atomic unsigned scrapes;
};

static void serve_page(void *context, struct http_exchange *exchange)
{
    struct threaded *threaded = context;
    threaded->scrapes++;
    http_exchange_answer_text(exchange, 200, "a %u\n", threaded->scrapes);
}

static void stop_threaded(void *arg)
{
    struct threaded *threaded = arg;
    loop_stop(threaded->loop);
}

/* Some scrapes, then the end. */
static void on_turn(void *arg)
{
    struct threaded *threaded = arg;
    if (threaded->scrapes < 40)
        return;
    loop_timer_stop(&threaded->timer);
    secondary_stop(threaded->secondary, stop_threaded, threaded);
}

static void hangs(void *arg)
{
    (void)arg;
    fatal("the test hangs");
}

static void test_threads(void **state)
{
    (void)state;
    static const struct http_route routes[] = {{"GET", "/metrics", serve_page, 0, 0}, {0}};
    char dir[] = "/tmp/tributary-test-XXXXXX", error[512] = "";
    struct random random;
    struct threaded threaded = {.loop = loop_new()};
    struct executor *executor = executor_pool_new(2, 64);
    const struct seams seams = {
        .loop = threaded.loop, .fs = file_system_real(), .executor = executor, .random = &random};
    const struct http_server_options server = {.listen = "127.0.0.1:0"};
    random_seed(&random, 3);
    assert_non_null(mkdtemp(dir));
    assert_int_equal(http_server_new(threaded.loop, NULL, NULL, &server, routes, &threaded, &threaded.exporter), 0);
    unsigned port = http_server_port(threaded.exporter);
    CLEANUP_FREE char *path = mem_printf("%s/s.yaml", dir);
    CLEANUP_FREE char *text =
        mem_printf("datacenter: dc1\nsecondary: s1\nlisten: 127.0.0.1:0\ndata_dir: %s/data\nworkers: 3\n"
                   "primary: {urls: ['http://127.0.0.1:1']}\nwindows: {resolution: 1s}\n"
                   "global: {scrape_interval: 100ms, scrape_timeout: 100ms}\nscrape_configs:\n"
                   "- {job_name: a, static_configs: [{targets: ['127.0.0.1:%u', '127.0.0.2:1'], labels: {n: '1'}},"
                   "{targets: ['127.0.0.1:%u'], labels: {n: '2'}}, {targets: ['localhost:%u']}]}\n",
                   dir, port, port, port);
    struct secondary_config *config;
    char *errors = NULL;
    assert_int_equal(file_write_whole(file_system_real(), path, text, strlen(text)), 0);
    if (secondary_config_load(file_system_real(), path, NULL, &config, &errors) < 0)
        fail_msg("%s", errors);
    if (secondary_new(&seams, config, path, error, &threaded.secondary) < 0)
        fail_msg("%s", error);
    secondary_start(threaded.secondary);
    loop_timer_init(&threaded.timer, threaded.loop, on_turn, &threaded);
    loop_timer_start(&threaded.timer, 20, 20);
    loop_timer_init(&threaded.watchdog, threaded.loop, hangs, NULL);
    loop_timer_start(&threaded.watchdog, 60000, 0);
    loop_run(threaded.loop);
    loop_timer_stop(&threaded.watchdog);
    secondary_free(threaded.secondary);
    http_server_free(threaded.exporter);
    executor_free(executor);
    loop_settle(threaded.loop);
    loop_free(threaded.loop);

    /* What it left behind is a spool with batches. */
    struct loop *loop = loop_new();
    executor = executor_inline_new();
    const struct seams after = {.loop = loop, .fs = file_system_real(), .executor = executor, .random = &random};
    CLEANUP_FREE char *spool_dir = mem_printf("%s/data/spool", dir);
    const char *const consumers[] = {"primary"};
    const struct spool_options options = {
        .dir = spool_dir, .bytes_max = GIB, .consumers = consumers, .consumer_count = 1, .layout_bytes_max = 64 * MIB};
    struct spool *spool;
    struct spool_stats stats;
    assert_int_equal(spool_open(&after, &options, NULL, NULL, &spool), 0);
    spool_stats(spool, &stats);
    assert_true(stats.batches > 0);
    spool_close(spool);
    executor_free(executor);
    loop_settle(loop);
    loop_free(loop);
    CLEANUP_FREE char *remove = mem_printf("rm -r %s", dir);
    assert_int_equal(system(remove), 0);
}

#define SCENE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE(test_flow),
        SCENE(test_discovery_changes),
        SCENE(test_link_down),
        SCENE(test_crash),
        SCENE(test_stop),
        SCENE(test_stop_alone),
        SCENE(test_reload),
        SCENE(test_rules),
        SCENE(test_aggregates_change_their_windows),
        SCENE(test_status),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
