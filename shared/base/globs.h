#pragma once
/* What a regular expression says when it is no more than texts and wildcards: `a|b`, `host-(1|2|3):9100`, `foo.*`,
 * `.*foo.*`, `.+`. Such ones are looked up or compared instead of run. Exactly RE2's full match, or not at all: where
 * anything is in doubt the pattern is none of these, or the question goes to RE2. Immutable once made. */
#include "base/defs.h"
#include "base/str.h"

struct globs;

/* -ENOTSUP: it is another pattern, or one that is not valid. Keeps no view. */
MUST_CHECK int globs_new(struct str pattern, struct globs **ret_globs);
void globs_free(struct globs *globs);
DEFINE_CLEANUP(struct globs *, globs_free)

enum globs_answer { GLOBS_NO, GLOBS_YES, GLOBS_ASK /* RE2: a wildcard meets a newline or bytes that are not ASCII */ };
enum globs_answer globs_match(const struct globs *globs, struct str text);
/* All texts that match, in order, each once; NULL: there are wildcards. Lives as long as globs. */
const struct str *globs_texts(const struct globs *globs, size_t *ret_count);
/* True of .* and .+ alone: every text that globs_is_plain matches, and of .+ not the empty one. */
bool globs_take_all(const struct globs *globs);
/* Whatever matches is at or behind *ret_min, and at or before *ret_max or begins with it. */
void globs_bounds(const struct globs *globs, struct str *ret_min, struct str *ret_max);
/* ASCII without a newline: wildcards take it whatever it says. */
bool globs_is_plain(struct str text);
size_t globs_bytes(const struct globs *globs); /* memory */
