/* tributary check-config: reads a configuration as its daemon would. */
#include "base/fail.h"
#include "base/file.h"
#include "cli.h"
#include "global/config.h"
#include "primary/config.h"
#include "secondary/config.h"

#include <string.h>

/* ---- The three daemons' readers, behind one face ---- */

static int check_secondary(const char *path, char **ret_errors)
{
    CLEANUP(secondary_config_unrefp) struct secondary_config *config = NULL;
    CLEANUP_FREE char *plugin_dir = plugins_default_dir();
    CLEANUP(plugins_freep) struct plugins *plugins = plugins_new(plugin_dir);
    return secondary_config_load(file_system_real(), path, plugins, &config, ret_errors);
}

static int check_primary(const char *path, char **ret_errors)
{
    CLEANUP(primary_config_freep) struct primary_config *config = NULL;
    return primary_config_load(file_system_real(), path, &config, ret_errors);
}

static int check_global(const char *path, char **ret_errors)
{
    CLEANUP(global_config_freep) struct global_config *config = NULL;
    return global_config_load(file_system_real(), path, &config, ret_errors);
}

static const struct daemon_kind {
    const char *name;
    int (*check)(const char *path, char **ret_errors);
    const char *keys[9]; /* that only its configuration has at the top */
} kinds[] = {
    {"secondary",
     check_secondary,
     {"secondary", "primary", "scrape_configs", "windows", "workers", "plugin_dir", "global"}},
    {"primary", check_primary, {"globals"}},
    {"global", check_global, {"name", "acting", "retention", "archive", "query", "head", "rules_database"}},
};

/* ---- Which one it is ---- */

static bool has_key(struct str text, const char *key)
{
    size_t len = strlen(key);
    while (text.len > 0) {
        size_t end = str_find(text, '\n');
        if (end > len && memcmp(text.ptr, key, len) == 0 && text.ptr[len] == ':')
            return true;
        size_t taken = MIN(end + 1, text.len);
        text = str_of(text.ptr + taken, text.len - taken);
    }
    return false;
}

/* The kind most of whose own keys begin a line; NULL: none, or two have as many. */
static const struct daemon_kind *recognise(struct str text)
{
    const struct daemon_kind *best = NULL;
    size_t best_count = 0;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        size_t count = 0;
        for (size_t j = 0; kinds[i].keys[j]; j++)
            count += has_key(text, kinds[i].keys[j]);
        if (count > 0 && count == best_count)
            best = NULL;
        if (count > best_count)
            best = &kinds[i];
        best_count = MAX(best_count, count);
    }
    return best;
}

static const struct daemon_kind *kind_by_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    cli_error("--daemon: '%s' is none of secondary, primary, global", name);
    return NULL;
}

static const struct daemon_kind *kind_of_file(const char *path, enum cli_exit *ret_exit)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(CONF_FILE_BYTES_MAX);
    int result = file_read_whole(file_system_real(), path, &text);
    *ret_exit = CLI_FAILED;
    if (result < 0) {
        cli_error("%s: %s", path, strerror(-result));
        return NULL;
    }
    const struct daemon_kind *kind = recognise(buf_view(&text));
    if (!kind) {
        cli_error("%s: not clear which daemon's it is: say --daemon secondary, primary or global", path);
        *ret_exit = CLI_USAGE;
    }
    return kind;
}

static enum cli_exit check_file(const char *path, const struct daemon_kind *kind)
{
    enum cli_exit exit_code = CLI_OK;
    if (!kind)
        kind = kind_of_file(path, &exit_code);
    if (!kind)
        return exit_code;
    CLEANUP_FREE char *errors = NULL;
    if (kind->check(path, &errors) < 0) {
        fputs(errors, stderr);
        return CLI_FAILED;
    }
    printf("%s: a valid configuration of a %s\n", path, kind->name);
    return CLI_OK;
}

static enum cli_exit check_config(const struct cli_arguments *arguments)
{
    const char *name = cli_value(arguments, "daemon");
    const struct daemon_kind *kind = name ? kind_by_name(name) : NULL;
    if (name && !kind)
        return CLI_USAGE;
    enum cli_exit worst = CLI_OK;
    for (int i = 0; i < arguments->word_count; i++) {
        enum cli_exit exit_code = check_file(arguments->words[i], kind);
        worst = MAX(worst, exit_code);
    }
    return worst;
}

const struct cli_command command_check_config = {
    .name = "check-config",
    .words = "FILE...",
    .purpose = "checks configuration files as their daemons would, without starting them",
    .help = "All errors are told at once, as FILE:LINE:COLUMN: what is wrong.\n\n"
            "  tributary check-config conf/*.yaml\n\n"
            "Exit status: 0 valid, 1 not valid or not readable, 2 usage.\n",
    .options = (const struct cli_option[]){{"daemon", 'd', "NAME",
                                            "whose configuration it is: secondary, primary or global;\n"
                                            "by default its keys tell"},
                                           {0}},
    .words_min = 1,
    .words_max = CLI_WORDS_MAX,
    .run = check_config,
};
