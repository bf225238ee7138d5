"""file_sd_configs: Prometheus, vmagent and a secondary find the same targets in the same files."""
import json
import os
import time

from discovering import add_secondary, problem, wait_problem, wait_up
from harness import wait_until
from judges import needs_judges, start_prometheus, start_vmagent, wait_discovered

GROUPS = [
    {"targets": ["127.0.0.1:1", "h2.test:9100"], "labels": {"env": "prod", "city": "Zürich \"1\"", "__param_x": "y"}},
    {"targets": ["[::1]:9100"]},
    {"targets": [], "labels": {"nobody": "here"}},
]
YAML = "- targets: ['h3.test:1']\n  labels:\n    env: 'yes'\n    number: '1'\n- targets: [h4.test:1, h5.test:1]\n"


def write_whole(path, text):
    """As a program does that others read from: under another name first."""
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(path + ".new", path)


def labels(path, address, **others):
    return {"__address__": address, "__meta_filepath": path, **others}


def expected_of_all(directory):
    """What the two files of write_all say."""
    a, b = f"{directory}/a.json", f"{directory}/b.yml"
    own = GROUPS[0]["labels"]
    return [labels(a, "127.0.0.1:1", **own), labels(a, "h2.test:9100", **own), labels(a, "[::1]:9100"),
            labels(b, "h3.test:1", env="yes", number="1"), labels(b, "h4.test:1"), labels(b, "h5.test:1")]


def write_all(directory):
    os.makedirs(directory)
    write_whole(f"{directory}/a.json", json.dumps(GROUPS))
    write_whole(f"{directory}/b.yml", YAML)
    write_whole(f"{directory}/other.json.bak", json.dumps(GROUPS))


def jobs(directory, refresh="1s"):
    return [{"job_name": "files", "file_sd_configs": [{"files": [f"{directory}/*.json", f"{directory}/*.yml"],
                                                       "refresh_interval": refresh}]}]


def start_secondary(federation, directory, refresh="1s"):
    secondary = add_secondary(federation, jobs(directory, refresh))
    secondary.start()
    return secondary


@needs_judges
def test_all_find_the_same(federation):
    directory = federation.path("sd")
    write_all(directory)
    expected = expected_of_all(directory)
    for who in (start_prometheus(federation, jobs(directory)), start_vmagent(federation, jobs(directory)),
                start_secondary(federation, directory)):
        wait_discovered(who, expected)


def test_changes_are_noticed_at_once(federation):
    """By looking each 5 s alone these changes would take half as long again as they may."""
    directory, path = federation.path("sd"), federation.path("sd", "a.json")
    changes, poll_seconds = 16, 5
    write_all(directory)
    secondary = start_secondary(federation, directory, "1h")
    wait_discovered(secondary, expected_of_all(directory))
    others = [target for target in expected_of_all(directory) if target["__meta_filepath"] != path]
    end = time.monotonic() + changes * poll_seconds * 2 / 3
    for number in range(changes):
        write_whole(path, json.dumps([{"targets": [f"h{number}.test:1"]}]))
        wait_discovered(secondary, [*others, labels(path, f"h{number}.test:1")], end - time.monotonic())


def test_a_broken_file_keeps_what_it_said(federation):
    directory, path = federation.path("sd"), federation.path("sd", "a.json")
    write_all(directory)
    secondary = start_secondary(federation, directory)
    expected = expected_of_all(directory)
    wait_discovered(secondary, expected)
    wait_up(secondary, 1)

    write_whole(path, '[\n  {"targets": ["x:1"}\n]')
    said = wait_until(lambda: problem(secondary), what="a problem in the status")
    assert said.startswith(f"{path}: line 2:"), said
    wait_up(secondary, 0)
    # What of the others changes is used, beside it.
    write_whole(federation.path("sd", "c.yml"), "- targets: [c.test:1]")
    more = [*expected, labels(federation.path("sd", "c.yml"), "c.test:1")]
    wait_discovered(secondary, more)
    wait_up(secondary, 0)

    write_whole(path, json.dumps(GROUPS[1:]))
    wait_discovered(secondary, [target for target in more if "city" not in target])
    wait_up(secondary, 1)
    wait_problem(secondary, None)

    os.unlink(path)
    wait_discovered(secondary, [target for target in more if target["__meta_filepath"] != path])


def test_a_directory_that_cannot_be_listed(federation):
    """Its files are not gone. A link to itself can be listed by nobody, not even by root."""
    directory = federation.path("sd")
    write_all(directory)
    secondary = start_secondary(federation, directory)
    expected = expected_of_all(directory)
    wait_discovered(secondary, expected)
    os.rename(directory, federation.path("away"))
    os.symlink("sd", directory)  # a look between the two finds no directory, and no targets: that is true then
    wait_problem(secondary, f"{directory}/: Too many levels of symbolic links")
    os.unlink(directory)
    os.rename(federation.path("away"), directory)
    wait_up(secondary, 1)
    wait_discovered(secondary, expected)
