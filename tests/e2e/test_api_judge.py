"""Prometheus 2.42 as the judge of the API's answers: the same blocks in both, the same questions to both. JSON is
compared as it is parsed, numbers by the text in which they stand there."""
import json
import math
import os
import random
import shutil
import struct
import urllib.parse
import urllib.request

import pytest

from harness import Federation, fetch, run, wait_until

pytestmark = pytest.mark.skipif(not (shutil.which("promtool") and shutil.which("prometheus")),
                                reason="no prometheus and promtool on this machine")

START = 1700006400  # a border of two hours
STEP = 15
STEPS = 40
END = START + STEP * STEPS


def values():
    """Numbers that are hard to write: around the borders of exponents, the ends of the range, short and long ones."""
    chosen = [0.0, -0.0, 1.0, -1.0, 0.1, 1 / 3, math.inf, -math.inf, math.nan, 5e-324, 2.2250738585072014e-308,
              1.7976931348623157e308, 123456789.0, 1e15, 1e16, 1e17, 2.0 ** 53, 2.0 ** 53 + 2, 2.0 ** 63, 2.0 ** 64]
    chosen += [sign * 10.0 ** exponent for exponent in range(-9, 24) for sign in (1, -1)]
    chosen += [math.nextafter(10.0 ** exponent, towards) for exponent in (-7, -6, -5, 20, 21, 22)
               for towards in (0.0, math.inf)]
    generator = random.Random(42)
    while len(chosen) < 250:
        value = struct.unpack(">d", generator.getrandbits(64).to_bytes(8, "big"))[0]
        if not math.isnan(value):
            chosen.append(value)
    return chosen


def number_text(value):
    return {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, "NaN" if math.isnan(value) else repr(value))


def page():
    lines = ["# TYPE hard gauge"]
    lines += [f'hard{{i="{i:03}"}} {number_text(value)} {END}' for i, value in enumerate(values())]
    lines += ["# TYPE gauge gauge"]
    for step in range(STEPS + 1):
        lines += [f'gauge{{job="j{host % 2}",host="h{host}",text="a\\"\\\\\\n\u00e4<&>"}} {step * host / 7!r} '
                  f"{START + step * STEP + host / 8:.3f}" for host in range(4)]
    lines += ["# TYPE requests counter"]
    for step in range(STEPS + 1):
        lines += [f'requests_total{{job="j{host % 2}",host="h{host}"}} {step * (host + 1) % 25} {START + step * STEP}'
                  for host in range(4)]
    lines += ["# TYPE seconds histogram"]
    for step in range(STEPS + 1):
        lines += [f'seconds_bucket{{le="{bound}"}} {step * weight} {START + step * STEP}'
                  for bound, weight in (("0.1", 1), ("1", 5), ("+Inf", 6))]
    return "\n".join([*lines, "# EOF", ""])


class World(Federation):
    def theirs_and_ours(self, path, parameters, method="GET", headers=None):
        """[(status, content type, body)] of Prometheus and of the global."""
        answers = []
        for url in (self.judge, self.top.url):
            text = urllib.parse.urlencode(parameters, doseq=True)
            target = f"{url}{path}" + (f"?{text}" if text and method != "POST" else "")
            request = urllib.request.Request(target, data=text.encode() if method == "POST" else None, method=method,
                                             headers=headers or {})
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:
                    answers.append((answer.status, answer.headers["Content-Type"], answer.read().decode()))
            except urllib.error.HTTPError as error:
                answers.append((error.code, error.headers["Content-Type"], error.read().decode()))
        return answers

    def agree(self, path, parameters, method="GET"):
        (their_status, their_type, theirs), (status, kind, ours) = self.theirs_and_ours(path, parameters, method)
        place = (path, parameters, theirs[:2000], ours[:2000])
        assert (status, kind) == (their_status, their_type), place
        answer = exact(ours)
        if isinstance(answer, dict):
            answer.pop("coverage", None)  # what is ours beside Prometheus' answer, and no client of it minds
        assert answer == exact(theirs), place
        return answer


def exact(text):
    """JSON with numbers as they stand there; order among series of a vector says nothing."""
    answer = json.loads(text, parse_float=lambda number: ("number", number), parse_int=lambda number: ("number", number))
    data = answer.get("data")
    if isinstance(data, dict) and data.get("resultType") == "vector":
        data["result"].sort(key=lambda series: json.dumps(series["metric"], sort_keys=True))
    return answer


@pytest.fixture(scope="module")
def world():
    made = World("judge")
    try:
        text = made.write("page.om", page())
        code, _, err = run(["promtool", "tsdb", "create-blocks-from", "openmetrics", text, made.path("blocks")],
                           timeout=60)
        assert code == 0, err
        made.add_global(retention=[{"class": "default", "samples": "36000d"}])  # the samples are years old
        for directory in (made.path("judge-data"), os.path.join(made.top.data_dir, "blocks")):
            shutil.copytree(made.path("blocks"), directory)
        config = made.write("prometheus.yml", "scrape_configs: []\n")
        address = f"{made.address()}:9090"
        made.judge = f"http://{address}"
        made.add_process("prometheus", ["prometheus", f"--config.file={config}", "--query.timeout=60s",
                                        f"--storage.tsdb.path={made.path('judge-data')}",
                                        "--storage.tsdb.retention.time=100y", f"--web.listen-address={address}"])
        made.start()
        wait_until(lambda: fetch(f"{made.judge}/-/ready")[0] == 200, what="prometheus ready")
        yield made
    finally:
        made.close()


# ---- Answers --------------------------------------------------------------------------------------------------------

INSTANT = [
    "hard", "hard * 2", "-hard", "hard[1m]", "gauge", "gauge[2m]", "gauge[2m:30s]", "sum by (job) (gauge)",
    "rate(requests_total[5m])", "requests_total offset 1m", "gauge @ 1700006500", "gauge @ end()", "nothing",
    "histogram_quantile(0.9, rate(seconds_bucket[5m]))", "topk(2, gauge)", "count_values('v', hard)", "absent(nothing{a='b'})",
    "1", "1e21", "1e-7", "-0", "1/0", "NaN", "0.1", "123456789012345678", "time()", "vector(1e-7)", '"text < & > \u00e4"',
    "gauge and on(host) requests_total", "scalar(gauge{host='h3'})", "timestamp(gauge)", "label_replace(gauge,'x','$1','host','h(.)')",
]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_instant(world, method):
    for query in INSTANT:
        for time in (f"{END}", f"{END - 7.5}", "2023-11-15T00:09:00.25Z"):
            world.agree("/api/v1/query", {"query": query, "time": time}, method)


def test_times_of_one_point(world):
    for time in ("0", "-1.5", "-0.001", "1.5", "1.05", "1.005", "1e9", "1435781451.781", "9223372036.854"):
        for query in ("vector(1)", "1", "'x'"):
            world.agree("/api/v1/query", {"query": query, "time": time})


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_range(world, method):
    for query in ("gauge", "hard", "rate(requests_total[1m])", "sum(gauge)", "max_over_time(gauge[2m:15s])", "nothing",
                  "1e21", "vector(1e-7)", "time()", "gauge > 3", "histogram_quantile(0.5, seconds_bucket)", "1/0"):
        for start, end, step in ((START, END, "15"), (START - 60.5, END + 400, "37.25s"), (END, END, "1m")):
            world.agree("/api/v1/query_range", {"query": query, "start": start, "end": end, "step": step}, method)


def test_series_and_labels(world):
    scopes = [{"match[]": "gauge"}, {"match[]": ["gauge", '{host="h1"}']}, {"match[]": "nothing"},
              {"match[]": "gauge", "start": END + 9000}, {"match[]": '{__name__=~"g.*|h.*"}', "end": START - 9000}]
    for scope in scopes:
        for method in ("GET", "POST"):
            world.agree("/api/v1/series", scope, method)
            world.agree("/api/v1/labels", scope, method)
        for name in ("host", "job", "__name__", "le", "none"):
            world.agree(f"/api/v1/label/{name}/values", scope)
    world.agree("/api/v1/labels", {})
    world.agree("/api/v1/label/text/values", {})


def test_format_query(world):
    for query in ("sum(rate(a[5m]))by(b)", "a", "1", "-a", "a{b='c'}", "a offset 5m", "(a)", "a+b*c"):
        for method in ("GET", "POST"):
            world.agree("/api/v1/format_query", {"query": query}, method)


# ---- Errors ---------------------------------------------------------------------------------------------------------

AT = {"time": END}
SPAN = {"start": START, "end": END, "step": 15}
ERRORS = [
    ("query", {}), ("query", {"query": "sum("}), ("query", {"query": "sum(a", **AT}), ("query", {"query": "a{"}),
    ("query", {"query": "1", "time": "x"}), ("query", {"query": "1", "timeout": "x"}), ("query", {"query": "{}"}),
    ("query", {"query": "rate(a)"}), ("query", {"query": "a[5m] + 1"}), ("query", {"query": "nosuch(a)"}),
    ("query", {"query": "gauge + on(job) gauge", **AT}),
    ("query", {"query": "gauge * on(job) group_left() gauge", **AT}),
    ("query_range", {"query": "a"}), ("query_range", {"query": "a", **SPAN, "start": "x"}),
    ("query_range", {"query": "a", **SPAN, "end": "x"}), ("query_range", {"query": "a", **SPAN, "step": "x"}),
    ("query_range", {"query": "a", **SPAN, "step": "0"}), ("query_range", {"query": "a", **SPAN, "step": "-1"}),
    ("query_range", {"query": "a", **SPAN, "end": START - 1}), ("query_range", {"query": "a", **SPAN, "start": 0}),
    ("query_range", {"query": "a[1m]", **SPAN}), ("query_range", {"query": "'a'", **SPAN}),
    ("query_range", {"query": "a(", **SPAN}), ("query_range", {"query": "a", **SPAN, "timeout": "x"}),
    ("query_range", {"query": "a", **SPAN, "step": "1e300"}), ("query_range", {"query": "a", **SPAN, "step": ""}),
    ("series", {}), ("series", {"match[]": "a{"}), ("series", {"match[]": "{}"}), ("series", {"match[]": '{a=""}'}),
    ("series", {"match[]": "a", "start": "x"}), ("series", {"match[]": "a", "end": "x"}),
    ("labels", {"match[]": "a{"}), ("labels", {"match[]": "{}"}), ("labels", {"start": "x"}), ("labels", {"end": "x"}),
    ("label/a-b/values", {}), ("label/a/values", {"match[]": "a{"}), ("label/a/values", {"match[]": '{a=~".*"}'}),
    ("label/a/values", {"start": "x"}), ("format_query", {}), ("format_query", {"query": "a("}),
    ("query_exemplars", {}), ("query_exemplars", {"query": "a("}), ("query_exemplars", {"query": "a", "start": "x"}),
    ("query_exemplars", {"query": "a", "start": 5, "end": 1}), ("rules", {"type": "x"}), ("metadata", {"limit": "x"}),
]


def test_errors(world):
    for path, parameters in ERRORS:
        (their_status, _, theirs), (status, _, ours) = world.theirs_and_ours(f"/api/v1/{path}", parameters)
        assert status == their_status >= 400 and json.loads(ours) == json.loads(theirs), (path, parameters, theirs, ours)


# ---- What is empty here as there ------------------------------------------------------------------------------------

def test_empty_answers(world):
    for path, parameters in [("rules", {}), ("rules", {"type": "alert"}), ("rules", {"type": "Record"}), ("alerts", {}),
                             ("alertmanagers", {}), ("query_exemplars", {"query": "a"}), ("metadata", {}),
                             ("metadata", {"metric": "a", "limit": "-1"}), ("targets", {}), ("targets", {"state": "any"}),
                             ("targets", {"state": "dropped"}), ("targets", {"state": "ACTIVE"}),
                             ("targets", {"state": "x"}), ("status/walreplay", {})]:
        world.agree(f"/api/v1/{path}", parameters)
    world.agree("/api/v1/query_exemplars", {"query": "a"}, "POST")


def shape(value):
    """Fields and types, without what stands in them."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return type(value).__name__


def test_status_has_the_same_form(world):
    for path in ("status/runtimeinfo", "status/config"):
        (_, _, theirs), (status, _, ours) = world.theirs_and_ours(f"/api/v1/{path}", {})
        assert status == 200 and shape(json.loads(ours)) == shape(json.loads(theirs)), (theirs, ours)
    (_, _, theirs), (status, _, ours) = world.theirs_and_ours("/api/v1/status/flags", {})
    ours, theirs = json.loads(ours)["data"], json.loads(theirs)["data"]
    assert set(ours) <= set(theirs) and all(isinstance(value, str) for value in ours.values())
    for name in ("query.lookback-delta", "query.max-samples", "log.level", "enable-feature"):
        assert ours[name] == theirs[name], name


# ---- Statistics -----------------------------------------------------------------------------------------------------

def test_counts_of_samples(world):
    def counted(path, parameters):
        answers = world.theirs_and_ours(path, {**parameters, "stats": "all"})
        return [json.loads(body)["data"]["stats"]["samples"]["totalQueryableSamples"] for _, _, body in answers]

    for query in ("gauge", "gauge + gauge", "rate(requests_total[1m])", "sum(gauge offset 1m)", "gauge[2m]", "1", "nothing",
                  "max_over_time(gauge[2m:15s])", "gauge @ 1700006700", "timestamp(gauge)", "topk(1, gauge)",
                  "rate(requests_total[1m] @ 1700006700)", "absent_over_time(gauge[1m])", "quantile_over_time(0.5, gauge[1m])"):
        theirs, ours = counted("/api/v1/query", {"query": query, "time": END})
        assert theirs == ours, (query, theirs, ours)
        if not query.endswith("m]"):
            theirs, ours = counted("/api/v1/query_range", {"query": query, **SPAN})
            assert theirs == ours, (query, theirs, ours)
    (_, _, body) = world.theirs_and_ours("/api/v1/query", {"query": "gauge", "time": END, "stats": "all"})[1]
    timings = json.loads(body)["data"]["stats"]["timings"]
    assert 0 < timings["evalTotalTime"] <= timings["execTotalTime"]
    assert "stats" not in json.loads(world.theirs_and_ours("/api/v1/query", {"query": "1"})[1][2])["data"]
