/* Kubernetes' roles: each label, by Prometheus' names and rules; and groups that join several objects follow each of
 * them. */
#include "kubernetes_rig.h"

#include <malloc.h>

static int set_up(void **state)
{
    kube_init();
    *state = mem_zalloc(sizeof(struct plugin_rig));
    return 0;
}

static int tear_down(void **state)
{
    rig_stop(*state);
    kube_done();
    mem_free(*state);
    return 0;
}

static struct plugin_rig *start(void **state, const char *yaml)
{
    kube_start(*state, yaml);
    return *state;
}

/* ---- objects ---- */

#define NODE                                                                                                           \
    "{'metadata':{'name':'n1','labels':{'kubernetes.io/arch':'amd64','zone':'a'},'annotations':{'team':'infra'},"      \
    "'resourceVersion':'5','managedFields':[{'manager':'x','fieldsV1':{'f:status':{}}}]},"                             \
    "'spec':{'providerID':'aws:///eu/i-1','podCIDR':'10.0.0.0/24'},"                                                   \
    "'status':{'addresses':[{'type':'Hostname','address':'host1'},{'type':'InternalIP','address':'10.9.0.1'},"         \
    "{'type':'InternalIP','address':'10.9.0.2'}],'conditions':[{'type':'Ready','status':'True','reason':'x'},"         \
    "{'type':'DiskPressure','status':'False'}],'daemonEndpoints':{'kubeletEndpoint':{'Port':10250}}}}"

#define SERVICE                                                                                                        \
    "{'metadata':{'name':'web','namespace':'shop','labels':{'app':'web'},'annotations':{'prometheus.io/scrape':"       \
    "'true'}},'spec':{'type':'ClusterIP','clusterIP':'10.96.0.1','clusterIPs':['10.96.0.1'],"                          \
    "'ports':[{'name':'http','port':80,'protocol':'TCP','targetPort':8080}]}}"

#define POD_WITH(ready, image)                                                                                         \
    "{'metadata':{'name':'web-1','namespace':'shop','uid':'u-1','labels':{'app':'web'},'annotations':{'a/b':'c'},"     \
    "'ownerReferences':[{'kind':'Thing','name':'no'},{'kind':'ReplicaSet','name':'web','controller':true}]},"          \
    "'spec':{'nodeName':'n1','initContainers':[{'name':'init','image':'busybox'}],"                                    \
    "'containers':[{'name':'web','image':'" image "','env':[{'name':'x'}],'ports':[{'name':'http','containerPort':"    \
    "8080,'protocol':'TCP'},{'name':'metrics','containerPort':9090,'protocol':'TCP'}]},{'name':'plain','image':"       \
    "'p'}]},'status':{'podIP':'10.0.0.1','podIPs':[{'ip':'10.0.0.1'}],'hostIP':'10.9.0.1','phase':'Running',"          \
    "'conditions':[{'type':'Initialized','status':'True'},{'type':'Ready','status':'" ready "'}],"                     \
    "'containerStatuses':[{'name':'web','containerID':'containerd://w'},{'name':'plain','containerID':"                \
    "'containerd://p'}],'initContainerStatuses':[{'name':'init','containerID':'containerd://i'}]}}"
#define POD POD_WITH("True", "web:1")

/* Labels of POD on every target behind it, but its namespace's; sorted as they are printed. */
#define POD_LABELS_BEFORE_CONTAINER                                                                                    \
    "__meta_kubernetes_pod_annotation_a_b=\"c\",__meta_kubernetes_pod_annotationpresent_a_b=\"true\","
#define POD_LABELS_AFTER_CONTAINER                                                                                     \
    "__meta_kubernetes_pod_controller_kind=\"ReplicaSet\",__meta_kubernetes_pod_controller_name=\"web\","              \
    "__meta_kubernetes_pod_host_ip=\"10.9.0.1\",__meta_kubernetes_pod_ip=\"10.0.0.1\","                                \
    "__meta_kubernetes_pod_label_app=\"web\",__meta_kubernetes_pod_labelpresent_app=\"true\","                         \
    "__meta_kubernetes_pod_name=\"web-1\",__meta_kubernetes_pod_node_name=\"n1\","                                     \
    "__meta_kubernetes_pod_phase=\"Running\",__meta_kubernetes_pod_ready=\"true\",__meta_kubernetes_pod_uid=\"u-1\""
#define CONTAINER(id, image, init, name)                                                                               \
    "__meta_kubernetes_pod_container_id=\"containerd://" id "\",__meta_kubernetes_pod_container_image=\"" image "\","  \
    "__meta_kubernetes_pod_container_init=\"" init "\",__meta_kubernetes_pod_container_name=\"" name "\","
#define PORT(name, number)                                                                                             \
    "__meta_kubernetes_pod_container_port_name=\"" name "\",__meta_kubernetes_pod_container_port_number=\"" number     \
    "\",__meta_kubernetes_pod_container_port_protocol=\"TCP\","
#define SERVICE_LABELS                                                                                                 \
    "__meta_kubernetes_service_annotation_prometheus_io_scrape=\"true\","                                              \
    "__meta_kubernetes_service_annotationpresent_prometheus_io_scrape=\"true\","
#define SERVICE_LABELS_END                                                                                             \
    "__meta_kubernetes_service_label_app=\"web\",__meta_kubernetes_service_labelpresent_app=\"true\","                 \
    "__meta_kubernetes_service_name=\"web\""

/* ---- node ---- */

static void test_node(void **state)
{
    struct plugin_rig *rig = start(state, "role: node\n");
    kube_list(rig, "/api/v1/nodes", "9",
              NODE ",{'metadata':{'name':'n2'},'status':{'addresses':[{'type':'Hostname','address':'fd00::2'}]}},"
                   "{'metadata':{'name':'n3'},'status':{'addresses':[]}}");
    kube_expect(rig, "# node/n1\n"
                     "10.9.0.1:10250{__meta_kubernetes_node_address_Hostname=\"host1\","
                     "__meta_kubernetes_node_address_InternalIP=\"10.9.0.1\","
                     "__meta_kubernetes_node_annotation_team=\"infra\","
                     "__meta_kubernetes_node_annotationpresent_team=\"true\","
                     "__meta_kubernetes_node_condition_diskpressure=\"false\","
                     "__meta_kubernetes_node_condition_ready=\"true\","
                     "__meta_kubernetes_node_label_kubernetes_io_arch=\"amd64\","
                     "__meta_kubernetes_node_label_zone=\"a\","
                     "__meta_kubernetes_node_labelpresent_kubernetes_io_arch=\"true\","
                     "__meta_kubernetes_node_labelpresent_zone=\"true\","
                     "__meta_kubernetes_node_name=\"n1\","
                     "__meta_kubernetes_node_provider_id=\"aws:///eu/i-1\","
                     "instance=\"n1\"}\n"
                     "# node/n2\n"
                     "[fd00::2]:0{__meta_kubernetes_node_address_Hostname=\"fd00::2\","
                     "__meta_kubernetes_node_name=\"n2\",instance=\"n2\"}\n");
}

static void test_node_addresses(void **state)
{
    static const char *const types[] = {"InternalIP",  "InternalDNS",  "ExternalIP",
                                        "ExternalDNS", "LegacyHostIP", "Hostname"};
    struct plugin_rig *rig = start(state, "role: node\n");
    struct buf items = BUF_INIT(MIB);
    buf_append_text(&items, "{'metadata':{'name':'n'},'status':{'addresses':[");
    for (size_t i = ARRAY_LEN(types); i-- > 0;)
        buf_printf(&items, "{'type':'%s','address':'a%zu'}%s", types[i], i, i > 0 ? "," : "]}}");
    buf_append_byte(&items, 0);
    kube_list(rig, "/api/v1/nodes", "9", (const char *)items.data);
    buf_done(&items);
    for (size_t i = 1; i < ARRAY_LEN(types); i++) {
        CLEANUP_FREE char *printed = rig_print(rig);
        CLEANUP_FREE char *expected = mem_printf("# node/n\na%zu:0{", i - 1);
        assert_true(str_starts_with(str_from(printed), str_from(expected)));
        CLEANUP_FREE char *object = mem_printf(
            "{'metadata':{'name':'n'},'status':{'addresses':[{'type':'Hostname','address':'a5'},{'type':'%s',"
            "'address':'a%zu'}]}}",
            types[i], i);
        kube_open(rig, "watch=1");
        kube_event(rig, "watch=1", "MODIFIED", object);
    }
}

/* ---- service ---- */

static void test_service(void **state)
{
    struct plugin_rig *rig = start(state, "role: service\n");
    kube_list(rig, "/api/v1/services", "9",
              SERVICE ",{'metadata':{'name':'db','namespace':'shop'},'spec':{'type':'ExternalName','externalName':"
                      "'db.example','clusterIP':'no','ports':[{'port':5432,'protocol':'TCP'},{'name':'m','port':9187,"
                      "'protocol':'UDP'}]}},"
                      "{'metadata':{'name':'lb','namespace':'shop'},'spec':{'type':'LoadBalancer','clusterIP':"
                      "'10.96.0.2','loadBalancerIP':'192.0.2.1','ports':[{'port':443,'protocol':'TCP'}]}},"
                      "{'metadata':{'name':'none','namespace':'shop'},'spec':{'type':'ClusterIP','clusterIP':'None'}}");
    kube_expect(rig, "# svc/shop/db\n"
                     "db.shop.svc:5432{__meta_kubernetes_namespace=\"shop\","
                     "__meta_kubernetes_service_external_name=\"db.example\",__meta_kubernetes_service_name=\"db\","
                     "__meta_kubernetes_service_port_number=\"5432\",__meta_kubernetes_service_port_protocol=\"TCP\","
                     "__meta_kubernetes_service_type=\"ExternalName\"}\n"
                     "db.shop.svc:9187{__meta_kubernetes_namespace=\"shop\","
                     "__meta_kubernetes_service_external_name=\"db.example\",__meta_kubernetes_service_name=\"db\","
                     "__meta_kubernetes_service_port_name=\"m\",__meta_kubernetes_service_port_number=\"9187\","
                     "__meta_kubernetes_service_port_protocol=\"UDP\","
                     "__meta_kubernetes_service_type=\"ExternalName\"}\n"
                     "# svc/shop/lb\n"
                     "lb.shop.svc:443{__meta_kubernetes_namespace=\"shop\","
                     "__meta_kubernetes_service_cluster_ip=\"10.96.0.2\","
                     "__meta_kubernetes_service_loadbalancer_ip=\"192.0.2.1\","
                     "__meta_kubernetes_service_name=\"lb\",__meta_kubernetes_service_port_number=\"443\","
                     "__meta_kubernetes_service_port_protocol=\"TCP\","
                     "__meta_kubernetes_service_type=\"LoadBalancer\"}\n"
                     "# svc/shop/web\n"
                     "web.shop.svc:80{__meta_kubernetes_namespace=\"shop\"," SERVICE_LABELS
                     "__meta_kubernetes_service_cluster_ip=\"10.96.0.1\",__meta_kubernetes_service_label_app=\"web\","
                     "__meta_kubernetes_service_labelpresent_app=\"true\",__meta_kubernetes_service_name=\"web\","
                     "__meta_kubernetes_service_port_name=\"http\",__meta_kubernetes_service_port_number=\"80\","
                     "__meta_kubernetes_service_port_protocol=\"TCP\",__meta_kubernetes_service_type=\"ClusterIP\"}\n");
}

/* ---- pod ---- */

#define POD_GROUP(before)                                                                                              \
    "# pod/shop/web-1\n"                                                                                               \
    "10.0.0.1:8080{" before POD_LABELS_BEFORE_CONTAINER CONTAINER("w", "web:1", "false", "web") PORT("http", "8080")   \
        POD_LABELS_AFTER_CONTAINER                                                                                     \
        "}\n"                                                                                                          \
        "10.0.0.1:9090{" before POD_LABELS_BEFORE_CONTAINER CONTAINER("w", "web:1", "false", "web")                    \
            PORT("metrics", "9090") POD_LABELS_AFTER_CONTAINER                                                         \
        "}\n"                                                                                                          \
        "10.0.0.1{" before POD_LABELS_BEFORE_CONTAINER CONTAINER("p", "p", "false", "plain")                           \
            POD_LABELS_AFTER_CONTAINER                                                                                 \
        "}\n"                                                                                                          \
        "10.0.0.1{" before POD_LABELS_BEFORE_CONTAINER CONTAINER("i", "busybox", "true", "init")                       \
            POD_LABELS_AFTER_CONTAINER "}\n"

static void test_pod(void **state)
{
    struct plugin_rig *rig = start(state, "role: pod\n");
    kube_list(rig, "/api/v1/pods", "9", POD ",{'metadata':{'name':'new','namespace':'shop'},'status':{}}");
    kube_expect(rig, POD_GROUP("__meta_kubernetes_namespace=\"shop\","));
}

static void test_pod_v6_and_names(void **state)
{
    struct plugin_rig *rig = start(state, "role: pod\n");
    kube_list(rig, "/api/v1/pods", "9",
              "{'metadata':{'name':'p','namespace':'s','labels':{'a-b':'1','a.b':'2','\u00e9x':'3','empty':''}},"
              "'spec':{'initContainers':[{'name':'i','ports':[{'containerPort':1}]}]},'status':{'podIP':'fd00::1',"
              "'conditions':[{'type':'Ready','status':'Unknown'}]}}");
    kube_expect(rig, "# pod/s/p\n[fd00::1]:1{__meta_kubernetes_namespace=\"s\","
                     "__meta_kubernetes_pod_container_init=\"true\",__meta_kubernetes_pod_container_name=\"i\","
                     "__meta_kubernetes_pod_container_port_number=\"1\",__meta_kubernetes_pod_ip=\"fd00::1\","
                     "__meta_kubernetes_pod_label__x=\"3\",__meta_kubernetes_pod_label_a_b=\"2\","
                     "__meta_kubernetes_pod_labelpresent__x=\"true\",__meta_kubernetes_pod_labelpresent_a_b=\"true\","
                     "__meta_kubernetes_pod_labelpresent_empty=\"true\",__meta_kubernetes_pod_name=\"p\","
                     "__meta_kubernetes_pod_ready=\"unknown\"}\n");
}

#define NODE_ON_POD(zone)                                                                                              \
    "__meta_kubernetes_node_label_kubernetes_io_arch=\"amd64\",__meta_kubernetes_node_label_zone=\"" zone              \
    "\",__meta_kubernetes_node_labelpresent_kubernetes_io_arch=\"true\",__meta_kubernetes_node_labelpresent_zone="     \
    "\"true\",__meta_kubernetes_node_name=\"n1\","
#define NAMESPACE_ON_POD                                                                                               \
    "__meta_kubernetes_namespace=\"shop\",__meta_kubernetes_namespace_annotation_owner=\"anna\","                      \
    "__meta_kubernetes_namespace_annotationpresent_owner=\"true\",__meta_kubernetes_namespace_label_env=\"prod\","     \
    "__meta_kubernetes_namespace_labelpresent_env=\"true\","

static void test_attach(void **state)
{
    struct plugin_rig *rig = start(state, "role: pod\nattach_metadata: {node: true, namespace: true}\n");
    kube_list(rig, "/api/v1/pods", "9", POD);
    kube_list(rig, "/api/v1/namespaces", "9",
              "{'metadata':{'name':'shop','labels':{'env':'prod'},'annotations':{'owner':'anna'}}}");
    assert_int_equal(rig->host.commits, 0); /* not before the nodes are known */
    kube_list(rig, "/api/v1/nodes", "9", NODE);
    assert_int_equal(rig->host.commits, 1);
    kube_expect(rig, POD_GROUP(NAMESPACE_ON_POD NODE_ON_POD("a")));
    kube_open(rig, "/api/v1/nodes?watch");
    kube_event(rig, "/api/v1/nodes?watch", "MODIFIED",
               "{'metadata':{'name':'n1','labels':{'kubernetes.io/arch':'amd64','zone':'b'}}}");
    kube_expect(rig, POD_GROUP(NAMESPACE_ON_POD NODE_ON_POD("b")));
    kube_event(rig, "/api/v1/nodes?watch", "DELETED", "{'metadata':{'name':'n1'}}");
    kube_expect(rig, POD_GROUP(NAMESPACE_ON_POD));
    kube_open(rig, "/api/v1/namespaces?watch");
    kube_event(rig, "/api/v1/namespaces?watch", "DELETED", "{'metadata':{'name':'shop'}}");
    kube_expect(rig, POD_GROUP("__meta_kubernetes_namespace=\"shop\","));
    kube_event(rig, "/api/v1/nodes?watch", "ADDED", NODE);
    kube_expect(rig, POD_GROUP("__meta_kubernetes_namespace=\"shop\"," NODE_ON_POD("a")));
}

/* ---- endpoints ---- */

#define ENDPOINTS                                                                                                      \
    "{'metadata':{'name':'web','namespace':'shop','labels':{'l':'1'},'annotations':{'n':'2'}},'subsets':["             \
    "{'addresses':[{'ip':'10.0.0.1','nodeName':'n1','hostname':'h','targetRef':{'kind':'Pod','namespace':'shop',"      \
    "'name':'web-1','uid':'u'}}],'notReadyAddresses':[{'ip':'10.0.0.2','targetRef':{'kind':'Pod','namespace':'shop',"  \
    "'name':'absent'}}],'ports':[{'name':'http','port':8080,'protocol':'TCP'}]},"                                      \
    "{'addresses':[{'ip':'192.0.2.7'}],'ports':[{'port':9100,'protocol':'TCP'}]}]}"
#define ENDPOINTS_LABELS                                                                                               \
    "__meta_kubernetes_endpoints_annotation_n=\"2\",__meta_kubernetes_endpoints_annotationpresent_n=\"true\","         \
    "__meta_kubernetes_endpoints_label_l=\"1\",__meta_kubernetes_endpoints_labelpresent_l=\"true\","                   \
    "__meta_kubernetes_endpoints_name=\"web\",__meta_kubernetes_namespace=\"shop\","
#define ENDPOINT_BEHIND_POD                                                                                            \
    "10.0.0.1:8080{__meta_kubernetes_endpoint_address_target_kind=\"Pod\","                                            \
    "__meta_kubernetes_endpoint_address_target_name=\"web-1\",__meta_kubernetes_endpoint_hostname=\"h\","              \
    "__meta_kubernetes_endpoint_node_name=\"n1\",__meta_kubernetes_endpoint_port_name=\"http\","                       \
    "__meta_kubernetes_endpoint_port_protocol=\"TCP\",__meta_kubernetes_endpoint_ready=\"true\"," ENDPOINTS_LABELS
#define ENDPOINT_OTHERS(service)                                                                                       \
    "10.0.0.2:8080{__meta_kubernetes_endpoint_address_target_kind=\"Pod\","                                            \
    "__meta_kubernetes_endpoint_address_target_name=\"absent\",__meta_kubernetes_endpoint_port_name=\"http\","         \
    "__meta_kubernetes_endpoint_port_protocol=\"TCP\",__meta_kubernetes_endpoint_ready=\"false\"," ENDPOINTS_LABELS    \
        service "}\n"                                                                                                  \
    "192.0.2.7:9100{__meta_kubernetes_endpoint_port_protocol=\"TCP\","                                                 \
    "__meta_kubernetes_endpoint_ready=\"true\"," ENDPOINTS_LABELS service "}\n"
#define SERVICE_ALL SERVICE_LABELS SERVICE_LABELS_END

static void test_endpoints(void **state)
{
    struct plugin_rig *rig = start(state, "role: endpoints\n");
    kube_list(rig, "/api/v1/endpoints", "9", ENDPOINTS);
    kube_list(rig, "/api/v1/pods", "9", POD);
    assert_int_equal(rig->host.commits, 0);
    kube_list(rig, "/api/v1/services", "9", SERVICE);
    assert_int_equal(rig->host.commits, 1);
    kube_expect(
        rig,
        "# endpoints/shop/web\n" ENDPOINT_BEHIND_POD POD_LABELS_BEFORE_CONTAINER CONTAINER("w", "web:1", "false", "web")
            PORT("http", "8080") POD_LABELS_AFTER_CONTAINER
        "," SERVICE_ALL
        "}\n" ENDPOINT_OTHERS(SERVICE_ALL) "10.0.0.1:9090{" ENDPOINTS_LABELS POD_LABELS_BEFORE_CONTAINER CONTAINER(
            "w", "web:1", "false", "web") PORT("metrics", "9090") POD_LABELS_AFTER_CONTAINER "," SERVICE_ALL "}\n");
}

/* A group is said again when one of the objects it was made of comes, changes or goes; and only then. */
static void test_endpoints_follow(void **state)
{
    struct plugin_rig *rig = start(state, "role: endpoints\n");
    kube_list(rig, "/api/v1/endpoints", "9", ENDPOINTS);
    kube_list(rig, "/api/v1/pods", "9", "");
    kube_list(rig, "/api/v1/services", "9", "");
    const char *bare = "# endpoints/shop/web\n" ENDPOINT_BEHIND_POD;
    CLEANUP_FREE char *bare_whole = mem_printf("%.*s}\n%s", (int)strlen(bare) - 1, bare, ENDPOINT_OTHERS(""));
    CLEANUP_FREE char *printed = rig_print(rig);
    assert_int_equal(strlen(printed), strlen(bare_whole) - 2); /* no comma before } */
    kube_open(rig, "/api/v1/pods?watch");
    kube_open(rig, "/api/v1/services?watch");
    kube_event(rig, "/api/v1/pods?watch", "ADDED", POD);
    CLEANUP_FREE char *with_pod = rig_print(rig);
    assert_non_null(strstr(with_pod, "\n10.0.0.1:9090{"));
    assert_null(strstr(with_pod, "service_name"));
    kube_event(rig, "/api/v1/services?watch", "ADDED", SERVICE);
    kube_event(rig, "/api/v1/pods?watch", "MODIFIED", POD_WITH("False", "web:2"));
    CLEANUP_FREE char *changed = rig_print(rig);
    assert_non_null(strstr(changed, "__meta_kubernetes_service_name=\"web\""));
    assert_non_null(strstr(changed, "__meta_kubernetes_pod_ready=\"false\""));
    assert_non_null(strstr(changed, "__meta_kubernetes_pod_container_image=\"web:2\""));
    kube_event(rig, "/api/v1/pods?watch", "DELETED", POD);
    kube_event(rig, "/api/v1/services?watch", "DELETED", SERVICE);
    kube_expect(rig, printed);
    kube_open(rig, "/api/v1/endpoints?watch");
    kube_event(rig, "/api/v1/endpoints?watch", "DELETED", ENDPOINTS);
    kube_event(rig, "/api/v1/pods?watch", "ADDED", POD);
    kube_expect(rig, "");
}

static size_t puts_seen;

static void counting_put(struct discovery_host *host, const struct discovery_group *group)
{
    puts_seen++;
    rig_api.put(host, group);
}

static void test_only_what_changed(void **state)
{
    struct discovery_api api = rig_api;
    puts_seen = 0;
    api.put = counting_put;
    discovery_kubernetes.plugin_free(kube_shared);
    kube_shared = discovery_kubernetes.plugin_new(&api);
    struct plugin_rig *rig = start(state, "role: endpoints\n");
    kube_list(rig, "/api/v1/pods", "9", POD);
    kube_list(rig, "/api/v1/services", "9", SERVICE);
    kube_list(rig, "/api/v1/endpoints", "9", ENDPOINTS ",{'metadata':{'name':'other','namespace':'shop'}}");
    assert_int_equal(puts_seen, 2);
    kube_open(rig, "/api/v1/pods?watch");
    kube_event(rig, "/api/v1/pods?watch", "MODIFIED", POD); /* its status' times alone, say */
    kube_event(rig, "/api/v1/pods?watch", "ADDED", "{'metadata':{'name':'lonely','namespace':'shop'}}");
    assert_int_equal(puts_seen, 2);
    kube_event(rig, "/api/v1/pods?watch", "MODIFIED", POD_WITH("False", "web:1"));
    assert_int_equal(puts_seen, 3);
    kube_event(rig, "/api/v1/pods?watch", "MODIFIED", POD_WITH("False", "web:1"));
    assert_int_equal(puts_seen, 3);
    rig_stop(rig);
    discovery_kubernetes.plugin_free(kube_shared);
    kube_init();
    start(state, "role: pod\n");
}

static void test_endpoints_node(void **state)
{
    struct plugin_rig *rig = start(state, "role: endpoints\nattach_metadata: {node: true}\n");
    kube_list(rig, "/api/v1/endpoints", "9", ENDPOINTS);
    kube_list(rig, "/api/v1/pods", "9", "");
    kube_list(rig, "/api/v1/services", "9", "");
    kube_list(rig, "/api/v1/nodes", "9", NODE);
    CLEANUP_FREE char *printed = rig_print(rig);
    const char *zone = strstr(printed, "__meta_kubernetes_node_label_zone=\"a\"");
    assert_non_null(zone);
    assert_true(zone < strstr(printed, "\n10.0.0.2:8080{")); /* of the one address that says its node */
    assert_null(strstr(zone + strlen("__meta_kubernetes_node_label_zone"), "node_label_zone"));
}

/* Of init containers those that go on beside the others have ports that answer; of two containers with one port the
 * last is named. */
static void test_endpoints_containers(void **state)
{
    struct plugin_rig *rig = start(state, "role: endpoints\n");
    kube_list(rig, "/api/v1/endpoints", "9",
              "{'metadata':{'name':'e','namespace':'s'},'subsets':[{'addresses':[{'ip':'10.0.0.1','targetRef':{'kind':"
              "'Pod','namespace':'s','name':'p'}}],'ports':[{'port':80}]}]}");
    kube_list(rig, "/api/v1/pods", "9",
              "{'metadata':{'name':'p','namespace':'s'},'spec':{'containers':[{'name':'one','ports':[{'containerPort':"
              "80,'name':'a'}]},{'name':'two','ports':[{'containerPort':80,'name':'b'},{'containerPort':82}]}],"
              "'initContainers':[{'name':'once','ports':[{'containerPort':83}]},{'name':'beside','restartPolicy':"
              "'Always','ports':[{'containerPort':84}]}]},'status':{'podIP':'10.0.0.1'}}");
    kube_list(rig, "/api/v1/services", "9", "");
    const char *pod = "__meta_kubernetes_pod_ip=\"10.0.0.1\",__meta_kubernetes_pod_name=\"p\","
                      "__meta_kubernetes_pod_ready=\"unknown\"";
    const char *endpoints = "__meta_kubernetes_endpoints_name=\"e\",__meta_kubernetes_namespace=\"s\"";
    CLEANUP_FREE char *expected = mem_printf(
        "# endpoints/s/e\n"
        "10.0.0.1:80{__meta_kubernetes_endpoint_address_target_kind=\"Pod\","
        "__meta_kubernetes_endpoint_address_target_name=\"p\",__meta_kubernetes_endpoint_ready=\"true\",%s,"
        "__meta_kubernetes_pod_container_init=\"false\",__meta_kubernetes_pod_container_name=\"two\","
        "__meta_kubernetes_pod_container_port_name=\"b\",__meta_kubernetes_pod_container_port_number=\"80\",%s}\n"
        "10.0.0.1:82{%s,__meta_kubernetes_pod_container_init=\"false\",__meta_kubernetes_pod_container_name=\"two\","
        "__meta_kubernetes_pod_container_port_number=\"82\",%s}\n"
        "10.0.0.1:84{%s,__meta_kubernetes_pod_container_init=\"true\",__meta_kubernetes_pod_container_name="
        "\"beside\",__meta_kubernetes_pod_container_port_number=\"84\",%s}\n",
        endpoints, pod, endpoints, pod, endpoints, pod);
    kube_expect(rig, expected);
}

/* ---- endpointslice ---- */

#define SLICE                                                                                                          \
    "{'metadata':{'name':'web-abc','namespace':'shop','labels':{'kubernetes.io/service-name':'web'},'annotations':{"   \
    "'n':'2'}},'addressType':'IPv4','endpoints':[{'addresses':['10.0.0.1','10.0.0.5'],'conditions':{'ready':true,"     \
    "'serving':true,'terminating':false},'hostname':'h','nodeName':'n1','zone':'eu-1','targetRef':{'kind':'Pod',"      \
    "'namespace':'shop','name':'web-1'},'deprecatedTopology':{'kubernetes.io/hostname':'n1'}},{'addresses':["          \
    "'10.0.0.2'],'conditions':{}}],'ports':[{'name':'http','port':8080,'protocol':'TCP','appProtocol':'h2c'}]}"
#define SLICE_LABELS                                                                                                   \
    "__meta_kubernetes_endpointslice_address_type=\"IPv4\",__meta_kubernetes_endpointslice_annotation_n=\"2\","        \
    "__meta_kubernetes_endpointslice_annotationpresent_n=\"true\","
#define SLICE_ENDPOINT                                                                                                 \
    "__meta_kubernetes_endpointslice_endpoint_conditions_ready=\"true\","                                              \
    "__meta_kubernetes_endpointslice_endpoint_conditions_serving=\"true\","                                            \
    "__meta_kubernetes_endpointslice_endpoint_conditions_terminating=\"false\","                                       \
    "__meta_kubernetes_endpointslice_endpoint_hostname=\"h\","                                                         \
    "__meta_kubernetes_endpointslice_endpoint_node_name=\"n1\","                                                       \
    "__meta_kubernetes_endpointslice_endpoint_topology_kubernetes_io_hostname=\"n1\","                                 \
    "__meta_kubernetes_endpointslice_endpoint_topology_present_kubernetes_io_hostname=\"true\","                       \
    "__meta_kubernetes_endpointslice_endpoint_zone=\"eu-1\","
#define SLICE_NAME                                                                                                     \
    "__meta_kubernetes_endpointslice_label_kubernetes_io_service_name=\"web\","                                        \
    "__meta_kubernetes_endpointslice_labelpresent_kubernetes_io_service_name=\"true\","                                \
    "__meta_kubernetes_endpointslice_name=\"web-abc\","
#define SLICE_PORT                                                                                                     \
    "__meta_kubernetes_endpointslice_port=\"8080\",__meta_kubernetes_endpointslice_port_app_protocol=\"h2c\","         \
    "__meta_kubernetes_endpointslice_port_name=\"http\",__meta_kubernetes_endpointslice_port_protocol=\"TCP\","
#define SLICE_BEHIND_POD(address)                                                                                      \
    address                                                                                                            \
        "{__meta_kubernetes_endpointslice_address_target_kind=\"Pod\","                                                \
        "__meta_kubernetes_endpointslice_address_target_name=\"web-1\"," SLICE_LABELS SLICE_ENDPOINT SLICE_NAME        \
            SLICE_PORT                                                                                                 \
        "__meta_kubernetes_namespace=\"shop\"," POD_LABELS_BEFORE_CONTAINER CONTAINER("w", "web:1", "false", "web")    \
            PORT("http", "8080") POD_LABELS_AFTER_CONTAINER "," SERVICE_ALL "}\n"

static void test_endpointslice(void **state)
{
    struct plugin_rig *rig = start(state, "role: endpointslice\n");
    kube_list(rig, "/apis/discovery.k8s.io/v1/endpointslices", "9", SLICE);
    kube_list(rig, "/api/v1/services", "9", SERVICE);
    kube_list(rig, "/api/v1/pods", "9", POD);
    kube_expect(rig, "# endpointslice/shop/web-abc\n" SLICE_BEHIND_POD("10.0.0.1:8080") SLICE_BEHIND_POD(
                         "10.0.0.5:8080") "10.0.0.2:8080{" SLICE_LABELS SLICE_NAME SLICE_PORT
                                          "__meta_kubernetes_namespace=\"shop\"," SERVICE_ALL "}\n"
                                          "10.0.0.1:9090{" SLICE_LABELS SLICE_NAME
                                          "__meta_kubernetes_namespace=\"shop\"," POD_LABELS_BEFORE_CONTAINER CONTAINER(
                                              "w", "web:1", "false", "web") PORT("metrics", "9090")
                                              POD_LABELS_AFTER_CONTAINER "," SERVICE_ALL "}\n");
}

/* A slice may have no port, and an endpoint that is a node itself. */
static void test_endpointslice_corners(void **state)
{
    struct plugin_rig *rig = start(state, "role: endpointslice\nattach_metadata: {node: true}\n");
    kube_list(rig, "/apis/discovery.k8s.io/v1/endpointslices", "9",
              "{'metadata':{'name':'s','namespace':'shop'},'addressType':'FQDN','endpoints':[{'addresses':["
              "'host.example'],'nodeName':'elsewhere','targetRef':{'kind':'Node','name':'n1'}}],'ports':[{}]}");
    kube_list(rig, "/api/v1/services", "9", SERVICE);
    kube_list(rig, "/api/v1/pods", "9", POD);
    kube_list(rig, "/api/v1/nodes", "9", NODE);
    kube_expect(rig, "# endpointslice/shop/s\n"
                     "host.example{__meta_kubernetes_endpointslice_address_target_kind=\"Node\","
                     "__meta_kubernetes_endpointslice_address_target_name=\"n1\","
                     "__meta_kubernetes_endpointslice_address_type=\"FQDN\","
                     "__meta_kubernetes_endpointslice_endpoint_node_name=\"elsewhere\","
                     "__meta_kubernetes_endpointslice_name=\"s\",__meta_kubernetes_namespace=\"shop\","
                     "__meta_kubernetes_node_label_kubernetes_io_arch=\"amd64\","
                     "__meta_kubernetes_node_label_zone=\"a\","
                     "__meta_kubernetes_node_labelpresent_kubernetes_io_arch=\"true\","
                     "__meta_kubernetes_node_labelpresent_zone=\"true\",__meta_kubernetes_node_name=\"n1\"}\n");
}

/* ---- ingress ---- */

#define INGRESS_LABELS(host, path, scheme)                                                                             \
    "__meta_kubernetes_ingress_annotation_n=\"2\",__meta_kubernetes_ingress_annotationpresent_n=\"true\","             \
    "__meta_kubernetes_ingress_class_name=\"nginx\"," host "__meta_kubernetes_ingress_label_l=\"1\","                  \
    "__meta_kubernetes_ingress_labelpresent_l=\"true\",__meta_kubernetes_ingress_name=\"web\","                        \
    "__meta_kubernetes_ingress_path=\"" path "\",__meta_kubernetes_ingress_scheme=\"" scheme                           \
    "\",__meta_kubernetes_namespace=\"shop\"}\n"
#define INGRESS_HOST(host) "__meta_kubernetes_ingress_host=\"" host "\","

static void test_ingress(void **state)
{
    struct plugin_rig *rig = start(state, "role: ingress\n");
    kube_list(rig, "/apis/networking.k8s.io/v1/ingresses", "9",
              "{'metadata':{'name':'web','namespace':'shop','labels':{'l':'1'},'annotations':{'n':'2'}},'spec':{"
              "'ingressClassName':'nginx','tls':[{'hosts':['a.example'],'secretName':'s'},{'hosts':['*.b.example']}],"
              "'rules':[{'host':'a.example','http':{'paths':[{'path':'/x','pathType':'Prefix'},{'pathType':'Exact'}]}},"
              "{'host':'w.b.example','http':{'paths':[{'path':'/'}]}},{'host':'v.w.b.example'},"
              "{'host':'c.example','http':{'paths':[]}},{'http':{'paths':[{'path':'/any'}]}}]}}");
    kube_expect(
        rig,
        "# ingress/shop/web\n"
        "a.example{" INGRESS_LABELS(INGRESS_HOST("a.example"), "/x", "https") "a.example{" INGRESS_LABELS(
            INGRESS_HOST("a.example"), "/",
            "https") "w.b.example{" INGRESS_LABELS(INGRESS_HOST("w.b.example"), "/",
                                                   "https") "v.w.b.example{" INGRESS_LABELS(INGRESS_HOST("v.w.b."
                                                                                                         "example"),
                                                                                            "/",
                                                                                            "http") "{" INGRESS_LABELS("",
                                                                                                                       "/any",
                                                                                                                       "http"));
}

/* ---- much ---- */

#define MANY_PODS      20000
#define POD_TEXT_BYTES 7000

/* Some 7 KiB, as a Deployment's: 15 labels and as many annotations, managedFields, and much that no label is made of.
 */
static void append_large_pod(struct buf *text, int at, bool has_ip)
{
    buf_printf(text, "{'metadata':{'name':'checkout-6d4f%05d','namespace':'shop','uid':'0b5b6c1e-%05d','labels':{", at,
               at);
    for (int i = 0; i < 15; i++)
        buf_printf(text, "%s'app.kubernetes.io/label-%d':'value-%d'", i > 0 ? "," : "", i, i + at % 7);
    buf_append_text(text, "},'annotations':{");
    for (int i = 0; i < 15; i++)
        buf_printf(text, "%s'example.com/annotation-%d':'some text of an annotation %d'", i > 0 ? "," : "", i, at);
    buf_append_text(text, "},'managedFields':[{'manager':'kubelet','fieldsV1':{'f:status':{");
    for (int i = 0; i < 80; i++)
        buf_printf(text, "%s'f:condition-of-number-%d':{'.':{},'f:type':{}}", i > 0 ? "," : "", i);
    buf_append_text(text, "}}}]},'spec':{'nodeName':'n1','volumes':[");
    for (int i = 0; i < 20; i++)
        buf_printf(text, "%s{'name':'volume-%d','configMap':{'name':'some-map-%d','defaultMode':420}}",
                   i > 0 ? "," : "", i, i);
    buf_printf(text,
               "],'containers':[{'name':'c','image':'registry.example.com/shop/checkout:1.2.%d','ports':[{"
               "'containerPort':8080,'protocol':'TCP'}]}]},'status':{'phase':'Running','podIP':'%s'}}",
               at, has_ip ? "10.0.0.1" : "");
}

/* What the plugin keeps of 20,000 pods of 7 KiB each. */
static void check_memory(void **state, const char *yaml, bool has_ip, size_t bytes_max)
{
    struct plugin_rig *rig = start(state, yaml);
    struct buf text = BUF_INIT(GIB);
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    for (int page = 0; page < MANY_PODS / 500; page++) {
        buf_reset(&text);
        buf_printf(&text, "{'metadata':{'resourceVersion':'9','continue':'%s'},'items':[",
                   page + 1 < MANY_PODS / 500 ? "more" : "");
        for (int i = 0; i < 500; i++) {
            buf_append_text(&text, i > 0 ? "," : "");
            append_large_pod(&text, page * 500 + i, has_ip);
        }
        buf_append_text(&text, "]}");
        assert_true(text.len > 500ul * POD_TEXT_BYTES);
        buf_append_byte(&text, 0);
        kube_answer(rig, "/api/v1/pods?limit=500", (const char *)text.data);
    }
    kube_call(rig, "/api/v1/pods?watch=1");
    buf_done(&text);
    size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
    if (after > before + bytes_max)
        fail_msg("%zu KiB for %d pods", (after - before) / KIB, MANY_PODS);
}

static void test_memory_joined(void **state)
{
    check_memory(state, "role: endpoints\n", true, 50 * MIB);
}

/* The rig keeps what is said, so nothing is: pods that have no address yet. */
static void test_memory_alone(void **state)
{
    check_memory(state, "role: pod\n", false, 8 * MIB);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_node),
        TEST(test_node_addresses),
        TEST(test_service),
        TEST(test_pod),
        TEST(test_pod_v6_and_names),
        TEST(test_attach),
        TEST(test_endpoints),
        TEST(test_endpoints_follow),
        TEST(test_only_what_changed),
        TEST(test_endpoints_containers),
        TEST(test_endpoints_node),
        TEST(test_endpointslice),
        TEST(test_endpointslice_corners),
        TEST(test_ingress),
    };
    const struct CMUnitTest large[] = {TEST(test_memory_joined), TEST(test_memory_alone)};
    static const size_t chunks[] = {0, 1, 7};
    int failed = cmocka_run_group_tests(large, NULL, NULL);
    for (size_t i = 0; i < ARRAY_LEN(chunks); i++) {
        kube_chunk_bytes = chunks[i];
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    }
    return failed;
}
