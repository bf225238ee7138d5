#pragma once
/* What the store says of itself, in /metrics and in /api/v1/status. On the loop. */
#include "base/json_write.h"
#include "store/store.h"

void store_report_metrics(struct store *store, struct buf *out);
/* Fields of an object that is open: head, blocks, compaction, retention, deletions. */
void store_report_json(struct store *store, struct json_writer *json);
