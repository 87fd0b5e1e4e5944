"""The node's small parts, each by itself."""

import asyncio
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from quarterdeck import linux
from quarterdeck.clock import VirtualClock
from quarterdeck.engines.local import birthmark
from quarterdeck.engines.local.node import lifecycle, rooms
from quarterdeck.engines.local.node import memory as slots
from quarterdeck.engines.local.node.events import Events
from quarterdeck.engines.local.node.exits import understand
from quarterdeck.engines.local.node.lines import Lines
from quarterdeck.engines.local.node.logs import LogFile, Logs
from quarterdeck.engines.local.node.process import Equipment, Identity, Listener, Process
from quarterdeck.engines.local.node.table import Counters, Proven, Tables
from quarterdeck.errors import Conflict, Forbidden
from quarterdeck.model.desired import Restart, Template
from quarterdeck.model.home import Home
from quarterdeck.model.table import Table


def test_a_table_is_kept_over_restarts_and_only_rises(tmp_path):
    tables = Tables(tmp_path)
    assert tables.accept(Table(1, 5))
    assert not tables.accept(Table(1, 5))
    with pytest.raises(Conflict, match="older"):
        tables.accept(Table(1, 4))
    assert Tables(tmp_path).now == Table(1, 5)
    assert Tables(tmp_path).accept(Table(2, 0))


@pytest.mark.parametrize("text", ["", "{", '{"epoch": 1, "generation": 1}', '["no table"]'], ids=["empty", "cut", "old", "none"])
def test_a_table_that_cannot_be_read_is_kept_beside_and_an_empty_one_is_in_force(tmp_path, text, capfd):
    (tmp_path / "table.json").write_text(text)
    assert Tables(tmp_path).now == Table(0, 0)
    assert (tmp_path / "table.unreadable").read_text() == text
    assert "kept as" in capfd.readouterr().err
    assert Tables(tmp_path).accept(Table(1, 1))


def test_incarnations_only_rise_even_after_a_torn_write(tmp_path):
    counters = Counters(tmp_path)
    assert counters.take(["s/c/a-0", "s/c/a-1"]) == {"s/c/a-0": 1, "s/c/a-1": 1}
    assert counters.take(["s/c/a-0"]) == {"s/c/a-0": 2}
    with (tmp_path / "incarnations").open("a") as file:
        file.write("x")
    again = Counters(tmp_path)
    assert (again.next("s/c/a-0"), again.next("s/c/a-1"), again.next("s/c/a-2")) == (3, 3, 1)


def test_a_number_that_was_kept_ahead_waits_for_no_disk_and_the_one_after_it_is_refused_without_one(tmp_path, monkeypatch):
    counters = Counters(tmp_path)
    counters.take(["s/c/a-0"])
    monkeypatch.setattr(os, "fdatasync", broken)
    assert counters.take(["s/c/a-0"]) == {"s/c/a-0": 2}
    counters.restock("s/c/a-0")
    with pytest.raises(OSError, match="broken"):
        counters.take(["s/c/a-0"])
    assert counters.next("s/c/a-0") == 3
    monkeypatch.undo()
    counters.restock("s/c/a-0")
    monkeypatch.setattr(os, "fdatasync", broken)
    assert counters.take(["s/c/a-0"]) == {"s/c/a-0": 3}
    assert Counters(tmp_path).next("s/c/a-0") > 3


def broken(_):
    raise OSError("broken")


def test_what_was_good_is_kept_over_restarts(tmp_path):
    template = Template("d", "code", "m:f", env=(("A", "b"),), secrets=(("K", "/x"),))
    Proven(tmp_path).note("s/c/a", template)
    again = Proven(tmp_path)
    assert again.get("s/c/a") == template
    again.keep_only(set())
    assert Proven(tmp_path).get("s/c/a") is None


def test_events_are_numbered_bounded_and_waited_for():
    async def run():
        events = Events(VirtualClock(), "b")
        waiting = asyncio.create_task(events.wait(0, 5))
        await asyncio.sleep(0)
        events.add("x", "t", detail=1)
        first = await waiting
        for _ in range(10_001):
            events.add("y", "t")
        return first, events.after(0), events.after(10_001), await events.wait(events.next - 1, 0.01)

    first, all_kept, tail, nothing = asyncio.run(run())
    assert [item["seq"] for item in first["items"]] == [1]
    assert (all_kept["first"], len(all_kept["items"]), all_kept["next"]) == (3, 10_000, 10_003)
    assert [item["seq"] for item in tail["items"]] == [10_002]
    assert nothing["items"] == []


def test_logs_rotate_and_know_their_size(tmp_path):
    file = LogFile(tmp_path / "a.log", VirtualClock())
    grown = sum(file.write("out", [b"x" * 1000] * 1000) for _ in range(12))
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sorted(sizes) == ["a.log", "a.log.1", "a.log.2", "a.log.3", "a.log.4"]
    assert max(sizes.values()) <= 2 << 20
    assert grown == sum(sizes.values())
    assert Logs(tmp_path, VirtualClock()).bytes == grown
    assert (tmp_path / "a.log").read_text().startswith("2023-11-14T22:13:20.000Z out x")


def test_a_pipe_becomes_lines_and_its_rest_is_not_lost(tmp_path):
    async def run():
        logs = Logs(tmp_path, VirtualClock())
        pipe = logs.reader("s/c/a-0", "err")
        os.write(pipe.write_end, b"one\n\ntwo\nthr" + b"e" * 20_000)
        pipe.started()
        await asyncio.sleep(0.01)
        pipe.finish()

    asyncio.run(run())
    lines = (tmp_path / "s" / "c" / "a-0.log").read_text().splitlines()
    texts = [line.split(" ", 2)[2] for line in lines]
    assert texts[:3] == ["one", "", "two"]
    assert "".join(texts[3:]) == "thr" + "e" * 20_000
    assert all(re.fullmatch(r"\S+Z err .*", line) for line in lines)


def test_a_replica_that_is_ready_before_its_pid_is_known_is_told_in_order():
    class Told(Listener):
        def is_born(self, process):
            heard.append(("born", process.pid))

        def is_ready(self, process):
            heard.append(("ready", process.pid))

    heard = []

    async def run():
        mine, theirs = socket.socketpair()
        identity = Identity("s", "c", "a", 0, 1, Template("d", "code", "m:f"))
        process = Process(identity, Equipment([], os.memfd_create("stacks"), mine), VirtualClock(), Told())
        theirs.sendall(b'{"t":"ready"}\n')
        await asyncio.sleep(0.02)
        process.born(os.getpid(), os.pidfd_open(os.getpid()), forked=True)
        await asyncio.sleep(0.02)
        process.close()
        theirs.close()

    asyncio.run(run())
    assert heard == [("born", os.getpid()), ("ready", os.getpid())]


def test_garbage_on_a_channel_is_counted_not_raised():
    async def run():
        mine, theirs = socket.socketpair()
        heard = []
        lines = Lines(mine, heard.append)
        theirs.sendall(b'{"t":"a"}\n[]\nnot json\n' + b"[" * 60_000 + b'\n{"t":"b"}\n')
        for _ in range(10):
            lines.read_now()
        garbled, sent = lines.garbled, lines.send({"t": "drain"})
        received = theirs.recv(100)
        theirs.close()
        lines.read_now()
        lines.close()
        return heard, garbled, sent, received, lines.send({})

    heard, garbled, sent, received, late = asyncio.run(run())
    assert [message["t"] for message in heard] == ["a", "b"]
    assert garbled == 3
    assert (sent, json.loads(received), late) == (True, {"t": "drain"}, False)


@pytest.mark.parametrize(
    ("status", "known", "text"),
    [
        (signal.SIGKILL, {}, "killed by SIGKILL"),
        (7 << 8, {}, "exit code 7"),
        (signal.SIGKILL, {"oom": True}, "killed for want of memory"),
        (signal.SIGKILL, {"hang": True}, "hung: no beat"),
        (None, {}, "ended, cause unknown"),
        (40, {}, "killed by signal 40"),
    ],
)
def test_causes_of_an_end(status, known, text):
    assert understand(status, at=0.0, **{"oom": False, "hang": False, "detail": "", **known}).cause == text


def test_a_foreign_runtime_folder_is_refused(tmp_path, monkeypatch):
    home = Home(tmp_path / "home")
    lifecycle.prepare(home)
    assert home.run.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(Forbidden, match="another user"):
        lifecycle.prepare(home)


def test_the_mark_of_a_home_does_not_match_another(tmp_path):
    own, other = lifecycle.new_boot(Home(tmp_path / "a")), lifecycle.new_boot(Home(tmp_path / "b"))
    child = os.posix_spawn("/bin/sleep", ["sleep", "60"], {lifecycle.MARK: own.mark})
    try:
        assert lifecycle.left_behind(own) == {child: own.mark}
        assert lifecycle.sweep(other) == 0
        assert linux.stat(child)[0] not in ("", "Z")
        assert lifecycle.sweep(own) == 1
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


MARKED = """
import os, resource, sys
from quarterdeck import linux
from quarterdeck.engines.local import birthmark
label, most = sys.argv[1], int(sys.argv[2])
if most:
    resource.setrlimit(resource.RLIMIT_RTTIME, (most, most))
    linux.drop_capabilities()
birthmark.put(label)
os.execve("/bin/sh", ["sh", "-c", "env -i sleep 60 & echo $!; wait"], {})
"""


@contextmanager
def chain(label, most=0):
    """A shell below a process that marked itself, and what it started with an empty environment; `most` is a limit it had before."""
    with subprocess.Popen([sys.executable, "-c", MARKED, label, str(most)], stdout=subprocess.PIPE, text=True) as top:
        below = int(top.stdout.readline())
        try:
            yield top.pid, below
        finally:
            top.kill()
            linux.kill(below)


def test_the_mark_from_birth_outlives_an_empty_environment_and_does_not_match_another_home(tmp_path):
    own, other = lifecycle.new_boot(Home(tmp_path / "a")), lifecycle.new_boot(Home(tmp_path / "b"))
    with chain(own.label) as pids:
        assert lifecycle.left_behind(own) == dict.fromkeys(pids, own.label)
        assert not birthmark.has(os.getpid(), own.label)
        assert lifecycle.sweep(other) == 0
        assert lifecycle.sweep(own) == 2


def test_where_the_mark_from_birth_is_not_allowed_there_is_none_and_all_goes_on(tmp_path):
    own = lifecycle.new_boot(Home(tmp_path))
    with chain(own.label, most=9) as (top, below):
        assert not birthmark.has(top, own.label)
        assert not birthmark.has(below, own.label)


def test_version_2_groups_get_their_files(tmp_path):
    base = tmp_path / "base"
    groups = rooms.Cgroups("v2", dict.fromkeys(("memory", "pids", "cpu"), base))
    groups.make("room", rooms.Limits(1.5, 1 << 20, 10), leaf=False)
    written = {path.name: path.read_text() for path in (base / "room").iterdir()}
    assert written == {
        "cgroup.subtree_control": "+memory +pids +cpu",
        "memory.max": "1048576",
        "pids.max": "10",
        "cpu.max": "150000 100000",
    }
    groups.make("room/leaf", rooms.Limits(), leaf=True)
    assert (base / "room" / "leaf" / "memory.max").read_text() == "max"
    assert not (base / "room" / "leaf" / "cgroup.subtree_control").exists()
    (base / "room" / "leaf" / "memory.events").write_text("oom 1\noom_kill 2\n")
    assert groups.oom_kills("room/leaf") == 2


def test_what_a_machine_lacks_is_named():
    assert rooms.NONE.weakenings == ("no cgroup: memory by rlimit in each process, clusters, cpu and processes without limit",)
    lacks = ("cgroup v1", "no memory limit but by rlimit in each process", "no cpu limit")
    assert rooms.Cgroups("v1", {"pids": Path("/x")}).weakenings == lacks
    assert rooms.Cgroups("v2", dict.fromkeys(("memory", "pids", "cpu"), Path("/x"))).weakenings == ()


def test_out_of_failure_there_is_one_try_until_the_deaths_before_are_old():
    restart, memory, starts = Restart(budget=3, within=60.0, retry_after=4.0), slots.FRESH, []
    now = 0.0
    while now < 58:
        now = max(now, slots.may_start_at(memory, restart))
        memory = slots.began(memory, "t", now)
        starts.append(now)
        now += 0.1
        memory = slots.died(memory, restart, now, worked=False, jitter=0.0, reason="exit code 9")
    assert all(later - earlier >= 4.0 for earlier, later in itertools.pairwise(starts[4:]))
    assert len(starts) <= 20
    memory = slots.began(memory, "t", now + 100)
    for _ in range(3):
        memory = slots.died(memory, restart, now + 101, worked=False, jitter=0.0, reason="exit code 9")
        assert memory.failed_at is None
