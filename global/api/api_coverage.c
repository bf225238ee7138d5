/* status/coverage: what each source has told of a range, and what it lacks. */
#include "api/request.h"

static bool is_datacenter(const void *wanted, struct str datacenter)
{
    return str_equal(*(const struct str *)wanted, datacenter);
}

void api_serve_coverage(void *context, struct http_exchange *exchange)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    const struct api_options *options = &request.api->options;
    struct str datacenter = request_text(&request, "datacenter");
    struct coverage_range range = {.touches = datacenter.len > 0 ? is_datacenter : NULL, .arg = &datacenter};
    if (!request_time(&request, "end", clock_wall_ms(options->clock), &range.end_ms) ||
        !request_time(&request, "start", range.end_ms - options->limits.lookback_ms, &range.start_ms))
        return;
    if (range.end_ms < range.start_ms) {
        request_fail_parameter(&request, "end", "end timestamp must not be before start time");
        return;
    }
    CLEANUP(answer_done) struct answer answer;
    answer_begin(&answer, &request);
    json_object(&answer.json);
    json_key(&answer.json, "sources");
    if (options->coverage_sources)
        options->coverage_sources(options->coverage_arg, &range, &answer.json);
    else
        json_null(&answer.json);
    json_object_end(&answer.json);
    answer_cover(&answer, &request, &range);
    answer_send(&answer, &request);
}
