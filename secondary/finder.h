#pragma once
/* What discovery does, on one loop: the sections of all jobs at work, and of each job the targets that its rules make
 * of what they say. A job is told when all its sections have said once what there is, or its patience is over; then
 * whenever they say something new, at most once a second. What was made of a group that is the same stays. A section
 * that a reload changes is kept until the one in its place has said something: no target ends by a reload but those
 * that the new section does not list. */
#include "section.h"
#include "target.h"

#define FINDER_TELL_MS     1000  /* between two tellings of one job */
#define FINDER_PATIENCE_MS 60000 /* after which a job is told what is known, though a section has said nothing yet */

struct finder;

struct finding { /* of one job; owns its arrays, and references */
    struct job *job;
    struct target **targets;
    size_t count;
    uint64_t dropped; /* by relabel_configs */
    uint64_t invalid; /* could not be made a target */
    char first_error[256];
    uint64_t *listed; /* target_found_hash of all that sources list, sorted; dropped ones too */
    size_t listed_count;
};
void finding_free(struct finding *finding); /* NULL allowed */
DEFINE_CLEANUP(struct finding *, finding_free)

/* Takes the finding over. From the loop, never from within a call of the finder. */
typedef void finder_fn(void *arg, struct finding *finding);

struct finder *finder_new(const struct seams *seams, finder_fn *fn, void *arg);
void finder_free(struct finder *finder);
DEFINE_CLEANUP(struct finder *, finder_free)
/* From now on by this configuration, of which a reference is kept. jobs[i] is of scrape_configs[i]. */
void finder_set(struct finder *finder, struct secondary_config *config, struct job *const *jobs);
bool finder_is_ready(const struct finder *finder); /* every job has been told */

/* Of all sections, in the order of the configuration, each once: size_t at = 0; while (finder_next_report(...)). Views
 * until the loop turns. */
bool finder_next_report(const struct finder *finder, size_t *at, struct section_report *ret_report);
size_t finder_text_bytes(const struct finder *finder); /* memory of the texts that groups share */

/* ---- What was found, for people: made when asked for ---- */

struct listing_item {
    const char *job;
    const struct label *before; /* as discovery says it, with the job's defaults; sorted by name */
    size_t before_count;
    struct target *target; /* NULL: it is dropped or invalid */
    size_t rule;           /* of relabel_configs, that dropped it */
    const char *error;     /* it cannot be scraped, and why; NULL else */
};
struct listing_options {
    const char *job;      /* NULL: all */
    bool without_targets; /* only the dropped and the invalid */
    bool without_dropped; /* neither of these */
    size_t bytes_max;     /* of its texts; 0: no ceiling */
    size_t dropped_max;   /* of one job; keep_dropped_targets where that is less. SIZE_MAX: all,
                             whatever that says */
};
struct listing {
    struct arena arena;
    struct listing_item *items;
    size_t count;
    uint64_t dropped_total; /* listed or not */
    bool is_cut;            /* at bytes_max: there is more */
};
struct listing *finder_list(const struct finder *finder, const struct listing_options *options);
void listing_free(struct listing *listing); /* NULL allowed; from any thread */
DEFINE_CLEANUP(struct listing *, listing_free)
