#pragma once
/* What the parts of a link say of themselves, in /metrics and in /api/v1/status: the same words in every daemon. */
#include "base/json_write.h"
#include "hop/receiver.h"
#include "hop/sender.h"

/* Sources named one by one in /metrics; more are in the status alone. */
#define REPORT_SOURCES_MAX 1000

struct report_upstream {
    const char *name, *url;
    const struct sender *sender;
};

void report_receiver_metrics(const struct receiver *receiver, struct buf *out);
/* bytes_max 0: no bound. */
void report_spool_metrics(const struct spool *spool, uint64_t bytes_max, struct buf *out);
/* Upstreams are the spool's consumers, in its order. */
void report_upstream_metrics(const struct spool *spool, const struct report_upstream *upstreams, size_t count,
                             struct buf *out);
/* Lag, skew and coverage by source. */
void report_source_metrics(const struct receiver *receiver, int64_t now_ms, struct buf *out);

/* Each writes one value. */
void report_spool_json(const struct spool *spool, uint64_t bytes_max, struct json_writer *json);
void report_upstreams_json(const struct spool *spool, const struct report_upstream *upstreams, size_t count,
                           struct json_writer *json);
void report_sources_json(const struct receiver *receiver, int64_t now_ms, struct json_writer *json);
