"""Remote write 1.0 by hand: a prometheus.WriteRequest as protobuf, in a snappy block of literals."""
import struct


def uvarint(number):
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, payload):
    return uvarint(number << 3 | 2) + uvarint(len(payload)) + payload


def series(labels, samples):
    """labels: {name: value}, in their order; samples: [(seconds, value)]"""
    message = b"".join(field(1, field(1, name.encode()) + field(2, value.encode())) for name, value in labels.items())
    for time_s, value in samples:
        message += field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + uvarint(round(time_s * 1000)))
    return field(1, message)


def snappy(raw):
    block = uvarint(len(raw))
    for at in range(0, len(raw), 65536):
        part = raw[at:at + 65536]
        block += b"\xf4" + struct.pack("<H", len(part) - 1) + part  # a literal, its length in two bytes
    return block


def headers(token=None, **others):
    made = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf",
            "X-Prometheus-Remote-Write-Version": "0.1.0"}
    if token:
        made["Authorization"] = f"Bearer {token}"
    made.update({name.replace("_", "-"): value for name, value in others.items()})
    return made
