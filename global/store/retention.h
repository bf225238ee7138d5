#pragma once
/* Classes of series: which class a series is of is chosen when its data is written, by rules over labels, first match
 * first; a block holds one class; expiring is deleting whole blocks. */
#include "base/buf.h"
#include "metric/selector.h"
#include "store/blocks.h"

#define RETENTION_CLASSES_MAX 32
#define RETENTION_DEFAULT     "default"

struct retention_class { /* in order of importance: the first is the most important */
    char name[BLOCK_CLASS_BYTES_MAX + 1];
    const char *match;  /* selector's text; NULL: all */
    int64_t keep_ms;    /* a block whose newest sample is older goes; > 0 */
    uint64_t bytes_max; /* of this class on disk; 0: no bound of its own */
};

/* Rules as configured: immutable, counted references, any thread. */
struct retention;
/* The last class must match all. bytes_max: of all classes together, 0: none. -EINVAL with the reason. */
MUST_CHECK int retention_new(const struct retention_class *classes, size_t count, uint64_t bytes_max,
                             char ret_error[static 256], struct retention **ret_retention);
struct retention *retention_ref(struct retention *retention);
void retention_unref(struct retention *retention); /* NULL allowed */
DEFINE_CLEANUP(struct retention *, retention_unref)
/* The same classes with the same rules, ages and sizes. */
bool retention_equal(const struct retention *a, const struct retention *b);
size_t retention_class_count(const struct retention *retention);
const struct retention_class *retention_class_at(const struct retention *retention, size_t index);
size_t retention_class_of(const struct retention *retention, const struct labels *labels);

/* What would go now: whole blocks. Past an age first; then, past a class' bytes_max, its oldest; then, past bytes_max,
 * the oldest of the least important class that has any. A block of a class that is no longer configured is of the last
 * class. */
struct retention_victim {
    const struct block_status *block; /* of the list given */
    char why[96];                     /* "older than 30d", "class bulk is past its 2GiB", "all are past 10GiB" */
};
struct retention_victims {
    struct retention_victim *items; /* mem_free */
    size_t count;
};
void retention_plan(const struct retention *retention, const struct block_status *blocks, size_t count, int64_t now_ms,
                    struct retention_victims *ret_victims);
/* Deletes what the plan says; damaged blocks take part by the class and times that are known of them. Adds to counts,
 * by class, for metrics. An error of the disk: what could not be recorded stays, and is tried by the next call. */
struct retention_counts {
    uint64_t blocks_total, bytes_total, samples_total;
};
MUST_CHECK int retention_apply(const struct retention *retention, struct blocks *blocks, int64_t now_ms,
                               struct retention_counts counts[static RETENTION_CLASSES_MAX]);
