#pragma once
/* What the windows of one source claim, over time: runs of windows that claim the same are one span. Sorted, none over
 * another; time that no window told of lies between spans. Parts of a window come one by one and add up. */
#include "base/defs.h"

#define SPAN_COUNTS_MAX 10 /* reasons of one span; past it they are counted as "other" */
#define SPANS_RIVALS    16 /* windows that two starts of a source told of; past it the oldest rival is forgotten */
#define SPANS_MIN       64 /* kept of each source, however many sources there are */

/* Reasons are numbers: even ones say why targets failed, odd ones why samples were dropped. */
enum span_word { SPAN_FAILED_OTHER, SPAN_DROPPED_OTHER, SPAN_NO_WORD = UINT8_MAX };
static inline bool span_word_is_dropped(uint8_t word)
{
    return word & 1;
}

struct span {
    int64_t start_ms, end_ms;
    uint32_t teller;    /* which start of the source told it; SPAN_SETTLED: one that is known no more */
    uint32_t window_ms; /* length of its windows */
    /* Of each window; of windows that were put together: their mean, and the least of all. */
    double expected, answered, least_answered;
    uint8_t words[SPAN_COUNTS_MAX]; /* ascending; where counts is 0 there is none */
    double counts[SPAN_COUNTS_MAX];
};

#define SPAN_SETTLED 0

#define SPANS_BLOCK  16 /* spans that a look may pass over at one step */

struct spans {
    struct span *items;
    size_t count, capacity;
    struct span *blocks; /* each puts SPANS_BLOCK spans together; window_ms 0: they cannot be */
    size_t block_count;  /* made so far; what changes unmakes those from there on */
    /* Of windows that two starts told of, the one not shown: it may grow better with its next part. */
    struct span rivals[SPANS_RIVALS];
    size_t next_rival;
};

void spans_done(struct spans *spans);
/* Adds a count to a claim. */
void span_count(struct span *span, uint8_t word, double count);
/* The claim of one part of a window (or of some) that lies in [start, end). Of two starts that told of one window the
 * one with more targets that answered is shown, then the newer. */
void spans_add(struct spans *spans, const struct span *claim);
/* What SPANS_BLOCK spans from this index on come to; NULL: no block begins here, they are of two starts, or there is
 * untold time between them. Until the next change. */
const struct span *spans_block(struct spans *spans, size_t index);
/* Index of the first span that ends after this time. */
size_t spans_find(const struct spans *spans, int64_t time_ms);
/* The teller is known no more: what it told stands. */
void spans_settle(struct spans *spans, uint32_t teller);
/* At most count_max: the older ones are put together, hour by hour, then over longer times; at last the oldest go.
 * Returns the end of what went; INT64_MIN: nothing. */
int64_t spans_shrink(struct spans *spans, size_t count_max);
/* What lies before this time goes. */
void spans_forget(struct spans *spans, int64_t before_ms);
