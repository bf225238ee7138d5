"""kubernetes_sd_configs: kubectl reads a fake API server; vmagent and a secondary find the same targets in it, with the same
labels; what a secondary does when versions are gone, answers are bad and watches end; who it says it is; how much it asks and
keeps."""
import collections
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from fakes import kubernetes_objects
from fakes.kubernetes import Kubernetes
from harness import fetch, program, run, wait_until
from judges import discovered, needs_vmagent, start_vmagent

KINDS = "pods,nodes,services,endpoints,endpointslices,ingresses"
ROLES = ("node", "service", "pod", "endpoints", "endpointslice", "ingress")
ATTACH_NODE = ("pod", "endpoints", "endpointslice")
FOREVER = 10 ** 9
TOKEN = "a-token-of-the-service-account"
META = "__meta_kubernetes_"

# Labels of Prometheus that vmagent 1.79.5 does not know: most are newer than it.
VMAGENT_LACKS = re.compile(META + "(" + "|".join((
    r"node_condition_\w+", "service_port_number", "service_loadbalancer_ip", "pod_container_image", "pod_container_id",
    r"endpointslice_endpoint_conditions_(serving|terminating)", r"endpointslice_endpoint_(node_name|zone)")) + ")")
# Labels of one role that vmagent has, and Prometheus has not: of services it gives what belongs to their own role, of nodes
# their annotations too.
VMAGENT_ADDS = {role: re.compile(META + r"(service_(type|cluster_ip|external_name)|node_annotation(present)?_\w+)")
                for role in ("endpoints", "endpointslice")}
VMAGENT_ADDS["pod"] = re.compile(META + r"node_annotation(present)?_\w+")
# Whether a container behind a service is an init container: Prometheus says so since it makes targets of sidecars' ports.
VMAGENT_LACKS_BEHIND_SERVICES = (META + "pod_container_init",)


@pytest.fixture
def fake(federation):
    made = federation.add_exporter(Kubernetes(federation.address()).start())
    made.cluster.populate(40, 3)
    for corner in kubernetes_objects.corners():
        made.cluster.apply(corner)
    return made


def make_certificate(federation, address):
    key, certificate = federation.path("tls.key"), federation.path("tls.crt")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=kubernetes",
                    "-addext", f"subjectAltName=IP:{address},DNS:kubernetes", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def guarded(federation):
    """An API server that speaks TLS and wants a token."""
    address = federation.address()
    made = federation.add_exporter(Kubernetes(address, token=TOKEN,
                                              certificate=make_certificate(federation, address)).start())
    made.cluster.populate(40, 2)
    return made


def job(name, fake, role, **keys):
    return {"job_name": name, "scrape_interval": "1m",
            "kubernetes_sd_configs": [{"role": role, "api_server": fake.url, **keys}]}


def start_secondary(federation, jobs, before=()):
    secondary = federation.add_secondary(federation.add_primary(), 1, jobs, windows={"resolution": "1m"})
    secondary.command = [*before, *secondary.command]
    secondary.start(wait=False)
    return secondary


@pytest.fixture
def start(federation, fake):
    """A secondary with one section of this role and further keys."""
    return lambda role="pod", **keys: start_secondary(federation, [job("k", fake, role, **keys)])


def sections(secondary):
    assert secondary.is_running(), secondary.log()
    return secondary.status()["discovery"] if fetch(secondary.url + "/-/healthy")[0] == 200 else []


def problems(secondary):
    return " ".join(section.get("problem") or "" for section in sections(secondary))


def wait_problem(secondary, text):
    wait_until(lambda: text in problems(secondary), 40, f"the problem {text!r}")


def wait_well(secondary):
    wait_until(lambda: sections(secondary) and all(one["state"] == "up" for one in sections(secondary)), 60, "well")


def names(who, label="pod_name"):
    return {target[META + label] for target in discovered(who.url) if META + label in target}


def pod_names(fake):
    """Of those that have an address."""
    return {made["metadata"]["name"] for made in fake.cluster.objects("Pod") if made["status"].get("podIP")}


def wait_pods(secondary, fake):
    wait_until(lambda: names(secondary) == pod_names(fake), 40, "all pods")


def memory_bytes(secondary):
    with open(f"/proc/{secondary.process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# ---- kubectl ---------------------------------------------------------------------------------------------------------

def kubeconfig(federation, fake, name="kubeconfig", cluster=None, user=None):
    return federation.write(name, json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": fake.url, **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}]}))


@pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl on this machine")
def test_kubectl(federation, guarded):
    fake = guarded
    config = kubeconfig(federation, fake, cluster={"certificate-authority": "tls.crt"}, user={"token": TOKEN})
    environment = {**os.environ, "HOME": federation.directory}
    command = ["kubectl", "--kubeconfig", config, "get", KINDS, "-A"]
    code, out, err = run([*command, "-o", "json", "--chunk-size=7"], env=environment, timeout=60)
    assert code == 0, err
    seen = collections.Counter(made["kind"] for made in json.loads(out)["items"])
    for kind in ("Pod", "Node", "Service", "Endpoints", "EndpointSlice", "Ingress"):
        assert seen[kind] == len(fake.cluster.objects(kind)), kind
    assert fake.read_counters()["list pods"] >= 6  # in chunks
    code, out, err = run([*command, "-l", "app=app-001"], env=environment, timeout=60)
    assert code == 0 and "service/app-001" in out and "app-000" not in out, err
    code, out, err = run(["kubectl", "--kubeconfig", config, "get", "pods", "-n", "nowhere", "nothing"],
                         env=environment, timeout=60)
    assert code != 0 and "not found" in err
    kubeconfig(federation, fake, cluster={"certificate-authority": "tls.crt"}, user={"token": "another"})
    code, out, err = run(command, env=environment, timeout=60)
    assert code != 0 and "You must be logged in to the server" in err


# ---- vmagent ---------------------------------------------------------------------------------------------------------

def other_port(target):
    """A target of a pod's port that its service does not name."""
    return not any(name.startswith((META + "endpoint_", META + "endpointslice_port")) for name in target)


def is_sidecar(target):
    return target.get(META + "pod_container_init") == "true"


def our_view(role, target):
    """What vmagent, too, would say of a target."""
    kept = {name: value for name, value in target.items() if not VMAGENT_LACKS.fullmatch(name)}
    if role in ("endpoints", "endpointslice"):
        for name in VMAGENT_LACKS_BEHIND_SERVICES:
            kept.pop(name, None)
    return without_group_labels(role, kept)


def their_view(role, target):
    """What Prometheus, too, would say of a target of vmagent's."""
    adds = VMAGENT_ADDS.get(role)
    kept = {name: value for name, value in target.items() if value and not (adds and adds.fullmatch(name))}
    return without_group_labels(role, kept)


def without_group_labels(role, target):
    """To other ports of pods vmagent gives no labels of the group (but of the service), though of the node: Prometheus
    the other way round."""
    if role not in ("endpoints", "endpointslice") or not other_port(target):
        return target
    return {name: value for name, value in target.items()
            if not re.match(META + "(endpoints_|endpointslice_|node_)", name)}


def in_order(targets):
    return sorted(targets, key=lambda target: sorted(target.items()))


def ours_for_judge(secondary, role):
    """vmagent, as Prometheus 2.42, knows nothing of sidecars behind services."""
    targets = discovered(secondary.url)
    if role in ("endpoints", "endpointslice"):
        targets = [target for target in targets if not is_sidecar(target)]
    return in_order([our_view(role, target) for target in targets])


@needs_vmagent
@pytest.mark.parametrize("role,attach", [*((role, False) for role in ROLES), *((role, True) for role in ATTACH_NODE)])
def test_vmagent_agrees(federation, fake, start, role, attach):
    keys = {"attach_metadata": {"node": True}} if attach else {}
    vmagent = start_vmagent(federation, [job("k", fake, role, **keys)])
    secondary = start(role, **keys)
    compared = (None, None)

    def same():
        nonlocal compared
        compared = (ours_for_judge(secondary, role),
                    in_order([their_view(role, target) for target in discovered(vmagent.url)]))
        return compared[0] and compared[0] == compared[1]

    try:
        wait_until(same, 40)
    except AssertionError:
        ours, theirs = compared
        assert [one for one in ours if one not in theirs][:3] == [one for one in theirs if one not in ours][:3]
        assert len(ours) == len(theirs)
    if attach:
        assert "node_label_kubernetes_io_arch" in json.dumps(compared[0])


@needs_vmagent
def test_lists_of_differences_are_needed(federation, fake, start):
    """vmagent really lacks what stands in the list, and a secondary has it."""
    vmagent = start_vmagent(federation, [job(role, fake, role) for role in ROLES])
    secondary = start_secondary(federation, [job(role, fake, role) for role in ROLES])
    wait_until(lambda: len(discovered(vmagent.url)) > 300 and len(discovered(secondary.url)) > 300, 40, "targets")
    wait_well(secondary)
    theirs = {name for target in discovered(vmagent.url) for name in target if target[name]}
    ours = {name for target in discovered(secondary.url) for name in target}
    assert not [name for name in theirs if VMAGENT_LACKS.fullmatch(name)]
    assert {name[len(META):] for name in ours if VMAGENT_LACKS.fullmatch(name)} == {
        "node_condition_ready", "node_condition_diskpressure", "node_condition_memorypressure", "service_port_number",
        "service_loadbalancer_ip", "pod_container_image", "pod_container_id",
        "endpointslice_endpoint_conditions_serving", "endpointslice_endpoint_conditions_terminating",
        "endpointslice_endpoint_node_name", "endpointslice_endpoint_zone"}
    assert theirs - ours <= {META + "service_type", META + "service_cluster_ip"}, theirs - ours


def test_attached_namespaces(fake, start):
    """Newer than the judge."""
    secondary = start("service", attach_metadata={"namespace": True})
    wait_well(secondary)
    wait_until(lambda: names(secondary, "namespace_label_team") == {
        f"team-{space}" for space in ("checkout", "kube-system", "corners")}, 20, "labels of namespaces")
    assert names(secondary, "namespace_annotation_owner") == {"anna"}


# ---- What happens in the cluster -------------------------------------------------------------------------------------

def test_changes_and_sharing(federation, fake):
    """Three jobs read pods, and one watch serves them; what comes, changes and goes is seen in each."""
    jobs = [job("a", fake, "pod"), job("b", fake, "pod", attach_metadata={"node": True}), job("c", fake, "endpoints")]
    secondary = start_secondary(federation, jobs)
    wait_well(secondary)
    wait_pods(secondary, fake)
    counters = fake.read_counters()
    assert counters["list pods"] <= 2 and counters["watch pods"] <= 2, counters
    made = kubernetes_objects.bare_pod("late", "10.250.0.1", [{"name": "c", "image": "i"}])
    fake.cluster.apply(made)
    wait_pods(secondary, fake)
    made["status"]["phase"] = "Failed"
    fake.cluster.apply(made)
    wait_until(lambda: "Failed" in names(secondary, "pod_phase"), 20, "the change")
    fake.cluster.delete(made)
    wait_pods(secondary, fake)
    service = next(one for one in fake.cluster.objects("Service") if one["metadata"]["name"] == "app-000")
    service["metadata"]["labels"]["colour"] = "blue"
    fake.cluster.apply(service)
    wait_until(lambda: "blue" in names(secondary, "service_label_colour"), 20, "the service's new label")
    node = next(one for one in fake.cluster.objects("Node"))
    node["metadata"]["labels"]["colour"] = "green"
    fake.cluster.apply(node)
    wait_until(lambda: "green" in names(secondary, "node_label_colour"), 20, "the node's new label")


def reload_with(secondary, jobs):
    secondary.config["scrape_configs"] = jobs
    secondary.write_config()
    code, text = secondary.reload()
    assert code == 200, text


def test_reload(federation, fake):
    """Whichever job goes, the watches go on without a list; a job that comes is served from what is known."""
    a, b, c = job("a", fake, "endpoints"), job("b", fake, "endpoints", attach_metadata={"node": True}), job("c", fake, "pod")
    secondary = start_secondary(federation, [a, b])
    wait_well(secondary)
    for number, jobs in enumerate(([b], [b, c], [c], [c, a])):
        reload_with(secondary, jobs)
        fake.cluster.apply(kubernetes_objects.bare_pod(f"during-{number}", f"10.251.0.{number}", [{"name": "c"}]))
        if c in jobs:
            wait_pods(secondary, fake)
        wait_until(lambda: len(sections(secondary)) == len(jobs), 20, "its jobs")
        wait_well(secondary)
    assert fake.read_counters()["list pods"] == 1, fake.read_counters()


def test_namespaces_and_selectors(federation, fake):
    jobs = [job("a", fake, "pod", namespaces={"names": ["checkout"]},
                selectors=[{"role": "pod", "label": "app in (app-000, app-001),tier!=frontend", "field":
                            "spec.nodeName=" + kubernetes_objects.node_name(1)}])]
    secondary = start_secondary(federation, jobs)
    wanted = {made["metadata"]["name"] for made in fake.cluster.objects("Pod")
              if made["metadata"]["namespace"] == "checkout"
              and made["spec"]["nodeName"] == kubernetes_objects.node_name(1)}
    assert 3 < len(wanted) < 10
    wait_until(lambda: names(secondary) == wanted, 30, "those selected")
    moved = next(made for made in fake.cluster.objects("Pod") if made["metadata"]["name"] == min(wanted))
    moved["metadata"]["labels"]["tier"] = "frontend"
    fake.cluster.apply(moved)
    wait_until(lambda: names(secondary) == wanted - {min(wanted)}, 30, "one less")


def test_watches_end(fake, start):
    """Politely, by a cut, in the middle of an event, with garbage: nothing is lost, and nothing listed again."""
    secondary = start()
    wait_pods(secondary, fake)
    for number, end in enumerate((lambda: fake.cluster.close(), lambda: fake.cluster.close(cut=True),
                                  lambda: fake.set_faults(half_events=1), lambda: fake.set_faults(garbage_events=1))):
        watches = fake.read_counters()["watch pods"]
        end()
        fake.cluster.apply(kubernetes_objects.bare_pod(f"after-{number}", f"10.250.1.{number}", [{"name": "c"}]))
        wait_pods(secondary, fake)
        wait_until(lambda: fake.read_counters()["watch pods"] > watches, 40, "another watch")
    wait_well(secondary)
    assert fake.read_counters()["list pods"] == 1


@pytest.mark.parametrize("gone_as", ["event", "status"])
def test_gone(fake, start, gone_as):
    secondary = start()
    wait_pods(secondary, fake)
    fake.set_faults(watch_gone=1, gone_as=gone_as)
    doomed = next(made for made in fake.cluster.objects("Pod") if made["status"].get("podIP"))
    with fake.cluster.changed:  # it goes while nobody watches, and the past is forgotten
        fake.cluster.close()
        fake.cluster.delete(doomed)
        fake.cluster.compact()
    wait_pods(secondary, fake)
    assert fake.read_counters()["list pods"] == 2
    wait_well(secondary)


def test_gone_in_list(federation, fake):
    """A continue token that expires: the list begins anew. 700 pods are two pages."""
    fake.cluster.populate(700, 3)
    fake.set_faults(list_gone=1)
    secondary = start_secondary(federation, [job("k", fake, "pod")])
    wait_pods(secondary, fake)
    assert fake.read_counters()["list pods"] == 4


@pytest.mark.parametrize("fault,problem", [
    ({"html": FOREVER}, "/api/v1/pods: "),
    ({"half": FOREVER}, "/api/v1/pods: "),
    ({"status": 503, "status_count": FOREVER}, "/api/v1/pods: HTTP 503: a fault that was ordered"),
    ({"forbidden": ["pods"]}, '/api/v1/pods: HTTP 403: pods is forbidden: User "system:serviceaccount:monitoring'),
    ({"deep": FOREVER}, "/api/v1/pods: "),
    ({"large": FOREVER}, "/api/v1/pods: "),
    ({"endless_pages": True}, "/api/v1/pods: a list of more than 2000 pages"),
])
def test_bad_answers(fake, start, fault, problem):
    """Known targets stay, the problem is said, memory is bounded; when it is over all is as before."""
    secondary = start()
    wait_pods(secondary, fake)
    wait_well(secondary)
    known = names(secondary)
    fake.set_faults(watch_gone=1, **fault)  # so that it lists
    fake.cluster.close()
    wait_problem(secondary, problem)
    assert names(secondary) == known
    assert secondary.metrics()['tributary_secondary_discovery_up{job="k",sd="kubernetes",section="0"}'] == 0
    assert memory_bytes(secondary) < 300 * 2 ** 20
    fake.set_faults()
    fake.cluster.apply(kubernetes_objects.bare_pod("after", "10.250.0.9", [{"name": "c"}]))
    wait_well(secondary)
    wait_pods(secondary, fake)


def test_slow_lists(fake, start):
    fake.set_faults(slow_seconds=3)
    secondary = start("endpoints")
    wait_until(lambda: len(names(secondary)) > 30, 40, "targets")


# ---- Who asks --------------------------------------------------------------------------------------------------------

def test_kubeconfig(federation, guarded):
    """Its certificate and token; the token is renewed in place."""
    federation.write("token", "an-old-one\n")
    config = kubeconfig(federation, guarded, cluster={"certificate-authority": "tls.crt"}, user={"tokenFile": "token"})
    secondary = start_secondary(federation, [{"job_name": "k", "scrape_interval": "1m", "kubernetes_sd_configs": [
        {"role": "pod", "kubeconfig_file": config}]}])
    wait_problem(secondary, "HTTP 401: Unauthorized")
    federation.write("token", TOKEN + "\n")
    wait_pods(secondary, guarded)
    wait_well(secondary)
    assert TOKEN not in secondary.log() and "an-old-one" not in secondary.log()
    federation.write("kubeconfig", json.dumps({"current-context": "none"}))
    guarded.cluster.close()
    wait_problem(secondary, "contexts has none that is called so")
    assert names(secondary) == pod_names(guarded)


def test_access_keys(federation, guarded):
    secondary = start_secondary(federation, [{"job_name": "k", "scrape_interval": "1m", "kubernetes_sd_configs": [
        {"role": "pod", "api_server": guarded.url + "/", "tls_config": {"ca_file": federation.path("tls.crt")},
         "authorization": {"credentials_file": federation.write("token", TOKEN)}}]}])
    wait_pods(secondary, guarded)


def test_unknown_authority(federation, guarded):
    secondary = start_secondary(federation, [{"job_name": "k", "scrape_interval": "1m", "kubernetes_sd_configs": [
        {"role": "pod", "api_server": guarded.url}]}])
    wait_problem(secondary, "certificate")
    assert guarded.read_counters() == {}


def may_mount():
    return os.getuid() == 0 and subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="this user may not mount")
def test_in_cluster(federation, guarded, monkeypatch):
    """As in a pod: what its service account is given, its own namespace."""
    directory = federation.path("serviceaccount")
    os.makedirs(directory)
    shutil.copy(federation.path("tls.crt"), os.path.join(directory, "ca.crt"))
    federation.write("serviceaccount/token", TOKEN)
    federation.write("serviceaccount/namespace", "corners")
    for corner in kubernetes_objects.corners():
        guarded.cluster.apply(corner)
    address, _, port = guarded.url.removeprefix("https://").rpartition(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", address)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    before = ["unshare", "--mount", "sh", "-c",
              'mount -t tmpfs none /run && mkdir -p /run/secrets/kubernetes.io/serviceaccount && '
              'mount --bind "$0" /run/secrets/kubernetes.io/serviceaccount && exec "$@"', directory]
    secondary = start_secondary(federation, [{"job_name": "k", "scrape_interval": "1m", "kubernetes_sd_configs": [
        {"role": "pod", "namespaces": {"own_namespace": True}}]}], before)
    wanted = {made["metadata"]["name"] for made in guarded.cluster.objects("Pod")
              if made["metadata"]["namespace"] == "corners" and made["status"].get("podIP")}
    wait_until(lambda: names(secondary) == wanted, 30, "pods of the own namespace")


# ---- Many pods -------------------------------------------------------------------------------------------------------

MANY = 20000


def test_many_pods(federation):
    """20,000 pods: pages of 500, one watch, and a memory that is not theirs."""
    address = federation.address()
    federation.add_process("kubernetes", [
        sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "fakes", "kubernetes.py"),
        "--listen", f"{address}:6443", "--pods", str(MANY), "--nodes", "400"]).start()
    url = f"http://{address}:6443"
    wait_until(lambda: fetch(url + "/version", timeout=1)[0] == 200, 60, "the cluster")
    keep = [{"source_labels": [META + "pod_name"], "regex": "app-000-.*", "action": "keep"}]
    secondary = start_secondary(federation, [
        {"job_name": role, "scrape_interval": "1m", "relabel_configs": keep, "keep_dropped_targets": 1,
         "kubernetes_sd_configs": [{"role": role, "api_server": url}]} for role in ("pod", "endpoints")])
    wait_until(lambda: sections(secondary) and all(one["state"] == "up" and one["targets"] > 0
                                                   for one in sections(secondary)), 80, "both sections")
    targets = {one["job"]: one["targets"] for one in sections(secondary)}
    assert targets == {"pod": 4 * MANY, "endpoints": 2 * MANY}
    counters = json.loads(fetch(url + "/fake/counters")[1])
    assert counters["list pods"] == MANY / 500 and counters["watch pods"] == 1, counters
    assert memory_bytes(secondary) < 200 * 2 ** 20  # the daemon's own and what it keeps of 120,000 targets among it


def test_discover_command(federation, fake, start):
    secondary = start("ingress")
    wait_well(secondary)
    code, out, err = run([program("tributary"), "discover", "--config", secondary.config_path])
    assert code == 0, err
    for target in discovered(secondary.url):
        assert target[META + "ingress_path"] in out and target[META + "ingress_name"] in out
