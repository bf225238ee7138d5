"""Golden batches, read by an implementation that shares nothing with the one that wrote them. (The C reader is held
against the same files by test_golden.c.)"""
import glob
import io
import os

import pytest

from slow_decoder import Reader, decode, double_column, expected, scaled

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
