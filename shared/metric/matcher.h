#pragma once
/* Label matchers: = != =~ !~ . A label that is absent has the empty value. */
#include "base/globs.h"
#include "base/regex.h"
#include "base/str.h"
#include "metric/labels.h"

enum matcher_type { MATCH_EQUAL, MATCH_NOT_EQUAL, MATCH_REGEX, MATCH_NOT_REGEX };

struct matcher {
    enum matcher_type type;
    struct str name; /* owned by who made the matcher (an arena, a parsed expression) */
    struct str value;
    /* Of the regex types; owned, freed by matcher_done. At least one; a pattern of texts alone has no regex. */
    struct regex *regex;
    struct globs *globs;
};

/* -EINVAL with a message when a pattern is bad. Keeps the views. */
MUST_CHECK int matcher_init(struct matcher *matcher, enum matcher_type type, struct str name, struct str value,
                            char ret_error[static 256]);
void matcher_done(struct matcher *matcher);
bool matcher_matches(const struct matcher *matcher, struct str value);
bool matcher_matches_labels(const struct matcher *matchers, size_t count, const struct labels *labels);
/* True when a series without the label would match. */
bool matcher_matches_empty(const struct matcher *matcher);

/* What indexes look up instead of trying all values. A matcher names values: what stands in it, or what its pattern
 * takes. = and =~ select the series that have one of them, the negative ones the others. */
bool matcher_is_negative(const struct matcher *matcher);
/* All values that it names, in order, each once; NULL: a pattern says which. */
const struct str *matcher_texts(const struct matcher *matcher, size_t *ret_count);
/* It names every value that globs_is_plain and is not empty: .* and .+ */
bool matcher_names_all(const struct matcher *matcher);
/* What it names is at or behind *ret_min, and at or before *ret_max or begins with it. */
void matcher_bounds(const struct matcher *matcher, struct str *ret_min, struct str *ret_max);
/* Memory that it may come to take besides the text. */
size_t matcher_bytes_max(const struct matcher *matcher);
const char *matcher_operator(enum matcher_type type); /* "=", "!=", "=~", "!~" */
