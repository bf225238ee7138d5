#pragma once
/* Deletion of selected series: a request says which series, which times, who and why. From the moment it is accepted
 * no answer has what it covers; in the background blocks are written anew without it and the head leaves it out when it
 * is cut; then it is done and stays in the list as a record. data_dir/deletions.json, replaced atomically.
 *
 * Done is done: data that comes later, also in a block that is put back from damaged/ or copied in, is not covered.
 *
 * What is deleted takes no part in merging: entries are cut before they are merged, so that the order in which blocks
 * are written anew makes no difference.
 *
 * Safe from any thread. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "metric/labels.h"
#include "store/entry.h"

#define DELETIONS_MAX            1000  /* of active ones: each costs every select a look at its series' labels */
#define DELETIONS_DONE_MAX       10000 /* kept as a record; the oldest go */
#define DELETION_WHO_BYTES_MAX   128
#define DELETION_WHY_BYTES_MAX   512
#define DELETION_MATCH_BYTES_MAX 4096

struct deletions;
/* -EBADMSG with the reason: deletions.json is damaged (-EIO ...: or cannot be read). Going on without it would show
 * again what somebody wanted gone; so the owner does not start, and the operator restores the file, or takes it away
 * and has only what was deleted and not yet done back. */
MUST_CHECK int deletions_open(struct file_system *fs, struct clock *clock, const char *data_dir,
                              char ret_reason[static 256], struct deletions **ret_deletions);
void deletions_free(struct deletions *deletions); /* NULL allowed; filters live on */
DEFINE_CLEANUP(struct deletions *, deletions_free)

struct deletion {
    uint64_t id; /* 1, 2, ...: in order of requests */
    char *match; /* a selector's text */
    char *who, *why;
    int64_t start_ms, end_ms;      /* samples of [start, end] */
    int64_t requested_ms, done_ms; /* 0: not yet */
};
/* Accepted when it is on disk; match, who, why and the range are taken. -EINVAL with the reason: a selector that is
 * none, an empty or too long who or why, an empty range; -EMFILE: too many that are not done; or an error of the disk,
 * after which it may be found accepted at the next start all the same. */
MUST_CHECK int deletions_request(struct deletions *deletions, const struct deletion *request,
                                 char ret_error[static 256], uint64_t *ret_id);
void deletions_list(struct deletions *deletions, struct deletion **ret_items, size_t *ret_count); /* copies */
void deletions_list_free(struct deletion *items, size_t count);
uint64_t deletions_newest(struct deletions *deletions); /* id of the newest request; 0: none ever */

/* What is active, as a snapshot with a reference: immutable, any thread. NULL when nothing is. */
struct deletion_filter;
struct deletion_filter *deletions_filter(struct deletions *deletions);
void deletion_filter_unref(struct deletion_filter *filter); /* NULL allowed */
DEFINE_CLEANUP(struct deletion_filter *, deletion_filter_unref)
/* Id of the newest deletion in the filter: what a block that was cut by it is written with (block_meta.deletion); where
 * the filter is NULL, 0 does. */
uint64_t deletion_filter_newest(const struct deletion_filter *filter);
/* Some deletion with an id above `after` may cover samples of [start, end] of some series. filter may be NULL. */
bool deletion_filter_meets(const struct deletion_filter *filter, uint64_t after, int64_t start_ms, int64_t end_ms);
/* The id of the oldest such; 0: none. */
uint64_t deletion_filter_oldest(const struct deletion_filter *filter, uint64_t after, int64_t start_ms, int64_t end_ms);
/* The ranges of this series that are deleted: merged, ascending, both ends inclusive; how many. Room for
 * DELETIONS_MAX. */
struct time_range {
    int64_t start_ms, end_ms;
};
size_t deletion_filter_ranges(const struct deletion_filter *filter, const struct labels *labels,
                              struct time_range *ret_ranges);
bool time_ranges_have(const struct time_range *ranges, size_t count, int64_t time_ms);
/* Leaves out the entries whose samples lie in a range, with the extras of their windows as they lie in it themselves.
 */
void time_ranges_cut(const struct time_range *ranges, size_t count, struct entries *entries);
/* Applied everywhere: no block that was not written with it has matching samples, and the head neither. -ENOENT: none
 * such, or done before. Filters that were taken before stay as they are. */
MUST_CHECK int deletions_done(struct deletions *deletions, uint64_t id);
