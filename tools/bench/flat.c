#include "flat.h"
#include "base/fail.h"
#include "base/log.h"
#include "hop/layout_table.h"
#include "net/http_server.h"
#include "net/seams.h"
#include "rig.h"
#include "secondary/config.h"
#include "secondary/rounds.h"

#include <stdio.h>
#include <string.h>

#define CONFIG_PATH   "/tributary.yaml"
#define LAYOUTS_BYTES (1 * GIB)

struct exporter {
    struct world *world;
    uint32_t host;
    struct http_server *server;
    struct target *target;
};

/* A secondary's timetable and what is around it. */
struct world {
    const struct flat_options *options;
    struct clock *clock;
    struct loop *loop;
    struct network *network;
    struct file_system *fs;
    struct tls_store *tls;
    struct secondary_config *config;
    struct rounds *rounds;
    struct exporter *exporters;
    struct layout_table *layouts;
    struct buf batch;
    uint64_t seq;
    bool counting;
    struct flat *flat;
};

static struct flat_second *second_of(struct world *world)
{
    return &world->flat->seconds[clock_wall_ms(world->clock) / 1000 % FLAT_WINDOW_S];
}

static void answer(void *context, struct http_exchange *exchange)
{
    static char page[PAGE_BYTES_MAX];
    struct exporter *exporter = context;
    struct world *world = exporter->world;
    double now = (double)clock_wall_ms(world->clock) / 1000;
    size_t len = page_source_render(world->options->source, exporter->host, now, page);
    struct buf body = BUF_INIT(PAGE_BYTES_MAX);
    ASSERT(buf_append(&body, page, len) == 0);
    second_of(world)->scrapes += world->counting;
    http_exchange_answer(exchange, 200, "text/plain; version=0.0.4", &body);
    buf_done(&body);
}

static void on_sealed(void *arg, const struct pipeline_sealed *sealed, int64_t closed_through_ms)
{
    struct world *world = arg;
    struct batch_writer *writer = sealed->writer;
    struct envelope envelope = {.source = {STR("dc1"), STR("s1"), 1},
                                .epoch = 1,
                                .seq = ++world->seq,
                                .window_start_ms = sealed->window_start_ms,
                                .resolution_ms = sealed->resolution_ms,
                                .span_ms = sealed->span_ms,
                                .closed_through_ms = closed_through_ms,
                                .targets_expected = sealed->targets_expected,
                                .targets_answered = sealed->targets_answered};
    buf_reset(&world->batch);
    ASSERT(batch_writer_finish(writer, &envelope, world->layouts, &world->batch) == 0);
    second_of(world)->parts += world->counting;
    second_of(world)->bytes += world->counting ? world->batch.len : 0;
    world->flat->records += world->counting ? batch_writer_records(writer) : 0;
    batch_writer_release(writer, world->layouts);
    batch_writer_free(writer);
}

static void on_health(void *arg, struct target *target, enum scrape_failure failure, const char *reason)
{
    (void)arg;
    if (failure != SCRAPE_OK)
        fatal("%s: %s", target->address, reason);
}

/* ---- The world ---- */

static void load_config(struct world *world)
{
    char *errors = NULL;
    CLEANUP_FREE char *text =
        mem_printf("datacenter: dc1\nsecondary: s1\ndata_dir: /d\nprimary: {urls: ['http://p:1']}\n"
                   "windows: {resolution: %ds}\nscrape_configs:\n- {job_name: node, scrape_interval: %ds}\n",
                   FLAT_WINDOW_S, world->options->interval_s);
    if (file_write_whole(world->fs, CONFIG_PATH, text, strlen(text)) < 0 ||
        secondary_config_load(world->fs, CONFIG_PATH, NULL, &world->config, &errors) < 0)
        fatal("%s", errors ? errors : "the configuration cannot be written");
}

/* A host that answers, and the target that asks it. */
static void add_exporter(struct world *world, struct job *job, uint32_t host)
{
    static const struct http_route routes[] = {{"GET", "/metrics", answer, 0, 0}, {0}};
    struct exporter *exporter = &world->exporters[host];
    char address[32], error[256];
    snprintf(address, sizeof(address), "host-%u:9100", host);
    const struct http_server_options server = {.listen = address, .answer_deadline_ms = 3600000};
    const struct target_source source = {
        .config = world->config->scrape_configs.items, .job = job, .interval_max_ms = RIG_WINDOW_MS};
    const struct target_found found = {.address = str_from(address)};
    exporter->world = world;
    exporter->host = host;
    if (http_server_new(world->loop, world->network, NULL, &server, routes, exporter, &exporter->server) < 0)
        fatal("%s: the simulated server does not start", address);
    if (target_make(&source, &found, error, &exporter->target, NULL) != 1)
        fatal("%s: %s", address, error);
    rounds_add(world->rounds, exporter->target);
}

static void add_exporters(struct world *world)
{
    char error[256];
    struct job *job;
    if (job_new(world->fs, world->config->scrape_configs.items, world->tls, error, &job) < 0)
        fatal("%s", error);
    uint32_t hosts = page_source_hosts(world->options->source);
    world->exporters = mem_array(hosts, sizeof(struct exporter));
    for (uint32_t i = 0; i < hosts; i++)
        add_exporter(world, job, i);
    job_unref(job);
}

static void world_start(struct world *world)
{
    log_set_level(LOG_ERROR);
    world->clock = clock_simulated_new(RIG_START_MS);
    world->loop = loop_simulated_new(world->clock);
    world->network = network_simulated_new(world->loop, 1);
    world->fs = file_system_memory_new(0);
    world->tls = tls_store_new();
    world->layouts = layout_table_new(LAYOUTS_BYTES, LAYOUTS_BYTES);
    buf_init(&world->batch, BATCH_BYTES_MAX);
    load_config(world);
    CLEANUP(window_rules_unrefp) struct window_rules *rules = rig_rules(RIG_WINDOW_MS, false);
    const struct rounds_options options = {.loop = world->loop,
                                           .network = world->network,
                                           .name = "s1",
                                           .rules = rules,
                                           .page_bytes_max = 1 * GIB,
                                           .sealed = on_sealed,
                                           .health = on_health,
                                           .arg = world};
    world->rounds = rounds_new(&options);
    add_exporters(world);
}

static void world_stop(struct world *world)
{
    rounds_free(world->rounds);
    for (uint32_t i = 0; i < page_source_hosts(world->options->source); i++) {
        http_server_free(world->exporters[i].server);
        target_unref(world->exporters[i].target);
    }
    mem_free(world->exporters);
    secondary_config_unref(world->config);
    loop_settle(world->loop);
    network_free(world->network);
    loop_free(world->loop);
    tls_store_free(world->tls);
    file_system_free(world->fs);
    layout_table_free(world->layouts);
    buf_done(&world->batch);
    clock_free(world->clock);
}

/* ---- The run ---- */

void flat_run(const struct flat_options *options, struct flat *ret_flat)
{
    ASSERT(FLAT_WINDOW_S % options->interval_s == 0 && options->windows <= FLAT_WINDOWS_MAX);
    struct world world = {.options = options, .flat = ret_flat};
    *ret_flat = (struct flat){.windows = options->windows};
    world_start(&world);
    loop_advance(world.loop, RIG_WINDOW_MS + RIG_WINDOW_MS / 2); /* the first window is out */
    world.counting = true;
    loop_advance(world.loop, options->windows * RIG_WINDOW_MS);
    struct rounds_stats stats;
    rounds_stats(world.rounds, &stats);
    ret_flat->windows_split = stats.split_total;
    ret_flat->scrapes_late = stats.late_total;
    world_stop(&world);
}

struct flat_load flat_load_of(const struct flat *flat, size_t of)
{
    struct flat_load load = {0};
    double sum = 0;
    for (int i = 0; i < FLAT_WINDOW_S; i++) {
        double value = (double)*(const uint64_t *)(const void *)((const char *)&flat->seconds[i] + of) / flat->windows;
        sum += value;
        load.max = MAX(load.max, value);
        load.busy_seconds += value > 0;
    }
    load.mean = sum / FLAT_WINDOW_S;
    load.max_over_mean = sum > 0 ? load.max / load.mean : 0;
    load.busy_max_over_mean = sum > 0 ? load.max / (sum / load.busy_seconds) : 0;
    return load;
}
