#pragma once
/* Private to config*.c: the keys of one scrape_config, as in prometheus.yml. */
#include "config.h"

#define SCRAPE_INTERVAL_MIN_MS 100LL
#define SCRAPE_INTERVAL_MAX_MS 3600000LL /* the longest window */
#define SCRAPE_TIMEOUT_MIN_MS  10LL

extern const struct conf_table scrape_config_table;

/* job_name is part of a target's identity: two jobs of one name would mix. */
void scrape_config_check_names(struct conf *conf, const struct conf_node *jobs, const struct scrape_config *configs,
                               size_t count);
