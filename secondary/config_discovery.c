#include "config_discovery.h"

#include "target/plugin_load.h"

#define SECTIONS_MAX      100 /* of one kind in one scrape_config */
#define SECTION_BYTES_MAX (1 * MIB)
#define ENDING            "_sd_configs"

void discovery_config_fill_dir(struct conf *conf, const struct conf_node *node, void *field)
{
    struct plugins *plugins = conf_context(conf);
    const char *path = conf_text(node), **dir = field;
    if (node && (!path || !path[0]))
        conf_error(conf, node, "plugin_dir: expected a path");
    *dir = path && path[0] ? conf_path(conf, path) : NULL;
    if (plugins)
        plugins_set_dir(plugins, *dir);
}

/* The section as text: which others it is equal to, and what its instance reads its own configuration from. */
static const char *text_of(struct conf *conf, const struct conf_node *node)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(SECTION_BYTES_MAX);
    conf_print_node(node, &text);
    return text.full ? NULL : arena_str(conf_arena(conf), buf_view(&text)).ptr;
}

static void fill_sections(struct conf *conf, const struct discovery_plugin *plugin, const char *key,
                          const struct conf_node *node, struct sd_section *ret_sections)
{
    const struct conf_option option = {
        .name = key, .type = CONF_LIST, .max = SECTIONS_MAX, .table = plugin->config, .help = ""};
    struct conf_list list = {0};
    conf_fill_list(conf, &option, node, &list);
    for (size_t i = 0; i < list.count; i++) {
        const struct conf_node *item = conf_child_at(node, i);
        const char *text = text_of(conf, item);
        if (!text)
            conf_error(conf, item, "%s: a section of more than %zu KiB", key, SECTION_BYTES_MAX / KIB);
        ret_sections[i] =
            (struct sd_section){.plugin = plugin,
                                .text = text ? text : "",
                                .base_dir = arena_str(conf_arena(conf), str_from(conf_base_dir(conf))).ptr,
                                .index = i,
                                .line = conf_place_of(conf, item).line};
    }
}

/* The plugin that reads a key; NULL: none, which was told. */
static const struct discovery_plugin *plugin_of(struct conf *conf, const char *key, const struct conf_node *node)
{
    struct plugins *plugins = conf_context(conf);
    const struct discovery_plugin *plugin = NULL;
    char error[256] = "discovery has no plugins here";
    struct str name = str_of(key, strlen(key) - strlen(ENDING));
    if (!plugins || plugins_find(plugins, name, error, &plugin) < 0)
        conf_error(conf, node, "%.64s: %s; targets can also be written to files, for file_sd_configs", key, error);
    return plugin;
}

void discovery_config_fill(struct conf *conf, const struct conf_node *map, void *field)
{
    struct conf_list *list = field;
    size_t count = 0, children = conf_child_count(map);
    for (size_t i = 0; i < children; i++)
        if (conf_name_fits("*" ENDING, conf_child_name(map, i)))
            count += MIN(conf_child_count(conf_child_at(map, i)), (size_t)SECTIONS_MAX);
    struct sd_section *sections = arena_array(conf_arena(conf), MAX(count, 1), sizeof(*sections));
    if (!sections)
        return;
    count = 0;
    for (size_t i = 0; i < children; i++) {
        const char *key = conf_child_name(map, i);
        const struct conf_node *node = conf_child_at(map, i);
        if (!conf_name_fits("*" ENDING, key))
            continue;
        const struct discovery_plugin *plugin = plugin_of(conf, key, node);
        size_t items = conf_child_count(node);
        if (!plugin || items > SECTIONS_MAX || conf_text(node) || conf_child_name(node, 0)) {
            if (plugin)
                conf_error(conf, node, "%s: expected a list of at most %d sections", key, SECTIONS_MAX);
            continue;
        }
        fill_sections(conf, plugin, key, node, sections + count);
        count += items;
    }
    *list = (struct conf_list){sections, count};
}
