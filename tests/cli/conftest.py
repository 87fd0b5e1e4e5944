"""The fake control plane, and `qd` in this process or on a pseudo-terminal."""

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.cli.answers import FAILURE, REPLICAS, STEPS, applied, listed, phases, plan, record, refused, status
from tests.cli.fakes import FakeControlPlane

from quarterdeck.cli.main import main
from quarterdeck.model.home import Home

SPEC = """apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: triage}
spec:
  clusters:
    analysts:
      agents:
        analyst: {run: "agents:analyst", secrets: [PAGER_KEY]}
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    root = tmp_path / "home"
    root.mkdir()
    monkeypatch.setenv("QUARTERDECK_HOME", str(root))
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
    """Run `qd` on a pseudo-terminal and give (exit code, all it wrote). `after` = (text, keys): the keys when the text was written."""

    def run(*arguments, columns=100, typed=b"", after=None, **environ):
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
            preexec_fn=_controlled if after else None,  # noqa: PLW1509 so that Ctrl-C is a signal
        )
        os.close(theirs)
        if typed:
            os.write(ours, typed)
        written = _read(ours, process, after)
        return process.wait(10), written.decode()

    return run


def _controlled():
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _read(descriptor, process, after=None):
    written, deadline = b"", time.monotonic() + 20
    while time.monotonic() < deadline:
        if select.select([descriptor], [], [], 0.1)[0]:
            try:
                written += os.read(descriptor, 65536)
            except OSError:  # the other end is closed
                break
            if after and after[0].encode() in written:
                os.write(descriptor, after[1])
                after = None
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
