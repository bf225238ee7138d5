/* targets: who is scraped anywhere. What only a secondary knows is empty. */
#include "api/params.h"
#include "api/targets.h"

#include <math.h>

static void write_target(struct answer *answer, const struct target *target)
{
    struct json_writer *json = &answer->json;
    char scraped[32];
    clock_format_rfc3339(target->up.time_ms, scraped);
    json_object(json);
    json_key(json, "discoveredLabels");
    json_object(json);
    json_object_end(json);
    json_key(json, "labels");
    answer_labels(answer, target->labels);
    json_field_str(json, "scrapePool", labels_get(target->labels, STR("job")));
    json_field_text(json, "scrapeUrl", "");
    json_field_text(json, "globalUrl", "");
    json_field_str(json, "lastError", target->failure ? labels_get(target->failure, STR(TARGET_REASON)) : STR(""));
    json_field_text(json, "lastScrape", scraped);
    json_field_double(json, "lastScrapeDuration", isfinite(target->seconds) ? target->seconds : 0);
    if (isfinite(target->samples))
        json_field_double(json, "lastSamples", target->samples);
    json_field_text(json, "health", target->up.value == 1 ? "up" : "down");
    json_field_text(json, "scrapeInterval", "");
    json_field_text(json, "scrapeTimeout", "");
    json_object_end(json);
}

/* pool: of all where it is empty. */
static void write_targets(struct answer *answer, const struct targets *targets, struct str pool)
{
    json_object(&answer->json);
    json_key(&answer->json, "activeTargets");
    json_array(&answer->json);
    for (size_t i = 0; i < targets->count && !answer->body.full; i++)
        if (pool.len == 0 || str_equal(labels_get(targets->items[i].labels, STR("job")), pool))
            write_target(answer, &targets->items[i]);
    json_array_end(&answer->json);
    json_key(&answer->json, "droppedTargets"); /* secondaries tell of none */
    json_array(&answer->json);
    json_array_end(&answer->json);
    json_object_end(&answer->json);
}

void api_serve_targets(void *context, struct http_exchange *exchange)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    CLEANUP(targets_done) struct targets targets = {0};
    struct str state = request_text(&request, "state");
    const struct select_range range = targets_range(&request);
    bool active = params_is_word(state, "") || params_is_word(state, "any") || params_is_word(state, "active");
    if (active && (!request_enter(&request) || !targets_collect(&targets, &request, &range)))
        return;
    CLEANUP(answer_done) struct answer answer;
    answer_begin(&answer, &request);
    write_targets(&answer, &targets, request_text(&request, "scrapePool"));
    answer_cover(&answer, &request, &(struct coverage_range){.start_ms = range.start_ms, .end_ms = range.end_ms});
    answer_send(&answer, &request);
}
