"""What tools/bench/query asks: expressions and metadata; what an answer holds, and whether two stores agree about it."""
import hashlib
import json
import math
from typing import NamedTuple

STEP_SECONDS = 60       # of ranges
HOUR_SECONDS = 3600
RATE_SECONDS = 300      # of [5m]: stores differ where data begin within it
ALTERNATIVES = 100      # hosts that an alternation names
ONE_HOST = 17           # the host of the questions about one
SAME_SHARE = 1e-9       # of sums: by what they may differ that are added in another order
CLOSE_SHARE = 0.02      # rate() of VictoriaMetrics does not extrapolate
CLOSE, OTHER = "~", "!"  # marks of answers that differ: within that, or more


class Question(NamedTuple):
    name: str
    path: str           # below /api/v1
    arguments: dict     # a list: once each


CPU_RATE = "sum by (mode) (rate(node_cpu_seconds_total[5m]))"
QUANTILE = "histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))"


def questions(span, hosts):
    """Questions to data that reach from span[0] to span[1] (unix seconds) of so many hosts."""
    first, end = span
    one = f'instance="host-{min(ONE_HOST, hosts - 1)}:9100"'
    named = "|".join(f"host-{host * max(1, hosts // ALTERNATIVES)}:9100" for host in range(min(ALTERNATIVES, hosts)))
    hour = {"start": max(first + RATE_SECONDS, end - HOUR_SECONDS), "end": end}

    def now(name, query):
        return Question(name, "query", {"query": query, "time": end})

    def over(name, query, start, step=STEP_SECONDS):
        return Question(name, "query_range", {"query": query, "start": start, "end": end, "step": step})

    return (
        now("sum by (mode) of rate[5m], now", CPU_RATE),
        over("sum by (mode) of rate[5m], 1 h", CPU_RATE, hour["start"]),
        over("sum by (mode) of rate[5m], all the time", CPU_RATE, first + RATE_SECONDS),
        over("avg by (mode) of rate[5m], 1 h", CPU_RATE.replace("sum", "avg"), hour["start"]),
        now("sum by (instance) of rate[5m], now",
            'sum by (instance) (rate(node_cpu_seconds_total{mode!="idle"}[5m]))'),
        now("count of all series, now", 'count({__name__=~".+"})'),
        now("topk(10), now", "topk(10, node_load1)"),
        now("one host's series, now", f"{{{one}}}"),
        over("one host's series, 1 h", f"{{{one}}}", hour["start"]),
        over("one host's CPU, all the time", f"sum by (mode) (rate(node_cpu_seconds_total{{{one}}}[5m]))",
             first + RATE_SECONDS),
        now("histogram_quantile, now", QUANTILE),
        over("histogram_quantile, 1 h", QUANTILE, hour["start"]),
        now("regex: a fifth of the hosts, now", 'sum(node_load1{instance=~"host-.*[05]:9100"})'),
        now(f"regex: {ALTERNATIVES} hosts by name, now", f'sum(node_load1{{instance=~"{named}"}})'),
        now("max_over_time, all the time", f"max_over_time(node_load1[{int(end - first)}s])"),
        now("division with group_left, now", "sum by (mode) (node_cpu_seconds_total / on (instance) group_left "
            "node_memory_MemTotal_bytes)"),
        now("subquery: max_over_time of rate[5m], 1 h", "max_over_time(rate(node_context_switches_total[5m])[1h:1m])"),
        Question("API: series of a name", "series", {"match[]": "node_load1", **hour}),
        Question("API: values of instance", "label/instance/values", hour),
        Question("API: names of labels", "labels", hour),
    )


def summary(body):
    """Of an answer that is a success: how many series and points, the sum of these, digests of what they are called."""
    data = json.loads(body)["data"]
    if isinstance(data, list):  # of metadata
        return {"series": len(data), "points": 0, "sum": 0.0, "names": digest(data), "labels": digest(data)}
    values = [float(value) for series in data["result"]
              for _, value in series.get("values") or [series["value"]]]
    finite = [value for value in values if math.isfinite(value)]
    metrics = [series["metric"] for series in data["result"]]
    unnamed = [{key: value for key, value in metric.items() if key != "__name__"} for metric in metrics]
    return {"series": len(metrics), "points": len(values), "sum": math.fsum(finite), "finite": len(finite),
            "names": digest(metrics), "labels": digest(unnamed)}


def digest(items):
    lines = sorted(json.dumps(item, sort_keys=True) for item in items)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def difference(found, expected):
    """(how far, what) an answer is from the one that it should be; None where it is the same."""
    for field in ("series", "labels", "points", "finite"):
        if found.get(field) != expected.get(field):
            return OTHER, f"{field} {found.get(field)} in place of {expected.get(field)}"
    if found["names"] != expected["names"]:
        return OTHER, "names of metrics"
    apart = abs(found["sum"] - expected["sum"]) / (abs(expected["sum"]) or 1)
    if apart <= SAME_SHARE:
        return None
    return CLOSE if apart <= CLOSE_SHARE else OTHER, f"sum {found['sum']:.9g} in place of {expected['sum']:.9g}"
