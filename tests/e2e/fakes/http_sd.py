#!/usr/bin/env python3
"""An endpoint for http_sd_configs on loopback: a JSON list of target groups, with an ETag that is honoured.

usage: http_sd.py --address 127.77.1.9 [--port 8080] [--groups 10]

Beside the list, for tests:
    GET  /_fake/counters   how often what was answered, as JSON
    POST /_fake/faults     JSON of the keys of FAULTS: from now on
    POST /_fake/groups     the list from now on
"""
import argparse
import collections
import contextlib
import hashlib
import http.server
import json
import random
import socket
import threading
import time

FAULTS = {
    "status": 0,  # answered with this one
    "times": -1,  # so often, then no more; -1: always
    "body": None,  # this text, whatever the list is
    "content_type": "application/json",
    "half": False,  # the connection ends in the middle of the body
    "slow_seconds": 0,  # between each tenth of the body
    "huge_bytes": 0,  # so much besides in the body
    "retry_after": None,
}


def populate(groups, seed=1):
    """Groups of all kinds that are right."""
    rnd = random.Random(seed)
    made = []
    for number in range(groups):
        labels = {"env": rnd.choice(["prod", "test"]), "__meta_rack": f"r{number}", "city": "Zürich \"1\"", "empty": ""}
        targets = [rnd.choice(["10.3.0.{0}:9100", "host-{0}.example:80", "[2001:db8::{0}]:1", "plain-{0}"])
                   .format(number * 10 + copy) for copy in range(rnd.randint(0, 4))]
        made.append(rnd.choice([{"targets": targets, "labels": labels}, {"targets": targets, "labels": labels},
                                {"targets": targets, "labels": None}, {"targets": targets}, {"labels": labels}]))
    return made


def labels(groups, url):
    """What Prometheus' discovery/http/http.go makes of them; empty labels are none."""
    return [{"__address__": target, **{name: value for name, value in (group.get("labels") or {}).items() if value},
             "__meta_url": url} for group in groups for target in group.get("targets") or []]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def setup(self):
        super().setup()
        self.server.owner.sockets.add(self.connection)

    def finish(self):
        self.server.owner.sockets.discard(self.connection)
        super().finish()

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        owner = self.server.owner
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        if self.path == "/_fake/faults":
            owner.faults(**body)
        else:
            owner.groups = body
        self.answer(200)

    def do_GET(self):
        owner = self.server.owner
        if self.path == "/_fake/counters":
            return self.answer(200, json.dumps(owner.counters).encode())
        with owner.lock:
            owner.asked.append(dict(self.headers))
            faults = owner.take_faults()
            body = json.dumps(owner.groups, ensure_ascii=False).encode()
        if faults["body"] is not None:
            body = faults["body"].encode()
        body = body[:1] + b" " * faults["huge_bytes"] + body[1:]
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        status = faults["status"] or (304 if self.headers.get("If-None-Match") == etag else 200)
        with owner.lock:
            owner.counters[str(status)] += 1
        if faults["half"] or faults["slow_seconds"]:
            return self.answer_in_pieces(body, faults)
        return self.answer(status, b"" if status == 304 else body, Content_Type=faults["content_type"], ETag=etag,
                           Retry_After=faults["retry_after"], Cache_Control="max-age=86400")

    def answer_in_pieces(self, body, faults):
        self.send_response(200)
        self.send_header("Content-Type", faults["content_type"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if faults["half"]:
            self.wfile.write(body[:len(body) // 2])
            self.close_connection = True
            return
        for at in range(0, len(body), len(body) // 10 + 1):
            self.wfile.write(body[at:at + len(body) // 10 + 1])
            self.wfile.flush()
            time.sleep(faults["slow_seconds"])


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        pass  # those who ask are killed here; their connections end anyhow


class HttpSd:
    """In a thread of this process."""

    def __init__(self, address, port=8080, groups=10):
        self.lock = threading.Lock()
        self.groups = populate(groups)
        self.target, self.url = (address, port), f"http://{address}:{port}/targets?team=a"
        self.asked = collections.deque(maxlen=1000)  # headers of requests
        self.counters = collections.Counter()
        self.current, self.sockets, self.server = dict(FAULTS), set(), None
        self.start()

    def start(self):
        self.server = Server(self.target, Handler)
        self.server.owner = self
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def faults(self, **faults):
        """Exactly these from now on."""
        assert set(faults) <= set(FAULTS), faults
        with self.lock:
            self.current = {**FAULTS, **faults}

    def take_faults(self):
        if self.current["times"] == 0:
            return FAULTS
        self.current["times"] -= self.current["times"] > 0
        return self.current

    def labels(self):
        return labels(self.groups, self.url)

    def count(self, status):
        with self.lock:
            return self.counters[str(status)]

    def close(self):
        """Nobody answers any more, on kept connections neither."""
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None
            for connection in list(self.sockets):
                with contextlib.suppress(OSError):  # it has gone by itself
                    connection.shutdown(socket.SHUT_RDWR)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--groups", type=int, default=10)
    arguments = parser.parse_args()
    fake = HttpSd(arguments.address, arguments.port, arguments.groups)
    print(f"groups of targets at {fake.url}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
