"""End-to-end delay: how long after its scrape a sample answers a query at the global, and how old what it shows is."""
import json
import time
import urllib.parse
import urllib.request

HOSTS_MAX = 200     # asked about, evenly over the fleet: the answer stays small
POLL_SECONDS = 0.2  # so a delay is at most this much too long


def instances_of(targets_path):
    with open(targets_path) as file:
        targets = [target for group in json.load(file) for target in group["targets"]]
    step = max(1, -(-len(targets) // HOSTS_MAX))
    return targets[::step]


def newest(url, pattern):
    """Time of the newest sample of each host, as the global answers it."""
    form = urllib.parse.urlencode({"query": f'timestamp(node_time_seconds{{instance=~"{pattern}"}})'}).encode()
    with urllib.request.urlopen(url + "/api/v1/query", data=form, timeout=10) as answer:
        result = json.load(answer)["data"]["result"]
    return {series["metric"]["instance"]: float(series["value"][1]) for series in result}


def measure(url, targets_path, seconds):
    """Delays and ages in seconds. A delay is one record's that came to sight: a record's time is that of its target's
    last scrape in the window, so this is the delay of the window's newest sample. An age is one host's at one poll."""
    pattern = "|".join(instance.replace(".", "\\\\.") for instance in instances_of(targets_path))
    seen = newest(url, pattern)
    delays, ages = [], []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(POLL_SECONDS)
        times = newest(url, pattern)
        now = time.time()
        ages.extend(now - at for at in times.values())
        delays.extend(now - at for instance, at in times.items() if seen.get(instance, 0) < at)
        seen.update(times)
    return delays, ages


def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
