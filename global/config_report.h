#pragma once
/* What the API tells of the configuration in force: its text, and what a Prometheus would have as flags. */
#include "api/api.h"
#include "config.h"

/* config_path NULL: it came from no file. */
void config_report(struct api *api, const struct global_config *config, const char *config_path);
