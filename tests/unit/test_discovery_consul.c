/* Consul: what is asked, what its recorded answers become, and how the rules of blocking queries are kept. */
#include "plugin_rig.h"

#include <errno.h>
#include <setjmp.h>

#include <cmocka.h>

extern const struct discovery_plugin discovery_consul;

#define SERVICES_MANY 5000
#define READS_MAX     8  /* of services at a time, where there are many */
#define WATCHES_MAX   24 /* services with a watch each */
#define DC1           "datacenter: dc1\n"

/* As Consul 1.14 answers /v1/health/service/web, with what plays no part left in. */
static const char web_answer[] =
    "[{\"Node\":{\"ID\":\"40e4a748-2192-161a-0510-9bf59fe950b5\",\"Node\":\"t2.320\",\"Address\":\"10.1.10.12\","
    "\"Datacenter\":\"dc1\",\"TaggedAddresses\":{\"lan\":\"10.1.10.12\",\"lan_ipv4\":\"10.1.10.12\",\"wan\":"
    "\"192.0.2.12\"},\"Meta\":{\"consul-network-segment\":\"\",\"instance.type\":\"t2.medium\",\"\xc3\xbc\":\"u\"},"
    "\"CreateIndex\":12,\"ModifyIndex\":13},\"Service\":{\"ID\":\"web-1\",\"Service\":\"web\",\"Tags\":[\"primary\","
    "\"v 1.0\"],\"Address\":\"10.1.10.99\",\"TaggedAddresses\":{\"lan\":{\"address\":\"10.1.10.99\",\"port\":8000}},"
    "\"Meta\":{\"web-version\":\"4.0\",\"team\":\"\xc3\xa9t\xc3\xa9 \\\"1\\\"\"},\"Port\":8000,\"Weights\":"
    "{\"Passing\":10,\"Warning\":1},\"EnableTagOverride\":false,\"Namespace\":\"shop\",\"Partition\":\"default\","
    "\"CreateIndex\":14,\"ModifyIndex\":14},\"Checks\":[{\"Node\":\"t2.320\",\"CheckID\":\"serfHealth\",\"Name\":"
    "\"Serf Health Status\",\"Status\":\"passing\",\"Notes\":\"\",\"Output\":\"Agent alive\",\"ServiceID\":\"\","
    "\"ServiceName\":\"\",\"ServiceTags\":[]},{\"Node\":\"t2.320\",\"CheckID\":\"service:web-1\",\"Status\":"
    "\"warning\",\"ServiceID\":\"web-1\",\"ServiceName\":\"web\"}]},\n"
    "{\"Node\":{\"Node\":\"t2.321\",\"Address\":\"2001:db8::7\",\"Datacenter\":\"dc1\",\"TaggedAddresses\":null,"
    "\"Meta\":null},\"Service\":{\"ID\":\"web-2\",\"Service\":\"web\",\"Tags\":null,\"Address\":\"\",\"Meta\":null,"
    "\"Port\":0},\"Checks\":[]}]";

static const char web_printed[] =
    "# web\n"
    "10.1.10.99:8000{__meta_consul_address=\"10.1.10.12\",__meta_consul_dc=\"dc1\",__meta_consul_health=\"warning\","
    "__meta_consul_metadata__=\"u\",__meta_consul_metadata_instance_type=\"t2.medium\",__meta_consul_namespace="
    "\"shop\","
    "__meta_consul_node=\"t2.320\",__meta_consul_partition=\"default\",__meta_consul_service=\"web\","
    "__meta_consul_service_address=\"10.1.10.99\",__meta_consul_service_id=\"web-1\","
    "__meta_consul_service_metadata_team=\"\xc3\xa9t\xc3\xa9 "
    "\"1\"\",__meta_consul_service_metadata_web_version=\"4.0\","
    "__meta_consul_service_port=\"8000\",__meta_consul_tagged_address_lan=\"10.1.10.12\","
    "__meta_consul_tagged_address_lan_ipv4=\"10.1.10.12\",__meta_consul_tagged_address_wan=\"192.0.2.12\","
    "__meta_consul_tags=\",primary,v 1.0,\"}\n"
    "[2001:db8::7]:0{__meta_consul_address=\"2001:db8::7\",__meta_consul_dc=\"dc1\",__meta_consul_health=\"passing\","
    "__meta_consul_node=\"t2.321\",__meta_consul_service=\"web\",__meta_consul_service_id=\"web-2\","
    "__meta_consul_service_port=\"0\",__meta_consul_tags=\",,\"}\n";

/* ---- helpers ---- */

static void start(struct plugin_rig *rig, const char *yaml)
{
    if (rig_start(rig, &discovery_consul, yaml) < 0)
        fail_msg("%s", rig->error);
}

static struct discovery_call *asked(struct plugin_rig *rig, const char *text)
{
    struct discovery_call *call = rig_find(rig, text);
    if (!call)
        fail_msg("nobody asks for '%s'", text);
    return call;
}

/* With the index that Consul tells; took_ms 0. */
static enum discovery_verdict answer(struct plugin_rig *rig, const char *url, const char *index, const char *body)
{
    const struct discovery_header headers[] = {{"Content-Type", "application/json"}, {"X-Consul-Index", index}, {NULL}};
    return rig_answer_with(rig, asked(rig, url), 200, headers, str_from(body));
}

/* A good answer: the problem is over with it, unless another question has it (DISCOVERY_DROP). */
static void answered(struct plugin_rig *rig, const char *url, const char *index, const char *body)
{
    if (answer(rig, url, index, body) == DISCOVERY_RETRY)
        fail_msg("%s: %s", url, rig->host.problem);
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

/* An instance on NODE at PORT; its one check has the id "service:NAME". */
#define INSTANCE(node, port, status)                                                                                   \
    "{\"Node\":{\"Node\":\"" node "\",\"Address\":\"10.0.0.1\"},\"Service\":{\"ID\":\"i\",\"Port\":" port              \
    "},\"Checks\":[{\"CheckID\":\"c\",\"Status\":\"" status "\"}]}"
#define PRINTED(service, node, port, status)                                                                           \
    "# " service "\n10.0.0.1:" port                                                                                    \
    "{__meta_consul_address=\"10.0.0.1\",__meta_consul_dc=\"dc1\",__meta_consul_health="                               \
    "\"" status "\",__meta_consul_node=\"" node "\",__meta_consul_service=\"" service                                  \
    "\",__meta_consul_service_id=\"i\",__meta_consul_service_port=\"" port "\",__meta_consul_tags=\",,\"}\n"

/* Two services, read and listed: a (index 20) and b (index 21); the catalog is at 10. */
static void start_listed(struct plugin_rig *rig)
{
    start(rig, DC1);
    answered(rig, "/catalog/services", "10", "{\"a\":[],\"b\":[]}");
    answered(rig, "/service/a", "20", "[" INSTANCE("n1", "1", "passing") "]");
    answered(rig, "/service/b", "21", "[" INSTANCE("n2", "2", "passing") "]");
    assert_int_equal(rig->host.commits, 1);
}
#define LISTED PRINTED("a", "n1", "1", "passing") PRINTED("b", "n2", "2", "passing")

/* ---- what is asked, what it becomes ---- */

static void test_labels(void **state)
{
    static const size_t pieces[] = {0, 1, 7};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct plugin_rig rig;
        start(&rig, "{}");
        rig.chunk_bytes = pieces[i];
        assert_string_equal(asked(&rig, "agent")->url, "http://localhost:8500/v1/agent/self");
        assert_int_equal(rig_call_count(&rig), 1);
        assert_int_equal(
            rig_answer(&rig, asked(&rig, "agent"), 200,
                       "{\"Config\":{\"Datacenter\":\"dc1\",\"NodeName\":\"t2\"},\"DebugConfig\":{\"a\":[{},[]]}}"),
            DISCOVERY_DONE);
        assert_string_equal(asked(&rig, "catalog")->url, "http://localhost:8500/v1/catalog/services?stale");
        answered(&rig, "catalog", "7", "{\"consul\":[],\"web\":[\"primary\",\"v 1.0\"]}");
        assert_string_equal(asked(&rig, "service/web")->url, "http://localhost:8500/v1/health/service/web?stale");
        answered(&rig, "service/consul", "8", "[]");
        expect_targets(&rig, "");
        assert_int_equal(rig.host.commits, 0);
        answered(&rig, "service/web", "9", web_answer);
        assert_int_equal(rig.host.commits, 1);
        expect_targets(&rig, web_printed);
        rig_stop(&rig);
    }
}

static void test_health(void **state)
{
    static const struct {
        const char *checks, *health;
    } cases[] = {
        {"", "passing"},
        {"{\"CheckID\":\"a\",\"Status\":\"passing\"}", "passing"},
        {"{\"CheckID\":\"a\",\"Status\":\"passing\"},{\"CheckID\":\"b\",\"Status\":\"warning\"}", "warning"},
        {"{\"CheckID\":\"a\",\"Status\":\"critical\"},{\"CheckID\":\"b\",\"Status\":\"warning\"}", "critical"},
        {"{\"CheckID\":\"_node_maintenance\",\"Status\":\"critical\"},{\"CheckID\":\"b\",\"Status\":\"critical\"}",
         "maintenance"},
        {"{\"CheckID\":\"_service_maintenance:i\",\"Status\":\"critical\"}", "maintenance"},
        {"{\"CheckID\":\"a\",\"Status\":\"any\"},{\"CheckID\":\"b\",\"Status\":\"critical\"}", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct plugin_rig rig;
        char expected[128];
        start(&rig, DC1 "services: [a]\n");
        CLEANUP_FREE char *body =
            mem_printf("[{\"Node\":{\"Node\":\"n\",\"Address\":\"h\"},\"Service\":{\"Port\":1},\"Checks\":[%s]}]",
                       cases[i].checks);
        answered(&rig, "/service/a", "1", body);
        CLEANUP_FREE char *printed = rig_print(&rig);
        snprintf(expected, sizeof(expected), "__meta_consul_health=\"%s\"", cases[i].health);
        if (cases[i].health ? !strstr(printed, expected) : strstr(printed, "health") != NULL)
            fail_msg("%s: %s", cases[i].checks, printed);
        rig_stop(&rig);
    }
}

static void test_parameters(void **state)
{
    struct plugin_rig rig;
    (void)state;
    start(&rig, "server: consul.example:8501\nscheme: https\npath_prefix: gate/consul/\ntoken_file: /dev/null\n"
                "datacenter: dc 1\nnamespace: shop\npartition: p&q\nallow_stale: false\ntag_separator: '|'\n"
                "tags: [x, 'y=z']\nnode_meta: {rack: a b}\nfilter: ServiceName != \"x\"\n"
                "health_filter: Service.Port == 1\nrefresh_interval: 5s\nbasic_auth: {username: u, password_file: "
                "/dev/null}\n");
    struct discovery_call *call = asked(&rig, "catalog");
    assert_string_equal(call->url,
                        "https://consul.example:8501/gate/consul/v1/catalog/services?dc=dc%201&ns=shop&partition=p%26q&"
                        "node-meta=rack:a%20b&filter=ServiceName%20%21%3D%20%22x%22");
    assert_string_equal(call->request.secret_header->name, "X-Consul-Token");
    assert_string_equal(call->request.secret_header->file, "/dev/null");
    assert_string_equal(call->request.access->basic_auth.username, "u");
    assert_int_equal(call->request.after_ms, 0);
    answered(&rig, "catalog", "3", "{\"a/b\":[\"x\",\"y=z\"],\"c\":[\"x\"],\"d\":[]}");
    call = asked(&rig, "/service/");
    assert_string_equal(call->url,
                        "https://consul.example:8501/gate/consul/v1/health/service/a%2Fb?dc=dc%201&ns=shop&partition="
                        "p%26q&node-meta=rack:a%20b&tag=x&tag=y%3Dz&filter=Service.Port%20%3D%3D%201");
    assert_int_equal(rig_call_count(&rig), 2);
    answered(&rig, "/service/", "4",
             "[{\"Node\":{\"Node\":\"n\",\"Address\":\"h\"},\"Service\":{\"Port\":1,\"Tags\":[\"x\",\"y=z\"]}}]");
    CLEANUP_FREE char *printed = rig_print(&rig);
    assert_non_null(strstr(printed, "__meta_consul_tags=\"|x|y=z|\""));
    assert_non_null(strstr(printed, "__meta_consul_dc=\"dc 1\""));
    assert_int_equal(asked(&rig, "/service/")->request.after_ms, 5000);
    rig_stop(&rig);
}

/* Names alone need no catalog; with tags or a filter it says which of them are wanted. */
static void test_services_given(void **state)
{
    struct plugin_rig rig;
    (void)state;
    start(&rig, DC1 "services: [b, a, b]\n");
    assert_int_equal(rig_call_count(&rig), 2);
    answered(&rig, "/service/b", "1", "[" INSTANCE("n", "2", "passing") "]");
    assert_int_equal(rig.host.commits, 0);
    answered(&rig, "/service/a", "1", "[]");
    assert_int_equal(rig.host.commits, 1);
    expect_targets(&rig, PRINTED("b", "n", "2", "passing"));
    rig_stop(&rig);

    start(&rig, DC1 "services: [b, a]\ntags: [t]\n");
    answered(&rig, "catalog", "1", "{\"a\":[],\"b\":[\"s\",\"t\"],\"c\":[\"t\"]}");
    assert_non_null(rig_find(&rig, "/service/b"));
    assert_null(rig_find(&rig, "/service/a"));
    assert_null(rig_find(&rig, "/service/c"));
    rig_stop(&rig);

    start(&rig, DC1 "services: [b, a]\nfilter: x\n");
    assert_non_null(rig_find(&rig, "catalog"));
    assert_int_equal(rig_call_count(&rig), 1);
    rig_stop(&rig);
}

/* More of them than are watched, and no catalog to say which there are. */
static void test_many_services_given(void **state)
{
    CLEANUP(buf_done) struct buf yaml = BUF_INIT(4 * KIB);
    struct plugin_rig rig;
    (void)state;
    buf_append_text(&yaml, DC1 "services: [");
    for (size_t i = 0; i < WATCHES_MAX + 1; i++)
        buf_printf(&yaml, "s%zu, ", i);
    buf_append(&yaml, "]\n", 3);
    start(&rig, (const char *)yaml.data);
    assert_null(rig_find(&rig, "catalog"));
    assert_non_null(rig_find(&rig, "/state/any"));
    assert_int_equal(rig_call_count(&rig), READS_MAX + 1);
    rig_stop(&rig);
}

static void refused(const char *yaml, const char *part)
{
    char error[256];
    if (!rig_refuses(&discovery_consul, yaml, part, error))
        fail_msg("'%s' does not speak of '%s'", error, part);
}

static void test_configuration_refused(void **state)
{
    (void)state;
    CLEANUP_FREE char *tag = mem_printf("tags: [%0200d, %04000d, %04000d]\n", 1, 2, 3);
    refused(tag, "longer than the 8192 bytes");
    CLEANUP_FREE char *name = mem_printf("services: [%01025d]\n", 1);
    refused(name, "services: a name");
    refused("token: secret\n", "token_file");
    refused("username: u\n", "basic_auth");
    refused("password: p\n", "basic_auth.password_file");
    refused("server: http://localhost:8500\n", "scheme");
    refused("server: user@localhost:8500\n", "host:port");
    refused("scheme: unix\n", "scheme");
    refused("path_prefix: '/a?b'\n", "path_prefix");
    refused("refresh_interval: 10ms\n", "refresh_interval");
    refused("token_file: /nowhere/token\n", "/nowhere/token");
    refused("basic_auth: {username: u, password_file: /dev/null}\nauthorization: {credentials_file: /dev/null}\n",
            "exclude each other");
}

/* ---- blocking queries ---- */

static void test_index(void **state)
{
    static const struct {
        const char *index, *body, *next;
    } rounds[] = {
        {"20", NULL, "index=20&wait=120s"},                                   /* the same: nothing is read */
        {"25", "[" INSTANCE("n1", "5", "passing") "]", "index=25&wait=120s"}, /* it moved */
        {"24", "[" INSTANCE("n1", "4", "passing") "]", NULL},                 /* backwards: from 0 again */
        {"24", "[" INSTANCE("n1", "3", "passing") "]", "index=24&wait=120s"}, /* which is no wait */
        {NULL, "[" INSTANCE("n1", "2", "passing") "]", NULL},                 /* none: no wait can be asked for */
        {"-1", "[" INSTANCE("n1", "1", "passing") "]", NULL},                 /* nor of one that is none */
        {"0", "[" INSTANCE("n1", "8", "passing") "]", "index=1&wait=120s"},   /* at least 1 */
        {" 18446744073709551615", "[" INSTANCE("n1", "9", "passing") "]", "index=18446744073709551615&wait=120s"},
    };
    struct plugin_rig rig;
    (void)state;
    start_listed(&rig);
    assert_string_equal(asked(&rig, "/service/a")->url,
                        "http://localhost:8500/v1/health/service/a?dc=dc1&stale&index=20&wait=120s");
    assert_true(asked(&rig, "/service/a")->request.timeout_ms > 120000 + 120000 / 16);
    for (size_t i = 0; i < ARRAY_LEN(rounds); i++) {
        CLEANUP_FREE char *before = rig_print(&rig);
        answered(&rig, "/service/a", rounds[i].index, rounds[i].body ? rounds[i].body : "no JSON at all");
        CLEANUP_FREE char *after = rig_print(&rig);
        assert_int_equal(strcmp(before, after) != 0, rounds[i].body != NULL);
        const char *url = asked(&rig, "/service/a")->url;
        if (rounds[i].next ? !strstr(url, rounds[i].next) : strstr(url, "index=") != NULL)
            fail_msg("round %zu: %s", i, url);
    }
    rig_stop(&rig);
}

/* Never sooner than refresh_interval after the last question, nor than a second after its answer. */
static void test_pause(void **state)
{
    static const struct {
        int64_t took_ms, after_ms;
    } cases[] = {{0, 30000}, {10, 29990}, {29500, 1000}, {120000, 1000}};
    struct plugin_rig rig;
    (void)state;
    start_listed(&rig);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct discovery_call *call = asked(&rig, "/service/a");
        const struct discovery_header headers[] = {{"X-Consul-Index", "20"}, {NULL}};
        rig_head(call, 200, headers);
        assert_int_equal(rig_end(call, &(struct discovery_end){.status = 200, .took_ms = cases[i].took_ms}),
                         DISCOVERY_DONE);
        assert_int_equal(asked(&rig, "/service/a")->request.after_ms, cases[i].after_ms);
        assert_true(asked(&rig, "/service/a")->request.spread_ms <= cases[i].after_ms / 10);
    }
    rig_stop(&rig);
}

static void test_no_leader(void **state)
{
    struct plugin_rig rig;
    const struct discovery_header headers[] = {{"X-Consul-Index", "5"}, {"X-Consul-KnownLeader", "false"}, {NULL}};
    (void)state;
    start_listed(&rig);
    assert_int_equal(rig_answer_with(&rig, asked(&rig, "catalog"), 200, headers, STR("{}")), DISCOVERY_DROP);
    expect_problem(&rig, "knows no leader");
    assert_int_equal(rig_answer_with(&rig, asked(&rig, "catalog"), 200, headers, STR("{}")), DISCOVERY_RETRY);
    assert_int_equal(rig_answer_with(&rig, asked(&rig, "/service/a"), 200, headers, STR("[]")), DISCOVERY_DROP);
    expect_targets(&rig, LISTED);
    /* One that has not gone back is taken: stale reads are for times without a leader. */
    const struct discovery_header newer[] = {{"X-Consul-Index", "30"}, {"X-Consul-KnownLeader", "false"}, {NULL}};
    assert_int_equal(rig_answer_with(&rig, asked(&rig, "/service/a"), 200, newer, STR("[]")), DISCOVERY_DROP);
    expect_targets(&rig, PRINTED("b", "n2", "2", "passing"));
    expect_problem(&rig, "knows no leader"); /* of the catalog, still */
    assert_int_equal(answer(&rig, "catalog", "12", "{\"a\":[],\"b\":[]}"), DISCOVERY_DONE);
    assert_string_equal(rig.host.problem, "");
    rig_stop(&rig);
}

/* ---- changes ---- */

static void test_services_come_and_go(void **state)
{
    struct plugin_rig rig;
    (void)state;
    start_listed(&rig);
    answered(&rig, "catalog", "11", "{\"b\":[],\"c\":[]}");
    expect_targets(&rig, PRINTED("b", "n2", "2", "passing"));
    assert_null(rig_find(&rig, "/service/a"));
    answered(&rig, "/service/c", "30", "[" INSTANCE("n3", "3", "critical") "]");
    expect_targets(&rig, PRINTED("b", "n2", "2", "passing") PRINTED("c", "n3", "3", "critical"));
    answered(&rig, "/service/b", "31", "[]");
    expect_targets(&rig, PRINTED("c", "n3", "3", "critical"));
    answered(&rig, "catalog", "12", "{}");
    expect_targets(&rig, "");
    assert_int_equal(rig_call_count(&rig), 1);
    answered(&rig, "catalog", "13", "{\"a\":[]}");
    answered(&rig, "/service/a", "32", "[" INSTANCE("n1", "1", "passing") "]");
    expect_targets(&rig, PRINTED("a", "n1", "1", "passing"));
    assert_int_equal(rig.host.commits, 1);
    rig_stop(&rig);
}

/* What vanishes while the first listing is under way has no targets in it, and none waits for it. */
static void test_gone_while_listing(void **state)
{
    struct plugin_rig rig;
    (void)state;
    start(&rig, DC1);
    answered(&rig, "catalog", "10", "{\"a\":[],\"b\":[],\"c\":[]}");
    answered(&rig, "/service/a", "20", "[" INSTANCE("n1", "1", "passing") "]");
    answered(&rig, "/service/b", "20", "[" INSTANCE("n2", "2", "passing") "]");
    assert_int_equal(rig.host.commits, 0);
    answered(&rig, "catalog", "11", "{\"b\":[]}");
    assert_int_equal(rig.host.commits, 1);
    expect_targets(&rig, PRINTED("b", "n2", "2", "passing"));
    rig_stop(&rig);

    start(&rig, DC1);
    answered(&rig, "catalog", "10", "{}");
    assert_int_equal(rig.host.commits, 1);
    rig_stop(&rig);
}

/* ---- failures ---- */

static void test_failures_keep_targets(void **state)
{
    CLEANUP_FREE char *long_name = mem_printf("{\"%01025d\":[]}", 1);
    const struct {
        const char *url;
        int status;
        const char *body, *problem;
    } cases[] = {
        {"catalog", 403, "ACL not found\n", "403 \"ACL not found\"; without token_file"},
        {"catalog", 500, "rpc error: No cluster leader", "/v1/catalog/services: answered 500 \"rpc error: No cluster"},
        {"catalog", 429, "", "answered 429"},
        {"catalog", 204, "", "answered 204"},
        {"catalog", 200, "<html><body>login</body></html>", "HTML"},
        {"catalog", 200, "[]", "expected an object"},
        {"catalog", 200, "{\"error\":\"x\"}", "a list of its tags"},
        {"catalog", 200, "{\"c\":[],", "/v1/catalog/services"},
        {"catalog", 200, long_name, "a service's name of more than 1024 bytes"},
        {"catalog", 200, "", "/v1/catalog/services"},
        {"/service/a", 500, "x", "/v1/health/service/a: answered 500"},
        {"/service/a", 200, "{}", "expected a list"},
        {"/service/a", 200, "[{}]", "an instance without Node and Service"},
        {"/service/a", 200, "[7]", "an instance without Node and Service"},
        {"/service/a", 200, "[{\"Node\":{},\"Service\":{\"Port\":\"x\"}}]", "Port is no number"},
        {"/service/a", 200, "[" INSTANCE("n9", "9", "passing"), "/v1/health/service/a"},
    };
    static const size_t pieces[] = {0, 1};
    struct plugin_rig rig;
    (void)state;
    start_listed(&rig);
    for (size_t i = 0; i < ARRAY_LEN(cases) * ARRAY_LEN(pieces); i++) {
        size_t at = i / ARRAY_LEN(pieces);
        const struct discovery_header headers[] = {{"X-Consul-Index", "99"}, {NULL}};
        rig.chunk_bytes = pieces[i % ARRAY_LEN(pieces)];
        rig.host.problem[0] = '\0';
        bool waited = strstr(asked(&rig, cases[at].url)->url, "wait=") != NULL;
        assert_int_equal(
            rig_answer_with(&rig, asked(&rig, cases[at].url), cases[at].status, headers, str_from(cases[at].body)),
            waited ? DISCOVERY_DROP : DISCOVERY_RETRY);
        expect_problem(&rig, cases[at].problem);
        expect_problem(&rig, "Consul at localhost:8500");
        expect_targets(&rig, LISTED);
    }
    /* And after all that the same question is answered well. */
    answered(&rig, "catalog", "99", "{\"a\":[]}");
    answered(&rig, "/service/a", "99", "[" INSTANCE("n9", "9", "passing") "]");
    expect_targets(&rig, PRINTED("a", "n9", "9", "passing"));
    assert_string_equal(rig.host.problem, "");
    rig_stop(&rig);
}

static void test_no_answer(void **state)
{
    struct plugin_rig rig;
    (void)state;
    start_listed(&rig);
    /* A question that waited is asked anew without, so that what is well again answers at once; then the host's
     * pauses grow. */
    assert_int_equal(rig_fail(asked(&rig, "catalog"), DISCOVERY_BROKEN, "connection refused"), DISCOVERY_DROP);
    expect_problem(&rig, "/v1/catalog/services: connection refused");
    assert_null(strstr(asked(&rig, "catalog")->url, "wait="));
    assert_int_equal(asked(&rig, "catalog")->request.after_ms, 1000);
    assert_int_equal(rig_fail(asked(&rig, "catalog"), DISCOVERY_BROKEN, "connection refused"), DISCOVERY_RETRY);
    answered(&rig, "catalog", "10", "{\"a\":[],\"b\":[]}");
    assert_string_equal(rig.host.problem, "");
    assert_non_null(strstr(asked(&rig, "catalog")->url, "index=10&wait=120s"));
    /* Half of an answer: what it said is forgotten. */
    struct discovery_call *call = asked(&rig, "/service/a");
    rig_head(call, 200, (const struct discovery_header[]){{"X-Consul-Index", "50"}, {NULL}});
    assert_int_equal(rig_feed(&rig, call, STR("[" INSTANCE("n7", "7", "passing") ",")), 0);
    assert_int_equal(rig_end(call, &(struct discovery_end){DISCOVERY_BROKEN, .reason = "cut", .status = 200}),
                     DISCOVERY_DROP);
    expect_targets(&rig, LISTED);
    answered(&rig, "/service/a", "50", "[" INSTANCE("n8", "8", "passing") "]");
    expect_targets(&rig, PRINTED("a", "n8", "8", "passing") PRINTED("b", "n2", "2", "passing"));
    rig_stop(&rig);
}

static void test_agent_failures(void **state)
{
    struct plugin_rig rig;
    (void)state;
    start(&rig, "token_file: /dev/null\n");
    assert_int_equal(rig_answer(&rig, asked(&rig, "agent"), 403, "Permission denied"), DISCOVERY_RETRY);
    expect_problem(&rig, "is the token in token_file right");
    assert_int_equal(rig_answer(&rig, asked(&rig, "agent"), 200, "{\"Config\":{}}"), DISCOVERY_RETRY);
    expect_problem(&rig, "does not tell its datacenter");
    assert_int_equal(rig_answer(&rig, asked(&rig, "agent"), 200, "{\"Config\":{\"Datacenter\":\"d\"}}"),
                     DISCOVERY_DONE);
    assert_non_null(rig_find(&rig, "catalog"));
    rig_stop(&rig);
}

/* What passes a ceiling will again: none of the others waits for it, and it is asked for seldom. */
static void test_past_a_ceiling(void **state)
{
    struct plugin_rig rig;
    (void)state;
    start(&rig, DC1);
    answered(&rig, "catalog", "10", "{\"a\":[],\"b\":[]}");
    answered(&rig, "/service/a", "20", "[" INSTANCE("n1", "1", "passing") "]");
    assert_int_equal(rig_fail(asked(&rig, "/service/b"), DISCOVERY_TOO_LARGE, "more than 64 MiB"), DISCOVERY_DROP);
    expect_problem(&rig, "/v1/health/service/b: more than 64 MiB");
    assert_int_equal(rig.host.commits, 1);
    expect_targets(&rig, PRINTED("a", "n1", "1", "passing"));
    assert_int_equal(asked(&rig, "/service/b")->request.after_ms, 300000);
    answered(&rig, "/service/a", "21", "[" INSTANCE("n1", "1", "warning") "]");
    expect_problem(&rig, "/v1/health/service/b: more than 64 MiB");
    /* Nor is one taken that is nested too deep. */
    CLEANUP(buf_done) struct buf deep = BUF_INIT(4 * KIB);
    for (size_t i = 0; i < 200; i++)
        buf_append_text(&deep, "[");
    buf_append_byte(&deep, 0);
    assert_int_equal(answer(&rig, "/service/a", "22", (const char *)deep.data), DISCOVERY_DROP);
    expect_problem(&rig, "nested deeper");
    answered(&rig, "/service/a", "23", "[]");
    answered(&rig, "/service/b", "24", "[" INSTANCE("n2", "2", "passing") "]");
    assert_string_equal(rig.host.problem, "");
    expect_targets(&rig, PRINTED("b", "n2", "2", "passing"));
    /* With the service its problem goes; the next good answer says so. */
    assert_int_equal(rig_fail(asked(&rig, "/service/a"), DISCOVERY_TOO_LARGE, "large"), DISCOVERY_DROP);
    answered(&rig, "catalog", "11", "{\"b\":[]}");
    assert_string_equal(rig.host.problem, "");
    rig_stop(&rig);
}

/* A token that may see nothing is answered with nothing. */
static void test_filtered(void **state)
{
    struct plugin_rig rig;
    const struct discovery_header headers[] = {
        {"X-Consul-Index", "50"}, {"X-Consul-Results-Filtered-By-ACLs", "true"}, {NULL}};
    (void)state;
    start_listed(&rig);
    assert_int_equal(rig_answer_with(&rig, asked(&rig, "catalog"), 200, headers, STR("{}")), DISCOVERY_DROP);
    expect_problem(&rig, "policy hides");
    expect_targets(&rig, LISTED);
    assert_int_equal(rig_answer_with(&rig, asked(&rig, "catalog"), 200, headers, STR("{\"a\":[],\"c\":[]}")),
                     DISCOVERY_DONE);
    expect_targets(&rig, PRINTED("a", "n1", "1", "passing"));
    /* Of a service, too, that had instances; one that never had may have none to be seen. */
    assert_int_equal(rig_answer_with(&rig, asked(&rig, "/service/c"), 200, headers, STR("[]")), DISCOVERY_DONE);
    assert_null(strstr(asked(&rig, "/service/c")->url, "wait=")); /* who gets rights is told of no change */
    assert_int_equal(rig_answer_with(&rig, asked(&rig, "/service/a"), 200, headers, STR("[]")), DISCOVERY_DROP);
    expect_problem(&rig, "policy hides");
    expect_targets(&rig, PRINTED("a", "n1", "1", "passing"));
    assert_int_equal(
        rig_answer_with(&rig, asked(&rig, "/service/a"), 200, headers, STR("[" INSTANCE("n1", "2", "passing") "]")),
        DISCOVERY_DONE);
    expect_targets(&rig, PRINTED("a", "n1", "2", "passing"));
    rig_stop(&rig);
}

/* ---- many services ---- */

static void append_catalog(struct buf *body, size_t count, const char *more)
{
    buf_append_byte(body, '{');
    for (size_t i = 0; i < count; i++)
        buf_printf(body, "\"s%zu\":[],", i);
    buf_printf(body, "\"last\":[%s]}", more);
    buf_append_byte(body, 0);
}

static void catalog_of(struct plugin_rig *rig, size_t count, const char *index, const char *tags)
{
    CLEANUP(buf_done) struct buf body = BUF_INIT(MIB);
    append_catalog(&body, count, tags);
    answered(rig, "catalog", index, (const char *)body.data);
}

static size_t reads_now(struct plugin_rig *rig)
{
    size_t count = 0;
    for (struct discovery_call *call = rig->host.calls; call; call = call->next)
        count += strstr(call->url, "/v1/health/service/") != NULL;
    return count;
}

/* The oldest read of a service that is sent at once, or of the one whose turn it is. */
static struct discovery_call *next_read(struct plugin_rig *rig, bool at_once)
{
    for (struct discovery_call *call = rig->host.calls; call; call = call->next)
        if (strstr(call->url, "/v1/health/service/") && (call->request.after_ms == 0) == at_once)
            return call;
    return NULL;
}

/* Answers it with one instance on node n<NAME>. */
static void read_one(struct plugin_rig *rig, struct discovery_call *call, char ret_name[static 32])
{
    const struct discovery_header headers[] = {{"X-Consul-Index", "5"}, {NULL}};
    assert_non_null(call);
    struct str rest = str_from(strstr(call->url, "/service/") + 9);
    snprintf(ret_name, 32, STR_FMT, STR_ARG(str_of(rest.ptr, str_find(rest, '?'))));
    CLEANUP_FREE char *body =
        mem_printf("[{\"Node\":{\"Node\":\"n%s\",\"Address\":\"h\"},\"Service\":{\"Port\":1}}]", ret_name);
    assert_int_not_equal(rig_answer_with(rig, call, 200, headers, str_from(body)), DISCOVERY_RETRY);
}

/* Answers all reads that are sent at once; how many were of NAME (NULL: of any). */
static size_t read_due(struct plugin_rig *rig, const char *name)
{
    char one[32];
    size_t found = 0;
    for (struct discovery_call *call; (call = next_read(rig, true));) {
        read_one(rig, call, one);
        found += !name || strcmp(one, name) == 0;
        assert_true(reads_now(rig) <= READS_MAX);
    }
    return found;
}

/* One of them waits for its turn in the sweep then. */
static void start_many(struct plugin_rig *rig, size_t count)
{
    start(rig, DC1);
    catalog_of(rig, count, "10", "");
    assert_int_equal(reads_now(rig), READS_MAX);
    answered(rig, "/state/any", "10", "[]");
    /* Those that were under way may have been answered before: once more. */
    assert_int_equal(read_due(rig, NULL), count + 1 + READS_MAX);
    assert_int_equal(rig->host.commits, 1);
    assert_int_equal(rig->host.group_count, count + 1);
    assert_int_equal(reads_now(rig), 1);
}

static void test_many_services(void **state)
{
    struct plugin_rig rig;
    char name[32];
    (void)state;
    start(&rig, DC1);
    catalog_of(&rig, SERVICES_MANY - 1, "10", "");
    assert_string_equal(asked(&rig, "/state/any")->url, "http://localhost:8500/v1/health/state/any?dc=dc1&stale");
    for (size_t i = 0; i < SERVICES_MANY; i++) {
        assert_int_equal(rig.host.commits, 0);
        assert_true(reads_now(&rig) <= READS_MAX);
        assert_true(rig_call_count(&rig) <= READS_MAX + 2);
        assert_null(strstr(asked(&rig, "/service/")->url, "wait="));
        read_one(&rig, next_read(&rig, true), name);
    }
    assert_int_equal(rig.host.commits, 1);
    assert_int_equal(rig.host.group_count, SERVICES_MANY);
    /* Then a slow sweep: one at a time, all within ten refresh intervals or 20 a second. */
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(reads_now(&rig), 1);
        assert_int_equal(asked(&rig, "/service/")->request.after_ms, 300000 / SERVICES_MANY);
        read_one(&rig, next_read(&rig, false), name);
    }
    rig_stop(&rig);
    start_many(&rig, 29);
    assert_int_equal(asked(&rig, "/service/")->request.after_ms, 10000);
    rig_stop(&rig);
}

/* The sweep reads each, one after the other, and again from the first. */
static void test_sweep(void **state)
{
    struct plugin_rig rig;
    char names[51][32];
    (void)state;
    start_many(&rig, 49);
    for (size_t i = 0; i < 51; i++) {
        read_one(&rig, next_read(&rig, false), names[i]);
        for (size_t j = 0; j < i; j++)
            assert_int_equal(strcmp(names[i], names[j]) == 0, i == 50 && j == 0);
    }
    rig_stop(&rig);
}

#define CHECK(node, service, status)                                                                                   \
    "{\"Node\":\"" node "\",\"CheckID\":\"c\",\"Status\":\"" status "\",\"Output\":\"x\",\"ServiceID\":\"" service     \
    "\",\"ServiceName\":\"" service "\"}"

static void test_checks_say_what_changed(void **state)
{
    static const struct {
        const char *body;
        const char *changed; /* NULL: none */
    } rounds[] = {
        {"[" CHECK("ns3", "s3", "passing") "," CHECK("ns4", "", "passing") "]", NULL}, /* filled in below */
        {"[" CHECK("ns4", "", "passing") "," CHECK("ns3", "s3", "passing") "]", NULL}, /* another order */
        {"[" CHECK("ns3", "s3", "critical") "," CHECK("ns4", "", "passing") "]", "s3"},
        {"[" CHECK("ns3", "s3", "critical") "," CHECK("ns4", "", "critical") "]", "s4"}, /* of its node */
        {"[" CHECK("ns4", "", "critical") "]", "s3"},
        {"[" CHECK("ns4", "", "critical") "," CHECK("other", "", "critical") "," CHECK("n", "other", "x") "]", NULL},
    };
    struct plugin_rig rig;
    char index[16];
    (void)state;
    start_many(&rig, 29);
    answered(&rig, "/state/any", "11", rounds[0].body);
    assert_int_equal(read_due(&rig, "s3"), 1);
    for (size_t i = 1; i < ARRAY_LEN(rounds); i++) {
        snprintf(index, sizeof(index), "%zu", 11 + i);
        size_t before = rig.host.call_total;
        answered(&rig, "/state/any", index, rounds[i].body);
        assert_int_equal(reads_now(&rig), rounds[i].changed ? 2 : 1); /* the sweep's one waits beside it */
        if (rounds[i].changed) {
            CLEANUP_FREE char *url = mem_printf("/service/%s?", rounds[i].changed);
            assert_int_equal(asked(&rig, url)->request.after_ms, 0);
            answered(&rig, url, "9", "[]");
        }
        assert_int_equal(rig.host.call_total - before, rounds[i].changed ? 2 : 1);
        assert_non_null(strstr(asked(&rig, "/state/any")->url, "wait=120s"));
    }
    rig_stop(&rig);
}

/* What changes while it is being read is read once more; so is what was read before the checks were first known. */
static void test_changed_while_read(void **state)
{
    struct plugin_rig rig;
    char name[32];
    (void)state;
    start_many(&rig, 29);
    answered(&rig, "/state/any", "11", "[" CHECK("ns3", "s3", "passing") "]");
    struct discovery_call *call = next_read(&rig, true);
    answered(&rig, "/state/any", "12", "[" CHECK("ns3", "s3", "critical") "]");
    assert_int_equal(reads_now(&rig), 2);
    read_one(&rig, call, name);
    assert_string_equal(name, "s3");
    assert_int_equal(read_due(&rig, "s3"), 1);
    /* The one whose turn comes in the sweep, too. */
    read_one(&rig, next_read(&rig, false), name);
    const char *sweeping = strstr(next_read(&rig, false)->url, "/service/") + 9;
    CLEANUP_FREE char *swept = mem_strndup(sweeping, strcspn(sweeping, "?"));
    CLEANUP_FREE char *body =
        mem_printf("[{\"Node\":\"n%s\",\"CheckID\":\"c\",\"Status\":\"x\",\"ServiceName\":\"\"}]", swept);
    answered(&rig, "/state/any", "13", body);
    assert_int_equal(read_due(&rig, NULL), 1); /* s3: its check went */
    read_one(&rig, next_read(&rig, false), name);
    assert_int_equal(read_due(&rig, swept), 1);
    rig_stop(&rig);

    start(&rig, DC1);
    catalog_of(&rig, 29, "10", "");
    assert_int_equal(read_due(&rig, NULL), 30);
    answered(&rig, "/state/any", "10", "[]");
    assert_int_equal(read_due(&rig, NULL), 29); /* and the one that waits for its turn */
    rig_stop(&rig);
}

/* Without an answer about the checks the sweep goes on. */
static void test_checks_fail(void **state)
{
    struct plugin_rig rig;
    char name[32];
    (void)state;
    start(&rig, DC1);
    catalog_of(&rig, 29, "10", "");
    assert_int_equal(rig_fail(asked(&rig, "/state/any"), DISCOVERY_BROKEN, "cut"), DISCOVERY_RETRY);
    expect_problem(&rig, "/v1/health/state/any: cut");
    assert_int_equal(rig_fail(asked(&rig, "/state/any"), DISCOVERY_TOO_LARGE, "more than 512 MiB"), DISCOVERY_DROP);
    expect_problem(&rig, "/v1/health/state/any: more than 512 MiB");
    assert_int_equal(asked(&rig, "/state/any")->request.after_ms, 300000);
    assert_int_equal(read_due(&rig, NULL), 30);
    assert_int_equal(rig.host.commits, 1);
    assert_int_equal(answer(&rig, "/state/any", "11", "[{\"Node\":\"n\"}]"), DISCOVERY_RETRY);
    expect_problem(&rig, "a check without CheckID and Status");
    for (size_t i = 0; i < 60; i++)
        read_one(&rig, next_read(&rig, false), name);
    rig_stop(&rig);
}

/* The catalog tells when a service's tags are others. */
static void test_tags_say_what_changed(void **state)
{
    struct plugin_rig rig;
    (void)state;
    start_many(&rig, 29);
    catalog_of(&rig, 29, "11", "\"a\",\"b\"");
    assert_int_equal(read_due(&rig, NULL) + (strstr(next_read(&rig, false)->url, "/last?") != NULL), 1);
    catalog_of(&rig, 29, "12", "\"b\",\"a\"");
    assert_null(next_read(&rig, true));
    catalog_of(&rig, 28, "13", "\"b\",\"a\""); /* one is gone */
    assert_null(next_read(&rig, true));
    assert_int_equal(rig.host.group_count, 29);
    rig_stop(&rig);
}

static size_t watches_now(struct plugin_rig *rig)
{
    size_t count = 0;
    for (struct discovery_call *call = rig->host.calls; call; call = call->next)
        count += strstr(call->url, "/health/service/") && strstr(call->url, "wait=120s");
    return count;
}

/* At the ceiling: a watch each, then none, then a watch each; nothing is lost on the way, at any moment. */
static void test_around_the_ceiling(void **state)
{
    struct plugin_rig rig;
    char name[32];
    (void)state;
    start(&rig, DC1);
    catalog_of(&rig, WATCHES_MAX - 1, "10", "");
    assert_int_equal(reads_now(&rig), WATCHES_MAX);
    assert_null(rig_find(&rig, "/state/any"));
    for (size_t i = 0; i < WATCHES_MAX; i++)
        read_one(&rig, next_read(&rig, true), name);
    assert_int_equal(watches_now(&rig), WATCHES_MAX);
    CLEANUP_FREE char *before = rig_print(&rig);
    /* One more, while an answer is under way. */
    rig_head(asked(&rig, "/service/s7?"), 200, (const struct discovery_header[]){{"X-Consul-Index", "6"}, {NULL}});
    assert_int_equal(rig_feed(&rig, asked(&rig, "/service/s7?"), STR("[{\"Node\":{},\"Service\":{}},")), 0);
    catalog_of(&rig, WATCHES_MAX, "11", "");
    assert_int_equal(watches_now(&rig), 0);
    assert_int_equal(reads_now(&rig), 2); /* the new one, and one whose turn it is */
    answered(&rig, "/state/any", "10", "[]");
    assert_int_equal(reads_now(&rig), READS_MAX);
    assert_int_equal(read_due(&rig, NULL), WATCHES_MAX - 1 + 2);
    assert_int_equal(rig.host.group_count, WATCHES_MAX + 1);
    /* One less. */
    catalog_of(&rig, WATCHES_MAX - 1, "12", "");
    assert_null(rig_find(&rig, "/state/any"));
    assert_int_equal(watches_now(&rig), WATCHES_MAX);
    for (size_t i = 0; i < WATCHES_MAX; i++)
        assert_int_equal(next_read(&rig, true)->request.after_ms, 0);
    expect_targets(&rig, before);
    assert_int_equal(rig.host.commits, 1);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_health),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_services_given),
        cmocka_unit_test(test_many_services_given),
        cmocka_unit_test(test_configuration_refused),
        cmocka_unit_test(test_index),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_no_leader),
        cmocka_unit_test(test_services_come_and_go),
        cmocka_unit_test(test_gone_while_listing),
        cmocka_unit_test(test_failures_keep_targets),
        cmocka_unit_test(test_no_answer),
        cmocka_unit_test(test_past_a_ceiling),
        cmocka_unit_test(test_agent_failures),
        cmocka_unit_test(test_filtered),
        cmocka_unit_test(test_many_services),
        cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_checks_say_what_changed),
        cmocka_unit_test(test_changed_while_read),
        cmocka_unit_test(test_checks_fail),
        cmocka_unit_test(test_tags_say_what_changed),
        cmocka_unit_test(test_around_the_ceiling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
