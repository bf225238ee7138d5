#pragma once
/* Regular expressions of RE2, the language of Prometheus: anchored at both ends, linear time, memory capped.
 * `.` does not match a newline (Prometheus 2.42). Safe from any thread once made. */
#include "base/defs.h"
#include "base/str.h"

#define REGEX_GROUPS_MAX        16
#define REGEX_PATTERN_BYTES_MAX 65536     /* dashboards with "all hosts" build alternations of some 10 KiB */
#define REGEX_BYTES_MAX         (1 << 20) /* RE2's budget for one pattern: its program and its caches */

#ifdef __cplusplus
extern "C" {
#endif

struct regex;

/* -EINVAL with a message in ret_error when the pattern is not valid (or would take more than REGEX_BYTES_MAX). */
MUST_CHECK int regex_new(struct str pattern, char ret_error[AT_LEAST(256)], struct regex **ret_regex);
void regex_free(struct regex *regex);
DEFINE_CLEANUP(struct regex *, regex_free)
struct str regex_pattern(const struct regex *regex); /* lives as long as it */
bool regex_matches(const struct regex *regex, struct str text);
/* Whatever matches is at or behind *ret_min, and at or before *ret_max or begins with it. */
void regex_bounds(const struct regex *regex, struct str *ret_min, struct str *ret_max);
/* Groups 0 (the whole) to *ret_count - 1, at most REGEX_GROUPS_MAX; unmatched groups are STR_NULL. False: no match. */
bool regex_groups(const struct regex *regex, struct str text, struct str ret_groups[AT_LEAST(REGEX_GROUPS_MAX)],
                  size_t *ret_count);
/* Index of a named group, -ENOENT if there is none of that name. */
int regex_group_index(const struct regex *regex, struct str name);

#ifdef __cplusplus
}
#endif
