#!/usr/bin/env python3
"""A Consul agent on loopback, from its API documentation: agent/self, catalog/services, catalog/datacenters,
health/service/NAME, health/state/any; blocking queries, ACL tokens, filters as far as discovery uses them.

usage: consul.py --address 127.77.1.9 [--port 8500] [--services 100]

Beside the API, for tests:
    GET  /_fake/counters   what was asked for how often, connections, and how many at a time, as JSON
    GET  /_fake/labels     what Prometheus would discover
    POST /_fake/faults     JSON of the keys of FAULTS: from now on
    POST /_fake/change     [method of World, argument, ...]: ["set_check", "node-1", "serfHealth", "critical"]
"""
import argparse
import collections
import contextlib
import http.server
import json
import os
import random
import re
import socket
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from fakes import consul_world  # noqa: E402

WAIT_SECONDS, WAIT_SECONDS_MAX = 300, 600
FAULTS = {
    "path": "/v1/",  # what the others are about begins so
    "status": 0,  # answered with this one
    "times": -1,  # so often, then no more; -1: always
    "html": False,  # a page of HTML with status 200
    "half": False,  # the connection ends in the middle of the body
    "short": False,  # half a body that looks whole
    "slow_seconds": 0,  # between each tenth of a body
    "huge_bytes": 0,  # so much besides in the body
    "deep": False,  # nested without end
    "no_index": False,  # no X-Consul-Index
    "no_leader": False,
    "no_blocking": False,  # a gateway that answers at once, whatever index is asked for
    "back": 0,  # indexes are told so much lower: a snapshot was restored
}
PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"


def parse_wait(text):
    units = {"h": 3600, "m": 60, "s": 1, "ms": 0.001}
    found = re.findall(r"([0-9.]+)(ms|h|m|s)", text or "")
    return min(sum(float(number) * units[unit] for number, unit in found) or WAIT_SECONDS, WAIT_SECONDS_MAX)


def field_of(entry, path):
    """Of an expression: Service.Meta.version, ServiceName. None: absent."""
    aliases = {"ServiceName": "Service.Service", "ServiceTags": "Service.Tags", "ServiceMeta": "Service.Meta",
               "NodeMeta": "Node.Meta"}
    first, _, rest = path.partition(".")
    for part in (aliases.get(first, first) + ("." + rest if rest else "")).split("."):
        entry = (entry or {}).get(part)
    return entry


def matches(entry, expression):
    """Terms of ==, !=, contains and in, joined by and. ValueError: no such expression."""
    for term in re.split(r"\s+and\s+", expression.strip()):
        found = re.fullmatch(r"\"?([^\s\"]+)\"?\s+(==|!=|contains|in)\s+\"?([^\"]*?)\"?", term)
        if not found:
            raise ValueError(term)
        left, operator, right = found.groups()
        if operator == "in":
            left, operator, right = right, "contains", left
        value = field_of(entry, left)
        is_true = right in (value or []) if operator == "contains" else (str(value) == right) == (operator == "==")
        if not is_true:
            return False
    return True


class State:
    def __init__(self, datacenter):
        self.world = consul_world.World(datacenter)
        self.moved = threading.Condition()  # guards all of this; told of every change
        self.faults = dict(FAULTS)
        self.tokens = set()  # empty: whoever asks may know all
        self.counters = collections.Counter()
        self.asked = collections.deque(maxlen=20000)  # (path, parameters) of requests
        self.sockets = set()
        self.waiting = 0
        self.closing = False
        self.epoch = 0  # every restored snapshot begins one: whoever waits is answered

    def peak(self, name, value):
        self.counters[name] = max(self.counters[name], value)

    def fault(self, path):
        """The faults that this request has, which counts; {} for none."""
        faults = self.faults
        if not path.startswith(faults["path"]) or faults["times"] == 0:
            return {}
        if faults["times"] > 0:
            faults["times"] -= 1
        return dict(faults)

    def select(self, query, service=None):
        meta = dict(pair.partition(":")[::2] for pair in query.get("node-meta", []))
        for entry in self.world.entries(service):
            service_entry, node = entry["Service"], entry["Node"]
            if any((node["Meta"] or {}).get(key) != value for key, value in meta.items()):
                continue
            if any(query[key][0] != service_entry.get(name, "default") for key, name in
                   (("ns", "Namespace"), ("partition", "Partition")) if key in query):
                continue
            if all(tag in service_entry["Tags"] for tag in query.get("tag", [])) and \
                    all(matches(entry, expression) for expression in query.get("filter", [])):
                yield entry

    def answer(self, path, query):
        """(function that gives the index, function that gives the value) of a path; None: there is none."""
        world = self.world
        if path == "/v1/agent/self":
            return None, lambda: {"Config": {"Datacenter": world.datacenter, "NodeName": "agent-1"},
                                  "DebugConfig": {"Addresses": [{"IP": "127.0.0.1"}] * 100}, "Meta": {}}
        if path == "/v1/catalog/datacenters":
            return None, lambda: [world.datacenter]
        if path == "/v1/catalog/services":
            def services():
                found = collections.defaultdict(set)
                for entry in self.select(query):
                    found[entry["Service"]["Service"]].update(entry["Service"]["Tags"])
                return {name: sorted(tags) for name, tags in found.items()}

            return lambda: max(world.tables["services"], world.tables["nodes"] if "node-meta" in query else 0), services
        if path == "/v1/health/state/any":
            return lambda: world.tables["checks"], lambda: list(world.checks.values())
        if path.startswith("/v1/health/service/"):
            name = urllib.parse.unquote(path[len("/v1/health/service/"):])
            return lambda: world.index_of_service(name), lambda: list(self.select(query, name))
        return None, None

    def wait(self, index_of, query):
        """The index to tell, once it is past the one that was asked for, or the time is over."""
        def told():
            return max(index_of() - self.faults["back"], 1)

        asked = int((query.get("index") or ["0"])[0] or 0)
        if asked <= 0 or self.faults["no_blocking"]:
            return told()
        wait = parse_wait((query.get("wait") or [""])[0])
        end, epoch = time.monotonic() + wait + random.uniform(0, wait / 16), self.epoch
        self.waiting += 1
        self.peak("waiting_max", self.waiting)
        while told() <= asked and self.epoch == epoch and not self.closing and time.monotonic() < end:
            self.moved.wait(min(end - time.monotonic(), 1))
        self.waiting -= 1
        return told()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def setup(self):
        super().setup()
        state = self.server.state
        with state.moved:
            state.sockets.add(self.connection)
            state.counters["connections"] += 1
            state.peak("connections_max", len(state.sockets))

    def finish(self):
        with self.server.state.moved:
            self.server.state.sockets.discard(self.connection)
        super().finish()

    def answer(self, status, body, content_type="application/json", headers=(), faults=None):
        faults = faults or {}
        self.send_response(status)
        for name, value in [("Content-Type", content_type), *headers]:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if faults.get("half"):
            self.wfile.write(body[:len(body) // 2])
            self.close_connection = True
            return
        step = len(body) // 10 + 1 if faults.get("slow_seconds") else 1 << 20
        for at in range(0, len(body), step):
            self.wfile.write(body[at:at + step])
            self.wfile.flush()
            time.sleep(faults.get("slow_seconds", 0))

    def do_POST(self):
        state = self.server.state
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
        with state.moved:
            if self.path == "/_fake/faults":
                state.faults = {**FAULTS, **body}
            else:
                getattr(state.world, body[0])(*body[1:])
            state.moved.notify_all()
        self.answer(200, b"{}")

    def do_GET(self):
        path, _, text = self.path.partition("?")
        query = urllib.parse.parse_qs(text, keep_blank_values=True)
        state = self.server.state
        try:
            if path == "/_fake/counters":
                self.answer(200, json.dumps(state.counters).encode())
            elif path == "/_fake/labels":
                with state.moved:
                    body = json.dumps([consul_world.labels(entry) for entry in state.world.entries()])
                self.answer(200, body.encode())
            else:
                self.answer_api(path, query)
        except (ConnectionError, ValueError) as error:
            self.close_connection = True
            if isinstance(error, ValueError):
                self.answer(400, f"Failed to create boolean expression evaluator: {error}".encode(), "text/plain")

    def token(self, query):
        bearer = (self.headers.get("Authorization") or "").partition("Bearer ")[2]
        return self.headers.get("X-Consul-Token") or (query.get("token") or [""])[0] or bearer

    def answer_api(self, path, query):
        state = self.server.state
        with state.moved:
            state.counters["requests"] += 1
            state.counters[re.sub("(/v1/health/service/).*", r"\1", path)] += 1
            state.asked.append((path, query))
            token = self.token(query)
            is_anonymous = bool(state.tokens) and not token
            if token and state.tokens and token not in state.tokens:
                return self.answer(403, b"ACL not found\n", "text/plain; charset=utf-8")
            if is_anonymous and path == "/v1/agent/self":
                return self.answer(403, b"Permission denied: anonymous token lacks permission 'agent:read' on \"agent-1\"",
                                   "text/plain; charset=utf-8")
            if query.get("dc", [state.world.datacenter])[0] != state.world.datacenter:
                return self.answer(500, b"No path to datacenter", "text/plain")
            index_of, value_of = state.answer(path, query)
            if not value_of:
                return self.answer(404, b"Invalid URL path: not a recognized HTTP API endpoint", "text/plain")
            headers, index = [], 0
            if index_of:
                index = state.wait(index_of, query)
                leader = "false" if state.faults["no_leader"] else "true"
                headers = [("X-Consul-Knownleader", leader), ("X-Consul-Lastcontact", "0"),
                           ("X-Consul-Effective-Consistency", "stale" if "stale" in query else "leader")]
            faults, value = state.fault(path), value_of()
            if index_of and not faults.get("no_index"):
                headers.append(("X-Consul-Index", str(index)))
            if is_anonymous:
                headers.append(("X-Consul-Results-Filtered-By-Acls", "true"))
                value = type(value)()
            body = json.dumps(value, ensure_ascii=False).encode()
        self.answer_faulty(body, headers, faults)

    def answer_faulty(self, body, headers, faults):
        if faults.get("status"):
            return self.answer(faults["status"], b"rpc error making call: No cluster leader", "text/plain", headers)
        if faults.get("html"):
            return self.answer(200, PAGE, "text/html", headers)
        if faults.get("short"):
            body = body[:len(body) // 2]
        if faults.get("deep"):
            body = body[:1] + b'"x":' * body.startswith(b"{") + b"[" * 100000
        if faults.get("huge_bytes"):
            filler = b" " * faults["huge_bytes"]
            body = body[:1] + filler + body[1:]
        return self.answer(200, body, headers=headers, faults=faults)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 1024

    def handle_error(self, request, client_address):
        pass  # those who ask are killed here; their connections end anyhow


class Consul:
    """In a thread of this process."""

    def __init__(self, address, port=8500, datacenter="dc1"):
        self.state = State(datacenter)
        self.target = (address, port)
        self.address = f"{address}:{port}"
        self.server = None
        self.start()

    def start(self):
        self.state.closing = False
        self.server = Server(self.target, Handler)
        self.server.state = self.state
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def change(self, method, *arguments, **more):
        with self.state.moved:
            getattr(self.state.world, method)(*arguments, **more)
            self.state.moved.notify_all()

    def faults(self, **faults):
        """Exactly these from now on."""
        assert set(faults) <= set(FAULTS), faults
        with self.state.moved:
            self.state.faults = {**FAULTS, **faults}
            self.state.moved.notify_all()

    def restore(self, back):
        """A snapshot is restored: indexes are so much lower, whoever waits is answered."""
        with self.state.moved:
            self.state.faults["back"] = back
            self.state.epoch += 1
            self.state.moved.notify_all()

    def set_tokens(self, *tokens):
        with self.state.moved:
            self.state.tokens = set(tokens)

    def labels(self, **query):
        with self.state.moved:
            lists = {key.replace("_", "-"): value for key, value in query.items()}
            return [consul_world.labels(entry) for entry in self.state.select(lists)]

    def count(self, what):
        with self.state.moved:
            return self.state.counters[what]

    def asked(self, part):
        """(path, parameters) of what was asked for that begins so."""
        with self.state.moved:
            return [(path, query) for path, query in self.state.asked if path.startswith(part)]

    def close(self):
        """Nobody answers any more, on kept connections neither; what was known stays known."""
        if not self.server:
            return
        self.server.shutdown()
        self.server.server_close()
        self.server = None
        with self.state.moved:
            self.state.closing = True
            for connection in self.state.sockets:
                with contextlib.suppress(OSError):  # it has gone by itself
                    connection.shutdown(socket.SHUT_RDWR)
            self.state.moved.notify_all()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, default=8500)
    parser.add_argument("--services", type=int, default=100)
    arguments = parser.parse_args()
    fake = Consul(arguments.address, arguments.port)
    fake.change("populate", arguments.services)
    print(f"Consul at http://{fake.address}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
