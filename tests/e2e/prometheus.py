"""A Prometheus on loopback, and what it takes to fill one with any samples: remote write with bits as they are."""
import contextlib
import json
import shutil
import socket
import struct
import urllib.parse

import pytest

from harness import Process, fetch, wait_until

needs_prometheus = pytest.mark.skipif(not (shutil.which("promtool") and shutil.which("prometheus")),
                                      reason="no prometheus and promtool on this machine")


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextlib.contextmanager
def prometheus(data, tmp_path, *flags):
    """A server over a data directory: its address, once it is ready."""
    config = tmp_path / "prometheus.yml"
    config.write_text("global: {}\n")
    address = f"127.0.0.1:{free_port()}"
    server = Process("prometheus", ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={data}",
                                    "--storage.tsdb.retention.time=100y", f"--web.listen-address={address}",
                                    "--web.enable-admin-api", *flags], str(tmp_path / "prometheus.log"))
    server.start()
    try:
        wait_until(lambda: fetch(f"http://{address}/-/ready")[0] == 200, what="a ready Prometheus")
        yield address
    finally:
        server.stop()


# ---- Remote write ---------------------------------------------------------------------------------------------------

SNAPPY_LITERAL_BYTES_MAX = 65536
WRITE_SPAN_MS = 600000  # Prometheus takes nothing older than an hour before the newest


def uvarint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out) + bytes([number])


def field(number, data):
    """A field of protobuf that holds bytes."""
    return uvarint(number << 3 | 2) + uvarint(len(data)) + data


def snappy(data):
    """A snappy block of literals alone."""
    out = uvarint(len(data))
    for at in range(0, len(data), SNAPPY_LITERAL_BYTES_MAX):
        piece = data[at:at + SNAPPY_LITERAL_BYTES_MAX]
        out += bytes([61 << 2]) + (len(piece) - 1).to_bytes(2, "little") + piece
    return out


def write_request(series):
    """series: [({label: value}, [(ms, bits of the value)])]"""
    out = bytearray()
    for labels, samples in series:
        body = b"".join(field(1, field(1, name.encode()) + field(2, value.encode()))
                        for name, value in sorted(labels.items()))
        body += b"".join(field(2, b"\x09" + struct.pack("<Q", bits) + b"\x10" + uvarint(time_ms))
                         for time_ms, bits in samples)
        out += field(1, body)
    return bytes(out)


def remote_write(address, series):
    """All samples, in pieces by time; series as for write_request."""
    times = [time_ms for _, samples in series for time_ms, _ in samples]
    for start in range(min(times), max(times) + 1, WRITE_SPAN_MS):
        piece = [(labels, [sample for sample in samples if start <= sample[0] < start + WRITE_SPAN_MS])
                 for labels, samples in series]
        body = snappy(write_request([pair for pair in piece if pair[1]]))
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf",
                   "X-Prometheus-Remote-Write-Version": "0.1.0"}
        status, text = fetch(f"http://{address}/api/v1/write", body, headers)
        assert status in (200, 204), text


def snapshot(address, data):
    """All that the server has, as blocks: their directory."""
    status, text = fetch(f"http://{address}/api/v1/admin/tsdb/snapshot?{urllib.parse.urlencode({'skip_head': 'false'})}",
                         body=b"")
    assert status == 200, text
    return data / "snapshots" / json.loads(text)["data"]["name"]
