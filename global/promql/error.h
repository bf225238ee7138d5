#pragma once
/* What is wrong with an expression, and where. */
#include "base/buf.h"
#include "promql/ast.h"

struct promql_error {
    struct ast_position position;
    char text[1024]; /* Prometheus' wording where it has one */
};

/* Fills the error; a text too long is cut. */
void promql_error_set(struct promql_error *error, struct ast_position position, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* "LINE:COLUMN: parse error: TEXT", as the HTTP API says it. Columns count bytes from 1. */
int promql_error_print_short(const struct promql_error *error, struct str text, struct buf *out);
