"""Feeds a store with requests that bench_feed made: some connections, each with groups of hosts of its own, a request at a
time; what was acknowledged is remembered, so that it can be asked for after a crash, and the rest sent then."""
import http.client
import json
import math
import os
import struct
import subprocess
import threading
import time
from typing import NamedTuple

from proc import BenchError

HEAD = struct.Struct("<7I")
DRIFT_WINDOWS_MAX = 4  # between connections: windows arrive in order of time, with some under way at once
REQUEST_SECONDS_MAX = 120
BUSY_SECONDS = 0.05
TRIES_MAX = 200        # of a request that the store is too busy for


def make(options, scratch, name, end_ms, arguments):
    """Makes a feed in a directory of its own; returns the directory and what bench_feed says is in it."""
    directory = os.path.join(scratch, name)
    os.makedirs(directory)
    made = subprocess.run([os.path.join(options.bin, "bench_feed"), "--dir", directory, "--end", str(end_ms),
                           "--group", str(options.group), *map(str, arguments)],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise BenchError(f"bench_feed failed: {made.stderr}")
    return directory, json.loads(made.stdout)


class Request(NamedTuple):
    first_host: int
    hosts: int
    records: int
    samples: int
    window: int
    layouts: int
    bytes: int
    offset: int


class Feed:
    """The requests of one file, and which of them were acknowledged."""

    def __init__(self, path):
        self.file = open(path, "rb")
        self.requests = []
        at, end = 0, os.fstat(self.file.fileno()).st_size
        while at < end:
            numbers = HEAD.unpack(os.pread(self.file.fileno(), HEAD.size, at))
            self.requests.append(Request(*numbers, at + HEAD.size))
            at += HEAD.size + numbers[6]
        self.acknowledged = bytearray(len(self.requests))

    def body(self, index):
        request = self.requests[index]
        return os.pread(self.file.fileno(), request.bytes, request.offset)

    def total(self, field, acknowledged_only=True):
        return sum(getattr(request, field) for request, done in zip(self.requests, self.acknowledged)
                   if done or not acknowledged_only)

    def add_samples_by_host(self, counts):
        """Adds what was acknowledged; all hosts of a request have equally many."""
        for request, done in zip(self.requests, self.acknowledged):
            for host in range(request.first_host, request.first_host + request.hosts if done else 0):
                counts[host] += request.samples // request.hosts

    def close(self):
        self.file.close()


class Sending:
    """A feed on its way. check(status, body, samples) of the store: True, False (busy: again later), or BenchError."""

    def __init__(self, feed, store, connections, group):
        self.feed = feed
        self.store = store
        self.failures = []
        self.stopping = False
        self.turn = threading.Condition()
        self.explained_by = explanations(feed)
        lines = [[] for _ in range(connections)]
        for index, request in enumerate(feed.requests):
            if not feed.acknowledged[index]:
                lines[request.first_host // group % connections].append(index)
        self.windows = [feed.requests[line[0]].window if line else math.inf for line in lines]
        self.samples_left = feed.total("samples", False) - feed.total("samples")
        self.samples_all = self.samples_left
        self.start_seconds = time.monotonic()
        self.threads = [threading.Thread(target=self.run, args=(number, line), daemon=True)
                        for number, line in enumerate(lines) if line]
        for thread in self.threads:
            thread.start()

    def run(self, number, line):
        connection = http.client.HTTPConnection(self.store.address, timeout=REQUEST_SECONDS_MAX)
        try:
            for index in line:
                if not self.wait_turn(number, index):
                    return
                self.send(connection, index)
                self.note(index)
        except (OSError, http.client.HTTPException, BenchError) as error:
            self.failures.append(f"{type(error).__name__}: {error}")
            self.stopping = True
        finally:
            connection.close()
            with self.turn:
                self.windows[number] = math.inf
                self.turn.notify_all()

    def wait_turn(self, number, index):
        window, explained_by = self.feed.requests[index].window, self.explained_by[index]
        with self.turn:
            if window != self.windows[number]:
                self.windows[number] = window
                self.turn.notify_all()
            self.turn.wait_for(lambda: self.stopping or (
                window - min(self.windows) <= DRIFT_WINDOWS_MAX
                and (explained_by is None or self.feed.acknowledged[explained_by])))
        return not self.stopping

    def send(self, connection, index):
        body = self.feed.body(index)
        for _ in range(TRIES_MAX):
            connection.request("POST", self.store.path, body, self.store.headers)
            answer = connection.getresponse()
            if self.store.check(answer.status, answer.read(), self.feed.requests[index].samples):
                return
            time.sleep(BUSY_SECONDS)
        raise BenchError("the store is always busy")

    def note(self, index):
        request = self.feed.requests[index]
        with self.turn:
            self.feed.acknowledged[index] = 1
            self.samples_left -= request.samples
            if request.layouts:
                self.turn.notify_all()

    def is_over(self):
        return not any(thread.is_alive() for thread in self.threads)

    def share(self):
        return 1 - self.samples_left / max(self.samples_all, 1)

    def stop(self):
        with self.turn:
            self.stopping = True
            self.turn.notify_all()
        for thread in self.threads:
            thread.join()

    def finish(self):
        """Waits for all; raises what went wrong. Returns seconds from the first request on."""
        for thread in self.threads:
            thread.join()
        if self.failures:
            raise BenchError(f"{self.store.name} did not take its feed: {self.failures[0]}\n"
                             f"{self.store.process.log_tail()}")
        return time.monotonic() - self.start_seconds


def explanations(feed):
    """Of each request the last one before it that brings layouts: until that is stored it would not be understood."""
    found, last = [], None
    for index, request in enumerate(feed.requests):
        found.append(last)
        last = index if request.layouts else last
    return found
