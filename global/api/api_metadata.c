/* series, labels, label values: what there is, without samples. */
#include "api/params.h"
#include "api/scope.h"
#include "base/fail.h"
#include "promql/reach.h"

#include <errno.h>

#define STRINGS_MAX 1000000 /* names or values of one answer; a fleet's largest label has some 100,000 */
#define CUT_WARNING "results truncated due to limit"

/* ---- What is asked ---- */

static bool read_limit(struct api_request *request, size_t *ret_limit)
{
    struct str text = request_text(request, "limit");
    uint64_t limit = 0;
    if (text.len > 0 && str_to_u64(text, &limit) < 0) {
        request_fail_parameter(request, "limit", "cannot parse \"" STR_FMT "\" to a number", STR_ARG(text));
        return false;
    }
    *ret_limit = limit > 0 ? (size_t)MIN(limit, STRINGS_MAX) : STRINGS_MAX; /* 0: none, as in Prometheus */
    return true;
}

/* match_name: how an error of a match[] names it, or NULL: not at all; Prometheus' routes differ in that. */
static bool read_scope(struct api_request *request, const char *match_name, struct scope *scope, size_t *ret_limit)
{
    struct select_range *range = &scope->range;
    *range = request_range(request, 0, 0);
    if (!request_time(request, "start", -PARAMS_TIME_MS_MAX, &range->start_ms) ||
        !request_time(request, "end", PARAMS_TIME_MS_MAX, &range->end_ms) || !read_limit(request, ret_limit) ||
        !request_timeout(request))
        return false;
    CLEANUP(buf_done) struct buf error = BUF_INIT(REQUEST_ERROR_BYTES_MAX);
    int result = scope_add_matches(scope, request, &error);
    if (result == 0)
        return true;
    if (result == -ENOMEM)
        request_fail_memory(request);
    else if (match_name)
        request_fail_parameter(request, match_name, STR_FMT, STR_ARG(buf_view(&error)));
    else
        request_fail(request, API_BAD_DATA, STR_FMT, STR_ARG(buf_view(&error)));
    return false;
}

/* Damaged blocks, those that were found by this very request among them, and what sources lack. Without an end the
 * answer is as good as what is there now; without a start what is there now is all that is asked for. */
static void cover(struct answer *answer, const struct api_request *request, const struct scope *scope)
{
    int64_t now_ms = clock_wall_ms(request->api->options.clock);
    struct blocks *blocks = store_blocks(request->api->options.store);
    if (blocks)
        blocks_warnings(blocks, scope->range.start_ms, scope->range.end_ms, &answer->warnings);
    struct promql_reach reach = {.count = scope->count};
    for (size_t i = 0; i < scope->count; i++)
        reach.selectors[i] = promql_expression_root(scope->expressions[i]);
    struct coverage_range range = {.start_ms = scope->range.start_ms, .end_ms = MIN(scope->range.end_ms, now_ms)};
    if (scope->count > 0) {
        range.touches = promql_reaches_datacenter;
        range.arg = &reach;
    }
    if (range.start_ms == -PARAMS_TIME_MS_MAX)
        range.start_ms = range.end_ms - request->api->options.limits.lookback_ms;
    answer_cover(answer, request, &range);
}

/* ---- Series ---- */

static int write_series(struct scope_walk *walk, size_t limit, struct answer *answer)
{
    struct labels *labels;
    int more = 0;
    json_array(&answer->json);
    for (size_t written = 0; answer_goes_on(answer) && (more = scope_walk_next(walk, &labels)) > 0; written++) {
        if (written == limit) {
            answer_warn(answer, CUT_WARNING);
            break;
        }
        answer_labels(answer, labels);
    }
    json_array_end(&answer->json);
    return MIN(more, 0);
}

void api_serve_series(void *context, struct http_exchange *exchange)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    CLEANUP(scope_done) struct scope scope = {0};
    size_t limit;
    if (!http_exchange_param(exchange, "match[]", 0).ptr) {
        request_fail(&request, API_BAD_DATA, "no match[] parameter provided");
        return;
    }
    if (!read_scope(&request, "match[]", &scope, &limit) || !request_enter(&request))
        return;
    CLEANUP(scope_walk_done) struct scope_walk walk = {0};
    CLEANUP(answer_done) struct answer answer;
    answer_begin(&answer, &request);
    int result = scope_walk_open(&walk, request.api->options.store, &scope);
    if (result == 0)
        result = write_series(&walk, limit, &answer);
    if (result < 0) {
        scope_fail(&request, result);
        return;
    }
    cover(&answer, &request, &scope);
    answer_send(&answer, &request);
}

/* ---- Names and values ---- */

struct strings_merge {
    struct select_strings lists[SCOPE_SETS_MAX];
    size_t at[SCOPE_SETS_MAX];
    size_t count;
    bool cut;
};

static void strings_merge_done(struct strings_merge *merge)
{
    for (size_t i = 0; i < merge->count; i++)
        select_strings_free(&merge->lists[i]);
}

/* name STR_NULL: the names of labels, else the values of this one. */
static int read_strings(struct store *store, const struct scope *scope, struct str name, size_t limit,
                        struct strings_merge *merge)
{
    for (size_t i = 0; i < MAX(scope->count, (size_t)1); i++) {
        const struct scope_set *set = &scope->sets[i]; /* without any match[]: an empty one */
        struct select_strings *list = &merge->lists[i];
        int result = name.ptr ? select_label_values(store, name, set->matchers, set->count, &scope->range, limit, list)
                              : select_label_names(store, set->matchers, set->count, &scope->range, limit, list);
        if (result < 0)
            return result;
        merge->count++;
        merge->cut = merge->cut || list->cut;
    }
    return 0;
}

/* The next of one list; NULL at its end. */
static const struct str *head_of(const struct strings_merge *merge, size_t index)
{
    const struct select_strings *list = &merge->lists[index];
    return list->items && merge->at[index] < list->count ? &list->items[merge->at[index]] : NULL;
}

static bool next_string(struct strings_merge *merge, struct str *ret_text)
{
    const struct str *best = NULL;
    for (size_t i = 0; i < merge->count; i++) {
        const struct str *head = head_of(merge, i);
        if (head && (!best || str_compare(*head, *best) < 0))
            best = head;
    }
    if (!best)
        return false;
    *ret_text = *best;
    for (size_t i = 0; i < merge->count; i++) {
        const struct str *head = head_of(merge, i);
        merge->at[i] += head && str_equal(*head, *ret_text);
    }
    return true;
}

static void write_strings(struct strings_merge *merge, size_t limit, struct answer *answer)
{
    struct str text;
    size_t written = 0;
    json_array(&answer->json);
    for (; written < limit && answer_goes_on(answer) && next_string(merge, &text); written++)
        json_str(&answer->json, text);
    json_array_end(&answer->json);
    if (merge->cut || next_string(merge, &text))
        answer_warn(answer, CUT_WARNING);
}

static void serve_strings(void *context, struct http_exchange *exchange, struct str name)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    CLEANUP(scope_done) struct scope scope = {0};
    if (name.ptr && !label_name_is_valid(name)) {
        request_fail(&request, API_BAD_DATA, "invalid label name: \"" STR_FMT "\"", STR_ARG(name));
        return;
    }
    size_t limit;
    if (!read_scope(&request, NULL, &scope, &limit) || !request_enter(&request))
        return;
    CLEANUP(strings_merge_done) struct strings_merge merge = {0};
    int result = read_strings(request.api->options.store, &scope, name, limit, &merge);
    if (result < 0) {
        scope_fail(&request, result);
        return;
    }
    CLEANUP(answer_done) struct answer answer;
    answer_begin(&answer, &request);
    write_strings(&merge, limit, &answer);
    cover(&answer, &request, &scope);
    answer_send(&answer, &request);
}

void api_serve_labels(void *context, struct http_exchange *exchange)
{
    serve_strings(context, exchange, STR_NULL);
}

void api_serve_label_values(void *context, struct http_exchange *exchange)
{
    static const struct str start = {"/api/v1/label/", 14}, end = {"/values", 7};
    struct str path = http_exchange_path(exchange);
    ASSERT(str_starts_with(path, start) && path.len > start.len + end.len); /* the route says so */
    serve_strings(context, exchange, str_of(path.ptr + start.len, path.len - start.len - end.len));
}
