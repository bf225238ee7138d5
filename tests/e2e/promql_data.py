"""Series for comparing answers: 2 h 40 min of everything that gives trouble. Deterministic by the random that is given.

FAMILIES says to a generator of queries which names there are, and which labels and values these have."""
import math
import struct

START_MS = 1700006400000  # a border of blocks of 2 h
LENGTH_MS = 160 * 60000
END_MS = START_MS + LENGTH_MS
STALE = object()  # in the place of a value: the marker that ends a series
STALE_BITS = 0x7FF0000000000002
NAN_BITS = 0x7FF8000000000001  # as Prometheus stores a NaN that was scraped

FAMILIES = {
    "requests_total": {"job": ["api", "web"], "instance": ["a:1", "b:1", "c:1"], "code": ["200", "500"]},
    "errors_total": {"job": ["api", "web"], "instance": ["a:1", "b:1", "c:1"], "code": ["200", "500"]},
    "temperature": {"job": ["api", "web"], "instance": ["a:1", "b:1", "c:1"]},
    "info": {"job": ["api", "web"], "instance": ["a:1", "b:1", "c:1"], "version": ["v1", "v2"]},
    "special": {"kind": ["nan", "inf", "ninf", "huge", "tiny", "zero", "mixed", "nearly", "big"]},
    "flapping": {"instance": ["a:1", "b:1", "c:1"]},
    "irregular": {"instance": ["a:1", "b:1", "c:1"]},
    "brief": {"place": ["start", "middle", "end"]},
    "city": {"name": ["Zürich", "東京", 'a"b', "back\\slash", "new\nline", "São Paulo"], "region": ["eu", "asia"]},
    "moment": {"of": ["epoch", "leap", "century", "before", "now", "december", "nan", "inf", "far", "half"]},
    "steady": {"job": ["api", "web"], "instance": ["a:1", "b:1", "c:1"]},
    "level": {"job": ["api", "web"], "instance": ["a:1", "b:1", "c:1"]},
    "latency_bucket": {"job": ["api", "web", "broken", "falling", "single", "odd"],
                       "le": ["0.1", "0.5", "1", "2.5", "+Inf"]},
    "latency_count": {"job": ["api", "web"]},
    "alone": {},
}
MOMENTS = {"epoch": 0.0, "leap": 951827696.0, "century": 4107542400.0, "before": -86401.0, "now": 1456790399.9,
           "december": 1230767999.0, "nan": math.nan, "inf": math.inf, "far": 1e15, "half": -0.5}


def bits_of(value):
    if value is STALE:
        return STALE_BITS
    if math.isnan(value):
        return NAN_BITS
    return struct.unpack("<Q", struct.pack("<d", value))[0]


def times(random, every_ms=15000, jitter_ms=0, lost=0.0):
    """Times of scrapes; lost: the share of those that failed."""
    offset = random.randrange(every_ms)
    return [START_MS + at + (random.randint(-jitter_ms, jitter_ms) if jitter_ms else 0)
            for at in range(offset + jitter_ms, LENGTH_MS - jitter_ms, every_ms) if random.random() >= lost]


def counter(random, at, reset):
    value, out = 0.0, []
    for time_ms in at:
        value = 0.0 if random.random() < reset else value + random.choice((0, 1, 3, 17, random.random() * 10))
        out.append((time_ms, value))
    return out


def walk(random, at):
    value, out = random.uniform(-20, 20), []
    for time_ms in at:
        value += random.gauss(0, 1)
        out.append((time_ms, value))
    return out


def without_gaps(samples, gaps):
    """gaps: [(first, last)] in minutes from the start."""
    return [(time_ms, value) for time_ms, value in samples
            if not any(first * 60000 <= time_ms - START_MS < last * 60000 for first, last in gaps)]


def per_instance(random):
    for job in ("api", "web"):
        for instance in ("a:1", "b:1", "c:1"):
            labels = {"job": job, "instance": instance}
            for code in ("200", "500"):
                for name, reset in (("requests_total", 0.01), ("errors_total", 0.0)):
                    if (name, job, instance, code) != ("errors_total", "web", "c:1", "500"):
                        yield {"__name__": name, **labels, "code": code}, counter(random, times(random), reset)
            gaps = [(20 + ord(instance[0]) % 7, 33), (80, 100 if job == "web" else 84)]
            yield {"__name__": "temperature", **labels}, without_gaps(walk(random, times(random, 30000)), gaps)
            version = "v1" if instance < "b" else "v2"
            yield {"__name__": "info", **labels, "version": version}, [(at, 1.0) for at in times(random, 60000)]
            yield {"__name__": "steady", **labels}, [(at, 5.0) for at in times(random, 60000)]
            yield {"__name__": "level", **labels}, [(at, float(random.randint(-2, 3))) for at in times(random, 60000)]


def specials(random):
    pools = {"nan": [math.nan], "inf": [math.inf], "ninf": [-math.inf], "huge": [1e308, 1.7e308, -1.6e308],
             "tiny": [5e-324, 1e-310, -3e-320], "zero": [0.0, -0.0],
             "mixed": [math.nan, math.inf, -math.inf, 1.0, -1.5, 0.0, 1e300],
             "nearly": [1.0, 1.0000000000000002, 0.9999999999999999], "big": [2.0 ** 53, 2.0 ** 53 + 2, -(2.0 ** 62)]}
    for kind, pool in pools.items():
        yield {"__name__": "special", "kind": kind}, [(at, random.choice(pool)) for at in times(random, 60000)]


def broken_off(random):
    for instance in ("a:1", "b:1", "c:1"):
        out = []
        for at in times(random, 20000):
            out.append((at, STALE if random.random() < 0.1 else random.choice((1.0, 2.0, math.nan, 3.5))))
        yield {"__name__": "flapping", "instance": instance}, out
        at = times(random, {"a:1": 7000, "b:1": 45000, "c:1": 290000}[instance], 3000, 0.2)
        yield {"__name__": "irregular", "instance": instance}, counter(random, at, 0.05)
    for place, first, last in (("start", 0, 20), ("middle", 70, 75), ("end", 140, 160)):
        samples = counter(random, times(random, 10000), 0)
        yield ({"__name__": "brief", "place": place},
               without_gaps(samples, [(0, first), (last, 1000)]))


def texts(random):
    for i, name in enumerate(FAMILIES["city"]["name"]):
        labels = {"__name__": "city", "name": name, "region": "asia" if name == "東京" else "eu"}
        yield labels, [(at, float(i)) for at in times(random, 60000)]
    for of, value in MOMENTS.items():
        yield {"__name__": "moment", "of": of}, [(at, value) for at in times(random, 60000)]
    yield {"__name__": "alone"}, walk(random, times(random))


def histograms(random):
    """Whole ones; without +Inf; where a larger bucket holds less; of one bucket; with bounds that are none."""
    bounds = ["0.1", "0.5", "1", "2.5", "+Inf"]
    shapes = {"api": bounds, "web": bounds, "broken": bounds[:-1], "falling": bounds, "single": ["+Inf"],
              "odd": ["0.5", "0.50", "much", "-1", "+Inf"]}
    for job, les in shapes.items():
        at = times(random, 30000)
        counts = [[0.0] * len(at) for _ in les]
        for i in range(1, len(at)):
            grow = [random.randint(0, 4) for _ in les]
            for row, _ in enumerate(les):
                counts[row][i] = counts[row][i - 1] + sum(grow[:row + 1])
        if job == "falling":
            counts[1], counts[3] = counts[3], counts[1]
        for le, row in zip(les, counts):
            yield {"__name__": "latency_bucket", "job": job, "le": le}, list(zip(at, row))
        if job in ("api", "web"):
            yield {"__name__": "latency_count", "job": job}, list(zip(at, counts[-1]))


def make(random):
    """[({label: value}, [(ms, bits of the value)])]"""
    series = []
    for maker in (per_instance, specials, broken_off, texts, histograms):
        for labels, samples in maker(random):
            series.append((labels, [(time_ms, bits_of(value)) for time_ms, value in samples]))
    return series
