/* targets/metadata: what the metrics of each target are. A target's metrics are those that it has series of; what is
 * said of a name is told of each target that has it, as who said what is not kept. */
#include "api/targets.h"
#include "base/fail.h"

#define TARGET_NAMES_MAX 100000 /* metrics of one target; one with more is a fleet */

struct listing {
    struct answer *answer;
    struct families *families;
    struct str metric; /* empty: all */
    int64_t left;      /* of the entries that may be written */
    struct map told;   /* families of the present target */
};

static void write_entry(struct listing *listing, const struct labels *target, const struct family *family)
{
    struct json_writer *json = &listing->answer->json;
    json_object(json);
    json_key(json, "target");
    answer_labels(listing->answer, target);
    if (listing->metric.len == 0)
        json_field_str(json, "metric", family->name);
    json_field_text(json, "type", metric_type_name(family->type));
    json_field_str(json, "help", family->help);
    json_field_str(json, "unit", family->unit);
    json_object_end(json);
    listing->left--;
}

/* Writes what is said of a name; false: nothing is. */
static bool tell(struct listing *listing, const struct labels *target, struct str name)
{
    const struct family **items = NULL;
    size_t count = families_list(listing->families, name, &items);
    for (size_t i = 0; i < count && listing->left > 0; i++) {
        uint64_t key = (uint64_t)(uintptr_t)items[i];
        bool wanted = listing->metric.len == 0 || str_equal(listing->metric, name);
        if (!wanted || map_get(&listing->told, key, NULL, NULL))
            continue;
        map_put(&listing->told, key, (void *)items[i]); // NOLINT: the map never writes to it
        write_entry(listing, target, items[i]);
    }
    mem_free(items);
    return count > 0;
}

/* A series is of the family of its name, or of the one without the ending that histograms and summaries add. */
static void tell_series(struct listing *listing, const struct labels *target, struct str name)
{
    static const char *const endings[] = {"_bucket", "_count", "_sum"};
    if (tell(listing, target, name))
        return;
    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        struct str ending = str_from(endings[i]);
        if (str_ends_with(name, ending))
            tell(listing, target, str_of(name.ptr, name.len - ending.len));
    }
}

static int tell_target(struct listing *listing, struct store *store, const struct labels *target,
                       const struct select_range *range)
{
    struct matcher matchers[LABELS_MAX];
    struct select_strings names = {0};
    size_t count = labels_count(target);
    for (size_t i = 0; i < count; i++)
        matchers[i] = (struct matcher){
            .type = MATCH_EQUAL, .name = labels_at(target, i).name, .value = labels_at(target, i).value};
    int error = select_label_values(store, STR(LABEL_NAME), matchers, count, range, TARGET_NAMES_MAX, &names);
    map_clear(&listing->told);
    for (size_t i = 0; error == 0 && i < names.count && listing->left > 0; i++)
        tell_series(listing, target, names.items[i]);
    select_strings_free(&names);
    return error;
}

/* True when all is written; else it is answered why not. */
static bool write_listing(struct listing *listing, struct api_request *request, const struct targets *targets,
                          const struct ast *wanted)
{
    const struct select_range range = targets_range(request);
    struct json_writer *json = &listing->answer->json;
    json_array(json);
    for (size_t i = 0; i < targets->count && listing->left > 0 && !listing->answer->body.full; i++) {
        const struct labels *labels = targets->items[i].labels;
        if (wanted && !matcher_matches_labels(wanted->selector.matchers, wanted->selector.matcher_count, labels))
            continue;
        int error = tell_target(listing, request->api->options.store, labels, &range);
        if (error < 0) {
            scope_fail(request, error);
            return false;
        }
        if (request_is_late(request)) {
            request_fail(request, API_TIMEOUT, "query timed out in select");
            return false;
        }
    }
    json_array_end(json);
    return true;
}

void api_serve_targets_metadata(void *context, struct http_exchange *exchange)
{
    CLEANUP(request_done) struct api_request request = request_of(context, exchange);
    CLEANUP(targets_done) struct targets targets = {0};
    CLEANUP(promql_expression_freep) struct promql_expression *wanted = NULL;
    CLEANUP(answer_done) struct answer answer = {0};
    struct listing listing = {.answer = &answer, .families = request.api->options.families};
    struct str match = request_text(&request, "match_target");
    struct promql_error error;
    const struct select_range range = targets_range(&request);
    if (!request_number(&request, "limit", -1, &listing.left))
        return;
    if (match.len > 0 && promql_parse_selector(match, &error, &wanted) < 0) {
        request_fail_parse(&request, "match_target", match, &error);
        return;
    }
    listing.left = listing.left < 0 ? INT64_MAX : listing.left; /* all */
    listing.metric = request_text(&request, "metric");
    if (!request_enter(&request) || !targets_collect(&targets, &request, &range))
        return;
    map_init(&listing.told);
    answer_begin(&answer, &request);
    bool whole = write_listing(&listing, &request, &targets, wanted ? promql_expression_root(wanted) : NULL);
    map_done(&listing.told);
    if (whole)
        answer_send(&answer, &request);
}
