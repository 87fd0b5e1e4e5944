"""What needs attention: the worst first, each cause once, and what happened lately leaves a trace."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.clock import iso
from quarterdeck.web.attention import RECENT, Seen, worries

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC).timestamp()
SOUND = {"failure": None, "incidents": [], "weakenings": []}
NOBODY = {"questions": 0, "unknown_effects": 0, "dead_letters": 0, "dead_messages": 0}
LACKS = "AttributeError: module 'json' has no attribute 'nothing' (broken.py:5)"


def seen(status=SOUND, agents=(), replicas=(), links=(), changes=(), exits=(), **humans):  # noqa: PLR0917 what a page has read
    return worries(Seen(status, agents, replicas, links, changes, exits, {**NOBODY, **humans}, NOW))


def agent(name="one/reader", ready=2, desired=2, reason=""):
    return {"name": name, "reason": reason, "replicas": {"ready": ready, "desired": desired}}


def replica(state, reason="", name="one/reader-0"):
    return {"name": name, "state": state, "reason": reason}


def link(*, open_=True, **circuits):
    return {"name": "one->two", "open": open_, "circuits": circuits}


def change(field, target="one/reader", **more):
    return {"state": "live", "patch": {"field": field, "value": True}, "target": target, "actor": "uid:0", "reason": "4711",
            "at": iso(NOW - 60), "until": None, **more}  # fmt: skip


def ended(name="one/reader-0", ago=30.0, **evidence):
    return {"target": name, "at": iso(NOW - ago), "reason": "exit code 3", "evidence": {"asked": False, "detail": "", **evidence}}


def test_a_sound_fleet_has_no_worry():
    assert seen(agents=[agent()], replicas=[replica("ready")], links=[link(closed=3)]) == []


def test_what_holds_work_back_is_a_worry_and_names_what_ends_it():
    told = {"kind": "WithinBudget", "target": "one", "message": "one spent 9 within a minute"}
    lost = {"kind": "BusIntact", "target": "one/IN_reader", "message": "2 messages are gone"}
    held, gone = seen({**SOUND, "incidents": [told, lost]})
    assert (held.path, held.text, held.command) == ("/budgets", "one spent 9 within a minute", "qd budget resume")
    assert (gone.path, gone.text) == ("/messages", "2 messages are gone")


def test_the_worst_comes_first_and_questions_come_after_whatever_fails():
    failure = {"target": "one/reader", "phase": "agents", "cause": "no module"}
    found = seen(
        {**SOUND, "failure": failure, "weakenings": ["cgroup v1"]},
        [agent("one/other", 1), agent("one/dead", 0, 2, "crashes")],
        [replica("quarantined", name="one/other-1")],
        [link(open_=False)],
        [change("hold"), change("stopped", "two")],
        [ended("one/calm-0")],
        questions=2, unknown_effects=1, dead_letters=1,
    )  # fmt: skip
    assert [(w.state, w.target) for w in found] == [
        ("stopped", "two"),
        ("failed", "one/reader"),
        ("failed", "one/dead"),
        ("starting", "one/other"),
        ("quarantined", "one/other-1"),
        ("pending", "one->two"),
        ("unknown", "1 effect"),
        ("dead", "1 dead letter"),
        ("waiting", "2 questions"),
        ("ended", "one/calm-0"),
        ("quarantined", "one/reader"),
    ]
    assert found[5].command == "qd explain one"
    assert found[5].path == "/links#one->two"
    assert all(w.path.startswith("/") for w in found)


def test_one_cause_is_one_row_however_much_fails_by_it():
    agents = [agent(f"one/a{n}", 0, 3, LACKS) for n in range(4)]
    replicas = [replica("failed", LACKS, f"one/a{n}-{k}") for n in range(4) for k in range(3)]
    failure = {"target": "one/a0", "phase": "agents", "cause": f"0 of 3 answering: {LACKS}"}
    (row,) = seen({**SOUND, "failure": failure}, agents, replicas)
    assert (row.target, row.text) == ("one/a0", f"agents: 0 of 3 answering: {LACKS} (also one/a1, one/a2, one/a3; 12 replicas in all)")
    (row,) = seen(agents=agents, replicas=replicas)
    assert (row.state, row.target, row.text) == ("failed", "one/a0", f"{LACKS} (also one/a1, one/a2, one/a3; 12 replicas in all)")


def test_another_cause_is_another_row_and_an_agent_that_answers_in_part_is_degraded():
    found = seen(agents=[agent("one/a", 1, 3, LACKS), agent("one/b", 0, 1, "exit code 3")], replicas=[replica("failed", LACKS, "one/a-1")])
    assert [(w.state, w.target, w.text) for w in found] == [("failed", "one/b", "exit code 3"), ("degraded", "one/a", LACKS)]


def test_a_replica_that_ended_of_itself_and_runs_again_leaves_a_trace():
    detail = f"Traceback\n{LACKS}"
    (row,) = seen(agents=[agent()], exits=[ended(ago=5, detail=detail), ended(ago=40), ended(ago=RECENT + 1)])
    assert (row.state, row.target, row.path) == ("ended", "one/reader-0", "/replicas/one/reader-0")
    assert row.text == f"ended of itself 2 times within 10 minutes, last: exit code 3: {LACKS}"
    assert row.at == iso(NOW - 5)
    (row,) = seen(exits=[ended(), ended("one/reader-1")])
    assert (row.target, row.text) == ("one/reader", "2 of its replicas ended of themselves 2 times within 10 minutes, last: exit code 3")


def test_an_end_that_was_asked_for_or_is_told_of_as_a_fault_is_no_row_more():
    assert seen(exits=[ended(asked=True)]) == []
    (row,) = seen(agents=[agent(ready=0, reason=LACKS)], exits=[ended()])
    assert row.state == "failed"


def test_a_hold_says_that_automation_is_off_and_how_it_comes_back():
    (row,) = seen(changes=[change("hold", until=iso(NOW + 60))])
    assert row.text == "automation is off until 2026-11-28T12:01:00Z, held by uid:0: 4711"
    assert (row.command, row.path) == ("qd release one/reader", "/agents/one/reader")
    assert seen(changes=[change("hold", state="reverted"), change("replicas")]) == []


@pytest.mark.parametrize("circuits", [{"open": 2}, {"half-open": 1}])
def test_a_breaker_that_is_not_closed_is_a_worry(circuits):
    (worry,) = seen(links=[link(**circuits)])
    assert (worry.state, worry.target) == ("failed", "one->two")


@given(st.lists(st.sampled_from(["ready", "failed", "quarantined", "draining", "starting"]), unique=False))
def test_every_replica_that_needs_a_human_is_counted(states):
    replicas = [replica(state, f"cause {n}", f"one/reader-{n}") for n, state in enumerate(states)]
    assert len(seen(replicas=replicas)) == sum(s in ("failed", "quarantined") for s in states)
