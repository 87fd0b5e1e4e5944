"""Rolling update, stopped rollout, quarantine, restart and scale on real processes."""

import os
import signal
import time

from quarterdeck.clock import SystemClock
from quarterdeck.model.desired import Restart, Rollout


def watch_until(bench, done, within=10):
    """Look as fast as possible; returns the fewest that served and the most that were alive in between."""
    serving, living = [], []
    deadline = time.monotonic() + within
    while True:
        replicas = [r for r in bench.replicas() if r["pid"]]
        serving.append(len({r["slot"] for r in replicas if r["state"] == "ready"}))
        living.append(len(replicas))
        if done(replicas):
            return min(serving), max(living)
        assert time.monotonic() < deadline, replicas


def test_changed_code_rolls_with_all_serving(bench):
    bench.table(bench.row())
    bench.ready(3)
    bench.code("two", extra="\nnew = True\n")
    bench.table(bench.row(code="two"))
    fewest, most = watch_until(bench, lambda rs: len(rs) == 3 and {(r["revision"], r["state"]) for r in rs} == {("two-plain", "ready")})
    assert fewest == 3
    assert most <= 4
    assert bench.run_in("c/a-0", "__import__('agents').new") is True
    assert [e["kind"] for e in bench.events() if e["kind"].startswith("rollout")] == [
        "rollout.finished",
        "rollout.started",
        "rollout.finished",
    ]
    bench.until(lambda: len(bench.events("fork.exited")) == 1, within=3)


def test_code_that_does_not_start_leaves_the_old_serving_and_one_kill_is_repaired_with_it(bench):
    bench.table(bench.row())
    bench.ready(3)
    bench.code("broken", extra="\nimport no_such_thing\n")
    bench.table(bench.row(code="broken"))
    assert "no_such_thing" in bench.event("rollout.stopped")["detail"]["reason"]
    served = bench.ready(3, template="one-plain")
    assert "rollout stopped: ModuleNotFoundError" in served[0]["reason"]
    os.kill(served[0]["pid"], signal.SIGKILL)
    bench.until(lambda: bench.ready(3, template="one-plain")[0]["incarnation"] > served[0]["incarnation"])
    bench.code("mended")
    bench.table(bench.row(code="mended"))
    bench.ready(3, template="mended-plain")


def test_a_crashing_update_is_stopped_too(bench):
    bench.table(bench.row())
    bench.ready(3)
    bench.table(bench.row("crash", restart=Restart(budget=2)))
    assert bench.event("rollout.stopped")["detail"]["reason"] == "exit code 7"
    bench.ready(3, template="one-plain")


def test_an_update_that_hangs_in_its_import_is_stopped(bench):
    bench.table(bench.row())
    bench.ready(3)
    bench.code("stuck", extra="\nimport time; time.sleep(600)\n")
    bench.table(bench.row(code="stuck", rollout=Rollout(ready_within=1.0)))
    assert bench.event("rollout.stopped", within=5)["detail"]["reason"] == "not ready within 1 s"
    bench.ready(3, template="one-plain", within=15)


def test_without_surge_old_ones_leave_first(bench):
    bench.table(bench.row())
    bench.ready(3)
    bench.table(bench.row(digest="next", rollout=Rollout(surge=0, max_unavailable=1, drain=2.0)))
    fewest, most = watch_until(bench, lambda rs: len(rs) == 3 and {(r["revision"], r["state"]) for r in rs} == {("next", "ready")})
    assert fewest >= 2
    assert most <= 3


def test_restart_before_replaces_everything_once(bench):
    bench.table(bench.row())
    before = bench.ready(3)
    bench.table(bench.row(restart_before=SystemClock().now()))
    bench.until(lambda: len(rs := bench.ready(3)) == 3 and all(r["incarnation"] == 2 for r in rs))
    assert not any(bench.alive(replica["pid"]) for replica in before)


def test_a_quarantined_replica_is_kept_and_not_replaced(bench):
    bench.table(bench.row())
    kept = bench.ready(3)[1]
    bench.table(bench.row(quarantined=(1,)))
    bench.until(lambda: _slot(bench, 1)["state"] == "quarantined")
    assert bench.run_in("c/a-1", "[m for m in heard if m['t'] == 'pause']") == [{"t": "pause", "on": True}]
    assert bench.alive(kept["pid"])
    os.kill(kept["pid"], signal.SIGKILL)
    bench.event("replica.exited")
    assert (_slot(bench, 1)["state"], _slot(bench, 1)["pid"]) == ("quarantined", None)
    bench.table(bench.row())
    assert bench.ready(3)[1]["incarnation"] == 2


def test_lifting_a_quarantine_starts_afresh(bench):
    bench.table(bench.row(quarantined=(0,)))
    bench.until(lambda: sum(r["state"] == "ready" for r in bench.replicas()) == 2)
    bench.table(bench.row())
    bench.ready(3)
    bench.table(bench.row(quarantined=(2,)))
    bench.until(lambda: _slot(bench, 2)["state"] == "quarantined")
    bench.table(bench.row())
    bench.until(lambda: _slot(bench, 2)["incarnation"] == 2 and bench.ready(3))


def test_scaling(bench):
    bench.table(bench.row(slots=1))
    bench.ready(1)
    bench.table(bench.row(slots=6))
    bench.ready(6)
    bench.table(bench.row(slots=2))
    bench.ready(2)
    bench.table()
    bench.until(lambda: not bench.ask("observe")["rows"])


def _slot(bench, n):
    return max((r for r in bench.replicas() if r["slot"] == n), key=lambda r: r["incarnation"])
