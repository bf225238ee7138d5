"""tools/bench/query on a few hosts, without peers: the whole way from made samples to answers."""
import json
import os

import pytest

from harness import BIN, ROOT, run

HOSTS = 20
SERIES = 116  # of a host: the page's 110 and the scraper's six
QUERY = os.path.join(ROOT, "tools", "bench", "query")


def test_query(tmp_path):
    if not os.access(os.path.join(BIN, "bench_feed"), os.X_OK):
        pytest.skip(f"no bench_feed in {BIN}")
    data, report = str(tmp_path / "data"), str(tmp_path / "report.json")
    command = [QUERY, "--hosts", str(HOSTS), "--steps", "30", "--peers", "none", "--bin", BIN, "--times", "1",
               "--data", data, "--json", report]
    code, out, err = run(command + ["--only", "count|topk|one host's series, now|histogram.*now|API"], timeout=60)
    assert code == 0, err
    result = json.load(open(report))["results"][0]
    assert not [mark for mark in result["marks"] if "other programs" not in mark]
    answers = {name: (found["series"], found["sum"]) for name, found in result["questions"].items()}
    assert answers["count of all series, now"] == (1, HOSTS * SERIES)
    assert answers["topk(10), now"][0] == 10
    assert answers["one host's series, now"][0] == SERIES
    assert 0 < answers["histogram_quantile, now"][1] <= 2.5  # its last bound but +Inf
    assert answers["API: series of a name"][0] == answers["API: values of instance"][0] == HOSTS
    assert "| topk(10), now |" in out

    loaded = os.stat(os.path.join(data, "tributary", "loaded.json"))
    code, _, err = run(command + ["--only", "topk"], timeout=60)
    assert code == 0, err
    assert os.stat(os.path.join(data, "tributary", "loaded.json")).st_mtime_ns == loaded.st_mtime_ns  # asked again
    code, _, err = run(command[:2] + ["21"] + command[3:], timeout=60)
    assert code == 1 and "has other samples, hosts 20" in err
