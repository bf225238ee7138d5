/* tributary-primary: one per datacenter (or a pair). */
#include "base/fail.h"
#include "primary.h"

#include <stdio.h>

#define WORKERS     2 /* file syncs, and little else */
#define QUEUE_MAX   1024
#define DESCRIPTORS 4096 /* connections of some thousand secondaries */

static int run(const struct daemon_arguments *arguments, struct primary_config *config)
{
    CLEANUP(loop_freep) struct loop *loop = loop_new();
    struct executor *executor = executor_pool_new(WORKERS, QUEUE_MAX);
    struct random random;
    random_seed_from_system(&random);
    struct seams seams = {.loop = loop, .fs = file_system_real(), .executor = executor, .random = &random};
    struct primary *primary = NULL;
    char error[512] = "";
    if (primary_new(&seams, config, arguments->config, error, &primary) < 0) {
        log_error("%s", error);
        primary_config_free(config);
        executor_free(executor);
        return DAEMON_FAILED;
    }
    daemon_handle_signals(primary_daemon(primary));
    primary_start(primary);
    log_info("tributary-primary %s for %s listens on %s", TRIBUTARY_VERSION, config->datacenter, config->listen);
    loop_run(loop);
    primary_free(primary);
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
    if (!daemon_parse(argc, argv, "tributary-primary",
                      "takes the batches of a datacenter's secondaries, keeps them and forwards them to every global",
                      &arguments, &exit_code))
        return exit_code;
    log_set_level(arguments.log_level);
    struct primary_config *config = NULL;
    CLEANUP_FREE char *errors = NULL;
    if (primary_config_load(file_system_real(), arguments.config, &config, &errors) < 0) {
        fputs(errors, stderr);
        return DAEMON_USAGE;
    }
    if (arguments.check_config) {
        printf("%s: fine\n", arguments.config);
        primary_config_free(config);
        return DAEMON_OK;
    }
    uint64_t descriptors = daemon_raise_descriptors(DESCRIPTORS);
    if (descriptors < DESCRIPTORS)
        log_warn("only %llu open files are allowed, %d are wanted: raise the limit (ulimit -n, LimitNOFILE=)",
                 (unsigned long long)descriptors, DESCRIPTORS);
    return run(&arguments, config);
}
