"""dns_sd_configs: Prometheus, vmagent and a secondary find the same targets by the same DNS server.

All of them read /etc/resolv.conf, so each runs in a namespace of mounts with one of its own, and the server has port 53
of an address of this test's: as root, else the tests are skipped."""
import pytest

from discovering import add_secondary, wait_problem, wait_up
from fakes.dns import DnsServer, may_mount, resolv_conf
from judges import needs_judges, needs_prometheus, start_prometheus, start_vmagent, wait_discovered

pytestmark = pytest.mark.skipif(not may_mount(), reason="another /etc/resolv.conf and port 53 need root")


@pytest.fixture
def dns(federation):
    server = DnsServer(federation.address())
    yield server
    server.close()


def fill(server):
    server.zone.update({
        "_metrics._tcp.dc1.test": [("SRV", 0, 5, 9100, "a.dc1.test"), ("SRV", 1, 5, 9101, "B.dc1.test"),
                                   ("SRV", 0, 5, 65535, "a.dc1.test")],
        "web.dc1.test": [("A", "127.77.0.9"), ("A", "127.77.0.8"), ("AAAA", "fd00::1")],
        "alias.dc1.test": [("CNAME", "web.dc1.test"), ("A", "127.77.0.9")],
        "many.dc1.test": [("A", f"127.77.{100 + i // 200}.{i % 200}") for i in range(400)],
        "host.dc2.test": [("A", "127.77.0.2")],
        "mail.dc1.test": [("MX", 10, "mx1.dc1.test"), ("MX", 20, "mx2.dc1.test")],
        "nothing.dc1.test": [],
    })


def config(names, kind=None, port=None):
    return {"names": names, "refresh_interval": "1s", **({"type": kind} if kind else {}),
            **({"port": port} if port else {})}


def jobs(*configs):
    return [{"job_name": f"dns{i}", "dns_sd_configs": [each]} for i, each in enumerate(configs)]


JOBS = jobs(config(["_metrics._tcp.dc1.test", "absent.dc1.test", "nothing.dc1.test"]),
            config(["web.dc1.test"], "A", 80),
            config(["web.dc1.test."], "AAAA", 80),
            config(["alias.dc1.test", "many.dc1.test", "host"], "A", 9100))


def srv(name, host, port):
    return {"__address__": f"{host.rstrip('.')}:{port}", "__meta_dns_name": name,
            "__meta_dns_srv_record_target": host, "__meta_dns_srv_record_port": str(port)}


def plain(name, address, port):
    return {"__address__": f"{address}:{port}", "__meta_dns_name": name}


EXPECTED = [srv("_metrics._tcp.dc1.test", "a.dc1.test.", 9100), srv("_metrics._tcp.dc1.test", "B.dc1.test.", 9101),
            srv("_metrics._tcp.dc1.test", "a.dc1.test.", 65535),
            plain("web.dc1.test", "127.77.0.9", 80), plain("web.dc1.test", "127.77.0.8", 80),
            plain("web.dc1.test.", "[fd00::1]", 80), plain("alias.dc1.test", "127.77.0.9", 9100),
            *(plain("many.dc1.test", f"127.77.{100 + i // 200}.{i % 200}", 9100) for i in range(400)),
            plain("host", "127.77.0.2", 9100)]


def as_vmagent(targets):
    """What vmagent 1.79.5 does otherwise: hosts in labels have no dot at their end, and targets of A and AAAA records
    have the labels of SRV records too."""
    def differs(target):
        host, _, port = target["__address__"].rpartition(":")
        return {**target, "__meta_dns_srv_record_target": host.strip("[]"), "__meta_dns_srv_record_port": port}

    return [differs(target) for target in targets]


def start_secondary(federation, scrape_configs, before):
    secondary = add_secondary(federation, scrape_configs, before)
    secondary.start()
    return secondary


@needs_judges
def test_all_find_the_same(federation, dns):
    fill(dns)
    before = resolv_conf(federation, dns, "search dc1.test dc2.test", "options ndots:1")
    wait_discovered(start_prometheus(federation, JOBS, before), EXPECTED)
    wait_discovered(start_vmagent(federation, JOBS, before), as_vmagent(EXPECTED))
    dns.asked.clear()
    wait_discovered(start_secondary(federation, JOBS, before), EXPECTED)
    assert ("many.dc1.test", "A", "tcp") in dns.asked  # it does not fit into a datagram
    assert ("host.dc1.test", "A", "udp") in dns.asked  # the first domain of the search


MX_JOBS = jobs(config(["mail.dc1.test"], "MX", 25))
MX_EXPECTED = [{"__address__": f"{host}:25", "__meta_dns_name": "mail.dc1.test",
                "__meta_dns_mx_record_target": f"{host}."} for host in ("mx1.dc1.test", "mx2.dc1.test")]


@needs_prometheus
def test_mx(federation, dns):
    fill(dns)
    before = resolv_conf(federation, dns)
    wait_discovered(start_prometheus(federation, MX_JOBS, before), MX_EXPECTED)
    wait_discovered(start_secondary(federation, MX_JOBS, before), MX_EXPECTED)


def test_records_that_change(federation, dns):
    fill(dns)
    secondary = start_secondary(federation, jobs(config(["web.dc1.test"], "A", 80)), resolv_conf(federation, dns))
    wait_discovered(secondary, [plain("web.dc1.test", "127.77.0.9", 80), plain("web.dc1.test", "127.77.0.8", 80)])
    dns.zone["web.dc1.test"] = [("A", "127.77.0.8"), ("A", "127.77.0.7")]
    wait_discovered(secondary, [plain("web.dc1.test", "127.77.0.7", 80), plain("web.dc1.test", "127.77.0.8", 80)])
    del dns.zone["web.dc1.test"]  # a name that does not exist has no targets
    wait_discovered(secondary, [])
    wait_up(secondary, 1)


def test_one_name_fails_beside_another(federation, dns):
    fill(dns)
    dns.faults["host.dc2.test"] = "SERVFAIL"
    secondary = start_secondary(federation, jobs(config(["host.dc2.test", "web.dc1.test"], "A", 80)),
                                resolv_conf(federation, dns))
    web = [plain("web.dc1.test", "127.77.0.9", 80), plain("web.dc1.test", "127.77.0.8", 80)]
    wait_discovered(secondary, web)
    wait_problem(secondary, f"host.dc2.test.: {dns.address}:53 answered SERVFAIL")
    wait_up(secondary, 0)
    del dns.faults["host.dc2.test"]
    host = [plain("host.dc2.test", "127.77.0.2", 80)]
    wait_discovered(secondary, web + host)
    wait_up(secondary, 1)
    # Later the one that fails keeps what it has, while the other changes.
    dns.faults["host.dc2.test"] = "REFUSED"
    wait_up(secondary, 0)
    del dns.zone["web.dc1.test"][2], dns.zone["web.dc1.test"][0]
    wait_discovered(secondary, web[1:] + host)


@needs_judges
def test_slow_and_truncated_answers(federation, dns):
    fill(dns)
    before = resolv_conf(federation, dns)
    scrape_configs = jobs(config(["web.dc1.test", "host.dc2.test"], "A", 80))
    dns.faults.update({"web.dc1.test": "truncated", "host.dc2.test": "slow"})
    expected = [plain("web.dc1.test", "127.77.0.9", 80), plain("web.dc1.test", "127.77.0.8", 80),
                plain("host.dc2.test", "127.77.0.2", 80)]
    wait_discovered(start_prometheus(federation, scrape_configs, before), expected)
    wait_discovered(start_vmagent(federation, scrape_configs, before), as_vmagent(expected))
    wait_discovered(start_secondary(federation, scrape_configs, before), expected)


@pytest.mark.parametrize("fault, said", [("REFUSED", "answered REFUSED"), ("garbage", "answered what is no DNS message"),
                                         ("away", "cannot be reached, or broke off"),
                                         ("silent", "did not answer within 5 s")])
def test_targets_stay_while_the_server_is_away(federation, dns, fault, said):
    fill(dns)
    secondary = start_secondary(federation, jobs(config(["web.dc1.test"], "A", 80)), resolv_conf(federation, dns))
    web = [plain("web.dc1.test", "127.77.0.9", 80), plain("web.dc1.test", "127.77.0.8", 80)]
    wait_discovered(secondary, web)
    wait_up(secondary, 1)
    if fault == "away":
        dns.stop()
    else:
        dns.faults["*"] = fault
    wait_problem(secondary, f"web.dc1.test.: {dns.address}:53 {said}")
    wait_up(secondary, 0)
    wait_discovered(secondary, web)
    dns.zone["web.dc1.test"] = [("A", "127.77.0.7")]
    if fault == "away":
        dns.start()
    dns.faults.clear()
    wait_discovered(secondary, [plain("web.dc1.test", "127.77.0.7", 80)])
    wait_up(secondary, 1)
