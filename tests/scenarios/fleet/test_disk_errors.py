"""A disk that fails to sync the store under a running fleet (by strace): reads and the way down go on, writes come back with the disk."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest

from quarterdeck.errors import QuarterdeckError, StoreReadOnly
from quarterdeck.store.store import EXIT_STORE_FAILED

BACK_WITHIN = 30


@pytest.fixture
def own(make_fleet):
    """A deployed fleet whose disk may fail."""
    if shutil.which("strace") is None or os.getuid() != 0:
        pytest.skip("attaching strace takes strace and root")
    with make_fleet("failing") as fleet:
        fleet.up()
        yield fleet


@contextmanager
def failing(fleet):
    """Every sync of the database fails with EIO, in the control plane and in its successors; gives strace's notes on what ended how."""
    notes = fleet.folder / "strace"
    paths = [word for suffix in ("", "-wal", ".new") for word in ("-P", f"{fleet.home.database}{suffix}")]
    tracing = ["-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO", *paths]
    processes = ["-p", str(fleet.control()), "-p", str(fleet.node())]
    strace = subprocess.Popen(["strace", "-f", "-o", str(notes), *tracing, *processes], stderr=subprocess.PIPE, text=True)
    try:
        assert "attached" in strace.stderr.readline()
        assert "attached" in strace.stderr.readline()
        yield notes
    finally:
        strace.send_signal(signal.SIGINT)
        strace.communicate(timeout=10)


def hold(fleet, reason):
    """The id of a Change that was acknowledged; None when the control plane is away."""
    try:
        body = {"target": "core/worker", "field": "hold", "value": True, "reason": reason}
        return fleet.client.post("/v1/changes", body)["id"]
    except StoreReadOnly:
        raise
    except QuarterdeckError:
        return None


def refusal(fleet):
    """The answer to a write once the control plane is back read-only."""
    try:
        hold(fleet, "goes nowhere")
    except StoreReadOnly as error:
        return error
    return None


def test_a_store_whose_sync_fails_ends_the_control_plane_reads_go_on_and_writes_come_back_with_the_disk(own):
    fleet = own
    agents = {n: r["pid"] for n, r in fleet.replicas().items()}
    first, kept = fleet.control(), {hold(fleet, f"kept {n}") for n in range(5)}
    with failing(fleet) as notes:
        began = time.monotonic()
        error = fleet.until(lambda: refusal(fleet), within=30, what=fleet.logs)
        told = time.monotonic() - began
        assert (error.http_status, error.exit_code) == (507, 5)
        assert "read-only" in error.message
        fleet.until(lambda: f"{first} +++ exited with {EXIT_STORE_FAILED} +++" in " ".join(notes.read_text().split()), what=notes.read_text)
        assert fleet.control() != first
        shown = fleet.qd("scale", "core/worker", "3", "--reason", "goes nowhere")
        assert shown.code == 5, shown
        assert "read-only" in shown.err
        assert fleet.status()["read_only"]
        for words in (("get", "replicas"), ("explain", "core/worker"), ("logs", "core/worker"), ("journal", "verify")):
            assert fleet.qd(*words).code == 0, words
        assert fleet.ask("edge/front", "through") == "one"
    began = time.monotonic()
    fleet.until(lambda: not fleet.status()["read_only"], within=BACK_WITHIN, what=fleet.logs)
    back = time.monotonic() - began
    assert fleet.qd("scale", "core/worker", "3", "--reason", "mended").code == 0
    fleet.until(lambda: len(fleet.replicas(agent="core/worker")) == 3, what=fleet.logs)
    fleet.ready()
    assert kept <= {change["id"] for change in fleet.items("changes") if change["state"] == "live"}
    assert {n: r["pid"] for n, r in fleet.replicas().items() if n in agents} == agents
    assert fleet.qd("down", "--yes").code == 0
    assert fleet.qd("journal", "verify", fleet.home.database).code == 0
    print(f"\nEIO: refused with 507 after {told:.1f} s, writable {back:.1f} s after the disk was mended")


def test_qd_down_works_while_the_store_cannot_be_synced(own):
    fleet = own
    with failing(fleet):
        fleet.until(lambda: refusal(fleet), within=30, what=fleet.logs)
        ran = fleet.qd("down", "--yes")
        assert (ran.code, fleet.left()) == (0, []), f"{ran}\n{fleet.logs()}"
    assert fleet.qd("journal", "verify", fleet.home.database).code == 0
    print(f"\nqd down on a failing disk: {ran.seconds:.1f} s")
