/* /federate: the newest sample of each series that match[] selects, as a page that Prometheus scrapes. */
#include "api/scope.h"
#include "base/fail.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct federated {
    struct labels *labels; /* a reference */
    struct sample sample;
};

struct page {
    struct federated *items;
    size_t count, capacity;
    uint64_t bytes; /* of the items and their labels */
};

static void page_done(struct page *page)
{
    for (size_t i = 0; i < page->count; i++)
        labels_unref(page->items[i].labels);
    mem_free(page->items);
}

static void page_add(struct page *page, struct labels *labels, struct sample sample)
{
    if (page->count == page->capacity) {
        page->capacity = MAX(2 * page->capacity, (size_t)256);
        page->items = mem_resize(page->items, page->capacity, sizeof(*page->items));
    }
    page->items[page->count++] = (struct federated){labels_ref(labels), sample};
    page->bytes += sizeof(*page->items) + labels_bytes(labels);
}

/* ---- The text ---- */

static int by_name(const void *a, const void *b)
{
    const struct federated *left = a, *right = b;
    int order = str_compare(labels_get(left->labels, STR(LABEL_NAME)), labels_get(right->labels, STR(LABEL_NAME)));
    return order != 0 ? order : labels_compare(left->labels, right->labels);
}

static void write_label(struct buf *text, struct label label)
{
    buf_append_str(text, label.name);
    buf_append_text(text, "=\"");
    for (size_t i = 0; i < label.value.len; i++) {
        char byte = label.value.ptr[i];
        if (byte == '\\' || byte == '"')
            buf_append_byte(text, '\\');
        if (byte == '\n')
            buf_append_text(text, "\\n");
        else
            buf_append_byte(text, (uint8_t)byte);
    }
    buf_append_byte(text, '"');
}

static void write_sample(struct buf *text, const struct federated *item)
{
    char number[VALUE_TEXT_BYTES];
    bool instance = false;
    buf_append_str(text, labels_get(item->labels, STR(LABEL_NAME)));
    buf_append_byte(text, '{');
    for (size_t i = 0, written = 0; i < labels_count(item->labels); i++) {
        struct label label = labels_at(item->labels, i);
        if (str_equal(label.name, STR(LABEL_NAME)))
            continue;
        instance = instance || str_equal(label.name, STR("instance"));
        buf_append_text(text, written++ > 0 ? "," : "");
        write_label(text, label);
    }
    /* As in Prometheus: without it the scraper would give the series the instance of the federated server. */
    if (!instance)
        buf_append_text(text, labels_count(item->labels) > 1 ? ",instance=\"\"" : "instance=\"\"");
    value_print_api(item->sample.value, number);
    buf_printf(text, "} %s %" PRId64 "\n", number, item->sample.time_ms);
}

static void write_page(const struct page *page, struct buf *text)
{
    struct str last = STR_NULL;
    for (size_t i = 0; i < page->count && !text->full; i++) {
        struct str name = labels_get(page->items[i].labels, STR(LABEL_NAME));
        if (!str_equal(name, last))
            buf_printf(text, "# TYPE " STR_FMT " untyped\n", STR_ARG(name));
        last = name;
        write_sample(text, &page->items[i]);
    }
}

/* ---- The request ---- */

/* True when the page has all; else it is answered why not. */
static bool collect(struct api_request *request, struct scope_walk *walk, struct page *page)
{
    const struct promql_limits *limits = &request->api->options.limits;
    struct labels *labels;
    struct sample sample;
    uint64_t samples = 0;
    int more;
    while ((more = scope_walk_next(walk, &labels)) > 0) {
        int found = scope_walk_newest(walk, &samples, &sample);
        if (found < 0) {
            more = found;
            break;
        }
        if (found > 0 && labels_get(labels, STR(LABEL_NAME)).len > 0)
            page_add(page, labels, sample);
        if (page->bytes > limits->bytes_max || samples > limits->samples_max) {
            request_fail(request, API_EXECUTION,
                         "match[] selects more than query.max_samples or query.max_memory allow: ask for less");
            return false;
        }
        if (request_is_late(request)) {
            request_fail(request, API_TIMEOUT, "query timed out in federation");
            return false;
        }
    }
    if (more < 0)
        scope_fail(request, more);
    return more == 0;
}

static bool read_scope(struct api_request *request, struct scope *scope)
{
    int64_t now_ms = clock_wall_ms(request->api->options.clock);
    CLEANUP(buf_done) struct buf error = BUF_INIT(REQUEST_ERROR_BYTES_MAX);
    scope->range = request_range(request, now_ms - request->api->options.limits.lookback_ms, now_ms);
    scope->range.newest_only = true;
    int result = scope_add_matches(scope, request, &error);
    if (result == 0)
        return true;
    if (result == -ENOMEM)
        request_fail_memory(request);
    else
        request_fail(request, API_BAD_DATA, STR_FMT, STR_ARG(buf_view(&error)));
    return false;
}

void api_serve_federate(void *context, struct http_exchange *exchange)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    CLEANUP(scope_done) struct scope scope = {0};
    request.plain_errors = true;
    if (!read_scope(&request, &scope) || !request_enter(&request))
        return;
    CLEANUP(scope_walk_done) struct scope_walk walk = {0};
    CLEANUP(page_done) struct page page = {0};
    int error = scope_walk_open(&walk, request.api->options.store, &scope);
    if (error < 0) {
        scope_fail(&request, error);
        return;
    }
    if (!collect(&request, &walk, &page))
        return;
    if (page.count > 0)
        qsort(page.items, page.count, sizeof(*page.items), by_name);
    CLEANUP(buf_done) struct buf text = BUF_INIT(request.api->options.limits.bytes_max);
    write_page(&page, &text);
    if (text.full)
        request_fail(&request, API_EXECUTION, "the answer is larger than %zu bytes", text.bytes_max);
    else
        request_succeed(&request, CONTENT_TYPE, &text);
}
