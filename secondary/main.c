/* tributary-secondary: scrapes what is near, pushes to its primary. */
#include "base/fail.h"
#include "secondary.h"

#include <stdio.h>

#define EXECUTOR_THREADS   2 /* file syncs, files of targets */
#define QUEUE_MAX          1024
#define DESCRIPTORS_OWN    1024  /* server, spool, link */
#define DESCRIPTORS_WANTED 65536 /* a connection per target is kept */

static size_t count_static_targets(const struct secondary_config *config)
{
    const struct scrape_config *jobs = config->scrape_configs.items;
    size_t count = 0;
    for (size_t i = 0; i < config->scrape_configs.count; i++) {
        const struct static_config *groups = jobs[i].static_configs.items;
        for (size_t j = 0; j < jobs[i].static_configs.count; j++)
            count += groups[j].targets.count;
    }
    return count;
}

/* A connection per target: too few descriptors would fail scrapes later, one by one and hard to understand. */
static bool have_descriptors(const struct secondary_config *config)
{
    uint64_t need = DESCRIPTORS_OWN + count_static_targets(config);
    uint64_t have = daemon_raise_descriptors(MAX(need, DESCRIPTORS_WANTED));
    if (have >= need)
        return true;
    log_error("%llu open files are needed for the targets configured, only %llu are allowed: raise the limit "
              "(ulimit -n, LimitNOFILE=)",
              (unsigned long long)need, (unsigned long long)have);
    return false;
}

static int run(const struct daemon_arguments *arguments, struct secondary_config *config)
{
    CLEANUP(loop_freep) struct loop *loop = loop_new();
    struct executor *executor = executor_pool_new(EXECUTOR_THREADS, QUEUE_MAX);
    struct random random;
    random_seed_from_system(&random);
    const struct seams seams = {.loop = loop, .fs = file_system_real(), .executor = executor, .random = &random};
    struct secondary *secondary = NULL;
    char error[512] = "";
    if (secondary_new(&seams, config, arguments->config, error, &secondary) < 0) {
        log_error("%s", error);
        secondary_config_unref(config);
        executor_free(executor);
        return DAEMON_FAILED;
    }
    daemon_handle_signals(secondary_daemon(secondary));
    secondary_start(secondary);
    log_info("tributary-secondary %s %s/%s listens on %s", TRIBUTARY_VERSION, config->datacenter, config->secondary,
             config->listen);
    loop_run(loop);
    secondary_free(secondary);
    executor_free(executor);
    loop_settle(loop); /* the last calls of work that was under way */
    log_info("stopped");
    return DAEMON_OK;
}

int main(int argc, char **argv)
{
    struct daemon_arguments arguments;
    int exit_code;
    daemon_seed_hashes();
    if (!daemon_parse(argc, argv, "tributary-secondary",
                      "scrapes targets, keeps windows of their samples and pushes these to its primary", &arguments,
                      &exit_code))
        return exit_code;
    log_set_level(arguments.log_level);
    struct secondary_config *config = NULL;
    CLEANUP_FREE char *plugin_dir = plugins_default_dir();
    CLEANUP(plugins_freep) struct plugins *plugins = plugins_new(plugin_dir);
    CLEANUP_FREE char *errors = NULL;
    if (secondary_config_load(file_system_real(), arguments.config, plugins, &config, &errors) < 0) {
        fputs(errors, stderr);
        return DAEMON_USAGE;
    }
    if (arguments.check_config) {
        printf("%s: fine\n", arguments.config);
        secondary_config_unref(config);
        return DAEMON_OK;
    }
    if (!have_descriptors(config)) {
        secondary_config_unref(config);
        return DAEMON_FAILED;
    }
    return run(&arguments, config);
}
