"""`tributary discover`: what all sections say, what rules make of it, and what is wrong; and the same of a running
secondary."""
import json
import os
import shutil
import threading

import pytest

from harness import BIN, fetch, program, run, wait_until

GROUPS = [{"targets": ["h1:9100", "h2:9100"], "labels": {"env": "prod", "__meta_rack": "7"}},
          {"targets": ["h3:9100"], "labels": {"env": "test"}},
          {"targets": ["no address"]}]
RULES = [{"source_labels": ["env"], "regex": "test", "action": "drop"},
         {"regex": "__meta_(rack)", "action": "labelmap"},
         {"source_labels": ["env"], "regex": "prod", "target_label": "env", "replacement": "production"},
         {"regex": "rack", "action": "labeldrop"}]


def sd_page(text, content_type="application/json"):
    """A page that http_sd_configs reads."""
    return lambda handler: handler.answer(200, text, content_type)


@pytest.fixture
def discover(federation, tmp_path):
    """discover(scrape_configs, options...): exit code, stdout, stderr."""
    def call(jobs, *options, **keys):
        config = {"datacenter": "dc1", "secondary": "rack-1", "data_dir": str(tmp_path / "data"),
                  "primary": {"urls": [f"http://{federation.net}.250:1"]}, "scrape_configs": jobs, **keys}
        path = federation.write("discover.yaml", json.dumps(config))
        return run([program("tributary"), "discover", "--config", path, *options], timeout=60)

    return call


def test_targets_before_and_after_rules(federation, discover):
    path = federation.write("targets.json", json.dumps(GROUPS))
    jobs = [{"job_name": "files", "file_sd_configs": [{"files": [path]}], "relabel_configs": RULES},
            {"job_name": "fixed", "static_configs": [{"targets": ["a:1", "a:1", "b:1"]}], "target_limit": 1}]
    code, out, err = discover(jobs)
    assert (code, err) == (0, "")
    files, fixed = out.split("job fixed: ")
    assert files.startswith("job files: 2 targets, 1 dropped, 1 invalid, 0 repeated\n"
                            '  rule 0: {source_labels: [env], regex: "test", action: drop}\n'
                            '  rule 1: {regex: "__meta_(rack)", action: labelmap}\n'
                            '  rule 2: {source_labels: [env], regex: "prod", target_label: "env", '
                            'replacement: "production"}\n'
                            '  rule 3: {regex: "rack", action: labeldrop}\n')
    blocks = [block.splitlines() for block in files.strip().split("\n\n")[1:]]
    assert [block[0] for block in blocks] == ["  http://h1:9100/metrics", "  http://h2:9100/metrics",
                                              "  h3:9100  DROPPED",
                                              '  no address  INVALID: not an address, host:port: "no address"']
    assert [line.strip() for line in blocks[0]][1:] == [
        'found    __address__="h1:9100"', f'__meta_filepath="{path}"', '__meta_rack="7"', '__metrics_path__="/metrics"',
        '__scheme__="http"', '__scrape_interval__="15s"', '__scrape_timeout__="10s"', 'env="prod"', 'job="files"',
        'rule 1   rack="7"', 'rule 2   env: "prod" -> "production"', 'rule 3   rack: "7" -> none',
        'labels   env="production"', 'instance="h1:9100"', 'job="files"']
    assert blocks[2][-1].strip() == "rule 0   drops it"
    assert fixed.startswith("2 targets, 0 dropped, 0 invalid, 1 repeated; target_limit leaves out 1\n")
    assert "http://a:1/metrics  the same target once more" in fixed

    code, out, err = discover(jobs, "--targets-only", "--job", "files")
    assert (code, err) == (0, "") and out.splitlines()[1:] == [
        f'  http://h{i}:9100/metrics  {{env="production",instance="h{i}:9100",job="files"}}' for i in (1, 2)]
    code, out, err = discover(jobs, "--job", "nobody")
    assert code == 2 and "no scrape_config of the name 'nobody'" in err
    assert run([program("tributary"), "discover"])[0] == 2
    code, _, err = discover([{"job_name": "x", "static_configs": [{"targets": 7}]}])
    assert code == 1 and "targets" in err


def test_as_json(federation, discover):
    path = federation.write("targets.json", json.dumps(GROUPS))
    code, out, err = discover([{"job_name": "files", "file_sd_configs": [{"files": [path]}], "relabel_configs": RULES}],
                              "--json")
    answer = json.loads(out)
    job, = answer["jobs"]
    assert (code, err) == (0, "") and job["job"] == "files" and len(job["relabelConfigs"]) == 4
    assert answer["sections"] == [{"job": "files", "sd": "file", "section": 0, "complete": True, "targets": 4,
                                   "problem": None}]
    first, _, dropped, invalid = job["targets"]
    assert [target["state"] for target in job["targets"]] == ["target", "target", "dropped", "invalid"]
    assert first["labels"] == {"env": "production", "instance": "h1:9100", "job": "files"}
    assert first["discoveredLabels"]["__meta_rack"] == "7" and first["scrapeUrl"] == "http://h1:9100/metrics"
    assert first["steps"] == [
        {"rule": 1, "changes": [{"label": "rack", "before": "", "after": "7"}]},
        {"rule": 2, "changes": [{"label": "env", "before": "prod", "after": "production"}]},
        {"rule": 3, "changes": [{"label": "rack", "before": "7", "after": ""}]}]
    assert dropped["rule"] == 0 and dropped["steps"] == [{"rule": 0, "dropped": True, "changes": []}]
    assert "not an address" in invalid["error"]


def test_a_problem_of_each_section(federation, exporter, discover):
    pages = exporter({"/good": sd_page(json.dumps([{"targets": ["h1:9100"]}])),
                      "/html": sd_page("<!DOCTYPE html><html>Sign in</html>"),
                      "/cut": sd_page('[{"targets": ["h2:9100"]}, {"targ')})

    def http(*paths):
        return [{"url": f"http://{pages.target}{path}"} for path in paths]

    jobs = [{"job_name": "web", "http_sd_configs": http("/good", "/html", "/absent", "/cut")},
            {"job_name": "nobody", "http_sd_configs": [{"url": f"http://{federation.net}.250:1/sd"}]}]
    code, out, err = discover(jobs, "--targets-only")
    assert code == 1 and err.splitlines()[-1] == "4 of 5 sections failed", err
    assert "job web: 1 targets" in out and "job nobody: 0 targets" in out
    problems = {line.split(": ")[0] + " " + line.split(": ")[1]: line for line in err.splitlines()[:-1]}
    assert sorted(problems) == ["job nobody http_sd_configs[0]",
                                *(f"job web http_sd_configs[{i}]" for i in (1, 2, 3))]
    assert "HTML" in problems["job web http_sd_configs[1]"]
    assert "404" in problems["job web http_sd_configs[2]"]
    assert "in the middle" in problems["job web http_sd_configs[3]"]
    code, _, err = discover([{"job_name": "slow", "http_sd_configs": http("/slow")}], "--timeout", "nonsense")
    assert code == 2 and "--timeout" in err
    code, _, err = discover([{"job_name": "x", "static_configs": [], "basic_auth": {
        "username": "u", "password_file": "/nonexistent"}}])
    assert code == 1 and "/nonexistent" in err


def test_no_answer_in_time(exporter, discover):
    over = threading.Event()
    pages = exporter({"/hangs": lambda handler: over.wait(30) and None})
    code, out, err = discover([{"job_name": "slow", "http_sd_configs": [{"url": f"http://{pages.target}/hangs"}]}],
                              "--timeout", "300ms")
    over.set()
    assert code == 1 and "no answer in time" in err and "1 of 1 sections failed" in err


def test_plugins(tmp_path):
    code, out, err = run([program("tributary"), "discover", "--plugins"])
    assert (code, err) == (0, "")
    listed = [line.split()[0] for line in out.splitlines()[1:]]
    assert listed == sorted(listed) and set(listed) - {"example_sd_configs"} == {
        f"{name}_sd_configs" for name in ("consul", "dns", "ec2", "file", "http", "kubernetes")}
    (tmp_path / "junk.so").write_text("no object")
    built = os.path.join(os.path.dirname(BIN), "lib", "tributary", "discovery", "file.so")
    shutil.copy(built, tmp_path / "other.so")
    code, _, err = run([program("tributary"), "discover", "--plugins", "--plugin-dir", str(tmp_path)])
    assert code == 1 and "junk.so" in err and 'other.so is the plugin "file"' in err
    code, _, err = run([program("tributary"), "discover", "--plugins", "--plugin-dir", str(tmp_path / "none")])
    assert code == 1 and "none" in err


def test_a_secondary_lists_what_it_drops(federation, exporter):
    page = exporter({"/metrics": "m 1\n"})
    drop = [{"source_labels": ["env"], "regex": "test", "action": "drop"}]
    jobs = [{"job_name": name, "relabel_configs": drop, **keys, "static_configs": [
        {"targets": [page.target], "labels": {"kept": name}},
        {"targets": [f"h{i}:1" for i in range(5)], "labels": {"env": "test"}}, {"targets": ["no address"]}]}
        for name, keys in (("plain", {}), ("few", {"keep_dropped_targets": 2}), ("all", {"keep_dropped_targets": 0}))]
    secondary = federation.add_secondary(federation.add_primary(), 1, jobs)
    secondary.start()
    data = json.loads(fetch(secondary.url + "/api/v1/targets")[1])["data"]
    assert {target["scrapePool"]: target["discoveredLabels"] for target in data["activeTargets"]} == {
        name: {"__address__": page.target, "__metrics_path__": "/metrics", "__scheme__": "http",
               "__scrape_interval__": "1s", "__scrape_timeout__": "800ms", "job": name, "kept": name}
        for name in ("plain", "few", "all")}
    dropped = {}
    for target in data["droppedTargets"]:
        if "error" in target:
            assert "not an address" in target["error"]
        else:
            assert target["rule"] == 0 and target["discoveredLabels"]["env"] == "test"
            dropped.setdefault(target["scrapePool"], []).append(target["discoveredLabels"]["__address__"])
    assert {name: len(addresses) for name, addresses in dropped.items()} == {"plain": 5, "few": 2, "all": 5}
    assert data["droppedTargetsTotal"] == 15
    wait_until(lambda: {target["health"] for target in json.loads(fetch(secondary.url + "/api/v1/targets")[1])
                        ["data"]["activeTargets"]} == {"up"}, what="all up")
