#include "api/request.h"

#include "api/params.h"
#include "base/fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define WARNINGS_BYTES_MAX (64 * KIB)
#define COVERAGE_BYTES_MAX (16 * MIB) /* some 4 KiB for each datacenter that lacks much */
#define WAIT_SLICE_MS      100        /* between looks at whether the client still waits */
#define ANSWER_STEP_BYTES  (64 * KIB) /* between looks at memory, time and client: some 1,024 points */
#define TRIM_BYTES_MIN     (64 * MIB) /* of a query, behind which its memory is given back to the system */
#define RETRY_AFTER_S      "5"        /* told to who finds the memory of all queries taken */

static const struct {
    const char *type;
    int status;
} outcomes[API_OUTCOMES] = {
    [API_SUCCESS] = {"success", 200},         [API_BAD_DATA] = {"bad_data", 400}, [API_EXECUTION] = {"execution", 422},
    [API_TIMEOUT] = {"timeout", 503},         [API_CANCELED] = {"canceled", 503}, [API_INTERNAL] = {"internal", 500},
    [API_UNAVAILABLE] = {"unavailable", 503},
};

const char *api_outcome_name(enum api_outcome outcome)
{
    return outcomes[outcome].type;
}

/* ---- Lifecycle ---- */

static int64_t mono_ms(const struct api_request *request)
{
    return clock_mono_ms(request->api->options.clock);
}

struct api_request request_of(void *context, struct http_exchange *exchange)
{
    struct api *api = ((struct api_context *)context)->api;
    return (struct api_request){.api = api,
                                .exchange = exchange,
                                .start_mono_ms = clock_mono_ms(api->options.clock),
                                .timeout_ms = api->options.limits.timeout_ms,
                                .budget = {.bytes_max = api->options.limits.bytes_max, .total = &api->memory}};
}

bool request_is_cancelled(void *arg)
{
    const struct api_request *request = arg;
    return http_exchange_is_gone(request->exchange);
}

bool request_is_late(const struct api_request *request)
{
    return mono_ms(request) - request->start_mono_ms >= request->timeout_ms;
}

bool request_must_end(void *arg)
{
    return request_is_cancelled(arg) || request_is_late(arg);
}

static bool charge(void *arg, size_t bytes)
{
    return budget_charge(&((struct api_request *)arg)->budget, bytes);
}

static void release(void *arg, size_t bytes)
{
    budget_release(&((struct api_request *)arg)->budget, bytes);
}

struct select_range request_range(struct api_request *request, int64_t start_ms, int64_t end_ms)
{
    return (struct select_range){.start_ms = start_ms,
                                 .end_ms = end_ms,
                                 .cancelled = request_must_end,
                                 .cancelled_arg = request,
                                 .charge = charge,
                                 .release = release,
                                 .charge_arg = request};
}

bool request_charge_expression(struct api_request *request, const struct promql_expression *expression)
{
    bool fits = budget_charge(&request->budget, promql_expression_bytes(expression));
    if (!fits)
        request_fail_memory(request);
    return fits;
}

/* What keeps a waiting query from a place; API_SUCCESS: nothing. */
static enum api_outcome wait_for_place(struct api_request *request)
{
    struct api *api = request->api;
    while (api->running >= api->options.concurrency_max) {
        if (http_exchange_is_gone(request->exchange))
            return API_CANCELED;
        if (request_is_late(request))
            return API_TIMEOUT;
        int64_t until_ns = clock_mono_ns(clock_real()) + WAIT_SLICE_MS * INT64_C(1000000);
        struct timespec until = {until_ns / 1000000000, until_ns % 1000000000};
        pthread_cond_clockwait(&api->left, &api->lock, CLOCK_MONOTONIC, &until);
    }
    return API_SUCCESS;
}

bool request_enter(struct api_request *request)
{
    struct api *api = request->api;
    pthread_mutex_lock(&api->lock);
    api->waiting++;
    enum api_outcome outcome = wait_for_place(request);
    api->waiting--;
    request->placed = outcome == API_SUCCESS;
    api->running += request->placed;
    pthread_mutex_unlock(&api->lock);
    if (outcome == API_TIMEOUT)
        request_fail(request, outcome, "query timed out in query queue");
    else if (outcome == API_CANCELED)
        request_fail(request, outcome, "query was canceled in query queue");
    return request->placed;
}

void request_done(struct api_request *request)
{
    struct api *api = request->api;
    pthread_mutex_lock(&api->lock);
    api->seconds_total += (double)(mono_ms(request) - request->start_mono_ms) / 1000;
    if (request->placed) {
        api->running--;
        pthread_cond_signal(&api->left);
    }
    pthread_mutex_unlock(&api->lock);
    request->placed = false;
    budget_done(&request->budget);
    /* Each thread has a heap of its own: the sum of what they keep free would pass the ceiling of all queries. */
    if (request->budget.most_bytes >= TRIM_BYTES_MIN)
        mem_trim();
}

struct store *request_disk_store(struct api_request *request)
{
    struct store *store = request->api->options.store;
    if (store_blocks(store))
        return store;
    request_fail(request, API_EXECUTION, "the store is in memory alone: it has no blocks");
    return NULL;
}

static void count_outcome(struct api_request *request, enum api_outcome outcome)
{
    pthread_mutex_lock(&request->api->lock);
    request->api->requests_total[outcome]++;
    pthread_mutex_unlock(&request->api->lock);
}

/* ---- Errors ---- */

static void send_error(struct api_request *request, enum api_outcome outcome, const struct buf *text)
{
    if (request->plain_errors) {
        count_outcome(request, outcome);
        http_exchange_answer_text(request->exchange, outcomes[outcome].status, STR_FMT "\n", STR_ARG(buf_view(text)));
        return;
    }
    struct buf body = BUF_INIT(2 * REQUEST_ERROR_BYTES_MAX * 6); /* each byte may become \u00xx */
    struct json_writer json;
    json_begin(&json, &body);
    json_object(&json);
    json_field_text(&json, "status", "error");
    json_field_text(&json, "errorType", outcomes[outcome].type);
    json_field_str(&json, "error", buf_view(text));
    json_object_end(&json);
    count_outcome(request, outcome);
    http_exchange_answer(request->exchange, outcomes[outcome].status, "application/json", &body);
}

static void append_format(struct buf *text, const char *format, va_list args)
{
    char line[REQUEST_ERROR_BYTES_MAX];
    int len = vsnprintf(line, sizeof(line), format, args);
    buf_append(text, line, MIN((size_t)MAX(len, 0), sizeof(line) - 1));
}

void request_fail(struct api_request *request, enum api_outcome outcome, const char *format, ...)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(REQUEST_ERROR_BYTES_MAX);
    va_list args;
    va_start(args, format);
    append_format(&text, format, args);
    va_end(args);
    send_error(request, outcome, &text);
}

void request_fail_memory(struct api_request *request)
{
    char text[BUDGET_TEXT_BYTES];
    budget_text(&request->budget, text);
    bool busy = request->budget.total_full;
    if (busy)
        http_exchange_header_add(request->exchange, "Retry-After", RETRY_AFTER_S);
    request_fail(request, busy ? API_UNAVAILABLE : API_EXECUTION, "%s", text);
}

void request_fail_parameter(struct api_request *request, const char *name, const char *format, ...)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(2 * REQUEST_ERROR_BYTES_MAX);
    buf_printf(&text, "invalid parameter \"%s\": ", name);
    va_list args;
    va_start(args, format);
    append_format(&text, format, args);
    va_end(args);
    send_error(request, API_BAD_DATA, &text);
}

void request_fail_parse(struct api_request *request, const char *name, struct str text,
                        const struct promql_error *error)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(REQUEST_ERROR_BYTES_MAX);
    if (name)
        buf_printf(&out, "invalid parameter \"%s\": ", name);
    promql_error_print_short(error, text, &out);
    send_error(request, API_BAD_DATA, &out);
}

/* ---- Parameters ---- */

struct str request_text(const struct api_request *request, const char *name)
{
    return http_exchange_param(request->exchange, name, 0);
}

bool request_number(struct api_request *request, const char *name, int64_t fallback, int64_t *ret_number)
{
    struct str text = request_text(request, name);
    int64_t number = fallback;
    int result = text.len > 0 ? str_to_i64(text, &number) : 0;
    if (result == 0)
        *ret_number = number;
    else
        request_fail(request, API_BAD_DATA, "%s must be a number", name);
    return result == 0;
}

bool request_duration(struct api_request *request, const char *name, int64_t fallback_ms, int64_t *ret_ms)
{
    struct str text = request_text(request, name);
    int64_t value_ms = fallback_ms;
    int result = text.len > 0 ? params_duration(text, &value_ms) : 0;
    if (result == 0)
        *ret_ms = value_ms;
    else
        request_fail_parameter(request, name, "cannot parse \"" STR_FMT "\" to a valid duration%s", STR_ARG(text),
                               result == -ERANGE ? ". It overflows int64" : "");
    return result == 0;
}

bool request_time_required(struct api_request *request, const char *name, int64_t *ret_ms)
{
    struct str text = request_text(request, name);
    if (params_time(text, ret_ms) == 0)
        return true;
    request_fail_parameter(request, name, "cannot parse \"" STR_FMT "\" to a valid timestamp", STR_ARG(text));
    return false;
}

bool request_time(struct api_request *request, const char *name, int64_t fallback_ms, int64_t *ret_ms)
{
    struct str text = request_text(request, name);
    if (text.len == 0) {
        *ret_ms = fallback_ms;
        return true;
    }
    if (params_time(text, ret_ms) == 0)
        return true;
    request_fail_parameter(request, name,
                           "Invalid time value for '%s': cannot parse \"" STR_FMT "\" to a valid timestamp", name,
                           STR_ARG(text));
    return false;
}

bool request_bool(struct api_request *request, const char *name, bool fallback, bool *ret_value)
{
    struct str text = request_text(request, name);
    bool is_true = str_equal(text, STR("true")) || str_equal(text, STR("1"));
    if (text.len > 0 && !is_true && !str_equal(text, STR("false")) && !str_equal(text, STR("0"))) {
        request_fail_parameter(request, name, "\"" STR_FMT "\" is neither true nor false", STR_ARG(text));
        return false;
    }
    *ret_value = text.len > 0 ? is_true : fallback;
    return true;
}

bool request_timeout(struct api_request *request)
{
    int64_t timeout_ms;
    if (!request_duration(request, "timeout", request->timeout_ms, &timeout_ms))
        return false;
    if (timeout_ms > 0) /* 0 means no timeout of its own to Prometheus' clients */
        request->timeout_ms = MIN(timeout_ms, request->timeout_ms);
    return true;
}

/* ---- Answers ---- */

static void release_answer(void *api, size_t bytes)
{
    budget_total_give(&((struct api *)api)->memory, bytes);
}

void request_succeed(struct api_request *request, const char *content_type, struct buf *body)
{
    count_outcome(request, API_SUCCESS);
    http_exchange_answer(request->exchange, 200, content_type, body);
    budget_total_take(&request->api->memory, http_exchange_hold(request->exchange, release_answer, request->api));
}

void answer_begin(struct answer *answer, struct api_request *request)
{
    *answer = (struct answer){.request = request, .ended = API_SUCCESS};
    answer->body = BUF_INIT(request->api->options.limits.bytes_max);
    answer->warnings = BUF_INIT(WARNINGS_BYTES_MAX);
    answer->infos = BUF_INIT(WARNINGS_BYTES_MAX);
    answer->coverage = BUF_INIT(COVERAGE_BYTES_MAX);
    json_begin(&answer->json, &answer->body);
    json_object(&answer->json);
    json_field_text(&answer->json, "status", "success");
    json_key(&answer->json, "data");
}

/* Counts the memory that the body has come to take; false past a ceiling. */
static bool charge_body(struct answer *answer)
{
    size_t more = answer->body.capacity - answer->charged_bytes;
    if (!budget_charge(&answer->request->budget, more))
        return false;
    answer->charged_bytes += more;
    return true;
}

bool answer_goes_on(struct answer *answer)
{
    if (answer->ended != API_SUCCESS || answer->body.full)
        return false;
    if (answer->body.len - answer->seen_bytes < ANSWER_STEP_BYTES)
        return true;
    answer->seen_bytes = answer->body.len;
    if (request_is_cancelled(answer->request))
        answer->ended = API_CANCELED;
    else if (request_is_late(answer->request))
        answer->ended = API_TIMEOUT;
    else if (!charge_body(answer))
        answer->ended = API_UNAVAILABLE;
    return answer->ended == API_SUCCESS;
}

void answer_cover(struct answer *answer, const struct api_request *request, const struct coverage_range *range)
{
    const struct api_options *options = &request->api->options;
    struct json_writer json;
    json_begin(&json, &answer->coverage);
    if (options->coverage)
        options->coverage(options->coverage_arg, range, &json, &answer->warnings);
}

void answer_warn(struct answer *answer, const char *text)
{
    buf_append_text(&answer->warnings, text);
    buf_append_byte(&answer->warnings, '\n');
}

void answer_info(struct answer *answer, const char *text)
{
    buf_append_text(&answer->infos, text);
    buf_append_byte(&answer->infos, '\n');
}

void answer_labels(struct answer *answer, const struct labels *labels)
{
    json_object(&answer->json);
    for (size_t i = 0; i < labels_count(labels); i++) {
        struct label label = labels_at(labels, i);
        json_key_str(&answer->json, label.name);
        json_str(&answer->json, label.value);
    }
    json_object_end(&answer->json);
}

void answer_time(struct json_writer *json, const char *key, int64_t time_ms)
{
    json_key(json, key);
    if (time_ms > -PARAMS_TIME_MS_MAX && time_ms < PARAMS_TIME_MS_MAX)
        json_int(json, time_ms);
    else
        json_null(json);
}

static void write_lines(struct answer *answer, const char *key, const struct buf *lines)
{
    struct str rest = buf_view(lines);
    if (rest.len == 0)
        return;
    json_key(&answer->json, key);
    json_array(&answer->json);
    while (rest.len > 0) {
        size_t end = str_find(rest, '\n');
        json_str(&answer->json, str_of(rest.ptr, end));
        size_t taken = MIN(end + 1, rest.len);
        rest = str_of(rest.ptr + taken, rest.len - taken);
    }
    json_array_end(&answer->json);
}

/* Packed, the body may be there twice for a moment; else once until it is sent. */
static bool charge_sending(struct answer *answer)
{
    return charge_body(answer) && budget_charge(&answer->request->budget, answer->body.len);
}

void answer_send(struct answer *answer, struct api_request *request)
{
    write_lines(answer, "warnings", &answer->warnings);
    write_lines(answer, "infos", &answer->infos);
    if (answer->coverage.len > 0 && !answer->coverage.full) {
        json_key(&answer->json, "coverage");
        json_raw(&answer->json, buf_view(&answer->coverage));
    }
    json_object_end(&answer->json);
    if (answer->ended == API_CANCELED) {
        request_fail(request, API_CANCELED, "query was canceled in writing its answer");
    } else if (answer->ended == API_TIMEOUT) {
        request_fail(request, API_TIMEOUT, "query timed out in writing its answer");
    } else if (answer->body.full) {
        request_fail(request, API_EXECUTION, "the answer is larger than %zu bytes (query.max_memory)",
                     answer->body.bytes_max);
    } else if (answer->ended != API_SUCCESS || !charge_sending(answer)) {
        request_fail_memory(request);
    } else {
        request_succeed(request, "application/json", &answer->body);
    }
}

void answer_done(struct answer *answer)
{
    buf_done(&answer->body);
    buf_done(&answer->warnings);
    buf_done(&answer->infos);
    buf_done(&answer->coverage);
}
