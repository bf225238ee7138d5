#include "discovery_run.h"

#include "base/fail.h"

#include <signal.h>

#define LOOK_MS            50
#define FAILURES_MAX       3 /* of a section that has said nothing yet: after some three seconds it will not */
#define EXECUTOR_THREADS   2 /* read files of targets */
#define EXECUTOR_QUEUE_MAX 256

struct discovery_run {
    struct secondary_config *config;
    struct loop *loop;
    struct executor *executor;
    struct random random;
    struct tls_store *tls;
    struct job **jobs;
    struct finder *finder;
    struct loop_timer look_timer;
    int64_t until_ms;
};

/* The listing at the end has it all. */
static void on_finding(void *arg, struct finding *finding)
{
    (void)arg;
    finding_free(finding);
}

/* A section that is waited for no more: it has said what there is, or has tried often enough, or asks for nothing. */
static bool is_over(const struct section_report *report)
{
    return report->complete || (report->problem && (report->failures_total >= FAILURES_MAX || report->calls == 0));
}

static void on_look(void *arg)
{
    struct discovery_run *run = arg;
    struct section_report report;
    size_t at = 0;
    bool over = true;
    while (finder_next_report(run->finder, &at, &report))
        over = over && is_over(&report);
    if (over || clock_mono_ms(loop_clock(run->loop)) >= run->until_ms)
        loop_stop(run->loop);
}

static enum cli_exit make_jobs(struct discovery_run *run)
{
    const struct scrape_config *configs = run->config->scrape_configs.items;
    run->jobs = mem_array(run->config->scrape_configs.count, sizeof(struct job *));
    for (size_t i = 0; i < run->config->scrape_configs.count; i++) {
        char error[256] = "";
        if (job_new(file_system_real(), &configs[i], run->tls, error, &run->jobs[i]) == 0)
            continue;
        cli_error("job %s: %s", configs[i].job_name, error);
        return CLI_FAILED;
    }
    return CLI_OK;
}

static void ask_all(struct discovery_run *run, int64_t timeout_ms)
{
    const struct seams seams = {
        .loop = run->loop, .fs = file_system_real(), .executor = run->executor, .random = &run->random};
    run->until_ms = clock_mono_ms(loop_clock(run->loop)) + timeout_ms;
    run->finder = finder_new(&seams, on_finding, run);
    finder_set(run->finder, run->config, run->jobs);
    loop_timer_init(&run->look_timer, run->loop, on_look, run);
    loop_timer_start(&run->look_timer, 0, LOOK_MS);
    loop_run(run->loop);
    loop_timer_stop(&run->look_timer);
}

enum cli_exit discovery_run_new(struct secondary_config *config, int64_t timeout_ms, struct discovery_run **ret_run)
{
    CLEANUP(discovery_run_freep) struct discovery_run *run = mem_zalloc(sizeof(*run));
    run->config = config;
    run->loop = loop_new();
    run->executor = executor_pool_new(EXECUTOR_THREADS, EXECUTOR_QUEUE_MAX);
    run->tls = tls_store_new();
    random_seed_from_system(&run->random);
    signal(SIGPIPE, SIG_IGN); /* the other end of a connection may go at any time */
    enum cli_exit exit_code = make_jobs(run);
    if (exit_code != CLI_OK)
        return exit_code;
    ask_all(run, timeout_ms);
    *ret_run = STEAL(run);
    return CLI_OK;
}

void discovery_run_free(struct discovery_run *run)
{
    if (!run)
        return;
    finder_free(run->finder);
    executor_free(run->executor);
    loop_settle(run->loop); /* the last calls of reads that were under way */
    for (size_t i = 0; run->jobs && i < run->config->scrape_configs.count; i++)
        job_unref(run->jobs[i]);
    mem_free(run->jobs);
    tls_store_free(run->tls);
    loop_free(run->loop);
    mem_free(run);
}

const struct finder *discovery_run_finder(const struct discovery_run *run)
{
    return run->finder;
}
