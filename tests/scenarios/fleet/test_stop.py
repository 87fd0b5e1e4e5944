"""Stop with proof, against everything that could keep it from happening: whoever hangs, is gone or resists."""

import json
import os
import signal
import sqlite3
import threading
import time
from contextlib import suppress

import pytest
from tests.scenarios.fleet.stopping import FRONT, SPEC, WORK, alive, begun, busy, done, found, in_state, sink, stop, stops_of, submit, task

from quarterdeck import halts, linux
from quarterdeck.errors import QuarterdeckError, Transient

WITHIN = 2.0
HANGS = 5.0
"""Seconds from the command to the last death where it is first found that the control plane hangs: 1.3 on an idle machine."""


def prepared(fleet):
    fleet.write(quarterdeck=SPEC, front=FRONT, work=WORK)
    return fleet


@pytest.fixture(scope="module")
def shared(make_fleet):
    with make_fleet("stop") as fleet:
        prepared(fleet).up()
        yield fleet


@pytest.fixture
def stopped(deployed):
    """The fleet; whatever a test stops runs again afterwards."""
    yield deployed
    again(deployed)


def again(fleet):
    """As it was before: everything runs, and nobody's Change is left."""
    fleet.until(lambda: _answers(fleet), within=30, what=fleet.logs)
    for change in fleet.items("changes"):
        if change["state"] == "live":
            ran = fleet.qd("revert", change["id"], "--reason", "the test is over")
            assert ran.code == 0, ran
    fleet.until(lambda: len(fleet.replicas()) == 5, within=60, what=lambda: f"{fleet.replicas(state='')}\n{fleet.logs()}")


def _answers(fleet):
    with suppress(Transient):
        return fleet.client.get("/v1/version", timeout=1)


def test_an_agent_is_stopped_with_proof_and_nothing_else_is(stopped):
    others = {n: r["pid"] for n, r in stopped.replicas().items() if not n.startswith("core/worker")}
    assert len(alive(stopped, "core/worker")) == 2
    proof = done(stop(stopped, "agent", "core/worker"))
    assert (proof["kind"], proof["outcome"], proof["target"]) == ("StopProof", "done", "core/worker")
    assert {s["source"] for s in proof["sources"]} == {"/proc", "bus $SYS CONNZ", "ledger"}
    assert all(s["found"] == 0 and s["evidence"] for s in proof["sources"])
    assert proof["ms"] < 1000 * WITHIN * busy()
    assert alive(stopped, "core/worker") == ()
    assert {n: r["pid"] for n, r in stopped.replicas().items()} == others
    (record,) = stopped.journal("stop.proof")[-1:]
    assert (record["target"], record["outcome"]) == ("core/worker", "done")
    told = stopped.qd("explain", "core/worker")
    assert "stopped" in told.out, told
    assert "it must end" in told.out, told
    twice = done(stop(stopped, "agent", "core/worker"))
    assert twice["kept"] == proof["kept"], "a second stop is the same one"


def test_fifty_replicas_are_gone_within_two_seconds(stopped):
    assert stopped.qd("scale", "core/worker", "50", "--reason", "many").code == 0
    stopped.until(lambda: len(stopped.replicas(agent="core/worker")) == 50, within=90, what=stopped.logs)
    assert len(alive(stopped, "core/worker")) == 50
    began = time.monotonic()
    proof = done(stop(stopped, "fleet"))
    print(f"\n53 replicas stopped with proof in {proof['ms']} ms, {time.monotonic() - began:.2f} s with the command")
    assert proof["ms"] < 1000 * WITHIN * busy()
    assert alive(stopped) == ()


def test_what_counts_connections_sees_them(stopped):
    """So that a zero above means something."""
    import asyncio  # noqa: PLC0415

    from quarterdeck.clock import SystemClock  # noqa: PLC0415
    from quarterdeck.engines.local import proving  # noqa: PLC0415

    counts = {
        target: asyncio.run(proving.connections(stopped.home, SystemClock(), "trio", target)).found
        for target in ("", "core", "core/worker", "edge/front", "edge/nobody")
    }
    assert counts == {"": 5, "core": 4, "core/worker": 2, "edge/front": 1, "edge/nobody": 0}


def test_a_control_plane_that_hangs_does_not_matter(stopped):
    control = stopped.control()
    running = submit(stopped, do="slow", seconds=600)
    in_state(stopped, running, "running")
    os.kill(control, signal.SIGSTOP)
    began = time.monotonic()
    result = []
    thread = threading.Thread(target=lambda: result.append(stop(stopped, "cluster", "core")))
    thread.start()
    try:
        stopped.until(lambda: not alive(stopped, "core"), within=HANGS * busy(), what=lambda: alive(stopped, "core"))
        print(f"\ncontrol plane stopped: 4 replicas dead after {time.monotonic() - began:.2f} s")
    finally:
        thread.join(60)
    (ran,) = result
    proof = done(ran)
    print(f"proof with the work fenced by its successor after {time.monotonic() - began:.2f} s")
    assert not stopped.alive(control)
    assert [k.split()[0] for k in proof["kept"]] == ["change", "node"]
    (change,) = stops_of(stopped)
    assert (change["target"], change["author"], change["reason"]) == ("core", "human", "it must end")
    assert (added := stopped.journal("change.add", "core"))[-1]["via"] in ("node", "socket"), added  # as soon as its successor is there
    fenced = task(stopped, running)
    assert (fenced["state"], fenced["attempts"], fenced["owner"]) == ("queued", 0, None)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
def test_a_bus_that_is_down_does_not_matter(stopped, number):
    (bus,) = (pid for pid, command in stopped.marked().items() if command.startswith(("nats-server", "/")) and "nats-server" in command)
    os.kill(bus, number)
    try:
        began = time.monotonic()
        ran = stop(stopped, "agent", "core/worker")
        assert alive(stopped, "core/worker") == ()
        took = time.monotonic() - began
        if number == signal.SIGKILL:
            assert done(ran)["outcome"] == "done"
        else:
            assert done(ran, 5)["outcome"] == "unknown"
            assert found(ran)["bus $SYS CONNZ", "connections"] == "unknown"
            assert found(ran)["/proc", "processes"] == 0
        print(f"\nbus {number.name}: {ran.json['ms']} ms, {took:.2f} s with the command")
    finally:
        with suppress(ProcessLookupError):
            os.kill(bus, signal.SIGCONT)


def test_it_stays_stopped_when_node_and_control_plane_start_anew(stopped):
    done(stop(stopped, "agent", "core/worker"))
    for pid in (stopped.node(), stopped.control()):
        os.kill(pid, signal.SIGKILL)
        stopped.until(lambda: _answers(stopped), within=30, what=stopped.logs)
        stopped.until(lambda: len(stopped.replicas()) == 3, within=60, what=lambda: f"{stopped.replicas(state='')}\n{stopped.logs()}")
        time.sleep(1.2)  # a second hand of the node's
        assert alive(stopped, "core/worker") == ()
    assert stopped.replicas(agent="core/worker", state="") == {}


def test_a_node_that_hangs_is_ended_and_its_successor_keeps_the_halt(stopped):
    node = stopped.node()
    os.kill(node, signal.SIGSTOP)
    began = time.monotonic()
    ran = stop(stopped, "agent", "core/worker")
    took = time.monotonic() - began
    assert alive(stopped, "core/worker") == ()
    done(ran)
    print(f"\nnode stopped: {ran.json['ms']} ms, {took:.2f} s with the command")
    assert not stopped.alive(node)
    stopped.until(lambda: len(stopped.replicas()) == 3, within=30, what=stopped.logs)
    assert alive(stopped, "core/worker") == ()


def test_when_both_hang_the_error_says_what_to_do(stopped):
    pids = (stopped.control(), stopped.node())
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        ran = stop(stopped, "agent", "core/worker")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert ran.code == 5, ran
    assert "neither the control plane nor the node answers" in ran.err
    assert "qd down --yes" in ran.err
    stopped.until(lambda: _quietly(lambda: stops_of(stopped)), within=30, what=stopped.logs)  # the node woke up, and found the order
    assert alive(stopped, "core/worker") == ()


def _quietly(look):
    with suppress(QuarterdeckError, sqlite3.Error):
        return look()


def test_without_a_control_plane_the_node_does_it(stopped):
    control, node = stopped.control(), stopped.node()
    os.kill(node, signal.SIGSTOP)  # so that it starts no other one
    os.kill(control, signal.SIGKILL)
    os.kill(node, signal.SIGCONT)
    ran = stop(stopped, "fleet")
    assert alive(stopped) == ()
    assert done(ran)["outcome"] == "done"


def test_what_resists_dies_all_the_same(stopped):
    own = stopped.ask("core/stubborn", "dig")
    stopped.until(lambda: len(alive(stopped, "core/stubborn")) >= 4, what=lambda: alive(stopped, "core/stubborn"))
    os.kill(own, signal.SIGSTOP)
    proof = done(stop(stopped, "agent", "core/stubborn"))
    assert proof["ms"] < 1000 * WITHIN * busy()
    assert alive(stopped, "core/stubborn") == ()
    assert not stopped.alive(own)
    print(f"\nstubborn, stopped and with daemons: {proof['ms']} ms")
    assert not [pid for pid in linux.pids() if stopped.command(pid) == "nats-server 1000"]


@pytest.mark.parametrize(("kind", "state", "outcome"), [("unsafe", "unknown", "unknown"), ("idempotent", "queued", "failed")])
def test_an_effect_that_was_under_way_is_not_pending_any_more(stopped, kind, state, outcome):
    name = begun(stopped, kind, f"{kind}-{time.time_ns()}")
    word = task(stopped, name)["payload"]["word"]
    before = task(stopped, name)
    assert before["effects"][0]["outcome"] == "started"
    done(stop(stopped, "agent", "core/caller"))
    after = task(stopped, name)
    assert (after["state"], after["effects"][0]["outcome"], after["attempts"]) == (state, outcome, 0)
    assert after["fence"] == before["fence"] + 1
    assert stopped.qd("start", "agent", "core/caller", "--reason", "mended").code == 0
    if kind == "unsafe":
        time.sleep(1.0)
        assert (task(stopped, name)["state"], sink(stopped, word)) == ("unknown", 1), "only a human may say so"
        answer = {"key": "it", "outcome": "done", "value": word, "reason": "it did happen"}
        stopped.client.post(f"/v1/tasks/{name}/resolve", answer)
    ended = in_state(stopped, name, "done")
    assert (ended["attempts"], sink(stopped, word)) == (1, 1 if kind == "unsafe" else 2)


def test_work_in_the_queue_waits_for_the_start_and_is_done_then(stopped):
    done(stop(stopped, "agent", "core/worker"))
    names = [submit(stopped, do="quick", word=f"queued-{n}-{time.time_ns()}") for n in range(20)]
    time.sleep(1.0)
    assert {task(stopped, name)["state"] for name in names} == {"queued"}
    assert stopped.qd("start", "agent", "core/worker", "--reason", "mended").code == 0
    for name in names:
        ended = in_state(stopped, name, "done")
        assert (ended["attempts"], sink(stopped, ended["payload"]["word"])) == (1, 1)


def test_a_drain_lets_finish_what_does_in_time(stopped):
    name = submit(stopped, do="slow", seconds=1.5)
    in_state(stopped, name, "running")
    ran = stop(stopped, "agent", "core/worker", "--drain", "6s")
    assert done(ran)["outcome"] == "done"
    assert 1000 < ran.json["ms"] < 6000
    assert task(stopped, name)["state"] == "done"


def test_a_task_is_taken_from_whoever_works_on_it(stopped):
    name, other = submit(stopped, do="slow", seconds=3), submit(stopped, do="quick", word=f"other-{time.time_ns()}")
    in_state(stopped, name, "running")
    proof = done(stop(stopped, "task", name))
    assert (proof["target"], {s["source"] for s in proof["sources"]}) == (f"task {name}", {"ledger"})
    assert task(stopped, name)["state"] == "cancelled"
    in_state(stopped, other, "done")
    time.sleep(3.5)
    assert (task(stopped, name)["state"], task(stopped, name)["result"]) == ("cancelled", None), "its result came late and was refused"


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_task_is_stopped_while_the_control_plane_is_away(stopped, number):
    """Its worker is killed at once, the order is kept by the node, and whoever comes next ends it before anybody is given it again."""
    word = f"away-{time.time_ns()}"
    name = begun(stopped, "unsafe", word)
    worker = task(stopped, name)["owner"].partition("#")[0]
    pid = stopped.replicas()[worker]["pid"]
    began = time.monotonic()
    os.kill(stopped.control(), number)
    proof = done(stop(stopped, "task", name))
    print(f"\ntask stopped and proved after {time.monotonic() - began:.2f} s")
    assert {s["found"] for s in proof["sources"]} == {0}
    assert not stopped.alive(pid)
    ended = task(stopped, name)
    assert (ended["state"], ended["effects"][0]["outcome"]) == ("cancelled", "unknown")
    assert stopped.journal("stop.proof", "core/caller")[-1]["via"] in ("node", "socket")
    assert sink(stopped, word) == 1
    stopped.until(lambda: halts.read(stopped.home) == (), what=lambda: halts.read(stopped.home))  # carried out: nothing is left of it


def test_stops_at_once_are_one(stopped):
    ran = []
    threads = [threading.Thread(target=lambda: ran.append(stop(stopped, "agent", "core/worker"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {r.code for r in ran} == {0}, [str(r) for r in ran]
    assert len(stops_of(stopped)) == 1


def test_an_agent_cannot_call_it(stopped):
    halt = {"system": "trio", "target": "core", "since": 1.0, "reason": "mine", "actor": "me", "change": None}
    line = json.dumps({"id": 1, "verb": "halt", "halt": halt, "within": 0.0}) + "\n"
    post = "POST /v1/stops HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    for path, text in ((stopped.home.node_socket, line), (stopped.home.api_socket, post)):
        try:
            answer = stopped.ask("edge/front", "knock", [str(path), text])
        except QuarterdeckError as error:
            answer = error.message
        assert "accepted" not in answer
        assert '"kept"' not in answer
        assert "StopProof" not in answer
    time.sleep(0.3)
    assert len(alive(stopped, "core/worker")) == 2
