"""What is compared: how each program is started, and where its own counters are."""
import os
import subprocess

from debian import Packaged
from proc import BenchError, Process, fetch, free_port, metric_needed, metric_sum
from wire import Relay, Sink

CAPTURE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "captured.gz")
BACKLOG_SHARE_MAX = 0.05  # of what was scraped; more that has not left yet makes bytes per sample wrong
HOW_TO_BUILD = "cmake --preset release && cmake --build --preset release (or --bin DIR)"
COMPANIONS = 5            # up and the scrape_* series, which Prometheus counts among its samples


class Scraper(Packaged):
    """One program on one fleet. measured is the process whose CPU and memory count."""
    package = None  # Debian's, of the peers
    program = None
    keep_bytes_max = 0  # of requests' bodies, to look into afterwards

    def __init__(self, scratch, targets_path, options):
        self.scratch = scratch
        self.targets_path = targets_path
        self.options = options
        self.processes = []
        self.wire = None
        self.measured = None
        self.url = None

    def run(self, name, command, ready_path):
        """Starts a process that listens at self.url."""
        process = Process(name, command, self.scratch)
        self.processes.append(process)
        process.wait_for(self.url + ready_path)
        return process

    def write(self, name, text):
        path = os.path.join(self.scratch, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def new_url(self):
        self.address = f"127.0.0.1:{free_port()}"
        self.url = "http://" + self.address

    def scrape_config(self):
        return (f"global: {{scrape_interval: {self.options.interval}s, scrape_timeout: {self.options.timeout}s}}\n"
                f"scrape_configs:\n  - job_name: fleet\n    file_sd_configs: [{{files: [\"{self.targets_path}\"]}}]\n")

    def stop(self):
        for process in reversed(self.processes):
            process.stop()
        if self.wire:
            self.wire.close()


class Vmagent(Scraper):
    name = "vmagent"
    program = "vmagent"
    package = "victoria-metrics"

    def start(self):
        self.wire = Sink(self.keep_bytes_max)
        self.new_url()
        config = self.write("vmagent.yaml", self.scrape_config())
        self.measured = self.run("vmagent", [
            "vmagent", "-promscrape.config=" + config, "-httpListenAddr=" + self.address,
            f"-remoteWrite.url=http://127.0.0.1:{self.wire.port}/api/v1/write",
            "-remoteWrite.tmpDataPath=" + os.path.join(self.scratch, "vmagent-data")], "/health")

    def counters(self):
        page = fetch(self.url + "/metrics")
        return {"scrapes": metric_sum(page, "vm_promscrape_scraped_samples_count") or 0,
                "samples": metric_sum(page, "vm_promscrape_scraped_samples_sum") or 0,
                "failures": metric_sum(page, "vm_promscrape_scrapes_failed_total") or 0,
                "pending_bytes": metric_needed(page, "vmagent_remotewrite_pending_data_bytes")}

    def backlog(self, before, after, wire_bytes):
        return (after["pending_bytes"] - before["pending_bytes"]) / max(wire_bytes, 1)


class Prometheus(Scraper):
    name = "prometheus"
    program = "prometheus"
    package = "prometheus"
    storage = ["--storage.tsdb.path=prometheus-data"]
    samples_metric = "prometheus_tsdb_head_samples_appended_total"

    def start(self):
        self.wire = Sink(self.keep_bytes_max)
        self.new_url()
        config = self.write("prometheus.yaml", self.scrape_config() + (
            f"remote_write: [{{url: \"http://127.0.0.1:{self.wire.port}/api/v1/write\"}}]\n"))
        self.measured = self.run("prometheus", [
            "prometheus", "--config.file=" + config, "--web.listen-address=" + self.address, *self.storage], "/-/ready")

    def counters(self):
        page = fetch(self.url + "/metrics")
        scrapes = metric_sum(page, "prometheus_target_interval_length_seconds_count") or 0
        stored = metric_needed(page, self.samples_metric)
        return {"scrapes": scrapes,
                "samples": stored - COMPANIONS * scrapes,
                "failures": None,  # it has no such counter: samples that are missing tell
                "stored": stored,
                "sent": metric_sum(page, "prometheus_remote_storage_samples_total") or 0}

    def backlog(self, before, after, _wire_bytes):
        stored = after["stored"] - before["stored"]
        return 1 - (after["sent"] - before["sent"]) / max(stored, 1)


class PrometheusAgent(Prometheus):
    name = "prometheus-agent"
    storage = ["--enable-feature=agent", "--storage.agent.path=prometheus-data"]
    samples_metric = "prometheus_agent_samples_appended_total"


class Tributary(Scraper):
    """A secondary, and a real primary and global behind it; the relay between secondary and primary counts."""
    name = "tributary"
    daemons = ("tributary-secondary", "tributary-primary", "tributary-global")

    @classmethod
    def missing(cls, options):
        for daemon in cls.daemons:
            if not os.access(os.path.join(options.bin, daemon), os.X_OK):
                return f"{options.bin}/{daemon} is not there: {HOW_TO_BUILD}"
        return None

    @classmethod
    def version(cls, options):
        return subprocess.run([os.path.join(options.bin, cls.daemons[0]), "--version"], capture_output=True, text=True,
                              check=False).stdout.strip().splitlines()[0]

    def daemon(self, role, text):
        self.new_url()
        config = self.write(role + ".yaml", f"listen: {self.address}\ndata_dir: {self.scratch}/{role}-data\n" + text)
        return self.run(role, [os.path.join(self.options.bin, "tributary-" + role), "--config", config], "/-/ready")

    def start(self):
        self.upper = {"global": self.daemon("global", "name: bench\n")}
        self.global_url = self.url
        self.upper["primary"] = self.daemon(
            "primary", f"datacenter: dc1\nglobals: [{{name: bench, url: \"{self.global_url}\"}}]\n")
        self.wire = Relay(int(self.address.rsplit(":", 1)[1]))
        self.measured = self.daemon("secondary", (
            f"datacenter: dc1\nsecondary: bench\nwindows: {{resolution: {self.options.resolution}s}}\n"
            f"primary: {{urls: [\"http://127.0.0.1:{self.wire.port}\"]}}\n" + self.scrape_config()))

    def counters(self):
        page = fetch(self.url + "/metrics")
        upper = fetch(self.global_url + "/metrics")
        scrapes = metric_needed(page, "tributary_secondary_scrapes_total")
        answered = metric_needed(page, 'tributary_secondary_scrapes_total{outcome="ok"}')
        return {"scrapes": scrapes,
                "samples": metric_needed(page, "tributary_secondary_samples_total"),
                "failures": scrapes - answered,
                "pending_bytes": metric_needed(page, "tributary_upstream_pending_bytes"),
                "records": metric_needed(upper, "tributary_global_records_total")}

    def backlog(self, before, after, wire_bytes):
        return (after["pending_bytes"] - before["pending_bytes"]) / max(wire_bytes, 1)


KINDS = {kind.name: kind for kind in (Tributary, Vmagent, Prometheus, PrometheusAgent)}


def start_fleet(options, scratch, seconds, more=()):
    """A fleet of its own per scraper; it ends by itself. more: arguments that say more of its pages."""
    program = os.path.join(options.bin, "fleet")
    if not os.access(program, os.X_OK):
        raise BenchError(f"{program} is not there: {HOW_TO_BUILD}")
    port = free_port("127.1.0.1")
    targets = os.path.join(scratch, "targets.json")
    process = Process("fleet", [program, "--hosts", str(options.hosts), "--page", options.page, "--port", str(port),
                                "--targets", targets, "--seconds", str(int(seconds)), "--capture", CAPTURE, *more],
                      scratch)
    try:
        process.wait_for(f"http://127.1.0.1:{port}/metrics")
        page = fetch(f"http://127.1.0.1:{port}/metrics")
    except BaseException:
        process.stop()
        raise
    return process, targets, sum(1 for line in page.splitlines() if line and not line.startswith("#"))
