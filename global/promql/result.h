#pragma once
/* The inside of a result; for eval.c and result.c alone. */
#include "promql/eval.h"
#include "promql/vector.h"

#define RESULT_WARNINGS_MAX 32 /* notes of one answer: enough for people, bounded for damaged stores */

struct promql_result {
    struct budget own;     /* where the query brings none */
    struct budget *budget; /* of everything below; blocks know it by address */
    struct vector vector;  /* the series of value */
    struct promql_value value;
    size_t steps;
    uint64_t samples, queried;
    char *warnings[RESULT_WARNINGS_MAX];
    size_t warning_count;
};

struct promql_result *promql_result_new(const struct promql_query *query);
