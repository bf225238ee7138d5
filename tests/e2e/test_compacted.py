"""A block that compaction made, of eight that overlap and with deletions applied, against Prometheus 2.42: the test of
tests/e2e/test_blocks.py over another block. build/tests/test_compact_units merges it."""
import os

import pytest

from harness import BIN, run
from test_blocks import copied, read_ours, test_promtool_reads_every_sample  # noqa: F401

TEST_COMPACT = os.path.join(os.path.dirname(os.path.abspath(BIN)), "tests", "test_compact_units")

pytestmark = pytest.mark.skipif(not os.access(TEST_COMPACT, os.X_OK), reason=f"not built: {TEST_COMPACT}")


@pytest.fixture
def ours(tmp_path):
    """Over the fixture of that name in test_blocks."""
    code, out, err = run([TEST_COMPACT, "--write", str(tmp_path)], timeout=60)
    assert code == 0, err
    return tmp_path / "blocks", out.strip(), read_ours(tmp_path / "blocks", out.strip())


def test_deleted_series_are_not_there(ours):
    _, _, series = ours
    assert len(series) == 29
    assert not any('host="011"' in name for name in series)
    assert {len(samples) for samples in series.values()} == {480, 540}
