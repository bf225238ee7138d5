#pragma once
/* A series selector of PromQL as text, for configuration: name, {label="value", ...} or both, with the matchers
 * = != =~ !~ (metric/matcher.h), strings in "", '' or ``, regular expressions anchored at both ends.
 * Unlike in a query, a selector may match series without the label: {job!="x"} is one. */
#include "metric/matcher.h"

#define SELECTOR_BYTES_MAX    (64 * KIB)
#define SELECTOR_MATCHERS_MAX 64

struct selector {
    const struct matcher *matchers;
    size_t count; /* at least 1; the name is a matcher of __name__ */
};

/* -EINVAL, the reason and where in the text it is (in bytes, from 0). */
MUST_CHECK int selector_new(struct str text, char ret_error[static 256], size_t *ret_offset,
                            struct selector **ret_selector);
void selector_free(struct selector *selector); /* NULL allowed */
DEFINE_CLEANUP(struct selector *, selector_free)
