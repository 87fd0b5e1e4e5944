"""A human's Changes: each moves the fleet, says why, is journalled, and can be taken back."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from quarterdeck.clock import SystemClock
from quarterdeck.errors import QuarterdeckError, Transient

CLOCK = SystemClock()
QD = Path(sys.executable).with_name("qd")


def change(fleet, *arguments):
    ran = fleet.qd(*arguments, "-o", "json")
    assert ran.code == 0, ran
    return ran.json


def live(fleet):
    return {c["id"] for c in fleet.items("changes") if c["state"] == "live"}


def workers(fleet, state="ready"):
    return {name: r["pid"] for name, r in fleet.replicas(agent="core/worker", state=state).items()}


def counted(fleet, count):
    fleet.until(lambda: len(workers(fleet, "")) == len(workers(fleet)) == count, what=lambda: fleet.items("replicas"))


def test_scale_up_and_down_with_a_reason_is_explained_and_journalled(deployed):
    fleet = deployed
    before = workers(fleet)
    began = time.monotonic()
    made = change(fleet, "scale", "core/worker", "4", "--reason", "load test")
    counted(fleet, 4)
    took = time.monotonic() - began
    assert {name: pid for name, pid in workers(fleet).items() if name in before} == before
    explained = fleet.qd("explain", "core/worker")
    assert "load test" in explained.out
    assert f"human change {made['id']}" in fleet.qd("explain", "core/worker", "-o", "json").out
    record = fleet.journal("change.add", "core/worker")[-1]
    assert (record["reason"], record["actor"], record["via"]) == ("load test", "uid:0", "socket")

    change(fleet, "scale", "core/worker", "2", "--reason", "over")
    counted(fleet, 2)
    assert workers(fleet) == before
    change(fleet, "scale", "core/worker", "40", "--reason", "too many")
    counted(fleet, 4)
    assert "asked for 40, the spec allows 2 to 4" in fleet.qd("explain", "core/worker").out
    for number in live(fleet):
        change(fleet, "revert", number)
    counted(fleet, 2)
    fleet.ready()
    print(f"\n2 → 4 replicas in {took:.2f} s")


def test_a_change_with_an_end_expires_by_itself(deployed):
    fleet = deployed
    end = CLOCK.now() + 4
    made = fleet.client.post(
        "/v1/changes", {"target": "core/worker", "field": "replicas", "value": 3, "reason": "for a moment", "until": end}
    )
    counted(fleet, 3)
    counted(fleet, 2)
    late = CLOCK.now() - end
    assert late > -0.5
    fleet.until(lambda: made["id"] not in live(fleet))
    assert fleet.journal("change.expire", "core/worker")
    fleet.ready()
    print(f"\nback to 2 replicas {late:.2f} s after the end")
    assert fleet.qd("scale", "core/worker", "3", "--reason", "x", "--until", "1h", "-o", "json").json["until"]
    assert fleet.qd("revert", max(live(fleet))).code == 0
    fleet.ready()


def test_restart_replaces_every_replica_of_the_agent_and_no_other(deployed):
    fleet = deployed
    before, others = workers(fleet), fleet.replicas(agent="edge/")
    with fleet.load("through") as load:
        load.more(5)
        began = time.monotonic()
        change(fleet, "restart", "core/worker", "--reason", "stale cache")
        fleet.until(
            lambda: len(now := workers(fleet)) == 2 and not set(now.values()) & set(before.values()) and len(workers(fleet, "")) == 2
        )
        took = time.monotonic() - began
        load.more(5)
    assert load.errors == []
    assert {n: r["pid"] for n, r in fleet.replicas(agent="edge/").items()} == {n: r["pid"] for n, r in others.items()}
    fleet.ready()
    print(f"\nrestarted one by one in {took:.2f} s, {len(load.done)} asks answered, none failed")


def _answers(fleet, n):
    """Who answers n asks; an empty set when one was lost."""
    body = {"target": "core/worker", "verb": "version", "payload": None, "timeout": 3}
    try:
        return {fleet.client.post("/v1/ask", body)["from"] for _ in range(n)}
    except Transient:
        return set()


def test_quarantine_keeps_the_process_without_traffic_and_release_brings_it_back(deployed):
    fleet = deployed
    suspect = workers(fleet)["core/worker-1"]
    change(fleet, "quarantine", "core/worker-1", "--reason", "wrong answers")
    fleet.until(lambda: fleet.replicas(state="quarantined"), what=lambda: fleet.items("replicas"))
    kept = fleet.replicas(state="quarantined")["core/worker-1"]
    assert kept["pid"] == suspect
    assert fleet.alive(suspect)
    fleet.until(lambda: _answers(fleet, 20) == {"core/worker-0"})  # an ask that was on its way to it when it was taken off may be lost
    assert "wrong answers" in fleet.qd("explain", "core/worker-1").out
    fleet.ready()
    held = change(fleet, "hold", "core/worker-1", "--reason", "hands off while I look")
    ended = change(fleet, "release", "core/worker-1", "--reason", "looked at")["items"]
    assert [(c["patch"]["field"], c["state"]) for c in ended] == [("quarantined", "reverted"), ("hold", "reverted")]
    assert ended[1]["id"] == held["id"]
    assert not live(fleet) & {c["id"] for c in ended}
    again = fleet.qd("release", "core/worker-1", "--reason", "once more")
    assert again.code == 1
    assert "nothing holds or quarantines core/worker-1 itself" in again.err
    fleet.until(lambda: len(workers(fleet)) == 2)
    fleet.ready()
    assert "core/worker-1" in {
        fleet.client.post("/v1/ask", {"target": "core/worker", "verb": "version", "payload": None, "timeout": 3})["from"] for _ in range(40)
    }


def test_hold_is_shown_and_reverted(deployed):
    fleet = deployed
    made = change(fleet, "hold", "core/worker", "--reason", "being debugged", "--until", "2h")
    listed = {c["id"]: c for c in fleet.items("changes")}
    assert listed[made["id"]]["patch"] == {"field": "hold", "value": True}
    assert "being debugged" in fleet.qd("explain", "core/worker").out
    change(fleet, "revert", made["id"], "--reason", "done")
    assert made["id"] not in live(fleet)
    ends = fleet.journal("change.revert", "core/worker")
    assert ends[-1]["reason"] == "done"


def test_a_change_that_makes_no_sense_is_refused_and_changes_nothing(deployed):
    fleet = deployed
    index = fleet.status()["index"]
    for arguments in (("scale", "core/nobody", "3"), ("quarantine", "core/worker"), ("scale", "edge", "3")):
        ran = fleet.qd(*arguments, "--reason", "no")
        assert ran.code in (1, 3), ran
        assert ran.err.startswith("error:")
    assert fleet.qd("scale", "core/worker", "3").code == 2
    assert fleet.status()["index"] == index


def test_what_an_agent_prints_is_in_its_log_at_once(deployed):
    fleet = deployed
    assert fleet.ask("edge/front", "through") == "one"
    fleet.until(lambda: "asked through" in fleet.qd("logs", "edge/front").out, within=3, what=fleet.logs)


def _asked(fleet, path):
    with suppress(QuarterdeckError):  # nobody is there to answer
        fleet.ask("edge/clerk", "knock", str(path), timeout=20)


def test_a_control_plane_that_is_asked_to_end_lets_followers_and_askers_go_in_peace(deployed, tmp_path):
    fleet = deployed
    control = fleet.control()
    with (
        socket.socket(socket.AF_UNIX) as mute,
        subprocess.Popen([QD, "logs", "-f"], env=fleet.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as follower,
    ):
        mute.bind(str(tmp_path / "mute"))
        mute.listen()
        mute.settimeout(10)
        asking = threading.Thread(target=_asked, args=(fleet, tmp_path / "mute"), daemon=True)
        asking.start()
        silent, _ = mute.accept()  # the agent waits for an answer, and its asker for the agent's
        assert follower.stdout.readline()
        os.kill(control, signal.SIGTERM)
        fleet.until(lambda: fleet.control() not in (None, control), within=10, what=fleet.logs)
        silent.close()
        asking.join(10)
        follower.kill()
    assert not asking.is_alive()
    assert "Traceback" not in fleet.written()
