"""An API server of Kubernetes as its documentation describes one ("API concepts"): lists in chunks with continue tokens that
expire, watches with bookmarks from a resourceVersion on, 410 for what has been compacted, label and field selectors,
discovery documents for kubectl, Status objects for errors. What goes wrong is switched on by `faults`, here or over HTTP.

usage: kubernetes.py --listen ADDRESS:PORT [--pods N] [--nodes N] [--token TOKEN] [--cert FILE --key FILE]

    GET  /fake/counters                    requests so far, by what they asked for
    POST /fake/faults    {"html": 1, ...}  see Faults
    POST /fake/apply     object            makes or changes one
    POST /fake/delete    object            by kind, namespace and name
    POST /fake/compact                     forgets the past: versions so far are gone, continue tokens too
    POST /fake/close     {"cut": false}    ends all watches, politely or not
"""
import argparse
import base64
import collections
import dataclasses
import http.server
import json
import os
import re
import ssl
import sys
import threading
import time
import urllib.parse

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from fakes import kubernetes_objects  # noqa: E402

Resource = collections.namedtuple("Resource", "api plural kind namespaced")
RESOURCES = (
    Resource("v1", "pods", "Pod", True), Resource("v1", "services", "Service", True),
    Resource("v1", "endpoints", "Endpoints", True), Resource("v1", "nodes", "Node", False),
    Resource("v1", "namespaces", "Namespace", False),
    Resource("discovery.k8s.io/v1", "endpointslices", "EndpointSlice", True),
    Resource("networking.k8s.io/v1", "ingresses", "Ingress", True),
)
BY_KIND = {resource.kind: resource for resource in RESOURCES}
SNAPSHOTS_MAX = 100  # continue tokens that are good at a time
BOOKMARK_SECONDS = 1.0  # a real one sends some a minute
POLL_SECONDS = 0.05
EXPIRED = "The provided continue parameter is too old to display a consistent list result."


@dataclasses.dataclass
class Faults:
    """Each number is of how many answers that happens to; `plural` (regular expression) says whose lists and watches."""
    plural: str = ".*"
    html: int = 0  # 200 and a page of HTML
    status: int = 0  # this status, `status_count` times
    status_count: int = 0
    retry_after: int = 0  # seconds, with `status`
    half: int = 0  # half of the list, then the connection ends
    slow_seconds: float = 0  # a list takes so long, in ten pieces
    list_gone: int = 0  # 410 to a continue token
    watch_gone: int = 0  # 410 to a watch at its beginning, as `gone_as`
    gone_as: str = "event"  # or "status"
    endless_pages: bool = False  # the last page is followed by an empty one, for ever
    deep: int = 0  # an object nested 10,000 deep
    large: int = 0  # 100 MiB in one object
    garbage_events: int = 0  # a line that is no JSON in a watch
    half_events: int = 0  # half a line in a watch, then the connection ends
    forbidden: list = dataclasses.field(default_factory=list)  # plurals answered with 403


class Item:
    """An object as bytes, and what selectors look at."""
    __slots__ = ("key", "version", "body", "labels", "fields")

    def __init__(self, made, version):
        meta = {**made["metadata"], "resourceVersion": str(version)}
        self.key = (meta.get("namespace", ""), meta["name"])
        self.version = version
        self.body = json.dumps({**made, "metadata": meta}, separators=(",", ":")).encode()
        self.labels = meta.get("labels") or {}
        spec, status = made.get("spec") or {}, made.get("status") or {}
        self.fields = {"metadata.name": self.key[1], "metadata.namespace": self.key[0],
                       "spec.nodeName": spec.get("nodeName", ""), "status.phase": status.get("phase", ""),
                       "status.podIP": status.get("podIP", ""), "spec.type": spec.get("type", "")}


def parse_selector(text):
    """A function of a map: whether it fulfils a label or field selector."""
    tests = []
    for part in re.findall(r"(?:[^,(]|\([^)]*\))+", text or ""):
        in_set = re.fullmatch(r"\s*(\S+)\s+(in|notin)\s+\(([^)]*)\)\s*", part)
        compared = re.fullmatch(r"\s*([^=!\s]+)\s*(==|=|!=)\s*([^=!\s]*)\s*", part)
        named = re.fullmatch(r"\s*(!?)([^=!\s]+)\s*", part)
        if in_set:
            key, values = in_set[1], {value.strip() for value in in_set[3].split(",")}
            wanted = in_set[2] == "in"
            tests.append(lambda have, k=key, v=values, w=wanted: (have.get(k) in v) == w)
        elif compared:
            key, value, wanted = compared[1], compared[3], compared[2] != "!="
            tests.append(lambda have, k=key, v=value, w=wanted: (have.get(k) == v) == w)
        elif named:
            tests.append(lambda have, k=named[2], w=not named[1]: (k in have) == w)
        else:
            raise ValueError(f"unable to parse requirement: found '{part}', expected: a selector")
    return lambda have: all(test(have) for test in tests)


class Cluster:
    """Objects by resource, and what happened to them."""

    def __init__(self):
        self.changed = threading.Condition()
        self.version = 1000
        self.compacted = 0  # versions up to here are gone
        self.items = {resource.plural: {} for resource in RESOURCES}
        self.events = {resource.plural: [] for resource in RESOURCES}  # (version, item before or None, after or None)
        self.snapshots = collections.OrderedDict()  # continue token -> (version, items left)
        self.closing = 0  # rises with each close
        self.cut = False

    def apply(self, made):
        resource = BY_KIND[made["kind"]]
        with self.changed:
            self.version += 1
            item = Item(made, self.version)
            before = self.items[resource.plural].get(item.key)
            self.items[resource.plural][item.key] = item
            self.events[resource.plural].append((self.version, before, item))
            self.changed.notify_all()

    def delete(self, made):
        resource = BY_KIND[made["kind"]]
        with self.changed:
            self.version += 1
            key = (made["metadata"].get("namespace", ""), made["metadata"]["name"])
            before = self.items[resource.plural].pop(key)
            self.events[resource.plural].append((self.version, before, None))
            self.changed.notify_all()

    def populate(self, pods, nodes):
        for made in kubernetes_objects.cluster(pods, nodes):
            self.apply(made)
        self.compact()

    def compact(self):
        with self.changed:
            self.compacted = self.version
            self.snapshots.clear()
            for events in self.events.values():
                events.clear()

    def close(self, cut=False):
        with self.changed:
            self.closing += 1
            self.cut = cut
            self.changed.notify_all()

    def objects(self, kind):
        """All of a kind, as they are."""
        with self.changed:
            return [json.loads(item.body) for item in self.items[BY_KIND[kind].plural].values()]


class Gone(Exception):
    pass


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True  # heads and bodies are written one after the other

    def log_message(self, format, *args):
        pass

    # ---- answers ----

    def answer(self, status, body, content_type="application/json", **headers):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, code, reason, message, **headers):
        self.answer(code, self.status_object(code, reason, message), **headers)

    @staticmethod
    def status_object(code, reason, message):
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
                "reason": reason, "code": code}

    def take(self, fault):
        """True as often as the fault is set to, for the resource that is asked for."""
        with self.server.lock:
            faults = self.server.faults
            if not re.fullmatch(faults.plural, self.resource.plural) or not getattr(faults, fault):
                return False
            setattr(faults, fault, getattr(faults, fault) - 1)
            return True

    # ---- what is asked ----

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        self.query = {key: values[-1] for key, values in urllib.parse.parse_qs(url.query).items()}
        parts = [part for part in url.path.split("/") if part]
        if parts[:1] == ["fake"]:
            self.answer(200, self.server.read_counters())
        elif self.server.token and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self.server.count("unauthorized")
            self.refuse(401, "Unauthorized", "Unauthorized")
        elif url.path.startswith("//"):
            self.refuse(404, "NotFound", "the server could not find the requested resource")
        elif not self.documents(parts):
            self.resources(parts)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}"
        orders = {"/fake/faults": lambda made: self.server.set_faults(**made),
                  "/fake/apply": self.server.cluster.apply, "/fake/delete": self.server.cluster.delete,
                  "/fake/compact": lambda made: self.server.cluster.compact(),
                  "/fake/close": lambda made: self.server.cluster.close(**made)}
        if self.path not in orders:
            self.refuse(404, "NotFound", "the server could not find the requested resource")
            return
        orders[self.path](json.loads(body))
        self.answer(200, {})

    def documents(self, parts):
        """What kubectl asks for before it asks for objects."""
        groups = sorted({resource.api for resource in RESOURCES if "/" in resource.api})
        if parts == ["version"]:
            self.answer(200, {"major": "1", "minor": "32", "gitVersion": "v1.32.4", "platform": "linux/amd64"})
        elif parts == ["api"]:
            self.answer(200, {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
        elif parts == ["apis"]:
            self.answer(200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": [
                {"name": group.split("/")[0], "versions": [{"groupVersion": group, "version": "v1"}],
                 "preferredVersion": {"groupVersion": group, "version": "v1"}} for group in groups]})
        elif "/".join(parts[1:]) in ("v1", *groups):
            self.answer(200, {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "/".join(parts[1:]),
                              "resources": [
                {"name": resource.plural, "singularName": resource.kind.lower(), "kind": resource.kind,
                 "namespaced": resource.namespaced, "verbs": ["get", "list", "watch"]}
                for resource in RESOURCES if resource.api == "/".join(parts[1:])]})
        else:
            return False
        return True

    def resources(self, parts):
        api = parts[1] if parts[:1] == ["api"] else "/".join(parts[1:3])
        rest = parts[2:] if parts[:1] == ["api"] else parts[3:]
        space = ""
        if rest[:1] == ["namespaces"] and len(rest) > 2:
            space, rest = rest[1], rest[2:]
        found = [resource for resource in RESOURCES if rest and (resource.api, resource.plural) == (api, rest[0])]
        if not found or len(rest) > 2:
            self.server.count("unknown")
            self.refuse(404, "NotFound", "the server could not find the requested resource")
            return
        self.resource = found[0]
        is_watch = self.query.get("watch") in ("1", "true")
        verb = "watch" if is_watch else "list" if len(rest) == 1 else "get"
        self.server.count(f"{verb} {self.resource.plural}")
        if self.resource.plural in self.server.faults.forbidden:
            group = api.split("/")[0] if "/" in api else ""
            self.refuse(403, "Forbidden", f'{rest[0]} is forbidden: User "system:serviceaccount:monitoring:tributary" '
                                          f'cannot {verb} resource "{rest[0]}" in API group "{group}"')
        elif self.take("status_count"):
            faults = self.server.faults
            self.refuse(faults.status, "InternalError", "a fault that was ordered",
                        **({"Retry_After": faults.retry_after} if faults.retry_after else {}))
        elif self.take("html"):
            self.answer(200, b"<html><body>Please log in.</body></html>", "text/html")
        elif verb == "get":
            self.get((space, rest[1]))
        else:
            self.select_and(self.watch if is_watch else self.list, space)

    def get(self, key):
        with self.server.cluster.changed:
            item = self.server.cluster.items[self.resource.plural].get(key)
        if item:
            self.answer(200, item.body)
        else:
            self.refuse(404, "NotFound", f'{self.resource.plural} "{key[1]}" not found')

    def select_and(self, verb, space):
        try:
            by_label = parse_selector(self.query.get("labelSelector"))
            by_field = parse_selector(self.query.get("fieldSelector"))
        except ValueError as error:
            self.refuse(400, "BadRequest", str(error))
            return
        try:
            verb(lambda item: (not space or item.key[0] == space) and by_label(item.labels) and by_field(item.fields))
        except Gone as error:
            self.refuse(410, "Expired", str(error))

    # ---- list ----

    def list(self, selected):
        cluster, limit = self.server.cluster, int(self.query.get("limit", 0))
        token = self.query.get("continue")
        if self.query.get("resourceVersion") == "0":
            limit = 0  # from the watch cache, which has no chunks
        with cluster.changed:
            if token:
                if self.take("list_gone") or token not in cluster.snapshots:
                    raise Gone(EXPIRED)
                version, items = cluster.snapshots[token]
            else:
                version = cluster.version
                items = sorted(filter(selected, cluster.items[self.resource.plural].values()),
                               key=lambda item: item.key)
            page, rest = (items[:limit], items[limit:]) if limit else (items, [])
            meta = {"resourceVersion": str(version)}
            if rest or self.server.faults.endless_pages:
                meta["continue"] = self.keep_snapshot(version, rest)
                if rest and not self.query.get("labelSelector") and not self.query.get("fieldSelector"):
                    meta["remainingItemCount"] = len(rest)
        head = json.dumps({"kind": f"{self.resource.kind}List", "apiVersion": self.resource.api, "metadata": meta})
        bodies = [item.body for item in page]
        if self.take("deep"):
            bodies.append(b'{"metadata":' * 10000 + b"{}" + b"}" * 10000)
        if self.take("large"):
            bodies.append(b'{"metadata":{"name":"' + b"x" * (100 << 20) + b'"}}')
        self.send_list(head[:-1].encode() + b',"items":[' + b",".join(bodies) + b"]}\n")

    def keep_snapshot(self, version, items):
        cluster = self.server.cluster
        self.server.tokens += 1
        raw = {"v": "meta.k8s.io/v1", "rv": version, "start": f"{self.server.tokens:012d}"}
        token = base64.urlsafe_b64encode(json.dumps(raw).encode()).decode().rstrip("=")
        cluster.snapshots[token] = (version, items)
        while len(cluster.snapshots) > SNAPSHOTS_MAX:
            cluster.snapshots.popitem(last=False)
        return token

    def send_list(self, body):
        faults = self.server.faults
        if self.take("half"):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:len(body) // 2])
            self.close_connection = True
        elif faults.slow_seconds and re.fullmatch(faults.plural, self.resource.plural):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            piece = len(body) // 10 + 1
            for at in range(0, len(body), piece):
                self.send_chunk(body[at:at + piece])
                time.sleep(faults.slow_seconds / 10)
            self.send_chunk(b"")
        else:
            self.answer(200, body)

    def send_chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    # ---- watch ----

    def watch(self, selected):
        cluster, text = self.server.cluster, self.query.get("resourceVersion", "")
        end = time.monotonic() + int(self.query.get("timeoutSeconds", 1800))
        version = int(text or 0)
        gone = self.take("watch_gone") or 0 < version < cluster.compacted
        if gone and self.server.faults.gone_as == "status":
            raise Gone(f"too old resource version: {version} ({cluster.compacted})")
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            if gone:
                self.send_event("ERROR", json.dumps(self.status_object(
                    410, "Expired", f"too old resource version: {version} ({cluster.compacted})")).encode())
            else:
                self.follow(selected, version, end)
            self.send_chunk(b"")
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True

    def send_event(self, kind, body):
        self.send_chunk(b'{"type":"%s","object":%s}\n' % (kind.encode(), body))

    @staticmethod
    def event_of(selected, before, after):
        """What an event is to a watch that sees a part: (type, item); (None, None): nothing."""
        was, now = bool(before and selected(before)), bool(after and selected(after))
        kind = {(False, True): "ADDED", (True, True): "MODIFIED", (True, False): "DELETED"}.get((was, now))
        return kind, after if now else before

    def follow(self, selected, version, end):
        cluster = self.server.cluster
        closing, bookmark_at = cluster.closing, time.monotonic() + BOOKMARK_SECONDS
        if version == 0:
            with cluster.changed:
                version = cluster.version
                items = list(filter(selected, cluster.items[self.resource.plural].values()))
            for item in items:
                self.send_event("ADDED", item.body)
        while time.monotonic() < end:
            with cluster.changed:
                if cluster.version <= version and cluster.closing == closing:
                    cluster.changed.wait(POLL_SECONDS)
                events = [event for event in cluster.events[self.resource.plural] if event[0] > version]
                version = max(version, cluster.version)
                if cluster.closing != closing:
                    self.close_connection = cluster.cut
                    if cluster.cut:
                        raise BrokenPipeError
                    return
            for at, before, after in events:
                kind, item = self.event_of(selected, before, after)
                if kind == "DELETED":
                    made = json.loads(item.body)
                    made["metadata"]["resourceVersion"] = str(at)
                    self.send_event(kind, json.dumps(made).encode())
                elif kind:
                    self.send_event(kind, item.body)
            if self.take("garbage_events"):
                self.send_chunk(b"<!-- no event -->\n")
            if self.take("half_events"):
                self.send_chunk(b'{"type":"ADDED","object":{"metadata":{"name":"ha')
                raise BrokenPipeError
            if time.monotonic() >= bookmark_at and self.query.get("allowWatchBookmarks") in ("1", "true"):
                bookmark_at = time.monotonic() + BOOKMARK_SECONDS
                self.send_event("BOOKMARK", json.dumps({
                    "kind": self.resource.kind, "apiVersion": self.resource.api,
                    "metadata": {"resourceVersion": str(version), "creationTimestamp": None}}).encode())


class Kubernetes(http.server.ThreadingHTTPServer):
    """Listens from its making on; start() answers in a thread, close() ends it."""
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, port=6443, token=None, certificate=None):
        """certificate: (file, key file) of a server that speaks TLS."""
        super().__init__((address, port), Handler)
        self.cluster, self.faults, self.token = Cluster(), Faults(), token
        self.lock, self.counters, self.tokens = threading.Lock(), collections.Counter(), 0
        self.url = f"{'https' if certificate else 'http'}://{address}:{port}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (OSError, ssl.SSLError)):
            super().handle_error(request, client_address)

    def count(self, what):
        with self.lock:
            self.counters[what] += 1

    def read_counters(self):
        with self.lock:
            return dict(self.counters)

    def set_faults(self, **faults):
        """These and no others."""
        with self.lock:
            self.faults = Faults(**faults)

    def start(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": POLL_SECONDS}, daemon=True).start()
        return self

    def close(self):
        self.cluster.close()
        self.shutdown()
        self.server_close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--pods", type=int, default=40)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--token")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    arguments = parser.parse_args()
    address, _, port = arguments.listen.rpartition(":")
    server = Kubernetes(address, int(port), arguments.token,
                        (arguments.cert, arguments.key) if arguments.cert else None)
    server.cluster.populate(arguments.pods, arguments.nodes)
    print(f"{server.url} has {arguments.pods} pods", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
