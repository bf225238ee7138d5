#pragma once
/* What is in force, set by the daemon's loop and read by worker threads: as JSON where that is how it is answered.
 * Private to global/api. */
#include "api/api.h"
#include "base/json_write.h"

struct settings;

struct settings *settings_new(void);
void settings_free(struct settings *settings);
void settings_set(struct settings *settings, const struct api_settings *given, int64_t now_ms);
void settings_fail(struct settings *settings); /* the last reload */

void settings_write_config(struct settings *settings, struct json_writer *json); /* {"yaml": ...} */
void settings_write_flags(struct settings *settings, struct json_writer *json);  /* {NAME: VALUE, ...} */
/* Fields of runtimeinfo. */
void settings_write_reload(struct settings *settings, struct json_writer *json);    /* reloadConfigSuccess and time */
void settings_write_retention(struct settings *settings, struct json_writer *json); /* storageRetention */
