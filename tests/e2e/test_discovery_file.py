"""file_sd_configs: Prometheus, vmagent and a secondary find the same targets in the same files."""
import json
import os

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


def jobs(directory):
    return [{"job_name": "files", "file_sd_configs": [{"files": [f"{directory}/*.json", f"{directory}/*.yml"],
                                                       "refresh_interval": "1s"}]}]


@needs_judges
def test_judges_agree(federation):
    directory = federation.path("sd")
    write_all(directory)
    expected = expected_of_all(directory)
    judges = [start_prometheus(federation, jobs(directory)), start_vmagent(federation, jobs(directory))]
    for judge in judges:
        wait_discovered(judge, expected)
