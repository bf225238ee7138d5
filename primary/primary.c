#include "primary.h"
#include "base/fail.h"
#include "parts.h"
#include "status.h"

#include <errno.h>
#include <stdio.h>

/* In memory at most: layouts of all batches kept; requests being taken in. */
#define LAYOUT_BYTES_MAX       (1 * GIB) /* packed */
#define LAYOUT_CACHE_BYTES_MAX (2 * GIB) /* expanded: some 1,200 pages of 3,000 container series */
#define IN_FLIGHT_BYTES_MAX    (256 * MIB)
/* The same with those that are being read. */
#define BODY_BYTES_MAX (2 * IN_FLIGHT_BYTES_MAX)
/* Many secondaries or primaries may share an address; one alone must not take all connections. */
#define CONNECTIONS_PER_ADDRESS_MAX 1024
/* Malformed batches kept for a look. */
#define REJECTS_BYTES_MAX (64 * MIB)
/* Windows further ahead of our clock are reported. */
#define AHEAD_MAX_MS (10 * 60 * INT64_C(1000))
/* At SIGTERM: what is in flight may end. */
#define DRAIN_MS            5000
#define REFUSAL_LOG_MS      60000
#define STATUS_BYTES_MAX    (16 * MIB)
#define REQUEST_DEADLINE_MS 30000
#define ANSWER_DEADLINE_MS  60000

struct daemon *primary_daemon(struct primary *primary)
{
    return &primary->daemon;
}

static int64_t now_ms(const struct primary *primary)
{
    return clock_wall_ms(loop_clock(primary->seams.loop));
}

/* ---- Routes ---- */

static void serve_batches(void *context, struct http_exchange *exchange)
{
    struct primary *primary = context;
    receiver_handle(primary->receiver, exchange);
}

static void serve_metrics(void *context, struct http_exchange *exchange)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(STATUS_BYTES_MAX);
    primary_write_metrics(context, &out);
    http_exchange_answer(exchange, 200, "text/plain; version=0.0.4; charset=utf-8", &out);
}

static void serve_status(void *context, struct http_exchange *exchange)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(STATUS_BYTES_MAX);
    primary_write_status(context, &out);
    http_exchange_answer(exchange, 200, "application/json", &out);
}

static const struct http_route routes[] = {
    {"POST", RECEIVER_PATH, serve_batches, 0, RECEIVER_REQUEST_BYTES_MAX},
    {"GET", "/metrics", serve_metrics, 0, 0},
    {"GET", "/api/v1/status", serve_status, 0, 0},
    DAEMON_ROUTES,
    {0},
};

/* ---- Parts ---- */

/* Once per source and minute: a peer that sends garbage must not fill the log. */
static void refused(void *arg, struct str source, const char *reason)
{
    struct primary *primary = arg;
    if (log_limit_allow(&primary->refusals, str_hash(source), now_ms(primary), REFUSAL_LOG_MS))
        log_warn("refused a batch of " STR_FMT ": %s", STR_ARG(source), reason);
}

static int make_auth(struct file_system *fs, const struct primary_config *config, char ret_error[static 512],
                     struct auth **ret_auth)
{
    const struct primary_config_source *sources = config->sources.items;
    CLEANUP_FREE struct auth_entry *entries = mem_array(config->sources.count, sizeof(*entries));
    for (size_t i = 0; i < config->sources.count; i++)
        entries[i] = (struct auth_entry){sources[i].secondary, sources[i].bearer_token_file};
    char error[256];
    int result = auth_new(fs, entries, config->sources.count, error, ret_auth);
    if (result < 0)
        snprintf(ret_error, 512, "sources: %s", error);
    return result;
}

static int open_spool(struct primary *primary, char ret_error[static 512])
{
    CLEANUP_FREE char *dir = mem_printf("%s/spool", primary->config->data_dir);
    const char *names[SPOOL_CONSUMERS_MAX];
    for (size_t i = 0; i < primary->upstream_count; i++)
        names[i] = primary->upstreams[i].config->name;
    struct spool_options options = {.dir = dir,
                                    .bytes_max = primary->config->spool.bytes_max,
                                    .age_max_ms = primary->config->spool.age_max_ms,
                                    .consumers = names,
                                    .consumer_count = primary->upstream_count,
                                    .layout_bytes_max = LAYOUT_BYTES_MAX,
                                    .layout_cache_bytes_max = LAYOUT_CACHE_BYTES_MAX};
    int result = spool_open(&primary->seams, &options, NULL, NULL, &primary->spool);
    if (result == -EBUSY)
        snprintf(ret_error, 512, "data_dir %s: another process uses it", primary->config->data_dir);
    else if (result < 0)
        snprintf(ret_error, 512, "data_dir %s: %s", dir, strerror(-result));
    return result;
}

static int make_receiver(struct primary *primary)
{
    CLEANUP_FREE char *rejects = mem_printf("%s/rejects", primary->config->data_dir);
    struct receiver_options options = {.datacenter = primary->config->datacenter,
                                       .identity_is_secondary = true,
                                       .in_flight_bytes_max = IN_FLIGHT_BYTES_MAX,
                                       .rejects_dir = rejects,
                                       .rejects_bytes_max = REJECTS_BYTES_MAX,
                                       .ahead_max_ms = AHEAD_MAX_MS,
                                       .on_refused = refused,
                                       .on_refused_arg = primary};
    primary->receiver = receiver_new(&primary->seams, primary->spool, primary->auth, &options);
    return primary->receiver ? 0 : -ENOMEM;
}

static int read_token(struct primary *primary, const struct primary_config_global *config, char ret_error[static 512],
                      char **ret_token)
{
    if (!config->bearer_token_file)
        return 0;
    char error[256];
    int result = auth_read_secret(primary->seams.fs, config->bearer_token_file, error, ret_token);
    if (result < 0)
        snprintf(ret_error, 512, "global %s: %s", config->name, error);
    return result;
}

/* Each global has a client of its own: a slow or dead one holds up no other. */
static void make_sender(struct primary *primary, size_t index)
{
    struct upstream *upstream = &primary->upstreams[index];
    struct http_client_options client = {
        .name = primary->config->datacenter, .shards = 1, .connections_max = 4, .calls_max = 16};
    upstream->client = http_client_new(primary->seams.loop, primary->seams.network, &client);
    upstream->url = upstream->config->url;
    upstream->options = (struct sender_options){.name = upstream->config->name,
                                                .urls = &upstream->url,
                                                .url_count = 1,
                                                .tls = upstream->config->tls,
                                                .bearer_token = upstream->token};
    upstream->sender = sender_new(&primary->seams, primary->spool, index, upstream->client, &upstream->options);
}

static int open_upstreams(struct primary *primary, char ret_error[static 512])
{
    const struct primary_config_global *globals = primary->config->globals.items;
    size_t count = primary->config->globals.count;
    if (count > SPOOL_CONSUMERS_MAX) {
        snprintf(ret_error, 512, "globals: at most %d", SPOOL_CONSUMERS_MAX);
        return -EINVAL;
    }
    primary->upstreams = mem_array(count, sizeof(*primary->upstreams));
    primary->upstream_count = count;
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        primary->upstreams[i].config = &globals[i];
        result = read_token(primary, &globals[i], ret_error, &primary->upstreams[i].token);
    }
    return result;
}

static int open_server(struct primary *primary, char ret_error[static 512])
{
    const struct primary_config *config = primary->config;
    struct http_server_options options = {.listen = config->listen,
                                          .cert_file = config->tls.cert_file,
                                          .key_file = config->tls.key_file,
                                          .client_ca_file = config->tls.client_ca_file,
                                          .connections_per_address_max = CONNECTIONS_PER_ADDRESS_MAX,
                                          .body_bytes_max = BODY_BYTES_MAX,
                                          .request_deadline_ms = REQUEST_DEADLINE_MS,
                                          .answer_deadline_ms = ANSWER_DEADLINE_MS};
    int result = http_server_new(primary->seams.loop, primary->seams.network, primary->seams.executor, &options, routes,
                                 primary, &primary->server);
    if (result < 0)
        snprintf(ret_error, 512, "listen %s: %s", config->listen, strerror(-result));
    return result;
}

/* ---- Reload, stop ---- */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* What cannot change while running, named for the error. */
static const char *needs_restart(const struct primary_config *old, const struct primary_config *next)
{
    if (!same_text(old->datacenter, next->datacenter))
        return "datacenter";
    if (!same_text(old->listen, next->listen))
        return "listen";
    if (!same_text(old->data_dir, next->data_dir))
        return "data_dir";
    if (old->spool.bytes_max != next->spool.bytes_max || old->spool.age_max_ms != next->spool.age_max_ms)
        return "spool";
    if (!same_text(old->tls.cert_file, next->tls.cert_file) || !same_text(old->tls.key_file, next->tls.key_file) ||
        !same_text(old->tls.client_ca_file, next->tls.client_ca_file))
        return "tls";
    if (old->globals.count != next->globals.count)
        return "globals";
    const struct primary_config_global *a = old->globals.items, *b = next->globals.items;
    for (size_t i = 0; i < old->globals.count; i++)
        if (!same_text(a[i].name, b[i].name) || !same_text(a[i].url, b[i].url) ||
            !same_text(a[i].tls.ca_file, b[i].tls.ca_file) || !same_text(a[i].tls.cert_file, b[i].tls.cert_file) ||
            !same_text(a[i].tls.key_file, b[i].tls.key_file))
            return "globals";
    return NULL;
}

/* Takes the next configuration over: who may write, and the tokens shown to the globals. */
static void apply(struct primary *primary, struct primary_config *next, struct auth *auth, char **tokens)
{
    const struct primary_config_global *globals = next->globals.items;
    receiver_set_auth(primary->receiver, auth);
    auth_free(primary->auth);
    primary->auth = auth;
    for (size_t i = 0; i < primary->upstream_count; i++) {
        struct upstream *upstream = &primary->upstreams[i];
        /* The sender keeps pointers to what the old configuration said, equal by needs_restart(): TLS files. */
        upstream->options.bearer_token = tokens[i];
        mem_free(upstream->token);
        upstream->token = tokens[i];
        upstream->config = &globals[i];
        upstream->url = globals[i].url;
        upstream->options.name = globals[i].name;
        upstream->options.tls = globals[i].tls;
    }
    primary_config_free(primary->config);
    primary->config = next;
}

static int reload(struct daemon *daemon, struct buf *errors)
{
    struct primary *primary = CONTAINER_OF(daemon, struct primary, daemon);
    if (!primary->config_path)
        return -ENOENT;
    CLEANUP(primary_config_freep) struct primary_config *next = NULL;
    CLEANUP_FREE char *texts = NULL;
    int result = primary_config_load(primary->seams.fs, primary->config_path, &next, &texts);
    if (result < 0) {
        buf_append_text(errors, texts);
        return result;
    }
    const char *key = needs_restart(primary->config, next);
    if (key) {
        buf_printf(errors, "%s: a change of %s needs a restart\n", primary->config_path, key);
        return -EINVAL;
    }
    char text[512] = "";
    CLEANUP(auth_freep) struct auth *auth = NULL;
    CLEANUP_FREE char **tokens = mem_array(next->globals.count, sizeof(char *));
    const struct primary_config_global *globals = next->globals.items;
    result = make_auth(primary->seams.fs, next, text, &auth);
    for (size_t i = 0; i < next->globals.count && result == 0; i++)
        result = read_token(primary, &globals[i], text, &tokens[i]);
    if (result < 0) {
        buf_printf(errors, "%s: %s\n", primary->config_path, text);
        for (size_t i = 0; i < next->globals.count; i++)
            mem_free(tokens[i]);
        return result;
    }
    apply(primary, STEAL(next), STEAL(auth), tokens);
    return 0;
}

static void drained(void *arg)
{
    struct primary *primary = arg;
    if (--primary->draining == 0)
        loop_stop(primary->seams.loop);
}

static void stop(struct daemon *daemon)
{
    struct primary *primary = CONTAINER_OF(daemon, struct primary, daemon);
    primary->draining = primary->upstream_count;
    for (size_t i = 0; i < primary->upstream_count; i++)
        sender_drain(primary->upstreams[i].sender, DRAIN_MS, drained, primary);
}

static bool ready(struct daemon *daemon, struct buf *reason)
{
    (void)daemon;
    (void)reason;
    return true; /* the spool was replayed before the socket was opened */
}

/* ---- Lifecycle ---- */

int primary_new(const struct seams *seams, struct primary_config *config, const char *config_path,
                char ret_error[static 512], struct primary **ret_primary)
{
    CLEANUP(primary_freep) struct primary *primary = mem_zalloc(sizeof(*primary));
    primary->seams = *seams;
    primary->config = config;
    primary->config_path = config_path ? mem_strdup(config_path) : NULL;
    primary->daemon = (struct daemon){
        .loop = seams->loop, .name = "tributary-primary", .stop = stop, .reload = reload, .ready = ready};
    log_limit_init(&primary->refusals);
    primary->started_ms = now_ms(primary);
    int result = make_auth(seams->fs, config, ret_error, &primary->auth);
    if (result == 0)
        result = open_upstreams(primary, ret_error);
    if (result == 0)
        result = open_spool(primary, ret_error);
    if (result == 0)
        result = make_receiver(primary);
    for (size_t i = 0; i < primary->upstream_count && result == 0; i++)
        make_sender(primary, i);
    if (result == 0)
        result = open_server(primary, ret_error);
    if (result < 0) {
        primary->config = NULL; /* stays the caller's */
        return result;
    }
    *ret_primary = STEAL(primary);
    return 0;
}

void primary_start(struct primary *primary)
{
    for (size_t i = 0; i < primary->upstream_count; i++)
        sender_start(primary->upstreams[i].sender);
}

void primary_free(struct primary *primary)
{
    if (!primary)
        return;
    http_server_free(primary->server);
    for (size_t i = 0; i < primary->upstream_count; i++) {
        sender_free(primary->upstreams[i].sender);
        http_client_free(primary->upstreams[i].client);
        mem_free(primary->upstreams[i].token);
    }
    receiver_free(primary->receiver);
    spool_close(primary->spool);
    auth_free(primary->auth);
    log_limit_done(&primary->refusals);
    mem_free(primary->upstreams);
    mem_free(primary->config_path);
    primary_config_free(primary->config);
    mem_free(primary);
}
