#pragma once
/* Who is scraped when, and when a window is closed: the timetable of one worker, on one loop, without threads.
 *
 * Time goes by beats: the finest resolution in use, of which all others are multiples; "window" says the beat's here,
 * and the pipeline closes the longer ones that end with it. Targets of one interval stand in groups by their phase. A
 * target is done with its window when its next scrape is due behind the window's end and none is in flight; a group's
 * window is closed when all its targets are done, so that a whole window leaves right after its last scrape, group by
 * group: no burst on the minute. A target whose scrape hangs holds up its group until another of the group is due
 * again, at most; then the group goes without it, and it follows alone.
 *
 * Groups are made of at least some hundred targets, because small batches cost bytes; they change only when the number
 * of targets does, so that their target lists stay the same from window to window. */
#include "hop/batch.h"
#include "net/http_client.h"
#include "target.h"

#define ROUNDS_GROUPS_MAX    64  /* per interval */
#define ROUNDS_GROUP_TARGETS 100 /* wanted in a group */
#define ROUNDS_SHARDS        64  /* of the HTTP client, by phase: 20 to 100 were measured as good */

struct rounds;

/* Owns what sealed owns. closed_through_ms: all windows that end by then, of every resolution, are sealed with this
 * part. A part of nothing only says so. */
typedef void rounds_sealed_fn(void *arg, const struct pipeline_sealed *sealed, int64_t closed_through_ms);
/* A target's state changed, or the reason it is down for. */
typedef void rounds_health_fn(void *arg, struct target *target, enum scrape_failure failure, const char *reason);

struct rounds_options {
    struct loop *loop;
    struct network *network;    /* NULL: the real one */
    const char *name;           /* of this end of simulated links */
    struct window_rules *rules; /* a reference is taken */
    uint64_t page_bytes_max;
    rounds_sealed_fn *sealed;
    rounds_health_fn *health;
    void *arg;
};

struct rounds *rounds_new(const struct rounds_options *options);
void rounds_free(struct rounds *rounds); /* without sealing */
DEFINE_CLEANUP(struct rounds *, rounds_free)

void rounds_add(struct rounds *rounds, struct target *target); /* takes a reference */
/* Its series get stale markers, and one more says why; what its window holds still leaves. */
void rounds_remove(struct rounds *rounds, struct target *target, enum target_end end);
/* From its next scrape on it is fetched by this job (new secrets, for instance). */
void rounds_set_job(struct rounds *rounds, struct target *target, struct job *job);
/* Other rules, from the next time after not_before_ms (and after now) on that all resolutions divide, old and new.
 * False: the change before is not in force yet. */
MUST_CHECK bool rounds_set_rules(struct rounds *rounds, struct window_rules *rules, int64_t not_before_ms);
/* At the end: no more scrapes, and what open windows hold leaves as it is, without claiming that they are whole. */
void rounds_seal_all(struct rounds *rounds);

struct rounds_stats {
    struct pipeline_stats pipeline;
    uint64_t outcomes_total[SCRAPE_FAILURE_COUNT]; /* scrapes by how they ended */
    uint64_t skipped_total;                        /* due times that passed while the worker was stalled */
    uint64_t late_total;                           /* scrapes that began too late for their due time */
    uint64_t split_total;                          /* groups closed without a target that hung */
    uint64_t windows_total;                        /* group windows closed */
    uint64_t targets, groups, in_flight;
    int64_t closed_through_ms;
    int64_t beat_ms;
    int64_t rules_from_ms; /* when the rules set last are in force; 0: they are */
    uint64_t rules_total;  /* changes of rules that are in force everywhere */
};
void rounds_stats(struct rounds *rounds, struct rounds_stats *ret_stats);
