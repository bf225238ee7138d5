/* query, query_range, format_query. */
#include "api/request.h"
#include "base/fail.h"
#include "metric/sample.h"
#include "promql/reach.h"

#define SECONDS_TEXT_BYTES 32 /* a sign, 17 digits, a point, three digits */
/* [seconds,"value"] */
#define POINT_TEXT_BYTES (SECONDS_TEXT_BYTES + VALUE_TEXT_BYTES + 8)

/* ---- Values ---- */

/* Unix seconds; milliseconds only where there are some. By hand: printf would cost more than all the rest of a point.
 */
static size_t print_seconds(int64_t time_ms, char ret_text[static SECONDS_TEXT_BYTES])
{
    char digits[SECONDS_TEXT_BYTES];
    uint64_t ms = time_ms < 0 ? 0 - (uint64_t)time_ms : (uint64_t)time_ms;
    uint64_t seconds = ms / 1000;
    unsigned rest = (unsigned)(ms % 1000);
    size_t len = 0, count = 0;
    if (time_ms < 0)
        ret_text[len++] = '-';
    do {
        digits[count++] = (char)('0' + seconds % 10);
        seconds /= 10;
    } while (seconds > 0);
    while (count > 0)
        ret_text[len++] = digits[--count];
    if (rest > 0) {
        ret_text[len++] = '.';
        ret_text[len++] = (char)('0' + rest / 100);
        ret_text[len++] = (char)('0' + rest / 10 % 10);
        ret_text[len++] = (char)('0' + rest % 10);
    }
    return len;
}

static void write_point(struct json_writer *json, int64_t time_ms, double value)
{
    char text[POINT_TEXT_BYTES];
    text[0] = '[';
    size_t len = 1 + print_seconds(time_ms, text + 1);
    text[len++] = ',';
    text[len++] = '"';
    len += value_print_api(value, text + len);
    text[len++] = '"';
    text[len++] = ']';
    json_raw(json, str_of(text, len));
}

static void write_vector(struct answer *answer, const struct promql_value *value, int64_t time_ms)
{
    struct json_writer *json = &answer->json;
    json_array(json);
    for (size_t i = 0; i < value->series_count && answer_goes_on(answer); i++) {
        const struct promql_series *series = &value->series[i];
        if (!promql_present(series, 0))
            continue;
        json_object(json);
        json_key(json, "metric");
        answer_labels(answer, series->labels);
        json_key(json, "value");
        write_point(json, time_ms, series->values[0]);
        json_object_end(json);
    }
    json_array_end(json);
}

static void write_points(struct answer *answer, const struct promql_value *value)
{
    struct json_writer *json = &answer->json;
    json_array(json);
    for (size_t i = 0; i < value->points_count && answer_goes_on(answer); i++) {
        const struct promql_points *points = &value->points[i];
        json_object(json);
        json_key(json, "metric");
        answer_labels(answer, points->labels);
        json_key(json, "values");
        json_array(json);
        for (size_t j = 0; j < points->count && answer_goes_on(answer); j++)
            write_point(json, points->samples[j].time_ms, points->samples[j].value);
        json_array_end(json);
        json_object_end(json);
    }
    json_array_end(json);
}

/* Unlike points these have seconds as a double, and numbers never an exponent: so does Prometheus. */
static void write_scalar(struct json_writer *json, int64_t time_ms, double value)
{
    char text[VALUE_TEXT_BYTES];
    size_t len = value_print(value, text);
    json_array(json);
    json_double(json, (double)time_ms / 1000);
    json_str(json, str_of(text, len));
    json_array_end(json);
}

static void write_string(struct json_writer *json, int64_t time_ms, struct str string)
{
    json_array(json);
    json_double(json, (double)time_ms / 1000);
    json_str(json, string);
    json_array_end(json);
}

static const char *result_type(enum promql_type type)
{
    switch (type) {
    case PROMQL_SCALAR:
        return "scalar";
    case PROMQL_STRING:
        return "string";
    case PROMQL_MATRIX:
        return "matrix";
    case PROMQL_VECTOR:
    case PROMQL_NONE:
        break;
    }
    return "vector";
}

static void write_instant(struct answer *answer, const struct promql_value *value, int64_t time_ms)
{
    json_field_text(&answer->json, "resultType", result_type(value->type));
    json_key(&answer->json, "result");
    switch (value->type) {
    case PROMQL_SCALAR:
        write_scalar(&answer->json, time_ms, value->series[0].values[0]);
        break;
    case PROMQL_STRING:
        write_string(&answer->json, time_ms, value->string);
        break;
    case PROMQL_MATRIX:
        write_points(answer, value);
        break;
    case PROMQL_VECTOR:
    case PROMQL_NONE:
        write_vector(answer, value, time_ms);
        break;
    }
}

static void write_range(struct answer *answer, const struct promql_value *value, const struct promql_query *query,
                        size_t steps)
{
    struct json_writer *json = &answer->json;
    json_field_text(json, "resultType", "matrix");
    json_key(json, "result");
    json_array(json);
    for (size_t i = 0; i < value->series_count && answer_goes_on(answer); i++) {
        const struct promql_series *series = &value->series[i];
        json_object(json);
        json_key(json, "metric");
        answer_labels(answer, series->labels);
        json_key(json, "values");
        json_array(json);
        PROMQL_EACH(step, series, steps)
        {
            write_point(json, query->start_ms + (int64_t)step * query->step_ms, series->values[step]);
        }
        json_array_end(json);
        json_object_end(json);
    }
    json_array_end(json);
}

/* ---- Evaluation ---- */

struct query_times { /* monotonic */
    int64_t queue_ns, eval_ns, end_ns;
};

static void fail_evaluation(struct api_request *request, enum promql_failure failure, const struct promql_error *error)
{
    static const enum api_outcome outcomes[] = {
        [PROMQL_OK] = API_INTERNAL,        [PROMQL_BAD_DATA] = API_BAD_DATA, [PROMQL_EXECUTION] = API_EXECUTION,
        [PROMQL_TOO_MUCH] = API_EXECUTION, [PROMQL_BUSY] = API_UNAVAILABLE,  [PROMQL_TIMEOUT] = API_TIMEOUT,
        [PROMQL_CANCELLED] = API_CANCELED, [PROMQL_INTERNAL] = API_INTERNAL,
    };
    if (failure == PROMQL_BUSY) {
        request_fail_memory(request);
        return;
    }
    request_fail(request, outcomes[failure], "%s", error->text);
}

/* What of Prometheus' statistics is measured here. */
static void write_stats(struct json_writer *json, const struct query_times *times, const struct promql_result *result)
{
    json_key(json, "stats");
    json_object(json);
    json_key(json, "timings");
    json_object(json);
    json_field_double(json, "evalTotalTime", (double)(times->end_ns - times->eval_ns) / 1e9);
    json_field_double(json, "execQueueTime", (double)(times->eval_ns - times->queue_ns) / 1e9);
    json_field_double(json, "execTotalTime", (double)(times->end_ns - times->queue_ns) / 1e9);
    json_object_end(json);
    json_key(json, "samples");
    json_object(json);
    json_field_uint(json, "totalQueryableSamples", promql_result_queried(result));
    json_object_end(json);
    json_object_end(json);
}

/* Of all that the expression looks at: with its ranges and offsets, and the datacenters that its selectors allow. */
static void cover(struct answer *answer, const struct api_request *request, const struct promql_query *query)
{
    struct promql_reach reach;
    promql_reach(query, &reach);
    const struct coverage_range range = {reach.start_ms, reach.end_ms, promql_reaches_datacenter, &reach};
    answer_cover(answer, request, &range);
}

static void send_result(struct api_request *request, const struct promql_query *query, const struct query_times *times,
                        const struct promql_result *result)
{
    CLEANUP(answer_done) struct answer answer;
    answer_begin(&answer, request);
    json_object(&answer.json);
    if (query->step_ms == 0)
        write_instant(&answer, promql_result_value(result), query->start_ms);
    else
        write_range(&answer, promql_result_value(result), query, promql_result_steps(result));
    if (request_text(request, "stats").len > 0)
        write_stats(&answer.json, times, result);
    json_object_end(&answer.json);
    for (size_t i = 0; i < promql_result_warning_count(result); i++)
        answer_warn(&answer, promql_result_warning(result, i));
    for (size_t i = 0; i < promql_result_info_count(result); i++)
        answer_info(&answer, promql_result_info(result, i));
    cover(&answer, request, query);
    answer_send(&answer, request);
}

/* Parses the parameter `query`; NULL: it is answered what is wrong. name: as in request_fail_parse. */
static struct promql_expression *parse_query(struct api_request *request, const char *name)
{
    struct str text = request_text(request, "query");
    struct promql_expression *expression = NULL;
    struct promql_error error;
    if (promql_parse(text, &error, &expression) == 0)
        return expression;
    request_fail_parse(request, name, text, &error);
    return NULL;
}

/* The query has its times; the rest is common to both kinds. */
static void evaluate(struct api_request *request, struct promql_query *query)
{
    struct api *api = request->api;
    query->store = api->options.store;
    query->crew = api->options.crew;
    query->limits = api->options.limits;
    query->clock = api->options.clock;
    query->budget = &request->budget;
    query->cancelled = request_is_cancelled;
    query->cancelled_arg = request;
    if (!request_duration(request, "lookback_delta", query->limits.lookback_ms, &query->limits.lookback_ms) ||
        !request_timeout(request) || !request_bool(request, "widen", api->options.widen_ranges, &query->widen_ranges))
        return;
    if (query->limits.lookback_ms <= 0)
        query->limits.lookback_ms = api->options.limits.lookback_ms;
    CLEANUP(promql_expression_freep)
    struct promql_expression *expression = parse_query(request, query->step_ms == 0 ? "query" : NULL);
    struct query_times times = {.queue_ns = clock_mono_ns(query->clock)};
    if (!expression || !request_charge_expression(request, expression) || !request_enter(request))
        return;
    query->expression = expression;
    times.eval_ns = clock_mono_ns(query->clock);
    int64_t waited_ms = times.eval_ns / 1000000 - request->start_mono_ms;
    query->limits.timeout_ms = MAX(request->timeout_ms - waited_ms, 1);
    CLEANUP(promql_result_freep) struct promql_result *result = NULL;
    struct promql_error error;
    enum promql_failure failure = promql_eval(query, &error, &result);
    times.end_ns = clock_mono_ns(query->clock);
    if (failure != PROMQL_OK) {
        fail_evaluation(request, failure, &error);
        return;
    }
    pthread_mutex_lock(&api->lock);
    api->samples_total += promql_result_samples(result);
    pthread_mutex_unlock(&api->lock);
    send_result(request, query, &times, result);
}

void api_serve_query(void *context, struct http_exchange *exchange)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    struct promql_query query = {0};
    if (!request_time(&request, "time", clock_wall_ms(request.api->options.clock), &query.start_ms))
        return;
    query.end_ms = query.start_ms;
    evaluate(&request, &query);
}

static bool range_of(struct api_request *request, struct promql_query *query)
{
    if (!request_time_required(request, "start", &query->start_ms) ||
        !request_time_required(request, "end", &query->end_ms))
        return false;
    if (query->end_ms < query->start_ms) {
        request_fail_parameter(request, "end", "end timestamp must not be before start time");
        return false;
    }
    if (request_text(request, "step").len == 0) {
        request_fail_parameter(request, "step", "cannot parse \"\" to a valid duration");
        return false;
    }
    if (!request_duration(request, "step", 0, &query->step_ms))
        return false;
    if (query->step_ms <= 0) {
        request_fail_parameter(request, "step",
                               "zero or negative query resolution step widths are not accepted. Try a "
                               "positive integer");
        return false;
    }
    if ((query->end_ms - query->start_ms) / query->step_ms < PROMQL_STEPS_MAX)
        return true;
    request_fail(request, API_BAD_DATA,
                 "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution "
                 "(?step=XX)");
    return false;
}

void api_serve_query_range(void *context, struct http_exchange *exchange)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    struct promql_query query = {0};
    if (range_of(&request, &query))
        evaluate(&request, &query);
}

void api_serve_format_query(void *context, struct http_exchange *exchange)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    CLEANUP(promql_expression_freep) struct promql_expression *expression = parse_query(&request, "query");
    if (!expression)
        return;
    CLEANUP(buf_done) struct buf text = BUF_INIT(4 * PROMQL_TEXT_BYTES_MAX); /* what is short may print longer */
    if (ast_print(promql_expression_root(expression), &text) < 0) {
        request_fail(&request, API_EXECUTION, "the expression is longer than %zu bytes", text.bytes_max);
        return;
    }
    CLEANUP(answer_done) struct answer answer;
    answer_begin(&answer, &request);
    json_str(&answer.json, buf_view(&text));
    answer_send(&answer, &request);
}
