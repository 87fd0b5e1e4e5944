"""The processes a replica has had, from what happened to it."""

from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.web.lives import Life, lives, planned


def told(*events):
    """A history as the API has it, newest first, from events in their order: (incarnation, state, cause, asked)."""
    made = [{"at": f"t{n}", "state": s, "cause": c, "incarnation": i, "pid": 40 + i, "asked": a} for n, (i, s, c, a) in enumerate(events)]
    return made[::-1]


CRASH = told((1, "starting", "", False), (1, "ready", "", False), (1, "stopped", "signal 9", False), (2, "starting", "", False))


def test_each_process_is_told_with_its_begin_its_end_and_why():
    assert lives(CRASH) == [
        Life(2, 42, "t3", None, "starting"),
        Life(1, 41, "t0", "t2", "failed", "signal 9"),
    ]


def test_an_end_that_was_asked_for_is_no_failure():
    (life,) = lives(told((1, "starting", "", False), (1, "stopped", "exit 0", True)))
    assert (life.state, life.asked) == ("ended", True)


def test_what_the_journal_has_forgotten_is_not_made_up():
    (life,) = lives(told((7, "stopped", "exit 3", False)))
    assert (life.begun, life.ended, life.state) == (None, "t0", "failed")


def test_a_process_with_a_successor_is_not_told_to_be_ready():
    newest, older = lives(told((1, "ready", "", False), (2, "ready", "", False)))
    assert (newest.state, older.state) == ("ready", "unknown")


def exit_of(code=None, **more):
    return {"code": code, "signal": None, "oom": False, "hang": False, **more}


def test_a_clean_exit_is_planned_unless_nobody_asked_for_it():
    assert planned(exit_of(0), [])
    assert not planned(exit_of(3), [])
    assert not planned(exit_of(0, hang=True), [])
    assert planned(exit_of(0), lives(told((1, "stopped", "exit code 0", True))))
    assert not planned(exit_of(0), lives(told((1, "stopped", "exit code 0", False))))
    assert not planned(exit_of(signal=9), lives(CRASH))


EVENT = st.tuples(st.integers(1, 5), st.sampled_from(["starting", "ready", "quarantined", "stopped", "failed"]), st.text(), st.booleans())


@given(st.lists(EVENT))
def test_no_process_is_told_twice_and_the_newest_is_first(events):
    numbers = [life.incarnation for life in lives(told(*events))]
    assert numbers == sorted({i for i, *_ in events}, reverse=True)
