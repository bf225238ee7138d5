#pragma once
/* Types: each operator and function gets what it takes. Sets ast->type of every node. */
#include "promql/parse.h"

MUST_CHECK int promql_check(struct ast *ast, struct promql_error *ret_error);
