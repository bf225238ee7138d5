#pragma once
/* One request to the API, from its parameters to its answer: the envelope, errors in Prometheus' words, the wait for a
 * free place. Private to global/api. */
#include "api/api.h"
#include "base/json_write.h"
#include "promql/error.h"
#include "store/store.h"

#include <pthread.h>

enum api_outcome { API_SUCCESS, API_BAD_DATA, API_EXECUTION, API_TIMEOUT, API_CANCELED, API_INTERNAL, API_OUTCOMES };
const char *api_outcome_name(enum api_outcome outcome); /* "bad_data", ... as errorType says it */

struct api {
    struct api_options options;
    pthread_mutex_t lock; /* guards what is below; leaf */
    pthread_cond_t left;  /* a query has left its place */
    int64_t running, waiting;
    uint64_t requests_total[API_OUTCOMES];
    uint64_t samples_total;
    double seconds_total;
};

struct api_request {
    struct api *api;
    struct http_exchange *exchange;
    int64_t start_mono_ms;
    int64_t timeout_ms; /* from start_mono_ms on */
    bool placed;
};

/* From the handler's arguments. */
struct api_request request_of(void *context, struct http_exchange *exchange);
/* Waits for one of concurrency_max places; false: the time ran out or the client has gone, and that is answered. */
MUST_CHECK bool request_enter(struct api_request *request);
void request_done(struct api_request *request);
/* A bool (*)(void *) for evaluators and selects. */
bool request_is_cancelled(void *request);

/* The store, if it has blocks; NULL: it is in memory alone, and that is answered. */
struct store *request_disk_store(struct api_request *request);

/* The error's answer. */
void request_fail(struct api_request *request, enum api_outcome outcome, const char *format, ...) PRINTF_LIKE(3, 4);
/* invalid parameter "name": TEXT */
void request_fail_parameter(struct api_request *request, const char *name, const char *format, ...) PRINTF_LIKE(3, 4);
/* The same of an expression that does not parse. */
void request_fail_parse(struct api_request *request, const char *name, struct str text,
                        const struct promql_error *error);

/* Parameters. False: it was not well formed, and that is answered. An empty value is an absent one. */
struct str request_text(const struct api_request *request, const char *name);
MUST_CHECK bool request_duration(struct api_request *request, const char *name, int64_t fallback_ms, int64_t *ret_ms);
/* required: without a fallback. */
MUST_CHECK bool request_time_required(struct api_request *request, const char *name, int64_t *ret_ms);
MUST_CHECK bool request_time(struct api_request *request, const char *name, int64_t fallback_ms, int64_t *ret_ms);
MUST_CHECK bool request_bool(struct api_request *request, const char *name, bool fallback, bool *ret_value);
/* timeout, at most the configured one. */
MUST_CHECK bool request_timeout(struct api_request *request);

/* The answer of a success:
 *   answer_begin(&answer, &request); one value through answer.json; warnings; answer_send(&answer, &request) */
struct answer {
    struct buf body;
    struct buf warnings; /* a line each, with \n */
    struct buf infos;    /* the same: what is no loss, but good to know */
    struct buf coverage; /* JSON; empty: nothing is said of it */
    struct json_writer json;
};
void answer_begin(struct answer *answer, const struct api_request *request);
/* How complete the range is, and what it lacks among the warnings. */
void answer_cover(struct answer *answer, const struct api_request *request, const struct coverage_range *range);
void answer_warn(struct answer *answer, const char *text);
void answer_info(struct answer *answer, const char *text);
void answer_labels(struct answer *answer, const struct labels *labels); /* an object */
/* A field of milliseconds since 1970; null for what is none: at or past +-PARAMS_TIME_MS_MAX. */
void answer_time(struct json_writer *json, const char *key, int64_t time_ms);
void answer_send(struct answer *answer, struct api_request *request);
void answer_done(struct answer *answer);
