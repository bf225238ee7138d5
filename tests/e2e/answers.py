"""A daemon that answers what a test tells it to: known values, errors, broken answers."""
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def success(kind, series, **more):
    return {"status": "success", "data": {"resultType": kind, "result": series}, **more}


class Answers:
    """.answer is what is sent next: an object for JSON, or bytes; with it .status and .cut (bytes that are left out at
    the end). .asked has the path and the form of what came last."""

    def __init__(self):
        self.answer, self.status, self.cut, self.asked = None, 200, 0, None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                path, _, query = self.path.partition("?")
                self.reply(path, query)

            def do_POST(self):
                self.reply(self.path, self.rfile.read(int(self.headers["Content-Length"])).decode())

            def reply(self, path, form):
                outer.asked = path, urllib.parse.parse_qs(form)
                body = outer.answer if isinstance(outer.answer, bytes) else json.dumps(outer.answer).encode()
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[:len(body) - outer.cut])

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def set(self, answer, status=200, cut=0):
        self.answer, self.status, self.cut = answer, status, cut

    def close(self):
        self.server.shutdown()
        self.server.server_close()
