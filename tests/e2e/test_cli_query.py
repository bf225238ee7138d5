"""What `tributary query` makes of known answers: on terminals of several widths, in pipes, and where answers are bad."""
import csv
import io
import json
import os
import re

import pytest

from answers import Answers, success
from harness import has_terminals, program, run
from terminal import on_terminal, places

OK, FAILED, USAGE, UNREACHABLE = range(4)
START = 1700000400  # 2023-11-14 22:20:00
RANGE = ("--start", str(START), "--end", str(START + 3600), "--step", "60")
HOSTILE = "\x1b]0;title\x07\x1b[2J\n\u202e\u009b31m"
needs_terminals = pytest.mark.skipif(not has_terminals(),
                                     reason="this machine has no pseudo-terminals (/dev/pts is not mounted)")


@pytest.fixture(scope="module")
def daemon():
    made = Answers()
    yield made
    made.close()


@pytest.fixture
def ask(daemon):
    """In a pipe: (exit code, stdout, stderr)."""
    def call(*words, **environment):
        return run([program("tributary"), *words],
                   env={**os.environ, "TRIBUTARY_URL": daemon.url, "LANG": "C.UTF-8", **environment})

    return call


@pytest.fixture
def see(daemon):
    """On a terminal: (exit code, lines)."""
    def call(*words, **options):
        code, text = on_terminal([program("tributary"), *words], **{"TRIBUTARY_URL": daemon.url, "NO_COLOR": "1", **options})
        return code, text.splitlines()

    return call


def series(values, step=60, **labels):
    """A range's series; None is a step without a value."""
    return {"metric": labels,
            "values": [[START + step * i, str(value)] for i, value in enumerate(values) if value is not None]}


def vector(*values, **labels):
    return [{"metric": {**labels, "instance": f"host-{i}"}, "value": [START, value]} for i, value in enumerate(values)]


# ---- On a terminal ----

@needs_terminals
def test_a_vector_is_a_table(daemon, see):
    daemon.set(success("vector", vector("1", "8350294016", "0.123456789", "NaN", __name__="m", job="node")))
    assert see("query", "m") == (OK, ['m{job="node"}',
                                      "instance   VALUE",
                                      "host-0         1",
                                      "host-1     8.35G",
                                      "host-2    0.1235",
                                      "host-3       NaN"])
    code, lines = see("query", "-v", "m")
    assert code == OK and lines[3:5] == ["host-1     8350294016", "host-2    0.123456789"]
    daemon.set(success("vector", []))
    assert see("query", "m") == (OK, ["no series"])
    daemon.set(success("scalar", [START, "3"]))
    assert see("query", "3") == (OK, ["3"])


@needs_terminals
def test_a_wide_vector_on_a_narrow_terminal(daemon, see):
    found = [{"metric": {"datacenter": f"dc{i}", "instance": f"10.0.0.{i}:9100", "rack": f"a rather long name {i}"},
              "value": [START, str(i)]} for i in range(3)]
    daemon.set(success("vector", found))
    code, lines = see("query", "m", columns=40)
    assert code == OK and all(places(line) <= 40 for line in lines)
    text = re.sub(r"\n *", "", "\n".join(lines))
    for i in range(3):
        assert f'{i}  {{datacenter="dc{i}",instance="10.0.0.{i}:9100",rack="a rather long name {i}"}}' in text


@needs_terminals
def test_few_series_of_a_range_are_a_plot(daemon, see):
    daemon.set(success("matrix", [series([i for i in range(61)], __name__="m", a="up"),
                                  series([60 - i for i in range(61)], __name__="m", a="down")]))
    code, lines = see("query", *RANGE, "m", columns=40, lines=20)
    assert (code, lines) == (OK, """
m
2023-11-14 22:20:00 to 23:20:00 UTC,
step 1m
60 ┤ooo                              ***
   │  oooo                        ****
   │      oooo                ****
40 ┤         oooo          ****
   │             oooo  ****
   │                ****
   │            ****    oooo
20 ┤         ****          oooo
   │     ****                  oooo
   │  ****                        oooo
 0 ┤**                                oo
   └──────┬────────────────┬────────────
          22:30            23:00
   a     MIN  MAX  LAST
*  up      0   60    60
o  down    0   60     0
""".strip("\n").splitlines())


@needs_terminals
def test_colours_and_dots(daemon, see):
    daemon.set(success("matrix", [series([0] * 61, a="0"), series([1] * 61, a="1")]))
    code, lines = see("query", *RANGE, "m", NO_COLOR=None)
    text = "\n".join(lines)
    assert code == OK and "\x1b[36m⣀⣀⣀" in text and "\x1b[33m⠉⠉⠉" in text
    assert "\x1b[36m⣿\x1b[0m" in text and "\x1b[33m⣿\x1b[0m" in text, "the legend has the colours"
    for environment in ({"NO_COLOR": "1"}, {"NO_COLOR": None, "TERM": "dumb"}, {"NO_COLOR": None, "TERM": None}):
        code, lines = see("query", *RANGE, "m", **environment)
        assert code == OK and "\x1b" not in "\n".join(lines) and any("****" in line for line in lines)
    code, lines = see("query", *RANGE, "m", LANG="C")
    assert code == OK and "\n".join(lines).isascii()


@needs_terminals
def test_many_series_are_sparklines(daemon, see):
    daemon.set(success("matrix", [series([i * j for i in range(61)], a=f"series-{j:02}") for j in range(20)]))
    for columns in (40, 80, 200):
        code, lines = see("query", *RANGE, "m", columns=columns)
        assert code == OK and all(places(line) <= columns for line in lines[1:])
        text = "\n".join(lines)
        assert all(f"series-{j:02}" in text for j in range(20))
        bars = [line for line in lines if "█" in line]
        assert len(bars) == 19 and all(re.search(r"▁.*▃.*▅.*▇.*█", line) for line in bars)
        assert re.search(r"0 +60 +60$", bars[0]), "minimum, maximum, last"
    code, lines = see("query", *RANGE, "-o", "plot", "m", lines=60)
    assert code == OK and sum("series-" in line for line in lines) == 20 and any("┤" in line for line in lines)


@needs_terminals
def test_peaks_gaps_and_odd_values(daemon, see):
    values = ["1"] * 11000
    values[3000] = "100"
    daemon.set(success("matrix", [series(values, step=1, a="0")]))
    words = ("query", "--start", str(START), "--end", str(START + 10999), "--step", "1", "m")
    code, lines = see(*words)
    assert code == OK and sum(line.endswith("⡇") or line.endswith("⢸") for line in lines) >= 5, "\n".join(lines)
    code, lines = see(*words, "-o", "spark")
    assert code == OK and lines[-1].count("█") == 1
    daemon.set(success("matrix", [series([None if 20 <= i < 40 else 1 for i in range(61)], a="0")]))
    code, lines = see("query", *RANGE, "-o", "spark", "m")
    assert code == OK and re.fullmatch(r"0  ▅{19,20} {20}▅{20,21} +1  +1  +1", lines[-1]), lines
    code, lines = see("query", *RANGE, "m")
    assert code == OK and any(re.search(r"⠉⠉⠉⠉⠉ {15,}⠈?⠉⠉⠉⠉⠉", line) for line in lines), "\n".join(lines)
    for odd in (["NaN"], ["+Inf", "1"], ["1"], ["1e308", "-1e308"], ["5e-324"], ["0"] * 3):
        daemon.set(success("matrix", [series(odd, a="0")]))
        for form in ("plot", "spark"):
            code, lines = see("query", *RANGE, "-o", form, "m")
            assert code == OK and all(places(line) <= 80 for line in lines)


@needs_terminals
def test_nothing_steers_the_terminal(daemon, see):
    labels = {"a": HOSTILE, "wide": "日本語", "accents": "e\u0301" * 3}
    bad = [{"metric": {**labels, "i": str(i)}, "value": [START, "1"]} for i in range(2)]
    ranges = [series([1, 2], i=str(i), **labels) for i in range(2)]
    cases = [(success("vector", bad, warnings=[HOSTILE], infos=[HOSTILE]), (), ("table", "plain", "csv", "json", "prom")),
             (success("matrix", ranges), RANGE, ("plot", "spark", "plain", "csv", "json", "prom")),
             (success("string", [START, HOSTILE]), (), ("table", "plain", "csv", "json"))]
    for answer, times, forms in cases:
        daemon.set(answer)
        for form in forms:
            code, lines = see("query", *times, "-o", form, "m")
            text = "\n".join(lines)
            assert code == OK and not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text), (form, text)
            assert "title" in text
    daemon.set({"status": "error", "errorType": "execution", "error": HOSTILE}, status=422)
    code, lines = see("query", "m")
    assert code == FAILED and "\x1b" not in "\n".join(lines)
    daemon.set(success("vector", bad))
    code, lines = see("query", "-o", "json", "m")
    assert json.loads("\n".join(lines)) == success("vector", bad), "escaped, it is the same JSON"


# ---- In pipes ----

def test_plain_csv_and_json_in_pipes(daemon, ask):
    daemon.set(success("matrix", [series(["1", "2.50"], __name__="m", a='x,"y"\nz'), series(["NaN"], b="1")]))
    code, out, err = ask("query", *RANGE, "m")
    assert (code, err) == (OK, "") and out.splitlines() == [
        'm{a="x,\\"y\\"\\nz"} 2023-11-14T22:20:00.000Z 1', 'm{a="x,\\"y\\"\\nz"} 2023-11-14T22:21:00.000Z 2.50',
        '{b="1"} 2023-11-14T22:20:00.000Z NaN']
    code, out, _ = ask("query", *RANGE, "-o", "csv", "m")
    assert code == OK and list(csv.reader(io.StringIO(out))) == [
        ["__name__", "a", "b", "time", "value"],
        ["m", 'x,"y"\nz', "", "2023-11-14T22:20:00.000Z", "1"],
        ["m", 'x,"y"\nz', "", "2023-11-14T22:21:00.000Z", "2.50"],
        ["", "", "1", "2023-11-14T22:20:00.000Z", "NaN"]]
    daemon.set(b' {"status": "success", "data": {"resultType": "vector",\t"result": []}, "more": 1.50}\n')
    assert ask("query", "-o", "json", "m") == (OK, daemon.answer.decode(), "")


def test_exposition_format(daemon, ask):
    daemon.set(success("vector", [{"metric": {"__name__": "b", "x": 'a"\\\n'}, "value": [START, "1"]},
                                  {"metric": {"__name__": "a"}, "value": [START + 0.25, "+Inf"]},
                                  {"metric": {"y": "z"}, "value": [START, "NaN"]},
                                  {"metric": {"__name__": "b"}, "value": [START, "2"]}]))
    code, out, err = ask("query", "-o", "prom", "m")
    assert (code, err) == (OK, "") and out.splitlines() == [
        "# TYPE a untyped", f"a +Inf {START}250",
        "# TYPE b untyped", f'b{{x="a\\"\\\\\\n"}} 1 {START}000', f"b 2 {START}000",
        "# TYPE query_result untyped", f'query_result{{y="z"}} NaN {START}000']
    daemon.set(success("string", [START, "text"]))
    assert ask("query", "-o", "prom", "m")[0] == USAGE


def test_forced_pictures_in_pipes(daemon, ask):
    daemon.set(success("matrix", [series(range(61), a="0")]))
    code, out, _ = ask("query", *RANGE, "-o", "plot", "m", COLUMNS="40", LINES="20")
    assert code == OK and "\x1b" not in out and all(places(line) <= 40 for line in out.splitlines()[2:])
    daemon.set(success("vector", vector("1")))
    assert ask("query", "-o", "plot", "m")[0] == USAGE


def test_steps_and_times_that_are_asked(daemon, ask):
    daemon.set(success("matrix", []))
    for words, step in ((("--range", "1h"), 30), (("--range", "24h"), 900), (("--range", "1m"), 1),
                        (("--start", "-2h", "--end", "now-1h"), 30), (("--range", "1h", "--step", "0.5"), 0.5)):
        assert ask("query", *words, "m")[0] == OK
        path, form = daemon.asked
        assert path == "/api/v1/query_range" and float(form["step"][0]) == step
        assert (float(form["end"][0]) - float(form["start"][0])) % step == pytest.approx(0, abs=0.001)
    daemon.set(success("vector", []))
    assert ask("query", "--at", "2023-11-14T22:20:00Z", "m")[0] == OK
    assert daemon.asked[0] == "/api/v1/query" and float(daemon.asked[1]["time"][0]) == START


# ---- Datacenters ----

def test_datacenters_narrow_what_is_asked(daemon, ask):
    daemon.set(success("vector", []))
    for words, asked in (
            (("-d", "dc1", "sum(rate(a[5m])) / b"), 'sum(rate(a{datacenter="dc1"}[5m])) / b{datacenter="dc1"}'),
            (("-d", "dc1", "-d", "d.2", "a"), 'a{datacenter=~"dc1|d\\\\.2"}'),
            (("-d", "dc1", 'a{datacenter=~"dc.*"}'), 'a{datacenter="dc1",datacenter=~"dc.*"}'),
            (("a {}",), "a {}")):
        assert ask("query", *words)[0] == OK
        assert daemon.asked[1]["query"] == [asked]
    for words in (("-d", "dc1", 'a + b{datacenter="dc2"}'), ("-d", "dc1", "-d", "dc2", 'a + b{datacenter=~"x.*"}')):
        code, out, err = ask("query", *words)
        lines = err.splitlines()
        assert (code, out) == (USAGE, "") and "another datacenter" in lines[0] and lines[2].index("^") == lines[1].index("b{")
    code, _, err = ask("query", "-d", "dc1", "sum(a")
    assert code == FAILED and err == "1:6: parse error: unclosed left parenthesis\n  sum(a\n       ^\n"


def test_series_labels_and_values(daemon, ask):
    daemon.set({"status": "success", "data": [{"__name__": "up", "a": "x"}, {"a": "\n"}], "warnings": ["cut"]})
    assert ask("series", "up", "-d", "dc1", "--limit", "2") == (OK, 'up{a="x"}\n{a="\\n"}\n', "warning: cut\n")
    path, form = daemon.asked
    assert path == "/api/v1/series" and form["match[]"] == ['up{datacenter="dc1"}'] and form["limit"] == ["2"]
    daemon.set({"status": "success", "data": ["a", "b\x1b\n"]})
    assert ask("values", "a b", "up", "down", "--start", str(START)) == (OK, "a\nb\\x1b\\x0a\n", "")
    path, form = daemon.asked
    assert path == "/api/v1/label/a%20b/values" and form["match[]"] == ["up", "down"]
    assert float(form["start"][0]) == START
    assert ask("labels", "-d", "x", "-d", "y")[0] == OK
    assert daemon.asked[0] == "/api/v1/labels" and daemon.asked[1]["match[]"] == ['{datacenter=~"x|y"}']
    code, out, _ = ask("labels", "-o", "json")
    assert code == OK and json.loads(out) == daemon.answer and "match[]" not in daemon.asked[1]
    assert ask("series")[0] == USAGE and ask("values")[0] == USAGE and ask("labels", "--limit", "x")[0] == USAGE
    daemon.set({"status": "success", "data": {"a": 1}})
    assert ask("labels")[0] == FAILED


# ---- What an answer says besides, and what is wrong with it ----

def test_warnings_and_coverage(daemon, ask):
    coverage = {"complete": False, "datacenters": [
        {"datacenter": "dc1", "complete": False}, {"datacenter": "dc2", "complete": True},
        {"datacenter": "dc3", "complete": False, "targetsExpected": 30, "targetsAnswered": 29, "gapCount": 2}]}
    daemon.set(success("vector", [], warnings=["incomplete: dc1: 1 of 2 sources told nothing"], infos=["a gauge"],
                       coverage=coverage))
    code, out, err = ask("query", "m")
    assert (code, out) == (OK, "") and err.splitlines() == [
        "warning: incomplete: dc1: 1 of 2 sources told nothing", "note: a gauge",
        "warning: datacenter dc3 is not complete, 29 of 30 targets answered, 2 gaps"]
    assert ask("query", "--strict", "m")[0] == FAILED
    code, out, err = ask("query", "--strict", "-o", "json", "m")
    assert code == FAILED and json.loads(out) == daemon.answer and err == ""
    daemon.set(success("vector", [], infos=["a gauge"]))
    assert ask("query", "--strict", "m") == (OK, "", "note: a gauge\n")
    for odd in ([], 1, "x", None, {"datacenters": {"a": 1}}, {"datacenters": [1, {}, {"datacenter": 2, "complete": False}]}):
        daemon.set(success("vector", [], coverage=odd, warnings=odd, infos=odd))
        assert ask("query", "m")[:2] == (OK, ""), odd


def test_places_of_errors(daemon, ask):
    daemon.set({"status": "error", "errorType": "execution", "error": "1:7: many-to-many matching"}, status=422)
    assert ask("query", "日 + b") == (FAILED, "", "1:7: many-to-many matching\n  日 + b\n       ^\n")
    daemon.set({"status": "error", "errorType": "bad_data",
                "error": 'invalid parameter "query": 2:3: parse error: unexpected x'}, status=400)
    assert ask("query", "a\n\tbc") == (FAILED, "", "2:3: parse error: unexpected x\n   bc\n    ^\n")
    daemon.set({"status": "error", "errorType": "bad_data", "error": "1:901: parse error: x"}, status=400)
    code, _, err = ask("query", "a" * 2000, COLUMNS="50")
    lines = err.splitlines()
    assert code == FAILED and all(len(line) <= 50 for line in lines) and lines[1].startswith("  ...a")
    daemon.set({"status": "error", "errorType": "bad_data", "error": "9:1: parse error: x"}, status=400)
    assert ask("query", "a") == (FAILED, "", "tributary: bad_data: 9:1: parse error: x\n")


def test_answers_that_are_none(daemon, ask):
    whole = success("matrix", [series(range(1000), a="0")])
    daemon.set(b"<html><body>Please log in")
    code, out, err = ask("query", "m")
    assert (code, out) == (FAILED, "") and "web page" in err and "--url" in err
    daemon.set(b"<html>Bad gateway", status=502)
    code, _, err = ask("query", "m")
    assert code == FAILED and "web page" in err and "502" in err
    daemon.set(json.dumps(whole).encode()[:3000])
    code, out, err = ask("query", *RANGE, "m")
    assert (code, out) == (FAILED, "") and "cut off (at byte 3000 of 3000)" in err
    daemon.set(whole, cut=500)
    code, out, err = ask("query", *RANGE, "m")
    assert (code, out) == (UNREACHABLE, "") and "try again" in err
    for answer in ({}, {"status": "success"}, success("vector", {}), success("nonsense", []), success("vector", [1]),
                   success("vector", [{"metric": {}, "value": [START]}]),
                   success("vector", [{"metric": {"a": 1}, "value": [START, "1"]}]),
                   success("vector", [{"metric": {}, "value": [START, "x"]}]),
                   success("matrix", [{"metric": {}, "values": []}]),
                   success("matrix", [{"metric": {}, "values": [[2, "1"], [1, "1"]]}])):
        daemon.set(answer)
        code, out, err = ask("query", "m")
        assert (code, out) == (FAILED, "") and "none of the query API" in err, answer


def test_large_answers_take_bounded_memory(daemon):
    """24 MB of points in less than four times that; as one tree of JSON they would take ten times."""
    one = json.dumps(series([f"{i}.5" for i in range(10000)], a="0"))
    daemon.set(('{"status":"success","data":{"resultType":"matrix","result":[' + ",".join([one] * 100) + "]}}").encode())
    size = len(daemon.answer)
    assert size > 20_000_000
    probe = ("import resource, subprocess, sys; code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL); "
             "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)")
    code, out, err = run(["/usr/bin/python3", "-c", probe, program("tributary"), "query", "--url", daemon.url, *RANGE, "m"],
                         timeout=80, env={**os.environ, "ASAN_OPTIONS": "quarantine_size_mb=1"})  # in such a build
    assert (code, err) == (OK, "") and int(out) * 1024 < 4 * size, out
