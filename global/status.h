#pragma once
/* What a global says of itself: /metrics and /api/v1/status. */
#include "parts.h"

void global_write_metrics(const struct global *global, struct buf *out);
void global_write_status(const struct global *global, struct buf *out);
