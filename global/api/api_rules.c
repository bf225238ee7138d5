/* rules, alerts, alertmanagers: there are none, as this version evaluates no rules. */
#include "api/params.h"
#include "api/request.h"

/* An object of empty lists. */
static void serve_empty(struct api_request *request, const char *const *keys)
{
    CLEANUP(answer_done) struct answer answer;
    answer_begin(&answer, request);
    json_object(&answer.json);
    for (; *keys; keys++) {
        json_key(&answer.json, *keys);
        json_array(&answer.json);
        json_array_end(&answer.json);
    }
    json_object_end(&answer.json);
    answer_send(&answer, request);
}

void api_serve_rules(void *context, struct http_exchange *exchange)
{
    static const char *const types[] = {"", "alert", "record"};
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    struct str type = request_text(&request, "type");
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        known = known || params_is_word(type, types[i]);
    if (known)
        serve_empty(&request, (const char *const[]){"groups", NULL});
    else
        request_fail_parameter(&request, "type", "not supported value \"" STR_FMT "\"", STR_ARG(type));
}

void api_serve_alerts(void *context, struct http_exchange *exchange)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    serve_empty(&request, (const char *const[]){"alerts", NULL});
}

void api_serve_alertmanagers(void *context, struct http_exchange *exchange)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    serve_empty(&request, (const char *const[]){"activeAlertmanagers", "droppedAlertmanagers", NULL});
}
