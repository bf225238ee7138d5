#pragma once
/* Where targets come from: static_configs, and files that are looked at again every few seconds. A job's targets are
 * handed over whole, whenever its sources say something new. A file that can't be read or understood keeps what it last
 * said; one that is gone says nothing any more, as in Prometheus. Files are read on the executor, all else is on the
 * loop. */
#include "net/seams.h"
#include "target.h"

/* Files are read again this often, or every refresh_interval where that is shorter; only changed bytes are looked into.
 */
#define DISCOVER_POLL_MS   5000
#define DISCOVER_FILES_MAX 1000 /* of one file_sd_config: what a directory of small files may hold */

struct discover;

struct discovered {
    struct job *job; /* borrowed during the call, as the targets are */
    struct target **targets;
    size_t count;
    uint64_t dropped;        /* by relabel_configs */
    uint64_t invalid;        /* could not be made a target */
    const char *first_error; /* of the invalid ones */
};
typedef void discover_fn(void *arg, const struct discovered *found);

struct discover *discover_new(const struct seams *seams, discover_fn *fn, void *arg);
void discover_free(struct discover *discover);
DEFINE_CLEANUP(struct discover *, discover_free)

/* From now on by this configuration, which must outlive the next call or the discover. jobs[i] is of scrape_configs[i].
 * What is known of files stays known. fn is called from the loop, never from here. */
void discover_set(struct discover *discover, const struct secondary_config *config, struct job *const *jobs);
/* Nothing is told any more. */
void discover_stop(struct discover *discover);
/* Every job has said at least once what its targets are. */
bool discover_is_ready(const struct discover *discover);

struct discover_stats {
    uint64_t files, files_broken, reads_total, failures_total;
};
void discover_stats(const struct discover *discover, struct discover_stats *ret_stats);
