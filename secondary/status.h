#pragma once
/* What a secondary says of itself: /metrics, /api/v1/status, /api/v1/targets. */
#include "parts.h"

#define STATUS_TARGETS_MAX 1000 /* listed one by one in /api/v1/status; the rest is counted */

void secondary_write_metrics(const struct secondary *secondary, struct buf *out);
void secondary_write_status(const struct secondary *secondary, struct buf *out);
/* As Prometheus' API has it: activeTargets and droppedTargets with what discovery says of them. */
void secondary_write_targets(const struct secondary *secondary, const struct listing *listing, struct buf *out);
