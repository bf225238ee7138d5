/* tributary discover: asks all sections of discovery as a secondary would, and shows what comes of it. */
#include "base/fail.h"
#include "base/log.h"
#include "discover_plugins.h"
#include "discover_view.h"
#include "discovery_run.h"

#include <string.h>

#define TIMEOUT_DEFAULT_MS 30000
#define TIMEOUT_MS_MAX     (3600 * INT64_C(1000))

static enum cli_exit read_timeout(const struct cli_arguments *arguments, int64_t *ret_ms)
{
    const char *text = cli_value(arguments, "timeout");
    int64_t ms = TIMEOUT_DEFAULT_MS;
    if (text && (str_to_duration_ms(str_from(text), &ms) < 0 || ms <= 0 || ms > TIMEOUT_MS_MAX)) {
        cli_error("--timeout: '%s' is no duration such as 30s", text);
        return CLI_USAGE;
    }
    *ret_ms = ms;
    return CLI_OK;
}

/* Of the configuration only this job is left; of a NULL name all are. */
static enum cli_exit choose_job(struct secondary_config *config, const char *name)
{
    struct scrape_config *jobs = config->scrape_configs.items;
    for (size_t i = 0; name && i < config->scrape_configs.count; i++) {
        if (strcmp(jobs[i].job_name, name) != 0)
            continue;
        config->scrape_configs = (struct conf_list){.items = &jobs[i], .count = 1};
        return CLI_OK;
    }
    if (!name)
        return CLI_OK;
    cli_error("--job: there is no scrape_config of the name '%s'", name);
    return CLI_USAGE;
}

/* Problems section by section, on stderr. */
static enum cli_exit complain(const struct finder *finder)
{
    struct section_report report;
    size_t at = 0, failed = 0;
    while (finder_next_report(finder, &at, &report)) {
        if (report.complete && !report.problem)
            continue;
        failed++;
        fprintf(stderr, "job %s: %s_sd_configs[%zu]: %s\n", report.job, report.plugin, report.index,
                report.problem ? report.problem : "no answer in time; a longer --timeout waits longer");
    }
    if (failed > 0)
        fprintf(stderr, "%zu of %zu sections failed\n", failed, at);
    return failed > 0 ? CLI_FAILED : CLI_OK;
}

static enum cli_exit show(const struct cli_arguments *arguments, const struct secondary_config *config,
                          const struct finder *finder)
{
    struct output output = output_of_stdout();
    CLEANUP(discover_view_done) struct discover_view view = {0};
    discover_view_init(&view, config, finder_list(finder, &(struct listing_options){.dropped_max = SIZE_MAX}));
    enum cli_exit printed = CLI_OK;
    if (cli_flag(arguments, "json"))
        printed = discover_print_json(&view, finder, &output);
    else
        discover_print(&view, &output, cli_flag(arguments, "targets-only"));
    fflush(stdout);
    enum cli_exit asked = complain(finder);
    return MAX(printed, asked);
}

static enum cli_exit discover(const struct cli_arguments *arguments)
{
    const char *path = cli_value(arguments, "config");
    int64_t timeout_ms;
    if (cli_flag(arguments, "plugins"))
        return discover_plugins(cli_value(arguments, "plugin-dir"));
    enum cli_exit exit_code = read_timeout(arguments, &timeout_ms);
    if (!path)
        cli_error("--config FILE of a secondary is needed");
    if (!path || exit_code != CLI_OK)
        return CLI_USAGE;
    CLEANUP_FREE char *plugin_dir = plugins_default_dir();
    CLEANUP(plugins_freep) struct plugins *plugins = plugins_new(plugin_dir);
    CLEANUP(secondary_config_unrefp) struct secondary_config *config = NULL;
    CLEANUP(discovery_run_freep) struct discovery_run *run = NULL;
    CLEANUP_FREE char *errors = NULL;
    log_set_level(cli_flag(arguments, "verbose") ? LOG_INFO : LOG_ERROR);
    if (secondary_config_load(file_system_real(), path, plugins, &config, &errors) < 0) {
        fputs(errors, stderr);
        return CLI_FAILED;
    }
    exit_code = choose_job(config, cli_value(arguments, "job"));
    if (exit_code == CLI_OK)
        exit_code = discovery_run_new(config, timeout_ms, &run);
    return exit_code == CLI_OK ? show(arguments, config, discovery_run_finder(run)) : exit_code;
}

const struct cli_command command_discover = {
    .name = "discover",
    .words = "",
    .purpose = "finds targets as a secondary would, and shows what relabel_configs make of them",
    .help = "Asks every section of discovery of the configuration once; nothing is scraped, and no daemon\n"
            "is asked. Of each target it prints the labels as found, what each rule changes, and the\n"
            "labels that are left; of a dropped one, which rule drops it. Rules are counted from 0.\n"
            "A section's problem is told on stderr.\n\n"
            "  tributary discover --config /etc/tributary/secondary.yaml\n"
            "  tributary discover -c secondary.yaml --job node --targets-only\n"
            "  tributary discover --plugins\n\n"
            "Exit status: 0 all sections were asked and answered, 1 one was not or has a problem, or the\n"
            "configuration is not valid; with --plugins, one cannot be used; 2 usage.\n",
    .options =
        (const struct cli_option[]){{"config", 'c', "FILE", "the secondary's configuration"},
                                    {"job", 'j', "NAME", "this scrape_config alone"},
                                    {"targets-only", 't', NULL, "a line per target to scrape, without its rules"},
                                    {"json", 0, NULL, "all of it as one object"},
                                    {"timeout", 0, "DURATION", "longest wait for answers; default 30s"},
                                    {"plugins", 'p', NULL, "the plugins there are, instead"},
                                    {"plugin-dir", 0, "DIR", "where --plugins looks; default the installation's"},
                                    {"verbose", 'v', NULL, "what discovery logs, on stderr"},
                                    {0}},
    .words_min = 0,
    .words_max = 0,
    .run = discover,
};
