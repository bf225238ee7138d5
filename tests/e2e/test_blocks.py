"""Blocks on disk against Prometheus 2.42 itself, and against a writer that shares nothing with ours: what we write they
read, sample by sample, and what they write we read. build/tests/test_block writes and prints blocks."""
import importlib.util
import json
import math
import os
import random
import re
import shutil
import struct
import urllib.parse

import pytest

from harness import BIN, ROOT, fetch, run
from prometheus import needs_prometheus, prometheus

TEST_BLOCK = os.path.join(os.path.dirname(os.path.abspath(BIN)), "tests", "test_block")
MKBLOCK = os.path.join(os.environ.get("TRIBUTARY_SHARED") or os.path.join(ROOT, "..", "shared"), "conformance", "mkblock.py")
STALE_BITS = 0x7FF0000000000002
SEGMENT_HEADER_BYTES = 8

pytestmark = pytest.mark.skipif(not os.access(TEST_BLOCK, os.X_OK), reason=f"not built: {TEST_BLOCK}")


def double_of(bits):
    return struct.unpack(">d", struct.pack(">Q", bits))[0]


def same_value(text, bits):
    """Text of a value, as Prometheus prints it, which says nothing of a NaN's payload."""
    expected = double_of(bits)
    got = float(text)
    return math.isnan(got) if math.isnan(expected) else struct.pack(">d", got) == struct.pack(">d", expected)


def read_ours(blocks, name):
    """{series: [(time, bits)]} in order, as test_block --read prints it."""
    code, out, err = run([TEST_BLOCK, "--read", str(blocks), name], timeout=60)
    assert code == 0, err
    series, samples = {}, None
    for line in out.split("\n"):
        if line.startswith(" "):
            time_ms, bits = line.split()[:2]
            samples.append((int(time_ms), int(bits, 16)))
        elif line:
            samples = series.setdefault(line.rpartition(" ")[0], [])
    return series


@pytest.fixture
def ours(tmp_path):
    """A block of ours: (directory of blocks, its name, what it holds)."""
    code, out, err = run([TEST_BLOCK, "--write", str(tmp_path)], timeout=60)
    assert code == 0, err
    return tmp_path / "blocks", out.strip(), read_ours(tmp_path / "blocks", out.strip())


@pytest.fixture
def copied(ours, tmp_path):
    """A data directory of Prometheus with a copy of it."""
    shutil.copytree(ours[0], tmp_path / "copy")
    (tmp_path / "copy" / "wal").mkdir()
    return tmp_path / "copy"


def mkblock():
    if not os.path.exists(MKBLOCK):
        pytest.skip(f"no {MKBLOCK} (TRIBUTARY_SHARED says where)")
    spec = importlib.util.spec_from_file_location("mkblock", MKBLOCK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- What Prometheus reads of ours ----------------------------------------------------------------------------------

def key_of(labels):
    return tuple(sorted(labels.items()))


def parse_key(text):
    """The labels of name{a="b"}; the test's texts have nothing to escape."""
    name, _, rest = text.partition("{")
    labels = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    if name:
        labels["__name__"] = name
    return key_of(labels)


@needs_prometheus
def test_promtool_reads_every_sample(ours, copied):
    _, name, expected = ours
    count = sum(len(samples) for samples in expected.values())
    code, out, err = run(["promtool", "tsdb", "list", str(copied)])
    assert code == 0, err
    row = out.strip().split("\n")[-1].split()
    assert row[0] == name and int(row[4]) == count and int(row[6]) == len(expected)
    code, out, err = run(["promtool", "tsdb", "analyze", str(copied), name])
    assert code == 0, err
    assert f"Series: {len(expected)}\n" in out
    code, out, err = run(["promtool", "tsdb", "dump", str(copied)])
    assert code == 0, err
    dumped = {}
    for line in out.strip().split("\n"):
        labels, value, time_ms = line.rsplit(" ", 2)
        dumped.setdefault(parse_key(labels), []).append((int(time_ms), value))
    assert len(dumped) == len(expected)
    for series, samples in expected.items():
        got = dumped[parse_key(series)]
        assert [time_ms for time_ms, _ in got] == [time_ms for time_ms, _ in samples]
        assert all(same_value(text, bits) for (_, text), (_, bits) in zip(got, samples)), series


@needs_prometheus
def test_a_server_answers_with_every_sample(ours, copied, tmp_path):
    _, _, expected = ours
    with prometheus(copied, tmp_path) as address:
        end_ms = max(samples[-1][0] for samples in expected.values())
        query = urllib.parse.urlencode({"query": '{__name__=~".+"}[1d]', "time": end_ms / 1000})
        status, text = fetch(f"http://{address}/api/v1/query?{query}")
        assert status == 200, text
        answer = json.loads(text)
        assert answer["status"] == "success" and not answer.get("warnings")
        got = {key_of(series["metric"]): series["values"] for series in answer["data"]["result"]}
        for series, samples in expected.items():
            alive = [(time_ms, bits) for time_ms, bits in samples if bits != STALE_BITS]
            values = got.pop(parse_key(series), [])
            assert [round(float(time) * 1000) for time, _ in values] == [time_ms for time_ms, _ in alive], series
            assert all(same_value(value, bits) for (_, value), (_, bits) in zip(values, alive)), series
        assert not got
        query = urllib.parse.urlencode({"query": '{mode=~"m1|m2",cpu!=""}[1d]', "time": end_ms / 1000})
        answer = json.loads(fetch(f"http://{address}/api/v1/query?{query}")[1])
        chosen = {key for key in map(parse_key, expected)
                  if dict(key).get("mode") in ("m1", "m2") and dict(key).get("cpu")}
        assert chosen and {key_of(series["metric"]) for series in answer["data"]["result"]} <= chosen


# ---- Bytes ----------------------------------------------------------------------------------------------------------

def read_uvarint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def test_chunks_are_the_bytes_that_another_writer_makes(ours):
    reference = mkblock()
    blocks, name, expected = ours
    with open(blocks / name / "chunks" / "000001", "rb") as file:
        data = file.read()
    assert data[:SEGMENT_HEADER_BYTES] == bytes.fromhex("85BD40DD01000000")
    at, chunks = SEGMENT_HEADER_BYTES, 0
    for samples in expected.values():
        begin, sizes = 0, []
        while begin < len(samples):
            length, at = read_uvarint(data, at)
            assert data[at] == 1
            chunk = data[at + 1:at + 1 + length]
            assert data[at + 1 + length:at + 5 + length] == reference.be32(reference.crc32c(data[at:at + 1 + length]))
            count = int.from_bytes(chunk[:2], "big")
            here = samples[begin:begin + count]
            if all(reference.f64(double_of(bits)) == bits for _, bits in here):  # Python may lose a NaN's payload
                assert chunk == reference.xor_chunk([(time_ms, double_of(bits)) for time_ms, bits in here])
                chunks += 1
            begin, at = begin + count, at + 5 + length
            sizes.append(count)
        assert sum(sizes) == len(samples) and max(sizes) <= 120 and max(sizes) - min(sizes) <= 4  # extras stay with theirs
    assert at == len(data) and chunks > 10


# ---- What we read of others -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("flags", [{}, {"li": False}, {"tomb": False}, {"li": False, "tomb": False}])
def test_a_block_of_another_writer_is_read(flags, tmp_path):
    reference = mkblock()
    series, base = reference.demo()
    path, _ = reference.write_block(str(tmp_path), series, base, base + 7200000, **flags)
    got = read_ours(tmp_path, os.path.basename(path))
    assert len(got) == len(series)
    for labels, chunks in series.items():
        samples = [(time_ms, reference.f64(value)) for chunk in chunks for time_ms, value in chunk]
        found = next(value for key, value in got.items() if parse_key(key) == tuple(sorted(labels)))
        assert found == samples


def write_with_promtool(data):
    """Blocks of Prometheus' own making: {labels: [(time, bits)]} of what is in them."""
    generator = random.Random(5)
    expected, lines = {}, []
    for host in range(30):
        labels = key_of({"__name__": "made_up", "instance": f"host-{host:02}", "job": generator.choice("abc")})
        samples = []
        time_ms = 1700006400000 + host
        for _ in range(700):
            time_ms += generator.choice((15000, 15000, 15000, 14990, 60000))
            samples.append((time_ms, generator.choice((1.5, generator.random(), float(host), math.inf, -0.0, 5e-324))))
        expected[labels] = [(time_ms, struct.unpack(">Q", struct.pack(">d", value))[0]) for time_ms, value in samples]
        text = ",".join(f'{name}="{value}"' for name, value in labels if name != "__name__")
        lines += [(time_ms, f"made_up{{{text}}} {value!r} {time_ms / 1000:.3f}") for time_ms, value in samples]
    page = data.parent / "page.om"
    page.write_text("\n".join(["# TYPE made_up gauge", *[line for _, line in sorted(lines)], "# EOF", ""]))
    code, _, err = run(["promtool", "tsdb", "create-blocks-from", "openmetrics", str(page), str(data)], timeout=60)
    assert code == 0, err
    return expected


def read_all(data):
    """What all blocks of a data directory hold."""
    names = [name for name in os.listdir(data) if len(name) == 26]
    assert len(names) > 1
    got = {}
    for name in sorted(names, key=lambda name: json.loads((data / name / "meta.json").read_text())["minTime"]):
        for series, samples in read_ours(data, name).items():
            got.setdefault(parse_key(series), []).extend(samples)
    return got


@needs_prometheus
def test_blocks_of_prometheus_are_read(tmp_path):
    expected = write_with_promtool(tmp_path / "data")
    assert read_all(tmp_path / "data") == expected


@needs_prometheus
def test_what_prometheus_deleted_is_not_read(tmp_path):
    expected = write_with_promtool(tmp_path / "data")
    start_ms, end_ms = 1700009000000, 1700012000000  # over the border of two blocks
    with prometheus(tmp_path / "data", tmp_path) as address:
        query = urllib.parse.urlencode({"match[]": 'made_up{job=~"a|b"}', "start": start_ms / 1000, "end": end_ms / 1000})
        status, text = fetch(f"http://{address}/api/v1/admin/tsdb/delete_series?{query}", body=b"")
        assert status == 204, text
    for labels, samples in expected.items():
        if dict(labels)["job"] != "c":
            expected[labels] = [sample for sample in samples if not start_ms <= sample[0] <= end_ms]
    assert read_all(tmp_path / "data") == expected
