"""The stores that are compared: how each is started, fed, asked, and brought to rest, and what its directory holds."""
import json
import os
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from debian import Packaged
from proc import BenchError, Process, fetch, free_port

HOW_TO_BUILD = "cmake --preset release && cmake --build --preset release (or --bin DIR)"
READY_SECONDS_MAX = 900
SERIES_MAX = 10000000  # of one query: VictoriaMetrics' default is 300,000, the others have no bound
READY_POLL_SECONDS = 0.01
QUERY_SECONDS_MAX = 300
IDLE_CORES_MAX = 0.05  # below it, for some seconds in a row, nothing goes on behind any more
IDLE_SECONDS_MAX = 600
MEMORY_POLL_SECONDS = 0.1


class Store(Packaged):
    """One server on a directory of its own."""
    package = None       # Debian's, of the peers
    program = None
    feed_kind = "write"  # which of bench_feed's files it takes
    form = "samples"     # of the same samples: each as it is, or windows of four
    path = "/api/v1/write"
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
               "X-Prometheus-Remote-Write-Version": "0.1.0"}
    ready_path = "/-/ready"
    query_arguments = {}
    idle_seconds = 12    # longer than anything waits that is left to do (VictoriaMetrics: 5 s in memory)

    def __init__(self, scratch, options):
        self.scratch = os.path.join(scratch, self.name)
        self.options = options
        self.data_dir = os.path.join(self.scratch, "data")
        self.process = None
        self.memory = None
        os.makedirs(self.scratch, exist_ok=True)

    # ---- Life ----

    def start(self):
        """Seconds from its start until it says to be ready."""
        self.address = f"127.0.0.1:{free_port()}"
        self.url = "http://" + self.address
        begin = time.monotonic()
        self.process = Process("server", self.command(), self.scratch)
        self.memory = Memory(self.process)
        while time.monotonic() - begin < READY_SECONDS_MAX:
            self.process.check_alive()
            try:
                fetch(self.url + self.ready_path)
                return time.monotonic() - begin
            except OSError:
                time.sleep(READY_POLL_SECONDS)
        raise BenchError(f"{self.name} does not get ready:\n{self.process.log_tail()}")

    def kill(self):
        self.memory.stop()
        self.process.kill()

    def stop(self):
        """Seconds that a stop in good order takes; nothing where it does not run."""
        begin = time.monotonic()
        if self.memory:
            self.memory.stop()
        if self.process:
            self.process.stop()
        return time.monotonic() - begin

    def remove(self):
        self.stop()
        shutil.rmtree(self.scratch, ignore_errors=True)

    # ---- Feed ----

    def check(self, status, body, _samples):
        if status // 100 != 2:
            raise BenchError(f"HTTP status {status}: {body[:200]!r}")
        return True

    def flush(self):
        """Makes visible what was acknowledged, where that takes a while of itself."""

    def block_bytes(self, _samples):
        """Of samples and their index in their final form: (bytes, how many samples), or None where there is none. May
        make it so, which changes what is at rest. _samples: all that were sent."""
        return None

    # ---- Questions ----

    def ask(self, kind, arguments):
        """The answer's bytes of a query ("query", "query_range")."""
        form = urllib.parse.urlencode({**arguments, **self.query_arguments}).encode()
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{kind}", data=form, timeout=QUERY_SECONDS_MAX) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            if error.code // 100 == 5:  # not yet
                raise
            raise BenchError(f"{self.name}: {arguments}: HTTP status {error.code}: {error.read()[:400]!r}") from None

    def ask_result(self, kind, arguments):
        return json.loads(self.ask(kind, arguments))["data"]["result"]

    def names(self, start, end):
        """Of all metrics it knows in this time."""
        form = urllib.parse.urlencode({"start": start, "end": end})
        return json.loads(fetch(f"{self.url}/api/v1/label/__name__/values?{form}"))["data"]

    # ---- Disk ----

    def disk_parts(self):
        """Bytes on disk by first directory (files: by their directory, "")."""
        parts = {}
        for name in sorted(os.listdir(self.data_dir)):
            path = os.path.join(self.data_dir, name)
            part = self.part_of(name) if os.path.isdir(path) else "files"
            parts[part] = parts.get(part, 0) + disk_bytes(path)
        return parts

    def part_of(self, name):
        return name


class Tributary(Store):
    """A global. Requests are those of a primary's sender; stored and duplicate are the verdicts that acknowledge."""
    name = "tributary"
    feed_kind = "frames"
    path = "/api/v1/batches"
    headers = {"Content-Type": "application/x-tributary-frames"}
    daemon = "tributary-global"
    idle_seconds = 3     # it works on until nothing is left
    stored, duplicate, busy = 0, 1, 6  # enum batch_verdict

    def command(self):
        config = os.path.join(self.scratch, "global.yaml")
        with open(config, "w") as file:
            file.write(f"name: bench\nlisten: {self.address}\ndata_dir: {self.data_dir}\n" + self.options.global_config)
        return [os.path.join(self.options.bin, self.daemon), "--config", config]

    def check(self, status, body, samples):
        super().check(status, body, samples)
        verdicts = verdicts_of(body)
        if samples and not verdicts or any(verdict not in (self.stored, self.duplicate, self.busy)
                                           for verdict in verdicts):
            raise BenchError(f"verdicts {verdicts}")
        return self.busy not in verdicts

    def block_bytes(self, _samples):
        """Of the blocks that there are, with their aggregates; what is in the head still is not among them."""
        return bytes_of_blocks(os.path.join(self.data_dir, "blocks"), os.path.join(self.data_dir, "aggregates"))

    @classmethod
    def missing(cls, options):
        if os.access(os.path.join(options.bin, cls.daemon), os.X_OK):
            return None
        return f"{options.bin}/{cls.daemon} is not there: {HOW_TO_BUILD}"

    @classmethod
    def version(cls, options):
        return subprocess.run([os.path.join(options.bin, cls.daemon), "--version"], capture_output=True, text=True,
                              check=False).stdout.strip().splitlines()[0]


class TributaryWindows(Tributary):
    """The same with windows of four scrapes, as secondaries make them."""
    name = "tributary-windows"
    form = "windows"


class Prometheus(Store):
    name = "prometheus"
    program = package = "prometheus"
    idle_seconds = 65    # it looks once a minute whether there is something to compact

    def command(self):
        config = os.path.join(self.scratch, "prometheus.yaml")
        with open(config, "w") as file:
            file.write("global: {}\n")
        return ["prometheus", "--config.file=" + config, "--web.listen-address=" + self.address,
                "--storage.tsdb.path=" + self.data_dir, "--web.enable-remote-write-receiver", "--web.enable-admin-api"]

    def part_of(self, name):
        return "blocks" if name not in ("wal", "chunks_head", "snapshots") else name

    def block_bytes(self, _samples):
        """A snapshot writes a block of what is in the head still."""
        request = urllib.request.Request(self.url + "/api/v1/admin/tsdb/snapshot", method="POST")
        with urllib.request.urlopen(request, timeout=QUERY_SECONDS_MAX) as answer:
            name = json.load(answer)["data"]["name"]
        path = os.path.join(self.data_dir, "snapshots", name)
        found = bytes_of_blocks(path)
        shutil.rmtree(path)
        return found


class VictoriaMetrics(Store):
    name = "victoria-metrics"
    program = package = "victoria-metrics"
    ready_path = "/health"
    query_arguments = {"nocache": 1}  # nor of other queries' results

    def command(self):
        return ["victoria-metrics", "-storageDataPath=" + self.data_dir, "-httpListenAddr=" + self.address,
                "-search.latencyOffset=0s", f"-search.maxUniqueTimeseries={SERIES_MAX}",
                "-search.maxQueryDuration=2m"]

    def flush(self):
        fetch(self.url + "/internal/force_flush")

    def block_bytes(self, samples):
        fetch(self.url + "/internal/force_merge")
        wait_idle(self.process, self.idle_seconds)
        return sum(disk_bytes(os.path.join(self.data_dir, part)) for part in ("data", "indexdb")), samples


KINDS = {kind.name: kind for kind in (Tributary, TributaryWindows, VictoriaMetrics, Prometheus)}


def verdicts_of(answer):
    """The verdicts of an answer (shared/hop/answer.c): the fifth field of a msgpack array, behind four integers."""
    at = 1 if answer[0] >> 4 == 9 else 3
    for _ in range(4):
        at += {0xcc: 2, 0xcd: 3, 0xce: 5, 0xcf: 9}.get(answer[at], 1)
    width = {0xc4: 1, 0xc5: 2, 0xc6: 4}[answer[at]]
    length = int.from_bytes(answer[at + 1:at + 1 + width], "big")
    return list(answer[at + 1 + width:at + 1 + width + length])


def wait_idle(process, seconds):
    """Until the process has done next to nothing for so long: all that it does behind what it acknowledges is done."""
    quiet, end = 0, time.monotonic() + IDLE_SECONDS_MAX
    while quiet < seconds and time.monotonic() < end:
        process.check_alive()
        before = process.cpu_seconds()
        time.sleep(1)
        quiet = quiet + 1 if process.cpu_seconds() - before < IDLE_CORES_MAX else 0


def wait_flushed(store):
    """Until what was acknowledged is in its final place. A hook: none of the stores has a field that says so, so a
    process that has become idle must do; where a status tells (blocks written, compactions due), ask it here."""
    store.flush()
    wait_idle(store.process, store.idle_seconds)


def bytes_of_blocks(directory, *beside):
    """Bytes and samples of all blocks of Prometheus' format in a directory, with what directories beside it have under
    the same names; None where there are none."""
    size = samples = 0
    for name in os.listdir(directory) if os.path.isdir(directory) else ():
        meta = os.path.join(directory, name, "meta.json")
        if not os.path.exists(meta):
            continue
        with open(meta) as file:
            samples += json.load(file)["stats"]["numSamples"]
        size += sum(disk_bytes(path) for path in (os.path.join(place, name) for place in (directory, *beside))
                    if os.path.exists(path))
    return (size, samples) if samples else None


def disk_bytes(path):
    """What a file or a directory takes on disk: blocks, so that room kept ahead counts and holes do not."""
    total = 0
    for directory, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(directory, name)).st_blocks * 512
            except FileNotFoundError:
                pass  # merged away meanwhile
    return total if os.path.isdir(path) else os.lstat(path).st_blocks * 512


class Memory:
    """The most RssAnon that a process had, looked at ten times a second, and its RSS by the kernel's own mark."""

    def __init__(self, process):
        self.process = process
        self.anon_peak = 0
        self.rss_peak = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def look(self):
        try:
            self.anon_peak = max(self.anon_peak, self.process.rss_anon_bytes())
            self.rss_peak = max(self.rss_peak, self.process.status_bytes("VmHWM"))
        except (OSError, BenchError):
            pass  # it has gone

    def forget(self):
        """Of RssAnon's peak until now."""
        self.anon_peak = self.process.rss_anon_bytes()

    def run(self):
        while not self.over.wait(MEMORY_POLL_SECONDS):
            self.look()

    def now(self):
        self.look()
        return {"rss_anon_bytes": self.process.rss_anon_bytes(), "rss_bytes": self.process.status_bytes("VmRSS"),
                "rss_anon_peak_bytes": self.anon_peak, "rss_peak_bytes": self.rss_peak}

    def stop(self):
        self.over.set()
        self.thread.join()
