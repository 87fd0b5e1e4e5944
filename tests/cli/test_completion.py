"""Completion in real shells: live names, in time, and never an error."""

import contextlib
import fcntl
import os
import pty
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest

from quarterdeck.cli import completing
from quarterdeck.cli.completing import LEAST, WITHIN


@pytest.fixture
def completed(qd, monkeypatch):
    """What bash would be offered for these words; an empty last one is what is typed next."""

    def ask(*words):
        monkeypatch.setenv("_QD_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", " ".join(("qd", *words)))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        try:
            return qd().out.split()
        finally:
            monkeypatch.delenv("_QD_COMPLETE")

    return ask


@pytest.fixture
def world(fake, documents):
    fake.answers["GET", "/v1/clusters"] = documents.listed([{"name": "analysts"}])
    fake.answers["GET", "/v1/revisions"] = documents.listed(
        [{"number": n, "current": n == 3, "reason": "why", "at": "x"} for n in (3, 2, 1)]
    )
    live = {"target": "analysts/analyst", "reason": "load test", "state": "live"}
    restart = {**live, "patch": {"field": "restart_before", "value": 1.0}}
    changes = [{**restart, "id": 13}, {**live, "id": 12}, {**live, "id": 11, "state": "reverted"}]
    fake.answers["GET", "/v1/changes"] = documents.listed(changes)
    verbs = {"judge": {"doc": "Look at it."}, "score": {"doc": ""}}
    fake.answers["GET", "/v1/agents/analysts/analyst"] = {"name": "analysts/analyst", "verbs": verbs}
    fake.answers["GET", "/v1/tokens"] = documents.listed(
        [{"id": "0b55d336", "role": "viewer", "note": "wall"}, {"id": "1c66e447", "role": "viewer", "user": "alice"}]
    )
    done = {"id": "01M8HXFD25B4EETYEXX2273T60", "key": "first/08:43", "state": "done", "target": "collectors/intake"}
    fake.answers["GET", "/v1/tasks"] = {**documents.listed([done]), "next": None}


def again_until(offered, completed, *words):
    """What is offered: there is little time, in which a busy machine may have done other things, so it is asked some times."""
    tried = [completed(*words)]
    while tried[-1] != offered and len(tried) < 5:
        tried.append(completed(*words))
    return tried[-1]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("explain", "analysts"), ["analysts", "analysts/analyst", "analysts/analyst-0", "analysts/analyst-1"]),
        (("logs", "analysts/analyst-"), ["analysts/analyst-0", "analysts/analyst-1"]),
        (("attach", "analysts/analyst-"), ["analysts/analyst-0", "analysts/analyst-1"]),
        (("scale", "analysts/"), ["analysts/analyst", "analysts/analyst-0", "analysts/analyst-1"]),
        (("get", "repl"), ["replicas"]),
        (("get", "replica", "analysts/analyst-1"), ["analysts/analyst-1"]),
        (("get", "revisions", ""), ["1", "2", "3"]),
        (("rollback", ""), ["1", "2"]),
        (("revert", ""), ["12"]),
        (("ask", "analysts/analyst", ""), ["judge", "score"]),
        (("ask", "analysts/analyst-1", "sc"), ["score"]),
        (("token", "revoke", "0"), ["0b55d336"]),
        (("token", "revoke", "--user", ""), ["alice"]),
        (("journal", "--target", "analysts/analyst-"), ["analysts/analyst-0", "analysts/analyst-1"]),
        (("get", "tasks", "--state", "de"), ["dead"]),
        (("get", "messages", "--state", "o"), ["open"]),
        (("get", "tasks", "fir"), ["first/08:43"]),
        (("task", "get", "fir"), ["first/08:43"]),
        (("explain", "spec.clusters.agents.rollout.s"), ["spec.clusters.agents.rollout.surge"]),
        (("explain", "E1209"), ["E1209"]),
        (("status", "-s", ""), ["triage"]),
        (("wait", "--for", "re"), ["ready"]),
        (("init", "--template", ""), ["plain", "triage"]),
        (("context", "us"), ["use"]),
        (("doc",), ["doctor"]),
    ],
)
def test_live_names_are_offered(world, completed, words, offered):
    assert again_until(offered, completed, *words) == offered


def test_contexts_are_offered_without_asking_anybody(world, fake, qd, completed):
    qd("context", "add", "live", "--production")
    fake.requests.clear()
    assert completed("--context", "l") == ["live"]
    assert completed("context", "use", "") == ["live"]
    assert fake.requests == []


def test_the_home_and_system_typed_before_count(world, fake, completed, tmp_path):
    assert completed("--home", str(tmp_path / "other"), "explain", "analysts") == []
    completed("-s", "triage", "rollback", "")
    assert fake.requests[-1][2] == {"system": "triage"}


@pytest.mark.parametrize("words", [("explain", "ana"), ("task", "get", "fir"), ("ask", "analysts/analyst", "")])
def test_a_control_plane_that_hangs_costs_a_moment_and_gives_nothing(fake, completed, words):
    hanging = threading.Event()
    for path in ("clusters", "agents", "replicas", "tasks", "agents/analysts/analyst"):
        fake.answers["GET", f"/v1/{path}"] = lambda *_: hanging.wait(10) and {}
    completed("get", "repl")  # whatever is loaded once
    asking = []
    for _ in range(3):
        begun = time.monotonic()
        assert completed(*words) == []
        asking.append(time.monotonic() - begun)
    hanging.set()
    while any(thread.name.startswith("completing") for thread in threading.enumerate()):
        time.sleep(0.01)
    assert LEAST <= min(asking) < LEAST + 0.1


def test_a_process_that_asks_somebody_silent_ends_in_time(home, monkeypatch):
    monkeypatch.setenv("_QD_COMPLETE", "complete_bash")

    def seconds(*words):
        monkeypatch.setenv("COMP_WORDS", " ".join(("qd", *words)))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        begun = time.monotonic()
        subprocess.run([sys.executable, "-m", "quarterdeck.cli.main"], check=True, capture_output=True)
        return time.monotonic() - begun

    with socket.socket(socket.AF_UNIX) as silent:
        home.api_socket.parent.mkdir(parents=True, exist_ok=True)
        silent.bind(str(home.api_socket))
        silent.listen(64)
        taken = []
        for _ in range(12):  # a busy machine may have done other things meanwhile
            unasked, asked = seconds("task", "ge"), seconds("task", "get", "01")
            taken.append((asked, unasked))
            if asked < max(WITHIN, unasked + LEAST) + 0.09:
                return
    pytest.fail(f"it never ended in time: {taken}")


def test_the_start_of_the_process_counts(monkeypatch):
    assert completing._left() == LEAST  # this one is older
    ticks = round((time.clock_gettime(time.CLOCK_BOOTTIME) - 0.05) * os.sysconf("SC_CLK_TCK"))
    monkeypatch.setattr(completing.linux, "stat", lambda _: ("R", 1, ticks))
    assert LEAST < completing._left() <= WITHIN - 0.04


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (("up", ""), True),
        (("--home", ""), True),
        (("init", ""), True),
        (("plan", "--out", ""), True),
        (("ask", "analysts/analyst", ""), False),
        (("token", "revoke", ""), False),
        (("scale", "analysts/analyst", ""), False),
        (("context", "use", ""), False),
        (("get", "tasks", "--state", "zz"), False),
    ],
)
def test_names_of_files_are_offered_for_paths_and_for_nothing_else(home, qd, monkeypatch, words, path):
    def asked(shell, **environ):
        for name, value in {"_QD_COMPLETE": f"complete_{shell}", **environ}.items():
            monkeypatch.setenv(name, value)
        return qd()

    line = " ".join(("qd", *words))
    assert asked("bash", COMP_WORDS=line, COMP_CWORD=str(len(words))).code == (3 if path else 0)
    assert asked("zsh", _TYPER_COMPLETE_ARGS=line).out.strip() == ("_files" if path else ":")
    assert asked("fish", _TYPER_COMPLETE_ARGS=line, _TYPER_COMPLETE_FISH_ACTION="is-args").code == int(path)


def test_nobody_there_gives_nothing_and_no_word(home, completed, capsys):
    assert completed("explain", "ana") == []
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(home, qd, shell):
    ran = qd("completion", shell)
    assert ran.code == 0
    assert "_QD_COMPLETE=complete_" in ran.out
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=ran.out, text=True, check=True)


SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source <(qd completion bash)"),
    "zsh": (["zsh", "-f", "-i"], "autoload -Uz compinit; compinit -D; source <(qd completion zsh)"),
    "fish": (["fish", "--no-config", "-i"], "qd completion fish | source"),
}
HOSTILE = (
    "$(touch gone)",
    "`touch gone`",
    "'; touch gone; '",
    '"; touch gone; "',
    ")) ; touch gone ; ((",
    "\\$(touch gone) $((1)) \\'$(touch gone)\\'",
    "a:b [c] {d,e} *",
)
ESCAPES = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[()=>78].?)")


class Shell:
    """A real one on a pseudo-terminal, with the script of its kind read in as the help of `qd completion` says."""

    def __init__(self, name, folder):
        if not shutil.which(name):
            pytest.skip(f"{name} is not installed")
        self.argv, self.sourcing = SHELLS[name]
        self.folder, shim = folder, folder / "bin" / "qd"
        shim.parent.mkdir()
        shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m quarterdeck.cli.main "$@"\n')
        shim.chmod(0o755)
        path = f"{shim.parent}:{os.environ['PATH']}"
        self.environ = {**os.environ, "PATH": path, "TERM": "xterm", "PS1": "> ", "HOME": str(folder), "XDG_DATA_HOME": str(folder)}

    def __enter__(self):
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        own = [
            sys.executable,
            "-c",
            "import os, sys; os.login_tty(0); os.execvp(sys.argv[1], sys.argv[1:])",
        ]  # without one fish waits for it
        self.process = subprocess.Popen([*own, *self.argv], env=self.environ, cwd=self.folder, **streams)
        os.close(theirs)
        self.press(self.sourcing, "; echo so''urced\r")
        assert self.until("sourced"), self.seen
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.ours)

    def press(self, *keys):
        os.write(self.ours, "".join(keys).encode())

    def until(self, *marks, within=20.0):
        """Read until all are on the screen; False when they are not in time."""
        seen, deadline = b"", time.monotonic() + within
        while not all(mark.encode() in ESCAPES.sub(b"", seen) for mark in marks):
            if time.monotonic() > deadline:
                self.seen = seen
                return False
            if select.select([self.ours], [], [], 0.05)[0]:
                with contextlib.suppress(OSError):
                    seen += os.read(self.ours, 65536)
        return True

    def completes(self, typed, *marks):
        """Tab twice after these words leads to all of these; pressed again where a busy machine took longer than completion may."""
        for _ in range(5):
            self.press(typed, "\t\t")
            found = self.until(*marks, within=4.0)
            self.press("\x15")
            if found:
                return
        pytest.fail(f"{typed!r} and Tab did not lead to {marks}: {self.seen!r}")


@pytest.fixture(params=SHELLS)
def shell(request, tmp_path, world):
    with Shell(request.param, tmp_path) as shell:
        yield shell


def test_the_tab_key_in_a_real_shell(shell):
    shell.completes("qd explain analysts/analyst-", "/analyst-0", "/analyst-1")
    shell.completes("qd roll", "rollback ")
    shell.completes("qd context us", "use ")
    shell.completes("qd revert 1", "12 ")
    (shell.folder / "fleet-of-mine.yaml").touch()
    shell.completes("qd plan fleet-", "fleet-of-mine.yaml")


def test_what_others_wrote_is_never_carried_out_by_the_shell_of_who_completes(shell, fake, documents, tmp_path):
    for text in HOSTILE:
        changes = [{"id": number, "target": "analysts/analyst", "reason": text} for number in (120, 121)]
        fake.answers["GET", "/v1/changes"] = documents.listed(changes)
        shell.completes("qd revert 12", "120", "121")
        assert not (tmp_path / "gone").exists(), text


@pytest.mark.parametrize("name", [*HOSTILE, "two words", "-o", "edge->core", ""])
def test_a_name_that_a_shell_would_not_take_for_one_word_is_not_offered(world, fake, documents, completed, name):
    fake.answers["GET", "/v1/clusters"] = documents.listed([{"name": name}])
    offered = ["analysts/analyst", "analysts/analyst-0", "analysts/analyst-1"]
    assert again_until(offered, completed, "explain", "") == offered
