"""Hostile queries at a global that is being fed: each ends by its limit, memory stays bounded, batches go on arriving."""
import json
import re
import socket
import threading
import time
import urllib.parse

from harness import fetch, wait_until

MIB = 1 << 20
EXPORTERS = 2
NAMES, IDS = 20, 1000  # of each exporter: 40,000 series in all
TIMEOUT_SECONDS = 5
MEMORY, TOTAL_MEMORY, CONCURRENCY = 48 * MIB, 96 * MIB, 6
# Besides what is counted: what the heap keeps of freed blocks, buffers of the sender and of threads, ingest's growth.
SLACK = 160 * MIB
ANSWER_SECONDS = 45  # nobody waits longer than the timeout, the wait in the queue and a busy machine

OK, REFUSED, TOO_MUCH, LATE = {200}, {400, 413}, {422}, {503}
EXECUTION = TOO_MUCH  # the same status: this data
ANY_LIMIT = TOO_MUCH | LATE

ALL = '{__name__=~".+"}'


def instant(query, expected):
    return "query", {"query": query}, expected


def ranged(query, expected, seconds=10999, step=1):
    end = int(time.time()) + 300  # the lookback: what is there now stands at all these steps
    return "query_range", {"query": query, "start": end - seconds, "end": end, "step": step}, expected


def nested(opening, closing, times, inner="m1"):
    return opening * times + inner + closing * times


def hostile():
    """name: (path, parameters, statuses that are an answer or an error of its kind)"""
    many = "|".join(f"i[d]?{n}" for n in range(2000))
    return {
        "everything, each second of 30 days": instant(ALL + "[30d:1s]", ANY_LIMIT),
        "many to many": instant("m1 * on(group) m2", EXECUTION | LATE),
        "many to one": instant('{__name__=~"m1.*"} * on(group) group_left() sum by (group) (m2)', OK | ANY_LIMIT | EXECUTION),
        "one to all": instant('sum(m1) * on() group_right() {__name__=~"m.*"}', OK | ANY_LIMIT | EXECUTION),
        "all and all": ranged(f"{ALL} and {ALL}", ANY_LIMIT),
        "count_values": ranged(f'count_values("v", {ALL})', OK | ANY_LIMIT),
        "10,000 parentheses": instant(nested("(", ")", 10000), REFUSED),
        "an expression of 1 MB": instant("+".join(["m1"] * 340000), REFUSED),
        "a regex that backtracks elsewhere": instant('m1{id=~"(a+)+$"} or m1{id=~"(.*)*x"} or {id=~"(i|id|d|[0-9])*y"}', OK | ANY_LIMIT),
        "a regex that counts": instant('m1{id=~"(a{1,1000}){1,1000}"}', REFUSED),
        "a regex of 2,000 ways": instant(f'{{id=~"{many}"}}', OK | ANY_LIMIT | REFUSED),
        "300 regexes": instant("{%s}" % ",".join(f'id!~"x{n}.?y"' for n in range(300)), REFUSED),
        "200 regexes": instant("m1{%s}" % ",".join(f'id!~"x{n}.?y"' for n in range(200)), TOO_MUCH),
        "label_join": instant(f'label_join({ALL}, "x", "{"-" * 1000}", {",".join(["%sid%s" % (chr(34), chr(34))] * 5000)})', ANY_LIMIT | EXECUTION),
        "label_replace": instant(f'label_replace({ALL}, "x", "{"$1" * 20000}", "id", "(.*)")', OK | ANY_LIMIT | EXECUTION),
        "topk of a milliard": ranged(f"topk(1e9, {ALL})", ANY_LIMIT),
        "quantile over everything": instant(f"quantile_over_time(0.5, {ALL}[1d:1s])", ANY_LIMIT | EXECUTION),
        "milliseconds of ten years": instant("sum_over_time(m1[10y:1ms])", TOO_MUCH),
        "11,000 steps of all series": ranged(ALL, ANY_LIMIT),
        "more steps than there may be": ranged("m1", REFUSED, seconds=11000),
        "nested operators": instant(nested("(1+", ")", 5000), REFUSED),
        "nested subqueries": instant("max_over_time(" * 60 + "m1" + "[5m:1s])" * 60, OK | ANY_LIMIT),
        "5,000 matchers": instant("{%s}" % ",".join(['id!=""'] * 5000), REFUSED),
        "sorting": instant(f"sort_desc({ALL} * 1)", OK | ANY_LIMIT | EXECUTION),
        "absent of much": ranged(f"absent(absent({ALL}[1m:1s]))", REFUSED),
        "500 match[]": ("series", {"match[]": [ALL] * 500}, REFUSED | ANY_LIMIT),
        "32 match[]": ("series", {"match[]": [ALL] * 32}, OK | ANY_LIMIT),
        "all values": ("label/id/values", {"match[]": [ALL] * 32}, OK | ANY_LIMIT),
    }


def page(number):
    lines = []
    for name in range(NAMES):
        lines.append(f"# TYPE m{name} gauge")
        lines += [f'm{name}{{id="id{number}x{i}",group="{i % 10}"}} {i}' for i in range(IDS)]
    return "\n".join(lines) + "\n"


def rss_anon(process):
    with open(f"/proc/{process.process.pid}/status", encoding="ascii") as file:
        return int(re.search(r"RssAnon:\s+(\d+) kB", file.read())[1]) * 1024


class SlowReader:
    """Asks for a large answer, reads its head and no more."""

    def __init__(self, top):
        self.socket = socket.create_connection((top.address, 9412), timeout=ANSWER_SECONDS)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.sendall(f"GET /api/v1/series?match[]={urllib.parse.quote(ALL)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def status(self):
        return int(self.socket.recv(64).split()[1])

    def close(self):
        self.socket.close()


class Attack:
    """All of them at once, each from a thread of its own; and the most memory that was seen meanwhile."""

    def __init__(self, top, queries):
        self.top, self.queries, self.answers = top, queries, {}
        self.threads = [threading.Thread(target=self.ask, args=(name,), daemon=True) for name in queries]
        self.most_anon = 0

    def ask(self, name):
        path, parameters, _ = self.queries[name]
        body = urllib.parse.urlencode(parameters, doseq=True)
        url = f"{self.top.url}/api/v1/{path}"
        if path.startswith("label/"):
            self.answers[name] = fetch(f"{url}?{body}", timeout=ANSWER_SECONDS)
        else:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            self.answers[name] = fetch(url, body=body.encode(), headers=headers, timeout=ANSWER_SECONDS)

    def run(self):
        for thread in self.threads:
            thread.start()
        while any(thread.is_alive() for thread in self.threads):
            self.most_anon = max(self.most_anon, rss_anon(self.top))
            time.sleep(0.02)


def wrong_answers(attack):
    """What did not end with an answer or an error of its kind."""
    wrong = {}
    for name, (_, _, expected) in attack.queries.items():
        status, text = attack.answers[name]
        if status not in expected:
            wrong[name] = (status, text[:300])
        elif status != 200 and status != 413:
            answer = json.loads(text)
            assert answer["status"] == "error" and answer["errorType"] and answer["error"], (name, text)
    return wrong


def test_hostile_queries_while_batches_arrive(federation, exporter):
    targets = [exporter({"/metrics": page(number).encode()}).target for number in range(EXPORTERS)]
    top = federation.add_global(query={"timeout": f"{TIMEOUT_SECONDS}s", "concurrency": CONCURRENCY,
                                       "max_memory": MEMORY, "max_total_memory": TOTAL_MEMORY})
    jobs = [{"job_name": "app", "static_configs": [{"targets": targets}]}]
    federation.add_secondary(federation.add_primary(), 1, jobs)
    federation.start()
    wait_until(lambda: federation.value("count(m1)") == EXPORTERS * IDS, what="all series at the global")

    def ingested():
        return top.metrics()["tributary_global_ingested_batches_total"]

    before_anon, before_batches = rss_anon(top), ingested()
    slow = SlowReader(top)
    attack = Attack(top, hostile())
    attack.run()
    assert wrong_answers(attack) == {}
    assert top.is_running()
    assert ingested() > before_batches, "batches arrive during it"
    assert attack.most_anon < before_anon + TOTAL_MEMORY + SLACK, (before_anon, attack.most_anon)

    # What the slow reader has been given is counted until it goes.
    assert slow.status() in OK | ANY_LIMIT
    slow.close()
    wait_until(lambda: top.metrics()["tributary_query_memory_bytes"] == 0, what="no memory is taken any more")
    after = ingested()
    wait_until(lambda: ingested() > after, what="batches that arrive afterwards")
    assert federation.value("count(m1)") == EXPORTERS * IDS
    assert top.metrics()["tributary_query_running"] == 0
