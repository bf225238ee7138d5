"""Counts bytes on the wire: a sink that answers 204 to every POST, and a relay that passes a connection on. Both count
what the client sends, HTTP headers included, as TCP carries it. They run in threads of the script itself, so that what
they cost is on no scraper's account."""
import socket
import threading

READ_BYTES = 256 * 1024
HEADER_BYTES_MAX = 64 * 1024


class Listener:
    """Accepts on a loopback port of its own; one thread per connection."""

    def __init__(self):
        self.lock = threading.Lock()
        self.bytes = 0
        self.requests = 0
        self.connections = set()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return  # closed
            self.keep(connection)
            threading.Thread(target=self.run, args=(connection,), daemon=True).start()

    def keep(self, connection):
        with self.lock:
            self.connections.add(connection)

    def run(self, connection):
        try:
            self.serve(connection)
        except OSError:
            pass  # the other side has gone
        finally:
            self.drop(connection)

    def drop(self, connection):
        with self.lock:
            self.connections.discard(connection)
        connection.close()

    def count(self, count):
        with self.lock:
            self.bytes += count

    def close(self):
        self.socket.close()
        with self.lock:
            connections = list(self.connections)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Sink(Listener):
    """Takes remote write: reads a request, answers 204, and so on. Of the bodies it keeps some, spread evenly over the
    time, of at most keep_bytes_max bytes together."""

    def __init__(self, keep_bytes_max=0):
        self.body_bytes = 0
        self.keep_bytes_max = keep_bytes_max
        self.keep_every = 1
        self.kept = []
        super().__init__()

    def serve(self, connection):
        pending = b""
        while True:
            head, pending = self.read_head(connection, pending)
            if head is None:
                return
            left = content_length(head) - len(pending)
            body = [pending]
            while left > 0:
                data = self.receive(connection)
                if not data:
                    return
                body.append(data)
                left -= len(data)
            pending = body[-1][len(body[-1]) + left:] if left < 0 else b""
            body = b"".join(body)
            self.take(body[:len(body) - len(pending)])
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    def take(self, body):
        with self.lock:
            self.requests += 1
            self.body_bytes += len(body)
            if self.keep_bytes_max == 0 or self.requests % self.keep_every:
                return
            self.kept.append(body)
            while sum(map(len, self.kept)) > self.keep_bytes_max and len(self.kept) > 1:
                self.kept = self.kept[::2]
                self.keep_every *= 2

    def start_over(self):
        """Forgets what came so far."""
        with self.lock:
            self.body_bytes, self.keep_every, self.kept = 0, 1, []

    def receive(self, connection):
        data = connection.recv(READ_BYTES)
        self.count(len(data))
        return data

    def read_head(self, connection, pending):
        while b"\r\n\r\n" not in pending:
            data = self.receive(connection)
            if not data or len(pending) > HEADER_BYTES_MAX:
                return None, b""
            pending += data
        head, _, rest = pending.partition(b"\r\n\r\n")
        return head, rest


def content_length(head):
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


class Relay(Listener):
    """Passes each connection on to a port of 127.0.0.1; counts what goes there."""

    def __init__(self, port):
        self.upstream_port = port
        super().__init__()

    def serve(self, connection):
        upstream = socket.create_connection(("127.0.0.1", self.upstream_port))
        self.keep(upstream)
        for end in (connection, upstream):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self.answer, args=(upstream, connection), daemon=True).start()
        try:
            while data := connection.recv(READ_BYTES):
                self.count(len(data))
                upstream.sendall(data)
        finally:
            upstream.shutdown(socket.SHUT_RDWR)

    def answer(self, upstream, connection):
        try:
            while data := upstream.recv(READ_BYTES):
                connection.sendall(data)
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other side has gone
        finally:
            self.drop(upstream)
