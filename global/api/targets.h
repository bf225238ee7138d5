#pragma once
/* Who is scraped in the whole federation, by the newest sample of `up` and of the series that a scrape leaves beside
 * it. Private to global/api. */
#include "api/scope.h"
#include "base/map.h"

#define TARGET_REASON "reason" /* the label of scrape_failure that says why */

struct target {
    struct labels *labels;  /* without the name; a reference, as the next */
    struct labels *failure; /* of the newest scrape_failure; NULL: none */
    int64_t failure_ms;
    struct sample up;
    double seconds; /* of the last scrape */
    double samples; /* in it; NaN: not known */
};

struct targets {
    struct target *items;
    size_t count, capacity;
    struct map by_labels;    /* number + 1 */
    uint64_t bytes, samples; /* taken so far */
};

/* Of zeroed targets. The lookback up to range->end_ms. False: it is answered why not. targets_done is to be called in
 * either case. */
MUST_CHECK bool targets_collect(struct targets *targets, struct api_request *request, const struct select_range *range);
void targets_done(struct targets *targets);
/* From the lookback before now to now. */
struct select_range targets_range(struct api_request *request);
