"""The same on a terminal, through a pty: live tree, colour, NO_COLOR, dumb terminals, 40 columns."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

import pytest

_SGR_COLOUR = re.compile(r"\x1b\[[0-9;]*(?:3[0-7]|9[0-7])[0-9;]*m")


@pytest.fixture
def terminal(home):
    """Run `qd` on a terminal and give (exit code, all it wrote)."""

    def run(*arguments, columns=100, typed=b"", **environ):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        settings = {**os.environ, "TERM": "xterm-256color", **environ}
        settings.pop("COLUMNS", None)
        process = subprocess.Popen(
            [sys.executable, "-m", "quarterdeck.cli.main", *arguments],
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


def test_up_is_a_live_tree_that_is_redrawn(fake, terminal, documents):
    fake.statuses = [documents.status(3, "running")] * 3 + [documents.status()]
    code, written = terminal("up")
    assert code == 0
    assert "\x1b[1A" in written or re.search(r"\x1b\[\d*A", written)  # the cursor went up: redrawn in place
    assert _SGR_COLOUR.search(written)
    assert written.endswith("stop with qd down\r\n")
    assert "\x1b[?25h" in written  # the cursor is given back


def test_no_color_takes_colour_and_leaves_the_rest(fake, terminal):
    code, written = terminal("up", NO_COLOR="1")
    assert code == 0
    assert not _SGR_COLOUR.search(written)
    assert "✔" in written


def test_a_dumb_terminal_gets_plain_lines(fake, terminal):
    code, written = terminal("up", TERM="dumb")
    assert code == 0
    assert "\x1b" not in written
    assert " ✔ integration_validation         0.7 s  11 of 11 probes\r\n" in written


def test_progress_plain_on_a_terminal(fake, terminal):
    _, written = terminal("up", "--progress", "plain")
    assert not re.search(r"\x1b\[\d*A", written)
    assert "integration_validation         0.7 s" in written


def test_forty_columns(fake, terminal):
    code, written = terminal("up", columns=40, NO_COLOR="1")
    assert code == 0
    tree = written[written.index("infrastructure") : written.index(" Ready in")]
    assert max(len(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).rstrip()) for line in tree.splitlines()) <= 40


def test_tables_fold_in_forty_columns_and_lose_nothing(fake, terminal):
    code, written = terminal("get", "replicas", columns=40, NO_COLOR="1")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written)
    assert code == 0
    assert max(map(len, plain.splitlines())) <= 40
    assert "…" not in plain


def test_states_are_coloured_and_named(fake, terminal):
    _, written = terminal("get", "replicas")
    assert re.search(r"\x1b\[32mready", written)
    assert "starting" in written


def test_plan_is_coloured(fake, terminal):
    _, written = terminal("plan")
    assert "\x1b[32m+ analysts\x1b[0m not there yet" in written


def test_ascii_terminals_keep_the_meaning(fake, terminal):
    _, written = terminal("up", PYTHONIOENCODING="ascii", PYTHONUTF8="0", NO_COLOR="1")
    assert " ok integration_validation" in written


def test_down_asks_for_the_name_on_a_terminal(fake, terminal, home):
    code, written = terminal("down", typed=b"no\n")
    assert code == 1
    assert "nothing was stopped" in written
    assert not home.stop_order.exists()
