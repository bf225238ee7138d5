"""The API of a global as others use it: Grafana's requests, vmalert, a Prometheus that federates from it, people who look
at targets. A real Prometheus scrapes the same exporters and says what the answers should be."""
import gzip
import hashlib
import http.server
import json
import os
import re
import shutil
import threading
import time
import urllib.parse
import urllib.request

import pytest

from exporter import Exporter
from harness import BIN, Federation, fetch, program, run, wait_until

PROMETHEUS, VMALERT = shutil.which("prometheus"), shutil.which("vmalert")
needs_prometheus = pytest.mark.skipif(not PROMETHEUS, reason="no prometheus on this machine")
TOKEN = "a-token-that-nobody-may-see-4711"

PAGE = """\
# HELP jobs_running How many run, with a \\\\ and a \\n in the help.
# TYPE jobs_running gauge
jobs_running{queue="a\\"\\\\b\\nc"} 3
jobs_running{queue="\u00e4"} 1e21
# HELP jobs_total Jobs that ended.
# TYPE jobs_total counter
jobs_total 1234567
# TYPE wait_seconds histogram
# HELP wait_seconds How long they waited.
wait_seconds_bucket{le="0.1"} 1
wait_seconds_bucket{le="+Inf"} 2
wait_seconds_sum 0.30000000000000004
wait_seconds_count 2
# TYPE size_bytes summary
size_bytes{quantile="0.5"} 1e-07
size_bytes_sum 7
size_bytes_count 2
# HELP said_nothing_of_its_type A text.
said_nothing_of_its_type NaN
nothing_is_known -0.5
"""
OTHER = """\
# HELP jobs_running Another help.
# TYPE jobs_running gauge
jobs_running 1
"""
DISK = """\
# TYPE disk_bytes gauge
# HELP disk_bytes Room.
disk_bytes 5
"""


class World(Federation):
    def get(self, path, url=None, **parameters):
        """(status, parsed JSON)"""
        code, text = fetch(f"{url or self.top.url}{path}?{urllib.parse.urlencode(parameters, doseq=True)}")
        return code, json.loads(text)

    def data(self, path, url=None, **parameters):
        code, answer = self.get(f"/api/v1/{path}", url, **parameters)
        assert code == 200 and answer["status"] == "success", (path, code, answer)
        return answer["data"]

    def add_prometheus(self, name, jobs, *flags):
        config = self.write(f"{name}.yml", json.dumps({"global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
                                                       "scrape_configs": jobs}))
        address = f"{self.address()}:9090"
        process = self.add_process(name, [PROMETHEUS, f"--config.file={config}",
                                          f"--storage.tsdb.path={self.path(name + '-data')}",
                                          f"--web.listen-address={address}", *flags])
        process.url = f"http://{address}"
        return process


def jobs_of(world):
    return [{"job_name": "queues", "static_configs": [{"targets": [world.page.target, world.other.target]}]},
            {"job_name": "disks", "static_configs": [{"targets": [world.disk.target]}]},
            {"job_name": "dead", "static_configs": [{"targets": [world.dead]}]}]


@pytest.fixture(scope="module")
def world():
    made = World("api")
    try:
        made.page = made.add_exporter(Exporter(made.address(), 9100, {"/metrics": PAGE}))
        made.other = made.add_exporter(Exporter(made.address(), 9100, {"/metrics": OTHER}))
        made.disk = made.add_exporter(Exporter(made.address(), 9100, {"/metrics": DISK}))
        made.dead = f"{made.address()}:9100"
        token = made.write("token", TOKEN)
        os.chmod(token, 0o600)
        made.add_global(query={"timeout": "30s", "concurrency": 4}, blocks={"levels": ["2h", "8h"]},
                        sources=[{"datacenter": "dc1", "bearer_token_file": token}])
        made.add_secondary(made.add_primary(globals=[{"name": "eu", "url": made.top.url, "bearer_token_file": token}]),
                           1, jobs_of(made))
        if PROMETHEUS:
            made.twin = made.add_prometheus("twin", jobs_of(made))
        made.start()
        wait_until(lambda: len(made.query("up")) == 4 and made.query("disk_bytes"), what="all targets")
        yield made
    finally:
        made.close()


# ---- What metrics are -----------------------------------------------------------------------------------------------

@needs_prometheus
def test_metadata_is_that_of_prometheus(world):
    wait_until(lambda: len(world.data("metadata", world.twin.url)) >= 6
               and len(world.data("metadata", world.twin.url)["jobs_running"]) == 2, what="prometheus has scraped all")
    theirs, ours = world.data("metadata", world.twin.url), world.data("metadata")
    for name, expected in theirs.items():
        def order(entry):
            return entry["type"], entry["help"]
        assert sorted(ours[name], key=order) == sorted(expected, key=order), name
    assert ours["disk_bytes"] == [{"type": "gauge", "help": "Room.", "unit": ""}]
    assert len(ours["jobs_running"]) == 2
    assert "nothing_is_known" not in ours
    # What is left of ours are the series that a scrape adds, of which Prometheus says nothing.
    assert all(name == "up" or name.startswith("scrape_") for name in ours.keys() - theirs.keys())


def test_metadata_parameters(world):
    assert list(world.data("metadata", metric="jobs_total")) == ["jobs_total"]
    assert world.data("metadata", metric="jobs_total")["jobs_total"] == [
        {"type": "counter", "help": "Jobs that ended.", "unit": ""}]
    assert world.data("metadata", metric="none") == {}
    assert len(world.data("metadata", limit=2)) == 2 and world.data("metadata", limit=0) == {}
    assert len(world.data("metadata", metric="jobs_running", limit_per_metric=1)["jobs_running"]) == 1
    assert world.get("/api/v1/metadata", limit="x") == (
        400, {"status": "error", "errorType": "bad_data", "error": "limit must be a number"})
    assert world.get("/api/v1/metadata", limit_per_metric="x")[0] == 400


# ---- Targets --------------------------------------------------------------------------------------------------------

def by_instance(targets):
    return {target["labels"]["instance"]: target for target in targets}


@needs_prometheus
def test_targets_are_those_of_prometheus(world):
    def known():
        return [target for target in world.data("targets", world.twin.url)["activeTargets"]
                if target["health"] != "unknown"]

    wait_until(lambda: len(known()) == 4, what="prometheus has scraped all")
    theirs = by_instance(world.data("targets", world.twin.url)["activeTargets"])
    ours = by_instance(world.data("targets")["activeTargets"])
    assert ours.keys() == theirs.keys() and len(ours) == 4
    for instance, target in ours.items():
        expected = theirs[instance]
        assert target.keys() - {"lastSamples"} == expected.keys()
        assert target["labels"] == {**expected["labels"], "datacenter": "dc1"}
        assert (target["scrapePool"], target["health"]) == (expected["scrapePool"], expected["health"])
        assert bool(target["lastError"]) == bool(expected["lastError"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", target["lastScrape"])
        assert 0 < target["lastScrapeDuration"] < 1


def test_targets_agree_with_queries_and_the_cli(world):
    targets = by_instance(world.data("targets", state="active")["activeTargets"])
    assert targets[world.dead]["lastError"] == "connect" and targets[world.dead]["health"] == "down"
    assert targets[world.page.target]["lastError"] == "" and targets[world.page.target]["health"] == "up"
    assert targets[world.page.target]["lastSamples"] == world.value(
        f'scrape_samples_scraped{{instance="{world.page.target}"}}')
    up = {labels["instance"]: value for labels, value in world.query("up")}
    assert {instance: float(target["health"] == "up") for instance, target in targets.items()} == up
    code, out, err = run([program("tributary"), "targets", "--url", world.top.url])
    rows = [line.split() for line in out.splitlines()[1:]]
    assert code == 0 and sorted(row[:4] for row in rows) == sorted(
        ["up" if target["health"] == "up" else "DOWN", "dc1", target["scrapePool"], instance]
        for instance, target in targets.items())
    assert [row[-1] for row in rows if row[3] == world.dead] == ["connect"] and "4 targets, 1 down" in err
    # The same where it asks by queries.
    code, asked, _ = run([program("tributary"), "targets", "--url", world.top.url, '{job=~".+"}'])
    assert code == 0 and sorted(line.split()[:4] for line in asked.splitlines()) == sorted(
        line.split()[:4] for line in out.splitlines())

    assert [target["scrapePool"] for target in world.data("targets", scrapePool="dead")["activeTargets"]] == ["dead"]
    for state in ("dropped", "nonsense"):
        assert world.data("targets", state=state) == {"activeTargets": [], "droppedTargets": []}


@needs_prometheus
def test_metadata_of_targets(world):
    wait_until(lambda: len({json.dumps(entry["target"]) for entry in world.data("targets/metadata", world.twin.url)}) == 3,
               what="prometheus has scraped all")

    def entries(url, **parameters):
        """Without the label that a datacenter adds, and the series that a scrape adds."""
        found = world.data("targets/metadata", url, **parameters)
        for entry in found:
            entry["target"].pop("datacenter", None)
        return [entry for entry in found if not re.match("up$|scrape_", entry.get("metric", ""))]

    theirs, ours = entries(world.twin.url), entries(world.top.url)
    assert theirs and all(entry in ours for entry in theirs)
    # What two targets say of one name is told of both.
    assert len(ours) == len(theirs) + 2 and sum("jobs_running" in str(entry) for entry in ours) == 4
    for parameters in ({"metric": "wait_seconds"}, {"metric": "none"}, {"match_target": '{job="disks"}'},
                       {"match_target": '{job=~"d.*"}', "metric": "disk_bytes"}):
        assert entries(world.top.url, **parameters) == entries(world.twin.url, **parameters), parameters
    assert len(world.data("targets/metadata", limit=3)) == 3 and world.data("targets/metadata", limit=0) == []
    for parameters in ({"match_target": "a("}, {"limit": "x"}):
        assert world.get("/api/v1/targets/metadata", **parameters) == world.get(
            "/api/v1/targets/metadata", world.twin.url, **parameters)


# ---- Federation -----------------------------------------------------------------------------------------------------

def samples_of(url, selector, at):
    code, text = fetch(f"{url}/api/v1/query?" + urllib.parse.urlencode({"query": selector, "time": at}))
    assert code == 200, text
    return {json.dumps(series["metric"], sort_keys=True): series["value"][1] for series in json.loads(text)["data"]["result"]}


@needs_prometheus
def test_prometheus_federates(world):
    selectors = ['{job="queues"}', "disk_bytes", "jobs_running", '{__name__=~"up|scrape_.*"}']
    process = world.add_prometheus("federating", [
        {"job_name": "federate", "honor_labels": True, "metrics_path": "/federate", "params": {"match[]": selectors},
         "static_configs": [{"targets": [world.top.url.removeprefix("http://")]}]}])
    process.start()
    steady = '{__name__!~"scrape_duration_seconds|scrape_series_added",job=~"queues|disks|dead"}'
    wait_until(lambda: fetch(f"{process.url}/-/ready")[0] == 200, what="prometheus ready")
    wait_until(lambda: samples_of(process.url, steady, time.time()), what="federated samples")
    now = time.time()
    theirs, ours = samples_of(process.url, steady, now), samples_of(world.top.url, steady, now)
    assert len(ours) > 20 and theirs == ours
    # Their times too: what it stores is what is here.
    matrix = f"/api/v1/query?query=jobs_total%5B1m%5D&time={now}"
    times = [json.loads(fetch(url + matrix)[1])["data"]["result"][0]["values"] for url in (process.url, world.top.url)]
    assert times[0] and {moment for moment, _ in times[0]} <= {moment for moment, _ in times[1]}
    assert process.stop() == 0


@needs_prometheus
def test_federated_text_is_that_of_prometheus(world):
    """Line for line, but for times and the label that a datacenter adds; and for the way numbers are written."""
    def page(url):
        query = urllib.parse.urlencode({"match[]": ['{job="queues",__name__!~"scrape_.*"}', "disk_bytes"]}, doseq=True)
        code, text = fetch(f"{url}/federate?{query}")
        assert code == 200
        lines = []
        for line in text.splitlines():
            if not line.startswith("#"):
                name, value, moment = line.rsplit(" ", 2)
                assert abs(int(moment) / 1000 - time.time()) < 300
                line = name.replace('datacenter="dc1",', "") + f" {float(value)}"
            lines.append(line)
        return lines
    wait_until(lambda: len(page(world.twin.url)) == len(page(world.top.url)), what="prometheus has scraped all")
    ours, theirs = page(world.top.url), page(world.twin.url)
    assert [line for line in ours if line.startswith("#")] == [line for line in theirs if line.startswith("#")]
    assert sorted(ours) == sorted(theirs) and len(ours) > 20


def test_federate_selects(world):
    def ask(**parameters):
        return fetch(f"{world.top.url}/federate?" + urllib.parse.urlencode(parameters, doseq=True))
    assert ask() == (200, "") and ask(**{"match[]": "none"}) == (200, "")
    assert ask(**{"match[]": "a("}) == (400, '1:2: parse error: unexpected "("\n')
    assert ask(**{"match[]": "{}"})[0] == 400
    text = ask(**{"match[]": ["jobs_total", '{__name__="jobs_total"}', "jobs_running"]})[1]
    assert text.count("# TYPE ") == 2 and len(text.splitlines()) == 6
    names = [line.split()[2] for line in text.splitlines() if line.startswith("#")]
    assert names == sorted(names)


# ---- Status ---------------------------------------------------------------------------------------------------------

def test_status_config_has_no_secret_and_is_read_again(world):
    yaml = world.data("status/config")["yaml"]
    path = world.write("again.yaml", yaml)
    code, out, err = run([program("tributary-global"), "--config", path, "--check-config"])
    assert code == 0, (yaml, err)
    for text in ('name: "eu"', f'data_dir: "{world.top.data_dir}"', "lookback_delta: 5m", "levels: [2h, 8h]",
                 f'bearer_token_file: "{world.path("token")}"', "timeout: 30s"):
        assert text in yaml, (text, yaml)
    flags = world.data("status/flags")
    assert flags["query.timeout"] == "30s" and flags["query.lookback-delta"] == "5m"
    assert flags["storage.tsdb.path"] == world.top.data_dir and flags["storage.tsdb.retention.time"] == "30d"
    assert flags["config.file"] == world.top.config_path
    for path in ("status/config", "status/flags", "status/runtimeinfo", "targets", "metadata", "status/tsdb"):
        assert TOKEN not in fetch(f"{world.top.url}/api/v1/{path}")[1]
    assert TOKEN not in fetch(f"{world.top.url}/api/v1/status")[1] + fetch(f"{world.top.url}/metrics")[1]


def test_runtimeinfo_follows_reloads(world):
    before = world.data("status/runtimeinfo")
    assert before["reloadConfigSuccess"] and before["storageRetention"] == "30d" and before["corruptionCount"] == 0
    assert before["CWD"] == os.getcwd() and before["goroutineCount"] > 4 and before["startTime"] <= before["lastConfigTime"]
    world.top.config["name"] = "another"
    world.top.write_config()
    assert world.top.reload()[0] == 400
    after = world.data("status/runtimeinfo")
    assert not after["reloadConfigSuccess"] and after["lastConfigTime"] == before["lastConfigTime"]
    world.top.config["name"] = "eu"
    world.top.config["retention"] = [{"class": "default", "samples": "40d"}]
    world.top.write_config()
    assert world.top.reload()[0] == 200
    last = world.data("status/runtimeinfo")
    assert last["reloadConfigSuccess"] and last["lastConfigTime"] > before["lastConfigTime"]
    assert last["storageRetention"] == world.data("status/flags")["storage.tsdb.retention.time"] == "40d"
    assert "samples: 40d" in world.data("status/config")["yaml"]


# ---- Grafana --------------------------------------------------------------------------------------------------------

def grafana_requests():
    """What its Prometheus data source sends: (method, path, parameters, kind of data)."""
    now = int(time.time())
    span = {"start": now - 3600, "end": now}
    return [
        ("POST", "query", {"query": "1+1", "time": now}, "scalar"),  # Save & test
        ("POST", "query", {"query": "up", "time": now}, "vector"),
        ("GET", "query", {"query": "up", "time": now}, "vector"),
        ("POST", "query", {"query": "up[1m]", "time": now}, "matrix"),
        ("POST", "query_range", {"query": "rate(jobs_total[1m])", "step": 15, **span}, "matrix"),
        ("GET", "query_range", {"query": "up", "step": 15, **span}, "matrix"),
        ("POST", "series", {"match[]": "jobs_running", **span}, list),
        ("GET", "series", {"match[]": "jobs_running", **span}, list),
        ("POST", "labels", {**span}, list),
        ("POST", "labels", {"match[]": '{__name__="up"}', **span}, list),
        ("GET", "labels", {"limit": 40000, **span}, list),
        ("GET", "label/job/values", {**span}, list),
        ("GET", "label/__name__/values", {"match[]": '{job="queues"}', "limit": 40000, **span}, list),
        ("GET", "metadata", {}, dict),
        ("GET", "metadata", {"limit": 5000}, dict),
        ("GET", "rules", {}, {"groups": []}),
        ("GET", "query_exemplars", {"query": "test", "start": now - 60, "end": now}, []),
        ("POST", "query_exemplars", {"query": "rate(jobs_total[1m])", **span}, []),
        ("GET", "status/buildinfo", {}, dict),
    ]


def test_grafanas_requests(world):
    for method, path, parameters, expected in grafana_requests():
        form = urllib.parse.urlencode(parameters, doseq=True)
        url = f"{world.top.url}/api/v1/{path}"
        code, text = fetch(url, form.encode()) if method == "POST" else fetch(f"{url}?{form}")
        answer = json.loads(text)
        assert code == 200 and answer["status"] == "success", (method, path, parameters, text)
        assert answer.keys() <= {"status", "data", "warnings", "infos", "coverage"}
        data = answer["data"]
        if isinstance(expected, str):
            assert data["resultType"] == expected and data["result"], (path, parameters, text)
        elif isinstance(expected, type):
            assert isinstance(data, expected) and data, (path, parameters, text)
        else:
            assert data == expected, (path, parameters, text)
    assert world.data("status/buildinfo")["version"] == "2.42.0"


def test_answers_are_packed(world):
    now = time.time()
    query = urllib.parse.urlencode({"query": "{job=~'.+'}[5m]", "time": now})
    url = f"{world.top.url}/api/v1/query?{query}"
    request = urllib.request.Request(url, headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        packed = answer.read()
        assert answer.headers["Content-Encoding"] == "gzip" and answer.headers["Vary"] == "Accept-Encoding"
    assert gzip.decompress(packed).decode() == fetch(url)[1] and packed[:2] == b"\x1f\x8b"
    with urllib.request.urlopen(f"{world.top.url}/federate?match[]=up", timeout=10) as answer:
        assert answer.headers["Content-Encoding"] is None  # nobody asked


# ---- vmalert --------------------------------------------------------------------------------------------------------

class Sink(http.server.BaseHTTPRequestHandler):
    """Takes what vmalert writes (and needs not read it: the series' names stand in it as text), and its alerts."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.mark.skipif(not VMALERT, reason="no vmalert on this machine")
def test_vmalert_evaluates_rules(world):
    rules = world.write("rules.yml", json.dumps({"groups": [{"name": "g", "interval": "1s", "rules": [
        {"record": "job:up:sum", "expr": "sum by (job) (up)"},
        {"alert": "TargetDown", "expr": "up == 0", "labels": {"severity": "page"},
         "annotations": {"text": "{{ $labels.instance }} is down, {{ $value }}"}},
        {"alert": "NeverFires", "expr": "jobs_total < 0"}]}]}))
    sink = http.server.ThreadingHTTPServer((world.address(), 8428), Sink)
    sink.bodies = []
    threading.Thread(target=sink.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    address = f"{world.address()}:8880"
    vmalert = world.add_process("vmalert", [
        VMALERT, f"-datasource.url={world.top.url}", f"-rule={rules}", f"-notifier.url=http://{sink.server_address[0]}:8428",
        f"-remoteWrite.url=http://{sink.server_address[0]}:8428", "-remoteWrite.flushInterval=500ms",
        f"-httpListenAddr={address}", "-evaluationInterval=1s"])
    try:
        vmalert.start()
        wait_until(lambda: fetch(f"http://{address}/health")[0] == 200, what="vmalert runs")

        def alerts():
            return json.loads(fetch(f"http://{address}/api/v1/alerts")[1])["data"]["alerts"] or []

        (alert,) = wait_until(lambda: [found for found in alerts() if found["state"] == "firing"], what="the alert fires")
        assert alert["labels"]["instance"] == world.dead and alert["labels"]["alertname"] == "TargetDown"
        assert alert["annotations"]["text"] == f"{world.dead} is down, 0"
        groups = json.loads(fetch(f"http://{address}/api/v1/rules")[1])["data"]["groups"]
        assert [rule["lastError"] for rule in groups[0]["rules"]] == ["", "", ""]
        wait_until(lambda: any(b"job:up:sum" in body for _, body in sink.bodies), what="the recorded series is written")
        assert any(b"ALERTS" in body and world.dead.encode() in body for _, body in sink.bodies)
        wait_until(lambda: any(path == "/api/v2/alerts" and b"TargetDown" in body for path, body in sink.bodies),
                   what="the alert is sent")
    finally:
        vmalert.stop()
        sink.shutdown()
        sink.server_close()


# ---- Looking changes nothing, and what is known outlives a restart. The last ones: they stop daemons. ---------------

def routes():
    """Every path of the tables of routes, as they stand in the source."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    texts = ""
    for path in ("global/api/api.h", "global/global.c", "shared/net/daemon.h"):
        with open(os.path.join(root, path), encoding="utf-8") as file:
            texts += file.read()
    return sorted(set(re.findall(r'"(/(?:api/v1|-|federate|metrics)[^" ]*)"', texts)))


def contents(directory):
    """{path: hash} of all files, and the directories."""
    found = {}
    for place, _, names in os.walk(directory):
        found[place] = "directory"
        for name in names:
            with open(os.path.join(place, name), "rb") as file:
                found[os.path.join(place, name)] = hashlib.sha256(file.read()).hexdigest()
    return found


def test_restart_keeps_metadata_and_looking_changes_nothing(world):
    before = world.data("metadata")
    for process in world.processes:
        if process is not world.top:
            process.stop()
    world.top.restart()  # nobody writes to it any more
    assert world.data("metadata") == before and len(before) > 6

    def is_quiet():
        first = contents(world.top.data_dir)
        time.sleep(1.5)
        return contents(world.top.data_dir) == first

    wait_until(is_quiet, 30, "the global has nothing to do")
    kept = contents(world.top.data_dir)
    paths = routes()
    assert len(paths) > 25 and "/federate" in paths and "/-/reload" in paths and "/api/v1/admin/tsdb/delete_series" in paths
    parameters = urllib.parse.urlencode({
        "match[]": "up", "query": "up", "start": 0, "end": time.time(), "step": 1e7, "who": "me", "why": "a test", "ulid": "x"})
    for path in paths:
        for method in ("GET", "HEAD"):
            target = f"{world.top.url}{path.replace('*', 'job')}?{parameters}"
            request = urllib.request.Request(target, method=method)
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    assert answer.status == 200, path
            except urllib.error.HTTPError as error:
                assert error.code == 405, (path, error.code)  # what changes something is POSTed
    assert contents(world.top.data_dir) == kept
    assert world.data("status/deletions") == []
    assert world.top.is_running()
