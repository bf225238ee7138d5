"""A plugin from outside of the tree, built by the command of docs/discovery-plugins.md from the example under another name:
a secondary finds targets by it, and refuses others that are not for it."""
import os
import re
import subprocess

import pytest

from discovering import add_secondary, sections, wait_up
from harness import BIN, ROOT, wait_until
from judges import discovered, wait_discovered

LINES = "10.0.0.1:9100 rack=a7 team=web\nh.example:1\n"
TARGETS = [{"__address__": "10.0.0.1:9100", "__meta_example_rack": "a7", "__meta_example_team": "web"},
           {"__address__": "h.example:1"}]


def build(directory, name="mine", file="mine.so", change=lambda source: source):
    """In an empty directory; `change` of the example's source besides its name."""
    with open(os.path.join(ROOT, "discovery", "example.c"), encoding="utf-8") as example:
        source = change(example.read().replace("discovery_example", "discovery_mine").replace('"example"', f'"{name}"'))
    with open(os.path.join(directory, "mine.c"), "w", encoding="utf-8") as out:
        out.write(source)
    with open(os.path.join(ROOT, "docs", "discovery-plugins.md"), encoding="utf-8") as page:
        command = re.search(r"^    (cc (?:.*\\\n)+.*)$", page.read(), re.M).group(1)
    command = command.replace("$T/build", os.path.dirname(BIN)).replace("$T", ROOT).replace("mine.so", file)
    done = subprocess.run(["sh", "-c", command], cwd=directory, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    shown = subprocess.run(["nm", "-D", "--defined-only", file], cwd=directory, capture_output=True, text=True, timeout=60)
    assert [line.split()[-1] for line in shown.stdout.splitlines()] == ["tributary_discovery_plugin"]


@pytest.fixture
def directory(federation):
    library = os.path.join(os.path.dirname(BIN), "libbase.a")
    if not os.path.exists(library):
        pytest.skip("the programs stand without what they were built from")
    with open(library, "rb") as file:
        if b"__asan_" in file.read():
            pytest.skip("built with sanitizers, which the page's command is not")
    made = federation.path("plugins")
    os.makedirs(made)
    return made


def prepare(federation, directory, url):
    secondary = add_secondary(federation, [{"job_name": "own", "relabel_configs": [{"action": "drop", "regex": ".*"}],
                                            "mine_sd_configs": [{"url": url, "refresh_interval": "1s"}]}])
    # Before the jobs: where plugins are is read first.
    secondary.config = {"plugin_dir": directory, **secondary.config}
    secondary.write_config()
    return secondary


def test_own_plugin(federation, directory, exporter):
    build(directory)
    pages = {"/list": LINES}
    server = exporter(pages)
    secondary = prepare(federation, directory, f"http://{server.target}/list")
    secondary.start()
    wait_discovered(secondary, TARGETS)
    server.pages["/list"] = "h.example:1\nh.example:2 broken\n"
    wait_up(secondary, 0)
    (section,) = sections(secondary).values()
    assert "line 2: expected host:port name=value" in section["problem"]
    assert sorted(target["__address__"] for target in discovered(secondary.url)) == ["10.0.0.1:9100", "h.example:1"]
    server.pages["/list"] = "h.example:1\n"
    wait_discovered(secondary, TARGETS[1:])
    wait_up(secondary, 1)


REFUSED = {
    "another ABI": ({"change": lambda source: source.replace("DISCOVERY_ABI", "99")},
                    "is of plugin ABI 99, and this tributary of 1: build it anew"),
    "no plugin": ({"change": lambda source: source.replace("DISCOVERY_MAGIC", "1")}, "is no discovery plugin"),
    "another name": ({"name": "other"}, 'is the plugin "other"'),
    "missing": ({"file": "other.so"}, "there is no plugin"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(federation, directory, name):
    keys, words = REFUSED[name]
    build(directory, **keys)
    secondary = prepare(federation, directory, "http://127.0.0.1:1/")
    secondary.start(wait=False)
    wait_until(lambda: not secondary.is_running(), what="its end")
    assert secondary.process.returncode == 2
    assert "mine_sd_configs: " in secondary.log() and words in secondary.log()
