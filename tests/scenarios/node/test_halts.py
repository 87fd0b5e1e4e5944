"""A node that is told to let something stop: killed at once, whatever it does against it, and not started again by anybody."""

import os
import signal
import time
from dataclasses import replace

import pytest

from quarterdeck import halts, linux
from quarterdeck.engines.local.living import living, of
from quarterdeck.halts import Halt

MARK = "QD_NODE"
STUBBORN = """
import ctypes, signal, subprocess, threading

def stubborn(boot):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0:  # a daemon without our mark: another program, with an empty environment and a name of its own
        os.setsid()
        if os.fork() == 0:
            os.execve("/bin/sleep", ["qd node", "1000"], {})
        os._exit(0)
    subprocess.Popen(["/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"], start_new_session=True)
"""


def order(bench, target="", system="s", within=0.0, **fields):
    return bench.ask("halt", halt=Halt(system, target, time.time(), "because", "me", **fields).to_json(), within=within)


def alive(bench, target=""):
    return of(living(bench.home, MARK, bench.node.pid), "s", target)


def dead(bench, target="", within=2.0):
    bench.until(lambda: not alive(bench, target), within=within, what=lambda: [one.told for one in alive(bench, target)])


@pytest.mark.parametrize("target", ["", "c", "c/a"])
def test_all_of_a_target_is_killed_and_nothing_of_it_is_started_again(bench, target):
    bench.table(bench.row(slots=5))
    pids = [r["pid"] for r in bench.ready(5)]
    began = time.monotonic()
    assert order(bench, target)["kept"]
    dead(bench, target)
    print(f"\n5 replicas of {target or 'everything'} dead after {(time.monotonic() - began) * 1000:.0f} ms")
    assert not any(map(bench.alive, pids))
    assert bench.replicas() == [], "none waits, for none may start"
    bench.table(bench.row(slots=6))
    bench.event("table.accepted")
    time.sleep(1.2)  # a second hand of the node's
    assert alive(bench, target) == ()
    bench.ask("lift", system="s", target=target)
    bench.ready(6)


def test_what_is_not_meant_goes_on(bench):
    bench.table(bench.row(slots=2), replace(bench.row(slots=2), agent="b"))
    others = {r["pid"] for r in bench.ready(4) if r["name"].startswith("c/b")}
    with pytest.raises(AssertionError, match="nothing called 'c/nobody' runs here, but c, c/a, c/b"):
        order(bench, "c/nobody")
    order(bench, "c/a")
    dead(bench, "c/a")
    assert {one.pid for one in alive(bench, "c/b")} == others
    assert all(map(bench.alive, others))


def test_a_halt_outlives_the_node_and_comes_before_its_table(bench):
    bench.table(bench.row(slots=3))
    bench.ready(3)
    order(bench, "c/a")
    os.kill(bench.node.pid, signal.SIGKILL)
    bench.node.wait()
    assert [h.key for h in halts.read(bench.home)] == [("s", "c/a")]
    bench.start()
    time.sleep(1.5)
    assert bench.events("replica.started") == []
    assert alive(bench, "c/a") == ()
    bench.ask("lift", system="s", target="c/a")
    bench.ready(3)
    assert halts.read(bench.home) == ()


def test_ignored_signals_daemons_and_stopped_processes_end_nobodys_stop(bench):
    bench.code("two", STUBBORN)
    bench.table(bench.row("stubborn", code="two", slots=3))
    pids = [r["pid"] for r in bench.ready(3)]
    bench.until(lambda: len(alive(bench, "c/a")) >= 9, what=lambda: alive(bench, "c/a"))
    for pid in (pids[0], *linux.children_of(pids[1])):
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    order(bench, "c/a")
    dead(bench, "c/a")
    print(f"\n{len(pids)} stubborn replicas and their daemons dead after {(time.monotonic() - began) * 1000:.0f} ms")


def test_a_fork_server_that_is_stopped_takes_its_daemons_with_it(bench):
    bench.code("two", STUBBORN)
    bench.table(bench.row("stubborn", code="two", slots=2))
    bench.ready(2)
    bench.until(lambda: len(alive(bench, "c/a")) >= 6)
    (fork,) = (one.pid for one in alive(bench, "c") if one.kind == "fork")
    os.kill(fork, signal.SIGSTOP)
    order(bench, "c")
    dead(bench, "c")


def test_a_drain_lets_finish_and_a_second_order_at_once_does_not_wait_for_it(bench):
    bench.table(bench.row(slots=2))
    bench.ready(2)
    order(bench, "c/a", within=30.0)
    dead(bench, "c/a")  # they finish: the small runtime does as soon as it is asked
    ends = bench.until(lambda: len(found := bench.events("replica.exited")) == 2 and found)
    assert [e["detail"]["code"] for e in ends] == [0, 0]
    bench.ask("lift", system="s", target="c/a")
    for replica in bench.ready(2):
        os.kill(replica["pid"], signal.SIGSTOP)
    order(bench, "c/a", within=30.0)
    assert len(alive(bench, "c/a")) == 2
    order(bench, "c/a")
    dead(bench, "c/a")


def test_two_orders_are_one_halt_which_learns_of_its_change(bench):
    bench.table(bench.row(slots=1))
    order(bench, "c")
    order(bench, "c", change=7)
    order(bench, "c/a")
    assert [(h["target"], h["change"]) for h in bench.ask("halts")["halts"]] == [("c", 7), ("c/a", None)]
    bench.ask("lift", system="s", target="c")
    time.sleep(0.3)
    assert bench.replicas() == []  # the other one still stands


def test_while_nobody_knows_what_may_run_nothing_does_until_the_list_is_told(make_bench, capfd):
    bench = make_bench()
    halts.prepare(bench.home)
    bench.home.halts.write_bytes(b"what?" * 60_000)
    bench.start()
    assert bench.ask("halts") == {"damaged": True, "halts": []}
    bench.table(bench.row(slots=1))
    time.sleep(1.0)
    assert bench.events("replica.started") == []
    bench.ask("halts_reset", halts=[Halt("s", "c/other", 1.0, "as it was").to_json()])
    bench.ready(1)
    assert [h.target for h in halts.read(bench.home)] == ["c/other"]
    assert "cannot be read" in capfd.readouterr().err


def test_the_table_may_ask_for_it_as_long_as_it_likes(bench):
    bench.table(bench.row(slots=1))
    bench.ready(1)
    order(bench, system="")
    dead(bench)
    bench.table(bench.row(slots=2, code="one", digest="another"))
    bench.event("rollout.started")
    time.sleep(0.5)
    assert alive(bench) == ()
    assert len(bench.ask("table_get")["table"]["rows"][0]["slots"]) == 2
