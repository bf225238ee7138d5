"""The bytes of spools and requests as far as tests must make bad ones: frames (shared/hop/frame.h), the envelope of a
batch, msgpack. Written from the formats, not from the code that they test."""
import glob
import os
import struct

SYNC = b"\xf7TR1"
HEADER_BYTES = 20
SEGMENT, PACK, BATCH, GAP, POSITION, SEEN, ASK = range(1, 8)

# Verdicts, in the order of enum batch_verdict.
STORED, DUPLICATE, MISSING, MALFORMED, UNSUPPORTED, UNAUTHORISED, BUSY, CONFLICT = range(8)
# Fields of an answer and of an envelope that tests look at.
ANSWER_VERDICTS, ANSWER_MISSING = 4, 5
DATACENTER, SECONDARY, INCARNATION, EPOCH, SEQ = 1, 2, 3, 4, 5
TARGETS_EXPECTED, BODY_VERSION, BODY_BYTES = 14, 18, 19


def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC_TABLE = _crc_table()


def crc32c(data):
    crc, table = 0xFFFFFFFF, CRC_TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def frame(kind, payload):
    head = SYNC + struct.pack("<B3xII", kind, len(payload), crc32c(payload))
    return head + struct.pack("<I", crc32c(head)) + payload


def frames(data):
    """[(type, payload)] of whole frames, one after the other; what does not check is passed over."""
    found, at = [], 0
    while (at := data.find(SYNC, at)) >= 0 and at + HEADER_BYTES <= len(data):
        kind, length, crc, head_crc = struct.unpack_from("<B3xIII", data, at + 4)
        payload = data[at + HEADER_BYTES:at + HEADER_BYTES + length]
        if crc32c(data[at:at + 16]) == head_crc and len(payload) == length and crc32c(payload) == crc:
            found.append((kind, payload))
            at += HEADER_BYTES + length
        else:
            at += 1
    return found


def spool_frames(directory):
    """All frames of a spool's segments, in the order of their names."""
    found = []
    for path in sorted(glob.glob(os.path.join(directory, "**", "*"), recursive=True)):
        if os.path.isfile(path):
            with open(path, "rb") as file:
                found += frames(file.read())
    return found


# ---- msgpack ----

def pack(value):
    if isinstance(value, bool) or value is None:
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        if 0 <= value < 128:
            return bytes([value])
        return b"\xcf" + struct.pack(">Q", value) if value >= 0 else b"\xd3" + struct.pack(">q", value)
    if isinstance(value, str):
        data = value.encode()
        return b"\xd9" + bytes([len(data)]) + data
    if isinstance(value, bytes):
        return b"\xc6" + struct.pack(">I", len(value)) + value
    return b"\xdc" + struct.pack(">H", len(value)) + b"".join(map(pack, value))


def unpack(data):
    value, at = _unpack(data, 0)
    assert at == len(data), "more than one value"
    return value


_SIZED = {0xC4: ("B", bytes), 0xC5: ("H", bytes), 0xC6: ("I", bytes), 0xD9: ("B", str), 0xDA: ("H", str),
          0xDB: ("I", str), 0xDC: ("H", list), 0xDD: ("I", list)}
_NUMBERS = {0xCC: "B", 0xCD: "H", 0xCE: "I", 0xCF: "Q", 0xD0: "b", 0xD1: "h", 0xD2: "i", 0xD3: "q", 0xCB: "d"}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


def _unpack(data, at):
    first = data[at]
    at += 1
    if first < 0x80:
        return first, at
    if first >= 0xE0:
        return first - 256, at
    if first in _CONSTANTS:
        return _CONSTANTS[first], at
    if first in _NUMBERS:
        code = ">" + _NUMBERS[first]
        return struct.unpack_from(code, data, at)[0], at + struct.calcsize(code)
    if 0x90 <= first < 0xA0:
        kind, count = list, first & 15
    elif 0xA0 <= first < 0xC0:
        kind, count = str, first & 31
    else:
        code, kind = _SIZED[first]
        count, = struct.unpack_from(">" + code, data, at)
        at += struct.calcsize(">" + code)
    if kind is list:
        items = []
        for _ in range(count):
            item, at = _unpack(data, at)
            items.append(item)
        return items, at
    piece = bytes(data[at:at + count])
    return (piece.decode() if kind is str else piece), at + count


# ---- Batches ----

def envelope(batch):
    """(fields, body) of a batch."""
    assert batch[:4] == b"TRB\x01"
    length, = struct.unpack_from("<I", batch, 4)
    return unpack(batch[8:8 + length]), batch[8 + length:]


def with_fields(batch, **fields):
    """The batch with some fields of its envelope changed, by the names above in lower case."""
    values, body = envelope(batch)
    for name, value in fields.items():
        values[globals()[name.upper()]] = value
    packed = pack(values)
    return b"TRB\x01" + struct.pack("<I", len(packed)) + packed + body
