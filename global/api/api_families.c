/* metadata: type, help and unit of metrics. */
#include "api/request.h"
#include "base/fail.h"

static void write_family(struct json_writer *json, const struct family *family)
{
    json_object(json);
    json_field_text(json, "type", metric_type_name(family->type));
    json_field_str(json, "help", family->help);
    json_field_str(json, "unit", family->unit);
    json_object_end(json);
}

/* How many from items[0] on are of one name. */
static size_t count_of_name(const struct family *const *items, size_t count)
{
    size_t same = 1;
    while (same < count && str_equal(items[same]->name, items[0]->name))
        same++;
    return same;
}

/* At most so many names, and of each at most per_name. */
static void write_metadata(struct json_writer *json, const struct family *const *items, size_t count, int64_t names,
                           int64_t per_name)
{
    json_object(json);
    for (size_t at = 0, of_name; at < count && names > 0; at += of_name, names--) {
        of_name = count_of_name(items + at, count - at);
        json_key_str(json, items[at]->name);
        json_array(json);
        for (size_t i = 0; i < of_name && (int64_t)i < per_name; i++)
            write_family(json, items[at + i]);
        json_array_end(json);
    }
    json_object_end(json);
}

void api_serve_metadata(void *context, struct http_exchange *exchange)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    int64_t names, per_name;
    if (!request_number(&request, "limit", -1, &names) || !request_number(&request, "limit_per_metric", -1, &per_name))
        return;
    names = names < 0 ? INT64_MAX : names; /* all */
    per_name = per_name <= 0 ? INT64_MAX : per_name;
    struct str metric = request_text(&request, "metric");
    const struct family **items = NULL;
    size_t count = families_list(request.api->options.families, metric.len > 0 ? metric : STR_NULL, &items);
    CLEANUP(answer_done) struct answer answer;
    answer_begin(&answer, &request);
    write_metadata(&answer.json, items, count, names, per_name);
    mem_free(items);
    answer_send(&answer, &request);
}
