"""Configurations, reloads, and starts that cannot be."""
import glob
import json
import os
import re
import socket
import time

import pytest

from harness import PORTS, ROOT, fetch, program, run, wait_until

ROLES = ("secondary", "primary", "global")


def check(role, path):
    return run([program(f"tributary-{role}"), "--config", path, "--check-config"])


@pytest.mark.parametrize("role", ROLES)
def test_examples_are_fine(role):
    paths = glob.glob(os.path.join(ROOT, "conf", f"{role}*.yaml"))
    assert paths
    for path in paths:
        code, out, err = check(role, path)
        assert (code, err) == (0, ""), (path, out, err)


BAD = {
    # (line, column, a word of the message) of every error, in their order
    "secondary": ("""datacenter: dc1
secondary: "no good name!"
listne: 127.0.0.1:9410
data_dir: /tmp/x
primary:
  urls: [ftp://127.0.0.1:9411]
windows: {resolution: soon}
remote_write: []
global: {scrape_interval: 1s, scrape_timeout: 10s}
scrape_configs:
  - job_name: a
    relabel_configs:
      - {source_labels: [x], regex: '(', target_label: y}
  - job_name: a
    sample_limit: many
""", [(2, 12, "secondary"), (3, 1, "listne"), (6, 10, "URL|http"), (7, 23, "duration"), (8, 1, "primary"),
      (9, None, "scrape_timeout"), (13, None, "regex|pattern|\\("), (14, None, "job_name|unique|twice"),
      (15, 19, "number")]),
    "primary": ("""datacenter: dc1
listen: nowhere
data_dir: /tmp/x
sources:
  - {secondary: a, bearer_token_file: /does/not/exist}
globals: []
spool: {max_bytes: 1}
""", [(2, 9, "address|port"), (5, None, "exist|No such file"), (6, 10, "item|least|globals"),
      (7, 20, "size|64MiB|unit")]),
    "global": ("""name: eu
data_dir: /tmp/x
archive: {}
query: {max_samples: -1, timeout: 60}
head: 24h
""", [(3, 1, "archive"), (4, 22, "1000"), (4, 35, "unit|duration"), (5, 7, "map|section|keys")]),
}


@pytest.mark.parametrize("role", ROLES)
def test_all_errors_at_once_with_their_places(role, tmp_path):
    text, expected = BAD[role]
    path = str(tmp_path / "bad.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    code, out, err = check(role, path)
    assert (code, out) == (2, "")
    lines = err.splitlines()
    places = [re.match(re.escape(path) + r":(\d+):(\d+): (.+)", line) for line in lines]
    assert all(places), err
    got = [(int(place[1]), int(place[2]), place[3]) for place in places]
    assert len(got) == len(expected), err
    for (line, column, words), (got_line, got_column, message) in zip(expected, got):
        assert got_line == line and column in (None, got_column) and re.search(words, message), (line, column, err)
    # The daemon itself says the same and does not start.
    assert run([program(f"tributary-{role}"), "--config", path]) == (2, "", err)


@pytest.mark.parametrize("role", ROLES)
def test_files_that_are_no_configuration(role, tmp_path):
    for name, content in {"empty": b"", "torn": b"a: [1, 2", "binary": bytes(range(256)), "list": b"- a\n",
                          "deep": b"[" * 100}.items():
        path = tmp_path / name
        path.write_bytes(content)
        code, out, err = check(role, str(path))
        assert (code, out) == (2, "") and err.startswith(f"{path}:"), (name, code, out, err)
    code, out, err = check(role, str(tmp_path / "absent.yaml"))
    assert (code, out) == (2, "") and "absent.yaml" in err and "No such file" in err
    code, _, err = run([program(f"tributary-{role}")])
    assert code == 2 and "--config" in err
    code, out, _ = run([program(f"tributary-{role}"), "--version"])
    assert code == 0 and re.fullmatch(rf"tributary-{role} \d+\.\d+\.\d+\n", out)
    code, out, _ = run([program(f"tributary-{role}"), "--help"])
    assert code == 0 and "--check-config" in out


def job(name, target):
    return {"job_name": name, "static_configs": [{"targets": [target]}]}


def test_reload(federation, exporter):
    first, second = exporter({"/metrics": "a 1\n"}), exporter({"/metrics": "b 2\n"})
    federation.add_global()
    primary = federation.add_primary()
    secondary = federation.add_secondary(primary, 1, [job("first", first.target)])
    federation.start()
    wait_until(lambda: federation.by_label("up", "job") == {"first": 1}, what="the first job up")

    # Wrong: nothing changes, and the answer says where it is wrong.
    good = dict(secondary.config)
    secondary.config = {**good, "scrape_configs": [{**job("first", first.target), "scrape_intervall": "1s"}]}
    secondary.write_config()
    code, text = secondary.reload()
    assert code == 400 and re.search(re.escape(secondary.config_path) + r":\d+:\d+: .*scrape_intervall", text), text
    secondary.process.send_signal(1)  # SIGHUP
    wait_until(lambda: secondary.log().count("the old one stays in force") == 2, what="two lines in the log")
    # Right, but not without a restart.
    secondary.config = {**good, "datacenter": "dc9"}
    secondary.write_config()
    code, text = secondary.reload()
    assert code == 400 and "restart" in text, text
    before = len(federation.raw("a")[0][1])
    wait_until(lambda: len(federation.raw("a")[0][1]) >= before + 2, what="the old configuration at work")

    # Right: a new job comes; the old target goes on as if nothing had been.
    secondary.config = {**good, "scrape_configs": [job("first", first.target), job("second", second.target)]}
    secondary.write_config()
    assert secondary.reload()[0] == 200
    wait_until(lambda: federation.by_label("up", "job") == {"first": 1, "second": 1}, what="the second job up")
    (_, samples), = federation.raw("a")
    assert all(later[0] - earlier[0] < 1.6 for earlier, later in zip(samples, samples[1:])), samples
    # And goes again, by SIGHUP.
    secondary.config = good
    secondary.write_config()
    secondary.process.send_signal(1)
    wait_until(lambda: federation.by_label("up", "job") == {"first": 1}, what="the second job gone")
    assert federation.query("b") == []

    for daemon in (primary, federation.top):
        assert daemon.reload()[0] == 200
        config = dict(daemon.config)
        daemon.config["nonsense"] = 1
        daemon.write_config()
        code, text = daemon.reload()
        assert code == 400 and "nonsense" in text
        daemon.config = config
        daemon.config["listen"] = "127.0.0.1:1"
        daemon.write_config()
        code, text = daemon.reload()
        assert code == 400 and "listen" in text and "restart" in text
        assert fetch(daemon.url + "/-/ready")[0] == 200


def add(federation, role):
    top = federation.add_global()
    primary = federation.add_primary()
    secondary = federation.add_secondary(primary, 1, [])
    return {"secondary": secondary, "primary": primary, "global": top}[role]


def fails_to_start(daemon, *words):
    started = time.monotonic()
    code, out, err = run(daemon.command)
    assert code == 1 and out == "", (code, out, err)
    assert all(re.search(word, err) for word in words), err
    errors = [line for line in err.splitlines() if " error " in line]
    assert len(errors) == 1, err
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("role", ROLES)
def test_starts_that_cannot_be(federation, role):
    daemon = add(federation, role)
    # Its address is taken.
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((daemon.address, PORTS[role]))
        taken.listen()
        fails_to_start(daemon, re.escape(daemon.config["listen"]), "in use")
    # Another has its directory.
    daemon.start()
    other = dict(daemon.config, listen=f"{federation.address()}:{PORTS[role]}")
    path = federation.write("other.yaml", json.dumps(other))
    code, _, err = run([program(f"tributary-{role}"), "--config", path])
    assert code == 1 and daemon.data_dir in err and "another process" in err, err
    assert daemon.stop() == 0
    # Its directory cannot be one (also for root).
    for bad in (federation.write("file", "x"), federation.path("file", "below"), "/proc/none"):
        daemon.config["data_dir"] = bad
        daemon.write_config()
        fails_to_start(daemon, re.escape(bad), "Not a directory|No such file|exists|denied|permitted")
    # And it starts when it can.
    daemon.config["data_dir"] = federation.path("deep", "er", "data")
    daemon.write_config()
    daemon.start()
    assert os.path.isdir(daemon.config["data_dir"])


def test_tokens_that_others_may_read_are_refused(federation):
    token = federation.write("token", "secret-canary\n")
    os.chmod(token, 0o644)
    primary = federation.add_primary(sources=[{"secondary": "a", "bearer_token_file": token}])
    code, _, err = run(primary.command)
    assert code in (1, 2) and token in err and "secret-canary" not in err, err
    os.chmod(token, 0o600)
    primary.start()
    for path in ("/metrics", "/api/v1/status"):
        assert "secret-canary" not in fetch(primary.url + path)[1]
