#pragma once
/* The one table of functions: parser, checker, evaluator and documentation read it. */
#include "promql/ast.h"
#include "promql/functions_ids.h"

#define PROMQL_ARGS_MAX 8 /* types listed; a variadic function repeats its last */

struct promql_function {
    const char *name;
    enum promql_type args[PROMQL_ARGS_MAX];
    uint8_t arg_count; /* types listed */
    int8_t variadic;   /* as Prometheus: 0: all of them; n > 0: arg_count - 1, and up to n more; -1: any number more */
    enum promql_type result;
    enum promql_function_id id; /* which code evaluates it; its row in the table */
};

/* Names are case-sensitive. NULL: unknown. */
const struct promql_function *promql_function_find(struct str name);
size_t promql_function_count(void);
const struct promql_function *promql_function_at(size_t index); /* sorted by name */
