#include "scrape.h"

#include <stdio.h>

static enum scrape_failure failure_of(enum http_failure failure)
{
    switch (failure) {
    case HTTP_OK:
        return SCRAPE_OK;
    case HTTP_RESOLVE:
        return SCRAPE_RESOLVE;
    case HTTP_CONNECT:
        return SCRAPE_CONNECT;
    case HTTP_TLS:
        return SCRAPE_TLS;
    case HTTP_TIMEOUT:
        return SCRAPE_TIMEOUT;
    case HTTP_TOO_LARGE:
        return SCRAPE_BODY_LIMIT;
    case HTTP_BROKEN:
    case HTTP_REFUSED:
    case HTTP_CANCELLED:
        break;
    }
    return SCRAPE_BROKEN;
}

static void on_done(void *arg, const struct http_result *result)
{
    struct scrape *scrape = arg;
    enum scrape_failure failure = failure_of(result->failure);
    char reason[64];
    scrape->call = NULL;
    if (result->failure == HTTP_CANCELLED)
        return; /* the client is going, and the owner with it */
    if (failure == SCRAPE_OK && result->status != 200) {
        snprintf(reason, sizeof(reason), "the target answered with HTTP status %d", result->status);
        scrape->done(scrape->arg, SCRAPE_STATUS, reason, STR_NULL, result->duration_ns);
        return;
    }
    scrape->done(scrape->arg, failure, failure == SCRAPE_OK ? "" : result->reason,
                 failure == SCRAPE_OK ? result->body : STR_NULL, result->duration_ns);
}

int scrape_begin(struct scrape *scrape, struct http_client *client, const struct target *target, const struct job *job,
                 unsigned shard)
{
    char timeout_s[32];
    snprintf(timeout_s, sizeof(timeout_s), "%g", (double)target->timeout_ms / 1e3);
    struct http_header headers[] = {
        {"Accept", "text/plain;version=0.0.4;q=1,*/*;q=0.1"},
        {"User-Agent", "tributary-secondary/" TRIBUTARY_VERSION},
        {"X-Prometheus-Scrape-Timeout-Seconds", timeout_s},
        {"Authorization", job->authorization},
    };
    const struct http_request_spec spec = {
        .method = "GET",
        .url = target->url,
        .headers = headers,
        .header_count = ARRAY_LEN(headers) - (job->authorization ? 0 : 1),
        .basic_user = job->basic_user,
        .basic_password = job->basic_password,
        .tls = job->tls,
        .shard = shard,
        .timeout_ms = target->timeout_ms,
        .response_bytes_max = job->body_bytes_max,
        .accept_gzip = false,
    };
    return http_client_call(client, &spec, on_done, scrape, &scrape->call);
}

void scrape_cancel(struct scrape *scrape)
{
    if (scrape->call)
        http_call_cancel(scrape->call);
    scrape->call = NULL;
}
