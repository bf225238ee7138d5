"""What comes from outside may be anything: it costs itself, is counted and told, and harms nobody else."""
import http.client
import json
import os
import random
import resource
import select
import socket
import time

import pytest

import frames
from exporter import Exporter, Numbered
from harness import Federation, fetch, wait_until

# ---- Exporters ----


def raw_answer(*pieces, pause=0.0, close=True):
    """A page that writes these bytes to the connection as they are."""
    def page(handler):
        try:
            for piece in pieces:
                handler.wfile.write(piece)
                handler.wfile.flush()
                time.sleep(pause)
        except OSError:
            pass  # the secondary has had enough
        handler.close_connection = close

    return page


def endless_line(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nvalue{a=\"")
    try:
        for _ in range(4096):
            handler.wfile.write(b"x" * 65536)
    except OSError:
        pass
    handler.close_connection = True


def hang(handler):
    time.sleep(3)
    handler.close_connection = True


def status(code, *headers):
    def page(handler):
        handler.send_response(code)
        for name, value in headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return page


def html(handler):
    handler.answer(200, "<!DOCTYPE html>\n<html><body>It works!</body></html>\n", "text/html")


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
# path: (page, outcome as /metrics counts it, what lastError of the target says)
BAD_PAGES = {
    "/garbage": (bytes(random.Random(1).randrange(1, 256) for _ in range(2000)).replace(b"#", b"?"), "parse", "line 1"),
    "/torn": ("a 1\nb{c=\"d\" 2\n", "parse", "line 2"),
    "/html": (html, "parse", "line 1"),
    "/endless": (endless_line, "body_limit", ""),
    "/large": ("# %s\n" % ("x" * 600_000), "body_limit", ""),
    "/declared": (raw_answer(HEAD + b"Content-Length: 99999999999\r\n\r\na 1\n"), "body_limit", ""),
    "/half": (raw_answer(HEAD + b"Content-Length: 1000\r\n\r\na 1\nb"), "broken", ""),
    "/nothing": (raw_answer(b""), "broken", ""),
    "/noise": (raw_answer(b"\0\1\2\3 no HTTP at all \xff\r\n\r\n"), "broken", ""),
    "/hang": (hang, "timeout", ""),
    "/drip": (raw_answer(HEAD + b"Content-Length: 100\r\n\r\n", *[b"a"] * 40, pause=0.1), "timeout", ""),
    "/error": (status(500), "status", "500"),
    "/missing": (status(404), "status", "404"),
    "/redirect": (status(302, ("Location", "/good")), "status", "302"),
    "/samples": ("".join(f"s{{n=\"{i}\"}} {i}\n" for i in range(200)), "sample_limit", "line 101"),
    "/labels": ("l{%s} 1\n" % ",".join(f'l{i}="{i}"' for i in range(30)), "label_limit", ""),
}


def test_bad_exporters(federation, exporter):
    good = Numbered(others="plain 1\n")
    made = exporter({"/good": good, "/empty": "", **{path: page for path, (page, _, _) in BAD_PAGES.items()}})
    dead = f"{federation.address()}:9100"
    paths = ["/good", "/empty", *BAD_PAGES]
    job = {"job_name": "bad", "body_size_limit": "512KiB", "sample_limit": 100, "label_limit": 20,
           "relabel_configs": [{"source_labels": ["__metrics_path__"], "target_label": "page"}],
           "static_configs": [{"targets": [made.target], "labels": {"__metrics_path__": path}} for path in paths]
           + [{"targets": [dead], "labels": {"__metrics_path__": "/dead"}}]}
    federation.add_global()
    secondary = federation.add_secondary(federation.add_primary(), 1, [job])
    federation.start()
    wait_until(lambda: len(federation.query("up")) == len(paths) + 1 and good.count() >= 8, what="up of all targets")

    ups = federation.by_label("up", "page")
    assert {page for page, value in ups.items() if value == 1} == {"/good", "/empty"}
    # Nothing of a bad page is kept, not even what came before the bad line.
    names = {labels["__name__"] for labels, _ in federation.query('{job="bad"}')}
    assert names == {"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling",
                     "scrape_series_added", "scrape_body_size_bytes", "scrape_failure", "scrapes_total", "seconds_now",
                     "plain"}
    reasons = {labels["page"]: labels["reason"] for labels, value in federation.query("scrape_failure == 1")}
    assert reasons == {"/dead": "connect", **{path: outcome for path, (_, outcome, _) in BAD_PAGES.items()}}

    # Each has its reason.
    _, text = fetch(secondary.url + "/api/v1/targets")
    errors = {target["labels"]["page"]: target["lastError"] for target in json.loads(text)["data"]["activeTargets"]}
    for path, (_, outcome, words) in {**BAD_PAGES, "/dead": (None, "connect", "")}.items():
        assert errors[path].startswith(outcome) and words in errors[path], (path, outcome, errors[path])
    assert errors["/good"] == errors["/empty"] == ""
    metrics = secondary.metrics()
    outcomes = [outcome for _, outcome, _ in BAD_PAGES.values()] + ["connect", "ok", "ok"]
    scrapes = good.count()
    for outcome in set(outcomes):
        counted = metrics[f'tributary_secondary_scrapes_total{{outcome="{outcome}"}}']
        per_target = counted / outcomes.count(outcome)
        assert scrapes - 4 <= per_target <= scrapes + 4, (outcome, counted, scrapes)

    # The good one is as if it were alone: every scrape at its time, none missing.
    (_, samples), = federation.raw("scrapes_total")
    numbers = [int(value) for _, value in samples]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= 6
    late = [time_s for time_s, number in samples if good.served[int(number) - 1] - time_s > 0.5]
    assert not late
    assert secondary.is_running() and len(secondary.log().splitlines()) < 60, "a bad target fills the log"


# ---- Batches ----

TOKEN = "correct-horse"
OTHER_TOKEN = "battery-staple"


def post(daemon, body, token=TOKEN):
    """(status, answer's fields or text)."""
    host, port = daemon.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=15)
    try:
        headers = {"Content-Type": "application/octet-stream"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection.request("POST", "/api/v1/batches", body, headers)
        answer = connection.getresponse()
        data = answer.read()
        return answer.status, frames.unpack(data) if answer.status == 200 else data.decode()
    finally:
        connection.close()


def too_large(daemon, claimed_bytes):
    """The status of a request that claims to be so large, read before all of it is sent."""
    host, port = daemon.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=15)
    try:
        connection.putrequest("POST", "/api/v1/batches")
        connection.putheader("Authorization", f"Bearer {TOKEN}")
        connection.putheader("Content-Length", str(claimed_bytes))
        connection.endheaders()
        try:
            for _ in range(claimed_bytes // 65536):
                if select.select([connection.sock], [], [], 0)[0]:
                    break  # the answer is there; who sends on may lose it
                connection.send(bytes(65536))
        except OSError:
            pass
        return connection.getresponse().status
    finally:
        connection.close()


def verdicts(daemon, body, token=TOKEN):
    status_code, answer = post(daemon, body, token)
    assert status_code == 200, (status_code, answer)
    return list(answer[frames.ANSWER_VERDICTS])


@pytest.fixture(scope="module")
def batches():
    """(layouts, batches) as a secondary without a primary leaves them in its spool: frames' payloads."""
    federation = Federation("batches")
    try:
        made = federation.add_exporter(Exporter(federation.address(), 9100,
                                                {"/metrics": Numbered(others="plain 1\n")}))
        secondary = federation.add_secondary(federation.add_primary(), 1,
                                             [{"job_name": "a", "static_configs": [{"targets": [made.target]}]}])
        secondary.start()

        def spooled():
            found = frames.spool_frames(secondary.data_dir)
            return found if sum(kind == frames.BATCH for kind, _ in found) >= 6 else None

        found = wait_until(spooled, what="six batches in the spool")
        return ([payload for kind, payload in found if kind == frames.PACK],
                [payload for kind, payload in found if kind == frames.BATCH])
    finally:
        federation.close()


def add_receiver(federation, role):
    """A primary or a global that two may write to, by token."""
    tokens = {}
    for name, token in (("first", TOKEN), ("second", OTHER_TOKEN)):
        tokens[name] = federation.write(f"{name}.token", token + "\n")
        os.chmod(tokens[name], 0o600)
    top = federation.add_global()
    if role == "global":
        top.config["sources"] = [{"datacenter": "dc1", "bearer_token_file": tokens["first"]},
                                 {"datacenter": "dc2", "bearer_token_file": tokens["second"]}]
        top.write_config()
        top.start()
        return top
    receiver = federation.add_primary("dc1", 2)
    receiver.config["sources"] = [{"secondary": "rack-1", "bearer_token_file": tokens["first"]},
                                  {"secondary": "rack-2", "bearer_token_file": tokens["second"]}]
    receiver.write_config()
    top.start()
    receiver.start()
    return receiver


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("role", ["primary", "global"])
def test_bad_batches(federation, batches, role):
    layouts, good = batches
    receiver = add_receiver(federation, role)
    before = receiver.metrics()
    chance = random.Random(7)
    layout_frames = b"".join(frames.frame(frames.PACK, layout) for layout in layouts)
    batch_frame = frames.frame(frames.BATCH, good[0])
    whole = layout_frames + batch_frame
    fields, _ = frames.envelope(good[0])
    assert (fields[frames.DATACENTER], fields[frames.SECONDARY]) == ("dc1", "rack-1")

    def refused(body, verdict):
        assert verdicts(receiver, body) == [verdict]

    # Layouts that are not known are asked for.
    missing = post(receiver, batch_frame)[1]
    assert missing[frames.ANSWER_VERDICTS] == bytes([frames.MISSING])
    assert len(missing[frames.ANSWER_MISSING]) % 16 == 0 and len(missing[frames.ANSWER_MISSING]) >= 3 * 16

    # Packs that say nothing, or what cannot be, take nothing along with them.
    for pack in (b"", b"\x00", b"\x00\x00\x01P\x01\x01\x00", b"\x01junk", layouts[0][:-1]):
        answer = post(receiver, frames.frame(frames.PACK, pack) + batch_frame)[1]
        assert answer[frames.ANSWER_VERDICTS] == bytes([frames.MISSING]), pack

    # Who are you?
    assert post(receiver, whole, token=None)[0] == 401
    assert post(receiver, whole, token="guessed")[0] == 401
    assert post(receiver, whole, token=OTHER_TOKEN)[1][frames.ANSWER_VERDICTS] == bytes([frames.UNAUTHORISED])
    refused(layout_frames + frames.frame(frames.BATCH, frames.with_fields(good[0], datacenter="dc9")),
            frames.UNAUTHORISED)
    if role == "primary":
        refused(layout_frames + frames.frame(frames.BATCH, frames.with_fields(good[0], secondary="rack-2")),
                frames.UNAUTHORISED)
    # Not whole, or not what was sent.
    for length in sorted(chance.sample(range(len(layout_frames) + 1, len(whole)), 20)):
        assert post(receiver, whole[:length])[0] == 400, length
    for bit in chance.sample(range(len(batch_frame) * 8), 60):
        assert post(receiver, layout_frames + flipped(batch_frame, bit))[0] == 400, bit
    assert post(receiver, chance.randbytes(100_000))[0] == 400
    assert post(receiver, b"")[0] in (200, 400)
    # Whole frames with nonsense in them.
    body_at = len(good[0]) - fields[frames.BODY_BYTES]
    for bit in chance.sample(range(body_at * 8, len(good[0]) * 8), 20):
        refused(layout_frames + frames.frame(frames.BATCH, flipped(good[0], bit)), frames.MALFORMED)
    for content in (b"", b"TRB", b"TRB\x01\x05\0\0\0\xdd\xff\xff\xff\xff", b"TRB\x01\xff\xff\xff\xff" + good[0][8:],
                    good[0][:-1], good[0] + b"x", chance.randbytes(5000)):
        refused(frames.frame(frames.BATCH, content), frames.MALFORMED)
    refused(frames.frame(frames.GAP, chance.randbytes(50)), frames.MALFORMED)
    assert verdicts(receiver, frames.frame(frames.PACK, chance.randbytes(500))) == []
    # Of a version that is not known.
    refused(frames.frame(frames.BATCH, good[0][:3] + b"\x02" + good[0][4:]), frames.UNSUPPORTED)
    refused(layout_frames + frames.frame(frames.BATCH, frames.with_fields(good[0], body_version=9)), frames.UNSUPPORTED)
    # Too large: one batch, and a whole request.
    refused(frames.frame(frames.BATCH, bytes(12 * 1024 * 1024 + 1)), frames.MALFORMED)
    assert too_large(receiver, 17 * 1024 * 1024) == 413
    assert fetch(receiver.url + "/api/v1/batches")[0] == 405

    # All that left no trace in it: good ones pass.
    after = receiver.metrics()

    def grown(name):
        return after[f"tributary_received_{name}_total"] - before[f"tributary_received_{name}_total"]

    assert grown("batches") == 0 and grown("conflicts") == 0 and grown("duplicates") == 0
    assert grown("malformed") >= 5 + 20 + 60 + 20 + 9 and grown("unsupported") == 2 and grown("missing") == 6
    assert grown("unauthorised") == (5 if role == "primary" else 4)
    good_frames = [frames.frame(frames.BATCH, batch) for batch in good]
    assert verdicts(receiver, layout_frames + b"".join(good_frames[:4])) == [frames.STORED] * 4
    assert verdicts(receiver, good_frames[1] + good_frames[5]) == [frames.DUPLICATE, frames.STORED]
    other = frames.envelope(good[2])[0][frames.TARGETS_EXPECTED] + 1
    refused(frames.frame(frames.BATCH, frames.with_fields(good[2], targets_expected=other)), frames.CONFLICT)
    wait_until(lambda: federation.value("scrapes_total") is not None, what="the good batches at the global")
    assert federation.value("plain") == 1

    # Told, but not over and over.
    lines = [line for line in receiver.log().splitlines() if "refused a batch of" in line]
    sources = {line.partition("refused a batch of ")[2].partition(": ")[0] for line in lines}
    assert {"127.0.0.1", "dc1/rack-1"} <= sources and len(lines) == len(sources), lines
    rejects = os.path.join(receiver.data_dir, "rejects")
    assert 1 <= len(os.listdir(rejects)) <= 30, "what was malformed is set aside, now and then"
    assert receiver.is_running()


@pytest.mark.parametrize("role", ["primary", "global"])
def test_half_open_connections(federation, batches, role):
    """A thousand clients that begin a request and say no more: the others are served as ever."""
    layouts, good = batches
    receiver = add_receiver(federation, role)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096) if hard > 0 else 4096, hard))
    host, port = receiver.url.removeprefix("http://").split(":")
    beginnings = [b"", b"P", b"POST /api/v1/batches HTTP/1.1\r\nHost: x\r\n",
                  b"POST /api/v1/batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
                  b"Content-Length: 100000\r\n\r\n" % TOKEN.encode() + frames.frame(frames.PACK, layouts[0])]
    clients = []
    try:
        for i in range(1000):
            client = socket.create_connection((host, int(port)), timeout=10)
            clients.append(client)
            client.sendall(beginnings[i % len(beginnings)])
        body = b"".join(frames.frame(frames.PACK, layout) for layout in layouts)
        started = time.monotonic()
        for batch in good:
            body += frames.frame(frames.BATCH, batch)
            assert verdicts(receiver, body)[-1] == frames.STORED
            assert fetch(receiver.url + "/-/healthy", timeout=5)[0] == 200
        assert time.monotonic() - started < 10
        wait_until(lambda: federation.value("plain") == 1, what="the batches at the global")
    finally:
        for client in clients:
            client.close()
    wait_until(lambda: fetch(receiver.url + "/-/healthy")[0] == 200, what="healthy afterwards")
    assert receiver.is_running()
