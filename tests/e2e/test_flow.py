"""From exporters to answers at the global."""
import json
import time

from exporter import Numbered
from harness import wait_until

STALE_NAN_SECONDS = 3  # two windows and the way up

PAGE = """# HELP requests_total Requests served.
# TYPE requests_total counter
requests_total{path="/",code="200"} %d
requests_total{path="/",code="500"} 7
# TYPE temperature gauge
temperature{sensor="a"} 21.5
debug_noise{kind="x"} 1
secret_total{token="abc"} 3
"""


class Ramp:
    """A counter that grows by a known rate per second of real time."""

    def __init__(self, per_second):
        self.per_second, self.since = per_second, time.time()

    def __call__(self, handler):
        return PAGE % round((time.time() - self.since) * self.per_second)


def build(federation, jobs):
    """Two datacenters with two secondaries each; jobs(datacenter, rack) gives the scrape_configs."""
    federation.add_global()
    for number, datacenter in enumerate(("dc1", "dc2"), 1):
        primary = federation.add_primary(datacenter, number)
        for rack in (1, 2):
            federation.add_secondary(primary, rack, jobs(datacenter, rack))
    federation.start()


def test_two_datacenters(federation, exporter):
    rates = {("dc1", 1): 10, ("dc1", 2): 20, ("dc2", 1): 40, ("dc2", 2): 80}
    made = {key: exporter({"/metrics": Ramp(rate)}) for key, rate in rates.items()}

    def jobs(datacenter, rack):
        return [{"job_name": "app", "static_configs": [{"targets": [made[datacenter, rack].target]}]},
                {"job_name": "nobody", "static_configs": [{"targets": [f"{federation.net}.250:9"]}]}]

    build(federation, jobs)
    wait_until(lambda: federation.by_label("count by (datacenter) (up == 1)", "datacenter") == {"dc1": 2, "dc2": 2},
               what="two targets up in each datacenter")
    # Both secondaries of a datacenter scrape the same dead target: that is one series.
    wait_until(lambda: federation.by_label("count by (datacenter) (up == 0)", "datacenter") == {"dc1": 1, "dc2": 1},
               what="one dead target in each datacenter")

    dead = federation.query('scrape_failure{job="nobody"} == 1')
    assert {labels["reason"] for labels, _ in dead} == {"connect"} and len(dead) == 2

    # Windows of a second hold every scrape: rates are those of the exporter.
    rate = 'sum by (datacenter, instance) (rate(requests_total{code="200"}[6s]))'
    wait_until(lambda: len(federation.raw("requests_total{code='200'}")) == 4
               and min(len(samples) for _, samples in federation.raw("requests_total{code='200'}")) >= 8,
               what="eight windows")
    got = federation.by_label(rate, "instance")
    for key, per_second in rates.items():
        assert abs(got[made[key].target] - per_second) < per_second * 0.15 + 1, (key, got)

    series = federation.api("series", **{"match[]": "temperature"})
    assert sorted(labels["datacenter"] for labels in series) == ["dc1", "dc1", "dc2", "dc2"]
    assert series[0] == {"__name__": "temperature", "sensor": "a", "job": "app",
                         "datacenter": series[0]["datacenter"], "instance": series[0]["instance"]}
    assert federation.api("labels") == ["__name__", "code", "datacenter", "instance", "job", "kind", "path",
                                        "reason", "sensor", "token"]
    assert federation.api("label/datacenter/values") == ["dc1", "dc2"]
    assert federation.api("label/__name__/values", **{"match[]": '{sensor="a"}'}) == ["temperature"]
    ranged = federation.api("query_range", query="sum(temperature)", start=time.time() - 3, end=time.time() - 2, step=1)
    assert [float(value) for _, value in ranged["result"][0]["values"]] == [86.0, 86.0]

    # A target that vanishes is stale at once, its up says 0, the others go on.
    gone = made["dc1", 1]
    gone.close()
    wait_until(lambda: federation.value(f'up{{instance="{gone.target}"}}') == 0, what="the target down")
    assert federation.query(f'temperature{{instance="{gone.target}"}}') == []
    assert len(federation.query("temperature")) == 3


def test_labels_and_relabelling(federation, exporter):
    page = exporter({"/metrics": PAGE % 5 + 'owned{datacenter="elsewhere",instance="mine",job="theirs"} 1\n'})
    target = page.target
    rules = [
        {"source_labels": ["__address__"], "regex": r"(.*):\d+", "target_label": "host"},
        {"regex": "meta_(.+)", "replacement": "m_$1", "action": "labelmap"},
        {"source_labels": ["role"], "regex": "spare", "action": "drop"},
        {"source_labels": ["__address__"], "modulus": 1, "target_label": "shard", "action": "hashmod"},
    ]
    metric_rules = [
        {"source_labels": ["__name__"], "regex": "debug_.*", "action": "drop"},
        {"regex": "token", "action": "labeldrop"},
        {"source_labels": ["__name__", "code"], "regex": "requests_total;(.)..", "target_label": "class",
         "replacement": "${1}xx"},
    ]
    jobs = [
        {"job_name": "app", "relabel_configs": rules, "metric_relabel_configs": metric_rules,
         "static_configs": [{"targets": [target], "labels": {"meta_rack": "7", "datacenter": "inner"}},
                            {"targets": [f"{federation.net}.250:1"], "labels": {"role": "spare"}}]},
        {"job_name": "honest", "honor_labels": True, "static_configs": [{"targets": [target]}]},
        {"job_name": "plain", "static_configs": [{"targets": [target], "labels": {"datacenter": "inner"}}]},
    ]
    federation.add_global()
    federation.add_secondary(federation.add_primary(), 1, jobs)
    federation.start()
    wait_until(lambda: federation.by_label("up", "job") == {"app": 1, "honest": 1, "plain": 1}, what="three jobs up")

    common = {"__name__": "temperature", "datacenter": "dc1", "job": "app", "instance": target, "sensor": "a",
              "host": target.partition(":")[0], "m_rack": "7", "meta_rack": "7", "shard": "0",
              "exported_datacenter": "inner"}
    assert federation.query('temperature{job="app"}') == [(common, 21.5)]
    assert federation.query('up{role="spare"}') == []  # dropped before the scrape
    assert federation.query('debug_noise{job="app"}') == []
    assert federation.query('debug_noise{job="plain"}') != []
    assert [labels.get("token") for labels, _ in federation.query('secret_total{job="app"}')] == [None]
    assert federation.by_label('requests_total{job="app"}', "class") == {"2xx": 5, "5xx": 7}

    def owned(job_or_instance):
        (labels, _), = federation.query("owned{%s}" % job_or_instance)
        del labels["__name__"]
        return labels

    # honor_labels: the page's labels win, but the datacenter is the sender's, always.
    assert owned('job="theirs"') == {"job": "theirs", "instance": "mine", "datacenter": "dc1",
                                     "exported_datacenter": "elsewhere"}
    # Without: the target's win, and what the page said is kept as exported_*.
    plain = owned('job="plain"')
    assert plain["exported_job"] == "theirs" and plain["exported_instance"] == "mine"
    assert plain["datacenter"] == "dc1" and plain["instance"] == target
    assert "elsewhere" in plain.values()


def test_file_sd(federation, exporter):
    made = exporter({"/metrics": "a 1\n", "/other": "b 2\n"})

    def groups(*labelled):
        return json.dumps([{"targets": [target], "labels": labels} for target, labels in labelled])

    path = federation.write("targets.json", groups((made.target, {"rack": "1"})))
    federation.write("more.yaml", f'- targets: ["{made.target}"]\n  labels: {{rack: "y"}}\n')
    job = {"job_name": "files", "file_sd_configs": [
        {"files": [federation.path("targets*.json"), federation.path("more.yaml")], "refresh_interval": "1s"}]}
    federation.add_global()
    secondary = federation.add_secondary(federation.add_primary(), 1, [job])
    federation.start()
    wait_until(lambda: set(federation.by_label("up", "rack")) == {"1", "y"}, what="the targets of both files")

    federation.write("targets.json", groups((made.target, {"rack": "2"})))
    wait_until(lambda: set(federation.by_label("up", "rack")) == {"2", "y"}, what="the change of a file")
    assert federation.query('a{rack="1"}') == []  # ended, so stale

    # A file that breaks keeps its last targets, and says so once.
    federation.write("targets.json", '[{"targets": ["x:1"')
    wait_until(lambda: path in secondary.log(), what="a line on the broken file")
    time.sleep(STALE_NAN_SECONDS)
    assert set(federation.by_label("up", "rack")) == {"2", "y"}
    assert secondary.log().count(path) <= 2
    federation.write("targets.json", groups((made.target, {"rack": "3"}),
                                            (made.target, {"__metrics_path__": "/other"})))
    wait_until(lambda: set(federation.by_label("up", "rack")) == {"3", "y", None}, what="the repaired file")
    wait_until(lambda: federation.value("b") == 2, what="the page of another path")


def test_every_scrape_is_one_window(federation, exporter):
    """Timestamps of samples are those of the scrapes, on the target's schedule."""
    page = Numbered()
    made = exporter({"/metrics": page})
    federation.add_global()
    federation.add_secondary(federation.add_primary(), 1,
                             [{"job_name": "n", "static_configs": [{"targets": [made.target]}]}])
    federation.start()
    wait_until(lambda: page.count() >= 6, what="six scrapes")
    count = 5
    wait_until(lambda: (federation.value("scrapes_total") or 0) >= count, what="five samples")
    (_, samples), = federation.raw("scrapes_total")
    assert [value for _, value in samples[:count]] == list(range(1, count + 1))
    # Times are those of the schedule, but where a busy machine began too late for it.
    phases = [round(time_s % 1, 3) for time_s, _ in samples[:count]]
    usual = max(set(phases), key=phases.count)
    assert phases.count(usual) * 2 > count and all((phase - usual) % 1 < 0.5 for phase in phases), phases
    for time_s, number in samples[:count]:
        assert 0 <= page.served[int(number) - 1] - time_s < 0.5, (time_s, number)
    ups = dict(federation.raw("up")[0][1])
    assert set(time_s for time_s, _ in samples) <= set(ups)
