#pragma once
/* For tests: a simulated world around the parts of a secondary: time, files, network, exporters that answer or do not.
 * Each test is one program, so all of it is here. */
#include "base/fail.h"
#include "base/log.h"
#include "net/http_server.h"
#include "net/seams.h"
#include "secondary/config.h"
#include "secondary/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define WORLD_START_MS  INT64_C(1700000040000) /* a whole minute */
#define WORLD_EXPORTERS 512

extern const struct discovery_plugin discovery_file;

enum exporter_mode { EXPORTER_ANSWERS, EXPORTER_HANGS, EXPORTER_FAILS };

struct exporter {
    struct world *world;
    struct http_server *server;
    char address[64];
    enum exporter_mode mode;
    unsigned scrapes;
    int64_t last_ms; /* wall time of the last scrape */
    char authorization[128];
    char timeout[32];
};

struct world {
    struct clock *clock;
    struct loop *loop;
    struct network *network;
    struct file_system *fs;
    struct executor *executor;
    struct random random;
    struct seams seams;
    struct tls_store *tls;
    struct plugins *plugins; /* file; tests add theirs */
    struct exporter *exporters[WORLD_EXPORTERS];
    size_t exporter_count;
    struct http_exchange *held[WORLD_EXPORTERS]; /* of exporters that hang */
    size_t held_count;
};

static inline void world_init(struct world *world)
{
    *world = (struct world){.clock = clock_simulated_new(WORLD_START_MS)};
    log_set_level(LOG_ERROR);
    world->loop = loop_simulated_new(world->clock);
    world->network = network_simulated_new(world->loop, 1);
    world->fs = file_system_memory_new(0);
    world->executor = executor_inline_new();
    world->tls = tls_store_new();
    world->plugins = plugins_new(NULL);
    plugins_add(world->plugins, &discovery_file);
    random_seed(&world->random, 7);
    world->seams = (struct seams){world->loop, world->fs, world->executor, world->network, &world->random};
}

/* Exporters that hang give their answers back, unseen. */
static inline void world_release(struct world *world)
{
    for (size_t i = 0; i < world->held_count; i++)
        http_exchange_answer_text(world->held[i], 503, "too late\n");
    world->held_count = 0;
}

static inline void world_done(struct world *world)
{
    for (size_t i = 0; i < world->exporter_count; i++) {
        http_server_free(world->exporters[i]->server);
    }
    world_release(world);
    for (size_t i = 0; i < world->exporter_count; i++)
        mem_free(world->exporters[i]);
    executor_free(world->executor);
    loop_settle(world->loop);
    network_free(world->network);
    loop_free(world->loop);
    tls_store_free(world->tls);
    plugins_free(world->plugins);
    file_system_free(world->fs);
    clock_free(world->clock);
}

static inline int64_t world_now_ms(const struct world *world)
{
    return clock_wall_ms(world->clock);
}

static inline void world_write(struct world *world, const char *path, const char *text)
{
    assert_int_equal(file_write_whole(world->fs, path, text, strlen(text)), 0);
}

/* ---- Exporters ---- */

static inline void exporter_serve(void *context, struct http_exchange *exchange)
{
    struct exporter *exporter = context;
    struct str authorization = http_exchange_header(exchange, "Authorization");
    struct str timeout = http_exchange_header(exchange, "X-Prometheus-Scrape-Timeout-Seconds");
    exporter->scrapes++;
    exporter->last_ms = world_now_ms(exporter->world);
    snprintf(exporter->authorization, sizeof(exporter->authorization), STR_FMT, STR_ARG(authorization));
    snprintf(exporter->timeout, sizeof(exporter->timeout), STR_FMT, STR_ARG(timeout));
    if (exporter->mode == EXPORTER_HANGS) {
        assert_true(exporter->world->held_count < WORLD_EXPORTERS);
        exporter->world->held[exporter->world->held_count++] = exchange;
    } else if (exporter->mode == EXPORTER_FAILS) {
        http_exchange_answer_text(exchange, 500, "broken\n");
    } else {
        http_exchange_answer_text(exchange, 200,
                                  "# TYPE work_total counter\nwork_total %u\n# TYPE heat gauge\nheat %u\n",
                                  exporter->scrapes, exporter->scrapes % 7);
    }
}

static inline struct exporter *world_exporter(struct world *world, const char *address)
{
    static const struct http_route routes[] = {{"GET", "/metrics", exporter_serve, 0, 0}, {0}};
    struct exporter *exporter = mem_zalloc(sizeof(*exporter));
    assert_true(world->exporter_count < WORLD_EXPORTERS);
    exporter->world = world;
    snprintf(exporter->address, sizeof(exporter->address), "%s", address);
    const struct http_server_options options = {.listen = exporter->address, .answer_deadline_ms = 3600000};
    assert_int_equal(http_server_new(world->loop, world->network, NULL, &options, routes, exporter, &exporter->server),
                     0);
    world->exporters[world->exporter_count++] = exporter;
    return exporter;
}

/* ---- Configuration ---- */

static inline struct secondary_config *world_config(struct world *world, const char *text)
{
    struct secondary_config *config = NULL;
    char *errors = NULL;
    world_write(world, "/etc-tributary.yaml", text);
    if (secondary_config_load(world->fs, "/etc-tributary.yaml", world->plugins, &config, &errors) < 0)
        fail_msg("%s", errors);
    return config;
}

/* A target of the first job. */
static inline struct target *world_target(struct world *world, const struct secondary_config *config,
                                          const char *address)
{
    char error[256] = "";
    struct target *target = NULL;
    struct target_source source = {.config = config->scrape_configs.items,
                                   .interval_max_ms = config->windows.resolution_ms};
    const struct target_found found = {.address = str_from(address)};
    if (job_new(world->fs, source.config, world->tls, error, &source.job) < 0)
        fail_msg("%s", error);
    if (target_make(&source, &found, error, &target, NULL) != 1)
        fail_msg("%s", error);
    job_unref(source.job);
    return target;
}
