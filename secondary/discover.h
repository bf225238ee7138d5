#pragma once
/* Where targets come from: a finder (finder.h) on a thread of its own, so that no plugin and no answer of 100 MB delays
 * a scrape or a batch; on a simulated loop, on that. Told on the main loop, where all of this is called. */
#include "finder.h"

struct discover;

/* What a job's targets are now: borrowed during the call. */
typedef void discover_fn(void *arg, const struct finding *finding);

struct discover *discover_new(const struct seams *seams, discover_fn *fn, void *arg);
/* Waits for the thread; nothing is told any more. */
void discover_free(struct discover *discover);
DEFINE_CLEANUP(struct discover *, discover_free)

/* From now on by this configuration. What is known stays known. fn is called from the loop, never from here. */
void discover_set(struct discover *discover, struct secondary_config *config, struct job *const *jobs);
/* Nothing is told any more, and nothing is asked of anybody. */
void discover_stop(struct discover *discover);
/* Every job has said at least once what its targets are. */
bool discover_is_ready(const struct discover *discover);

/* Figures of at most a second ago, in the order of sections; the caller frees them. */
struct discover_report {
    struct arena arena; /* of the texts */
    struct section_report *sections;
    size_t count;
    size_t text_bytes; /* memory of the texts that groups share */
    int64_t cpu_ns;    /* of the thread; 0: it has none of its own */
};
struct discover_report *discover_report(struct discover *discover);
void discover_report_free(struct discover_report *report);
DEFINE_CLEANUP(struct discover_report *, discover_report_free)

/* What was found, as finder_list; told on the main loop, once, never from here; the listing is the callee's. NULL:
 * discovery has stopped, or is no more. options' texts are copied. */
typedef void discover_list_fn(void *arg, struct listing *listing);
void discover_list(struct discover *discover, const struct listing_options *options, discover_list_fn *fn, void *arg);
