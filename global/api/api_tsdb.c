/* status/tsdb: which names, labels and pairs the head has most series of. */
#include "api/request.h"
#include "store/store.h"

#define ITEMS_DEFAULT 10
#define ITEMS_MAX     10000 /* of one list: each of them is found by insertion */

static void write_items(struct json_writer *json, const char *key, const struct cardinality_item *items, size_t count)
{
    json_key(json, key);
    json_array(json);
    for (size_t i = 0; i < count; i++) {
        json_object(json);
        json_field_text(json, "name", items[i].name);
        json_field_uint(json, "value", items[i].value);
        json_object_end(json);
    }
    json_array_end(json);
}

static void write_cardinality(struct json_writer *json, const struct store_cardinality *cardinality)
{
    json_object(json);
    json_key(json, "headStats");
    json_object(json);
    json_field_uint(json, "numSeries", cardinality->series);
    json_field_uint(json, "numLabelPairs", cardinality->label_pairs);
    json_field_uint(json, "chunkCount", cardinality->chunks);
    json_field_int(json, "minTime", cardinality->min_time_ms);
    json_field_int(json, "maxTime", cardinality->max_time_ms);
    json_object_end(json);
    write_items(json, "seriesCountByMetricName", cardinality->by_metric, cardinality->metric_count);
    write_items(json, "labelValueCountByLabelName", cardinality->values_by_label, cardinality->values_count);
    write_items(json, "memoryInBytesByLabelName", cardinality->bytes_by_label, cardinality->bytes_count);
    write_items(json, "seriesCountByLabelValuePair", cardinality->by_pair, cardinality->pair_count);
    json_object_end(json);
}

void api_serve_tsdb(void *context, struct http_exchange *exchange)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    struct str text = request_text(&request, "limit");
    uint64_t limit = ITEMS_DEFAULT;
    if (text.len > 0 && (str_to_u64(text, &limit) < 0 || limit == 0)) {
        request_fail(&request, API_BAD_DATA, "limit must be a positive number");
        return;
    }
    if (!request_enter(&request))
        return;
    struct store_cardinality cardinality;
    store_cardinality(request.api->options.store, (size_t)MIN(limit, ITEMS_MAX), &cardinality);
    CLEANUP(answer_done) struct answer answer;
    answer_begin(&answer, &request);
    write_cardinality(&answer.json, &cardinality);
    store_cardinality_free(&cardinality);
    answer_send(&answer, &request);
}
