/* status/config, flags, runtimeinfo, walreplay: what this daemon is, in the form of Prometheus 2.42. */
#include "api/request.h"
#include "base/fail.h"
#include "net/metrics.h"
#include "store/blocks.h"

#include <unistd.h>

#define PATH_BYTES_MAX 4096

static void serve_settings(void *context, struct http_exchange *exchange,
                           void (*put)(struct settings *settings, struct json_writer *json))
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    CLEANUP(answer_done) struct answer answer;
    answer_begin(&answer, &request);
    put(request.api->settings, &answer.json);
    answer_send(&answer, &request);
}

void api_serve_config(void *context, struct http_exchange *exchange)
{
    serve_settings(context, exchange, settings_write_config);
}

void api_serve_flags(void *context, struct http_exchange *exchange)
{
    serve_settings(context, exchange, settings_write_flags);
}

/* Damaged blocks: what Prometheus counts are corruptions that it has met. */
static uint64_t damaged_blocks(struct store *store)
{
    struct block_status *items = NULL;
    size_t count = 0;
    uint64_t damaged = 0;
    if (!store_blocks(store))
        return 0;
    blocks_status(store_blocks(store), &items, &count);
    for (size_t i = 0; i < count; i++)
        damaged += items[i].state == BLOCK_DAMAGED;
    blocks_status_free(items, count);
    return damaged;
}

void api_serve_runtimeinfo(void *context, struct http_exchange *exchange)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    struct settings *settings = request.api->settings;
    char started[32], directory[PATH_BYTES_MAX];
    clock_format_rfc3339(request.api->options.started_ms, started);
    CLEANUP(answer_done) struct answer answer;
    answer_begin(&answer, &request);
    json_object(&answer.json);
    json_field_text(&answer.json, "startTime", started);
    json_field_text(&answer.json, "CWD", getcwd(directory, sizeof(directory)) ? directory : "");
    settings_write_reload(settings, &answer.json);
    json_field_uint(&answer.json, "corruptionCount", damaged_blocks(request.api->options.store));
    json_field_uint(&answer.json, "goroutineCount", metrics_process_threads());
    json_field_int(&answer.json, "GOMAXPROCS", sysconf(_SC_NPROCESSORS_ONLN));
    json_field_text(&answer.json, "GOGC", "");
    json_field_text(&answer.json, "GODEBUG", "");
    settings_write_retention(settings, &answer.json);
    json_object_end(&answer.json);
    answer_send(&answer, &request);
}

/* The log is replayed before the first request is taken: there is never anything left of it. */
void api_serve_walreplay(void *context, struct http_exchange *exchange)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    CLEANUP(answer_done) struct answer answer;
    answer_begin(&answer, &request);
    json_object(&answer.json);
    json_field_int(&answer.json, "min", 0);
    json_field_int(&answer.json, "max", 0);
    json_field_int(&answer.json, "current", 0);
    json_object_end(&answer.json);
    answer_send(&answer, &request);
}
