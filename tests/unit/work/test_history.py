"""The history checker finds every broken promise, and nothing in a history that kept them all."""

import itertools

import pytest

from quarterdeck.model.work import Event
from quarterdeck.work.history import Call, check

A, B = "c/a-0#1", "c/a-1#1"


def history(*told):
    """Events from (task, kind, fence, actor, detail)."""
    count = itertools.count(1)
    return [Event(next(count), task, kind, 0.0, actor, fence, detail) for task, kind, fence, actor, detail in map(whole, told)]


def whole(told):
    task, kind, fence, actor, *rest = told
    return task, kind, fence, actor, rest[0] if rest else {}


def submit(task="t", **detail):
    return task, "submit", 0, "me", {"target": "c/a", **detail}


def claim(task="t", fence=1, actor=A):
    return task, "claim", fence, actor


def effect(word, task="t", fence=1, actor=A, key="k", **detail):
    return task, f"effect.{word}", fence, actor, {"key": key, **detail}


def rules(events, *more, **how):
    return [violation.rule for violation in check(events, *more, **how)]


BEGUN = effect("started", semantics="unsafe")
GOOD = history(
    submit(key="k"), claim(), ("t", "step", 1, A, {"name": "s#1"}), BEGUN, ("t", "again", 1, "ledger"), claim(fence=2, actor=B),
    ("t", "refused", 2, A, {"stale": 1}), effect("unknown", fence=2, actor=B), ("t", "unknown", 2, B),

    effect("resolved", fence=2, actor="me", said="failed"),
    ("t", "again", 2, "me"), claim(fence=3), effect("started", fence=3, semantics="unsafe"), effect("done", fence=3), ("t", "done", 3, A),
    ("t", "refused", 3, B),
)  # fmt: skip


def test_a_history_that_kept_every_promise_has_nothing_against_it():
    assert rules(GOOD, [Call("t", "k", "v")] * 2, ["t"], over=True) == []


KEPT = (submit("f"), ("f", "step.kept", 1, "me", {"name": "s#1"}), effect("kept", "f", actor="me"), claim("f", 2))


def test_what_a_fork_keeps_was_done_by_its_origin_and_needs_no_call():
    told = history(*KEPT, ("f", "step", 2, A, {"name": "t#1"}), ("f", "done", 2, A), ("f", "forked", 2, "me", {"into": "g"}))
    assert rules(told, []) == []


@pytest.mark.parametrize(
    ("rule", "events"),
    [
        ("a step is kept once", history(*KEPT, ("f", "step", 2, A, {"name": "s#1"}))),
        ("an effect is done once", history(*KEPT, effect("started", "f", 2, semantics="idempotent"))),
        ("no task without a submit", history(claim())),
        ("each task once", history(submit(), submit())),
        ("each key once", history(submit(key="k"), submit("u", key="k"))),
        ("fences only rise", history(submit(), claim(), ("t", "again", 1, "ledger"), claim(fence=1, actor=B))),
        ("fences only rise", history(submit(), claim(fence=2), ("t", "again", 1, "ledger"))),
        ("one holder", history(submit(), claim(), claim(fence=2, actor=B))),
        ("only the holder acts", history(submit(), claim(), ("t", "done", 1, B))),
        ("only the holder acts", history(submit(), claim(), ("t", "again", 1, "ledger"), ("t", "step", 1, A, {"name": "s"}))),
        ("nothing after an end", history(submit(), claim(), ("t", "done", 1, A), ("t", "dead", 1, "ledger"))),
        ("nothing after an end", history(submit(), ("t", "cancelled", 0, "me"), claim())),
        ("an end is an end", history(submit(), claim(), ("t", "done", 1, A), ("t", "retry", 1, "me"))),
        (
            "a step is kept once",
            history(submit(), claim(), ("t", "step", 1, A, {"name": "s"}), ("t", "step", 1, A, {"name": "s"})),
        ),
        ("unsafe effects are never called twice", history(submit(), claim(), BEGUN, BEGUN)),
        ("an effect is done once", history(submit(), claim(), BEGUN, effect("done"), effect("done"))),
        ("an effect is done once", history(submit(), claim(), BEGUN, effect("done"), BEGUN)),
        ("one at a time in a lane", history(submit(lane="l"), submit("u", lane="l"), claim(), claim("u", actor=B))),
        ("a lane keeps its order", history(submit(lane="l"), submit("u", lane="l"), claim("u", actor=B))),
        ("events in order", [GOOD[1], GOOD[0]]),
        ("events in order", [GOOD[0], GOOD[1], GOOD[1]]),
    ],
)
def test_each_broken_promise_is_found(rule, events):
    assert rule in rules(events)


def test_a_step_done_again_by_choice_and_lanes_of_others_are_fine():
    again = history(submit(), claim(), ("t", "step", 1, A, {"name": "s"}), ("t", "step", 1, A, {"name": "s", "again": True}))
    assert rules(again) == []
    assert rules(history(submit(lane="l"), submit("u", lane="m"), claim(), claim("u", actor=B))) == []
    passed = history(submit(lane="l"), submit("u", lane="l"), claim(), ("t", "dead", 1, "ledger"), claim("u", actor=B))
    assert rules(passed) == []


@pytest.mark.parametrize(
    ("rule", "events", "calls"),
    [
        ("no call without leave", GOOD[:3], [Call("t", "k")]),
        ("no call without leave", history(submit(), claim(), effect("started", semantics="idempotent")), [Call("t", "k")] * 2),
        (
            "one key, one meaning",
            history(submit(), claim(), *[effect("started", semantics="idempotent")] * 2),
            [Call("t", "k", "1"), Call("t", "k", "2")],
        ),
        ("nothing is done without a call", history(submit(), claim(), BEGUN, effect("done")), []),
    ],
)
def test_the_sink_is_believed_more_than_the_ledger(rule, events, calls):
    assert rules(events, calls) == [rule]


def test_keys_are_counted_in_the_whole_tree():
    events = history(
        submit(), submit("u", parent="t"), claim(), claim("u", actor=B), BEGUN, effect("started", "u", actor=B, semantics="unsafe")
    )
    assert rules(events) == ["unsafe effects are never called twice"]


def test_what_was_acknowledged_is_there_and_ends():
    assert rules(GOOD[:2], None, ["t", "ghost"]) == ["no acknowledged task is lost"]
    assert rules(GOOD[:2], None, ["t"], over=True) == ["every task ends"]


def test_it_reads_what_the_command_shows():
    shown = [
        {"sequence": e.seq, "task": e.task, "event": e.kind, "time": "2026-11-24T16:12:01.250Z", "actor": e.actor, "fence": e.fence}
        | ({"detail": e.detail} if e.detail else {})
        for e in GOOD
    ]
    assert rules(shown, [Call("t", "k")] * 2, ["t"], over=True) == []
    assert rules([*shown, {**shown[-1], "sequence": 99, "event": "done"}]) == ["nothing after an end", "only the holder acts"]
