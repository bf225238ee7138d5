#pragma once
/* From text to a checked tree. Language of Prometheus 2.42. */
#include "promql/ast.h"

#define PROMQL_TEXT_BYTES_MAX (128 * KIB)
#define PROMQL_DEPTH_MAX      200   /* nesting; the parser and everything that walks the tree recurse no deeper */
#define PROMQL_NODES_MAX      20000

struct promql_error {
    struct ast_position position;
    char text[256]; /* Prometheus' wording where it has one */
};

struct promql_expression; /* owns the tree, its arena and its regexes */

/* Parses and checks types. -EINVAL with ret_error filled. */
MUST_CHECK int promql_parse(struct str text, struct promql_error *ret_error, struct promql_expression **ret_expression);
void promql_expression_free(struct promql_expression *expression);
DEFINE_CLEANUP(struct promql_expression *, promql_expression_free)
const struct ast *promql_expression_root(const struct promql_expression *expression);
/* A selector alone, as match[] takes it: {a="b"} or name{...}. */
MUST_CHECK int promql_parse_selector(struct str text, struct promql_error *ret_error,
                                     struct promql_expression **ret_expression);
/* "LINE:COLUMN: parse error: TEXT" and below it the line with a caret under the place. */
int promql_error_print(const struct promql_error *error, struct str text, struct buf *out);
