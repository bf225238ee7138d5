"""Rules for windows, seen at the global: what is finer, what is last values alone, what is dropped and what is folded."""
import time


from harness import wait_until

RULES = [{"match": "up", "resolution": "1s"},
         {"match": "last_only", "fields": ["last"]},
         {"match": '{__name__=~"secret_.*"}', "keep": "drop"},
         {"match": '{__name__=~"container_.*"}', "keep": "aggregate", "by": ["namespace"]}]

PAGE = """# TYPE full gauge
full %(value)d
# TYPE last_only gauge
last_only %(value)d
secret_token 1
# TYPE container_memory gauge
container_memory{namespace="x",pod="a"} %(memory)g
container_memory{namespace="x",pod="b"} 0.2
container_memory{namespace="y",pod="c"} 5
# TYPE container_work_total counter
container_work_total{namespace="x",pod="a"} %(work)d
"""


class Work:
    """A gauge that is 100 at every other scrape, a counter that grows by 10 a scrape."""

    def __init__(self, memory):
        self.memory, self.scrapes = memory, 0

    def __call__(self, handler):
        self.scrapes += 1
        return PAGE % {"value": 100 * (self.scrapes % 2), "memory": self.memory, "work": 10 * self.scrapes}


def build(federation, exporter, rules):
    works = [Work(0.1), Work(7.5)]
    targets = [exporter({"/metrics": work}).target for work in works]
    federation.add_global()
    secondary = federation.add_secondary(federation.add_primary(), 1,
                                         [{"job_name": "app", "static_configs": [{"targets": targets}]}],
                                         windows={"resolution": "4s", "rules": rules})
    federation.start()
    return secondary, works


def steps(samples):
    times = [time_s for time_s, _ in samples]
    return [round(later - earlier) for earlier, later in zip(times, times[1:])]


def test_rules(federation, exporter):
    secondary, _ = build(federation, exporter, RULES)
    wait_until(lambda: len(federation.raw("full")) == 2
               and min(len(samples) for _, samples in federation.raw("full")) >= 3, 40, "three windows")
    # Resolution: up has a window for each scrape, the rest one for four.
    for _, samples in federation.raw("up"):
        assert steps(samples).count(1) >= len(samples) - 2, samples
    for _, samples in federation.raw("full"):
        assert set(steps(samples)) <= {3, 4, 5}, samples
    # Fields: of a gauge with all of them the peak between two records is known, of the other it may not be.
    assert set(federation.by_label("max_over_time(full[9s])", "instance").values()) == {100}
    assert set(federation.by_label("min_over_time(full[9s])", "instance").values()) == {0}
    last = {labels["instance"]: samples for labels, samples in federation.raw("last_only")}
    for instance, value in federation.by_label("max_over_time(last_only[9s])", "instance").items():
        assert value in {sample for _, sample in last[instance]}
    # Keep: dropped, and folded.
    assert federation.raw("secret_token") == []
    assert federation.raw("container_memory") == [] and federation.raw("container_work_total") == []
    one = {"secondary": "rack-1", "datacenter": "dc1"}
    wait_until(lambda: federation.value('container_memory:sum{namespace="x"}') == 8, what="sums of both hosts")
    (labels, _), = federation.query('container_memory:sum{namespace="x"}')
    assert {key: value for key, value in labels.items() if key != "__name__"} == {"namespace": "x", **one}
    assert federation.value('container_memory:min{namespace="x"}') == 0.1
    assert federation.value('container_memory:max{namespace="x"}') == 7.5
    assert federation.value('container_memory:count{namespace="x"}') == 4
    assert federation.value('container_memory:sum{namespace="y"}') == 10
    # Rates of sums are sums of rates: two hosts that grow by 10 a second.
    wait_until(lambda: len(federation.raw("container_work_total:sum")[0][1]) >= 4, 30, "windows of a counter")
    rate = federation.value("rate(container_work_total:sum[13s])")
    assert 12 < rate < 26, rate
    status = secondary.status()["windows"]
    assert status["resolution_seconds"] == 4 and status["finest_seconds"] == 1
    assert status["dropped_series"] == 2 and status["folded_series"] == 8 and status["aggregate_groups"] == 3
    assert [rule["series"] for rule in status["rules"][:4]] == [2, 2, 2, 8]
    assert {(row["resolution_seconds"], row["keep"]): row["series"] for row in status["classes"]}[1, "full"] == 2
    metrics = secondary.metrics()
    assert metrics['tributary_secondary_rule_series{rule="1",match="up"}'] == 2


def test_rules_change_at_a_reload(federation, exporter):
    secondary, works = build(federation, exporter, [])
    wait_until(lambda: federation.value("count(secret_token)") == 2, 30, "what is dropped later")
    secondary.config["windows"]["rules"] = RULES
    secondary.write_config()
    assert secondary.reload()[0] == 200
    wait_until(lambda: "rules_from" not in secondary.status()["windows"], 30, "the rules in force")
    wait_until(lambda: federation.query("secret_token") == [], 20, "stale markers for what is dropped")
    wait_until(lambda: federation.value('container_memory:count{namespace="x"}') == 4, 20, "aggregates")
    time.sleep(5)
    # No scrape is lost over the change, and none is there twice: windows before and after count all of them.
    wait_until(lambda: federation.value("min(count_over_time(up[10s] offset 2s))") == 10, 20, "ten seconds of up")
    for _, samples in federation.raw("up"):
        assert len(set(time_s for time_s, _ in samples)) == len(samples)
        assert max(steps(samples)) <= 5, samples
    assert secondary.stop() == 0


def test_every_scrape(federation, exporter):
    """As it is: each scrape a sample, in a batch with the others of its window."""
    rules = [{"match": '{__name__=~"full|container_.*"}', "resolution": "0s"}]
    secondary, _ = build(federation, exporter, rules)
    wait_until(lambda: len(federation.raw("full")) == 2
               and min(len(samples) for _, samples in federation.raw("full")) >= 12, 40, "three windows")
    for _, samples in federation.raw("full"):
        assert steps(samples).count(1) >= len(samples) - 2, samples
        assert {value for _, value in samples} == {0, 100}
    for _, samples in federation.raw("last_only"):
        assert set(steps(samples)) <= {3, 4, 5}, samples
    assert federation.value("count(container_memory)") == 6
    assert secondary.stop() == 0
