/* The query API over a real server on loopback: what it answers, byte for byte, and what it refuses. */
#include "http_world.h"
#include "store_sample.h"

#include "api/api.h"
#include "api/params.h"
#include "base/json_write.h"
#include "store/store.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#define NOW_MS     INT64_C(1435781451781)
#define FOREVER_MS (INT64_C(1) << 60)

static const struct http_route routes[] = {API_ROUTES, {0}};

struct fixture {
    struct api_context context; /* first: the routes' context */
    struct http_world world;
    struct clock *clock;
    struct store *store;
    struct families *families;
    /* What the coverage callback saw and says. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t start_ms, end_ms;
    uint64_t memory_bytes_max; /* of the next api */
    bool touches_dc1, touches_dc2;
    const char *warnings;
    bool hold;    /* the callback waits until it is false, */
    bool holding; /* and says that it does */
};

static void coverage(void *arg, const struct coverage_range *range, struct json_writer *json, struct buf *warnings)
{
    struct fixture *fixture = arg;
    pthread_mutex_lock(&fixture->lock);
    fixture->start_ms = range->start_ms;
    fixture->end_ms = range->end_ms;
    fixture->touches_dc1 = !range->touches || range->touches(range->arg, STR("dc1"));
    fixture->touches_dc2 = !range->touches || range->touches(range->arg, STR("dc2"));
    if (fixture->warnings) {
        buf_append_text(warnings, fixture->warnings);
        json_object(json);
        json_field_bool(json, "complete", false);
        json_object_end(json);
    }
    fixture->holding = fixture->hold;
    pthread_cond_broadcast(&fixture->changed);
    while (fixture->hold)
        pthread_cond_wait(&fixture->changed, &fixture->lock);
    pthread_mutex_unlock(&fixture->lock);
}

static void coverage_sources(void *arg, const struct coverage_range *range, struct json_writer *json)
{
    (void)arg;
    json_array(json);
    json_int(json, range->start_ms);
    json_int(json, range->end_ms);
    json_bool(json, !range->touches || range->touches(range->arg, STR("dc2")));
    json_array_end(json);
}

static void make_api(struct fixture *fixture, uint64_t samples_max, uint64_t bytes_max, int64_t concurrency)
{
    struct api_options options = {
        .store = fixture->store,
        .families = fixture->families,
        .clock = fixture->clock,
        .limits = {.samples_max = samples_max, .bytes_max = bytes_max, .timeout_ms = 10000, .lookback_ms = 300000},
        .memory_bytes_max = fixture->memory_bytes_max,
        .concurrency_max = concurrency,
        .coverage = coverage,
        .coverage_sources = coverage_sources,
        .coverage_arg = fixture,
        .started_ms = NOW_MS - 5000};
    api_free(fixture->context.api);
    fixture->context.api = api_new(&options);
}

static int setup(void **state)
{
    struct fixture *fixture = mem_zalloc(sizeof(*fixture));
    *state = fixture;
    pthread_mutex_init(&fixture->lock, NULL);
    pthread_cond_init(&fixture->changed, NULL);
    fixture->clock = clock_simulated_new(NOW_MS);
    struct store_options options = {.max_age_ms = FOREVER_MS, .max_ahead_ms = FOREVER_MS, .series_max = 1000};
    fixture->store = store_new(fixture->clock, &options);
    fixture->families = families_new();
    make_api(fixture, 100000, 16 * MIB, 2);
    struct http_server_options server = world_server_options();
    world_init(&fixture->world, &server, routes, fixture);
    /* a: a sample a second up to now; b: numbers that are hard to write; c: nothing for long. */
    for (int i = 0; i < 10; i++)
        store_sample(fixture->store, "m", "a", NOW_MS - i * 1000, 10 - i);
    store_sample(fixture->store, "m", "b\"\\\n\xc3\xa4", NOW_MS - 1, (double)NAN);
    store_sample(fixture->store, "n", "c", NOW_MS - 3600000, 1e-7);
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
    pthread_cond_destroy(&fixture->changed);
    pthread_mutex_destroy(&fixture->lock);
    mem_free(fixture);
    return 0;
}

static void get(struct fixture *fixture, const char *path, struct http_reply *ret_reply)
{
    struct http_request_spec spec = world_get(world_url(&fixture->world, path));
    world_fetch(&fixture->world, &spec, ret_reply);
    assert_int_equal(ret_reply->failure, HTTP_OK);
    assert_string_equal(ret_reply->content_type, "application/json");
}

static void expect(struct fixture *fixture, const char *path, int status, const char *body)
{
    struct http_reply reply;
    get(fixture, path, &reply);
    assert_string_equal(reply.body, body);
    assert_int_equal(reply.status, status);
    reply_done(&reply);
}

/* The body of a success with this data. */
#define SUCCESS(data)       "{\"status\":\"success\",\"data\":" data "}"
#define FAILURE(type, text) "{\"status\":\"error\",\"errorType\":\"" type "\",\"error\":\"" text "\"}"
#define M_A                 "{\"__name__\":\"m\",\"host\":\"a\"}"
#define M_B                 "{\"__name__\":\"m\",\"host\":\"b\\\"\\\\\\n\xc3\xa4\"}"

/* ---- Values ---- */

static void test_instant(void **state)
{
    expect(*state, "/api/v1/query?query=m", 200,
           SUCCESS("{\"resultType\":\"vector\",\"result\":[{\"metric\":" M_A ",\"value\":[1435781451.781,\"10\"]},"
                   "{\"metric\":" M_B ",\"value\":[1435781451.781,\"NaN\"]}]}"));
    expect(*state, "/api/v1/query?query=nothing", 200, SUCCESS("{\"resultType\":\"vector\",\"result\":[]}"));
    /* The time of the answer is that of the question; samples older than the lookback are not found. */
    expect(*state, "/api/v1/query?query=n", 200, SUCCESS("{\"resultType\":\"vector\",\"result\":[]}"));
    expect(*state, "/api/v1/query?query=n&lookback_delta=2h", 200,
           SUCCESS("{\"resultType\":\"vector\",\"result\":[{\"metric\":{\"__name__\":\"n\",\"host\":\"c\"},\"value\":"
                   "[1435781451.781,\"1e-07\"]}]}"));
    expect(*state, "/api/v1/query?query=m%7Bhost=%22a%22%7D*1e21&time=1435781450", 200,
           SUCCESS("{\"resultType\":\"vector\",\"result\":[{\"metric\":{\"host\":\"a\"},\"value\":[1435781450,"
                   "\"8e+21\"]}]}"));
}

static void test_other_types(void **state)
{
    expect(*state, "/api/v1/query?query=1/0&time=0.001", 200,
           SUCCESS("{\"resultType\":\"scalar\",\"result\":[0.001,\"+Inf\"]}"));
    expect(*state, "/api/v1/query?query=time()&time=-1.5", 200,
           SUCCESS("{\"resultType\":\"scalar\",\"result\":[-1.5,\"-1.5\"]}"));
    expect(*state, "/api/v1/query?query=%22%3Ca%3E%22&time=2015-07-01T20:10:51.5%2B00:00", 200,
           SUCCESS("{\"resultType\":\"string\",\"result\":[1435781451.5,\"<a>\"]}"));
    expect(*state, "/api/v1/query?query=m%7Bhost=%22a%22%7D%5B2s%5D", 200,
           SUCCESS("{\"resultType\":\"matrix\",\"result\":[{\"metric\":" M_A ",\"values\":[[1435781449.781,\"8\"],"
                   "[1435781450.781,\"9\"],[1435781451.781,\"10\"]]}]}"));
}

static void test_range(void **state)
{
    /* Steps without a value are not in the answer, series without any neither. */
    expect(*state, "/api/v1/query_range?query=m&start=1435781442.782&end=1435781451.782&step=4.5", 200,
           SUCCESS("{\"resultType\":\"matrix\",\"result\":[{\"metric\":" M_A ",\"values\":[[1435781442.782,\"1\"],"
                   "[1435781447.282,\"5\"],[1435781451.782,\"10\"]]},{\"metric\":" M_B
                   ",\"values\":[[1435781451.782,\"NaN\"]]}]}"));
    expect(*state, "/api/v1/query_range?query=2&start=0&end=60&step=1m", 200,
           SUCCESS("{\"resultType\":\"matrix\",\"result\":[{\"metric\":{},\"values\":[[0,\"2\"],[60,\"2\"]]}]}"));
    expect(*state, "/api/v1/query_range?query=m&start=0&end=60&step=60", 200,
           SUCCESS("{\"resultType\":\"matrix\",\"result\":[]}"));
}

static void post(struct fixture *fixture, const char *path, const char *form, struct http_reply *ret_reply)
{
    static const struct http_header header = {"Content-Type", "application/x-www-form-urlencoded"};
    struct http_request_spec spec = world_get(world_url(&fixture->world, path));
    spec.method = "POST";
    spec.headers = &header;
    spec.header_count = 1;
    spec.body = form;
    spec.body_len = strlen(form);
    world_fetch(&fixture->world, &spec, ret_reply);
    assert_int_equal(ret_reply->failure, HTTP_OK);
}

static void test_post(void **state)
{
    struct http_reply reply;
    post(*state, "/api/v1/query", "query=sum(m%7Bhost%3D%22a%22%7D)&time=1435781451.781", &reply);
    assert_string_equal(reply.body, SUCCESS("{\"resultType\":\"vector\",\"result\":[{\"metric\":{},\"value\":"
                                            "[1435781451.781,\"10\"]}]}"));
    assert_int_equal(reply.status, 200);
    reply_done(&reply);
}

/* ---- Errors ---- */

static void test_errors(void **state)
{
    static const struct {
        const char *path, *body;
    } cases[] = {
        {"/api/v1/query?query=sum(m", FAILURE("bad_data", "invalid parameter \\\"query\\\": 1:6: parse error: unclosed "
                                                          "left parenthesis")},
        {"/api/v1/query",
         FAILURE("bad_data", "invalid parameter \\\"query\\\": 1:1: parse error: no expression found in "
                             "input")},
        {"/api/v1/query?query=1&time=x", FAILURE("bad_data", "invalid parameter \\\"time\\\": Invalid time value for "
                                                             "'time': cannot parse \\\"x\\\" to a valid timestamp")},
        {"/api/v1/query?query=1&timeout=x",
         FAILURE("bad_data", "invalid parameter \\\"timeout\\\": cannot parse \\\"x\\\" to a valid duration")},
        {"/api/v1/query?query=1&lookback_delta=1",
         SUCCESS("{\"resultType\":\"scalar\",\"result\":[1435781451.781,\"1\"]}")},
        {"/api/v1/query_range?query=1&start=1&end=2",
         FAILURE("bad_data", "invalid parameter \\\"step\\\": cannot parse \\\"\\\" to a valid duration")},
        {"/api/v1/query_range?query=1&end=2&step=1",
         FAILURE("bad_data", "invalid parameter \\\"start\\\": cannot parse \\\"\\\" to a valid timestamp")},
        {"/api/v1/query_range?query=1&start=2&end=1&step=1",
         FAILURE("bad_data", "invalid parameter \\\"end\\\": end timestamp must not be before start time")},
        {"/api/v1/query_range?query=1&start=1&end=2&step=-1",
         FAILURE("bad_data", "invalid parameter \\\"step\\\": zero or negative query resolution step widths are not "
                             "accepted. Try a positive integer")},
        {"/api/v1/query_range?query=1&start=1&end=2&step=1e30",
         FAILURE("bad_data",
                 "invalid parameter \\\"step\\\": cannot parse \\\"1e30\\\" to a valid duration. It overflows int64")},
        {"/api/v1/query_range?query=1&start=0&end=11001&step=1",
         FAILURE("bad_data", "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query "
                             "resolution (?step=XX)")},
        {"/api/v1/query_range?query=m%5B1m%5D&start=0&end=1&step=1",
         FAILURE("bad_data", "invalid expression type \\\"range vector\\\" for range query, must be Scalar or instant "
                             "Vector")},
        {"/api/v1/series", FAILURE("bad_data", "no match[] parameter provided")},
        {"/api/v1/series?match[]=m&limit=-1",
         FAILURE("bad_data", "invalid parameter \\\"limit\\\": cannot parse \\\"-1\\\" to a number")},
        {"/api/v1/series?match[]=m&match[]=m%7B",
         FAILURE("bad_data",
                 "invalid parameter \\\"match[]\\\": 1:3: parse error: unexpected end of input inside braces")},
        {"/api/v1/labels?end=tomorrow",
         FAILURE("bad_data", "invalid parameter \\\"end\\\": Invalid time value for 'end': "
                             "cannot parse \\\"tomorrow\\\" to a valid timestamp")},
        {"/api/v1/label/a-b/values", FAILURE("bad_data", "invalid label name: \\\"a-b\\\"")},
        {"/api/v1/format_query?query=a%2B",
         FAILURE("bad_data", "invalid parameter \\\"query\\\": 1:3: parse error: unexpected end of input")},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect(*state, cases[i].path, strstr(cases[i].body, "\"success\"") ? 200 : 400, cases[i].body);
}

static void test_execution_errors(void **state)
{
    struct http_reply reply;
    get(*state, "/api/v1/query?query=m%2Bon()group_left()%7B__name__=%22m%22%7D", &reply);
    assert_int_equal(reply.status, 422);
    assert_non_null(strstr(reply.body, "\"errorType\":\"execution\",\"error\":\"found duplicate series for the match "
                                       "group {}"));
    reply_done(&reply);
}

static void test_limits(void **state)
{
    struct fixture *fixture = *state;
    struct http_reply reply;
    make_api(fixture, 3, 16 * MIB, 2);
    get(fixture, "/api/v1/query?query=m%5B1h%5D", &reply);
    assert_int_equal(reply.status, 422);
    assert_non_null(strstr(reply.body, "\"errorType\":\"execution\",\"error\":\"query processing would load too many "
                                       "samples into memory in "));
    reply_done(&reply);
    /* A text that takes little to evaluate and six times as much to write. */
    make_api(fixture, 100000, 128 * KIB, 2);
    CLEANUP(buf_done) struct buf form = BUF_INIT(MIB);
    buf_append_text(&form, "query=`");
    for (int i = 0; i < 30000; i++)
        buf_append_text(&form, "%01");
    buf_append(&form, "`", 2);
    post(fixture, "/api/v1/query", (const char *)form.data, &reply);
    assert_int_equal(reply.status, 422);
    assert_string_equal(reply.body, FAILURE("execution", "the answer is larger than 131072 bytes (query.max_memory)"));
    reply_done(&reply);
}

static void append_regexes(struct buf *form, int count)
{
    buf_reset(form);
    buf_append_text(form, "query=m{host!=''");
    for (int i = 0; i < count; i++)
        buf_printf(form, ",host=~'a|[^%c]x*'", 'b' + i);
    buf_append(form, "}", 2);
}

/* What all queries may take together: the small ones have theirs all the same. */
static void test_limit_of_all_queries(void **state)
{
    struct fixture *fixture = *state;
    struct http_reply reply;
    CLEANUP(buf_done) struct buf form = BUF_INIT(MIB);
    fixture->memory_bytes_max = MIB;
    make_api(fixture, 100000, GIB, 2);
    append_regexes(&form, 20); /* each may take 1 MiB */
    post(fixture, "/api/v1/query", (const char *)form.data, &reply);
    assert_int_equal(reply.status, 503);
    assert_string_equal(reply.body, FAILURE("unavailable", "the queries that run now need more than 1048576 bytes of "
                                                           "memory together (query.max_total_memory): try again "
                                                           "later"));
    reply_done(&reply);
    append_regexes(&form, 1);
    post(fixture, "/api/v1/query", (const char *)form.data, &reply);
    assert_int_equal(reply.status, 200);
    reply_done(&reply);
    fixture->memory_bytes_max = 0;
    make_api(fixture, 100000, 16 * MIB, 2);
    append_regexes(&form, 20);
    post(fixture, "/api/v1/query", (const char *)form.data, &reply);
    assert_int_equal(reply.status, 422);
    assert_string_equal(reply.body, FAILURE("execution", "query needs more than 16777216 bytes of memory "
                                                         "(query.max_memory): ask for fewer series, a shorter range or "
                                                         "a longer step"));
    reply_done(&reply);
}

/* ---- What there is ---- */

static void test_series(void **state)
{
    expect(*state, "/api/v1/series?match[]=m&match[]=%7Bhost=%22a%22%7D", 200, SUCCESS("[" M_A "," M_B "]"));
    expect(*state, "/api/v1/series?match[]=n&match[]=m%7Bhost=%22a%22%7D", 200,
           SUCCESS("[" M_A ",{\"__name__\":\"n\",\"host\":\"c\"}]"));
    expect(*state, "/api/v1/series?match[]=m&start=1435781451.780", 200, SUCCESS("[" M_A "," M_B "]"));
    expect(*state, "/api/v1/series?match[]=%7Bhost!=%22%22%7D&end=1435780000", 200,
           SUCCESS("[{\"__name__\":\"n\",\"host\":\"c\"}]"));
    expect(*state, "/api/v1/series?match[]=nothing", 200, SUCCESS("[]"));
    expect(*state, "/api/v1/series?match[]=m&limit=1", 200,
           "{\"status\":\"success\",\"data\":[" M_A "],\"warnings\":[\"results truncated due to limit\"]}");
    expect(*state, "/api/v1/series?match[]=m&limit=2", 200, SUCCESS("[" M_A "," M_B "]"));
}

static void test_labels(void **state)
{
    expect(*state, "/api/v1/labels", 200, SUCCESS("[\"__name__\",\"host\"]"));
    expect(*state, "/api/v1/labels?match[]=nothing", 200, SUCCESS("[]"));
    expect(*state, "/api/v1/label/__name__/values", 200, SUCCESS("[\"m\",\"n\"]"));
    expect(*state, "/api/v1/label/host/values?match[]=n&match[]=m%7Bhost=%22a%22%7D", 200, SUCCESS("[\"a\",\"c\"]"));
    expect(*state, "/api/v1/label/host/values?match[]=m&match[]=m", 200, SUCCESS("[\"a\",\"b\\\"\\\\\\n\xc3\xa4\"]"));
    expect(*state, "/api/v1/label/nothing/values", 200, SUCCESS("[]"));
    expect(*state, "/api/v1/label/host/values?limit=1", 200,
           "{\"status\":\"success\",\"data\":[\"a\"],\"warnings\":[\"results truncated due to limit\"]}");
    expect(*state, "/api/v1/label/__name__/values?start=-292273086-05-16T16:47:06Z&end=1435780000", 200,
           SUCCESS("[\"n\"]"));
}

static void test_others(void **state)
{
    struct http_reply reply;
    expect(*state, "/api/v1/format_query?query=sum(rate(m%5B5m%5D))by(host)", 200,
           SUCCESS("\"sum by (host) (rate(m[5m]))\""));
    get(*state, "/api/v1/status/buildinfo", &reply);
    assert_non_null(strstr(reply.body, "\"data\":{\"version\":\"2.42.0\""));
    assert_non_null(strstr(reply.body, "\"application\":\"tributary\""));
    reply_done(&reply);
}

/* ---- Coverage ---- */

static void test_warnings(void **state)
{
    struct fixture *fixture = *state;
    fixture->warnings = "dc1 is behind\ndc2 \"too\"\n";
    expect(fixture, "/api/v1/query?query=1&time=5", 200,
           "{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\",\"result\":[5,\"1\"]},\"warnings\":[\"dc1 is "
           "behind\",\"dc2 \\\"too\\\"\"],\"coverage\":{\"complete\":false}}");
    assert_true(fixture->start_ms > fixture->end_ms); /* nothing is looked at */
    fixture->warnings = NULL;
    expect(fixture, "/api/v1/labels?start=2", 200, SUCCESS("[\"__name__\",\"host\"]"));
    assert_int_equal(fixture->start_ms, 2000);
    assert_int_equal(fixture->end_ms, NOW_MS); /* nobody can have told of the future */
    expect(fixture, "/api/v1/labels?end=900", 200, SUCCESS("[]"));
    assert_int_equal(fixture->start_ms, 600000); /* without a start, what is there now is asked for */
    assert_int_equal(fixture->end_ms, 900000);
}

/* What an expression looks at: seconds before `time`=1000 (or start=1000, end=2000), and of which datacenters. */
static void test_reach(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *query;
        int64_t start_s, end_s;
        bool dc1, dc2;
    } cases[] = {
        {"x", 700, 1000, true, true},
        {"rate(x[2m])", 880, 1000, true, true},
        {"-(x offset 100s)", 600, 900, true, true},
        {"sum(rate(x[2m] offset -10s))", 890, 1010, true, true},
        {"x + on() y offset 500s", 200, 1000, true, true},
        {"max_over_time(rate(x[1m])[5m:])", 640, 1000, true, true},
        {"x @ 5000", 4700, 5000, true, true},
        {"max_over_time(x[1m:10s] @ 100)", -260, 100, true, true},
        {"quantile(scalar(x offset 100s), y)", 600, 1000, true, true},
        {"x{datacenter=\"dc1\"}", 700, 1000, true, false},
        {"x{datacenter=~\"dc2|dc3\"}", 700, 1000, false, true},
        {"x{datacenter!=\"dc2\"} + x{datacenter=\"dc1\"}", 700, 1000, true, false},
        {"x{datacenter=\"dc2\"} + on() y", 700, 1000, true, true},
        {"x{datacenter=\"none\"}", 700, 1000, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_reply reply;
        char path[1024] = "/api/v1/query?time=1000&query=";
        size_t len = strlen(path);
        for (const char *at = cases[i].query; *at; at++)
            len += (size_t)snprintf(path + len, sizeof(path) - len, "%%%02x", (unsigned char)*at);
        get(fixture, path, &reply);
        reply_done(&reply);
        if (fixture->start_ms != cases[i].start_s * 1000 || fixture->end_ms != cases[i].end_s * 1000 ||
            fixture->touches_dc1 != cases[i].dc1 || fixture->touches_dc2 != cases[i].dc2)
            fail_msg("%s: %lld..%lld %d %d", cases[i].query, (long long)fixture->start_ms, (long long)fixture->end_ms,
                     fixture->touches_dc1, fixture->touches_dc2);
    }
    expect(fixture, "/api/v1/query_range?query=nothing@start()&start=1000&end=2000&step=4", 200,
           SUCCESS("{\"resultType\":\"matrix\",\"result\":[]}"));
    assert_int_equal(fixture->start_ms, 700000);
    assert_int_equal(fixture->end_ms, 1000000);
    expect(fixture, "/api/v1/query_range?query=nothing&start=1000&end=2000&step=4", 200,
           SUCCESS("{\"resultType\":\"matrix\",\"result\":[]}"));
    assert_int_equal(fixture->start_ms, 700000);
    assert_int_equal(fixture->end_ms, 2000000);
    expect(fixture, "/api/v1/series?match[]=none%7Bdatacenter=%22dc2%22%7D", 200, SUCCESS("[]"));
    assert_true(!fixture->touches_dc1 && fixture->touches_dc2);
}

static void test_coverage_of_sources(void **state)
{
    expect(*state, "/api/v1/status/coverage?start=1&end=9", 200, SUCCESS("{\"sources\":[1000,9000,true]}"));
    expect(*state, "/api/v1/status/coverage?end=1000&datacenter=dc1", 200,
           SUCCESS("{\"sources\":[700000,1000000,false]}"));
    expect(*state, "/api/v1/status/coverage?start=9&end=1", 400,
           FAILURE("bad_data", "invalid parameter \\\"end\\\": end timestamp must not be before start time"));
}

/* ---- Places ---- */

static void wait_held(struct fixture *fixture)
{
    pthread_mutex_lock(&fixture->lock);
    while (!fixture->holding)
        pthread_cond_wait(&fixture->changed, &fixture->lock);
    pthread_mutex_unlock(&fixture->lock);
}

static void let_go(struct fixture *fixture)
{
    pthread_mutex_lock(&fixture->lock);
    fixture->hold = fixture->holding = false;
    pthread_cond_broadcast(&fixture->changed);
    pthread_mutex_unlock(&fixture->lock);
}

static double metric(struct fixture *fixture, const char *name)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(MIB);
    api_write_metrics(fixture->context.api, &text);
    buf_append_byte(&text, 0);
    const char *line = strstr((const char *)text.data, name);
    assert_non_null(line);
    return strtod(line + strlen(name), NULL);
}

/* Turns the loop until a metric has the value. */
static void wait_metric(struct fixture *fixture, const char *name, double value)
{
    while (metric(fixture, name) != value)
        loop_settle(fixture->world.loop);
}

static void start(struct fixture *fixture, const char *path, struct http_reply *reply, struct http_call **ret_call)
{
    struct http_request_spec spec = world_get(world_url(&fixture->world, path));
    *reply = (struct http_reply){.loop = fixture->world.loop};
    assert_int_equal(http_client_call(fixture->world.client, &spec, reply_take, reply, ret_call), 0);
}

static void finish(struct fixture *fixture, struct http_reply *reply)
{
    while (!reply->done)
        loop_run(fixture->world.loop);
}

/* A query that holds the only place. */
static void start_held(struct fixture *fixture, struct http_reply *reply)
{
    make_api(fixture, 1000, MIB, 1);
    fixture->hold = true;
    start(fixture, "/api/v1/query?query=1", reply, NULL);
    wait_metric(fixture, "\ntributary_query_running ", 1);
    wait_held(fixture);
}

static void test_place_comes_free(void **state)
{
    struct fixture *fixture = *state;
    struct http_reply first, second;
    start_held(fixture, &first);
    start(fixture, "/api/v1/query?query=2&time=3", &second, NULL);
    wait_metric(fixture, "\ntributary_query_waiting ", 1);
    assert_false(second.done);
    let_go(fixture);
    finish(fixture, &first);
    finish(fixture, &second);
    assert_int_equal(first.status, 200);
    assert_string_equal(second.body, SUCCESS("{\"resultType\":\"scalar\",\"result\":[3,\"2\"]}"));
    reply_done(&first);
    reply_done(&second);
}

static void test_wait_ends_with_timeout(void **state)
{
    struct fixture *fixture = *state;
    struct http_reply first, second;
    start_held(fixture, &first);
    start(fixture, "/api/v1/series?match[]=m&timeout=2s", &second, NULL);
    wait_metric(fixture, "\ntributary_query_waiting ", 1);
    clock_simulated_advance(fixture->clock, 2000);
    finish(fixture, &second);
    assert_int_equal(second.status, 503);
    assert_string_equal(second.body, FAILURE("timeout", "query timed out in query queue"));
    let_go(fixture);
    finish(fixture, &first);
    reply_done(&first);
    reply_done(&second);
}

static void test_wait_ends_with_client(void **state)
{
    struct fixture *fixture = *state;
    struct http_reply first, second;
    struct http_call *call;
    start_held(fixture, &first);
    start(fixture, "/api/v1/query?query=2", &second, &call);
    wait_metric(fixture, "\ntributary_query_waiting ", 1);
    http_call_cancel(call);
    wait_metric(fixture, "\ntributary_query_requests_total{outcome=\"canceled\"} ", 1);
    let_go(fixture);
    finish(fixture, &first);
    assert_int_equal(first.status, 200);
    wait_metric(fixture, "\ntributary_query_running ", 0);
    reply_done(&first);
}

/* ---- Parameters ---- */

static void test_times(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {
        {"0", 0},
        {"1435781451.781", 1435781451781},
        {"-1.5", -1500},
        {"1e3", 1000000},
        {"1435781451.7814", 1435781451781},
        {"2015-07-01T20:10:51.781Z", 1435781451781},
        {"2015-07-01T22:10:51.781+02:00", 1435781451781},
        {"-292273086-05-16T16:47:06Z", -PARAMS_TIME_MS_MAX},
        {"292277025-08-18T07:12:54.999999999Z", PARAMS_TIME_MS_MAX},
    };
    static const char *const bad[] = {"",
                                      "x",
                                      "nan",
                                      "inf",
                                      "-Inf",
                                      "1e300",
                                      "2015-07-01",
                                      "2015-13-01T00:00:00Z",
                                      " 1",
                                      "1s",
                                      "2015-07-01T20:10:51.781Z2015-07-01T20:10:51.781Z2015-07-01T20:10:51.781Z"};
    int64_t ms = 0;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(params_time(str_from(good[i].text), &ms), 0);
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(params_time(str_from(bad[i]), &ms), -EINVAL);
}

static void test_durations(void **state)
{
    int64_t ms = 0;
    (void)state;
    assert_int_equal(params_duration(STR("15"), &ms), 0);
    assert_int_equal(ms, 15000);
    assert_int_equal(params_duration(STR("0.5"), &ms), 0);
    assert_int_equal(ms, 500);
    assert_int_equal(params_duration(STR("-2"), &ms), 0);
    assert_int_equal(ms, -2000);
    assert_int_equal(params_duration(STR("1h30m"), &ms), 0);
    assert_int_equal(ms, 5400000);
    assert_int_equal(params_duration(STR("9223372036.9"), &ms), -ERANGE);
    assert_int_equal(params_duration(STR("nan"), &ms), -ERANGE);
    assert_int_equal(params_duration(STR("1x"), &ms), -EINVAL);
    assert_int_equal(params_duration(STR(""), &ms), -EINVAL);
    assert_int_equal(ms, 5400000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_instant, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_types, setup, teardown),
        cmocka_unit_test_setup_teardown(test_range, setup, teardown),
        cmocka_unit_test_setup_teardown(test_post, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_execution_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limit_of_all_queries, setup, teardown),
        cmocka_unit_test_setup_teardown(test_series, setup, teardown),
        cmocka_unit_test_setup_teardown(test_labels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_others, setup, teardown),
        cmocka_unit_test_setup_teardown(test_warnings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reach, setup, teardown),
        cmocka_unit_test_setup_teardown(test_coverage_of_sources, setup, teardown),
        cmocka_unit_test_setup_teardown(test_place_comes_free, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wait_ends_with_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wait_ends_with_client, setup, teardown),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_durations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
