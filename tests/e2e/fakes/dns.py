"""A DNS server that a test controls, written from RFC 1035 (messages, truncation, TCP), 2782 (SRV), 3596 (AAAA) and 6891
(how large a datagram the other end takes). A name that is in no zone does not exist; faults are switched by name.

    server = DnsServer("127.77.1.53")
    server.zone["_m._tcp.example.test"] = [("SRV", 0, 5, 9100, "a.example.test")]
    server.faults["other.test"] = "SERVFAIL"        # or REFUSED, FORMERR, silent, slow, truncated, garbage
"""
import contextlib
import socket
import struct
import threading
import time

TYPES = {"A": 1, "CNAME": 5, "MX": 15, "AAAA": 28, "SRV": 33}
TYPE_OPT = 41
RCODES = {"FORMERR": 1, "SERVFAIL": 2, "NXDOMAIN": 3, "NOTIMP": 4, "REFUSED": 5}
DATAGRAM_BYTES = 512  # where the question says no other
SLOW_SECONDS = 1.0
RECEIVE_SECONDS = 10
FLAGS = 0x8580  # an answer, with authority, recursion wished and available
TRUNCATED = 0x0200


def encode_name(name):
    labels = [label.encode() for label in name.strip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def encode_data(record):
    kind, *values = record
    if kind == "A":
        return socket.inet_pton(socket.AF_INET, values[0])
    if kind == "AAAA":
        return socket.inet_pton(socket.AF_INET6, values[0])
    *numbers, host = values
    return struct.pack(f">{len(numbers)}H", *numbers) + encode_name(host)


class Question:
    """The first question of a message; names are compared without case."""

    def __init__(self, message):
        self.id, flags, questions, _, _, others = struct.unpack(">6H", message[:12])
        if flags & 0x8000 or questions != 1:
            raise ValueError("no question")
        labels, at = [], 12
        while message[at]:
            labels.append(message[at + 1:at + 1 + message[at]].decode("ascii", "replace"))
            at += 1 + message[at]
        self.name = ".".join(labels).lower()
        self.type, _ = struct.unpack(">2H", message[at + 1:at + 5])
        self.bytes = message[12:at + 5]
        self.datagram_bytes = DATAGRAM_BYTES
        rest = message[at + 5:]
        if others and rest[:3] == b"\0" + struct.pack(">H", TYPE_OPT):
            self.datagram_bytes = max(DATAGRAM_BYTES, struct.unpack(">H", rest[3:5])[0])


class DnsServer:
    def __init__(self, address, port=53):
        self.address, self.port = address, port
        self.zone, self.faults = {}, {}
        self.asked = []  # (name, type's word, "udp" or "tcp")
        self.closed = False
        self.udp = self.tcp = None
        self.start()

    def start(self):
        """Also again after stop, at the same address."""
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.udp.bind((self.address, self.port))
        self.tcp.bind((self.address, self.port))
        self.tcp.listen(64)
        for serve, sock in ((self._serve_udp, self.udp), (self._serve_tcp, self.tcp)):
            threading.Thread(target=serve, args=(sock,), daemon=True).start()

    def stop(self):
        """Nobody listens there any more. shutdown wakes the thread that waits, close alone does not."""
        for sock in (self.udp, self.tcp):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    close = stop

    def count(self, name):
        return sum(1 for asked, _, _ in self.asked if asked == name)

    def _serve_udp(self, sock):
        while True:
            try:
                message, client = sock.recvfrom(65535)
            except OSError:
                return  # stopped
            if message or client:
                threading.Thread(target=self._answer_udp, args=(sock, message, client), daemon=True).start()

    def _answer_udp(self, sock, message, client):
        answer = self._answer(message, "udp")
        if answer:
            with contextlib.suppress(OSError):
                sock.sendto(answer, client)

    def _serve_tcp(self, sock):
        while True:
            try:
                connection, _ = sock.accept()
            except OSError:
                return
            threading.Thread(target=self._answer_tcp, args=(connection,), daemon=True).start()

    def _answer_tcp(self, connection):
        connection.settimeout(RECEIVE_SECONDS)
        with connection, contextlib.suppress(OSError, struct.error):
            with connection.makefile("rb") as stream:
                while True:
                    length = struct.unpack(">H", stream.read(2))[0]
                    answer = self._answer(stream.read(length), "tcp")
                    if not answer:
                        return
                    connection.sendall(struct.pack(">H", len(answer)) + answer)

    def _answer(self, message, transport):
        try:
            question = Question(message)
        except (ValueError, IndexError, struct.error):
            return None
        words = {number: word for word, number in TYPES.items()}
        self.asked.append((question.name, words.get(question.type, str(question.type)), transport))
        fault = self.faults.get(question.name) or self.faults.get("*")
        if fault == "silent":
            return None
        if fault == "slow":
            time.sleep(SLOW_SECONDS)
        if fault in RCODES:
            return self._message(question, RCODES[fault], [])
        if question.name not in self.zone:
            return self._message(question, RCODES["NXDOMAIN"], [])
        records = [record for record in self.zone[question.name]
                   if TYPES[record[0]] in (question.type, TYPES["CNAME"])]
        answer = self._message(question, 0, records)
        if fault == "garbage":
            return answer[:12 + len(question.bytes)] + b"\xc0\xff" * 20
        if transport == "udp" and (fault == "truncated" or len(answer) > question.datagram_bytes):
            return self._message(question, TRUNCATED, [])
        return answer

    @staticmethod
    def _message(question, flags, records):
        owner = b"\xc0\x0c"  # the question's name
        out = struct.pack(">6H", question.id, FLAGS | flags, 1, len(records), 0, 0) + question.bytes
        for record in records:
            data = encode_data(record)
            out += owner + struct.pack(">HHIH", TYPES[record[0]], 1, 60, len(data)) + data
            if record[0] == "CNAME":
                owner = encode_name(record[1])
        return out


def resolv_conf(federation, server, *lines, name="resolv.conf"):
    """What stands in front of a command, so that it finds this server in /etc/resolv.conf: a namespace of mounts of its
    own, which takes root."""
    path = federation.write(name, "\n".join([f"nameserver {server.address}", *lines]) + "\n")
    return ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', path]


def may_mount():
    """Whether this user may do what resolv_conf needs, and listen on port 53."""
    import subprocess

    tried = subprocess.run(["unshare", "--mount", "sh", "-c", "mount --bind /dev/null /etc/resolv.conf"],
                           capture_output=True, check=False)
    if tried.returncode != 0:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.77.255.53", 53))
            return True
        except OSError:
            return False
