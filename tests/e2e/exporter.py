"""A target that the test controls: each path is a function that says what its page is, or does anything to the
connection."""
import http.server
import socket
import threading
import time


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.lock = threading.Lock()
        self.connections = set()

    def process_request(self, request, client_address):
        with self.lock:
            self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        with self.lock:
            self.connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self):
        """Ends kept connections too, as the end of a process does."""
        with self.lock:
            for connection in self.connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it has gone by itself

    def handle_error(self, request, client_address):
        pass  # daemons are killed here; their connections end anyhow


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self):
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            self.answer(404, "no such page\n")
            return
        text = page(self) if callable(page) else page
        if text is not None:
            self.answer(200, text)

    def answer(self, status, text, content_type="text/plain; version=0.0.4"):
        body = text if isinstance(text, bytes) else text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Exporter:
    """pages: {path: text or function of the handler that returns the text, or None when it answered by itself}"""

    def __init__(self, address, port=9100, pages=None):
        self.server = Server((address, port), Handler)
        self.pages = self.server.pages = dict(pages or {})
        self.target = f"{address}:{port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def close(self):
        """Nobody answers at its address any more."""
        if self.thread:
            self.server.shutdown()
            self.server.server_close()
            self.server.hang_up()
            self.thread.join()
            self.thread = None


class Numbered:
    """A page with a counter that is the number of its scrape, and the times at which each number was served."""

    def __init__(self, name="scrapes_total", others=""):
        self.name, self.others = name, others
        self.lock = threading.Lock()
        self.served = []  # index + 1 is the number

    def __call__(self, handler):
        with self.lock:
            self.served.append(time.time())
            number = len(self.served)
        return (f"# TYPE {self.name} counter\n{self.name} {number}\n"
                f"# TYPE seconds_now gauge\nseconds_now {time.time()}\n{self.others}")

    def count(self):
        with self.lock:
            return len(self.served)
