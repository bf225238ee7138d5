"""Expressions of PromQL by its grammar, as trees whose parts can be taken away (shrink). All choices come of one Random."""
from promql_data import END_MS, FAMILIES, START_MS

# Of Prometheus 2.42. v: instant vector, s: scalar, m: range vector; in brackets what may be left out. What takes texts
# has a maker of its own.
FUNCTIONS = {
    "abs": "v", "absent": "v", "absent_over_time": "m", "acos": "v", "acosh": "v", "asin": "v", "asinh": "v", "atan": "v",
    "atanh": "v", "avg_over_time": "m", "ceil": "v", "changes": "m", "clamp": "vss", "clamp_max": "vs", "clamp_min": "vs",
    "cos": "v", "cosh": "v", "count_over_time": "m", "day_of_month": "[v]", "day_of_week": "[v]", "day_of_year": "[v]",
    "days_in_month": "[v]", "deg": "v", "delta": "m", "deriv": "m", "exp": "v", "floor": "v", "histogram_count": "v",
    "histogram_fraction": "ssv", "histogram_quantile": "qv", "histogram_sum": "v", "holt_winters": "mqq", "hour": "[v]",
    "idelta": "m", "increase": "m", "irate": "m", "label_join": None, "label_replace": None, "last_over_time": "m",
    "ln": "v", "log10": "v", "log2": "v", "max_over_time": "m", "min_over_time": "m", "minute": "[v]", "month": "[v]",
    "pi": "", "predict_linear": "ms", "present_over_time": "m", "quantile_over_time": "qm", "rad": "v", "rate": "m",
    "resets": "m", "round": "v[s]", "scalar": "v", "sgn": "v", "sin": "v", "sinh": "v", "sort": "v", "sort_desc": "v",
    "sqrt": "v", "stddev_over_time": "m", "stdvar_over_time": "m", "sum_over_time": "m", "tan": "v", "tanh": "v",
    "time": "", "timestamp": "v", "vector": "s", "year": "[v]",
}
SCALAR_FUNCTIONS = ("pi", "scalar", "time")
VECTOR_FUNCTIONS = tuple(name for name in FUNCTIONS if name not in SCALAR_FUNCTIONS)
OFTEN = ("histogram_quantile", "label_replace", "label_join", "holt_winters", "predict_linear", "quantile_over_time",
         "rate", "clamp", "irate", "increase", "round")  # have more ways to differ than others
AGGREGATIONS = ("sum", "avg", "count", "min", "max", "group", "stddev", "stdvar", "topk", "bottomk", "count_values",
                "quantile")
ARITHMETIC = ("+", "-", "*", "/", "%", "^", "atan2")
COMPARISONS = ("==", "!=", ">", "<", ">=", "<=")
SETS = ("and", "or", "unless")
NUMBERS = ("0", "1", "2", "3", "0.5", "10", "100", "-1", "1.5", "-0.5", "1e3", "1e-3", "0x1F", "NaN", "Inf", "-Inf", "1e300",
           "5e-324", "-0", "1234567890", "0.1", ".5", "1e15")
QUANTILES = ("0", "0.1", "0.3", "0.6", "0.8", "0.5", "0.9", "0.99", "1", "-1", "2", "NaN", "0.25", "0.333")
RANGES = ("5m", "5m", "1m", "10m", "30s", "7m30s", "1h", "2m", "15s", "1ms", "1h30m", "3h", "1d")
STEPS = ("", "", "1m", "30s", "15s", "7s", "5m", "1m1ms", "1h")
SUBQUERY_RANGES = ("5m", "10m", "30m", "1h", "1m", "10s", "2m30s")
OFFSETS = ("1m", "5m", "10s", "1h", "-1m", "-10m", "1h30m", "1ms", "-7s", "2w")
LABELS = ("job", "instance", "code", "version", "kind", "le", "name", "region", "place", "of", "missing", "__name__")
DEPTH = 4


class Node:
    """A piece of an expression: its type (of an "option" what may be left out) and its parts, which are texts and nodes."""

    def __init__(self, kind, *parts):
        self.kind, self.parts = kind, parts

    def __str__(self):
        return "".join(str(part) for part in self.parts)

    def children(self):
        return [part for part in self.parts if isinstance(part, Node)]

    def below(self):
        for child in self.children():
            yield child
            yield from child.below()

    def smaller(self):
        """Trees with one node less or simpler, the largest steps first."""
        yield from (node for node in self.below() if node.kind == self.kind)
        for i, part in enumerate(self.parts):
            if not isinstance(part, Node):
                continue
            for simpler in part.smaller():
                yield Node(self.kind, *self.parts[:i], simpler, *self.parts[i + 1:])
            if part.kind == "option":
                yield Node(self.kind, *self.parts[:i], *self.parts[i + 1:])


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


class Generator:
    def __init__(self, random):
        self.random = random

    def chance(self, share):
        return self.random.random() < share

    def pick(self, items):
        return items[self.random.randrange(len(items))]

    # ---- Selectors ----

    def value(self, family, name):
        values = FAMILIES[family].get(name, ())
        return self.pick(values) if values and not self.chance(0.05) else self.pick(("", "absent"))

    def pattern(self, family, name):
        safe = [value for value in (self.value(family, name), self.value(family, name)) if value.isalnum()] or ["a:1"]
        return self.pick(("|".join(safe), ".*", ".*", ".+", ".+", safe[0][0] + ".*", "", ".*" + safe[-1][-1], "[a-m].*",
                          "(a|b):1", ".", "(?i:" + safe[0].upper() + ")", "v\\d", "^" + safe[0] + "$", "|" + safe[0]))

    def matcher(self, family):
        own = list(FAMILIES[family]) or ["job"]
        name = self.pick(own) if self.chance(0.9) else self.pick(LABELS[:-1])
        operator = self.pick(("=", "=", "!=", "=~", "=~", "!~"))
        value = self.pattern(family, name) if "~" in operator else self.value(family, name)
        return f"{name}{operator}{quoted(value)}"

    def at(self):
        return " @ " + self.pick(("start()", "end()", str((START_MS + END_MS) // 2000), f"{START_MS / 1000 + 1234.567:.3f}",
                                  "0", "-10", str(END_MS // 1000 - 60), str(END_MS // 1000 + 1000)))

    def modifiers(self):
        parts = []
        if self.chance(0.12):
            parts.append(" offset " + self.pick(OFFSETS))
        if self.chance(0.1):
            parts.append(self.at())
        if self.chance(0.5):
            parts.reverse()
        return Node("option", *parts)

    def selector(self, family=None, brackets=""):
        family = family or self.pick(tuple(FAMILIES))
        matchers = [self.matcher(family) for _ in range(self.pick((0, 0, 0, 0, 1, 1, 2, 3)))]
        name = family
        if self.chance(0.08):
            name = ""
            names = self.pick((family, f"{family}|{self.pick(tuple(FAMILIES))}", ".*_total", f"{family[:3]}.+"))
            matchers.insert(0, f'__name__{self.pick(("=~", "=~", "="))}{quoted(names)}')
        inner = []
        for i, matcher in enumerate(matchers):
            inner += [Node("option", matcher, "," if i + 1 < len(matchers) or self.chance(0.03) else "")]
        braces = ["{", *inner, "}"] if matchers or not name else []
        return Node("matrix" if brackets else "vector", name, *braces, brackets, self.modifiers())

    def leaf(self, depth):
        del depth
        return self.selector()

    # ---- Types ----

    def scalar(self, depth):
        roll = self.random.random()
        if depth <= 0 or roll < 0.5:
            return Node("scalar", self.pick(NUMBERS))
        if roll < 0.75:
            return self.call(self.pick(SCALAR_FUNCTIONS), depth)
        if roll < 0.9:
            operator = self.pick(ARITHMETIC + COMPARISONS)
            mode = " bool " if operator in COMPARISONS else " "
            return Node("scalar", self.scalar(depth - 1), f" {operator}{mode}", self.scalar(depth - 1))
        return Node("scalar", self.pick(("(", "-(", "+(")), self.scalar(depth - 1), ")")

    def matrix(self, depth):
        if depth <= 0 or self.chance(0.75):
            return self.selector(brackets=f"[{self.pick(RANGES)}]")
        inner = self.vector(min(depth - 1, 2))
        if inner.parts[0] == "" or self.chance(0.5) or not inner.parts[-1] == ")":
            inner = Node("vector", "(", inner, ")")
        return Node("matrix", inner, f"[{self.pick(SUBQUERY_RANGES)}:{self.pick(STEPS)}]", self.modifiers())

    def vector(self, depth):
        if depth <= 0:
            return self.selector()
        return self.pick((self.leaf, self.any_call, self.any_call, self.any_call, self.aggregation, self.aggregation,
                          self.binary, self.binary, self.related, self.sign))(depth)

    def sign(self, depth):
        before, after = self.pick((("-", ""), ("-", ""), ("+", ""), ("(", ")"), ("-(", ")")))
        return Node("vector", before, self.vector(depth - 1), after)

    # ---- Calls ----

    def any_call(self, depth):
        return self.call(self.pick(VECTOR_FUNCTIONS if self.chance(0.85) else OFTEN), depth)

    def argument(self, letter, depth):
        if letter == "q" and self.chance(0.9):
            return Node("scalar", self.pick(QUANTILES))
        return {"v": self.vector, "s": self.scalar, "q": self.scalar, "m": self.matrix}[letter](depth - 1)

    def call(self, name, depth):
        kind = "scalar" if name in SCALAR_FUNCTIONS else "vector"
        if FUNCTIONS[name] is None:
            return getattr(self, name)(depth)
        letters = FUNCTIONS[name]
        if "[" in letters:
            letters = letters[:letters.index("[")] + (letters[letters.index("[") + 1] if self.chance(0.75) else "")
        if name.startswith("histogram_") and self.chance(0.7):
            return self.histogram(name)
        parts = [f"{name}("]
        for i, letter in enumerate(letters):
            parts += [", "] if i else []
            if self.is_date(name) and self.chance(0.5):
                parts.append(self.selector("moment"))
            else:
                parts.append(self.argument(letter, depth))
        return Node(kind, *parts, ")")

    @staticmethod
    def is_date(name):
        return FUNCTIONS[name] == "[v]"

    def histogram(self, name):
        inner = self.selector("latency_bucket")
        if self.chance(0.6):
            inner = Node("vector", "rate(", self.selector("latency_bucket", "[5m]"), ")")
        if self.chance(0.5):
            by = self.pick(("le", "le, job", "job, le", "job"))
            inner = Node("vector", f"sum by ({by}) (", inner, ")")
        first = {"histogram_quantile": f"{self.pick(QUANTILES)}, ", "histogram_fraction": "0, 1, "}.get(name, "")
        return Node("vector", f"{name}({first}", inner, ")")

    def label_replace(self, depth):
        target = self.pick(("new", "job", "instance", "__name__", "missing", "1bad"))
        replacement = self.pick(("$1", "x-$1-y", "", "${1}z", "$first", "const", "$0", "$2", "a$$b", "$1_"))
        pattern = self.pick(("(.*)", "(.+)", "(a|b).*", "", "(?P<first>[a-z]).*", ".*:(\\d+)", "(", "x"))
        return Node("vector", "label_replace(", self.vector(depth - 1), f", {quoted(target)}, {quoted(replacement)}, "
                    f"{quoted(self.pick(LABELS))}, {quoted(pattern)})")

    def label_join(self, depth):
        target = self.pick(("new", "job", "instance", "__name__", "missing", "bad-name"))
        names = "".join(f", {quoted(self.pick(LABELS + ('a b',)))}" for _ in range(self.random.randrange(4)))
        return Node("vector", "label_join(", self.vector(depth - 1), f", {quoted(target)}, "
                    f"{quoted(self.pick(('-', '', ', ', 'é')))}{names})")

    # ---- Aggregations ----

    def names(self, labels=LABELS):
        return ", ".join(self.random.sample(labels, self.pick((0, 1, 1, 2, 2, 3))))

    def aggregation(self, depth):
        name = self.pick(AGGREGATIONS)
        param = ""
        if name in ("topk", "bottomk"):
            param = Node("scalar", self.pick(("1", "2", "3", "5", "0", "-1", "1.9", "100"))) if self.chance(0.9) else \
                self.scalar(depth - 1)
        elif name == "quantile":
            param = self.argument("q", depth)
        elif name == "count_values":
            param = quoted(self.pick(("value", "job", "instance", "v", "bad-name", "")))
        clause = Node("option", f" {self.pick(('by', 'without'))} ({self.names()}) ") if self.chance(0.75) else ""
        inner = [param, ", "] if param else []
        if self.chance(0.5):
            return Node("vector", name, clause, "(", *inner, self.vector(depth - 1), ")")
        return Node("vector", name, "(", *inner, self.vector(depth - 1), ")", clause)

    # ---- Operators ----

    def operator(self, sets=True):
        operator = self.pick(self.pick((ARITHMETIC, ARITHMETIC, COMPARISONS) + ((SETS,) if sets else ())))
        return operator, " bool" if operator in COMPARISONS and self.chance(0.4) else ""

    def binary(self, depth):
        """With a scalar, or of any two vectors with any matching."""
        if self.chance(0.45):
            operator, mode = self.operator(sets=False)
            sides = [self.vector(depth - 1), f" {operator}{mode} ", self.scalar(depth - 1)]
            return Node("vector", *(sides if self.chance(0.6) else reversed(sides)))
        operator, mode = self.operator()
        matching = ""
        if self.chance(0.7):
            matching = f" {self.pick(('on', 'ignoring'))} ({self.names()})"
            if operator not in SETS and self.chance(0.4):
                include = f" ({self.names()})" if self.chance(0.6) else ""
                matching += f" {self.pick(('group_left', 'group_right'))}{include}"
        return Node("vector", self.vector(depth - 1), f" {operator}{mode}", Node("option", matching), " ",
                    self.vector(depth - 1))

    def related(self, depth):
        """Two vectors that do match, if nothing is selected away."""
        operator, mode = self.operator(sets=False)
        left, matching, right = self.pick((
            ("requests_total", "", "errors_total"), ("steady", "", "level"), ("level", " on (job, instance)", "temperature"),
            ("requests_total", " on (job, instance) group_left (version)", "info"),
            ("info", " on (instance, job) group_right (version)", "errors_total"),
            ("requests_total", " ignoring (code) group_left ()", "level"),
            ("requests_total", " ignoring (code, version) group_left", "info"),
            ("level", " ignoring (version)", "info"), ("special", "", "special"), ("flapping", " on (instance)", "irregular"),
            ("latency_bucket", " ignoring (le) group_left", "latency_count"), ("level", " and", "temperature")))
        if matching == " and":
            operator, mode, matching = self.pick(SETS), "", self.pick(("", " on (job)", " ignoring (instance)", " on ()"))
        sides = [self.selector(left), self.selector(right)]
        if self.chance(0.4):
            sides = [self.wrap(side, depth) for side in sides]
        return Node("vector", sides[0], f" {operator}{mode}{matching} ", sides[1])

    def wrap(self, side, depth):
        name = self.pick(("abs", "sort", "ceil", "timestamp", "sgn", "round"))
        return Node("vector", f"{name}(", side, ")") if depth > 1 else side

    # ---- The whole ----

    def expression(self):
        roll = self.random.random()
        if roll < 0.9:
            return self.vector(self.random.randint(1, DEPTH))
        if roll < 0.96:
            return self.scalar(DEPTH)
        if roll < 0.99:
            return self.matrix(2)
        return Node("string", quoted(self.pick(("", "text", "Zürich \"x\"\n"))))


def shrink(node, still_bad, tries=200):
    """The smallest tree that still_bad() says is bad, by taking away and simplifying; node is."""
    found = True
    while found and tries > 0:
        found = False
        for candidate in node.smaller():
            tries -= 1
            if len(str(candidate)) < len(str(node)) and still_bad(candidate):
                node, found = candidate, True
                break
            if tries == 0:
                break
    return node
