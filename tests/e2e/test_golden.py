"""Golden batches, read by an implementation that shares nothing with the one that wrote them. (The C reader is held
against the same files by test_golden.c.)"""
import glob
import io
import os

import pytest

from slow_decoder import Family, Page, Reader, decode, double_column, expected, read_pack, scaled

BATCHES = os.path.join(os.path.dirname(__file__), "..", "data", "batches")
FILES = sorted(glob.glob(os.path.join(BATCHES, "*.frames")))


def test_there_are_golden_files():
    assert len(FILES) >= 4


@pytest.mark.parametrize("path", FILES, ids=os.path.basename)
def test_a_second_implementation_reads_the_same(path):
    out = io.StringIO()
    with open(path, "rb") as file:
        decode(file.read(), out)
    with open(path.replace(".frames", ".txt"), encoding="utf-8") as file:
        assert out.getvalue() == file.read()


@pytest.mark.parametrize("path", FILES, ids=os.path.basename)
def test_what_is_cut_is_not_read(path):
    with open(path, "rb") as file:
        data = file.read()
    out = io.StringIO()
    decode(data[:-1], out)  # the last frame is the batch
    assert out.getvalue() == ""


def test_columns_by_hand():
    # Scale 3 (hundredths), base 2, 2 bits: 0.02, 0.03, 0.05.
    assert double_column(Reader(b"\x03\x04\x02\x00\x00"), Reader(bytes([0b110100])), 3) == [
        scaled(k, 3) for k in (2, 3, 5)]
    # Relative to 1.0 and 2.0 at hundredths: one less, one more.
    bases = [0x3FF0000000000000, 0x4000000000000000]
    assert expected(bases[0], 3) == 100
    assert double_column(Reader(b"\x43\x01\x02\x00\x00"), Reader(bytes([0b1000])), 2, bases) == [
        scaled(99, 3), scaled(201, 3)]
    with pytest.raises(ValueError):
        double_column(Reader(b"\x43\x01\x02\x00\x00"), Reader(bytes([0b1000])), 2)
    with pytest.raises(ValueError):
        double_column(Reader(b"\x03\x04\x02\x00\x00"), Reader(b""), 3)


def family(*values):
    """m, a counter with a label a."""
    slots = b"".join(b"\x01\x00\x01" + value for value in values)
    return b"F\x01\x01m\x00\x00\x01\x01a" + bytes([len(values)]) + slots


def pack(*items, named=()):
    return b"\x00" + bytes([len(named)]) + b"".join(named) + bytes([len(items)]) + b"".join(items)


def item(operations, *bases):
    return b"P" + bytes([len(bases), *bases, len(operations)]) + operations


def whole(blob):
    return bytes([len(blob) << 2 & 0x7F | 0x80 | 2, len(blob) >> 5]) + blob


def test_packs_by_hand():
    two, three = family(b"1", b"2"), family(b"1", b"2", b"3")
    edit = bytes.fromhex("0b080601000133")  # the example of docs/batch-format.md
    layouts = {}
    first, second = read_pack(pack(item(whole(two)), item(edit, 1)), layouts)
    assert first.hash == Page([Family(two)]).hash and second.hash == Page([Family(three)]).hash
    assert layouts[second.hash] is second
    # Over a base that was there before, moved: the last slot first.
    moved = bytes.fromhex("13" "11" "04" "13" "08")  # 4 operations: 2 on, copy 1, 5 back (too far)
    with pytest.raises(ValueError):
        read_pack(pack(item(moved, 0), named=[second.hash]), layouts)
    moved = bytes.fromhex("13" "11" "04" "15" "08")  # 3 back
    third, = read_pack(pack(item(moved, 0), named=[second.hash]), layouts)
    assert third.hash == Page([Family(family(b"3", b"1", b"2"))]).hash


@pytest.mark.parametrize("bad", [
    b"", b"\x04\x00\x00", b"\x00\x00\x01X\x00\x00", pack(item(b"", 1)), pack(item(b"\x04")), pack(item(b"\x03")),
    pack(item(whole(family(b"1", b"1")))), pack(item(whole(family(b"1"))), item(b"\x04\x01\x01\x04", 1)),
    pack(item(b"")) + b"x"], ids=repr)
def test_malformed_packs(bad):
    with pytest.raises((ValueError, IndexError)):
        read_pack(bad, {})
