"""consul_sd_configs: vmagent and a secondary find the same targets in a fake of Consul, with the same labels; what a
secondary does when Consul fails, and what it costs Consul. (Debian's Prometheus is built without Consul.)"""
import contextlib
import os

import pytest

from discovering import add_secondary, peak_mib, problem, section_metrics, sections, wait_up
from fakes import consul_world
from fakes.consul import Consul
from harness import fetch, wait_until
from judges import discovered, in_order, needs_vmagent, start_vmagent, wait_discovered

# What vmagent 1.79.5 does otherwise than Prometheus, and so than a secondary: it does not know admin partitions; it puts
# the names of services into URLs as they are, so that those with a space, a slash or a letter with an accent fail; labels
# without a value are shown with an empty one.
VMAGENT_LACKS = {"__meta_consul_partition"}
MANY = 120
MEMORY_MIB_MAX = 60  # of a secondary that was answered 100 MB; it takes 15


@pytest.fixture
def fake(federation):
    made = federation.add_exporter(Consul(federation.address()))
    made.change("populate", 20)
    return made


def job(fake, **keys):
    """What is found matters, not what is behind it: a secondary drops it all, which is told, too."""
    return {"job_name": "consul", "relabel_configs": [{"action": "drop", "regex": ".*"}],
            "consul_sd_configs": [{"server": fake.address, "refresh_interval": "1s", **keys}]}


def start_secondary(federation, fake, wait=True, **keys):
    secondary = add_secondary(federation, [job(fake, **keys)])
    secondary.start(wait)
    return secondary


def start_judge(federation, fake, **keys):
    """Told of dropped ones it would go on to tell of those that are gone. All labels stay, so that no two are one."""
    return start_vmagent(federation, [{**job(fake, **keys), "scrape_interval": "1h",
                                       "relabel_configs": [{"action": "labelmap", "regex": "__meta_(.*)"}]}])


def as_vmagent(targets):
    return in_order([{name: value for name, value in target.items() if value and name not in VMAGENT_LACKS}
                     for target in targets if target["__meta_consul_service"].isascii()])


def wait_judge(judge, expected):
    expected = as_vmagent(expected)
    with contextlib.suppress(AssertionError):
        wait_until(lambda: as_vmagent(discovered(judge.url)) == expected, 40)
    found = as_vmagent(discovered(judge.url))
    assert [target for target in found if target not in expected] == []
    assert [target for target in expected if target not in found] == []
    assert found == expected


# ---- The same targets, the same labels -------------------------------------------------------------------------------

SELECTIONS = {
    "all": ({}, {}),
    "tags": ({"tags": ["prod", "v1.0"]}, {"tag": ["prod", "v1.0"]}),
    "node_meta": ({"node_meta": {"rack": "r2"}}, {"node_meta": ["rack:r2"]}),
    "namespace": ({"namespace": "shop"}, {"ns": ["shop"]}),
    "partition": ({"partition": "default"}, {"partition": ["default"]}),
}
selections = pytest.mark.parametrize("name", SELECTIONS)


@needs_vmagent
@pytest.mark.parametrize("name", [name for name in SELECTIONS if name != "partition"])
def test_judge_discovers(federation, fake, name):
    keys, query = SELECTIONS[name]
    wanted = fake.labels(**query)
    assert as_vmagent(wanted)
    judge = start_judge(federation, fake, **keys)
    wait_judge(judge, wanted)
    if name == "all":  # nothing stands in those lists without need
        found = discovered(judge.url)
        assert any(not value for target in found for value in target.values())
        assert all(target["__meta_consul_service"].isascii() for target in found)
        assert not any(label in target for target in found for label in VMAGENT_LACKS)


@selections
def test_secondary_discovers(federation, fake, name):
    keys, query = SELECTIONS[name]
    secondary = start_secondary(federation, fake, **keys)
    wait_discovered(secondary, fake.labels(**query))
    if name == "all":
        fake.change("populate", MANY, seed=2)  # past the number that is watched one by one
        wait_discovered(secondary, fake.labels())


def test_services_and_filters(federation, fake):
    """vmagent 1.79.5 has no filter."""
    secondary = start_secondary(federation, fake, services=["service-1", "service-2", "none"],
                                health_filter='Service.Meta.version == "1" and Node.Meta.rack != "r1"')
    wanted = [labels for labels in fake.labels(filter=['Service.Meta.version == "1" and Node.Meta.rack != "r1"'])
              if labels["__meta_consul_service"] in ("service-1", "service-2")]
    wait_discovered(secondary, wanted)
    assert not fake.asked("/v1/catalog/")
    secondary.config["scrape_configs"] = [job(fake, filter='ServiceName == "service-4"', tag_separator="|")]
    secondary.write_config()
    assert secondary.reload()[0] == 200
    wanted = [consul_world.labels(entry, "|") for entry in fake.state.world.entries("service-4")]
    assert wanted
    wait_discovered(secondary, wanted)


# ---- Changes ---------------------------------------------------------------------------------------------------------


def change_all(fake):
    """One after the other: what changes, and how."""
    yield fake.change("set_instance", "node-1", "new", 81, Tags=["x"], Meta={"a": "b"})
    yield fake.change("set_check", "node-1", "service:new", "warning", "new")
    yield fake.change("set_check", "node-1", "service:new", "critical", "new")
    yield fake.change("set_check", "node-1", "serfHealth", "critical")
    yield fake.change("set_check", "node-1", consul_world.NODE_MAINTENANCE, "critical")
    yield fake.change("set_instance", "node-1", "new", 82, Tags=["y"])
    yield fake.change("set_node", "node-1", "10.9.9.9", {"rack": "other"}, {"lan": "10.9.9.9"})
    yield fake.change("set_instance", "node-2", "new", 83, "new-2")
    yield fake.change("remove_instance", "node-1", "new")
    yield fake.change("remove_service", "new")
    yield fake.change("remove_service", "service-1")


def test_changes_are_noticed(federation, fake):
    secondary = start_secondary(federation, fake)
    wait_discovered(secondary, fake.labels())
    for _ in change_all(fake):
        wait_discovered(secondary, fake.labels())
    assert fake.count("waiting_max") == 22  # each service, and the catalog


def test_changes_of_many_are_noticed(federation, fake):
    fake.change("populate", MANY, seed=2)
    secondary = start_secondary(federation, fake)
    wait_discovered(secondary, fake.labels())
    for _ in change_all(fake):
        wait_discovered(secondary, fake.labels())
    assert fake.count("waiting_max") <= 2
    assert fake.count("connections_max") <= 16


@needs_vmagent
def test_indexes_go_back(federation, fake):
    """A snapshot is restored: all indexes are lower, and what changes from then on is noticed."""
    secondary, judge = start_secondary(federation, fake), start_judge(federation, fake)
    wait_discovered(secondary, fake.labels())
    services = len({labels["__meta_consul_service"] for labels in fake.labels()})
    # Who asks with the old index later waits in vain, for as long as it says; of true Consul, too.
    wait_until(lambda: fake.state.waiting >= 2 * (services + 1) - 3, what="all questions")
    fake.restore(back=50)
    fake.change("set_instance", "node-1", "new", 81)
    wait_discovered(secondary, fake.labels())
    fake.change("remove_service", "service-2")
    wait_discovered(secondary, fake.labels())
    wait_judge(judge, fake.labels())


def test_no_blocking(federation, fake):
    """A gateway that answers at once, or tells no index, is asked once a second, not in a row."""
    fake.faults(no_blocking=True)
    secondary = start_secondary(federation, fake)
    wait_discovered(secondary, fake.labels())
    fake.change("set_instance", "node-1", "new", 81)
    wait_discovered(secondary, fake.labels())
    fake.faults(no_blocking=True, no_index=True)
    fake.change("set_instance", "node-1", "new", 82)
    wait_discovered(secondary, fake.labels())
    before = fake.count("/v1/catalog/services")
    wait_until(lambda: fake.count("/v1/catalog/services") >= before + 3, what="three rounds")
    services = len({labels["__meta_consul_service"] for labels in fake.labels()})
    assert fake.count("/v1/health/service/") <= services * (fake.count("/v1/catalog/services") + 3)


# ---- Faults ----------------------------------------------------------------------------------------------------------

FAULTS = {
    "status 500": ({"status": 500}, 'answered 500 "rpc error making call: No cluster leader"'),
    "status 429": ({"status": 429}, "answered 429"),
    "html": ({"html": True}, "HTML"),
    "half": ({"half": True}, ""),
    "short": ({"short": True}, ""),
    "deep": ({"deep": True}, "nested deeper"),
    "huge": ({"huge_bytes": 100 << 20}, "its answer has more than 64MiB"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_targets_stay(federation, fake, name):
    faults, words = FAULTS[name]
    secondary = start_secondary(federation, fake)
    wanted = fake.labels()
    wait_discovered(secondary, wanted)
    wait_up(secondary, 1)
    fake.faults(path="/v1/catalog/", **faults)
    fake.change("set_instance", "node-1", "new", 81)  # whoever waits is answered
    wait_until(lambda: problem(secondary), what="a problem")
    assert f"{fake.address}, /v1/catalog/services: " in problem(secondary) and words in problem(secondary)
    wait_up(secondary, 0)
    assert discovered(secondary.url) == in_order(wanted)
    assert peak_mib(secondary) < MEMORY_MIB_MAX
    fake.faults()
    wait_discovered(secondary, fake.labels())
    wait_up(secondary, 1)
    assert not problem(secondary)


def test_consul_is_away(federation, fake):
    secondary = start_secondary(federation, fake)
    wanted = fake.labels()
    wait_discovered(secondary, wanted)
    wait_up(secondary, 1)
    fake.close()
    wait_up(secondary, 0)
    assert problem(secondary)
    assert section_metrics(secondary)["section_targets"] == len(wanted)
    assert discovered(secondary.url) == in_order(wanted)
    fake.change("remove_service", "service-2")
    fake.start()
    wait_discovered(secondary, fake.labels())
    wait_until(lambda: not problem(secondary), 60, "all questions answered")  # each after a pause of its own
    wait_up(secondary, 1)


def test_slow_answers(federation, fake):
    fake.faults(path="/v1/health/service/", slow_seconds=0.1)
    secondary = start_secondary(federation, fake)
    wait_discovered(secondary, fake.labels())


def test_token(federation, fake):
    fake.set_tokens("right")
    token = federation.write("token", "wrong\n")
    secondary = start_secondary(federation, fake, wait=False, token_file=token)
    wait_until(lambda: fetch(secondary.url + "/api/v1/status")[0] == 200, what="a status")
    wait_until(lambda: "ACL not found" in (problem(secondary) or ""), what="the token refused")
    assert list(sections(secondary)) == [("consul", "consul", 0)]
    assert "token_file" in problem(secondary)
    assert "ACL not found" in secondary.log() and "wrong" not in secondary.log()
    federation.write("token", "right\n")  # it is read again for each request
    wait_discovered(secondary, fake.labels())
    wait_up(secondary, 1)
    fake.set_tokens("another")
    fake.change("set_instance", "node-1", "new", 81)
    wait_up(secondary, 0)
    assert len(discovered(secondary.url)) in (len(fake.labels()), len(fake.labels()) - 1)
    federation.write("token", "another\n")
    wait_discovered(secondary, fake.labels())
    os.remove(token)


def test_rights_are_lost(federation, fake):
    """Consul answers who may see nothing with nothing. That removes no target."""
    secondary = start_secondary(federation, fake, datacenter="dc1")
    wanted = fake.labels()
    wait_discovered(secondary, wanted)
    wait_up(secondary, 1)
    fake.set_tokens("right")

    def names(targets):
        return sorted((target["__meta_consul_service_id"], target["__meta_consul_node"]) for target in targets)

    for node in range(3):
        fake.change("set_check", f"node-{node}", "serfHealth", "critical")  # whoever waits is answered
    fake.change("set_instance", "node-1", "new", 81)
    wait_until(lambda: "policy hides" in (problem(secondary) or ""), what="a problem")
    wait_up(secondary, 0)
    # A question that waited already was still answered with the old rights: healths may be new, or an instance more.
    assert set(names(wanted)) <= set(names(discovered(secondary.url)))
    fake.set_tokens()
    wait_discovered(secondary, fake.labels())


def test_thousands_of_services(federation, fake):
    """With one Prometheus each would have its connection and its watch."""
    fake.change("populate", 2000, seed=3, instances=1)
    secondary = start_secondary(federation, fake, refresh_interval="5s")

    def key(target):
        return tuple(sorted(target.items()))

    def found_all():
        return section_metrics(secondary).get("section_targets") == len(fake.labels())

    wait_until(found_all, 60, "all targets")
    found, wanted = discovered(secondary.url), {key(target) for target in fake.labels()}
    assert len(found) == 1000  # of dropped ones no more are told
    assert all(key(target) in wanted for target in found)
    fake.change("remove_service", "service-1000")
    wait_until(found_all, what="one less")
    assert fake.count("waiting_max") <= 2
    assert fake.count("connections_max") <= 16


def test_fake_answers_as_documented(fake):
    """What judges do not look at."""
    assert fetch(f"http://{fake.address}/v1/catalog/datacenters") == (200, '["dc1"]')
    assert fetch(f"http://{fake.address}/v1/catalog/services?dc=other")[0] == 500
    assert fetch(f"http://{fake.address}/v1/nothing")[0] == 404
