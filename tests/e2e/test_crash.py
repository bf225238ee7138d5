"""kill -9 of every daemon in turn: what was acknowledged is at the global, once.

Each page counts its own scrapes, so that a sample at the global says which answer of the exporter it is."""
import shutil
import time

from exporter import Numbered
from harness import wait_until

TARGETS = 3  # of each secondary: windows of several targets in one batch
OPEN_WINDOWS_SECONDS = 1.6  # what a killed secondary had not closed: a window, and some for a busy machine


class Ledger:
    """What the exporters of one secondary served, and when the secondary was killed."""

    def __init__(self, exporter, name):
        self.pages = [Numbered() for _ in range(TARGETS)]
        served = exporter({f"/{i}": page for i, page in enumerate(self.pages)})
        self.instance = served.target
        self.job = {"job_name": name, "relabel_configs": [
                        {"source_labels": ["__metrics_path__"], "target_label": "page"}],
                    "static_configs": [{"targets": [served.target], "labels": {"__metrics_path__": f"/{i}"}}
                                       for i in range(TARGETS)]}
        self.kills = []

    def may_be_lost(self, served_at):
        return any(killed - OPEN_WINDOWS_SECONDS <= served_at <= killed + 0.5 for killed in self.kills)

    def counts(self):
        return [page.count() for page in self.pages]

    def has_arrived(self, federation, counts):
        """All of counts is at the global, or what follows it."""
        newest = federation.by_label(f'scrapes_total{{job="{self.job["job_name"]}"}}', "page")
        return all(newest.get(f"/{i}", 0) >= count for i, count in enumerate(counts))

    def check(self, federation, counts):
        """Up to the numbers in counts, the global has what was served, once, at its time. Returns how many are lost."""
        lost = 0
        stored = {labels["page"]: samples for labels, samples in
                  federation.raw(f'scrapes_total{{job="{self.job["job_name"]}"}}')}
        assert len(stored) == TARGETS
        for i, page in enumerate(self.pages):
            samples = stored[f"/{i}"]
            times = [time_s for time_s, _ in samples]
            numbers = [int(value) for _, value in samples]
            assert len(set(times)) == len(times), "a time twice"
            assert numbers == sorted(set(numbers)), f"a number twice, or out of order: {numbers}"
            for time_s, number in zip(times, numbers):
                assert -0.05 < page.served[number - 1] - time_s < 0.95, f"{number} was not served at {time_s}"
            missing = [number for number in range(1, counts[i] + 1) if number not in set(numbers)]
            excused = [number for number in missing if self.may_be_lost(page.served[number - 1])]
            assert missing == excused, f"page {i}: lost {set(missing) - set(excused)} of {counts[i]}; {self.kills}"
            lost += len(missing)
        return lost


def settle(federation, ledgers, timeout=25):
    """Waits until what has been served by now is at the global, then checks all of it. How many are lost."""
    counts = [ledger.counts() for ledger in ledgers]
    wait_until(lambda: all(ledger.has_arrived(federation, count) for ledger, count in zip(ledgers, counts)), timeout,
               "all that was served at the global")
    # Newest first: the backlog follows.
    end = time.monotonic() + timeout
    while True:
        try:
            return sum(ledger.check(federation, count) for ledger, count in zip(ledgers, counts))
        except AssertionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.3)


def build(federation, exporter, datacenters=1):
    federation.add_global()
    ledgers, secondaries, primaries = [], [], []
    for number in range(1, datacenters + 1):
        primaries.append(federation.add_primary(f"dc{number}", number))
        for rack in (1, 2):
            ledgers.append(Ledger(exporter, f"dc{number}-{rack}"))
            secondaries.append(federation.add_secondary(primaries[-1], rack, [ledgers[-1].job]))
    federation.start()
    wait_until(lambda: len(federation.query("up == 1")) == TARGETS * len(ledgers), what="all targets up")
    return ledgers, secondaries, primaries


def test_kill_each_daemon_in_turn(federation, exporter):
    ledgers, secondaries, (primary,) = build(federation, exporter)
    for pause in (0.0, 0.3, 0.7, 1.1):  # of the second: different places of the window
        for victim in (secondaries[0], primary, federation.top):
            time.sleep(0.6 + pause / 2)
            if victim is secondaries[0]:
                ledgers[0].kills.append(time.time())
            victim.kill()
            time.sleep(pause)
            victim.start()
    lost = settle(federation, ledgers)
    assert lost <= TARGETS * len(ledgers[0].kills) * 2, lost
    for secondary in secondaries:
        upstream, = secondary.status()["upstreams"]
        assert upstream["up"] and upstream["refused_batches"] == 0, upstream
    metrics = federation.top.metrics()
    assert metrics["tributary_received_conflicts_total"] == 0
    assert metrics["tributary_received_malformed_total"] == 0
    # One more restart of all, at once: what was there is there, as it was.
    before = [federation.raw(f'scrapes_total{{job="{ledger.job["job_name"]}"}}') for ledger in ledgers]
    federation.top.kill()
    federation.top.start()
    for ledger, old in zip(ledgers, before):
        after = {labels["page"]: samples for labels, samples in
                 federation.raw(f'scrapes_total{{job="{ledger.job["job_name"]}"}}')}
        for labels, samples in old:
            assert after[labels["page"]][:len(samples)] == samples


def test_global_down_for_twenty_windows_and_a_wiped_primary(federation, exporter):
    """The primary of dc1 keeps what the global misses. That of dc2 loses its disk: its secondaries send all again."""
    ledgers, _, primaries = build(federation, exporter, datacenters=2)
    settle(federation, ledgers)
    federation.top.kill()
    down_since = [ledger.counts()[0] for ledger in ledgers]
    wait_until(lambda: ledgers[0].counts()[0] >= down_since[0] + 10, 30, "ten windows")
    primaries[1].kill()
    shutil.rmtree(primaries[1].data_dir)
    primaries[1].start()
    wait_until(lambda: all(ledger.counts()[0] >= before + 20 for ledger, before in zip(ledgers, down_since)), 30,
               "twenty windows")
    federation.top.start()
    assert settle(federation, ledgers) == 0


def test_stop_loses_nothing(federation, exporter):
    """SIGTERM of all daemons, from the secondaries up: what was scraped is sent, also of the open window."""
    ledgers, secondaries, (primary,) = build(federation, exporter)
    settle(federation, ledgers)
    for process in (*secondaries, primary):
        assert process.stop() == 0, process.name
    counts = [ledger.counts() for ledger in ledgers]
    assert sum(ledger.check(federation, count) for ledger, count in zip(ledgers, counts)) == 0
    assert federation.top.stop() == 0
    federation.top.start()
    assert sum(ledger.check(federation, count) for ledger, count in zip(ledgers, counts)) == 0
