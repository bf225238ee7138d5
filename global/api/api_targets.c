/* targets: who is scraped anywhere, and who ended lately. What only a secondary knows is empty. */
#include "api/params.h"
#include "api/targets.h"

#include <math.h>

#define ENDED_MAX 1000 /* newest ones; a fleet that goes is told by counts, not by names */

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

static void write_end(struct answer *answer, const struct target_end *end)
{
    char time[32];
    clock_format_rfc3339(end->time_ms, time);
    json_object(&answer->json);
    json_key(&answer->json, "labels");
    answer_labels(answer, end->labels);
    json_field_str(&answer->json, "scrapePool", labels_get(end->labels, STR("job")));
    json_field_str(&answer->json, "reason", labels_get(end->event, STR(TARGET_REASON)));
    json_field_text(&answer->json, "ended", time);
    json_object_end(&answer->json);
}

static bool is_of_pool(const struct labels *labels, struct str pool)
{
    return pool.len == 0 || str_equal(labels_get(labels, STR("job")), pool);
}

static void write_ends(struct answer *answer, const struct targets *targets, struct str pool)
{
    size_t written = 0;
    json_key(&answer->json, "endedTargets");
    json_array(&answer->json);
    for (size_t i = 0; i < targets->end_count && written < ENDED_MAX && !answer->body.full; i++) {
        if (!is_of_pool(targets->ends[i].labels, pool))
            continue;
        write_end(answer, &targets->ends[i]);
        written++;
    }
    json_array_end(&answer->json);
}

struct wanted {
    bool active;     /* those that are scraped are asked for */
    bool ends;       /* those that ended are, by name */
    struct str pool; /* of all where it is empty */
};

static void write_targets(struct answer *answer, const struct targets *targets, struct wanted wanted)
{
    json_object(&answer->json);
    json_key(&answer->json, "activeTargets");
    json_array(&answer->json);
    for (size_t i = 0; wanted.active && i < targets->count && !answer->body.full; i++)
        if (is_of_pool(targets->items[i].labels, wanted.pool))
            write_target(answer, &targets->items[i]);
    json_array_end(&answer->json);
    json_key(&answer->json, "droppedTargets"); /* secondaries tell of none */
    json_array(&answer->json);
    json_array_end(&answer->json);
    if (wanted.ends || targets->end_count > 0) /* else it is what Prometheus answers, to the key */
        write_ends(answer, targets, wanted.pool);
    json_object_end(&answer->json);
}

void api_serve_targets(void *context, struct http_exchange *exchange)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    CLEANUP(targets_done) struct targets targets = {0};
    struct str state = request_text(&request, "state");
    const struct select_range range = targets_range(&request);
    bool any = params_is_word(state, "") || params_is_word(state, "any");
    bool ended = any || params_is_word(state, "ended"), active = any || params_is_word(state, "active");
    if ((active || ended) && (!request_enter(&request) || !targets_collect(&targets, &request, &range)))
        return;
    if (ended && !targets_collect_ends(&targets, &request, range.end_ms))
        return;
    CLEANUP(answer_done) struct answer answer;
    answer_begin(&answer, &request);
    write_targets(&answer, &targets, (struct wanted){active, ended && !active, request_text(&request, "scrapePool")});
    answer_cover(&answer, &request, &(struct coverage_range){.start_ms = range.start_ms, .end_ms = range.end_ms});
    answer_send(&answer, &request);
}
