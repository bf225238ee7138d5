"""Real daemons on loopback addresses: a scratch folder, processes by name, questions to them, waiting with an end.

A federation has 127.77.X.* to itself, so that every daemon has its default port."""
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("TRIBUTARY_BIN") or os.path.join(ROOT, "build", "bin")
START_SECONDS = 15  # for a daemon to be ready; a replay of a test's data takes milliseconds
STOP_SECONDS = 15  # a SIGTERM drains for some seconds
POLL_SECONDS = 0.05
LOG_TAIL_LINES = 25
PORTS = {"secondary": 9410, "primary": 9411, "global": 9412}


def wait_until(condition, timeout=20.0, what="the condition"):
    """Polls until condition() is true and returns what it gave. AssertionError after timeout seconds."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"after {timeout} s: not {what}; it gave {value!r}")
        time.sleep(POLL_SECONDS)


def fetch(url, body=None, headers=None, timeout=10.0):
    """(status, text) of a GET, or a POST where there is a body; (0, reason) where nobody answers."""
    request = urllib.request.Request(url, data=body, headers=headers or {}, method="GET" if body is None else "POST")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode("utf-8", "replace")
    except (urllib.error.URLError, OSError) as error:
        return 0, str(error)


def run(command, timeout=20.0, **options):
    """A program to its end: (exit code, stdout, stderr)."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)
    return done.returncode, done.stdout, done.stderr


def has_terminals():
    try:
        for end in os.openpty():
            os.close(end)
        return True
    except OSError:
        return False


def program(name):
    return os.path.join(BIN, name)


def parse_metrics(text):
    """{'name{labels}': value} of an exposition, labels as they stand there."""
    values = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.rpartition(" ")
            values[key] = float(value)
    return values


class Process:
    """One program; its output goes to a file. It ends with this process, however that ends."""

    def __init__(self, name, command, log_path):
        self.name, self.command, self.log_path = name, command, log_path
        self.process = None

    def start(self):
        assert not self.is_running(), f"{self.name} runs already"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *self.command], stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL)

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9, and nothing is left of it."""
        if self.is_running():
            self.process.kill()
            self.process.wait(timeout=STOP_SECONDS)

    def stop(self):
        """SIGTERM; its exit code."""
        if not self.is_running():
            return self.process.returncode if self.process else 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} does not end after SIGTERM") from None

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""


class Daemon(Process):
    def __init__(self, role, name, address, directory, config):
        self.role, self.address = role, address
        self.url = f"http://{address}:{PORTS[role]}"
        self.config, self.directory = config, directory
        self.config_path = os.path.join(directory, f"{name}.yaml")
        self.data_dir = config["data_dir"]
        super().__init__(name, [program(f"tributary-{role}"), "--config", self.config_path],
                         os.path.join(directory, f"{name}.log"))
        self.write_config()

    def write_config(self):
        """A line per key; its value as JSON, which is YAML."""
        with open(self.config_path, "w", encoding="utf-8") as file:
            for key, value in self.config.items():
                file.write(f"{key}: {json.dumps(value)}\n")

    def start(self, wait=True):
        super().start()
        if wait:
            self.wait_ready()

    def wait_ready(self):
        def ready():
            assert self.is_running(), f"{self.name} ended at its start with {self.process.returncode}:\n{self.log()}"
            return fetch(self.url + "/-/ready", timeout=2)[0] == 200

        wait_until(ready, START_SECONDS, f"{self.name} ready")

    def restart(self):
        self.stop()
        self.start()

    def reload(self):
        return fetch(self.url + "/-/reload", body=b"")

    def status(self):
        code, text = fetch(self.url + "/api/v1/status")
        assert code == 200, f"{self.name}: {code} {text}"
        return json.loads(text)

    def metrics(self):
        code, text = fetch(self.url + "/metrics")
        assert code == 200, f"{self.name}: {code} {text}"
        return parse_metrics(text)


class Federation:
    """Builds and holds the daemons and exporters of one test."""

    def __init__(self, name):
        self.directory = tempfile.mkdtemp(prefix=f"tributary-{name}-")
        self.processes = []
        self.exporters = []
        self.net, self._claim = self._free_net()
        self._last_host = 100

    @staticmethod
    def _free_net():
        """127.77.X that no other federation of this machine's tests has and where nobody has the default ports, from the
        process id on; and the claim on it, which ends with this process at the latest."""
        for i in range(254):
            net = f"127.77.{(os.getpid() * 7 + i) % 254 + 1}"
            claim = socket.socket(socket.AF_UNIX)
            try:
                claim.bind(f"\0tributary-tests-{net}")
                for port in PORTS.values():
                    with socket.socket() as probe:
                        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        probe.bind((f"{net}.1", port))
                return net, claim
            except OSError:
                claim.close()
        raise AssertionError("all of 127.77.* is in use")

    def address(self):
        """A fresh address of this federation."""
        self._last_host += 1
        assert self._last_host < 255
        return f"{self.net}.{self._last_host}"

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    # ---- Daemons ----

    def _add(self, role, name, address, config):
        config.setdefault("listen", f"{address}:{PORTS[role]}")
        config.setdefault("data_dir", self.path(f"{name}-data"))
        daemon = Daemon(role, name, address, self.directory, config)
        self.processes.append(daemon)
        return daemon

    def add_global(self, **config):
        self.top = self._add("global", "global", f"{self.net}.1", {"name": "eu", **config})
        return self.top

    def add_primary(self, datacenter="dc1", number=1, **config):
        config.setdefault("globals", [{"name": "eu", "url": f"http://{self.net}.1:9412"}])
        return self._add("primary", f"{datacenter}-primary", f"{self.net}.{number * 10}",
                         {"datacenter": datacenter, **config})

    def add_secondary(self, primary, number, scrape_configs, **config):
        """Named rack-NUMBER; scrapes and closes windows each second."""
        datacenter = primary.config["datacenter"]
        host = int(primary.address.rsplit(".", 1)[1]) + number
        defaults = {"datacenter": datacenter, "secondary": f"rack-{number}", "workers": 1,
                    "primary": {"urls": [primary.url]}, "windows": {"resolution": "1s"},
                    "global": {"scrape_interval": "1s", "scrape_timeout": "800ms"}, "scrape_configs": scrape_configs}
        return self._add("secondary", f"{datacenter}-rack-{number}", f"{self.net}.{host}", {**defaults, **config})

    def add_process(self, name, command):
        process = Process(name, command, self.path(f"{name}.log"))
        self.processes.append(process)
        return process

    def add_exporter(self, exporter):
        self.exporters.append(exporter)
        return exporter

    def start(self):
        for process in self.processes:
            if not process.is_running():
                process.start()

    def close(self):
        for exporter in self.exporters:
            exporter.close()
        for process in self.processes:
            process.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
        self._claim.close()

    def tails(self):
        """The ends of all logs, for a failed test's report."""
        parts = []
        for process in self.processes:
            if process.process is None:
                state = "not started"
            else:
                state = "runs" if process.is_running() else f"ended, {process.process.returncode}"
            lines = process.log().splitlines()[-LOG_TAIL_LINES:]
            parts.append("\n".join([f"--- {process.name} ({state}), the end of its log:", *lines]))
        return "\n".join(parts)

    # ---- Questions to the global ----

    def api(self, path, **parameters):
        """data of an answer of the API that must be a success."""
        query = urllib.parse.urlencode(parameters, doseq=True)
        code, text = fetch(f"{self.top.url}/api/v1/{path}?{query}")
        answer = json.loads(text) if code else {}
        assert code == 200 and answer["status"] == "success", f"{path} {parameters}: {code} {text}"
        return answer["data"]

    def query(self, expression, **parameters):
        """[(labels, value)] of an instant query for a vector."""
        data = self.api("query", query=expression, **parameters)
        assert data["resultType"] == "vector", data
        return [(series["metric"], float(series["value"][1])) for series in data["result"]]

    def value(self, expression, **parameters):
        """The one value of a query; None where there is none."""
        result = self.query(expression, **parameters)
        assert len(result) <= 1, result
        return result[0][1] if result else None

    def by_label(self, expression, label):
        return {labels.get(label): value for labels, value in self.query(expression)}

    def raw(self, selector, window="10m"):
        """[(labels, [(seconds, value)])]: the samples as they are stored."""
        data = self.api("query", query=f"{selector}[{window}]")
        assert data["resultType"] == "matrix", data
        return [(series["metric"], [(time_s, float(value)) for time_s, value in series["values"]])
                for series in data["result"]]
