#pragma once
/* The face of the store for readers: which series match, and their samples in order of time.
 *
 *   struct select *select = NULL;
 *   select_open(store, matchers, count, &range, &select);
 *   struct sample_reader *reader = sample_reader_new(select, SELECT_LAST);
 *   for (size_t i = 0; i < select_count(select); i++) ... sample_reader_series(reader, i), sample_reader_read ...
 *   sample_reader_free(reader);
 *   select_free(select);
 *
 * It is what head and blocks have, merged by the identity of windows. A select sees what was in the store when it was
 * opened; what arrives later may or may not be seen. Readers hold up writing of samples for as long as the chunk lists
 * of 1,024 series take to look at, and the making of new series for the search in the index. Any number of selects at
 * once; an open one may be read by any number of threads, each with a reader of its own. Regexes of matchers are used
 * from the calling thread.
 *
 * A block that turns out to be damaged is set aside and left out; select_warnings says so, before or after. */
#include "base/buf.h"
#include "base/defs.h"
#include "metric/labels.h"
#include "metric/matcher.h"
#include "metric/sample.h"

struct store;
struct select;
struct sample_reader;

/* What of a record is wanted: the last values (true samples), or the aggregates of its windows: then one sample for
 * each window, at its record's time, with the count (or sum, ...) of the scrapes in it; a stale marker where the window
 * had no value. A counter's window has no sum, minimum and maximum of its own: they are what follows if all its values
 * were the last one. */
enum select_field { SELECT_LAST, SELECT_COUNT, SELECT_SUM, SELECT_MIN, SELECT_MAX };

struct select_range {
    int64_t start_ms; /* first time wanted */
    int64_t end_ms;   /* last time wanted, inclusive */
    bool newest_only; /* of each series only the newest sample of the range matters: others may be left out */
    bool any_order;   /* series may come in any order: what is in one place is not sorted then */
    /* Asked every 1,024 series or values of a label, under a lock: quick. May be NULL; true = give up with -ECANCELED.
     */
    bool (*cancelled)(void *arg);
    void *cancelled_arg;
    /* Asked for memory that the select is about to have: some 100 bytes a series, and each pair of labels once; false
     * = give up with -ENOMEM. Given back by select_free. NULL: nobody counts. */
    bool (*charge)(void *arg, size_t bytes);
    void (*release)(void *arg, size_t bytes);
    void *charge_arg;
};

/* Series that match all matchers (at least one of which must not match the empty value, else -EINVAL) and may have
 * samples in the range. In order of labels. -ECANCELED, -ENOMEM. */
MUST_CHECK int select_open(struct store *store, const struct matcher *matchers, size_t count,
                           const struct select_range *range, struct select **ret_select);
void select_free(struct select *select); /* when no reader is left */
DEFINE_CLEANUP(struct select *, select_free)
/* Lines about what is known to be missing in the range so far: damaged blocks above all. */
void select_warnings(struct select *select, struct buf *out);

/* How many series there are. Of some all samples may be deleted, or none be in the range after all. */
size_t select_count(const struct select *select);
/* The labels of one, made anew: the caller's reference. From any thread. */
struct labels *select_labels(const struct select *select, size_t index);
/* Series after series, for one thread: 1 and the labels, valid until the next call; without those of which all samples
 * are deleted. 0 at the end, or -ECANCELED. */
MUST_CHECK int select_next(struct select *select, struct labels **ret_labels);

/* The labels of series as one reader wants them. */
struct labels_wanted {
    bool without_name;       /* not the metric's name */
    const struct str *names; /* these alone, as far as a series has them; NULL: all */
    size_t name_count;
};
struct label_view;
struct label_view *label_view_new(const struct select *select, const struct labels_wanted *wanted);
void label_view_free(struct label_view *view); /* NULL allowed; before its select */
DEFINE_CLEANUP(struct label_view *, label_view_free)
/* The caller's reference. Of names that are wanted alone, equal sets are one set. */
struct labels *label_view_labels(struct label_view *view, size_t index);

/* Reads samples of series of a select; one thread. */
struct sample_reader *sample_reader_new(struct select *select, enum select_field field);
void sample_reader_free(struct sample_reader *reader); /* NULL allowed */
DEFINE_CLEANUP(struct sample_reader *, sample_reader_free)
/* Goes to the series of this place in the select: its samples in the range, ascending in time, no time twice, stale
 * markers among them. */
void sample_reader_series(struct sample_reader *reader, size_t index);
/* The same, of the series of the last select_next. */
void sample_reader_current(struct sample_reader *reader);
/* Up to max samples; 0 at the end; -EBADMSG, -EIO: something was damaged and is left out; reading may go on behind it.
 */
MUST_CHECK int64_t sample_reader_read(struct sample_reader *reader, struct sample *ret_samples, size_t max);

/* Names of labels, or values of one label, of the series that match (no matchers: all series; here all may match the
 * empty value) and may have samples in the range (NULL: any), sorted, each once. Freed by select_strings_free. At most
 * the first max are given, then cut is true. -ECANCELED, or -ENOMEM of the range's charge, which is told of each text
 * and not given it back. */
struct select_strings {
    struct str *items;
    size_t count;
    bool cut;
    void *memory;
};
MUST_CHECK int select_label_names(struct store *store, const struct matcher *matchers, size_t count,
                                  const struct select_range *range, size_t max, struct select_strings *ret_names);
MUST_CHECK int select_label_values(struct store *store, struct str name, const struct matcher *matchers, size_t count,
                                   const struct select_range *range, size_t max, struct select_strings *ret_values);
void select_strings_free(struct select_strings *strings); /* a zeroed one is allowed */
