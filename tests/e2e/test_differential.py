"""Answers to generated expressions, compared with those of Prometheus 2.42 over the same blocks.

TRIBUTARY_DIFFERENTIAL says how many expressions, TRIBUTARY_DIFFERENTIAL_SEED which. Of what
differs the smallest expression that does so is shown; what Prometheus does not define is listed below."""
import collections
import http.client
import json
import math
import os
import random
import re
import shutil
import signal
import urllib.parse

import pytest

import promql_data
from harness import Federation
from prometheus import needs_prometheus, prometheus, remote_write, snapshot
from promql_generator import AGGREGATIONS, FUNCTIONS, Generator, Node, shrink

COUNT_USUAL = 5000  # some 15 s
COUNT = int(os.environ.get("TRIBUTARY_DIFFERENTIAL") or COUNT_USUAL)
SEED = int(os.environ.get("TRIBUTARY_DIFFERENTIAL_SEED") or 1)
TOLERANCE = 1e-9  # relative, of what is summed or comes of elementary functions
TINY = 1e-6  # from here on down it is absolute
REPORTED_MAX = 40
EXCUSED_MAX = 0.01  # of all
FULL_MIN = 0.3  # of all: answers with series

pytestmark = needs_prometheus


@pytest.fixture(autouse=True)
def patient(bounded):
    """A run that was asked to be long may be."""
    if COUNT > COUNT_USUAL:
        signal.alarm(0)


class Client:
    """One connection that stays."""

    def __init__(self, address):
        self.address = address
        self.connection = http.client.HTTPConnection(address, timeout=60)
        self.full = 0  # answers with series

    def ask(self, path, **parameters):
        """(status, the answer) of a POST."""
        body = urllib.parse.urlencode(parameters)
        self.connection.request("POST", f"/api/v1/{path}", body, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = self.connection.getresponse()
        text = answer.read()
        try:
            value = json.loads(text)
        except ValueError:
            return answer.status, {"status": "error", "error": f"not JSON: {text[:200]!r}"}
        self.full += path != "format_query" and answer.status == 200 and bool(value["data"]["result"])
        return answer.status, value


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """(Prometheus, a global) over the same blocks."""
    path = tmp_path_factory.mktemp("differential")
    federation = Federation("differential")
    try:
        with prometheus(path / "data", path, "--web.enable-remote-write-receiver") as address:
            remote_write(address, promql_data.make(random.Random(SEED)))
            blocks = snapshot(address, path / "data")
            top = federation.add_global(retention=[{"class": "all", "samples": "36600d"}])
            shutil.copytree(blocks, os.path.join(top.data_dir, "blocks"))
            top.start()
            yield Client(address), Client(top.url.removeprefix("http://"))
    finally:
        federation.close()


# ---- Values ---------------------------------------------------------------------------------------------------------

def same(a, b):
    """Of two texts: the same bits are the same text."""
    return a == b


def near(a, b):
    a, b = float(a), float(b)
    return a == b or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= TOLERANCE * max(abs(a), abs(b), TINY)


# ---- What is not defined --------------------------------------------------------------------------------------------

# Elementary functions: Go has its own, which differ from C's in the last bits, near zeros of log2 and log10 in more.
ELEMENTARY = re.compile(r"\b(a?(cos|sin|tan)h?|atan2|exp|ln|log2|log10|deg|rad)\b|\^")
# What makes last bits visible.
VISIBLE = re.compile(r"count_values|quantile|topk|bottomk|[=<>!]=|[<>%]|floor|ceil|round|sgn|changes|resets")
# Of `special`: Go's logarithms of denormal numbers are wrong, its large powers of what is nearly 1 are off by 1e-9.
HARD = re.compile(r"\b(ln|log2|log10)\b.*\bspe|\bspe.*\^")
BOTH_MODIFIERS = re.compile(r"timestamp\(.*( offset .* @ | @ .* offset )")  # in timestamp() Prometheus 2.42 finds nothing
SUBQUERY = re.compile(r"\[(\w+):(\w*)\]")
UNITS_MS = {"ms": 1, "s": 1000, "m": 60000, "h": 3600000}
SUMS = re.compile(r"\b(sum|avg|stddev|stdvar)\b")
# What depends on the order of series: sums in their last bits, and which of equals (0 and -0 too) is the largest.
BY_ORDER = re.compile(r"\b(sum|avg|stddev|stdvar|topk|bottomk|max|min)\b")
UNORDERED = re.compile(r"\b(histogram_quantile|sort|sort_desc)\b")  # gives series, or equal ones, in any order
# Over a range Prometheus takes a parameter once, where all else is fixed: topk(scalar(y), x @ T).
FIXED_PARAMETER = re.compile(r"\b(topk|bottomk|quantile)\b.* @ ")
# Over a range only, in Prometheus 2.42; at each of its steps as an instant it answers otherwise, and as we do.
RANGE_ONLY = (
    ("series come in an order by chance", BY_ORDER),
    ("x @ T moves with the steps, in functions whose answer changes with them",
     re.compile(r"\b(predict_linear|holt_winters|quantile_over_time|timestamp)\b.* @ ")),
    ("count_values by three labels loses labels, as a list is sorted that is still in use", re.compile("count_values")),
)


def duration_ms(text):
    return sum(int(count) * UNITS_MS[unit] for count, unit in re.findall(r"(\d+)(ms|s|m|h)", text))


def may_miss_all_steps(text):
    """A subquery like [10s:30s]. In Prometheus what is fixed has a value at its first step, though that is past its end."""
    return any(duration_ms(length) < duration_ms(step or "1m") for length, step in SUBQUERY.findall(text))


def agrees_at_each_step(stores, text, parameters):
    start, end, step = (round(float(parameters[name]) * 1000) for name in ("start", "end", "step"))
    text = text.replace("start()", f"{start / 1000:.3f}").replace("end()", f"{end / 1000:.3f}")
    return not any(compare(stores, text, "query", {"time": f"{time_ms / 1000:.3f}"})
                   for time_ms in range(start, end + 1, step))


def has_two_errors(stores, expression, route, parameters):
    """A part of it alone fails with one of the two messages, in both: parts are not evaluated in Prometheus' order."""
    def messages(part):
        return [message(store.ask(route, query=str(part), **parameters)[1]) for store in stores]

    said = set(messages(expression)) - {""}
    return any(len({*both}) == 1 and both[0] in said for both in map(messages, expression.below()))


def undefined(stores, expression, what, route, parameters):
    """Why a difference is none; None if it is one."""
    text = str(expression)
    if what.startswith("error ") and (route == "query_range" or has_two_errors(stores, expression, route, parameters)):
        return "which of two errors is said; over a range Prometheus goes from step to step"
    if route == "query_range" and FIXED_PARAMETER.search(text) and agrees_at_each_step(stores, text, parameters):
        return "a parameter that changes, of what does not"
    if may_miss_all_steps(text):
        return "a fixed value past the end of a subquery"
    if what.startswith(("error ", "status ", "type ")):
        return None
    if len(ELEMENTARY.findall(text)) > 1 or (ELEMENTARY.search(text) and VISIBLE.search(text)):
        return "last bits of elementary functions"
    if HARD.search(text):
        return "logarithms of denormal numbers, powers of what is nearly 1"
    if BOTH_MODIFIERS.search(text):
        return "timestamp(x offset D @ T)"
    if UNORDERED.search(text) and BY_ORDER.search(text):
        return "the order of equals"
    for reason, pattern in RANGE_ONLY if route == "query_range" else ():
        if pattern.search(text) and (SUBQUERY.search(text) or agrees_at_each_step(stores, text, parameters)):
            return reason
    return None


# ---- Comparing ------------------------------------------------------------------------------------------------------

def message(answer):
    """Of an error, what is defined of it: not which series were met first, nor whether the parameter is named, nor how a
    library says what is wrong with a regular expression, nor Prometheus' numbers of tokens without a name."""
    text = answer.get("error", "").removeprefix('invalid parameter "query": ')
    text = re.sub(r'"<Item \d+>" ', "", text)
    return re.sub(r"(found duplicate series for the match group|error parsing regexp).*", r"\1", text, flags=re.DOTALL)


def points(series):
    """{time: text of the value}"""
    return dict(series.get("values") or [series["value"]])


def difference(expected, got, equal):
    """What differs between two answers; None where nothing does. equal(a, b) compares values."""
    (expected_status, expected), (got_status, got) = expected, got
    if (expected_status, expected.get("errorType")) != (got_status, got.get("errorType")):
        return f"status {expected_status} {expected.get('error')!r}, got {got_status} {got.get('error')!r}"
    if message(expected) != message(got):
        return f"error {expected.get('error')!r}, got {got.get('error')!r}"
    if expected_status != 200:
        return None
    expected, got = expected["data"], got["data"]
    if expected["resultType"] != got["resultType"]:
        return f"type {expected['resultType']}, got {got['resultType']}"
    if expected["resultType"] == "string":
        return None if expected == got else f"{expected}, got {got}"
    if expected["resultType"] == "scalar":  # which Prometheus writes without exponents
        same_time = expected["result"][0] == got["result"][0]
        return None if same_time and near(expected["result"][1], got["result"][1]) else f"{expected}, got {got}"
    left = {json.dumps(series["metric"], sort_keys=True): points(series) for series in expected["result"]}
    right = {json.dumps(series["metric"], sort_keys=True): points(series) for series in got["result"]}
    if len(right) != len(got["result"]):
        return "a series twice"
    if left.keys() != right.keys():
        return (f"series: only expected {sorted(left.keys() - right.keys())[:3]}, "
                f"only got {sorted(right.keys() - left.keys())[:3]}")
    for key, samples in left.items():
        if samples.keys() != right[key].keys():
            return (f"steps of {key}: only expected {sorted(samples.keys() - right[key].keys())[:3]}, "
                    f"only got {sorted(right[key].keys() - samples.keys())[:3]}")
        for time, value in samples.items():
            if not equal(value, right[key][time]):
                return f"{key} at {time}: {value}, got {right[key][time]}"
    return None


STARTS_ORDERED = re.compile("sort|topk|bottomk")


def order(answer, text, route):
    """What is defined of the order of series: over a range they are sorted by labels; at an instant these functions sort by
    values, and which of equal ones comes first is open."""
    data = answer[1]["data"]
    if route == "query_range":
        return [json.dumps(series["metric"]) for series in data["result"]]
    if STARTS_ORDERED.match(text) and data["resultType"] == "vector":
        return [series["value"][1] for series in data["result"]]
    return []


# ---- Questions ------------------------------------------------------------------------------------------------------

def moment_ms(generator):
    first, last = promql_data.START_MS, promql_data.END_MS
    near_border = generator.choice((first, last)) + generator.choice((-600000, -1000, -1, 0, 1, 1000, 299999, 300000, 400000))
    inside = generator.randint(first, last)
    return generator.choice((inside, inside, inside // 1000 * 1000, inside // 60000 * 60000, near_border,
                             generator.choice((0, 1000, last + 86400000))))


def question(generator):
    """(route, its parameters but for the expression)"""
    time_ms = moment_ms(generator)
    if generator.random() < 0.5:
        return "query", {"time": f"{time_ms / 1000:.3f}"}
    step_ms = generator.choice((15000, 60000, 60000, 7777, 300000, 1000, 1800000))
    steps = generator.randint(0, generator.choice((1, 20, 40, 70, 200)))
    end_ms = time_ms + step_ms * steps + generator.choice((0, 0, step_ms // 2))
    return "query_range", {"start": f"{time_ms / 1000:.3f}", "end": f"{end_ms / 1000:.3f}", "step": f"{step_ms / 1000:.3f}"}


def compare(stores, text, route, parameters):
    answers = [store.ask(route, query=text, **parameters) for store in stores]
    what = difference(*answers, near if SUMS.search(text) or ELEMENTARY.search(text) else same)
    if what or answers[0][0] != 200:
        return what
    left, right = (order(answer, text, route) for answer in answers)
    equal = near if route == "query" else same
    return None if all(map(equal, left, right)) else f"order {left[:5]}, got {right[:5]}"


class Verdicts:
    """What came of all comparisons."""

    def __init__(self):
        self.count, self.bad, self.excused = 0, [], collections.Counter()

    def add(self, expression, compared, excuse, asked=""):
        """compared(text) says what differs, excuse(expression, that) why it may; wrong ones are made small. asked: how."""
        def wrong(smaller):
            what = compared(str(smaller))
            return what is not None and excuse(smaller, what) is None

        self.count += 1
        what = compared(str(expression))
        if what is None:
            return
        reason = excuse(expression, what)
        if reason:
            self.excused[reason] += 1
            return
        small = shrink(expression, wrong) if isinstance(expression, Node) else expression
        self.bad.append(f"{small}\n    {asked}\n    {compared(str(small))}")

    def check(self):
        assert not self.bad, f"{len(self.bad)} of {self.count}, seed {SEED}:\n" + "\n".join(self.bad[:REPORTED_MAX])
        assert sum(self.excused.values()) <= EXCUSED_MAX * self.count, self.excused


def test_generated_expressions(stores):
    generator = random.Random(SEED)
    expressions = Generator(generator)
    verdicts = Verdicts()
    asked = set()
    for _ in range(COUNT):
        expression = expressions.expression()
        asked.update(re.findall(r"[a-z_0-9]+", str(expression)))
        route, parameters = question(generator)
        verdicts.add(expression, lambda text: compare(stores, text, route, parameters),
                     lambda part, what: undefined(stores, part, what, route, parameters), f"{route} {parameters}")
    verdicts.check()
    assert stores[0].full >= FULL_MIN * COUNT
    assert asked >= {*FUNCTIONS, *AGGREGATIONS} or COUNT < COUNT_USUAL, {*FUNCTIONS, *AGGREGATIONS} - asked


# ---- Texts ----------------------------------------------------------------------------------------------------------

def difference_of_texts(stores, text):
    """Of format_query: the same errors, the same text but for the breaks that Prometheus puts into long lines."""
    (expected_status, expected), (got_status, got) = [store.ask("format_query", query=text) for store in stores]
    if expected_status != got_status or message(expected) != message(got):
        return f"{expected_status} {expected}, got {got_status} {got}"
    if expected_status == 200 and re.sub(r"\s", "", expected["data"]) != re.sub(r"\s", "", got["data"]):
        return f"{expected['data']}, got {got['data']}"
    if expected_status == 200 and "\n" not in expected["data"] and expected["data"] != got["data"]:
        return f"{expected['data']}, got {got['data']}"
    return None


# Prometheus leaves these words out, and prints +Inf ^ x, which is read as +(Inf ^ x): ours is read as it was.
LOSES_MEANING = re.compile(r'ignoring \(\) group_|on \(\)|Inf \^|__name__=""')


# In brackets Prometheus takes any letter for the colon of a subquery, and it takes times of @ that are centuries of
# centuries away.
TAKES_MORE = re.compile(r"unexpected colon|timestamp out of bounds for @")


def undefined_text(expression, what):
    """As undefined, of what format_query answers."""
    del expression
    if LOSES_MEANING.search(what):
        return "what Prometheus prints means something else"
    return "Prometheus takes more" if TAKES_MORE.search(what) else None


def test_expressions_are_printed_alike(stores):
    generator = random.Random(SEED)
    expressions = Generator(generator)
    verdicts = Verdicts()
    for _ in range(COUNT):
        verdicts.add(expressions.expression(), lambda text: difference_of_texts(stores, text), undefined_text)
    verdicts.check()


PIECES = ("(", ")", "{", "}", "[", "]", ",", ":", "=", "!=", "=~", "+", "-", "^", "by", "on", "bool", "offset", "@", "5m", "1",
          "x", "'", '"', "`", "and", "group_left", "start()", "1e", "0x", "Inf", "#", "\\", "é", "[5m]", "sum", "rate",
          "without", "ignoring", "atan2", "NaN", "nan", "5m30", "-5m", "1w1d", " ", "\n", "==", "{}", "__name__", "abs", "1_0")
TOKEN = re.compile(r"\s+|\w+|.", re.DOTALL)


def mutated(generator, text):
    """The text with one to three tokens taken away, doubled, exchanged or put in."""
    tokens = TOKEN.findall(text)
    for _ in range(generator.randint(1, 3)):
        at, other = generator.randrange(len(tokens)), generator.randrange(len(tokens))
        generator.choice((lambda: tokens.pop(at) if len(tokens) > 1 else None,
                          lambda: tokens.insert(at, tokens[other]),
                          lambda: tokens.insert(at, generator.choice(PIECES)),
                          lambda: tokens.__setitem__(at, generator.choice(PIECES)),
                          lambda: tokens.__setitem__(at, tokens[other])))()
    return "".join(tokens)


def test_what_is_no_expression_is_refused_alike(stores):
    generator = random.Random(SEED)
    expressions = Generator(generator)
    verdicts = Verdicts()
    for _ in range(COUNT):
        text = mutated(generator, str(expressions.expression()))
        verdicts.add(text, lambda text: difference_of_texts(stores, text), undefined_text)
    verdicts.check()
