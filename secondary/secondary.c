#include "secondary.h"

#include "base/fail.h"
#include "status.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define RULES_NOTICE_MS             5000        /* within it every worker has read of other rules */
#define LAYOUT_BYTES_MAX            (768 * MIB) /* packed: a day of a pod a minute on 400 hosts of 3,000 container series */
#define LAYOUT_CACHE_BYTES_MAX      (256 * MIB) /* expanded: some 150 such pages; what windows show is shared with it */
#define PAGE_BYTES_MAX              (512 * MIB) /* of all workers: the text of some thousand distinct large pages */
#define METRICS_BYTES_MAX           (64 * MIB)
#define TARGETS_BYTES_MAX           (256 * MIB) /* 100,000 targets at 1 KiB, with room */
#define REQUEST_DEADLINE_MS         30000
#define ANSWER_DEADLINE_MS          30000
#define DRAIN_MS                    5000 /* at the end, for what is not sent yet */
#define DRAIN_POLL_MS               50
#define WORKERS_MAX                 64
#define DROPPED_TARGETS_MAX         100000 /* of a job, listed with their labels, where keep_dropped_targets is 0 */

#define CONNECTIONS_PER_ADDRESS_MAX 256 /* of people and of those who scrape us */

struct daemon *secondary_daemon(struct secondary *secondary)
{
    return &secondary->daemon;
}

/* ---- Routes ---- */

static void serve_metrics(void *context, struct http_exchange *exchange)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(METRICS_BYTES_MAX);
    secondary_write_metrics(context, &out);
    http_exchange_answer(exchange, 200, "text/plain; version=0.0.4; charset=utf-8", &out);
}

static void serve_status(void *context, struct http_exchange *exchange)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(TARGETS_BYTES_MAX);
    secondary_write_status(context, &out);
    http_exchange_answer(exchange, 200, "application/json", &out);
}

struct targets_answer {
    struct secondary *secondary;
    struct http_exchange *exchange;
};

static void answer_targets(void *arg, struct listing *listing)
{
    struct targets_answer *answer = arg;
    CLEANUP(buf_done) struct buf out = BUF_INIT(TARGETS_BYTES_MAX);
    if (listing) { /* else the secondary is stopping, and may have gone */
        answer->secondary->is_listing = false;
        secondary_write_targets(answer->secondary, listing, &out);
    }
    if (!listing)
        http_exchange_answer_text(answer->exchange, 503, "the secondary is stopping\n");
    else if (out.full || listing->is_cut)
        http_exchange_answer_text(answer->exchange, 500,
                                  "too many targets to list at once: ask for one job, ?scrapePool=NAME, or for "
                                  "?state=active\n");
    else
        http_exchange_answer(answer->exchange, 200, "application/json", &out);
    listing_free(listing);
    mem_free(answer);
}

/* One at a time: of a fleet it may be large. */
static void serve_targets(void *context, struct http_exchange *exchange)
{
    struct secondary *secondary = context;
    struct str state = http_exchange_param(exchange, "state", 0), job = http_exchange_param(exchange, "scrapePool", 0);
    CLEANUP_FREE char *name = job.len > 0 ? mem_strndup(job.ptr, job.len) : NULL;
    if (secondary->is_listing) {
        http_exchange_answer_text(exchange, 503, "targets are being listed for somebody else: ask again\n");
        return;
    }
    struct targets_answer *answer = mem_alloc(sizeof(*answer));
    *answer = (struct targets_answer){secondary, exchange};
    secondary->is_listing = true;
    discover_list(secondary->discover,
                  &(struct listing_options){.job = name,
                                            .without_targets = str_equal(state, STR("dropped")),
                                            .without_dropped = str_equal(state, STR("active")),
                                            .bytes_max = TARGETS_BYTES_MAX,
                                            .dropped_max = DROPPED_TARGETS_MAX},
                  answer_targets, answer);
}

static const struct http_route routes[] = {
    {"GET", "/metrics", serve_metrics, 0, 0},
    {"GET", "/api/v1/status", serve_status, 0, 0},
    {"GET", "/api/v1/targets", serve_targets, 0, 0},
    DAEMON_ROUTES,
    {0},
};

/* ---- Targets: discovery -> live set -> workers ---- */

static struct secondary_job *find_job(struct secondary *secondary, const struct job *job)
{
    for (size_t i = 0; i < secondary->job_count; i++)
        if (secondary->jobs[i].job == job)
            return &secondary->jobs[i];
    return NULL;
}

static void on_target(void *arg, enum targets_event event, struct target *target, struct job *job)
{
    struct secondary *secondary = arg;
    if (event == TARGETS_ADDED)
        target->worker = (unsigned)(str_hash(str_from(target->address)) % secondary->worker_count);
    struct worker *worker = secondary->workers[target->worker];
    if (event == TARGETS_ADDED)
        worker_add(worker, target);
    else if (event == TARGETS_REMOVED)
        worker_remove(worker, target, target->end);
    else
        worker_set_job(worker, target, job);
}

static void log_found(const struct secondary_job *old, const struct secondary_job *job,
                      const struct targets_outcome *outcome, const char *first_error)
{
    if (outcome->added + outcome->removed > 0)
        log_info("job %s: %llu targets (%zu new, %zu gone), %llu dropped", job->job->name,
                 (unsigned long long)job->found, outcome->added, outcome->removed, (unsigned long long)job->dropped);
    if (job->invalid > 0 && job->invalid != old->invalid)
        log_warn("job %s: %llu targets cannot be scraped, the first because: %s", job->job->name,
                 (unsigned long long)job->invalid, first_error);
    if (job->over_limit > 0 && job->over_limit != old->over_limit)
        log_warn("job %s: target_limit: %llu targets are left out", job->job->name,
                 (unsigned long long)job->over_limit);
}

static void on_discovered(void *arg, const struct finding *found)
{
    struct secondary *secondary = arg;
    struct secondary_job *job = find_job(secondary, found->job);
    struct targets_outcome outcome;
    if (!job)
        return; /* of a configuration that has been replaced meanwhile */
    const struct targets_list list = {.job = found->job,
                                      .items = found->targets,
                                      .count = found->count,
                                      .count_max = job->targets_max,
                                      .found = found->listed,
                                      .found_count = found->listed_count};
    targets_sync(secondary->targets, &list, &outcome);
    struct secondary_job old = *job;
    job->repeated = outcome.repeated;
    job->over_limit = outcome.over_limit;
    job->found = found->count - outcome.repeated - outcome.over_limit;
    job->dropped = found->dropped;
    job->invalid = found->invalid;
    log_found(&old, job, &outcome, found->first_error);
}

static void on_health(void *arg, struct target *target, enum scrape_failure failure, const char *reason)
{
    struct secondary *secondary = arg;
    char text[160];
    snprintf(text, sizeof(text), "%s: %s", scrape_failure_name(failure), reason);
    targets_report(secondary->targets, target, failure == SCRAPE_OK, failure == SCRAPE_OK ? "" : text);
}

static void on_sealed(void *arg, unsigned worker, struct pipeline_sealed *sealed, int64_t closed_through_ms)
{
    struct secondary *secondary = arg;
    batcher_take(secondary->batcher, worker, sealed, closed_through_ms);
}

/* ---- Jobs of a configuration ---- */

static void free_jobs(struct secondary_job *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        job_unref(jobs[i].job);
    mem_free(jobs);
}

/* The same as a job in force, where it is the same in all: then nobody is told anything. */
static struct job *find_same(const struct secondary *secondary, const struct job *job)
{
    for (size_t i = 0; i < secondary->job_count; i++)
        if (secondary->jobs[i].job->whole_hash == job->whole_hash)
            return secondary->jobs[i].job;
    return NULL;
}

static int make_jobs(struct secondary *secondary, const struct secondary_config *config, char ret_error[static 512],
                     struct secondary_job **ret_jobs)
{
    const struct scrape_config *configs = config->scrape_configs.items;
    size_t count = config->scrape_configs.count;
    struct secondary_job *jobs = mem_array(count, sizeof(*jobs));
    for (size_t i = 0; i < count; i++) {
        char error[256] = "";
        int r = job_new(secondary->seams.fs, &configs[i], secondary->tls, error, &jobs[i].job);
        if (r < 0) {
            snprintf(ret_error, 512, "scrape_configs: job %.100s: %s", configs[i].job_name, error);
            free_jobs(jobs, i);
            return r;
        }
        struct job *same = find_same(secondary, jobs[i].job);
        if (same) {
            job_unref(jobs[i].job);
            jobs[i].job = job_ref(same);
        }
        jobs[i].targets_max = (size_t)configs[i].targets_max;
    }
    *ret_jobs = jobs;
    return 0;
}

/* From now on by this configuration and these jobs, both of which are taken over. */
static void apply_config(struct secondary *secondary, struct secondary_config *config, struct secondary_job *jobs)
{
    struct secondary_config *old_config = secondary->config;
    struct secondary_job *old_jobs = secondary->jobs;
    size_t old_count = secondary->job_count, count = config->scrape_configs.count;
    struct job **list = mem_array(count, sizeof(*list));
    ASSERT(jobs || count == 0);
    for (size_t i = 0; i < count; i++)
        list[i] = jobs[i].job;
    secondary->config = config;
    secondary->jobs = jobs;
    secondary->job_count = count;
    discover_set(secondary->discover, config, list);
    targets_keep_jobs(secondary->targets, list, count);
    mem_free(list);
    free_jobs(old_jobs, old_count);
    if (old_config != config)
        secondary_config_unref(old_config);
}

/* ---- Parts ---- */

static int open_spool(struct secondary *secondary, char ret_error[static 512])
{
    const struct secondary_config *config = secondary->config;
    CLEANUP_FREE char *dir = mem_printf("%s/spool", config->data_dir);
    const char *const consumers[] = {UPSTREAM_NAME};
    const struct spool_options options = {.dir = dir,
                                          .bytes_max = config->spool.bytes_max,
                                          .age_max_ms = config->spool.age_max_ms,
                                          .consumers = consumers,
                                          .consumer_count = ARRAY_LEN(consumers),
                                          .layout_bytes_max = LAYOUT_BYTES_MAX,
                                          .layout_cache_bytes_max = LAYOUT_CACHE_BYTES_MAX};
    int r = spool_open(&secondary->seams, &options, NULL, NULL, &secondary->spool);
    if (r == -EBUSY)
        snprintf(ret_error, 512, "data_dir %s: another process uses it", config->data_dir);
    else if (r < 0)
        snprintf(ret_error, 512, "data_dir %s: %s", dir, strerrordesc_np(-r));
    return r;
}

static unsigned count_workers(const struct secondary *secondary)
{
    if (loop_is_simulated(secondary->seams.loop))
        return 1;
    long cores = secondary->config->workers > 0 ? (long)secondary->config->workers : sysconf(_SC_NPROCESSORS_ONLN);
    return (unsigned)MIN(MAX(cores, 1), WORKERS_MAX);
}

static void make_workers(struct secondary *secondary)
{
    secondary->worker_count = count_workers(secondary);
    secondary->workers = mem_array(secondary->worker_count, sizeof(struct worker *));
    for (unsigned i = 0; i < secondary->worker_count; i++) {
        const struct worker_options options = {.index = i,
                                               .name = secondary->config->secondary,
                                               .rules = secondary->rules,
                                               .page_bytes_max = PAGE_BYTES_MAX / secondary->worker_count,
                                               .sealed = on_sealed,
                                               .health = on_health,
                                               .arg = secondary};
        secondary->workers[i] = worker_new(&secondary->seams, &options);
    }
}

static int make_upstream(struct secondary *secondary, const struct secondary_config *config, char ret_error[static 512],
                         struct upstream **ret_upstream)
{
    char error[256] = "";
    int r = upstream_new(&secondary->seams, secondary->spool, config, error, ret_upstream);
    if (r < 0)
        snprintf(ret_error, 512, "primary.bearer_token_file: %s", error);
    return r;
}

static int open_server(struct secondary *secondary, char ret_error[static 512])
{
    const struct secondary_config *config = secondary->config;
    const struct http_server_options options = {.listen = config->listen,
                                                .connections_per_address_max = CONNECTIONS_PER_ADDRESS_MAX,
                                                .request_deadline_ms = REQUEST_DEADLINE_MS,
                                                .answer_deadline_ms = ANSWER_DEADLINE_MS};
    int r = http_server_new(secondary->seams.loop, secondary->seams.network, secondary->seams.executor, &options,
                            routes, secondary, &secondary->server);
    if (r < 0)
        snprintf(ret_error, 512, "listen %s: %s", config->listen, strerrordesc_np(-r));
    return r;
}

/* ---- Reload ---- */

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* What cannot change while running, named for the error. */
static const char *needs_restart(const struct secondary_config *old, const struct secondary_config *next)
{
    if (!same_text(old->datacenter, next->datacenter))
        return "datacenter";
    if (!same_text(old->secondary, next->secondary))
        return "secondary";
    if (!same_text(old->listen, next->listen))
        return "listen";
    if (!same_text(old->data_dir, next->data_dir))
        return "data_dir";
    if (old->workers != next->workers)
        return "workers";
    if (old->spool.bytes_max != next->spool.bytes_max || old->spool.age_max_ms != next->spool.age_max_ms)
        return "spool";
    if (old->windows.resolution_ms != next->windows.resolution_ms)
        return "windows.resolution";
    return NULL;
}

/* Windows of other rules begin where all resolutions have an end, old and new: so none overlaps another. */
static int check_rules(const struct secondary *secondary, const struct window_rules *rules, const char *path,
                       struct buf *errors)
{
    if (window_rules_equal(secondary->rules, rules))
        return 0;
    if (window_rules_period_ms(secondary->rules, rules) == INT64_MAX) {
        buf_printf(
            errors,
            "%s: this change of windows.rules needs a restart: the old resolutions and the new ones end together "
            "less than once an hour\n",
            path);
        return -EINVAL;
    }
    for (unsigned i = 0; i < secondary->worker_count; i++) {
        struct worker_stats stats;
        worker_stats(secondary->workers[i], &stats);
        if (stats.rounds.rules_total == secondary->rules_changes)
            continue;
        buf_printf(
            errors,
            "%s: the change of windows.rules before is not in force yet, as windows are still open: reload again "
            "in a minute or two\n",
            path);
        return -EINVAL;
    }
    return 0;
}

/* All workers change at one time: each aggregate is of one set of rules. A worker that is busy reads of it late. */
static void change_rules(struct secondary *secondary, struct window_rules *rules)
{
    if (window_rules_equal(secondary->rules, rules))
        return;
    window_rules_unref(secondary->rules);
    secondary->rules = window_rules_ref(rules);
    secondary->rules_changes++;
    int64_t not_before_ms = clock_wall_ms(loop_clock(secondary->seams.loop)) + RULES_NOTICE_MS;
    for (unsigned i = 0; i < secondary->worker_count; i++)
        worker_set_rules(secondary->workers[i], rules, not_before_ms);
}

/* The link changes only where it must: what is in flight would be sent again. */
static void change_upstream(struct secondary *secondary, struct upstream *next)
{
    if (upstream_equal(secondary->upstream, next)) {
        upstream_free(next);
        return;
    }
    upstream_free(secondary->upstream);
    secondary->upstream = next;
    sender_start(upstream_sender(next));
}

int secondary_reload(struct secondary *secondary, struct secondary_config *config, struct buf *errors)
{
    const char *path = secondary->config_path ? secondary->config_path : "configuration";
    const char *key = needs_restart(secondary->config, config);
    char error[512] = "";
    struct upstream *upstream = NULL;
    struct secondary_job *jobs = NULL;
    if (key) {
        buf_printf(errors, "%s: a change of %s needs a restart\n", path, key);
        return -EINVAL;
    }
    CLEANUP(window_rules_unrefp) struct window_rules *rules = windows_config_rules(&config->windows);
    int r = check_rules(secondary, rules, path, errors);
    if (r < 0)
        return r;
    r = make_upstream(secondary, config, error, &upstream);
    if (r == 0)
        r = make_jobs(secondary, config, error, &jobs);
    if (r < 0) {
        buf_printf(errors, "%s: %s\n", path, error);
        upstream_free(upstream);
        return r;
    }
    change_upstream(secondary, upstream);
    change_rules(secondary, rules);
    apply_config(secondary, config, jobs);
    return 0;
}

static int on_reload(struct daemon *daemon, struct buf *errors)
{
    struct secondary *secondary = CONTAINER_OF(daemon, struct secondary, daemon);
    CLEANUP(secondary_config_unrefp) struct secondary_config *config = NULL;
    CLEANUP_FREE char *texts = NULL;
    if (!secondary->config_path || secondary->stopped) {
        buf_append_text(errors, secondary->stopped ? "the secondary is stopping\n" : "there is no file to read\n");
        return -EINVAL;
    }
    int r =
        secondary_config_load(secondary->seams.fs, secondary->config_path, secondary->config->plugins, &config, &texts);
    if (r < 0) {
        buf_append_text(errors, texts);
        return r;
    }
    r = secondary_reload(secondary, config, errors);
    if (r == 0)
        config = NULL; /* taken over */
    return r;
}

/* ---- Stop: scrapes, then windows, then disk, then the link ---- */

static void on_drained(void *arg)
{
    struct secondary *secondary = arg;
    secondary->stopped(secondary->stopped_arg);
}

/* Waits while the primary takes what is left. */
static void on_drain_timer(void *arg)
{
    struct secondary *secondary = arg;
    struct spool_stats spool;
    struct sender_stats sender;
    int64_t left_ms = secondary->drain_until_ms - clock_mono_ms(loop_clock(secondary->seams.loop));
    spool_stats(secondary->spool, &spool);
    sender_stats(upstream_sender(secondary->upstream), &sender);
    if (spool.pending[UPSTREAM_CONSUMER] > 0 && sender.up && left_ms > 0)
        return;
    loop_timer_stop(&secondary->drain_timer);
    sender_drain(upstream_sender(secondary->upstream), MAX(left_ms, DRAIN_POLL_MS), on_drained, secondary);
}

static void on_synced(void *arg)
{
    struct secondary *secondary = arg;
    secondary->drain_until_ms = clock_mono_ms(loop_clock(secondary->seams.loop)) + DRAIN_MS;
    loop_timer_start(&secondary->drain_timer, 0, DRAIN_POLL_MS);
}

static void on_worker_stopped(void *arg)
{
    struct secondary *secondary = arg;
    if (--secondary->workers_left > 0)
        return;
    batcher_seal_aggregates(secondary->batcher);
    batcher_sync(secondary->batcher, on_synced, secondary);
}

void secondary_stop(struct secondary *secondary, loop_fn *fn, void *arg)
{
    ASSERT(!secondary->stopped);
    secondary->daemon.stopping = true;
    secondary->stopped = fn;
    secondary->stopped_arg = arg;
    discover_stop(secondary->discover);
    secondary->workers_left = secondary->worker_count;
    for (unsigned i = 0; i < secondary->worker_count; i++)
        worker_stop(secondary->workers[i], on_worker_stopped, secondary);
}

static void stop_loop(void *arg)
{
    loop_stop(arg);
}

static void on_stop(struct daemon *daemon)
{
    secondary_stop(CONTAINER_OF(daemon, struct secondary, daemon), stop_loop, daemon->loop);
}

static bool is_ready(struct daemon *daemon, struct buf *reason)
{
    const struct secondary *secondary = CONTAINER_OF(daemon, struct secondary, daemon);
    if (discover_is_ready(secondary->discover))
        return true;
    buf_append_text(reason, "not all jobs have found their targets yet");
    return false;
}

/* ---- Lifecycle ---- */

static int open_parts(struct secondary *secondary, char ret_error[static 512])
{
    const struct secondary_config *config = secondary->config;
    struct secondary_job *jobs = NULL;
    int r = make_jobs(secondary, config, ret_error, &jobs);
    if (r < 0)
        return r;
    secondary->jobs = jobs;
    secondary->job_count = config->scrape_configs.count;
    r = open_spool(secondary, ret_error);
    if (r == 0)
        r = make_upstream(secondary, config, ret_error, &secondary->upstream);
    if (r == 0)
        r = open_server(secondary, ret_error);
    if (r < 0)
        return r;
    secondary->discover = discover_new(&secondary->seams, on_discovered, secondary);
    secondary->targets = targets_new(on_target, secondary);
    secondary->rules = windows_config_rules(&config->windows);
    make_workers(secondary);
    const struct batcher_options batcher = {
        .datacenter = config->datacenter, .secondary = config->secondary, .workers = secondary->worker_count};
    secondary->batcher = batcher_new(&secondary->seams, secondary->spool, &batcher);
    return 0;
}

int secondary_new(const struct seams *seams, struct secondary_config *config, const char *config_path,
                  char ret_error[static 512], struct secondary **ret_secondary)
{
    CLEANUP(secondary_freep) struct secondary *secondary = mem_zalloc(sizeof(*secondary));
    secondary->daemon = (struct daemon){
        .loop = seams->loop, .name = "tributary-secondary", .stop = on_stop, .reload = on_reload, .ready = is_ready};
    secondary->seams = *seams;
    secondary->config = config;
    secondary->config_path = config_path ? mem_strdup(config_path) : NULL;
    secondary->tls = tls_store_new();
    secondary->started_ms = clock_wall_ms(loop_clock(seams->loop));
    loop_timer_init(&secondary->drain_timer, seams->loop, on_drain_timer, secondary);
    int r = open_parts(secondary, ret_error);
    if (r < 0) {
        secondary->config = NULL; /* stays the caller's */
        return r;
    }
    *ret_secondary = STEAL(secondary);
    return 0;
}

void secondary_start(struct secondary *secondary)
{
    struct job **jobs = mem_array(secondary->job_count, sizeof(*jobs));
    for (size_t i = 0; i < secondary->job_count; i++)
        jobs[i] = secondary->jobs[i].job;
    discover_set(secondary->discover, secondary->config, jobs);
    mem_free(jobs);
    sender_start(upstream_sender(secondary->upstream));
}

void secondary_free(struct secondary *secondary)
{
    if (!secondary)
        return;
    loop_timer_stop(&secondary->drain_timer);
    http_server_free(secondary->server);
    discover_free(secondary->discover);
    for (unsigned i = 0; i < secondary->worker_count; i++)
        worker_free(secondary->workers[i]);
    mem_free(secondary->workers);
    targets_free(secondary->targets);
    upstream_free(secondary->upstream);
    spool_close(secondary->spool);
    batcher_free(secondary->batcher);
    free_jobs(secondary->jobs, secondary->job_count);
    window_rules_unref(secondary->rules);
    tls_store_free(secondary->tls);
    secondary_config_unref(secondary->config);
    mem_free(secondary->config_path);
    mem_free(secondary);
}
