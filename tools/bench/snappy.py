"""Decodes a snappy block, as remote write sends it; slow and enough."""


def uvarint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def decode(data):
    length, at = uvarint(data, 0)
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            count, at = literal_length(data, tag, at)
            out += data[at:at + count]
            at += count
            continue
        if tag & 3 == 1:
            count, offset = (tag >> 2 & 7) + 4, tag >> 5 << 8 | data[at]
            at += 1
        else:
            width = 2 if tag & 3 == 2 else 4
            count, offset = (tag >> 2) + 1, int.from_bytes(data[at:at + width], "little")
            at += width
        copy(out, offset, count)
    if len(out) != length:
        raise ValueError("not a snappy block")
    return bytes(out)


def literal_length(data, tag, at):
    count = (tag >> 2) + 1
    if count <= 60:
        return count, at
    width = count - 60
    return int.from_bytes(data[at:at + width], "little") + 1, at + width


def copy(out, offset, count):
    start = len(out) - offset
    if offset == 0 or start < 0:
        raise ValueError("not a snappy block")
    chunk = bytes(out[start:start + count])
    while len(chunk) < count:  # it overlaps with itself
        chunk += chunk
    out += chunk[:count]
