#pragma once
/* One series of a remote write request: its labels in the form in which the store has them, or why it is refused.
 *
 * Labels may come in any order; they are sorted. An empty value is no label. Which of them are the target's (said once
 * for all series of it, so that hosts of a fleet share the layouts of the rest): datacenter, instance, job. */
#include "write/wire.h"

#define SERIES_LABELS_MAX            64   /* of one series, as of a scrape's by default (base/limits.h) */
#define SERIES_LABEL_NAME_BYTES_MAX  1024 /* bytes */
#define SERIES_LABEL_VALUE_BYTES_MAX 4096 /* bytes */

/* Why samples are refused. */
enum refusal {
    REFUSAL_NONE,
    REFUSAL_LABELS,   /* names that are none, twice, no metric name, no UTF-8 */
    REFUSAL_TOO_LONG, /* past a limit above */
    REFUSAL_TOO_OLD,
    REFUSAL_TOO_NEW,
    REFUSAL_COUNT
};
const char *refusal_name(enum refusal refusal); /* of the metric's label */
const char *refusal_text(enum refusal refusal); /* for people */

struct series_labels {                         /* sorted by name; views of the message */
    struct label items[SERIES_LABELS_MAX + 4]; /* with what the datacenter adds */
    size_t count;
    struct str metric;
};

/* From count 0 and no metric: adds the labels one by one, as they come, then series_finish. datacenter: the label that
 * all series of the sender get, as of batches; empty: the series' own stays. */
enum refusal series_add(struct series_labels *labels, const struct label *label);
enum refusal series_finish(struct series_labels *labels, struct str datacenter);
/* All of it, of a TimeSeries message that is not malformed (its fields were gone over). */
enum refusal series_read_labels(struct str message, struct str datacenter, struct series_labels *ret_labels);
/* One of the target's. */
bool series_is_of_target(struct str label_name);
