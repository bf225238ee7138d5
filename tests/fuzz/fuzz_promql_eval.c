/* Whatever parses can be evaluated, at an instant and over a range, within small limits. */
#include "base/fail.h"
#include "promql/eval.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>

#define MINUTE_MS INT64_C(60000)
#define WORK_MAX  200 /* questions for cancellation, a thousand samples or steps each */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct clock *the_clock;
static struct store *the_store;

static void append(struct store *store, const char *name, const char *host, const char *bound, int64_t minute)
{
    struct label labels[] = {
        {STR("__name__"), str_from(name)}, {STR("host"), str_from(host)}, {STR("le"), str_from(bound)}};
    CLEANUP(labels_unrefp) struct labels *set = labels_new(labels, ARRAY_LEN(labels));
    struct record record = record_empty(KIND_GAUGE);
    double value = minute % 11 == 7 ? value_stale() : minute % 13 == 5 ? NAN : (double)(minute * minute % 37);
    record_add(&record, (struct sample){minute * MINUTE_MS, value});
    store_write_begin(store);
    store_append(store, store_series(store, set, KIND_GAUGE), minute * MINUTE_MS, 0, &record, NULL, 0);
    store_write_end(store);
}

static void fill(void)
{
    static const char *const bounds[] = {"", "0.1", "1", "+Inf"};
    struct store_options options = {
        .max_age_ms = INT64_C(1) << 60, .max_ahead_ms = INT64_C(1) << 60, .series_max = 1000};
    the_clock = clock_simulated_new(0);
    the_store = store_new(the_clock, &options);
    for (int64_t minute = 0; minute < 30; minute++)
        for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
            append(the_store, "m", "a", bounds[i], minute);
            append(the_store, "m", "b", bounds[i], minute + 3);
            append(the_store, "n", "a", bounds[i], minute);
        }
}

static bool is_cancelled(void *arg)
{
    int *left = arg;
    return --*left < 0;
}

static void evaluate(const struct promql_expression *expression, int64_t length_ms, int64_t step_ms)
{
    int left = WORK_MAX;
    struct promql_query query = {
        .store = the_store,
        .expression = expression,
        .start_ms = 10 * MINUTE_MS,
        .end_ms = 10 * MINUTE_MS + length_ms,
        .step_ms = step_ms,
        .limits = {.samples_max = 100000, .bytes_max = 4 * MIB, .timeout_ms = 1000, .lookback_ms = 5 * MINUTE_MS},
        .clock = the_clock,
        .cancelled = is_cancelled,
        .cancelled_arg = &left};
    struct promql_error error = {.text = ""};
    CLEANUP(promql_result_freep) struct promql_result *result = NULL;
    enum promql_failure failure = promql_eval(&query, &error, &result);
    ASSERT((failure == PROMQL_OK) == (result != NULL));
    ASSERT(failure != PROMQL_INTERNAL);
    ASSERT(result || error.text[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!the_store)
        fill();
    struct promql_error error;
    CLEANUP(promql_expression_freep) struct promql_expression *expression = NULL;
    if (size > 2000 || promql_parse(str_of(data, size), &error, &expression) < 0)
        return 0;
    evaluate(expression, 0, 0);
    evaluate(expression, 10 * MINUTE_MS, 75000);
    return 0;
}
