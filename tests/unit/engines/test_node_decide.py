"""Single decisions of the node, one rule each; the promises over whole histories are in tests/properties."""

from dataclasses import replace

import pytest

from quarterdeck.engines.local.node.decide import Drain, Finish, Halt, Kill, Live, Pause, Seen, Start, Stop, decide
from quarterdeck.engines.local.node.memory import FRESH, died, failed
from quarterdeck.model.desired import Restart, Rollout, Template
from quarterdeck.model.table import Credential, Row, Slot

ROW = Row("s", "c", "a", Template("new", "new", "m:f"), (Slot(0, ()), Slot(1, ())), 0.0, (), Rollout(), Restart(), "", ())
NOW = 100.0


def up(n, incarnation=1, template="new", **fields):
    return Live(n, incarnation, template, 50.0, **{"began": 50.0, "ready_at": 51.0, "beat": NOW, **fields})


def seen(*live, **fields):
    return Seen(live, fields.pop("memory", {}), {0: 9, 1: 9}, **{"good": "new", **fields})


def orders(row, view, now=NOW):
    return decide(row, view, now).orders


def test_missing_replicas_are_started():
    assert orders(ROW, seen()) == (Start(0, "new"), Start(1, "new"))


def test_a_full_workload_is_noted_as_good_once():
    assert orders(ROW, seen(up(0), up(1), good="old")) == (Finish("new"),)
    assert orders(ROW, seen(up(0), up(1))) == ()


def test_an_incarnation_without_a_credential_waits():
    row = replace(ROW, bus_url="nats://x", slots=(Slot(0, (Credential(9, "j", "s", 0.0),)), Slot(1, (Credential(8, "j", "s", 0.0),))))
    assert orders(row, seen()) == (Start(0, "new"),)


def test_back_off_is_waited_for_and_the_time_told():
    memory = {0: replace(FRESH, wait_until=NOW + 0.4)}
    decision = decide(ROW, seen(up(1), memory=memory), NOW)
    assert decision.orders == ()
    assert decision.again_at == NOW + 0.4


def test_a_failed_slot_is_tried_again_after_a_while():
    memory = {0: failed(FRESH, NOW - 299, "no")}
    assert orders(ROW, seen(up(1), memory=memory)) == ()
    assert orders(ROW, seen(up(1), memory=memory), NOW + 1) == (Start(0, "new"),)


def test_a_silent_replica_is_killed_with_a_dump():
    silent = up(0, beat=NOW - 10)
    assert orders(ROW, seen(silent, up(1))) == (Kill(0, 1, "no beat for 10 s", hang=True),)
    assert orders(ROW, seen(replace(silent, killed=True), up(1))) == (), "its successor waits for the end"
    assert decide(ROW, seen(up(0, beat=NOW - 4), up(1)), NOW).again_at == NOW + 6


def test_a_start_that_takes_too_long_is_killed():
    late = replace(up(0, ready_at=None), began=NOW - 30)
    assert orders(ROW, seen(late, up(1))) == (Kill(0, 1, "not ready within 30 s"),)


def test_a_drain_that_takes_too_long_is_killed_without_blame():
    assert orders(ROW, seen(up(0, drain_until=NOW), up(0, 2), up(1))) == (Kill(0, 1, "did not finish in time", counts=False),)


@pytest.mark.parametrize("beat", [NOW, 0.0])
def test_quarantine_pauses_once_and_keeps_even_what_is_silent(beat):
    row = replace(ROW, quarantined=(0,))
    assert orders(row, seen(up(0), up(1))) == (Pause(0, 1),)
    assert orders(row, seen(up(0, paused=True, beat=beat), up(1))) == ()


def test_a_quarantined_slot_without_a_process_stays_without():
    assert orders(replace(ROW, quarantined=(0,)), seen(up(1))) == ()


def test_lifting_a_quarantine_drains_the_suspect_and_starts_afresh():
    assert orders(ROW, seen(up(0, paused=True), up(1))) == (Drain(0, 1, 10.0, "quarantine lifted"), Start(0, "new"))


def test_an_update_starts_one_more_before_it_drains():
    old = (up(0, template="old"), up(1, template="old"))
    assert orders(ROW, seen(*old, good="old")) == (Start(0, "new"),)
    assert orders(ROW, seen(*old, up(0, 2, ready_at=None, began=NOW), good="old")) == ()
    assert orders(ROW, seen(*old, up(0, 2), good="old")) == (Drain(0, 1, 10.0, "replaced"),)


def test_a_restart_replaces_what_was_started_before_it():
    row = replace(ROW, restart_before=60.0)
    assert orders(row, seen(up(0), up(1))) == (Start(0, "new"),)
    assert orders(row, seen(up(0), replace(up(0, 2), started=60.0), up(1))) == (Drain(0, 1, 10.0, "replaced"),)


def test_an_old_process_that_is_not_ready_goes_at_once():
    old = replace(up(0, template="older", ready_at=None), began=NOW)
    assert Drain(0, 1, 10.0, "outdated") in orders(ROW, seen(old, up(1), good="old"))


def test_going_back_drains_what_had_been_rolled_out():
    assert orders(ROW, seen(up(0), up(0, 2, template="wrong"), up(1))) == (Drain(0, 2, 10.0, "replaced"),)


@pytest.mark.parametrize(
    ("memory", "reason"),
    [
        (failed(FRESH, NOW, "ImportError: x"), "ImportError: x"),
        (replace(FRESH, trying=("new", NOW - 30)), "not ready within 30 s"),
    ],
)
def test_an_update_that_fails_is_stopped(memory, reason):
    old = (up(0, template="old"), up(1, template="old"))
    assert orders(ROW, seen(*old, good="old", memory={0: memory})) == (Stop(Halt(("new", 0.0), NOW, reason)),)


def test_while_stopped_what_was_good_is_started_and_later_the_update_is_tried_again():
    halt = Halt(("new", 0.0), NOW, "no")
    view = seen(up(0, template="old"), good="old", halted=halt)
    assert orders(ROW, view, NOW) == (Start(1, "old"),)
    assert orders(ROW, replace(view, live=(up(0, template="old", beat=NOW + 300),)), NOW + 300)[0] == Start(1, "new")
    assert orders(replace(ROW, template=Template("newer", "n", "m:f")), view, NOW)[0] == Start(1, "newer")


def test_back_off_grows_only_for_those_that_never_worked_and_is_spread():
    worked = died(FRESH, Restart(), NOW, worked=True, jitter=0.0, reason="x")
    assert worked.wait_until == NOW
    quick = FRESH
    waits = []
    for _ in range(5):
        quick = died(quick, Restart(), NOW, worked=False, jitter=0.0, reason="x")
        waits.append(round(quick.wait_until - NOW, 3))
    assert waits == [0.0, 0.05, 0.1, 0.2, 0.4]
    assert quick.failed_at is None
    assert died(quick, Restart(), NOW, worked=True, jitter=0.0, reason="x").failed_at == NOW
    assert died(quick, Restart(), NOW + 61, worked=True, jitter=0.0, reason="x").failed_at is None


def test_what_is_stopped_by_order_is_killed_whatever_it_does_and_never_started():
    live = (up(0), up(1, ready_at=None), up(0, 2, drain_until=NOW + 50), up(1, 2, paused=True), up(1, 3, killed=True))
    decision = decide(replace(ROW, quarantined=(1,)), seen(*live, good="old", end_by=NOW), NOW)
    assert decision.orders == tuple(Kill(p.n, p.incarnation, "stopped by order", counts=False) for p in live[:4])
    assert decide(ROW, seen(end_by=float("-inf")), NOW) == decide(ROW, seen(end_by=NOW), NOW)
    assert orders(ROW, seen(end_by=NOW)) == ()


def test_what_has_time_to_end_is_drained_and_killed_when_its_own_or_the_orders_time_is_over():
    live = (up(0), up(1, drain_until=NOW + 2), up(1, 2, drain_until=NOW))
    decision = decide(ROW, seen(*live, end_by=NOW + 5), NOW)
    assert decision.orders == (Kill(1, 2, "did not finish in time", counts=False), Drain(0, 1, 5.0, "stopped by order"))
    assert decision.again_at == NOW + 2
    assert orders(ROW, seen(up(1, drain_until=NOW + 60), end_by=NOW + 5), NOW + 5) == (Kill(1, 1, "stopped by order", counts=False),)
    assert decide(ROW, seen(end_by=NOW + 5), NOW).again_at is None
