#pragma once
/* Private to status*.c: what is told of windows, their classes and rules. */
#include "base/json_write.h"
#include "parts.h"

/* Adds what a worker holds. `decided` only of workers that go by the same rules as the last one set. */
void status_add_pipeline(struct pipeline_stats *sum, const struct pipeline_stats *stats);
void status_rules_metrics(const struct secondary *secondary, const struct rounds_stats *sum, struct buf *out);
void status_windows_json(const struct secondary *secondary, const struct rounds_stats *sum, struct json_writer *json);
void status_time_json(struct json_writer *json, const char *key, int64_t wall_ms);
