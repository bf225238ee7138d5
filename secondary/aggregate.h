#pragma once
/* Aggregates of one window in the making: per metric name and values of the labels that stay, what the members came to.
 * Workers make parts of it, the main loop merges them; in whatever order, the result is the same. */
#include "base/map.h"
#include "metric/labels.h"
#include "metric/sample.h"

/* Of the groups of one window, so that four series each fit into one page of layouts. What is past them is folded into
 * nothing and told. */
#define AGGREGATE_GROUPS_MAX     50000
#define AGGREGATE_METRICS_MAX    16000     /* names: four families each, of 65,536 that a batch may name */
#define AGGREGATE_BYTES_MAX      (4 * MIB) /* of their labels: a family's layout has at most 8 MiB */
#define AGGREGATE_NAME_BYTES_MAX (LABEL_NAME_BYTES_MAX - 8) /* with a suffix it is a family's name */

struct aggregate_cell {    /* a group */
    struct labels *labels; /* __name__ of the metric, the labels that stay, le and quantile */
    enum series_kind kind;
    double sum;                /* gauges: of last values; counters: of increases in the window */
    double min, max;           /* gauges; NaN apart unless all are */
    uint64_t members;          /* series that had a value */
    uint32_t count;            /* scrapes of the member that had most */
    int64_t first_ms, last_ms; /* scrapes of members */
};

struct aggregate {
    struct map cells;   /* struct aggregate_cell, by their labels */
    struct map metrics; /* names of metrics, by hash: only which there are */
    size_t label_bytes;
    uint64_t folded;  /* series taken in */
    uint64_t refused; /* series past one of the ceilings, or a gauge among counters of the same name */
};

struct aggregate *aggregate_new(void);
void aggregate_free(struct aggregate *aggregate); /* NULL allowed */
DEFINE_CLEANUP(struct aggregate *, aggregate_free)

/* Which group: a value for each name, empty: none. names are those that a rule lets stand, and the three above. */
struct aggregate_key {
    const struct str *names;
    const struct str *values;
    size_t count;
};
/* Adds what `cell` says (its labels are not read). */
void aggregate_add(struct aggregate *aggregate, const struct aggregate_key *key, const struct aggregate_cell *cell);
/* The group of these labels, or NULL. */
struct aggregate_cell *aggregate_find(const struct aggregate *aggregate, const struct labels *labels);
/* Adds all of `part`. */
void aggregate_merge(struct aggregate *aggregate, const struct aggregate *part);
