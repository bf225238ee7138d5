/* Targets from a URL: what its recorded answers become, and which are refused. */
#include "plugin_rig.h"

#include <setjmp.h>

#include <cmocka.h>

extern const struct discovery_plugin discovery_http;

#define URL  "http://inventory.example/targets?team=a"
#define YAML "url: " URL "\n"

static const char two_groups[] =
    "[ {\"targets\": [\"10.0.0.1:9100\", \"h\xc3\xb6st:9100\"], \"labels\": {\"env\": \"prod\", \"__meta_dc\": \"\", "
    "\"team\": null, \"__meta_url\": \"told\"}},\n{\"labels\": null, \"targets\": [\"[::1]:9100\"]}, {}, "
    "{\"targets\": null, \"labels\": {\"x\": \"y\"}} ]";
static const char two_printed[] = "# " URL ":0\n"
                                  "10.0.0.1:9100{__meta_url=\"" URL "\",env=\"prod\"}\n"
                                  "h\xc3\xb6st:9100{__meta_url=\"" URL "\",env=\"prod\"}\n"
                                  "# " URL ":1\n"
                                  "[::1]:9100{__meta_url=\"" URL "\"}\n";

static const struct discovery_header json_type[] = {{"Content-Type", "application/json"}, {NULL}};

static void start(struct plugin_rig *rig, const char *yaml)
{
    if (rig_start(rig, &discovery_http, yaml) < 0)
        fail_msg("%s", rig->error);
    assert_int_equal(rig_call_count(rig), 1);
}

static enum discovery_verdict answer(struct plugin_rig *rig, const char *body)
{
    return rig_answer_with(rig, rig_find(rig, "http"), 200, json_type, str_from(body));
}

static void expect_targets(struct plugin_rig *rig, const char *expected)
{
    CLEANUP_FREE char *printed = rig_print(rig);
    assert_string_equal(printed, expected);
}

static void expect_problem(struct plugin_rig *rig, const char *part)
{
    if (!strstr(rig->host.problem, part))
        fail_msg("'%s' does not speak of '%s'", rig->host.problem, part);
}

static void test_groups(void **state)
{
    static const size_t pieces[] = {0, 1, 7};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct plugin_rig rig;
        start(&rig, YAML);
        rig.chunk_bytes = pieces[i];
        assert_int_equal(answer(&rig, two_groups), DISCOVERY_DONE);
        assert_int_equal(rig.host.commits, 1);
        expect_targets(&rig, two_printed);
        /* A group less: what it had goes. */
        assert_int_equal(answer(&rig, "[{\"targets\":[\"a\"]}]"), DISCOVERY_DONE);
        expect_targets(&rig, "# " URL ":0\na{__meta_url=\"" URL "\"}\n");
        assert_int_equal(answer(&rig, "[]"), DISCOVERY_DONE);
        expect_targets(&rig, "");
        assert_int_equal(rig.host.commits, 3);
        rig_stop(&rig);
    }
}

static void test_request(void **state)
{
    static const struct {
        const char *interval, *seconds;
        int64_t ms;
    } cases[] = {{"60s", "60", 60000}, {"1s500ms", "1.5", 1500}, {"1d", "86400", 86400000}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct plugin_rig rig;
        CLEANUP_FREE char *yaml = mem_printf(YAML "refresh_interval: %s\ntls_config: {server_name: n}\n"
                                                  "authorization: {credentials_file: /dev/null}\n",
                                             cases[i].interval);
        start(&rig, yaml);
        const struct discovery_request *request = &rig_find(&rig, "http")->request;
        assert_string_equal(request->url.ptr, URL);
        assert_int_equal(request->header_count, 2);
        assert_string_equal(request->headers[0].name, "Accept");
        assert_string_equal(request->headers[0].value, "application/json");
        assert_string_equal(request->headers[1].name, "X-Prometheus-Refresh-Interval-Seconds");
        assert_string_equal(request->headers[1].value, cases[i].seconds);
        assert_true(request->conditional);
        assert_string_equal(request->access->tls.server_name, "n");
        assert_string_equal(request->access->authorization.credentials_file, "/dev/null");
        assert_int_equal(request->after_ms, 0);
        answer(&rig, "[]");
        assert_int_equal(rig_find(&rig, "http")->request.after_ms, cases[i].ms);
        rig_stop(&rig);
    }
    struct plugin_rig rig;
    start(&rig, YAML);
    assert_string_equal(rig_find(&rig, "http")->request.headers[1].value, "60");
    rig_stop(&rig);
}

/* From the sending on; a slow server is not asked in a row. */
static void test_pause(void **state)
{
    static const struct {
        int64_t took_ms, after_ms;
    } cases[] = {{100, 59900}, {59500, 1000}, {600000, 1000}};
    struct plugin_rig rig;
    (void)state;
    start(&rig, YAML);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct discovery_call *call = rig_find(&rig, "http");
        assert_int_equal(
            rig_end(call, &(struct discovery_end){.status = 304, .not_modified = true, .took_ms = cases[i].took_ms}),
            DISCOVERY_DONE);
        assert_int_equal(rig_find(&rig, "http")->request.after_ms, cases[i].after_ms);
    }
    rig_stop(&rig);
}

static void test_not_modified(void **state)
{
    struct plugin_rig rig;
    (void)state;
    start(&rig, YAML);
    answer(&rig, two_groups);
    assert_int_equal(rig_answer(&rig, rig_find(&rig, "http"), 304, ""), DISCOVERY_DONE);
    expect_targets(&rig, two_printed);
    assert_int_equal(rig.host.commits, 1);
    assert_int_equal(rig_find(&rig, "http")->request.after_ms, 60000);
    rig_stop(&rig);
}

static void test_refused(void **state)
{
    static const struct {
        const char *body, *problem;
    } cases[] = {
        {"", URL ": "},
        {"[", URL ": "},
        {"[{\"targets\":[\"n:1\"]}", "ends in the middle"},
        {"[{\"targets\":[\"n:1\"]}] x", URL ": "},
        {"<html>", "HTML"},
        {"{}", "expected a list"},
        {"null", "expected a list"},
        {"[{\"targets\":[\"n:1\"]}, null]", "group 1 is no map"},
        {"[[]]", "group 0 is no map"},
        {"[{\"targets\":[\"n:1\"]}, {\"target\":[\"b\"]}]", "group 1: unknown key \"target\""},
        {"[{\"targets\":\"a\"}]", "group 0: targets: expected a list"},
        {"[{\"targets\":{\"a\":\"b\"}}]", "group 0: targets: expected a list"},
        {"[{\"targets\":[\"a\", 7]}]", "group 0: target 1: expected host:port"},
        {"[{\"targets\":[\"\"]}]", "group 0: target 0: expected host:port"},
        {"[{\"targets\":[null]}]", "group 0: target 0: expected host:port"},
        {"[{\"labels\":[\"a\"]}]", "group 0: labels: expected a map"},
        {"[{\"labels\":\"a\"}]", "group 0: labels: expected a map"},
        {"[{\"labels\":{\"a-b\":\"c\"}}]", "group 0: \"a-b\" is not a label name"},
        {"[{\"labels\":{\"\":\"c\"}}]", "is not a label name"},
        {"[{\"labels\":{\"a\":1}}]", "group 0: label a: expected a text"},
        {"[{\"labels\":{\"a\":{}}}]", "group 0: label a: expected a text"},
        {"[{\"labels\":{\"a\":\"\xff\"}}]", "UTF-8"},
    };
    static const size_t pieces[] = {0, 1};
    struct plugin_rig rig;
    (void)state;
    start(&rig, YAML);
    answer(&rig, two_groups);
    for (size_t i = 0; i < ARRAY_LEN(cases) * ARRAY_LEN(pieces); i++) {
        rig.chunk_bytes = pieces[i % ARRAY_LEN(pieces)];
        if (answer(&rig, cases[i / ARRAY_LEN(pieces)].body) != DISCOVERY_RETRY)
            fail_msg("taken: %s", cases[i / ARRAY_LEN(pieces)].body);
        expect_problem(&rig, cases[i / ARRAY_LEN(pieces)].problem);
        expect_problem(&rig, URL);
        expect_targets(&rig, two_printed);
    }
    assert_int_equal(answer(&rig, "[]"), DISCOVERY_DONE);
    expect_targets(&rig, "");
    rig_stop(&rig);
}

static void test_status(void **state)
{
    static const int statuses[] = {201, 204, 301, 401, 404, 429, 500, 503};
    struct plugin_rig rig;
    (void)state;
    start(&rig, YAML);
    answer(&rig, two_groups);
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        assert_int_equal(rig_answer_with(&rig, rig_find(&rig, "http"), statuses[i], json_type, STR("[]")),
                         DISCOVERY_RETRY);
        char expected[64];
        snprintf(expected, sizeof(expected), "answered %d, not 200", statuses[i]);
        expect_problem(&rig, expected);
    }
    assert_int_equal(rig_fail(rig_find(&rig, "http"), DISCOVERY_BROKEN, "connection refused"), DISCOVERY_RETRY);
    expect_problem(&rig, URL ": connection refused");
    assert_int_equal(rig_fail(rig_find(&rig, "http"), DISCOVERY_TOO_LARGE, "more than 64 MiB"), DISCOVERY_RETRY);
    expect_problem(&rig, URL ": more than 64 MiB");
    expect_targets(&rig, two_printed);
    rig_stop(&rig);
}

static void test_content_type(void **state)
{
    static const struct {
        const char *type;
        bool taken;
    } cases[] = {
        {"application/json", true},
        {"Application/JSON", true},
        {"application/json; charset=utf-8", true},
        {"application/json;charset=UTF-8", true},
        {"application/json; charset=\"utf-8\"", true},
        {"application/json; charset=\"utf-8", false},
        {"application/json; charset=latin1", false},
        {"application/json;", false},
        {"application/json; version=1", false},
        {"application/jsonl", false},
        {"text/html", false},
        {"text/plain; charset=utf-8", false},
        {"", false},
        {NULL, false},
    };
    struct plugin_rig rig;
    (void)state;
    start(&rig, YAML);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct discovery_header headers[] = {{"Content-Type", cases[i].type}, {NULL}};
        enum discovery_verdict verdict = rig_answer_with(&rig, rig_find(&rig, "http"), 200, headers, STR("[]"));
        if (verdict != (cases[i].taken ? DISCOVERY_DONE : DISCOVERY_RETRY))
            fail_msg("%s: %d", cases[i].type, verdict);
        if (!cases[i].taken)
            expect_problem(&rig, "expected Content-Type application/json, found \"");
    }
    rig_stop(&rig);
}

/* Half an answer, then the whole: nothing of the first is left. */
static void test_again_from_the_beginning(void **state)
{
    struct plugin_rig rig;
    (void)state;
    start(&rig, YAML);
    struct discovery_call *call = rig_find(&rig, "http");
    rig_head(call, 200, json_type);
    assert_int_equal(rig_feed(&rig, call, STR("[{\"targets\":[\"a\"]},{\"targets\":[\"b\"]},{")), 0);
    assert_int_equal(rig_end(call, &(struct discovery_end){DISCOVERY_BROKEN, .reason = "cut", .status = 200}),
                     DISCOVERY_RETRY);
    expect_targets(&rig, "");
    assert_int_equal(rig.host.commits, 0);
    answer(&rig, "[{\"targets\":[\"c\"]}]");
    expect_targets(&rig, "# " URL ":0\nc{__meta_url=\"" URL "\"}\n");
    rig_stop(&rig);
    /* And an end in the middle. */
    start(&rig, YAML);
    rig_head(rig_find(&rig, "http"), 200, json_type);
    rig_feed(&rig, rig_find(&rig, "http"), STR("[{\"targets\":[\"a\"]},{\"targets"));
    rig_stop(&rig);
}

static void refused(const char *yaml, const char *part)
{
    char error[256];
    if (!rig_refuses(&discovery_http, yaml, part, error))
        fail_msg("'%s' does not speak of '%s'", error, part);
}

static void test_configuration_refused(void **state)
{
    (void)state;
    refused("{}", "url");
    refused("url: ftp://host/\n", "url");
    refused("url: http://user:secret@host/\n", "secrets are read from files");
    refused(YAML "refresh_interval: 0s\n", "refresh_interval");
    refused(YAML "bearer_token: x\n", "credentials_file");
    refused(YAML "basic_auth: {username: u, password_file: /dev/null}\nauthorization: {credentials_file: /dev/null}\n",
            "exclude each other");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_not_modified),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_content_type),
        cmocka_unit_test(test_again_from_the_beginning),
        cmocka_unit_test(test_configuration_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
