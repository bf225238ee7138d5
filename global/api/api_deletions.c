/* admin/tsdb/delete_series, status/deletions: requests to delete series. */
#include "api/params.h"
#include "api/request.h"
#include "base/fail.h"
#include "base/log.h"
#include "store/store.h"

#include <errno.h>

#define MATCHES_MAX   64                  /* match[] of one request, each a deletion of its own */
#define BEGINNING_MS  -PARAMS_TIME_MS_MAX /* start of a deletion without one */
#define IDS_BYTES_MAX KIB                 /* of MATCHES_MAX numbers as text */

/* ---- The request ---- */

struct order {
    struct deletion deletion; /* what all have in common; who and why are owned */
    struct str matches[MATCHES_MAX];
    size_t count;
};

static void order_done(struct order *order)
{
    mem_free(order->deletion.who);
    mem_free(order->deletion.why);
}

/* A selector as queries take it, so that one that matches everything by mistake ({a=~".*"}) is none. */
static bool is_selector(struct api_request *request, struct str text)
{
    struct promql_error error;
    CLEANUP(promql_expression_freep) struct promql_expression *expression = NULL;
    if (promql_parse_selector(text, &error, &expression) == 0)
        return true;
    request_fail_parse(request, "match[]", text, &error);
    return false;
}

static bool read_matches(struct api_request *request, struct order *order)
{
    struct str text;
    for (; (text = http_exchange_param(request->exchange, "match[]", order->count)).ptr; order->count++) {
        if (order->count == MATCHES_MAX) {
            request_fail_parameter(request, "match[]", "more than %d are not taken", MATCHES_MAX);
            return false;
        }
        if (!is_selector(request, text))
            return false;
        order->matches[order->count] = text;
    }
    if (order->count == 0)
        request_fail(request, API_BAD_DATA, "no match[] parameter provided");
    return order->count > 0;
}

static bool read_times(struct api_request *request, struct deletion *deletion)
{
    int64_t now_ms = clock_wall_ms(request->api->options.clock);
    if (!request_time(request, "start", BEGINNING_MS, &deletion->start_ms) ||
        !request_time(request, "end", now_ms, &deletion->end_ms))
        return false;
    deletion->end_ms = MIN(deletion->end_ms, now_ms); /* what is to come is nobody's mistake yet */
    if (deletion->start_ms <= deletion->end_ms)
        return true;
    request_fail_parameter(request, "start", "it is after the end, which is now at the latest");
    return false;
}

/* Required; NULL: that is answered. */
static char *read_words(struct api_request *request, const char *name, size_t bytes_max)
{
    struct str text = str_trim(request_text(request, name));
    if (text.len == 0)
        request_fail_parameter(request, name, "it is required: it stays with the deletion as a record");
    else if (text.len > bytes_max || !str_is_utf8(text))
        request_fail_parameter(request, name, "text of at most %zu bytes is taken", bytes_max);
    else
        return mem_strndup(text.ptr, text.len);
    return NULL;
}

static bool read_order(struct api_request *request, struct order *order)
{
    struct deletion *deletion = &order->deletion;
    if (!read_matches(request, order) || !read_times(request, deletion))
        return false;
    deletion->who = read_words(request, "who", DELETION_WHO_BYTES_MAX);
    if (deletion->who)
        deletion->why = read_words(request, "why", DELETION_WHY_BYTES_MAX);
    return deletion->why != NULL;
}

/* ---- Doing it ---- */

/* One deletion for each selector; what was accepted before an error stays so, and the error names it. */
static bool request_all(struct api_request *request, struct order *order, uint64_t ids[static MATCHES_MAX])
{
    struct deletions *deletions = store_deletions(request->api->options.store);
    CLEANUP(buf_done) struct buf accepted = BUF_INIT(IDS_BYTES_MAX);
    for (size_t i = 0; i < order->count; i++) {
        char error[256];
        CLEANUP_FREE char *match = mem_strndup(order->matches[i].ptr, order->matches[i].len);
        order->deletion.match = match;
        int result = deletions_request(deletions, &order->deletion, error, &ids[i]);
        if (result < 0) {
            enum api_outcome outcome = result == -EINVAL   ? API_BAD_DATA
                                       : result == -EMFILE ? API_EXECUTION
                                                           : API_INTERNAL;
            request_fail(request, outcome, "match[] " STR_FMT ": %s%s" STR_FMT, STR_ARG(order->matches[i]), error,
                         i > 0 ? "; accepted before it:" : "", STR_ARG(buf_view(&accepted)));
            return false;
        }
        log_info("deletion %llu is accepted: of %s, by %s: %s", (unsigned long long)ids[i], match, order->deletion.who,
                 order->deletion.why);
        buf_printf(&accepted, " %llu", (unsigned long long)ids[i]);
    }
    return true;
}

void api_serve_delete_series(void *context, struct http_exchange *exchange)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    CLEANUP(order_done) struct order order = {0};
    uint64_t ids[MATCHES_MAX];
    if (!request_disk_store(&request) || !read_order(&request, &order) || !request_all(&request, &order, ids))
        return;
    CLEANUP(answer_done) struct answer answer;
    answer_begin(&answer, &request);
    json_object(&answer.json);
    json_key(&answer.json, "ids");
    json_array(&answer.json);
    for (size_t i = 0; i < order.count; i++)
        json_uint(&answer.json, ids[i]);
    json_array_end(&answer.json);
    answer_time(&answer.json, "start", order.deletion.start_ms);
    json_field_int(&answer.json, "end", order.deletion.end_ms);
    json_object_end(&answer.json);
    answer_send(&answer, &request);
}

/* ---- The list ---- */

static void write_deletion(struct json_writer *json, const struct deletion *deletion)
{
    json_object(json);
    json_field_uint(json, "id", deletion->id);
    json_field_text(json, "state", deletion->done_ms == 0 ? "active" : "done");
    json_field_text(json, "match", deletion->match);
    answer_time(json, "start", deletion->start_ms);
    json_field_int(json, "end", deletion->end_ms);
    json_field_text(json, "who", deletion->who);
    json_field_text(json, "why", deletion->why);
    json_field_int(json, "requested", deletion->requested_ms);
    answer_time(json, "done", deletion->done_ms > 0 ? deletion->done_ms : INT64_MAX);
    json_object_end(json);
}

void api_serve_deletions(void *context, struct http_exchange *exchange)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    struct store *store = request_disk_store(&request);
    if (!store)
        return;
    struct deletion *items = NULL;
    size_t count = 0;
    deletions_list(store_deletions(store), &items, &count);
    CLEANUP(answer_done) struct answer answer;
    answer_begin(&answer, &request);
    json_array(&answer.json);
    for (size_t i = 0; i < count; i++)
        write_deletion(&answer.json, &items[i]);
    json_array_end(&answer.json);
    deletions_list_free(items, count);
    answer_send(&answer, &request);
}
