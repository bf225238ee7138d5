#pragma once
/* The one table of functions: parser, checker, evaluator and documentation read it. */
#include "promql/ast.h"

#define PROMQL_ARGS_MAX 8 /* types listed; a variadic function repeats its last */

enum promql_function_id; /* private to functions.c and eval_*.c: see functions_ids.h */

struct promql_function {
    const char *name;
    enum promql_type args[PROMQL_ARGS_MAX];
    uint8_t arg_count;
    int8_t variadic; /* as Prometheus: 0 none; n > 0: up to n of the last may be left out; -1: any number */
    enum promql_type result;
    uint16_t id;     /* which code evaluates it */
};

const struct promql_function *promql_function_find(struct str name); /* NULL: unknown */
size_t promql_function_count(void);
const struct promql_function *promql_function_at(size_t index); /* sorted by name */
