"""A full disk below the primary: nothing that was acknowledged is lost, and it goes on by itself when there is room."""
import errno
import os
import subprocess
import time

import pytest

from exporter import Numbered
from harness import wait_until

DISK_MIB = 16
NOISE_SERIES = 1500  # that change with every scrape: some 10 KB a second


class Noise(Numbered):
    def __call__(self, handler):
        text = super().__call__(handler)
        seed = time.time_ns()
        return text + "".join(f'noise{{n="{i}"}} {(seed * (2 * i + 1) * 2654435761 >> 13) % 1000003 / 997}\n'
                              for i in range(NOISE_SERIES))


@pytest.fixture
def small_disk(federation):
    """A folder with a file system of its own; unmounted when the daemons have ended."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a tmpfs")
    path = federation.path("disk")
    os.mkdir(path)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tributary-test", path],
                             capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs here: {mounted.stderr.strip()}")
    yield path
    for process in federation.processes:
        process.kill()
    subprocess.run(["umount", path], check=True)


def fill(path):
    """Writes until there is no room."""
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 16, 1 << 10, 1):
            while True:
                try:
                    if file.write(b"x" * size) < size:
                        break
                except OSError as error:
                    assert error.errno == errno.ENOSPC
                    break


def check(federation, page, count):
    (_, samples), = federation.raw("scrapes_total")
    numbers = [int(value) for _, value in samples]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= count, (numbers, count)
    for time_s, number in samples:
        assert -0.05 < page.served[int(number) - 1] - time_s < 0.95


def test_full_disk_below_the_primary(federation, exporter, small_disk):
    page = Noise()
    made = exporter({"/metrics": page})
    federation.add_global()
    primary = federation.add_primary(data_dir=os.path.join(small_disk, "data"))
    secondary = federation.add_secondary(primary, 1,
                                         [{"job_name": "a", "static_configs": [{"targets": [made.target]}]}])
    federation.start()
    wait_until(lambda: (federation.value("scrapes_total") or 0) >= 3, what="the first windows")

    # Full while data flows: what cannot be written is not acknowledged, and stays with the secondary.
    filler = os.path.join(small_disk, "filler")
    fill(filler)
    full_since = page.count()
    wait_until(lambda: page.count() >= full_since + 6, what="six windows on a full disk")
    assert primary.metrics()["tributary_received_busy_total"] > 0
    status = secondary.status()  # five windows that wait become one batch
    waiting = status["upstreams"][0]["pending_batches"] + status["windows"]["packed_batches"] // 5 * 4
    assert waiting >= 3
    assert len([line for line in primary.log().splitlines() if "refused a batch of" in line]) <= 3
    os.unlink(filler)
    count = page.count()
    wait_until(lambda: (federation.value("scrapes_total") or 0) >= count, what="all of it at the global")
    wait_until(lambda: secondary.status()["upstreams"][0]["pending_batches"] <= 1, what="the backlog sent")
    assert federation.value('count({__name__="noise"})') == NOISE_SERIES
    check(federation, page, count)

    # Full with acknowledged batches that the global has not: killed and started on the full disk, it still has them.
    federation.top.kill()
    down_since = page.count()
    wait_until(lambda: page.count() >= down_since + 3, what="three windows for the primary alone")
    fill(filler)
    primary.kill()
    primary.start()
    full_since = page.count()
    wait_until(lambda: page.count() >= full_since + 3, what="three windows on a full disk")
    federation.top.start()  # what the primary has is sent on, full disk or not
    wait_until(lambda: (federation.value("scrapes_total") or 0) >= down_since + 1, what="the acknowledged windows")
    os.unlink(filler)
    count = page.count()
    wait_until(lambda: (federation.value("scrapes_total") or 0) >= count, what="all of it at the global")
    wait_until(lambda: secondary.status()["upstreams"][0]["pending_batches"] <= 1, what="the backlog sent")
    check(federation, page, count)
