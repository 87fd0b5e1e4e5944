"""SIGKILL of every kind of process while questions are asked, a stopped replica, and the control plane killed at its own steps."""

import os
import signal
import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from quarterdeck.bus import server
from quarterdeck.deploy.evidence import PROOFS
from quarterdeck.errors import QuarterdeckError

STEPS = ("1:before", "2:inside", "4:before", "5:after", "7:inside", "9:inside", "11:after", "14:inside", "18:inside", "22:before")
"""A spread over the seven phases of a first deployment; QUARTERDECK_EVERY_STEP=1 takes all three moments of all of them."""


def process(fleet, words):
    """The one process below the node whose command has these words."""
    found = [pid for pid, command in fleet.marked().items() if words in command]
    assert len(found) == 1, fleet.marked()
    return found[0]


def killed(fleet, pid, number=signal.SIGKILL):
    os.kill(pid, number)
    return time.monotonic()


def back(fleet, names, old, since, within=20):
    """Seconds until these replicas are ready with other processes than before."""

    def look():
        now = fleet.replicas()
        return all(name in now and now[name]["pid"] not in old for name in names)

    fleet.until(look, within=within, what=lambda: f"{fleet.items('replicas')}\n{fleet.logs()}")
    return time.monotonic() - since


def test_a_killed_replica_is_replaced_while_its_sibling_answers(deployed):
    fleet = deployed
    with fleet.load("through") as load:
        load.more(5)
        pid = fleet.replicas()["core/worker-0"]["pid"]
        took = back(fleet, ["core/worker-0"], {pid}, killed(fleet, pid))
        load.more(5)
    last = fleet.until(lambda: fleet.replicas()["core/worker-0"]["last_exit"])
    assert (last["signal"], last["hang"], fleet.replicas()["core/worker-0"]["restarts"]) == (9, False, 1)
    exited = fleet.until(lambda: fleet.journal("replica.exited", "core/worker-0"))
    assert exited[-1]["evidence"]["pid"] == pid
    fleet.ready()
    print(f"\nreplica: answering again after {took * 1000:.0f} ms as seen by polling; longest silence of asks {load.gap * 1000:.0f} ms")


def test_a_killed_fork_server_takes_its_replicas_with_it_and_all_come_back(deployed):
    fleet = deployed
    old = {r["pid"] for r in fleet.replicas(agent="core/").values()}
    others = {n: r["pid"] for n, r in fleet.replicas(agent="edge/").items()}
    with fleet.load("send") as load:
        load.more(5)
        took = back(fleet, ["core/worker-0", "core/worker-1"], old, killed(fleet, process(fleet, "qd fork trio/core")))
        load.more(5)
    assert not any(map(fleet.alive, old))
    assert {n: r["pid"] for n, r in fleet.replicas(agent="edge/").items()} == others
    fleet.ready()
    print(f"\nfork server: both replicas ready again after {took * 1000:.0f} ms; longest silence of asks {load.gap * 1000:.0f} ms")


def test_a_killed_bus_comes_back_under_the_same_agents(deployed):
    fleet = deployed
    pids = {n: r["pid"] for n, r in fleet.replicas().items()}
    with fleet.load("send") as load:
        load.more(5)
        pid = process(fleet, "nats-server")
        since = killed(fleet, pid)
        fleet.until(lambda: not fleet.alive(pid))
        count = len(load.done)
        fleet.until(lambda: len(load.done) > count, what=lambda: f"{load.errors[-3:]} {fleet.logs()}")
        took = time.monotonic() - since
        load.more(5)
    assert process(fleet, "nats-server") != pid
    fleet.ready()
    assert {n: r["pid"] for n, r in fleet.replicas().items()} == pids
    kept = fleet.until(lambda: sorted(taken(fleet)) if set(load.done) <= taken(fleet) else None, what="every acknowledged message kept")
    print(f"\nnats-server: a durable message acknowledged again after {took * 1000:.0f} ms; {len(kept)} kept, none lost")


def test_a_bus_whose_port_somebody_took_moves_and_its_agents_follow(deployed):
    fleet = deployed
    pids = {n: r["pid"] for n, r in fleet.replicas().items()}
    before, node = server.kept_port(fleet.home), fleet.node()
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        os.kill(node, signal.SIGSTOP)  # it would have a new server there at once
        since = killed(fleet, process(fleet, "nats-server"))
        fleet.until(lambda: not bound(before))
        stranger.bind(("127.0.0.1", before))
        stranger.listen()
        os.kill(node, signal.SIGCONT)
        fleet.until(lambda: server.kept_port(fleet.home) != before, within=30, what=fleet.logs)
        fleet.until(lambda: answers(fleet), within=30, what=fleet.logs)
        took = time.monotonic() - since
        fleet.ready(within=60)
    assert {n: r["pid"] for n, r in fleet.replicas().items()} == pids
    print(f"\nbus moved from port {before} to {server.kept_port(fleet.home)}, agents answer after {took:.1f} s")


def answers(fleet):
    try:
        return fleet.ask("edge/front", "through") == "one"
    except QuarterdeckError:
        return False


def bound(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def taken(fleet):
    return {n for replica in fleet.replicas(agent="core/") for n in fleet.ask(replica, "taken")}


def test_a_killed_control_plane_is_back_within_5_seconds_and_no_agent_notices(deployed):
    fleet = deployed
    pids = {n: r["pid"] for n, r in fleet.replicas().items()}
    old, url = fleet.control(), fleet.status()["url"]
    since = killed(fleet, old)
    new = fleet.until(lambda: (found := fleet.client.answers()) and found["pid"] != old and found, within=5.0, what=fleet.logs)
    took = time.monotonic() - since
    assert fleet.status()["url"] == url
    fleet.ready()
    assert {n: r["pid"] for n, r in fleet.replicas().items()} == pids
    assert fleet.ask("edge/front", "through") == "one"
    print(f"\ncontrol plane: pid {old} → {new['pid']} answering after {took:.2f} s")


def test_a_killed_node_leaves_no_orphan_and_everything_comes_back(deployed):
    fleet = deployed
    below = set(fleet.marked())
    names = list(fleet.replicas())
    control = fleet.control()
    with fleet.load("through") as load:
        load.more(3)
        since = killed(fleet, fleet.node())
        fleet.until(lambda: not any(map(fleet.alive, below)), what=lambda: {p: fleet.command(p) for p in below if fleet.alive(p)})
        gone = time.monotonic() - since
        took = back(fleet, names, below, since)
        load.more(3)
    assert fleet.control() == control
    fleet.ready()
    ready = time.monotonic() - since
    print(
        f"\nnode: {len(below)} processes gone after {gone * 1000:.0f} ms, replicas ready after {took:.2f} s, all proven after {ready:.2f} s"
    )


def test_a_stopped_replica_is_found_to_hang_and_replaced(deployed):
    fleet = deployed
    pid = fleet.replicas()["edge/clerk-0"]["pid"]
    since = killed(fleet, pid, signal.SIGSTOP)
    took = back(fleet, ["edge/clerk-0"], {pid}, since)
    last = fleet.until(lambda: fleet.replicas()["edge/clerk-0"]["last_exit"])
    assert (last["hang"], last["signal"]) == (True, 9)
    assert not fleet.alive(pid)
    fleet.ready()
    print(f"\nSIGSTOP: replaced after {took:.2f} s (hang_after 2 s)")


def end_state(fleet):
    """What a deployment has come to: canonical revision, inventory, replicas, Conditions; no keys, ids, pids, ports, times.

    Without `Step:` Conditions: they tell of an attempt, and a step that was done by a control plane that died is not attempted again,
    so its Condition stays missing; what there is of them is compared by `attempts`.
    """
    with closing(sqlite3.connect(f"file:{fleet.home.database}?mode=ro", uri=True)) as db:
        inventory = sorted(db.execute("select kind, name from inventory where gone is null"))
    conditions = {(c["kind"], c["target"], c["status"]) for c in fleet.items("conditions") if not c["kind"].startswith("Step:")}
    return {
        "revisions": [(r["number"], r["digest"], r["current"]) for r in fleet.items("revisions")],
        "inventory": inventory,
        "replicas": sorted((r["name"], r["state"]) for r in fleet.items("replicas")),
        "conditions": sorted(conditions),
        "phases": [(p["name"], p["status"]) for p in fleet.status()["phases"]],
    }


def attempts(fleet):
    """The steps that were attempted to their end, and how the newest attempt of each went."""
    return {(c["kind"], c["target"], c["status"]) for c in fleet.items("conditions") if c["kind"].startswith("Step:")}


@pytest.fixture(scope="module")
def undisturbed(make_fleet):
    """What a run that nobody disturbs comes to, and its attempts."""
    with make_fleet("undisturbed") as fleet:
        fleet.up()
        return end_state(fleet), attempts(fleet)


def disturbed(make_fleet, at):
    """(whether the control plane was killed there, what it came to and its attempts, seconds until Ready)."""
    with make_fleet(at.replace(":", "-")) as fleet:
        ran = fleet.qd("up", QUARTERDECK_KILL_AT=at)
        assert ran.code == 0, f"killed at {at}: {ran}\n{fleet.logs()}"
        assert len(fleet.items("conditions")) > 0
        return (fleet.home.logs / "control.log").exists(), (end_state(fleet), attempts(fleet)), ran.seconds


def test_the_control_plane_killed_at_a_step_of_a_first_deployment_comes_to_the_same_end(undisturbed, make_fleet):
    every = bool(os.environ.get("QUARTERDECK_EVERY_STEP"))
    wanted, known = undisturbed
    proofs = {proof.kind for proof in PROOFS}
    steps = len(known) + sum(kind in proofs for kind, _, _ in wanted["conditions"])
    moments = [f"{n}:{m}" for n in range(1, steps + 1) for m in ("before", "inside", "after")] if every else STEPS
    with ThreadPoolExecutor(4) as pool:  # a third of each run is waiting: for retries, pings and polls
        for at, (died, (state, tried), seconds) in zip(moments, pool.map(lambda at: disturbed(make_fleet, at), moments), strict=True):
            assert died, f"{at} was never reached"
            assert state == wanted, at
            assert tried <= known, at
            print(f"\nkilled at {at}: Ready after {seconds:.1f} s", end="")
    print(f"\n{len(moments)} moments of {steps} steps")
