#pragma once
/* Private to config*.c: sections NAME_sd_configs of a scrape_config, each by the table of its plugin. The context of
 * the reading is a struct plugins, or NULL: then there are none. */
#include "config.h"

/* Of a scrape_config: all keys that end with _sd_configs, into a conf_list of struct sd_section. */
void discovery_config_fill(struct conf *conf, const struct conf_node *map, void *field);
/* Of the whole configuration: where plugins are. Must be filled before them. */
void discovery_config_fill_dir(struct conf *conf, const struct conf_node *node, void *field);
