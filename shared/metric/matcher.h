#pragma once
/* Label matchers: = != =~ !~ . A label that is absent has the empty value. */
#include "base/regex.h"
#include "base/str.h"
#include "metric/labels.h"

enum matcher_type { MATCH_EQUAL, MATCH_NOT_EQUAL, MATCH_REGEX, MATCH_NOT_REGEX };

struct matcher {
    enum matcher_type type;
    struct str name; /* owned by who made the matcher (an arena, a parsed expression) */
    struct str value;
    struct regex *regex; /* for the regex types; owned, freed by matcher_done */
};

/* -EINVAL with a message when a pattern is bad. Keeps the views. */
MUST_CHECK int matcher_init(struct matcher *matcher, enum matcher_type type, struct str name, struct str value,
                            char ret_error[static 256]);
void matcher_done(struct matcher *matcher);
bool matcher_matches(const struct matcher *matcher, struct str value);
bool matcher_matches_labels(const struct matcher *matchers, size_t count, const struct labels *labels);
/* True when a series without the label would match. */
bool matcher_matches_empty(const struct matcher *matcher);
const char *matcher_operator(enum matcher_type type); /* "=", "!=", "=~", "!~" */
