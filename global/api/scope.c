#include "api/scope.h"

#include <errno.h>

#define NEWEST_SAMPLES 128 /* read at once: what a lookback of five minutes has of most series */

void scope_done(struct scope *scope)
{
    for (size_t i = 0; i < scope->count; i++)
        promql_expression_free(scope->expressions[i]);
}

static int add_match(struct scope *scope, struct api_request *request, struct str text, struct buf *error)
{
    struct promql_error reason;
    struct promql_expression *expression = NULL;
    if (scope->count == SCOPE_SETS_MAX) {
        buf_printf(error, "more than %d match[] are not taken", SCOPE_SETS_MAX);
        return -EINVAL;
    }
    if (promql_parse_selector(text, &reason, &expression) < 0) {
        if (strcmp(reason.text, PROMQL_EMPTY_SELECTOR) == 0)
            buf_append_text(error, "match[] must contain at least one non-empty matcher");
        else
            promql_error_print_short(&reason, text, error);
        return -EINVAL;
    }
    const struct ast *selector = promql_expression_root(expression);
    scope->expressions[scope->count] = expression;
    scope->sets[scope->count++] = (struct scope_set){selector->selector.matchers, selector->selector.matcher_count};
    return budget_charge(&request->budget, promql_expression_bytes(expression)) ? 0 : -ENOMEM;
}

int scope_add_matches(struct scope *scope, struct api_request *request, struct buf *error)
{
    struct str text;
    int result = 0;
    for (size_t i = 0; result == 0 && (text = http_exchange_param(request->exchange, "match[]", i)).ptr; i++)
        result = add_match(scope, request, text, error);
    return result;
}

/* ---- The walk ---- */

void scope_walk_done(struct scope_walk *walk)
{
    for (size_t i = 0; i < walk->count; i++) {
        sample_reader_free(walk->readers[i]);
        select_free(walk->selects[i]);
    }
    labels_unref(walk->last);
}

static int advance(struct scope_walk *walk, size_t index)
{
    struct labels *labels = NULL;
    int result = select_next(walk->selects[index], &labels);
    walk->heads[index] = result > 0 ? labels : NULL;
    return MIN(result, 0);
}

int scope_walk_open(struct scope_walk *walk, struct store *store, const struct scope *scope)
{
    for (size_t i = 0; i < scope->count; i++) {
        int result =
            select_open(store, scope->sets[i].matchers, scope->sets[i].count, &scope->range, &walk->selects[i]);
        if (result < 0)
            return result;
        walk->count++;
        result = advance(walk, i);
        if (result < 0)
            return result;
    }
    return 0;
}

static int leave_last(struct scope_walk *walk)
{
    int result = 0;
    for (size_t i = 0; walk->last && i < walk->count && result == 0; i++)
        if (walk->heads[i] && labels_equal(walk->heads[i], walk->last))
            result = advance(walk, i);
    labels_unref(walk->last);
    walk->last = NULL;
    return result;
}

int scope_walk_next(struct scope_walk *walk, struct labels **ret_labels)
{
    int result = leave_last(walk);
    if (result < 0)
        return result;
    size_t best = walk->count;
    for (size_t i = 0; i < walk->count; i++)
        if (walk->heads[i] && (best == walk->count || labels_compare(walk->heads[i], walk->heads[best]) < 0))
            best = i;
    if (best == walk->count)
        return 0;
    walk->last = labels_ref(walk->heads[best]);
    walk->last_set = best;
    *ret_labels = walk->last;
    return 1;
}

int scope_walk_newest(struct scope_walk *walk, uint64_t *samples, struct sample *ret_sample)
{
    struct sample_reader **reader = &walk->readers[walk->last_set];
    struct sample items[NEWEST_SAMPLES], newest = {.value = value_stale()};
    int64_t got;
    *reader = *reader ? *reader : sample_reader_new(walk->selects[walk->last_set], SELECT_LAST);
    sample_reader_current(*reader);
    while ((got = sample_reader_read(*reader, items, NEWEST_SAMPLES)) != 0) {
        if (got > 0) {
            newest = items[got - 1];
            *samples += (uint64_t)got;
        } else if (got != -EBADMSG &&
                   got != -EIO) { /* of these the block is set aside, and reading goes on behind it */
            return (int)got;
        }
    }
    if (value_is_stale(newest.value))
        return 0;
    *ret_sample = newest;
    return 1;
}

void scope_fail(struct api_request *request, int error)
{
    if (error == -ENOMEM)
        request_fail_memory(request);
    else if (error == -ECANCELED && request_is_cancelled(request))
        request_fail(request, API_CANCELED, "query was canceled in select");
    else if (error == -ECANCELED)
        request_fail(request, API_TIMEOUT, "query timed out in select");
    else
        request_fail(request, API_INTERNAL, "select: %s", strerror(-error));
}
