"""Prometheus 2.42 and vmagent 1.79.5 as judges of discovery: each finds targets by the same scrape_configs as a secondary,
and what labels they have before relabelling is compared.

Debian's Prometheus is built without Consul and Kubernetes; vmagent has all that is compared here but MX records."""
import json
import os
import shutil

import pytest

from harness import Process, fetch, wait_until

needs_judges = pytest.mark.skipif(not (shutil.which("prometheus") and shutil.which("vmagent")),
                                  reason="no prometheus and vmagent on this machine")
needs_prometheus = pytest.mark.skipif(not shutil.which("prometheus"), reason="no prometheus on this machine")
needs_vmagent = pytest.mark.skipif(not shutil.which("vmagent"), reason="no vmagent on this machine")

CHECK_SECONDS = 1  # vmagent's intervals are flags; refresh_interval of a configuration is for the others
VMAGENT_INTERVALS = ("consul", "dns", "ec2", "file", "http", "kubernetes")


class Judge(Process):
    """One of the two, as a process of a federation: started with it, ended with it. `before` is what stands in front of
    its command, as resolv_conf gives it."""

    def __init__(self, federation, name, address, scrape_configs, before=()):
        self.url = f"http://{address}:9090"
        directory = federation.path(name)
        os.makedirs(directory)
        config = os.path.join(directory, "scrape.yml")
        with open(config, "w", encoding="utf-8") as file:
            json.dump({"scrape_configs": scrape_configs}, file, indent=1)  # which is YAML
        commands = {"prometheus": ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory}/data",
                                   f"--web.listen-address={address}:9090"],
                    "vmagent": ["vmagent", f"-promscrape.config={config}", f"-httpListenAddr={address}:9090",
                                f"-remoteWrite.url={self.url}/nowhere", f"-remoteWrite.tmpDataPath={directory}/data",
                                "-promscrape.suppressScrapeErrors", "-promscrape.config.strictParse=false",
                                *(f"-promscrape.{sd}SDCheckInterval={CHECK_SECONDS}s" for sd in VMAGENT_INTERVALS)]}
        super().__init__(name, [*before, *commands[name]], os.path.join(directory, "log"))
        federation.processes.append(self)

    def discovered(self):
        """The labels of each target before relabelling, sorted; [] where there is no answer yet."""
        return discovered(self.url)


def start_prometheus(federation, scrape_configs, before=(), address=None):
    judge = Judge(federation, "prometheus", address or federation.address(), scrape_configs, before)
    judge.start()
    return judge


def start_vmagent(federation, scrape_configs, before=(), address=None):
    judge = Judge(federation, "vmagent", address or federation.address(), scrape_configs, before)
    judge.start()
    return judge


def discovered(url):
    """Of /api/v1/targets, which all three have: active and dropped targets, __address__ and what discovery said of
    them."""
    status, text = fetch(url + "/api/v1/targets")
    if status != 200:
        return []
    data = json.loads(text)["data"]
    targets = [target["discoveredLabels"] for target in data["activeTargets"] + (data.get("droppedTargets") or [])]
    return in_order([{name: value for name, value in target.items() if is_discovered(name)} for target in targets])


def is_discovered(name):
    """Not a label that the job's configuration gives, nor one that vmagent tells itself."""
    return name not in ("job", "__scheme__", "__metrics_path__", "__scrape_interval__", "__scrape_timeout__",
                        "__vm_filepath")


def in_order(targets):
    return sorted(targets, key=lambda target: sorted(target.items()))


def wait_discovered(who, expected, timeout=40.0):
    """Until `who` (a judge, or a daemon with a url) has found exactly these targets; else what differs is told."""
    expected = in_order(expected)
    found = []

    def same():
        nonlocal found
        found = discovered(who.url)
        return found == expected

    try:
        wait_until(same, timeout, "the targets expected")
    except AssertionError:
        missing = [target for target in expected if target not in found]
        surplus = [target for target in found if target not in expected]
        raise AssertionError(f"{who.name}: {len(found)} targets, {len(expected)} expected\n"
                             f"missing: {json.dumps(missing[:5], indent=1, sort_keys=True)}\n"
                             f"surplus: {json.dumps(surplus[:5], indent=1, sort_keys=True)}") from None
