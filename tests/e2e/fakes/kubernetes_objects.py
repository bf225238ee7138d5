"""Objects of a cluster, the same for the same size: nodes, namespaces, and in each namespace services with pods, endpoints,
endpoint slices and ingresses. Pods have the size of real ones: labels, annotations, managedFields, volumes, environment."""
import hashlib

NAMESPACES = ("checkout", "kube-system", "monitoring", "search")
PODS_PER_SERVICE = 20
SLICE_ENDPOINTS_MAX = 100
START = "2026-01-15T08:00:00Z"


def uid(*parts):
    """A UUID made of a name."""
    text = hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:32]))


def metadata(name, namespace=None, labels=None, annotations=None, **more):
    made = {"name": name, "uid": uid(namespace, name), "creationTimestamp": START}
    if namespace:
        made["namespace"] = namespace
    if labels:
        made["labels"] = labels
    if annotations:
        made["annotations"] = annotations
    made["managedFields"] = [{"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
                              "time": START, "fieldsType": "FieldsV1",
                              "fieldsV1": {"f:metadata": {"f:labels": {".": {}, **{
                                  f"f:{key}": {} for key in labels or {}}}}}}]
    return {**made, **more}


def node_name(number):
    return f"node-{number:04d}.example"


def node(number):
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata(
        node_name(number), labels={
            "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", "kubernetes.io/hostname": node_name(number),
            "node.kubernetes.io/instance-type": "m6i.4xlarge", "topology.kubernetes.io/region": "eu-west-1",
            "topology.kubernetes.io/zone": f"eu-west-1{'abc'[number % 3]}"},
        annotations={"node.alpha.kubernetes.io/ttl": "0",
                     "volumes.kubernetes.io/controller-managed-attach-detach": "true"}),
        "spec": {"podCIDR": f"10.{number % 200}.0.0/24", "providerID": f"aws:///eu-west-1a/i-{number:017x}"},
        "status": {
            "addresses": [{"type": "InternalIP", "address": node_ip(number)},
                          {"type": "ExternalIP", "address": f"198.51.100.{number % 250}"},
                          {"type": "Hostname", "address": node_name(number)}],
            "conditions": [{"type": "MemoryPressure", "status": "False", "lastHeartbeatTime": START},
                           {"type": "DiskPressure", "status": "False", "lastHeartbeatTime": START},
                           {"type": "Ready", "status": "True", "lastHeartbeatTime": START}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "images": [{"names": [f"registry.example/base@sha256:{i:064x}"], "sizeBytes": 1000 * i} for i in range(20)],
            "nodeInfo": {"kubeletVersion": "v1.32.4", "operatingSystem": "linux", "architecture": "amd64"}}}


def node_ip(number):
    return f"172.16.{number // 250}.{number % 250 + 1}"


def pod_ip(number):
    return f"10.{number // 62500 + 64}.{number // 250 % 250}.{number % 250 + 1}"


def namespace(name):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata(
        name, labels={"kubernetes.io/metadata.name": name, "team": f"team-{name}"}, annotations={"owner": "anna"}),
        "status": {"phase": "Active"}}


def pod(number, name, space, app, node_number, ready=True):
    """The number makes its address; the name is app's with an end of its own."""
    labels = {"app.kubernetes.io/name": app, "app.kubernetes.io/instance": f"{app}-prod", "app": app,
              "app.kubernetes.io/version": f"1.{number % 9}.0", "app.kubernetes.io/component": "server",
              "app.kubernetes.io/part-of": space, "app.kubernetes.io/managed-by": "Helm",
              "helm.sh/chart": f"{app}-4.2.0", "pod-template-hash": uid(app)[:9].replace("-", ""), "env": "prod",
              "tier": "backend", "team": f"team-{space}", "cost-centre": "4711", "release": "stable",
              "security.example.com/class": "internal"}
    annotations = {"prometheus.io/scrape": "true", "prometheus.io/port": "9090", "prometheus.io/path": "/metrics",
                   "checksum/config": uid(app, "config") * 2, "kubernetes.io/psp": "restricted",
                   "cni.projectcalico.org/podIP": f"{pod_ip(number)}/32",
                   "kubectl.kubernetes.io/restartedAt": START, "sidecar.example.com/inject": "true",
                   "vault.example.com/role": f"{space}-{app}", "description": "What this is and whom to ask. " * 4}
    owner = [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{app}-{uid(app)[:8]}", "uid": uid(app, "rs"),
              "controller": True, "blockOwnerDeletion": True}]
    containers = [
        {"name": app, "image": f"registry.example/{space}/{app}:1.{number % 9}.0",
         "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"},
                   {"name": "metrics", "containerPort": 9090, "protocol": "TCP"}],
         "env": [{"name": f"SETTING_{i}", "value": f"value of setting {i}"} for i in range(20)],
         "resources": {"limits": {"cpu": "2", "memory": "2Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}},
         "volumeMounts": [{"name": f"volume-{i}", "mountPath": f"/mnt/{i}"} for i in range(4)]},
        {"name": "logger", "image": "registry.example/base/logger:9", "resources": {}}]
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": metadata(name, space, labels, annotations, ownerReferences=owner),
            "spec": {"nodeName": node_name(node_number), "containers": containers, "serviceAccountName": app,
                     "initContainers": [{"name": "prepare", "image": "registry.example/base/prepare:3"}],
                     "volumes": [{"name": f"volume-{i}", "configMap": {"name": f"{app}-{i}"}} for i in range(4)],
                     "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists",
                                      "effect": "NoExecute", "tolerationSeconds": 300}]},
            "status": {"phase": "Running", "podIP": pod_ip(number), "podIPs": [{"ip": pod_ip(number)}],
                       "hostIP": node_ip(node_number), "startTime": START, "qosClass": "Burstable",
                       "conditions": [{"type": kind, "status": "True" if ready else "False",
                                       "lastTransitionTime": START}
                                      for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")],
                       "containerStatuses": [{"name": container["name"], "ready": ready, "restartCount": 0,
                                              "containerID": f"containerd://{uid(name, container['name'])}"}
                                             for container in containers],
                       "initContainerStatuses": [{"name": "prepare", "ready": True, "restartCount": 0,
                                                  "containerID": f"containerd://{uid(name, 'prepare')}"}]}}


def service(name, space, number, kind="ClusterIP"):
    spec = {"type": kind, "clusterIP": f"10.96.{number // 250}.{number % 250 + 1}", "selector": {"app": name},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"},
                      {"name": "grpc", "port": 9000, "targetPort": 9000, "protocol": "TCP"}]}
    if kind == "LoadBalancer":
        spec["loadBalancerIP"] = f"203.0.113.{number % 250}"
    if kind == "ExternalName":
        spec["externalName"] = f"{name}.elsewhere.example"
        del spec["clusterIP"]
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata(
        name, space, {"app": name, "monitored": "yes"}, {"prometheus.io/probe": "true"}), "spec": spec}


def target_ref(made):
    meta = made["metadata"]
    return {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}


def is_ready(made):
    return any(condition["type"] == "Ready" and condition["status"] == "True"
               for condition in made["status"]["conditions"])


def endpoints(name, space, pods):
    def address(made):
        return {"ip": made["status"]["podIP"], "nodeName": made["spec"]["nodeName"], "targetRef": target_ref(made)}

    subset = {"ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]}
    for key, wanted in (("addresses", True), ("notReadyAddresses", False)):
        addresses = [address(made) for made in pods if is_ready(made) == wanted]
        if addresses:
            subset[key] = addresses
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata(
        name, space, {"app": name}, {"endpoints.kubernetes.io/last-change-trigger-time": START}), "subsets": [subset]}


def endpoint_slice(name, space, pods, number):
    def endpoint(made):
        ready = is_ready(made)
        return {"addresses": [made["status"]["podIP"]], "nodeName": made["spec"]["nodeName"], "zone": "eu-west-1a",
                "conditions": {"ready": ready, "serving": ready, "terminating": False}, "targetRef": target_ref(made)}

    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": metadata(f"{name}-{uid(name, number)[:5]}", space,
                                 {"kubernetes.io/service-name": name, "app": name}, {"note": "made"}),
            "endpoints": [endpoint(made) for made in pods],
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]}


def ingress(name, space):
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata(
        name, space, {"app": name}, {"nginx.ingress.kubernetes.io/rewrite-target": "/"}),
        "spec": {"ingressClassName": "nginx", "tls": [{"hosts": [f"{name}.example"], "secretName": f"{name}-tls"}],
                 "rules": [{"host": f"{name}.example", "http": {"paths": [
                     {"path": path, "pathType": "Prefix", "backend": {"service": {"name": name, "port": {"number": 80}}}}
                     for path in ("/", "/api")]}},
                     {"host": f"plain.{name}.example", "http": {"paths": [
                         {"path": "/", "pathType": "Prefix",
                          "backend": {"service": {"name": name, "port": {"number": 80}}}}]}}]}}


SERVICE_KINDS = ("ClusterIP", "LoadBalancer", "ClusterIP", "ExternalName")


def application(number, count, node_count):
    """A service and what stands behind it, of so many pods."""
    name, space = f"app-{number:03d}", NAMESPACES[number % len(NAMESPACES)]
    pods = []
    for i in range(count):
        at = number * PODS_PER_SERVICE + i
        pods.append(pod(at, f"{name}-{uid(name)[:8]}-{uid(name, i)[:3]}{i:02d}", space, name, at % node_count,
                        ready=i % 10 != 9))
    yield from pods
    yield service(name, space, number, SERVICE_KINDS[number % len(SERVICE_KINDS)])
    yield endpoints(name, space, pods)
    for i in range(0, max(count, 1), SLICE_ENDPOINTS_MAX):
        yield endpoint_slice(name, space, pods[i:i + SLICE_ENDPOINTS_MAX], i)
    yield ingress(name, space)


def cluster(pods=40, nodes=3):
    """All objects of a cluster of so many pods."""
    for name in NAMESPACES:
        yield namespace(name)
    for number in range(nodes):
        yield node(number)
    for number in range((pods + PODS_PER_SERVICE - 1) // PODS_PER_SERVICE):
        yield from application(number, min(PODS_PER_SERVICE, pods - number * PODS_PER_SERVICE), nodes)


def bare_pod(name, ip, containers, **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata(name, "corners", {"app": name}),
            "spec": {"containers": containers, "nodeName": node_name(0), **spec},
            "status": {"phase": "Running" if ip else "Pending", **({"podIP": ip} if ip else {}),
                       "conditions": [{"type": "Ready", "status": "Unknown"}]}}


def corners():
    """What is seldom, but allowed."""
    def port(number, name=None, protocol="TCP"):
        return {"containerPort": number, "protocol": protocol, **({"name": name} if name else {})}

    yield namespace("corners")
    pods = [
        bare_pod("six", "fd00:10::1", [{"name": "c", "image": "i", "ports": [port(53, "dns", "UDP"), port(53)]}]),
        bare_pod("pending", "", [{"name": "c", "image": "i", "ports": [port(80)]}]),
        bare_pod("init-port", "10.200.0.2", [{"name": "c", "image": "i", "ports": [port(80)]}],
                 initContainers=[{"name": "sidecar", "image": "s", "restartPolicy": "Always", "ports": [port(81)]}]),
        bare_pod("same-port", "10.200.0.3", [{"name": "one", "image": "i", "ports": [port(80, "a")]},
                                             {"name": "two", "image": "j", "ports": [port(80, "b"), port(82)]}]),
    ]
    pods[0]["metadata"]["labels"] = {"dot.dash-slash/name": "1", "empty": "", "UPPER": "x"}
    pods[0]["metadata"]["annotations"] = {"utf8": "gr\u00fc\u00df \u4f60\u597d", "quotes": "a \"b\" \\ c\nd", "empty": ""}
    yield from pods
    yield service("mixed", "corners", 900)
    made = endpoints("mixed", "corners", [pod_ for pod_ in pods if "podIP" in pod_["status"]])
    made["subsets"].append({"addresses": [{"ip": "192.0.2.1", "hostname": "outside"}],
                            "ports": [{"name": "x", "port": 9100, "protocol": "TCP"}]})
    made["subsets"].append({"addresses": [{"ip": "192.0.2.2", "targetRef": {"kind": "Pod", "namespace": "corners",
                                                                            "name": "absent"}}],
                            "ports": [{"port": 80, "protocol": "TCP"}, {"name": "two", "port": 82, "protocol": "TCP"}]})
    made["subsets"][0]["ports"] = [{"name": "http", "port": 80, "protocol": "TCP"}]
    yield made
    yield {**endpoints("nobody", "corners", []), "subsets": []}
    yield endpoint_slice("mixed", "corners", [pod_ for pod_ in pods if "podIP" in pod_["status"]], 0)
    named = endpoint_slice("names", "corners", [], 0)
    named.update(addressType="FQDN", endpoints=[{"addresses": ["a.example", "b.example"], "conditions": {"ready": True}}])
    yield named
    rules = [{"host": "*.wild.example", "http": {"paths": [{"pathType": "Exact", "path": "/x"}]}},
             {"host": "a.wild.example", "http": {"paths": [{"pathType": "Prefix", "path": "/"}]}},
             {"host": "deep.a.wild.example"}, {"http": {"paths": [{"pathType": "Prefix", "path": "/any"}]}}]
    yield {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata("wild", "corners"),
           "spec": {"tls": [{"hosts": ["*.wild.example"]}], "rules": rules}}
