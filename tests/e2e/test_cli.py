"""The command `tributary` against daemons that run."""
import csv
import glob
import io
import json
import os
import re
import shutil
import subprocess

import pytest

from exporter import Exporter, Numbered
from harness import ROOT, Federation, has_terminals, program, run, wait_until
from terminal import on_terminal

OK, FAILED, USAGE, UNREACHABLE = range(4)
CSV_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(scope="module")
def world():
    """A federation for all tests here: they only look. target: the exporter's address, dead: one that is none."""
    made = Federation("cli")
    try:
        served = made.add_exporter(Exporter(made.address(), 9100, {
            "/metrics": Numbered(others='plain{a="x y",b="1,2\\"3"} 1\n')}))
        made.target, made.dead = served.target, f"{made.net}.250:1"
        made.add_global()
        made.primary = made.add_primary()
        made.secondary = made.add_secondary(made.primary, 1, [
            {"job_name": "a", "static_configs": [{"targets": [made.target]}]},
            {"job_name": "dead", "static_configs": [{"targets": [made.dead]}]}])
        made.start()
        wait_until(lambda: (made.value("scrapes_total") or 0) >= 4, what="four windows")
        yield made
    finally:
        made.close()


@pytest.fixture
def cli(world):
    def call(*words, **environment):
        return run([program("tributary"), *words], env={**os.environ, "TRIBUTARY_URL": world.top.url, **environment})

    return call


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_query_instant(world, cli):
    labels = {"__name__": "plain", "a": "x y", "b": '1,2"3', "datacenter": "dc1", "instance": world.target, "job": "a"}
    code, out, err = cli("query", "plain")
    assert (code, err) == (OK, "")
    assert out == ('plain{a="x y",b="1,2\\"3",datacenter="dc1",instance="%s",job="a"} 1\n' % world.target)
    code, out, _ = cli("query", "-o", "json", "plain")
    answer = json.loads(out)
    assert code == OK and answer["status"] == "success"
    assert [(series["metric"], series["value"][1]) for series in answer["data"]["result"]] == [(labels, "1")]
    code, out, _ = cli("query", "plain", "--output", "csv")
    (row,) = rows(out)
    assert code == OK and CSV_TIME.fullmatch(row.pop("time")) and row.pop("value") == "1" and row == labels
    assert cli("query", "1 + 1") == (OK, "2\n", "")
    assert cli("query", '"text"') == (OK, "text\n", "")
    code, out, _ = cli("query", "nothing_is_called_so")
    assert (code, out) == (OK, "")
    assert cli("query", "--", "-1") == (OK, "-1\n", "")
    # In the past, before there was anything.
    assert cli("query", "--at", "1d", "up")[:2] == (OK, "")


def test_query_range(world, cli):
    code, out, _ = cli("query", "-o", "csv", "--range", "3s", "--step", "1s", "scrapes_total")
    values = [int(row["value"]) for row in rows(out)]
    assert code == OK and len(values) >= 3 and values == list(range(values[0], values[0] + len(values)))
    code, out, _ = cli("query", "-o", "json", "--range", "3s", "--step", "1s", "scrapes_total")
    (series,) = json.loads(out)["data"]["result"]
    times = [time_s for time_s, _ in series["values"]]
    assert code == OK and not re.search(r"\d\.\d{4}", out), f"times as floating point has them: {out}"
    assert [round(after - before, 3) for before, after in zip(times, times[1:])] == [1.0] * (len(times) - 1)
    code, out, _ = cli("query", "--start", "2s", "--end", "now", "--step", "1s", "up == 1")
    assert code == OK and len(out.splitlines()) >= 2
    code, out, _ = cli("query", "scrapes_total[3s]")
    assert code == OK and 2 <= len(out.splitlines()) <= 4


def test_query_errors(world, cli):
    assert cli("query", "sum(up") == (FAILED, "", "1:7: parse error: unclosed left parenthesis\n  sum(up\n        ^\n")
    code, out, err = cli("query", "up + rate(up)")
    lines = err.splitlines()
    assert (code, out) == (FAILED, "") and lines[2].index("^") == lines[1].index("rate(") + len("rate(")
    code, out, err = cli("query", "sum(\nup +)")
    assert code == FAILED and err.startswith("2:5: ") and "  up +)\n      ^" in err
    code, out, err = cli("query", "--url", f"http://{world.net}.250:1", "up")
    assert (code, out) == (UNREACHABLE, "") and f"{world.net}.250" in err
    code, out, err = cli("query", "--url", world.primary.url, "up")  # answers, but has no such route
    assert (code, out) == (FAILED, "") and err
    for words in (["query"], ["query", "-o", "xml", "up"], ["query", "--wrong", "up"], ["query", "--step", "x", "up"],
                  ["query", "--range", "tomorrow", "up"], ["nonsense"], [], ["help", "nonsense"], ["query", "a", "b"],
                  ["query", "--url"]):
        code, out, err = cli(*words)
        assert (code, out) == (USAGE, "") and err, (words, code, out, err)


@pytest.mark.skipif(not has_terminals(), reason="this machine has no pseudo-terminals (/dev/pts is not mounted)")
def test_tables_on_a_terminal(world, cli):
    def see(*words, **environment):
        return on_terminal([program("tributary"), *words], TRIBUTARY_URL=world.top.url, **environment)

    code, out = see("query", "up")
    title, head, *lines = out.splitlines()
    assert code == OK and "up{datacenter=" in title and len(lines) == 2
    assert any(world.target in line for line in lines) and "\x1b[1mVALUE" in head
    code, out = see("query", "--range", "3s", "--step", "1s", "scrapes_total")
    assert code == OK and "┤" in out and "\x1b[1mLAST" in out
    code, out = see("targets", NO_COLOR="1")
    assert code == OK and "\x1b" not in out and world.dead in out
    assert "\x1b" not in cli("targets")[1]


def test_series_labels_and_values(world, cli):
    assert cli("series", "up") == (OK, "".join(
        f'up{{datacenter="dc1",instance="{address}",job="{job}"}}\n'
        for address, job in sorted([(world.target, "a"), (world.dead, "dead")])), "")
    assert cli("values", "job", "up") == (OK, "a\ndead\n", "")
    assert cli("values", "job", "up", "-d", "dc1", "--limit", "1")[:2] == (OK, "a\n")
    assert cli("values", "job", "-d", "dc2") == (OK, "", "")
    assert cli("labels", "plain") == (OK, "__name__\na\nb\ndatacenter\ninstance\njob\n", "")
    code, out, _ = cli("labels", "-o", "json", "-d", "dc1")
    assert code == OK and "datacenter" in json.loads(out)["data"]
    code, out, err = cli("series", "up{")
    assert (code, out) == (FAILED, "") and err
    assert cli("query", "-d", "dc1", "count(up)") == (OK, "{} 2\n", "")
    assert cli("query", "-d", "dc2", "count(up)") == (OK, "", "")


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_exposition_format_is_read_by_promtool(world, cli):
    code, out, _ = cli("query", "-o", "prom", "--range", "3s", "--step", "1s", '{job="a"}')
    done = subprocess.run(["promtool", "check", "metrics"], input=out, capture_output=True, text=True, timeout=20)
    assert code == OK and len(out.splitlines()) > 10 and "error" not in done.stderr + done.stdout, done.stderr
    # The same values that promtool's own question gets.
    code, out, _ = cli("query", "-o", "prom", "--at", "now", "plain")
    told = subprocess.run(["promtool", "query", "instant", world.top.url, "plain"], capture_output=True, text=True, timeout=20)
    assert code == OK and out.splitlines()[1].split("} ")[1].split()[0] == told.stdout.split("=> ")[1].split()[0] == "1"


def test_targets(world, cli):
    code, out, err = cli("targets")
    lines = [line.split() for line in out.splitlines()]
    assert code == OK and lines[0][:4] == ["STATE", "DATACENTER", "JOB", "INSTANCE"]
    assert sorted(line[:4] for line in lines[1:]) == sorted([["up", "dc1", "a", world.target],
                                                            ["DOWN", "dc1", "dead", world.dead]])
    code, out, _ = cli("targets", "--url", world.secondary.url)
    assert code == OK and re.search(r"DOWN +dead .*connect", out)
    code, out, _ = cli("targets", "--down")
    assert code == OK and world.dead in out and world.target not in out
    assert cli("targets", "--fail")[0] == FAILED
    assert cli("targets", "--fail", '{job="a"}')[0] == OK


def test_status(world, cli):
    for daemon, words in ((world.top, ["global", "series", "rack-1"]), (world.primary, ["primary", "rack-1", "eu"]),
                          (world.secondary, ["secondary", "spool", world.primary.url])):
        code, out, err = cli("status", "--url", daemon.url)
        assert (code, err) == (OK, "") and all(word in out for word in words), out
        code, out, _ = cli("status", "--url", daemon.url, "-o", "json")
        assert code == OK and json.loads(out)["daemon"] == daemon.role
    assert cli("status", "--url", f"{world.net}.250:1")[0] == UNREACHABLE


def test_inspect(world, cli):
    spool = os.path.join(world.primary.data_dir, "spool")
    segments = glob.glob(os.path.join(spool, "*.segment"))
    for path in (world.primary.data_dir, spool, world.secondary.data_dir, world.top.data_dir, segments[0]):
        code, out, err = cli("inspect", path)
        assert (code, err) == (OK, ""), (path, out, err)
        assert "0 bytes damaged" in out and int(re.search(r"(\d+) batches", out)[1]) >= 4, out
    code, out, _ = cli("inspect", "--records", segments[0])
    assert code == OK and "scrapes_total" in out and world.target in out and "rack-1" in out
    code, out, _ = cli("inspect", "--blocks", segments[0])
    assert code == OK and "scrape_duration_seconds" in out

    # A damaged place is named, the rest is told.
    with open(segments[0], "rb") as file:
        data = bytearray(file.read())
    at = data.index(b"TRB\x01", len(data) // 2)
    data[at + 40] ^= 1
    bad = world.path("damaged.segment")
    with open(bad, "wb") as file:
        file.write(data)
    code, out, err = cli("inspect", bad)
    damaged = int(re.search(r"(\d+) bytes damaged", out)[1])
    assert code == FAILED and bad in err and damaged > 20 and int(re.search(r"(\d+) batches", out)[1]) >= 2, (out, err)
    for path in ("/does/not/exist", os.path.join(ROOT, "README.md")):
        code, out, err = cli("inspect", path)
        assert code == FAILED and path in err


def test_check_config(world, cli, tmp_path):
    paths = [daemon.config_path for daemon in (world.top, world.primary, world.secondary)]
    code, out, err = cli("check-config", *paths, *glob.glob(os.path.join(ROOT, "conf", "*.yaml")))
    assert (code, err) == (OK, ""), (out, err)
    bad = tmp_path / "bad.yaml"
    bad.write_text("datacenter: dc1\nsecondary: a\ndata_dir: x\nprimary: {urls: []}\nwrong: 1\n")
    code, out, err = cli("check-config", str(bad))
    assert code == FAILED and re.search(re.escape(str(bad)) + r":4:\d+: ", out + err)
    assert re.search(re.escape(str(bad)) + r":5:1: .*wrong", out + err)
    code, out, err = cli("check-config", "--daemon", "global", str(bad))
    assert code == FAILED and f"{bad}:2:1: " in out + err
    assert cli("check-config", str(tmp_path / "absent"))[0] == FAILED


def test_format_query(world, cli):
    nowhere = f"http://{world.net}.250:1"
    assert cli("format-query", "sum(up)by(job)", TRIBUTARY_URL=nowhere) == (OK, "sum by (job) (up)\n", "")
    code, out, err = cli("format-query", "sum(up")
    assert (code, out) == (FAILED, "") and "1:7" in err and "^" in err


def test_version_and_help(cli):
    code, out, _ = cli("version")
    assert code == OK and re.fullmatch(r"tributary \d+\.\d+\.\d+\n", out)
    code, out, err = cli("help")
    commands = ["query", "series", "labels", "values", "targets", "status", "blocks", "retention", "delete", "deletions",
                "check-config", "inspect", "format-query"]
    assert (code, err) == (OK, "") and all(re.search(rf"^  {name} ", out, re.M) for name in commands)
    for name in commands:
        code, out, err = cli("help", name)
        assert (code, err) == (OK, "") and out.startswith(f"usage: tributary {name}") and "Exit status" in out
        assert all(len(line) <= 120 for line in out.splitlines())
        assert cli(name, "--help")[:2] == (OK, out)
