#include "api/api.h"

#include "api/request.h"
#include "base/fail.h"
#include "net/metrics.h"

#include <stdio.h>

/* The language and API spoken are those of this version of Prometheus: clients choose their requests by it. */
#define PROMETHEUS_VERSION "2.42.0"

struct api *api_new(const struct api_options *options)
{
    ASSERT(options->concurrency_max > 0 && options->limits.bytes_max > 0);
    struct api *api = mem_zalloc(sizeof(*api));
    api->options = *options;
    api->memory.bytes_max = options->memory_bytes_max > 0 ? options->memory_bytes_max : UINT64_MAX / 2;
    ASSERT(pthread_mutex_init(&api->lock, NULL) == 0);
    ASSERT(pthread_cond_init(&api->left, NULL) == 0);
    api->settings = settings_new();
    return api;
}

void api_free(struct api *api)
{
    if (!api)
        return;
    ASSERT(api->running == 0 && api->waiting == 0 && budget_total_used(&api->memory) == 0);
    settings_free(api->settings);
    pthread_cond_destroy(&api->left);
    pthread_mutex_destroy(&api->lock);
    mem_free(api);
}

void api_set_settings(struct api *api, const struct api_settings *settings)
{
    settings_set(api->settings, settings, clock_wall_ms(api->options.clock));
}

void api_reload_failed(struct api *api)
{
    settings_fail(api->settings);
}

void api_write_metrics(struct api *api, struct buf *out)
{
    pthread_mutex_lock(&api->lock);
    metrics_family(out, "tributary_query_requests_total", METRICS_COUNTER, "Requests to the query API by outcome");
    for (int i = 0; i < API_OUTCOMES; i++) {
        char labels[64];
        snprintf(labels, sizeof(labels), "outcome=\"%s\"", api_outcome_name((enum api_outcome)i));
        metrics_sample(out, "tributary_query_requests_total", labels, (double)api->requests_total[i]);
    }
    metrics_one(out, "tributary_query_running", METRICS_GAUGE, "Queries that run now", (double)api->running);
    metrics_one(out, "tributary_query_waiting", METRICS_GAUGE, "Queries that wait for a place", (double)api->waiting);
    metrics_one(out, "tributary_query_memory_bytes", METRICS_GAUGE,
                "Memory that queries have taken of query.max_total_memory, with answers that are being sent",
                (double)budget_total_used(&api->memory));
    metrics_one(out, "tributary_query_samples_total", METRICS_COUNTER, "Samples read by queries",
                (double)api->samples_total);
    metrics_one(out, "tributary_query_seconds_total", METRICS_COUNTER, "Time of requests, waiting among it",
                api->seconds_total);
    pthread_mutex_unlock(&api->lock);
}

void api_serve_buildinfo(void *context, struct http_exchange *exchange)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    CLEANUP(answer_done) struct answer answer;
    answer_begin(&answer, &request);
    json_object(&answer.json);
    json_field_text(&answer.json, "version", PROMETHEUS_VERSION);
    json_field_text(&answer.json, "revision", "tributary " TRIBUTARY_VERSION);
    json_field_text(&answer.json, "branch", "");
    json_field_text(&answer.json, "buildUser", "");
    json_field_text(&answer.json, "buildDate", "");
    json_field_text(&answer.json, "goVersion", "");
    json_field_text(&answer.json, "application", "tributary");
    json_field_text(&answer.json, "applicationVersion", TRIBUTARY_VERSION);
    json_object_end(&answer.json);
    answer_send(&answer, &request);
}
