#pragma once
/* Which sources have told how much, as far as answers must say it: a copy of the receiver's list that worker threads
 * read. */
#include "hop/receiver.h"

/* A source that is so far behind the end of a query's range is missing from the answer: three windows and the way up.
 */
#define COVERAGE_LAG_MS (5 * 60 * INT64_C(1000))
/* A source that has been silent for so long is history, and no longer missing. */
#define COVERAGE_FORGET_MS (24 * 3600 * INT64_C(1000))

/* A source that was not heard of for so long is not waited for; one that fills in a backlog is. */
#define COVERAGE_ALIVE_MS (15 * 60 * INT64_C(1000))

struct coverage;

struct coverage *coverage_new(struct clock *clock);
void coverage_free(struct coverage *coverage);
DEFINE_CLEANUP(struct coverage *, coverage_free)
/* On the loop: takes what the receiver knows now. */
void coverage_update(struct coverage *coverage, const struct receiver *receiver);
/* At replay: what the log says of a source that may not come again. told_ms: when we heard of it, by our clock. */
void coverage_note(struct coverage *coverage, const struct source_id *source, int64_t closed_through_ms,
                   int64_t told_ms);
/* Up to here all sources that are alive have told what they had; INT64_MIN: none is. On the loop. */
int64_t coverage_solid_ms(struct coverage *coverage);
/* From any thread: a line per source that should have told of a part of [start_ms, end_ms] and has not. */
void coverage_warnings(void *coverage, int64_t start_ms, int64_t end_ms, struct buf *warnings);
