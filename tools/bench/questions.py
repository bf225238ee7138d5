"""What stores are asked: how long answers take, and whether everything acknowledged is there."""
import json
import statistics
import time

from proc import BenchError

ASKED = 7              # times each, after a first one
STEP_SECONDS = 60      # of a range
RATE_SPAN_SECONDS = 3600
RATE_SECONDS = 300     # of [5m]: stores differ where data begin within it
MARGIN_SECONDS = 3600  # a count reaches so much further back than the data
ANSWER_SECONDS_MAX = 600


def questions(span):
    """(name, kind of query, its arguments) for data of this span: start, end and a window's seconds."""
    start, end, window = span
    one = 'node_load1{instance="host-0:9100"}'
    hour = {"start": max(start + RATE_SECONDS, end - RATE_SPAN_SECONDS), "end": end, "step": STEP_SECONDS}
    return (
        ("sum by (mode) of all hosts, now", "query",
         {"query": "sum by (mode) (node_cpu_seconds_total)", "time": end}),
        ("sum by (instance) of rate[5m], now", "query",
         {"query": 'sum by (instance) (rate(node_cpu_seconds_total{mode!="idle"}[5m]))', "time": end}),
        ("sum by (mode) of rate[5m], 1 h", "query_range",
         {"query": "sum by (mode) (rate(node_cpu_seconds_total[5m]))", **hour}),
        ("one series, the whole span", "query_range", {"query": one, "start": start, "end": end, "step": window}),
    )


def measure(store, span):
    """Milliseconds of each question, and what stores must agree about."""
    found = {}
    for name, kind, arguments in questions(span):
        times = []
        for _ in range(1 + ASKED):
            begin = time.monotonic()
            answer = store.ask(kind, arguments)
            times.append(1000 * (time.monotonic() - begin))
        result = json.loads(answer)["data"]["result"]
        values = [float(value) for series in result for _, value in series.get("values") or [series["value"]]]
        found[name] = {"first_ms": times[0], "median_ms": statistics.median(times[1:]), "series": len(result),
                       "points": len(values), "sum": sum(values)}
    return found


def wait_answer(store, span):
    """Until the first sample of a host is answered."""
    start, end, _ = span
    arguments = {"query": f'last_over_time(node_load1{{instance="host-0:9100"}}[{window_of(span)}s])', "time": end}
    deadline = time.monotonic() + ANSWER_SECONDS_MAX
    while time.monotonic() < deadline:
        try:
            if store.ask_result("query", arguments):
                return
        except OSError:
            time.sleep(0.01)
    raise BenchError(f"{store.name} does not answer what it was given between {start} and {end}")


def window_of(span):
    start, end, _ = span
    return int(end - start + MARGIN_SECONDS)


def count_by_host(store, hosts, span):
    """Samples of all series of each host, as the store answers it: name by name, as a count loses the name."""
    counts = [0] * hosts
    instances = {f"host-{host}:9100": host for host in range(hosts)}
    for name in store.names(span[0], span[1]):
        query = f"sum by (instance) (count_over_time({name}[{window_of(span)}s]))"
        for series in store.ask_result("query", {"query": query, "time": span[1] + 1}):
            counts[instances[series["metric"]["instance"]]] += round(float(series["value"][1]))
    return counts


def compare(counted, acknowledged):
    """(missing, more than acknowledged), summed over hosts."""
    return (sum(max(0, a - c) for c, a in zip(counted, acknowledged)),
            sum(max(0, c - a) for c, a in zip(counted, acknowledged)))
