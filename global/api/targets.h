#pragma once
/* Who is scraped in the whole federation, by the newest sample of `up` and of the series that a scrape leaves beside
 * it; and who is no more, by scrape_target_ended. Private to global/api. */
#include "api/scope.h"
#include "base/map.h"

#define TARGET_REASON        "reason" /* the label of scrape_failure and scrape_target_ended that says why */
#define TARGETS_ENDED_AGE_MS (3600 * INT64_C(1000))

struct target {
    struct labels *labels;  /* without the name; a reference, as the next */
    struct labels *failure; /* of the newest scrape_failure; NULL: none */
    int64_t failure_ms;
    struct sample up;
    double seconds; /* of the last scrape */
    double samples; /* in it; NaN: not known */
};

struct target_end {
    struct labels *labels; /* of the target; a reference, as the next */
    struct labels *event;  /* with the reason */
    int64_t time_ms;
};

struct targets {
    struct target *items;
    size_t count, capacity;
    struct map by_labels;    /* number + 1 */
    struct target_end *ends; /* no target twice; the newest first */
    size_t end_count, end_capacity;
    uint64_t bytes, samples; /* taken so far */
};

/* Of zeroed targets. The lookback up to range->end_ms. False: it is answered why not. targets_done is to be called in
 * either case. */
MUST_CHECK bool targets_collect(struct targets *targets, struct api_request *request, const struct select_range *range);
/* Behind targets_collect: also those that ended within TARGETS_ENDED_AGE_MS before end_ms and did not come back. */
MUST_CHECK bool targets_collect_ends(struct targets *targets, struct api_request *request, int64_t end_ms);
void targets_done(struct targets *targets);
/* From the lookback before now to now. */
struct select_range targets_range(struct api_request *request);
