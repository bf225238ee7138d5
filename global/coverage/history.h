#pragma once
/* What one source has told over time, and what it has not: claims of its windows, its starts, what is known to be lost.
 * Any order of the same batches gives the same history, while nothing is past a ceiling. */
#include "coverage/spans.h"
#include "coverage/start.h"
#include "hop/envelope.h"

#define HISTORY_STARTS_MAX 32  /* of a source; past it the oldest is settled: what it lacks stays lacking */
#define HISTORY_LOSSES_MAX 128 /* past it those that lie nearest are put together */

/* A source that is so far behind the end of a range, or so many of its windows, is missing from the answer: three
 * windows and the way up. */
#define HISTORY_LAG_MS      (5 * 60 * INT64_C(1000))
#define HISTORY_LAG_WINDOWS 3
/* A source that has been silent for so long is history: it is missed up to then. */
#define HISTORY_FORGET_MS (24 * 3600 * INT64_C(1000))

enum gap_reason {
    GAP_SILENT,     /* the source was there before, and told nothing of this time */
    GAP_MISSING,    /* batches of this time were made and have not come, or not yet */
    GAP_DROPPED,    /* told by a gap record: they went past the bound of a spool */
    GAP_UNREADABLE, /* a batch came that could not be read to its end */
    GAP_LATE,       /* it came when the store takes nothing so old any more */
    GAP_REASONS
};
const char *gap_reason_name(enum gap_reason reason);

struct gap {
    int64_t start_ms, end_ms;
    enum gap_reason reason;
};

struct gaps {
    struct gap *items;
    size_t count, capacity;
};
void gaps_add(struct gaps *gaps, const struct gap *gap);
void gaps_done(struct gaps *gaps);

struct history {
    char datacenter[SOURCE_NAME_BYTES_MAX + 1], secondary[SOURCE_NAME_BYTES_MAX + 1];
    struct spans spans;
    struct start *starts;
    size_t start_count;
    struct gaps losses;   /* by start */
    int64_t first_ms;     /* its first window; INT64_MAX: it has told of none */
    int64_t known_ms;     /* what was before is forgotten; INT64_MIN: nothing */
    int64_t lost_ms;      /* the same, but while its data may be here: past a ceiling */
    int64_t closed_ms;    /* the newest window that is closed ends here; INT64_MIN */
    int64_t heard_ms;     /* when it was last heard of, by our clock */
    int64_t settled_ms;   /* starts that ended before are settled */
    uint32_t window_ms;   /* of the windows that claim; 0: not known */
    uint32_t next_teller; /* from 1 */
};

void history_init(struct history *history, const struct source_id *source);
void history_done(struct history *history);

/* A batch that came; what came before changes nothing. */
struct history_batch {
    const struct envelope *envelope;
    const uint8_t *words; /* of its reasons: first of failed targets, then of dropped samples */
    bool is_rebuilt;      /* from a log that may not have all: what is before its numbers is not missed */
    int64_t heard_ms;
    int64_t oldest_ms, newest_ms; /* what the store took: windows that end in (oldest, newest] */
};
void history_take(struct history *history, const struct history_batch *batch);
/* first..last of a start were dropped; the windows that they were of. */
struct history_dropped {
    uint64_t incarnation, epoch, first, last;
    int64_t start_ms, end_ms;
};
void history_drop(struct history *history, const struct history_dropped *dropped);
void history_lose(struct history *history, const struct gap *gap);
/* At most so many spans. */
void history_shrink(struct history *history, size_t spans_max);
void history_forget(struct history *history, int64_t before_ms);
/* From then on it is history; INT64_MAX: it has told of nothing yet. */
int64_t history_ended_ms(const struct history *history);

/* A look at a range. */
struct history_look {
    int64_t start_ms, end_ms, now_ms;
    /* Filled: */
    bool there;                                /* it was a source at some time of the range */
    bool told;                                 /* of some window of the range */
    bool is_behind;                            /* it should have told of the end of the range and has not */
    double expected, answered, least_answered; /* targets: means over time; the least of all windows */
    double *counts;                            /* by word: failed targets (mean), dropped samples (sum) */
    size_t word_count;
    unsigned restarts; /* starts in the range, but for its first */
    struct gaps gaps;  /* by start; the caller's to gaps_done */
};
void history_look(struct history *history, struct history_look *look);
