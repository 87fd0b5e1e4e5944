"""What the node does where it finds no control groups or no Landlock: what it can, and it says what it cannot. No orphan is left."""

import os
import signal
import time

import pytest
from tests.scenarios.hidden import WITHOUT_GROUPS, WITHOUT_LANDLOCK, WITHOUT_MEMORY_GROUPS, works

from quarterdeck.engines.local.living import living
from quarterdeck.halts import Halt
from quarterdeck.model.desired import Restart

LACKS = "no cgroup: memory by rlimit in each process, clusters, cpu and processes without limit"
AGENTS = """
import resource, subprocess

def leave():
    \"\"\"Start programs that nothing leads to: sessions of their own, empty environments, parents that have ended.\"\"\"
    words = "env -i /bin/sh -c 'trap : TERM; sleep 4711 & echo $$ $!; wait' & wait"
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            subprocess.run(["/bin/sh", "-c", words], stdout=open("left", "w"), env={})
        os._exit(0)

def leaver(boot):
    leave()

def hungry(boot):
    import asyncio
    asyncio.get_running_loop().call_later(0.3, eat)

def eat():
    try:
        bytearray(os.urandom(1) * (200 << 20))
    except MemoryError:
        os.abort()
"""


@pytest.fixture
def bare(make_bench):
    """A node that sees no control groups."""
    bench = make_bench(through=works(WITHOUT_GROUPS))
    bench.code("bare", extra=AGENTS)
    bench.start()
    assert bench.ask("hello")["isolation"]["cgroup"] == "none"
    assert LACKS in bench.ask("observe")["weakenings"]
    assert bench.groups() == []
    return bench


def left(bench, n=0):
    """The pids that `leave` tells, as soon as it has, all alive."""
    file = next((bench.home.node / "work").rglob(f"a-{n}"), None)
    told = (file / "left").read_text().split() if file and (file / "left").exists() else []
    return [pid for pid in map(int, told) if bench.alive(pid)] if len(told) == 2 else []


def leaver(bench, **fields):
    bench.table(bench.row("leaver", slots=1, code="bare", **fields))
    replica = bench.ready(1)[0]
    pids = bench.until(lambda: left(bench))
    assert not set(pids) & set(bench.marked()), "their environment says nothing"
    return replica, pids


def gone(bench, pids, within):
    bench.until(lambda: not any(map(bench.alive, pids)), within=within, what=lambda: [pid for pid in pids if bench.alive(pid)])


def test_a_limit_of_memory_is_carried_out_where_only_the_groups_of_memory_are_missing(make_bench):
    bench = make_bench(through=works(WITHOUT_MEMORY_GROUPS))
    bench.code("bare", extra=AGENTS)
    bench.start()
    weak = bench.ask("hello")["weakenings"]
    assert [text for text in weak if "memory" in text] == ["no memory limit but by rlimit in each process"], weak
    bench.table(bench.row("hungry", slots=1, code="bare", memory=128 << 20, restart=Restart(budget=0)))
    ended = bench.event("replica.exited")["detail"]
    assert (ended["oom"], ended["cause"]) == (False, "killed by SIGABRT")


def test_replicas_run_without_landlock_and_that_they_are_not_kept_apart_is_told(make_bench):
    bench = make_bench(through=works(WITHOUT_LANDLOCK)).start()
    told = bench.ask("hello")
    assert told["isolation"]["landlock"] is False
    assert ("same-uid" in told["weakenings"]) is not told["isolation"]["uid"], told
    bench.table(bench.row(slots=1))
    bench.ready(1)
    kept = bench.run_in("c/a-0", f"__import__('agents').attempt({f'os.listdir({str(bench.home.root)!r})'!r})")
    assert (kept == "nothing stopped it") is not told["isolation"]["uid"], kept


def test_memory_beyond_the_limit_is_refused_and_not_called_a_kill_for_want_of_memory(bare):
    bare.table(bare.row("hungry", slots=1, code="bare", memory=128 << 20, restart=Restart(budget=0)))
    ended = bare.event("replica.exited")["detail"]
    assert (ended["signal"], ended["oom"], ended["cause"]) == (signal.SIGABRT, False, "killed by SIGABRT")
    bare.table(bare.row(slots=1, memory=128 << 20))
    pid = bare.ready(1)[0]["pid"]
    assert bare.run_in("c/a-0", "__import__('resource').getrlimit(__import__('resource').RLIMIT_DATA)") == [128 << 20] * 2
    os.kill(pid, signal.SIGKILL)
    killed = bare.until(lambda: bare.events("replica.exited")[1:])[0]["detail"]
    assert (killed["oom"], killed["cause"]) == (False, "killed by SIGKILL"), "who killed it cannot be known"


def test_what_a_replica_left_behind_dies_with_it(bare):
    replica, pids = leaver(bare)
    os.kill(replica["pid"], signal.SIGKILL)
    gone(bare, pids, within=2)


def test_what_a_replica_left_behind_dies_without_the_fork_server_too(bare):
    _, pids = leaver(bare)
    os.kill(bare.event("fork.started")["detail"]["pid"], signal.SIGKILL)
    gone(bare, pids, within=3)


def test_what_a_killed_node_left_is_killed_by_the_next_one(bare):
    _, pids = leaver(bare)
    bare.node.kill()
    bare.node.wait()
    assert all(map(bare.alive, pids)), "nothing but the next node ends it"
    assert set(pids) <= {one.pid for one in living(bare.home, "QD_NODE")}, "whoever looks sees it"
    bare.start()
    gone(bare, pids, within=0.1)


def test_stopping_leaves_nothing(bare):
    _, pids = leaver(bare)
    assert bare.ask("stop", within=1) == {"stopped": True, "left": {"processes": [], "cgroups": [], "sockets": []}}
    gone(bare, pids, within=0.1)
    bare.node.wait(5)


def test_what_is_halted_is_killed_with_what_it_left_behind(bare):
    _, pids = leaver(bare)
    bare.ask("halt", halt=Halt("s", "c/a", time.time(), "because", "me").to_json(), within=0.0)
    gone(bare, pids, within=2)
