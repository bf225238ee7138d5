/* query_exemplars: none are kept, so the question alone is checked. */
#include "api/params.h"
#include "api/request.h"

void api_serve_query_exemplars(void *context, struct http_exchange *exchange)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    int64_t start_ms, end_ms;
    if (!request_time(&request, "start", -PARAMS_TIME_MS_MAX, &start_ms) ||
        !request_time(&request, "end", PARAMS_TIME_MS_MAX, &end_ms))
        return;
    if (end_ms < start_ms) {
        request_fail(&request, API_BAD_DATA, "end timestamp must not be before start timestamp");
        return;
    }
    struct str text = request_text(&request, "query");
    CLEANUP(promql_expression_freep) struct promql_expression *expression = NULL;
    struct promql_error error;
    if (promql_parse(text, &error, &expression) < 0) {
        request_fail_parse(&request, NULL, text, &error);
        return;
    }
    CLEANUP(answer_done) struct answer answer;
    answer_begin(&answer, &request);
    json_array(&answer.json);
    json_array_end(&answer.json);
    answer_send(&answer, &request);
}
