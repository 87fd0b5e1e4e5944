"""`qd top` in a real terminal: what is seen after each key, and that the terminal is as before whatever ends it. Without one: a table."""

import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest
from tests.cli.answers import REPLICAS, listed

MEASURED = [
    {**one, "cpu": 0.1 * n, "memory_bytes": n << 20, "handled_per_second": 1.5 * n, "failed_per_second": 0.0}
    for n, one in enumerate(REPLICAS)
]
FIRST, SECOND = MEASURED[-1]["name"], MEASURED[-2]["name"]


class Top:
    """`qd top` on a pseudo-terminal of 110 by 20."""

    def __init__(self, arguments, environ):
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 110, 0, 0))
        self.before = termios.tcgetattr(theirs)
        settings = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
        command = [sys.executable, "-m", "quarterdeck.cli.main", "top", *arguments]
        environ = {**settings, "TERM": "xterm-256color", **environ}
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, start_new_session=True)
        self.ours, self.theirs, self.written = ours, theirs, b""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            try:
                self.written += os.read(self.ours, 65536)
            except OSError:
                return

    @property
    def screen(self):
        """The lines that stand on it, without colours."""
        frame = self.written.decode("utf-8", "replace").rpartition("\x1b[H")[2]
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", frame).splitlines()

    def sees(self, *texts, without=()):
        """Wait until all of it is on the screen, and give the screen."""
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            shown = "\n".join(self.screen)
            if all(text in shown for text in texts) and not any(text in shown for text in without):
                return shown
            time.sleep(0.02)
        raise AssertionError(f"{texts} not in:\n" + "\n".join(self.screen))

    def press(self, keys):
        os.write(self.ours, keys.encode())

    def size(self, lines, columns):
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def ends(self):
        code = self.process.wait(10)
        time.sleep(0.1)
        return code


@pytest.fixture
def top(fake):
    started = []
    fake.answers["GET", "/v1/replicas"] = listed(MEASURED)

    def start(*arguments, **environ):
        started.append(Top(arguments, environ))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        os.close(one.theirs)


def restored(one):
    text = one.written.decode("utf-8", "replace")
    assert "\x1b[?1049h" in text
    assert text.rstrip().endswith("\x1b[?25h\x1b[?1049l") or "\x1b[?25h\x1b[?1049l" in text[-200:]
    assert termios.tcgetattr(one.theirs) == one.before


def test_the_busiest_replica_is_on_top_and_selected(top):
    one = top()
    shown = one.sees("triage is", FIRST, "by CPU", "next: qd explain", "q end")
    assert shown.index(FIRST) < shown.index(SECOND)
    assert f"> {FIRST}" in shown
    one.press("q")
    assert one.ends() == 0
    restored(one)


def test_arrows_enter_and_escape(top, fake):
    fake.answers["GET", "/v1/explain"] = lambda query, *_: {**EXPLAINED, "target": query["target"]}
    one = top()
    one.sees(f"> {FIRST}")
    one.press("\x1b[B")
    one.sees(f"> {SECOND}", f"qd explain {SECOND}")
    one.press("\r")
    one.sees(f"replicas › explain {SECOND}", "one sentence of why")
    one.press("\x1b")
    one.sees(f"> {SECOND}", without=("one sentence",))
    one.press("k")
    one.sees(f"> {FIRST}")


EXPLAINED = {
    "target": "",
    "sentence": "one sentence of why",
    "spec": {},
    "plan": [],
    "conditions": [],
    "journal": [],
    "changes": [],
}


def test_what_is_typed_filters_and_goes_elsewhere(top):
    one = top()
    one.sees(f"> {FIRST}")
    one.press(f"/{SECOND[-9:]}")
    one.sees(f"> {SECOND}", "rows with /", without=(FIRST,))
    one.press("\r")
    one.sees("(1 of ")
    one.press("\x1b")
    one.sees(FIRST, SECOND)
    one.press(":ag\t\r")
    one.sees(" agents (1)", "analysts/analyst")
    one.press(":alerts\r")
    one.sees("alerts are not in this version: ")
    one.press(":nonsense\r")
    one.sees("there is no noun 'nonsense'")


def test_logs_of_a_replica_with_hostile_lines_steer_nothing(top, fake):
    hostile = "\x1b[2J\x1b]0;gone\x07 as it said"
    line = {"replica": FIRST, "at": "2026-01-01T10:00:00Z", "text": hostile}
    fake.answers["GET", "/v1/logs"] = (200, (f"data: {json.dumps(line)}\n\n", "event: end\ndata: {}\n\n"))
    one = top()
    one.sees(f"> {FIRST}")
    one.press("l")
    one.sees(f"logs {FIRST}", "as it said")
    assert b"\x1b]0;" not in one.written
    assert one.written.count(b"\x1b[2J") == 1  # its own, at the beginning


def test_a_control_plane_that_goes_away_leaves_what_was_seen_and_says_so(top, fake):
    one = top("--every", "200ms")
    one.sees(FIRST)
    fake.stop()
    one.sees("as of ", FIRST)
    one.press("\x1b[B")
    one.sees(f"> {SECOND}")  # the keyboard is not held up
    fake.start()
    one.sees("agents:", without=("as of ",))


def test_it_follows_the_size_of_the_terminal(top):
    one = top()
    one.sees(FIRST)
    one.size(10, 40)
    deadline = time.monotonic() + 10
    while len(one.screen) != 10 or max(map(len, one.screen)) > 40:
        assert time.monotonic() < deadline, one.screen
        time.sleep(0.05)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_gives_the_terminal_back(top, number, code):
    one = top()
    one.sees(FIRST)
    one.process.send_signal(number)
    assert one.ends() == code
    restored(one)


def test_no_color(top):
    one = top(NO_COLOR="1")
    one.sees(f"> {FIRST}")
    assert not re.search(rb"\x1b\[[0-9;]*m", one.written)


def test_a_dumb_terminal_and_a_pipe_get_one_table(fake, terminal, qd):
    fake.answers["GET", "/v1/replicas"] = listed(MEASURED)
    code, written = terminal("top", TERM="dumb")
    assert (code, "\x1b" in written) == (0, False)
    ran = qd("top")
    lines = ran.out.splitlines()
    assert (ran.code, lines[0].split()[:4]) == (0, ["NAME", "STATE", "CPU", "MEMORY"])
    assert lines[1].startswith(FIRST)
    assert [one["name"] for one in qd("top", "-o", "json").json["items"]] == [one["name"] for one in MEASURED]
    assert qd("top", "-o", "name").out.split() == [one["name"] for one in MEASURED]


def test_agents_are_the_sum_of_their_replicas(fake, qd):
    fake.answers["GET", "/v1/replicas"] = listed(MEASURED)
    found = qd("top", "agents", "-o", "json").json["items"]
    mine = [one for one in MEASURED if f"{one['cluster']}/{one['agent']}" == "analysts/analyst"]
    assert found[0]["memory_bytes"] == sum(one["memory_bytes"] for one in mine)


def test_wrong_usage(fake, qd):
    assert qd("top", "nonsense").code == 2
    assert "clusters" in qd("top", "nonsense").err
    assert qd("top", "--every", "0s").code == 2


def test_without_a_control_plane_it_is_an_error_and_no_screen(home, terminal):
    code, written = terminal("top")
    assert code == terminal("status")[0] != 0
    assert "\x1b[?1049h" not in written
