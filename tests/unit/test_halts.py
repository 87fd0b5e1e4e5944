"""The list of what must not run: kept over torn writes and a full disk, and never taken for empty when it cannot be read."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck import halts
from quarterdeck.clock import VirtualClock
from quarterdeck.engines.local.node.halts import Halts
from quarterdeck.errors import Conflict, UserError
from quarterdeck.halts import Halt
from quarterdeck.model.home import Home

HALF = 128 << 10
ONE, OTHER = Halt("trio", "core", 1.0, "why", "me", 7), Halt("trio", "", 2.0, "all", "me")


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path)
    home.node.mkdir()
    return home


@pytest.mark.parametrize(
    ("halt", "agent", "covered"),
    [
        (Halt("", "", 0.0, ""), ("trio", "core/worker"), True),
        (Halt("trio", "", 0.0, ""), ("trio", "core/worker"), True),
        (Halt("trio", "", 0.0, ""), ("other", "core/worker"), False),
        (Halt("trio", "core", 0.0, ""), ("trio", "core/worker"), True),
        (Halt("trio", "core", 0.0, ""), ("trio", "core-2/worker"), False),
        (Halt("trio", "core/worker", 0.0, ""), ("trio", "core/worker"), True),
        (Halt("trio", "core/work", 0.0, ""), ("trio", "core/worker"), False),
        (Halt("", "core/worker", 0.0, ""), ("other", "core/worker"), True),
        (Halt("trio", f"{halts.TASK}01J", 0.0, ""), ("trio", "core/worker"), False),
    ],
)
def test_what_a_halt_covers(halt, agent, covered):
    assert halt.covers(*agent) is covered


def test_it_is_read_as_it_was_written_and_a_new_home_has_none(home):
    assert halts.read(home) == ()
    halts.prepare(home)
    assert halts.read(home) == ()
    for kept in ((ONE,), (ONE, OTHER), (), (OTHER,)):
        halts.write(home, kept)
        assert halts.read(home) == kept
        assert home.halts.stat().st_size == 2 * HALF
        assert home.halts.stat().st_mode & 0o777 == 0o600


def test_the_room_is_taken_before_it_is_needed_so_that_a_write_needs_none(home):
    halts.prepare(home)
    blocks = home.halts.stat().st_blocks
    assert blocks * 512 >= 2 * HALF
    halts.write(home, (ONE,))
    assert home.halts.stat().st_blocks == blocks


@given(st.integers(0, 400), st.binary(max_size=40))
def test_a_write_that_was_cut_off_leaves_the_list_before_it(tmp_path_factory, cut, rest):
    home = Home(tmp_path_factory.mktemp("torn"))
    halts.write(home, (ONE,))
    before = home.halts.read_bytes()
    halts.write(home, (ONE, OTHER))
    after = home.halts.read_bytes()
    at = next(n for n in (0, HALF) if before[n : n + HALF] != after[n : n + HALF])
    torn = before[:at] + (after[at : at + cut] + rest + before[at + cut + len(rest) :])[: len(before) - at]
    home.halts.write_bytes(torn)
    assert halts.read(home) in ((ONE,), (ONE, OTHER))
    halts.write(home, (OTHER,))
    assert halts.read(home) == (OTHER,)


@pytest.mark.parametrize("content", [b"?" * (2 * HALF), b"0" * HALF + b"QDH1" + b"\0" * HALF, b"no"])
def test_a_list_that_cannot_be_read_is_not_an_empty_one(home, content):
    home.halts.write_bytes(content)
    assert halts.read(home) is None
    assert Halts(home, VirtualClock()).end_by("any", "thing/at-all") is not None


def test_too_many_are_refused_with_what_to_do(home):
    halts.write(home, (ONE,))
    with pytest.raises(UserError, match="too many") as error:
        halts.write(home, [Halt("trio", f"core/{n}", 1.0, "x" * 190) for n in range(1000)])
    assert "qd stop fleet" in error.value.hint
    assert halts.read(home) == (ONE,)


def test_without_a_node_whoever_has_its_lock_writes_and_with_one_nobody_else(home):
    assert halts.edit_alone(home, lambda old: halts.with_halt(old, ONE)) == (ONE,)
    with halts.alone(home), pytest.raises(Conflict, match="a node runs"):
        halts.edit_alone(home, lambda _: ())
    assert halts.edit_alone(home, lambda old: halts.without(old, ONE.key)) == ()


def test_the_same_target_has_one_halt_which_learns_of_its_change():
    again = Halt("trio", "", 9.0, "later", "somebody", 12)
    (kept,) = halts.with_halt([OTHER], again)
    assert kept == Halt("trio", "", 2.0, "all", "me", 12)


def test_what_the_protocol_carries_comes_back_and_long_words_are_cut():
    assert Halt.from_json(ONE.to_json()) == ONE
    assert len(Halt.from_json({**ONE.to_json(), "reason": "x" * 10_000}).reason) == halts.LONGEST_REASON
    for broken in ({}, {"system": "a"}, {**ONE.to_json(), "since": "soon"}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            Halt.from_json(broken)


def test_time_to_drain_only_gets_shorter_and_ends_with_the_halt(home):
    clock = VirtualClock()
    kept = Halts(home, clock)
    assert kept.end_by("trio", "core/worker") is None
    kept.order(ONE, 10.0)
    first = kept.end_by("trio", "core/worker")
    assert first == clock.monotonic() + 10.0
    assert kept.over() == ()
    kept.order(ONE, 60.0)
    kept.order(ONE, None)
    assert kept.end_by("trio", "core/worker") == first
    kept.order(ONE, 0.0)
    assert kept.end_by("trio", "core/worker") < clock.monotonic()
    assert [halt.key for halt in kept.over()] == [ONE.key]
    kept.lift(*ONE.key)
    assert kept.end_by("trio", "core/worker") is None
    kept.order(ONE, 10.0)
    assert kept.end_by("trio", "core/worker") == first


def test_a_halt_of_a_task_is_kept_and_has_nothing_killed(home):
    about = Halt("trio", f"{halts.TASK}01J", 1.0, "why", "me")
    kept = Halts(home, VirtualClock())
    kept.order(about, 0.0)
    assert (halts.read(home), kept.over(), kept.end_by("trio", "core/worker")) == ((about,), (), None)


def test_after_a_restart_there_is_no_time_left(home):
    Halts(home, VirtualClock()).order(ONE, 3600.0)
    assert Halts(home, VirtualClock()).end_by("trio", "core/worker") == float("-inf")


def test_a_list_that_cannot_be_written_holds_as_long_as_the_node_lives(home, monkeypatch):
    kept = Halts(home, VirtualClock())

    def broken(*_):
        raise OSError("the disk is broken")

    monkeypatch.setattr(os, "fsync", broken)
    assert kept.order(ONE, 0.0) == "the disk is broken"
    assert kept.end_by("trio", "core/worker") is not None
