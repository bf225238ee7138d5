#include "discover_plugins.h"

#include "base/fail.h"
#include "base/file.h"
#include "table.h"
#include "target/plugin_load.h"

#include <string.h>

static const struct table_column columns[] = {
    {.title = "SECTIONS"}, {.title = "VERSION"}, {.title = "ABOUT", .wraps = true}};

/* False: it cannot be used. */
static bool add_plugin(struct table *table, struct plugins *plugins, struct str name)
{
    const struct discovery_plugin *plugin = NULL;
    char error[256];
    if (plugins_find(plugins, name, error, &plugin) < 0) {
        cli_error("%s", error);
        return false;
    }
    CLEANUP_FREE char *sections = mem_printf(STR_FMT "_sd_configs", STR_ARG(name));
    table_cell(table, str_from(sections));
    table_cell(table, str_from(plugin->version));
    table_cell(table, str_from(plugin->about));
    return true;
}

enum cli_exit discover_plugins(const char *dir)
{
    CLEANUP_FREE char *default_dir = plugins_default_dir();
    CLEANUP(table_freep) struct table *table = table_new(columns, ARRAY_LEN(columns));
    const struct output output = output_of_stdout();
    const struct str ending = STR(".so");
    char **names;
    size_t count, failed = 0;
    dir = dir ? dir : default_dir;
    int r = file_list(file_system_real(), dir, &names, &count);
    if (r < 0) {
        cli_error("%s: %s", dir, strerror(-r));
        return CLI_FAILED;
    }
    CLEANUP(plugins_freep) struct plugins *plugins = plugins_new(dir);
    for (size_t i = 0; i < count; i++) {
        struct str name = str_from(names[i]);
        if (str_ends_with(name, ending))
            failed += !add_plugin(table, plugins, str_of(name.ptr, name.len - ending.len));
    }
    file_names_free(names, count);
    table_print(table, &output, "");
    return failed > 0 ? CLI_FAILED : CLI_OK;
}
