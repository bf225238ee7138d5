#pragma once
/* Evaluates a checked expression over a range of steps against a store. Semantics of Prometheus 2.42. */
#include "base/clock.h"
#include "base/crew.h"
#include "promql/parse.h"
#include "promql/value.h"
#include "store/select.h"

struct promql_limits {
    uint64_t samples_max; /* read by one query; past it: PROMQL_TOO_MUCH */
    uint64_t bytes_max;   /* memory of one query */
    int64_t timeout_ms;
    int64_t lookback_ms;     /* 5 min in Prometheus; a sample exactly so old is still found */
    int64_t default_step_ms; /* of subqueries that name none; 0: 1 min, as in Prometheus */
};

enum promql_failure {
    PROMQL_OK,
    PROMQL_BAD_DATA,  /* the expression: 400 */
    PROMQL_EXECUTION, /* this data, e.g. many-to-many matching: 422 */
    PROMQL_TOO_MUCH,  /* a limit of samples or bytes: 422 */
    PROMQL_BUSY,      /* the limit of bytes of all queries together: 503 */
    PROMQL_TIMEOUT,   /* 503 */
    PROMQL_CANCELLED, /* 503 */
    PROMQL_INTERNAL   /* 500 */
};

struct budget;
struct promql_query {
    struct store *store;
    const struct promql_expression *expression;
    int64_t start_ms, end_ms;
    int64_t step_ms;   /* 0: instant, start = end */
    bool widen_ranges; /* those too short for the samples there are: docs/downsampling.md */
    struct promql_limits limits;
    struct crew *crew;     /* whose idle threads help; NULL: nobody does */
    struct budget *budget; /* counts the query's memory and outlives the result; NULL: one of limits.bytes_max */
    struct clock *clock;   /* for the timeout */
    bool (*cancelled)(void *arg);
    void *cancelled_arg;
};

struct promql_result;

#define PROMQL_STEPS_MAX 11000 /* of one range query, as Prometheus' API */

/* PROMQL_OK and a result, or what failed with the place and reason in ret_error. */
MUST_CHECK enum promql_failure promql_eval(const struct promql_query *query, struct promql_error *ret_error,
                                           struct promql_result **ret_result);
void promql_result_free(struct promql_result *result);
DEFINE_CLEANUP(struct promql_result *, promql_result_free)
/* Series with no value at any step are not in it. Instant vectors are in the engine's order (topk and sort keep
 * theirs). */
const struct promql_value *promql_result_value(const struct promql_result *result);
size_t promql_result_steps(const struct promql_result *result);
uint64_t promql_result_samples(const struct promql_result *result); /* read from the store */
/* As Prometheus counts them (totalQueryableSamples): of a selector one for each series and step at which it has a
 * value, of a range all in the window of each step, however often windows overlap. */
uint64_t promql_result_queried(const struct promql_result *result);
/* Notes for the answer's warnings, each once. */
size_t promql_result_warning_count(const struct promql_result *result);
const char *promql_result_warning(const struct promql_result *result, size_t index);
/* The same for its infos. */
size_t promql_result_info_count(const struct promql_result *result);
const char *promql_result_info(const struct promql_result *result, size_t index);
