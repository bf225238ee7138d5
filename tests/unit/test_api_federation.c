/* What the API tells of the federation as a whole: metrics, targets, /federate, the daemon itself; over a real server
 * on loopback, answers byte for byte. */
#include "http_world.h"

#include "api/api.h"
#include "store/store.h"

#define NOW_MS     INT64_C(1435781451781)
#define FOREVER_MS (INT64_C(1) << 60)

static const struct http_route routes[] = {API_ROUTES, {0}};

struct fixture {
    struct api_context context; /* first: the routes' context */
    struct http_world world;
    struct clock *clock;
    struct store *store;
    struct families *families;
};

#define ASK_FOR_LESS "ask for fewer series, a shorter range or a longer step"

static void make_api(struct fixture *fixture, uint64_t samples_max, uint64_t bytes_max)
{
    struct api_options options = {
        .store = fixture->store,
        .families = fixture->families,
        .clock = fixture->clock,
        .limits = {.samples_max = samples_max, .bytes_max = bytes_max, .timeout_ms = 10000, .lookback_ms = 300000},
        .concurrency_max = 2,
        .started_ms = NOW_MS - 5000};
    api_free(fixture->context.api);
    fixture->context.api = api_new(&options);
}

static int setup(void **state)
{
    struct fixture *fixture = mem_zalloc(sizeof(*fixture));
    *state = fixture;
    fixture->clock = clock_simulated_new(NOW_MS);
    struct store_options options = {.max_age_ms = FOREVER_MS, .max_ahead_ms = FOREVER_MS, .series_max = 10000};
    fixture->store = store_new(fixture->clock, &options);
    fixture->families = families_new();
    make_api(fixture, 100000, 16 * MIB);
    struct http_server_options server = world_server_options();
    world_init(&fixture->world, &server, routes, fixture);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    world_done(&fixture->world);
    api_free(fixture->context.api);
    families_free(fixture->families);
    store_free(fixture->store);
    clock_free(fixture->clock);
    mem_free(fixture);
    return 0;
}

static void expect_type(struct fixture *fixture, const char *path, int status, const char *type, const char *body)
{
    struct http_reply reply;
    struct http_request_spec spec = world_get(world_url(&fixture->world, path));
    world_fetch(&fixture->world, &spec, &reply);
    assert_int_equal(reply.failure, HTTP_OK);
    assert_string_equal(reply.body, body);
    assert_string_equal(reply.content_type, type);
    assert_int_equal(reply.status, status);
    reply_done(&reply);
}

static void expect(struct fixture *fixture, const char *path, int status, const char *body)
{
    expect_type(fixture, path, status, "application/json", body);
}

#define SUCCESS(data)       "{\"status\":\"success\",\"data\":" data "}"
#define FAILURE(type, text) "{\"status\":\"error\",\"errorType\":\"" type "\",\"error\":\"" text "\"}"

/* name, and pairs of label and value; ends with NULL. */
static void put(struct fixture *fixture, int64_t time_ms, double value, const char *const *words)
{
    struct label items[8] = {{STR(LABEL_NAME), str_from(words[0])}};
    size_t count = 1;
    for (size_t i = 1; words[i]; i += 2)
        items[count++] = (struct label){str_from(words[i]), str_from(words[i + 1])};
    CLEANUP(labels_unrefp) struct labels *labels = labels_new(items, count);
    series_ref ref = store_series(fixture->store, labels, KIND_LAST);
    struct record record = {.time_ms = time_ms, .last = value, .count = !value_is_stale(value), .kind = KIND_LAST};
    record_fill_constant(&record);
    store_write_begin(fixture->store);
    store_append(fixture->store, ref, time_ms, 0, &record, NULL, 0);
    store_write_end(fixture->store);
}
#define PUT(fixture, ago_ms, value, ...)                                                                               \
    put(fixture, NOW_MS - (ago_ms), value, (const char *const[]){__VA_ARGS__, NULL})

/* ---- metadata ---- */

static void note(struct fixture *fixture, const char *name, enum metric_type type, const char *help)
{
    families_note(fixture->families,
                  &(struct family){.name = str_from(name), .type = type, .help = str_from(help), .unit = STR("u")});
}

static void metrics_are_listed_by_name_with_all_that_is_said(void **state)
{
    struct fixture *fixture = *state;
    expect(fixture, "/api/v1/metadata", 200, SUCCESS("{}"));
    note(fixture, "b", METRIC_COUNTER, "one \"b\"\n");
    note(fixture, "a", METRIC_GAUGE, "A");
    note(fixture, "b", METRIC_HISTOGRAM, "two");
#define A  "\"a\":[{\"type\":\"gauge\",\"help\":\"A\",\"unit\":\"u\"}]"
#define B1 "{\"type\":\"counter\",\"help\":\"one \\\"b\\\"\\n\",\"unit\":\"u\"}"
#define B2 "{\"type\":\"histogram\",\"help\":\"two\",\"unit\":\"u\"}"
    expect(fixture, "/api/v1/metadata", 200, SUCCESS("{" A ",\"b\":[" B1 "," B2 "]}"));
    expect(fixture, "/api/v1/metadata?limit=1", 200, SUCCESS("{" A "}"));
    expect(fixture, "/api/v1/metadata?limit=0", 200, SUCCESS("{}"));
    expect(fixture, "/api/v1/metadata?limit=-9223372036854775808&limit_per_metric=1", 200,
           SUCCESS("{" A ",\"b\":[" B1 "]}"));
    expect(fixture, "/api/v1/metadata?metric=b", 200, SUCCESS("{\"b\":[" B1 "," B2 "]}"));
    expect(fixture, "/api/v1/metadata?metric=b&limit=0", 200, SUCCESS("{}"));
    expect(fixture, "/api/v1/metadata?metric=c", 200, SUCCESS("{}"));
    expect(fixture, "/api/v1/metadata?limit=1.5", 400, FAILURE("bad_data", "limit must be a number"));
    expect(fixture, "/api/v1/metadata?limit_per_metric=a", 400,
           FAILURE("bad_data", "limit_per_metric must be a number"));
}

/* ---- federate ---- */

#define TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define M         "/federate?match[]=m"

static void newest_samples_are_a_page_in_order_of_names(void **state)
{
    struct fixture *fixture = *state;
    PUT(fixture, 2000, 1, "m", "instance", "i", "Upper", "case");
    PUT(fixture, 1000, 1e-7, "m", "instance", "i", "Upper", "case");
    PUT(fixture, 0, -0.5, "m", "instance", "\"a\\\n\xc3\xa4");
    PUT(fixture, 300000, 7, "m", "x", "y");
    PUT(fixture, 5, 3, "a_first");
    expect_type(fixture, M "&match[]=%7B__name__=~%22a.*%7Cm%22%7D", 200, TEXT_TYPE,
                "# TYPE a_first untyped\n"
                "a_first{instance=\"\"} 3 1435781451776\n"
                "# TYPE m untyped\n"
                "m{Upper=\"case\",instance=\"i\"} 1e-07 1435781450781\n"
                "m{instance=\"\\\"a\\\\\\n\xc3\xa4\"} -0.5 1435781451781\n"
                "m{x=\"y\",instance=\"\"} 7 1435781151781\n");
}

static void what_is_old_or_has_ended_is_not_federated(void **state)
{
    struct fixture *fixture = *state;
    PUT(fixture, 300001, 1, "m", "instance", "old");
    PUT(fixture, 2000, 1, "m", "instance", "ended");
    PUT(fixture, 1000, value_stale(), "m", "instance", "ended");
    PUT(fixture, -1, 1, "m", "instance", "ahead");
    expect_type(fixture, M, 200, TEXT_TYPE, "");
    expect_type(fixture, "/federate", 200, TEXT_TYPE, "");
}

static void errors_of_federation_are_plain_text(void **state)
{
    static const char plain[] = "text/plain; charset=utf-8";
    struct fixture *fixture = *state;
    expect_type(fixture, "/federate?match[]=m(", 400, plain, "1:2: parse error: unexpected \"(\"\n");
    expect_type(fixture, "/federate?match[]=%7B%7D", 400, plain,
                "match[] must contain at least one non-empty matcher\n");
    CLEANUP(buf_done) struct buf path = BUF_INIT(MIB);
    buf_append_text(&path, "/federate?");
    for (int i = 0; i <= 64; i++)
        buf_append_text(&path, "match[]=m&");
    buf_append_byte(&path, 0);
    expect_type(fixture, (const char *)path.data, 400, plain, "more than 64 match[] are not taken\n");
    for (int i = 0; i < 20; i++)
        PUT(fixture, i, i, "m", "instance", (char[]){(char)('a' + i), 0});
    static const char too_much[] =
        "match[] selects more than query.max_samples or query.max_memory allow: ask for less\n";
    make_api(fixture, 19, 16 * MIB);
    expect_type(fixture, M, 422, plain, too_much);
    make_api(fixture, 100, 1000);
    expect_type(fixture, M, 422, plain,
                "query needs more than 1000 bytes of memory (query.max_memory): " ASK_FOR_LESS "\n");
}

/* ---- targets ---- */

#define TARGET(labels, pool, error, seconds, samples, health)                                                          \
    "{\"discoveredLabels\":{},\"labels\":{" labels "},\"scrapePool\":\"" pool                                          \
    "\",\"scrapeUrl\":\"\",\"globalUrl\":\"\",\"lastError\":\"" error                                                  \
    "\",\"lastScrape\":\"2015-07-01T20:10:50.781Z\",\"lastScrapeDuration\":" seconds samples ",\"health\":\"" health   \
    "\",\"scrapeInterval\":\"\",\"scrapeTimeout\":\"\"}"
#define TARGETS_AND(active, ended)                                                                                     \
    SUCCESS("{\"activeTargets\":[" active "],\"droppedTargets\":[],\"endedTargets\":[" ended "]}")
#define TARGETS(active) SUCCESS("{\"activeTargets\":[" active "],\"droppedTargets\":[]}")
#define GOOD            TARGET("\"instance\":\"a\",\"job\":\"j\"", "j", "", "0.25", ",\"lastSamples\":12", "up")
#define BAD             TARGET("\"instance\":\"b\",\"job\":\"k\"", "k", "body_limit", "0", "", "down")
#define LONE            TARGET("\"instance\":\"c\"", "", "", "0", "", "down")

static void put_targets(struct fixture *fixture)
{
    PUT(fixture, 61000, 0, "up", "instance", "a", "job", "j");
    PUT(fixture, 1000, 1, "up", "instance", "a", "job", "j");
    PUT(fixture, 1000, 0.25, "scrape_duration_seconds", "instance", "a", "job", "j");
    PUT(fixture, 1000, 12, "scrape_samples_scraped", "instance", "a", "job", "j");
    /* Left over from a failure that is over: it says nothing of a target that is up. */
    PUT(fixture, 61000, 1, "scrape_failure", "instance", "a", "job", "j", "reason", "timeout");
    /* Of two reasons the newer one. */
    PUT(fixture, 1000, 0, "up", "instance", "b", "job", "k");
    PUT(fixture, 1000, 1, "scrape_failure", "instance", "b", "job", "k", "reason", "body_limit");
    PUT(fixture, 9000, 1, "scrape_failure", "instance", "b", "job", "k", "reason", "timeout");
    PUT(fixture, 1000, 0, "up", "instance", "c");
    PUT(fixture, 2000, 1, "scrape_failure", "instance", "c", "reason", "connect");
    PUT(fixture, 1000, value_stale(), "scrape_failure", "instance", "c", "reason", "connect");
    /* Gone, long silent. */
    PUT(fixture, 2000, 1, "up", "instance", "gone");
    PUT(fixture, 1000, value_stale(), "up", "instance", "gone");
    PUT(fixture, 400000, 1, "up", "instance", "silent");
}

static void targets_are_what_up_and_its_companions_say(void **state)
{
    struct fixture *fixture = *state;
    expect(fixture, "/api/v1/targets", 200, TARGETS(""));
    put_targets(fixture);
    expect(fixture, "/api/v1/targets", 200, TARGETS(GOOD "," BAD "," LONE));
    expect(fixture, "/api/v1/targets?state=Any&scrapePool=k", 200, TARGETS(BAD));
    expect(fixture, "/api/v1/targets?state=active&scrapePool=none", 200, TARGETS(""));
    expect(fixture, "/api/v1/targets?state=dropped", 200, TARGETS(""));
    make_api(fixture, 5, 16 * MIB);
    expect(fixture, "/api/v1/targets", 422,
           FAILURE("execution", "there are more targets than query.max_samples or query.max_memory allow"));
    make_api(fixture, 100000, 200);
    expect(fixture, "/api/v1/targets", 422,
           FAILURE("execution", "query needs more than 200 bytes of memory (query.max_memory): " ASK_FOR_LESS));
}

#define END(instance, pool, reason, time)                                                                              \
    "{\"labels\":{\"instance\":\"" instance "\",\"job\":\"" pool "\"},\"scrapePool\":\"" pool                          \
    "\",\"reason\":\"" reason "\",\"ended\":\"2015-07-01T" time "Z\"}"

static void ended_targets_are_those_that_did_not_come_back(void **state)
{
    struct fixture *fixture = *state;
    PUT(fixture, 9000, 1, "up", "instance", "gone", "job", "j");
    PUT(fixture, 8000, value_stale(), "up", "instance", "gone", "job", "j");
    PUT(fixture, 8000, 1, "scrape_target_ended", "instance", "gone", "job", "j", "reason", "removed");
    /* Ended twice: the last word counts; the first was longer ago than what instant queries see. */
    PUT(fixture, 3600000, 1, "scrape_target_ended", "instance", "twice", "job", "k", "reason", "removed");
    PUT(fixture, 3500000, 1, "scrape_target_ended", "instance", "twice", "job", "k", "reason", "job");
    /* Back, under the same labels. */
    PUT(fixture, 8000, 1, "scrape_target_ended", "instance", "back", "job", "j", "reason", "relabeled");
    PUT(fixture, 1000, 1, "up", "instance", "back", "job", "j");
    /* Longer ago than an hour. */
    PUT(fixture, 3600001, 1, "scrape_target_ended", "instance", "old", "job", "j", "reason", "removed");
    const char *const ended =
        TARGETS_AND("", END("gone", "j", "removed", "20:10:43.781") "," END("twice", "k", "job", "19:12:31.781"));
    expect(fixture, "/api/v1/targets?state=ended", 200, ended);
    expect(fixture, "/api/v1/targets?state=ended&scrapePool=k", 200,
           TARGETS_AND("", END("twice", "k", "job", "19:12:31.781")));
    expect(fixture, "/api/v1/targets?scrapePool=k", 200, TARGETS_AND("", END("twice", "k", "job", "19:12:31.781")));
    expect(fixture, "/api/v1/targets?state=active&scrapePool=k", 200, TARGETS(""));
    for (int i = 0; i < 1001; i++) {
        char name[16];
        snprintf(name, sizeof(name), "i%d", i);
        PUT(fixture, 100 + i, 1, "scrape_target_ended", "instance", name, "reason", "job");
    }
    struct http_reply reply;
    struct http_request_spec spec = world_get(world_url(&fixture->world, "/api/v1/targets?state=ended"));
    world_fetch(&fixture->world, &spec, &reply);
    assert_non_null(strstr(reply.body, "\"i999\""));
    assert_null(strstr(reply.body, "\"i1000\""));
    assert_null(strstr(reply.body, "\"gone\""));
    reply_done(&reply);
}

static void metrics_of_a_target_are_those_it_has_series_of(void **state)
{
    struct fixture *fixture = *state;
    put_targets(fixture);
    PUT(fixture, 1000, 1, "m_bucket", "instance", "a", "job", "j", "le", "1");
    PUT(fixture, 1000, 1, "m_between", "instance", "a", "job", "j");
    PUT(fixture, 1000, 1, "m_count", "instance", "a", "job", "j");
    PUT(fixture, 1000, 1, "n_sum", "instance", "b", "job", "k");
    PUT(fixture, 1000, 1, "unknown_count", "instance", "b", "job", "k");
    PUT(fixture, 400000, 1, "n_old", "instance", "b", "job", "k");
    note(fixture, "m", METRIC_HISTOGRAM, "M");
    note(fixture, "n", METRIC_SUMMARY, "N");
    note(fixture, "n_sum", METRIC_GAUGE, "S");
    note(fixture, "n_old", METRIC_GAUGE, "O");
    note(fixture, "of_nobody", METRIC_GAUGE, "B");
#define OF_A "{\"target\":{\"instance\":\"a\",\"job\":\"j\"},"
#define OF_B "{\"target\":{\"instance\":\"b\",\"job\":\"k\"},"
#define IS_M "\"type\":\"histogram\",\"help\":\"M\",\"unit\":\"u\"}"
#define IS_S "\"type\":\"gauge\",\"help\":\"S\",\"unit\":\"u\"}"
    expect(fixture, "/api/v1/targets/metadata", 200,
           SUCCESS("[" OF_A "\"metric\":\"m\"," IS_M "," OF_B "\"metric\":\"n_sum\"," IS_S "]"));
    expect(fixture, "/api/v1/targets/metadata?limit=1", 200, SUCCESS("[" OF_A "\"metric\":\"m\"," IS_M "]"));
    expect(fixture, "/api/v1/targets/metadata?metric=n_sum", 200, SUCCESS("[" OF_B IS_S "]"));
    expect(fixture, "/api/v1/targets/metadata?match_target=%7Bjob!=%22k%22,instance=~%22.%22%7D&metric=m", 200,
           SUCCESS("[" OF_A IS_M "]"));
    expect(fixture, "/api/v1/targets/metadata?metric=of_nobody", 200, SUCCESS("[]"));
    expect(fixture, "/api/v1/targets/metadata?limit=a", 400, FAILURE("bad_data", "limit must be a number"));
    expect(fixture, "/api/v1/targets/metadata?match_target=a(", 400,
           FAILURE("bad_data", "invalid parameter \\\"match_target\\\": 1:2: parse error: unexpected \\\"(\\\""));
}

/* ---- The daemon itself, and what there is none of ---- */

static void settings_are_told_as_they_are_in_force(void **state)
{
    struct fixture *fixture = *state;
    struct api *api = fixture->context.api;
    const struct api_flag flags[] = {{"a", "1"}, {"b.c", "\"x\""}};
    struct api_settings settings = {
        .yaml = STR("name: \"eu\"\n"), .flags = flags, .flag_count = ARRAY_LEN(flags), .retention = "30d"};
    api_set_settings(api, &settings);
    expect(fixture, "/api/v1/status/config", 200, SUCCESS("{\"yaml\":\"name: \\\"eu\\\"\\n\"}"));
    expect(fixture, "/api/v1/status/flags", 200, SUCCESS("{\"a\":\"1\",\"b.c\":\"\\\"x\\\"\"}"));
    api_reload_failed(api);
    struct http_reply reply;
    struct http_request_spec spec = world_get(world_url(&fixture->world, "/api/v1/status/runtimeinfo"));
    world_fetch(&fixture->world, &spec, &reply);
    assert_non_null(strstr(reply.body, "{\"startTime\":\"2015-07-01T20:10:46.781Z\",\"CWD\":\"/"));
    assert_non_null(strstr(reply.body, "\"reloadConfigSuccess\":false,\"lastConfigTime\":\"2015-07-01T20:10:51.781Z\","
                                       "\"corruptionCount\":0,\"goroutineCount\":"));
    assert_non_null(strstr(reply.body, ",\"GOGC\":\"\",\"GODEBUG\":\"\",\"storageRetention\":\"30d\"}}"));
    reply_done(&reply);
    settings.yaml = STR("name: \"us\"\n");
    settings.flag_count = 0;
    api_set_settings(api, &settings);
    expect(fixture, "/api/v1/status/config", 200, SUCCESS("{\"yaml\":\"name: \\\"us\\\"\\n\"}"));
    expect(fixture, "/api/v1/status/flags", 200, SUCCESS("{}"));
}

static void there_are_no_rules_alerts_and_exemplars(void **state)
{
    expect(*state, "/api/v1/rules", 200, SUCCESS("{\"groups\":[]}"));
    expect(*state, "/api/v1/rules?type=RECORD", 200, SUCCESS("{\"groups\":[]}"));
    expect(*state, "/api/v1/rules?type=records", 400,
           FAILURE("bad_data", "invalid parameter \\\"type\\\": not supported value \\\"records\\\""));
    expect(*state, "/api/v1/alerts", 200, SUCCESS("{\"alerts\":[]}"));
    expect(*state, "/api/v1/alertmanagers", 200, SUCCESS("{\"activeAlertmanagers\":[],\"droppedAlertmanagers\":[]}"));
    expect(*state, "/api/v1/query_exemplars?query=m&start=1&end=2", 200, SUCCESS("[]"));
    expect(*state, "/api/v1/query_exemplars?query=m(", 400,
           FAILURE("bad_data", "1:3: parse error: unclosed left parenthesis"));
    expect(*state, "/api/v1/query_exemplars?query=m&start=2&end=1", 400,
           FAILURE("bad_data", "end timestamp must not be before start timestamp"));
    expect(*state, "/api/v1/status/walreplay", 200, SUCCESS("{\"min\":0,\"max\":0,\"current\":0}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(metrics_are_listed_by_name_with_all_that_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(newest_samples_are_a_page_in_order_of_names, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_old_or_has_ended_is_not_federated, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_of_federation_are_plain_text, setup, teardown),
        cmocka_unit_test_setup_teardown(targets_are_what_up_and_its_companions_say, setup, teardown),
        cmocka_unit_test_setup_teardown(ended_targets_are_those_that_did_not_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(metrics_of_a_target_are_those_it_has_series_of, setup, teardown),
        cmocka_unit_test_setup_teardown(settings_are_told_as_they_are_in_force, setup, teardown),
        cmocka_unit_test_setup_teardown(there_are_no_rules_alerts_and_exemplars, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
