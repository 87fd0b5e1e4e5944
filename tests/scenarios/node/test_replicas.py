"""What the node does about processes: real ones, killed, stopped, hung, orphaned."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

from quarterdeck import linux
from quarterdeck.clock import SystemClock
from quarterdeck.model.desired import Link, Restart
from quarterdeck.model.table import Credential, Slot

CLOCK = SystemClock()


def test_a_killed_replica_answers_again_at_once(bench):
    bench.table(bench.row(restart=Restart(budget=100)))
    took = []
    for round_ in range(12):
        victim = bench.ready(3)[round_ % 3]
        bench.until(lambda v=victim: CLOCK.now() - v["since"] > 0.6)
        seen = len(bench.events("replica.ready"))
        killed = CLOCK.now()
        os.kill(victim["pid"], signal.SIGKILL)
        again = bench.until(lambda n=seen: bench.events("replica.ready")[n:], within=5)[0]
        assert again["target"] == f"s/{victim['name']}"
        took.append((again["at"] - killed) * 1000)
    print(f"SIGKILL to answering again: median {sorted(took)[len(took) // 2]:.0f} ms, longest {max(took):.0f} ms")
    assert sorted(took)[len(took) // 2] < 150
    exits = bench.until(lambda: len(found := bench.events("replica.exited")) == 12 and found)
    assert {event["detail"]["signal"] for event in exits} == {9}
    assert all(event["detail"]["cause"] == "killed by SIGKILL" and event["detail"]["ms"] is not None for event in exits)


def test_a_stopped_replica_is_killed_as_hung(bench):
    bench.table(bench.row(slots=1, hang_after=1.0))
    victim = bench.ready(1)[0]
    os.kill(victim["pid"], signal.SIGSTOP)
    event = bench.event("replica.exited", within=5)
    assert event["detail"]["hang"]
    assert "stopped (SIGSTOP" in event["detail"]["detail"]
    replica = bench.ready(1)[0]
    assert (replica["incarnation"], replica["last_exit"]["hang"]) == (2, True)


def test_a_spinning_replica_leaves_its_stack(bench):
    bench.table(bench.row("spin", slots=1, hang_after=1.0))
    event = bench.event("replica.exited", within=5)
    assert event["detail"]["cause"] == "hung: no beat"
    assert "in forever" in event["detail"]["detail"]


def test_the_stack_of_a_healthy_replica_can_be_asked_for(bench):
    bench.table(bench.row(slots=1))
    bench.ready(1)
    assert "in run_forever" in bench.ask("dump", system="s", replica="c/a-0")["stack"]
    assert bench.ready(1)[0]["incarnation"] == 1


def test_all_are_back_after_the_fork_server_died(bench):
    bench.table(bench.row())
    before = bench.ready(3)
    os.kill(bench.event("fork.started")["detail"]["pid"], signal.SIGKILL)
    bench.until(lambda: all(r["state"] == "ready" and r["incarnation"] > 1 for r in bench.replicas()))
    assert not any(bench.alive(replica["pid"]) for replica in before)


def test_what_a_replica_left_behind_dies_with_it(bench):
    bench.table(bench.row("daemon", slots=1))
    victim = bench.ready(1)[0]["pid"]
    daemon = bench.until(lambda: linux.children_of(victim))[0]
    os.kill(victim, signal.SIGKILL)
    bench.until(lambda: not bench.alive(daemon), within=2)
    bench.ready(1)


def test_a_daemon_dies_even_without_the_fork_server(bench):
    bench.table(bench.row("daemon", slots=1))
    daemon = bench.until(lambda: linux.children_of(bench.ready(1)[0]["pid"]))[0]
    os.kill(bench.event("fork.started")["detail"]["pid"], signal.SIGKILL)
    bench.until(lambda: not bench.alive(daemon), within=4)


def test_a_crash_loop_ends_in_failed(bench):
    bench.table(bench.row("crash", slots=1, restart=Restart(budget=3)))
    event = bench.event("replica.failed")
    assert event["detail"]["deaths"] == 4
    replica = bench.until(lambda: bench.replicas()[0]["last_exit"] and bench.replicas()[0])
    assert (replica["state"], replica["reason"], replica["restarts"]) == ("failed", "exit code 7", 4)
    assert replica["last_exit"]["code"] == 7


def test_a_failed_replica_is_tried_again_by_itself_and_by_a_change(bench):
    bench.table(bench.row("crash", slots=1, restart=Restart(budget=0, retry_after=1.0)))
    bench.until(lambda: len(bench.events("replica.failed")) == 2, within=5)
    bench.table(bench.row("plain", slots=1))
    bench.ready(1, within=2)


def test_an_import_error_names_its_place(bench):
    bench.code("broken", extra="\nimport no_such_thing\n")
    bench.table(bench.row("missing", slots=1, restart=Restart(budget=0)))
    bench.event("replica.failed")
    said = bench.replicas()[0]
    assert (said["state"], said["reason"].partition(" (agents.py:")[0]) == (
        "failed",
        "ModuleNotFoundError: No module named 'no_such_module'",
    )
    bench.table(bench.row(slots=1, code="broken"))
    preloaded = bench.until(lambda: [e for e in bench.events("replica.failed") if "no_such_thing" in e["detail"]["reason"]])[0]
    assert "(agents.py:" in preloaded["detail"]["reason"]
    assert len(bench.events("replica.started")) == 1, "what the fork server cannot import is never forked"
    log = "".join(path.read_text() for path in bench.home.logs.rglob("*-0.log"))
    assert log, list(bench.home.logs.rglob("*"))
    traces = log.split("Traceback (most recent call last):")[1:]
    assert all(str(bench.home.revisions) in trace.splitlines()[1] for trace in traces), log
    assert len(traces) == 2
    assert "ModuleNotFoundError: No module named 'no_such_thing'" in traces[1]


def test_memory_beyond_the_limit_is_seen_as_such(bench):
    bench.table(bench.row("glutton", slots=1, memory=64 << 20, restart=Restart(budget=0)))
    event = bench.event("replica.exited")
    assert (event["detail"]["oom"], event["detail"]["cause"]) == (True, "killed for want of memory")


def test_a_flood_of_output_starves_nobody(bench):
    bench.table(bench.row("flood", slots=2))
    bench.ready(2)
    log = bench.home.logs / "s" / "c" / "a-0.log"
    bench.until(lambda: log.with_name("a-0.log.1").exists(), within=20)
    slowest = max(_timed(lambda: bench.ask("ping")) for _ in range(20))
    assert slowest < 1.0
    assert max(path.stat().st_size for path in log.parent.iterdir()) <= 2 << 20
    first = log.read_text().splitlines()[0].split(" ", 2)
    assert (len(first[0]), first[1], set(first[2])) == (24, "out", {"x"})


def _timed(call):
    began = time.monotonic()
    call()
    return time.monotonic() - began


def test_code_that_starts_threads_is_spawned_instead_of_forked(bench):
    bench.code("threads", extra="\nimport threading\nthreading.Thread(target=lambda: time.sleep(600), daemon=True).start()\n")
    bench.table(bench.row(slots=2, code="threads"))
    assert [replica["forked"] for replica in bench.ready(2)] == [False, False]
    assert "some replicas are spawned, not forked: their imports start threads" in bench.ask("hello")["weakenings"]
    os.kill(bench.ready(2)[0]["pid"], signal.SIGKILL)
    bench.until(lambda: bench.ready(2)[0]["incarnation"] == 2)
    tried = bench.run_in("c/a-0", f"__import__('agents').attempt({f'os.listdir({str(bench.home.root)!r})'!r})")
    assert tried == "PermissionError", "a spawned replica is confined like a forked one"


def test_environment_and_secrets_reach_only_the_agents_own_environment(bench, tmp_path):
    (tmp_path / "key").write_text("s3cret")
    bench.table(bench.row(slots=1, env=(("WINDOW", "60s"),), secrets=(("KEY", str(tmp_path / "key")),)))
    pid = bench.ready(1)[0]["pid"]
    environment = bench.run_in("c/a-0", "dict(os.environ)")
    assert set(environment) <= {"PATH", "LANG", "TZ", "HOME", "TMPDIR", "QD_NODE", "WINDOW", "KEY"}
    assert (environment["WINDOW"], environment["KEY"]) == ("60s", "[secret KEY]"), "what a replica tells its node is without secrets"
    assert bench.run_in("c/a-0", "os.environ['KEY'][::-1]") == "terc3s"
    assert environment["HOME"] == bench.run_in("c/a-0", "os.getcwd()")
    assert b"s3cret" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_new_links_and_credentials_reach_a_running_replica(bench):
    bench.table(bench.row(slots=1))
    bench.ready(1)
    renewed = Credential(1, "jwt", "seed", 1.0)
    row = bench.row(slots=1, links=(Link("c", "d"),))
    bench.table(replace(row, slots=(Slot(0, (renewed,)),)))
    heard = bench.until(lambda: len(said := bench.run_in("c/a-0", "[m for m in heard if m['t'] != 'probe']")) == 2 and said)
    assert [message["t"] for message in heard] == ["links", "credentials"]
    assert (heard[0]["links"][0]["target"], heard[1]["credential"]["jwt"]) == ("d", "jwt")
    assert bench.ready(1)[0]["incarnation"] == 1


def test_an_incarnation_without_a_credential_waits(bench):
    row = bench.row(slots=1, bus_url="nats://127.0.0.1:1")
    bench.table(row)
    assert bench.until(bench.replicas)[0]["state"] == "pending"
    bench.table(replace(row, slots=(Slot(0, (Credential(1, "jwt", "seed", 1.0),)),)))
    bench.ready(1)
    assert bench.run_in("c/a-0", "boot.credential.jwt") == "jwt"


def test_the_home_is_out_of_reach_of_a_replica(bench):
    bench.table(bench.row(slots=2))
    bench.ready(2)
    (bench.home.root / "quarterdeck.db").write_text("private")
    for code in (
        f"open({str(bench.home.root / 'quarterdeck.db')!r}).read()",
        f"os.listdir({str(bench.home.keys.parent)!r})",
        "open('../a-1/stolen', 'w')",
        f"open({str(bench.home.revisions / 'one' / 'agents.py')!r}, 'a')",
        f"os.kill({bench.node.pid}, 0)",
        f"open('/proc/{bench.node.pid}/environ').read()",
        "open('/sys/fs/cgroup/pids/cgroup.procs', 'w')",
        "os.mknod('disk', 0o060600, os.makedev(254, 0))",
        "os.setuid(1)",
    ):
        tried = bench.run_in("c/a-0", f"__import__('agents').attempt({code!r})")
        assert tried == "PermissionError", (code, tried)
    assert bench.run_in("c/a-0", "open('mine', 'w').write('ok')") == 2
    assert bench.run_in("c/a-0", f"__import__('agents').knock({str(bench.home.node_socket)!r})") == ""


def ring(bench, replica="c/a-0"):
    """The samples of a replica as objects."""
    told = bench.ask("ring", system="s", replica=replica)
    return [dict(zip(told["columns"], line, strict=True)) for line in told["samples"]]


def test_the_ring_tells_what_a_replica_uses_and_that_it_was_stopped_while_nothing_was_heard(bench):
    bench.table(bench.row(slots=1, hang_after=30.0))
    pid = bench.ready(1)[0]["pid"]
    first = bench.until(lambda: [s for s in ring(bench) if s["beat_age"] is not None], within=3)[0]
    assert first["progress"] > 0
    assert first["memory_bytes"] > 1 << 20
    assert first["beat_age"] < 1.0
    bench.run_in("c/a-0", "sum(range(10_000_000))")
    bench.until(lambda: ring(bench)[-1]["cpu_seconds"] - first["cpu_seconds"] >= 0.05, within=3)
    os.kill(pid, signal.SIGSTOP)
    stopped = bench.until(lambda: [s for s in ring(bench) if s["beat_age"] > 2.5], within=6)[0]
    os.kill(pid, signal.SIGCONT)
    bench.until(lambda: ring(bench)[-1]["beat_age"] < 1.0, within=3)
    assert [s["progress"] for s in ring(bench) if s["at"] == stopped["at"]] == [stopped["progress"]]


def test_the_ring_of_a_slot_goes_on_with_its_next_process_and_ends_with_the_slot(bench):
    bench.table(bench.row(slots=2))
    victim = bench.ready(2)[0]["pid"]
    bench.until(lambda: ring(bench), within=3)
    os.kill(victim, signal.SIGKILL)
    found = bench.until(lambda: (r := ring(bench)) and r[-1]["incarnation"] == 2 and r, within=5)
    assert found[0]["incarnation"] == 1
    bench.table(bench.row(slots=1))
    bench.until(lambda: len(bench.replicas()) == 1)
    assert bench.request("ring", system="s", replica="c/a-1")["error"]["kind"] == "not_found"
