#pragma once
/* One start of a source (an incarnation's epoch): which of its numbers have come, and which time those that have not
 * may be of. Numbers rise with time: what a batch says of itself bounds those before and behind it. */
#include "base/defs.h"

#define START_RUNS_MAX 128 /* of numbers side by side that have come; past it the oldest hole is given up */

struct start_run {
    uint64_t first, last;
    int64_t through_ms; /* all windows that end by then have numbers up to last; INT64_MIN: not known */
    int64_t before_ms;  /* windows of numbers below first ended by then; INT64_MAX: not known */
};

struct start {
    uint64_t incarnation, epoch;
    uint32_t teller;
    bool began_unseen; /* numbers below its first run are not missed: they came before all that is known here */
    int64_t first_ms;  /* its first window; INT64_MAX: not known */
    int64_t closed_ms; /* its windows up to here are closed; INT64_MIN: not known */
    struct start_run *runs;
    size_t run_count, run_capacity;
};

struct hole {           /* of numbers that have not come: their windows end in (after, through] */
    int64_t after_ms;   /* INT64_MIN: not known */
    int64_t through_ms; /* INT64_MAX: not known */
};

void start_done(struct start *start);
bool start_has(const struct start *start, uint64_t seq);
/* Adds first..last; some of them may have come before. True and the hole that was given up for want of room. */
MUST_CHECK bool start_add(struct start *start, const struct start_run *run, struct hole *ret_given_up);
/* The holes, oldest first; holes has room for START_RUNS_MAX. */
size_t start_holes(const struct start *start, struct hole *holes);
/* The holes among first..last. Room for START_RUNS_MAX + 2. */
size_t start_holes_in(const struct start *start, uint64_t first, uint64_t last, struct hole *holes);
