/* Kubernetes' lists and watches: pages, events, versions that are gone, answers that break, and sections that share. */
#include "kubernetes_rig.h"

#include <errno.h>

#define PODS       "role: pod\n"
#define PODS_LIST  "/api/v1/pods?limit=500"
#define PODS_WATCH "/api/v1/pods?watch=1"

#define RIGS_MAX   5

struct world {
    struct plugin_rig rigs[RIGS_MAX];
    bool running[RIGS_MAX];
};

static int set_up(void **state)
{
    kube_init();
    *state = mem_zalloc(sizeof(struct world));
    return 0;
}

static void stop(void **state, struct plugin_rig *rig)
{
    struct world *world = *state;
    rig_stop(rig);
    world->running[rig - world->rigs] = false;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    for (size_t i = 0; i < RIGS_MAX; i++)
        if (world->running[i])
            stop(state, &world->rigs[i]);
    kube_done();
    mem_free(world);
    return 0;
}

/* Another section of the one plugin; stopped at the end. */
static struct plugin_rig *start(void **state, const char *yaml)
{
    struct world *world = *state;
    size_t at = 0;
    while (world->running[at])
        at++;
    assert_true(at < RIGS_MAX);
    kube_start(&world->rigs[at], yaml);
    world->running[at] = true;
    return &world->rigs[at];
}

/* The pods that are said, by name: "a b c". */
static char *names_of(struct plugin_rig *rig)
{
    struct buf text = BUF_INIT(MIB);
    if (rig->host.group_count > 0)
        qsort(rig->host.groups, rig->host.group_count, sizeof(rig->host.groups[0]), rig_group_compare);
    for (size_t i = 0; i < rig->host.group_count; i++)
        buf_printf(&text, "%s%s", i > 0 ? " " : "", strrchr(rig->host.groups[i].source, '/') + 1);
    buf_append_byte(&text, 0);
    return (char *)buf_steal(&text, &(size_t){0});
}

static void expect_names(struct plugin_rig *rig, const char *expected)
{
    CLEANUP_FREE char *names = names_of(rig);
    assert_string_equal(names, expected);
}

static void pod_event(struct plugin_rig *rig, const char *type, const char *name, const char *version)
{
    CLEANUP_FREE char *pod = kube_pod(name, "10.0.0.9", version);
    kube_event(rig, PODS_WATCH, type, pod);
}

/* Pods a and b listed at version 100, and the watch is open. */
static struct plugin_rig *start_listed(void **state)
{
    struct plugin_rig *rig = start(state, PODS);
    CLEANUP_FREE char *a = kube_pod("a", "10.0.0.1", "90");
    CLEANUP_FREE char *b = kube_pod("b", "10.0.0.2", "95");
    CLEANUP_FREE char *items = mem_printf("%s,%s", a, b);
    kube_list(rig, PODS_LIST, "100", items);
    kube_open(rig, PODS_WATCH);
    expect_names(rig, "a b");
    return rig;
}

/* ---- asking ---- */

static void test_requests(void **state)
{
    struct plugin_rig *rig = start(state, PODS "api_server: https://k8s.example:6443/\n"
                                               "namespaces: {names: [shop]}\n"
                                               "selectors: [{role: pod, label: 'app in (a, b)', field: "
                                               "'spec.nodeName=n1'}]\n");
    struct discovery_call *call = kube_call(rig, "/api/v1/namespaces/shop/pods");
    const char *selectors = "&labelSelector=app%20in%20%28a%2C%20b%29&fieldSelector=spec.nodeName%3Dn1";
    CLEANUP_FREE char *first = mem_printf("/api/v1/namespaces/shop/pods?limit=500%s", selectors);
    assert_string_equal(call->url, first);
    assert_string_equal(call->request.headers[0].name, "Accept");
    assert_string_equal(call->request.headers[0].value, "application/json");
    assert_string_equal(call->request.kubernetes->api_server, "https://k8s.example:6443");
    assert_non_null(call->request.access);
    assert_int_equal(call->request.after_ms + call->request.spread_ms, 0);
    kube_answer(rig, "limit=500",
                "{'kind':'PodList','metadata':{'resourceVersion':'7','continue':'to/ken=='},'items':[]}");
    call = kube_call(rig, "limit=500");
    CLEANUP_FREE char *second =
        mem_printf("/api/v1/namespaces/shop/pods?limit=500&continue=to%%2Fken%%3D%%3D%s", selectors);
    assert_string_equal(call->url, second);
    assert_int_equal(rig->host.commits, 0);
    kube_list(rig, "continue", "8", "");
    assert_int_equal(rig->host.commits, 1);
    call = kube_call(rig, "watch=1");
    int seconds = 0;
    const char *at = strstr(call->url, "timeoutSeconds=");
    assert_non_null(at);
    seconds = (int)strtol(at + strlen("timeoutSeconds="), NULL, 10);
    assert_in_range(seconds, 300, 600);
    CLEANUP_FREE char *watch = mem_printf("/api/v1/namespaces/shop/pods?watch=1&allowWatchBookmarks=true&"
                                          "timeoutSeconds=%d&resourceVersion=8%s",
                                          seconds, selectors);
    assert_string_equal(call->url, watch);
    assert_true(call->request.timeout_ms > seconds * 1000);
    assert_int_equal(rig_call_count(rig), 1);
}

static void test_in_cluster(void **state)
{
    struct plugin_rig *rig = start(state, PODS);
    const struct access_kubernetes *server = kube_call(rig, PODS_LIST)->request.kubernetes;
    assert_non_null(server);
    assert_null(server->api_server);
    assert_null(server->kubeconfig_file);
}

static void test_paths(void **state)
{
    static const struct {
        const char *role, *path;
    } cases[] = {
        {"node", "/api/v1/nodes?"},
        {"service", "/api/v1/services?"},
        {"ingress", "/apis/networking.k8s.io/v1/ingresses?"},
        {"endpoints", "/api/v1/endpoints?"},
        {"endpointslice", "/apis/discovery.k8s.io/v1/endpointslices?"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct plugin_rig rig;
        CLEANUP_FREE char *yaml = mem_printf("role: %s\n", cases[i].role);
        kube_start(&rig, yaml);
        kube_call(&rig, cases[i].path);
        assert_int_equal(rig_call_count(&rig), strstr(cases[i].role, "endpoint") ? 3 : 1);
        rig_stop(&rig);
    }
    start(state, PODS);
}

/* ---- a watch ---- */

static void test_events(void **state)
{
    struct plugin_rig *rig = start_listed(state);
    pod_event(rig, "ADDED", "c", "101");
    expect_names(rig, "a b c");
    pod_event(rig, "DELETED", "a", "102");
    expect_names(rig, "b c");
    pod_event(rig, "MODIFIED", "b", "103");
    CLEANUP_FREE char *printed = rig_print(rig);
    assert_non_null(strstr(printed, "# pod/shop/b\n10.0.0.9:80{"));
    pod_event(rig, "DELETED", "unheard", "104");
    pod_event(rig, "FROM_THE_FUTURE", "z", "105");
    expect_names(rig, "b c");
    CLEANUP_FREE char *evicted = kube_pod("b", "", "106");
    kube_event(rig, PODS_WATCH, "MODIFIED", evicted);
    expect_names(rig, "c");
    assert_int_equal(rig->host.problems, 0);
}

static void end_watch(struct plugin_rig *rig, enum discovery_failure failure, enum discovery_verdict expected)
{
    const struct discovery_end end = {.failure = failure, .reason = "connection reset", .status = 200};
    assert_int_equal(rig_end(kube_call(rig, PODS_WATCH), &end), expected);
}

static void expect_watch(struct plugin_rig *rig, const char *version, bool at_once)
{
    const struct discovery_call *call = kube_call(rig, PODS_WATCH);
    CLEANUP_FREE char *parameter = mem_printf("&resourceVersion=%s", version);
    assert_int_equal(rig_call_count(rig), 1);
    assert_true(str_ends_with(str_from(call->url), str_from(parameter)));
    assert_int_equal(call->request.after_ms > 0, !at_once);
}

static void test_watch_again(void **state)
{
    struct plugin_rig *rig = start_listed(state);
    pod_event(rig, "ADDED", "c", "101");
    end_watch(rig, DISCOVERY_OK, DISCOVERY_DROP);
    expect_watch(rig, "101", true);
    kube_open(rig, PODS_WATCH);
    kube_event(rig, PODS_WATCH, "BOOKMARK", "{'kind':'Pod','metadata':{'resourceVersion':'150'}}");
    end_watch(rig, DISCOVERY_OK, DISCOVERY_DROP);
    expect_watch(rig, "150", true);
    kube_open(rig, PODS_WATCH);
    end_watch(rig, DISCOVERY_OK, DISCOVERY_DROP); /* with nothing in it: not in a tight loop */
    expect_watch(rig, "150", false);
    expect_names(rig, "a b c");
    assert_int_equal(rig->host.problems, 0);
}

static void test_watch_broken(void **state)
{
    struct plugin_rig *rig = start_listed(state);
    pod_event(rig, "ADDED", "c", "101");
    end_watch(rig, DISCOVERY_BROKEN, DISCOVERY_DROP); /* it has moved on: from there */
    expect_watch(rig, "101", false);
    assert_int_equal(rig->host.problems, 0);
    end_watch(rig, DISCOVERY_BROKEN, DISCOVERY_RETRY); /* nothing came: the host's back-off */
    assert_string_equal(rig->host.problem, "/api/v1/pods: connection reset");
    kube_open(rig, PODS_WATCH);
    assert_string_equal(rig->host.problem, ""); /* as soon as it is answered */
    expect_names(rig, "a b c");
}

static void test_half_line(void **state)
{
    struct plugin_rig *rig = start_listed(state);
    kube_feed(rig, PODS_WATCH, "{'type':'ADDED','object':{'metadata':{'name':'c','na");
    end_watch(rig, DISCOVERY_OK, DISCOVERY_RETRY);
    assert_non_null(strstr(rig->host.problem, "in the middle"));
    kube_open(rig, PODS_WATCH);
    pod_event(rig, "ADDED", "d", "101");
    kube_feed(rig, PODS_WATCH, "{'type':'ADD");
    end_watch(rig, DISCOVERY_BROKEN, DISCOVERY_DROP);
    expect_watch(rig, "101", false);
    expect_names(rig, "a b d");
}

static void test_garbage(void **state)
{
    struct plugin_rig *rig = start_listed(state);
    assert_true(kube_feed(rig, PODS_WATCH, "<html><body>503</body></html>") < 0);
    end_watch(rig, DISCOVERY_OK, DISCOVERY_RETRY);
    assert_non_null(strstr(rig->host.problem, "/api/v1/pods: "));
    kube_open(rig, PODS_WATCH);
    assert_int_equal(kube_feed(rig, PODS_WATCH,
                               "7 null [] {'type':5,'object':[]} {'type':'ADDED'} "
                               "{'type':'ADDED','object':{'metadata':[]}} "
                               "{'type':'DELETED','object':{}} {'type':'BOOKMARK'} "),
                     0);
    expect_names(rig, "a b");
    end_watch(rig, DISCOVERY_OK, DISCOVERY_DROP);
    expect_watch(rig, "100", false);
}

/* ---- what is gone ---- */

static void expect_list_again(struct plugin_rig *rig)
{
    const struct discovery_call *call = kube_call(rig, PODS_LIST);
    assert_int_equal(rig_call_count(rig), 1);
    assert_null(strstr(call->url, "continue"));
    assert_true(call->request.spread_ms > 0);
    expect_names(rig, "a b");
    assert_string_equal(rig->host.problem, "");
    CLEANUP_FREE char *b = kube_pod("b", "10.0.0.2", "95");
    CLEANUP_FREE char *c = kube_pod("c", "10.0.0.3", "195");
    CLEANUP_FREE char *items = mem_printf("%s,%s", b, c);
    kube_list(rig, PODS_LIST, "200", items);
    expect_names(rig, "b c");
    expect_watch(rig, "200", true);
}

#define GONE "{'kind':'Status','status':'Failure','message':'too old resource version','reason':'Expired','code':410}"

static void test_gone_as_event(void **state)
{
    struct plugin_rig *rig = start_listed(state);
    CLEANUP_FREE char *json = kube_json("{'type':'ERROR','object':" GONE "}\n");
    assert_true(rig_feed(rig, kube_call(rig, PODS_WATCH), str_from(json)) < 0);
    const struct discovery_end end = {.status = 200, .reader_refused = true};
    assert_int_equal(rig_end(kube_call(rig, PODS_WATCH), &end), DISCOVERY_DROP);
    expect_list_again(rig);
}

static void test_gone_as_status(void **state)
{
    struct plugin_rig *rig = start_listed(state);
    end_watch(rig, DISCOVERY_OK, DISCOVERY_DROP);
    assert_int_equal(kube_refuse(rig, PODS_WATCH, 410, GONE), DISCOVERY_DROP);
    expect_list_again(rig);
}

/* One 410 after the other is no reason to list in a tight loop. */
static void test_gone_again_and_again(void **state)
{
    struct plugin_rig *rig = start_listed(state);
    int64_t after = 0;
    end_watch(rig, DISCOVERY_OK, DISCOVERY_DROP);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(kube_refuse(rig, PODS_WATCH, 410, GONE), DISCOVERY_DROP);
        int64_t next = kube_call(rig, PODS_LIST)->request.after_ms;
        assert_true(next >= after && (i == 0 || next > 0));
        after = next;
        kube_list(rig, PODS_LIST, "200", "");
    }
    assert_in_range(after, 60000, 120000);
    kube_open(rig, PODS_WATCH);
    pod_event(rig, "ADDED", "c", "201");
    end_watch(rig, DISCOVERY_OK, DISCOVERY_DROP);
    kube_refuse(rig, PODS_WATCH, 410, GONE);
    assert_int_equal(kube_call(rig, PODS_LIST)->request.after_ms, 0);
}

static void test_error_event(void **state)
{
    struct plugin_rig *rig = start_listed(state);
    assert_true(kube_feed(rig, PODS_WATCH,
                          "{'type':'ERROR','object':{'kind':'Status','code':500,'message':'etcd has no leader'}}") < 0);
    const struct discovery_end end = {.status = 200, .reader_refused = true};
    assert_int_equal(rig_end(kube_call(rig, PODS_WATCH), &end), DISCOVERY_RETRY);
    assert_string_equal(rig->host.problem, "/api/v1/pods: the watch ended with an error: etcd has no leader");
    expect_watch(rig, "100", true);
}

/* ---- lists ---- */

static void page(struct plugin_rig *rig, const char *url, const char *token, const char *name)
{
    CLEANUP_FREE char *pod = kube_pod(name, "10.0.0.1", "1");
    CLEANUP_FREE char *body =
        mem_printf("{'metadata':{'resourceVersion':'100','continue':'%s'},'items':[%s]}", token, pod);
    assert_int_equal(kube_answer(rig, url, body), DISCOVERY_DROP);
}

static void test_pages(void **state)
{
    struct plugin_rig *rig = start(state, PODS);
    page(rig, PODS_LIST, "t1", "a");
    page(rig, "continue=t1", "t2", "b");
    assert_int_equal(rig->host.commits, 0);
    page(rig, "continue=t2", "", "c");
    assert_int_equal(rig->host.commits, 1);
    expect_names(rig, "a b c");
    expect_watch(rig, "100", true);
}

/* A continue token lives for some minutes. */
static void test_gone_in_list(void **state)
{
    struct plugin_rig *rig = start(state, PODS);
    page(rig, PODS_LIST, "t1", "a");
    assert_int_equal(kube_refuse(rig, "continue=t1", 410, GONE), DISCOVERY_DROP);
    assert_null(strstr(kube_call(rig, PODS_LIST)->url, "continue"));
    assert_true(kube_call(rig, PODS_LIST)->request.spread_ms > 0);
    page(rig, PODS_LIST, "t2", "b");
    page(rig, "continue=t2", "", "c");
    expect_names(rig, "b c");
}

/* What came of a page that broke is not known to be there. */
static void test_broken_page(void **state)
{
    struct plugin_rig *rig = start(state, PODS);
    page(rig, PODS_LIST, "t1", "a");
    struct discovery_call *call = kube_call(rig, "continue=t1");
    CLEANUP_FREE char *b = kube_pod("b", "10.0.0.1", "1");
    CLEANUP_FREE char *body = mem_printf("{'metadata':{'resourceVersion':'100'},'items':[%s,", b);
    CLEANUP_FREE char *json = kube_json(body);
    rig_head(call, 200, NULL);
    assert_int_equal(rig_feed(rig, call, str_from(json)), 0);
    assert_int_equal(rig_fail(call, DISCOVERY_BROKEN, "the answer was cut"), DISCOVERY_RETRY);
    assert_string_equal(rig->host.problem, "/api/v1/pods: the answer was cut");
    page(rig, "continue=t1", "", "c");
    expect_names(rig, "a c");
    assert_string_equal(rig->host.problem, "");
}

static void expect_list_refused(struct plugin_rig *rig, int status, const char *body, const char *problem)
{
    assert_int_equal(kube_refuse(rig, PODS_LIST, status, body), DISCOVERY_RETRY);
    if (!strstr(rig->host.problem, problem))
        fail_msg("\"%s\" does not say \"%s\"", rig->host.problem, problem);
    assert_int_equal(rig->host.commits, 0);
}

static void test_lists_refused(void **state)
{
    struct plugin_rig *rig = start(state, PODS);
    expect_list_refused(rig, 403, "{'kind':'Status','message':'pods is forbidden: User anna cannot list','code':403}",
                        "/api/v1/pods: HTTP 403: pods is forbidden: User anna cannot list");
    expect_list_refused(rig, 401, "{'kind':'Status','message':'Unauthorized'}", "HTTP 401: Unauthorized");
    expect_list_refused(rig, 502, "<html>\nBad gateway", "HTTP 502: <html>");
    expect_list_refused(rig, 500, "", "HTTP 500");
    expect_list_refused(rig, 200, "<html></html>", "/api/v1/pods: ");
    expect_list_refused(rig, 200, "", "/api/v1/pods: the answer is empty");
    expect_list_refused(rig, 200, "{'metadata':{'resourceVersion':'7'},'items':[", "in the middle");
    expect_list_refused(rig, 200, "{'metadata':{'resourceVersion':'7'}}", "no list \"items\"");
    expect_list_refused(rig, 200, "{'items':[],'metadata':{}}", "no resourceVersion");
    expect_list_refused(rig, 200, "[]", "/api/v1/pods: ");
    char token[4096];
    memset(token, 'x', sizeof(token) - 1);
    token[sizeof(token) - 1] = '\0';
    CLEANUP_FREE char *long_token =
        mem_printf("{'metadata':{'resourceVersion':'7','continue':'%s'},'items':[]}", token);
    expect_list_refused(rig, 200, long_token, "a continue token of more than");
    assert_string_equal(kube_call(rig, PODS_LIST)->url, PODS_LIST);
    kube_list(rig, PODS_LIST, "1", "7,null,[],{'metadata':{}}");
    assert_int_equal(rig->host.commits, 1);
    assert_string_equal(rig->host.problem, "");
    kube_expect(rig, "");
}

static void test_endless_pages(void **state)
{
    struct plugin_rig *rig = start(state, PODS);
    const char *body = "{'metadata':{'resourceVersion':'7','continue':'x'},'items':[]}";
    int pages = 0;
    while (kube_answer(rig, PODS_LIST, body) == DISCOVERY_DROP)
        assert_true(++pages < 10000);
    assert_string_equal(rig->host.problem, "/api/v1/pods: a list of more than 2000 pages");
}

/* ---- sections that share ---- */

static void test_share_and_take_over(void **state)
{
    struct plugin_rig *first = start(state, PODS), *second = start(state, PODS);
    struct plugin_rig *other = start(state, PODS "selectors: [{role: pod, label: a=b}]\n");
    assert_int_equal(rig_call_count(first), 1);
    assert_int_equal(rig_call_count(second), 0);
    assert_int_equal(rig_call_count(other), 1);
    CLEANUP_FREE char *a = kube_pod("a", "10.0.0.1", "90");
    kube_list(first, PODS_LIST, "100", a);
    expect_names(first, "a");
    expect_names(second, "a");
    assert_int_equal(second->host.commits, 1);
    assert_int_equal(other->host.commits, 0);
    kube_open(first, PODS_WATCH);
    pod_event(first, "ADDED", "b", "101");
    expect_names(second, "a b");
    stop(state, first);
    expect_watch(second, "101", true);
    kube_open(second, PODS_WATCH);
    pod_event(second, "DELETED", "a", "102");
    expect_names(second, "b");
}

static void test_shared_problem(void **state)
{
    struct plugin_rig *first = start(state, PODS), *second = start(state, PODS);
    kube_refuse(first, PODS_LIST, 403, "{'message':'forbidden'}");
    assert_string_equal(second->host.problem, "/api/v1/pods: HTTP 403: forbidden");
    struct plugin_rig *third = start(state, PODS);
    assert_string_equal(third->host.problem, "/api/v1/pods: HTTP 403: forbidden");
    kube_list(first, PODS_LIST, "1", "");
    assert_string_equal(second->host.problem, "");
    assert_string_equal(third->host.problem, "");
    assert_int_equal(third->host.commits, 1);
}

static void test_take_over_in_list(void **state)
{
    struct plugin_rig *first = start(state, PODS), *second = start(state, PODS);
    page(first, PODS_LIST, "t1", "a");
    CLEANUP_FREE char *half = kube_pod("half", "10.0.0.1", "1");
    CLEANUP_FREE char *body = mem_printf("{'items':[%s,", half);
    kube_open(first, "continue=t1");
    kube_feed(first, "continue=t1", body);
    stop(state, first);
    page(second, "continue=t1", "", "b"); /* not from the beginning */
    expect_names(second, "a b");
    assert_int_equal(second->host.commits, 1);
}

/* Pods that nobody joins with others are not kept: who comes late has them listed again, and nobody loses any. */
static void test_late(void **state)
{
    struct plugin_rig *first = start_listed(state), *second = start(state, PODS);
    assert_int_equal(second->host.commits, 0);
    assert_null(rig_find(first, PODS_WATCH));
    CLEANUP_FREE char *b = kube_pod("b", "10.0.0.2", "95");
    expect_names(first, "a b");
    kube_list(first, PODS_LIST, "200", b);
    expect_names(first, "b");
    expect_names(second, "b");
    assert_int_equal(first->host.commits, 1);
    expect_watch(first, "200", true);
}

static void test_late_in_list(void **state)
{
    struct plugin_rig *first = start(state, PODS);
    page(first, PODS_LIST, "t1", "a");
    struct plugin_rig *second = start(state, PODS);
    page(first, PODS_LIST, "t2", "a");
    page(first, "continue=t2", "", "b");
    expect_names(first, "a b");
    expect_names(second, "a b");
}

/* What is kept for endpoints serves a section of pods at once. */
static void test_late_to_kept(void **state)
{
    struct plugin_rig *endpoints = start(state, "role: endpoints\n");
    CLEANUP_FREE char *a = kube_pod("a", "10.0.0.1", "90");
    kube_list(endpoints, PODS_LIST, "100", a);
    struct plugin_rig *pods = start(state, PODS);
    assert_int_equal(pods->host.commits, 1);
    expect_names(pods, "a");
    assert_int_equal(rig_call_count(pods), 0);
    kube_open(endpoints, PODS_WATCH);
    pod_event(endpoints, "ADDED", "b", "101");
    expect_names(pods, "a b");
    stop(state, endpoints);
    expect_watch(pods, "101", true);
    pod_event(pods, "DELETED", "a", "102");
    expect_names(pods, "b");
}

static void test_identities(void **state)
{
    struct plugin_rig *in_cluster = start(state, PODS);
    struct plugin_rig *one = start(state, PODS "api_server: http://a\n");
    struct plugin_rig *same = start(state, "api_server: http://a\n" PODS);
    struct plugin_rig *insecure = start(state, PODS "api_server: http://a\ntls_config: {insecure_skip_verify: true}\n");
    struct plugin_rig *file = start(state, PODS "kubeconfig_file: /dev/null\n");
    assert_int_equal(rig_call_count(in_cluster), 1);
    assert_int_equal(rig_call_count(one), 1);
    assert_int_equal(rig_call_count(same), 0);
    assert_int_equal(rig_call_count(insecure), 1);
    assert_int_equal(rig_call_count(file), 1);
    assert_string_equal(kube_call(file, PODS_LIST)->request.kubernetes->kubeconfig_file, "/dev/null");
}

/* ---- namespaces ---- */

static void test_namespaces(void **state)
{
    struct plugin_rig *rig = start(state, PODS "namespaces: {names: [shop, till]}\n");
    struct plugin_rig *shop = start(state, PODS "namespaces: {names: [shop]}\n");
    CLEANUP_FREE char *a = kube_pod("a", "10.0.0.1", "90");
    assert_int_equal(rig_call_count(rig), 2);
    assert_int_equal(rig_call_count(shop), 0);
    kube_list(rig, "/api/v1/namespaces/shop/pods", "100", a);
    assert_int_equal(rig->host.commits, 0);
    expect_names(shop, "a");
    kube_list(rig, "/api/v1/namespaces/till/pods", "100",
              "{'metadata':{'name':'t','namespace':'till'},'spec':{'containers':[{'name':'c'}]},'status':{'podIP':"
              "'10.1.1.1'}}");
    assert_int_equal(rig->host.commits, 1);
    expect_names(rig, "a t");
}

#define FORBIDDEN "{'message':'forbidden'}"

/* One namespace that may not be read does not hold up the others, and comes when it may; where none may be read nothing
 * is said, as if there were no targets. */
static void test_refused_namespace(void **state)
{
    struct plugin_rig *rig = start(state, PODS "namespaces: {names: [shop, till]}\n");
    CLEANUP_FREE char *a = kube_pod("a", "10.0.0.1", "90");
    assert_int_equal(kube_refuse(rig, "/shop/pods", 403, FORBIDDEN), DISCOVERY_RETRY);
    assert_int_equal(kube_refuse(rig, "/till/pods", 404, FORBIDDEN), DISCOVERY_RETRY);
    assert_int_equal(kube_refuse(rig, "/till/pods", 403, FORBIDDEN), DISCOVERY_RETRY);
    assert_int_equal(rig->host.commits, 0);
    kube_list(rig, "/shop/pods", "100", a);
    assert_int_equal(rig->host.commits, 1);
    expect_names(rig, "a");
    assert_string_equal(rig->host.problem, "/api/v1/namespaces/till/pods: HTTP 403: forbidden");
    kube_list(rig, "/till/pods", "100",
              "{'metadata':{'name':'t','namespace':'till'},'spec':{'containers':[{'name':'c'}]},'status':{'podIP':"
              "'10.1.1.1'}}");
    assert_int_equal(rig->host.commits, 1);
    expect_names(rig, "a t");
    assert_string_equal(rig->host.problem, "");
}

/* A server that does not answer well is no refusal. */
static void test_refused_is_not_broken(void **state)
{
    struct plugin_rig *rig = start(state, PODS "namespaces: {names: [shop, till]}\n");
    CLEANUP_FREE char *a = kube_pod("a", "10.0.0.1", "90");
    kube_list(rig, "/shop/pods", "100", a);
    assert_int_equal(kube_refuse(rig, "/till/pods", 500, FORBIDDEN), DISCOVERY_RETRY);
    assert_int_equal(kube_refuse(rig, "/till/pods", 401, FORBIDDEN), DISCOVERY_RETRY);
    assert_int_equal(rig->host.commits, 0);
}

/* Groups of a namespace are not said without the services or pods that belong to them. */
static void test_refused_join(void **state)
{
    struct plugin_rig *rig = start(state, "role: endpoints\nnamespaces: {names: [shop, till]}\n");
    const char *of_shop = "{'metadata':{'name':'e','namespace':'shop'},'subsets':[{'addresses':[{'ip':'10.0.0.1'}],"
                          "'ports':[{'port':80}]}]}";
    const char *of_till = "{'metadata':{'name':'t','namespace':'till'},'subsets':[{'addresses':[{'ip':'10.0.0.2'}],"
                          "'ports':[{'port':80}]}]}";
    kube_list(rig, "/shop/endpoints", "1", of_shop);
    kube_list(rig, "/till/endpoints", "1", of_till);
    kube_list(rig, "/shop/services", "1", "");
    kube_list(rig, "/till/pods", "1", "");
    kube_refuse(rig, "/till/services", 403, FORBIDDEN);
    assert_int_equal(rig->host.commits, 0);
    kube_list(rig, "/shop/pods", "1", "");
    assert_int_equal(rig->host.commits, 1);
    expect_names(rig, "e");
    kube_open(rig, "/till/endpoints?watch");
    kube_event(rig, "/till/endpoints?watch", "MODIFIED", of_till);
    expect_names(rig, "e");
    kube_list(rig, "/till/services", "1", "{'metadata':{'name':'t','namespace':'till'}}");
    assert_int_equal(rig->host.commits, 1);
    expect_names(rig, "e t");
    CLEANUP_FREE char *printed = rig_print(rig);
    assert_non_null(strstr(printed, "__meta_kubernetes_service_name=\"t\""));
}

static void test_own_namespace(void **state)
{
    struct plugin_rig *rig = start(state, PODS "namespaces: {own_namespace: true, names: [till]}\n");
    struct discovery_call *call = kube_call(rig, "/var/run/secrets/kubernetes.io/serviceaccount/namespace");
    assert_int_equal(rig_call_count(rig), 1);
    call->files_reader->settled(call->arg);
    assert_non_null(strstr(rig->host.problem, "own_namespace: /var/run/secrets"));
    assert_int_equal(call->files_reader->file(call->arg, str_from(call->url), STR("\n")), -EINVAL);
    assert_int_equal(call->files_reader->file(call->arg, str_from(call->url), STR("shop\n")), 0);
    kube_call(rig, "/api/v1/namespaces/shop/pods");
    kube_call(rig, "/api/v1/namespaces/till/pods");
    assert_int_equal(call->files_reader->file(call->arg, str_from(call->url), STR("other")), 0);
    assert_int_equal(rig_call_count(rig), 3);
}

static void test_own_namespace_is_named(void **state)
{
    struct plugin_rig *rig = start(state, PODS "namespaces: {own_namespace: true, names: [shop]}\n");
    struct discovery_call *call = kube_call(rig, "namespace");
    assert_int_equal(call->files_reader->file(call->arg, str_from(call->url), STR("shop")), 0);
    assert_int_equal(rig_call_count(rig), 2);
}

/* ---- configuration ---- */

static void expect_refused(const char *yaml, const char *reason)
{
    struct plugin_rig rig;
    assert_true(rig_start(&rig, &kube_plugin, yaml) < 0);
    if (!strstr(rig.error, reason))
        fail_msg("\"%s\" does not say \"%s\"", rig.error, reason);
    rig_stop(&rig);
}

static void test_configuration(void **state)
{
    expect_refused("{}", "\"role\" is missing");
    expect_refused("role: pods\n", "role");
    expect_refused(PODS "api_server: http://a\nkubeconfig_file: /dev/null\n", "exclude each other");
    expect_refused(PODS "basic_auth: {username: a, password_file: /dev/null}\n", "basic_auth goes with api_server");
    expect_refused(PODS "kubeconfig_file: /dev/null\ntls_config: {insecure_skip_verify: true}\n",
                   "kubeconfig_file says who we are");
    expect_refused(PODS "api_server: http://a\nnamespaces: {own_namespace: true}\n",
                   "own_namespace is that of the pod");
    expect_refused(PODS "namespaces: {names: [a/b]}\n", "a namespace has 1 to 63");
    expect_refused(PODS "namespaces: {names: [a, a]}\n", "the namespace is there twice");
    expect_refused(PODS "selectors: [{role: node, label: a}]\n", "role pod reads nothing of role node");
    expect_refused(PODS "selectors: [{role: pod, label: a}, {role: pod, field: b}]\n", "two selectors of role pod");
    expect_refused(PODS "selectors: [{role: pod}]\n", "it selects nothing");
    expect_refused("role: service\nattach_metadata: {node: true}\n", "on no node that is known");
    expect_refused("role: node\nattach_metadata: {namespace: true}\n", "nodes are in no namespace");
    expect_refused(PODS "attach_metadata: {deployment: true}\n", "pod_controller_kind");
    expect_refused(PODS "bearer_token: abc\n", "credentials_file");
    struct buf yaml = BUF_INIT(MIB);
    buf_append_text(&yaml, "role: endpoints\nnamespaces: {names: [");
    for (int i = 0; i < 86; i++)
        buf_printf(&yaml, "%sn%d", i > 0 ? ", " : "", i);
    buf_append_text(&yaml, "]}\n");
    buf_append_byte(&yaml, 0);
    expect_refused((const char *)yaml.data, "86 namespaces need 3 watches each");
    buf_done(&yaml);
    start(state, "role: endpointslice\nselectors: [{role: pod, label: a}, {role: service, label: b}]\n"
                 "attach_metadata: {node: true, namespace: true}\n");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_requests),
        TEST(test_in_cluster),
        TEST(test_paths),
        TEST(test_events),
        TEST(test_watch_again),
        TEST(test_watch_broken),
        TEST(test_half_line),
        TEST(test_garbage),
        TEST(test_gone_as_event),
        TEST(test_gone_as_status),
        TEST(test_gone_again_and_again),
        TEST(test_error_event),
        TEST(test_pages),
        TEST(test_gone_in_list),
        TEST(test_broken_page),
        TEST(test_lists_refused),
        TEST(test_endless_pages),
        TEST(test_share_and_take_over),
        TEST(test_shared_problem),
        TEST(test_take_over_in_list),
        TEST(test_late),
        TEST(test_late_in_list),
        TEST(test_late_to_kept),
        TEST(test_identities),
        TEST(test_namespaces),
        TEST(test_refused_namespace),
        TEST(test_refused_is_not_broken),
        TEST(test_refused_join),
        TEST(test_own_namespace),
        TEST(test_own_namespace_is_named),
        TEST(test_configuration),
    };
    static const size_t chunks[] = {0, 1, 7};
    int failed = 0;
    for (size_t i = 0; i < ARRAY_LEN(chunks); i++) {
        kube_chunk_bytes = chunks[i];
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    }
    return failed;
}
