#include "global.h"
#include "base/fail.h"
#include "config_report.h"
#include "parts.h"
#include "status.h"
#include "upkeep.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>

#define QUERY_HELPERS_MAX      16        /* more of them wait for memory, not for processors */
#define LAYOUT_BYTES_MAX       (1 * GIB) /* packed */
#define LAYOUT_CACHE_BYTES_MAX (3 * GIB) /* expanded */
#define IN_FLIGHT_BYTES_MAX    (512 * MIB)
/* The same with those that are being read. */
#define BODY_BYTES_MAX (2 * IN_FLIGHT_BYTES_MAX)
/* Many secondaries or primaries may share an address; one alone must not take all connections. */
#define CONNECTIONS_PER_ADDRESS_MAX 1024
#define REJECTS_BYTES_MAX           (64 * MIB)
#define WRITE_IN_FLIGHT_BYTES_MAX   (128 * MIB) /* of remote write, as it comes; vmagent's requests are some 500 KiB */
/* Windows further ahead of our clock are kept in the log, not in the store. */
#define AHEAD_MAX_MS         COVERAGE_AHEAD_MS
#define SERIES_MAX           20000000
#define REFUSAL_LOG_MS       60000
#define STATUS_BYTES_MAX     (16 * MIB)
#define REQUEST_DEADLINE_MS  30000
#define UPKEEP_MS            1000
#define BACKGROUND_QUEUE_MAX 2 /* one runs, and is handed in again when it is done */
/* Between the end of a query's own time and the server's answer for it. */
#define ANSWER_SLACK_MS 10000

struct daemon *global_daemon(struct global *global)
{
    return &global->context.daemon;
}

struct store *global_store(struct global *global)
{
    return global->store;
}

struct coverage *global_coverage(struct global *global)
{
    return global->coverage;
}

/* ---- Routes ---- */

static void serve_batches(void *context, struct http_exchange *exchange)
{
    struct global *global = context;
    receiver_handle(global->receiver, exchange);
}

static void serve_write(void *context, struct http_exchange *exchange)
{
    struct global *global = context;
    write_handle(global->write, exchange);
}

static void serve_metrics(void *context, struct http_exchange *exchange)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(STATUS_BYTES_MAX);
    global_write_metrics(context, &out);
    http_exchange_answer(exchange, 200, "text/plain; version=0.0.4; charset=utf-8", &out);
}

static void serve_status(void *context, struct http_exchange *exchange)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(STATUS_BYTES_MAX);
    global_write_status(context, &out);
    http_exchange_answer(exchange, 200, "application/json", &out);
}

static const struct http_route routes[] = {
    {"POST", RECEIVER_PATH, serve_batches, 0, RECEIVER_REQUEST_BYTES_MAX},
    {"POST", WRITE_PATH, serve_write, 0, CONVERT_BODY_BYTES_MAX},
    {"GET", "/metrics", serve_metrics, 0, 0},
    {"GET", "/api/v1/status", serve_status, 0, 0},
    API_ROUTES,
    DAEMON_ROUTES,
    {0},
};

/* ---- The way of a batch ---- */

static void cover(struct global *global, const struct spool_batch *batch, struct str bytes, int64_t heard_ms)
{
    /* What the head or blocks have was taken, whatever the clock says now. */
    bool stored = batch->id <= global->replay_from;
    struct coverage_batch taken = {.id = batch->id, .bytes = bytes, .heard_ms = heard_ms};
    taken.oldest_ms = stored ? INT64_MIN : global_now_ms(global) - global->config->head.age_max_ms;
    if (batch->is_gap)
        coverage_take_gap(global->coverage, batch);
    else
        coverage_take(global->coverage, &taken);
}

/* From the receiver, when the batch is on disk. */
static int accept_batch(void *arg, const struct spool_batch *batch, struct str bytes)
{
    struct global *global = arg;
    cover(global, batch, bytes, global_now_ms(global));
    if (batch->is_gap)
        return 0;
    int result = ingest_batch(global->ingest, spool_layouts(global->log), batch->id, bytes, global_now_ms(global));
    if (result < 0 &&
        log_limit_allow(&global->refusals, str_hash(batch->source.secondary), global_now_ms(global), REFUSAL_LOG_MS))
        log_error("batch %llu of " STR_FMT "/" STR_FMT " is in the log but cannot be read: %s",
                  (unsigned long long)batch->seq, STR_ARG(batch->source.datacenter), STR_ARG(batch->source.secondary),
                  strerror(-result));
    if (result < 0 && !batch->is_remote_write)
        coverage_lose(global->coverage, batch);
    return result;
}

/* A batch that cannot be read costs itself: the rest of the log is replayed all the same. */
static int replay_batch(void *arg, const struct spool_batch *batch, struct str bytes, struct layout_table *layouts)
{
    struct global *global = arg;
    if (batch->id > coverage_position(global->coverage))
        cover(global, batch, bytes, batch->window_end_ms);
    if (batch->is_gap || batch->id <= global->replay_from)
        return 0; /* the head has it from its snapshot */
    if (ingest_batch(global->ingest, layouts, batch->id, bytes, global_now_ms(global)) == 0)
        global->replayed_batches++;
    else if (!batch->is_remote_write)
        coverage_lose(global->coverage, batch);
    return 0;
}

/* Once per source and minute: a peer that sends garbage must not fill the log. */
static void refused(void *arg, struct str source, const char *reason)
{
    struct global *global = arg;
    if (log_limit_allow(&global->refusals, str_hash(source), global_now_ms(global), REFUSAL_LOG_MS))
        log_warn("refused a batch of " STR_FMT ": %s", STR_ARG(source), reason);
}

static void write_refused(void *arg, struct str sender, const char *reason)
{
    struct global *global = arg;
    if (log_limit_allow(&global->refusals, str_hash(sender), global_now_ms(global), REFUSAL_LOG_MS))
        log_warn("remote write of " STR_FMT ": %s", STR_ARG(sender), reason);
}

static const char *why_busy(void *arg)
{
    const struct global *global = arg;
    struct store_stats stats;
    store_stats(global->store, &stats);
    return stats.series >= SERIES_MAX ? "the store has as many series as it takes" : NULL;
}

/* ---- Parts ---- */

static int make_auth(struct file_system *fs, const struct global_config *config, char ret_error[static 512],
                     struct auth **ret_auth)
{
    const struct global_config_source *sources = config->sources.items;
    CLEANUP_FREE struct auth_entry *entries = mem_array(config->sources.count, sizeof(*entries));
    for (size_t i = 0; i < config->sources.count; i++)
        entries[i] = (struct auth_entry){sources[i].datacenter, sources[i].bearer_token_file};
    char error[256];
    int result = auth_new(fs, entries, config->sources.count, error, ret_auth);
    if (result < 0)
        snprintf(ret_error, 512, "sources: %s", error);
    return result;
}

static void store_event(void *arg, const char *text)
{
    (void)arg;
    log_warn("%s", text);
}

static size_t helpers_of(const struct global_config *config)
{
    cpu_set_t processors;
    size_t count = sched_getaffinity(0, sizeof(processors), &processors) == 0 ? (size_t)CPU_COUNT(&processors) : 1;
    return config->query.threads > 0 ? (size_t)config->query.threads : MIN(count - 1, (size_t)QUERY_HELPERS_MAX);
}

static void open_coverage(struct global *global, uint64_t log_end)
{
    struct blocks_stats blocks;
    blocks_stats(store_blocks(global->store), &blocks);
    struct keeper_found found = {log_end, blocks.served + blocks.damaged > 0 || log_end > 1};
    global->coverage = coverage_new(loop_clock(global->seams.loop));
    int result = keeper_open(&global->keeper, global->coverage, global->seams.fs, global->config->data_dir, &found);
    if (result < 0)
        log_warn("%s: %s; what sources told before the log begins is not known", global->keeper.path,
                 strerror(-result));
}

static int make_store(struct global *global, char ret_error[static 512])
{
    const struct global_config *config = global->config;
    CLEANUP(retention_unrefp) struct retention *retention = global_config_retention(config);
    struct store_options options = {.max_age_ms = config->head.age_max_ms,
                                    .max_ahead_ms = AHEAD_MAX_MS,
                                    .series_max = SERIES_MAX,
                                    .fs = global->seams.fs,
                                    .data_dir = config->data_dir,
                                    .retention = retention,
                                    .close_after_ms = config->head.close_after_ms,
                                    .level_count = config->blocks.level_count,
                                    .on_event = store_event};
    memcpy(options.levels_ms, config->blocks.levels_ms, sizeof(options.levels_ms));
    char error[256];
    CLEANUP(buf_done) struct buf rows = BUF_INIT(SIZE_MAX);
    CLEANUP_FREE char *log_dir = mem_printf("%s/log", config->data_dir);
    int result = spool_ids_end(global->seams.fs, log_dir, &options.log_end);
    if (result < 0) {
        snprintf(ret_error, 512, "data_dir %s: %s", log_dir, strerror(-result));
        return result;
    }
    result = store_open(loop_clock(global->seams.loop), &options, error, &rows, &global->store);
    if (result < 0) {
        snprintf(ret_error, 512, "data_dir %s", error);
        return result;
    }
    global->families = families_new();
    global->ingest = ingest_new(global->store, global->families);
    ingest_load(global->ingest, buf_view(&rows), global_now_ms(global));
    open_coverage(global, options.log_end);
    global->crew = loop_is_simulated(global->seams.loop) ? NULL : crew_new(helpers_of(global->config));
    struct api_options api = {.store = global->store,
                              .crew = global->crew,
                              .families = global->families,
                              .clock = loop_clock(global->seams.loop),
                              .limits = {.samples_max = (uint64_t)global->config->query.samples_max,
                                         .bytes_max = global->config->query.memory_bytes_max,
                                         .timeout_ms = global->config->query.timeout_ms,
                                         .lookback_ms = global->config->query.lookback_delta_ms},
                              .memory_bytes_max = global->config->query.total_memory_bytes_max,
                              .widen_ranges = global->config->query.widen_ranges,
                              .concurrency_max = global->config->query.concurrency,
                              .coverage = coverage_write,
                              .coverage_sources = coverage_write_sources,
                              .coverage_arg = global->coverage,
                              .started_ms = global->started_ms};
    global->context.api = api_new(&api);
    config_report(global->context.api, config, global->config_path);
    global->background =
        loop_is_simulated(global->seams.loop) ? executor_inline_new() : executor_pool_new(1, BACKGROUND_QUEUE_MAX);
    return 0;
}

static int open_log(struct global *global, char ret_error[static 512])
{
    CLEANUP_FREE char *dir = mem_printf("%s/log", global->config->data_dir);
    global->replay_from = store_replay_from(global->store);
    struct spool_options options = {
        .dir = dir, .layout_bytes_max = LAYOUT_BYTES_MAX, .layout_cache_bytes_max = LAYOUT_CACHE_BYTES_MAX};
    int result = spool_open(&global->seams, &options, replay_batch, global, &global->log);
    coverage_loaded(global->coverage);
    if (result == -EBUSY)
        snprintf(ret_error, 512, "data_dir %s: another process uses it", global->config->data_dir);
    else if (result < 0)
        snprintf(ret_error, 512, "data_dir %s: %s", dir, strerror(-result));
    return result;
}

static void make_receiver(struct global *global)
{
    CLEANUP_FREE char *rejects = mem_printf("%s/rejects", global->config->data_dir);
    struct receiver_options options = {.is_end = true,
                                       .in_flight_bytes_max = IN_FLIGHT_BYTES_MAX,
                                       .rejects_dir = rejects,
                                       .rejects_bytes_max = REJECTS_BYTES_MAX,
                                       .ahead_max_ms = AHEAD_MAX_MS,
                                       .on_refused = refused,
                                       .on_refused_arg = global,
                                       .accept = accept_batch,
                                       .accept_arg = global};
    global->receiver = receiver_new(&global->seams, global->log, global->auth, &options);
}

static int set_senders(struct global *global, const struct global_config *config, char ret_error[static 512])
{
    const struct global_config_sender *items = config->remote_write.senders.items;
    size_t count = config->remote_write.senders.count;
    CLEANUP_FREE struct write_sender *senders = mem_array(count, sizeof(*senders));
    for (size_t i = 0; i < count; i++)
        senders[i] = (struct write_sender){.name = items[i].name,
                                           .datacenter = items[i].datacenter,
                                           .bearer_token_file = items[i].bearer_token_file,
                                           .honor_datacenter = items[i].honor_datacenter,
                                           .anonymous = items[i].anonymous};
    char error[256];
    int result = write_set_senders(global->write, senders, count, error);
    if (result < 0)
        snprintf(ret_error, 512, "remote_write: %s", error);
    return result;
}

static int make_write(struct global *global, char ret_error[static 512])
{
    struct write_options options = {.datacenter = global->config->name,
                                    .age_max_ms = global->config->head.age_max_ms,
                                    .ahead_max_ms = AHEAD_MAX_MS,
                                    .in_flight_bytes_max = WRITE_IN_FLIGHT_BYTES_MAX,
                                    .accept = accept_batch,
                                    .accept_arg = global,
                                    .why_busy = why_busy,
                                    .why_busy_arg = global,
                                    .on_refused = write_refused,
                                    .on_refused_arg = global};
    global->write = write_new(&global->seams, global->log, &options);
    return set_senders(global, global->config, ret_error);
}

static int open_server(struct global *global, char ret_error[static 512])
{
    const struct global_config *config = global->config;
    struct http_server_options options = {.listen = config->listen,
                                          .cert_file = config->tls.cert_file,
                                          .key_file = config->tls.key_file,
                                          .client_ca_file = config->tls.client_ca_file,
                                          .connections_per_address_max = CONNECTIONS_PER_ADDRESS_MAX,
                                          .body_bytes_max = BODY_BYTES_MAX,
                                          .request_deadline_ms = REQUEST_DEADLINE_MS,
                                          .answer_deadline_ms = config->query.timeout_ms + ANSWER_SLACK_MS};
    /* Threads of their own: queries, however slow, never hold up a sync of the log, and one more answers that there are
     * too many. */
    global->workers = loop_is_simulated(global->seams.loop) ? executor_inline_new()
                                                            : executor_pool_new((unsigned)config->query.concurrency + 1,
                                                                                (size_t)config->query.waiting_max);
    int result = http_server_new(global->seams.loop, global->seams.network, global->workers, &options, routes, global,
                                 &global->server);
    if (result < 0)
        snprintf(ret_error, 512, "listen %s: %s", config->listen, strerror(-result));
    return result;
}

/* ---- Reload, stop ---- */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static const char *needs_restart(const struct global_config *old, const struct global_config *next)
{
    if (!same_text(old->name, next->name))
        return "name";
    if (!same_text(old->listen, next->listen))
        return "listen";
    if (!same_text(old->data_dir, next->data_dir))
        return "data_dir";
    if (memcmp(&old->head, &next->head, sizeof(old->head)) != 0)
        return "head";
    if (memcmp(old->blocks.levels_ms, next->blocks.levels_ms, sizeof(old->blocks.levels_ms)) != 0)
        return "blocks.levels";
    if (old->query.samples_max != next->query.samples_max || old->query.timeout_ms != next->query.timeout_ms ||
        old->query.concurrency != next->query.concurrency || old->query.widen_ranges != next->query.widen_ranges ||
        old->query.memory_bytes_max != next->query.memory_bytes_max ||
        old->query.lookback_delta_ms != next->query.lookback_delta_ms)
        return "query";
    if (!same_text(old->tls.cert_file, next->tls.cert_file) || !same_text(old->tls.key_file, next->tls.key_file) ||
        !same_text(old->tls.client_ca_file, next->tls.client_ca_file))
        return "tls";
    return NULL;
}

/* Rules are for what is written from now on: said in the log, as it surprises. */
static void set_retention(struct global *global, const struct global_config *next)
{
    CLEANUP(retention_unrefp) struct retention *old = global_config_retention(global->config);
    CLEANUP(retention_unrefp) struct retention *retention = global_config_retention(next);
    if (retention_equal(old, retention))
        return;
    store_set_retention(global->store, retention);
    log_info(
        "retention: the new rules choose the classes of what is written from the next two hours on; ages and sizes "
        "hold at once");
}

static int take_config(struct global *global, struct buf *errors)
{
    CLEANUP(global_config_freep) struct global_config *next = NULL;
    CLEANUP_FREE char *texts = NULL;
    int result = global_config_load(global->seams.fs, global->config_path, &next, &texts);
    if (result < 0) {
        buf_append_text(errors, texts);
        return result;
    }
    const char *key = needs_restart(global->config, next);
    if (key) {
        buf_printf(errors, "%s: a change of %s needs a restart\n", global->config_path, key);
        return -EINVAL;
    }
    char text[512] = "";
    struct auth *auth = NULL;
    result = make_auth(global->seams.fs, next, text, &auth);
    if (result < 0) {
        buf_printf(errors, "%s: %s\n", global->config_path, text);
        return result;
    }
    result = set_senders(global, next, text);
    if (result < 0) {
        auth_free(auth);
        buf_printf(errors, "%s: %s\n", global->config_path, text);
        return result;
    }
    set_retention(global, next);
    receiver_set_auth(global->receiver, auth);
    auth_free(global->auth);
    global->auth = auth;
    global_config_free(global->config);
    global->config = STEAL(next);
    return 0;
}

static int reload(struct daemon *daemon, struct buf *errors)
{
    struct global *global = CONTAINER_OF(daemon, struct global, context.daemon);
    if (!global->config_path)
        return -ENOENT;
    int result = take_config(global, errors);
    if (result == 0)
        config_report(global->context.api, global->config, global->config_path);
    else
        api_reload_failed(global->context.api);
    return result;
}

static void stop(struct daemon *daemon)
{
    loop_stop(daemon->loop); /* what was acknowledged is on disk; what was not comes again */
}

static bool ready(struct daemon *daemon, struct buf *reason)
{
    (void)daemon;
    (void)reason;
    return true; /* the log was replayed before the socket was opened */
}

/* ---- Lifecycle ---- */

int global_new(const struct seams *seams, struct global_config *config, const char *config_path,
               char ret_error[static 512], struct global **ret_global)
{
    CLEANUP(global_freep) struct global *global = mem_zalloc(sizeof(*global));
    global->seams = *seams;
    global->config = config;
    global->config_path = config_path ? mem_strdup(config_path) : NULL;
    global->context.daemon = (struct daemon){
        .loop = seams->loop, .name = "tributary-global", .stop = stop, .reload = reload, .ready = ready};
    log_limit_init(&global->refusals);
    buf_init(&global->rows, SIZE_MAX);
    loop_timer_init(&global->upkeep, seams->loop, upkeep_run, global);
    global->started_ms = global->snapshot_ms = global_now_ms(global);
    int result = make_auth(seams->fs, config, ret_error, &global->auth);
    if (result == 0)
        result = make_store(global, ret_error);
    if (result == 0)
        result = open_log(global, ret_error);
    if (result == 0) {
        make_receiver(global);
        result = make_write(global, ret_error);
    }
    if (result == 0)
        result = open_server(global, ret_error);
    if (result < 0) {
        global->config = NULL; /* stays the caller's */
        return result;
    }
    *ret_global = STEAL(global);
    return 0;
}

void global_start(struct global *global)
{
    loop_timer_start(&global->upkeep, UPKEEP_MS, UPKEEP_MS);
}

void global_free(struct global *global)
{
    if (!global)
        return;
    loop_timer_stop(&global->upkeep);
    http_server_free(global->server);
    /* Queries that still run end first: they use all that follows. */
    executor_free(global->workers);
    if (global->store)
        store_cancel_work(global->store);
    executor_free(global->background);
    loop_settle(global->seams.loop);
    write_free(global->write);
    if (global->log)
        upkeep_end(global);
    buf_done(&global->rows);
    keeper_close(&global->keeper);
    receiver_free(global->receiver);
    spool_close(global->log);
    api_free(global->context.api);
    crew_free(global->crew);
    coverage_free(global->coverage);
    ingest_free(global->ingest);
    families_free(global->families);
    store_free(global->store);
    auth_free(global->auth);
    log_limit_done(&global->refusals);
    mem_free(global->config_path);
    global_config_free(global->config);
    mem_free(global);
}
