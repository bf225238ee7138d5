#pragma once
/* A daemon's own /metrics: text exposition of counters and gauges, written when asked for. */
#include "base/buf.h"

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE };

/* # HELP and # TYPE of a family. */
void metrics_family(struct buf *out, const char *name, enum metrics_type type, const char *help);
/* One sample; labels as `a="b",c="d"` or NULL; values that come from outside go through metrics_quote first. */
void metrics_sample(struct buf *out, const char *name, const char *labels, double value);
void metrics_quote(struct buf *out, struct str value);
/* Family and one sample without labels. */
void metrics_one(struct buf *out, const char *name, enum metrics_type type, const char *help, double value);
/* process_* of this process: CPU, resident memory, open and max descriptors, start time; tributary_build_info. */
void metrics_process(struct buf *out, const char *daemon);
uint64_t metrics_process_threads(void); /* of this process, now; 0: /proc does not say */
