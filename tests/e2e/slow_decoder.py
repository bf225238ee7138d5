"""A second implementation of docs/batch-format.md, written from that page: prints what the batches in a file of frames
say. Slow, plain and unforgiving: what the page does not allow is an error.

    slow_decoder.py FILE.frames

Values are printed by their bits, as arithmetic of other languages prints doubles in other ways."""
import ctypes
import struct
import subprocess
import sys

import msgpack

from frames import BATCH, PACK, crc32c, frames

STALE = 0x7FF0000000000002
MASK = (1 << 64) - 1
GAUGE, COUNTER, LAST = 0, 1, 2
SLOT_COLUMN_MEMBERS = 20
SCALED_MAX = float(1 << 51)


def double(bits):
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


def bits_of(value):
    return struct.unpack("<Q", struct.pack("<d", value))[0]


def is_nan(bits):
    return bits & 0x7FF0000000000000 == 0x7FF0000000000000 and bits & 0x000FFFFFFFFFFFFF != 0


def signed(number):
    """64 bits as a number of either sign."""
    number &= MASK
    return number - (1 << 64) if number >> 63 else number


def need(condition, what):
    if not condition:
        raise ValueError(what)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        need(count <= len(self.data) - self.at, "cut short")
        self.at += count
        return self.data[self.at - count:self.at]

    def byte(self):
        return self.take(1)[0]

    def uvarint(self):
        number, shift = 0, 0
        while True:
            byte = self.byte()
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                need(number <= MASK, "a number of more than 64 bits")
                return number
            need(shift < 70, "a number of more than ten bytes")

    def svarint(self):
        number = self.uvarint()
        return number >> 1 ^ -(number & 1)

    def string(self):
        return self.take(self.uvarint()).decode("utf-8")

    def end(self):
        need(self.at == len(self.data), "more bytes than there should be")


# ---- Layouts ----

def kind_of(family_type, name):
    if family_type == 1:
        return COUNTER
    if family_type == 2:
        return GAUGE
    ends = {0: ("_total", "_bucket", "_sum", "_count"), 3: ("_bucket", "_sum", "_count"), 4: ("_sum", "_count")}
    return COUNTER if name.endswith(ends[family_type]) else GAUGE


class Family:
    """A family layout: its bytes, and what they say."""

    def __init__(self, blob):
        reader = Reader(blob)
        need(reader.byte() == ord("F"), "no family")
        number = reader.uvarint()
        self.blob, self.hash = blob, layout_hash(blob)
        self.type, last_only = number & ~8, number & 8
        need(self.type <= 4, "an unknown type")
        self.name, self.unit, self.help = reader.string(), reader.string(), reader.string()
        names = [reader.string() for _ in range(reader.uvarint())]
        need(names == sorted(set(names), key=lambda name: name.encode()), "label names that do not rise")
        self.head = blob[:reader.at]
        self.slots, self.slot_bytes = [], []
        for _ in range(reader.uvarint()):
            labels, start = {}, reader.at
            for _ in range(reader.uvarint()):
                name = names[reader.uvarint()]
                labels[name] = reader.string()
            self.slots.append(labels)
            self.slot_bytes.append(blob[start:reader.at])
        need(len(set(self.slot_bytes)) == len(self.slot_bytes), "a slot twice")
        self.kinds = [kind_of(self.type, slot.get("__name__", self.name)) for slot in self.slots]
        if last_only:
            self.kinds = [kind or LAST for kind in self.kinds]
        reader.end()

    def series(self, slot, target):
        labels = {"__name__": self.name, **target, **self.slots[slot]}
        return {name: value for name, value in labels.items() if value}


class Page:
    def __init__(self, families):
        hashes = [family.hash for family in families]
        need(len(set(hashes)) == len(hashes), "a family twice")
        self.families = families
        self.hash = layout_hash(b"P" + uvarint(len(hashes)) + b"".join(hashes))


class Targets:
    def __init__(self, targets):
        """targets: the bytes of each."""
        self.target_bytes = targets
        self.targets = []
        for target in targets:
            reader = Reader(target)
            self.targets.append(dict((reader.string(), reader.string()) for _ in range(reader.uvarint())))
            reader.end()
        self.hash = layout_hash(b"T" + uvarint(len(targets)) + b"".join(targets))


def uvarint(number):
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


# ---- Packs ----

COPY, BASE, NEW, EDIT = range(4)


def moved(cursor, jump, end):
    need(0 <= cursor + jump <= end, "a cursor outside")
    return cursor + jump


def edited_slots(reader, operations, base):
    cursor, slots = 0, []
    for _ in range(operations):
        number = reader.uvarint()
        count, operation = number >> 2, number & 3
        if operation == COPY:
            need(0 < count <= len(base.slot_bytes) - cursor, "a copy of nothing")
            slots += base.slot_bytes[cursor:cursor + count]
            cursor += count
        elif operation == BASE:
            cursor = moved(cursor, count >> 1 ^ -(count & 1), len(base.slot_bytes))
        elif operation == NEW:
            for _ in range(count):
                start = reader.at
                for _ in range(reader.uvarint()):
                    reader.uvarint()
                    reader.string()
                slots.append(reader.data[start:reader.at])
        else:
            raise ValueError("an unknown operation on slots")
    return slots


def whole_target(reader):
    start = reader.at
    for _ in range(2 * reader.uvarint()):
        reader.string()
    return reader.data[start:reader.at]


def made(kind, reader, bases):
    """What the operations of an item make: a Page or Targets."""
    things = [base.families if kind == ord("P") else base.target_bytes for base in bases]
    cursors, base, out = [0] * len(bases), 0, []
    while reader.at < len(reader.data):
        number = reader.uvarint()
        count, operation = number >> 2, number & 3
        if operation == BASE:
            need(count < len(bases), "a base that is not there")
            base = count
            cursors[base] = moved(cursors[base], reader.svarint(), len(things[base]))
        elif operation == NEW and kind == ord("P"):
            out.append(Family(reader.take(count)))
        elif operation == NEW:
            out += [whole_target(reader) for _ in range(count)]
        else:
            taken = count if operation == COPY else 1
            need(things and 0 < taken <= len(things[base]) - cursors[base], "a copy of nothing")
            found = things[base][cursors[base]:cursors[base] + taken]
            cursors[base] += taken
            if operation == EDIT:
                need(kind == ord("P"), "an unknown operation on targets")
                slots = edited_slots(reader, count, found[0])
                found = [Family(found[0].head + uvarint(len(slots)) + b"".join(slots))]
            out += found
    return Page(out) if kind == ord("P") else Targets(out)


def unzstd(data):
    return subprocess.run(["zstd", "-dc"], input=data, stdout=subprocess.PIPE, check=True).stdout


def read_pack(payload, layouts):
    """Puts the pack's layouts into layouts, by hash. Returns them."""
    need(payload and payload[0] <= 3, "an unknown flag")
    reader = Reader(unzstd(payload[1:]) if payload[0] & 1 else payload[1:])
    named = [reader.take(16) for _ in range(reader.uvarint())]
    items = []
    for _ in range(reader.uvarint()):
        kind = reader.byte()
        need(kind in b"PT", "an unknown item")
        bases = []
        for _ in range(reader.uvarint()):
            number = reader.uvarint()
            bases.append(items[number >> 1] if number & 1 else layouts[named[number >> 1]])
        need(len(bases) <= 4 and all(isinstance(base, Page if kind == ord("P") else Targets) for base in bases),
             "bases that cannot be")
        item = made(kind, Reader(reader.take(reader.uvarint())), bases)
        need(not payload[0] & 2 or reader.take(16) == item.hash, "another hash than said")
        items.append(item)
        layouts[item.hash] = item
    reader.end()
    return items


# ---- Columns ----

def int_column(header, payload, count):
    base, width = header.svarint(), header.byte()
    if width == 0xFF:
        return [base] * count
    zeros, patches = header.byte(), header.uvarint()
    need(width <= 64 and zeros <= 63 and patches <= count, "a column that cannot be")
    need(width != (64 if patches else 0), "a column in a form that is not used")
    packed = int.from_bytes(payload.take((count * width + 7) // 8), "little")
    residuals = [packed >> (i * width) & ((1 << width) - 1) for i in range(count)]
    at = 0
    for i in range(patches):
        step, high = payload.uvarint(), payload.uvarint()
        need(step > 0 or i == 0, "a place twice")
        at += step
        need(at < count and high << width <= MASK, "a patch outside")
        residuals[at] |= high << width
    return [signed(base + (residual << zeros)) for residual in residuals]


def in_units(value, scale):
    if scale <= 10:
        return value * 10.0 ** (scale - 1)
    if scale <= 13:
        return value / 10.0 ** (3 * (scale - 10))
    return value * (1e6 if scale == 14 else 1e3)


def expected(base, scale):
    """base: the bits of a double."""
    if is_nan(base):
        return 0
    if scale == 0:
        return base
    units = in_units(double(base), scale)
    return int(units) if -SCALED_MAX < units < SCALED_MAX else 0


def scaled(k, scale):
    if scale == 0:
        return k & MASK
    if scale <= 10:
        return bits_of(float(k) / 10.0 ** (scale - 1))
    if scale <= 13:
        return bits_of(float(k) * 10.0 ** (3 * (scale - 10)))
    return bits_of(float(k) / 1000 / 1000 if scale == 14 else float(k) * 0.001)


def double_column(header, payload, count, bases=None):
    """Bits of count doubles."""
    mode = header.byte()
    scale, relative = mode & 0x3F, mode & 0x40
    need(scale <= 15, "an unknown scale")
    need(bases is not None or not relative, "relative to nothing")
    exceptions = header.uvarint() if mode & 0x80 else 0
    numbers = int_column(header, payload, count)
    if relative:
        numbers = [signed(number + expected(base, scale)) for number, base in zip(numbers, bases)]
    values = [scaled(number, scale) for number in numbers]
    at = 0
    for i in range(exceptions):
        step = payload.uvarint()
        need(step > 0 or i == 0, "a place twice")
        at += step
        need(at < count, "an exception outside")
        values[at] = struct.unpack("<Q", payload.take(8))[0]
    return values


def places(steps, count, may_repeat):
    found, at = [], 0
    for i, step in enumerate(steps):
        need(step > 0 or step == 0 and (i == 0 or may_repeat), "places that do not rise")
        at += step
        need(at < count, "a place outside")
        found.append(at)
    return found


# ---- Batches ----

class Record:
    def __init__(self, entry, kind, last):
        self.time, self.count = entry["time"], entry["count"]
        self.kind, self.last, self.extras = kind, last, []
        self.min = self.max = self.sum = None

    def expected_sum(self):
        """Bits; a NaN is any: what is near to it is not said relative to it."""
        return self.last if is_nan(self.last) else bits_of(double(self.last) * float(self.count))

    def fill_constant(self):
        if self.kind != GAUGE:
            self.min = self.max = self.sum = 0
        elif self.count == 0:
            self.min, self.max, self.sum = STALE, STALE, 0
        else:
            self.min, self.max, self.sum = self.last, self.last, self.expected_sum()


class Batch:
    def __init__(self, data, layouts):
        need(data[:4] == b"TRB\x01", "not a batch of version 1")
        length = struct.unpack_from("<I", data, 4)[0]
        fields = msgpack.unpackb(data[8:8 + length])
        need(len(fields) >= 23 and fields[0] == 1, "an envelope of another version")
        self.fields = fields
        body = data[8 + length:]
        need(len(body) == fields[19] and crc32c(body) == fields[21], "another body than the envelope's")
        need(fields[18] == 1, "a body of another version")
        if fields[19] != fields[20]:
            body = unzstd(body)
        need(len(body) == fields[20], "another length than the envelope's")
        header, payload = msgpack.unpackb(body)
        self.header, self.payload = Reader(header), Reader(payload)
        need(not fields[7] or fields[8] in range(fields[7], 64 * fields[7] + 1, fields[7]), "a span of no windows")
        self.claims_left, self.extras_left = 8 * len(data), 4000000
        self.targets = layouts[fields[12]].targets
        self.pages = [layouts[page].families for page in self.hashes(fields[13])]
        self.read_entries()

    @staticmethod
    def hashes(data):
        need(len(data) % 16 == 0, "half a hash")
        return [data[at:at + 16] for at in range(0, len(data), 16)]

    def read_entries(self):
        self.entries, known = [], {}
        for round_number in range(self.header.uvarint()):
            window = self.fields[6] + round_number * self.fields[7]
            entries, place = [], 0
            count = self.header.uvarint()
            columns = [int_column(self.header, self.payload, count) for _ in range(5)] if count else []
            for step, page, time, scrapes, stale in zip(*columns):
                place += step
                need(0 <= place < len(self.targets) and 0 <= page < len(self.pages), "an entry of nothing")
                need(scrapes >= 0, "fewer than no scrapes")
                before = known.get((place, page))
                base = window if before is None else self.entries[before]["time"]
                entries.append({"round": round_number, "target": place, "page": page, "time": signed(base + time),
                                "count": scrapes, "stale": stale, "before": before})
            for entry in entries:
                self.entries.append(entry)
                if entry["count"]:
                    known[entry["target"], entry["page"]] = len(self.entries) - 1
                families = self.pages[entry["page"]]
                self.claim(2 + len(families) + sum(len(family.slots) for family in families))
        need({entry["page"] for entry in self.entries} == set(range(len(self.pages))), "a page without an entry")

    def claim(self, claims):
        self.claims_left -= claims
        need(self.claims_left >= 0, "more claims than its length pays for")

    def divided_column(self, per_slot, members, bases):
        """A column per slot, or one for all."""
        if members < SLOT_COLUMN_MEMBERS:
            total = sum(per_slot)
            return double_column(self.header, self.payload, total, bases) if total else []
        values, at = [], 0
        for count in per_slot:
            if count:
                near = bases[at:at + count] if bases is not None else None
                values += double_column(self.header, self.payload, count, near)
            at += count
        return values

    def read_odd(self, records, members):
        count = self.header.uvarint()
        if not count:
            return
        steps, times, counts = (int_column(self.header, self.payload, count) for _ in range(3))
        for place, time, scrapes in zip(places(steps, len(records), False), times, counts):
            need(0 <= scrapes < 1 << 32, "fewer than no samples")
            records[place].time = signed(records[place].time + time)
            records[place].count = scrapes

    def read_ranges(self, family, records, members):
        changing = self.header.uvarint()
        chosen = []
        if changing:
            bits = int.from_bytes(self.payload.take((len(records) + 7) // 8), "little")
            chosen = [i for i in range(len(records)) if bits >> i & 1]
            need(len(chosen) == changing, "another number of changing records than said")
        for i in set(range(len(records))) - set(chosen):
            records[i].fill_constant()
        if not changing:
            return
        per_slot = [sum(1 for i in chosen if i // members == slot) for slot in range(len(family.slots))]
        for field in ("min", "max", "sum"):
            bases = [records[i].expected_sum() if field == "sum" else records[i].last for i in chosen]
            for i, value in zip(chosen, self.divided_column(per_slot, members, bases)):
                setattr(records[i], field, value)

    def read_extras(self, records):
        count = self.header.uvarint()
        if not count:
            return
        self.extras_left -= count
        need(self.extras_left >= 0, "more extras than a batch has")
        self.claim(2 * count)
        found = places(int_column(self.header, self.payload, count), len(records), True)
        times = int_column(self.header, self.payload, count)
        values = double_column(self.header, self.payload, count, [records[i].last for i in found])
        for place, time, value in zip(found, times, values):
            records[place].extras.append((signed(records[place].time - time), value))

    def families(self):
        """(family, members, records) of each that has any, round by round."""
        first_named = {family.hash: family for page in reversed(self.pages) for family in reversed(page)}
        for family_hash in dict.fromkeys(family.hash for page in self.pages for family in page):
            family, kept = first_named[family_hash], {}
            for places in self.rounds(family_hash) if family.slots else []:
                yield family, *self.read_round(family, places, kept)
        self.header.end()
        need(not any(self.payload.data[self.payload.at:]), "more bytes than there should be")

    def rounds(self, family_hash):
        """Of each round the places of the entries that have the family and were scraped."""
        found = {}
        named = [{family.hash for family in page} for page in self.pages]
        for place, entry in enumerate(self.entries):
            if entry["count"] > 0 and family_hash in named[entry["page"]]:
                found.setdefault(entry["round"], []).append(place)
        return found.values()

    def read_round(self, family, places_of_round, kept):
        """kept: last values of the rounds before, by place of the entry."""
        members = [self.entries[place] for place in places_of_round]
        slots = len(family.slots)
        near = [kept.get(member["before"]) for member in members]
        bases = None
        if any(near):
            bases = [values[slot] if values else 0 for slot in range(slots) for values in near]
        lasts = self.divided_column([len(members)] * slots, len(members), bases)
        for m, place in enumerate(places_of_round):
            kept[place] = [lasts[slot * len(members) + m] for slot in range(slots)]
        records = [Record(members[i % len(members)], family.kinds[i // len(members)], last)
                   for i, last in enumerate(lasts)]
        self.read_odd(records, len(members))
        self.read_ranges(family, records, len(members))
        self.read_extras(records)
        return members, records


# ---- Printing ----

def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"') + '"'


def labels_text(labels):
    return "{" + ",".join(name + "=" + quoted(labels[name]) for name in sorted(labels, key=str.encode)) + "}"


def sum_text(bits):
    """The payload of a NaN that was computed is the processor's affair."""
    return "nan" if is_nan(bits) else f"{bits:016x}"


def print_batch(batch, out):
    fields = batch.fields
    out.write(f"batch {fields[1]} {fields[2]} {fields[3]} epoch {fields[4]} seq {fields[5]} window {fields[6]} "
              f"resolution {fields[7]} span {fields[8]} part {fields[9]} sealed {fields[10]} closed {fields[11]}\n")
    out.write(f"targets {fields[14]} {fields[15]}")
    for name, reasons in (("failed", fields[16]), ("dropped", fields[17])):
        for reason, count in reasons:
            out.write(f" {name} {reason} {count}")
    out.write("\n")
    for entry in batch.entries:
        out.write(f"entry {entry['round']} {labels_text(batch.targets[entry['target']])} page {entry['page']} "
                  f"time {entry['time']} "
                  f"count {entry['count']} stale {entry['stale']}\n")
    for family, members, records in batch.families():
        out.write(f"family {family.name} members {len(members)}\n")
        for i, record in enumerate(records):
            target = batch.targets[members[i % len(members)]["target"]]
            series = labels_text(family.series(i // len(members), target))
            kind = ("gauge", "counter", "last")[record.kind]
            out.write(f"{series} {kind} {record.time} {record.count} {record.last:016x} {record.min:016x} "
                      f"{record.max:016x} {sum_text(record.sum)}")
            for time, value in record.extras:
                out.write(f" extra {time} {value:016x}")
            out.write("\n")


class Hash128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


def layout_hash(blob):
    """XXH3-128, the one thing that is not done here by hand."""
    function = ctypes.CDLL("libxxhash.so.0").XXH3_128bits
    function.restype, function.argtypes = Hash128, [ctypes.c_char_p, ctypes.c_size_t]
    value = function(blob, len(blob))
    return struct.pack(">QQ", value.high, value.low)


def decode(data, out):
    layouts = {}
    for kind, payload in frames(data):
        if kind == PACK:
            read_pack(payload, layouts)
        elif kind == BATCH:
            print_batch(Batch(payload, layouts), out)


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        decode(file.read(), sys.stdout)
