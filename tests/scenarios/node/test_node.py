"""The node's own life: one per home, nothing left behind, what it persists, its door, its services, its control plane."""

import json
import os
import signal
import socket
import subprocess
import sys

from quarterdeck import linux
from quarterdeck.model.table import Service

CONTROL = """
import json, os, socket, sys, time
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
sock.sendall(json.dumps({"id": 1, "verb": "hello", "control": True}).encode() + b"\\n")
with open(sys.argv[2], "a") as file:
    file.write(f"{os.getpid()}\\n")
while True:
    time.sleep(1)
"""


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_a_killed_node_leaves_no_orphan_and_brings_everything_back(bench):
    bench.table(bench.row("daemon"))
    before = {pid for replica in bench.ready(3) for pid in (replica["pid"], *linux.children_of(replica["pid"]))}
    assert len(before) > 3
    boot = bench.ask("hello")["boot"]
    bench.node.kill()
    bench.node.wait()
    bench.start()
    assert bench.ask("hello")["boot"] != boot
    assert bench.ask("hello")["version"] == [1, 1]
    assert {replica["incarnation"] for replica in bench.ready(3)} == {3}, "the number that was kept ahead is not given out again"
    assert not any(bench.alive(pid) for pid in before)


def test_stop_leaves_nothing(bench):
    port = free_port()
    bench.table(bench.row("daemon"), services=(http(port),))
    bench.ready(3)
    assert bench.groups()
    assert bench.ask("stop", within=2) == {"stopped": True, "left": {"processes": [], "cgroups": [], "sockets": []}}
    assert bench.node.wait(5) == 0
    assert not bench.marked()
    assert not bench.groups()
    assert not bench.home.run.exists()
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", port))


def test_a_replica_that_does_not_drain_is_killed_in_time(bench):
    bench.code("stubborn", extra="\nimport signal\n")
    bench.table(bench.row("spin", slots=1, hang_after=60.0))
    bench.ready(1)
    assert bench.ask("stop", within=0.5)["left"]["processes"] == []
    assert bench.node.wait(5) == 0


def test_sigterm_stops_everything(bench):
    bench.table(bench.row())
    bench.ready(3)
    bench.node.terminate()
    assert bench.node.wait(10) == 0
    assert not bench.marked()


def test_a_second_node_refuses_and_names_the_first(bench):
    argv = [sys.executable, "-m", "quarterdeck.engines.local.node", "--home", str(bench.home.root)]
    second = subprocess.run(argv, capture_output=True, text=True, timeout=5, check=False)
    assert second.returncode == 1
    assert f"a node (pid {bench.node.pid}) already runs" in second.stderr
    assert bench.ask("ping") == {}


def test_an_order_to_stay_down_is_obeyed(make_bench):
    bench = make_bench()
    bench.home.stop_order.write_text("1")
    argv = [sys.executable, "-m", "quarterdeck.engines.local.node", "--home", str(bench.home.root)]
    down = subprocess.run(argv, capture_output=True, text=True, timeout=5, check=False)
    assert (down.returncode, "stay down" in down.stderr) == (0, True)
    bench.home.stop_order.write_text("0")
    bench.start()
    bench.table(bench.row(slots=1))
    bench.ready(1)
    bench.home.stop_order.write_text("1")
    assert bench.node.wait(10) == 0, "an order whose giver died is carried out all the same"
    assert not bench.marked()


def test_an_older_table_is_refused_and_the_same_is_nothing(bench):
    bench.table(bench.row(slots=1))
    bench.table(bench.row(slots=2))
    bench.ready(2)
    bench.generation = 0
    older = bench.request("table", table={**empty_table(), "epoch": 1, "generation": 1})
    assert older["error"]["kind"] == "stale"
    assert bench.ask("table", table={**empty_table(), "epoch": 1, "generation": 2})["version"] == [1, 2]
    bench.ready(2)


def empty_table():
    return {"epoch": 1, "generation": 1, "services": [], "rooms": [], "rows": []}


def test_nonsense_at_the_door_is_answered_as_such(bench):
    assert bench.request("table", table={"epoch": 1})["error"]["kind"] == "bad"
    assert bench.request("no such verb")["error"]["kind"] == "bad"
    assert bench.request("dump", system="s", replica="c/a-9")["error"]["kind"] == "not_found"
    bench.sock.sendall(b"not json\n")
    assert json.loads(bench.file.readline())["error"]["kind"] == "bad"
    bench.connect()
    assert (bench.home.node_socket.stat().st_mode & 0o777, bench.home.run.stat().st_mode & 0o777) == (0o600, 0o700)


def test_waiting_for_events_ends_with_the_first(bench):
    after = bench.ask("observe")["events_next"] - 1
    assert bench.ask("wait", after=after, timeout=0.05)["items"] == []
    bench.table(bench.row(slots=1))
    bench.ready(1)
    answer = bench.ask("wait", after=after, timeout=5)
    assert answer["items"][0]["kind"] == "table.accepted"
    assert bench.ask("events", after=answer["next"] - 2)["items"][-1]["seq"] == answer["next"] - 1


def http(port, digest="d"):
    argv = (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port))
    return Service("http", argv, digest, port)


def test_a_service_is_ready_with_its_port_and_back_after_a_kill(bench):
    service = http(free_port())
    bench.table(services=(service,))
    bench.until(lambda: seen(bench)["state"] == "ready")
    first = seen(bench)["pid"]
    os.kill(first, signal.SIGKILL)
    bench.until(lambda: seen(bench)["state"] == "ready" and seen(bench)["pid"] not in (None, first))
    assert (seen(bench)["restarts"], bench.events("service.exited")[0]["detail"]["reason"]) == (1, "killed by SIGKILL")
    bench.ask("service_restart", name="http")
    bench.until(lambda: seen(bench)["restarts"] == 2 and seen(bench)["state"] == "ready")
    second = seen(bench)["pid"]
    bench.table(services=(http(service.port, digest="e"),))
    bench.until(lambda: seen(bench)["digest"] == "e" and seen(bench)["state"] == "ready")
    assert not bench.alive(second)
    bench.table()
    bench.until(lambda: not bench.ask("observe")["services"])


def test_a_service_that_cannot_live_fails_and_does_not_hold_the_rest_up(bench):
    broken = Service("broken", (sys.executable, "-c", "raise SystemExit(3)"), "d", 1)
    missing = Service("missing", ("/no/such/program",), "d", 0)
    bench.table(bench.row(slots=1), services=(broken, missing))
    bench.ready(1, within=15)
    states = {service["name"]: (service["state"], service["reason"]) for service in bench.ask("observe")["services"]}
    assert states["broken"] == ("failed", "exit code 3")
    assert "No such file" in states["missing"][1]


def seen(bench):
    return bench.ask("observe")["services"][0]


def control_bench(make_bench, tmp_path):
    script, pids = tmp_path / "control.py", tmp_path / "pids"
    script.write_text(CONTROL)
    bench = make_bench()
    argv = [sys.executable, str(script), str(bench.home.node_socket), str(pids)]
    bench.arguments = ("--control-argv", json.dumps(argv))
    return bench.start(), argv, pids


def test_the_control_plane_is_started_again(make_bench, tmp_path):
    bench, argv, pids = control_bench(make_bench, tmp_path)
    first = subprocess.Popen(argv)
    try:
        bench.event("control.attached")
        first.kill()
        first.wait()
        second = bench.until(lambda: len(found := pids.read_text().split()) == 2 and int(found[1]))
        assert linux.stat(second)[1] != bench.node.pid, "it is no child of the node"
        bench.until(lambda: len(bench.events("control.attached")) == 2)
        bench.home.stop_order.write_text("1")
        os.kill(second, signal.SIGKILL)
        bench.event("control.lost")
        assert bench.node.wait(10) == 0
        assert len(pids.read_text().split()) == 2, "an order to stay down holds for the control plane too"
    finally:
        first.kill()
        first.wait()


def test_a_control_plane_that_hangs_up_is_replaced(make_bench, tmp_path):
    bench, _, pids = control_bench(make_bench, tmp_path)
    stand_in = subprocess.Popen([sys.executable, "-c", HANGS_UP, str(bench.home.node_socket)])
    try:
        bench.event("control.attached")
        assert stand_in.wait(10) == -signal.SIGKILL
        replacement = bench.until(lambda: pids.exists() and int(pids.read_text() or 0))
        bench.home.stop_order.write_text("1")
        os.kill(replacement, signal.SIGKILL)
    finally:
        stand_in.kill()
        stand_in.wait()


HANGS_UP = CONTROL.partition("with open")[0] + "sock.recv(10); sock.close(); time.sleep(60)"
