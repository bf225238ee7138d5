#pragma once
/* Private to status*.c: what is told of discovery's sections, and of targets one by one. */
#include "base/json_write.h"
#include "parts.h"

void status_discovery_metrics(const struct secondary *secondary, struct buf *out);
void status_discovery_json(const struct secondary *secondary, struct json_writer *json);
/* One active target as Prometheus' API has it; item NULL: without what discovery says of it. */
void status_target_json(struct json_writer *json, const struct target *target, const struct listing_item *item);
