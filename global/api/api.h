#pragma once
/* The HTTP API over one store (docs/api.md): expressions, series, labels, metadata, targets, status and /federate as
 * Prometheus 2.42 has them; blocks, retention, deletions. All of it runs in worker threads. */
#include "base/clock.h"
#include "coverage/coverage.h"
#include "net/daemon.h"
#include "promql/eval.h"
#include "store/families.h"

struct api;

struct api_options {
    struct store *store;
    struct crew *crew; /* helps queries; NULL: nobody does */
    struct families *families;
    struct clock *clock;
    struct promql_limits limits; /* of each query; bytes_max is also the ceiling of an answer */
    uint64_t memory_bytes_max;   /* of all queries together, with answers that are being sent; 0: no bound */
    bool widen_ranges;           /* of queries that do not say */
    int64_t concurrency_max;     /* queries that run at once; others wait, within their timeout */
    /* coverage_write, coverage_write_sources and their argument. NULL: nothing is known. */
    void (*coverage)(void *arg, const struct coverage_range *range, struct json_writer *json, struct buf *warnings);
    void (*coverage_sources)(void *arg, const struct coverage_range *range, struct json_writer *json);
    void *coverage_arg;
    int64_t started_ms; /* of the daemon */
};

/* Copies the options; what they point to outlives the api. */
struct api *api_new(const struct api_options *options);
void api_free(struct api *api); /* NULL allowed; when no request runs any more */
DEFINE_CLEANUP(struct api *, api_free)

/* What is in force, for status/config, status/flags and status/runtimeinfo. */
struct api_flag {
    const char *name, *value;
};
struct api_settings {
    struct str yaml; /* the configuration, without secrets */
    const struct api_flag *flags;
    size_t flag_count;
    const char *retention; /* as a person writes it */
};
/* A configuration was loaded, at the start or by a reload: copies what it says. From any thread. */
void api_set_settings(struct api *api, const struct api_settings *settings);
void api_reload_failed(struct api *api); /* what was in force stays */

/* tributary_query_*: requests by outcome, running and waiting, memory, samples read, seconds. */
void api_write_metrics(struct api *api, struct buf *out);

/* The context of a server with these routes begins with it. */
struct api_context {
    struct daemon daemon;
    struct api *api;
};

#define API_FORM_BYTES_MAX MIB /* of a POSTed form: an expression may have 128 KiB, three times that when encoded */

#define API_ROUTE(method_, path_, handler_)                                                                            \
    {                                                                                                                  \
        .method = (method_), .path = (path_), .handler = (handler_), .flags = HTTP_WORKER,                             \
        .body_bytes_max = API_FORM_BYTES_MAX                                                                           \
    }
#define API_ROUTE_FORM(path_, handler_) API_ROUTE("GET", path_, handler_), API_ROUTE("POST", path_, handler_)

/* Initialisers of struct http_route. */
#define API_ROUTES                                                                                                     \
    API_ROUTE_FORM("/api/v1/query", api_serve_query), API_ROUTE_FORM("/api/v1/query_range", api_serve_query_range),    \
        API_ROUTE_FORM("/api/v1/format_query", api_serve_format_query),                                                \
        API_ROUTE_FORM("/api/v1/series", api_serve_series), API_ROUTE_FORM("/api/v1/labels", api_serve_labels),        \
        API_ROUTE("GET", "/api/v1/label/*/values", api_serve_label_values),                                            \
        API_ROUTE_FORM("/api/v1/query_exemplars", api_serve_query_exemplars),                                          \
        API_ROUTE("GET", "/federate", api_serve_federate), API_ROUTE("GET", "/api/v1/metadata", api_serve_metadata),   \
        API_ROUTE("GET", "/api/v1/targets/metadata", api_serve_targets_metadata),                                      \
        API_ROUTE("GET", "/api/v1/targets", api_serve_targets), API_ROUTE("GET", "/api/v1/rules", api_serve_rules),    \
        API_ROUTE("GET", "/api/v1/alerts", api_serve_alerts),                                                          \
        API_ROUTE("GET", "/api/v1/alertmanagers", api_serve_alertmanagers),                                            \
        API_ROUTE("GET", "/api/v1/status/config", api_serve_config),                                                   \
        API_ROUTE("GET", "/api/v1/status/flags", api_serve_flags),                                                     \
        API_ROUTE("GET", "/api/v1/status/runtimeinfo", api_serve_runtimeinfo),                                         \
        API_ROUTE("GET", "/api/v1/status/walreplay", api_serve_walreplay),                                             \
        API_ROUTE("GET", "/api/v1/status/buildinfo", api_serve_buildinfo),                                             \
        API_ROUTE("GET", "/api/v1/status/tsdb", api_serve_tsdb),                                                       \
        API_ROUTE("GET", "/api/v1/status/blocks", api_serve_blocks),                                                   \
        API_ROUTE("GET", "/api/v1/status/retention", api_serve_retention),                                             \
        API_ROUTE("GET", "/api/v1/status/coverage", api_serve_coverage),                                               \
        API_ROUTE("GET", "/api/v1/status/deletions", api_serve_deletions),                                             \
        API_ROUTE("POST", "/api/v1/admin/tsdb/delete_series", api_serve_delete_series),                                \
        API_ROUTE("POST", "/api/v1/admin/blocks/forget", api_serve_forget_block)
http_handler_fn api_serve_query, api_serve_query_range, api_serve_format_query, api_serve_series, api_serve_labels,
    api_serve_label_values, api_serve_buildinfo, api_serve_tsdb, api_serve_blocks, api_serve_retention,
    api_serve_deletions, api_serve_delete_series, api_serve_forget_block, api_serve_query_exemplars, api_serve_federate,
    api_serve_metadata, api_serve_targets, api_serve_targets_metadata, api_serve_rules, api_serve_alerts,
    api_serve_alertmanagers, api_serve_config, api_serve_flags, api_serve_runtimeinfo, api_serve_walreplay,
    api_serve_coverage;
