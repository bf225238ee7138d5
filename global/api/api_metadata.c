/* series, labels, label values: what there is, without samples. */
#include "api/params.h"
#include "api/request.h"
#include "base/fail.h"
#include "promql/reach.h"

#include <errno.h>

#define MATCH_SETS_MAX PROMQL_REACH_SELECTORS_MAX /* match[] of one request; a dashboard sends one or two */
#define STRINGS_MAX    1000000 /* names or values of one answer; a fleet's largest label has some 100,000 */
#define CUT_WARNING    "results truncated due to limit"

/* ---- Which series ---- */

struct match_set {
    const struct matcher *matchers;
    size_t count;
};

struct scope {
    struct promql_expression *expressions[MATCH_SETS_MAX]; /* they hold the matchers */
    struct match_set sets[MATCH_SETS_MAX];
    size_t count; /* 0: no match[]: all series */
    struct select_range range;
    size_t limit; /* of items in the answer */
};

static void scope_done(struct scope *scope)
{
    for (size_t i = 0; i < scope->count; i++)
        promql_expression_free(scope->expressions[i]);
}

/* Adds the nth match[]; false: it is answered why not. */
static bool add_match(struct api_request *request, struct scope *scope, struct str text)
{
    struct promql_error error;
    if (scope->count == MATCH_SETS_MAX) {
        request_fail_parameter(request, "match[]", "more than %d are not taken", MATCH_SETS_MAX);
        return false;
    }
    struct promql_expression *expression = NULL;
    if (promql_parse_selector(text, &error, &expression) < 0) {
        request_fail_parse(request, "match[]", text, &error);
        return false;
    }
    const struct ast *selector = promql_expression_root(expression);
    scope->expressions[scope->count] = expression;
    scope->sets[scope->count++] = (struct match_set){selector->selector.matchers, selector->selector.matcher_count};
    return true;
}

static bool read_limit(struct api_request *request, struct scope *scope)
{
    struct str text = request_text(request, "limit");
    uint64_t limit = 0;
    if (text.len > 0 && str_to_u64(text, &limit) < 0) {
        request_fail_parameter(request, "limit", "cannot parse \"" STR_FMT "\" to a number", STR_ARG(text));
        return false;
    }
    scope->limit = limit > 0 ? (size_t)MIN(limit, STRINGS_MAX) : STRINGS_MAX; /* 0: none, as in Prometheus */
    return true;
}

static bool read_scope(struct api_request *request, struct scope *scope)
{
    struct select_range *range = &scope->range;
    range->cancelled = request_is_cancelled;
    range->cancelled_arg = request;
    if (!request_time(request, "start", -PARAMS_TIME_MS_MAX, &range->start_ms) ||
        !request_time(request, "end", PARAMS_TIME_MS_MAX, &range->end_ms) || !read_limit(request, scope) ||
        !request_timeout(request))
        return false;
    struct str text;
    for (size_t i = 0; (text = http_exchange_param(request->exchange, "match[]", i)).ptr; i++)
        if (!add_match(request, scope, text))
            return false;
    return true;
}

static void fail_select(struct api_request *request, int error)
{
    if (error == -ECANCELED)
        request_fail(request, API_CANCELED, "query was canceled in select");
    else
        request_fail(request, API_INTERNAL, "select: %s", strerror(-error));
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

/* Several selects, each in order of labels, as one. */
struct series_merge {
    struct select *selects[MATCH_SETS_MAX];
    struct labels *heads[MATCH_SETS_MAX]; /* NULL: at its end */
    size_t count;
};

static void series_merge_done(struct series_merge *merge)
{
    for (size_t i = 0; i < merge->count; i++)
        select_free(merge->selects[i]);
}

static int advance(struct series_merge *merge, size_t index)
{
    struct select_series series;
    int result = select_next(merge->selects[index], &series);
    merge->heads[index] = result > 0 ? series.labels : NULL;
    return MIN(result, 0);
}

static int open_selects(struct api_request *request, const struct scope *scope, struct series_merge *merge)
{
    for (size_t i = 0; i < scope->count; i++) {
        int result = select_open(request->api->options.store, scope->sets[i].matchers, scope->sets[i].count,
                                 &scope->range, &merge->selects[i]);
        if (result < 0)
            return result;
        merge->count++;
        result = advance(merge, i);
        if (result < 0)
            return result;
    }
    return 0;
}

/* The smallest head; NULL at the end. */
static struct labels *smallest(const struct series_merge *merge)
{
    struct labels *best = NULL;
    for (size_t i = 0; i < merge->count; i++)
        if (merge->heads[i] && (!best || labels_compare(merge->heads[i], best) < 0))
            best = merge->heads[i];
    return best;
}

static int write_series(struct series_merge *merge, size_t limit, struct answer *answer)
{
    json_array(&answer->json);
    for (size_t written = 0; smallest(merge) && !answer->body.full; written++) {
        if (written == limit) {
            answer_warn(answer, CUT_WARNING);
            break;
        }
        CLEANUP(labels_unrefp) struct labels *labels = labels_ref(smallest(merge));
        answer_labels(answer, labels);
        for (size_t i = 0; i < merge->count; i++) {
            int result = merge->heads[i] && labels_equal(merge->heads[i], labels) ? advance(merge, i) : 0;
            if (result < 0)
                return result;
        }
    }
    json_array_end(&answer->json);
    return 0;
}

void api_serve_series(void *context, struct http_exchange *exchange)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    CLEANUP(scope_done) struct scope scope = {0};
    if (!http_exchange_param(exchange, "match[]", 0).ptr) {
        request_fail(&request, API_BAD_DATA, "no match[] parameter provided");
        return;
    }
    if (!read_scope(&request, &scope) || !request_enter(&request))
        return;
    CLEANUP(series_merge_done) struct series_merge merge = {0};
    CLEANUP(answer_done) struct answer answer;
    answer_begin(&answer, &request);
    int result = open_selects(&request, &scope, &merge);
    if (result == 0)
        result = write_series(&merge, scope.limit, &answer);
    if (result < 0) {
        fail_select(&request, result);
        return;
    }
    cover(&answer, &request, &scope);
    answer_send(&answer, &request);
}

/* ---- Names and values ---- */

struct strings_merge {
    struct select_strings lists[MATCH_SETS_MAX];
    size_t at[MATCH_SETS_MAX];
    size_t count;
    bool cut;
};

static void strings_merge_done(struct strings_merge *merge)
{
    for (size_t i = 0; i < merge->count; i++)
        select_strings_free(&merge->lists[i]);
}

/* name STR_NULL: the names of labels, else the values of this one. */
static int read_strings(struct api_request *request, const struct scope *scope, struct str name,
                        struct strings_merge *merge)
{
    struct store *store = request->api->options.store;
    for (size_t i = 0; i < MAX(scope->count, (size_t)1); i++) {
        const struct match_set *set = &scope->sets[i]; /* without any match[]: an empty one */
        struct select_strings *list = &merge->lists[i];
        int result =
            name.ptr ? select_label_values(store, name, set->matchers, set->count, &scope->range, scope->limit, list)
                     : select_label_names(store, set->matchers, set->count, &scope->range, scope->limit, list);
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
    for (; written < limit && next_string(merge, &text); written++)
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
    if (!read_scope(&request, &scope) || !request_enter(&request))
        return;
    CLEANUP(strings_merge_done) struct strings_merge merge = {0};
    int result = read_strings(&request, &scope, name, &merge);
    if (result < 0) {
        fail_select(&request, result);
        return;
    }
    CLEANUP(answer_done) struct answer answer;
    answer_begin(&answer, &request);
    write_strings(&merge, scope.limit, &answer);
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
