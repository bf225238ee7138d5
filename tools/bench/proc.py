"""Processes of a run: started in the scratch directory, measured from /proc, stopped by their ids."""
import ctypes
import os
import signal
import socket
import subprocess
import time
import urllib.request

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
STOP_SECONDS_MAX = 20  # a daemon that drains gets this long, then SIGKILL
START_SECONDS_MAX = 30
PR_SET_PDEATHSIG = 1
CPU_CLOCK_OF_PROCESS = 2  # CPUCLOCK_SCHED
LIBC = ctypes.CDLL(None)


class BenchError(Exception):
    """What ends a run: its text is all that the user sees."""


def die_with_parent():
    """In the child: a run that is killed leaves nothing behind."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    def __init__(self, name, command, scratch):
        self.name = name
        self.log_path = os.path.join(scratch, name + ".log")
        with open(self.log_path, "ab") as log:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          cwd=scratch, preexec_fn=die_with_parent)
        self.pid = self.child.pid

    def cpu_seconds(self):
        """User and system time of all its threads, also of those that have ended."""
        with open(f"/proc/{self.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def cpu_seconds_exact(self):
        """The same by the kernel's CPU clock of the process (clock_getcpuclockid), which counts in nanoseconds."""
        return time.clock_gettime(~self.pid << 3 | CPU_CLOCK_OF_PROCESS)

    def status_bytes(self, name):
        """A field of /proc's status that is given in kB."""
        with open(f"/proc/{self.pid}/status") as file:
            for line in file:
                if line.startswith(name + ":"):
                    return int(line.split()[1]) * 1024
        raise BenchError(f"/proc/{self.pid}/status has no {name}")

    def rss_anon_bytes(self):
        return self.status_bytes("RssAnon")

    def check_alive(self):
        if self.child.poll() is not None:
            raise BenchError(f"{self.name} ended with {self.child.returncode}:\n{self.log_tail()}")

    def log_tail(self):
        with open(self.log_path, errors="replace") as file:
            return "".join(file.readlines()[-8:])

    def wait_for(self, url):
        """Until url answers 200."""
        end = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < end:
            self.check_alive()
            try:
                fetch(url)
                return
            except OSError:
                time.sleep(0.1)
        raise BenchError(f"{self.name} does not answer at {url}:\n{self.log_tail()}")

    def kill(self):
        """SIGKILL: what was not on its way to the disk is lost."""
        self.child.kill()
        self.child.wait()

    def stop(self):
        if self.child.poll() is None:
            self.child.terminate()
        try:
            self.child.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def metric_sum(text, name):
    """Sum over all series of a name on a /metrics page; None where there is none."""
    total = None
    for line in text.splitlines():
        if line.startswith(name) and line[len(name):len(name) + 1] in ("{", " "):
            total = (total or 0) + float(line.rsplit(" ", 1)[1])
    return total


def metric_needed(text, name):
    value = metric_sum(text, name)
    if value is None:
        raise BenchError(f"the /metrics page has no {name}")
    return value


def machine_busy_seconds():
    """CPU time of the whole machine that was not idle."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND


def free_port(address="127.0.0.1"):
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]
