#pragma once
/* From text to a checked tree. Language of Prometheus 2.42. */
#include "promql/error.h"

#define PROMQL_TEXT_BYTES_MAX (128 * KIB)
#define PROMQL_DEPTH_MAX      200        /* nodes from the root down; what walks the tree recurses no deeper */
#define PROMQL_NODES_MAX      20000      /* what a text of that size can hold of sensible nodes */
#define PROMQL_LIST_MAX       1000       /* matchers of a selector, labels of by (...): looked at for each series */
#define PROMQL_REGEXES_MAX    256        /* each may take up to 1 MiB compiled, most take some KiB */
#define PROMQL_BYTES_MAX      (32 * MIB) /* of the tree; the limits above are met before it */

struct promql_expression; /* owns the tree, its arena and its regexes */

/* What is said of a selector that could match all series, as a guard against a slip of the pen. */
#define PROMQL_EMPTY_SELECTOR "vector selector must contain at least one non-empty matcher"

/* Parses and checks types. -EINVAL with ret_error filled. The text need not outlive the call. */
MUST_CHECK int promql_parse(struct str text, struct promql_error *ret_error, struct promql_expression **ret_expression);
void promql_expression_free(struct promql_expression *expression);
DEFINE_CLEANUP(struct promql_expression *, promql_expression_free)
const struct ast *promql_expression_root(const struct promql_expression *expression);
/* Memory that it takes, with all that its regexes may come to take. */
size_t promql_expression_bytes(const struct promql_expression *expression);
/* A selector alone, as match[] takes it: {a="b"} or name{...}. */
MUST_CHECK int promql_parse_selector(struct str text, struct promql_error *ret_error,
                                     struct promql_expression **ret_expression);
