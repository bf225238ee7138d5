"""Remote write: real senders (Prometheus, vmagent, vmalert), and requests by hand. The global is killed in between."""
import concurrent.futures
import json
import os
import shutil
import time
import urllib.parse

import pytest

from exporter import Numbered
from harness import fetch, wait_until
from remote_write import headers, series, snappy, uvarint

PROMETHEUS, VMAGENT, VMALERT = (shutil.which(name) for name in ("prometheus", "vmagent", "vmalert"))
OTHERS = """# HELP rpc_seconds Time of calls.
# TYPE rpc_seconds histogram
rpc_seconds_bucket{le="0.1"} 3
rpc_seconds_bucket{le="+Inf"} 5
rpc_seconds_sum 1.25
rpc_seconds_count 5
# TYPE temperature gauge
temperature{place="\u00e9 \\"q\\"",z="1",a="2"} -3.5
nothing NaN
"""


def sender(federation, name, **others):
    """Of remote_write.senders, with a token of its own."""
    path = federation.write(f"{name}.token", f"secret-{name}\n")
    os.chmod(path, 0o600)
    return {"name": name, "bearer_token_file": path, **others}


def write_url(federation):
    return federation.top.url + "/api/v1/write"


def add_prometheus(federation, target, name="prometheus"):
    address = f"{federation.address()}:9090"
    path = federation.write("prometheus.yml", json.dumps({
        "global": {"scrape_interval": "1s", "scrape_timeout": "800ms"},
        "scrape_configs": [{"job_name": "a", "static_configs": [{"targets": [target]}]}],
        "remote_write": [{"url": write_url(federation),
                          "authorization": {"credentials_file": federation.path(f"{name}.token")},
                          "queue_config": {"batch_send_deadline": "200ms", "min_backoff": "30ms",
                                           "max_backoff": "200ms"},
                          "metadata_config": {"send_interval": "1s"}}]}))
    federation.add_process("prometheus", [PROMETHEUS, f"--config.file={path}", f"--web.listen-address={address}",
                                          f"--storage.tsdb.path={federation.path('prometheus-data')}"])
    return f"http://{address}"


def add_vmagent(federation, target, name="vmagent"):
    path = federation.write("vmagent.yml", json.dumps({
        "global": {"scrape_interval": "1s", "scrape_timeout": "800ms"},
        "scrape_configs": [{"job_name": "a", "static_configs": [{"targets": [target]}]}]}))
    federation.add_process("vmagent", [VMAGENT, f"-promscrape.config={path}", "-httpListenAddr=",
                                       f"-remoteWrite.url={write_url(federation)}",
                                       f"-remoteWrite.bearerTokenFile={federation.path(name + '.token')}",
                                       f"-remoteWrite.tmpDataPath={federation.path('vmagent-data')}",
                                       "-remoteWrite.flushInterval=200ms", "-memory.allowedBytes=64MB"])


def all_numbers(federation, selector):
    """Numbers of a Numbered page at the global, once each and none left out."""
    stored = federation.raw(selector)
    if len(stored) != 1:
        return []
    numbers = [int(value) for _, value in stored[0][1]]
    assert numbers == sorted(set(numbers)), f"twice, or out of order: {numbers}"
    return numbers


def kill_and_restart(federation, seconds=1.5):
    federation.top.kill()
    time.sleep(seconds)
    federation.top.start()


@pytest.mark.skipif(not VMAGENT, reason="vmagent is not installed (Debian's victoria-metrics)")
def test_vmagent(federation, exporter):
    page = Numbered(others=OTHERS)
    made = exporter({"/metrics": page})
    federation.add_global(remote_write={"senders": [sender(federation, "vmagent", datacenter="dc9")]})
    add_vmagent(federation, made.target)
    federation.start()
    whose = f'datacenter="dc9",instance="{made.target}",job="a"'
    wait_until(lambda: len(all_numbers(federation, f"scrapes_total{{{whose}}}")) >= 3, 30, "three scrapes")
    for _ in range(2):
        kill_and_restart(federation)
        wanted = page.count() + 2
        wait_until(lambda: max(all_numbers(federation, f"scrapes_total{{{whose}}}"), default=0) >= wanted, 30,
                   "scrapes after the kill")
    numbers = all_numbers(federation, f"scrapes_total{{{whose}}}")
    assert numbers == list(range(1, len(numbers) + 1)), "a scrape is missing"
    ((labels, samples),) = federation.raw(f"temperature{{{whose}}}")
    assert labels == {"__name__": "temperature", "place": '\u00e9 "q"', "z": "1", "a": "2", "datacenter": "dc9",
                      "instance": made.target, "job": "a"}
    assert {value for _, value in samples} == {-3.5} and len(samples) >= len(numbers) - 1
    assert federation.by_label(f"rpc_seconds_bucket{{{whose}}}", "le") == {"0.1": 3, "+Inf": 5}

    # The target ends: the marker comes along.
    made.close()
    wait_until(lambda: federation.value(f"up{{{whose}}}") == 0 and federation.value(f"temperature{{{whose}}}") is None,
               30, "stale series")
    (told,) = federation.top.status()["remote_write"]["senders"]
    assert told["name"] == "vmagent" and told["samples"] > 0 and told["refused"] == 0 and told["peer"]


@pytest.mark.skipif(not PROMETHEUS, reason="prometheus is not installed")
def test_prometheus(federation, exporter):
    page = Numbered(others=OTHERS)
    made = exporter({"/metrics": page})
    federation.add_global(remote_write={"senders": [sender(federation, "prometheus", datacenter="dc8")]})
    url = add_prometheus(federation, made.target)
    federation.start()
    wait_until(lambda: len(all_numbers(federation, "scrapes_total")) >= 3, 30, "three scrapes")
    for _ in range(2):
        kill_and_restart(federation)
        wanted = page.count() + 2
        wait_until(lambda: max(all_numbers(federation, "scrapes_total"), default=0) >= wanted, 30,
                   "scrapes after the kill")

    # What Prometheus has of its target is what the global has, sample by sample; it goes on scraping, so up to a time.
    end = time.time()
    wait_until(lambda: federation.value(f"timestamp(scrapes_total) > {end}"), 30, "all up to now")
    query = urllib.parse.urlencode({"query": '{job="a"}[5m]', "time": end})
    code, text = fetch(f"{url}/api/v1/query?{query}")
    assert code == 200, text
    wanted = {}
    for one in json.loads(text)["data"]["result"]:
        wanted[json.dumps({**one["metric"], "datacenter": "dc8"}, sort_keys=True)] = one["values"]
    stored = {json.dumps(one["metric"], sort_keys=True): one["values"]
              for one in federation.api("query", query='{job="a"}[5m]', time=end)["result"]}
    assert stored == wanted and len(wanted) > 10
    metrics = federation.top.metrics()
    assert metrics["tributary_remote_write_metadata_total"] > 0
    assert metrics['tributary_remote_write_sender_samples_total{sender="prometheus"}'] > 0


@pytest.mark.skipif(not VMALERT, reason="vmalert is not installed (Debian's victoria-metrics)")
def test_vmalert(federation, exporter):
    """Results of recording rules come back, with the datacenters that they are of, or with none."""
    targets = [exporter({"/metrics": Numbered()}) for _ in range(2)]
    federation.add_global(remote_write={"senders": [{"name": "vmalert", "honor_datacenter": True, "anonymous": True}]})
    for number, made in enumerate(targets, 1):
        federation.add_secondary(federation.add_primary(f"dc{number}", number), 1,
                                 [{"job_name": "a", "static_configs": [{"targets": [made.target]}]}])
    rules = federation.write("rules.yml", json.dumps({"groups": [{"name": "g", "interval": "1s", "rules": [
        {"record": "dc:up:sum", "expr": "sum by (datacenter) (up)", "labels": {"rule": "one"}},
        {"record": "all:up:sum", "expr": "sum(up)"}]}]}))
    federation.add_process("vmalert", [VMALERT, f"-rule={rules}", f"-datasource.url={federation.top.url}",
                                       f"-remoteWrite.url={federation.top.url}", "-remoteWrite.flushInterval=200ms",
                                       f"-httpListenAddr={federation.address()}:8880", "-notifier.url=http://127.0.0.1:9"])
    federation.start()
    wait_until(lambda: federation.by_label("dc:up:sum", "datacenter") == {"dc1": 1, "dc2": 1}, 30, "results of rules")
    wait_until(lambda: federation.value("all:up:sum") == 2, 30, "a result without a datacenter")
    ((labels, _),) = federation.query("all:up:sum")
    assert labels == {"__name__": "all:up:sum"}
    assert {json.dumps(labels, sort_keys=True) for labels, _ in federation.query("dc:up:sum")} == {
        json.dumps({"__name__": "dc:up:sum", "rule": "one", "datacenter": f"dc{n}"}, sort_keys=True) for n in (1, 2)}


def post(federation, raw, **others):
    return fetch(write_url(federation), snappy(raw), headers(**others))


def test_by_hand(federation):
    """Answers, and what is stored after each."""
    federation.add_global(remote_write={"senders": [sender(federation, "one", datacenter="dc9"),
                                                    sender(federation, "two", honor_datacenter=True)]})
    federation.start()
    now = round(time.time() - 30, 3)
    good = series({"__name__": "m", "job": "a"}, [(now, 1), (now + 1, 2)])
    assert post(federation, good, token="secret-one") == (204, "")
    stored = federation.raw("m")
    assert stored == [({"__name__": "m", "job": "a", "datacenter": "dc9"}, [(now, 1), (now + 1, 2)])]

    # The same again changes nothing, before and after a crash.
    assert post(federation, good, token="secret-one")[0] == 204
    assert federation.raw("m") == stored
    federation.top.kill()
    federation.top.start()
    assert federation.raw("m") == stored
    assert post(federation, good, token="secret-one")[0] == 204
    assert federation.raw("m") == stored

    # What cannot be taken is named; the rest of the request is stored.
    mixed = (series({"__name__": "n"}, [(now, 5)]) + series({"job": "nameless"}, [(now, 6)]) +
             series({"__name__": "old"}, [(now - 40 * 86400, 7)]) + series({"__name__": "new"}, [(now + 3600, 8)]))
    code, text = post(federation, mixed, token="secret-one")
    assert code == 400 and text == ("1 samples were stored, 3 refused; the first: invalid labels: series 2 of the "
                                    "request\n")
    assert federation.value("n") == 5 and federation.query('{__name__=~"old|new"}') == []
    metrics = federation.top.metrics()
    for reason in ("invalid_labels", "too_old", "too_new"):
        assert metrics[f'tributary_remote_write_refused_samples_total{{reason="{reason}"}}'] == 1
    assert metrics['tributary_remote_write_requests_total{outcome="partial"}'] == 1

    # Labels of its own: moved, or kept where that is allowed.
    own = series({"__name__": "own", "datacenter": "far"}, [(now, 1)])
    assert post(federation, own, token="secret-one")[0] == 204
    assert post(federation, own, token="secret-two")[0] == 204
    assert sorted(sorted(labels.items()) for labels, _ in federation.query("own")) == [
        [("__name__", "own"), ("datacenter", "dc9"), ("exported_datacenter", "far")],
        [("__name__", "own"), ("datacenter", "far")]]

    # Who and what is refused before it is read.
    assert post(federation, good)[0] == 401
    assert post(federation, good, token="wrong")[0] == 401
    assert post(federation, good, token="secret-one", Content_Encoding="zstd")[0] == 415
    assert post(federation, good, token="secret-one", Content_Type="application/json")[0] == 415
    assert post(federation, good, token="secret-one",
                Content_Type="application/x-protobuf;proto=io.prometheus.write.v2.Request")[0] == 415
    assert post(federation, good, token="secret-one", X_Prometheus_Remote_Write_Version="2.0.0")[0] == 415
    assert fetch(write_url(federation), b"no snappy", headers("secret-one"))[0] == 400
    assert fetch(write_url(federation), b"\xff\xff\xff\xff\x0f", headers("secret-one"))[0] == 400
    assert post(federation, good[:-3], token="secret-one")[0] == 400
    assert fetch(write_url(federation))[0] == 405

    # Senders are no sources of whom something is missing.
    code, text = fetch(federation.top.url + "/api/v1/query?query=m")
    assert code == 200 and "warnings" not in json.loads(text)


def peak_memory(daemon):
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))


def test_bombs(federation):
    """Small requests that claim much, all at once: refused, and one at a time takes memory."""
    federation.add_global(remote_write={"senders": [{"name": "any", "anonymous": True}]})
    federation.start()
    mib = 1 << 20
    before = peak_memory(federation.top)

    def all_at_once(body, count):
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            return set(pool.map(lambda _: fetch(write_url(federation), body, headers(), timeout=60)[0], range(count)))

    claim = b"\xff\xff\xff\xff\x0f" + bytes(1000)  # 1 KiB, 4 GiB
    assert all_at_once(claim, 100) == {400}
    assert peak_memory(federation.top) - before < 32 * mib
    # 1.5 MiB, which are 16 million empty series of two bytes.
    bomb = uvarint(32 * mib) + b"\x04\x0a\x00" + b"\xfe\x02\x00" * ((32 * mib - 2) // 64) + b"\xf6\x02\x00"
    assert all_at_once(bomb, 30) == {413}
    assert peak_memory(federation.top) - before < (30 * 2 * 1.5 + 32 + 64) * mib
    assert post(federation, series({"__name__": "m"}, [(time.time(), 1)]))[0] == 204


def test_off_and_reload(federation):
    federation.add_global()
    federation.start()
    good = series({"__name__": "m"}, [(time.time(), 1)])
    code, text = post(federation, good)
    assert code == 404 and "remote_write.senders" in text
    federation.top.config["remote_write"] = {"senders": [{"name": "any", "anonymous": True}]}
    federation.top.write_config()
    assert federation.top.reload()[0] == 200
    assert post(federation, good)[0] == 204
    assert post(federation, good, token="wrong")[0] == 401
    assert federation.query("m")[0][0] == {"__name__": "m", "datacenter": "eu"}
    federation.top.config["remote_write"] = {"senders": []}
    federation.top.write_config()
    assert federation.top.reload()[0] == 200
    assert post(federation, good)[0] == 404
