"""http_sd_configs: Prometheus, vmagent and a secondary find the same targets at the same URL, with the same labels; which
answers are refused, and that the last targets stay then."""
import json
import shutil

import pytest

from discovering import add_secondary, peak_mib, problem, section_metrics, sections, wait_up
from fakes.http_sd import HttpSd
from harness import wait_until
from judges import discovered, in_order, start_prometheus, start_vmagent, wait_discovered

MEMORY_MIB_MAX = 60  # of a secondary that was answered 100 MB; it takes 15
JUDGES = {"prometheus": start_prometheus, "vmagent": start_vmagent}
judges = pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.skipif(not shutil.which(name), reason=f"no {name} on this machine"))
    for name in JUDGES])


@pytest.fixture
def fake(federation):
    made = HttpSd(federation.address(), groups=40)
    federation.add_exporter(made)
    # Two of the kinds that are rare among the forty.
    made.groups += [{"targets": None, "labels": {"a": "b"}}, {"labels": None, "targets": ["last:1"]}, {}]
    return made


def job(fake, **keys):
    """All labels stay, so that no two targets are one."""
    return {"job_name": "http", "scrape_interval": "1h",
            "relabel_configs": [{"action": "labelmap", "regex": "__meta_(.*)"}],
            "http_sd_configs": [{"url": fake.url, "refresh_interval": "1s", **keys}]}


def start_secondary(federation, fake, wait=True, **keys):
    """It drops what it finds, which is told, too: nothing is there to be scraped."""
    own = job(fake, **keys)
    del own["scrape_interval"]
    secondary = add_secondary(federation, [{**own, "relabel_configs": [{"action": "drop", "regex": ".*"}]}])
    secondary.start(wait)
    return secondary


def without_empty(targets):
    return in_order([{name: value for name, value in target.items() if value} for target in targets])


def wait_judge(judge, expected):
    wait_until(lambda: without_empty(discovered(judge.url)) == in_order(expected), 40, "what the fake has")


# ---- The same targets, the same labels -------------------------------------------------------------------------------


@judges
def test_judge_discovers(federation, fake, name):
    judge = JUDGES[name](federation, [job(fake)])
    wait_judge(judge, fake.labels())
    fake.groups = fake.groups[3:9]
    wait_judge(judge, fake.labels())
    assert fake.asked[-1]["X-Prometheus-Refresh-Interval-Seconds"] == "1"


def test_secondary_discovers(federation, fake):
    secondary = start_secondary(federation, fake)
    wait_discovered(secondary, fake.labels())
    fake.groups = fake.groups[3:9]
    wait_discovered(secondary, fake.labels())
    fake.groups = []
    wait_discovered(secondary, [])
    asked = fake.asked[-1]
    assert (asked["Accept"], asked["X-Prometheus-Refresh-Interval-Seconds"]) == ("application/json", "1")


def test_nothing_new_costs_little(federation, fake):
    """The fake lets its answers be kept for a day. That does not make changes be noticed later, but by its ETag."""
    secondary = start_secondary(federation, fake)
    wait_until(lambda: fake.count(304) >= 3, what="answers without a body")
    assert fake.count(200) == 1
    assert discovered(secondary.url) == in_order(fake.labels())
    fake.groups = fake.groups[:5]
    wait_discovered(secondary, fake.labels())
    assert fake.count(200) == 2


def test_many_targets(federation, fake):
    fake.groups = [{"targets": [f"10.{number}.{copy // 250}.{copy % 250}:9100" for copy in range(1000)],
                    "labels": {"number": str(number)}} for number in range(100)]
    secondary = start_secondary(federation, fake)
    wait_until(lambda: section_metrics(secondary).get("section_targets") == 100000, 60, "100,000 targets")
    wait_up(secondary, 1)


# ---- Faults ----------------------------------------------------------------------------------------------------------

# What is answered, what the problem says of it, and whether vmagent refuses it, too: 1.79.5 takes any Content-Type, and
# what is after the list, unknown keys and labels that are no texts are as good as none to it.
FAULTS = {
    "status": ({"status": 503}, "answered 503, not 200", True),
    "content type": ({"content_type": "text/html", "body": "[]"}, 'expected Content-Type application/json, found "text/html"', False),
    "html": ({"body": "<html>login</html>"}, "HTML", True),
    "half": ({"half": True}, "", True),
    "object": ({"body": "{}"}, "expected a list", True),
    "truncated": ({"body": '[{"targets":["x:1"]},'}, "ends in the middle", True),
    "unknown key": ({"body": '[{"targets":["x:1"],"label":{}}]'}, 'group 0: unknown key "label"', False),
    "no group": ({"body": '[{"targets":["x:1"]}, null]'}, "group 1 is no map", False),
    "label name": ({"body": '[{"targets":["x:1"],"labels":{"a-b":"c"}}]'}, '"a-b" is not a label name', False),
    "label value": ({"body": '[{"targets":["x:1"],"labels":{"a":1}}]'}, "label a: expected a text", True),
    "target": ({"body": '[{"targets":[1]}]'}, "target 0: expected host:port", True),
    "deep": ({"body": "[" * 100000}, "nested deeper", True),
    "huge": ({"huge_bytes": 100 << 20}, "its answer has more than 64MiB", False),
}


@pytest.mark.parametrize("name", FAULTS)
def test_targets_stay(federation, fake, name):
    faults, words, _ = FAULTS[name]
    secondary = start_secondary(federation, fake)
    wanted = fake.labels()
    wait_discovered(secondary, wanted)
    wait_up(secondary, 1)
    fake.faults(**faults)
    wait_until(lambda: problem(secondary), what="a problem")
    assert fake.url in problem(secondary) and words in problem(secondary)
    assert list(sections(secondary)) == [("http", "http", 0)]
    wait_up(secondary, 0)
    assert discovered(secondary.url) == in_order(wanted)
    assert peak_mib(secondary) < MEMORY_MIB_MAX
    fake.faults()
    fake.groups = fake.groups[1:]
    wait_discovered(secondary, fake.labels())
    wait_up(secondary, 1)
    assert not problem(secondary)


@judges
def test_judges_refuse_the_same(federation, fake, name):
    """Prometheus refuses each of these answers but the large one, which has a right list in it."""
    judge = JUDGES[name](federation, [job(fake)])
    wanted = fake.labels()
    wait_judge(judge, wanted)
    for fault, (faults, _, refused) in FAULTS.items():
        if fault == "huge" or name == "vmagent" and not refused:
            continue
        fake.faults(**faults)
        before = len(fake.asked)
        wait_until(lambda: len(fake.asked) >= before + 2, what="an answer that was read")
        assert without_empty(discovered(judge.url)) == in_order(wanted), fault
        fake.faults()


def test_server_is_away(federation, fake):
    secondary = start_secondary(federation, fake)
    wanted = fake.labels()
    wait_discovered(secondary, wanted)
    wait_up(secondary, 1)
    fake.close()
    wait_up(secondary, 0)
    assert fake.url in problem(secondary)
    assert discovered(secondary.url) == in_order(wanted)
    assert section_metrics(secondary)["section_targets"] == len(wanted)
    fake.groups = fake.groups[2:]
    fake.start()
    wait_discovered(secondary, fake.labels())
    wait_up(secondary, 1)


def test_slow_answer(federation, fake):
    fake.faults(slow_seconds=0.2)
    wait_discovered(start_secondary(federation, fake), fake.labels())


def test_credentials(federation, fake):
    """Read again for each request, and never said."""
    password = federation.write("password", "first-secret\n")
    secondary = start_secondary(federation, fake, basic_auth={"username": "u", "password_file": password})
    wait_discovered(secondary, fake.labels())
    assert fake.asked[-1]["Authorization"] == "Basic dTpmaXJzdC1zZWNyZXQ="
    federation.write("password", "second-secret\n")
    wait_until(lambda: fake.asked[-1]["Authorization"] == "Basic dTpzZWNvbmQtc2VjcmV0", what="the new password")
    fake.faults(status=401)
    wait_until(lambda: "answered 401" in (problem(secondary) or ""), what="a problem")
    assert "secret" not in secondary.log() + json.dumps(secondary.status())
