"""A disk that fills up under a running fleet: reads, agents, stops and the way down go on, writes come back with the room."""

import os
import signal
import sqlite3
import subprocess
import time
from contextlib import suppress

import pytest
from tests.scenarios.fleet.stopping import alive, stop, stops_of

from quarterdeck.errors import QuarterdeckError, StoreReadOnly

ROOM = "64m"
BACK_WITHIN = 30


@pytest.fixture
def small(make_fleet):
    """A deployed fleet whose home is a small file system of its own."""
    if os.getuid() != 0:
        pytest.skip("mounting a file system takes root")
    with make_fleet("disk") as fleet:
        fleet.home.root.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM},mode=0700", "tmpfs", str(fleet.home.root)]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("no file system can be mounted here")
        try:
            fleet.up()
            yield fleet
            fleet.close()
        finally:
            subprocess.run(["umount", "--lazy", str(fleet.home.root)], check=True)


def fill(fleet):
    """Take every free byte; gives the file that holds them."""
    ballast = fleet.home.root / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


def refused(fleet):
    """The refusal of a write once the control plane is back read-only."""
    try:
        fleet.client.post("/v1/changes", {"target": "core/worker", "field": "hold", "value": True, "reason": "fits nowhere"})
    except StoreReadOnly as error:
        return error
    except QuarterdeckError:
        return None
    return None


def test_a_full_disk_refuses_writes_clearly_and_writes_come_back_with_the_room(small):
    fleet = small
    agents = {n: r["pid"] for n, r in fleet.replicas().items()}
    ballast = fill(fleet)
    began = time.monotonic()
    error = fleet.until(lambda: refused(fleet), within=30, what=fleet.logs)
    told = time.monotonic() - began
    assert (error.http_status, error.exit_code) == (507, 5)
    shown = fleet.qd("scale", "core/worker", "3", "--reason", "fits nowhere")
    assert shown.code == 5, shown
    assert shown.err.startswith("error:")
    assert "read-only" in shown.err

    status = fleet.status()
    assert status["read_only"]
    assert "read-only store" in status["weakenings"]
    assert fleet.qd("get", "replicas").code == 0
    assert fleet.qd("explain", "core/worker").code == 0
    assert fleet.qd("logs", "core/worker").code == 0
    assert fleet.ask("edge/front", "through") == "one"
    assert {n: r["pid"] for n, r in fleet.replicas().items()} == agents

    control, victim = fleet.control(), agents.pop("core/worker-1")
    os.kill(victim, signal.SIGKILL)
    fleet.until(lambda: fleet.replicas().get("core/worker-1", {}).get("pid") not in (None, victim), what=lambda: fleet.items("replicas"))
    assert fleet.control() == control
    assert fleet.status()["read_only"]

    ballast.unlink()
    began = time.monotonic()
    fleet.until(lambda: not fleet.status()["read_only"], within=BACK_WITHIN, what=fleet.logs)
    back = time.monotonic() - began
    assert fleet.qd("scale", "core/worker", "3", "--reason", "room again").code == 0
    fleet.until(
        lambda: len(fleet.replicas(agent="core/worker")) == 3, what=lambda: f"{fleet.status()} {fleet.journal()[-8:]} {fleet.logs()}"
    )
    fleet.ready()
    assert fleet.qd("journal", "verify").code == 0
    assert victim in [record["evidence"]["pid"] for record in fleet.journal("replica.exited", "core/worker-1")]
    assert {n: r["pid"] for n, r in fleet.replicas().items() if n in agents} == agents
    print(f"\nfull disk: refused with 507 after {told:.1f} s, writable {back:.1f} s after room was made")


def test_qd_down_works_on_a_full_disk(small):
    fleet = small
    ballast = fill(fleet)
    ran = fleet.qd("down", "--yes")
    assert (ran.code, fleet.left()) == (0, []), f"{ran}\n{fleet.logs()}"
    ballast.unlink()
    fleet.up()
    assert fleet.ask("edge/front", "through") == "one"
    print(f"\nqd down on a full disk: {ran.seconds:.1f} s")


def test_a_full_disk_cannot_stop_a_stop(small):
    fleet = small
    fleet.ready()
    before = alive(fleet, "core/worker")
    assert before
    ballast = fill(fleet)
    began = time.monotonic()
    ran = stop(fleet, "agent", "core/worker")
    took = time.monotonic() - began
    assert alive(fleet, "core/worker") == ()
    print(f"\nfull disk: {ran.json['ms']} ms, {took:.2f} s with the command: exit {ran.code}, kept by {ran.json['kept']}")
    assert "node" in ran.json["kept"]
    os.kill(fleet.node(), signal.SIGKILL)
    fleet.until(lambda: _node_is_back(fleet), within=20, what=fleet.logs)
    time.sleep(2.0)
    assert alive(fleet, "core/worker") == ()
    ballast.unlink()
    fleet.until(lambda: _quietly(lambda: stops_of(fleet)), within=40, what=fleet.logs)
    assert fleet.qd("start", "agent", "core/worker", "--reason", "there is room").code == 0
    fleet.until(lambda: len(fleet.replicas(agent="core/worker")) == 2, within=40, what=fleet.logs)


def _quietly(look):
    with suppress(QuarterdeckError, sqlite3.Error):
        return look()


def _node_is_back(fleet):
    with suppress(OSError, ValueError):
        return fleet.alive(fleet.node())
