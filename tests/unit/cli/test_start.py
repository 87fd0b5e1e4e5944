"""Starting a control plane: it is awaited, and one that ends at once is quoted."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from quarterdeck import stop_order
from quarterdeck.api.listening import ANOTHER
from quarterdeck.cli import start
from quarterdeck.cli.session import Choices, Session
from quarterdeck.errors import Conflict, Terminal


@pytest.fixture
def session(tmp_path):
    return Session.begin(Choices(home=tmp_path / "home"))


def says(monkeypatch, text, code):
    """The next control plane writes `text` and ends."""
    spawned = []

    def spawn(home, log, port, door):
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            program = f"import sys; sys.stderr.write({text!r}); sys.exit({code})"
            spawned.append(subprocess.Popen([sys.executable, "-c", program], stdout=out, stderr=out))
        return spawned[-1]

    monkeypatch.setattr(start, "_spawn", spawn)
    return spawned


@pytest.mark.parametrize(
    ("text", "kind", "message", "hint"),
    [
        ("error: port 7410 is taken [E1001]\nhint: qd up --port 0\n", Conflict, "port 7410 is taken", "qd up --port 0"),
        ("port 7410 is taken\nqd up --port 0\n", Conflict, "port 7410 is taken; qd up --port 0", "read "),
        ("Traceback\n  File\nRuntimeError: boom\n", Terminal, "RuntimeError: boom", "read "),
        ("", Terminal, "it said nothing", "read "),
    ],
)
def test_the_cause_is_quoted(session, monkeypatch, text, kind, message, hint):  # noqa: PLR0917 fixtures
    spawned = says(monkeypatch, text, 3)
    with pytest.raises(kind) as refused:
        start.ensure(session, None)
    assert message in refused.value.message
    assert "(exit 3)" in refused.value.message
    assert "[E" not in refused.value.message  # the error that quotes it has a code of its own
    assert refused.value.hint.startswith(hint)
    assert spawned[0].returncode == 3


def test_words_of_an_earlier_start_are_not_quoted(session, monkeypatch):
    (session.home.logs).mkdir(parents=True)
    (session.home.logs / "serve.log").write_text("error: long ago\n")
    says(monkeypatch, "error: now\n", 1)
    with pytest.raises(Terminal, match="now"):
        start.ensure(session, None)


def test_the_home_is_private_and_the_stop_order_is_preallocated(session, monkeypatch):
    says(monkeypatch, "", 1)
    with pytest.raises(Terminal):
        start.ensure(session, None)
    assert session.home.root.stat().st_mode & 0o777 == 0o700
    assert session.home.stop_order.read_bytes() == b"0" * 4096
    stop_order.write(session.home, stay_down=True)
    assert session.home.stop_order.read_bytes() == b"1" + b"0" * 4095


def test_it_is_started_apart_with_this_home(session, monkeypatch, tmp_path):
    """The real command line of the child, carried out by a stand-in for the interpreter."""
    seen = tmp_path / "seen"
    stand_in = tmp_path / "python"
    asked = ('"$@"', '"$QUARTERDECK_HOME $QUARTERDECK_PORT"', "$(ls /proc/self/fd | wc -l)", "$(ps -o sid= -p $$)", "$$")
    stand_in.write_text("\n".join(["#!/bin/sh", *(f"echo {one} >> {seen}" for one in asked)]))
    stand_in.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    with pytest.raises(Terminal):
        start.ensure(session, 0)
    argv, home, descriptors, leader, pid = seen.read_text().splitlines()
    assert argv == f"-m quarterdeck.cli.main --home {session.home.root} serve"
    assert home == f"{session.home.root} 0"
    assert int(descriptors) <= 4
    assert leader.strip() == pid


@pytest.mark.parametrize(
    ("port", "said"),
    [
        ("many", "error: 'many' is no port [E1001]\nhint: QUARTERDECK_PORT is a number up to 65535, 0 for any\n"),
        ("99999", "error: '99999' is no port [E1001]\nhint: QUARTERDECK_PORT is a number up to 65535, 0 for any\n"),
        ("taken", f"error: port {{port}} is taken [E1007]\nhint: ss -ltnp shows who has it; {ANOTHER}\n"),
    ],
)
def test_the_control_plane_itself_says_what_is_wrong_as_every_verb_does(session, monkeypatch, port, said):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        monkeypatch.setenv("QUARTERDECK_PORT", str(taken) if port == "taken" else port)
        argv = [sys.executable, "-m", "quarterdeck.cli.main", "--home", str(session.home.root), "serve"]
        ran = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", said.format(port=taken))


BIND, CERT, PUBLIC = "QUARTERDECK_BIND", "QUARTERDECK_TLS_CERT", "QUARTERDECK_PUBLIC_URL"


@pytest.mark.parametrize(
    ("url", "door", "warned"),
    [
        ("http://127.0.0.1:7410", {}, False),
        ("http://127.0.0.1:7410", {BIND: None, CERT: None, PUBLIC: None}, False),
        ("http://127.0.0.1:7410", {BIND: "127.0.0.1"}, False),
        ("http://[::1]:7410", {BIND: "[::1]"}, False),
        ("http://127.0.0.1:7410", {BIND: "192.0.2.7"}, True),
        ("http://127.0.0.1:7410", {CERT: Path("c.pem")}, True),
        ("https://host:7410", {CERT: Path("c.pem"), BIND: "::"}, False),
        ("http://127.0.0.1:7410", {PUBLIC: "https://fleet.example.org"}, True),
        ("https://fleet.example.org", {PUBLIC: "https://fleet.example.org/", BIND: "192.0.2.7"}, False),
        ("", {BIND: "192.0.2.7"}, False),
    ],
)
def test_a_place_to_listen_that_a_running_control_plane_does_not_have_is_said_to_be_ignored(url, door, warned):
    told = start.door_ignored({"url": url}, door)
    assert len(told) == warned
    assert all("qd down, then qd up" in words for words in told)


def test_where_to_listen_goes_along_in_the_environment_with_absolute_files(session, monkeypatch, tmp_path):
    seen, stand_in = tmp_path / "seen", tmp_path / "python"
    stand_in.write_text(f'#!/bin/sh\necho "$QUARTERDECK_BIND $QUARTERDECK_TLS_CERT" > {seen}\n')
    stand_in.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Terminal):
        start.ensure(session, 0, {BIND: "::1", CERT: Path("c.pem"), PUBLIC: None})
    assert seen.read_text() == f"::1 {tmp_path / 'c.pem'}\n"
