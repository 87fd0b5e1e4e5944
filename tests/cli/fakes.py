"""A fake control plane: it speaks the documented API over a real unix socket, and does nothing else."""

import contextlib
import http.server
import json
import os
import socket
import socketserver
import threading
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from tests.cli.answers import REPLICAS, applied, listed, plan, refused, status

from quarterdeck.model.home import Home


@dataclass
class FakeControlPlane:
    """Answers from `answers[(method, path)]`: a document, (status, document), or a callable
    of (query, body, headers) that gives either of them or parts of text."""

    home: Home
    answers: dict = field(default_factory=dict)
    requests: list = field(default_factory=list)
    statuses: list = field(default_factory=lambda: [status()])
    server: socketserver.BaseServer | None = None
    door: socketserver.BaseServer | None = None
    token: str = ""

    def __post_init__(self):
        self.answers = {
            ("GET", "/v1/version"): {
                "version": "0.1.0",
                "pid": os.getpid(),
                "home": str(self.home.root),
                "engine": "local",
                "url": "",
                "read_only": False,
            },
            ("POST", "/v1/plan"): plan(),
            ("POST", "/v1/apply"): applied(),
            ("GET", "/v1/status"): lambda *_: self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0],
            ("GET", "/v1/replicas"): listed(REPLICAS),
            ("GET", "/v1/agents"): listed([{"name": "analysts/analyst", "replicas": {"ready": 2, "desired": 2, "min": 1, "max": 4}}]),
            ("GET", "/v1/systems"): listed([{"name": "triage", "ready": True, "revision": 1, "sentence": "well"}]),
            ("GET", "/v1/changes"): listed([]),
            ("POST", "/v1/login"): {"url": "http://127.0.0.1:7410/login?once=x"},
        }

    def start(self):
        self.home.run.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self.home.api_socket.unlink()
        self.server = _Server(str(self.home.api_socket), _handler(self))
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def open_door(self, token):
        """Answer on TCP too, for whoever has the token; gives the URL."""
        self.token = token
        self.door = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self.door.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{self.door.server_port}"

    def stop(self):
        """As a killed process does: the door closes, the open connections break, the socket file stays."""
        if self.door:
            door, self.door = self.door, None
            door.shutdown()
            door.server_close()
        if self.server:
            server, self.server = self.server, None
            server.shutdown()
            server.server_close()
            server.drop()

    def asked(self, method, path):
        return [(query, body) for m, p, query, body in self.requests if (m, p) == (method, path)]


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *args):
        self.open = set()
        super().__init__(*args)

    def process_request(self, request, client_address):
        self.open.add(request)
        super().process_request(request, client_address)

    def drop(self):
        for request in list(self.open):
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address):
        """A reader that went away is no error of the fake."""


def _handler(fake):
    class Handler(http.server.BaseHTTPRequestHandler):
        def _serve(self):
            split = urlsplit(self.path)
            query = dict(parse_qsl(split.query))
            length = int(self.headers.get("content-length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            fake.requests.append((self.command, split.path, query, body))
            if self.server is fake.door and self.headers.get("authorization") != f"Bearer {fake.token}":
                self._send(403, "application/json", [json.dumps(refused("Forbidden", 403, 4, "no valid token")[1])])
                return
            answer = fake.answers.get(
                (self.command, split.path), refused("NotFound", 404, 3, f"nothing at {split.path}", hint="look elsewhere")
            )
            answer = answer(query, body, self.headers) if callable(answer) else answer
            code, document = answer if isinstance(answer, tuple) else (200, answer)
            if isinstance(document, dict | list):
                self._send(code, "application/json", [json.dumps(document)])
            else:
                self._send(code, "text/event-stream", document)

        def _send(self, code, kind, parts):
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Connection", "close")
            self.end_headers()
            for part in parts:
                self.wfile.write(part.encode())
                self.wfile.flush()

        do_GET = do_POST = do_DELETE = _serve  # noqa: N815 the names of the standard library

        def address_string(self):
            return "fake"

        def log_message(self, *args):
            pass

    return Handler
