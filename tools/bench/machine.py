"""The machine a run is on: what it is, and whether other programs leave it alone."""
import os
import platform
import time

from proc import machine_busy_seconds

NOISE_CORES_MAX = 0.25  # of other programs; more of them mark a run
QUIET_SECONDS = 5       # so long they must be below that, three times in a row, for --wait-quiet


def describe():
    return f"{os.cpu_count()} cores, {processor()}"


def processor():
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def load_average():
    return "%.2f %.2f %.2f" % os.getloadavg()


def wait_quiet(seconds_max):
    end = time.monotonic() + seconds_max
    quiet = 0
    while quiet < 3 and time.monotonic() < end:
        before = machine_busy_seconds()
        time.sleep(QUIET_SECONDS)
        busy = (machine_busy_seconds() - before) / QUIET_SECONDS
        quiet = quiet + 1 if busy < NOISE_CORES_MAX else 0
