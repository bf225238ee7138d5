#pragma once
/* One request to the API, from its parameters to its answer: the envelope, errors in Prometheus' words, the wait for a
 * free place. Private to global/api. */
#include "api/api.h"
#include "api/settings.h"
#include "base/json_write.h"
#include "promql/budget.h"
#include "promql/error.h"
#include "promql/parse.h"
#include "store/store.h"

#include <pthread.h>

enum api_outcome {
    API_SUCCESS,
    API_BAD_DATA,
    API_EXECUTION,
    API_TIMEOUT,
    API_CANCELED,
    API_INTERNAL,
    API_UNAVAILABLE,
    API_OUTCOMES
};
const char *api_outcome_name(enum api_outcome outcome); /* "bad_data", ... as errorType says it */

struct api {
    struct api_options options;
    struct budget_total memory;
    pthread_mutex_t lock; /* guards what is below; leaf */
    pthread_cond_t left;  /* a query has left its place */
    int64_t running, waiting;
    uint64_t requests_total[API_OUTCOMES];
    uint64_t samples_total;
    double seconds_total;
    struct settings *settings; /* with a lock of its own */
};

struct api_request {
    struct api *api;
    struct http_exchange *exchange;
    int64_t start_mono_ms;
    int64_t timeout_ms; /* from start_mono_ms on */
    bool placed;
    struct budget budget; /* what is made for it: expressions, the evaluation, the answer until it is sent */
    bool plain_errors;    /* as text, not as JSON */
};

/* From the handler's arguments. */
struct api_request request_of(void *context, struct http_exchange *exchange);
/* Waits for one of concurrency_max places; false: the time ran out or the client has gone, and that is answered. */
MUST_CHECK bool request_enter(struct api_request *request);
void request_done(struct api_request *request);
/* bool (*)(void *) for evaluators and selects: the client has gone; or its time is over as well. */
bool request_is_cancelled(void *request);
bool request_must_end(void *request);
bool request_is_late(const struct api_request *request); /* its time has run out */
/* A select's range that ends with the request, and counts its memory on it. */
struct select_range request_range(struct api_request *request, int64_t start_ms, int64_t end_ms);
/* Counts an expression, which lives about as long as the request. False: that is too much, and that is answered. */
MUST_CHECK bool request_charge_expression(struct api_request *request, const struct promql_expression *expression);
/* The budget has just refused. */
void request_fail_memory(struct api_request *request);

/* The store, if it has blocks; NULL: it is in memory alone, and that is answered. */
struct store *request_disk_store(struct api_request *request);

#define REQUEST_ERROR_BYTES_MAX (16 * KIB) /* of its text */
/* The error's answer. */
void request_fail(struct api_request *request, enum api_outcome outcome, const char *format, ...) PRINTF_LIKE(3, 4);
/* invalid parameter "name": TEXT */
void request_fail_parameter(struct api_request *request, const char *name, const char *format, ...) PRINTF_LIKE(3, 4);
/* The same of an expression that does not parse. name NULL: the text alone; Prometheus' routes differ in that. */
void request_fail_parse(struct api_request *request, const char *name, struct str text,
                        const struct promql_error *error);

/* Parameters. False: it was not well formed, and that is answered. An empty value is an absent one. */
struct str request_text(const struct api_request *request, const char *name);
/* A whole number, which may be negative; "NAME must be a number". */
MUST_CHECK bool request_number(struct api_request *request, const char *name, int64_t fallback, int64_t *ret_number);
MUST_CHECK bool request_duration(struct api_request *request, const char *name, int64_t fallback_ms, int64_t *ret_ms);
/* required: without a fallback. */
MUST_CHECK bool request_time_required(struct api_request *request, const char *name, int64_t *ret_ms);
MUST_CHECK bool request_time(struct api_request *request, const char *name, int64_t fallback_ms, int64_t *ret_ms);
MUST_CHECK bool request_bool(struct api_request *request, const char *name, bool fallback, bool *ret_value);
/* timeout, at most the configured one. */
MUST_CHECK bool request_timeout(struct api_request *request);

/* The answer of a success that is not JSON; takes the bytes over. */
void request_succeed(struct api_request *request, const char *content_type, struct buf *body);

/* The answer of a success:
 *   answer_begin(&answer, &request); one value through answer.json; warnings; answer_send(&answer, &request)
 * What may become long asks answer_goes_on between its items, and ends what is open when it does not. */
struct answer {
    struct api_request *request;
    enum api_outcome ended; /* API_SUCCESS: goes on */
    size_t seen_bytes, charged_bytes;
    struct buf body;
    struct buf warnings; /* a line each, with \n */
    struct buf infos;    /* the same: what is no loss, but good to know */
    struct buf coverage; /* JSON; empty: nothing is said of it */
    struct json_writer json;
};
void answer_begin(struct answer *answer, struct api_request *request);
/* False once it has become too large, its client has gone or its time is over: answer_send will say so. */
bool answer_goes_on(struct answer *answer);
/* How complete the range is, and what it lacks among the warnings. */
void answer_cover(struct answer *answer, const struct api_request *request, const struct coverage_range *range);
void answer_warn(struct answer *answer, const char *text);
void answer_info(struct answer *answer, const char *text);
void answer_labels(struct answer *answer, const struct labels *labels); /* an object */
/* A field of milliseconds since 1970; null for what is none: at or past +-PARAMS_TIME_MS_MAX. */
void answer_time(struct json_writer *json, const char *key, int64_t time_ms);
void answer_send(struct answer *answer, struct api_request *request);
void answer_done(struct answer *answer);
