#pragma once
/* A record: what one series did in one window [k*R, (k+1)*R).
 *
 * Gauges: count, sum, min, max, last. Counters: last (count is kept too: it decides between two records of one window).
 * Both may bring `extras`: ordinary samples of the window, earlier than `last`, that must not be lost: the last before
 * and the first after a counter reset (so that rate, increase and resets stay exact), and the last value before a stale
 * marker. Extras live beside the record (struct record_extra), as nearly no record has any.
 *
 * (series, window) is the identity. Two records of one identity are never added: record_wins() chooses one.
 * Merging (record_merge) is for windows that follow each other (tiers), and gives the same in any grouping: sums are
 * those of decimals (sum_add). */
#include "metric/sample.h"

struct record {
    int64_t time_ms; /* of `last`: the time of the target's last scrape in the window, or of the stale marker */
    double last;     /* may be the stale marker */
    double sum;      /* gauges: of all real values (stale markers apart); other kinds: 0 */
    double min, max; /* gauges; NaN values are skipped unless all are NaN */
    uint32_t count;  /* real values in the window; 0 when there was only a stale marker */
    uint8_t kind;    /* enum series_kind */
};

struct record_extra {
    uint32_t index;       /* of the record it belongs to, in its block */
    struct sample sample; /* earlier than the record's own time; extras of one record are in order of time */
};

/* The sum of two sums. What exporters show are decimals of at most nine digits behind the point, nearly always; a sum
 * of such is k / 10^e, one division of the exact integer, so that adding in any order and grouping gives the same bits,
 * and 0.1 + 0.2 is 0.3. Holds while all |a| + |b| on the way are below 2^48 units of the last digit (of milliseconds:
 * 8,900 years; whole numbers: up to 2^53); past that, and of numbers that are no decimals, it is their sum in doubles,
 * next to it. Of equal values a sum is last * count, rounded once. */
double sum_add(double a, double b);
/* The decimal that a sum of doubles stands for, which is off by at most `error`; the sum itself where none is as near.
 */
double sum_settle(double sum, double error);

/* Start of the window that holds time_ms; resolution_ms > 0; right for negative times too. */
static inline int64_t window_start_ms(int64_t time_ms, int64_t resolution_ms)
{
    int64_t rest = time_ms % resolution_ms;
    return time_ms - (rest < 0 ? rest + resolution_ms : rest);
}

/* A record of nothing yet: count 0, last, min and max stale, sum 0, earlier than any sample. */
struct record record_empty(enum series_kind kind);
/* Adds a real value or a stale marker, in order of time. (Resets are noticed by window.c, which knows the window
 * before.) */
void record_add(struct record *record, struct sample sample);
/* Adds the later window `next` of the same series into `record`. */
void record_merge(struct record *record, const struct record *next);
/* True when `candidate` replaces `present`, both of one (series, window): larger count, then newer time. */
bool record_wins(const struct record *candidate, const struct record *present);
/* min, max and sum follow from last, count and kind: all values of the window were equal (or the kind has no range, or
 * there was no real value): record_fill_constant() gives them back bit for bit (a NaN's payload in the sum apart). */
static inline bool record_is_constant(const struct record *record)
{
    if (!kind_has_range(record->kind) || record->count == 0)
        return true;
    uint64_t bits = double_bits(record->last);
    if (double_bits(record->min) != bits || double_bits(record->max) != bits)
        return false;
    /* A NaN among equal values leaves its trace in the sum alone. */
    return isnan(record->last) || double_bits(record->sum) == double_bits(record->last * (double)record->count);
}
/* Sets min, max and sum from last, count and kind. */
static inline void record_fill_constant(struct record *record)
{
    if (!kind_has_range(record->kind)) {
        record->sum = record->min = record->max = 0;
        return;
    }
    record->min = record->max = record->count > 0 ? record->last : value_stale();
    record->sum = record->count > 0 ? record->last * (double)record->count : 0;
}
