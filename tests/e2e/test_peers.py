"""Prometheus' own tools against the global, and a real exporter below it."""
import json
import os
import shutil
import time

import pytest

from exporter import Numbered
from harness import fetch, run, wait_until

PROMTOOL = shutil.which("promtool")
NODE_EXPORTER = shutil.which("prometheus-node-exporter")


def promtool(federation, kind, *words, flags=()):
    code, out, err = run([PROMTOOL, "query", "-o", "json", kind, *flags, federation.top.url, *words])
    assert code == 0, (kind, words, out, err)
    return json.loads(out)


@pytest.mark.skipif(not PROMTOOL, reason="promtool is not installed (Debian's prometheus)")
def test_promtool(federation, exporter):
    made = exporter({"/metrics": Numbered(others='g{le="0.5"} NaN\nplain{a="\u00e9 \\"q\\""} 1.5\n')})
    federation.add_global()
    federation.add_secondary(federation.add_primary(), 1,
                             [{"job_name": "a", "static_configs": [{"targets": [made.target]}]}])
    federation.start()
    wait_until(lambda: (federation.value("scrapes_total") or 0) >= 4, what="four windows")
    labels = {"__name__": "plain", "a": '\u00e9 "q"', "datacenter": "dc1", "instance": made.target, "job": "a"}

    (series,) = promtool(federation, "instant", "plain")
    assert series["metric"] == labels and series["value"][1] == "1.5"
    assert promtool(federation, "instant", 'g{le="0.5"}')[0]["value"][1] == "NaN"
    assert promtool(federation, "instant", "1 / 0")[1] == "+Inf"
    now = time.time()
    (series,) = promtool(federation, "range", "scrapes_total",
                         flags=[f"--start={now - 3:.3f}", f"--end={now:.3f}", "--step=1s"])
    values = [int(value) for _, value in series["values"]]
    assert len(values) >= 3 and values == list(range(values[0], values[0] + len(values)))
    assert promtool(federation, "series", flags=["--match=plain"]) == [labels]
    assert promtool(federation, "labels", "job") == ["a"]
    assert promtool(federation, "labels", "__name__", flags=['--match={le="0.5"}']) == ["g"]

    # As people read it, and its errors.
    code, out, _ = run([PROMTOOL, "query", "instant", federation.top.url, "sum by (job) (up)"])
    assert code == 0 and out.startswith('{job="a"} => 1 @[')
    code, _, err = run([PROMTOOL, "query", "instant", federation.top.url, "sum(up"])
    assert code != 0 and "1:7: parse error: unclosed left parenthesis" in err


@pytest.mark.skipif(not NODE_EXPORTER, reason="prometheus-node-exporter is not installed")
def test_node_exporter(federation):
    target = f"{federation.address()}:9100"
    federation.add_process("node", [NODE_EXPORTER, f"--web.listen-address={target}", "--log.level=error"])
    federation.add_global()
    secondary = federation.add_secondary(federation.add_primary(), 1,
                                         [{"job_name": "node", "static_configs": [{"targets": [target]}]}])
    federation.start()
    wait_until(lambda: (federation.value("count_over_time(up[1m])") or 0) >= 5 and federation.value("up") == 1,
               what="five scrapes")
    scraped = federation.value("scrape_samples_scraped")
    assert scraped > 300
    # Each series that is scraped is there, those that the scraper adds too.
    stored = wait_until(lambda: federation.value('count({job="node"})'), what="series")
    assert stored >= scraped + 6
    _, page = fetch(f"http://{target}/metrics")
    names = {line.partition("{")[0].partition(" ")[0] for line in page.splitlines() if line[:1] not in ("#", "")}
    assert names <= set(federation.api("label/__name__/values"))
    with open("/proc/meminfo", encoding="ascii") as file:
        total_bytes = int(file.readline().split()[1]) * 1024
    assert federation.value("node_memory_MemTotal_bytes") == total_bytes
    assert 0 < federation.value("sum(rate(node_cpu_seconds_total[10s]))") < 2 * os.cpu_count()
    assert secondary.metrics()['tributary_secondary_scrapes_total{outcome="parse"}'] == 0
