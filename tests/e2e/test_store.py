"""What a global keeps on disk: blocks that appear, are read by others, are damaged, deleted from, and outlive it."""
import csv
import glob
import io
import json
import math
import os
import shutil
import subprocess
import threading
import time

import pytest

from exporter import Exporter
from harness import Federation, fetch, has_terminals, program, run, wait_until

OK, FAILED, USAGE, UNREACHABLE = range(4)
PART_SECONDS = 7200  # of time that is cut into one block
WINDOW_SECONDS = 10
PARTS_BACK = range(2, 7)  # which parts the page has samples of: some hours to half a day old
SERIES = 20  # of each part and class
CLASSES = ("main", "spare")
CUT_SECONDS = 45  # a window, the way up, and the cut


class Yesterday:
    """Samples of hours ago, with times of their own: one of each series a scrape, in the middle of one window, so that
    each part comes in one batch and is cut as one."""

    def __init__(self):
        self.lock = threading.Lock()
        self.window, self.count = None, 0
        now_part = time.time() // PART_SECONDS
        self.starts = [int((now_part - back) * PART_SECONDS) for back in PARTS_BACK]

    def __call__(self, handler):
        now = time.time()
        with self.lock:
            self.window = self.window or (math.floor(now / WINDOW_SECONDS) + 1) * WINDOW_SECONDS
            self.count += self.window + 1 <= now <= self.window + WINDOW_SECONDS - 2
            count = self.count
        lines = ["alive 1"]
        for part, start in enumerate(self.starts if count > 0 else []):
            lines += [f'old{{part="{part}",kept="{kept}",i="{i}"}} {count} {(start + 60 * count) * 1000}'
                      for kept in CLASSES for i in range(SERIES)]
        return "\n".join(lines) + "\n"

    def is_over(self):
        with self.lock:
            return self.count > 0 and time.time() > self.window + WINDOW_SECONDS


class World(Federation):
    """A global with blocks of two classes. per_class: the samples of each."""

    def cli(self, *words):
        return run([program("tributary"), *words], env={**os.environ, "TRIBUTARY_URL": self.top.url})

    def blocks(self, **wanted):
        """What `tributary blocks` lists; only those with these fields."""
        code, out, err = self.cli("blocks", "-o", "json")
        assert code in (OK, FAILED) and out, (code, out, err)
        blocks = json.loads(out)["data"]["blocks"]
        return [block for block in blocks if all(block[key] == value for key, value in wanted.items())]

    def samples(self, **labels):
        """How many there are, by part."""
        matchers = ",".join(f'{name}="{value}"' for name, value in labels.items())
        counts = self.by_label("sum by (part) (count_over_time(old{%s}[1d]))" % matchers, "part")
        return {int(part): count for part, count in counts.items()}

    def warnings(self, path, **parameters):
        query = "&".join(f"{key}={value}" for key, value in parameters.items())
        code, text = fetch(f"{self.top.url}/api/v1/{path}?{query}")
        assert code == 200, text
        return json.loads(text).get("warnings", [])

    def is_quiet(self):
        """Nothing waits to be cut, and merging has nothing to do."""
        before = self.top.status()
        time.sleep(2)
        after = self.top.status()
        return after["head"]["sealed_partitions"] == 0 and after["blocks"] == before["blocks"]


@pytest.fixture(scope="module")
def world():
    made = World("store")
    try:
        page = Yesterday()
        served = made.add_exporter(Exporter(made.address(), 9100, {"/metrics": page}))
        # What is younger than a day is not late, and is cut as soon as the source has told what is newer.
        made.add_global(head={"close_after": "24h"},
                        retention=[{"class": "spare", "match": '{kept="spare"}', "samples": "10d"},
                                   {"class": "main", "samples": "30d", "max_bytes": "1GiB"}])
        made.add_secondary(made.add_primary(), 1, [{"job_name": "old", "static_configs": [{"targets": [served.target]}]}],
                           windows={"resolution": f"{WINDOW_SECONDS}s"})
        made.start()
        wait_until(page.is_over, 3 * WINDOW_SECONDS, "the page has shown its samples")
        made.per_series = page.count
        made.starts = page.starts
        all_of_them = {part: SERIES * page.count for part in range(len(page.starts))}
        wait_until(lambda: made.samples(kept="main") == all_of_them, CUT_SECONDS, "all samples at the global")
        wait_until(lambda: sum(block["samples"] for block in made.blocks()) >= 2 * sum(all_of_them.values()), CUT_SECONDS,
                   "all samples in blocks")
        wait_until(made.is_quiet, CUT_SECONDS, "the global has nothing to do")
        yield made
    finally:
        made.close()


def dumped(world, directory, selector):
    """How many samples promtool finds in a copy."""
    os.makedirs(os.path.join(directory, "wal"), exist_ok=True)  # without one it reads nothing
    code, out, err = run(["promtool", "tsdb", "dump", f"--match={selector}", str(directory)], timeout=60)
    assert code == 0, err
    return sum(1 for line in out.splitlines() if line.startswith("{"))


def test_blocks(world):
    expected = SERIES * world.per_series * len(world.starts)
    for name in CLASSES:
        blocks = world.blocks(**{"class": name, "state": "served"})
        assert blocks and sum(block["samples"] for block in blocks) >= expected
        for start in world.starts:
            assert [block for block in blocks if block["minTime"] <= start * 1000 < block["maxTime"]], (start, blocks)
    spare = world.blocks(**{"class": "spare"})
    assert sum(block["samples"] for block in spare) == expected and all(block["bytes"] > 500 for block in spare)

    code, out, err = world.cli("blocks", "-o", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert {row["class"] for row in rows} == set(CLASSES) and all(len(row["ulid"]) == 26 for row in rows)
    assert all(row["minTime"].endswith(":00:00.000Z") and int(row["bytes"]) > 500 for row in rows)
    code, out, err = world.cli("blocks")
    lines = out.splitlines()
    assert lines[0].split()[:4] == ["STATE", "CLASS", "FROM", "TO"] and len(lines) == len(rows) + 1 and "KiB" in out
    assert "spare: " in err and "main: " in err
    assert world.cli("blocks", "-o", "xml")[0] == USAGE

    status = world.top.status()
    assert status["blocks"]["served"] == len(world.blocks(state="served"))
    assert status["blocks"]["oldest"] < status["blocks"]["newest"] < status["head"]["newest"]
    assert status["head"]["cuts"] >= len(world.starts) and status["head"]["cut_failures"] == 0
    assert status["compaction"]["last_failure"] is None and status["head"]["log_needed"] > 0
    metrics = world.top.metrics()
    assert metrics["tributary_global_head_cuts_total"] == status["head"]["cuts"]
    assert metrics["tributary_global_blocks"] == status["blocks"]["served"]
    assert metrics['tributary_global_retention_deleted_blocks_total{class="spare"}'] == 0


def test_others_read_the_blocks(world, tmp_path):
    copy = tmp_path / "blocks"
    shutil.copytree(os.path.join(world.top.data_dir, "blocks"), copy)
    names = sorted(os.listdir(copy))
    assert names == sorted(block["ulid"] for block in world.blocks(state="served"))
    code, out, err = run(["promtool", "tsdb", "list", str(copy)])
    assert code == 0 and all(name in out for name in names), (out, err)
    for name in names:
        code, out, err = run(["promtool", "tsdb", "analyze", str(copy), name])
        assert code == 0 and "Postings (unique label pairs)" in out, (out, err)
    for part, count in world.samples(kept="main").items():
        assert dumped(world, copy, f'{{__name__="old",kept="main",part="{part}"}}') == count


@pytest.mark.skipif(not shutil.which("prometheus"), reason="no prometheus here")
def test_prometheus_serves_a_copy(world, tmp_path):
    copy = tmp_path / "data"
    shutil.copytree(os.path.join(world.top.data_dir, "blocks"), copy)
    config = world.write("prometheus.yml", "scrape_configs: []\n")
    address = f"{world.address()}:9090"
    process = world.add_process("prometheus", ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={copy}",
                                               "--storage.tsdb.retention.time=10y", f"--web.listen-address={address}"])
    process.start()
    question = "query?query=sum+by+(part,kept)+(count_over_time(old%5B1d%5D))"
    wait_until(lambda: fetch(f"http://{address}/-/ready")[0] == 200, what="prometheus ready")
    theirs = json.loads(fetch(f"http://{address}/api/v1/{question}")[1])["data"]["result"]
    process.stop()
    ours = json.loads(fetch(f"{world.top.url}/api/v1/{question}")[1])["data"]["result"]

    def by_labels(result):
        return {(series["metric"]["part"], series["metric"]["kept"]): series["value"][1] for series in result}

    assert by_labels(theirs) == by_labels(ours) and len(ours) == len(world.starts) * len(CLASSES)


def test_blocks_of_prometheus_are_taken_in(world, tmp_path):
    start = int(time.time() // PART_SECONDS - 8) * PART_SECONDS
    lines = [f'brought{{i="{i}"}} {step} {start + 60 * step}' for i in range(3) for step in range(100)]
    text = tmp_path / "text"
    text.write_text("# TYPE brought gauge\n" + "\n".join(lines) + "\n# EOF\n")
    code, out, err = run(["promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(tmp_path / "made")])
    assert code == 0, err
    assert world.top.stop() == 0
    for name in os.listdir(tmp_path / "made"):
        shutil.copytree(tmp_path / "made" / name, os.path.join(world.top.data_dir, "blocks", name))
    world.top.start()
    assert [count for _, count in world.query("count_over_time(brought[1d])")] == [100] * 3
    assert sum(block["samples"] for block in world.blocks(**{"class": "default"})) == 300
    assert not world.warnings("labels")


def test_cardinality(world):
    data = world.api("status/tsdb", limit=3)
    assert data["headStats"]["numSeries"] == world.top.status()["store"]["series"] > 0
    assert all(len(data[name]) <= 3 for name in data if name != "headStats")
    assert data["headStats"]["maxTime"] > (time.time() - 60) * 1000


def test_retention(world):
    code, out, err = world.cli("retention")
    assert (code, out) == (USAGE, "") and "--dry-run" in err
    code, out, err = world.cli("retention", "--dry-run")
    assert (code, err) == (OK, "") and "Nothing would go now." in out and '{kept="spare"}' in out and "10d00h" in out
    code, out, _ = world.cli("retention", "-n", "-o", "json")
    classes = {entry["class"]: entry for entry in json.loads(out)["data"]["classes"]}
    assert classes["main"]["bytesMax"] == 2 ** 30 and classes["spare"]["bytesMax"] is None
    assert classes["spare"]["samples"] == sum(block["samples"] for block in world.blocks(**{"class": "spare"}))


def test_delete(world, tmp_path):
    scope = ["--match", '{__name__="old",kept="main",part="1"}', "--match", "no_such_thing"]
    before = world.samples(kept="main")
    assert before[1] > 0
    for words in (["delete", "--why", "x", "--yes"], ["delete", *scope, "--yes"], ["delete", *scope, "--why", "x"],
                  ["delete", *scope, "--why", "x", "--start", "tomorrow", "--yes"]):
        code, out, err = world.cli(*words)
        assert (code, out) == (USAGE, "") and err, (words, err)
    code, out, err = world.cli("delete", "--match", "sum(old)", "--why", "x", "--yes")
    assert (code, out) == (FAILED, "") and "match[]" in err
    assert world.samples(kept="main") == before and world.cli("deletions")[1] == ""

    code, out, err = world.cli("delete", *scope, "--end", "3h", "--why", "a test", "--yes")
    assert (code, out) == (OK, "1\n2\n"), err
    rest = {part: count for part, count in before.items() if part != 1}
    assert world.samples(kept="main") == rest and world.samples(kept="spare")[1] > 0
    code, out, _ = world.cli("deletions", "-o", "csv")
    first, second = csv.DictReader(io.StringIO(out))
    assert code == OK and (first["match"], first["why"]) == (scope[1], "a test") and "@" in first["who"]
    assert second["id"] == "2" and first["start"] == ""

    def is_done():
        states = {row["id"]: row["state"] for row in world.api("status/deletions")}
        return {str(number): state for number, state in states.items()} == {"1": "done", "2": "done"}

    wait_until(is_done, 60, "the deletions done")
    assert world.samples(kept="main") == rest
    copy = tmp_path / "blocks"
    shutil.copytree(os.path.join(world.top.data_dir, "blocks"), copy)
    assert dumped(world, copy, '{__name__="old",kept="main",part="1"}') == 0
    assert dumped(world, copy, '{__name__="old",kept="main",part="2"}') == rest[2]
    code, text = fetch(world.top.url + "/api/v1/admin/tsdb/delete_series?match[]=old&who=a&why=b")
    assert code == 405, text


def on_a_terminal(world, typed, *words):
    """(exit code, stdout, what a person sees beside it)."""
    terminal, end = os.openpty()
    process = subprocess.Popen([program("tributary"), *words], stdin=end, stdout=subprocess.PIPE, stderr=end, text=True,
                               env={**os.environ, "TRIBUTARY_URL": world.top.url})
    os.write(terminal, typed.encode())
    out, _ = process.communicate(timeout=20)
    os.close(end)
    seen = b""
    try:
        while chunk := os.read(terminal, 65536):
            seen += chunk
    except OSError:
        pass  # how the end of a terminal is told
    os.close(terminal)
    return process.returncode, out, seen.decode().replace("\r\n", "\n")


@pytest.mark.skipif(not has_terminals(), reason="this machine has no pseudo-terminals (/dev/pts is not mounted)")
def test_delete_asks(world):
    words = ("delete", "-m", 'old{kept="main",part="4"}', "--end", "3h", "--why", "asked", "--who", "someone")
    before, deletions = world.samples(kept="main"), world.api("status/deletions")
    for answer in ("n\n", "\n", "yess\n"):
        code, out, seen = on_a_terminal(world, answer, *words)
        assert (code, out) == (FAILED, "") and f"{SERIES} series match" in seen and "nothing was deleted" in seen, seen
        assert '__name__="old"' in seen and "from the beginning to 3h?" in seen
    assert world.samples(kept="main") == before and world.api("status/deletions") == deletions
    code, out, seen = on_a_terminal(world, "y\n", *words)
    assert code == OK and out.strip().isdigit(), seen
    assert 4 not in world.samples(kept="main") and world.api("status/deletions")[-1]["who"] == "someone"


def flip(path):
    """One bit in the middle of a file."""
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0x20]))


def test_damage_and_restart(world, tmp_path):
    wait_until(world.is_quiet, what="nothing to do")
    before, main = world.samples(kept="spare"), world.samples(kept="main")
    block = world.blocks(**{"class": "spare", "state": "served"})[0]
    lost = [i for i, start in enumerate(world.starts) if block["minTime"] <= start * 1000 < block["maxTime"]]
    place = os.path.join(world.top.data_dir, "blocks", block["ulid"])
    set_aside = os.path.join(world.top.data_dir, "damaged", block["ulid"])
    (chunks,) = glob.glob(os.path.join(place, "chunks", "*"))
    shutil.copytree(place, tmp_path / "copy")
    flip(chunks)

    def warned(*question, **parameters):
        return any(block["ulid"] in text for text in world.warnings(*question, **parameters))

    # The answer that meets it says so; it lacks that block and nothing else.
    assert not warned("labels") and warned("query", query="count(count_over_time(old%5B1d%5D))")
    rest = {i: count for i, count in before.items() if i not in lost}
    assert lost and world.samples(kept="spare") == rest and world.samples(kept="main") == main
    for question in ("labels", "label/part/values"):
        assert warned(question) and not warned(question, start=time.time() - 1800)

    def tells():
        code, out, err = world.cli("blocks")
        assert code == FAILED and "DAMAGED" in out and "1 blocks DAMAGED" in err, (code, out, err)
        (row,) = csv.DictReader(io.StringIO(world.cli("blocks", "--damaged", "-o", "csv")[1]))
        assert row["ulid"] == block["ulid"] and row["state"] == "damaged" and row["since"]
        assert row.pop("reason")  # which is more precise after the daemon has looked into it
        assert world.top.metrics()["tributary_global_blocks_damaged"] == 1 and os.path.isdir(set_aside)
        return row

    row = tells()
    deletions = world.api("status/deletions")
    # All of it is the same after a restart, also after one that came without a warning.
    for stop in (world.top.stop, world.top.kill):
        assert stop() in (0, None)
        world.top.start()
        assert world.samples(kept="spare") == rest and world.samples(kept="main") == main
        assert tells() == row and world.api("status/deletions") == deletions
        assert warned("query", query="old%5B1d%5D")

    # Until a whole copy lies in its place at a start,
    assert world.top.stop() == 0
    shutil.copytree(tmp_path / "copy", place)
    world.top.start()
    assert world.cli("blocks")[0] == OK and world.samples(kept="spare") == before and not warned("labels")

    # or somebody gives it up; its bytes stay.
    flip(chunks)
    assert warned("query", query="old%5B1d%5D")
    assert world.cli("blocks", "--forget", "nonsense")[0] == FAILED
    assert world.cli("blocks", "--forget", block["ulid"])[:2] == (OK, "")
    assert world.cli("blocks")[0] == OK and not warned("query", query="old%5B1d%5D")
    assert os.path.isdir(set_aside) and world.samples(kept="spare") == rest


def test_expiry(world):
    """With a shorter age the plan has all old blocks at once; the daemon deletes them within a minute."""
    world.top.config["retention"][0]["samples"] = "1h"
    world.top.write_config()
    assert world.top.reload()[0] == 200
    code, out, _ = world.cli("retention", "--dry-run")
    (spare,) = [entry for entry in world.api("status/retention")["classes"] if entry["class"] == "spare"]
    assert code == OK and ("older than 1h" in out or spare["deletedBlocks"] > 0), out
    wait_until(lambda: world.blocks(**{"class": "spare"}) == [], 75, "the blocks of a class gone")
    assert world.samples(kept="spare") == {} and world.samples(kept="main") != {}
    metrics = world.top.metrics()
    assert metrics['tributary_global_retention_deleted_samples_total{class="spare"}'] > 0
    assert metrics['tributary_global_retention_deleted_blocks_total{class="main"}'] == 0
    assert not world.warnings("labels")
