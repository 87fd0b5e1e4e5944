"""A fake control plane: it speaks the documented API over a real unix socket, and does nothing else."""

import contextlib
import fcntl
import http.server
import json
import os
import pty
import select
import socket
import socketserver
import struct
import subprocess
import sys
import termios
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

import pytest

from quarterdeck.cli.main import main
from quarterdeck.model.home import Home
from quarterdeck.model.steps import PHASES

SPEC = """apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: triage}
spec:
  clusters:
    analysts:
      agents:
        analyst: {run: "agents:analyst", secrets: [PAGER_KEY]}
"""
MESSAGES = (
    "3 namespaces",
    "revision 1",
    "probe 0.6 ms",
    "2 links open",
    "2 of 2 replicas answering",
    "log lines arriving",
    "11 of 11 probes",
)


def phases(done, then="pending"):
    """The first `done` phases done, the next one in state `then`."""
    states = ["done"] * done + [then] + ["pending"] * 7
    return [
        {
            "name": name,
            "status": states[n],
            "seconds": 0.1 * (n + 1) if states[n] == "done" else None,
            "message": MESSAGES[n] if states[n] == "done" else "",
        }
        for n, name in enumerate(PHASES)
    ]


def status(done=7, then="pending", *, revision=1, failure=None):
    ready = done == 7
    return {
        "apiVersion": "quarterdeck.dev/v1alpha1",
        "kind": "Status",
        "system": "triage",
        "ready": ready,
        "sentence": "agents: 2 of 2 ready" if ready else "agents: 0 of 2 ready, starting 2",
        "phases": phases(done, then),
        "readiness": {"score": 38, "points": [], "next": ["qd validate --deep, +4"]},
        "agents": {"ready": 2 if ready else 0, "desired": 2},
        "capacity": {"ready": 2, "desired": 2, "max": 4},
        "validation": [{"name": "links carry messages", "status": "passed", "evidence": "4 ms", "age_seconds": 3.0}],
        "failure": failure,
        "engine": "local",
        "revision": revision,
        "weakenings": ["unsandboxed", "cgroup v1"],
        "url": "http://127.0.0.1:7410",
        "limits": {"journal": {"records": 12, "limit": 1000}},
        "read_only": False,
    }


FAILURE = {
    "phase": "agent_cluster_deployment",
    "step": "ApplyWorkload",
    "target": "analysts/analyst",
    "cause": "0 of 2 answering: ImportError: No module named 'pandas' (agents.py:4)",
    "details": "6 replicas of other agents are running.",
    "completed": list(PHASES[:4]),
    "resume": "resumes at phase 5",
}
REPLICAS = [
    {
        "name": f"analysts/analyst-{n}",
        "cluster": "analysts",
        "agent": "analyst",
        "state": state,
        "reason": "",
        "pid": 100 + n,
        "incarnation": 1,
        "restarts": n,
        "revision": "3f9c",
        "since": "2026-11-24T16:12:01.250Z",
        "last_exit": {"code": None, "signal": 9, "oom": False, "hang": False, "at": "2026-11-24T16:12:01Z"} if n else None,
    }
    for n, state in enumerate(("ready", "starting"))
]
STEPS = [
    {"phase": "infrastructure_provisioning", "action": "add", "target": "analysts", "reason": "not there yet"},
    {"phase": "service_mesh_configuration", "action": "add", "target": "analysts->reporting", "reason": "not open"},
    {"phase": "agent_cluster_deployment", "action": "add", "target": "analysts/analyst", "reason": "2 replicas"},
]


def plan(steps=STEPS):
    count = {action: sum(step["action"] == action for step in steps) for action in ("add", "change", "remove")}
    return {
        "apiVersion": "quarterdeck.dev/v1alpha1",
        "kind": "Plan",
        "system": "triage",
        "index": 41,
        "steps": steps,
        "summary": count,
        "warnings": [],
    }


def applied(number=1, steps=STEPS, *, created=True):
    """The answer to an apply."""
    return {
        "kind": "Revision",
        "system": "triage",
        "number": number,
        "digest": "d",
        "code": "c",
        "created": created,
        "index": 42,
        "warnings": [],
        "plan": plan(steps),
    }


def record(seq):
    return {
        "seq": seq,
        "at": "2026-11-24T16:12:01.250Z",
        "actor": "uid:0",
        "via": "socket",
        "on_behalf_of": "",
        "verb": "apply",
        "target": "triage",
        "reason": "first",
        "before": None,
        "after": None,
        "outcome": "done",
        "evidence": None,
        "prev": "a",
        "hash": "b",
    }


def listed(items):
    return {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "List", "items": items}


def refused(kind, http, exit_code, message="no", **more):
    return http, {"error": {"kind": kind, "message": message, "hint": "", "where": "", "problems": [], "exit_code": exit_code, **more}}


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


@pytest.fixture
def home(tmp_path, monkeypatch):
    root = tmp_path / "home"
    root.mkdir()
    monkeypatch.setenv("QUARTERDECK_HOME", str(root))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("QUARTERDECK_CONTEXT", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quarterdeck.yaml").write_text(SPEC)
    return Home(root)


@pytest.fixture
def fake(home):
    control = FakeControlPlane(home).start()
    yield control
    control.stop()


@pytest.fixture
def terminal(home):
    """Run `qd` on a pseudo-terminal and give (exit code, all it wrote)."""

    def run(*arguments, columns=100, typed=b"", **environ):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        settings = {**os.environ, "TERM": "xterm-256color", **environ}
        settings.pop("COLUMNS", None)
        process = subprocess.Popen(
            [sys.executable, "-m", "quarterdeck.cli.main", *map(str, arguments)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=settings,
            close_fds=True,
        )
        os.close(theirs)
        if typed:
            os.write(ours, typed)
        written = _read(ours, process)
        return process.wait(10), written.decode()

    return run


def _read(descriptor, process):
    written, deadline = b"", time.monotonic() + 20
    while time.monotonic() < deadline:
        if select.select([descriptor], [], [], 0.1)[0]:
            try:
                written += os.read(descriptor, 65536)
            except OSError:  # the other end is closed
                break
    else:
        process.kill()
    os.close(descriptor)
    return written


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def qd(capsys):
    """Run a command line in this process."""

    def run(*arguments):
        capsys.readouterr()
        code = main([str(one) for one in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def until():
    def wait(condition, within=10.0):
        deadline = time.monotonic() + within
        while not (found := condition()):
            assert time.monotonic() < deadline, "not in time"
            time.sleep(0.01)
        return found

    return wait


@pytest.fixture
def documents():
    """The builders of documents above, for tests that change them."""
    return SimpleNamespace(
        status=status,
        plan=plan,
        applied=applied,
        phases=phases,
        record=record,
        listed=listed,
        refused=refused,
        failure=FAILURE,
        replicas=REPLICAS,
        steps=STEPS,
        root=Path(),
    )
