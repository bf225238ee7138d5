#pragma once
/* What a primary says of itself: /metrics and /api/v1/status. */
#include "parts.h"

void primary_write_metrics(const struct primary *primary, struct buf *out);
void primary_write_status(const struct primary *primary, struct buf *out);
