"""Who counts the real calls, outside the product."""

import socketserver
import threading
from collections import Counter
from contextlib import suppress


class Sink(socketserver.ThreadingTCPServer):
    """A bank outside the product: every line is a call that happened. It knows keys, as a real one would, for `dedupes`."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Teller)
        self.lock = threading.Lock()
        self.calls = Counter()
        self.applied = Counter()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def take(self, kind, key):
        with self.lock:
            self.calls[kind, key] += 1
            if kind != "dedupes" or not self.applied[key]:
                self.applied[key] += 1

    def happened(self, kind, key):
        with self.lock:
            return self.calls[kind, key]


class Teller(socketserver.StreamRequestHandler):
    def handle(self):
        with suppress(OSError, ValueError):  # a caller that was killed in the middle of a line has not called
            kind, key = self.rfile.readline().decode().split()
            self.server.take(kind, key)
            self.wfile.write(b"ok\n")
