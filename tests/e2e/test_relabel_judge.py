"""Relabelling against Prometheus: random rules over random targets must leave the same targets with the same labels."""
import json
import random
import urllib.parse

from harness import Process, fetch, wait_until
from prometheus import free_port, needs_prometheus

JOBS = 60
GROUPS = 12
NAMES = ["a", "b", "env", "Zone", "__meta_x", "__meta_y", "__meta_label_app", "__meta_label_team", "__tmp",
         "__param_module", "job"]
VALUES = ["x", "y", "xy", "prod", "Prod-1", "eu-west-1a", "a;b", "ÄÖ-ß", "日本", "$1", "10", "host:9100", " spaced ", "a.b.c"]
REGEXES = ["(.*)", "(.+)", "x", "x|y", "(x)(y)?", "([a-zA-Z]+)-(.*)", "(.*):([0-9]+)", "(?P<first>.).*", "", ".",
           "(?i)PROD.*", "[^;]*;(.*)", "(.*?)-(.*)", "host.*", "(a)(b)?.*", r"\p{Lu}.*", "(?:.|\\n)*"]
REPLACEMENTS = ["$1", "${1}", "${1}-x", "$2", "$1$2", "$first", "${first}_", "$$", "", "fixed", "${2}/${1}", "$0",
                "$1x", "$10", "é$1", "$", "${1", "$-"]
TARGETS = ["a", "b", "env", "new", "__tmp", "__meta_x", "__param_target", "__metrics_path__", "${1}", "l_${1}", "instance",
           "job"]


def random_rule(chance):
    action = chance.choice(["replace"] * 6 + ["keep", "drop", "keepequal", "dropequal", "hashmod", "labelmap", "labelmap",
                            "labeldrop", "labelkeep", "lowercase", "uppercase"])
    rule = {"action": action}
    sources = chance.sample(NAMES + ["absent", "__address__", "new", "instance"], chance.randint(1, 3))
    plain = [name for name in TARGETS if "$" not in name and name != "__metrics_path__"]
    if action not in ("labelmap", "labeldrop", "labelkeep") and chance.random() < 0.95:
        rule["source_labels"] = sources
    if action in ("replace", "keep", "drop"):
        if chance.random() < 0.8:
            rule["regex"] = chance.choice(REGEXES)
        if chance.random() < 0.3:
            rule["separator"] = chance.choice(["", "-", "::", ";"])
    if action in ("keep", "drop") and "source_labels" in rule and chance.random() < 0.6:
        # Else next to nothing is left of what rules drop.
        rule["regex"] = {"keep": ".*[a-zA-Z0-9].*|", "drop": "x;.*|prod"}[action]
    if action == "replace":
        rule["target_label"] = chance.choice(TARGETS)
        if chance.random() < 0.6:
            rule["replacement"] = chance.choice(REPLACEMENTS)
    if action in ("keepequal", "dropequal", "lowercase", "uppercase", "hashmod"):
        rule["target_label"] = chance.choice(plain)
    if action == "hashmod":
        rule["modulus"] = chance.choice([1, 2, 7, 1000, 4294967296, 9007199254740991])
    if action == "labelmap":
        rule["regex"] = chance.choice(["__meta_(.+)", "__meta_label_(.+)", "([a-z]).*", "(a|b|env)", "__(.*)__", "(.+)_x"])
        rule["replacement"] = chance.choice(["${1}", "$1", "m_${1}", "same", "m_$1"])
    if action == "labeldrop":
        rule["regex"] = chance.choice(["__meta_.*", "a|b", "env", "[A-Z].*", "job", ".*_x"])
    if action == "labelkeep":
        rule["regex"] = chance.choice(["__.*|job|env|a", "__a.*|__s.*|__m.*|b", "[^b].*"])
    return rule


def random_jobs(chance, net):
    jobs = []
    for number in range(JOBS):
        groups = []
        for group in range(GROUPS):
            labels = {name: chance.choice(VALUES) for name in chance.sample(NAMES, chance.randint(0, 8))}
            if "job" in labels and chance.random() < 0.5:
                labels["job"] = ""
            groups.append({"targets": [f"{net}.{number % 200 + 2}:{9100 + group}", f"h{group}"], "labels": labels})
        job = {"job_name": f"job-{number}", "static_configs": groups,
               "relabel_configs": [random_rule(chance) for _ in range(chance.randint(1, 7))]}
        if number % 4 == 0:
            job["relabel_configs"] = [rule for rule in job["relabel_configs"] if not changes_labels([rule])][:2]
        if chance.random() < 0.3:
            job["params"] = {"module": ["probe", "second"], "Target": ["x y&z"]}
        if chance.random() < 0.2:
            job["scheme"] = "https"
        if chance.random() < 0.2:
            job["metrics_path"] = "/federate"
        jobs.append(job)
    return jobs


def changes_labels(rules):
    """Of such rules Prometheus 2.42 shows wrong discoveredLabels: it relabels them in place."""
    return any(rule["action"] not in ("keep", "drop", "keepequal", "dropequal") for rule in rules)


def before_rules(jobs):
    for job in jobs:
        for group in job["static_configs"]:
            for address in group["targets"]:
                labels = {"job": job["job_name"], "__scrape_interval__": "1m", "__scrape_timeout__": "10s",
                          "__metrics_path__": job.get("metrics_path", "/metrics"), "__scheme__": job.get("scheme", "http")}
                labels.update({name: value for name, value in group["labels"].items() if value})
                labels.update({f"__param_{name}": values[0] for name, values in job.get("params", {}).items()})
                yield {**labels, "__address__": address}


def explain(job, difference):
    return "\n".join([*map(str, job["relabel_configs"]), *map(str, sorted(difference))])


def url_parts(url):
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.netloc, urllib.parse.unquote(parts.path) or "/", sorted(
        urllib.parse.parse_qsl(parts.query, keep_blank_values=True))


def text(labels):
    return json.dumps(labels, sort_keys=True, ensure_ascii=False)


def listing(url):
    """{job: {(labels, URL): labels before the rules}}, and the labels of those that were dropped."""
    status, body = fetch(url + "/api/v1/targets")
    assert status == 200, body
    data = json.loads(body)["data"]
    jobs = {}
    for target in data["activeTargets"]:
        key = text(target["labels"]), text(url_parts(target["scrapeUrl"]))
        jobs.setdefault(target["scrapePool"], {}).setdefault(key, set()).add(text(target["discoveredLabels"]))
    dropped = sorted(text(target["discoveredLabels"]) for target in data["droppedTargets"] if "error" not in target)
    return jobs, dropped


@needs_prometheus
def test_random_rules_leave_what_prometheus_leaves(federation, tmp_path):
    chance = random.Random(20250302)
    jobs = random_jobs(chance, federation.net)
    secondary = federation.add_secondary(federation.add_primary(), 1, jobs, windows={"resolution": "1m"},
                                         **{"global": {"scrape_interval": "1m", "scrape_timeout": "10s"}})
    secondary.start()
    config = tmp_path / "prometheus.yml"
    config.write_text(json.dumps({"global": {"scrape_interval": "1m", "scrape_timeout": "10s"}, "scrape_configs": jobs}))
    address = f"127.0.0.1:{free_port()}"
    judge = Process("prometheus", ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/data",
                                   f"--web.listen-address={address}"], str(tmp_path / "prometheus.log"))
    federation.processes.append(judge)
    judge.start()
    wait_until(lambda: fetch(f"http://{address}/-/ready")[0] == 200, what="a ready Prometheus")

    def theirs():
        """The same twice: it syncs its jobs one after the other, after some seconds."""
        first = listing(f"http://{address}")
        known = len(first[1]) + sum(map(len, first[0].values()))
        return first if known > JOBS * GROUPS // 2 and listing(f"http://{address}") == first else None

    their_jobs, their_dropped = wait_until(theirs, what="the judge's targets")
    our_jobs, our_dropped = listing(secondary.url)
    for job in jobs:
        name, rules = job["job_name"], job["relabel_configs"]
        ours, others = our_jobs.get(name, {}), their_jobs.get(name, {})
        assert ours.keys() == others.keys(), explain(job, ours.keys() ^ others.keys())
        if changes_labels(rules):
            continue
        for key, names in others.items():
            assert names <= ours[key], rules  # of several that become one target it names the first
    assert len(our_dropped) == len(their_dropped)
    plain = [job for job in jobs if not changes_labels(job["relabel_configs"])]
    known = {text(labels) for labels in before_rules(plain)}
    assert [labels for labels in our_dropped if labels in known] == [labels for labels in their_dropped if labels in known]
    assert len(their_jobs) > JOBS // 2 and len(their_dropped) > 200 and len(plain) > 5
