"""Fixtures of the end-to-end tests. TRIBUTARY_BIN says where the programs are (default: build/bin)."""
import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from exporter import Exporter  # noqa: E402
from harness import BIN, Federation  # noqa: E402

TEST_SECONDS_MAX = 90  # of any one test, its preparation and end included
PROGRAMS = ("tributary-secondary", "tributary-primary", "tributary-global", "tributary")


def pytest_sessionstart(session):
    missing = [name for name in PROGRAMS if not os.access(os.path.join(BIN, name), os.X_OK)]
    if missing:
        pytest.exit(f"not built: {', '.join(missing)} in {BIN} (TRIBUTARY_BIN says where)", returncode=1)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """On a failure the ends of the daemons' logs stand in the report."""
    outcome = yield
    report = outcome.get_result()
    federation = getattr(item, "federation", None)
    if federation and report.when == "call" and report.failed:
        report.sections.append(("daemons", federation.tails()))


@pytest.fixture(autouse=True)
def bounded():
    def give_up(number, frame):
        raise TimeoutError(f"the test takes more than {TEST_SECONDS_MAX} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(TEST_SECONDS_MAX)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def federation(request, bounded):
    made = Federation(request.node.name.partition("[")[0])
    request.node.federation = made
    yield made
    made.close()


@pytest.fixture
def exporter(federation):
    """Makes exporters: exporter(pages) at an address of its own."""
    def make(pages, address=None, port=9100):
        return federation.add_exporter(Exporter(address or federation.address(), port, pages))

    return make
