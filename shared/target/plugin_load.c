#include "target/plugin_load.h"

#include "base/fail.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#define PLUGINS_MAX 256 /* a configuration that names more than that names nonsense */

struct plugins {
    char *dir, *default_dir; /* NULL: none */
    const struct discovery_plugin *items[PLUGINS_MAX];
    size_t count;
};

void plugins_set_dir(struct plugins *plugins, const char *dir)
{
    const char *wanted = dir ? dir : plugins->default_dir;
    mem_free(plugins->dir);
    plugins->dir = wanted ? mem_strdup(wanted) : NULL;
}

struct plugins *plugins_new(const char *dir)
{
    struct plugins *plugins = mem_zalloc(sizeof(*plugins));
    plugins->default_dir = dir ? mem_strdup(dir) : NULL;
    plugins_set_dir(plugins, NULL);
    return plugins;
}

void plugins_free(struct plugins *plugins)
{
    if (!plugins)
        return;
    mem_free(plugins->dir);
    mem_free(plugins->default_dir);
    mem_free(plugins);
}

char *plugins_default_dir(void)
{
    char path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
    path[MAX(len, 0)] = '\0';
    char *slash = strrchr(path, '/');
    if (slash)
        *slash = '\0';
    return mem_printf("%s/../lib/tributary/discovery", slash ? path : ".");
}

void plugins_add(struct plugins *plugins, const struct discovery_plugin *plugin)
{
    ASSERT(plugins->count < PLUGINS_MAX && plugin->magic == DISCOVERY_MAGIC && plugin->abi == DISCOVERY_ABI);
    plugins->items[plugins->count++] = plugin;
}

/* Such names only, so that none leads out of the directory. */
static bool name_is_sound(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (i > 0 && (c == '_' || (c >= '0' && c <= '9')))))
            return false;
    }
    return name.len > 0 && name.len <= DISCOVERY_NAME_BYTES_MAX;
}

/* What stands before everything in each ABI is looked at first. */
static int check(const struct discovery_plugin *plugin, struct str name, const char *path, char ret_error[static 256])
{
    if (!plugin || plugin->magic != DISCOVERY_MAGIC)
        return error_text(-EINVAL, ret_error, "%s is no discovery plugin of tributary", path);
    if (plugin->abi != DISCOVERY_ABI)
        return error_text(-EINVAL, ret_error, "%s is of plugin ABI %u, and this tributary of %u: build it anew", path,
                          plugin->abi, DISCOVERY_ABI);
    if (!plugin->name || !str_equal(str_from(plugin->name), name))
        return error_text(-EINVAL, ret_error, "%s is the plugin \"%.32s\": a plugin's file is NAME.so", path,
                          plugin->name ? plugin->name : "");
    if (!plugin->config || !plugin->start || !plugin->stop)
        return error_text(-EINVAL, ret_error, "%s lacks its configuration or its functions", path);
    return 0;
}

static int load(struct plugins *plugins, struct str name, char ret_error[static 256],
                const struct discovery_plugin **ret_plugin)
{
    CLEANUP_FREE char *path = mem_printf("%s/" STR_FMT ".so", plugins->dir ? plugins->dir : "", STR_ARG(name));
    if (!plugins->dir || access(path, F_OK) < 0)
        return error_text(-ENOENT, ret_error, "there is no plugin %s", plugins->dir ? path : "of this name");
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!object)
        return error_text(-EINVAL, ret_error, "%s", dlerror());
    discovery_plugin_fn *fn = (discovery_plugin_fn *)dlsym(object, DISCOVERY_SYMBOL);
    const struct discovery_plugin *plugin = fn ? fn() : NULL;
    int r = fn ? check(plugin, name, path, ret_error)
               : error_text(-EINVAL, ret_error, "%s is no discovery plugin: it has no %s", path, DISCOVERY_SYMBOL);
    if (r < 0) {
        dlclose(object);
        return r;
    }
    *ret_plugin = plugin;
    return 0;
}

int plugins_find(struct plugins *plugins, struct str name, char ret_error[static 256],
                 const struct discovery_plugin **ret_plugin)
{
    for (size_t i = 0; i < plugins->count; i++) {
        if (str_equal(str_from(plugins->items[i]->name), name)) {
            *ret_plugin = plugins->items[i];
            return 0;
        }
    }
    if (!name_is_sound(name))
        return error_text(-ENOENT, ret_error, "no plugin has such a name");
    if (plugins->count == PLUGINS_MAX)
        return error_text(-ENOENT, ret_error, "more than %d plugins", PLUGINS_MAX);
    const struct discovery_plugin *plugin = NULL;
    int r = load(plugins, name, ret_error, &plugin);
    if (r < 0)
        return r;
    ASSERT(plugin);
    plugins_add(plugins, plugin);
    *ret_plugin = plugin;
    return 0;
}
