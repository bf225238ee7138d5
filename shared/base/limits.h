#pragma once
/* Ceilings that several parts share: each with its unit and the reason for its height. A ceiling that one module alone
 * needs stands in that module's header. */
#include "base/defs.h"

/* Defaults of scrape_configs, finite where Prometheus' are not: one hostile exporter must not fill an index. What a
 * label set can hold at all is in metric/labels.h. */
#define SCRAPE_LABEL_NAME_BYTES_MAX  1024       /* bytes; also of a metric's name */
#define SCRAPE_LABEL_VALUE_BYTES_MAX 4096       /* bytes; container image names with digests reach some 300 */
#define SCRAPE_LABELS_MAX            64         /* labels of one series; the widest of Kubernetes' reach half of it */
#define SCRAPE_BODY_BYTES_MAX        (64 * MIB) /* bytes of one answer; kube-state-metrics reaches some 40 MiB */
#define SCRAPE_SAMPLES_MAX           1000000    /* samples of one answer; above it one target is a fleet */

/* HTTP, where no narrower limit is given. */
#define HTTP_BODY_BYTES_MAX (16 * MIB) /* bytes of a request's or an answer's body held in memory */
#define URL_BYTES_MAX       8192       /* bytes; what proxies commonly pass on */
