"""`qd down`: asked first, ordered first, proven last."""

import json
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest


@pytest.fixture
def stopping(fake, home):
    """The fake stops itself as the real one does, and notes the stop order it found."""
    found = []

    def answer(query, body, headers):
        found.append((home.stop_order.read_bytes()[:1], body))
        threading.Timer(0.05, fake.stop).start()
        return {"stopped": ["9 replicas", "bus", "node"], "left": []}

    fake.answers["POST", "/v1/down"] = answer
    return found


def test_the_order_is_on_disk_before_anything_is_asked(stopping, qd, home):
    ran = qd("down", "--yes", "--within", "3s")
    assert stopping == [(b"1", {"purge": False, "within": 3.0})]
    assert (ran.code, ran.out, ran.err) == (0, " stopped 9 replicas\n stopped bus\n stopped node\n left    nothing\n", "")
    assert not home.api_socket.exists()


def test_without_a_terminal_nothing_is_asked(stopping, qd, home, monkeypatch):
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        ran = qd("down")
    assert ran.code == 2
    assert "--yes" in ran.err
    assert stopping == []
    assert not home.stop_order.exists()


class Terminal:
    def __init__(self, text):
        self.text = text

    def isatty(self):
        return True

    def readline(self):
        return self.text


@pytest.mark.parametrize(("typed", "code"), [("triage\n", 0), ("yes\n", 1), ("", 1)])
def test_the_name_is_typed(stopping, qd, monkeypatch, typed, code):
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    ran = qd("down")
    assert ran.code == code
    assert "Type triage to go on" in ran.err
    assert len(stopping) == (code == 0)


def test_nothing_running(home, qd):
    ran = qd("down", "--yes")
    assert (ran.code, ran.out) == (0, " nothing was running\n")
    assert not home.stop_order.exists()


def test_json(stopping, qd):
    document = qd("down", "--yes", "-o", "json").json
    assert document == {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "Down", "stopped": ["9 replicas", "bus", "node"], "left": []}


def test_only_one_system_leaves_the_rest_running(fake, qd, home):
    fake.answers["POST", "/v1/down"] = {"stopped": ["triage"], "left": []}
    assert qd("down", "-s", "triage", "--yes").code == 0
    assert fake.asked("POST", "/v1/down")[0][1]["system"] == "triage"
    assert not home.stop_order.exists()
    assert qd("status").code == 0


def test_without_a_control_plane_the_node_is_asked(home, qd):
    asked = []
    home.run.mkdir(parents=True)
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(home.node_socket))
    door.listen()

    def fake_node():
        while True:
            peer, _ = door.accept()
            with peer, peer.makefile("rwb") as stream:
                line = stream.readline()
                if not line:
                    continue
                asked.append((json.loads(line), home.stop_order.read_bytes()[:1]))
                stream.write(
                    json.dumps({"id": 1, "ok": {"stopped": True, "left": {"processes": [], "cgroups": [], "sockets": []}}}).encode() + b"\n"
                )
                stream.flush()
                door.close()
                return

    threading.Thread(target=fake_node, daemon=True).start()
    ran = qd("down", "--yes", "--within", "1s")
    assert asked == [({"id": 1, "verb": "stop", "within": 1.0}, b"1")]
    assert ran.code == 0
    assert " left    nothing\n" in ran.out
    assert not home.run.exists()


def test_an_orphan_with_our_mark_is_found_and_ended(home, qd):
    sleeper = shutil.which("sleep")
    ours = subprocess.Popen([sleeper, "60"], env={"QD_NODE": f"{home.mark}:0123456789abcdef"})
    other = subprocess.Popen([sleeper, "60"], env={"QD_NODE": "qd-ffffffffff:0123456789abcdef"})
    try:
        ran = qd("down", "--yes")
        assert ran.code == 0
        assert f"process {ours.pid} " in ran.err
        assert ours.wait(5) == -15
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_an_orphan_that_will_not_listen_is_killed(home, qd, monkeypatch, until, tmp_path):
    monkeypatch.setattr("quarterdeck.cli.down._SETTLE", 0.4)
    ready = tmp_path / "ready"
    program = f"trap '' TERM; touch {ready}; while :; do sleep 0.05; done"
    deaf = subprocess.Popen(["/bin/sh", "-c", program], env={"QD_NODE": f"{home.mark}:0123456789abcdef", "PATH": os.environ["PATH"]})
    until(ready.exists)
    assert qd("down", "--yes").code == 0
    assert deaf.wait(5) == -9


def test_a_member_of_our_control_group_is_ended_and_the_group_removed(home, qd, monkeypatch, tmp_path):
    """On a folder that stands in for the cgroup file system: members are read from its files, as the kernel lists them."""
    sleeper = subprocess.Popen([shutil.which("sleep"), "60"], env={})
    group = tmp_path / "cgroups" / "pids" / home.mark
    (group / "front").mkdir(parents=True)
    members = group / "front" / "cgroup.procs"
    members.write_text(f"{sleeper.pid}\n")
    monkeypatch.setattr("quarterdeck.cli.leftovers._CGROUPS", tmp_path / "cgroups")
    threading.Thread(target=lambda: (sleeper.wait(), members.unlink()), daemon=True).start()
    ran = qd("down", "--yes")
    assert ran.code == 0
    assert f"process {sleeper.pid} " in ran.err
    assert sleeper.wait(5) == -15
    assert not group.exists()


def test_what_is_left_is_an_error(fake, qd, monkeypatch):
    monkeypatch.setattr("quarterdeck.cli.leftovers.linux.kill", lambda *_: None)
    monkeypatch.setattr("quarterdeck.cli.down._SETTLE", 0.1)
    fake.answers["POST", "/v1/down"] = {"stopped": [], "left": []}
    monkeypatch.setattr("quarterdeck.cli.leftovers.os.getpid", lambda: 0)  # the fake lives in this process
    ran = qd("down", "--yes")
    assert ran.code == 1
    assert f"error: still there: socket {fake.home.api_socket}" in ran.err
    assert " left    2\n" in ran.out


def test_purge_removes_a_home_and_nothing_else(stopping, qd, home):
    home.logs.mkdir()
    ran = qd("down", "--yes", "--purge")
    assert ran.code == 0
    assert not home.root.exists()


def test_purge_refuses_a_folder_that_is_no_home(home, qd):
    (home.root / "thesis.tex").write_text("work of years")
    ran = qd("down", "--yes", "--purge")
    assert ran.code == 4
    assert (home.root / "thesis.tex").exists()
