/* What the API says of a store with blocks: cardinality, blocks, retention, deletions, warnings of what is damaged. */
#include "http_world.h"
#include "store_sample.h"

#include "api/api.h"
#include "base/file.h"
#include "store/blocks.h"
#include "store/store.h"

#include <jansson.h>
#include <stdlib.h>

#define NOW_MS  INT64_C(1700013600000)
#define HOUR_MS INT64_C(3600000)
#define DAY_MS  (24 * HOUR_MS)

static const struct http_route routes[] = {API_ROUTES, {0}};

struct fixture {
    struct api_context context; /* first: the routes' context */
    struct http_world world;
    struct clock *clock;
    struct store *store;
    char dir[64];
};

static void open_store(struct fixture *fixture, const struct retention_class *classes, size_t count)
{
    char error[256];
    CLEANUP(retention_unrefp) struct retention *retention = NULL;
    assert_int_equal(retention_new(classes, count, 0, error, &retention), 0);
    struct store_options options = {.max_age_ms = 365 * DAY_MS,
                                    .series_max = 1000,
                                    .fs = file_system_real(),
                                    .data_dir = fixture->dir,
                                    .retention = retention,
                                    .max_ahead_ms = HOUR_MS};
    assert_int_equal(store_open(fixture->clock, &options, error, NULL, &fixture->store), 0);
    struct api_options api = {
        .store = fixture->store,
        .clock = fixture->clock,
        .limits = {.samples_max = 100000, .bytes_max = 16 * MIB, .timeout_ms = 10000, .lookback_ms = 300000},
        .concurrency_max = 2};
    fixture->context.api = api_new(&api);
}

/* bulk: what is called so. It goes after a day, the rest after ten. */
static const struct retention_class classes[] = {
    {.name = "main", .match = "{host=\"a\"}", .keep_ms = 10 * DAY_MS, .bytes_max = 5 * MIB},
    {.name = "bulk", .keep_ms = DAY_MS},
};

static int setup(void **state)
{
    struct fixture *fixture = mem_zalloc(sizeof(*fixture));
    *state = fixture;
    fixture->clock = clock_simulated_new(NOW_MS);
    snprintf(fixture->dir, sizeof(fixture->dir), "/tmp/test_api_store.XXXXXX");
    assert_non_null(mkdtemp(fixture->dir));
    open_store(fixture, classes, ARRAY_LEN(classes));
    struct http_server_options server = world_server_options();
    world_init(&fixture->world, &server, routes, fixture);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    world_done(&fixture->world);
    api_free(fixture->context.api);
    store_free(fixture->store);
    clock_free(fixture->clock);
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", fixture->dir);
    assert_int_equal(system(command), 0);
    mem_free(fixture);
    return 0;
}

/* Two hosts, a sample a minute for the hour that ended two hours ago, cut into one block of each class. */
static void fill(struct fixture *fixture)
{
    for (int i = 0; i < 60; i++) {
        store_sample(fixture->store, "m", "a", NOW_MS - 3 * HOUR_MS + i * 60000, i);
        store_sample(fixture->store, "m", "b", NOW_MS - 3 * HOUR_MS + i * 60000, i);
    }
    store_cut_all(fixture->store);
}

/* ---- Requests ---- */

static void call(struct fixture *fixture, const char *path, const char *form, struct http_reply *ret_reply)
{
    static const struct http_header header = {"Content-Type", "application/x-www-form-urlencoded"};
    struct http_request_spec spec = world_get(world_url(&fixture->world, path));
    if (form) {
        spec.method = "POST";
        spec.headers = &header;
        spec.header_count = 1;
        spec.body = form;
        spec.body_len = strlen(form);
    }
    world_fetch(&fixture->world, &spec, ret_reply);
    assert_int_equal(ret_reply->failure, HTTP_OK);
}

static json_t *ask(struct fixture *fixture, const char *path, const char *form, int status)
{
    struct http_reply reply;
    call(fixture, path, form, &reply);
    if (reply.status != status)
        fail_msg("%s: %d %s", path, reply.status, reply.body);
    json_t *json = json_loads(reply.body, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    reply_done(&reply);
    return json;
}

static void expect(struct fixture *fixture, const char *path, const char *form, int status, const char *body)
{
    struct http_reply reply;
    call(fixture, path, form, &reply);
    assert_string_equal(reply.body, body);
    assert_int_equal(reply.status, status);
    reply_done(&reply);
}

static json_t *data_of(json_t *answer)
{
    return json_object_get(answer, "data");
}

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    assert_non_null(text);
    return text;
}

static json_int_t number_at(const json_t *object, const char *key)
{
    assert_true(json_is_integer(json_object_get(object, key)));
    return json_integer_value(json_object_get(object, key));
}

static size_t samples_of(struct fixture *fixture, const char *selector)
{
    char path[256];
    snprintf(path, sizeof(path), "/api/v1/query?query=%s%%5B1d%%5D&time=%lld", selector, (long long)NOW_MS / 1000);
    json_t *answer = ask(fixture, path, NULL, 200);
    json_t *result = json_object_get(data_of(answer), "result");
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(result); i++)
        count += json_array_size(json_object_get(json_array_get(result, i), "values"));
    json_decref(answer);
    return count;
}

#define FAILURE(type, text) "{\"status\":\"error\",\"errorType\":\"" type "\",\"error\":\"" text "\"}"

/* ---- status/tsdb ---- */

static void test_tsdb_of_nothing(void **state)
{
    expect(*state, "/api/v1/status/tsdb", NULL, 200,
           "{\"status\":\"success\",\"data\":{\"headStats\":{\"numSeries\":0,\"numLabelPairs\":0,\"chunkCount\":0,"
           "\"minTime\":9223372036854775807,\"maxTime\":-9223372036854775808},\"seriesCountByMetricName\":[],"
           "\"labelValueCountByLabelName\":[],\"memoryInBytesByLabelName\":[],\"seriesCountByLabelValuePair\":[]}}");
}

static void test_tsdb(void **state)
{
    struct fixture *fixture = *state;
    char host[16];
    for (int i = 0; i < 12; i++) {
        snprintf(host, sizeof(host), "h%d", i);
        store_sample(fixture->store, "wide", host, NOW_MS - 1000, i);
    }
    store_sample(fixture->store, "narrow", "h0", NOW_MS, 1);
    json_t *answer = ask(fixture, "/api/v1/status/tsdb", NULL, 200);
    const json_t *data = data_of(answer), *head = json_object_get(data, "headStats");
    assert_int_equal(number_at(head, "numSeries"), 13);
    assert_int_equal(number_at(head, "numLabelPairs"), 14);
    assert_int_equal(number_at(head, "chunkCount"), 13);
    assert_int_equal(number_at(head, "minTime"), NOW_MS - 1000);
    assert_int_equal(number_at(head, "maxTime"), NOW_MS);
    const json_t *pairs = json_object_get(data, "seriesCountByLabelValuePair");
    assert_int_equal(json_array_size(pairs), 10);
    assert_string_equal(text_at(json_array_get(pairs, 0), "name"), "__name__=wide");
    assert_int_equal(number_at(json_array_get(pairs, 0), "value"), 12);
    assert_string_equal(text_at(json_array_get(pairs, 1), "name"), "host=h0");
    const json_t *values = json_object_get(data, "labelValueCountByLabelName");
    assert_string_equal(text_at(json_array_get(values, 0), "name"), "host");
    assert_int_equal(number_at(json_array_get(values, 0), "value"), 12);
    json_decref(answer);

    answer = ask(fixture, "/api/v1/status/tsdb?limit=1", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(data_of(answer), "seriesCountByMetricName")), 1);
    assert_int_equal(json_array_size(json_object_get(data_of(answer), "seriesCountByLabelValuePair")), 1);
    json_decref(answer);
    answer = ask(fixture, "/api/v1/status/tsdb?limit=99999999999", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(data_of(answer), "seriesCountByLabelValuePair")), 14);
    json_decref(answer);
    expect(fixture, "/api/v1/status/tsdb?limit=0", NULL, 400, FAILURE("bad_data", "limit must be a positive number"));
    expect(fixture, "/api/v1/status/tsdb?limit=-1", NULL, 400, FAILURE("bad_data", "limit must be a positive number"));
}

/* ---- status/blocks ---- */

static void test_blocks(void **state)
{
    struct fixture *fixture = *state;
    expect(fixture, "/api/v1/status/blocks", NULL, 200,
           "{\"status\":\"success\",\"data\":{\"blocks\":[],\"sums\":[]}}");
    fill(fixture);
    json_t *answer = ask(fixture, "/api/v1/status/blocks", NULL, 200);
    const json_t *list = json_object_get(data_of(answer), "blocks");
    assert_int_equal(json_array_size(list), 2);
    for (size_t i = 0; i < 2; i++) {
        const json_t *block = json_array_get(list, i);
        assert_string_equal(text_at(block, "state"), "served");
        assert_int_equal(strlen(text_at(block, "ulid")), ULID_CHARS);
        assert_true(number_at(block, "minTime") <= NOW_MS - 3 * HOUR_MS);
        assert_true(number_at(block, "maxTime") > NOW_MS - 2 * HOUR_MS - 60000);
        assert_int_equal(number_at(block, "level"), 1);
        assert_int_equal(number_at(block, "series"), 1);
        assert_int_equal(number_at(block, "samples"), 60);
        assert_int_equal(number_at(block, "chunks"), 1);
        assert_true(number_at(block, "bytes") > 100);
        assert_int_equal(number_at(block, "aggregates"), 0);
        assert_int_equal(number_at(block, "sources"), 1);
        assert_true(json_is_boolean(json_object_get(block, "late")));
        assert_null(json_object_get(block, "reason"));
    }
    const json_t *sums = json_object_get(data_of(answer), "sums");
    assert_int_equal(json_array_size(sums), 2);
    assert_int_equal(number_at(json_array_get(sums, 0), "blocks"), 1);
    assert_int_equal(number_at(json_array_get(sums, 0), "samples"), 60);
    json_decref(answer);
}

/* Damages the chunks of the block of class main, and returns its name. */
static struct ulid damage(struct fixture *fixture)
{
    struct block_status *items;
    size_t count;
    struct ulid ulid = {0};
    blocks_status(store_blocks(fixture->store), &items, &count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(items[i].meta.class, "main") == 0)
            ulid = items[i].meta.ulid;
    blocks_status_free(items, count);
    char path[256];
    snprintf(path, sizeof(path), "%s/blocks/%s/chunks/000001", fixture->dir, ulid.text);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 40, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, 40, SEEK_SET), 0);
    fputc(byte ^ 0x10, file);
    assert_int_equal(fclose(file), 0);
    return ulid;
}

static bool warns_of(struct fixture *fixture, const char *path, const char *text)
{
    json_t *answer = ask(fixture, path, NULL, 200);
    const json_t *warnings = json_object_get(answer, "warnings");
    bool found = false;
    for (size_t i = 0; i < json_array_size(warnings); i++)
        found = found || strstr(json_string_value(json_array_get(warnings, i)), text);
    json_decref(answer);
    return found;
}

static void test_damage(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture);
    struct ulid ulid = damage(fixture);
    assert_false(warns_of(fixture, "/api/v1/labels", ulid.text));
    /* The query that finds it says so, and has what the others have. */
    char path[128];
    snprintf(path, sizeof(path), "/api/v1/query?query=m%%5B1d%%5D&time=%lld", (long long)NOW_MS / 1000);
    assert_true(warns_of(fixture, path, ulid.text));
    assert_int_equal(samples_of(fixture, "m"), 60);

    json_t *answer = ask(fixture, "/api/v1/status/blocks", NULL, 200);
    const json_t *list = json_object_get(data_of(answer), "blocks");
    assert_int_equal(json_array_size(list), 2);
    size_t damaged = 0;
    for (size_t i = 0; i < 2; i++) {
        const json_t *block = json_array_get(list, i);
        if (strcmp(text_at(block, "state"), "damaged") != 0)
            continue;
        damaged++;
        assert_string_equal(text_at(block, "ulid"), ulid.text);
        assert_string_equal(text_at(block, "class"), "main");
        assert_true(strlen(text_at(block, "reason")) > 5);
        assert_int_equal(number_at(block, "since"), NOW_MS);
        assert_int_equal(number_at(block, "samples"), 60);
    }
    assert_int_equal(damaged, 1);
    json_decref(answer);

    /* Answers without samples, too, where their range meets it. */
    assert_true(warns_of(fixture, "/api/v1/labels", ulid.text));
    assert_true(warns_of(fixture, "/api/v1/label/host/values", ulid.text));
    assert_true(warns_of(fixture, "/api/v1/series?match[]=m", ulid.text));
    snprintf(path, sizeof(path), "/api/v1/series?match[]=m&start=%lld", (long long)NOW_MS / 1000 - 3600);
    assert_false(warns_of(fixture, path, ulid.text));

    /* Until somebody gives it up. */
    char body[128];
    expect(fixture, "/api/v1/admin/blocks/forget", "ulid=x", 400,
           FAILURE("bad_data", "invalid parameter \\\"ulid\\\": \\\"x\\\" is no name of a block"));
    snprintf(path, sizeof(path), "ulid=%s", ulid.text);
    snprintf(body, sizeof(body), "{\"status\":\"success\",\"data\":{\"ulid\":\"%s\"}}", ulid.text);
    expect(fixture, "/api/v1/admin/blocks/forget", path, 200, body);
    json_decref(ask(fixture, "/api/v1/admin/blocks/forget", path, 400));
    assert_false(warns_of(fixture, "/api/v1/labels", ulid.text));
}

/* ---- status/retention ---- */

static void test_retention(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture);
    json_t *answer = ask(fixture, "/api/v1/status/retention", NULL, 200);
    const json_t *list = json_object_get(data_of(answer), "classes");
    assert_int_equal(json_array_size(list), 2);
    const json_t *first = json_array_get(list, 0), *second = json_array_get(list, 1);
    assert_string_equal(text_at(first, "class"), "main");
    assert_string_equal(text_at(first, "match"), "{host=\"a\"}");
    assert_int_equal(number_at(first, "keepSeconds"), 10 * 86400);
    assert_int_equal(number_at(first, "bytesMax"), 5 * MIB);
    assert_int_equal(number_at(first, "blocks"), 1);
    assert_int_equal(number_at(first, "samples"), 60);
    assert_true(number_at(first, "bytes") > 100);
    assert_true(number_at(first, "oldestTime") <= NOW_MS - 3 * HOUR_MS);
    assert_int_equal(number_at(first, "deletedBlocks"), 0);
    assert_string_equal(text_at(second, "match"), "all");
    assert_true(json_is_null(json_object_get(second, "bytesMax")));
    assert_int_equal(json_array_size(json_object_get(data_of(answer), "victims")), 0);
    json_decref(answer);

    /* Two days on the block of bulk is too old; then it goes, and is counted. */
    clock_simulated_advance(fixture->clock, 2 * DAY_MS);
    answer = ask(fixture, "/api/v1/status/retention", NULL, 200);
    const json_t *victims = json_object_get(data_of(answer), "victims");
    assert_int_equal(json_array_size(victims), 1);
    assert_string_equal(text_at(json_array_get(victims, 0), "class"), "bulk");
    assert_string_equal(text_at(json_array_get(victims, 0), "why"), "older than 1d");
    assert_int_equal(number_at(json_array_get(victims, 0), "samples"), 60);
    json_decref(answer);
    while (store_work(fixture->store)) {
    }
    answer = ask(fixture, "/api/v1/status/retention", NULL, 200);
    second = json_array_get(json_object_get(data_of(answer), "classes"), 1);
    assert_int_equal(number_at(second, "deletedBlocks"), 1);
    assert_int_equal(number_at(second, "deletedSamples"), 60);
    assert_true(number_at(second, "deletedBytes") > 100);
    assert_int_equal(number_at(second, "blocks"), 0);
    assert_true(json_is_null(json_object_get(second, "oldestTime")));
    assert_int_equal(json_array_size(json_object_get(data_of(answer), "victims")), 0);
    json_decref(answer);
}

/* ---- Deletions ---- */

#define DELETE_PATH "/api/v1/admin/tsdb/delete_series"

static void test_delete(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture);
    store_sample(fixture->store, "m", "b", NOW_MS - 1000, 1); /* in the head */
    assert_int_equal(samples_of(fixture, "m"), 121);
    expect(fixture, DELETE_PATH, "match[]=m{host=%22b%22}&who=me&why=a+test", 200,
           "{\"status\":\"success\",\"data\":{\"ids\":[1],\"start\":null,\"end\":1700013600000}}");
    assert_int_equal(samples_of(fixture, "m"), 60);
    /* Two at once, and a range of time; its end is now at the latest. */
    expect(fixture, DELETE_PATH,
           "match[]=m{host=%22a%22}&match[]=nothing&who=me&why=%20more%20&start=1700003700&end=1900000000", 200,
           "{\"status\":\"success\",\"data\":{\"ids\":[2,3],\"start\":1700003700000,\"end\":1700013600000}}");
    assert_int_equal(samples_of(fixture, "m"), 15);

    json_t *answer = ask(fixture, "/api/v1/status/deletions", NULL, 200);
    const json_t *list = data_of(answer);
    assert_int_equal(json_array_size(list), 3);
    const json_t *first = json_array_get(list, 0), *second = json_array_get(list, 1);
    assert_int_equal(number_at(first, "id"), 1);
    assert_string_equal(text_at(first, "state"), "active");
    assert_string_equal(text_at(first, "match"), "m{host=\"b\"}");
    assert_string_equal(text_at(first, "who"), "me");
    assert_string_equal(text_at(first, "why"), "a test");
    assert_true(json_is_null(json_object_get(first, "start")));
    assert_true(json_is_null(json_object_get(first, "done")));
    assert_int_equal(number_at(first, "end"), NOW_MS);
    assert_int_equal(number_at(first, "requested"), NOW_MS);
    assert_string_equal(text_at(second, "why"), "more");
    assert_int_equal(number_at(second, "start"), 1700003700000);
    json_decref(answer);

    /* When blocks are written anew and the head is cut all are done, also the one that selects nothing. */
    store_cut_all(fixture->store);
    clock_simulated_advance(fixture->clock, HOUR_MS);
    store_upkeep(fixture->store, INT64_MIN);
    while (store_work(fixture->store)) {
    }
    answer = ask(fixture, "/api/v1/status/deletions", NULL, 200);
    for (size_t i = 0; i < 3; i++) {
        first = json_array_get(data_of(answer), i);
        assert_string_equal(text_at(first, "state"), "done");
        assert_int_equal(number_at(first, "done"), NOW_MS + HOUR_MS);
    }
    json_decref(answer);
    assert_int_equal(samples_of(fixture, "m"), 15);
}

/* One that selects nothing of a block need not wait until that is written anew. */
static void test_delete_is_done(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture);
    json_decref(ask(fixture, DELETE_PATH, "match[]=m{host=%22b%22}&end=1700009999&who=me&why=x", 200));
    while (store_work(fixture->store)) {
    }
    clock_simulated_advance(fixture->clock, HOUR_MS); /* it is not asked all the time */
    while (store_work(fixture->store)) {
    }
    json_t *answer = ask(fixture, "/api/v1/status/deletions", NULL, 200);
    assert_string_equal(text_at(json_array_get(data_of(answer), 0), "state"), "done");
    json_decref(answer);
    assert_int_equal(samples_of(fixture, "m"), 60);
}

static void test_delete_refuses(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *form, *error;
    } cases[] = {
        {"who=me&why=x", "no match[] parameter provided"},
        {"match[]=m&why=x", "invalid parameter \\\"who\\\": it is required: it stays with the deletion as a record"},
        {"match[]=m&who=+&why=x",
         "invalid parameter \\\"who\\\": it is required: it stays with the deletion as a record"},
        {"match[]=m&who=me", "invalid parameter \\\"why\\\": it is required: it stays with the deletion as a record"},
        {"match[]=m&who=%ff&why=x", "invalid parameter \\\"who\\\": text of at most 128 bytes is taken"},
        {"match[]=m{&who=me&why=x",
         "invalid parameter \\\"match[]\\\": 1:3: parse error: unexpected end of input inside braces"},
        {"match[]=m&start=x&who=me&why=x", "invalid parameter \\\"start\\\": Invalid time value for 'start': cannot "
                                           "parse \\\"x\\\" to a valid timestamp"},
        {"match[]=m&start=10&end=9&who=me&why=x",
         "invalid parameter \\\"start\\\": it is after the end, which is now at the latest"},
        {"match[]=m&start=1900000000&who=me&why=x",
         "invalid parameter \\\"start\\\": it is after the end, which is now at the latest"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char body[512];
        snprintf(body, sizeof(body), FAILURE("bad_data", "%s"), cases[i].error);
        expect(fixture, DELETE_PATH, cases[i].form, 400, body);
    }
    /* All of them at once is no slip of the finger: a selector that matches everything is none. */
    json_decref(ask(fixture, DELETE_PATH, "match[]={host=~%22.*%22}&who=me&why=x", 400));
    json_decref(ask(fixture, DELETE_PATH, "match[]={}&who=me&why=x", 400));

    /* One that is wrong stops all that come with it. */
    json_decref(ask(fixture, DELETE_PATH, "match[]=m&match[]=m{&who=me&why=x", 400));
    CLEANUP(buf_done) struct buf form = BUF_INIT(MIB);
    for (int i = 0; i < 65; i++)
        buf_printf(&form, "match[]=m%d&", i);
    buf_append(&form, "who=me&why=x", sizeof("who=me&why=x"));
    expect(fixture, DELETE_PATH, (const char *)form.data, 400,
           FAILURE("bad_data", "invalid parameter \\\"match[]\\\": more than 64 are not taken"));
    buf_reset(&form);
    buf_append_text(&form, "match[]=m&who=me&why=");
    for (int i = 0; i < 513; i++)
        buf_append_byte(&form, 'x');
    buf_append_byte(&form, 0);
    expect(fixture, DELETE_PATH, (const char *)form.data, 400,
           FAILURE("bad_data", "invalid parameter \\\"why\\\": text of at most 512 bytes is taken"));

    /* Nothing changes by looking. */
    struct http_reply reply;
    call(fixture, DELETE_PATH "?match[]=m&who=me&why=x", NULL, &reply);
    assert_int_equal(reply.status, 405);
    reply_done(&reply);
    expect(fixture, "/api/v1/status/deletions", NULL, 200, "{\"status\":\"success\",\"data\":[]}");
}

/* What matches a selector of the queries but is more than a deletion takes: the ones before it stay. */
static void test_delete_in_part(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP(buf_done) struct buf form = BUF_INIT(MIB);
    buf_append_text(&form, "who=me&why=x&match[]=m&match[]=");
    for (int i = 0; i < DELETION_MATCH_BYTES_MAX + 1; i++)
        buf_append_byte(&form, 'n');
    buf_append_byte(&form, 0);
    json_t *answer = ask(fixture, DELETE_PATH, (const char *)form.data, 400);
    assert_non_null(strstr(text_at(answer, "error"), "match is longer than 4096 bytes; accepted before it: 1"));
    json_decref(answer);
    answer = ask(fixture, "/api/v1/status/deletions", NULL, 200);
    assert_int_equal(json_array_size(data_of(answer)), 1);
    json_decref(answer);
}

/* ---- In memory alone ---- */

static void test_in_memory(void **state)
{
    struct fixture *fixture = *state;
    struct store_options options = {.max_age_ms = DAY_MS, .series_max = 10};
    struct store *on_disk = fixture->store;
    fixture->store = store_new(fixture->clock, &options);
    struct api_options api = {.store = fixture->store,
                              .clock = fixture->clock,
                              .limits = {.samples_max = 1000, .bytes_max = MIB, .timeout_ms = 10000},
                              .concurrency_max = 2};
    api_free(fixture->context.api);
    fixture->context.api = api_new(&api);
    static const char *const paths[] = {"/api/v1/status/blocks", "/api/v1/status/retention",
                                        "/api/v1/status/deletions"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        expect(fixture, paths[i], NULL, 422, FAILURE("execution", "the store is in memory alone: it has no blocks"));
    expect(fixture, DELETE_PATH, "match[]=m&who=me&why=x", 422,
           FAILURE("execution", "the store is in memory alone: it has no blocks"));
    expect(fixture, "/api/v1/labels", NULL, 200, "{\"status\":\"success\",\"data\":[]}");
    store_free(on_disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tsdb_of_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tsdb, setup, teardown),
        cmocka_unit_test_setup_teardown(test_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_retention, setup, teardown),
        cmocka_unit_test_setup_teardown(test_delete, setup, teardown),
        cmocka_unit_test_setup_teardown(test_delete_is_done, setup, teardown),
        cmocka_unit_test_setup_teardown(test_delete_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_delete_in_part, setup, teardown),
        cmocka_unit_test_setup_teardown(test_in_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
